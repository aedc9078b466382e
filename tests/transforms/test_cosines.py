"""Cosines of whole numbers: links within a block, partners within a group, against plain Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.transforms.meanings import exact_cosine
from transforms.cosines import cosine, find_alike_partners, link_alike

VECTORS = arrays.arrays(np.int8, st.tuples(st.integers(1, 30), st.just(5)), elements=st.integers(-3, 3)).map(
    lambda found: np.where(found.any(axis=1, keepdims=True), found, 1).astype(np.int8)
)


def roots_of(count, edges):
    parents = list(range(count))
    for a, b in edges:
        a, b = (min(_root(parents, one), _root(parents, other)) for one, other in ((a, a), (b, b)))
        parents[max(a, b)] = min(a, b)
    return [_root(parents, one) for one in range(count)]


def _root(parents, one):
    while parents[one] != one:
        one = parents[one]
    return one


@given(VECTORS, st.floats(0.5, 1), st.integers(0, 30))
def test_linked_is_what_pairs_of_owned_rows_connect(vectors, least, own):
    own = min(own, len(vectors))
    edges = link_alike(vectors, own, least)
    alike = [
        (a, b)
        for a in range(own)
        for b in range(len(vectors))
        if a != b and exact_cosine(vectors[a], vectors[b]) >= np.float32(least)
    ]  # fmt: skip
    assert roots_of(len(vectors), edges.tolist()) == roots_of(len(vectors), alike)
    assert len(edges) < len(vectors)


@given(VECTORS, st.floats(0.5, 1), st.data())
def test_partners_are_those_of_the_plain_definition(vectors, least, data):
    cut = data.draw(st.integers(0, len(vectors)))
    partners, similarities = find_alike_partners(vectors, np.array([0, cut, len(vectors)]), least)
    for start, end in ((0, cut), (cut, len(vectors))):
        survivors = []
        for row in range(start, end):
            cosines = [exact_cosine(vectors[row], vectors[one]) for one in survivors]
            best = max(cosines, default=np.float32(-2))
            if best >= np.float32(least):
                assert (partners[row], similarities[row]) == (survivors[cosines.index(best)], best)
            else:
                assert partners[row] == -1
                survivors.append(row)


def test_long_vectors_are_multiplied_exactly():
    vectors = np.full((3, 2_000), 127, np.int8)
    vectors[1, :20] = 0
    assert link_alike(vectors, 3, 1.0).tolist() == [[0, 2]]
    assert cosine(np.array([2.0]), np.array([1.0]), np.array([1.0])) == 1
