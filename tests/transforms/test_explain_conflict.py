"""Of promises that cannot all hold the fewest that conflict are named, and what is missing is said in a sentence."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.explain_conflict import Conflict, Missing, smallest_conflict


@dataclass(frozen=True)
class Wish:
    """A promise that some of a few mixes keep, each of which is known by its number."""

    mixes: frozenset[int]

    def is_kept(self, amounts: np.ndarray) -> bool:
        return int(amounts[0]) in self.mixes


def keeper(count: int, last: bool):
    """Finds the first, or the last, of `count` mixes that keeps all promises it is given."""

    def keeps(promises: list[Wish]) -> np.ndarray | None:
        found = [mix for mix in range(count) if all(mix in one.mixes for one in promises)]
        return np.array([found[-1 if last else 0]]) if found else None

    return keeps


@given(st.lists(st.frozensets(st.integers(0, 4)), max_size=6), st.booleans())
@settings(max_examples=80)
def test_no_fewer_promises_conflict_and_of_as_few_the_first_are_named(wishes, last):
    promises = [Wish(mixes) for mixes in wishes]
    keeps = keeper(5, last)
    found = smallest_conflict(promises, keeps)
    if keeps(promises) is not None:
        assert found == ()
        return
    conflicts = [
        places
        for size in range(1, len(promises) + 1)
        for places in itertools.combinations(range(len(promises)), size)
        if keeps([promises[place] for place in places]) is None
    ]
    fewest = [places for places in conflicts if len(places) == len(conflicts[0])]
    assert found in fewest and sum(found) == min(map(sum, fewest))


def test_nothing_promised_is_kept():
    assert smallest_conflict([], keeper(1, False)) == ()


HUMAN, OTHER = Missing("human", (), 1, 1_200), Missing("other", ("german", "task.code"), 2_500, 4_000_000)


@pytest.mark.parametrize(
    ("names", "missing", "sentence"),
    [
        (("a",), (), "a cannot hold, whatever text is added"),
        (("a", "b"), (), "a and b cannot all hold, whatever text is added"),
        (("a", "b", "c"), (HUMAN,), "a, b and c cannot all hold: 1 human document (about 1,200 tokens) is missing"),
        (("a",), (OTHER,), "a cannot hold: 2,500 other documents of german and task.code (about 4,000,000 tokens) are missing"),
        (
            ("a",),
            (HUMAN, HUMAN),
            "a cannot hold: 1 human document (about 1,200 tokens) and 1 human document (about 1,200 tokens) are missing",
        ),
    ],
)
def test_a_conflict_is_said_in_one_sentence(names, missing, sentence):
    assert Conflict(names, missing).sentence == sentence
