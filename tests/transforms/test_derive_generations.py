"""A document is at least one generation deeper than its deepest known parent, in this run or before it."""

import functools

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from transforms.derive_generations import MAX_GENERATION, derive_generations, find_too_deep, named_parents


def documents(*rows):
    """(id, origin, declared generation, parents) of each document."""
    ids, origins, declared, parents = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "origin": pa.array(origins, pa.string()),
            "generation": pa.array(declared, pa.int16()),
            "parents": pa.array(parents, pa.list_(pa.string())),
        }
    )


def ledger(**generations):
    return pa.table({"id": pa.array(list(generations), pa.string()), "generation": pa.array(list(generations.values()), pa.int16())})


def derived(table, earlier=None):
    found = derive_generations(table, earlier or ledger())
    return dict(zip(table["id"].to_pylist(), found.generation.to_pylist(), strict=True))


def test_a_chain_within_the_run_deepens_by_one_each():
    table = documents(("c", "synthetic", None, ["b"]), ("b", "synthetic", None, ["a"]), ("a", "synthetic", None, ["h"]), ("h", "human", None, None))
    assert derived(table) == {"h": 0, "a": 1, "b": 2, "c": 3}


def test_parents_of_earlier_cycles_count():
    assert derived(documents(("new", "synthetic", 1, ["old", "older"])), ledger(old=2, older=1)) == {"new": 3}


def test_of_run_and_ledger_the_deeper_parent_counts():
    table = documents(("new", "synthetic", None, ["both"]), ("both", "synthetic", 1, None))
    assert derived(table, ledger(both=4)) == {"new": 5, "both": 1}


def test_what_is_declared_deeper_stays():
    found = derive_generations(documents(("a", "synthetic", 7, ["h"]), ("h", "human", 0, None)), ledger())
    assert found.generation.to_pylist() == [7, 0] and found.raised == 0


def test_what_is_declared_less_is_raised_and_reported():
    table = documents(*((f"d{n}", "synthetic", 1, ["deep"]) for n in range(7)), ("deep", "synthetic", 3, None), ("fine", "synthetic", 4, ["deep"]))
    found = derive_generations(table, ledger())
    assert found.raised == 7 and found.raised_examples == ("d0", "d1", "d2", "d3", "d4")
    assert found.generation.to_pylist() == [4] * 7 + [3, 4]


def test_human_text_is_not_deepened_by_its_parents_and_ends_a_chain():
    table = documents(
        ("h", "human", None, ["m"]), ("p", "presumed_human", None, ["m"]), ("m", "synthetic", 5, None), ("after", "synthetic", None, ["h"])
    )
    assert derived(table) == {"h": 0, "p": 0, "m": 5, "after": 1}


@pytest.mark.parametrize("origin", ["synthetic", "unknown", "disputed"])
def test_text_that_is_not_human_is_of_generation_one_at_least(origin):
    found = derive_generations(documents(("a", origin, None, None), ("b", origin, 0, None)), ledger())
    assert found.generation.to_pylist() == [1, 1] and found.raised == 1


def test_unknown_parents_are_counted_once_each():
    table = documents(("a", "synthetic", None, ["x", "y"]), ("b", "synthetic", None, ["y", "a", None]), ("c", "human", None, ["z"]))
    found = derive_generations(table, ledger(old=1))
    assert found.unknown_parents == 3 and found.generation.to_pylist() == [1, 2, 0]


def test_circles_of_parents_tell_nothing_but_what_comes_after_them_does():
    table = documents(
        ("self", "synthetic", None, ["self"]),
        ("a", "synthetic", None, ["b"]),
        ("b", "synthetic", 4, ["a", "root"]),
        ("root", "synthetic", 6, None),
        ("child", "synthetic", None, ["b"]),
        ("before", "synthetic", None, None),
    )
    found = derive_generations(table, ledger())
    assert dict(zip(table["id"].to_pylist(), found.generation.to_pylist(), strict=True)) == {
        "self": 1, "a": 1, "b": 7, "root": 6, "child": 8, "before": 1,
    }  # fmt: skip
    assert found.circular == 3


def test_of_documents_with_one_id_the_deepest_counts():
    table = documents(("twin", "synthetic", 1, None), ("twin", "synthetic", 5, None), ("child", "synthetic", None, ["twin"]))
    assert derive_generations(table, ledger()).generation.to_pylist() == [5, 5, 6]


def test_a_publication_that_states_no_generation_is_taken_by_its_kind():
    earlier = pa.table({"id": ["h", "s"], "generation": pa.array([None, None], pa.int16()), "kind": ["human", "synthetic"]})
    assert derived(documents(("a", "synthetic", None, ["h"]), ("b", "synthetic", None, ["s"])), earlier) == {"a": 1, "b": 2}


def test_generations_end_at_the_largest_there_is():
    assert derived(documents(("a", "synthetic", None, ["b"])), ledger(b=MAX_GENERATION)) == {"a": MAX_GENERATION}


def test_nobody_deepens_nothing():
    found = derive_generations(documents(), ledger())
    assert found.generation.to_pylist() == [] and (found.raised, found.unknown_parents, found.circular) == (0, 0, 0)
    assert named_parents(documents(("a", "synthetic", None, None))).to_pylist() == []


def test_the_parents_to_look_up_are_those_named():
    assert named_parents(documents(("a", "synthetic", None, ["q", "p"]), ("b", "human", None, ["p", None]))).to_pylist() == ["p", "q"]


# Against a slow reference

nodes = [f"n{number}" for number in range(7)]
rows = st.lists(
    st.tuples(
        st.sampled_from(nodes),
        st.sampled_from(["human", "synthetic", "unknown"]),
        st.one_of(st.none(), st.integers(0, 4)),
        st.one_of(st.none(), st.lists(st.sampled_from([*nodes, "gone", "old"]), max_size=3)),
    ),
    max_size=8,
    unique_by=lambda row: row[0],
)


def slow(table, earlier):
    held = {name: (origin, declared, parents or []) for name, origin, declared, parents in table}

    def reaches(start, end, seen=()):
        return any(parent == end or (parent not in seen and reaches(parent, end, (*seen, parent))) for parent in rising(start))

    def rising(name):
        return [parent for parent in held[name][2] if parent in held] if name in held and held[name][0] != "human" else []

    circles = {name for name in held if reaches(name, name)}
    below = {name for name in held if name in circles or any(reaches(name, other) for other in circles)}
    above = {name for name in held if name in circles or any(reaches(other, name) for other in circles)}
    entangled = below & above

    @functools.cache
    def generation(name):
        origin, declared, parents = held[name]
        least = 0 if origin == "human" else 1
        own = max(least, declared if declared is not None else least)
        if origin == "human":
            return own
        from_run = [generation(parent) + 1 for parent in rising(name) if not (name in entangled and parent in entangled)]
        return max([own, *from_run, *(earlier[parent] + 1 for parent in parents if parent in earlier)])

    return {name: generation(name) for name in held}, len(entangled)


@settings(max_examples=80)
@given(rows, st.permutations(range(8)))
def test_it_is_what_the_definition_says_whatever_the_order(table, order):
    expected, circular = slow(table, {"old": 2})
    mixed = [table[place] for place in order if place < len(table)]
    found = derive_generations(documents(*mixed), ledger(old=2))
    assert dict(zip([row[0] for row in mixed], found.generation.to_pylist(), strict=True)) == expected
    assert found.circular == circular


@given(st.lists(st.integers(0, 20)), st.integers(0, 20))
def test_too_deep_is_deeper_than_the_limit(generations, limit):
    assert find_too_deep(pa.array(generations, pa.int16()), limit).to_pylist() == [generation > limit for generation in generations]


@pytest.mark.parametrize("limit", [-1, MAX_GENERATION + 1])
def test_a_limit_that_is_no_generation_is_refused(limit):
    with pytest.raises(ValueError, match="must lie in 0 to 32767"):
        find_too_deep(pa.array([1], pa.int16()), limit)
