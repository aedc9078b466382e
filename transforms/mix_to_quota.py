"""Chooses what to publish so that the human share is kept, overall and in every shard, whatever the number of workers.

`PlanMix` surveys the decided shards (keys and sizes only) for a histogram by priority, the documents of the few bins that a
cut falls into, a histogram of the chosen documents by placement, and the documents of the bins where a shard ends. What
comes out, `MixCuts`, is small; `apply_mix` turns it into a decision about each document of any shard by itself.
`find_cuts` is the same plan over tables in memory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsIter, AsSingleton

from transforms.place_mix import MixCuts, place_human, place_other, seek_human, seek_other
from transforms.plan_mix import Cut, MixPlan, MixSettings, Steps, bound_mix, describe_mix
from transforms.records import Reason, Stage
from transforms.survey_mix import (
    HUMAN,
    OTHER,
    OrderedSteps,
    Request,
    Selection,
    join_documents,
    lies_before,
    merge_histograms,
    order_steps,
    read_alive,
    survey_shard,
    survey_table,
)
from transforms.worker_pool import PoolDo

PENDING_ROWS = 1 << 18
"""Histogram rows that wait before they are added up, at least: bounds the work of merging many small histograms."""
_KEPT, _OVER_SIZE, _OVER_QUOTA, _SHARD_QUOTA = range(4)
_REASONS = pa.array([None, Reason.OVER_SIZE.value, Reason.OVER_QUOTA.value, Reason.SHARD_QUOTA.value])


@dataclass(frozen=True, eq=False)
class MixOutcome:
    """What the mix decides about the rows of one decided shard; every array has one entry a row, earlier rejections included."""

    stage: pa.Array
    """string: as before, and `mix` for the rows that the mix rejects."""
    reason: pa.Array
    """string: as before, and over_size, over_quota or shard_quota; null: published."""
    value: pa.Array
    """float32: for over_size the units available, for over_quota the human share without a quota, for shard_quota the share reached."""
    limit: pa.Array
    """float32: for over_size the size limit, for the other two the quota."""
    output_shard: np.ndarray
    """int32: published shard, 0..num_shards-1; -1: not published."""
    placement_key: np.ndarray
    """uint64: order of documents within a published shard (ties by address); 0 for rows rejected before."""


def seek_selection(histogram: np.ndarray, settings: MixSettings) -> Request:
    """Asks for the bins that a cut of the selection may fall into. `histogram`: all alive documents by priority key."""
    human, other = (order_steps(histogram, join_documents([]), stratum) for stratum in (HUMAN, OTHER))
    bounds = bound_mix(Steps(human.units), Steps(other.units), settings)
    return Request(None, np.unique(np.concatenate([_lumps(human, bounds.human_cuts, HUMAN), _lumps(other, bounds.other_cuts, OTHER)])))


def select_documents(histogram: np.ndarray, documents: Iterable[np.ndarray], settings: MixSettings) -> Selection:
    """The exact selection, from the histogram and the documents that `seek_selection` asked for."""
    gathered = join_documents(documents)
    human, other = (order_steps(histogram, gathered, stratum) for stratum in (HUMAN, OTHER))
    steps = Steps(human.units), Steps(other.units)
    bounds = bound_mix(*steps, settings)
    if not bounds.is_exact:
        raise RuntimeError("mix: a cut of the selection lies in a bin that was not opened")
    return Selection(
        plan=describe_mix(*steps, bounds, settings),
        human=human.position(bounds.human.low),
        within_size=other.position(bounds.within_size.low),
        within_quota=other.position(bounds.within_quota.low),
        other=other.position(bounds.other.low),
    )


def find_cuts(decisions: Sequence[pa.Table], settings: MixSettings) -> MixCuts:
    """The cuts for documents that lie in memory as tables of `DECISION_SCHEMA`: what `PlanMix` finds for the same documents in files."""

    def survey(request: Request) -> list[np.ndarray]:
        return [survey_table(table, request, settings) for table in decisions]

    by_priority = merge_histograms(survey(Request()))
    selection = select_documents(by_priority, survey(seek_selection(by_priority, settings)), settings)
    by_placement = merge_histograms(survey(Request(selection)))
    placement = place_human(by_placement, survey(seek_human(by_placement, selection)), selection)
    return place_other(by_placement, survey(seek_other(by_placement, placement)), placement)


def apply_mix(decisions: pa.RecordBatch | pa.Table, cuts: MixCuts, settings: MixSettings) -> MixOutcome:
    """Decides about rows of `DECISION_SCHEMA`, all of one shard or any other part of the documents that the cuts were found for."""
    table = pa.Table.from_batches([decisions]) if isinstance(decisions, pa.RecordBatch) else decisions
    alive, selection = read_alive(table, settings), cuts.selection
    keys, addresses, is_human = alive.priority, alive.addresses, alive.is_human
    fates = np.where(lies_before(keys, addresses, selection.human), _KEPT, _OVER_SIZE)
    other_fates = np.full(len(fates), _OVER_SIZE)
    for cut, fate in ((selection.within_size, _OVER_QUOTA), (selection.within_quota, _SHARD_QUOTA), (selection.other, _KEPT)):
        other_fates[lies_before(keys, addresses, cut)] = fate
    fates = np.where(is_human, fates, other_fates)
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
    made = {
        "stage": pa.scalar(Stage.MIX.value),
        "reason": _REASONS.take(pa.array(codes)),
        "value": pa.array(figures[codes, 0]),
        "limit": pa.array(figures[codes, 1]),
    }
    merged = {name: pc.if_else(is_rejected, new, _flat(table[name])) for name, new in made.items()}
    return MixOutcome(**merged, output_shard=output_shard, placement_key=placement_key)


class PlanMix(beam.PTransform):
    """PCollection of `DecidedShard` to one `MixCuts`, also for no shards at all.

    The largest thing in one place is a histogram (at most two million rows of 32 bytes) or the documents of the bins that cuts
    fall into (40 bytes each): a bin holds one document in a million, and there are a few for each size limit and one or two for each
    published shard. A small quota in another unit than the size limit's opens more.
    """

    def __init__(self, settings: MixSettings):
        super().__init__()
        self._settings = settings

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        settings = self._settings

        def gather(label: str, requests: beam.PCollection) -> AsIter:
            return AsIter(decided | f"Gather{label}" >> beam.ParDo(PoolDo(f"gather {label.lower()}", survey_shard, settings), AsSingleton(requests)))

        by_priority = (
            decided
            | "CountPriorities" >> beam.ParDo(PoolDo("count priorities", survey_shard, Request(), settings))
            | "MergePriorities" >> beam.CombineGlobally(MergeHistograms())
        )
        crossings = gather("Priorities", by_priority | "SeekSelection" >> beam.Map(seek_selection, settings))
        selection = by_priority | "SelectDocuments" >> beam.Map(select_documents, crossings, settings)
        placements = selection | "AskForPlacements" >> beam.Map(Request)
        by_placement = (
            decided
            | "CountPlacements" >> beam.ParDo(PoolDo("count placements", survey_shard, settings), AsSingleton(placements))
            | "MergePlacements" >> beam.CombineGlobally(MergeHistograms())
        )
        ends = gather("HumanEnds", by_placement | "SeekHuman" >> beam.Map(seek_human, AsSingleton(selection)))
        placement = by_placement | "PlaceHuman" >> beam.Map(place_human, ends, AsSingleton(selection))
        ends = gather("OtherEnds", by_placement | "SeekOther" >> beam.Map(seek_other, AsSingleton(placement)))
        return by_placement | "PlaceOther" >> beam.Map(place_other, ends, AsSingleton(placement)).with_output_types(MixCuts)


class MergeHistograms(beam.CombineFn):
    """`merge_histograms` in parts: rows wait until there are as many as those already added up, so each is sorted a few times only."""

    def create_accumulator(self) -> list[np.ndarray]:
        return [merge_histograms([])]

    def add_input(self, accumulator: list[np.ndarray], histogram: np.ndarray) -> list[np.ndarray]:
        accumulator.append(histogram)
        pending = sum(len(part) for part in accumulator[1:])
        return [merge_histograms(accumulator)] if pending > max(PENDING_ROWS, len(accumulator[0])) else accumulator

    def merge_accumulators(self, accumulators: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            for part in accumulator:
                merged = self.add_input(merged, part)
        return merged

    def compact(self, accumulator: list[np.ndarray]) -> list[np.ndarray]:
        return [merge_histograms(accumulator)]

    def extract_output(self, accumulator: list[np.ndarray]) -> np.ndarray:
        return merge_histograms(accumulator)


def _lumps(steps: OrderedSteps, cuts: Sequence[Cut], stratum: int) -> np.ndarray:
    indices = np.unique(np.concatenate([np.arange(cut.low, cut.high) for cut in cuts]))
    return steps.bins(indices[steps.units[indices, 0] > 1], stratum)


def _figures(plan: MixPlan) -> np.ndarray:
    """float32 (4, 2): value and limit that explain each fate, the same for every document of it."""
    settings, available = plan.settings, plan.human_available + plan.other_available
    limits = [
        (count, limit)
        for count, limit in ((available.documents, settings.max_documents), (available.tokens, settings.max_tokens))
        if limit is not None
    ]
    tightest = max(limits, key=lambda pair: pair[0] / pair[1], default=(available.documents, available.documents))
    quota = float(settings.human_quota)
    return np.array([(0, 0), tightest, (plan.share_before_quota, quota), (float(plan.human_share), quota)], np.float32)


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
