"""Turns the cuts of a mix into a decision about each document of any shard by itself."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts
from transforms.plan_mix import MixPlan
from transforms.records import Reason, Stage
from transforms.survey_mix import AliveDocuments, Selection, lies_before, read_alive

_KEPT, _OVER_SIZE, _OVER_QUOTA, _SHARD_QUOTA, _NOT_FRESH, _OVER_GROUP = range(6)
_REASONS = pa.array(
    [None, *(reason.value for reason in (Reason.OVER_SIZE, Reason.OVER_QUOTA, Reason.SHARD_QUOTA, Reason.NOT_FRESH, Reason.OVER_GROUP))]
)


@dataclass(frozen=True, eq=False)
class MixOutcome:
    """What the mix decides about the rows of one decided shard; every array has one entry a row, earlier rejections included."""

    stage: pa.Array
    """string: as before, and `mix` for the rows that the mix rejects."""
    reason: pa.Array
    """string: as before, and over_size, over_quota, shard_quota, not_fresh or over_group; null: published."""
    value: pa.Array
    """float32: for over_size the units available, for over_quota the human share without a quota, for shard_quota the share reached,
    for not_fresh the fresh share without a limit, for over_group the group's share or number of all there is."""
    limit: pa.Array
    """float32: for over_size the size limit, for not_fresh the least fresh share, for over_group what the group may have, for the other two the
    quota."""
    output_shard: np.ndarray
    """int32: published shard, 0..num_shards-1; -1: not published."""
    placement_key: np.ndarray
    """uint64: order of documents within a published shard (ties by address); 0 for rows rejected before."""
    group: pa.Array
    """string: for over_group the group that keeps the document out, if one can be named; else null."""
    cells: np.ndarray
    """int64: cell of each document, where groups are asked for; else 0."""


def apply_mix(decisions: pa.RecordBatch | pa.Table, cuts: MixCuts, settings: MixSettings, alive: AliveDocuments | None = None) -> MixOutcome:
    """Decides about rows of `DECISION_SCHEMA`, all of one shard or any other part of the documents that the cuts were found for.

    Beside them it has the columns `settings.scored_fields`. `alive`: what `read_alive` gives of them, for whoever has that already.
    """
    table = pa.Table.from_batches([decisions]) if isinstance(decisions, pa.RecordBatch) else decisions
    selection = cuts.selection
    alive = read_alive(table, settings, selection.reserved) if alive is None else alive
    addresses, is_human = alive.addresses, alive.is_human
    if selection.cells is None:
        fates = _fates(alive, selection)
    else:
        # What the mix without groups leaves out too is left out for that reason.
        fates = _fates(read_alive(table, settings.without_groups), selection.baseline)
        fates = np.where(alive.chosen(selection), _KEPT, np.where(fates == _KEPT, _OVER_GROUP, fates))
    shards = np.where(is_human, cuts.human.shards(alive.placement, addresses), cuts.other.shards(alive.placement, addresses))
    places = np.searchsorted(cuts.straddlers, addresses)
    found = np.flatnonzero(places < len(cuts.straddlers))
    found = found[cuts.straddlers[places[found]] == addresses[found]]
    shards[found] = cuts.straddler_shards[places[found]]
    fates[found[shards[found] < 0]] = _SHARD_QUOTA

    figures = _figures(cuts.plan)
    codes = np.full(table.num_rows, _KEPT)
    codes[alive.rows] = fates
    output_shard = np.full(table.num_rows, -1, np.int32)
    output_shard[alive.rows] = np.where(fates == _KEPT, shards, -1)
    placement_key = np.zeros(table.num_rows, np.uint64)
    placement_key[alive.rows] = alive.placement
    is_rejected = pa.array(codes != _KEPT)
    values, limits, blamed = figures[codes, 0], figures[codes, 1], np.full(table.num_rows, -1)
    cells = np.zeros(table.num_rows, np.int64)
    if selection.cells is not None:
        cells[alive.rows] = alive.cells
        over = np.flatnonzero(codes == _OVER_GROUP)
        places = selection.cells.places(cells[over])
        values[over], limits[over], blamed[over] = selection.cells.values[places], selection.cells.limits[places], selection.cells.blamed[places]
    made = {"stage": pa.scalar(Stage.MIX.value), "reason": _REASONS.take(pa.array(codes)), "value": pa.array(values), "limit": pa.array(limits)}
    merged = {name: pc.if_else(is_rejected, new, _flat(table[name])) for name, new in made.items()}
    names = pa.array([group.name for group in settings.groups], pa.string())
    group = names.take(pa.array(blamed, mask=blamed < 0))
    return MixOutcome(**merged, output_shard=output_shard, placement_key=placement_key, group=group, cells=cells)


def _fates(alive: AliveDocuments, selection: Selection) -> np.ndarray:
    """int64: what becomes of each document by the cuts of the two strata, before it is placed."""
    keys, addresses = alive.priority, alive.addresses
    fates = np.full(len(keys), _OVER_SIZE)
    for cut, fate in ((selection.stale, _NOT_FRESH), (selection.human, _KEPT)):
        fates[lies_before(keys, addresses, cut)] = fate
    fates[alive.is_uncarried(selection)] = _NOT_FRESH
    other_fates = np.full(len(fates), _OVER_SIZE)
    of_other = (selection.within_size, _NOT_FRESH), (selection.within_fresh, _OVER_QUOTA), (selection.within_quota, _SHARD_QUOTA)
    for cut, fate in (*of_other, (selection.other, _KEPT)):
        other_fates[lies_before(keys, addresses, cut)] = fate
    return np.where(alive.is_human, fates, other_fates)


def _figures(plan: MixPlan) -> np.ndarray:
    """float32 (6, 2): value and limit that explain each fate, the same for every document of it."""
    settings, available = plan.settings, plan.human_available + plan.other_available
    limits = [
        (count, limit)
        for count, limit in ((available.documents, settings.max_documents), (available.tokens, settings.max_tokens))
        if limit is not None
    ]
    tightest = max(limits, key=lambda pair: pair[0] / pair[1], default=(available.documents, available.documents))
    quota = float(settings.human_quota)
    fresh = (plan.fresh_share_unlimited, float(settings.min_fresh_human))
    return np.array([(0, 0), tightest, (plan.share_before_quota, quota), (float(plan.human_share), quota), fresh, (0, 0)], np.float32)


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
