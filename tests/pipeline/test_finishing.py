"""The gates of a run: what may go on, what is refused, and that a refusal can be read by whoever launched the job."""

import json
import os
from dataclasses import replace
from fractions import Fraction

import pytest

from pipeline import errors
from pipeline.errors import BooksDoNotBalance, HeadwaterError, QuotaUnmet, TooManyDead, UsageError
from pipeline.finishing import admit_mix, admit_run, finish_run, refuse
from pipeline.folders import PUBLISHED, WORK, Folders
from pipeline.publishing import stage_output
from pipeline.recipe import load_recipe
from pipeline.run_facts import RunFacts
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import MixSettings
from transforms.records import DECISION_SCHEMA, ScoredShard
from transforms.scored_shards import SplitScored
from transforms.write_shards import ShardWritten

FACTS = RunFacts("run-1", "remix", "", "2026-01-02T03:04:05+00:00", ("remix",), (), False)


def scored(name: str, read: int, dead: int = 0, by: str = '{"scorers": {}}') -> SplitScored:
    books = [(("news", "human", "read", "", ""), read)]
    if dead:
        books.append((("news", "human", "dead", "read", "malformed"), dead))
    return SplitScored(ScoredShard(name, f"/scored/{name}", read - dead), tuple(books), 1, 100, 200, by)


@pytest.fixture
def folders(tmp_path) -> Folders:
    return Folders(str(tmp_path / "staging"))


def recipe(**overrides):
    return load_recipe(None, {key.replace("__", "."): value for key, value in overrides.items()})


def refusal(folders: Folders) -> dict:
    with open(folders.refusal) as file:
        return json.load(file)


def test_shards_are_numbered_by_name_whatever_their_order(folders):
    parts = [scored("b", 10), scored("a", 20), scored("c", 30)]
    catalog = admit_run(parts, recipe(), folders)
    assert [(shard.name, shard.index) for shard in catalog.shards] == [("a", 0), ("b", 1), ("c", 2)]
    assert admit_run(reversed(parts), recipe(), folders) == catalog
    assert catalog.books == ((("news", "human", "read", "", ""), 60),)
    assert catalog.origin_conflicts == 3 and catalog.text_bytes == 300


@pytest.mark.parametrize(("dead", "passes"), [(0, True), (1, True), (2, False), (100, False)])
def test_the_failure_budget_is_inclusive(folders, dead, passes):
    settings = recipe(read__max_dead_share=0.01)
    if passes:
        admit_run([scored("a", 100, dead)], settings, folders)
        assert not os.path.exists(folders.refusal)
    else:
        with pytest.raises(TooManyDead, match=f"{dead} of 100 records"):
            admit_run([scored("a", 100, dead)], settings, folders)
        assert refusal(folders)["exit_code"] == 3
        assert "malformed in news" in refusal(folders)["message"]


def test_the_failure_budget_counts_all_inputs_together(folders):
    admit_run([scored("a", 1000), scored("b", 10, 5)], recipe(read__max_dead_share=0.01), folders)


def test_a_run_that_read_nothing_has_lost_nothing(folders):
    assert admit_run([], recipe(), folders).shards == ()


def test_shards_of_other_scorers_are_refused(folders):
    with pytest.raises(UsageError, match="same scorers"):
        admit_run([scored("a", 1), scored("b", 1, by="{}")], recipe(), folders)
    assert refusal(folders)["exit_code"] == 2


def test_two_splits_in_one_shard_are_a_defect(folders):
    with pytest.raises(AssertionError, match="two splits were scored into one shard, a"):
        admit_run([scored("a", 1), scored("a", 2)], recipe(), folders)


def no_documents(settings: MixSettings):
    return cuts_of_tables([DECISION_SCHEMA.empty_table()], settings)


@pytest.mark.parametrize("on_shortage", ["fail", "shrink"])
def test_nothing_to_publish_is_refused_even_where_the_mix_may_shrink(folders, on_shortage):
    settings = recipe(mix__on_shortage=on_shortage)
    with pytest.raises(QuotaUnmet, match="nothing to publish"):
        admit_mix(no_documents(settings.mix), settings, folders)
    assert refusal(folders)["exit_code"] == 4
    assert ("--on_shortage=shrink" in refusal(folders)["message"]) == (on_shortage == "fail")


def written(human: int, every: int) -> ShardWritten:
    return ShardWritten("train-00000-of-00001.parquet", tuple((unit, human, every) for unit in ("documents", "tokens", "bytes")), (), 9, "ab")


def finish(folders, counts, shards, *, read=6, write=True):
    catalog = admit_run([scored("a", read)], recipe(), folders)
    settings = recipe(mix__human_quota="1/2")
    return finish_run(
        replace(FACTS, output=str(folders.root) + "-out"), catalog, no_documents(settings.mix), counts, shards, None, settings, folders, write
    )


PUBLISHED_SIX = (
    (("news", "human", "human", "published", ""), (3, 30, 300)),
    (("news", "human", "synthetic", "published", ""), (3, 30, 300)),
)


def test_books_that_balance_are_published(folders):
    output = str(folders.root) + "-out"
    with stage_output(output, "run-1", overwrite=False) as staged:
        manifest = finish(Folders(staged.root), PUBLISHED_SIX, [written(3, 6)])
    assert manifest == f"{staged.root}-out/manifest.json"
    assert json.load(open(manifest))["quota"]["smallest_shard_share"] == 0.5


def test_a_last_step_repeated_after_publication_changes_nothing(folders):
    output = str(folders.root) + "-out"
    with stage_output(output, "run-1", overwrite=False) as staged:
        first = finish(Folders(staged.root), PUBLISHED_SIX, [written(3, 6)])
        before = open(first).read()
        # What a runner that lost the answer does: the same step again, though its staging folder has become the dataset.
        assert finish(Folders(staged.root), PUBLISHED_SIX, [written(3, 6)]) == first
        assert not os.path.exists(staged.root)
    assert open(first).read() == before


@pytest.mark.parametrize(
    ("counts", "shards", "says"),
    [
        (PUBLISHED_SIX[:1], [written(3, 3)], "6 read, but 3 disposed of"),
        (PUBLISHED_SIX, [written(3, 5)], "6 documents have the disposition `published`, but the files hold 5"),
        (PUBLISHED_SIX, [written(2, 6)], "2 human of 6 documents, less than the quota of 1/2"),
    ],
)
def test_books_that_do_not_balance_are_refused_with_the_account(folders, counts, shards, says):
    with pytest.raises(BooksDoNotBalance, match=says.replace("`", ".")):
        finish(folders, counts, shards)
    assert refusal(folders)["exit_code"] == 5
    assert not os.path.exists(str(folders.root) + "-out")


def test_a_plan_leaves_its_manifest_in_staging_and_publishes_nothing(folders):
    manifest = finish(folders, PUBLISHED_SIX, [], write=False)
    assert manifest == folders.manifest
    assert not os.path.exists(str(folders.root) + "-out")


@pytest.mark.parametrize("kind", [UsageError, TooManyDead, QuotaUnmet, BooksDoNotBalance])
def test_a_refusal_carries_its_exit_code_and_message_to_the_launcher(folders, kind):
    with pytest.raises(kind, match="because"):
        refuse(kind("because"), folders)
    left = refusal(folders)
    assert errors.BY_EXIT_CODE[left["exit_code"]] is kind and left["message"] == "because"


def test_exit_codes_are_distinct_and_documented_in_the_tree():
    codes = [kind.exit_code for kind in (HeadwaterError, UsageError, TooManyDead, QuotaUnmet, BooksDoNotBalance)]
    assert codes == [1, 2, 3, 4, 5]
    for kind in (UsageError, TooManyDead, QuotaUnmet, BooksDoNotBalance):
        assert kind.__name__ in errors.__doc__ and str(kind.exit_code) in errors.__doc__


def test_every_folder_of_a_run_is_published_or_deleted(folders):
    named = {name: getattr(folders, name) for name, value in vars(Folders).items() if isinstance(value, property)}
    files = {named.pop(name) for name in ("manifest", "card", "refusal")}
    places = {os.path.relpath(path, folders.root).split(os.sep)[0] for path in [*named.values(), folders.deciding("any")]}
    assert places | {"evaluation"} == {*PUBLISHED, *WORK}
    assert all(os.path.dirname(path) == folders.root for path in files)
    assert not set(PUBLISHED) & set(WORK)
    assert recipe().mix.human_quota == Fraction(1, 2)
