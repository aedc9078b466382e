"""What the mix counts with: amounts of text, and strata as steps in order of priority, cumulated.

A step is one document, or a lump of many (a bin of a histogram); a `Cut` says between which steps a prefix ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from transforms.mix_settings import UNITS

Limit = tuple[int | None, ...]
"""Most units, one figure for each of `UNITS`; None: any."""
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Amount:
    """How much text, in each unit."""

    documents: int = 0
    """Number of documents."""
    tokens: int = 0
    """Tokens, by the tokenizer that scored the text."""
    bytes: int = 0
    """UTF-8 length of the text."""

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.tokens + other.tokens, self.bytes + other.bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.documents - other.documents, self.tokens - other.tokens, self.bytes - other.bytes)

    def __str__(self) -> str:
        return f"{self.documents:,} documents, {self.tokens:,} tokens, {self.bytes:,} bytes"

    def count(self, unit: str) -> int:
        """The figure in `unit`, one of `UNITS`."""
        return getattr(self, unit)


def share_of(human: Amount, other: Amount, unit: str) -> Fraction:
    """human / (human + other) in `unit`; 1 if both are 0."""
    total = human.count(unit) + other.count(unit)
    return Fraction(human.count(unit), total) if total else Fraction(1)


def tighter(one: Limit, two: Limit) -> Limit:
    """What stays within both limits."""
    return tuple(a if b is None else b if a is None else min(a, b) for a, b in zip(one, two, strict=True))


@dataclass(frozen=True)
class Cut:
    """Where a prefix ends, as an interval of step indices: `low` steps are surely in, none from `high` on is."""

    low: int
    """Steps that are wholly in."""
    high: int
    """Steps that are at least partly in, at most; equal to `low` where the end is known."""


class Steps:
    """One stratum in order of priority, cumulated. `units`: int (n, 3), one step a row, columns as `UNITS`, documents >= 1, rest >= 0."""

    def __init__(self, units: np.ndarray):
        units = np.asarray(units, np.int64).reshape(-1, len(UNITS))
        if (units < 0).any() or (units[:, 0] < 1).any():
            raise ValueError("units of a step: must be at least 1 document, and tokens and bytes of 0 or more")
        self.totals = np.zeros((len(UNITS), len(units) + 1), np.int64)
        np.cumsum(units.T, axis=1, out=self.totals[:, 1:])

    def __len__(self) -> int:
        return self.totals.shape[1] - 1

    def amount(self, count: int) -> Amount:
        """The first `count` steps together."""
        return Amount(*(int(total) for total in self.totals[:, count]))

    def longest(self, limit: Limit) -> int:
        """Most steps that stay within the limit (inclusive; None: none) in every unit."""
        counts = [
            int(np.searchsorted(total, min(most, _LARGEST), side="right")) - 1
            for total, most in zip(self.totals, limit, strict=True)
            if most is not None
        ]
        return max(0, min(counts, default=len(self)))

    def shortest(self, unit: str, least: int, most: int) -> int:
        """Fewest steps that hold at least `least` of `unit`; `most` + 1 if the first `most` steps do not."""
        totals = self.totals[UNITS.index(unit)]
        return int(np.searchsorted(totals[: most + 1], min(least, _LARGEST), side="left"))

    def without(self, begin: int, end: int) -> Steps:
        """The steps but for those from `begin` to `end`."""
        return Steps(np.delete(np.diff(self.totals, axis=1).T, slice(begin, end), axis=0))

    def stretch(self, count: int, most: int) -> int:
        """`count` steps, and one more if that is a lump, which may be partly in; `most` steps at most."""
        is_lump = count < most and self.totals[0, count + 1] - self.totals[0, count] > 1
        return count + 1 if is_lump else count

    def cut(self, lowest: Limit, highest: Limit) -> Cut:
        """The longest prefix within a limit that lies between the two."""
        return Cut(self.longest(lowest), self.stretch(self.longest(highest), len(self)))
