"""Claims about the mix end to end: the quota holds in every shard, and every split of the documents gives the same rows."""

import pickle
from collections import Counter
from fractions import Fraction
from unittest import mock

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import CODES, SCORED, apply_parts, decisions_of, make_documents, slow_mix
from transforms import survey_mix
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables, seek_selection, select_documents
from transforms.mix_settings import PRIORITIES, UNITS, MixSettings
from transforms.mix_to_quota import MergeHistograms, PlanMix
from transforms.records import DECISION_SCHEMA, DecidedShard, Origin, Reason, ScoredShard, Stage
from transforms.survey_mix import Request, merge_histograms, survey_table

IN_MEMORY = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
QUOTAS = st.sampled_from(["0", "1/100", "1/3", "0.5", "0.7", "0.9", "1"])
STRATA = st.sampled_from(["mixed", "all human", "no human", "mostly other", "ties"])


@st.composite
def mixes(draw) -> MixSettings:
    return MixSettings(
        human_quota=draw(QUOTAS),
        quota_unit=draw(st.sampled_from(UNITS)),
        max_documents=draw(st.none() | st.integers(1, 60)),
        max_tokens=draw(st.none() | st.integers(1, 900)),
        on_shortage="shrink",
        priority=draw(st.sampled_from(PRIORITIES)),
        count_presumed_human=draw(st.booleans()),
        num_shards=draw(st.none() | st.integers(1, 9)),
        target_shard_bytes=draw(st.sampled_from([30, 400, 1 << 28])),
        seed=draw(st.integers(0, 3)),
    )


def published(documents: list[dict], outcome) -> dict[int, int]:
    """Address to shard of what is published."""
    return {document["address"]: int(shard) for document, shard in zip(documents, outcome.output_shard, strict=True) if shard >= 0}


def counts_as_human(document: dict, mix: MixSettings) -> bool:
    return document["origin"] == CODES[Origin.HUMAN] or (mix.count_presumed_human and document["origin"] == CODES[Origin.PRESUMED_HUMAN])


@given(st.integers(0, 70), STRATA, st.integers(0, 99), mixes(), st.lists(st.integers(0, 3), min_size=1, max_size=70), st.sampled_from([1, 4, 20]))
@settings(max_examples=100)
def test_any_split_and_any_bins_give_what_one_sorted_list_gives(count, kind, seed, mix, parts, bin_bits):
    documents = make_documents(count, kind, seed)
    with mock.patch.object(survey_mix, "BIN_BITS", bin_bits):
        outcome, cuts = apply_parts(documents, [parts[index % len(parts)] for index in range(count)], mix)
    expected = slow_mix(documents, mix)
    for document in documents:
        row = outcome[document["address"]]
        assert (row["output_shard"], row["reason"]) == expected[document["address"]]
    kept = [document for document in documents if outcome[document["address"]]["output_shard"] >= 0]
    assert cuts.plan.selected.documents == len(kept)
    assert cuts.plan.selected.tokens == sum(document["tokens"] for document in kept)


@given(st.integers(0, 120), STRATA, st.integers(0, 99), mixes())
@settings(max_examples=150)
def test_quota_holds_overall_and_in_every_shard(count, kind, seed, mix):
    documents = make_documents(count, kind, seed)
    table = decisions_of(documents)
    cuts = cuts_of_tables([table], mix)
    outcome = apply_mix(table, cuts, mix)
    shards = np.zeros((max(1, cuts.plan.num_shards), 2), object)
    filled = np.zeros(max(1, cuts.plan.num_shards), int)
    for document, shard in zip(documents, outcome.output_shard, strict=True):
        if shard >= 0:
            shards[shard, 0 if counts_as_human(document, mix) else 1] += {"documents": 1, **document}[mix.quota_unit]
            filled[shard] += 1
    for human, other in [*shards, shards.sum(axis=0)]:
        assert human >= mix.human_quota * (human + other)
    if cuts.plan.num_shards:
        assert filled.min() > 0
    if mix.quota_unit != "documents" and mix.human_quota > 0:
        assert list(cuts.human_units[:, UNITS.index(mix.quota_unit)]) == list(shards[: cuts.plan.num_shards, 0])
        assert list(cuts.other_units) == list(shards[: cuts.plan.num_shards, 1])
    size = cuts.plan.selected
    assert mix.max_documents is None or size.documents <= mix.max_documents
    assert mix.max_tokens is None or size.tokens <= mix.max_tokens


@given(st.integers(1, 120), st.integers(0, 99), mixes())
@settings(max_examples=100)
def test_shards_reject_at_most_one_document_for_each_inner_boundary(count, seed, mix):
    table = decisions_of(make_documents(count, "mixed", seed))
    cuts = cuts_of_tables([table], mix)
    lost = cuts.selection.plan.other_selected.documents - cuts.plan.other_selected.documents
    assert 0 <= lost <= max(0, 2 * (cuts.plan.num_shards - 1))
    if mix.quota_unit == "documents" or mix.human_quota == 0:
        assert lost == 0


def test_shards_differ_by_one_document_at_most_within_each_stratum():
    table = decisions_of(make_documents(1_000, "mixed", 5))
    mix = MixSettings(human_quota="0.5", num_shards=7)
    outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
    origins = table["origin"].to_numpy()
    for is_human in (origins == CODES[Origin.HUMAN], origins != CODES[Origin.HUMAN]):
        counts = np.bincount(outcome.output_shard[is_human & (outcome.output_shard >= 0)], minlength=7)
        assert counts.max() - counts.min() <= 1


def test_without_a_quota_the_shards_are_even():
    for kind in ("mixed", "all human", "no human", "mostly other"):
        table = decisions_of(make_documents(203, kind, 5))
        mix = MixSettings(human_quota="0", num_shards=20)
        outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
        counts = np.bincount(outcome.output_shard[outcome.output_shard >= 0], minlength=20)
        assert counts.max() - counts.min() <= 1


def test_order_of_files_and_rows_changes_nothing_but_the_seed_does():
    documents = make_documents(300, "mixed", 1)
    mix = MixSettings(human_quota="0.6", max_documents=100, num_shards=4)
    forwards, _ = apply_parts(documents, [index % 3 for index in range(300)], mix)
    backwards, _ = apply_parts(documents[::-1], [index // 60 for index in range(300)], mix)
    assert forwards == backwards
    reseeded, _ = apply_parts(documents, [0] * 300, MixSettings(human_quota="0.6", max_documents=100, num_shards=4, seed=1))
    chosen, other = ({address for address, row in rows.items() if row["output_shard"] >= 0} for rows in (forwards, reseeded))
    assert len(chosen) == len(other) == 100
    assert 10 < len(chosen & other) < 90


def test_addresses_decide_only_between_equal_row_keys():
    documents = make_documents(300, "mixed", 1)
    moved = [{**document, "address": (document["address"] * 7919 + 13) % 100_003} for document in documents]
    mix = MixSettings(human_quota="0.6", quota_unit="tokens", max_documents=100, num_shards=4)
    kept, kept_moved = (
        {document["row_key"]: rows[document["address"]]["output_shard"] for document in these}
        for these, (rows, _) in ((documents, apply_parts(documents, [0] * 300, mix)), (moved, apply_parts(moved, [0] * 300, mix)))
    )
    assert kept == kept_moved


def test_quality_comes_first_and_presumed_human_counts_only_when_asked():
    documents = make_documents(200, "mixed", 2)
    mix = MixSettings(human_quota="0.5", max_documents=40, priority="quality")
    table = decisions_of(documents)
    outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
    human = [(document["quality"], shard >= 0) for document, shard in zip(documents, outcome.output_shard, strict=True) if document["origin"] == 0]
    worst_kept = min(quality for quality, is_kept in human if is_kept)
    assert all(quality <= worst_kept + 1 / 256 for quality, is_kept in human if not is_kept)
    counted = MixSettings(human_quota="1", count_presumed_human=True)
    only = apply_mix(table, cuts_of_tables([table], counted), counted).output_shard >= 0
    assert set(np.unique(table["origin"].to_numpy()[only])) == {CODES[Origin.HUMAN], CODES[Origin.PRESUMED_HUMAN]}


def test_every_rejection_says_why_in_figures_that_depend_on_no_key():
    documents = [
        {**document, "origin": CODES[Origin.HUMAN if index < 10 else Origin.SYNTHETIC]}
        for index, document in enumerate(make_documents(110, "mixed", 3))
    ]
    table = decisions_of(documents)
    free = MixSettings(human_quota="0.5")
    outcome = apply_mix(table, cuts_of_tables([table], free), free)
    assert Counter(outcome.reason.to_pylist()) == {None: 20, Reason.OVER_QUOTA: 90}
    rejected = [row for row, reason in enumerate(outcome.reason.to_pylist()) if reason is not None]
    assert {outcome.stage[row].as_py() for row in rejected} == {Stage.MIX}
    assert {outcome.value[row].as_py() for row in rejected} == {float(np.float32(10 / 110))}
    assert {outcome.limit[row].as_py() for row in rejected} == {0.5}
    assert all(outcome.value[row].as_py() is None for row in range(110) if row not in rejected)

    sized = MixSettings(human_quota="0.5", max_documents=16)
    outcome = apply_mix(table, cuts_of_tables([table], sized), sized)
    reasons = outcome.reason.to_pylist()
    assert reasons.count(Reason.OVER_SIZE) == 94
    assert {(value.as_py(), limit.as_py()) for value, limit, reason in zip(outcome.value, outcome.limit, reasons, strict=True) if reason} == {
        (110, 16)
    }


def test_earlier_rejections_stay_as_they_are_and_count_for_nothing():
    documents = make_documents(60, "mixed", 4)
    for document in documents[::3]:
        document.update(stage="rules", reason="too_short", value=3.0, limit=50.0)
    mix = MixSettings(human_quota="0.5", num_shards=2)
    table = decisions_of(documents)
    cuts = cuts_of_tables([table], mix)
    outcome = apply_mix(table, cuts, mix)
    assert outcome.stage.to_pylist()[::3] == ["rules"] * 20
    assert outcome.reason.to_pylist()[::3] == ["too_short"] * 20
    assert outcome.value.to_pylist()[::3] == [3.0] * 20
    assert outcome.limit.to_pylist()[::3] == [50.0] * 20
    assert (outcome.output_shard[::3] == -1).all()
    assert (outcome.placement_key[::3] == 0).all()
    alive = [document for document in documents if document["reason"] is None]
    assert published(alive, apply_mix(decisions_of(alive), cuts_of_tables([decisions_of(alive)], mix), mix)) == published(documents, outcome)


def test_outcome_columns_fit_the_decision_schema_for_batches_and_slices():
    table = decisions_of(make_documents(50, "mixed", 4))
    mix = MixSettings(human_quota="0.5", num_shards=2)
    cuts = cuts_of_tables([table], mix)
    whole = apply_mix(table, cuts, mix)
    part = apply_mix(table.to_batches()[0].slice(20, 10), cuts, mix)
    for name in ("stage", "reason", "value", "limit"):
        assert getattr(part, name).type == DECISION_SCHEMA.field(name).type
        assert getattr(part, name).to_pylist() == getattr(whole, name).to_pylist()[20:30]
    assert part.output_shard.tolist() == whole.output_shard.tolist()[20:30]
    assert part.output_shard.dtype == np.int32
    assert part.placement_key.dtype == np.uint64


def test_only_the_bins_that_cuts_fall_into_are_gathered():
    table = decisions_of(make_documents(5_000, "mixed", 6))
    mix = MixSettings(human_quota="0.6", max_documents=1_000)
    with mock.patch.object(survey_mix, "BIN_BITS", 8):
        histogram = survey_table(table, Request(), mix)
        request = seek_selection(histogram, mix)
        documents = survey_table(table, request, mix)
        assert len(histogram) <= 512
        assert len(request.bins) <= 8
        assert len(documents) < 200
        assert select_documents(histogram, [documents], mix).plan == cuts_of_tables([table], mix).plan


def test_merging_in_parts_is_merging_at_once():
    tables = [decisions_of(make_documents(200, "mixed", seed)) for seed in range(6)]
    histograms = [survey_table(table, Request(), MixSettings()) for table in tables]
    merge = MergeHistograms()
    with mock.patch("transforms.find_cuts.PENDING_ROWS", 300):
        halves = [merge.create_accumulator(), merge.create_accumulator()]
        for index, histogram in enumerate(histograms):
            halves[index % 2] = merge.add_input(halves[index % 2], histogram)
        halves[0] = merge.compact(halves[0])
        merged = merge.extract_output(merge.merge_accumulators(halves))
    assert np.array_equal(merged, merge_histograms(histograms))
    assert merge_histograms([]).shape == merge.extract_output(merge.create_accumulator()).shape == (0, 4)


def write_shards(folder, documents: list[dict], num_shards: int) -> list[DecidedShard]:
    shards = []
    for index in range(num_shards):
        part = [document for document in documents if document["address"] % num_shards == index]
        path = str(folder / f"decided-{index}.arrow")
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
            writer.write_table(decisions_of(part).select(DECISION_SCHEMA.names), max_chunksize=7)
        pq.write_table(decisions_of(part).select(SCORED.names), folder / f"scored-{index}.parquet")
        alive = sum(document["reason"] is None for document in part)
        shards.append(DecidedShard(ScoredShard(f"shard-{index}", str(folder / f"scored-{index}.parquet"), len(part), index), path, alive))
    return shards


@pytest.mark.parametrize(
    ("count", "kind", "unit", "limit", "shards", "priority"),
    [
        (400, "mixed", "tokens", 150, 5, "importance"),
        (50, "all human", "bytes", None, 2, "quality"),
        (50, "no human", "bytes", None, 2, "hard"),
        (0, "mixed", "documents", 9, 1, "importance"),
        (0, "mixed", "tokens", None, 0, "random"),
    ],
)
def test_pipeline_finds_the_cuts_that_memory_finds(tmp_path, count, kind, unit, limit, shards, priority):
    documents = make_documents(count, kind, 8)
    mix = MixSettings(human_quota="0.6", quota_unit=unit, max_documents=limit, target_shard_bytes=900, priority=priority)
    decided = write_shards(tmp_path, documents, shards)
    expected = cuts_of_tables([decisions_of(documents)], mix)

    def check(found: list) -> None:
        (cuts,) = found
        assert cuts.plan == expected.plan
        table = decisions_of(documents)
        ours, theirs = apply_mix(table, cuts, mix), apply_mix(table, expected, mix)
        assert ours.output_shard.tolist() == theirs.output_shard.tolist()
        assert ours.reason == theirs.reason

    with mock.patch.object(survey_mix, "BIN_BITS", 6), beam.Pipeline(runner=IN_MEMORY) as pipeline:
        assert_that(pipeline | beam.Create(decided, reshuffle=False) | PlanMix(mix), check)


def test_cuts_travel_between_workers():
    table = decisions_of(make_documents(300, "mixed", 8))
    mix = MixSettings(human_quota=Fraction(1, 3), quota_unit="tokens", target_shard_bytes=500)
    cuts = cuts_of_tables([table], mix)
    again = pickle.loads(pickle.dumps(cuts))
    assert again.plan == cuts.plan
    assert apply_mix(table, again, mix).output_shard.tolist() == apply_mix(table, cuts, mix).output_shard.tolist()
