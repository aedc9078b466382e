"""What became of each document in two runs: which moved, from where to where.

Each run is read as a stream of (source, id, fate) and parted by a hash of source and id into files, the same parts for both runs; a part is then
compared in memory. Memory: one part of both runs, about `PART_DOCUMENTS` documents, whatever the runs hold; disk: about 50 bytes a document.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

PART_DOCUMENTS = 1_000_000
"""Documents of both runs in a part, about."""
PUBLISHED, ABSENT = "published", "absent"
"""The fates of documents that were published, and of those that a run neither published nor rejected: it did not read them, or could not."""
FATE_SCHEMA = pa.schema([("source", pa.string()), ("id", pa.string()), ("fate", pa.string())])
"""One document of a run. `fate` is `published`, or `STAGE: REASON`."""


@dataclass(frozen=True, order=True)
class Move:
    """Documents of one source that went one way."""

    source: str
    """Name of the input."""
    was: str
    """Their fate in the first run."""
    now: str
    """Their fate in the second."""


@dataclass(frozen=True)
class PartCompared:
    """One part of both runs, compared."""

    moves: Counter[Move]
    """Documents by how they moved; those whose fate is the same are in it, with that fate twice."""
    moved: pa.Table
    """`FATE_SCHEMA` with `was` and `now` in place of `fate`: the documents whose fate differs, sorted by source and id."""


def spill_fates(batches: Iterable[pa.RecordBatch], folder: str, name: str, num_parts: int) -> None:
    """Writes rows of `FATE_SCHEMA` to `num_parts` files under `folder`, by a hash of source and id."""
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(_part(folder, name, part), FATE_SCHEMA)) for part in range(num_parts)]
        for batch in batches:
            if num_parts == 1:
                writers[0].write_batch(batch)
                continue
            keys = _keys(batch["source"], batch["id"]).cast(pa.binary()).to_pylist()
            parts = np.fromiter((xxhash.xxh3_64_intdigest(key) % num_parts for key in keys), np.int64, len(keys))
            for part in np.unique(parts).tolist():
                writers[part].write_batch(batch.take(pa.array(np.flatnonzero(parts == part))))


def compare_parts(folder: str, names: tuple[str, str], num_parts: int) -> Iterator[PartCompared]:
    """Compares the parts that `spill_fates` left of two runs, one by one."""
    for part in range(num_parts):
        tables = []
        for name in names:
            with pa.OSFile(_part(folder, name, part)) as file, pa.ipc.open_stream(file) as reader:
                tables.append(reader.read_all())
        yield compare_fates(*tables)


def compare_fates(before: pa.Table, after: pa.Table) -> PartCompared:
    """Compares two tables of `FATE_SCHEMA`, in any order.

    Documents are told apart by source and id. Where several of one run share both, they are matched in the order of their fates.
    """
    both = pa.concat_tables([before, after]).combine_chunks()
    fates = both["fate"].combine_chunks().dictionary_encode() if both.num_rows else pa.array([], pa.string()).dictionary_encode()
    names = [*fates.dictionary.to_pylist(), ABSENT]
    # In the order of their names, so that matching does not depend on which fate came first.
    ranks = np.argsort(np.argsort(np.array(names)))
    codes = fates.indices.to_numpy(zero_copy_only=False)
    keys = _keys(both["source"], both["id"]).dictionary_encode()
    keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    numbers = keys.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    split = before.num_rows
    first = _number_within(numbers[:split], ranks[codes[:split]])
    second = _number_within(numbers[split:], ranks[codes[split:]])
    most = max(first.max(initial=0), second.max(initial=0)) + 1
    left, right = numbers[:split] * most + first, numbers[split:] * most + second
    _, in_left, in_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    gone, come = np.setdiff1d(np.arange(split), in_left), np.setdiff1d(np.arange(len(right)), in_right)
    rows = np.concatenate([in_left, gone, split + come])
    absent = len(names) - 1
    was = np.concatenate([codes[in_left], codes[gone], np.full(len(come), absent)])
    now = np.concatenate([codes[split + in_right], np.full(len(gone), absent), codes[split + come]])
    table = both.take(pa.array(rows)).select(["source", "id"])
    labels = pa.array(names, pa.string())
    for name, fate in (("was", was), ("now", now)):
        table = table.append_column(name, labels.take(pa.array(fate)))
    counted = table.group_by(["source", "was", "now"], use_threads=False).aggregate([("id", "count")]).to_pylist()
    moves = Counter({Move(row["source"], row["was"], row["now"]): row["id_count"] for row in counted})
    moved = table.filter(pa.array(was != now)).sort_by([("source", "ascending"), ("id", "ascending"), ("was", "ascending"), ("now", "ascending")])
    return PartCompared(moves, moved)


def _keys(sources: pa.Array, ids: pa.Array) -> pa.Array:
    # Names of sources hold no space, so the two cannot run into each other.
    return pc.binary_join_element_wise(sources, ids, " ")


def _number_within(keys: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """For each row, how many rows with the same key come before it in the order of ranks."""
    order = np.lexsort((ranks, keys))
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    within = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    result = np.empty(len(keys), np.int64)
    result[order] = within
    return result


def _part(folder: str, name: str, part: int) -> str:
    return os.path.join(folder, f"{name}-{part:05d}.arrows")
