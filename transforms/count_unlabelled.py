"""Counts the detector's scores of documents whose origin nobody declared: what the estimate of how much of them is AI text needs.

A few hundred numbers a source, made where a shard is scored and kept in its metadata, so that a remix estimates without reading scores again.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.prevalence import SHAPE, count_scores
from transforms.records import Origin

COLUMNS = ("source", "origin", "words", "ai_probability")
"""What is counted from."""


@dataclass(frozen=True, order=True)
class UnlabelledScores:
    """Scores of one source's documents of unknown origin."""

    source: str
    """Name of the input."""
    documents: int
    """Documents of unknown origin, judged or not."""
    cells: tuple[tuple[int, int], ...]
    """(cell of `classifiers.prevalence.SHAPE`, row after row; documents in it) of those that the detector could judge, without zeros, ascending."""

    def counts(self) -> np.ndarray:
        """int64[length groups, bins]: what `count_scores` gave."""
        flat = np.zeros(SHAPE[0] * SHAPE[1], np.int64)
        for cell, documents in self.cells:
            flat[cell] = documents
        return flat.reshape(SHAPE)


def count_unlabelled(table: pa.Table) -> tuple[UnlabelledScores, ...]:
    """One `UnlabelledScores` for each source of `table` that has documents of unknown origin, sorted; none where no detector scored.

    `table` holds `COLUMNS` of a scored shard.
    """
    if "ai_probability" not in table.column_names:
        return ()
    unknown = table.select(COLUMNS).filter(pc.equal(table["origin"], Origin.UNKNOWN.value))
    found = []
    for source in sorted(pc.unique(unknown["source"]).to_pylist()):
        rows = unknown.filter(pc.equal(unknown["source"], source))
        probability = pc.fill_null(rows["ai_probability"], np.nan).to_numpy().astype(np.float32)
        counts = count_scores(probability, rows["words"].to_numpy().astype(np.int32)).ravel()
        cells = tuple((int(cell), int(counts[cell])) for cell in np.flatnonzero(counts))
        found.append(UnlabelledScores(source, rows.num_rows, cells))
    return tuple(found)


def add_unlabelled(parts: Iterable[UnlabelledScores]) -> tuple[UnlabelledScores, ...]:
    """The parts of each source added up, sorted by source."""
    documents: Counter = Counter()
    cells: dict[str, Counter] = {}
    for part in parts:
        documents[part.source] += part.documents
        cells.setdefault(part.source, Counter()).update(dict(part.cells))
    return tuple(UnlabelledScores(source, documents[source], tuple(sorted(cells[source].items()))) for source in sorted(documents))
