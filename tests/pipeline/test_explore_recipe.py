"""What the explorer writes out, as a command or as a recipe, reads back as the same recipe."""

import shlex
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.explore_recipe import as_assignment, as_command, as_toml, differences, save_recipe
from pipeline.options import parse_arguments
from pipeline.recipe import default_tables, load_recipe, parse_assignment
from pipeline.recipe_flags import overrides_of

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=("Cc",)), min_size=1, max_size=12)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "mix.human_quota": st.sampled_from(["1/3", "0.25", 0.5, 1]),
        "mix.max_documents": st.integers(0, 10**12),
        "mix.count_presumed_human": st.booleans(),
        "mix.priority": st.sampled_from(["quality", "random"]),
        "origin.max_false_positive_rate": st.floats(0.0005, 0.2),
        "dedup.near": st.booleans(),
        "dedup.min_similarity": st.floats(0.01, 1),
        "rules.top_2gram.max": st.floats(0.001, 1),
        "rules.top_2gram.enabled": st.booleans(),
        "rules.unwanted_language.allow": st.lists(st.sampled_from(["en", "de", "und"]), max_size=2),
        "rules.of_mine.field": st.just("source"),
        "rules.of_mine.deny": st.lists(WORDS, min_size=1, max_size=2),
        "reserve.source.web.x": st.integers(0, 9),
        "keep_top.quality": st.sampled_from([0.5, "10%", "1/3"]),
        "keep_top.words@language": st.sampled_from([0.5, "10%", "1/3"]),
        "caps.prompt": st.integers(1, 9),
        "caps.origins": st.just(["human", "synthetic"]),
        "publish.mask_personal_data": st.lists(st.sampled_from(["email", "ip"]), max_size=2, unique=True),
    },
).filter(lambda changes: ("rules.of_mine.field" in changes) == ("rules.of_mine.deny" in changes))


@settings(max_examples=25)
@given(CHANGES)
def test_a_command_and_a_file_give_the_recipe_again(tmp_path_factory, changes):
    wanted = load_recipe(overrides=changes)
    changed = differences(wanted.tables, default_tables())
    words = shlex.split(as_command(changed, "a folder/scored", "-out"))
    assert words[:5] == ["headwater", "remix", "--scored", "a folder/scored", "--output"]
    parsed = parse_arguments(["remix", "--scored=x", "--output=y", *words[6:]])
    assert load_recipe(overrides=overrides_of(parsed)).digest == wanted.digest
    path = tmp_path_factory.mktemp("recipes") / "mine.toml"
    path.write_text(as_toml(changed), "utf-8")
    assert load_recipe(str(path)).digest == wanted.digest


@given(st.one_of(WORDS, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.lists(WORDS, max_size=3)))
def test_an_assignment_reads_back_as_its_value(value):
    assert parse_assignment(as_assignment("a.b", value)) == ("a.b", value)


def test_only_what_differs_is_written_and_scores_are_not():
    tables = load_recipe(overrides={"mix.seed": 4, "score.bands": 12}).tables
    assert differences(tables, default_tables()) == {("mix", "seed"): 4}
    assert tomllib.loads(as_toml({("mix", "seed"): 4})) == {"mix": {"seed": 4}} and as_command({}, "s", "o").endswith("--output o")


def test_a_recipe_is_saved_where_it_is_named_and_replaces_nothing_unasked(tmp_path):
    path = tmp_path / "mine.toml"
    assert save_recipe(f" {path} ", {("mix", "seed"): 4}) == str(path)
    with pytest.raises(UsageError, match="is there already"):
        save_recipe(str(path), {})
    assert tomllib.loads(path.read_text()) == {"mix": {"seed": 4}}
    save_recipe(str(path), {("mix", "seed"): 5}, overwrite=True)
    assert tomllib.loads(path.read_text()) == {"mix": {"seed": 5}}
    for name, said in (("", "must end in .toml"), ("mine.txt", "must end in .toml"), (f"{tmp_path}/no/such/a.toml", "its folder does not exist")):
        with pytest.raises(UsageError, match=said):
            save_recipe(name, {})
