"""The columns of a scored run that the explorer looks at, read once and narrow; and the few rows whose text it shows.

A numeric score costs its own width in memory for each document (float32: 4 bytes, counts 1 to 4), a column of words its text or, among those that
have few values, a code of 4 bytes; each is read when it is first asked for. All scores of the default recipe come to about 150 bytes a document.
Text is never read but for the rows that are shown.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.records import ORIGIN_NAMES, ScoredShard, rows_of, shards_of
from transforms.storage import open_arrow

DECLARED_ORIGINS = ("human", "synthetic", "unknown")
"""What an input can declare, in the order of the funnel's columns."""
BINS = 60
"""Bars of a histogram, at most."""
TAIL_SHARE = 0.002
"""Share of the documents at either end of a score that the first and last bar of its histogram take in, whatever their values."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """How a score is distributed over all documents that were read, by declared origin."""

    edges: np.ndarray
    """float64 (bars + 1): the first and the last bar hold whatever lies beyond them, too."""
    counts: dict[str, np.ndarray]
    """int64 (bars) for each declared origin that occurs."""
    missing: dict[str, int]
    """Documents that have no such score, by declared origin."""


class ScoredColumns:
    """Columns of all scored shards together, in the order of addresses; each is read at its first use and kept. Safe between threads."""

    def __init__(self, shards: Sequence[ScoredShard]):
        self.shards = tuple(shards)
        self.first_rows = np.cumsum([0, *(shard.num_rows for shard in shards)])
        with open_arrow(self.shards[0].path) as file:
            self.schema = pq.read_schema(file)
        self._read: dict[str, pa.ChunkedArray] = {}
        self._codes: dict[str, tuple[np.ndarray, list[str]]] = {}
        self._lock = threading.Lock()

    @property
    def num_documents(self) -> int:
        """Documents in all shards."""
        return int(self.first_rows[-1])

    def table(self, names: Sequence[str]) -> pa.Table:
        """The columns `names`, of all documents."""
        names = list(dict.fromkeys(names))
        with self._lock:
            new = [name for name in names if name not in self._read]
            if new:
                parts = []
                for shard in self.shards:
                    with open_arrow(shard.path) as file:
                        parts.append(pq.read_table(file, columns=new, use_threads=False).select(new))
                self._read |= dict(zip(new, pa.concat_tables(parts).combine_chunks().columns, strict=True))
            return pa.table({name: self._read[name] for name in names})

    def codes(self, name: str) -> tuple[np.ndarray, list[str]]:
        """(int32 codes, their values) of a column of words; documents without one have the value ``. Kept: asked for at every change."""
        if name not in self._codes:
            column = pc.fill_null(self.table([name])[name].cast(pa.string()), "").combine_chunks().dictionary_encode()
            self._codes[name] = column.indices.to_numpy(), column.dictionary.to_pylist()
        return self._codes[name]

    def numbers(self, name: str) -> np.ndarray:
        """float32 of a numeric column, nan where a document has none."""
        column = self.table([name])[name]
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        # Through float64, which holds every count exactly, so that float32 rounds once.
        return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy().astype(np.float32)

    def is_numeric(self, name: str) -> bool:
        """Whether the shards have a column of numbers of this name."""
        return name in self.schema.names and (
            pa.types.is_integer(self.schema.field(name).type) or pa.types.is_floating(self.schema.field(name).type)
        )

    def declared(self) -> np.ndarray:
        """uint8: place of each document's declared origin in `DECLARED_ORIGINS`."""
        place = pc.index_in(self.table(["origin"])["origin"], value_set=pa.array(DECLARED_ORIGINS))
        return place.to_numpy().astype(np.uint8)

    def places(self, addresses: np.ndarray) -> np.ndarray:
        """Where documents (uint64 addresses) stand among all."""
        return self.first_rows[shards_of(addresses)] + rows_of(addresses)

    def rows(self, places: Sequence[int], names: Sequence[str]) -> list[dict]:
        """Columns `names` of the documents at `places`, read from their row groups: what shows text. In the order of `places`."""
        found: dict[int, dict] = {}
        wanted = [name for name in names if name in self.schema.names]
        shards = np.searchsorted(self.first_rows, places, side="right") - 1
        for shard in np.unique(shards):
            mine = [place for place, of in zip(places, shards, strict=True) if of == shard]
            with open_arrow(self.shards[shard].path) as file:
                read = _read_rows(pq.ParquetFile(file), [place - int(self.first_rows[shard]) for place in mine], wanted)
            found |= dict(zip(mine, read, strict=True))
        return [found[place] for place in places]


def histogram(values: np.ndarray, declared: np.ndarray, marks: Sequence[float] = ()) -> Histogram:
    """The histogram of `values` (float32, nan = none) by declared origin; `marks` are bounds that must lie within it.

    Whole numbers of a small range get a bar each; else the bars are even between the `TAIL_SHARE` quantiles.
    """
    present = ~np.isnan(values)
    known = values[present].astype(np.float64)
    marks = [mark for mark in marks if mark is not None and np.isfinite(mark)]
    low, high = 0.0, 1.0
    if len(known):
        low, high = float(np.quantile(known, TAIL_SHARE, method="lower")), float(np.quantile(known, 1 - TAIL_SHARE, method="higher"))
    low, high = min([low, *marks]), max([high, *marks])
    if len(known) and not (known % 1).any():
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        edges = np.arange(np.floor(low), np.floor(high) + step + 1, step) - 0.5
    else:
        spare = (high - low) / BINS or 0.5
        edges = np.linspace(low, high if high > low else low + spare, BINS + 1)
    bars = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    origins = declared[present]
    counts, missing = {}, {}
    for code, name in enumerate(DECLARED_ORIGINS):
        if (declared == code).any():
            counts[name] = np.bincount(bars[origins == code], minlength=len(edges) - 1)
            missing[name] = int(np.count_nonzero(~present & (declared == code)))
    return Histogram(edges, counts, missing)


def nearest(margin: np.ndarray, row_keys: np.ndarray, count: int, among: np.ndarray | None = None) -> tuple[list[int], list[int]]:
    """Places of the `count` documents nearest to a bound on either side: those that keep it (margin 0 or above) and those that do not.

    `margin` is signed and nan where the bound does not apply; `among` (bool) leaves some out. Of equal margins the smallest row keys come first, so
    the same documents are shown whatever the order of files.
    """
    sides = []
    for side in (margin >= 0, margin < 0):
        places = np.flatnonzero(side if among is None else side & among)
        distance = np.abs(margin[places])
        if len(places) > count:
            furthest = np.partition(distance, count - 1)[count - 1]
            places = places[distance <= furthest]
        order = np.lexsort((row_keys[places], np.abs(margin[places])))[:count]
        sides.append([int(place) for place in places[order]])
    return sides[0], sides[1]


def by_hash(among: np.ndarray, row_keys: np.ndarray, count: int, skip: int = 0) -> list[int]:
    """Places of `count` documents `among` (bool) all, those with the smallest row keys after the first `skip`: a fixed random sample."""
    places = np.flatnonzero(among)
    if len(places) > skip + count:
        places = places[np.argpartition(row_keys[places], skip + count)[: skip + count]]
    return [int(place) for place in places[np.argsort(row_keys[places])][skip : skip + count]]


def _read_rows(file: pq.ParquetFile, rows: Sequence[int], names: Sequence[str]) -> list[dict]:
    ends = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
    groups = np.searchsorted(ends, rows, side="right")
    found: dict[int, dict] = {}
    for group in np.unique(groups):
        mine = [row for row, of in zip(rows, groups, strict=True) if of == group]
        first = int(ends[group]) - file.metadata.row_group(int(group)).num_rows
        table = file.read_row_group(int(group), columns=list(names), use_threads=False)
        found |= dict(zip(mine, table.take(pa.array([row - first for row in mine])).to_pylist(), strict=True))
    return [found[row] for row in rows]


assert set(DECLARED_ORIGINS) <= set(ORIGIN_NAMES)
