"""The cells of a mix in their orders of priority: lumps of documents as histograms count them, or single documents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from transforms.group_promises import DOCUMENTS, Cells


@dataclass(frozen=True, eq=False)
class CellSteps:
    """Steps of all cells, by cell and then by (key, address)."""

    patterns: np.ndarray
    """int64 (c,): of the cells, ascending."""
    largest: np.ndarray
    """int64 (c, 3): largest document of each cell in each unit."""
    cells: np.ndarray
    """int64 (n,): place of each step's cell among the patterns, ascending."""
    keys: np.ndarray
    """uint64 (n,): priority of the document, or the smallest one of the lump's bin."""
    addresses: np.ndarray
    """uint64 (n,): of the document; 0 for a lump."""
    units: np.ndarray
    """int64 (n, 3): documents, tokens, bytes."""
    is_open: np.ndarray
    """bool (n,): a single document whose address is known."""

    @cached_property
    def starts(self) -> np.ndarray:
        """int64 (c + 1,): where each cell's steps begin, and the last one's end."""
        return np.searchsorted(self.cells, np.arange(len(self.patterns) + 1))

    @cached_property
    def cumulated(self) -> np.ndarray:
        """int64 (n + 1, 3): units of all steps before each, cells one after the other."""
        return np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(self.units, axis=0)])

    @cached_property
    def totals(self) -> np.ndarray:
        """int64 (c, 3): all that each cell holds."""
        return np.diff(self.cumulated[self.starts], axis=0)

    @property
    def is_all_open(self) -> bool:
        """Whether every step is a single document."""
        return bool(self.is_open.all())

    @property
    def table(self) -> Cells:
        """The cells without their order."""
        return Cells(self.patterns, self.totals, self.largest)

    def places(self, amounts: np.ndarray, unit: int) -> np.ndarray:
        """int64 (c,): for each cell how many of its steps lie wholly within its amount of `unit`."""
        found = np.empty(len(self.patterns), np.int64)
        for cell, (begin, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            within = self.cumulated[begin : end + 1, unit] - self.cumulated[begin, unit]
            found[cell] = np.searchsorted(within, amounts[cell], side="right") - 1
        return found

    def prefix(self, places: np.ndarray) -> np.ndarray:
        """int64 (c, 3): the first steps of each cell together."""
        return self.cumulated[self.starts[:-1] + places] - self.cumulated[self.starts[:-1]]

    def of_documents(self, documents: np.ndarray) -> np.ndarray:
        """(c, 3): the first so many documents of each cell together; of a lump that one ends in, in proportion."""
        places = self.places(documents, DOCUMENTS)
        made = self.prefix(places).astype(np.float64)
        rest = documents - made[:, DOCUMENTS]
        lump = self.units[np.minimum(self.starts[:-1] + places, len(self.cells) - 1)]
        return made + lump * (rest / lump[:, DOCUMENTS])[:, None]

    def documents_within(self, documents: np.ndarray) -> np.ndarray:
        """Like `places`, of numbers of documents that end between two steps. Raises RuntimeError if one ends within a lump."""
        places = self.places(documents, DOCUMENTS)
        if not np.array_equal(self.prefix(places)[:, DOCUMENTS], documents):
            raise RuntimeError("mix: a cut of a cell lies in a bin that was not opened")
        return places
