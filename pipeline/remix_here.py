"""A mix from scores and decisions that lie on this machine, without Beam: `remix` and `plan` where nothing before the mix has changed.

The same functions as in `graph`, called in the same order on the pool of processes, so the same bytes come out. Importing Beam and
building its graph takes about 5 CPU-seconds, more than the mix of 200,000 documents.

What grows with the documents lies in files. In memory: a few hundred bytes a scored shard, and what `find_cuts` holds.
"""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict

from pipeline.decided import recall_tops
from pipeline.finishing import admit_mix, admit_run, finish_run
from pipeline.job import Job
from transforms.balance_books import add_counts
from transforms.decisions import recall_decisions
from transforms.dispose_documents import SpilledRows, dispose_shard
from transforms.find_cuts import find_cuts
from transforms.scored_shards import recall_split
from transforms.survey_mix import survey_shard
from transforms.weigh_samples import add_sums, sum_weights, weigh_samples
from transforms.worker_pool import run_on_pool
from transforms.write_shards import human_origins, write_shard


def remix_here(job: Job, parsed: Namespace) -> None:
    """Mixes and publishes `job`, whose decisions are known. Raises HeadwaterError where the run is refused, or what stopped a step."""
    recipe, folders, mix = job.recipe, job.folders, job.recipe.mix
    catalog = admit_run(run_on_pool("recall", recall_split, job.scored), recipe, folders)
    decided = list(run_on_pool("recall", recall_decisions, catalog.shards, job.decided))
    lineage = None
    if job.ledger:
        # Imported here: a run without memory needs none of it.
        from pipeline.ledger_here import list_here, remember_here

        decided, lineage = remember_here(decided, job.ledger, folders)
    if mix.takes_turns:
        # Imported here: no other order needs it.
        from transforms.rank_documents import rank_here

        decided = rank_here(decided, mix, job.near_clusters, recipe.dedup.partitions, folders.ranked)
    cuts = admit_mix(find_cuts(lambda request, settings: run_on_pool("survey", survey_shard, decided, request, settings), mix), recipe, folders)
    if recipe.publish.sample_weight != "none":
        is_summed = recipe.publish.sample_weight == "importance"
        sums = add_sums(run_on_pool("weigh", sum_weights, decided, cuts, mix)) if is_summed else (0, 0)
        cuts = weigh_samples(cuts, recipe.publish.sample_weight, sums)

    places = (folders.kept, folders.rejected) if job.write else (None, None)
    disposed = list(run_on_pool("mix", dispose_shard, decided, cuts, mix, *places, recipe.publish.mask_personal_data))
    spilled: dict[int, list[SpilledRows]] = defaultdict(list)
    for one in disposed:
        for output_shard, rows in one.spilled:
            spilled[output_shard].append(rows)
    human = human_origins(mix.count_presumed_human)
    publish = recipe.publish
    written = list(
        run_on_pool(
            "write", write_shard, sorted(spilled.items()), cuts.plan.num_shards, human, folders.data, publish.row_group_documents, publish.zstd_level
        )
    )
    counts = add_counts(one.counts for one in disposed)
    memory = None
    if job.ledger and job.write:
        memory = list_here(decided, cuts, written, job, lineage)
    tops = recall_tops(job.decided) if recipe.tops else ()
    finish_run(job.facts, catalog, cuts, counts, written, memory, recipe, folders, job.write, tops)
