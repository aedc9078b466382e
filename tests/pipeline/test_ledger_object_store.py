"""A ledger in an object store does what one on a disk does: against an S3 server of this machine, where there is one."""

import contextlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from pipeline import ledger_commit
from pipeline.errors import LedgerConflict, UsageError
from pipeline.ledger import CLAIM, open_ledger, open_table, read_ledger
from pipeline.ledger_commit import is_committed, publish_and_commit, recover, release
from pipeline.ledger_history import keep_reference, load_reference
from pipeline.ledger_records import PendingRun, hold_record, list_records
from pipeline.ledger_upkeep import compact_ledger, verify_ledger, withdraw
from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.pipeline.ledgers import KEYS, publisher, texts
from tests.texts import documents, write_jsonl
from tests.transforms.ledger_rows import rows_of_documents
from transforms.ledger_files import split_rows, write_ledger_file
from transforms.ledger_storage import list_ledger_folder, read_ledger_bytes, write_ledger_whole

pytest.importorskip("deltalake")

ROOT = Path(__file__).resolve().parents[2]
SERVER = "HEADWATER_TEST_MOTO"
"""Environment variable: path of `moto_server`, where moto is not installed beside Headwater."""


@pytest.fixture(scope="module")
def bucket():
    """Address of an empty bucket of an S3 server that lives as long as these tests."""
    server = os.environ.get(SERVER) or shutil.which("moto_server")
    if not server and importlib.util.find_spec("moto") is None:
        pytest.skip(f"needs an S3 server: pip install 'moto[server]', or give the path of moto_server in {SERVER}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [server] if server else [sys.executable, "-m", "moto.server"]
    process = subprocess.Popen([*command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    endpoint = f"http://127.0.0.1:{port}"
    settings = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**settings, "AWS_REGION": "us-east-1"}.items():
            patched.setenv(name, value)
        try:
            _make_bucket(f"{endpoint}/ledgers")
            yield "s3://ledgers"
        finally:
            process.terminate()
            process.wait()


def _make_bucket(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT"))
            return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)


@pytest.fixture
def ledger(bucket):
    url = f"{bucket}/{uuid.uuid4().hex}/ledger"
    open_ledger(url, KEYS)
    return url


def pending(url, output, held, run_id, cycle="c1", base=None, **more) -> PendingRun:
    files = tuple(write_ledger_file(part, url, kind, name, run_id) for kind, name, part in split_rows(rows_of_documents(held, cycle, run_id)))
    return PendingRun(run_id, cycle, str(output), open_ledger(url, KEYS).version if base is None else base, files, **more)


def assert_tidy(url):
    assert not (open_table(url).transaction_version(CLAIM) or 0)
    assert list_records(url) == []


def test_a_run_is_committed_and_read_back(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", texts("a", 20) + texts("h", 5, origin=0), "run-1")
    publish_and_commit(ledger, run, publisher(tmp_path / "out", "run-1"))
    snapshot = read_ledger(ledger)
    assert snapshot.num_rows() == 25 and snapshot.num_rows(["human"]) == 5
    assert snapshot.find("id", ["a-3"], ["id", "cycle", "kind"]).to_pylist() == [{"id": "a-3", "cycle": "c1", "kind": "synthetic"}]
    assert is_committed(open_table(ledger), "run-1")
    assert_tidy(ledger)


def test_any_reader_of_delta_tables_reads_it(ledger, tmp_path):
    deltalake = pytest.importorskip("deltalake")
    run = pending(ledger, tmp_path / "out", texts("a", 20), "run-1")
    publish_and_commit(ledger, run, publisher(tmp_path / "out", "run-1"))
    assert deltalake.DeltaTable(ledger).to_pyarrow_dataset().to_table(columns=["id"]).num_rows == 20


def test_what_a_run_that_does_not_publish_wrote_is_deleted(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", texts("a", 20), "run-1")

    def fail():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish_and_commit(ledger, run, fail)
    assert all(list_ledger_folder(ledger, os.path.dirname(file.path)) == [] for file in run.files)
    assert read_ledger(ledger).num_rows() == 0
    assert_tidy(ledger)


def test_repeating_the_last_step_changes_nothing(ledger, tmp_path):
    run = pending(ledger, tmp_path / "out", texts("a", 20), "run-1")
    for _ in range(2):
        publish_and_commit(ledger, run, publisher(tmp_path / "out", "run-1"))
    assert read_ledger(ledger).num_rows() == 20 and read_ledger(ledger).version == 2


def test_a_dead_run_s_claim_stands_until_it_is_released(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_commit, "WAIT_SECONDS", 0.5)
    dead = pending(ledger, tmp_path / "dead", texts("a", 20), "dead", host="there", claimed_at="noon")
    with hold_record(ledger, dead):
        ledger_commit._claim(ledger, dead)
    assert recover(ledger) == []
    run = pending(ledger, tmp_path / "out", texts("b", 20), "run-1")
    with pytest.raises(LedgerConflict, match=rf"run dead has been publishing .* from there since noon.*release {ledger} --run_id dead"):
        publish_and_commit(ledger, run, publisher(tmp_path / "out", "run-1"))
    assert "ended before it published" in release(ledger, "dead")
    again = pending(ledger, tmp_path / "out", texts("b", 20), "run-2")
    publish_and_commit(ledger, again, publisher(tmp_path / "out", "run-2"))
    assert read_ledger(ledger).num_rows() == 20
    assert_tidy(ledger)


def test_a_dead_run_that_had_published_is_committed_by_its_release(ledger, tmp_path):
    dead = pending(ledger, tmp_path / "dead", texts("a", 20), "dead")
    with hold_record(ledger, dead):
        ledger_commit._claim(ledger, dead)
        publisher(tmp_path / "dead", "dead")()
    assert "its 20 rows are committed" in release(ledger, "dead")
    assert read_ledger(ledger).num_rows() == 20
    assert_tidy(ledger)


def _race(url, folder, name, shared, barrier, outcomes):
    held = texts(name, 10) + (texts("shared", 10) if shared else [])
    run = pending(url, f"{folder}/{name}", held, name, base=0)
    barrier.wait(120)
    try:
        publish_and_commit(url, run, publisher(type(folder)(f"{folder}/{name}"), name))
        outcomes.put((name, "committed"))
    except LedgerConflict as error:
        outcomes.put((name, str(error)))


@pytest.mark.parametrize("shared", [False, True])
def test_of_runs_that_race_all_end_committed_or_clearly_refused(ledger, tmp_path, shared):
    context = multiprocessing.get_context("spawn")
    names = ["p", "q"]
    barrier, outcomes = context.Barrier(len(names)), context.Queue()
    processes = [context.Process(target=_race, args=(ledger, tmp_path, name, shared, barrier, outcomes)) for name in names]
    for process in processes:
        process.start()
    ended = dict(outcomes.get(timeout=200) for _ in names)
    for process in processes:
        process.join(60)
    committed = [name for name in names if ended[name] == "committed"]
    assert len(committed) == (1 if shared else 2), ended
    assert all("published some of the same synthetic text" in said for name, said in ended.items() if name not in committed)
    held = sorted(name for table in read_ledger(ledger).read(["id"]) for name in table["id"].to_pylist())
    assert len(held) == len(set(held)) == 20
    assert_tidy(ledger)


def test_a_bucket_that_is_not_there_is_an_error_in_a_sentence(bucket):
    with pytest.raises(UsageError, match=r"--ledger=s3://nowhere/ledger: cannot be (read|made)"):
        open_ledger("s3://nowhere/ledger", KEYS)


def test_options_of_the_variable_reach_log_and_files(bucket, monkeypatch, tmp_path):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("HEADWATER_LEDGER_OPTIONS", json.dumps({"AWS_ENDPOINT_URL": endpoint}))
    url = f"{bucket}/{uuid.uuid4().hex}/by-option"
    open_ledger(url, KEYS)
    run = pending(url, tmp_path / "out", texts("a", 5), "run-1")
    publish_and_commit(url, run, publisher(tmp_path / "out", "run-1"))
    assert read_ledger(url).num_rows() == 5 and sum(table.num_rows for table in read_ledger(url).read(["id"])) == 5


def test_files_of_any_size_come_back_as_they_went(ledger):
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (5 << 20) + 3):
        with write_ledger_whole(ledger, f"_headwater/{size}.bin") as file:
            file.write(bytes(size))
        assert read_ledger_bytes(ledger, f"_headwater/{size}.bin") == bytes(size)
    with contextlib.suppress(RuntimeError), write_ledger_whole(ledger, "_headwater/half.bin") as file:
        file.write(b"half")
        raise RuntimeError
    assert "half.bin" not in list_ledger_folder(ledger, "_headwater")
    with pytest.raises(FileNotFoundError):
        read_ledger_bytes(ledger, "_headwater/half.bin")


def test_two_cycles_from_the_command_line(bucket, tmp_path):
    # In a process of its own: this one has used the library, whose threads no pool may inherit.
    url = f"{bucket}/{uuid.uuid4().hex}/ledger"
    write_jsonl(tmp_path / "human.jsonl", documents("human", range(150)))
    write_jsonl(tmp_path / "bots.jsonl", documents("bot", range(1000, 1040)))
    flags = [f"--human=h={tmp_path}/human.jsonl", f"--synthetic=s={tmp_path}/bots.jsonl", WITHOUT_DETECTOR, f"--ledger={url}", "--human_quota=0"]
    for cycle in ("c1", "c2"):
        more = [f"--output={tmp_path}/{cycle}", f"--cycle={cycle}", "--workers=2", "--split_bytes=20000", "--progress=none"]
        ran = subprocess.run([sys.executable, "-m", "pipeline", "curate", *flags, *more], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert published(tmp_path / "c1").num_rows == 190
    assert published(tmp_path / "c2").num_rows == 150
    assert {row["reason"] for row in rejected(tmp_path / "c2").to_pylist()} == {"reused"}
    assert load_reference(url) is not None
    keep_reference(url, None)
    assert verify_ledger(url) == []
    assert withdraw(url, ["human-00001"])["withdrawn"] == 1
    assert compact_ledger(url, min_age_hours=0)["files_deleted"] > 0
    assert verify_ledger(url) == [] and read_ledger(url).num_rows(["withdrawn"]) == 2
    held = [name for table in read_ledger(url).read(["id"]) for name in table["id"].to_pylist()]
    assert held.count("human-00001") == 4
