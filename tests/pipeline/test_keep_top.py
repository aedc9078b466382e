"""`--keep_top`: the best share of what passes the rules stays, in every command, with its threshold told."""

import contextlib
import io
import json
import math
import re

import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from pipeline.errors import UsageError
from pipeline.options import parse_arguments
from pipeline.recipe import load_recipe
from pipeline.recipe_flags import overrides_of
from tests.conftest import WITHOUT_DETECTOR, inputs, published, rejected
from tests.texts import write_jsonl
from transforms.decisions import read_decisions, recall_decisions
from transforms.group_settings import make_groups
from transforms.keep_top import survey_shard
from transforms.records import ScoredShard
from transforms.top_settings import parse_tops

TOP = ("--keep_top", "quality=40%", "--keep_top", "words@source=90%")


@pytest.fixture(scope="module")
def curated(corpus, tmp_path_factory):
    """A dataset curated with `TOP` in four small splits."""
    output = tmp_path_factory.mktemp("top") / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        flags = [f"--output={output}", WITHOUT_DETECTOR, "--split_bytes=20000", "--workers=0", "--progress=none", "--human_quota=0.3"]
        assert main(["curate", *inputs(corpus), *flags, *TOP]) == 0
    return output


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    """The same without `TOP`."""
    output = tmp_path_factory.mktemp("plain") / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        flags = [f"--output={output}", WITHOUT_DETECTOR, "--split_bytes=20000", "--workers=0", "--progress=none", "--human_quota=0.3"]
        assert main(["curate", *inputs(corpus), *flags]) == 0
    return output


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


def recipe_of(*flags):
    return load_recipe(None, overrides_of(parse_arguments(["curate", "--human", "a=b", "--output=o", *flags])))


def test_the_asked_share_of_what_passes_the_rules_stays(curated):
    manifest, gone = manifest_of(curated), rejected(curated).to_pylist()
    read = sum(account["read"] for account in manifest["accounts"])
    passed = read - sum(row["stage"] in ("origin", "rules") for row in gone)
    by_quality, *by_source = manifest["keep_top"]
    assert (by_quality["name"], by_quality["documents"], by_quality["kept"]) == ("quality", passed, math.ceil(passed * 2 / 5))
    assert [one["group"] for one in by_source] == ["books", "models", "web"] and sum(one["documents"] for one in by_source) == passed
    below = [row for row in gone if row["reason"] == "below_top"]
    assert {row["stage"] for row in below} == {"keep_top"} and {row["partner_id"] for row in below} >= {"quality"}
    assert all(row["value"] <= row["limit"] for row in below)
    assert sum(row["partner_id"] == "quality" for row in below) == passed - by_quality["kept"]
    assert min(published(curated)["quality"].to_pylist()) >= by_quality["threshold"]


def test_remix_finds_the_same_thresholds_and_files_by_the_graph_and_without_it(curated, plain, headwater, tmp_path):
    flags = {
        "graph": (plain, TOP),
        "here": (curated, TOP),
        "other": (curated, (*TOP, "--human_quota=0.6", "--max_documents=20")),
    }
    for name, (scored, given) in flags.items():
        ran = headwater("remix", f"--scored={scored}/scored", f"--output={tmp_path}/{name}", "--human_quota=0.3", *given)
        assert ran.code == 0, ran.err
    for name in ("graph", "here"):
        assert published(tmp_path / name) == published(curated) and rejected(tmp_path / name) == rejected(curated)
    assert all(manifest_of(tmp_path / name)["keep_top"] == manifest_of(curated)["keep_top"] for name in flags)


def test_plan_prints_the_thresholds_and_a_sweep_counts_what_remix_publishes(curated, plain, headwater, tmp_path):
    said = headwater("plan", f"--scored={plain}/scored", "--human_quota=0.3", *TOP)
    one = manifest_of(curated)["keep_top"][0]
    assert f"best 40% by quality: {one['kept']} of {one['documents']} documents, threshold {one['threshold']:.6g}" in said.out
    assert re.search(r"best 90% by words of source books: \d+ of \d+ documents", said.out) and "keep_top: below_top" in said.out
    flags = ["--sweep=keep_top.quality=40%,80%", f"--sweep_output={tmp_path}/t.json", "--human_quota=0.3", "--keep_top=words@source=90%"]
    assert headwater("plan", f"--scored={plain}/scored", *flags).code == 0
    rows = json.loads((tmp_path / "t.json").read_text())
    assert rows[0]["documents"] == published(curated).num_rows < rows[1]["documents"]


def test_what_is_below_never_suppresses_a_good_twin(headwater, tmp_path):
    """Of two near-duplicates the human one would stay; below the threshold itself, it must not take the other along."""
    from tests.texts import edited, prose

    text = prose(7, 200)
    write_jsonl(tmp_path / "human.jsonl", [{"id": "human", "text": text}])
    write_jsonl(tmp_path / "models.jsonl", [{"id": "longer", "text": edited(text, 1) + " The miller washed the quiet pan again."}])
    flags = [f"--human=a={tmp_path}/human.jsonl", f"--synthetic=b={tmp_path}/models.jsonl", WITHOUT_DETECTOR, "--human_quota=0"]
    assert headwater("curate", *flags, f"--output={tmp_path}/all").code == 0
    assert published(tmp_path / "all")["id"].to_pylist() == ["human"]
    assert headwater("curate", *flags, f"--output={tmp_path}/top", "--keep_top=words=50%").code == 0
    assert published(tmp_path / "top")["id"].to_pylist() == ["longer"]


def test_only_documents_of_a_group_of_the_mix_and_its_parents_are_counted(plain):
    groups = make_groups(
        {"long": {"where": "words >= 128", "max_share": 1}, "models": {"where": 'source == "models"', "within": "long", "max_share": 1}}
    )
    (top,) = parse_tops({"quality@models": "25%"}, ["long", "models"])
    counted = expected = 0
    for index, path in enumerate(sorted((plain / "scored").glob("*.parquet"))):
        (decided,) = recall_decisions(ScoredShard(path.name, str(path), pq.read_metadata(path).num_rows, index), str(plain / "decided"))
        counted += sum(sum(table["documents"].to_pylist()) for table in survey_shard(decided, None, 1, [top], 0, groups))
        rows = read_decisions(decided, ["reason", "source", "words"]).to_pylist()
        expected += sum(row["reason"] is None and row["source"] == "models" and row["words"] >= 128 for row in rows)
    assert 0 < counted == expected < 50


def test_a_group_of_the_mix_keeps_its_best_and_a_sweep_says_how_many(plain, headwater, tmp_path):
    """The models' documents lie within a group that lies within another; books and web are left alone."""
    (tmp_path / "my.toml").write_text(
        '[mix.groups.long]\nwhere = "words >= 1"\nmax_share = 1\n'
        '[mix.groups.models]\nwithin = "long"\nwhere = \'source == "models"\'\nmax_share = 1\n'
        '[keep_top]\n"quality@models" = "25%"\n'
    )
    flags = [f"--scored={plain}/scored", f"--recipe={tmp_path}/my.toml", "--human_quota=0.3"]
    assert headwater("remix", *flags, f"--output={tmp_path}/out").code == 0
    (one,) = manifest_of(tmp_path / "out")["keep_top"]
    below = [row for row in rejected(tmp_path / "out").to_pylist() if row["reason"] == "below_top"]
    assert {row["source"] for row in below} == {"models"} and {row["partner_id"] for row in below} == {"quality@models"}
    assert len(below) == one["documents"] - one["kept"] and one["kept"] == math.ceil(one["documents"] / 4) and one["name"] == "quality@models"
    ran = headwater("plan", *flags, "--sweep=keep_top.quality@models=25%,100%", f"--sweep_output={tmp_path}/t.json")
    rows = json.loads((tmp_path / "t.json").read_text())
    assert ran.code == 0 and [rows[0]["documents"], rows[1]["documents"]] == [published(tmp_path / "out").num_rows, published(plain).num_rows]
    assert "best 25% by quality of models" in headwater("plan", *flags).out


# Settings


def test_the_flag_sets_the_section_with_the_group_at_either_end():
    assert recipe_of("--keep_top=quality@language=10%").tops == recipe_of("--keep_top=quality=10%@language").tops
    assert recipe_of("--keep_top=quality=0.1").digest == recipe_of("--set=keep_top.quality=1/10").digest != recipe_of().digest


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--keep_top=quality", r"must be FIELD\[@GROUP\]=SHARE, such as quality=10%"),
        ("--keep_top=qualty=10%", "no scorer makes a number 'qualty'; did you mean 'quality'"),
        ("--keep_top=language=10%", "no scorer makes a number 'language'"),
        ("--keep_top=quality=10", "must be a share above 0, at most 1"),
        ("--keep_top=quality=10%@langage", "'langage' is no group; did you mean 'language'"),
        ("--set=keep_top=3", r"names a section; write keep_top\.KEY, such as keep_top\.quality"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(flag, said):
    with pytest.raises(UsageError, match=said):
        recipe_of(flag)


def test_the_group_must_have_been_scored():
    scorers = WITHOUT_DETECTOR.replace('"language", ', "")
    with pytest.raises(UsageError, match="'language' was not scored"):
        recipe_of(scorers, "--keep_top=quality@language=10%")
