"""Records of runs that are publishing: what another needs to bring them to an end, and whether they live."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from pipeline.ledger import place
from transforms.ledger_files import LedgerFile
from transforms.storage import beam_filesystems, is_local, join_path, open_binary, write_whole

PENDING = ("_headwater", "pending")
"""Folder of the records, in the ledger's; readers of Delta tables pass over names that begin with an underscore."""


@dataclass(frozen=True)
class PendingRun:
    """A run that is about to publish: what another needs to bring it to an end."""

    run_id: str
    """Names the run."""
    cycle: str
    """The training cycle that it publishes for."""
    output: str
    """Where it publishes; absolute if it is local."""
    base_version: int
    """Version of the ledger that it was decided by."""
    files: tuple[LedgerFile, ...]
    """Its rows, as written to the ledger's folder."""
    min_similarity: float = 0.7
    """Similarity from which its synthetic text may not be what another run has published meanwhile."""
    ignored_runs: tuple[str, ...] = ()
    """Runs whose dataset it replaces."""
    host: str = ""
    """The machine that publishes."""
    claimed_at: str = ""
    """When it began to publish, UTC."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures of its cycle report, which later cycles are compared with."""

    @property
    def num_rows(self) -> int:
        """Documents that it publishes."""
        return sum(file.num_rows for file in self.files)


def run_number(run_id: str) -> int:
    """A positive integer below 2**62 that stands for the run while it claims the ledger."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big") >> 2 or 1


def record_path(url: str, number: int) -> str:
    """Where run number `number` leaves its record."""
    return join_path(place(url), *PENDING, f"{number:016x}.json")


@contextlib.contextmanager
def hold_record(url: str, run: PendingRun) -> Iterator[None]:
    """Leaves the run's record, locked as long as the block lasts: the sign that the run lives."""
    path = record_path(url, run_number(run.run_id))
    stated = json.dumps(asdict(run)).encode()
    if not is_local(path):
        with write_whole(path) as file:
            file.write(stated)
        yield
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Locked before it has its name: at no moment does it look as if its run were dead.
    with open(f"{path}.partial", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(stated)
        held.flush()
        os.fsync(held.fileno())
        os.rename(held.name, path)
        yield


@contextlib.contextmanager
def try_lock(path: str) -> Iterator[bool]:
    """Whether the run of this record is dead, which can be known on a local disk alone; it is locked meanwhile."""
    if not is_local(path):
        yield False
        return
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def read_record(path: str) -> PendingRun | None:
    """The run of a record; None if there is none."""
    try:
        with contextlib.closing(open_binary(path)) as file:
            stated = json.loads(file.read())
    except FileNotFoundError:
        return None
    files = tuple(LedgerFile(**file) for file in stated.pop("files"))
    return PendingRun(**{**stated, "files": files, "ignored_runs": tuple(stated["ignored_runs"])})


def list_records(url: str) -> list[str]:
    """Paths of all records, sorted."""
    folder = join_path(place(url), *PENDING)
    if is_local(folder):
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".json")) if os.path.isdir(folder) else []
    return sorted(found.path for found in beam_filesystems().match([join_path(folder, "*.json")])[0].metadata_list)


def forget_record(url: str, run: PendingRun) -> None:
    """Deletes the run's record."""
    delete_file(record_path(url, run_number(run.run_id)))


def delete_file(path: str) -> None:
    """Deletes a file if it is there."""
    if is_local(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    elif beam_filesystems().exists(path):
        beam_filesystems().delete([path])


def this_host() -> str:
    """The name of this machine."""
    return socket.gethostname()
