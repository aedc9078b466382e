"""The benchmarks of the filters count what they say they count, on texts made here."""

import json

import pytest

from benchmarks.faults import HUMAN_SETS, MIN_WORDS, count_hits, rules_of, texts_of
from benchmarks.parity import FILTERS, SETS, judge_texts, sample
from pipeline.recipe import default_tables
from tests.texts import documents

PROSE = [document["text"] for document in documents("human", range(4))]


def test_parity_has_every_filter_in_the_recipes_order():
    recipe = list(default_tables()["rules"].values())
    for name, bounds in FILTERS.items():
        fields = [rule["field"] for rule in recipe]
        places = [fields.index(column) for column, *_ in bounds if column in fields]
        assert places == sorted(places), name


def test_parity_bounds_are_those_of_the_recipe():
    recipe = {(rule["field"], bound): rule[bound] for rule in default_tables()["rules"].values() for bound in ("min", "max") if bound in rule}
    for bounds in FILTERS.values():
        for column, least, most, _ in bounds:
            assert least == 0 or column == "full_lines" or recipe[column, "min"] == pytest.approx(least)
            assert most == float("inf") or (column, "max") not in recipe or recipe[column, "max"] == pytest.approx(most)


@pytest.mark.parametrize("words", ["headwater", "datatrove"])
def test_the_first_reason_is_given_and_none_to_prose(words):
    texts = [PROSE[0], "too short", "the same line again\n" * 40, PROSE[1] + "\n{", "Ends in nothing at all and " * 30]
    found = judge_texts(texts, words)
    assert found["gopher_repetition"][0] == found["c4"][0] == ""
    assert found["gopher_quality"][1] == "gopher_short_doc"
    assert found["gopher_repetition"][2] == "dup_line_frac"
    assert found["c4"][1] == "too_few_sentences"
    assert found["pipeline"][2] == "gopher_repetition/dup_line_frac"
    assert found["pipeline"][1] == "gopher_repetition/top_2_gram"  # two words of nine characters


def test_faults_are_counted_by_rule_and_together():
    web, faults = rules_of()
    rules = [*faults, *web]
    names = [rule.name for rule in rules]
    assert "refusal" in names and "c4_curly_brackets" in names
    refusal = PROSE[0] + " I'm sorry, but I cannot fulfill this request. As of my last update it was so."
    total, hits, union = count_hits(iter([[PROSE[1], refusal, "As an AI language model"]]), rules, None)
    assert total == 2, f"texts below {MIN_WORDS} words do not count"
    assert (hits[names.index("refusal")], hits[names.index("knowledge_cutoff")], union) == (1, 1, 1)


def test_sets_are_read_by_label_and_sampled_evenly(tmp_path):
    rows = [{"text": f"text {n}", "label": "human" if n % 2 else "machine"} for n in range(10)]
    (tmp_path / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [text for batch in texts_of(str(tmp_path), "one", "human") for text in batch] == [f"text {n}" for n in (1, 3, 5, 7, 9)]
    assert sample(str(tmp_path), "one", 5) == [f"text {n}" for n in (0, 2, 4, 6, 8)]
    assert set(HUMAN_SETS) <= set(SETS)
