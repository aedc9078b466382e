"""A worker that is killed while it writes, in each act of a run; a run that is interrupted or told to end: it stops soon, publishes nothing, and runs again.

One process of its own carries all of it out, since what is forked must not inherit the threads of other tests; each test looks at what one run left.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import WITHOUT_DETECTOR
from tests.texts import documents, write_jsonl

ROOT = Path(__file__).resolve().parents[1]

MODULES = {
    "score": "transforms.score_documents",
    "decide": "transforms.decisions",
    "dispose": "transforms.dispose_documents",
    "publish": "transforms.write_shards",
}
"""Who writes in each act: a worker dies in the middle of the first file that this module writes."""
PROGRAM = """
import contextlib, importlib, io, json, os, signal, sys
from pathlib import Path

from pipeline.__main__ import main
from transforms.storage import write_whole

launcher, folder, modules = os.getpid(), Path(sys.argv[1]), json.loads(sys.argv[2])
output, flags = folder / "out", json.loads(sys.argv[3])


@contextlib.contextmanager
def die_in_the_middle(path, **settings):
    with write_whole(path, **settings) as file:
        if os.getpid() != launcher:
            file.write(b"half a file")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        yield file


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--workers=2", "--progress=none"])
    digest = json.loads((output / "manifest.json").read_text())["digest"] if output.exists() else None
    return {"code": code, "err": err.getvalue(), "digest": digest, "left": sorted(os.listdir(folder))}


def run_dying(module, *arguments):
    patched = importlib.import_module(module)
    patched.write_whole = die_in_the_middle
    try:
        return run(*arguments)
    finally:
        patched.write_whole = write_whole


curate = ["curate", *flags, f"--output={output}"]
found = {f"curate {act}": run_dying(module, *curate) for act, module in modules.items()}
found["curate"] = run(*curate)
remix = ["remix", f"--scored={folder}/kept", f"--output={output}", "--overwrite", "--seed=2"]
(output / "scored").rename(folder / "kept")
(output / "decided").rename(folder / "decided")
# What the renamed folders decided, they decide from there too.
found |= {f"remix {act}": run_dying(modules[act], *remix) for act in ("dispose", "publish")}
found["remix"] = run(*remix)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, forty_of_each) -> dict[str, dict]:
    """What each run of the program left, by command and act."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = [sys.executable, "-c", PROGRAM, str(folder), json.dumps(MODULES), json.dumps(forty_of_each)]
    ran = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("act", MODULES)
def test_a_worker_killed_while_it_writes_fails_a_curation_which_publishes_nothing(runs, act):
    ran = runs[f"curate {act}"]
    assert ran["code"] == 1 and "a worker process died" in ran["err"] and "fewer --workers" in ran["err"]
    assert "Traceback" not in ran["err"]
    assert ran["digest"] is None and ran["left"] == []


@pytest.mark.parametrize("act", ["dispose", "publish"])
def test_a_worker_killed_in_a_remix_leaves_the_dataset_before_it(runs, act):
    ran = runs[f"remix {act}"]
    assert ran["code"] == 1 and "a worker process died" in ran["err"], ran
    assert ran["digest"] == runs["curate"]["digest"]
    assert ran["left"] == ["decided", "kept", "out"]


def test_after_a_worker_died_the_same_process_can_run_again(runs):
    assert runs["curate"]["code"] == runs["remix"]["code"] == 0, runs
    assert runs["curate"]["digest"] and runs["remix"]["digest"] not in (None, runs["curate"]["digest"])


# Told to end


def begun(inputs: list[str], folder: Path) -> subprocess.Popen:
    """A curation that has written its first scored shard; in a process group of its own, as a shell starts it."""
    arguments = [sys.executable, "-m", "pipeline", "curate", *inputs, f"--output={folder}/out", "--workers=2", "--progress=none"]
    started = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(folder.glob(".out.staging-*/scored/*.parquet")):
        assert time.monotonic() < deadline and started.poll() is None, started.communicate()
        time.sleep(0.005)
    return started


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> list[str]:
    """Inputs that take a while."""
    path = write_jsonl(tmp_path_factory.mktemp("many") / "h.jsonl", documents("h", range(1500)))
    return [f"--human=h={path}", "--split_bytes=30000", WITHOUT_DETECTOR]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_run_that_is_told_to_end_takes_its_workers_along_and_publishes_nothing(many, tmp_path, number, code):
    started = begun(many, tmp_path)
    workers = psutil.Process(started.pid).children(recursive=True)
    assert len(workers) >= 2
    # Ctrl-C reaches all processes of a terminal, a job's end the one that was started.
    os.killpg(started.pid, number) if number == signal.SIGINT else started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert started.returncode == code
    if number == signal.SIGINT:
        assert "interrupted; nothing was published" in said and "Traceback" not in said
        assert os.listdir(tmp_path) == []
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
    assert not (tmp_path / "out").exists()
