"""The ledger's steps of the graph: what earlier cycles published is looked up before the mix, what this one publishes is listed after it."""

from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from pipeline.cycle_report import join_surveys, survey_shard
from pipeline.folders import Folders
from pipeline.ledger_finish import Memory
from pipeline.ledger_job import LedgerJob, LedgerRun
from pipeline.recipe import Recipe
from pipeline.run_facts import RunFacts
from transforms.find_parents import Lineage, derive_lineage, list_children, list_named
from transforms.find_published import FindPublished
from transforms.list_published import ShardListed, add_listed, list_shard, rows_by_part, write_part
from transforms.pool_steps import PoolDo, key_by_shard
from transforms.records import DecidedShard
from transforms.remember_shard import gather_remembered, remember_shard
from transforms.storage import join_path


class Remember(beam.PTransform):
    """Decided shards -> (decided shards with what memory decides about them, one `Lineage`)."""

    def __init__(self, job: LedgerJob, folders: Folders):
        super().__init__()
        self._job, self._folders = job, folders

    def expand(self, decided):
        job, folder = self._job, self._folders.remembered
        keyed = {"decided": decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])}
        for name, (reading, origins) in job.lookups().items():
            keyed[name] = decided | f"Find_{name}" >> FindPublished(reading, origins, job.min_similarity, join_path(folder, name))
        children = decided | "ListChildren" >> beam.ParDo(PoolDo("lineage", list_children)) | "AllChildren" >> beam.combiners.ToList()
        named = decided | "ListNamed" >> beam.ParDo(PoolDo("lineage", list_named), AsSingleton(children)) | "AllNamed" >> beam.combiners.ToList()
        lineage = children | "DeriveLineage" >> beam.Map(derive_lineage, AsSingleton(named), job.url, job.parent_files()).with_output_types(Lineage)
        generations = lineage | "Generations" >> beam.Map(lambda one: one.generations).with_output_types(pa.Table)
        remember = PoolDo("remember", remember_shard, job.memory, folder)
        remembered = (
            keyed
            | "JoinByShard" >> beam.CoGroupByKey()
            | "Joined" >> beam.Map(_join)
            | "Remember" >> beam.ParDo(remember, AsSingleton(generations)).with_output_types(DecidedShard)
        )
        return remembered, lineage


class ListPublished(beam.PTransform):
    """(decided shards, the mix, the files as written, the lineage) -> one `Memory`."""

    def __init__(self, job: LedgerJob, recipe: Recipe, facts: RunFacts, folders: Folders):
        super().__init__()
        self._job, self._recipe, self._facts, self._folders = job, recipe, facts, folders

    def expand(self, inputs):
        decided, cuts, written, lineage = inputs
        job, facts, folders = self._job, self._facts, self._folders
        run = job.published_run(facts.run_id, facts.started_at, self._recipe)
        make = PoolDo("list", list_shard, self._recipe.mix, run, folders.remembered)
        listed = decided | "ListShards" >> beam.ParDo(make, AsSingleton(cuts), AsSingleton(written)).with_output_types(ShardListed)
        write = PoolDo("list", write_part, job.url, facts.run_id)
        files = (
            listed
            | "AllListed" >> beam.combiners.ToList()
            | "ByPart" >> beam.FlatMap(rows_by_part)
            | "SpreadParts" >> beam.Reshuffle()
            | "WriteParts" >> beam.ParDo(write)
            | "AllFiles" >> beam.combiners.ToList()
        )
        counts = listed | "AllCounts" >> beam.combiners.ToList() | "AddCounts" >> beam.Map(add_listed)
        survey = (
            written
            | "EachWritten" >> beam.FlatMap(lambda shards, folder: [join_path(folder, shard.name) for shard in shards], folders.data)
            | "SpreadWritten" >> beam.Reshuffle()
            | "Survey" >> beam.ParDo(PoolDo("survey", survey_shard))
            | "AllSurveys" >> beam.combiners.ToList()
            | "JoinSurveys" >> beam.Map(join_surveys)
        )
        return files | "Memory" >> beam.Map(_memory, AsSingleton(counts), AsSingleton(lineage), AsSingleton(survey), job).with_output_types(Memory)


def _join(joined):
    _, held = joined
    (decided,) = held["decided"]
    return decided, gather_remembered([(name, batch) for name, batches in sorted(held.items()) if name != "decided" for batch in batches])


def _memory(files, counts, lineage, survey, job) -> Memory:
    return Memory(job, LedgerRun(tuple(sorted(files)), counts, lineage), survey)
