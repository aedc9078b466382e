"""Rejects what lies below the best share of the documents that pass the rules, by a score: the thresholds of `find_tops` as a Beam transform.

It comes before the search for duplicates, so that a document that will be rejected never suppresses a good twin.
"""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import AsIter, AsSingleton

from transforms.decisions import read_decisions, write_decisions
from transforms.find_tops import DECISIVE, TopBin, TopFound, add_counts, narrow_tops, place_tops, reject_below, survey_tops, top_columns
from transforms.pool_steps import PoolDo
from transforms.records import DecidedShard
from transforms.storage import open_arrow
from transforms.top_settings import TopShare


class KeepTop(beam.PTransform):
    """PCollection[DecidedShard] -> (the decided shards without what lies below the thresholds, one tuple of `TopFound`).

    Three surveys of the narrow columns. Largest in one place: the histograms, a row for each group and bin in use (2048 bins for each power of two of a
    score, at most a million), and the documents of the narrowed bins: those of equal score whose hashes agree in eight bits, or some that
    lie within 2**-23 of the threshold.
    """

    def __init__(self, tops: Sequence[TopShare], seed: int, folder: str):
        super().__init__()
        self._tops, self._seed, self._folder = tuple(tops), seed, folder

    def expand(self, decided: beam.PCollection):
        tops, settings = self._tops, (self._tops, self._seed)
        counts = decided | "CountPlaces" >> beam.ParDo(PoolDo("keep_top", survey_shard, None, 1, *settings)) | "AddCounts" >> _add()
        bins = counts | "Narrow" >> beam.Map(narrow_tops, tops)
        inner = decided | "CountInBins" >> beam.ParDo(PoolDo("keep_top", survey_shard, 2, *settings), AsSingleton(bins)) | "AddInner" >> _add()
        narrowed = inner | "NarrowAgain" >> beam.Map(narrow_tops, tops, AsSingleton(bins))
        gathered = decided | "GatherPlaces" >> beam.ParDo(PoolDo("keep_top", survey_shard, 3, *settings), AsSingleton(narrowed))
        found = narrowed | "Place" >> beam.Map(place_tops, AsIter(gathered), tops)
        reject = PoolDo("keep_top", reject_shard, self._seed, self._folder)
        return decided | "RejectBelow" >> beam.ParDo(reject, AsSingleton(found)).with_output_types(DecidedShard), found


def survey_shard(decided: DecidedShard, bins: Sequence[TopBin] | None, level: int, tops: Sequence[TopShare], seed: int) -> list[pa.Table]:
    """`survey_tops` of a decided shard's files; a pool task."""
    found = survey_tops(read_decisions(decided, DECISIVE), _read_scores(decided, tops), bins, level, tops, seed)
    return [found] if found.num_rows else []


def reject_shard(decided: DecidedShard, found: Sequence[TopFound], seed: int, folder: str) -> list[DecidedShard]:
    """`reject_below` of a decided shard's files; a pool task."""
    tops = list(dict.fromkeys(one.top for one in found))
    return [write_decisions(reject_below(read_decisions(decided), _read_scores(decided, tops), found, seed), decided.shard, folder)]


def _add() -> beam.PTransform:
    return beam.CombineGlobally(add_counts)


def _read_scores(decided: DecidedShard, tops: Sequence[TopShare]) -> pa.Table:
    with open_arrow(decided.shard.path) as file:
        return pq.read_table(file, columns=top_columns(tops), use_threads=False)
