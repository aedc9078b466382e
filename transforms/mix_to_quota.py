"""Chooses what to publish so that the human share is kept, overall and in every shard, whatever the number of workers.

The plan of `find_cuts` as a Beam transform: each survey is one step over the decided shards, what it asks for the next a side
input. `apply_mix` then turns the cuts into a decision about each document of any shard by itself.
"""

import itertools
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsIter, AsSingleton

from transforms.find_cuts import Merge, PendingHistogram, asks_for_carried, seek_carried, seek_selection, select_documents
from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts, place_human, place_other, seek_human, seek_other
from transforms.pool_steps import PoolDo
from transforms.reserve_places import reserve_places, seek_places, seek_reserved, state_reserved
from transforms.survey_mix import Request, Reserved, Selection, merge_histograms, survey_shard


class PlanMix(beam.PTransform):
    """PCollection of `DecidedShard` to one `MixCuts`, also for no shards at all.

    The largest thing in one place is a histogram (at most two million rows of 32 bytes) or the documents of the bins that cuts
    fall into (40 bytes each): a bin holds one document in a million, and there are a few for each size limit and one or two for each
    published shard. A small quota in another unit than the size limit's opens more. Where places are reserved there are two or three surveys more;
    their histogram has a row for each group, class of documents and bin in use. Where groups are asked for there are three more; their histogram has
    a row of 48 bytes for each cell and bin in use (`survey_cells`), and up to 20,000 documents are gathered in one place.
    """

    def __init__(self, settings: MixSettings):
        super().__init__()
        self._settings = settings

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        settings = self._settings

        def survey(label: str, request: Request | beam.PCollection, mix: MixSettings) -> beam.PCollection:
            # A request that is known beforehand travels with the step, one that depends on the documents as a side input.
            known, asked = ((request,), ()) if isinstance(request, Request) else ((), (AsSingleton(request),))
            return decided | label >> beam.ParDo(PoolDo(label.lower(), survey_shard, *known, mix), *asked)

        def count(label: str, request: Request | beam.PCollection, mix: MixSettings = settings, merge: Merge = merge_histograms) -> beam.PCollection:
            return survey(f"Count{label}", request, mix) | f"Merge{label}" >> beam.CombineGlobally(MergeHistograms(merge))

        def gather(label: str, request: beam.PCollection, mix: MixSettings = settings) -> AsIter:
            return AsIter(survey(f"Gather{label}", request, mix))

        def select(mix: MixSettings) -> beam.PCollection:
            request, reserved, carried = Request(), (), ()
            if mix.reserve:
                by_group = count("Groups", Request(of_groups=True), mix)
                places = gather("Places", by_group | "SeekPlaces" >> beam.Map(seek_places, mix), mix)
                found = by_group | "ReservePlaces" >> beam.Map(reserve_places, places, mix)
                request, reserved = found | "AskForPriorities" >> beam.Map(lambda found: Request(reserved=found)), AsSingleton(found)
            by_priority = count("Priorities", request, mix)
            if asks_for_carried(mix):
                carried = gather("Carried", by_priority | "SeekCarried" >> beam.Map(seek_carried, mix, reserved), mix)
            crossings = gather("Crossings", by_priority | "SeekSelection" >> beam.Map(seek_selection, mix, reserved, carried), mix)
            return by_priority | "SelectDocuments" >> beam.Map(_select, carried, crossings, mix, reserved)

        selection = select(settings.without_groups if settings.groups else settings)
        if settings.groups:
            # Imported here: a mix without groups needs no solver, nor what prepares its work.
            from transforms.mix_groups import ask_for_cells, seek_cells, seek_published, select_cells, state_groups
            from transforms.survey_cells import merge_cells

            by_cell = count("Cells", Request(of_cells=True), merge=merge_cells)
            sought = by_cell | "SeekCells" >> beam.Map(seek_cells, settings)
            near = gather("Cells", sought | "AskForCells" >> beam.Map(ask_for_cells))
            selection = sought | "SelectCells" >> beam.Map(select_cells, near, AsSingleton(selection), settings)
        by_placement = count("Placements", selection | "AskForPlacements" >> beam.Map(Request))
        ends = gather("HumanEnds", by_placement | "SeekHuman" >> beam.Map(seek_human, AsSingleton(selection)))
        placement = by_placement | "PlaceHuman" >> beam.Map(place_human, ends, AsSingleton(selection))
        ends = gather("OtherEnds", by_placement | "SeekOther" >> beam.Map(seek_other, AsSingleton(placement)))
        cuts = by_placement | "PlaceOther" >> beam.Map(place_other, ends, AsSingleton(placement)).with_output_types(MixCuts)
        if settings.groups:
            published = count("Published", cuts | "AskForPublished" >> beam.Map(seek_published), merge=merge_cells)
            return cuts | "StateGroups" >> beam.Map(state_groups, AsSingleton(published), AsSingleton(sought)).with_output_types(MixCuts)
        if not settings.reserve:
            return cuts
        published = count("Published", cuts | "AskForPublished" >> beam.Map(seek_reserved))
        return cuts | "StateReserved" >> beam.Map(state_reserved, AsSingleton(published)).with_output_types(MixCuts)


def _select(
    by_priority: np.ndarray, carried: Iterable[np.ndarray], crossings: Iterable[np.ndarray], settings: MixSettings, reserved: Reserved
) -> Selection:
    return select_documents(by_priority, itertools.chain(carried, crossings), settings, reserved)


class MergeHistograms(beam.CombineFn):
    """`merge_in_parts` for Beam."""

    def __init__(self, merge: Merge = merge_histograms):
        super().__init__()
        self._merge = merge

    def create_accumulator(self) -> PendingHistogram:
        return PendingHistogram(self._merge)

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
