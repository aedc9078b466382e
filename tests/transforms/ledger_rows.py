"""Ledgers on disk for tests: rows made from chosen signatures, without the table around them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.transforms.shard_files import BANDS, HASHES, Document, hash_id
from transforms.find_earlier import LedgerReading, Probes, make_probes
from transforms.ledger_files import EXTRA_BANDS, LedgerFile, cut_bands, lookup_keys, make_rows, split_rows, write_ledger_file
from transforms.records import make_addresses

ORIGIN_WORDS = ("human", "presumed_human", "synthetic", "unknown", "disputed")


def content_of(held: Document) -> bytes:
    """The content hash that `shard_files` gives a document."""
    return held.content or hash_id(held.id).to_bytes(16, "little")


def rows_of_documents(documents: Sequence[Document], cycle: str, run_id: str, shard: str = "train-00000-of-00001.parquet", **columns) -> pa.Table:
    """The ledger's rows of `documents` as one published shard."""
    published = pa.table(
        {
            "id": pa.array([held.id for held in documents], pa.string()),
            "origin": pa.array([ORIGIN_WORDS[held.origin] for held in documents], pa.string()),
            "source": pa.array(["source"] * len(documents), pa.string()),
            "content_hash": pa.array([content_of(held) for held in documents], pa.binary(16)),
            "signature": pa.array([held.signature for held in documents], pa.binary(HASHES)),
            **columns,
        }
    )
    digest = hashlib.sha256(shard.encode()).hexdigest()
    return make_rows(published, BANDS, cycle=cycle, run_id=run_id, shard=shard, shard_digest=digest, published_at="2025-06-01T12:00:00+00:00")


def write_rows(folder: Path, rows: pa.Table, name: str) -> list[LedgerFile]:
    """The rows as files of a ledger in `folder`."""
    return [write_ledger_file(part_rows, str(folder), kind, part, name) for kind, part, part_rows in split_rows(rows)]


def reading_of(folder: Path, files: Sequence[LedgerFile], kinds: Sequence[str] = ("synthetic",), ignored: Sequence[str] = ()) -> LedgerReading:
    """What a join reads of these files."""
    return LedgerReading(str(folder), tuple(file for file in files if file.kind in kinds), BANDS, HASHES, EXTRA_BANDS, tuple(ignored))


def signatures_of(documents: Sequence[Document]) -> np.ndarray:
    return np.frombuffer(b"".join(held.signature for held in documents), np.uint8).reshape(-1, HASHES)


def probes_of(documents: Sequence[Document], shard: int = 0) -> Probes:
    """What is looked up of these documents."""
    hashes = np.frombuffer(b"".join(content_of(held) for held in documents), np.uint8).reshape(-1, 16)
    signatures, valid = signatures_of(documents), np.ones(len(documents), bool)
    keys = lookup_keys(hashes, cut_bands(signatures, BANDS, EXTRA_BANDS), valid)
    return make_probes(make_addresses(shard, np.arange(len(documents))), hashes, signatures, valid, keys)
