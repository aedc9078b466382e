"""The whole flow on one page: SCORE -> DECIDE -> PUBLISH.

Each step is a thin call of a transform; what it does stands in the file of that name under `transforms/`. Text stays on
disk from SCORE to PUBLISH: what Beam carries are names of files, and numpy arrays of hashes and numbers.
"""

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from classifiers.scorers import without_detector
from pipeline.caps import NEAR_CLUSTER, SEMANTIC_CLUSTER, finds_meanings
from pipeline.decided import recall_tops
from pipeline.finishing import admit_mix, admit_run, finish_run
from pipeline.job import Job
from pipeline.mix_orders import takes_turns_over
from transforms.balance_books import add_counts
from transforms.cap_keys import KEY_ORDER, CapKeys, WriteClusters
from transforms.decisions import recall_decisions
from transforms.deduplicate_exact import FindExactDuplicates
from transforms.deduplicate_near import FindNearDuplicates
from transforms.dispose_documents import ShardDisposed, dispose_shard
from transforms.find_repeated_lines import FindRepeatedLines
from transforms.inputs import Split
from transforms.judge_documents import judge_shard
from transforms.keep_top import KeepTop
from transforms.mix_to_quota import PlanMix
from transforms.pool_steps import PoolDo, key_by_shard
from transforms.records import DecidedShard, Reason, ScoredShard, Stage
from transforms.reject_duplicates import reject_duplicates
from transforms.score_documents import score_split
from transforms.scored_shards import SplitScored, recall_split
from transforms.spill_unsplittable import spill_unsplittable
from transforms.storage import is_local
from transforms.weigh_samples import add_sums, sum_weights, weigh_samples
from transforms.write_shards import ShardWritten, human_origins, write_shard


def build_graph(root: beam.Pipeline, job: Job) -> None:
    """Adds the whole run to `root`; its last step publishes."""
    scored = root | "Score" >> Score(job)
    catalog = scored | "ListShards" >> beam.combiners.ToList() | "AdmitRun" >> beam.Map(admit_run, job.recipe, job.folders)
    shards = catalog | "EachShard" >> beam.FlatMap(lambda run: run.shards).with_output_types(ScoredShard) | "SpreadShards" >> beam.Reshuffle()

    decided, tops = shards | "Decide" >> Decide(job)
    if job.decides_only:
        return
    lineage = None
    if job.ledger:
        # Imported here: a run without memory needs none of it.
        from pipeline.ledger_graph import Remember

        decided, lineage = decided | "Remember" >> Remember(job.ledger, job.folders)
    if job.recipe.mix.takes_turns:
        # Imported here: no other order needs it.
        from transforms.rank_in_clusters import RankInClusters

        ranks = job.folders.ranked, job.folders.shuffled if is_local(job.folders.root) else None
        decided = decided | "RankInClusters" >> RankInClusters(job.recipe.mix, job.near_clusters, job.recipe.dedup.partitions, *ranks)
    cuts = decided | "PlanMix" >> PlanMix(job.recipe.mix) | "AdmitMix" >> beam.Map(admit_mix, job.recipe, job.folders)
    if job.recipe.publish.sample_weight != "none":
        cuts = (decided, cuts) | "Weigh" >> Weigh(job)

    counts, written = (decided, cuts) | "Publish" >> Publish(job)
    memory = root | "NoMemory" >> beam.Create([None])
    if job.ledger and job.write:
        from pipeline.ledger_graph import ListPublished

        memory = (decided, cuts, written, lineage) | "ListPublished" >> ListPublished(job.ledger, job.recipe, job.facts, job.folders)
    _ = (
        root
        | "Last" >> beam.Create([job.facts])
        | "FinishRun"
        >> beam.Map(
            finish_run,
            AsSingleton(catalog),
            AsSingleton(cuts),
            AsSingleton(counts),
            AsSingleton(written),
            AsSingleton(memory),
            job.recipe,
            job.folders,
            job.write,
            tops,
        )
    )


class Score(beam.PTransform):
    """Splits of the inputs, or scored shards of an earlier run -> one `SplitScored` each, its Parquet shard on disk."""

    def __init__(self, job: Job):
        self._job = job

    def expand(self, root):
        job, folders = self._job, self._job.folders
        if job.scored:
            recall = PoolDo("recall", recall_split)
            return (
                root | "ScoredShards" >> beam.Create(job.scored) | "SpreadScored" >> beam.Reshuffle() | "RecallScores" >> _pool(recall, SplitScored)
            )
        whole = root | "Splits" >> beam.Create([split for split in job.splits if not split.needs_spill])
        packed = root | "PackedInputs" >> beam.Create([split for split in job.splits if split.needs_spill])
        unpack = PoolDo("unpack", spill_unsplittable, folders.spilled)
        settings, scored = (job.recipe.score, folders.scored) if job.inference is None else (without_detector(job.recipe.score), folders.unjudged)
        score = PoolDo("score", score_split, job.fields, settings, scored, folders.dead_letters)
        chunks = packed | "SpreadPacked" >> beam.Reshuffle() | "SpillUnsplittable" >> _pool(unpack, Split)
        splits = (whole, chunks) | "AllSplits" >> beam.Flatten() | "SpreadSplits" >> beam.Reshuffle()
        results = splits | "ScoreSplits" >> _pool(score, SplitScored)
        if job.inference is None:
            return results
        # Imported here: it brings Beam's inference along, which a run in line does not need.
        from transforms.infer_scores import InferScores

        return results | "InferScores" >> InferScores(job.recipe.score, job.inference, folders.scored, folders.dead_letters)


class Decide(beam.PTransform):
    """Scored shards -> (decided shards, thresholds of best shares as an argument of a step): origins verified, rules applied, best shares kept,
    duplicates marked; or as an earlier run decided."""

    def __init__(self, job: Job):
        self._job = job

    def expand(self, shards):
        recipe, folders, dedup = self._job.recipe, self._job.folders, self._job.recipe.dedup
        if self._job.decided:
            recall = PoolDo("recall", recall_decisions, self._job.decided)
            return shards | "RecallDecisions" >> _pool(recall, DecidedShard), recall_tops(self._job.decided) if recipe.tops else ()
        takes_turns = takes_turns_over(recipe.mix, NEAR_CLUSTER)
        clusters = takes_turns or any(key == NEAR_CLUSTER for key, _ in recipe.caps.most)
        # Where the mix takes turns over them a later remix needs them too.
        near_clusters = folders.decided if takes_turns else folders.clusters
        meanings = finds_meanings(dedup, recipe.caps) or takes_turns_over(recipe.mix, SEMANTIC_CLUSTER)
        optional = {"top": recipe.tops, "exact": dedup.exact, "key": dedup.key, "near": dedup.near, "meanings": meanings, "semantic": dedup.semantic}
        optional |= {"lines": dedup.max_repeated_line_share < 1}
        steps = [*(name for name, runs in optional.items() if runs), *(f"cap-{number}" for number in range(len(recipe.caps.most)))]
        # The last step that runs leaves its files where a later remix finds them.
        places = {name: folders.deciding(name) for name in ("judged", *steps[:-1])} | {(steps or ["judged"])[-1]: folders.decided}
        judged = (recipe.rules, self._job.thresholds, recipe.origin.reject_disputed, places["judged"], recipe.contamination, dedup.quality_field)
        judge = PoolDo("judge", judge_shard, *judged)
        decided = shards | "JudgeShards" >> _pool(judge, DecidedShard)
        tops = ()
        if recipe.tops:
            decided, thresholds = decided | "KeepTop" >> KeepTop(recipe.tops, recipe.mix.seed, places["top"], recipe.mix.groups)
            tops = AsSingleton(thresholds)
        if dedup.exact:
            found = decided | "FindExactDuplicates" >> FindExactDuplicates(dedup.partitions)
            decided = (decided, found) | "RejectExact" >> RejectDuplicates(Stage.EXACT, Reason.EXACT_DUPLICATE, 1.0, places["exact"])
        if dedup.key:
            found = decided | "FindDuplicateKeys" >> CapKeys(dedup.key, 1, order=KEY_ORDER, num_partitions=dedup.partitions)
            decided = (decided, found) | "RejectKeys" >> RejectDuplicates(Stage.KEY, Reason.DUPLICATE_KEY, 1, places["key"])
        spill = folders.shuffled if is_local(folders.root) else None
        if dedup.near or clusters:
            near = FindNearDuplicates(
                bands=recipe.score.bands,
                extra_bands=dedup.extra_bands,
                min_similarity=dedup.min_similarity,
                num_partitions=dedup.partitions,
                spill_folder=spill,
            )
            linked = decided | "LinkNearDuplicates" >> near.link()
            if clusters:
                # Kept before any of a group is rejected: those that stay are still of one kind.
                keyed = decided | "KeyClusters" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
                decided = (keyed, linked) | "WriteClusters" >> WriteClusters(near_clusters)
            if dedup.near:
                found = (decided, linked) | "ChooseSurvivors" >> near.choose()
                reject = RejectDuplicates(Stage.NEAR, Reason.NEAR_DUPLICATE, dedup.min_similarity, places["near"])
                decided = (decided, found) | "RejectNear" >> reject
        if meanings:
            # Imported here: a run that compares no embeddings needs none of it.
            from transforms.cluster_vectors import ClusterDocuments
            from transforms.deduplicate_semantic import FindSemanticDuplicates

            cluster = ClusterDocuments(dedup.semantic_cluster_documents, dedup.semantic_probes, places["meanings"])
            clustered = decided, _, _ = decided | "ClusterDocuments" >> cluster
            if dedup.semantic:
                semantic = FindSemanticDuplicates(dedup.semantic_similarity, dedup.semantic_probes, dedup.partitions, spill_folder=spill)
                found = clustered | "FindSemanticDuplicates" >> semantic
                reject = RejectDuplicates(Stage.SEMANTIC, Reason.SEMANTIC_DUPLICATE, dedup.semantic_similarity, places["semantic"])
                decided = (decided, found) | "RejectSemantic" >> reject
        if "lines" in steps:
            share = dedup.max_repeated_line_share
            found = decided | "FindRepeatedLines" >> FindRepeatedLines(share, folders.lines, dedup.partitions, spill_folder=spill)
            decided = (decided, found) | "RejectLines" >> RejectDuplicates(Stage.LINES, Reason.REPEATED_LINES, share, places["lines"])
        for number, (key, most) in enumerate(recipe.caps.most):
            kept = near_clusters if key == NEAR_CLUSTER else None
            found = decided | f"Cap{number}" >> CapKeys(key, most, recipe.caps.origins, num_partitions=dedup.partitions, clusters=kept)
            decided = (decided, found) | f"RejectCap{number}" >> RejectDuplicates(Stage.CAPS, Reason.OVER_CAP, most, places[f"cap-{number}"])
        return decided, tops


class RejectDuplicates(beam.PTransform):
    """(decided shards, duplicates found by shard) -> decided shards with those documents rejected."""

    def __init__(self, stage: Stage, reason: Reason, limit: float, folder: str):
        self._arguments = (stage, reason, limit, folder)

    def expand(self, decided_and_found):
        decided, found = decided_and_found
        keyed = decided | "KeyByShard" >> beam.Map(lambda one: (one.shard.index, one)).with_output_types(tuple[int, DecidedShard])
        reject = PoolDo("reject", reject_duplicates, *self._arguments)
        return (
            {"decided": keyed, "found": found}
            | "JoinByShard" >> beam.CoGroupByKey()
            | "Joined" >> beam.Map(lambda joined: (next(iter(joined[1]["decided"])), list(joined[1]["found"])))
            | "Reject" >> _pool(reject, DecidedShard)
        )


class Weigh(beam.PTransform):
    """(decided shards, the mix) -> the mix with what published rows weigh in training."""

    def __init__(self, job: Job):
        self._job = job

    def expand(self, decided_and_cuts):
        decided, cuts = decided_and_cuts
        kind, sums = self._job.recipe.publish.sample_weight, ()
        if kind == "importance":
            add = PoolDo("weigh", sum_weights, self._job.recipe.mix)
            found = decided | "SumWeights" >> beam.ParDo(add, AsSingleton(cuts)) | "AddSums" >> beam.CombineGlobally(add_sums)
            sums = (AsSingleton(found),)
        return cuts | "WeighSamples" >> beam.Map(weigh_samples, kind, *sums)


class Publish(beam.PTransform):
    """(decided shards, the mix) -> (counts of every disposition, the output shards as written), one element each."""

    def __init__(self, job: Job):
        self._job = job

    def expand(self, decided_and_cuts):
        decided, cuts = decided_and_cuts
        recipe, folders = self._job.recipe, self._job.folders
        num_shards = cuts | "NumShards" >> beam.Map(lambda one: one.plan.num_shards)
        places = (folders.kept, folders.rejected) if self._job.write else (None, None)
        dispose = PoolDo("mix", dispose_shard, recipe.mix, *places, recipe.publish.mask_personal_data)
        write = PoolDo(
            "write",
            write_shard,
            human_origins(recipe.mix.count_presumed_human),
            folders.data,
            recipe.publish.row_group_documents,
            recipe.publish.zstd_level,
        )
        disposed = decided | "DisposeShards" >> beam.ParDo(dispose, AsSingleton(cuts)).with_output_types(ShardDisposed)
        counts = disposed | "Counts" >> beam.Map(lambda one: one.counts) | "SumCounts" >> beam.CombineGlobally(add_counts)
        written = (
            disposed
            | "SpilledRows" >> beam.FlatMap(lambda one: one.spilled)
            | "GroupByOutputShard" >> beam.GroupByKey()
            | "Gathered" >> beam.Map(lambda keyed: (keyed[0], list(keyed[1])))
            | "WriteShards" >> beam.ParDo(write, AsSingleton(num_shards)).with_output_types(ShardWritten)
            | "ListWritten" >> beam.combiners.ToList()
        )
        return counts, written


def _pool(function: PoolDo, output: type) -> beam.ParDo:
    return beam.ParDo(function).with_output_types(output)
