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
from transforms.ledger_storage import delete_ledger_file, list_ledger_folder, read_ledger_bytes, write_ledger_whole
from transforms.storage import is_local

PENDING = "_headwater/pending"
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


def record_path(number: int) -> str:
    """Where run number `number` leaves its record, in the ledger's folder."""
    return f"{PENDING}/{number:016x}.json"


@contextlib.contextmanager
def hold_record(url: str, run: PendingRun) -> Iterator[None]:
    """Leaves the run's record, locked as long as the block lasts: the sign that the run lives."""
    folder, path = place(url), record_path(run_number(run.run_id))
    stated = json.dumps(asdict(run)).encode()
    if not is_local(folder):
        with write_ledger_whole(folder, path) as file:
            file.write(stated)
        yield
        return
    path = os.path.join(folder, *path.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Locked before it has its name: at no moment does it look as if its run were dead.
    with open(f"{path}.partial", "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            held.write(stated)
            held.flush()
            os.fsync(held.fileno())
            os.rename(held.name, path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(held.name)
            raise
        yield


@contextlib.contextmanager
def try_lock(url: str, number: int) -> Iterator[bool]:
    """Whether the run of this record is dead, which can be known on a local disk alone; it is locked meanwhile."""
    if not is_local(url):
        yield False
        return
    try:
        file = open(os.path.join(place(url), *record_path(number).split("/")), "rb")
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


def read_record(url: str, number: int) -> PendingRun | None:
    """The run of record `number`; None if there is none."""
    try:
        stated = json.loads(read_ledger_bytes(place(url), record_path(number)))
    except FileNotFoundError:
        return None
    files = tuple(LedgerFile(**file) for file in stated.pop("files"))
    return PendingRun(**{**stated, "files": files, "ignored_runs": tuple(stated["ignored_runs"])})


def list_records(url: str) -> list[int]:
    """Numbers of the runs that left records, sorted."""
    return sorted(int(name.removesuffix(".json"), 16) for name in list_ledger_folder(place(url), PENDING) if name.endswith(".json"))


def forget_record(url: str, run: PendingRun) -> None:
    """Deletes the run's record."""
    delete_ledger_file(place(url), record_path(run_number(run.run_id)))


def this_host() -> str:
    """The name of this machine."""
    return socket.gethostname()
