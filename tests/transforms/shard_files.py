"""Scored shards and decision files with chosen signatures, and a plain reference of what deduplication promises."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from classifiers.signature import estimate_jaccard
from transforms.fixed_columns import fixed_binary_array
from transforms.records import DECISION_SCHEMA, DUPLICATE_SCHEMA, DecidedShard, ScoredShard, make_addresses

BANDS, ROWS = 14, 8
HASHES = BANDS * ROWS

_FOUND: dict[str, list[pa.RecordBatch]] = {}
"""What each run found: in memory and in loopback, workers live in this process."""


@dataclass(frozen=True)
class Document:
    """What deduplication sees of a document; the signature's bytes stand for its text."""

    id: str
    signature: bytes | None
    origin: int = 0
    quality: float = 0.5
    reason: str | None = None
    content: bytes | None = None
    """16 bytes of content hash; derived from the id where None."""
    shared_bands: dict[int, int] = field(default_factory=dict)
    """Hashes of bands that replace those of the signature."""

    def bands(self) -> np.ndarray:
        """One uint64 a band: equal where the eight bytes of the band are."""
        hashes = np.frombuffer(self.signature, "<u8").copy() * np.uint64(0x9E3779B97F4A7C15) + np.arange(BANDS, dtype=np.uint64)
        hashes ^= hashes >> np.uint64(29)
        hashes *= np.uint64(0xFF51AFD7ED558CCD)
        for band, value in self.shared_bands.items():
            hashes[band] = value
        return hashes


def random_signature(generator: np.random.Generator) -> bytes:
    return generator.bytes(HASHES)


def vary(signature: bytes, differing: Iterable[int], by: int = 1) -> bytes:
    """`signature` with the bytes at the places `differing` changed."""
    changed = np.frombuffer(signature, np.uint8).copy()
    changed[list(differing)] += np.uint8(by)
    return changed.tobytes()


def similarity(a: Document, b: Document) -> float:
    return float(estimate_jaccard(*(np.frombuffer(held.signature, np.uint8)[None] for held in (a, b)))[0])


def write_shards(folder: Path, shards: list[list[Document]], row_group_rows: int = 7) -> list[DecidedShard]:
    """One scored Parquet file and one decision file for each list."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_shard(folder, index, documents, row_group_rows) for index, documents in enumerate(shards)]


def _write_shard(folder: Path, index: int, documents: list[Document], row_group_rows: int) -> DecidedShard:
    signatures = pa.array([held.signature for held in documents], pa.binary(HASHES))
    bands = pa.array([held.bands().tobytes() if held.signature else None for held in documents], pa.binary(8 * BANDS))
    text = pa.array(["-" for _ in documents], pa.string())
    scored = folder / f"{index:04d}.parquet"
    pq.write_table(pa.table({"text": text, "signature": signatures, "bands": bands}), scored, row_group_size=row_group_rows)
    columns = {name: pa.nulls(len(documents), DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns["address"] = pa.array(make_addresses(index, np.arange(len(documents))))
    columns["id"] = pa.array([held.id for held in documents], pa.string())
    columns["origin"] = pa.array([held.origin for held in documents], pa.uint8())
    columns["quality"] = pa.array([held.quality for held in documents], pa.float32())
    columns["row_key"] = pa.array([hash_id(held.id) for held in documents], pa.uint64())
    columns["content_hash"] = pa.array([held.content or hash_id(held.id).to_bytes(16, "little") for held in documents], pa.binary(16))
    columns["reason"] = pa.array([held.reason for held in documents], pa.string())
    path = folder / f"{index:04d}.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
    shard = ScoredShard(f"{index:04d}.parquet", str(scored), len(documents), index)
    return DecidedShard(shard, str(path), sum(held.reason is None for held in documents))


def fast_shard(folder: Path, index: int, ids: list[str], signatures: np.ndarray, bands: np.ndarray) -> DecidedShard:
    """A shard of many documents from arrays: signatures uint8[n, 112], bands uint64[n, 14]."""
    folder.mkdir(parents=True, exist_ok=True)
    scored, path, n = folder / f"{index:04d}.parquet", folder / f"{index:04d}.arrow", len(ids)
    pq.write_table(pa.table({"signature": fixed_binary_array(signatures), "bands": fixed_binary_array(bands.view(np.uint8))}), scored)
    columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns["address"] = pa.array(make_addresses(index, np.arange(n)))
    columns["id"] = pa.array(ids, pa.string())
    columns["origin"], columns["quality"] = pa.array(np.zeros(n, np.uint8)), pa.array(np.full(n, 0.5, np.float32))
    columns["row_key"] = pa.array([hash_id(name) for name in ids], pa.uint64())
    columns["content_hash"] = pa.array([hash_id(name).to_bytes(16, "little") for name in ids], pa.binary(16))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
    return DecidedShard(ScoredShard(scored.name, str(scored), n, index), str(path), n)


def hash_id(name: str) -> int:
    """A row key: the same for the same id."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def run_on(transform: beam.PTransform, shards: list[DecidedShard], pipeline: beam.Pipeline | None = None) -> tuple[pa.Table, dict[str, int]]:
    """Duplicates that `transform` finds in `shards`, sorted by address, and the counters; in memory unless `pipeline` says how."""
    run = uuid.uuid4().hex
    pipeline = pipeline or beam.Pipeline(FnApiRunner())
    created = pipeline | "Shards" >> beam.Create(shards, reshuffle=False)
    collected = created | "Find" >> transform
    _ = collected | "Collect" >> beam.Map(_collect, run)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {held.key.metric.name: held.committed for held in result.metrics().query()["counters"] if held.key.metric.namespace == "headwater"}
    return pa.Table.from_batches(_FOUND.pop(run, []), DUPLICATE_SCHEMA).sort_by("address"), counters


def _collect(keyed: tuple[int, pa.RecordBatch], run: str) -> None:
    index, batch = keyed
    assert batch.schema == DUPLICATE_SCHEMA
    assert all(address.as_py() >> 32 == index for address in batch["address"])
    _FOUND.setdefault(run, []).append(batch)


def by_id(found: pa.Table, shards: list[list[Document]]) -> dict[str, tuple[str, float]]:
    """Removed id -> (partner id, similarity); asserts that addresses and ids fit."""
    named = {}
    for row in found.to_pylist():
        removed, partner = (shards[row[name] >> 32][row[name] & 0xFFFFFFFF] for name in ("address", "partner_address"))
        assert removed.id not in named
        assert partner.id == row["partner_id"]
        named[removed.id] = (partner.id, row["similarity"])
    return named


def without(shards: list[list[Document]], removed: Iterable[str]) -> list[list[Document]]:
    """The shards as they stand after the removed ids were rejected."""
    removed = set(removed)
    return [[replace(held, reason="near_duplicate") if held.id in removed else held for held in documents] for documents in shards]
