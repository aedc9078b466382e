"""Groups with weights: what the groups of one parent get is shared out in proportion to their weights, as far as there is text.

What they get together is what the mix that is best by priority would give them: a weight takes nothing from documents that are of none of them.
Among them, as water fills connected vessels: the least of text / weight is made as large as can be; groups that have no more text stay there, and the others
rise on. Levels are found in parts of documents, and the whole documents nearest to them are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from transforms.group_promises import Cells, Row, sibling_weights
from transforms.group_settings import Group
from transforms.mix_program import HeldMix

_TOLERANCE = 1e-9
"""Relative error of floating point that levels may have."""
Siblings = list[tuple[np.ndarray, Fraction]]
"""(mask of cells, weight) of groups of one parent."""


def share_out(found: HeldMix, cells: Cells, groups: Sequence[Group], unit: int, targets: Callable[[HeldMix], np.ndarray]) -> None:
    """Brings groups with weights as near to their proportion as all that is held allows, and holds what they have then. Parents come first.

    `targets`: text of each cell in the mix that is best by priority and holds the same.
    """
    for siblings in sibling_weights(cells, groups):
        together = np.logical_or.reduce([of for of, _ in siblings])
        _hold_near(found, [together], [float(targets(found)[together].sum())], unit)
        _hold_near(found, [of for of, _ in siblings], fill_levels(found, siblings, unit), unit)


def _hold_near(found: HeldMix, parts: list[np.ndarray], aims: list[float], unit: int) -> None:
    """Brings the text of parts of the cells (bool (c,)) as near to aims as can be, and holds what it is then."""
    apart = []
    for of, level in zip(parts, aims, strict=True):
        values, constant = found.mixer.terms(of.astype(np.int64), unit)
        columns = found.program.add_columns(2)
        aim = level / found.mixer.scale - constant
        found.program.add_row(np.append(found.mixer.columns, columns), np.append(values, [1, -1]), aim, aim)
        apart.append(columns)
    columns = np.concatenate(apart)
    found.improve((columns, np.ones(len(columns))))
    for of in parts:
        has = found.amounts[of, unit].sum()
        found.lock(Row(of.astype(np.int64), unit, int(np.ceil(has))))
        found.lock(Row(-of.astype(np.int64), unit, -int(has)))


def fill_levels(found: HeldMix, siblings: Siblings, unit: int) -> list[float]:
    """Text of each sibling where the least of text / weight is largest, then the next, and so on; in parts of documents."""
    program, mixer = found.program.relaxed(), found.mixer
    level = program.add_columns(1)
    terms = [mixer.terms(of.astype(np.int64), unit) for of, _ in siblings]
    weights = [float(weight) for _, weight in siblings]
    fixed: dict[int, float] = {}

    def hold_least(held, place: int, least: float) -> None:
        values, constant = terms[place]
        held.add_row(mixer.columns, values, lower=least * (1 - _TOLERANCE) - constant - 1e-6)

    while len(fixed) < len(siblings):
        rising = [place for place in range(len(siblings)) if place not in fixed]
        trial = program.copy()
        for place in rising:
            values, constant = terms[place]
            trial.add_row(np.append(mixer.columns, level), np.append(values, -weights[place]), lower=-constant)
        solved = trial.solve(level, np.ones(1), maximise=True)
        if solved is None:
            return [float(found.amounts[of, unit].sum()) for of, _ in siblings]
        reached = {place: float(solved[level[0]]) * weights[place] for place in rising}
        for place in rising:
            hold_least(trial, place, reached[place])
        stuck = [place for place in rising if not _rises(trial, mixer.columns, terms[place], reached[place])]
        # Where floating point sees all of them rise a little, none does.
        for place in stuck or rising:
            fixed[place] = reached[place]
            hold_least(program, place, reached[place])
    return [fixed[place] * mixer.scale for place in range(len(siblings))]


def _rises(trial, columns: np.ndarray, terms: tuple[np.ndarray, float], least: float) -> bool:
    values, constant = terms
    best = trial.solve(columns, values, maximise=True)
    return best is not None and float(values @ best[columns]) + constant > least + 1e-6 * max(1.0, least)
