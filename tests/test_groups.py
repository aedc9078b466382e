"""Groups from the command line: planned, published, counted, refused with what is missing, swept and told; and the page about them is right."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, write_jsonl

PAGE = (Path(__file__).parents[1] / "docs" / "groups.md").read_text("utf-8")
GROUPS = [
    'support=task == "support"; share=0.4',
    'shop=domain == "shop"; min_share=0.3',
    'drafts=generator == "model-b"; within=support; max_share=1/4',
]
FLAGS = ["--max_documents=100", *(f"--group={group}" for group in GROUPS)]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scored: the documents that the page about groups speaks of. Not to be changed."""
    folder = tmp_path_factory.mktemp("groups")
    write_jsonl(folder / "human.jsonl", documents("human", range(60), domain="books"))
    write_jsonl(folder / "logs.jsonl", documents("log", range(3000, 3030), task="support", domain="shop"))
    written = documents("written", range(4000, 4030), generator="model-b", task="support")
    write_jsonl(folder / "written.jsonl", documents("synthetic", range(1000, 1060), generator="model-a", domain="shop") + written)
    inputs = [f"--human=books={folder}/human.jsonl", f"--human=logs={folder}/logs.jsonl", f"--synthetic=models={folder}/written.jsonl"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["curate", *inputs, f"--output={folder}/out", WITHOUT_DETECTOR, "--split_bytes=9000", "--workers=0", "--progress=none"]) == 0
    return folder / "out" / "scored"


@pytest.fixture(scope="module")
def mixed(scored, tmp_path_factory):
    """A remix with the groups of the page, in three files: its folder and what it printed."""
    output, said = tmp_path_factory.mktemp("mixed") / "out", io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["remix", f"--scored={scored}", f"--output={output}", "--num_shards=3", *FLAGS, "--workers=0", "--progress=none"]) == 0
    return output, said.getvalue()


def on_page(name: str) -> list[str]:
    return re.search(rf"<!-- {name} -->\n```text\n(.*?)```", PAGE, re.S)[1].splitlines()


def test_the_page_shows_what_the_plan_says(headwater, scored):
    ran = headwater("plan", f"--scored={scored}", *FLAGS)
    said = [re.sub(r", [\d,]+ tokens, [\d,]+ bytes", "", line) for line in ran.out.splitlines()]
    said = [re.sub(r"(\d) documents of", r"\1 of", line) for line in said]
    assert ran.code == 0 and [line for line in said if line.startswith(("human:", "other:", "group "))] == on_page("groups")


def test_the_page_shows_how_a_conflict_is_said(headwater, scored):
    flags = ["--max_documents=100", '--group=support=task == "support"; share=0.8']
    ran = headwater("plan", f"--scored={scored}", *flags)
    assert ran.code == 4 and f"{on_page('conflict')[0]}. Nothing was published." in ran.err and "change a --group" in ran.err
    ran = headwater("plan", f"--scored={scored}", *flags, "--on_shortage=shrink")
    assert ran.code == 0 and re.search(r"^group support: 60 documents, .*0.7895 of the documents", ran.out, re.M)
    assert "76 documents, 60 of them" in PAGE and re.search(r"human: 38 documents.*\nother: 38 documents", ran.out)


def test_the_recipe_of_the_page_is_the_flags_of_the_page(headwater, scored, mixed, tmp_path):
    (tmp_path / "recipe.toml").write_text(re.search(r"```toml\n(.*?)```", PAGE, re.S)[1])
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", f"--recipe={tmp_path}/recipe.toml", "--num_shards=3")
    assert ran.code == 0, ran.err
    assert published(tmp_path / "out") == published(mixed[0])


def test_promises_hold_in_the_files_and_are_told_everywhere(mixed):
    output, said = mixed
    rows, manifest = published(output).to_pylist(), json.loads((output / "manifest.json").read_text())
    support = [row for row in rows if row["task"] == "support"]
    drafts = [row for row in support if row["generator"] == "model-b"]
    assert len(rows) == 100 and len(support) == 40 and len(drafts) <= 10
    assert sum(json.loads(row["extra"] or "{}").get("domain") == "shop" for row in rows) >= 30
    assert len(manifest["shards"]) == 3 and all(shard["human_share"] >= 0.5 for shard in manifest["shards"])
    told = {group["name"]: group for group in manifest["groups"]}
    assert list(told) == ["shop", "support", "drafts"]
    assert told["support"]["published"]["documents"] == 40 and told["support"]["available"]["documents"] == 60 and told["support"]["share"] == 0.4
    assert told["drafts"]["whole"]["documents"] == 40 and told["drafts"]["within"] == "support"
    assert manifest["recipe"]["mix"]["groups"]["support"] == {"where": 'task == "support"', "share": "0.4"}
    assert "group support: 40 documents, " in said and "asked for share = 0.4" in said
    assert '| support | `task == "support"` | share = 0.4 | 40.00% | 40 |' in (output / "README.md").read_text()
    assert "highspy" in manifest["versions"]


def test_what_only_a_group_keeps_out_names_the_group(mixed):
    over = [row for row in rejected(mixed[0]).to_pylist() if row["reason"] == "over_group"]
    assert over and {row["stage"] for row in over} == {"mix"} and {row["partner_id"] for row in over} <= {"support", "drafts", "shop", None}
    assert all(row["limit"] == pytest.approx(0.4) for row in over if row["partner_id"] == "support")


def test_beam_publishes_what_a_remix_without_it_does(headwater, scored, mixed, tmp_path):
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", "--num_shards=3", *FLAGS, "--job_name=asks-for-beam")
    assert ran.code == 0, ran.err
    assert published(tmp_path / "out") == published(mixed[0]) and rejected(tmp_path / "out").equals(rejected(mixed[0]))


def test_a_sweep_over_a_share_plans_what_a_remix_publishes(headwater, scored, tmp_path):
    flags = ["--max_documents=100", *(f"--group={group}" for group in GROUPS[1:2]), '--group=support=task == "support"']
    ran = headwater("plan", f"--scored={scored}", *flags, "--sweep=mix.groups.support.share=0.1:0.5:0.1", f"--sweep_output={tmp_path}/t.json")
    assert ran.code == 0, ran.err
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [row["sources"]["logs"] + row["sources"]["models"] >= 100 * float(row["settings"]["mix.groups.support.share"]) for row in rows] == [
        True
    ] * 5
    ran = headwater("plan", f"--scored={scored}", *flags, "--set=mix.groups.support.share=0.5")
    assert f"human: {rows[4]['documents'] // 2} documents" in ran.out and "group support: 50 documents" in ran.out


def test_a_cap_chooses_before_the_groups_do(headwater, scored):
    ran = headwater(
        "plan", f"--scored={scored}", "--cap=generator=20", '--group=drafts=generator == "model-b"; min_documents=20', "--max_documents=60"
    )
    assert ran.code == 0 and re.search(r"group drafts: 20 documents, .* of 20 documents, ", ran.out), ran.err
    ran = headwater("plan", f"--scored={scored}", "--cap=generator=20", '--group=drafts=generator == "model-b"; min_documents=21')
    assert ran.code == 4 and "groups.drafts.min_documents = 21 cannot hold: 1 other document of drafts" in ran.err


def test_groups_and_reserves_are_planned_together(headwater, scored):
    flags = ["--reserve=task.support=45", '--group=shop=domain == "shop"; max_share=0.2', "--max_documents=80"]
    ran = headwater("plan", f"--scored={scored}", *flags)
    assert ran.code == 0, ran.err
    assert "reserved for task.support: 45 documents, at least 45 promised, of 60" in ran.out and "group shop: 16 documents" in ran.out


def test_a_diff_tells_which_keys_of_which_groups_differ(headwater, scored, mixed, tmp_path):
    flags = ["--max_documents=100", "--num_shards=3", f"--group={GROUPS[0].replace('0.4', '0.3')}", *(f"--group={group}" for group in GROUPS[1:])]
    assert headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", *flags).code == 0
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["diff", str(mixed[0]), str(tmp_path / "out")]) == 0
    assert 'mix.groups.support.share: "0.4" -> "0.3"' in said.getvalue() and "mix: over_group" in said.getvalue()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--group=support"], "must be NAME=WHERE;KEY=VALUE, such as"),
        (["--group=a=true; shares=0.4"], "--group=a=true; shares=0.4: shares: no such key; known: within, share"),
        (["--group=a=true; share=0.4; share=0.5"], "share: is given twice"),
        (["--group=a=true; share=2"], "groups.a.share = 2: must be a number in 0..1"),
        (['--group=a=langauge == "de"'], "langauge: no such column; did you mean 'language'?"),
        (["--group=a=import os"], "groups.a.where = 'import os': is no comparison"),
        (['--group=a=domian == "shop"'], "groups.a.where: domian: is no column, and no document left to choose from has a field of that name"),
        (["--set=mix.groups.a.share=0.4"], "groups.a: names no documents; a group needs where"),
        (["--set=mix.groups.a=0.4"], "must be mix.groups.NAME.KEY with KEY one of where"),
        (["--set=mix.groups.a.shar=0.4"], "mix.groups.a.shar: no such key; did you mean 'share'?"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(headwater, scored, flags, said):
    ran = headwater("plan", f"--scored={scored}", *flags)
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err


def test_a_group_may_choose_by_an_order_of_its_own(headwater, scored, tmp_path):
    """The same number of documents of support, chosen by quality as all others, and at random by two seeds."""
    chosen = {}
    for name, flags in {"best": [], "drawn": ["; priority=random"], "again": ["; priority=random"]}.items():
        group = f'--group=support=task == "support"; documents=20{"".join(flags)}'
        seed = "--seed=3" if name == "again" else "--seed=0"
        ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/{name}", group, "--max_documents=60", seed)
        assert ran.code == 0, ran.err
        chosen[name] = {row["id"]: row["quality"] for row in published(tmp_path / name).to_pylist() if row["task"] == "support"}
        assert len(chosen[name]) == 20
    assert set(chosen["best"]) != set(chosen["drawn"]) != set(chosen["again"])
    assert sum(chosen["best"].values()) >= sum(chosen["drawn"].values())
    ran = headwater("plan", f"--scored={scored}", '--group=support=task == "support"; priority=hard')
    assert ran.code == 2 and "mix.groups.support.priority = 'hard': orders by 'perplexity', which is not scored; set score.perplexity_model" in ran.err
    ran = headwater("plan", f"--scored={scored}", '--group=support=task == "support"; priority=diverse')
    assert ran.code == 2 and "mix.diverse_by" in ran.err
    ran = headwater("plan", f"--scored={scored}", '--group=support=task == "support"; priority=diverse', "--diverse_by=source")
    assert ran.code == 0 and "asked for priority = diverse" in ran.out, ran.err
