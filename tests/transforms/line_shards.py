"""Scored shards and decision files of documents given as lines or keys, and the plain rule that `FindRepeatedLines` squeezes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from classifiers.words import mix64
from transforms.records import DECISION_SCHEMA, REMOVED_SCHEMA, DecidedShard, ScoredShard, make_addresses

_FOUND: dict[str, list[pa.RecordBatch]] = {}


@dataclass(frozen=True, eq=False)
class Page:
    """What the steps here see of a document."""

    id: str
    lines: Mapping[int, int] = field(default_factory=dict)
    """Line -> its characters."""
    origin: int = 0
    quality: float = 0.5
    reason: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Further columns of the scored shard."""


def rank(page: Page) -> tuple:
    """The best first."""
    return (page.origin, -page.quality, page.id.encode())


def row_key(page: Page) -> int:
    """A hash, as the real one is: the same for the same id."""
    return xxhash.xxh3_64_intdigest(page.id.encode())


def write_pages(folder: Path, shards: Sequence[Sequence[Page]]) -> list[DecidedShard]:
    """One scored Parquet file and one decision file for each list."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder, index, pages) for index, pages in enumerate(shards)]


def _write(folder: Path, index: int, pages: Sequence[Page]) -> DecidedShard:
    units = [sorted((int(mix64(np.uint64(line + 1))), chars) for line, chars in page.lines.items()) for page in pages]
    columns = {
        "line_hashes": pa.array([np.array([line for line, _ in held], "<u8").tobytes() for held in units], pa.binary()),
        "line_chars": pa.array([np.array([chars for _, chars in held], "<u4").tobytes() for held in units], pa.binary()),
    }
    names = sorted({name for page in pages for name in page.fields})
    columns |= {name: pa.array([page.fields.get(name) for page in pages]) for name in names}
    scored = folder / f"{index:04d}.parquet"
    pq.write_table(pa.table(columns), scored, row_group_size=5)
    n = len(pages)
    made = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    made["address"] = pa.array(make_addresses(index, np.arange(n)))
    made["id"] = pa.array([page.id for page in pages], pa.string())
    made["origin"] = pa.array([page.origin for page in pages], pa.uint8())
    made["quality"] = pa.array([page.quality for page in pages], pa.float32())
    made["row_key"] = pa.array([row_key(page) for page in pages], pa.uint64())
    made["reason"] = pa.array([page.reason for page in pages], pa.string())
    path = folder / f"{index:04d}.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(pa.table(made, schema=DECISION_SCHEMA))
    return DecidedShard(ScoredShard(scored.name, str(scored), n, index), str(path), sum(page.reason is None for page in pages))


def find_removed(transform: beam.PTransform, decided: Sequence[DecidedShard], pages: Sequence[Sequence[Page]]) -> dict[str, tuple[str, float]]:
    """Removed id -> (partner id, value), found in memory; asserts that addresses and ids fit, and that each is named once."""
    run = uuid.uuid4().hex
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | "Shards" >> beam.Create(decided, reshuffle=False) | "Find" >> transform | "Collect" >> beam.Map(_collect, run)
    pipeline.run().wait_until_finish()
    removed: dict[str, tuple[str, float]] = {}
    for row in pa.Table.from_batches(_FOUND.pop(run, []), REMOVED_SCHEMA).to_pylist():
        page, partner = (pages[row[name] >> 32][row[name] & 0xFFFFFFFF] for name in ("address", "partner_address"))
        assert page.id not in removed and partner.id == row["partner_id"]
        removed[page.id] = (partner.id, row["value"])
    return removed


def _collect(keyed: tuple[int, pa.RecordBatch], run: str) -> None:
    index, batch = keyed
    assert batch.schema == REMOVED_SCHEMA
    assert all(address.as_py() >> 32 == index for address in batch["address"])
    _FOUND.setdefault(run, []).append(batch)


def remove_plainly(pages: Sequence[Page], limit: float) -> dict[str, tuple[str, float]]:
    """The rule one document at a time, best first: who goes, with the partner and the share."""
    holders: dict[int, Page] = {}
    removed = {}
    for page in sorted((page for page in pages if page.reason is None), key=rank):
        total = sum(page.lines.values())
        held = {line: holders[line] for line in page.lines if line in holders}
        share = sum(page.lines[line] for line in held) / total if total else 0.0
        if share > limit:
            chars = {holder: sum(page.lines[line] for line, owner in held.items() if owner.id == holder.id) for holder in set(held.values())}
            removed[page.id] = (min(chars, key=lambda holder: (-chars[holder], rank(holder))).id, share)
        else:
            for line in page.lines:
                holders.setdefault(line, page)
    return removed
