"""Shuffles are cut by the size of a run where the recipe leaves it open, and what is published does not depend on it."""

import gc
import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.__main__ import main
from pipeline.recipe import load_recipe
from pipeline.shuffle_size import MOST_PIECES, UNKNOWN_PIECES, pieces_of_shards, pieces_of_splits, size_shuffles
from tests.conftest import WITHOUT_DETECTOR, inputs
from transforms.inputs import Format, Split
from transforms.plan_splits import USUAL_COMPRESSION


def split(num_bytes, chunk_bytes=0):
    return Split(name="s", source="s", origin=None, path="p", format=Format.JSONL, num_bytes=num_bytes, chunk_bytes=chunk_bytes)


def test_a_recipe_that_says_how_many_is_obeyed():
    recipe = load_recipe(overrides={"dedup.partitions": 7})
    assert size_shuffles(recipe, 3) is recipe


def test_the_default_recipe_leaves_it_to_the_run_and_keeps_its_digest():
    recipe = load_recipe()
    sized = size_shuffles(recipe, 3)
    assert recipe.dedup.partitions == 0
    assert sized.dedup.partitions == 3
    assert sized.digest == recipe.digest
    assert sized.tables == recipe.tables


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_shards_never_make_fewer_pieces(one, two):
    few, many = sorted((one, two))
    assert 1 <= pieces_of_shards(few) <= pieces_of_shards(many) <= MOST_PIECES


def test_inputs_of_known_size_count_by_splits():
    assert pieces_of_splits([split(1000)], 1 << 20) == 1
    assert pieces_of_splits([split(1 << 20)] * 9, 1 << 20) == 3


def test_a_packed_file_counts_by_what_it_will_be():
    assert pieces_of_splits([split(40 << 20, chunk_bytes=1 << 20)], 1 << 20) == 40 * USUAL_COMPRESSION // 4


def test_inputs_of_unknown_size_are_cut_into_many():
    assert pieces_of_splits([split(0)], 1 << 20) == UNKNOWN_PIECES


def test_what_is_published_does_not_depend_on_the_pieces(headwater, corpus, tmp_path):
    digests = set()
    for pieces in (0, 1, 5):
        out = tmp_path / str(pieces)
        ran = headwater("curate", *inputs(corpus), WITHOUT_DETECTOR, f"--output={out}", "--human_quota=0.3", f"--set=dedup.partitions={pieces}")
        assert ran.code == 0, ran.err
        digests.add(json.loads((out / "manifest.json").read_text())["digest"])
    assert len(digests) == 1


def test_what_starts_no_pool_collects_garbage_while_it_runs(monkeypatch, tmp_path):
    collecting = []
    monkeypatch.setattr("pipeline.diff.run_diff", lambda parsed: collecting.append(gc.isenabled()))
    assert main(["diff", str(tmp_path), str(tmp_path)]) == 0
    assert collecting == [True]


def test_garbage_is_collected_again_once_a_command_has_ended(headwater, tmp_path):
    assert headwater("plan", f"--scored={tmp_path}").code == 2
    assert gc.isenabled()
