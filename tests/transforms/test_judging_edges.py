"""What judging must tell apart: which of several reasons a document gets, what it reads for that, and what it does without."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.contamination_fields import FIELDS
from tests.transforms.test_judge_documents import RULES, THRESHOLDS, columns
from transforms.apply_rules import Rule, apply_rules, check_rule_fields
from transforms.decisions import read_decisions
from transforms.find_contaminated import ContaminationLimits
from transforms.judge_documents import judge_documents, judge_shard, quality_of
from transforms.records import ScoredShard

LIMITS = ContaminationLimits(min_ngrams=2, min_share=0.3)


def contaminated(table: pa.Table, ngrams: list[int], shares: list[float], by: list[str | None]) -> pa.Table:
    for field, values in zip(FIELDS, (ngrams, shares, by), strict=True):
        table = table.append_column(field, pa.array(values, field.type))
    return table


def judge(table: pa.Table, **more) -> list[dict]:
    settings = {"rules": RULES, "thresholds": THRESHOLDS, "reject_disputed": True, "contamination": LIMITS} | more
    return judge_documents(table, 0, settings.pop("rules"), settings.pop("thresholds"), settings.pop("reject_disputed"), **settings).to_pylist()


def test_a_contaminated_document_names_the_item_how_much_of_it_and_the_limit():
    (row,) = judge(contaminated(columns(words=[60]), [5], [0.4], ["mmlu/7"]))
    assert (row["stage"], row["reason"], row["partner_id"]) == ("contamination", "contaminated", "mmlu/7")
    assert (row["value"], row["limit"], row["similarity"]) == (5, 2, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("ngrams", "share", "rejected"),
    [(2, 0.3, True), (1, 0.3, False), (2, 0.29, False), (0, 1.0, False), (100, 1.0, True)],
)
def test_both_limits_of_contamination_must_be_reached_and_are_inclusive(ngrams, share, rejected):
    (row,) = judge(contaminated(columns(words=[60]), [ngrams], [share], ["mmlu/7"]))
    assert (row["reason"] == "contaminated") == rejected
    # What a document holds too little of is no partner of it.
    assert (row["partner_id"], row["similarity"] is not None) == (("mmlu/7", True) if rejected else (None, False))


def test_without_evaluation_sets_their_columns_decide_nothing():
    assert judge(contaminated(columns(words=[60]), [9], [1.0], ["mmlu/7"]), contamination=None)[0]["reason"] is None
    assert judge(columns(words=[60]), contamination=None)[0]["reason"] is None


@pytest.mark.parametrize(("disputed", "dirty", "short"), list(itertools.product([True, False], repeat=3)))
def test_origin_comes_before_contamination_and_that_before_rules(disputed, dirty, short):
    rules = (Rule("short", "words", min=1000 if short else 1),)
    table = contaminated(columns(words=[60], ai_probability=[0.99 if disputed else 0.1]), [9 if dirty else 0], [1.0], ["mmlu/7"])
    (row,) = judge(table, rules=rules)
    expected = ("origin", 0.99, 0.9) if disputed else ("contamination", 9, 2) if dirty else ("rules", 60, 1000) if short else (None, None, None)
    assert row["stage"] == expected[0]
    assert (row["value"], row["limit"]) == (expected[1] and pytest.approx(expected[1]), expected[2] and pytest.approx(expected[2]))
    assert (row["partner_id"] is not None) == (not disputed and dirty)


def test_a_disputed_document_that_is_kept_may_still_break_rules_and_be_contaminated():
    table = contaminated(columns(words=[60, 60, 60], ai_probability=[0.99] * 3), [9, 0, 0], [1.0] * 3, ["a/1"] * 3)
    rules = (Rule("no_disputed", "words", max=59, origins=("disputed",)),)
    assert [row["reason"] for row in judge(table, rules=rules, reject_disputed=False)] == ["contaminated", "no_disputed", "no_disputed"]
    assert [row["reason"] for row in judge(table, rules=(), reject_disputed=False)] == ["contaminated", None, None]


def test_synthetic_text_is_never_disputed_and_unknown_text_above_the_threshold_becomes_synthetic():
    rows = judge(columns(words=[60] * 3, ai_probability=[0.99] * 3, origin=["human", "synthetic", "unknown"]), contamination=None)
    assert [row["reason"] for row in rows] == ["disputed_origin", None, None]
    assert rows[1]["origin"] == rows[2]["origin"] != rows[0]["origin"]


def test_thresholds_judge_nothing_where_no_detector_scored():
    table = columns(words=[60, 60], origin=["human", "unknown"]).drop_columns(["ai_probability"])
    rows = judge(table, contamination=None)
    assert not any(row["verified"] or row["reason"] for row in rows)


# Quality


@pytest.mark.parametrize(("score", "quality"), [(-3.0, 0), (0.0, 0), (0.25, 0.25), (1.0, 1), (7.5, 1), (None, 0)])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()], ids=str)
def test_quality_is_the_score_cut_at_its_ends_and_zero_where_there_is_none(score, quality, kind):
    table = pa.table({"other": pa.array([0.5]), "mine": pa.array([score], kind)})
    assert quality_of(table, "mine").tolist() == [quality]
    assert quality_of(table, "mine").dtype == np.float32


def test_quality_is_zero_for_all_where_it_was_not_scored():
    assert quality_of(pa.table({"a": [1, 2, 3]}), "quality").tolist() == [0, 0, 0]


def test_the_field_that_is_named_becomes_the_quality():
    table = columns(words=[60, 60]).append_column("elegance", pa.array([0.9, None], pa.float32()))
    assert [row["quality"] for row in judge(table, contamination=None, quality_field="elegance")] == [pytest.approx(0.9), 0]
    assert [row["quality"] for row in judge(table, contamination=None)] == [0.5, 0.5]


# What is read of a shard


@pytest.fixture
def stored(tmp_path):
    table = contaminated(columns(words=[60, 10, 60]), [0, 0, 9], [0.0, 0.0, 1.0], [None, None, "a/1"])
    table = table.append_column("language", pa.array(["de", "de", "en"])).append_column("elegance", pa.array([0.1, 0.2, 0.3], pa.float32()))
    path = str(tmp_path / "a.parquet")
    pq.write_table(table.append_column("text", pa.array(["never read"] * 3)), path)
    return ScoredShard("a.parquet", path, 3, 0)


def reasons(shard, tmp_path, rules=(), **more):
    (decided,) = judge_shard(shard, rules, THRESHOLDS, True, str(tmp_path / "judged"), **more)
    return read_decisions(decided)["reason"].to_pylist()


def test_whatever_a_rule_a_limit_or_a_setting_needs_is_read_from_the_shard(stored, tmp_path):
    german = Rule("german", "words", min=1000, languages=("de",))
    assert reasons(stored, tmp_path, (german,)) == ["german", "german", None]
    assert reasons(stored, tmp_path, contamination=LIMITS) == [None, None, "contaminated"]
    assert reasons(stored, tmp_path, (Rule("plain", "elegance", min=0.15),)) == ["plain", None, None]
    (decided,) = judge_shard(stored, (), THRESHOLDS, True, str(tmp_path / "judged"), quality_field="elegance")
    assert read_decisions(decided)["quality"].to_pylist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_rule_on_a_column_that_the_shard_lacks_names_both(stored, tmp_path):
    with pytest.raises(ValueError, match=r"a.parquet: has no column 'grace', which a rule looks at; score again"):
        reasons(stored, tmp_path, (Rule("plain", "elegance", min=0.15), Rule("rude", "grace", min=1)))


# Rules


def test_of_several_broken_rules_the_first_is_named_whatever_the_bounds():
    table = pa.table({"a": [1.0, 5.0, 9.0, None], "b": ["x", "y", "x", None]})
    rules = [Rule("low", "a", min=4), Rule("only_y", "b", allow=("y",)), Rule("high", "a", max=8), Rule("told", "a", required=True)]
    human = pa.array(["human"] * 4)
    assert apply_rules(table, human, rules).rule.tolist() == [0, -1, 1, 3]
    assert apply_rules(table, human, rules[::-1]).rule.tolist() == [2, -1, 1, 0]


def test_one_rule_with_both_bounds_names_the_one_that_was_broken():
    table = pa.table({"a": pa.array([1, 5, 9], pa.int32())})
    found = apply_rules(table, pa.array(["human"] * 3), [Rule("between", "a", min=4, max=8)])
    assert found.rule.tolist() == [0, -1, 0]
    assert found.value.tolist()[::2] == [1, 9] and found.limit.tolist()[::2] == [4, 8]
    assert math.isnan(found.value[1]) and math.isnan(found.limit[1])


@pytest.mark.parametrize("bound", [{"min": 1.0}, {"max": 1.0}, {"min": 0.0, "max": 1.0}])
def test_a_column_of_words_has_no_bounds(bound):
    schema = pa.schema([("source", pa.string()), ("words", pa.int32())])
    with pytest.raises(ValueError, match="'source' is of type string, which has no min or max; use allow or deny"):
        check_rule_fields([Rule("wordy", "source", **bound)], schema)
    check_rule_fields([Rule("wordy", "words", **bound), Rule("named", "source", deny=("spam",))], schema)


@pytest.mark.parametrize("origins", [("human",), ("synthetic", "disputed"), ()])
@pytest.mark.parametrize("sources", [("books",), ()])
def test_a_rule_applies_where_all_that_it_names_holds(origins, sources):
    names = list(itertools.product(["human", "synthetic", "disputed"], ["books", "web"]))
    table = pa.table({"words": [0] * len(names), "source": [source for _, source in names]})
    found = apply_rules(table, pa.array([origin for origin, _ in names]), [Rule("any", "words", min=1, origins=origins, sources=sources)])
    assert (found.rule == 0).tolist() == [(not origins or origin in origins) and (not sources or source in sources) for origin, source in names]
