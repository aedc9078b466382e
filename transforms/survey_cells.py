"""What shards tell about the cells of a mix with groups, and the cuts that come of it: histograms by cell and priority, then a few documents.

A histogram has a row for each cell and bin of priority in use, 48 bytes each: cells in use x 4,096 at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.cell_steps import CellSteps
from transforms.group_promises import Promise

CELL_BIN_BITS = 12
"""Bits of a priority key that make its bin in a cell."""
MOST_CELLS = 1_024
"""Cells in use, at most: how many ways to be of groups, reserves and origins occur together. Plans take time in proportion."""
CELL_COLUMNS, DOCUMENT_COLUMNS = 6, 5
"""Of a histogram: code, documents, tokens, bytes, and tokens and bytes of the largest document. Of documents: cell, key, address, tokens, bytes."""


@dataclass(frozen=True, eq=False)
class CellCuts:
    """Which documents of each cell are chosen: those before a place in the order of (priority key, address)."""

    patterns: np.ndarray
    """int64 (c,): of the cells, ascending."""
    keys: np.ndarray
    """uint64 (c,): key of the first document that is left out."""
    addresses: np.ndarray
    """uint64 (c,): likewise."""
    is_whole: np.ndarray
    """bool (c,): every document of the cell is chosen."""
    blamed: np.ndarray
    """int64 (c,): the place of the group that keeps the rest of the cell out; -1: none that can be named."""
    values: np.ndarray
    """float64 (c,): the group's share or number of what there is."""
    limits: np.ndarray
    """float64 (c,): what it may be."""
    promises: tuple[Promise, ...]
    """What is kept, over the patterns."""

    def takes(self, cells: np.ndarray, keys: np.ndarray, addresses: np.ndarray) -> np.ndarray:
        """bool: which documents are chosen. Raises RuntimeError for a cell that was never counted."""
        places = self.places(cells)
        before = (keys < self.keys[places]) | ((keys == self.keys[places]) & (addresses < self.addresses[places]))
        return before | self.is_whole[places]

    def places(self, cells: np.ndarray) -> np.ndarray:
        """int64: the place of each document's cell."""
        places = np.searchsorted(self.patterns, cells)
        if len(cells) and (not len(self.patterns) or not np.array_equal(self.patterns[np.minimum(places, len(self.patterns) - 1)], cells)):
            raise RuntimeError("mix: a document is of a cell that was not counted; a decided shard changed underway")
        return places

    def broken(self, counted: Iterable[tuple[int, int, int, int]]) -> list[str]:
        """Names of the promises that documents do not keep, given as (cell, documents, tokens, bytes), one cell as often as it comes."""
        amounts = np.zeros((len(self.patterns), 3), np.int64)
        for cell, *units in counted:
            amounts[self.places(np.array([cell], np.int64))[0]] += np.array(units, np.int64)
        return [promise.name for promise in self.promises if not promise.is_kept(amounts)]


def survey_cells(
    cells: np.ndarray, keys: np.ndarray, addresses: np.ndarray, units: np.ndarray, bins: np.ndarray | None, found: Sequence[int] = ()
) -> np.ndarray:
    """A histogram (int64, `CELL_COLUMNS`) of documents, or those of `bins` (uint64, `DOCUMENT_COLUMNS`).

    `found`: documents that have each field of the records; they stand in rows with codes -1, -2, ... in that order.
    """
    codes = (cells << CELL_BIN_BITS) | (keys >> np.uint64(64 - CELL_BIN_BITS)).astype(np.int64)
    if bins is not None:
        asked = np.isin(codes, bins)
        columns = (cells[asked], keys[asked], addresses[asked], units[asked, 1], units[asked, 2])
        return np.stack([column.astype(np.uint64) for column in columns], axis=1)
    rows = np.concatenate([codes[:, None], units, units[:, 1:]], axis=1)
    presence = np.zeros((len(found), CELL_COLUMNS), np.int64)
    presence[:, 0], presence[:, 1] = -1 - np.arange(len(found)), found
    return merge_cells([presence, rows])


def merge_cells(histograms: Iterable[np.ndarray]) -> np.ndarray:
    """The histogram of all documents that the given ones count, sorted by code."""
    rows = np.concatenate([np.empty((0, CELL_COLUMNS), np.int64), *histograms])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=np.iinfo(np.int64).min))
    if not len(starts):
        return rows
    return np.concatenate([rows[starts, :1], np.add.reduceat(rows[:, 1:4], starts), np.maximum.reduceat(rows[:, 4:], starts)], axis=1)


def missing_fields(histogram: np.ndarray, fields: Sequence[str]) -> tuple[str, ...]:
    """Those of the records' fields that no document has."""
    counts = {int(code): int(count) for code, count in histogram[histogram[:, 0] < 0, :2]}
    return tuple(name for place, name in enumerate(fields) if counts.get(-1 - place, 0) == 0)


def too_many_cells(histogram: np.ndarray) -> str:
    """A sentence without a full stop where there are more cells than can be planned; empty: there are not."""
    count = len(np.unique(histogram[histogram[:, 0] >= 0, 0] >> CELL_BIN_BITS))
    if count <= MOST_CELLS:
        return ""
    return (
        f"groups: the documents are of groups and reserves in {count:,} different ways, and at most {MOST_CELLS:,} can be planned; "
        "give fewer groups, or groups that overlap less"
    )


def cell_steps(histogram: np.ndarray, documents: np.ndarray) -> CellSteps:
    """The cells by (key, address), with gathered documents in the place of their bins.

    Raises RuntimeError if the documents are not all those of their bins.
    """
    rows = histogram[histogram[:, 0] >= 0]
    patterns = np.unique(rows[:, 0] >> CELL_BIN_BITS)
    codes = (documents[:, 0].astype(np.int64) << CELL_BIN_BITS) | (documents[:, 1] >> np.uint64(64 - CELL_BIN_BITS)).astype(np.int64)
    is_opened = np.isin(rows[:, 0], codes)
    opened = np.stack([np.ones(len(documents), np.int64), documents[:, 3].astype(np.int64), documents[:, 4].astype(np.int64)], axis=1)
    if not np.array_equal(opened.sum(axis=0), rows[is_opened, 1:4].sum(axis=0)):
        raise RuntimeError(
            f"mix: {len(documents)} documents gathered where {rows[is_opened, 1].sum()} were counted; a decided shard changed underway"
        )
    lumps = rows[~is_opened]
    cells = np.searchsorted(patterns, np.concatenate([lumps[:, 0] >> CELL_BIN_BITS, documents[:, 0].astype(np.int64)]))
    first = (lumps[:, 0] & ((1 << CELL_BIN_BITS) - 1)).astype(np.uint64) << np.uint64(64 - CELL_BIN_BITS)
    keys = np.concatenate([first, documents[:, 1]])
    addresses = np.concatenate([np.zeros(len(lumps), np.uint64), documents[:, 2]])
    order = np.lexsort((addresses, keys, cells))
    starts = np.searchsorted(rows[:, 0] >> CELL_BIN_BITS, patterns)
    largest = np.maximum.reduceat(rows[:, 4:], starts) if len(rows) else np.empty((0, 2), np.int64)
    return CellSteps(
        patterns=patterns,
        largest=np.concatenate([np.ones((len(patterns), 1), np.int64), largest], axis=1),
        cells=cells[order].astype(np.int64),
        keys=keys[order],
        addresses=addresses[order],
        units=np.concatenate([lumps[:, 1:4], opened])[order],
        is_open=order >= len(lumps),
    )


def step_bins(steps: CellSteps, places: np.ndarray) -> np.ndarray:
    """Histogram codes (int64) of the steps at `places`, sorted, each once."""
    bins = (steps.keys[places] >> np.uint64(64 - CELL_BIN_BITS)).astype(np.int64)
    return np.unique((steps.patterns[steps.cells[places]] << CELL_BIN_BITS) | bins)
