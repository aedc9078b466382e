"""Rejects what lies below the best share of the documents that pass the rules, by a score: the thresholds of `find_tops` as a Beam transform.

It comes before the search for duplicates, so that a document that will be rejected never suppresses a good twin.
"""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import AsIter, AsSingleton

from transforms import group_members
from transforms.decisions import read_decisions, write_decisions
from transforms.find_tops import (
    DECISIVE,
    TopBin,
    TopFound,
    add_counts,
    member_column,
    narrow_tops,
    place_tops,
    reject_below,
    survey_tops,
    top_columns,
)
from transforms.group_settings import Group
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

    def __init__(self, tops: Sequence[TopShare], seed: int, folder: str, groups: Sequence[Group] = ()):
        super().__init__()
        self._tops, self._seed, self._folder, self._groups = tuple(tops), seed, folder, tuple(groups)

    def expand(self, decided: beam.PCollection):
        tops, settings = self._tops, (self._tops, self._seed, self._groups)
        counts = decided | "CountPlaces" >> beam.ParDo(PoolDo("keep_top", survey_shard, None, 1, *settings)) | "AddCounts" >> _add()
        bins = counts | "Narrow" >> beam.Map(narrow_tops, tops)
        inner = decided | "CountInBins" >> beam.ParDo(PoolDo("keep_top", survey_shard, 2, *settings), AsSingleton(bins)) | "AddInner" >> _add()
        narrowed = inner | "NarrowAgain" >> beam.Map(narrow_tops, tops, AsSingleton(bins))
        gathered = decided | "GatherPlaces" >> beam.ParDo(PoolDo("keep_top", survey_shard, 3, *settings), AsSingleton(narrowed))
        found = narrowed | "Place" >> beam.Map(place_tops, AsIter(gathered), tops)
        reject = PoolDo("keep_top", reject_shard, self._seed, self._folder, self._groups)
        return decided | "RejectBelow" >> beam.ParDo(reject, AsSingleton(found)).with_output_types(DecidedShard), found


def survey_shard(
    decided: DecidedShard, bins: Sequence[TopBin] | None, level: int, tops: Sequence[TopShare], seed: int, groups: Sequence[Group] = ()
) -> list[pa.Table]:
    """`survey_tops` of a decided shard's files; a pool task."""
    found = survey_tops(read_decisions(decided, DECISIVE), _read_scores(decided, tops, groups), bins, level, tops, seed)
    return [found] if found.num_rows else []


def reject_shard(decided: DecidedShard, found: Sequence[TopFound], seed: int, folder: str, groups: Sequence[Group] = ()) -> list[DecidedShard]:
    """`reject_below` of a decided shard's files; a pool task."""
    tops = list(dict.fromkeys(one.top for one in found))
    return [write_decisions(reject_below(read_decisions(decided), _read_scores(decided, tops, groups), found, seed), decided.shard, folder)]


def group_chain(name: str, groups: Sequence[Group]) -> list[Group]:
    """The group of the mix called `name`, and those that it lies within."""
    by_name, chain = {group.name: group for group in groups}, []
    while name:
        chain.append(by_name[name])
        name = chain[-1].within
    return chain


def _add() -> beam.PTransform:
    return beam.CombineGlobally(add_counts)


def _read_scores(decided: DecidedShard, tops: Sequence[TopShare], groups: Sequence[Group]) -> pa.Table:
    with open_arrow(decided.shard.path) as file:
        scores = pq.read_table(file, columns=top_columns(tops), use_threads=False)
    for top in {top.group: top for top in tops if top.of_mix}.values():
        scores = scores.append_column(member_column(top), pa.array(_members(decided, group_chain(top.group, groups))))
    return scores


def _members(decided: DecidedShard, chain: Sequence[Group]) -> np.ndarray:
    """bool: which documents are of all groups of the chain."""
    names = {name for group in chain for name in group.predicate.fields}
    with open_arrow(decided.shard.path) as file:
        parquet = pq.ParquetFile(file)
        known = {*parquet.schema_arrow.names, *group_members.DECIDED_FIELDS}
        own = {name for name in names & set(parquet.schema_arrow.names) if name not in group_members.DECIDED_FIELDS or name == "generation"}
        scored = parquet.read([*sorted(own), *(["extra"] if names - known else [])], use_threads=False)
    table = group_members.add_members(read_decisions(decided), chain, scored)
    return np.logical_and.reduce([table[group_members.member_column(group)].to_numpy() for group in chain])
