"""The mix with groups: all promises at once, in integers, and of the mixes that keep them the one that is wanted most.

A mix is one prefix of each cell in its order of priority (`group_promises` says what a cell is), so all promises are linear in what the cells
give. Of the mixes that keep every promise it takes, in this order,

1. one with the most text within the sizes (in tokens where they alone are limited, in documents likewise, else in the quota's unit);
2. of these, one with the most other text up to its share 1 - q: the rule of a mix without groups, in which human text fills the rest;
3. of these, one in which groups with weights come as near to their proportion as there is text (the largest least share first, as water fills);
4. of these, one near the best by priority: one cut through the order of all documents, wherever no promise tells cells apart.

A solver proposes, in floating point; every promise is then checked on the whole numbers that came out, and no plan leaves here that breaks one.
**In documents** the plan is the best over prefixes, at any size. **In tokens and bytes** documents are lumps: a relaxed plan says near which
documents each cell's cut lies, and the best is sought among those single documents. Up to `EXACT_DOCUMENTS` documents that is the best there is;
beyond, it is within the largest document of it.

**Shards.** Each published file holds the quota. In documents the files carry together the sum of their floors, which the program knows exactly.
In other units a document that a boundary falls into has to fit elsewhere. With C units that the n files can carry and T units of other text, the
last of at most n - 1 such documents finds room if C - T >= (n - 1) x the largest: were every file's room smaller than its size z, all rooms together
would be below n z; but they are C - T + z at least, which is n z or more. C is at least the human text x (1 - q) / q less what n floors lose. So with
that margin every document finds its place, whatever the shuffle, and what was promised of groups is published.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from transforms.bound_mix import count_shards
from transforms.cell_steps import CellSteps
from transforms.explain_conflict import Conflict, explain_conflict
from transforms.group_promises import DOCUMENTS, Cells, Promise, Row, counts_documents_only, make_promises, sizes_of
from transforms.mix_program import (
    HeldMix,
    MixProgram,
    document_program,
    documents_program,
    hold_shards,
    relaxed_program,
    segment_program,
    shards_hold,
)
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Amount
from transforms.share_out import share_out

EXACT_DOCUMENTS = 160
"""Documents up to which the best mix in tokens or bytes is sought among all of them, rather than to within one document."""
WINDOW_DOCUMENTS = 320
"""Documents beyond that between which cuts in tokens or bytes are sought, of all cells together; at least 2 of each."""
WIDENINGS = (1, 4, 16)
"""Times that many where no whole documents among them keep every promise."""
RELAXATIONS = 4
"""Rounds in which a relaxed plan learns how much of other units the text that it takes has."""


@dataclass(frozen=True, eq=False)
class CellPlan:
    """What a mix takes of each cell."""

    amounts: np.ndarray
    """int64 (c, 3): of each cell, in each unit; of a relaxed plan, or of one over lumps, about."""
    num_shards: int
    """Published files; 0 where nothing is published."""
    conflict: Conflict | None
    """Why promises and wanted size cannot all be had."""
    unsharded: Amount
    """What would be published if all of it were one file, about."""
    promises: tuple[Promise, ...]
    """What is kept, least numbers that cannot be had lowered to what can."""


def plan_cells(steps: CellSteps, settings: MixSettings, relaxed: CellPlan | None = None) -> CellPlan:
    """The plan over cells; exact where all steps that it may cut are single documents, or all promises are in documents.

    `relaxed`: the plan over lumps by which documents were opened, where not all are. The same for the same documents and settings.
    """
    return _Planner(steps, settings, relaxed).plan()


def is_relaxed(steps: CellSteps, settings: MixSettings) -> bool:
    """Whether a plan over these steps only says which documents to open."""
    return not (counts_documents_only(settings) or steps.is_all_open)


class _Planner:
    def __init__(self, steps: CellSteps, settings: MixSettings, relaxed: CellPlan | None):
        self.steps, self.settings, self.relaxed = steps, settings, relaxed
        self.cells: Cells = steps.table
        self.unit = UNITS.index(settings.quota_unit)
        limited = {unit for _, unit, _ in sizes_of(settings)}
        self.size_unit = limited.pop() if len(limited) == 1 else self.unit
        self.promises = make_promises(self.cells, settings)
        self.in_documents = counts_documents_only(settings)
        self.is_lumped = relaxed is None and is_relaxed(steps, settings)
        self.is_small = len(steps.cells) <= EXACT_DOCUMENTS
        self.size: tuple[int, int] | None = None
        self.alone, self.widening = False, 1
        self.all = np.ones(len(steps.patterns), np.int64)
        whole = self.cells.amounts[:, [self.unit]]
        self.densities = self.cells.amounts / np.maximum(1, whole)
        self.largest = self.cells.largest_of(self.all > 0, self.unit)

    def plan(self) -> CellPlan:
        if not len(self.steps.patterns):
            return CellPlan(np.empty((0, 3), np.int64), 0, None, Amount(), ())
        for _ in range(RELAXATIONS if self.is_lumped else 1):
            made = self._plan_once()
            if self.is_lumped and not self._learn(made.amounts):
                break
        return made

    def _plan_once(self) -> CellPlan:
        kept, conflict = self._hardened(0), None
        found = self._best(kept, 0)
        self.size = self._nearest_size(found.amounts)
        unsharded = self._in_order(found.amounts)
        shards = self._count_shards(unsharded)
        if self.relaxed is not None:
            conflict = self.relaxed.conflict
        elif not self._keeps_all([*self.promises, self._wanted(self.cells)], found.amounts):
            conflict = explain_conflict(
                self.cells, lambda cells: [*make_promises(cells, self.settings), self._wanted(cells)], self.settings, self._keeps
            )
        if shards > 1 and self.settings.human_quota > 0:
            kept = self._hardened(shards)
            found = self._best(kept, shards)
            if conflict is None and not self._keeps_all(self.promises, found.amounts):
                conflict = self._conflict_in(shards)
        amounts, human = self._in_order(found.amounts), self.cells.is_human
        if self.settings.human_quota > 0:
            shards = min(shards, max(1, int(amounts[human, DOCUMENTS].sum() + 1e-6)))
        return CellPlan(_floor(amounts), shards if amounts[:, DOCUMENTS].sum() else 0, conflict, self._amount(unsharded), tuple(kept))

    def _in_order(self, amounts: np.ndarray) -> np.ndarray:
        # Programs in documents know but the mean of what these hold.
        return self.steps.of_documents(amounts[:, DOCUMENTS]) if self.in_documents else amounts

    def _conflict_in(self, shards: int) -> Conflict | None:
        name = self._of_shards(shards, self.cells).name

        def demand(cells: Cells) -> list[Promise]:
            return [*make_promises(cells, self.settings), self._of_shards(shards, cells)]

        def keeps(promises: list[Promise]) -> np.ndarray | None:
            rest = [promise for promise in promises if promise.name != name]
            return self._keeps(rest, shards if len(rest) < len(promises) else 0)

        return explain_conflict(self.cells, demand, self.settings, keeps)

    def _keeps_all(self, promises: list[Promise], amounts: np.ndarray) -> bool:
        # A relaxed plan keeps promises as well as floating point and the floors of its cells can.
        return all((_loosened(promise) if self.is_lumped else promise).is_kept(_floor(amounts)) for promise in promises)

    def _wanted(self, cells: Cells) -> Promise:
        """The wanted size as a least one."""
        named, everything = sizes_of(self.settings), np.ones(len(cells.patterns), np.int64)
        something = Row(-everything, DOCUMENTS, -1)
        if self.size is None:
            return Promise("publishing anything", (something,))
        unit, least = self.size
        return Promise("reaching " + " or ".join(f"{key} = {most:,}" for key, _, most in named), (Row(-everything, unit, -least), something))

    def _nearest_size(self, amounts: np.ndarray) -> tuple[int, int] | None:
        """Unit and least number of the size that a mix is nearest to: what it alone would let in, but for one document where tokens or bytes count."""
        present, sizes = self.cells.amounts.sum(axis=0).tolist(), []
        for _, unit, limit in sizes_of(self.settings):
            most = min(limit, present[unit])
            least = most if self.in_documents else max(0, most - self.cells.largest_of(self.all > 0, unit))
            sizes.append((float(amounts[:, unit].sum() + 1) / (least + 1), unit, least))
        return max(sizes)[1:] if sizes else None

    def _hardened(self, shards: int) -> list[Promise]:
        """The promises, with least numbers that cannot all be had lowered to what can; sets aside other text where files cannot carry any."""
        self.alone = False
        if self._keeps(self.promises, shards) is not None:
            return self.promises
        if shards > 1:
            self.alone = True
            if self._keeps(self.promises, shards) is not None:
                return self.promises
            self.alone = False
        made = self._lowered(shards)
        if made is None and shards > 1:
            self.alone = True
            made = self._lowered(shards)
        if made is None:
            raise RuntimeError("mix: the solver finds that publishing nothing breaks a promise of the groups; please report the recipe")
        return made

    def _lowered(self, shards: int) -> list[Promise] | None:
        soft = [row for promise in self.promises for row in promise.rows if row.is_soft]
        found = self._start([replace(promise, rows=tuple(row for row in promise.rows if not row.is_soft)) for promise in self.promises], shards)
        slack = found.program.add_columns(len(soft))
        for row, column in zip(soft, slack, strict=True):
            found.mixer.hold(found.program, row, np.array([column]))
        mean = self.cells.amounts.sum(axis=0) / max(1, int(self.cells.amounts[:, DOCUMENTS].sum()))
        if not found.improve((slack, np.array([1 / max(mean[row.unit], 1e-9) for row in soft]))):
            return None
        lost = {id(row): max(0, row.excess(_floor(found.amounts))) for row in soft}

        def lower(row: Row) -> Row:
            return Row(row.weights, row.unit, row.most + lost[id(row)], True) if row.is_soft else row

        return [replace(promise, rows=tuple(lower(row) for row in promise.rows)) for promise in self.promises]

    def _keeps(self, promises: list[Promise], shards: int = 0) -> np.ndarray | None:
        """Amounts of a mix that keeps the promises; None where there is none."""
        found = self._start(promises, shards)
        return _floor(found.amounts) if found.improve((np.empty(0, int), np.empty(0))) else None

    def _start(self, promises: list[Promise], shards: int) -> HeldMix:
        mixer = self._mixer()
        found = HeldMix(mixer, mixer.program.copy(), [])
        for promise in [*promises, *([self._of_shards(shards, self.cells)] if shards > 1 else ())]:
            for row in promise.rows:
                found.lock(row)
        if shards > 1 and self.in_documents and not self.alone:
            hold_shards(mixer, found.program, self.cells, shards, self.settings)
        return found

    def _best(self, promises: list[Promise], shards: int) -> HeldMix:
        """The best mix that keeps the promises, all of which can be kept; in one file if `shards` is 0."""
        if self.relaxed is not None:
            return self._round(promises, shards)
        found = self._start(promises, shards)
        if not found.improve(self._objective(found.mixer, self.all, self.size_unit), maximise=True):
            raise RuntimeError("mix: the solver loses a mix that it found before; please report the recipe")
        size = found.amounts[:, self.size_unit].sum()
        found.lock(Row(-self.all, self.size_unit, -int(size)))
        self._fill_share(found, float(size))
        share_out(found, self.cells, self.settings.groups, self.unit, self._targets)
        self._near(found, self._targets(found), 0.5)
        is_sharded = self.in_documents and shards > 1 and not self.alone
        if is_sharded and not shards_hold(found.amounts, self.cells.is_human, shards, self.settings):
            raise RuntimeError("mix: the solver lets files hold more other documents than their human ones carry; please report the recipe")
        return found

    def _round(self, promises: list[Promise], shards: int) -> HeldMix:
        """Whole documents near a relaxed plan, of as much text but for one document."""
        targets, least = self.relaxed.amounts[:, self.unit].astype(np.float64), int(self.relaxed.amounts[:, self.size_unit].sum())
        for self.widening in WIDENINGS:
            found = self._start(promises, shards)
            found.lock(Row(-self.all, self.size_unit, -max(0, least - self.cells.largest_of(self.all > 0, self.size_unit))))
            if self._near(found, targets, float(self.largest)):
                return found
        found = self._start(promises, shards)
        if not found.improve(self._objective(found.mixer, self.all, self.size_unit), maximise=True, gap=float(self.largest)):
            raise RuntimeError("mix: no whole documents near the best mix keep every promise of the groups; widen an exact share by a little")
        return found

    def _fill_share(self, found: HeldMix, size: float) -> None:
        """Lets as much other text in as its share 1 - q of the size allows, and holds it."""
        other = (~self.cells.is_human).astype(np.int64)
        mixer, most = found.mixer, float(1 - self.settings.human_quota) * size / found.mixer.scale
        level = found.program.add_columns(1, max(0.0, most))
        values, constant = mixer.terms(other, self.size_unit)
        found.program.add_row(np.append(mixer.columns, level), np.append(values, -1), lower=-constant)
        found.improve((level, np.ones(1)), maximise=True)
        reached = min(int(found.amounts[~self.cells.is_human, self.size_unit].sum()), int(most * mixer.scale))
        found.lock(Row(-other, self.size_unit, -reached))

    def _targets(self, found: HeldMix) -> np.ndarray:
        """Text of each cell that is best by priority among the mixes that hold all so far; not in whole documents."""
        mixer, costs = segment_program(self.steps, self.unit, self.densities)
        program = mixer.program.copy()
        for row in found.rows:
            # What is held in whole documents is held to within the floating point of parts of them.
            mixer.hold(program, Row(row.weights, row.unit, row.most + 1e-6 * max(1.0, abs(row.most))))
        values = program.solve(mixer.columns, costs)
        return (found if values is None else HeldMix(mixer, program, [], values)).amounts[:, self.unit].astype(np.float64)

    def _near(self, found: HeldMix, targets: np.ndarray, gap: float) -> bool:
        """Brings the cells as near to the targets as all that is held allows."""
        mixer, program = found.mixer, found.program
        apart = []
        for cell, target in enumerate(targets.tolist()):
            of = np.zeros(len(targets), np.int64)
            of[cell] = 1
            values, constant = mixer.terms(of, self.unit)
            columns = program.add_columns(2)
            aim = target / mixer.scale - constant
            program.add_row(np.append(mixer.columns, columns), np.append(values, [1, -1]), aim, aim)
            apart.append(columns)
        columns = np.concatenate(apart)
        return found.improve((columns, np.ones(len(columns))), gap=gap)

    def _objective(self, mixer: MixProgram, weights: np.ndarray, unit: int) -> tuple[np.ndarray, np.ndarray]:
        return mixer.columns, mixer.terms(weights, unit)[0]

    def _mixer(self) -> MixProgram:
        if self.in_documents:
            return documents_program(self.steps)
        if self.is_lumped:
            return relaxed_program(self.steps, self.unit, self.densities)
        return document_program(self.steps, *self._windows())

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of each cell between which its cut is sought, all of them single documents."""
        counts = np.diff(self.steps.starts)
        if self.relaxed is None and self.is_small:
            return np.zeros_like(counts), counts
        near = self._near_targets()
        reach = self.widening * max(1, WINDOW_DOCUMENTS // (2 * max(1, len(counts))))
        lows, highs = np.maximum(0, near - reach), np.minimum(counts, near + reach)
        for cell, begin in enumerate(self.steps.starts[:-1]):
            is_open = self.steps.is_open[begin : begin + counts[cell]]
            shut = np.flatnonzero(~is_open)
            lows[cell] = max([lows[cell], *(shut[shut < near[cell]] + 1)])
            highs[cell] = min([highs[cell], *shut[shut >= near[cell]]])
        return lows, highs

    def _near_targets(self) -> np.ndarray:
        if self.relaxed is None:
            # All documents are open, but they are too many to be tried one by one: where to try is told by the relaxed plan over them.
            planner = _Planner(self.steps, self.settings, None)
            planner.is_lumped = True
            self.relaxed = planner.plan()
        return self.steps.places(self.relaxed.amounts[:, self.unit], self.unit)

    def _of_shards(self, shards: int, cells: Cells) -> Promise:
        """What files need beside what `hold_shards` says: human documents for each, and in tokens and bytes room for what straddles."""
        human, q = cells.is_human, self.settings.human_quota
        rows = [Row(-human.astype(np.int64), DOCUMENTS, -shards)]
        if self.alone:
            rows = [Row((~human).astype(np.int64), DOCUMENTS, 0)]
        elif not self.in_documents:
            p, d = (1 / q - 1).numerator, (1 / q - 1).denominator
            margin = shards * (d - 1) + d * (shards - 1) * cells.largest_of(~human, self.unit)
            rows.append(Row(np.where(human, -p, d).astype(np.int64), self.unit, -margin))
        return Promise(f"the human quota in each of {shards:,} files", tuple(rows))

    def _count_shards(self, amounts: np.ndarray) -> int:
        if self.relaxed is not None:
            return self.relaxed.num_shards
        human = self.cells.is_human
        return count_shards(self._amount(amounts[human]), self._amount(amounts[~human]), self.settings)

    def _amount(self, amounts: np.ndarray) -> Amount:
        return Amount(*(int(total) for total in np.floor(amounts.sum(axis=0) + 1e-6)))

    def _learn(self, amounts: np.ndarray) -> bool:
        """Takes the densities of what a relaxed plan takes; whether they changed."""
        inside = self.steps.prefix(np.minimum(self.steps.places(amounts[:, self.unit], self.unit) + 1, np.diff(self.steps.starts)))
        learnt = np.where(inside[:, [self.unit]] > 0, inside / np.maximum(1, inside[:, [self.unit]]), self.densities)
        changed = not np.allclose(learnt, self.densities, rtol=1e-3)
        self.densities = learnt
        return changed


def _floor(amounts: np.ndarray) -> np.ndarray:
    return np.floor(amounts + 1e-6).astype(np.int64)


def _loosened(promise: Promise) -> Promise:
    """The promise, but for what floating point and the floors of all cells may lose of it."""

    def loosen(row: Row) -> Row:
        lost = int(np.abs(row.weights).sum()) + abs(row.most) // 10**9
        return Row(row.weights, row.unit, row.most + lost, row.is_soft)

    return replace(promise, rows=tuple(loosen(row) for row in promise.rows))
