"""Settling, withdrawing and checking beside others: a claim is its holder's alone, rows that are committed stay, and a check reads every row."""

import shutil
from dataclasses import replace

import pytest

from pipeline import ledger_commit
from pipeline.errors import LedgerConflict
from pipeline.ledger import CLAIM, open_ledger, open_table
from pipeline.ledger_commit import commit_withdrawal, find_conflicts, is_committed, publish_and_commit, recover, release, settle
from pipeline.ledger_records import hold_record, list_records, read_record, run_number
from tests.pipeline.ledgers import KEYS, commit, ids_of, pending, publisher, stage, texts

pytest.importorskip("deltalake")


@pytest.fixture
def ledger(tmp_path):
    open_ledger(str(tmp_path / "ledger"), KEYS)
    return tmp_path / "ledger"


def make(ledger, tmp_path, name, documents=None, **more):
    return pending(ledger, tmp_path / name, stage(ledger, documents or texts(name, 10), name), name, **more)


def holder_of(ledger) -> int:
    return open_table(str(ledger)).transaction_version(CLAIM) or 0


def files_of(ledger, run):
    return [ledger / file.path for file in run.files]


def test_a_committed_run_whose_dataset_was_deleted_keeps_its_rows(ledger, tmp_path):
    run = commit(ledger, tmp_path / "out", texts("a", 10), "run-1")
    shutil.rmtree(tmp_path / "out")
    assert settle(str(ledger), run) == "run run-1 was committed already"
    assert all(path.exists() for path in files_of(ledger, run)) and len(ids_of(ledger)) == 10


def test_a_dead_run_that_had_published_is_committed_under_the_claim_of_another(ledger, tmp_path):
    dead, alive = make(ledger, tmp_path, "dead"), make(ledger, tmp_path, "alive")
    with hold_record(str(ledger), dead):
        publisher(tmp_path / "dead", "dead")()

    def publish():
        assert "had published" in settle(str(ledger), dead)
        assert holder_of(ledger) == run_number("alive")
        return publisher(tmp_path / "alive", "alive")()

    publish_and_commit(str(ledger), alive, publish)
    assert len(ids_of(ledger)) == 20 and holder_of(ledger) == 0


def test_a_dead_run_that_had_not_published_is_undone_under_the_claim_of_another(ledger, tmp_path):
    dead, alive = make(ledger, tmp_path, "dead"), make(ledger, tmp_path, "alive")
    with hold_record(str(ledger), dead):
        pass

    def publish():
        assert "nothing of it is left" in settle(str(ledger), dead)
        assert holder_of(ledger) == run_number("alive") and not any(path.exists() for path in files_of(ledger, dead))
        return publisher(tmp_path / "alive", "alive")()

    publish_and_commit(str(ledger), alive, publish)
    assert ids_of(ledger) == sorted(f"alive-{n}" for n in range(10)) and holder_of(ledger) == 0


def test_a_withdrawal_while_another_publishes_leaves_the_claim_alone(ledger, tmp_path):
    run, files = make(ledger, tmp_path, "run-1"), stage(ledger, texts("gone", 3), "withdrawn")

    def publish():
        commit_withdrawal(str(ledger), "withdrawn", files)
        assert holder_of(ledger) == run_number("run-1")
        return publisher(tmp_path / "run-1", "run-1")()

    publish_and_commit(str(ledger), run, publish)
    table = open_table(str(ledger))
    assert is_committed(table, "withdrawn") and is_committed(table, "run-1") and holder_of(ledger) == 0 and len(ids_of(ledger)) == 13


def test_of_several_records_the_named_run_is_released(ledger, tmp_path):
    runs = [make(ledger, tmp_path, name) for name in ("one", "two", "three")]
    for run in runs:
        with hold_record(str(ledger), run):
            pass
    number = list_records(str(ledger))[-1]
    last = next(run for run in runs if run_number(run.run_id) == number)
    assert release(str(ledger), last.run_id).startswith(f"run {last.run_id} ended before it published")
    assert [read_record(str(ledger), run_number(run.run_id)) is None for run in runs] == [run is last for run in runs]
    assert [all(path.exists() for path in files_of(ledger, run)) for run in runs] == [run is not last for run in runs]


def test_a_record_that_goes_while_it_is_looked_at_is_nobodys_to_settle(ledger, tmp_path, monkeypatch):
    with hold_record(str(ledger), make(ledger, tmp_path, "run-1")):
        pass
    monkeypatch.setattr(ledger_commit, "read_record", lambda *_: None)
    assert recover(str(ledger)) == []


def test_a_record_that_cannot_be_written_leaves_no_rows_behind(ledger, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(ledger_commit, "hold_record", fail)
    run = make(ledger, tmp_path, "run-1")
    with pytest.raises(OSError, match="disk full"):
        publish_and_commit(str(ledger), run, publisher(tmp_path / "run-1", "run-1"))
    assert not any(path.exists() for path in files_of(ledger, run)) and not (tmp_path / "run-1").exists() and holder_of(ledger) == 0


@pytest.mark.parametrize("keys", [1, 100, 1 << 20])
def test_a_check_reads_every_row_however_few_keys_a_pass_takes(ledger, tmp_path, monkeypatch, keys):
    monkeypatch.setattr(ledger_commit, "PASS_KEYS", keys)
    shared = texts("shared", 7)
    run = make(ledger, tmp_path, "slow", texts("b", 4) + shared)
    commit(ledger, tmp_path / "fast", texts("a", 4) + shared, "fast")
    found = find_conflicts(str(ledger), run, (), 0, open_ledger(str(ledger), KEYS))
    assert sorted(found["id"].to_pylist()) == [f"shared-{n}" for n in range(7)] and len(set(found["address"].to_pylist())) == 7
    ignoring = replace(run, ignored_runs=("fast",))
    assert find_conflicts(str(ledger), ignoring, (), 0, open_ledger(str(ledger), KEYS)).num_rows == 0


def test_where_the_version_that_a_run_read_is_gone_everything_counts_as_new(ledger, tmp_path):
    shared = texts("shared", 3)
    commit(ledger, tmp_path / "first", shared, "first")
    known = make(ledger, tmp_path, "known", texts("b", 3) + shared)
    gone = make(ledger, tmp_path, "gone", texts("c", 3) + shared, base=10_000)
    with pytest.raises(LedgerConflict, match=r"run first published some of the same synthetic text .*\(3 documents"):
        publish_and_commit(str(ledger), gone, publisher(tmp_path / "gone", "gone"))
    publish_and_commit(str(ledger), known, publisher(tmp_path / "known", "known"))
    assert len(ids_of(ledger)) == 9 and holder_of(ledger) == 0
