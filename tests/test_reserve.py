"""Reserved places and the fresh share of the whole from the command line: promised, kept, counted, and refused with numbers."""

import contextlib
import io
import json

import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, write_jsonl

LOGS = documents("log", range(3000, 3012), words=60, task="support")
WRITTEN = documents("written", range(4000, 4020), words=60, generator="model-a", task="support")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scored: 40 human texts and 12 human logs of support, 50 synthetic texts and 20 synthetic ones of support. Not to be changed."""
    folder = tmp_path_factory.mktemp("reserve")
    write_jsonl(folder / "human.jsonl", documents("human", range(40)))
    write_jsonl(folder / "logs.jsonl", LOGS)
    write_jsonl(folder / "synthetic.jsonl", documents("synthetic", range(1000, 1050), generator="model-b") + WRITTEN)
    flags = [f"--human=books={folder}/human.jsonl", f"--human=logs={folder}/logs.jsonl", f"--synthetic=models={folder}/synthetic.jsonl"]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["curate", *flags, f"--output={folder}/out", WITHOUT_DETECTOR, "--split_bytes=9000", "--workers=0", "--progress=none"]) == 0
    return folder / "out" / "scored"


def test_places_are_kept_and_told_everywhere(headwater, scored, tmp_path):
    flags = ["--max_documents=50", "--num_shards=2", "--reserve=task.support=30", "--reserve=source.logs=5"]
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", *flags)
    assert ran.code == 0, ran.err
    rows = published(tmp_path / "out").to_pylist()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    support = [row["id"] for row in rows if row["task"] == "support"]
    # All 12 human logs first, then 18 of those that models wrote, at the quota of a half.
    assert len(rows) == 50 and len(support) == 30 and {one["id"] for one in LOGS} <= set(support)
    assert sum(row["origin"] == "human" for row in rows) == 25
    assert all(shard["human_share"] >= 0.5 for shard in manifest["shards"])
    assert manifest["reserve"] == [
        {"name": "source.logs", "reserved": 5, "available": 12, "published": 12},
        {"name": "task.support", "reserved": 30, "available": 32, "published": 30},
    ]
    assert manifest["recipe"]["reserve"] == {"task.support": 30, "source.logs": 5}
    assert "reserved for task.support: 30 documents, at least 30 promised, of 32" in ran.out
    assert "| task.support | 30 | 30 | 32 |" in (tmp_path / "out" / "README.md").read_text()
    graph = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/graph", *flags, "--job_name=asks-for-beam")
    assert graph.code == 0 and json.loads((tmp_path / "graph" / "manifest.json").read_text())["digest"] == manifest["digest"]
    assert published(tmp_path / "graph") == published(tmp_path / "out") and rejected(tmp_path / "graph") == rejected(tmp_path / "out")


def test_a_recipe_names_groups_as_the_flag_does(headwater, scored, tmp_path):
    (tmp_path / "recipe.toml").write_text('[reserve]\ntask.support = 30\nsource."logs" = 5\n')
    plans = [
        headwater("plan", f"--scored={scored}", "--max_documents=50", *flags)
        for flags in ([f"--recipe={tmp_path}/recipe.toml"], ["--reserve=task.support=30", "--set=reserve.source.logs=5"])
    ]
    said = [[line for line in plan.out.splitlines() if line.startswith("reserved for")] for plan in plans]
    assert plans[0].code == 0 and len(said[0]) == 2 and said[0] == said[1]


def test_without_a_reserve_nothing_is_said(headwater, scored):
    assert "reserved" not in headwater("plan", f"--scored={scored}", "--max_documents=50").out


def test_a_reserve_that_cannot_be_met_stops_the_run_or_shrinks(headwater, scored, tmp_path):
    for reserve, said in (
        ("task.support=33", "33 places are reserved for task.support, and only 32 such documents are left to choose from"),
        ("task.chat=1", "1 places are reserved for task.chat, and only 0 such documents"),
    ):
        ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", f"--reserve={reserve}")
        assert ran.code == 4 and said in ran.err and "lower --human_quota, lower --reserve" in ran.err
    flags = ["--reserve=task.support=30", "--human_quota=0.8", "--max_documents=40"]
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", *flags)
    assert ran.code == 4 and "quota, size and fresh share let in 20 of 32 such documents" in ran.err
    assert list(tmp_path.iterdir()) == []
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", *flags, "--on_shortage=shrink")
    assert ran.code == 0 and "let in 20 of 32" in ran.out
    assert sum(row["task"] == "support" for row in published(tmp_path / "out").to_pylist()) == 20


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--reserve=task.support", "must be FIELD.VALUE=DOCUMENTS, such as task.support=500"),
        ("--reserve=task.support=many", "must be FIELD.VALUE=DOCUMENTS"),
        ("--reserve=tusk.support=5", "FIELD one of task, source, generator, declared_language, language"),
        ("--set=reserve.task.support=1.5", "must be reserve.FIELD.VALUE = a whole number of documents"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(headwater, scored, flag, said):
    ran = headwater("plan", f"--scored={scored}", flag)
    assert ran.code == 2 and said in ran.err


def test_a_column_that_was_not_scored_cannot_reserve(headwater, corpus, tmp_path):
    scorers = '--set=score.scorers=["size", "quality", "content_hash", "signature"]'
    ran = headwater("plan", f"--human=books={corpus}/human.jsonl", scorers, "--reserve=language.en=5")
    assert ran.code == 2 and "'language': must be a column that was scored" in ran.err


def test_the_fresh_share_may_be_one_of_the_whole(headwater, scored, tmp_path):
    """Of 52 human texts 40 were never published; at .5 of the whole these carry 80 documents, of which the quota's half are human."""
    pytest.importorskip("deltalake")
    human = str(scored.parents[1])
    ledger = f"--ledger={tmp_path}/ledger"
    first = ["curate", f"--human=logs={human}/logs.jsonl", f"--output={tmp_path}/one", ledger, "--cycle=c1", WITHOUT_DETECTOR]
    assert headwater(*first).code == 0
    flags = [f"--scored={scored}", ledger, "--cycle=c2", "--min_fresh_human=0.5", "--fresh_share_of=all", "--human_quota=0.25"]
    ran = headwater("remix", *flags, f"--output={tmp_path}/two")
    assert ran.code == 0, ran.err
    rows = published(tmp_path / "two").to_pylist()
    fresh = [row for row in rows if row["origin"] == "human" and not row["id"].startswith("log")]
    assert len(fresh) == 40 and len(rows) == 80
    left = [row for row in rejected(tmp_path / "two").to_pylist() if row["reason"] == "not_fresh"]
    assert len(left) == 42 and {row["limit"] for row in left} == {0.5}
    assert "fresh share of all documents: 0.5000, at least 0.5 promised" in ran.out
    ran = headwater("remix", *flags, f"--output={tmp_path}/three", "--max_documents=100")
    assert ran.code == 4 and "too little fresh human text: at min_fresh_human 0.5 of the whole, " in ran.err


def test_repeats_reserves_and_a_ledger_hold_together_in_every_file(headwater, scored, tmp_path):
    """52 human texts, each up to three times, beside places of support in three files whose quota counts tokens; twice, against a ledger."""
    pytest.importorskip("deltalake")
    flags = [f"--scored={scored}", "--human_quota=0.7", "--quota_unit=tokens", "--max_documents=150", "--num_shards=3", "--max_human_repeats=3"]
    flags += ["--reserve=task.support=24", "--on_shortage=shrink"]
    synthetic, support_before = [], set()
    for cycle, more in (("c1", ["--min_fresh_human=0.4"]), ("c2", [])):
        for name, path in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
            ran = headwater("remix", *flags, *more, *path, f"--ledger={tmp_path}/{name}", f"--cycle={cycle}", f"--output={tmp_path}/{name}-{cycle}")
            assert ran.code == 0, ran.err
        output = tmp_path / f"here-{cycle}"
        assert published(output) == published(tmp_path / f"graph-{cycle}") and rejected(output) == rejected(tmp_path / f"graph-{cycle}")
        rows, manifest = published(output).to_pylist(), json.loads((output / "manifest.json").read_text())
        pairs = {(row["id"], row["copy"]) for row in rows}
        assert len(pairs) == len(rows) and {row["copy"] for row in rows if row["origin"] != "human"} == {0}
        assert all(row["copy"] == 0 or (row["id"], row["copy"] - 1) in pairs for row in rows)
        # A place is for a document, not for its repeats; all human documents go before any second copy.
        documents_of = {row["id"]: row for row in rows}
        support = {name for name, row in documents_of.items() if row["task"] == "support"}
        left = 32 - len(support_before)
        assert manifest["reserve"] == [{"name": "task.support", "reserved": 24, "available": left, "published": len(support)}]
        assert len(support) >= min(24, left) and ("24 places are reserved" in ran.out) == (left < 24)
        support_before |= {name for name in support if documents_of[name]["origin"] != "human"}
        human = [row["id"] for row in documents_of.values() if row["origin"] == "human"]
        assert len(human) == 52 and manifest["repeats"]["rows"] == len(rows) - len(documents_of) > 0
        for path in (output / "data").glob("*.parquet"):
            held = pq.read_table(path, columns=["origin", "tokens"]).to_pylist()
            assert 10 * sum(row["tokens"] for row in held if row["origin"] == "human") >= 7 * sum(row["tokens"] for row in held) > 0
        assert len(list((output / "data").glob("*.parquet"))) == 3
        assert manifest["ledger"]["rows"] == len(documents_of)
        for account in manifest["accounts"]:
            assert account["read"] == sum(account["published"].values()) + sum(entry["documents"] for entry in account["rejected"])
        synthetic.append(documents_of.keys() - set(human))
    assert synthetic[0] and synthetic[1] and not synthetic[0] & synthetic[1]
