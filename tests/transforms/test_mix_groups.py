"""Claims about the mix with groups end to end: what is planned is what is published, in every file, however the documents are parted."""

from fractions import Fraction
from unittest import mock

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import CODES, decisions_of, make_documents
from transforms import mix_groups
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_to_quota import PlanMix
from transforms.records import DECISION_SCHEMA, DecidedShard, Origin, Reason, ScoredShard

IN_MEMORY = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SLOW = settings(max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
WHERE = {"long": "tokens >= 10", "good": "quality > 0.5", "written": 'origin in ["synthetic", "unknown"]', "short": "bytes < 20"}
SHARES = st.sampled_from(["0", "0.2", "1/3", "0.5", "0.8"])
BOUNDS = [("share",), ("min_share",), ("max_share",), ("weight",), ("max_documents",), ("min_documents",)]


@st.composite
def mixes(draw) -> MixSettings:
    groups = {}
    for name in draw(st.lists(st.sampled_from(sorted(WHERE)), min_size=1, max_size=3, unique=True)):
        groups[name] = {"where": WHERE[name]}
        for (key,) in draw(st.lists(st.sampled_from(BOUNDS), max_size=2, unique=True)):
            if key != "share" or not groups[name].keys() & {"min_share", "max_share"}:
                groups[name][key] = draw(st.integers(1, 20) if key in ("weight", "max_documents", "min_documents") else SHARES)
        if "share" in groups[name]:
            groups[name].pop("min_share", None), groups[name].pop("max_share", None)
        if groups[name].get("min_documents", 0) > groups[name].get("max_documents", 99):
            groups[name].pop("min_documents")
        if (
            groups[name].get("min_share")
            and groups[name].get("max_share")
            and Fraction(groups[name]["min_share"]) > Fraction(groups[name]["max_share"])
        ):
            groups[name].pop("min_share")
        others = sorted(groups.keys() - {name})
        if others and draw(st.booleans()):
            groups[name]["within"] = draw(st.sampled_from(others))
    return MixSettings(
        human_quota=draw(st.sampled_from(["0", "1/3", "0.5", "0.7", "1"])),
        quota_unit=draw(st.sampled_from(UNITS)),
        groups=groups,
        max_documents=draw(st.none() | st.integers(1, 50)),
        max_tokens=draw(st.none() | st.none() | st.integers(1, 900)),
        on_shortage="shrink",
        priority=draw(st.sampled_from(["random", "quality"])),
        num_shards=draw(st.none() | st.integers(1, 5)),
        target_shard_bytes=draw(st.sampled_from([400, 1 << 28])),
        seed=draw(st.integers(0, 3)),
    )


def plan_of(documents: list[dict], mix: MixSettings, parts: int = 1):
    """The cuts, and (published shard, reason) by address, with the documents in so many parts."""
    tables = [decisions_of(documents[part::parts]) for part in range(parts)]
    cuts = cuts_of_tables(tables, mix)
    outcomes = {}
    for table in tables:
        outcome = apply_mix(table, cuts, mix)
        for address, shard, reason in zip(table["address"].to_pylist(), outcome.output_shard.tolist(), outcome.reason.to_pylist(), strict=True):
            outcomes[address] = (shard, reason)
    return cuts, outcomes


@given(st.integers(1, 60), st.sampled_from(["mixed", "mostly other", "ties"]), st.integers(0, 99), mixes(), st.integers(1, 3))
@SLOW
def test_promises_hold_in_what_is_published_and_the_quota_in_every_file(count, kind, seed, mix, parts):
    documents = make_documents(count, kind, seed)
    cuts, outcomes = plan_of(documents, mix, parts)
    assert plan_of(documents, mix)[1] == outcomes
    plan, kept = cuts.plan, [one for one in documents if outcomes[one["address"]][0] >= 0]
    assert plan.selected.documents == len(kept) and plan.selected.tokens == sum(one["tokens"] for one in kept)
    # Placement loses nothing, or what was promised of groups would be lost with it.
    assert len(cuts.straddlers) == 0 or (cuts.straddler_shards >= 0).all()
    units = np.zeros((max(1, plan.num_shards), 2), np.int64)
    for one in kept:
        amount = 1 if mix.quota_unit == "documents" else one[mix.quota_unit]
        units[outcomes[one["address"]][0], 0 if one["origin"] == CODES[Origin.HUMAN] else 1] += amount
    for human, other in units.tolist():
        assert human >= mix.human_quota * (human + other)
    for group in plan.groups:
        asked = next(one for one in mix.groups if one.name == group.name)
        has, whole = group.published.count(mix.quota_unit), group.whole.count(mix.quota_unit)
        assert asked.max_documents is None or group.published.documents <= asked.max_documents
        assert asked.min_share is None or has >= asked.min_share * whole
        assert asked.max_share is None or has <= asked.max_share * whole
        if asked.share is not None:
            apart, is_counted = abs(has - asked.share * whole), mix.quota_unit == "documents"
            assert apart < 1 if is_counted else apart <= max(one[mix.quota_unit] for one in documents)
        if asked.min_documents is not None and plan.conflict is None:
            assert group.published.documents >= asked.min_documents


@given(st.integers(1, 60), st.sampled_from(["mixed", "mostly other", "all human", "no human"]), st.integers(0, 99), mixes())
@SLOW
def test_one_group_of_everything_changes_no_figure_in_documents(count, kind, seed, mix):
    documents = make_documents(count, kind, seed)
    plain = MixSettings(**{**vars(mix), "groups": (), "quota_unit": "documents", "max_tokens": None})
    one = MixSettings(**{**vars(plain), "groups": {"all": {"where": "true"}}})
    (cuts, fates), (expected, wanted) = plan_of(documents, one), plan_of(documents, plain)
    figures = [(plan.human_selected.documents, plan.other_selected.documents, plan.num_shards) for plan in (cuts.plan, expected.plan)]
    assert figures[0] == figures[1]
    assert fates == wanted


@pytest.mark.parametrize("unit", ["documents", "tokens"])
def test_lumps_and_single_documents_give_mixes_of_one_size(unit):
    documents = make_documents(400, "mixed", 5)
    share = 0.4 if unit == "documents" else 0.95
    groups = {"long": {"where": WHERE["long"], "share": share}, "good": {"where": WHERE["good"], "min_share": 0.5}}
    mix = MixSettings(groups=groups, quota_unit=unit, **({"max_documents": 90} if unit == "documents" else {"max_tokens": 4_000}), num_shards=3)
    whole, _ = plan_of(documents, mix)
    with mock.patch.object(mix_groups, "OPEN_DOCUMENTS", 10):
        lumped, _ = plan_of(documents, mix, 3)
    largest = 0 if unit == "documents" else 200
    assert abs(whole.plan.selected.count(unit) - lumped.plan.selected.count(unit)) <= 2 * largest
    assert whole.plan.conflict is None and lumped.plan.conflict is None and lumped.plan.groups[1].share(unit) == pytest.approx(share, abs=0.06)


def test_what_only_a_group_keeps_out_says_so_and_names_the_group():
    documents = make_documents(60, "mixed", 3)
    mix = MixSettings(human_quota=0, groups={"good": {"where": WHERE["good"], "max_share": 0.25}})
    table = decisions_of(documents)
    cuts = cuts_of_tables([table], mix)
    outcome = apply_mix(table, cuts, mix)
    out = [row for row, shard in enumerate(outcome.output_shard) if shard < 0]
    assert out and {outcome.reason[row].as_py() for row in out} == {Reason.OVER_GROUP}
    assert {outcome.group[row].as_py() for row in out} == {"good"}
    good = sum(one["quality"] > 0.5 for one in documents)
    assert all((outcome.value[row].as_py(), outcome.limit[row].as_py()) == (pytest.approx(good / len(outcome.group)), 0.25) for row in out)


def test_beam_plans_what_plain_calls_plan(tmp_path):
    documents = make_documents(90, "mixed", 8)
    mix = MixSettings(groups={"long": {"where": WHERE["long"], "share": 0.4}}, max_documents=40, num_shards=3, reserve={"task.a": 0})
    tables = [decisions_of(documents[part::3]) for part in range(3)]
    expected = cuts_of_tables(tables, mix)
    decided = [DecidedShard(ScoredShard(f"s{index}", "", 30, index), str(index), 30) for index in range(3)]

    def read(shard, columns=None, scored=()):
        return tables[shard.shard.index].select(list(columns)) if columns else tables[shard.shard.index]

    with (
        mock.patch("transforms.survey_mix.read_decisions", read),
        mock.patch("transforms.survey_mix.with_members", lambda table, shard, groups: table),
    ):
        with beam.Pipeline(runner=IN_MEMORY) as pipeline:
            cuts = pipeline | beam.Create(decided) | PlanMix(mix)

            def same(found):
                assert len(found) == 1 and found[0].plan == expected.plan
                assert (found[0].selection.cells.keys == expected.selection.cells.keys).all()

            assert_that(cuts, same)


@pytest.mark.parametrize(("unit", "size"), [("documents", {"max_documents": 20_000}), ("tokens", {"max_tokens": 900_000})])
def test_a_dozen_groups_of_a_hundred_thousand_documents_are_planned_over_lumps(unit, size):
    chance, count = np.random.default_rng(1), 100_000
    columns = {
        "address": np.arange(count, dtype=np.uint64),
        "source": [f"s{row % 7}" for row in range(count)],
        "origin": chance.choice([0, 2], count, p=[0.6, 0.4]).astype(np.uint8),
        "row_key": chance.integers(0, 1 << 63, count).astype(np.uint64),
        "quality": chance.random(count).astype(np.float32),
        "words": chance.integers(50, 3_000, count).astype(np.int32),
        "tokens": chance.integers(1, 120, count).astype(np.int32),
        "bytes": chance.integers(100, 900, count).astype(np.int32),
    }
    nothing = {field.name: pa.nulls(count, field.type) for field in DECISION_SCHEMA}
    table = pa.table({**nothing, **{name: pa.array(values) for name, values in columns.items()}}, schema=DECISION_SCHEMA)
    bounds = [{"share": 0.3}, {"min_share": 0.1}, {"max_share": 0.1}, {"weight": 2}, {"weight": 1}, {"weight": 3}]
    groups = {f"s{number}": {"where": f'source == "s{number}"', **bound} for number, bound in enumerate(bounds)}
    groups |= {"good": {"where": "quality >= 0.5", "min_share": 0.6}, "best": {"where": "quality >= 0.9", "within": "good", "share": "1/4"}}
    groups |= {"long": {"where": "words > 2000", "max_share": 0.35}, "short": {"where": "words < 200", "max_documents": 900}}
    groups |= {"mid": {"where": "words < 900 and words >= 200", "min_documents": 2_000}}
    groups |= {"deep": {"where": "quality > 0.7", "within": "s0", "min_share": 0.4}}
    mix = MixSettings(human_quota=0.55, quota_unit=unit, priority="quality", num_shards=4, groups=groups, **size)
    plan = cuts_of_tables([table.slice(begin, count // 4) for begin in range(0, count, count // 4)], mix).plan
    share = {group.name: group.share(unit) for group in plan.groups}
    named = {group.name: group.published for group in plan.groups}
    assert plan.conflict is None and plan.num_shards == 4 and plan.human_share >= Fraction(11, 20)
    assert plan.selected.count(unit) >= next(iter(size.values())) - (0 if unit == "documents" else 2 * 120)
    assert share["s0"] == pytest.approx(0.3, abs=2e-4) and share["best"] == pytest.approx(0.25, abs=2e-4)
    assert share["s1"] >= 0.1 >= share["s2"] and share["good"] >= 0.6 and share["long"] <= 0.35 and share["deep"] >= 0.4
    assert named["short"].documents <= 900 and named["mid"].documents >= 2_000
    level = share["s4"]
    assert share["s3"] == pytest.approx(2 * level, rel=0.02) and share["s5"] == pytest.approx(3 * level, rel=0.02)
