"""A mix over cells as the columns of a program: documents of a cell as one whole number, text of a cell as one number, or document by document.

Which of these it is, the planner does not see: rows over cells become rows over columns, and a solution becomes amounts of the cells again. Where
columns are whole the amounts are exact, and every row is checked on them in integers; a proposal that breaks one is sent back with that row
tightened by what it was broken by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from transforms.bound_mix import shard_capacity
from transforms.cell_steps import CellSteps
from transforms.group_promises import DOCUMENTS, Cells, Row
from transforms.mix_settings import UNITS, MixSettings
from transforms.solve_program import Program

MOST_REPAIRS = 8
"""Times that a proposal is sent back before the run stops."""
SEGMENTS = 1 << 14
"""Pieces that the cells' orders of priority are cut into together, about; from 16 to 1,024 for each cell."""


@dataclass(frozen=True, eq=False)
class MixProgram:
    """Columns for the amounts of cells. amount of a cell = base + sum of units x columns."""

    program: Program
    """The columns, and rows that order them."""
    columns: np.ndarray
    """int64 (m,): their numbers in the program."""
    cells: np.ndarray
    """int64 (m,): the cell of each."""
    units: np.ndarray
    """(m, 3): what one of each column adds, in each of `UNITS`."""
    base: np.ndarray
    """int64 (c, 3): what is in whatever the columns are."""
    scale: float = 1.0
    """What rows are divided by."""
    is_exact: bool = True
    """Whether the columns are whole numbers, and rows are checked in integers."""
    exact_units: tuple[int, ...] = (0, 1, 2)
    """Units in which amounts are exact, if any are; rows are in no others."""

    def terms(self, weights: np.ndarray, unit: int) -> tuple[np.ndarray, float]:
        """What each column adds to a row over cells, and the row's constant, both divided by the scale."""
        constant = sum(weight * amount for weight, amount in zip(weights.tolist(), self.base[:, unit].tolist(), strict=True))
        return weights[self.cells] * self.units[:, unit] / self.scale, constant / self.scale

    def hold(self, program: Program, row: Row, slack: np.ndarray | None = None) -> None:
        """Adds `row` to a copy of the program; with a column of `slack` it may be broken by that much (divided by the scale)."""
        values, constant = self.terms(row.weights, row.unit)
        columns = self.columns
        if slack is not None:
            columns, values = np.append(columns, slack), np.append(values, -np.ones(len(slack)))
        most = row.most if self.is_exact else row.most - row.tolerance
        program.add_row(columns, values, upper=most / self.scale - constant)

    def amounts(self, values: np.ndarray) -> np.ndarray:
        """(c, 3): what a solution takes of each cell; int64 where columns are whole."""
        made = self.base.astype(np.float64)
        for unit in range(len(UNITS)):
            made[:, unit] += np.bincount(self.cells, self.units[:, unit] * values[self.columns], len(self.base))
        return np.rint(made).astype(np.int64) if self.is_exact else made

    def solve(
        self, program: Program, rows: Iterable[Row], objective: tuple[np.ndarray, np.ndarray], *, maximise: bool = False, gap: float = 0.0
    ) -> np.ndarray | None:
        """A solution of `program`, which holds `rows`, that keeps every one of them exactly; None if there is none. Raises RuntimeError."""
        rows = list(rows)
        for _ in range(MOST_REPAIRS):
            values = program.solve(*objective, maximise=maximise, gap=gap)
            if values is None or not self.is_exact:
                return values
            amounts = self.amounts(values)
            broken = [(row, excess) for row in rows if (excess := row.excess(amounts)) > 0]
            if not broken:
                return values
            for row, excess in broken:
                self.hold(program, Row(row.weights, row.unit, row.most - excess))
        raise RuntimeError("mix: the solver finds no whole numbers that keep every promise of the groups; please report the recipe")


@dataclass
class HeldMix:
    """A solution, and all that later ones must hold."""

    mixer: MixProgram
    """Its columns."""
    program: Program
    """What is held so far."""
    rows: list[Row]
    """Likewise, as rows over cells."""
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Of all columns of the program."""

    @property
    def amounts(self) -> np.ndarray:
        """(c, 3): what it takes of each cell."""
        return self.mixer.amounts(self.values)

    def lock(self, row: Row) -> None:
        """Holds one row more from now on."""
        self.rows.append(row)
        self.mixer.hold(self.program, row)

    def improve(self, objective: tuple[np.ndarray, np.ndarray], *, maximise: bool = False, gap: float = 0.0) -> bool:
        """Seeks a better solution; whether there is one at all."""
        values = self.mixer.solve(self.program, self.rows, objective, maximise=maximise, gap=gap)
        if values is None:
            return False
        self.values = values
        return True


def documents_program(steps: CellSteps) -> MixProgram:
    """One whole number for each cell: its documents. For promises in documents alone."""
    totals = steps.totals
    program = Program()
    columns = program.add_columns(len(totals), totals[:, DOCUMENTS], integral=True)
    units = totals / np.maximum(1, totals[:, :1])
    return MixProgram(program, columns, np.arange(len(totals)), units, np.zeros_like(totals), exact_units=(DOCUMENTS,))


def relaxed_program(steps: CellSteps, unit: int, densities: np.ndarray) -> MixProgram:
    """One number for each cell: its text in `unit`, of which there is as much of the other units as `densities` (c, 3) say."""
    totals = steps.totals
    scale = 2.0 ** max(0, math.ceil(math.log2(max(1, int(totals[:, unit].sum())))) - 20)
    program = Program()
    columns = program.add_columns(len(totals), totals[:, unit] / scale)
    return MixProgram(program, columns, np.arange(len(totals)), densities * scale, np.zeros_like(totals), scale, is_exact=False)


def document_program(steps: CellSteps, lows: np.ndarray, highs: np.ndarray) -> MixProgram:
    """One choice for each document from place `lows` to place `highs` (int64 (c,)) of each cell's order; those before are in.

    A document is in only if the one before it is.
    """
    program, places = Program(), []
    for low, high in zip((steps.starts[:-1] + lows).tolist(), (steps.starts[:-1] + highs).tolist(), strict=True):
        columns = program.add_columns(high - low, 1.0, integral=True)
        places.append(np.arange(low, high))
        for first, second in zip(columns.tolist(), columns.tolist()[1:], strict=False):
            program.add_row(np.array([first, second]), np.array([1.0, -1.0]), lower=0.0)
    chosen = np.concatenate([np.empty(0, np.int64), *places])
    base = np.stack([steps.cumulated[steps.starts[cell] + low] - steps.cumulated[steps.starts[cell]] for cell, low in enumerate(lows)])
    return MixProgram(program, np.arange(program.num_columns), steps.cells[chosen].astype(np.int64), steps.units[chosen], base)


def segment_program(steps: CellSteps, unit: int, densities: np.ndarray) -> tuple[MixProgram, np.ndarray]:
    """Each cell's order of priority in pieces that may be taken in part, and what a piece costs: its place among all documents, 0..1.

    Pieces end at the same priorities in all cells, so that where nothing else decides between cells they are cut at one priority.
    """
    pieces = min(1_024, max(16, SEGMENTS // max(1, len(steps.totals))))
    order = np.argsort(steps.keys, kind="stable")
    ranks = np.cumsum(steps.units[order, DOCUMENTS]) - steps.units[order, DOCUMENTS]
    piece = np.empty(len(order), np.int64)
    piece[order] = ranks * pieces // max(1, int(steps.units[:, DOCUMENTS].sum()))
    # Steps of one key, or of one bin's key, belong together.
    keys, first = np.unique(steps.keys[order], return_index=True)
    piece[order] = piece[order][first][np.searchsorted(keys, steps.keys[order])]
    code = steps.cells * (pieces + 1) + piece
    codes, index = np.unique(code, return_inverse=True)
    sizes = np.bincount(index, steps.units[:, unit], len(codes))
    cells = codes // (pieces + 1)
    program = Program()
    columns = program.add_columns(len(codes), 1.0)
    scale = 2.0 ** max(0, math.ceil(math.log2(max(1.0, sizes.sum()))) - 20)
    units = sizes[:, None] * densities[cells]
    made = MixProgram(program, columns, cells, units, np.zeros_like(steps.totals), scale, is_exact=False)
    return made, (codes % (pieces + 1) + 0.5) / pieces * sizes / scale


def hold_shards(mixer: MixProgram, program: Program, cells: Cells, num_shards: int, settings: MixSettings) -> None:
    """Holds other documents to what the shards carry beside their human ones, to the document: the sum of each shard's floor.

    With H = k x shards + m human documents, m shards have k + 1 and the rest k. A shard of k carries f(k) = floor(k p / d), p / d = (1 - q) / q, and
    one of k + 1 carries f(k) + floor(p / d) or one more; so with whole F <= k p / d, and b in {0, 1} with F + floor(p / d) + b <= (k + 1) p / d,
    they carry shards x F + m x floor(p / d) + m x b together, and the last product is at most m and at most (shards - 1) x b.
    """
    q = settings.human_quota
    p, d = (1 / q - 1).numerator, (1 / q - 1).denominator
    is_human, most = cells.is_human, int(cells.amounts[cells.is_human, DOCUMENTS].sum()) // num_shards
    k, f = program.add_columns(1, most, integral=True), program.add_columns(1, most * p // d, integral=True)
    m, b = program.add_columns(1, num_shards - 1, integral=True), program.add_columns(1, 1, integral=True)
    w = program.add_columns(1, num_shards - 1)
    human, human_base = mixer.terms(is_human.astype(np.int64), DOCUMENTS)
    other, other_base = mixer.terms((~is_human).astype(np.int64), DOCUMENTS)
    join = np.concatenate
    program.add_row(join([mixer.columns, k, m]), join([human, [-num_shards, -1]]), -human_base, -human_base)
    program.add_row(join([f, k]), np.array([d, -p]), upper=0)
    program.add_row(join([f, b, k]), np.array([d, d, -p]), upper=p - d * (p // d))
    program.add_row(join([w, m]), np.array([1.0, -1.0]), upper=0)
    program.add_row(join([w, b]), np.array([1.0, 1 - num_shards]), upper=0)
    program.add_row(join([mixer.columns, f, m, w]), join([other, [-num_shards, -(p // d), -1]]), upper=-other_base)


def shards_hold(amounts: np.ndarray, is_human: np.ndarray, num_shards: int, settings: MixSettings) -> bool:
    """Whether the shards carry the other documents of these amounts."""
    human, other = int(amounts[is_human, DOCUMENTS].sum()), int(amounts[~is_human, DOCUMENTS].sum())
    return human >= num_shards and other <= shard_capacity(human, num_shards, settings)
