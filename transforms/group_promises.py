"""Everything that a mix with groups must hold, as integer rows over cells of documents that are alike in all of it.

A cell holds the documents that are equal in what counts: human or not, fresh or not, and the groups and reserves that they are of. Each promise
is one row or two, `sum of weight x amount <= most` in documents, tokens or bytes, with whole numbers throughout: whether a mix keeps it is a matter
of integer arithmetic, whatever proposed the mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from transforms.group_members import FIRST_GROUP_BIT, FRESH_BIT, HUMAN_BIT
from transforms.group_settings import Group, parent_places
from transforms.mix_settings import UNITS, MixSettings

DOCUMENTS, TOKENS = UNITS.index("documents"), UNITS.index("tokens")
"""Columns of amounts."""


@dataclass(frozen=True, eq=False)
class Cells:
    """What there is, cell by cell."""

    patterns: np.ndarray
    """int64 (c,): bits of `group_members.read_cells`, ascending."""
    amounts: np.ndarray
    """int64 (c, 3): documents, tokens, bytes."""
    largest: np.ndarray
    """int64 (c, 3): of the largest document in each unit."""

    @property
    def is_human(self) -> np.ndarray:
        """bool (c,): counts as human."""
        return (self.patterns & HUMAN_BIT) > 0

    @property
    def is_fresh(self) -> np.ndarray:
        """bool (c,): human and fresh; all false where no fresh share is asked for."""
        return (self.patterns & FRESH_BIT) > 0

    def of_bit(self, place: int) -> np.ndarray:
        """bool (c,): of the group or reserve at this place, groups first."""
        return (self.patterns >> (FIRST_GROUP_BIT + place) & 1) > 0

    def largest_of(self, of: np.ndarray, unit: int) -> int:
        """Units of the largest document of these cells; 0 of none."""
        return int(self.largest[of, unit].max(initial=0))


@dataclass(frozen=True, eq=False)
class Row:
    """sum of weights x amounts of the cells <= most."""

    weights: np.ndarray
    """int64 (c,)."""
    unit: int
    """Column of the amounts."""
    most: int
    """Inclusive."""
    is_soft: bool = False
    """Whether a mix that cannot have it holds as much of it as can be, where a smaller mix was asked for: a least number of documents."""
    tolerance: int = 0
    """How much of `most` is there only because documents are whole: a relaxed plan aims without it."""

    def excess(self, amounts: np.ndarray) -> int:
        """By how much the amounts (int64 (c, 3)) break it, exactly; 0 or less where they keep it."""
        pairs = zip(self.weights.tolist(), amounts[:, self.unit].tolist(), strict=True)
        return sum(weight * amount for weight, amount in pairs) - self.most


@dataclass(frozen=True, eq=False)
class Promise:
    """One thing that was asked for, under the name that the user gave it."""

    name: str
    """Such as `groups.german.share = 0.4`."""
    rows: tuple[Row, ...]
    """All of them hold, or the promise is broken."""
    bit: int = -1
    """Place of the group or reserve that it is about; -1: none."""
    measure: float | None = None
    """The share or number that its group has among all there is; None: it is about no group."""
    limit: float = 0.0
    """What that may be, or must be, in what is published."""

    def is_kept(self, amounts: np.ndarray) -> bool:
        """Whether amounts (int64 (c, 3)) keep it, exactly."""
        return all(row.excess(amounts) <= 0 for row in self.rows)


def make_promises(cells: Cells, settings: MixSettings) -> list[Promise]:
    """What the settings promise, but for the wanted size as a least one and for the quota of single shards. In a fixed order."""
    human, everything = cells.is_human, np.ones(len(cells.patterns), bool)
    unit = UNITS.index(settings.quota_unit)
    promises = []
    if settings.human_quota > 0:
        # Text without a token is none that human text could outweigh: beside it stands one human document at least.
        alone = np.where(human, -max(1, int(cells.amounts[~human, DOCUMENTS].sum())), 1)
        rows = (at_least(human, everything, settings.human_quota, unit), Row(alone, DOCUMENTS, 0))
        promises.append(Promise(f"human_quota = {say(settings.human_quota)}", rows))
    if settings.min_fresh_human:
        whole, of = (everything, " of all") if settings.fresh_share_of == "all" else (human, "")
        rows = (at_least(cells.is_fresh, whole, settings.min_fresh_human, unit),)
        promises.append(Promise(f"min_fresh_human = {say(settings.min_fresh_human)}{of}", rows))
    for key, size_unit, most in sizes_of(settings):
        promises.append(Promise(f"{key} = {most:,}", (Row(everything.astype(np.int64), size_unit, most),)))
    for place, (group, parent) in enumerate(zip(settings.groups, parent_places(settings.groups), strict=True)):
        of, whole = cells.of_bit(place), everything if parent < 0 else cells.of_bit(parent)
        for key, rows, limit in _group_rows(group, of, whole, unit, cells):
            counted = TOKENS if "tokens" in key else DOCUMENTS if "documents" in key else unit
            part, all_of = (int(cells.amounts[mask, counted].sum()) for mask in (of, whole))
            measure = part / max(1, all_of) if "share" in key else part
            promises.append(Promise(f"groups.{group.name}.{key}", rows, place, measure, float(limit)))
    for place, reserve in enumerate(settings.reserve, len(settings.groups)):
        row = Row(-cells.of_bit(place).astype(np.int64), DOCUMENTS, -reserve.documents, is_soft=True)
        promises.append(Promise(f"reserve.{reserve.name} = {reserve.documents:,}", (row,), place))
    return promises


def sizes_of(settings: MixSettings) -> list[tuple[str, int, int]]:
    """(key, unit, most) of each wanted size."""
    keys = (("max_documents", DOCUMENTS), ("max_tokens", TOKENS))
    return [(key, unit, getattr(settings, key)) for key, unit in keys if getattr(settings, key) is not None]


def counts_documents_only(settings: MixSettings) -> bool:
    """Whether every promise is counted in documents: then each document is one, and plans are exact at any size."""
    of_groups = any(getattr(group, key) is not None for group in settings.groups for key in ("tokens", "min_tokens", "max_tokens"))
    return settings.quota_unit == "documents" and settings.max_tokens is None and not of_groups


def at_least(part: np.ndarray, whole: np.ndarray, share: Fraction, unit: int, tolerance: int = 0) -> Row:
    """part >= share x whole, up to `tolerance` / share's denominator. Masks of cells (bool (c,))."""
    weights = share.numerator * whole.astype(np.int64) - share.denominator * part.astype(np.int64)
    return Row(weights, unit, tolerance, tolerance=tolerance)


def at_most(part: np.ndarray, whole: np.ndarray, share: Fraction, unit: int, tolerance: int = 0) -> Row:
    """part <= share x whole, likewise."""
    return Row(-at_least(part, whole, share, unit).weights, unit, tolerance, tolerance=tolerance)


def say(share: Fraction) -> str:
    """A share as one writes it."""
    return f"{float(share):g}" if Fraction(f"{float(share):g}") == share else str(share)


def _group_rows(group: Group, of: np.ndarray, whole: np.ndarray, unit: int, cells: Cells) -> list[tuple[str, tuple[Row, ...], Fraction | int]]:
    found: list[tuple[str, tuple[Row, ...], Fraction | int]] = []
    if group.share is not None:
        # Less than one document away in documents; in other units, no more than the group's largest.
        is_counted = unit == DOCUMENTS
        tolerance = group.share.denominator - 1 if is_counted else group.share.denominator * cells.largest_of(of, unit)
        rows = (at_least(of, whole, group.share, unit, tolerance), at_most(of, whole, group.share, unit, tolerance))
        found.append((f"share = {say(group.share)}", rows, group.share))
    if group.min_share is not None:
        found.append((f"min_share = {say(group.min_share)}", (at_least(of, whole, group.min_share, unit),), group.min_share))
    if group.max_share is not None:
        found.append((f"max_share = {say(group.max_share)}", (at_most(of, whole, group.max_share, unit),), group.max_share))
    for name, count_unit in (("documents", DOCUMENTS), ("tokens", TOKENS)):
        exact, least, most = (getattr(group, f"{bound}{name}") for bound in ("", "min_", "max_"))
        tolerance = cells.largest_of(of, TOKENS) if count_unit == TOKENS else 0
        member = of.astype(np.int64)
        if exact is not None:
            rows = (Row(-member, count_unit, tolerance - exact, True, tolerance), Row(member, count_unit, exact + tolerance, tolerance=tolerance))
            found.append((f"{name} = {exact:,}", rows, exact))
        if least is not None:
            found.append((f"min_{name} = {least:,}", (Row(-member, count_unit, -least, is_soft=True),), least))
        if most is not None:
            found.append((f"max_{name} = {most:,}", (Row(member, count_unit, most),), most))
    return found


def sibling_weights(cells: Cells, groups: Sequence[Group]) -> list[list[tuple[np.ndarray, Fraction]]]:
    """For each parent, top down, its groups that have a weight, as (mask of cells, weight)."""
    parents = parent_places(groups)
    found = []
    for parent in sorted(set(parents)):
        siblings = [place for place, of in enumerate(parents) if of == parent and groups[place].weight is not None]
        if len(siblings) > 1:
            found.append([(cells.of_bit(place), groups[place].weight) for place in siblings])
    return found
