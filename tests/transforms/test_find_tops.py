"""Best shares: exactly the asked share of each group stays, the best of it, however the documents lie in shards."""

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import decisions_of, make_documents
from transforms import find_tops as module
from transforms.find_tops import TopFound, find_tops, reject_below, survey_tops
from transforms.records import ORIGIN_NAMES
from transforms.top_settings import TopShare, parse_share, parse_tops

SCORES = st.sampled_from([None, math.nan, -1e30, -2.5, -0.0, 0.0, 0.1, 0.25, 0.25000003, 0.3, 1.0, 7.0, 1e30])
"""Few, so that many are equal; some that only the last bits of a place tell apart."""


def lay_out(scores, groups, parts, rejected=()):
    """(decisions, scores) of each part; document i has `scores[i]`, `groups[i]` and lies in part `parts[i]`."""
    documents = make_documents(len(scores), "mixed", seed=5)
    for number, document in enumerate(documents):
        document["address"] = parts[number] << 32 | number
        document["reason"] = "some_rule" if number in rejected else None
    tables = []
    for part in sorted(set(parts)):
        rows = [number for number, place in enumerate(parts) if place == part]
        columns = {"score": pa.array([scores[row] for row in rows], pa.float32()), "language": pa.array([groups[row] for row in rows], pa.string())}
        tables.append((decisions_of([documents[row] for row in rows]), pa.table(columns)))
    return tables


def keep(tables, tops, seed=0):
    """(thresholds, ids that stay alive)."""
    found = find_tops(lambda bins, level: [survey_tops(*table, bins, level, tops, seed) for table in tables], tops)
    rows = [row for table in tables for row in reject_below(*table, found, seed).to_pylist()]
    return found, {row["id"] for row in rows if row["reason"] is None}, rows


def rank_of(score):
    return -math.inf if score is None or math.isnan(score) else np.float32(score)


@settings(max_examples=60)
@given(st.lists(st.tuples(SCORES, st.sampled_from([None, "de", "en"]), st.integers(0, 3)), max_size=60), st.fractions(Fraction(1, 100), 1), st.data())
def test_exactly_the_best_share_of_each_group_stays(documents, share, data):
    scores, groups, parts = ([one[place] for one in documents] for place in range(3))
    out = data.draw(st.sets(st.integers(0, max(len(documents) - 1, 0)), max_size=5))
    top = TopShare("score", share, "language")
    found, stay, _ = keep(lay_out(scores, groups, parts, out), [top])
    members = defaultdict(list)
    for number, group in enumerate(groups):
        if number not in out:
            members[group].append(number)
    assert {one.group for one in found} == set(members)
    for one in found:
        alive = members[one.group]
        kept = [number for number in alive if f"d{number}" in stay]
        assert (one.documents, one.kept) == (len(alive), math.ceil(share * len(alive))) and len(kept) == one.kept
        lost = [rank_of(scores[number]) for number in alive if number not in kept]
        lowest = min(rank_of(scores[number]) for number in kept)
        assert all(rank <= lowest for rank in lost)
        assert (one.threshold is None and lowest == -math.inf) or one.threshold == lowest


@settings(max_examples=30)
@given(st.lists(SCORES, min_size=1, max_size=60), st.data())
def test_who_stays_does_not_depend_on_the_shards(scores, data):
    groups, tops = ["en"] * len(scores), [TopShare("score", Fraction(1, 3)), TopShare("score", Fraction(1, 2), "language")]
    cuts = [data.draw(st.lists(st.integers(0, 5), min_size=len(scores), max_size=len(scores))) for _ in range(2)]
    found, stay = zip(*(keep(lay_out(scores, groups, parts), tops)[:2] for parts in cuts), strict=True)
    assert stay[0] == stay[1]
    assert [(one.group, one.documents, one.threshold) for one in found[0]] == [(one.group, one.documents, one.threshold) for one in found[1]]


def test_the_seed_chooses_among_equal_scores_alone():
    tables = lay_out([0.5] * 40 + [0.9] * 10, ["en"] * 50, [0] * 50)
    choices = {frozenset(keep(tables, [TopShare("score", Fraction(3, 5))], seed)[1]) for seed in range(3)}
    assert len(choices) == 3
    assert all({f"d{number}" for number in range(40, 50)} <= stay and len(stay) == 30 for stay in choices)


def test_a_rejection_names_score_threshold_and_group():
    tables = lay_out([0.1, 0.9, None, 0.4], ["en", "en", "en", "de"], [0] * 4)
    found, stay, rows = keep(tables, [TopShare("score", Fraction(1, 3), "language")])
    assert stay == {"d1", "d3"}
    assert [(one.name, one.kept) for one in found] == [("score@language=de", 1), ("score@language=en", 1)]
    told = {row["id"]: (row["stage"], row["reason"], row["value"], row["limit"], row["partner_id"]) for row in rows if row["reason"]}
    near = pytest.approx
    assert told["d0"] == ("keep_top", "below_top", near(0.1), near(0.9), "score@language=en") and told["d2"][2] is None


def test_verified_origins_are_groups_and_only_the_living_count():
    tables = lay_out([number / 50 for number in range(50)], ["en"] * 50, [number % 3 for number in range(50)], rejected=range(45, 50))
    found, stay, rows = keep(tables, [TopShare("score", Fraction(1, 2), "origin")])
    assert {one.group for one in found} <= set(ORIGIN_NAMES) and sum(one.documents for one in found) == 45
    assert len(stay) == sum(one.kept for one in found)
    assert {row["reason"] for row in rows if row["value"] is None and row["reason"]} == {"some_rule"}


def test_of_two_shares_both_hold_and_each_looks_at_all():
    scores = [number / 10 for number in range(10)]
    tops = [TopShare("score", Fraction(1, 2)), TopShare("score", Fraction(1, 5), "language")]
    _, stay, _ = keep(lay_out(scores, ["en"] * 5 + ["de"] * 5, [0] * 10), tops)
    assert stay == {"d9"}


def test_no_documents_no_thresholds():
    assert keep(lay_out([], [], []), [TopShare("score", Fraction(1, 2))])[0] == ()


def test_a_field_of_too_many_values_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_GROUPS", 3)
    with pytest.raises(ValueError, match=r"keep_top\.score@language: 'language' has more than 3 values"):
        keep(lay_out([0.5] * 4, list("abcd"), [0] * 4), [TopShare("score", Fraction(1, 2), "language")])


def test_a_shard_that_changes_between_surveys_is_an_error():
    tables, fewer = lay_out([0.5] * 9, ["en"] * 9, [0] * 9), lay_out([0.5], ["en"], [0])
    tops = [TopShare("score", Fraction(1, 2))]
    for changed in (2, 3):
        with pytest.raises(RuntimeError, match="changed underway"):
            find_tops(lambda bins, level, at=changed: [survey_tops(*(fewer if level == at else tables)[0], bins, level, tops, 0)], tops)


def test_a_threshold_survives_json():
    (found, *_), _, _ = keep(lay_out([0.1, 0.7], ["en", None], [0, 0]), [TopShare("score", Fraction(1, 3), "language")])
    assert TopFound.recall(found.stored()) == found


def test_a_group_of_the_mix_keeps_its_best_and_leaves_the_others_alone():
    tables = lay_out([number / 20 for number in range(20)], ["en"] * 20, [number % 2 for number in range(20)])
    (top,) = parse_tops({"score@news": "1/4"}, ["news"])
    inside = [
        (decisions, scores.append_column("in:news", pa.array([int(name[1:]) < 8 for name in decisions["id"].to_pylist()])))
        for decisions, scores in tables
    ]
    (found,), stay, rows = keep(inside, [top])
    assert (found.name, found.documents, found.kept, found.threshold) == ("score@news", 8, 2, pytest.approx(0.3))
    assert stay == {f"d{number}" for number in (6, 7, *range(8, 20))}
    assert {row["partner_id"] for row in rows if row["reason"]} == {"score@news"}
    assert TopFound.recall(found.stored()) == found


# Settings


@pytest.mark.parametrize("written", [0.1, "0.1", "10%", "1/10", " 10 % ", "1e-1"])
def test_a_share_is_exactly_what_is_written(written):
    assert parse_share(written, "keep_top.x") == Fraction(1, 10)


@pytest.mark.parametrize("written", [0, 1.5, "-10%", "ten", True, "1/0", None, "1e-999999999", "1e-999999999%", "1/" + "0" * 5000])
def test_what_is_no_share_is_refused_by_name(written):
    with pytest.raises(ValueError, match=r"keep_top\.quality = .*must be a share above 0, at most 1"):
        parse_tops({"quality": written})


def test_a_field_comes_before_a_group_of_the_mix_of_that_name():
    assert parse_tops({"quality@task": 0.5}, ["task"]) == (TopShare("quality", Fraction(1, 2), "task"),)


def test_shares_are_sorted_and_the_whole_is_none():
    assert parse_tops({"words": 0.5, "quality@language": "10%", "tokens": 1}) == (
        TopShare("quality", Fraction(1, 10), "language"),
        TopShare("words", Fraction(1, 2)),
    )


@pytest.mark.parametrize(
    ("name", "said"), [("quality@prompt", "'prompt' is no group; after @ write one of origin, task"), ("@task", "names no score")]
)
def test_a_name_that_cannot_be_says_what_can(name, said):
    with pytest.raises(ValueError, match=said):
        parse_tops({name: 0.5})
