"""Manifest, card and funnel say what the run counted, and notice a quota that does not hold."""

import io
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.card import write_card
from pipeline.funnel import funnel_rows, print_funnel, quota_sentence
from pipeline.manifest import build_manifest, content_digest, quota_faults
from pipeline.recipe import load_recipe
from pipeline.run_facts import RunCatalog, RunFacts
from transforms.balance_books import keep_books
from transforms.mix_settings import MixSettings
from transforms.plan_mix import plan_mix
from transforms.write_shards import ShardWritten

FACTS = RunFacts("run-1", "curate", "out", "2026-01-02T03:04:05+00:00", ("curate",), (("news", "n.jsonl", "human"),), False)
READ = ((("news", "human", "read", "", ""), 10), (("news", "human", "dead", "read", "malformed"), 1), (("bots", "synthetic", "read", "", ""), 6))
COUNTS = (
    (("bots", "synthetic", "synthetic", "near_duplicates", "near_duplicate"), (2, 20, 200)),
    (("bots", "synthetic", "synthetic", "published", ""), (4, 40, 400)),
    (("news", "human", "disputed", "origin", "disputed_origin"), (1, 10, 100)),
    (("news", "human", "human", "published", ""), (8, 80, 800)),
)


def shard(name, human, every, sha="0"):
    return ShardWritten(name, tuple((unit, human * k, every * k) for unit, k in (("documents", 1), ("tokens", 10), ("bytes", 100))), (), 5, sha)


WRITTEN = [shard("train-00000-of-00002.parquet", 4, 6), shard("train-00001-of-00002.parquet", 4, 6)]


@pytest.fixture(scope="module")
def manifest():
    recipe = load_recipe()
    accounts = keep_books(READ, COUNTS)
    plan = plan_mix([[1, 10, 100]] * 8, [[1, 10, 100]] * 4, MixSettings(num_shards=2))
    return build_manifest(
        FACTS, recipe, RunCatalog((), READ, 0, 0), accounts, COUNTS, plan, WRITTEN, {"scorers": {}}, finished_at="2026-01-02T04:00:00+00:00"
    )


def test_the_quota_is_told_as_promised_and_as_measured(manifest):
    assert manifest["quota"]["promised"] == "1/2"
    assert manifest["quota"]["measured_share"] == pytest.approx(8 / 12)
    assert manifest["quota"]["smallest_shard_share"] == pytest.approx(4 / 6)
    assert manifest["published"]["tokens"] == {"human": 80, "all": 120}
    assert [entry["human_share"] for entry in manifest["shards"]] == [pytest.approx(4 / 6)] * 2


def test_everything_needed_to_run_again_is_there(manifest):
    assert manifest["recipe"]["mix"]["human_quota"] == 0.5
    assert manifest["recipe_digest"] and manifest["digest"]
    assert manifest["versions"]["apache-beam"] and manifest["versions"]["pyarrow"]
    assert manifest["run"]["inputs"] == [{"name": "news", "pattern": "n.jsonl", "origin": "human"}]


def test_the_card_is_read_by_load_dataset_and_by_people(manifest):
    card = write_card(manifest)
    assert card.startswith("---\nconfigs:") and "path: data/train-*.parquet" in card
    assert "**66.67%** overall" in card
    assert "| near_duplicates | near_duplicate | 2 |" in card
    assert "| news | human | 10 | 8 | 1 | 1 |" in card


def test_the_funnel_has_a_line_for_every_reason_in_the_order_of_the_flow(manifest):
    labels = [(label, dict(counts)) for _, label, counts in funnel_rows(manifest)]
    assert labels == [
        ("read", {"human": 10, "synthetic": 6}),
        ("  - unreadable: malformed", {"human": 1}),
        ("  - origin: disputed_origin", {"human": 1}),
        ("  - near_duplicate", {"synthetic": 2}),
        ("published", {"human": 8, "synthetic": 4}),
        ("  as human", {"human": 8}),
        ("  as synthetic", {"synthetic": 4}),
    ]


def test_the_columns_of_the_funnel_add_up(manifest):
    rows = [(label, counts) for _, label, counts in funnel_rows(manifest)]
    read = next(counts for label, counts in rows if label == "read")
    lost = [counts for label, counts in rows if label.startswith("  - ")]
    published = next(counts for label, counts in rows if label == "published")
    for origin in ("human", "synthetic"):
        assert read[origin] == published[origin] + sum(counts[origin] for counts in lost)


def test_the_printed_funnel_ends_with_the_measured_quota(manifest):
    printed = io.StringIO()
    print_funnel(manifest, Console(file=printed, width=100))
    assert printed.getvalue().strip().splitlines()[-1] == quota_sentence(manifest)
    assert "66.67%" in quota_sentence(manifest) and "(of 2)" in quota_sentence(manifest)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6), st.fractions(0, 1, max_denominator=20))
def test_quota_faults_are_exact(parts, quota):
    written = [shard(f"s{n}", human, human + other) for n, (human, other) in enumerate(parts)]
    faults = quota_faults(written, MixSettings(human_quota=quota))
    short = [n for n, (human, other) in enumerate(parts) if Fraction(human) < quota * (human + other)]
    human, every = sum(h for h, _ in parts), sum(h + o for h, o in parts)
    assert len(faults) == len(short) + (human < quota * every)
    for n, fault in zip(short, faults, strict=False):
        assert fault.startswith(f"s{n} ")


def test_the_content_digest_depends_on_content_alone():
    one, two = shard("a", 1, 1, sha="x"), shard("b", 1, 1, sha="y")
    assert content_digest([one, two]) == content_digest([two, one])
    assert content_digest([one, two]) != content_digest([one, shard("b", 1, 1, sha="z")])
