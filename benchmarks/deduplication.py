"""Cost of finding exact and near-duplicates at 100,000 and a million documents, and whether planted ones are found.

    python -m benchmarks.deduplication [--hot] [DOCUMENTS ...]

Documents are made signatures, of which 5 % vary an earlier one (each byte of it is changed with a probability of 0 to 0.25, so
similarities of .75 to 1), and 1 % repeat an earlier document's content hash. Prints CPU time a document, time, and peak resident memory.
Each size runs in a process of its own, on one core, with the in-memory runner.

With `--hot`: what a key costs that all documents share, beside the same documents without it: one band (`near`: no near-duplicate is real), all of a signature but
two bytes (`copies`: all are), the content (`exact`), one line of eleven (`lines`: repeated lines), one value (`cap`: a cap of two).
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from transforms.cap_keys import CapKeys
from transforms.deduplicate_exact import FindExactDuplicates
from transforms.deduplicate_near import FindNearDuplicates
from transforms.find_repeated_lines import FindRepeatedLines
from transforms.fixed_columns import fixed_binary_array
from transforms.records import DECISION_SCHEMA, DecidedShard, ScoredShard, make_addresses, rows_of, shards_of

BANDS, HASHES = 14, 112
SHARD_DOCUMENTS = 20_000
NEAR_SHARE, EXACT_SHARE, MAX_CHANGED = 0.05, 0.01, 0.25
KINDS = ("near", "copies", "exact", "lines", "cap")
HOT_LINES = 11
"""Lines of a document where hot keys are measured."""


def make_corpus(folder: Path, num_documents: int, seed: int = 0) -> tuple[list[DecidedShard], np.ndarray, np.ndarray]:
    """Shards, the number of the document that each one varies (-1: none), and the share of bytes in which they differ."""
    random = np.random.default_rng(seed)
    originals = np.full(num_documents, -1)
    copies = np.flatnonzero(random.random(num_documents) < NEAR_SHARE)[1:]
    originals[copies] = (random.random(len(copies)) * copies).astype(np.int64)
    originals[copies[originals[originals[copies]] >= 0]] = -1
    signatures = random.integers(0, 256, (num_documents, HASHES), np.uint8)
    differing = np.zeros(num_documents)
    for copy in np.flatnonzero(originals >= 0):
        changed = random.random(HASHES) < random.random() * MAX_CHANGED
        signatures[copy] = signatures[originals[copy]] + changed
        differing[copy] = changed.mean()
    content = random.integers(0, 256, (num_documents, 16), np.uint8)
    repeats = np.flatnonzero(random.random(num_documents) < EXACT_SHARE)[1:]
    content[repeats] = content[(random.random(len(repeats)) * repeats).astype(np.int64)]
    shards = []
    for index, start in enumerate(range(0, num_documents, SHARD_DOCUMENTS)):
        rows = slice(start, min(start + SHARD_DOCUMENTS, num_documents))
        shards.append(_write_shard(folder, index, np.arange(rows.start, rows.stop), signatures[rows], content[rows], random))
    return shards, originals, differing


def make_hot_corpus(folder: Path, num_documents: int, kind: str, hot: bool, seed: int = 0) -> list[DecidedShard]:
    """Shards of unlike documents of eleven lines; with `hot` all of them share what `kind` says, one line and one `generator`, else none does."""
    random = np.random.default_rng(seed)
    shards = []
    for index, start in enumerate(range(0, num_documents, SHARD_DOCUMENTS)):
        n = min(SHARD_DOCUMENTS, num_documents - start)
        signatures = random.integers(0, 256, (n, HASHES), np.uint8)
        lines = random.integers(0, 1 << 63, (n, HOT_LINES), np.uint64)
        content = random.integers(0, 256, (n, 16), np.uint8)
        if hot:
            lines[:, 0] = 7 << 40
            signatures[:, : HASHES if kind == "copies" else HASHES // BANDS] = 7
        if hot and kind == "copies":
            signatures[np.arange(n)[:, None], random.integers(0, HASHES, (n, 2))] = 8
        if hot and kind == "exact":
            content[:] = 7
        columns = {
            "line_hashes": pa.array([row.tobytes() for row in np.sort(lines, axis=1).astype("<u8")], pa.binary()),
            "line_chars": pa.array([np.full(HOT_LINES, 40, "<u4").tobytes()] * n, pa.binary()),
            "generator": pa.array(["one"] * n if hot else [f"{start + row}" for row in range(n)]),
        }
        shards.append(_write_shard(folder, index, np.arange(start, start + n), signatures, content, random, columns))
    return shards


def _write_shard(
    folder: Path, index: int, numbers: np.ndarray, signatures: np.ndarray, content: np.ndarray, random, more: dict[str, pa.Array] | None = None
) -> DecidedShard:
    n = len(numbers)
    bands = signatures.view("<u8") * np.uint64(0x9E3779B97F4A7C15) + np.arange(BANDS, dtype=np.uint64)
    bands = (bands ^ (bands >> np.uint64(31))) * np.uint64(0xFF51AFD7ED558CCD)
    scored, decided = folder / f"{index:06d}.parquet", folder / f"{index:06d}.arrow"
    table = pa.table({"signature": fixed_binary_array(signatures), "bands": fixed_binary_array(bands.view(np.uint8)), **(more or {})})
    pq.write_table(table, scored, compression="zstd", row_group_size=5_000)
    columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns |= {
        "address": pa.array(make_addresses(index, np.arange(n))),
        "id": pa.array([f"document-{number:012d}" for number in numbers]),
        "origin": pa.array(random.integers(0, 3, n, np.uint8)),
        "quality": pa.array(random.random(n, np.float32)),
        "row_key": pa.array(random.integers(0, 1 << 64, n, np.uint64, endpoint=False)),
        "content_hash": fixed_binary_array(content),
    }
    with pa.OSFile(str(decided), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
    return DecidedShard(ScoredShard(scored.name, str(scored), n, index), str(decided), n)


def run(name: str, transform: beam.PTransform, shards: list[DecidedShard], folder: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Runs `transform` alone; the numbers of the documents it removes, and its counters."""
    start, cpu = time.perf_counter(), time.process_time()
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | "Shards" >> beam.Create(shards, reshuffle=False) | "Find" >> transform | "Save" >> beam.Map(_save, str(folder), name)
    result = pipeline.run()
    result.wait_until_finish()
    removed = np.concatenate([np.empty(0, np.int64), *(np.load(file) for file in folder.glob(f"{name}-*.npy"))])
    documents = sum(shard.num_alive for shard in shards)
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name:5} {documents:>9,} documents: {1e6 * cpu / documents:6.2f} us of CPU a document, {time.perf_counter() - start:5.1f} s, "
        f"{len(removed):,} removed, peak RSS so far {peak:.2f} GB"
    )
    return removed, {held.key.metric.name: held.committed for held in result.metrics().query()["counters"]}


def _save(keyed: tuple[int, pa.RecordBatch], folder: str, name: str) -> None:
    addresses = keyed[1]["address"].to_numpy()
    np.save(f"{folder}/{name}-{uuid.uuid4().hex}.npy", shards_of(addresses) * SHARD_DOCUMENTS + rows_of(addresses))


def measure_hot(num_documents: int, kind: str, hot: bool) -> None:
    """One search, `kind`, among documents that share a key, or do not."""
    with tempfile.TemporaryDirectory() as folder:
        shards = make_hot_corpus(Path(folder), num_documents, kind, hot)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        search = {
            "near": FindNearDuplicates(spill_folder=f"{folder}/spilled"),
            "copies": FindNearDuplicates(spill_folder=f"{folder}/spilled"),
            "exact": FindExactDuplicates(),
            "lines": FindRepeatedLines(0.5, f"{folder}/work", spill_folder=f"{folder}/spilled"),
            "cap": CapKeys("generator", 2),
        }[kind]
        _, counters = run(kind, search, shards, Path(folder))
        print(f"      RSS before {before:.2f} GB; {counters}")


def main(sizes: list[int], hot: bool) -> None:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"python -m benchmarks.deduplication {' '.join(sys.argv[1:])}   # {machine}")
    for size in sizes if hot else ():
        for kind in KINDS:
            for shared in ("apart", "shared"):
                print(f"{size:,} documents, {kind}, keys {shared}", flush=True)
                subprocess.run([sys.executable, "-m", "benchmarks.deduplication", "--one_hot", str(size), kind, shared], check=True)
    for size in () if hot else sizes:
        for spill in ([], ["--spill"]):
            print(f"{size:,} documents, bands {'on disk' if spill else 'in the memory of the runner'}", flush=True)
            subprocess.run([sys.executable, "-m", "benchmarks.deduplication", "--one", str(size), *spill], check=True)


def measure(num_documents: int, spill: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shards, originals, differing = make_corpus(Path(folder), num_documents)
        print(f"RSS before {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
        run("exact", FindExactDuplicates(), shards, Path(folder))
        removed, counters = run("near", FindNearDuplicates(spill_folder=f"{folder}/spilled" if spill else None), shards, Path(folder))
        print(f"      {counters}")
        planted = np.flatnonzero(originals >= 0)
        found = np.isin(planted, removed) | np.isin(originals[planted], removed)
        for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.15), (0.15, 0.2), (0.2, 0.25)):
            held = (differing[planted] >= low) & (differing[planted] < high)
            print(f"      similarity {1 - high:.2f} to {1 - low:.2f}: {found[held].mean():.3f} of {held.sum():,} planted pairs found")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(int(sys.argv[2]), spill=sys.argv[3:] == ["--spill"])
    elif sys.argv[1:2] == ["--one_hot"]:
        measure_hot(int(sys.argv[2]), sys.argv[3], hot=sys.argv[4] == "shared")
    else:
        main([int(size) for size in sys.argv[1:] if size != "--hot"] or [100_000, 1_000_000], hot="--hot" in sys.argv[1:])
