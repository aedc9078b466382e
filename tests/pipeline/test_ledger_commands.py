"""`headwater ledger`: what it tells, marks, checks and tidies."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from classifiers.diversity import TailReference
from pipeline import ledger_commit
from pipeline.errors import BooksDoNotBalance, UsageError
from pipeline.ledger import read_ledger
from pipeline.ledger_commands import run_ledger_command
from pipeline.ledger_commit import publish_and_commit
from pipeline.ledger_flags import add_ledger_commands
from pipeline.ledger_history import earlier_figures, keep_reference, load_reference, published_runs, replaced_runs
from pipeline.ledger_queries import show_ledger, trace_id, trace_text
from pipeline.ledger_records import hold_record
from pipeline.ledger_upkeep import compact_ledger, verify_ledger, withdraw
from tests.pipeline.datasets import SETTINGS, SHARD, publish_dataset, record, records, stage_dataset
from tests.texts import edited, prose
from tests.transforms.ledger_rows import probes_of
from tests.transforms.shard_files import Document
from transforms.find_earlier import find_earlier

pytest.importorskip("deltalake")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two cycles: the second publishes a near-duplicate and a grandchild of texts of the first. Not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    first = records("human", range(8), "human") + records("bot", range(100, 106), generator="model-a", generation=1)
    publish_dataset(folder / "ledger", folder / "one", first, "run-1", "c1", figures={"human_share": 0.6})
    second = records("human", range(20, 28), "human")
    second.append(record("echo", edited(prose(100, 90), 1), generator="model-b", generation=2, parents=["bot-101", "nobody"]))
    second.append(record("child", prose(300, 90), generator="model-b", generation=3, parents=["echo"]))
    publish_dataset(folder / "ledger", folder / "two", second, "run-2", "c2", figures={"human_share": 0.8})
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """A copy that may be changed; its log still names the outputs of the first."""
    for name in ("ledger", "one", "two"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path


def run(*arguments):
    parser = argparse.ArgumentParser()
    add_ledger_commands(parser.add_subparsers(dest="command"))
    return run_ledger_command(parser.parse_args(["ledger", *map(str, arguments)]))


# Show


def test_show_counts_each_cycle_in_order(made):
    shown = show_ledger(str(made / "ledger"))
    assert [held["cycle"] for held in shown["cycles"]] == ["c1", "c2"]
    first, second = shown["cycles"]
    assert first["documents"] == 14 and first["origins"] == {"human": 8, "synthetic": 6} and first["run_ids"] == {"run-1": 14}
    assert second["generators"] == {"(none)": 8, "model-b": 2} and second["sources"] == {"books": 8, "models": 2}
    assert shown["documents"] == 24 and shown["withdrawn"] == 0


def test_show_prints_text_or_json(made, capsys):
    run("show", made / "ledger")
    assert "c1: 14 documents in 1 runs" in capsys.readouterr().out
    run("show", made / "ledger", "--json")
    assert json.loads(capsys.readouterr().out)["documents"] == 24


def test_a_folder_without_a_ledger_is_refused(tmp_path):
    for arguments in (("show",), ("verify",), ("compact",), ("trace", "x")):
        with pytest.raises(UsageError, match="holds no ledger"):
            run(arguments[0], tmp_path / "none", *arguments[1:])


# Trace


def test_trace_follows_a_text_through_its_near_duplicates(made):
    found = trace_id(str(made / "ledger"), "bot-100", 0.7)["publications"]
    assert [(row["id"], row["cycle"], row["run_id"], row["shard"]) for row in found] == [
        ("bot-100", "c1", "run-1", SHARD),
        ("echo", "c2", "run-2", SHARD),
    ]
    assert found[0]["similarity"] == 1 and 0.7 <= found[1]["similarity"] < 1


def test_trace_tells_the_ancestry(made):
    assert [row["id"] for row in trace_id(str(made / "ledger"), "child", 0.7)["ancestry"]] == ["echo", "bot-101"]


def test_a_file_with_a_text_is_traced_by_its_content(made, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(prose(100, 90) + "\n")
    run("trace", made / "ledger", tmp_path / "text.txt")
    out = capsys.readouterr().out
    assert "bot-100 (synthetic of models, generation 1, similarity 1.00): cycle c1" in out and "echo" in out and "parent: bot-101" in out
    assert trace_text(str(made / "ledger"), "a text that nobody has ever published", 0.7, SETTINGS) == {
        "id": None,
        "publications": [],
        "ancestry": [],
    }


def test_a_stricter_similarity_finds_less(made):
    assert [row["id"] for row in trace_id(str(made / "ledger"), "bot-100", 0.99)["publications"]] == ["bot-100"]


def test_what_cannot_be_traced_is_said(made, tmp_path):
    with pytest.raises(UsageError, match="holds no document 'bot-999'"):
        run("trace", made / "ledger", "bot-999")
    with pytest.raises(UsageError, match="must lie in 0"):
        run("trace", made / "ledger", "bot-100", "--min_similarity=0")
    other = type(SETTINGS)(signature_seed=2)
    with pytest.raises(UsageError, match="give the recipe of its runs"):
        trace_text(str(made / "ledger"), "any", 0.7, other)


# Withdraw


def test_withdrawn_documents_are_marked_with_all_that_they_reached(copied, capsys):
    (copied / "ids.txt").write_text("bot-100\n\nhuman-3\nnobody\n")
    result = run("withdraw", copied / "ledger", "--ids", copied / "ids.txt")
    assert result["withdrawn"] == 2 and result["unknown"] == ["nobody"]
    assert [(row["cycle"], row["run"], row["documents"]) for row in result["reached"]] == [("c1", "run-1", 2)]
    assert "2 withdrawn, 0 were already, 1 unknown" in capsys.readouterr().out
    shown = show_ledger(str(copied / "ledger"))
    assert shown["withdrawn"] == 2 and shown["documents"] == 24
    assert [row["kind"] for row in trace_id(str(copied / "ledger"), "bot-100", 0.99)["publications"]] == ["synthetic", "withdrawn"]


def test_withdrawing_again_changes_nothing(copied):
    withdraw(str(copied / "ledger"), ["bot-100"])
    before = read_ledger(str(copied / "ledger")).version
    again = withdraw(str(copied / "ledger"), ["bot-100"])
    assert (again["withdrawn"], again["already"]) == (0, 1)
    assert read_ledger(str(copied / "ledger")).version == before


def test_a_withdrawn_text_is_found_among_the_withdrawals_alone(copied):
    withdraw(str(copied / "ledger"), ["bot-100"])
    snapshot = read_ledger(str(copied / "ledger"))
    reading = snapshot.reading(["withdrawn"])
    assert sum(file.num_rows for file in reading.files) == 1
    assert find_earlier(reading, probes_of(_as_documents(snapshot, "bot-100")), 0.7)["id"].to_pylist() == ["bot-100"]


def _as_documents(snapshot, name):
    (row,) = snapshot.find("id", [name], ["signature", "content_hash"], ["synthetic"]).to_pylist()
    return [Document("new", row["signature"], content=row["content_hash"])]


def test_an_unreadable_list_of_ids_is_refused(made, tmp_path):
    with pytest.raises(UsageError, match="give a text file in UTF-8"):
        run("withdraw", made / "ledger", "--ids", tmp_path / "none.txt")


# Verify


def test_a_ledger_that_agrees_with_its_datasets_has_no_faults(made, capsys):
    assert verify_ledger(str(made / "ledger")) == []
    run("verify", made / "ledger", "--output", made / "one")
    assert "ledger and published shards agree" in capsys.readouterr().out


def test_verify_brings_a_dead_run_to_its_end(copied, capsys):
    staged, publish = stage_dataset(copied / "ledger", copied / "three", records("late", range(400, 404)), "run-3", "c3")
    with hold_record(str(copied / "ledger"), staged):
        ledger_commit._claim(str(copied / "ledger"), staged)
        publish()
    assert verify_ledger(str(copied / "ledger")) == []
    assert "recovered: run run-3 had published" in capsys.readouterr().err
    assert [run.run_id for run in published_runs(str(copied / "ledger"))] == ["run-1", "run-2", "run-3"]


def test_a_changed_text_and_a_changed_file_are_found(copied):
    path = copied / "one" / "data" / SHARD
    table = pq.read_table(path)
    texts = table["text"].to_pylist()
    texts[3] += " changed"
    pq.write_table(table.set_column(1, "text", [texts]), path)
    digest, documents = verify_ledger(str(copied / "ledger"), [str(copied / "one")])
    assert "has digest" in digest
    assert "holds 14 documents, of which the ledger has 13 among its 14 rows of that shard" in documents


def test_a_missing_shard_and_a_foreign_dataset_are_found(copied, capsys):
    (copied / "one" / "data" / SHARD).unlink()
    (fault,) = verify_ledger(str(copied / "ledger"), [str(copied / "one")])
    assert "cannot be read" in fault
    (copied / "three").mkdir()
    (copied / "three" / "manifest.json").write_text('{"run": {"id": "stranger"}, "shards": []}')
    faults = verify_ledger(str(copied / "ledger"), [str(copied / "three"), str(copied / "four")])
    assert faults == [
        f"{copied}/three: was published by run stranger, which the ledger does not hold",
        f"{copied}/four: holds no dataset",
    ]
    with pytest.raises(BooksDoNotBalance, match="do not agree in 1 places"):
        run("verify", copied / "ledger", "--output", copied / "one")


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-9]), lambda path: path.write_bytes(b"")])
def test_a_lost_or_damaged_file_of_the_ledger_is_the_fault_that_is_named(copied, harm):
    harmed = copied / "ledger" / read_ledger(str(copied / "ledger")).files[0].path
    harm(harmed)
    (fault,) = verify_ledger(str(copied / "ledger"))
    assert "a file of the ledger cannot be read" in fault and str(harmed) in fault
    with pytest.raises(BooksDoNotBalance, match="do not agree in 1 places"):
        run("verify", copied / "ledger")


# Compact


def test_compaction_keeps_every_row_and_what_is_found(copied):
    before = read_ledger(str(copied / "ledger"))
    result = compact_ledger(str(copied / "ledger"), min_age_hours=0)
    after = read_ledger(str(copied / "ledger"))
    assert result["files_before"] == len(before.files) > result["files_after"] == len(after.files)
    assert result["files_deleted"] >= len(before.files) - len(after.files)
    assert after.num_rows() == before.num_rows()
    assert verify_ledger(str(copied / "ledger"), [str(copied / "one"), str(copied / "two")]) == []
    assert [row["id"] for row in trace_id(str(copied / "ledger"), "bot-100", 0.7)["publications"]] == ["bot-100", "echo"]


def test_a_run_that_was_decided_before_compaction_can_publish_after_it(copied):
    staged, publish = stage_dataset(copied / "ledger", copied / "three", records("late", range(400, 404)), "run-3", "c3")
    compact_ledger(str(copied / "ledger"))
    publish_and_commit(str(copied / "ledger"), staged, publish)
    assert verify_ledger(str(copied / "ledger"), [str(copied / "three")]) == []


def test_compact_says_what_it_did_and_refuses_a_negative_age(copied, capsys):
    run("compact", copied / "ledger")
    assert "files became" in capsys.readouterr().out
    with pytest.raises(UsageError, match="must be at least 0"):
        run("compact", copied / "ledger", "--min_age_hours=-1")


# History


def test_the_log_tells_runs_and_figures(made):
    first, second = published_runs(str(made / "ledger"))
    assert (first.run_id, first.cycle, first.rows, first.output) == ("run-1", "c1", 14, str(made / "one"))
    assert earlier_figures(str(made / "ledger")) == [("c1", {"human_share": 0.6}), ("c2", {"human_share": 0.8})]
    assert earlier_figures(str(made / "ledger"), ("run-2",)) == [("c1", {"human_share": 0.6})]
    assert published_runs(str(made / "none")) == []
    assert second.version > first.version


def test_a_replaced_run_brings_what_it_replaced(copied):
    ledger = str(copied / "ledger")
    publish_dataset(copied / "ledger", copied / "three", records("late", range(400, 404)), "run-3", "c3", ignored_runs=("run-1",))
    assert replaced_runs(ledger, "run-3") == ("run-3", "run-1")
    assert replaced_runs(ledger, "stranger") == replaced_runs(ledger, None) == ()


def test_the_first_reference_is_kept_for_good(tmp_path):
    ledger = str(tmp_path / "ledger")
    keep_reference(ledger, None)
    assert load_reference(ledger) is None
    for number in (1, 2):
        keep_reference(ledger, TailReference(np.array([number], np.uint64), float(number)))
    held = load_reference(ledger)
    assert held.words.tolist() == [1] and held.types_per_group == 1
    (tmp_path / "ledger" / "_headwater" / "reference.npz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match="is no reference"):
        load_reference(ledger)


def test_a_run_on_an_object_store_is_released_by_its_id(copied, capsys):
    staged, _ = stage_dataset(copied / "ledger", copied / "three", records("late", range(400, 404)), "run-3", "c3")
    with hold_record(str(copied / "ledger"), staged):
        run("release", copied / "ledger", "--run_id=run-3")
    assert "ended before it published" in capsys.readouterr().out
