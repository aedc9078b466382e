"""Ledgers for tests: made through the table, run by run, with datasets that are one manifest each."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.ledger import LedgerKeys, open_ledger
from pipeline.ledger_commit import publish_and_commit
from pipeline.ledger_records import PendingRun
from tests.transforms.ledger_rows import rows_of_documents, write_rows
from tests.transforms.shard_files import BANDS, HASHES, Document, random_signature
from transforms.ledger_files import LedgerFile

KEYS = LedgerKeys("minhash-test", "hash-test", BANDS, HASHES)


def texts(prefix: str, count: int, seed: int = 0, origin: int = 2) -> list[Document]:
    """Documents with signatures of their own, the same for the same arguments."""
    random = np.random.default_rng([seed, *prefix.encode()])
    return [Document(f"{prefix}-{n}", random_signature(random), origin=origin) for n in range(count)]


def stage(ledger: Path, documents: list[Document], run_id: str, cycle: str = "c1", **columns: pa.Array) -> tuple[LedgerFile, ...]:
    """Writes a run's rows, as its workers would, without committing them."""
    return tuple(write_rows(ledger, rows_of_documents(documents, cycle, run_id, **columns), run_id))


def pending(ledger: Path, output: Path, files: tuple[LedgerFile, ...], run_id: str, cycle: str = "c1", base: int | None = None, **more) -> PendingRun:
    """A run decided by the ledger as it is now, or as it was at version `base`."""
    version = open_ledger(str(ledger), KEYS).version if base is None else base
    return PendingRun(run_id, cycle, str(output), version, files, **more)


def publisher(output: Path, run_id: str):
    """Makes a dataset visible: a manifest, in one rename; may be repeated."""

    def publish() -> str:
        manifest = output / "manifest.json"
        output.mkdir(parents=True, exist_ok=True)
        partial = output / f"manifest.{run_id}.partial"
        partial.write_text(json.dumps({"run": {"id": run_id}}))
        partial.rename(manifest)
        return str(manifest)

    return publish


def commit(ledger: Path, output: Path, documents: list[Document], run_id: str, cycle: str = "c1", **columns: pa.Array) -> PendingRun:
    """A whole run: rows, publication, commit."""
    open_ledger(str(ledger), KEYS)
    run = pending(ledger, output, stage(ledger, documents, run_id, cycle, **columns), run_id, cycle)
    publish_and_commit(str(ledger), run, publisher(output, run_id))
    return run


def ids_of(ledger: Path) -> list[str]:
    """Ids of all committed rows, sorted."""
    return sorted(name for table in open_ledger(str(ledger), KEYS).read(["id"]) for name in table["id"].to_pylist())
