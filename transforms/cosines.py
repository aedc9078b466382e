"""Cosines of int8 vectors: which of a block are alike, and which survivor each member of a group is most like.

A product of two int8 vectors is a whole number, and a cosine that product divided by two lengths: the same on every machine and in any
order. About 13 ns a pair of 384 dimensions in blocks.
"""

import numpy as np
from numba import njit

from transforms.cluster_vectors import exact_floats, square_lengths
from transforms.connect_components import contract_forest

TILE_ROWS = 256
"""Rows compared with a whole block at a time: bounds what is held of a block whose documents are all alike (5 million pairs, 80 MB)."""
MAX_EDGES = 1 << 20
"""Edges kept before they are reduced to a forest."""
MAX_SURVIVORS = 20_000
"""Survivors of one group that a member is compared with, the first ones: cost is linear beyond."""
_MARGIN = 1e-4


def link_alike(vectors: np.ndarray, num_own: int, min_similarity: float) -> np.ndarray:
    """int64[e, 2]: edges that connect exactly what the pairs of cosine `min_similarity` or more connect, at most one fewer than rows.

    `vectors` is int8[n, d]. Pairs are those of two of the first `num_own` rows, and of one of these with one of the others. Memory: 20 bytes a
    component of `vectors`, and `MAX_EDGES`.
    """
    wide, lengths = exact_floats(vectors), np.sqrt(square_lengths(vectors))
    edges = np.empty((0, 2), np.int64)
    for start in range(0, num_own, TILE_ROWS):
        end = min(start + TILE_ROWS, num_own)
        for others in (slice(0, end), slice(num_own, len(vectors))):
            rows, columns = _alike(wide[start:end], wide[others], lengths[start:end], lengths[others], min_similarity)
            found = np.stack([rows + start, columns + (others.start or 0)], axis=1)
            edges = np.concatenate([edges, found[found[:, 0] != found[:, 1]]])
        if len(edges) > MAX_EDGES:
            edges = _forest(edges)
    return _forest(edges)


def cosine(product: np.ndarray, first_length: np.ndarray, second_length: np.ndarray) -> np.ndarray:
    """float32 cosine of a product (whole number) and two lengths (square roots of whole numbers), none of them 0."""
    return np.minimum(product.astype(np.float64) / (first_length * second_length), 1).astype(np.float32)


def _alike(one: np.ndarray, other: np.ndarray, one_lengths: np.ndarray, other_lengths: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    products = one @ other.T
    # A bound a little too low first: what it lets pass is little, and is looked at exactly.
    bound = ((least - _MARGIN) * one_lengths)[:, None].astype(products.dtype) * other_lengths.astype(products.dtype)
    rows, columns = np.nonzero(products >= bound)
    similar = cosine(products[rows, columns], one_lengths[rows], other_lengths[columns]) >= np.float32(least)
    return rows[similar], columns[similar]


def _forest(edges: np.ndarray) -> np.ndarray:
    return contract_forest(edges.astype("<u8")).astype(np.int64)


def find_alike_partners(vectors: np.ndarray, group_ends: np.ndarray, min_similarity: float) -> tuple[np.ndarray, np.ndarray]:
    """For each row (of int8[n, d]) the survivor of its group whose cosine to it is largest (-1: it survives), and that cosine (float32).

    Group g is rows group_ends[g] to group_ends[g + 1] - 1. Rows are taken in their order: one whose cosine to an earlier survivor is at least
    `min_similarity` is removed, any other survives; of survivors equally alike the first is the partner. In a group of more than `MAX_SURVIVORS`
    survivors a row is compared with the first of them alone.
    """
    partners, similarities = np.full(len(vectors), -1), np.zeros(len(vectors), np.float32)
    if len(vectors):
        starts, ends = group_ends[:-1].astype(np.int64), group_ends[1:].astype(np.int64)
        rows = np.ascontiguousarray(vectors)
        _compare(rows, np.sqrt(square_lengths(vectors)), starts, ends, np.float32(min_similarity), partners, similarities)
    return partners, similarities


@njit(["void(int8[:,::1], float64[:], int64[:], int64[:], float32, int64[:], float32[:])"], cache=True, nogil=True)
def _compare(vectors, lengths, starts, ends, least, partners, similarities):
    """`find_alike_partners`; fills in `partners` (-1 before) and `similarities`."""
    survivors = np.empty(len(vectors), np.int64)
    for group in range(len(starts)):
        num_survivors = 0
        for row in range(starts[group], ends[group]):
            best, most = -1, np.float32(-2)
            for survivor in survivors[: min(num_survivors, MAX_SURVIVORS)]:
                product = np.int32(0)
                for place in range(vectors.shape[1]):
                    product = np.int32(product + np.int32(np.int32(vectors[row, place]) * np.int32(vectors[survivor, place])))
                alike = np.float32(min(np.float64(product) / (lengths[row] * lengths[survivor]), 1.0))
                if alike >= least and alike > most:
                    best, most = survivor, alike
            if best < 0:
                survivors[num_survivors] = row
                num_survivors += 1
            else:
                partners[row], similarities[row] = best, most
