"""Within groups of near-duplicates, finds for each member the survivor that it is most like: the kernels of the choice.

A member is compared with every survivor of its group before it, about 12 ns each: quadratic where all survive. So in a group of more than
`LARGE_GROUP_MEMBERS` it is compared with the first `FIRST_SURVIVORS`, and of the others with the first `WORD_SURVIVORS` that share an
eight-byte word of the signature with it, for each word: about 10 us a member at most. A million pages of one template, none
quite like the others, would otherwise take hours; the price is that alike survivors which share only words that are
common in their group may both stay. Memory: some 250 bytes a member of a large group beside its signature, since a group cannot be divided.
"""

import numpy as np
from numba import njit

LARGE_GROUP_MEMBERS = 10_000
"""Members of a group up to which each is compared with all survivors; beyond, with so many that cost stays linear."""
FIRST_SURVIVORS = 256
"""Survivors of a large group that all its members are compared with."""
WORD_SURVIVORS = 64
"""Further survivors that a member is compared with for each eight bytes of signature in which it is equal to them."""


def find_partners(signatures: np.ndarray, group_ends: np.ndarray, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """For each row (of uint8[n, hashes]) the survivor of its group that it agrees with most (-1: it survives), and in how many bytes.

    Group g is rows group_ends[g] to group_ends[g + 1] - 1. Rows are taken in their order: one that agrees with an earlier survivor in
    `needed` bytes is removed, any other survives; of survivors that agree equally the first is the partner.
    """
    partners, agreeing = np.full(len(signatures), -1), np.zeros(len(signatures), np.int64)
    starts, ends = group_ends[:-1], group_ends[1:]
    large = ends - starts > LARGE_GROUP_MEMBERS
    compare_all(signatures, starts[~large], ends[~large], needed, partners, agreeing)
    for start, end in zip(starts[large], ends[large], strict=True):
        found, same = np.full(end - start, -1), np.zeros(end - start, np.int64)
        compare_by_word(signatures[start:end], number_words(signatures[start:end]), needed, found, same)
        partners[start:end] = np.where(found < 0, -1, found + start)
        agreeing[start:end] = same
    return partners, agreeing


def number_words(signatures: np.ndarray) -> np.ndarray:
    """int32[n, words]: a number for each distinct eight bytes at each place of the signatures (padded with zeros), over all places."""
    padding = -signatures.shape[1] % 8
    places = (np.pad(signatures, ((0, 0), (0, padding))) if padding else signatures).view("<u8").T
    numbers, first = np.empty((len(signatures), len(places)), np.int32), 0
    for place, words in enumerate(places):
        distinct, number = np.unique(words, return_inverse=True)
        numbers[:, place] = number + first
        first += len(distinct)
    return numbers


@njit(cache=True, nogil=True)
def _count_equal(ours, theirs):
    same = 0
    for place in range(len(ours)):
        same += ours[place] == theirs[place]
    return same


@njit(["void(uint8[:,::1], int64[:], int64[:], int64, int64[:], int64[:])"], cache=True, nogil=True)
def compare_all(signatures, starts, ends, needed, partners, agreeing):
    """`find_partners` for groups of rows starts[g] to ends[g] - 1; fills in `partners` (-1 before) and `agreeing`."""
    survivors = np.empty(len(signatures), np.int64)
    for group in range(len(starts)):
        num_survivors = 0
        for row in range(starts[group], ends[group]):
            best, most = -1, needed - 1
            for survivor in survivors[:num_survivors]:
                same = _count_equal(signatures[row], signatures[survivor])
                if same > most:
                    best, most = survivor, same
            if best < 0:
                survivors[num_survivors] = row
                num_survivors += 1
            else:
                partners[row], agreeing[row] = best, most


@njit(["void(uint8[:,::1], int32[:,::1], int64, int64[:], int64[:])"], cache=True, nogil=True)
def compare_by_word(signatures, words, needed, partners, agreeing):
    """`compare_all` of one large group: with its first survivors, and those that share a word.

    `words` (int32[n, words]) numbers the distinct eight bytes at each place, over all places, from 0.
    """
    num_rows, num_words = words.shape
    held = np.zeros(words.max() + 1, np.int32)
    newest = np.full(words.max() + 1, np.int32(-1))
    older = np.full(num_rows * num_words, np.int32(-1))
    compared = np.full(num_rows, np.int32(-1))
    first = np.empty(FIRST_SURVIVORS, np.int64)
    num_first = 0
    for row in range(num_rows):
        best, most = num_rows, needed - 1
        for survivor in first[:num_first]:
            same = _count_equal(signatures[row], signatures[survivor])
            if same > most:
                best, most = survivor, same
        for word in range(num_words):
            entry = newest[words[row, word]]
            while entry >= 0:
                survivor = entry // num_words
                if compared[survivor] != row:
                    compared[survivor] = row
                    same = _count_equal(signatures[row], signatures[survivor])
                    if same > most or (same == most and survivor < best and same >= needed):
                        best, most = survivor, same
                entry = older[entry]
        if most >= needed:
            partners[row], agreeing[row] = best, most
        elif num_first < FIRST_SURVIVORS:
            first[num_first] = row
            num_first += 1
        else:
            for word in range(num_words):
                number = words[row, word]
                if held[number] < WORD_SURVIVORS:
                    older[row * num_words + word] = newest[number]
                    newest[number] = row * num_words + word
                    held[number] += 1
