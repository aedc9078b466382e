"""The mix with groups, from surveys of its cells: which documents of each cell are published, and what became of every promise.

The order is that of `find_cuts`: a histogram by cell and priority, the documents of the bins near the cuts (all of them, of a small corpus), the
plan; then placement as ever, and a count of what is published. Beside it runs the mix without groups, which tells what each document would have
been turned down for anyway: what only a group keeps out is `over_group`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from transforms.cell_steps import CellSteps
from transforms.group_members import named_fields
from transforms.group_promises import DOCUMENTS, Cells, Promise
from transforms.group_settings import parent_places
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Amount
from transforms.place_mix import MixCuts
from transforms.plan_groups import WINDOW_DOCUMENTS, CellPlan, is_relaxed, plan_cells
from transforms.plan_mix import GroupOutcome, MixPlan, ReservedGroup, warn_of_loss, warn_of_shards
from transforms.survey_cells import CELL_BIN_BITS, CellCuts, cell_steps, missing_fields, step_bins, too_many_cells
from transforms.survey_mix import Request, Selection, join_documents

OPEN_DOCUMENTS = 20_000
"""Documents up to which all are gathered in one place, 40 bytes each, so that every cut is known to the document at once."""


@dataclass(frozen=True, eq=False)
class SoughtCells:
    """What the histogram of the cells says, and what it leaves open."""

    histogram: np.ndarray
    """As `survey_cells` counts, of all shards."""
    plan: CellPlan | None
    """The plan over lumps; None where all documents are asked for."""
    bins: np.ndarray
    """int64: codes of the bins whose documents are asked for."""
    refused: str = ""
    """Why no mix can be planned at all, in words: `plan` then takes nothing of any cell. Empty: one can."""


def ask_for_cells(sought: SoughtCells) -> Request:
    """Asks for the documents that the histogram leaves open."""
    return Request(bins=sought.bins, of_cells=True)


def seek_cells(histogram: np.ndarray, settings: MixSettings) -> SoughtCells:
    """Plans over the lumps of the histogram, and asks for the documents near the cuts."""
    steps = cell_steps(histogram, join_documents([]))
    if refused := too_many_cells(histogram):
        # Said by the plan: an error would reach the command line as one of Beam's, without what a user is to do.
        return SoughtCells(histogram, _take_nothing(steps), np.empty(0, np.int64), refused)
    if steps.totals[:, DOCUMENTS].sum() <= OPEN_DOCUMENTS:
        return SoughtCells(histogram, None, step_bins(steps, np.arange(len(steps.cells))))
    plan = plan_cells(steps, settings)
    begins, ends = steps.starts[:-1], steps.starts[1:]
    if not is_relaxed(steps, settings):
        places = begins + steps.places(plan.amounts[:, DOCUMENTS], DOCUMENTS)
        # A cut between two bins is named by the first document of the second.
        return SoughtCells(histogram, plan, step_bins(steps, places[places < ends]))
    unit = UNITS.index(settings.quota_unit)
    near, wanted = begins + steps.places(plan.amounts[:, unit], unit), []
    reach = 16 * max(1, WINDOW_DOCUMENTS // (2 * max(1, len(begins))))
    documents = steps.cumulated[:, DOCUMENTS]
    for begin, end, place in zip(begins.tolist(), ends.tolist(), near.tolist(), strict=True):
        low = int(np.searchsorted(documents[begin : end + 1], documents[place] - reach, side="right")) - 1 + begin
        high = int(np.searchsorted(documents[begin : end + 1], documents[min(place + 1, end)] + reach, side="left")) + begin
        wanted.append(np.arange(max(begin, low), min(end, high + 1)))
    return SoughtCells(histogram, plan, step_bins(steps, np.concatenate([np.empty(0, np.int64), *wanted])))


def select_cells(sought: SoughtCells, documents: Iterable[np.ndarray], baseline: Selection, settings: MixSettings) -> Selection:
    """The exact selection, from the documents that `seek_cells` asked for; `baseline` is that of the mix without groups."""
    steps = cell_steps(sought.histogram, join_documents(documents))
    plan = sought.plan
    if plan is None or (not sought.refused and is_relaxed(cell_steps(sought.histogram, join_documents([])), settings)):
        plan = plan_cells(steps, settings, plan)
    places = steps.documents_within(plan.amounts[:, DOCUMENTS])
    taken = steps.prefix(places)
    ends = steps.starts[:-1] + places
    is_whole = ends == steps.starts[1:]
    inside = np.minimum(ends, max(0, len(steps.cells) - 1))
    if len(ends) and not (steps.is_open[inside] | is_whole | (places == 0)).all():
        raise RuntimeError("mix: a cut of a cell lies in a bin that was not opened")
    blamed, values, limits = _blame(steps.table, taken, plan.promises)
    cuts = CellCuts(
        patterns=steps.patterns,
        keys=np.where(places == 0, np.uint64(0), steps.keys[inside] if len(steps.cells) else np.uint64(0)),
        addresses=np.where(places == 0, np.uint64(0), steps.addresses[inside] if len(steps.cells) else np.uint64(0)),
        is_whole=is_whole,
        blamed=blamed,
        values=values,
        limits=limits,
        promises=plan.promises,
    )
    missing = missing_fields(sought.histogram, named_fields(settings.groups)) if len(steps.cells) else ()
    made = replace(_describe(plan, taken, steps, baseline.plan, settings, missing), refused=sought.refused)
    return Selection(made, None, None, None, None, None, cells=cuts, baseline=baseline)


def seek_published(cuts: MixCuts) -> Request:
    """Asks how many documents of each cell are published."""
    return Request(cuts.selection, of_cells=True, lost=cuts.straddlers[cuts.straddler_shards < 0])


def state_groups(cuts: MixCuts, histogram: np.ndarray, sought: SoughtCells) -> MixCuts:
    """The cuts, with what became of groups and reserves in their plan. `histogram`: the answer to `seek_published`.

    Raises RuntimeError if what is published breaks a promise, which the planner rules out.
    """
    plan, cells = cuts.plan, cuts.selection.cells
    settings = plan.settings
    published, available = (_by_cell(one, cells.patterns) for one in (histogram, sought.histogram))
    broken = [promise.name for promise in cells.promises if not promise.is_kept(published)]
    if broken:
        raise RuntimeError(f"mix: what the files hold breaks {', '.join(broken)}; please report the recipe")
    table = Cells(cells.patterns, available, available)
    everything = np.ones(len(cells.patterns), bool)
    groups = []
    for place, (group, parent) in enumerate(zip(settings.groups, parent_places(settings.groups), strict=True)):
        of, whole = table.of_bit(place), everything if parent < 0 else table.of_bit(parent)
        amounts = (_amount(available[of]), _amount(published[of]), _amount(published[whole]))
        groups.append(GroupOutcome(group.name, group.where, group.within, group.asked, *amounts))
    reserved = []
    for place, reserve in enumerate(settings.reserve, len(settings.groups)):
        of = table.of_bit(place)
        reserved.append(ReservedGroup(reserve.name, reserve.documents, int(available[of, 0].sum()), int(published[of, 0].sum())))
    return replace(cuts, plan=replace(plan, groups=tuple(groups), reserved=tuple(reserved)))


def _take_nothing(steps: CellSteps) -> CellPlan:
    return CellPlan(np.zeros((len(steps.patterns), len(UNITS)), np.int64), 0, None, Amount(), ())


def _describe(plan: CellPlan, taken: np.ndarray, steps: CellSteps, baseline: MixPlan, settings: MixSettings, missing: tuple[str, ...]) -> MixPlan:
    is_human, is_fresh = steps.table.is_human, steps.table.is_fresh
    human, other = _amount(taken[is_human]), _amount(taken[~is_human])
    selected = human + other
    wanted = settings.num_shards
    warnings = warn_of_shards(plan.num_shards, wanted, settings)
    warnings += warn_of_loss(plan.unsharded.documents - selected.documents, plan.unsharded.documents, plan.num_shards, "documents")
    return replace(
        baseline,
        settings=settings,
        human_selected=human,
        other_selected=other,
        num_shards=plan.num_shards,
        shortage=baseline.shortage if selected.documents == 0 and plan.conflict is None else None,
        warnings=warnings,
        fresh_selected=_amount(taken[is_fresh]) if settings.min_fresh_human else None,
        conflict=plan.conflict,
        missing_fields=missing,
    )


def _blame(cells: Cells, taken: np.ndarray, promises: tuple[Promise, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each cell the first group whose promise one more document of the cell would break: its place, its value among all there is, its limit."""
    count = len(cells.patterns)
    blamed, values, limits = np.full(count, -1), np.zeros(count), np.zeros(count)
    one = np.where(cells.amounts[:, [0]] > 0, cells.amounts // np.maximum(1, cells.amounts[:, [0]]), 1)
    for promise in reversed([promise for promise in promises if promise.measure is not None and promise.bit >= 0]):
        for row in promise.rows:
            room = -row.excess(taken)
            is_tight = (row.weights > 0) & (row.weights * np.maximum(1, one[:, row.unit]) > room)
            blamed[is_tight], values[is_tight], limits[is_tight] = promise.bit, promise.measure, promise.limit
    return blamed, values, limits


def _by_cell(histogram: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    rows = histogram[histogram[:, 0] >= 0]
    made = np.zeros((len(patterns), len(UNITS)), np.int64)
    np.add.at(made, np.searchsorted(patterns, rows[:, 0] >> CELL_BIN_BITS), rows[:, 1:4])
    return made


def _amount(units: np.ndarray) -> Amount:
    return Amount(*(int(total) for total in units.sum(axis=0)))
