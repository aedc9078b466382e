"""The recipe: what overrides what, what is refused and how it is said, and that equal recipes have equal digests."""

import json
import tomllib
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.scorers import SCORER_NAMES, ScoreSettings
from pipeline.errors import UsageError
from pipeline.recipe import default_tables, load_recipe, parse_assignment, recipe_from_tables, rule_schema


def recipe_file(tmp_path, text: str) -> str:
    path = tmp_path / "my.toml"
    path.write_text(text, "utf-8")
    return str(path)


def refused(path=None, overrides=None) -> str:
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


# Merging


def test_the_default_recipe_is_valid_and_has_all_sections():
    recipe = load_recipe()
    assert set(recipe.tables) == {
        "read",
        "score",
        "origin",
        "keep_top",
        "dedup",
        "caps",
        "decontaminate",
        "ledger",
        "mix",
        "reserve",
        "publish",
        "rules",
    }
    assert recipe.score.scorers == SCORER_NAMES
    assert [rule.name for rule in recipe.rules] == [name for name, rule in default_tables()["rules"].items() if rule.get("enabled", True)]


def test_a_file_changes_only_the_keys_it_names(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, "[mix]\nseed = 7\n[rules.top_2gram]\nmax = 0.5\n"))
    expected = default_tables()
    expected["mix"]["seed"] = 7
    expected["rules"]["top_2gram"]["max"] = 0.5
    assert recipe.tables == expected


def test_the_command_line_overrides_the_file(tmp_path):
    path = recipe_file(tmp_path, "[mix]\nseed = 7\nmax_documents = 5\n")
    recipe = load_recipe(path, {"mix.seed": 9})
    assert (recipe.mix.seed, recipe.mix.max_documents) == (9, 5)


def test_loading_one_recipe_leaves_the_next_untouched():
    load_recipe(None, {"mix.seed": 9, "rules.top_2gram.max": 0.9})
    assert load_recipe().tables == default_tables()


def test_zero_means_no_limit():
    mix = load_recipe().mix
    assert (mix.max_documents, mix.max_tokens, mix.num_shards) == (None, None, None)


def test_the_settings_of_scored_shards_replace_section_score():
    settings = {**json.loads(json.dumps(default_tables()["score"])), "bands": 20, "scorers": ["size", "content_hash", "signature", "quality"]}
    recipe = load_recipe(scored_with=settings)
    assert recipe.score.bands == 20
    assert {rule.field for rule in recipe.rules} == {"words"}


def test_a_default_rule_is_left_out_with_its_scorer_and_says_so():
    recipe = load_recipe(None, {"score.scorers": ["size", "content_hash", "signature", "quality", "c4"]})
    assert {rule.field for rule in recipe.rules} == {"words", "c4_lorem_ipsum_lines"}
    assert recipe.tables["rules"]["refusal"]["enabled"] is False
    assert "enabled" not in default_tables()["rules"]["refusal"]


def test_a_default_rule_that_the_user_names_is_not_left_out_silently():
    said = refused(None, {"score.scorers": ["size", "content_hash", "signature", "quality"], "rules.refusal.max": 1})
    assert "rules.refusal.field" in said and "'refusal_phrases'" in said


def test_rules_on_scores_that_older_shards_lack_are_left_out():
    columns = pa.schema([("words", pa.int32()), ("quality", pa.float32()), ("refusal_phrases", pa.int16())])
    recipe = load_recipe(scored_columns=columns)
    assert {rule.field for rule in recipe.rules} == {"words", "refusal_phrases"}


def test_a_rule_may_apply_to_some_languages_only():
    recipe = load_recipe(None, {"rules.short_german.field": "words", "rules.short_german.min": 30, "rules.short_german.languages": ["de"]})
    assert recipe.rules[-1].languages == ("de",)


def test_a_rule_for_languages_needs_the_language():
    scorers = [name for name in SCORER_NAMES if name != "language"]
    assert "gopher_too_few_stop_words" not in [rule.name for rule in load_recipe(None, {"score.scorers": scorers}).rules]
    said = refused(None, {"score.scorers": scorers, "rules.gopher_too_few_stop_words.min": 3})
    assert "rules.gopher_too_few_stop_words.languages" in said and "languages = []" in said
    rules = load_recipe(None, {"score.scorers": scorers, "rules.gopher_too_few_stop_words.languages": []}).rules
    assert "gopher_too_few_stop_words" in [rule.name for rule in rules]


@pytest.mark.parametrize("words", ["spacy", "", 3])
def test_words_are_headwaters_or_datatroves(words):
    assert "words" in refused(None, {"score.words": words})


def test_a_scorer_of_ones_own_may_have_rules(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "examples")
    own = {"score.scorers": [*SCORER_NAMES, "readability:Readability"], "rules.hard.field": "reading_ease", "rules.hard.min": 0}
    assert load_recipe(None, own).rules[-1].field == "reading_ease"
    assert "no_such_module" in refused(None, {"score.scorers": [*SCORER_NAMES, "no_such_module:score"]})


def test_a_recipe_survives_the_manifest():
    recipe = load_recipe(None, {"mix.human_quota": "1/3", "rules.top_2gram.max": 0.5})
    stored = recipe_from_tables(json.loads(json.dumps(recipe.tables)))
    assert stored == recipe
    assert stored.digest == recipe.digest


def test_what_scored_shards_remember_gives_the_same_digest_as_the_file():
    remembered = json.loads(json.dumps({name: getattr(ScoreSettings(), name) for name in reversed(ScoreSettings.__dataclass_fields__)}))
    assert load_recipe(scored_with=remembered).digest == load_recipe().digest


# Rules


def test_a_rule_of_ones_own_comes_after_the_default_ones(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, '[rules.not_german]\nfield = "language"\nallow = ["de"]\n'))
    assert recipe.rules[-1].name == "not_german"
    assert recipe.rules[-1].allow == ("de",)
    assert recipe.rules[:-1] == load_recipe().rules


def test_a_rule_that_is_switched_off_is_not_applied():
    recipe = load_recipe(None, {"rules.top_2gram.enabled": False})
    assert "top_2gram" not in [rule.name for rule in recipe.rules]
    assert len(recipe.rules) == len(load_recipe().rules) - 1


def test_a_rule_on_an_unknown_field_lists_the_fields_there_are():
    said = refused(None, {"rules.mine.field": "perplexity", "rules.mine.max": 5})
    assert "rules.mine.field" in said and "'perplexity'" in said
    for field in rule_schema(ScoreSettings()).names:
        assert field in said


def test_a_rule_on_the_field_of_a_scorer_that_does_not_run_is_refused():
    scorers = [name for name in SCORER_NAMES if name != "language"]
    overrides = {"rules.mine.field": "language", "rules.mine.allow": ["en"]}
    assert load_recipe(None, overrides)
    assert "'language'" in refused(None, {**overrides, "score.scorers": scorers})


def test_rules_may_name_columns_of_the_document():
    assert load_recipe(None, {"rules.mine.field": "source", "rules.mine.deny": ["spam"]})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"rules.mine.max": 5}, "rules.mine: names no field"),
        ({"rules.mine.field": "words"}, "rules.mine: has no bound"),
        ({"rules.mine.field": "words", "rules.mine.min": 9, "rules.mine.max": 3}, "min 9 is above max 3"),
        ({"rules.mine.field": "language", "rules.mine.min": 9}, "use allow or deny"),
        ({"rules.mine.field": "words", "rules.mine.min": 9, "rules.mine.origins": ["humans"]}, "'humans' is not an origin"),
        ({"rules.Mine.field": "words", "rules.Mine.min": 9}, "snake_case"),
        ({"rules.mine.maximum": 9}, "did you mean 'max'"),
        ({"rules.mine": 9}, "rules.NAME.KEY"),
        ({"rules.top_2gram.max": "high"}, "must be a number"),
        ({"rules.top_2gram.max": True}, "must be a number"),
        ({"rules.top_2gram.enabled": "no"}, "must be true or false"),
        ({"rules.mine.field": 3}, "must be text"),
        ({"rules.mine.allow": "en"}, "must be a list"),
    ],
)
def test_a_rule_that_cannot_work_says_why(overrides, said):
    assert said in refused(None, overrides)


# Keys and values


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("mix.human_quotta", "did you mean 'human_quota'"),
        ("mixx.seed", "did you mean 'mix'"),
        ("mix.zzzzzz", "known: "),
        ("mix.seed.deep", "no such key"),
        ("seed", "no such section"),
    ],
)
def test_an_unknown_key_names_the_nearest(key, said):
    message = refused(None, {key: 1})
    assert key in message and said in message and message.startswith("the command line: ")


def test_an_unknown_key_of_a_file_names_the_file(tmp_path):
    path = recipe_file(tmp_path, "[mix]\nsead = 1\n")
    assert refused(path) == f"{path}: mix.sead: no such key; did you mean 'seed'?"


def test_an_unknown_section_is_refused_even_when_it_is_empty(tmp_path):
    assert "did you mean 'dedup'" in refused(recipe_file(tmp_path, "[dedupe]\n"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mix.seed", 1.5, "a whole number, such as 0"),
        ("mix.seed", True, "a whole number"),
        ("mix.seed", "1", "a whole number"),
        ("dedup.exact", 1, "true or false, such as true"),
        ("dedup.min_similarity", "high", "a number, such as 0."),
        ("score.tokenizer", 3, 'text, such as "headwater-pretokens-1"'),
        ("score.scorers", "size", "a list"),
        ("mix.human_quota", True, "a number"),
        ("mix.human_quota", ["1/2"], "a number"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_is_wanted(key, value, said):
    message = refused(None, {key: value})
    assert f"{key} = {value!r}: must be " in message and said in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mix.human_quota", 1.5),
        ("mix.human_quota", -0.1),
        ("mix.human_quota", "half"),
        ("mix.human_quota", "1/0"),
        ("mix.human_quota", float("nan")),
        ("mix.human_quota", float("inf")),
        ("mix.quota_unit", "words"),
        ("mix.max_documents", -1),
        ("mix.seed", -1),
        ("mix.on_shortage", "ignore"),
        ("mix.priority", "length"),
        ("dedup.min_similarity", 0),
        ("dedup.min_similarity", 1.01),
        ("dedup.partitions", -1),
        ("publish.num_shards", -2),
        ("publish.target_shard_bytes", 0),
        ("publish.zstd_level", 23),
        ("publish.row_group_documents", 0),
        ("read.split_bytes", 0),
        ("read.text_unit", "page"),
        ("read.max_dead_share", 1.5),
        ("score.bands", 0),
        ("score.scorers", ["size", "sizes"]),
        ("score.scorers", []),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(key, value):
    assert key.split(".")[1] in refused(None, {key: value})


def test_a_file_that_is_not_there_or_not_toml_is_a_usage_error(tmp_path):
    assert "No such file" in refused(str(tmp_path / "none.toml"))
    assert "not valid TOML" in refused(recipe_file(tmp_path, "[mix\n"))
    (tmp_path / "latin.toml").write_bytes(b'[mix]\nquota_unit = "\xe9"\n')
    assert "not valid TOML" in refused(str(tmp_path / "latin.toml"))


# Quotas


@pytest.mark.parametrize(
    ("written", "meant"),
    [(0.1, "1/10"), ("0.1", "1/10"), ("1/3", "1/3"), (0.7, "7/10"), (1, "1"), (0, "0"), ("1e-1", "1/10"), ("2/6", "1/3")],
)
def test_a_quota_is_exactly_what_is_written(written, meant):
    assert load_recipe(None, {"mix.human_quota": written}).mix.human_quota == Fraction(meant)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_every_fraction_up_to_one_is_a_quota(numerator, denominator):
    tables = default_tables()
    tables["mix"]["human_quota"] = f"{min(numerator, denominator)}/{denominator}"
    assert recipe_from_tables(tables).mix.human_quota == Fraction(min(numerator, denominator), denominator)


# Digests


@given(st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_keys(random):
    def shuffled(table, is_ordered=False):
        items = list(table.items())
        if not is_ordered:
            random.shuffle(items)
        return {key: shuffled(value, key == "rules") if isinstance(value, dict) else value for key, value in items}

    tables = default_tables()
    assert recipe_from_tables(shuffled(tables)).digest == recipe_from_tables(tables).digest


def test_the_digest_does_not_depend_on_layout(tmp_path):
    one = recipe_file(tmp_path, "[mix]\nseed = 3\nhuman_quota = 0.25\n\n[dedup]\nmin_similarity = 1\n")
    digest = load_recipe(one).digest
    other = recipe_file(tmp_path, 'dedup.min_similarity = 1.0 # all\nmix = {human_quota = "1/4", seed = 0x3}\n')
    assert load_recipe(other).digest == digest
    assert load_recipe(None, {"mix.seed": 3, "mix.human_quota": "0.25", "dedup.min_similarity": 1.0}).digest == digest


@pytest.mark.parametrize(
    "overrides", [{"mix.seed": 1}, {"mix.human_quota": "1/3"}, {"rules.top_2gram.max": 0.21}, {"rules.top_2gram.enabled": False}, {"score.bands": 13}]
)
def test_the_digest_tells_other_recipes_apart(overrides):
    assert load_recipe(None, overrides).digest != load_recipe().digest


def test_the_order_of_rules_is_part_of_the_digest():
    """The first broken rule is the reason of a rejection."""
    tables = default_tables()
    turned = {**tables, "rules": dict(reversed(tables["rules"].items()))}
    assert recipe_from_tables(turned).digest != recipe_from_tables(tables).digest


# Scorers


@pytest.mark.parametrize(
    ("scorer", "needed_by", "off"),
    [
        ("size", "every run", None),
        ("content_hash", "every run", None),
        ("signature", "dedup.near", {"dedup.near": False}),
        ("quality", "mix.priority", {"mix.priority": "random"}),
    ],
)
def test_a_scorer_that_something_needs_must_run(scorer, needed_by, off):
    keep = [name for name in SCORER_NAMES if name != scorer]
    rules = {f"rules.{name}.enabled": False for name, rule in default_tables()["rules"].items() if rule["field"] == "words"}
    message = refused(None, {"score.scorers": keep, **rules})
    assert repr(scorer) in message and needed_by in message
    if off:
        assert load_recipe(None, {"score.scorers": keep, **off}).score.scorers == tuple(keep)


# --set


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("mix.seed=3", "mix.seed", 3),
        ("mix.human_quota=0.5", "mix.human_quota", 0.5),
        ("mix.human_quota=1/3", "mix.human_quota", "1/3"),
        ("mix.quota_unit=tokens", "mix.quota_unit", "tokens"),
        ('mix.quota_unit="tokens"', "mix.quota_unit", "tokens"),
        ("dedup.near=false", "dedup.near", False),
        ('rules.mine.allow=["de", "fr"]', "rules.mine.allow", ["de", "fr"]),
        ("origin.calibration=a=b.json", "origin.calibration", "a=b.json"),
        ("origin.calibration=", "origin.calibration", ""),
        (" mix.seed = 3 ", "mix.seed", 3),
        ("score.tokenizer=/models/tokenizer.json", "score.tokenizer", "/models/tokenizer.json"),
    ],
)
def test_an_assignment_is_toml_or_a_bare_word(text, key, value):
    assert parse_assignment(text) == (key, value)


@pytest.mark.parametrize("text", ["mix.seed", "=3", "", " =3"])
def test_an_assignment_needs_a_key_and_an_equals_sign(text):
    with pytest.raises(UsageError, match="must be KEY=VALUE"):
        parse_assignment(text)


@given(st.one_of(st.integers(-(2**62), 2**62), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_and_truths_survive_an_assignment(value):
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    assert parse_assignment(f"a.b={text}") == ("a.b", tomllib.loads(f"x = {text}")["x"])
