"""Histograms of cells add up to the documents however these are parted, and cuts take what lies before them and nothing else."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.group_promises import Promise, Row
from transforms.survey_cells import (
    CELL_BIN_BITS,
    MOST_CELLS,
    CellCuts,
    cell_steps,
    merge_cells,
    missing_fields,
    step_bins,
    survey_cells,
    too_many_cells,
)

LOW = 64 - CELL_BIN_BITS
# Few bins, so that documents meet in them, the first and the last among them.
KEYS = st.builds(lambda top, low: top << LOW | low, st.sampled_from([0, 1, (1 << CELL_BIN_BITS) - 1]), st.sampled_from([0, 1, (1 << LOW) - 1]))
DOCUMENTS = st.lists(st.tuples(st.sampled_from([0, 1, 5, 1 << 41]), KEYS, st.integers(0, 9), st.sampled_from([0, 3, (1 << 31) - 1])), max_size=9)


def columns_of(documents):
    """Cells, keys, addresses and units (documents, tokens, bytes) of documents; addresses are places in the list."""
    cells = np.array([one[0] for one in documents], np.int64)
    keys = np.array([one[1] for one in documents], np.uint64)
    units = np.array([(1, one[2], one[3]) for one in documents], np.int64).reshape(-1, 3)
    return cells, keys, np.arange(len(documents)).astype(np.uint64), units


def surveyed(documents, parts, fields=()):
    columns = columns_of(documents)
    return merge_cells(survey_cells(*(column[part::parts] for column in columns), None, [one[part] for one in fields]) for part in range(parts))


@given(DOCUMENTS, st.integers(1, 4), st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), max_size=2))
def test_a_histogram_counts_each_document_once_however_they_are_parted(documents, parts, fields):
    expected = defaultdict(lambda: [0, 0, 0, 0, 0])
    for cell, key, tokens, size in documents:
        held = expected[cell << CELL_BIN_BITS | key >> LOW]
        held[:] = held[0] + 1, held[1] + tokens, held[2] + size, max(held[3], tokens), max(held[4], size)
    for place, counts in enumerate(fields):
        expected[-1 - place][0] += sum(counts[:parts])
    histogram = surveyed(documents, parts, fields)
    assert histogram.tolist() == [[code, *expected[code]] for code in sorted(expected)]
    names = tuple(f"field{place}" for place in range(len(fields)))
    assert missing_fields(histogram, names) == tuple(name for name, counts in zip(names, fields, strict=True) if not sum(counts[:parts]))


def test_a_field_that_was_never_looked_for_is_missing():
    assert missing_fields(merge_cells([]), ("a", "b")) == ("a", "b")


@given(DOCUMENTS, st.randoms())
@settings(max_examples=50)
def test_opened_bins_become_their_documents_and_the_others_stay_lumps(documents, chance):
    histogram = surveyed(documents, 1)
    bins = np.array(sorted(chance.sample(histogram[:, 0].tolist(), len(histogram) // 2)), np.int64)
    cells, keys, addresses, units = columns_of(documents)
    opened = survey_cells(cells, keys, addresses, units, bins)
    steps = cell_steps(histogram, opened)
    single = [place for place, (cell, key, *_) in enumerate(documents) if cell << CELL_BIN_BITS | key >> LOW in bins.tolist()]
    assert sorted(steps.addresses[steps.is_open].tolist()) == single
    assert steps.is_all_open == (len(single) == len(documents))
    order = list(zip(steps.cells.tolist(), steps.keys.tolist(), steps.addresses.tolist(), strict=True))
    assert order == sorted(order)
    totals = {int(cell): units[cells == cell].sum(axis=0).tolist() for cell in set(cells.tolist())}
    assert dict(zip(steps.patterns.tolist(), steps.totals.tolist(), strict=True)) == totals
    for pattern, largest in zip(steps.patterns.tolist(), steps.largest.tolist(), strict=True):
        assert largest == units[cells == pattern].max(axis=0).tolist()
    assert step_bins(steps, np.flatnonzero(steps.is_open)).tolist() == bins.tolist()
    # Any number of steps of each cell is found again from the documents that it holds.
    places = np.array([chance.randint(0, int(count)) for count in np.diff(steps.starts)], np.int64)
    prefix = steps.prefix(places)
    assert steps.documents_within(prefix[:, 0]).tolist() == places.tolist()
    assert np.allclose(steps.of_documents(prefix[:, 0]), prefix)


def test_a_cut_within_a_lump_is_refused_and_measured_in_proportion():
    steps = cell_steps(surveyed([(0, 0, 10, 30), (0, 1, 20, 50)], 1), np.empty((0, 5), np.uint64))
    assert steps.of_documents(np.array([1])).tolist() == [[1, 15, 40]]
    with pytest.raises(RuntimeError, match=r"^mix: a cut of a cell lies in a bin that was not opened$"):
        steps.documents_within(np.array([1]))


def test_documents_that_changed_underway_are_noticed():
    histogram = surveyed([(0, 0, 10, 30), (0, 1, 20, 50)], 1)
    with pytest.raises(RuntimeError, match=r"^mix: 1 documents gathered where 2 were counted; a decided shard changed underway$"):
        cell_steps(histogram, np.array([[0, 0, 0, 10, 30]], np.uint64))


def test_more_kinds_of_documents_than_can_be_planned_are_told_with_what_to_do():
    documents = [(cell, 0, 1, 1) for cell in range(MOST_CELLS + 1)]
    # Rows about fields of the records are no kind of documents.
    assert too_many_cells(surveyed(documents[:-1], 2, [[1, 1]])) == ""
    said = "groups: the documents are of groups and reserves in 1,025 different ways, and at most 1,024 can be planned; "
    assert too_many_cells(surveyed(documents, 2)) == said + "give fewer groups, or groups that overlap less"


def cuts(patterns, keys, addresses, is_whole, promises=()) -> CellCuts:
    count = len(patterns)
    made = np.array(patterns, np.int64), np.array(keys, np.uint64), np.array(addresses, np.uint64), np.array(is_whole, bool)
    return CellCuts(*made, np.full(count, -1), np.zeros(count), np.zeros(count), tuple(promises))


@given(DOCUMENTS, st.tuples(KEYS, KEYS, KEYS, KEYS), st.lists(st.integers(0, 9), min_size=4, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_cut_takes_what_comes_before_its_place_and_all_of_a_whole_cell(documents, keys, addresses, is_whole):
    patterns = [0, 1, 5, 1 << 41]
    found = cuts(patterns, keys, addresses, is_whole).takes(*columns_of(documents)[:3])
    expected = []
    for address, (cell, key, *_) in enumerate(documents):
        place = patterns.index(cell)
        expected.append(is_whole[place] or (key, address) < (keys[place], addresses[place]))
    assert found.tolist() == expected


@pytest.mark.parametrize("patterns", [[], [0], [0, 9]])
def test_a_cell_that_was_never_counted_is_a_fault(patterns):
    made = cuts(patterns, [0] * len(patterns), [0] * len(patterns), [True] * len(patterns))
    with pytest.raises(RuntimeError, match=r"^mix: a document is of a cell that was not counted; a decided shard changed underway$"):
        made.takes(np.array([4]), np.zeros(1, np.uint64), np.zeros(1, np.uint64))
    assert made.takes(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64)).tolist() == []


def test_broken_promises_are_named_of_counts_that_come_in_pieces():
    most = Promise("at most 3", (Row(np.array([1, 0]), 0, 3),))
    least = Promise("at least 5 tokens", (Row(np.array([0, -1]), 1, -5),))
    made = cuts([2, 7], [0, 0], [0, 0], [True, True], [most, least])
    assert made.broken([(2, 2, 0, 0), (7, 1, 3, 0), (7, 1, 2, 0)]) == []
    assert made.broken([(2, 2, 0, 0), (2, 2, 0, 0)]) == ["at most 3", "at least 5 tokens"]
