"""Each run is in the ledger once, if and only if it has published: whatever is repeated, killed or raced."""

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import ledger_commit, ledger_upkeep
from pipeline.errors import LedgerConflict
from pipeline.ledger import CLAIM, open_ledger, open_table
from pipeline.ledger_commit import is_committed, publish_and_commit, recover, release, settle
from pipeline.ledger_records import PendingRun, hold_record, run_number
from pipeline.publishing import published_manifest
from tests.pipeline.ledgers import KEYS, commit, ids_of, pending, publisher, stage, texts
from tests.transforms.shard_files import vary

pytest.importorskip("deltalake")

# Children must not inherit the library's threads: the server that they are forked from has imported it, and never called it.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.pipeline.test_ledger_commit", "deltalake"])
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module", autouse=True)
def server():
    """Starts the server with our packages on its path: what it cannot import each of its children would, for seconds."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, before]))
    multiprocessing.forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture
def ledger(tmp_path):
    open_ledger(str(tmp_path / "ledger"), KEYS)
    return tmp_path / "ledger"


def records(ledger):
    folder = ledger / "_headwater" / "pending"
    return sorted(folder.glob("*.json")) if folder.exists() else []


def data_files(ledger):
    return {str(path.relative_to(ledger)) for path in ledger.glob("kind=*/**/*.parquet")}


def assert_consistent(ledger, output, run: PendingRun):
    """The run is in the ledger, whole and once, if it has published, else not at all; nothing is left behind."""
    table = open_table(str(ledger))
    published = published_manifest(str(output), run.run_id) is not None
    assert is_committed(table, run.run_id) == published
    paths = [file.path for file in open_ledger(str(ledger), KEYS).files]
    assert len(paths) == len(set(paths))
    assert {file.path for file in run.files} & set(paths) == ({file.path for file in run.files} if published else set())
    assert not (table.transaction_version(CLAIM) or 0)
    assert not records(ledger)
    return published


# One run


def test_a_published_run_is_in_the_ledger_once(ledger, tmp_path):
    run = commit(ledger, tmp_path / "out", texts("a", 50), "run-1")
    assert ids_of(ledger) == sorted(f"a-{n}" for n in range(50))
    assert assert_consistent(ledger, tmp_path / "out", run)
    assert run.num_rows == 50


def test_repeating_the_last_step_changes_nothing(ledger, tmp_path):
    run = commit(ledger, tmp_path / "out", texts("a", 50), "run-1")
    before = open_table(str(ledger)).version()
    publish_and_commit(str(ledger), run, publisher(tmp_path / "out", "run-1"))
    settle(str(ledger), run)
    assert open_table(str(ledger)).version() == before
    assert len(ids_of(ledger)) == 50


def test_a_run_that_cannot_publish_leaves_the_ledger_as_it_was(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1")

    def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish_and_commit(str(ledger), run, fail)
    assert not assert_consistent(ledger, tmp_path / "out", run)
    assert ids_of(ledger) == [] and data_files(ledger) == set()


def test_a_run_that_fails_after_it_became_visible_is_committed(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1")

    def publish_and_fail():
        publisher(tmp_path / "out", "run-1")()
        raise OSError("could not sync")

    with pytest.raises(OSError):
        publish_and_commit(str(ledger), run, publish_and_fail)
    assert assert_consistent(ledger, tmp_path / "out", run)


def test_every_commit_says_what_it_was(ledger, tmp_path):
    commit(ledger, tmp_path / "out", texts("a", 20), "run-1", "spring")
    publish, claim = open_table(str(ledger)).history(2)
    stated = {"run": "run-1", "cycle": "spring", "output": str(tmp_path / "out"), "rows": 20}
    assert publish["headwater"] == {"event": "publish", **stated, "ignored": [], "figures": {}}
    assert claim["headwater"]["event"] == "claim"


def test_the_ledger_is_never_rewritten(ledger, tmp_path):
    commit(ledger, tmp_path / "out1", texts("a", 20), "run-1")
    before = {name: (ledger / name).stat().st_mtime_ns for name in data_files(ledger)}
    commit(ledger, tmp_path / "out2", texts("b", 20), "run-2", "c2")
    assert {name: (ledger / name).stat().st_mtime_ns for name in before} == before


# Two runs


def test_text_that_another_run_published_meanwhile_is_not_published_again(ledger, tmp_path):
    shared = texts("shared", 5)
    edited = [replace(held, id=f"edited-{held.id}", signature=vary(held.signature, range(0, 80, 8))) for held in shared]
    run = pending(ledger, tmp_path / "slow", stage(ledger, texts("b", 20) + edited, "slow"), "slow", "c2")
    commit(ledger, tmp_path / "fast", texts("a", 20) + shared, "fast", "c2")
    with pytest.raises(
        LedgerConflict, match=r"run fast published some of the same synthetic text for cycle 'c2' \(5 documents, such as 'shared-.'\).*run again"
    ):
        publish_and_commit(str(ledger), run, publisher(tmp_path / "slow", "slow"))
    assert not assert_consistent(ledger, tmp_path / "slow", run)
    assert not (tmp_path / "slow").exists()


def test_compaction_makes_no_conflict_of_what_was_there_before_and_hides_none_of_what_was_not(ledger, tmp_path):
    """Where `max_synthetic_uses` allows a second use, a run holds text that it knows to be published: compaction moves that into files that it has not seen."""
    shared, late = texts("shared", 5), texts("late", 3)
    commit(ledger, tmp_path / "first", texts("a", 20) + shared, "first")
    commit(ledger, tmp_path / "second", texts("b", 20), "second", "c2")
    again = pending(ledger, tmp_path / "again", stage(ledger, texts("c", 20) + shared, "again", "c3"), "again", "c3")
    stale = pending(ledger, tmp_path / "stale", stage(ledger, texts("d", 20) + shared + late, "stale", "c3"), "stale", "c3")
    commit(ledger, tmp_path / "fast", texts("e", 20) + late, "fast", "c3")
    assert ledger_upkeep.compact_ledger(str(ledger))["files_after"] < len(data_files(ledger))
    publish_and_commit(str(ledger), again, publisher(tmp_path / "again", "again"))
    assert assert_consistent(ledger, tmp_path / "again", again)
    with pytest.raises(LedgerConflict, match=r"run (again|fast) published some of the same synthetic text for cycle 'c3' \(8 documents, "):
        publish_and_commit(str(ledger), stale, publisher(tmp_path / "stale", "stale"))
    assert not assert_consistent(ledger, tmp_path / "stale", stale)


def test_runs_with_other_texts_or_the_same_human_ones_both_end_committed(ledger, tmp_path):
    human = texts("human", 5, origin=0)
    run = pending(ledger, tmp_path / "slow", stage(ledger, texts("b", 20) + human, "slow"), "slow", "c2")
    commit(ledger, tmp_path / "fast", texts("a", 20) + human, "fast", "c2")
    publish_and_commit(str(ledger), run, publisher(tmp_path / "slow", "slow"))
    assert_consistent(ledger, tmp_path / "slow", run)
    assert len(ids_of(ledger)) == 50


def test_what_a_run_replaces_is_no_conflict(ledger, tmp_path):
    first = commit(ledger, tmp_path / "out", texts("a", 20), "run-1")
    again = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-2"), "run-2", base=0, ignored_runs=("run-1",))
    publish_and_commit(str(ledger), again, publisher(tmp_path / "out", "run-2"))
    assert len(ids_of(ledger)) == 40 and first.run_id in again.ignored_runs


def test_while_another_publishes_a_run_waits_and_then_says_who_it_is(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_commit, "WAIT_SECONDS", 0.3)
    other = pending(ledger, tmp_path / "other", stage(ledger, texts("b", 20), "other"), "other")

    def publish():
        with pytest.raises(LedgerConflict, match=r"run run-1 has been publishing to .*out from here since noon.*release"):
            publish_and_commit(str(ledger), other, publisher(tmp_path / "other", "other"))
        return publisher(tmp_path / "out", "run-1")()

    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1", host="here", claimed_at="noon")
    publish_and_commit(str(ledger), run, publish)
    assert assert_consistent(ledger, tmp_path / "out", run)


def _race(ledger, tmp_path, name, documents, base, barrier, outcomes):
    run = pending(ledger, tmp_path / name, stage(ledger, documents, name), name, base=base)
    barrier.wait()
    try:
        publish_and_commit(str(ledger), run, publisher(tmp_path / name, name))
        outcomes.put((name, "committed"))
    except LedgerConflict as error:
        outcomes.put((name, str(error)))


@pytest.mark.parametrize("shared", [False, True])
def test_of_processes_that_race_all_end_committed_or_clearly_refused(ledger, tmp_path, shared):
    names = ["p", "q", "r", "s"]
    barrier, outcomes = FORKED.Barrier(len(names)), FORKED.Queue()
    processes = []
    for name in names:
        documents = texts(name, 10) + (texts("shared", 10) if shared else [])
        processes.append(FORKED.Process(target=_race, args=(ledger, tmp_path, name, documents, 0, barrier, outcomes)))
    for process in processes:
        process.start()
    ended = dict(outcomes.get(timeout=120) for _ in names)
    for process in processes:
        process.join(60)
    committed = [name for name in names if ended[name] == "committed"]
    assert len(committed) == (1 if shared else 4), ended
    assert all("published some of the same synthetic text" in said for name, said in ended.items() if name not in committed)
    assert sorted(name for name in names if (tmp_path / name / "manifest.json").exists()) == committed
    held = ids_of(ledger)
    assert len(held) == len(set(held)) == (20 if shared else 40)
    assert not records(ledger)


# Killed


def _die_at(point, ledger, output, run):
    """Publishes, and dies at the `point`-th time that a file is touched or the table opened or written."""
    touched = 0

    def touch(event, _arguments=()):
        nonlocal touched
        if event in ("open", "os.rename", "os.remove", "fcntl.flock", "os.mkdir", "write"):
            touched += 1
            if touched == point:
                os.kill(os.getpid(), signal.SIGKILL)

    def touching(function):
        def call(*arguments):
            touch("write")
            returned = function(*arguments)
            touch("write")
            return returned

        return call

    for name in ("_write", "open_table"):
        setattr(ledger_commit, name, touching(getattr(ledger_commit, name)))
    publish_and_commit_from_here = publisher(output, run.run_id)
    sys.addaudithook(touch)
    publish_and_commit(str(ledger), run, publish_and_commit_from_here)
    os._exit(7)


def test_killed_at_any_point_ledger_and_output_agree_after_the_next_run(tmp_path):
    ends = []
    for point in range(1, 200):
        ledger, output = tmp_path / str(point) / "ledger", tmp_path / str(point) / "out"
        run = _prepare(ledger, output)
        process = FORKED.Process(target=_die_at, args=(point, ledger, output, run))
        process.start()
        process.join(60)
        recover(str(ledger))
        published = assert_consistent(ledger, output, run)
        ends.append(published)
        if process.exitcode == 7:
            break
        assert process.exitcode == -signal.SIGKILL
        # Running again is the remedy, whatever happened.
        again = replace(run, run_id="again", files=stage(ledger, texts("a", 4), "again"), ignored_runs=("killed",) if published else ())
        publish_and_commit(str(ledger), again, publisher(output, "again"))
        assert assert_consistent(ledger, output, again)
    assert process.exitcode == 7, "the run never came to its end"
    assert point >= 20 and ends == sorted(ends) and not ends[0] and ends[-1]


def _prepare(ledger, output):
    open_ledger(str(ledger), KEYS)
    return pending(ledger, output, stage(ledger, texts("a", 4), "killed"), "killed")


def test_the_next_run_brings_a_dead_one_to_its_end_before_it_publishes(ledger, tmp_path):
    dead = pending(ledger, tmp_path / "dead", stage(ledger, texts("a", 20), "dead"), "dead")
    with hold_record(str(ledger), dead):
        ledger_commit._claim(str(ledger), dead)
        publisher(tmp_path / "dead", "dead")()
    assert ids_of(ledger) == []
    commit(ledger, tmp_path / "out", texts("b", 20), "run-1")
    assert_consistent(ledger, tmp_path / "dead", dead)
    assert len(ids_of(ledger)) == 40


def test_recovery_leaves_a_living_run_alone(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1")

    def publish():
        assert recover(str(ledger)) == []
        return publisher(tmp_path / "out", "run-1")()

    publish_and_commit(str(ledger), run, publish)
    assert assert_consistent(ledger, tmp_path / "out", run)


def test_recovery_says_what_it_did(ledger, tmp_path):
    lost, found = (pending(ledger, tmp_path / name, stage(ledger, texts(name, 20), name), name) for name in ("lost", "found"))
    for run in (lost, found):
        with hold_record(str(ledger), run):
            pass
    publisher(tmp_path / "found", "found")()
    said = recover(str(ledger))
    assert sorted("had published" in one for one in said) == [False, True]
    assert any("run found had published" in one and "its 20 rows are committed" in one for one in said)
    assert recover(str(ledger)) == []
    assert ids_of(ledger) == sorted(f"found-{n}" for n in range(20))


def test_a_claim_without_a_record_is_ended(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1")
    with contextlib.suppress(FileNotFoundError), hold_record(str(ledger), run):
        ledger_commit._claim(str(ledger), run)
    records(ledger)[0].unlink()
    assert recover(str(ledger)) == ["a claim without a record is ended"]
    commit(ledger, tmp_path / "out", texts("b", 20), "run-2")
    assert len(ids_of(ledger)) == 20


def test_a_run_can_be_released_by_hand(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", stage(ledger, texts("a", 20), "run-1"), "run-1")
    with hold_record(str(ledger), run):
        ledger_commit._claim(str(ledger), run)
        assert "ended before it published" in release(str(ledger), "run-1")
    assert not assert_consistent(ledger, tmp_path / "out", run)
    with pytest.raises(LedgerConflict, match="no run 'run-1' is publishing"):
        release(str(ledger), "run-1")


def test_numbers_of_runs_are_positive_and_their_own():
    numbers = {run_number(f"run-{n}") for n in range(1000)}
    assert len(numbers) == 1000 and all(0 < number < 1 << 62 for number in numbers)
