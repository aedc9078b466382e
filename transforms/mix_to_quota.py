"""Chooses what to publish so that the human share is kept, overall and in every shard, whatever the number of workers.

The plan of `find_cuts` as a Beam transform: each survey is one step over the decided shards, what it asks for the next a side
input. `apply_mix` then turns the cuts into a decision about each document of any shard by itself.
"""

from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsIter, AsSingleton

from transforms.find_cuts import PendingHistogram, seek_selection, select_documents
from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts, place_human, place_other, seek_human, seek_other
from transforms.pool_steps import PoolDo
from transforms.survey_mix import Request, survey_shard


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
    """`merge_in_parts` for Beam."""

    def create_accumulator(self) -> PendingHistogram:
        return PendingHistogram()

    def add_input(self, accumulator: PendingHistogram, histogram: np.ndarray) -> PendingHistogram:
        accumulator.add(histogram)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[PendingHistogram]) -> PendingHistogram:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.add(accumulator.merged())
        return merged

    def compact(self, accumulator: PendingHistogram) -> PendingHistogram:
        accumulator.merged()
        return accumulator

    def extract_output(self, accumulator: PendingHistogram) -> np.ndarray:
        return accumulator.merged()
