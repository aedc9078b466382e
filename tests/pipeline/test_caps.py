"""Section [caps], and what keys and repeated lines add to what is scored."""

import pytest

from pipeline.caps import CapSettings
from pipeline.decided import decision_key
from pipeline.errors import UsageError
from pipeline.recipe import default_tables, load_recipe
from transforms.score_documents import scored_schema


def shards_of(recipe):
    """What a remix of shards scored by `recipe` is given."""
    return {"scored_with": recipe.score.stored() | {"scorers": list(recipe.score.scorers), "keys": list(recipe.score.keys)}}


def remix(recipe, **overrides):
    return load_recipe(None, overrides, **shards_of(recipe), scored_columns=scored_schema(recipe.score))


def test_by_default_nothing_is_capped_and_nothing_more_is_scored():
    recipe = load_recipe()
    assert recipe.caps == CapSettings(("synthetic",), ())
    assert recipe.score.keys == () and "line_hashes" not in recipe.score.scorers
    assert recipe.dedup.key == "" and recipe.dedup.max_repeated_line_share == 1
    assert recipe.tables["score"] == default_tables()["score"]


def test_keys_that_are_no_columns_are_stored_each_once():
    recipe = load_recipe(
        None, {"dedup.key": "url", "caps.url": 3, "caps.prompt": 2, "caps.generator": 9, "caps.language": 5, "caps.near_cluster": 1, "caps.off": 0}
    )
    assert recipe.score.keys == ("url", "prompt")
    assert recipe.caps.most == (("generator", 9), ("language", 5), ("near_cluster", 1), ("prompt", 2), ("url", 3))
    assert [name for name in scored_schema(recipe.score).names if name.startswith("key_")] == ["key_url", "key_prompt"]


def test_a_limit_on_repeated_lines_brings_its_scorer():
    assert load_recipe(None, {"dedup.max_repeated_line_share": 0.5}).score.scorers[-1] == "line_hashes"


def test_a_field_inside_another_keeps_its_dots(tmp_path):
    (tmp_path / "own.toml").write_text('[caps]\norigins = []\n"url:host" = 7\n[caps.metadata]\nsite = 4\n')
    recipe = load_recipe(str(tmp_path / "own.toml"), {"caps.meta.page.url": 2})
    assert recipe.caps == CapSettings((), (("meta.page.url", 2), ("metadata.site", 4), ("url:host", 7)))
    assert recipe.score.keys == ("meta.page.url", "metadata.site", "url:host")


def test_a_remix_may_use_what_was_stored_and_is_told_what_was_not():
    stored = load_recipe(None, {"score.keys": ["url", "prompt"], "dedup.max_repeated_line_share": 0.9})
    again = remix(stored, **{"dedup.key": "url", "caps.prompt": 1, "caps.source": 5, "dedup.max_repeated_line_share": 0.2})
    assert again.score.keys == ("url", "prompt") and again.caps.most == (("prompt", 1), ("source", 5))
    for overrides, said in (
        ({"caps.url:host": 1}, r"caps\.url:host: the scored folder holds no key 'url:host'; score again with"),
        ({"dedup.key": "page"}, r"dedup\.key: the scored folder holds no key 'page'"),
    ):
        with pytest.raises(UsageError, match=said):
            remix(stored, **overrides)
    with pytest.raises(UsageError, match="scored without the scorer 'line_hashes'"):
        remix(load_recipe(), **{"dedup.max_repeated_line_share": 0.5})


def test_caps_decide_before_the_mix():
    keys = [decision_key(load_recipe(None, overrides), None) for overrides in ({}, {"caps.source": 2}, {"caps.source": 3}, {"caps.origins": []})]
    assert len(set(keys)) == 4
    assert decision_key(load_recipe(None, {"caps.source": 0}), None) == keys[0]


def test_clusters_need_signatures():
    scorers = [name for name in load_recipe().score.scorers if name != "signature"]
    with pytest.raises(UsageError, match=r"lacks 'signature', which caps\.near_cluster needs"):
        load_recipe(None, {"score.scorers": scorers, "dedup.near": False, "caps.near_cluster": 2})


@pytest.mark.parametrize("most", [-1, True, 1.5, "two"])
def test_a_cap_is_a_whole_number(most):
    with pytest.raises(UsageError, match=r"caps\.source = .*: must be a whole number; 0 = no cap"):
        load_recipe(None, {"caps.source": most})


def test_a_manifest_of_an_earlier_version_has_no_caps():
    assert CapSettings.of({}) == CapSettings((), ())
