"""The command line with a ledger: what one cycle was given the next is not given again, and whatever stops a run leaves the ledger true."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ledger_commit
from pipeline.__main__ import main
from pipeline.ledger_history import published_runs
from pipeline.ledger_upkeep import verify_ledger
from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, edited, write_jsonl

pytest.importorskip("deltalake")

HUMAN, SYNTHETIC = documents("human", range(150)), documents("synthetic", range(1000, 1060), generator="model-a", generation=1)
NEW_HUMAN = documents("human", range(200, 330))
OFFERED_AGAIN = [{**one, "id": f"again-{n}"} for n, one in enumerate(SYNTHETIC[:20])]
OFFERED_AGAIN += [{"id": f"edited-{n}", "text": edited(one["text"], n)} for n, one in enumerate(SYNTHETIC[20:40])]
CHILDREN = documents("child", range(2000, 2020), generator="model-b", generation=1, parents=["synthetic-01050"])


def ids(table):
    return set(table["id"].to_pylist())


def curate(folder, output, cycle, *flags, human="human1", synthetic="synthetic1", ledger="ledger"):
    return [
        "curate",
        f"--human=books={folder}/{human}.jsonl",
        f"--synthetic=models={folder}/{synthetic}.jsonl",
        f"--output={folder}/{output}",
        f"--ledger={folder}/{ledger}",
        f"--cycle={cycle}",
        WITHOUT_DETECTOR,
        "--workers=0",
        "--progress=none",
        *flags,
    ]


@pytest.fixture(scope="module")
def programme(tmp_path_factory):
    """Two cycles: the second is offered 40 texts of the first again, half of them edited, and 30 human ones. Not to be changed."""
    folder = tmp_path_factory.mktemp("programme")
    write_jsonl(folder / "human1.jsonl", HUMAN)
    write_jsonl(folder / "synthetic1.jsonl", SYNTHETIC)
    write_jsonl(folder / "human2.jsonl", NEW_HUMAN + HUMAN[:30])
    write_jsonl(folder / "synthetic2.jsonl", OFFERED_AGAIN + CHILDREN)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(curate(folder, "one", "c1")) == 0
        assert main(curate(folder, "two", "c2", human="human2", synthetic="synthetic2")) == 0
    return folder


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def test_synthetic_text_of_an_earlier_cycle_is_not_published_again(programme):
    turned_down = [row for row in rejected(programme / "two").to_pylist() if row["reason"] == "reused"]
    assert {row["id"] for row in turned_down} == {one["id"] for one in OFFERED_AGAIN}
    assert ids(published(programme / "two")) >= {one["id"] for one in CHILDREN}
    for row in turned_down:
        number = int(row["id"].split("-")[1])
        assert row["stage"] == "ledger" and row["partner_cycle"] == "c1" and row["value"] == row["limit"] == 1
        assert row["partner_id"] == (SYNTHETIC[number + 20]["id"] if row["id"].startswith("edited") else SYNTHETIC[number]["id"])
        assert row["similarity"] == 1 if row["id"].startswith("again") else 0.7 <= row["similarity"] < 1


def test_human_text_returns(programme):
    assert ids(published(programme / "two")) >= {one["id"] for one in HUMAN[:30] + NEW_HUMAN}


def test_the_ledger_and_the_datasets_agree(programme):
    assert verify_ledger(str(programme / "ledger"), [str(programme / "one"), str(programme / "two")]) == []
    assert [(run.cycle, run.rows) for run in published_runs(str(programme / "ledger"))] == [("c1", 210), ("c2", 180)]


def test_generations_follow_parents_of_earlier_cycles(programme):
    rows = {row["id"]: row["generation"] for row in published(programme / "two").to_pylist()}
    assert {rows[one["id"]] for one in CHILDREN} == {2} and rows["human-00200"] == 0
    assert manifest(programme / "two")["cycle"]["lineage"] == {
        "raised": 20, "unknown_parents": 0, "circular": 0, "raised_examples": [f"child-0200{n}" for n in range(5)],
    }  # fmt: skip


def test_the_manifest_reports_the_cycle(programme):
    first, second = manifest(programme / "one"), manifest(programme / "two")
    assert first["cycle"]["figures"]["fresh_share"] == 1
    assert second["cycle"]["figures"]["fresh_share"] == pytest.approx(130 / 160, rel=1e-5)
    assert second["cycle"]["figures"]["human_share"] == pytest.approx(160 / 180, rel=1e-5)
    assert second["cycle"]["reuse_prevented"] == 40
    assert second["cycle"]["generators"]["model-b"] == pytest.approx(20 / 180, rel=1e-5)
    assert second["ledger"]["cycle"] == "c2" and second["ledger"]["rows"] == 180
    assert first["cycle"]["diversity"]["figures"]["tail_coverage"]["value"] > 0


def remix(headwater, programme, output, *flags):
    return headwater("remix", f"--scored={programme}/two/scored", f"--output={output}", "--num_shards=2", *flags)


def test_a_remix_asks_the_ledger_as_the_graph_does(headwater, programme, tmp_path):
    """Ledgers of their own: the first cycle again, by remix; then the second, here and by the graph."""
    ledger = ["--cycle=c2", f"--ledger={tmp_path}/ledger"]
    first = ["remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/one", f"--ledger={tmp_path}/ledger", "--cycle=c1"]
    assert headwater(*first).code == 0
    (tmp_path / "copy").mkdir()
    subprocess.run(["cp", "-r", str(tmp_path / "ledger"), str(tmp_path / "copy" / "ledger")], check=True)
    assert remix(headwater, programme, tmp_path / "here", *ledger).code == 0
    ledger[1] = f"--ledger={tmp_path}/copy/ledger"
    assert remix(headwater, programme, tmp_path / "graph", *ledger, "--job_name=asks-for-beam").code == 0
    here, graph = (manifest(tmp_path / name) for name in ("here", "graph"))
    assert here["digest"] == graph["digest"] and here["accounts"] == graph["accounts"]
    for entries in (here, graph):
        entries["cycle"].pop("run_id")
    assert here["cycle"] == graph["cycle"] and here["cycle"]["reuse_prevented"] == 40
    assert ids(published(tmp_path / "here")) == ids(published(programme / "two"))
    assert verify_ledger(str(tmp_path / "ledger")) == verify_ledger(str(tmp_path / "copy" / "ledger")) == []


def test_a_plan_asks_and_leaves_the_ledger_alone(headwater, programme, tmp_path):
    before = sorted(path.name for path in (programme / "ledger").rglob("*"))
    ran = headwater("plan", f"--scored={programme}/two/scored", f"--ledger={programme}/ledger", "--cycle=c3")
    assert ran.code == 0 and "reused" in ran.out
    assert sorted(path.name for path in (programme / "ledger").rglob("*")) == before
    assert headwater("plan", f"--scored={programme}/two/scored", f"--ledger={tmp_path}/none", "--cycle=c3").code == 0
    assert not (tmp_path / "none").exists()


def test_replacing_a_dataset_makes_its_cycle_again(headwater, programme, tmp_path):
    flags = [f"--ledger={tmp_path}/ledger", "--cycle=c1"]
    for overwrite in ([], ["--overwrite"], ["--overwrite"]):
        ran = headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/out", *flags, *overwrite)
        assert ran.code == 0, ran.err
    assert len(ids(published(tmp_path / "out"))) == 210
    assert len(manifest(tmp_path / "out")["ledger"]["replaces"]) == 2
    other = headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/other", *flags, "--on_shortage=shrink")
    assert other.code == 0 and manifest(tmp_path / "other")["cycle"]["reuse_prevented"] == 60
    assert verify_ledger(str(tmp_path / "ledger")) == []


def test_a_limit_of_depth_rejects_what_is_deeper(headwater, programme, tmp_path):
    flags = [f"--ledger={tmp_path}/ledger", "--cycle=c2", "--max_generation=1"]
    assert headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/one", f"--ledger={tmp_path}/ledger", "--cycle=c1").code == 0
    assert remix(headwater, programme, tmp_path / "two", *flags).code == 0
    deep = [row for row in rejected(tmp_path / "two").to_pylist() if row["reason"] == "too_deep"]
    assert {row["id"] for row in deep} == {one["id"] for one in CHILDREN} and {(row["value"], row["limit"]) for row in deep} == {(2, 1)}


def test_withdrawn_text_is_not_published_whoever_wrote_it(headwater, programme, tmp_path):
    first = ["remix", f"--scored={programme}/one/scored", f"--ledger={tmp_path}/ledger", "--cycle=c1"]
    assert headwater(*first, f"--output={tmp_path}/one").code == 0
    (tmp_path / "ids.txt").write_text("human-00003\n")
    assert headwater_ledger("withdraw", tmp_path / "ledger", f"--ids={tmp_path}/ids.txt") == 0
    assert remix(headwater, programme, tmp_path / "two", f"--ledger={tmp_path}/ledger", "--cycle=c2").code == 0
    (row,) = [row for row in rejected(tmp_path / "two").to_pylist() if row["reason"] == "withdrawn"]
    assert row["id"] == row["partner_id"] == "human-00003"


def headwater_ledger(*arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return main(["ledger", *map(str, arguments)])


# Alarms


def test_an_alarm_publishes_nothing_and_names_who_moved_the_figure(headwater, programme, tmp_path):
    before = [run.run_id for run in published_runs(str(programme / "ledger"))]
    files = sum(1 for _ in (programme / "ledger").rglob("*.parquet"))
    flags = [f"--ledger={programme}/ledger", "--cycle=c3", "--fail_on=human_share>0.5", "--fail_on=human_share<-1%@c1"]
    ran = remix(headwater, programme, tmp_path / "out", *flags)
    assert ran.code == 6
    assert "1 alarm tripped, nothing was published. human_share>0.5: human_share is " in ran.err
    assert not (tmp_path / "out").exists()
    assert [run.run_id for run in published_runs(str(programme / "ledger"))] == before
    assert sum(1 for _ in (programme / "ledger").rglob("*.parquet")) == files


def test_the_named_suspect_is_the_source_that_did_it(headwater, programme, tmp_path):
    ran = headwater(
        "remix",
        f"--scored={programme}/one/scored",
        f"--output={tmp_path}/out",
        f"--ledger={tmp_path}/ledger",
        "--cycle=c1",
        "--fail_on=synthetic_share>0.1",
    )
    assert ran.code == 6 and "source 'models' (29% of documents) moved it most: without it it would be 0" in ran.err


# What is refused


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--cycle=c1"], "--cycle: needs the memory of earlier cycles; give --ledger DIR and --cycle NAME"),
        (["--max_generation=3"], "ledger.max_generation: needs the memory of earlier cycles"),
        (["--ledger={}/ledger"], "give the name of the training cycle with --cycle NAME"),
        (["--ledger={}/ledger", "--cycle=c1", "--fail_on=human_shore<1"], "did you mean 'human_share'"),
        (["--ledger={}/ledger", "--cycle=c1", "--fail_on=human_share<-5%@c9"], "the ledger holds no figures of cycle 'c9'"),
        (["--ledger={}/ledger", "--cycle=c1", "--fresh_after=soon"], "must be a date such as"),
        (["--ledger={}/ledger", "--cycle=c1", "--max_synthetic_uses=0"], "ledger.max_synthetic_uses = 0: must be 1.."),
    ],
)
def test_a_mistake_is_said_in_a_sentence(headwater, programme, tmp_path, flags, said):
    ran = remix(headwater, programme, tmp_path / "out", *(flag.format(tmp_path) for flag in flags))
    assert ran.code == 2 and said in ran.err
    assert not (tmp_path / "out").exists()


# Races and deaths


def test_of_two_runs_with_the_same_synthetic_text_one_is_refused_with_exit_code_7(headwater, programme, tmp_path, monkeypatch):
    """The other commits between this one's reading of the ledger and its claim."""
    ledger = [f"--ledger={tmp_path}/ledger", "--cycle=c1"]
    claim = ledger_commit._claim
    raced = []

    def claim_late(url, run):
        if not raced:
            raced.append(run.run_id)
            arguments = ["remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/fast", *ledger, "--workers=0", "--progress=none"]
            assert main(arguments) == 0
        claim(url, run)

    monkeypatch.setattr(ledger_commit, "_claim", claim_late)
    ran = headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/slow", *ledger)
    assert ran.code == 7 and "published some of the same synthetic text" in ran.err and "run again" in ran.err
    assert not (tmp_path / "slow").exists() and (tmp_path / "fast" / "manifest.json").exists()
    again = headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/slow", *ledger, "--on_shortage=shrink")
    assert again.code == 0 and manifest(tmp_path / "slow")["cycle"]["reuse_prevented"] == 60
    assert verify_ledger(str(tmp_path / "ledger")) == []


KILLED = """
import os, signal, sys
from pipeline import ledger_commit
from pipeline.__main__ import main
function = getattr(ledger_commit, sys.argv[1])
def die(*arguments):
    if sys.argv[2] == "after":
        function(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(ledger_commit, sys.argv[1], die)
main(sys.argv[3:])
"""


@pytest.mark.parametrize(("name", "when", "is_published"), [("_claim", "after", False), ("_commit_rows", "before", True)])
def test_a_run_that_is_killed_leaves_what_the_next_one_brings_to_its_end(headwater, programme, tmp_path, name, when, is_published):
    remixed = ["remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/out", f"--ledger={tmp_path}/ledger", "--cycle=c1"]
    root = Path(__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", KILLED, name, when, *remixed, "--workers=0", "--progress=none"], cwd=root, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert published_runs(str(tmp_path / "ledger")) == []
    assert (tmp_path / "out" / "manifest.json").exists() == is_published
    again = headwater(*remixed)
    assert again.code == (2 if is_published else 0), again.err
    assert [run.rows for run in published_runs(str(tmp_path / "ledger"))] == [210]
    assert verify_ledger(str(tmp_path / "ledger"), [str(tmp_path / "out")]) == []


def test_a_share_of_fresh_human_text_is_planned_and_reported(headwater, programme, tmp_path):
    # Of 160 human texts the second cycle has 130 new ones: at a share of .95 these carry 136, so 6 that were published before.
    ledger = f"--ledger={tmp_path}/ledger"
    assert headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/one", ledger, "--cycle=c1").code == 0
    second = ["remix", f"--scored={programme}/two/scored", ledger, "--cycle=c2", "--min_fresh_human=0.95"]
    ran = headwater(*second, f"--output={tmp_path}/two")
    assert ran.code == 0, ran.err
    out = ids(published(tmp_path / "two"))
    assert {one["id"] for one in NEW_HUMAN} <= out and len(out & {one["id"] for one in HUMAN}) == 6
    left = [row for row in rejected(tmp_path / "two").to_pylist() if row["reason"] == "not_fresh"]
    assert len(left) == 24 and {(row["stage"], round(row["value"], 4), round(row["limit"], 4)) for row in left} == {
        ("mix", round(130 / 160, 4), 0.95)
    }
    assert "not_fresh" in ran.out and "Cycle c2" in ran.out
    assert manifest(tmp_path / "two")["cycle"]["figures"]["fresh_share"] == pytest.approx(130 / 136, abs=1e-3)


def test_too_little_fresh_human_text_stops_the_run(headwater, programme, tmp_path):
    flags = ["--min_fresh_human=1", "--human_quota=0.9", "--max_documents=150"]
    ran = headwater("remix", f"--scored={programme}/one/scored", f"--output={tmp_path}/none", f"--ledger={programme}/ledger", "--cycle=c3", *flags)
    assert ran.code == 4 and "too little fresh human text" in ran.err and "lower --min_fresh_human" in ran.err
    assert not (tmp_path / "none").exists()
