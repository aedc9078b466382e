"""The ledger's part of a run on this machine without Beam: the same tasks as in `ledger_graph`, on the pool of processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipeline.cycle_report import join_surveys, survey_shard
from pipeline.folders import Folders
from pipeline.job import Job
from pipeline.ledger_finish import Memory
from pipeline.ledger_job import LedgerJob, LedgerRun
from transforms.find_earlier import find_published
from transforms.find_parents import Lineage, derive_lineage, list_children, list_named
from transforms.list_published import ShardListed, add_listed, list_shard, rows_by_part, write_part
from transforms.place_mix import MixCuts
from transforms.records import DecidedShard
from transforms.remember_shard import gather_remembered, remember_shard
from transforms.storage import join_path
from transforms.worker_pool import run_on_pool
from transforms.write_shards import ShardWritten


def remember_here(decided: Sequence[DecidedShard], job: LedgerJob, folders: Folders) -> tuple[list[DecidedShard], Lineage]:
    """The decided shards with what memory decides about them, and what came of parents."""
    found: dict[int, list] = defaultdict(list)
    for name, (reading, origins) in job.lookups().items():
        for index, batch in find_published(decided, reading, origins, job.min_similarity, join_path(folders.remembered, name)):
            found[index].append((name, batch))
    children = list(run_on_pool("lineage", list_children, decided))
    named = list(run_on_pool("lineage", list_named, decided, children)) if children else []
    lineage = derive_lineage(children, named, job.url, job.parent_files())
    joined = [(one, gather_remembered(found[one.shard.index])) for one in decided]
    remembered = run_on_pool("remember", remember_shard, joined, lineage.generations, job.memory, folders.remembered)
    return sorted(remembered, key=lambda one: one.shard.index), lineage


def list_here(decided: Sequence[DecidedShard], cuts: MixCuts, written: Sequence[ShardWritten], job: Job, lineage: Lineage) -> Memory:
    """The ledger's files of what is published, and what the published files hold."""
    ledger, facts, folders = job.ledger, job.facts, job.folders
    run = ledger.published_run(facts.run_id, facts.started_at, job.recipe)
    listed: list[ShardListed] = list(run_on_pool("list", list_shard, decided, cuts, list(written), job.recipe.mix, run, folders.remembered))
    files = tuple(sorted(run_on_pool("list", write_part, rows_by_part(listed), ledger.url, facts.run_id)))
    survey = join_surveys(run_on_pool("survey", survey_shard, [join_path(folders.data, shard.name) for shard in written]))
    return Memory(ledger, LedgerRun(files, add_listed(listed), lineage), survey)
