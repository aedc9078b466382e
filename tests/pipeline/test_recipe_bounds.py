"""The ends of what each key may be are taken, what lies beyond is refused in one sentence that names key, value and bounds."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.mix_orders import check_priority, check_sample_weight, takes_turns_over
from pipeline.recipe import load_recipe
from transforms.mix_settings import MixSettings

ENDS = [
    ("read.split_bytes", (1 << 10,), ((1 << 10) - 1,), "at least 1024"),
    ("read.text_unit", ("file", "line"), ("", "Line"), "file or line"),
    ("read.max_dead_share", (0, 1), (-1e-9, 1.0000001, float("nan"), float("inf")), "0..1"),
    ("origin.max_false_positive_rate", (0.0005, 0.2), (0.0, 0.00049, 0.21, float("nan")), None),
    ("dedup.min_similarity", (1e-9, 1), (0, -0.5, 1.0001, float("nan")), "above 0, at most 1"),
    ("dedup.semantic_similarity", (1e-9, 1), (0, 1.0001, float("nan")), "above 0, at most 1"),
    ("dedup.semantic_cluster_documents", (1,), (0, -1), "at least 1"),
    ("dedup.semantic_probes", (1, 64), (0, 65), "1..64"),
    ("dedup.max_repeated_line_share", (0, 1), (-0.1, 1.1, float("nan")), "0..1 (1 = any)"),
    ("dedup.partitions", (0, 65536), (-1, 65537), "0..65536"),
    ("ledger.max_synthetic_uses", (1, 1_000_000), (0, 1_000_001), "1..1000000"),
    ("ledger.max_generation", (-1, 32767), (-2, 32768), "-1 (any) to 32767"),
    ("ledger.fresh_share_of", ("human", "all"), ("", "none"), "human or all"),
    # The last two lie outside of the calendar in UTC.
    (
        "ledger.fresh_after",
        ("", "2025-06-01", "2025-06-01T12:00+02:00", "9999-12-31"),
        ("no", "2025-13-01", "9999-12-31T23:59-14:00", "0001-01-01T00:00+14:00"),
        "a date such as 2025-06-01",
    ),
    ("publish.row_group_documents", (1,), (0,), "at least 1"),
    ("publish.zstd_level", (1, 22), (0, 23), "1..22"),
    ("publish.sample_weight", ("none", "golden_ratio", "importance"), ("", "ratio"), "one of none, golden_ratio, importance"),
    ("caps.source", (0, 1, 1 << 40), (-1, 0.5, True), "a whole number; 0 = no cap"),
]


@pytest.mark.parametrize(("key", "taken", "refused", "allowed"), ENDS, ids=[end[0] for end in ENDS])
def test_the_ends_are_taken_and_what_lies_beyond_is_refused_in_one_sentence(key, taken, refused, allowed):
    for value in taken:
        load_recipe(None, {key: value})
    for value in refused:
        with pytest.raises(UsageError) as found:
            load_recipe(None, {key: value})
        beginning = f"recipe: {key} = {value!r}: must be "
        assert str(found.value).startswith(beginning)
        if allowed is not None:
            assert str(found.value) == beginning + allowed


def test_generations_and_dates_without_a_limit_are_told_as_such():
    memory = load_recipe().ledger.memory
    assert memory.max_generation is None and memory.fresh_after is None
    assert load_recipe(None, {"ledger.max_generation": 0}).ledger.memory.max_generation == 0


@pytest.mark.parametrize(
    ("priority", "field", "remedy"),
    [("hard", "perplexity", "set score.perplexity_model"), ("importance", "ai_probability", 'add "ai_detector" to score.scorers')],
)
def test_an_order_whose_score_was_not_made_says_what_makes_it(priority, field, remedy):
    mix = MixSettings(priority=priority)
    said = f"mix.priority = {priority!r}: orders by {field!r}, which is not scored; {remedy}, or give another priority"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        check_priority(mix, pa.schema([("quality", pa.float32())]))
    check_priority(mix, pa.schema([(field, pa.float32())]))


def test_orders_that_look_at_no_score_need_none():
    for priority in ("random", "diverse"):
        check_priority(MixSettings(priority=priority, diverse_by="source"), pa.schema([]))


def test_weights_made_of_a_score_need_it():
    said = "publish.sample_weight = 'importance': is made of 'ai_probability', which is not scored; "
    said += 'add "ai_detector" to score.scorers, or give golden_ratio or none'
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        check_sample_weight("importance", pa.schema([]))
    check_sample_weight("importance", pa.schema([("ai_probability", pa.float32())]))
    for kind in ("none", "golden_ratio"):
        check_sample_weight(kind, pa.schema([]))


def test_turns_are_taken_over_a_key_only_where_the_mix_takes_turns():
    mix = MixSettings(priority="diverse", diverse_by="near_cluster")
    assert takes_turns_over(mix, "near_cluster") and not takes_turns_over(mix, "source")
    assert not takes_turns_over(replace(mix, priority="quality"), "near_cluster")
