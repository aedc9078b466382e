"""kill -9 in the middle: the previous dataset stays whole, a re-run completes with the same content, and nothing hangs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import WITHOUT_DETECTOR, published
from tests.texts import documents, write_jsonl

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Enough documents in enough splits that a run takes some seconds of scoring."""
    folder = tmp_path_factory.mktemp("large")
    write_jsonl(folder / "human.jsonl", documents("human", range(3000), words=150))
    write_jsonl(folder / "synthetic.jsonl.gz", documents("synthetic", range(10_000, 12_000), words=150))
    return folder


def command(large: Path, output: Path, *flags: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pipeline", "curate", f"--human=h={large}/human.jsonl", f"--synthetic=s={large}/synthetic.jsonl.gz"),
        *(f"--output={output}", "--workers=2", "--split_bytes=100000", "--progress=none", WITHOUT_DETECTOR, *flags),
    ]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=240, **options)


@pytest.fixture(scope="module")
def before(large, tmp_path_factory) -> Path:
    """A dataset published with seed 1."""
    output = tmp_path_factory.mktemp("before") / "out"
    ended = run(large, output, "--seed=1")
    assert ended.returncode == 0, ended.stderr
    return output


@pytest.fixture(scope="module")
def undisturbed(large, tmp_path_factory) -> str:
    """Digest of what a run with seed 2 publishes when nobody kills it."""
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    ended = run(large, output, "--seed=2")
    assert ended.returncode == 0, ended.stderr
    return digest(output)


def digest(output: Path) -> str:
    return json.loads((output / "manifest.json").read_text())["digest"]


def staging_of(output: Path) -> list[Path]:
    return list(output.parent.glob(f".{output.name}.staging-*"))


def wait_until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the run never came that far"
        time.sleep(0.02)


MOMENTS = {
    "scoring": lambda staging: any(staging.glob("scored/*.parquet")),
    "deciding": lambda staging: any(staging.glob("deciding/judged/*.arrow")),
    "publishing": lambda staging: any(staging.glob("kept/*.arrow")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_9_leaves_the_previous_dataset_and_a_rerun_completes(large, before, undisturbed, tmp_path, moment):
    output = tmp_path / "out"
    shutil.copytree(before, output)
    started = subprocess.Popen(command(large, output, "--seed=2", "--overwrite"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(MOMENTS[moment](staging) for staging in staging_of(output)))
    children = psutil.Process(started.pid).children(recursive=True)
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert digest(output) == digest(before) != undisturbed
    assert published(output) == published(before)
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)

    again = run(large, output, "--seed=2", "--overwrite")
    assert again.returncode == 0, again.stderr
    assert digest(output) == undisturbed
    assert staging_of(output) == []


def test_a_worker_that_dies_fails_the_run_within_a_minute(large, tmp_path):
    output = tmp_path / "out"
    started = subprocess.Popen(command(large, output), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(MOMENTS["scoring"](staging) for staging in staging_of(output)))
    workers = psutil.Process(started.pid).children()
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)
    began = time.monotonic()
    _, said = started.communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert started.returncode == 1
    assert "worker process died" in said and "Traceback" not in said
    assert not output.exists() and staging_of(output) == []
