"""kill -9 in the middle of publication and commit, and two runs at once: do ledger and datasets agree afterwards?

    python -m benchmarks.ledger_kills kills [POINTS]
    python -m benchmarks.ledger_kills race [ROUNDS]

`kills`: a run of the command line is ended by SIGKILL at POINTS (20) different points, evenly spread over all moments, from the last check of its
figures to its end, at which it opens, renames, locks, makes or deletes a file or folder or reads or writes the table. It is then run again. Each time it
must complete with the content of a run that nobody disturbed, `headwater ledger verify` must agree, and the ledger must hold each published
document once for each run that is committed.

`race`: two runs that offer the same synthetic text, each with human text of its own, have both read the ledger before either goes on. One must end
committed and the other with exit code 7 and nothing published, or both without a text in common; the loser is run again. ROUNDS (10) times.

Texts come from ../shared/data (human_imdb_2011, detectrl). They are scored once; the runs are `headwater remix`, whose last step is that of every run, each
a fork of one process that has imported everything and used nothing.
"""

import contextlib
import functools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cycles import SCORERS, read_texts
from pipeline import ledger_commit, ledger_finish, ledger_job
from pipeline.__main__ import main as headwater
from pipeline.remix_here import remix_here  # noqa: F401 (brings along what a remix needs, once for all forks)

DOCUMENTS = 150
"""Human documents of a run; of synthetic ones half as many."""
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "fcntl.flock")
"""What a run does to files, by the name of Python's audit event."""


@dataclass(frozen=True)
class Killed:
    """What came of one point."""

    point: int
    """Which moment, from 1."""
    had_published: bool
    """Whether the dataset was there when the run died."""
    faults: tuple[str, ...]
    """What did not hold; none is well."""


def count_moments(command: list[str], log: Path) -> int:
    """Moments of a run that nobody disturbs, from the start of its last step."""
    counted = multiprocessing.get_context("fork").Value("l", 0)
    code = in_fork(functools.partial(_run_until, command, None, counted), log)
    if code:
        raise RuntimeError(f"the undisturbed run ended with exit code {code}: see {log}")
    return counted.value


def kill_and_repeat(point: int, command: list[str], base: Path, folder: Path, digest: str) -> Killed:
    """Kills the run at `point` over a copy of `base` in `folder`, runs it again, and says what does not hold."""
    shutil.copytree(base, folder)
    log = folder.parent / f"{folder.name}.log"
    faults = []
    if in_fork(functools.partial(_run_until, command, point, None), log) != -signal.SIGKILL:
        faults.append("the run was not killed")
    had_published = (folder / "now" / "manifest.json").exists()
    if code := in_fork(functools.partial(headwater, command), log):
        faults.append(f"the run that was repeated ended with exit code {code}")
    if code := in_fork(functools.partial(headwater, ["ledger", "verify", f"{folder}/ledger"]), log):
        faults.append(f"verify ended with exit code {code}")
    if faults:
        return Killed(point, had_published, (*faults, f"see {log}"))
    manifest = json.loads((folder / "now" / "manifest.json").read_text())
    if manifest["digest"] != digest:
        faults.append("the content is another than that of an undisturbed run")
    rows = in_fork(functools.partial(_check_rows, f"{folder}/ledger", manifest["run"]["id"], ids_of(folder / "now")), log)
    return Killed(point, had_published, (*faults, *(["the ledger holds other rows than were published"] if rows else [])))


def run_kills(points: int, human: list[str], synthetic: list[str], root: Path) -> list[Killed]:
    """Kills at `points` different moments (or at all, if there are fewer); `root` is an empty folder."""
    base, folder = root / "base", root / "run"
    first, second = score(root / "first", human[::2], synthetic[::2]), score(root / "second", human[1::2], synthetic)
    _must(remix(first, base, "before", "c1"), root / "before.log")
    command = remix(second, folder, "now", "c2")
    shutil.copytree(base, folder)
    moments = count_moments(command, root / "undisturbed.log")
    digest = json.loads((folder / "now" / "manifest.json").read_text())["digest"]
    shutil.rmtree(folder)
    chosen = sorted({1 + round(place * (moments - 1) / max(1, points - 1)) for place in range(points)})
    killed = []
    for point in chosen:
        killed.append(kill_and_repeat(point, command, base, folder, digest))
        said = "; ".join(killed[-1].faults) or "agreed"
        print(f"moment {point:>4} of {moments}: {'after' if killed[-1].had_published else 'before'} publication, {said}", flush=True)
        shutil.rmtree(folder)
    return killed


def run_race(left: Path, right: Path, root: Path) -> tuple[tuple[int, int], list[str]]:
    """Two runs at once on the scored shards of `left` and `right`: their exit codes, the smaller first, and what does not hold."""
    root.mkdir()
    commands = [remix(scored, root, name, "c1") for scored, name in ((left, "left"), (right, "right"))]
    barrier = multiprocessing.get_context("fork").Barrier(2)
    started = [_fork(functools.partial(_run_together, command, barrier), root / f"{number}.log") for number, command in enumerate(commands)]
    codes = [_wait(process) for process in started]
    faults = [f"exit code {code}" for code in codes if code not in (0, 7)]
    if codes == [7, 7]:
        faults.append("neither published")
    for name, code in zip(("left", "right"), codes, strict=True):
        if code == 7 and (root / name).exists():
            faults.append(f"{name} was refused and published")
    for command, code in zip(commands, codes, strict=True):
        if code == 7 and in_fork(functools.partial(headwater, command), root / "again.log"):
            faults.append("the loser could not be repeated")
    published = [texts for folder in ("left", "right") if (root / folder).exists() for texts in [synthetic_texts_of(root / folder)]]
    if both := set.intersection(*published) if len(published) == 2 else set():
        faults.append(f"{len(both)} synthetic texts were published by both")
    if in_fork(functools.partial(headwater, ["ledger", "verify", f"{root}/ledger"]), root / "verify.log"):
        faults.append("verify does not agree")
    return (min(codes), max(codes)), faults


def score(folder: Path, human: list[str], synthetic: list[str]) -> Path:
    """Scores the texts, and returns the folder of the scored shards."""
    folder.mkdir(parents=True)
    for kind, texts in (("human", human), ("synthetic", synthetic)):
        records = [json.dumps({"id": f"{kind}-{number}", "text": text}) + "\n" for number, text in enumerate(texts)]
        (folder / f"{kind}.jsonl").write_text("".join(records))
    flags = [f"--human=human={folder}/human.jsonl", f"--synthetic=synthetic={folder}/synthetic.jsonl", f"--output={folder}/out"]
    _must(["curate", *flags, "--human_quota=0", SCORERS, "--workers=0", "--progress=none"], folder / "score.log")
    return folder / "out" / "scored"


def remix(scored: Path, folder: Path, output: str, cycle: str) -> list[str]:
    """The command line of a run on scored shards, with the ledger in `folder`."""
    flags = [f"--scored={scored}", f"--output={folder}/{output}", "--overwrite", f"--ledger={folder}/ledger", f"--cycle={cycle}"]
    return ["remix", *flags, "--human_quota=0.3", "--workers=0", "--progress=none"]


def ids_of(output: Path) -> list[str]:
    """Ids of all that is published there."""
    return [name for path in sorted((output / "data").glob("*.parquet")) for name in pq.read_table(path, columns=["id"])["id"].to_pylist()]


def synthetic_texts_of(output: Path) -> set[str]:
    """The synthetic texts that are published there. By text: two inputs may give one id to different texts."""
    table = pa.concat_tables([pq.read_table(path, columns=["origin", "text"]) for path in sorted((output / "data").glob("*.parquet"))])
    return {text for text, origin in zip(table["text"].to_pylist(), table["origin"].to_pylist(), strict=True) if origin == "synthetic"}


def in_fork(function: Callable[[], int | None], log: Path) -> int:
    """Calls `function` in a fork of this process, which must not have used the ledger's library; its exit code, negative for a signal."""
    return _wait(_fork(function, log))


def _must(command: list[str], log: Path) -> None:
    if code := in_fork(functools.partial(headwater, command), log):
        raise RuntimeError(f"headwater {' '.join(command)} ended with exit code {code}: see {log}")


def _fork(function: Callable[[], int | None], log: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=_call, args=(function, str(log)))
    process.start()
    return process


def _wait(process: multiprocessing.Process) -> int:
    process.join()
    return process.exitcode


def _call(function: Callable[[], int | None], log: str) -> None:
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        code = function()
    except SystemExit as stopped:
        code = stopped.code
    sys.stdout.flush()
    os._exit(int(code or 0))


def _run_until(command: list[str], point: int | None, counted) -> int:
    """Runs the command and dies at the `point`-th moment of its last step; with None it lives, and the moments are `counted`."""
    seen, watching = 0, False

    def moment(*_: object) -> None:
        nonlocal seen
        seen += watching
        if watching and seen == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function):
        def call(*arguments, **named):
            moment()
            returned = function(*arguments, **named)
            moment()
            return returned

        return call

    publish = ledger_finish.Memory.publish

    def publish_watched(*arguments, **named):
        nonlocal watching
        watching = True
        return publish(*arguments, **named)

    ledger_finish.Memory.publish = publish_watched
    for name in ("_write", "open_table"):
        setattr(ledger_commit, name, watched(getattr(ledger_commit, name)))
    sys.addaudithook(lambda event, _: moment() if event in EVENTS else None)
    code = headwater(command)
    if counted is not None:
        counted.value = seen
    return code


def _run_together(command: list[str], barrier) -> int:
    """Runs the command, and waits for the other run once the ledger is read."""
    prepare = ledger_job.prepare_ledger

    def prepare_and_wait(*arguments, **named):
        job = prepare(*arguments, **named)
        with contextlib.suppress(Exception):
            barrier.wait(300)
        return job

    ledger_job.prepare_ledger = prepare_and_wait
    return headwater(command)


def _check_rows(ledger: str, run_id: str, published: list[str]) -> int:
    """0 if the ledger holds exactly the `published` ids for the run, else 1."""
    from pipeline.ledger import read_ledger

    held = read_ledger(ledger).find("run_id", [run_id], ["id"])["id"].to_pylist()
    return int(sorted(held) != sorted(published))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headwater-kills-") as folder:
        yield Path(folder)


def main(arguments: list[str]) -> int:
    """The command line; 1 if anything did not hold."""
    if arguments[:1] not in (["kills"], ["race"]):
        sys.exit(__doc__)
    print("python -m benchmarks.ledger_kills", *arguments, time.strftime("%Y-%m-%d"), flush=True)
    human = read_texts("human_imdb_2011.jsonl.zst", "human", DOCUMENTS)
    synthetic = read_texts("detectrl.jsonl.zst", "machine", DOCUMENTS // 2)
    if arguments[0] == "kills":
        with _folder() as root:
            killed = run_kills(int(arguments[1]) if arguments[1:] else 20, human, synthetic, root)
        wrong = sum(bool(one.faults) for one in killed)
        before = sum(not one.had_published for one in killed)
        print(f"killed at {len(killed)} points, {before} before and {len(killed) - before} after publication: {wrong} did not agree")
        return int(bool(wrong))
    wrong, rounds = 0, int(arguments[1]) if arguments[1:] else 10
    with _folder() as root:
        left, right = (score(root / name, human[place::2], synthetic) for place, name in enumerate(("left", "right")))
        for number in range(rounds):
            codes, faults = run_race(left, right, root / f"round-{number}")
            wrong += bool(faults)
            print(f"round {number + 1}: exit codes {codes[0]} and {codes[1]}; {'; '.join(faults) or 'agreed'}", flush=True)
    print(f"{rounds} rounds: {wrong} did not agree")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
