"""Any value at all for any key of the recipe: it is taken, or refused by name in one sentence; never a traceback, and never taken for something else."""

import datetime

import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.recipe import RULE_KEYS, default_tables, load_recipe, parse_assignment
from transforms.apply_rules import LARGEST_BOUND, Rule, apply_rules
from transforms.mix_settings import parse_quota

ODD = (True, 0, -1, 1, 2**31, 10**400, -0.5, float("nan"), float("inf"), "", "x", "../\0", [], [1], [[]], ["x"], ["", ""], [{}], {}, datetime.date(2020, 1, 1))
"""What TOML can spell, and nobody would mean."""
RULE = "rules.gopher_too_few_words"
KEYS = [f"{section}.{key}" for section, table in default_tables().items() if section != "rules" for key in table]
# Whether it is on is what costs: the model behind it is loaded for its fields.
KEYS = [key for key in KEYS if key != "dedup.semantic"] + [f"{RULE}.{key}" for key in RULE_KEYS]
KEYS += ["caps.source", "caps.near_cluster", "reserve.task.support", "reserve.task", "reserve.nobody.x", "nothing.at_all", "mix.nothing"]


@pytest.mark.parametrize("key", KEYS)
def test_any_value_is_taken_or_refused_by_the_name_of_its_key(key):
    for value in ODD:
        try:
            load_recipe(None, {key: value})
        except UsageError as refused:
            said = str(refused).replace("evaluation set", "sets")
            assert key.rsplit(".", 1)[1] in said or key.split(".")[0] in said, (value, said)
            assert "\n" not in said and len(said) < 2000, (value, said)


@pytest.mark.parametrize("section", [*default_tables(), "reserve"])
@pytest.mark.parametrize("value", [3, "text", [], True])
def test_a_section_that_is_given_a_value_is_refused_by_name(tmp_path, section, value):
    with pytest.raises(UsageError, match=f"the command line: {section}"):
        load_recipe(None, {section: value})
    path = tmp_path / "r.toml"
    path.write_text(f"{section} = {str(value).lower() if value is True else repr(value)}\n")
    with pytest.raises(UsageError, match=f"r.toml: {section}"):
        load_recipe(str(path))


@pytest.mark.parametrize("assignment", ["caps=1", "reserve=5", "mix=1", "rules=1", "caps.=1", "reserve.=1", "reserve.task=3", "rules..min=1", "rules.x=1"])
def test_a_key_that_is_cut_short_is_refused(assignment):
    with pytest.raises(UsageError, match=assignment.split("=")[0].split(".")[0]):
        load_recipe(None, dict([parse_assignment(assignment)]))


@pytest.mark.parametrize("text", ["1e-999999999", "1e999999999", "1E+0010000", "0e99_999_999", "9" * 5000, "1/" + "0" * 5000])
def test_a_quota_that_would_fill_the_memory_is_refused_at_once(text):
    with pytest.raises(ValueError, match="human_quota"):
        parse_quota(text)
    with pytest.raises(UsageError, match="must be a number from 0 to 1"):
        load_recipe(None, {"mix.human_quota": text})


@pytest.mark.parametrize("text", ["5e-1", "0.5", "1/2", "500e-3", "5E-001"])
def test_a_quota_may_have_an_exponent(text):
    assert parse_quota(text) == parse_quota("1/2")


@pytest.mark.parametrize("rate", [-1, 0, 0.0004, 0.3, 1, float("nan"), float("inf")])
def test_a_false_positive_rate_is_refused_whether_or_not_a_detector_runs(rate):
    for scorers in (["size", "content_hash", "signature", "quality"], default_tables()["score"]["scorers"]):
        with pytest.raises(UsageError, match="max_false_positive_rate"):
            load_recipe(None, {"score.scorers": scorers, "origin.max_false_positive_rate": rate})


# Bounds of rules


@pytest.mark.parametrize("bound", [float("nan"), 10**400, -(10**400), 1e39])
@pytest.mark.parametrize("key", ["min", "max"])
def test_a_bound_that_no_score_could_break_is_refused(key, bound):
    with pytest.raises(UsageError, match=f"{RULE}.{key}"):
        load_recipe(None, {f"{RULE}.{key}": bound})


@pytest.mark.parametrize(
    ("bounds", "passes"),
    [
        ({"min": float("-inf")}, [True, True, True]),
        ({"max": float("inf")}, [True, True, True]),
        ({"min": float("inf")}, [False, False, False]),
        ({"min": 2**63}, [False, False, False]),
        ({"max": 2**70}, [True, True, True]),
        ({"max": -(2**70)}, [False, False, False]),
        ({"min": 16_777_217}, [False, False, True]),
        ({"max": 0, "min": -LARGEST_BOUND}, [True, False, False]),
    ],
)
@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float32(), pa.float64()], ids=str)
def test_bounds_of_any_size_hold_for_columns_of_any_type(kind, bounds, passes):
    columns = pa.table({"score": pa.array([-3.0, 5.0, float(1 << 30)]).cast(kind)})
    verdicts = apply_rules(columns, pa.array(["human"] * 3), [Rule("bound", "score", **bounds)])
    assert [rule < 0 for rule in verdicts.rule] == passes


@pytest.mark.parametrize("key", ["languages", "sources"])
@pytest.mark.parametrize("value", [1, 1.5, True, ["en"], {}])
def test_names_in_a_rule_are_text(key, value):
    with pytest.raises(UsageError, match=f"{RULE}.{key}: .* is no text"):
        load_recipe(None, {f"{RULE}.{key}": [value]})


@pytest.mark.parametrize("name", ["Short", "too-short", "1st", "", "a b", "é!"])
def test_the_name_of_a_rule_is_snake_case(name):
    with pytest.raises(ValueError, match="must be snake_case"):
        Rule(name, "words", min=1)


def test_a_rule_that_nothing_could_pass_is_refused_but_one_value_may():
    with pytest.raises(ValueError, match="min 3 is above max 2"):
        Rule("narrow", "words", min=3, max=2)
    assert Rule("narrow", "words", min=3, max=3).min == 3
