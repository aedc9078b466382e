"""Gopher's repetition statistics: how much of a text is lines, paragraphs or phrases that it has already said.

About 0.02 ms a text of 400 words that repeats little: an n-gram can only occur twice if both (n-1)-grams in it do, so after the
pairs of words hardly a position is left to look at.

*Source:* Rae et al. 2021 (arXiv 2112.11446), table A1, in the definitions of datatrove 0.10 (`GopherRepetitionFilter`). Words come
from our own splitter, punctuation included as there. One difference: n-grams are equal when their words are, while datatrove
joins the words of 5- to 10-grams without a space and so takes `a bc` for `ab c`. And one adaptation: where most words are single Han or kana
characters, about two of which make what other scripts write as a word, an n-gram is 2n of them, and nothing is counted for spaces between them.
"""

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.content import strip_whitespace
from classifiers.datatrove_words import split_as_datatrove, splitter_version
from classifiers.splitters import DATATROVE, HEADWATER
from classifiers.text_batch import TextBatch
from classifiers.words import Words

TOP_SIZES = (2, 3, 4)
"""n of the n-grams of which the most frequent one counts."""
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)
"""n of the n-grams of which every repeated one counts."""

NEWLINE = 0x0A

REPETITION_COLUMNS = (
    "duplicate_line_share",
    "duplicate_paragraph_share",
    "duplicate_line_char_share",
    "duplicate_paragraph_char_share",
    *(f"top_{n}gram_char_share" for n in TOP_SIZES),
    *(f"duplicate_{n}gram_char_share" for n in DUPLICATE_SIZES),
)


class GopherRepetitionScorer:
    """The columns of `measure_repetition`."""

    name = "gopher_repetition"
    fields = pa.schema([(name, pa.float32()) for name in REPETITION_COLUMNS])

    def __init__(self, words: str = HEADWATER):
        """`words` is `headwater` or `datatrove`: whose words n-grams are made of."""
        self._measure = measure_repetition_as_datatrove if words == DATATROVE else measure_repetition
        self.version = f"gopher-repetition-2;{splitter_version(words)}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The columns of `measure_repetition`, never null."""
        return {name: pa.array(column) for name, column in batch.derive(self._measure).items()}


def measure_repetition(batch: TextBatch) -> dict[str, np.ndarray]:
    """Gopher's repetition statistics of every text, float32. Characters are code points; an empty text has 0 throughout.

    * `duplicate_line_share`, `duplicate_paragraph_share`: elements that already occurred, per element. Lines are what runs of
      newlines separate (a newline at an end adds an empty line); paragraphs what two or more newlines separate in the stripped text;
    * `duplicate_line_char_share`, `duplicate_paragraph_char_share`: characters in such elements, per character of the text;
    * `top_Ngram_char_share`: length of the most frequent n-gram (its words joined by spaces) times its count, per character of the
      text. Among equally frequent ones the first counts, so a text that repeats nothing still has the share of its first n-gram.
      Can exceed 1 where n-grams overlap;
    * `duplicate_Ngram_char_share`: characters of the words of n-grams that already occurred, per character; having counted one, the
      scan goes on after it, so nothing counts twice. At most 1.

    Linear in the bytes whatever the text. Elements and n-grams are told apart by 64-bit hashes.
    """
    return _shares(batch, batch.words, adapts=True)


def measure_repetition_as_datatrove(batch: TextBatch) -> dict[str, np.ndarray]:
    """The same of n-grams of datatrove's words."""
    return _shares(batch, batch.derive(split_as_datatrove), adapts=False)


def _shares(batch: TextBatch, words: Words, adapts: bool) -> dict[str, np.ndarray]:
    counts = np.zeros((len(batch), 2 + len(REPETITION_COLUMNS)), np.int64)
    begins, ends = strip_whitespace(batch.utf8, batch.offsets)
    _measure(batch.utf8, batch.offsets, begins, ends, words.offsets, words.begins, words.exact, words.chars, _multipliers(), adapts, counts)
    wholes = np.repeat(words.text_chars[:, None], len(REPETITION_COLUMNS), axis=1).astype(np.float64)
    wholes[:, :2] = counts[:, :2]
    shares = (counts[:, 2:] / np.maximum(wholes, 1)).astype(np.float32)
    return {name: np.ascontiguousarray(shares[:, place]) for place, name in enumerate(REPETITION_COLUMNS)}


def _multipliers() -> np.ndarray:
    """Odd constants (uint64), one for each place in an n-gram of up to 2 x 10 words: the hash of an n-gram is the sum of its words' hashes times these."""
    return np.array([0x9E3779B97F4A7C15 * (2 * k + 1) ** 7 % 2**64 | 1 for k in range(1, 2 * max(DUPLICATE_SIZES) + 1)], np.uint64)


@njit(cache=True, nogil=True)
def _measure(utf8, offsets, begins, ends, piece_offsets, piece_begins, exact, chars, multipliers, adapts, counts):
    """Fills a row of `counts` a text: lines, paragraphs, then the numerators of `REPETITION_COLUMNS`."""
    num_texts = len(offsets) - 1
    most_pieces, most_elements = 0, 0
    for text in range(num_texts):
        newlines = 0
        for at in range(offsets[text], offsets[text + 1]):
            newlines += 1 if utf8[at] == NEWLINE else 0
        counts[text, 0] = newlines
        most_elements = max(most_elements, newlines + 1)
        most_pieces = max(most_pieces, piece_offsets[text + 1] - piece_offsets[text])
    room = max(most_pieces, most_elements) + 1
    table = np.empty(_table_size(room), np.int32)
    keys, positions = np.empty(room, np.uint64), np.empty(room, np.int32)
    first, times = np.empty(room, np.int32), np.empty(room, np.int32)

    for text in range(num_texts):
        begin, end = offsets[text], offsets[text + 1]
        if counts[text, 0] > 0:
            found = _duplicate_elements(utf8, begin, end, 1, counts[text, 0] + 1, table, keys)
            counts[text, 0], counts[text, 2], counts[text, 4] = found
            found = _duplicate_elements(utf8, begins[text], ends[text], 2, counts[text, 0] + 1, table, keys)
            counts[text, 1], counts[text, 3], counts[text, 5] = found
        else:
            counts[text, 0], counts[text, 1] = 1, 1

        base, num_pieces = piece_offsets[text], piece_offsets[text + 1] - piece_offsets[text]
        num = max(num_pieces - 1, 0)
        for place in range(num):
            positions[place] = place
            keys[place] = exact[base + place] * multipliers[0] + exact[base + place + 1] * multipliers[1]
        others = 0 if adapts else num_pieces
        for piece in range(base, base + num_pieces):
            others += 0 if chars[piece] == 1 and utf8[piece_begins[piece]] >= 0xE3 else 1
            if others * 2 >= num_pieces:
                break
        per_word = 2 if others * 2 < num_pieces else 1
        for size in range(2, 10 * per_word + 1):
            if num_pieces < size:
                break
            if size > 2:
                # A position stays while it and the next one began a shorter n-gram that may occur twice.
                kept = 0
                for place in range(num - 1):
                    if positions[place + 1] == positions[place] + 1:
                        keys[kept] = keys[place] + exact[base + positions[place] + size - 1] * multipliers[size - 1]
                        positions[kept] = positions[place]
                        kept += 1
                num = kept
            n = size // per_word
            if n == 1:
                num, best_count, best_position = _keep_repeated(keys, positions, num, table, first, times)
            elif size % per_word:
                continue
            elif n <= 4:
                num, best_count, best_position = _keep_repeated(keys, positions, num, table, first, times)
                length = n - 1 if per_word == 1 else 0
                for piece in range(base + best_position, base + best_position + size):
                    length += chars[piece]
                counts[text, 4 + n] = length * best_count
            elif num == 0:
                break
            else:
                counts[text, 4 + n] = _repeated_chars(keys, positions, num, size, chars, base, table)


@njit(cache=True, nogil=True)
def _table_size(num_keys):
    """Slots for `num_keys`: a power of two, at most half full, at least 16."""
    size = 16
    while size < 2 * num_keys:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _shift_of(size):
    """How far to shift a 64-bit hash to the right for a slot below `size`."""
    shift = 64
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@njit(cache=True, nogil=True)
def _keep_repeated(keys, positions, num, table, first, times):
    """Keeps (at the front of `keys` and `positions`) the entries whose key occurs twice or more.

    Returns how many those are, and the count and position of the first among the most frequent keys: (0, 1, 0) if all are unique.
    """
    size = _table_size(num)
    shift, mask = _shift_of(size), size - 1
    table[:size] = 0
    most, first_of_most = 1, 0
    for entry in range(num):
        key = keys[entry]
        slot = np.int64(key >> shift)
        while table[slot] != 0 and keys[table[slot] - 1] != key:
            slot = (slot + 1) & mask
        if table[slot] == 0:
            table[slot] = entry + 1
            first[entry] = entry
            times[entry] = 1
        else:
            original = table[slot] - 1
            first[entry] = original
            times[original] += 1
            most = max(most, times[original])
    kept = 0
    if most > 1:
        first_of_most = -1
        for entry in range(num):
            if times[first[entry]] > 1:
                if first_of_most < 0 and times[first[entry]] == most:
                    first_of_most = positions[entry]
                keys[kept] = keys[entry]
                positions[kept] = positions[entry]
                kept += 1
    return kept, most, first_of_most


@njit(cache=True, nogil=True)
def _repeated_chars(keys, positions, num, n, chars, base, table):
    """Characters in n-grams that already occurred, scanning on after each one found."""
    size = _table_size(num)
    shift, mask = _shift_of(size), size - 1
    table[:size] = 0
    total, resume = 0, 0
    for entry in range(num):
        position = positions[entry]
        if position < resume:
            continue
        key = keys[entry]
        slot = np.int64(key >> shift)
        while table[slot] != 0 and keys[table[slot] - 1] != key:
            slot = (slot + 1) & mask
        if table[slot] == 0:
            table[slot] = entry + 1
        else:
            for piece in range(base + position, base + position + n):
                total += chars[piece]
            resume = position + n
    return total


@njit(cache=True, nogil=True)
def _duplicate_elements(utf8, begin, end, least_newlines, most_elements, table, keys):
    """Elements between runs of at least `least_newlines` newlines: how many, how many that already occurred, and their code points."""
    size = _table_size(most_elements)
    shift, mask = _shift_of(size), size - 1
    table[:size] = 0
    prime = np.uint64(0x9E3779B97F4A7C15)
    num, duplicates, duplicate_chars = 0, 0, 0
    element, more = begin, True
    while more:
        # From the element's first byte to the run of newlines that ends it, or to the end of the text.
        stop, run = element, element
        while True:
            while stop < end and utf8[stop] != NEWLINE:
                stop += 1
            run = stop
            while run < end and utf8[run] == NEWLINE:
                run += 1
            more = run - stop >= least_newlines
            if more or stop == end:
                break
            stop = run
        key = np.uint64(stop - element) * prime
        place = element
        while place + 8 <= stop:
            # Unsigned places cannot be negative: the compiler then reads the eight bytes at once.
            low = np.uint64(place)
            block = np.uint64(0)
            for byte in range(8):
                block |= np.uint64(utf8[low + np.uint64(byte)]) << np.uint64(8 * byte)
            key = (key ^ block) * prime
            key ^= key >> np.uint64(32)
            place += 8
        while place < stop:
            key = (key ^ np.uint64(utf8[place])) * prime
            place += 1
        key = (key ^ (key >> np.uint64(29))) * prime
        slot = np.int64(key >> shift)
        while table[slot] != 0 and keys[table[slot] - 1] != key:
            slot = (slot + 1) & mask
        if table[slot] == 0:
            keys[num - duplicates] = key
            table[slot] = num - duplicates + 1
        else:
            duplicates += 1
            for byte in range(element, stop):
                duplicate_chars += 1 if utf8[byte] & 0xC0 != 0x80 else 0
        num += 1
        element = run
    return num, duplicates, duplicate_chars
