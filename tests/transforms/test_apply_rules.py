"""Rules reject by the first bound broken, name it, and never reject what they cannot see."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.apply_rules import Rule, apply_rules, check_rule_fields
from transforms.records import Origin

SCHEMA = pa.schema([("words", pa.int32()), ("share", pa.float32()), ("language", pa.string()), ("generation", pa.int16())])


def table(words, share=None, language=None):
    n = len(words)
    return pa.table(
        {
            "words": pa.array(words, pa.int32()),
            "share": pa.array(share if share is not None else [0.0] * n, pa.float32()),
            "language": pa.array(language if language is not None else ["en"] * n, pa.string()),
        }
    )


def origins(n, origin=Origin.HUMAN):
    return pa.array([origin.value] * n, pa.string())


def test_the_first_broken_rule_gives_reason_value_and_limit():
    rules = [Rule("too_short", "words", min=50), Rule("too_repetitive", "share", max=0.2)]
    verdicts = apply_rules(table([10, 60, 10, 60], [0.9, 0.9, 0.0, 0.0]), origins(4), rules)
    assert verdicts.rule.tolist() == [0, 1, 0, -1]
    assert verdicts.value[:3].tolist() == pytest.approx([10, 0.9, 10])
    assert verdicts.limit[:3].tolist() == pytest.approx([50, 0.2, 50])
    assert np.isnan(verdicts.value[3]) and np.isnan(verdicts.limit[3])


def test_bounds_are_inclusive_even_where_float32_cannot_hold_them():
    # float32(0.2) is above the double 0.2: comparing across types would reject a score equal to its bound.
    rules = [Rule("share", "share", min=0.1, max=0.2)]
    verdicts = apply_rules(table([1, 1, 1], [0.1, 0.2, 0.20001]), origins(3), rules)
    assert verdicts.rule.tolist() == [-1, -1, 0]


def test_null_breaks_no_rule():
    columns = table([None, None], [None, None], [None, None])
    rules = [Rule("a", "words", min=5), Rule("b", "share", max=0.1), Rule("c", "language", allow=("en",)), Rule("d", "language", deny=("de",))]
    assert apply_rules(columns, origins(2), rules).rule.tolist() == [-1, -1]


def test_allow_and_deny_work_on_words():
    columns = table([1, 1, 1], language=["en", "de", "fr"])
    assert apply_rules(columns, origins(3), [Rule("language", "language", allow=("en", "fr"))]).rule.tolist() == [-1, 0, -1]
    assert apply_rules(columns, origins(3), [Rule("language", "language", deny=("fr",))]).rule.tolist() == [-1, -1, 0]


def test_a_rule_for_some_languages_spares_the_others():
    columns = table([10, 10, 10, 10], language=["en", "de", "und", None])
    verdicts = apply_rules(columns, origins(4), [Rule("short_english", "words", min=50, languages=("en", "und"))])
    assert verdicts.rule.tolist() == [0, -1, 0, -1]


def test_a_required_field_that_is_null_breaks_the_rule():
    columns = table([1, 1, 1], language=["en", None, "de"])
    assert apply_rules(columns, origins(3), [Rule("said", "language", required=True)]).rule.tolist() == [-1, 0, -1]
    assert apply_rules(columns, origins(3), [Rule("english", "language", allow=("en",), required=True)]).rule.tolist() == [-1, 0, 0]
    assert apply_rules(columns, origins(3), [Rule("english", "language", allow=("en",))]).rule.tolist() == [-1, -1, 0]


def test_a_required_number_that_is_null_carries_no_figure():
    verdicts = apply_rules(table([None, 3]), origins(2), [Rule("counted", "words", min=5, required=True)])
    assert verdicts.rule.tolist() == [0, 0]
    assert np.isnan(verdicts.value[0]) and verdicts.value[1] == 3


def test_a_rule_for_some_sources_spares_the_others():
    columns = table([1, 1, 1], language=[None, None, "de"]).append_column("source", pa.array(["chats", "books", "chats"]))
    rule = Rule("no_consent", "language", allow=("en",), required=True, sources=("chats",))
    assert apply_rules(columns, origins(3), [rule]).rule.tolist() == [0, -1, 0]


def test_a_rule_for_languages_needs_them_scored():
    rule = Rule("short_english", "words", min=50, languages=("en",))
    check_rule_fields([rule], SCHEMA)
    with pytest.raises(ValueError, match=r"rules.short_english.languages: no scorer tells the language.*languages = \[\]"):
        check_rule_fields([rule], pa.schema([field for field in SCHEMA if field.name != "language"]))


def test_a_rule_for_one_origin_spares_the_others():
    names = pa.array([Origin.HUMAN.value, Origin.SYNTHETIC.value], pa.string())
    verdicts = apply_rules(table([10, 10]), names, [Rule("short_synthetic", "words", min=50, origins=("synthetic",))])
    assert verdicts.rule.tolist() == [-1, 0]


def test_an_unknown_field_is_an_error_that_lists_the_fields():
    with pytest.raises(ValueError, match=r"no scorer makes 'wrods'.*generation, language, share, words"):
        check_rule_fields([Rule("short", "wrods", min=5)], SCHEMA)


def test_a_bound_that_does_not_fit_its_field_is_an_error():
    with pytest.raises(ValueError, match="no min or max"):
        check_rule_fields([Rule("language", "language", min=5)], SCHEMA)
    with pytest.raises(ValueError, match="does not fit 'words'"):
        check_rule_fields([Rule("words", "words", deny=("many",))], SCHEMA)
    check_rule_fields([Rule("generation", "generation", max=3)], SCHEMA)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Rule("Too Short", "words", min=1), "snake_case"),
        (lambda: Rule("empty", "words"), "has no bound"),
        (lambda: Rule("crossed", "words", min=5, max=4), "nothing could pass"),
        (lambda: Rule("origin", "words", min=5, origins=("alien",)), "'alien' is not an origin"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@given(
    words=st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=40),
    low=st.integers(0, 100),
    high=st.integers(100, 200),
    other=st.integers(0, 200),
)
def test_rules_agree_with_a_plain_loop(words, low, high, other):
    rules = [Rule("range", "words", min=low, max=high), Rule("other", "words", max=other)]
    expected = []
    for word in words:
        if word is None:
            expected.append(-1)
        elif word < low or word > high:
            expected.append(0)
        else:
            expected.append(1 if word > other else -1)
    assert apply_rules(table(words), origins(len(words)), rules).rule.tolist() == expected
