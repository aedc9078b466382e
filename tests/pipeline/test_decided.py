"""Decisions are taken over only where everything they depend on is the same."""

import pytest

from classifiers.calibration import LengthThresholds
from pipeline.decided import decision_key, find_decided, write_key
from pipeline.folders import Folders
from pipeline.recipe import load_recipe
from transforms.records import ScoredShard

THRESHOLDS = LengthThresholds(0.01, (50,), (0.9,), "digest")
SHARDS = [ScoredShard("a.parquet", "", 3, 0), ScoredShard("b.parquet", "", 4, 1)]


def key(thresholds=THRESHOLDS, **overrides):
    return decision_key(load_recipe(None, {name.replace("__", "."): value for name, value in overrides.items()}), thresholds)


@pytest.mark.parametrize(
    "change",
    [
        {"mix__human_quota": 0.7},
        {"mix__seed": 3},
        {"mix__max_documents": 9},
        {"publish__num_shards": 2},
        {"dedup__partitions": 3},
        {"read__max_dead_share": 0.5},
    ],
)
def test_what_comes_after_the_decisions_leaves_their_key(change):
    assert key(**change) == key()


@pytest.mark.parametrize(
    "change",
    [
        {"dedup__min_similarity": 0.8},
        {"dedup__near": False},
        {"dedup__extra_bands": 0},
        {"origin__reject_disputed": False},
        {"origin__max_false_positive_rate": 0.02},
        {"rules.top_2gram.max": 0.3},
        {"rules.top_2gram.enabled": False},
        {"score__signature_seed": 2},
    ],
)
def test_whatever_decides_changes_the_key(change):
    assert key(**change) != key()


def test_other_thresholds_change_the_key():
    assert key(LengthThresholds(0.01, (50,), (0.8,), "digest")) != key()
    assert key(LengthThresholds(0.01, (50,), (0.9,), "other")) != key()
    assert key(None) != key()


def test_decisions_are_found_beside_the_scores_they_were_made_from(tmp_path):
    write_key(Folders(str(tmp_path)), key(), SHARDS)
    names = ["a.parquet", "b.parquet"]
    (tmp_path / "decided" / "000000.arrow").write_bytes(b"")
    assert find_decided(f"{tmp_path}/scored", names, key()) is None, "the second shard's decisions are missing"
    (tmp_path / "decided" / "000001.arrow").write_bytes(b"")
    assert find_decided(f"{tmp_path}/scored", names, key()) == f"{tmp_path}/decided"
    assert find_decided(f"{tmp_path}/scored/", names, key()) == f"{tmp_path}/decided"
    assert find_decided(f"{tmp_path}/scored", names, key(dedup__near=False)) is None
    assert find_decided(f"{tmp_path}/scored", names[:1], key()) is None
    assert find_decided(f"{tmp_path}/elsewhere/scored", names, key()) is None


def test_a_broken_key_is_no_reason_to_stop(tmp_path):
    (tmp_path / "decided").mkdir()
    for content in ("", "{", "[]", '{"key": 1}'):
        (tmp_path / "decided" / "key.json").write_text(content)
        assert find_decided(f"{tmp_path}/scored", [], key()) is None
