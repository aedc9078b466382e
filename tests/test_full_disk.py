"""A disk that is full, at any moment of a run: the run stops by exit code 1 and says so, what was published before stays whole, nothing is left half-done.

A small disk of its own where this process may mount one; everywhere, a limit on the size of a file, which fails the same writes.
"""

import contextlib
import errno
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.ledger import open_ledger, open_table
from pipeline.ledger_commit import publish_and_commit, recover
from pipeline.publishing import published_manifest
from tests.conftest import published
from tests.pipeline.ledgers import KEYS, ids_of, pending, publisher, stage, texts
from tests.transforms.reading import plan, spill
from transforms.storage import write_whole

DISK_BYTES = 4 << 20
BLOCK_BYTES = 4096


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def leave_free(disk: Path, free_bytes: int) -> Iterator[None]:
    """Fills the disk up to so many bytes."""
    ballast = disk / "ballast"
    about = os.statvfs(disk)
    ballast.write_bytes(b"\0" * max(0, about.f_bavail * about.f_frsize - free_bytes))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def limit_files(max_bytes: int) -> Iterator[None]:
    """Lets no file of this process grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def curated(tmp_path_factory, forty_of_each) -> Path:
    from pipeline.__main__ import main

    output = tmp_path_factory.mktemp("curated") / "out"
    assert main(["curate", *forty_of_each, f"--output={output}", "--workers=0", "--progress=none"]) == 0
    return output


def digest(output: Path) -> str:
    return json.loads((output / "manifest.json").read_text())["digest"]


def remix_into(headwater, curated: Path, output: Path, narrowing: Callable[[int], contextlib.AbstractContextManager], steps: list[int]) -> None:
    """Remixes over a published dataset with ever more room, until it goes through; checks every failure on the way."""
    remix = ["remix", f"--scored={curated}/scored", f"--output={output}", "--overwrite"]
    assert headwater(*remix, "--seed=1").code == 0
    before, rows = digest(output), published(output)
    beside = sorted(os.listdir(output.parent))
    failed = 0
    for room in steps:
        with narrowing(room):
            ran = headwater(*remix, "--seed=2")
        if ran.code == 0:
            break
        failed += 1
        assert ran.code == 1, ran.err
        assert any(os.strerror(number) in ran.err for number in (errno.ENOSPC, errno.EFBIG))
        assert "Nothing was published" in ran.err and "Traceback" not in ran.err and "defect" not in ran.err
        assert digest(output) == before and published(output) == rows
        assert sorted(os.listdir(output.parent)) == beside
    assert failed >= 4, "the steps are too coarse to say anything"
    assert digest(output) != before


def test_a_remix_on_a_full_disk_leaves_the_dataset_before_it(headwater, disk, curated):
    remix_into(headwater, curated, disk / "out", lambda room: leave_free(disk, room), [BLOCK_BYTES * blocks for blocks in (0, 1, 3, 6, 12, 20, 30, 40, 500)])


def test_a_remix_whose_files_may_not_grow_leaves_the_dataset_before_it(headwater, tmp_path, curated):
    sizes = sorted({path.stat().st_size for path in curated.rglob("*") if path.is_file()})
    # Each limit is just too small for one more kind of file.
    steps = sorted({1500, *(size - 1 for size in sizes if size > 2000)})
    remix_into(headwater, curated, tmp_path / "out", limit_files, [*steps[:: max(1, len(steps) // 6)], 1 << 30])


@pytest.mark.parametrize("free_bytes", [60_000, 200_000, 420_000], ids=["score", "decide", "publish"])
def test_a_curation_on_a_full_disk_publishes_nothing_and_says_where_it_was(headwater, disk, forty_of_each, free_bytes):
    with leave_free(disk, free_bytes):
        ran = headwater("curate", *forty_of_each, f"--output={disk}/curated")
    assert ran.code == 1 and "No space left on device" in ran.err and f"{disk}/.curated.staging-" in ran.err
    assert "Traceback" not in ran.err
    assert [name for name in os.listdir(disk) if "curated" in name] == []


# The ledger


def committed(ledger: Path) -> bool:
    return bool(ids_of(ledger))


def test_a_ledger_on_a_full_disk_ends_each_run_in_one_state_or_the_other(disk, tmp_path):
    """With a block more each time: the run fails before it has published, or after, or not at all; the ledger always comes to agree with it."""
    seen = set()
    for blocks in range(12):
        ledger, output = disk / f"ledger-{blocks}", tmp_path / f"out-{blocks}"
        open_ledger(str(ledger), KEYS)
        run = pending(ledger, output, stage(ledger, texts("a", 3), f"run-{blocks}"), f"run-{blocks}")
        with leave_free(disk, blocks * BLOCK_BYTES):
            try:
                publish_and_commit(str(ledger), run, publisher(output, run.run_id))
                outcome = "done"
            except Exception as error:
                outcome = "published" if published_manifest(str(output), run.run_id) else "failed"
                assert "No space left" in str(error), error
        recover(str(ledger))
        assert committed(ledger) == (outcome != "failed") == (published_manifest(str(output), run.run_id) is not None)
        assert list((ledger / "_headwater" / "pending").iterdir()) == []
        if outcome == "failed":
            assert list(ledger.glob("kind=*/**/*.parquet")) == []
        seen.add(outcome)
    assert seen >= {"failed", "done"}


def test_a_ledger_that_could_not_be_begun_can_be_begun_later(disk):
    from pipeline.errors import UsageError

    with leave_free(disk, 0), pytest.raises(UsageError, match=r"cannot be made: .*No space left on device.*; give a folder"):
        open_ledger(str(disk / "begun"), KEYS)
    assert (disk / "begun" / "_delta_log").is_dir()
    assert open_ledger(str(disk / "begun"), KEYS).version == 0


@pytest.mark.parametrize("held", ["other.txt", "_delta_log/00000000000000000000.json", "_delta_log/00000000000000000010.checkpoint.parquet"])
def test_a_folder_that_holds_anything_else_is_never_made_a_ledger(tmp_path, held):
    from pipeline.errors import UsageError

    (tmp_path / "ledger" / held).parent.mkdir(parents=True)
    (tmp_path / "ledger" / held).write_text("")
    with pytest.raises(UsageError):
        open_ledger(str(tmp_path / "ledger"), KEYS)
    assert [path.name for path in (tmp_path / "ledger").rglob("*") if path.is_file()] == [Path(held).name]


def test_a_run_that_has_published_when_the_ledger_fails_says_so_and_what_to_do(headwater, curated, tmp_path, monkeypatch):
    from pipeline import ledger_commit

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "ledger")

    def remix(name: str):
        flags = [f"--output={tmp_path}/{name}", f"--ledger={tmp_path}/ledger", f"--cycle={name}"]
        return headwater("remix", f"--scored={curated}/scored", *flags)

    with monkeypatch.context() as patched:
        patched.setattr(ledger_commit, "_commit_rows", full)
        ran = remix("spring")
    assert ran.code == 1 and "No space left on device" in ran.err
    assert "Nothing was published" not in ran.err and f"had been published to {tmp_path}/spring" in ran.err
    assert f"`headwater ledger verify {tmp_path}/ledger`" in ran.err
    assert len(published(tmp_path / "spring"))
    assert open_table(str(tmp_path / "ledger")).version() == 1, "made, and claimed"
    # Whoever comes next to the ledger settles it: the next cycle is not given the same synthetic text.
    ran = remix("summer")
    assert ran.code == 0, ran.err
    assert set(published(tmp_path / "summer")["origin"].to_pylist()) == {"human"}


# What runs write


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_there_is_no_room_for_is_named_and_leaves_no_part(tmp_path, durable):
    path = tmp_path / "whole.bin"
    with limit_files(10_000), pytest.raises(OSError, match=rf"File too large: '{path}'"), write_whole(str(path), durable=durable) as file:
        file.write(b"x" * 20_000)
    assert os.listdir(tmp_path) == []


def test_a_compressed_input_that_does_not_fit_the_disk_is_no_dead_letter(tmp_path):
    """A full disk is a fault of the machine: the run stops, instead of publishing without the rest of the file."""
    path = tmp_path / "a.csv"
    path.write_text("id,text\n" + "".join(f"{n},{os.urandom(40).hex()}\n" for n in range(3000)))
    splits = plan(path, split_bytes=60_000)
    assert all(split.needs_spill for split in splits)
    with limit_files(10_000), pytest.raises(OSError, match="File too large"):
        spill(splits, tmp_path / "chunks")
    assert not list((tmp_path / "chunks").glob("*.partial"))
