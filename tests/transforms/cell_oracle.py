"""Every mix of a few documents, one by one: what the planner of groups is held against. Written from the promises as documented, in fractions.

Nothing of the planner is used here: a mix is a vector of prefix lengths, all of them are listed, and each promise is an array that says which
of them keep it.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np

from transforms.cell_steps import CellSteps
from transforms.mix_settings import MixSettings

UNIT = {"documents": 0, "tokens": 1, "bytes": 2}


def steps_of(documents: list[tuple[int, int, int, int]]) -> CellSteps:
    """Single documents, given as (cell pattern, key, tokens, bytes)."""
    ordered = sorted(documents)
    patterns = sorted({one[0] for one in ordered})
    cells = np.array([patterns.index(one[0]) for one in ordered], np.int64)
    units = np.array([(1, one[2], one[3]) for one in ordered], np.int64).reshape(-1, 3)
    largest = np.array([units[cells == cell].max(axis=0) for cell in range(len(patterns))], np.int64).reshape(-1, 3)
    keys, addresses = np.array([one[1] for one in ordered], np.uint64), np.arange(len(ordered)).astype(np.uint64)
    return CellSteps(np.array(patterns, np.int64), largest, cells, keys, addresses, units, np.ones(len(ordered), bool))


class Oracle:
    """All mixes of some documents, and which of them keep each promise of some settings."""

    def __init__(self, steps: CellSteps, settings: MixSettings):
        self.settings, self.patterns = settings, [int(pattern) for pattern in steps.patterns]
        lists = [steps.units[steps.cells == cell].tolist() for cell in range(len(self.patterns))]
        prefixes = [
            [tuple(sum(column) for column in zip(*rows[:count], strict=True)) or (0, 0, 0) for count in range(len(rows) + 1)] for rows in lists
        ]
        # int64 (mixes, cells, 3)
        self.mixes = np.array(list(itertools.product(*prefixes)), np.int64).reshape(-1, len(self.patterns), 3)
        self.largest = [max((row[unit] for rows in lists for row in rows), default=0) for unit in range(3)]
        self.lists, self.unit = lists, UNIT[settings.quota_unit]
        self.everything = [True] * len(self.patterns)
        self.human = [pattern & 1 > 0 for pattern in self.patterns]
        self.fresh = [pattern & 2 > 0 for pattern in self.patterns]

    def of(self, place: int) -> list[bool]:
        """Cells of a group, or of a reserve after the groups."""
        return [pattern >> (2 + place) & 1 > 0 for pattern in self.patterns]

    def amount(self, cells: list[bool], unit: int) -> np.ndarray:
        """Units in these cells, of every mix."""
        return self.mixes[:, np.array(cells, bool), unit].sum(axis=1) if self.patterns else np.zeros(len(self.mixes), np.int64)

    def compare(self, part: list[bool], share: Fraction, whole: list[bool]) -> np.ndarray:
        """part - share x whole, times the share's denominator, of every mix in the quota's unit."""
        return self.amount(part, self.unit) * share.denominator - self.amount(whole, self.unit) * share.numerator

    def promises(self) -> dict[str, np.ndarray]:
        """Name of each promise -> bool for every mix."""
        settings, found = self.settings, {}
        if settings.human_quota > 0:
            is_human_too = (self.amount(self.human, 0) > 0) | (self.amount(self.everything, 0) == 0)
            held = (self.compare(self.human, settings.human_quota, self.everything) >= 0) & is_human_too
            found[f"human_quota = {_say(settings.human_quota)}"] = held
        if settings.min_fresh_human:
            of_all = settings.fresh_share_of == "all"
            whole = self.everything if of_all else self.human
            name = f"min_fresh_human = {_say(settings.min_fresh_human)}{' of all' if of_all else ''}"
            found[name] = self.compare(self.fresh, settings.min_fresh_human, whole) >= 0
        for key, unit in (("max_documents", 0), ("max_tokens", 1)):
            if getattr(settings, key) is not None:
                found[f"{key} = {getattr(settings, key):,}"] = self.amount(self.everything, unit) <= getattr(settings, key)
        names = [group.name for group in settings.groups]
        for place, group in enumerate(settings.groups):
            mine = self.of(place)
            whole = self.of(names.index(group.within)) if group.within else self.everything
            largest = max((row[self.unit] for cell, is_mine in enumerate(mine) if is_mine for row in self.lists[cell]), default=0)
            if group.share is not None:
                apart = np.abs(self.compare(mine, group.share, whole))
                within_one = apart < group.share.denominator if self.unit == 0 else apart <= group.share.denominator * largest
                found[f"groups.{group.name}.share = {_say(group.share)}"] = within_one
            if group.min_share is not None:
                found[f"groups.{group.name}.min_share = {_say(group.min_share)}"] = self.compare(mine, group.min_share, whole) >= 0
            if group.max_share is not None:
                found[f"groups.{group.name}.max_share = {_say(group.max_share)}"] = self.compare(mine, group.max_share, whole) <= 0
            for unit, name in enumerate(("documents", "tokens")):
                has = self.amount(mine, unit)
                lump = max((row[1] for cell, is_mine in enumerate(mine) if is_mine for row in self.lists[cell]), default=0) if unit else 0
                for bound, value in ((bound, getattr(group, f"{bound}{name}")) for bound in ("", "min_", "max_")):
                    if value is not None:
                        keeps = {"": np.abs(has - value) <= lump, "min_": has >= value, "max_": has <= value}[bound]
                        found[f"groups.{group.name}.{bound}{name} = {value:,}"] = keeps
        for place, reserve in enumerate(settings.reserve, len(names)):
            found[f"reserve.{reserve.name} = {reserve.documents:,}"] = self.amount(self.of(place), 0) >= reserve.documents
        return found

    def size_unit(self) -> int:
        """The unit that text is to be the most in."""
        limited = [unit for unit, most in enumerate((self.settings.max_documents, self.settings.max_tokens)) if most is not None]
        return limited[0] if len(limited) == 1 else self.unit

    def reached(self) -> np.ndarray:
        """Whether each mix comes to one of the sizes, or to all that there is, but for one document."""
        sizes = [(unit, most) for unit, most in enumerate((self.settings.max_documents, self.settings.max_tokens)) if most is not None]
        totals = [(self.amount(self.everything, unit), most, self.largest[unit]) for unit, most in sizes]
        return np.logical_or.reduce([total >= min(most, total.max()) - largest for total, most, largest in totals])

    def wanted(self) -> tuple[str, np.ndarray]:
        """The wanted size as a promise: what the sizes alone let in, but for one document where text is in lumps."""
        limits = {name: keeps for name, keeps in self.promises().items() if name.startswith("max_")}
        total = self.amount(self.everything, self.size_unit())
        something = self.amount(self.everything, 0) >= 1
        if not limits:
            return "publishing anything", something
        within = np.logical_and.reduce(list(limits.values()))
        is_lumped = (
            self.unit
            or self.settings.max_tokens is not None
            or any(getattr(group, f"{b}tokens") is not None for group in self.settings.groups for b in ("", "min_", "max_"))
        )
        if not is_lumped:
            return "reaching " + " or ".join(limits), (total >= total[within].max()) & something
        most = min(
            [m for m, unit in ((self.settings.max_documents, 0), (self.settings.max_tokens, 1)) if m is not None and unit == self.size_unit()]
            + [total.max()]
        )
        return "reaching " + " or ".join(limits), (total >= most - self.largest[self.size_unit()]) & something


def _say(share: Fraction) -> str:
    return f"{float(share):g}" if Fraction(f"{float(share):g}") == share else f"{share.numerator}/{share.denominator}"
