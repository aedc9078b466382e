"""What memory costs: the join of a run with ledgers of its own size and ten times that, its commit, and whether planted reuse is found.

    python -m benchmarks.ledger [DOCUMENTS]

A run of DOCUMENTS (100,000) made signatures, half of them synthetic, meets ledgers of 0, 1 and 10 times as many synthetic rows, and one with
as many human rows besides. One in ten of the run's synthetic documents was published before: half of these unchanged, half with up to a quarter of the
bytes of their signature changed (similarities of .75 to 1). Each case runs in a process of its own, on one core. Prints CPU time and peak
memory of the join, bytes a row, and the share of planted reuse that was found, by similarity.
"""

import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.ledger import LedgerKeys, open_ledger
from pipeline.ledger_commit import publish_and_commit
from pipeline.ledger_records import PendingRun
from transforms.find_earlier import emit_probes, group_files, search_files
from transforms.fixed_columns import fixed_binary_array
from transforms.ledger_files import EXTRA_BANDS, SYNTHETIC, make_rows, split_rows, write_ledger_file
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, DecidedShard, ScoredShard, make_addresses

BANDS, HASHES, SHARD_DOCUMENTS, CYCLE_ROWS = 14, 112, 20_000, 100_000
REUSED_SHARE, MAX_CHANGED, MIN_SIMILARITY = 0.1, 0.25, 0.7
KEYS = LedgerKeys("benchmark", "benchmark", BANDS, HASHES)


def texts(number: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Signatures and content hashes of `count` texts of series `number` from the `start`-th on, the same every time."""
    random = np.random.default_rng([number, start])
    return random.integers(0, 256, (count, HASHES), np.uint8), random.integers(0, 256, (count, 16), np.uint8)


def fill_ledger(ledger: Path, rows: int, origin: str, keys: LedgerKeys = KEYS) -> None:
    """Commits `rows` of one origin, `CYCLE_ROWS` a cycle, as runs would."""
    series = 1 if origin == "synthetic" else 2
    for cycle, start in enumerate(range(0, rows, CYCLE_ROWS)):
        count = min(CYCLE_ROWS, rows - start)
        signatures, hashes = texts(series, start, count)
        published = pa.table(
            {
                "id": pa.array([f"{origin}-{start + n:09}" for n in range(count)]),
                "origin": pa.repeat(origin, count),
                "source": pa.repeat("benchmark", count),
                "content_hash": fixed_binary_array(hashes),
                "signature": fixed_binary_array(signatures),
            }
        )
        commit_rows(ledger, keys, published, f"{origin}-{cycle}", f"c{cycle}")


def commit_rows(ledger: Path, keys: LedgerKeys, published: pa.Table, run_id: str, cycle: str) -> None:
    """Commits `published` as what run `run_id` published."""
    about = {"cycle": cycle, "run_id": run_id, "shard": "train", "shard_digest": "0" * 64, "published_at": "2025-01-01T00:00:00Z"}
    made = make_rows(published, keys.bands, **about)
    files = tuple(write_ledger_file(part, str(ledger), kind, name, run_id) for kind, name, part in split_rows(made))
    output = ledger.parent / run_id
    publish_and_commit(str(ledger), PendingRun(run_id, cycle, str(output), open_ledger(str(ledger), keys).version, files), _publisher(output, run_id))


def write_run(folder: Path, documents: int, rows: int) -> tuple[list[DecidedShard], dict[int, float]]:
    """Decided shards of the run, and address -> share of bytes changed for each planted reuse of the ledger's first cycle."""
    random = np.random.default_rng(3)
    old_signatures, old_hashes = texts(1, 0, min(CYCLE_ROWS, rows)) if rows else texts(1, 0, 1)
    shards, planted = [], {}
    for index, start in enumerate(range(0, documents, SHARD_DOCUMENTS)):
        count = min(SHARD_DOCUMENTS, documents - start)
        signatures, hashes = texts(4, start, count)
        origin = np.where(np.arange(count) % 2 == 0, ORIGIN_CODES["human"], ORIGIN_CODES["synthetic"]).astype(np.uint8)
        for row in np.flatnonzero((origin == ORIGIN_CODES["synthetic"]) & (random.random(count) < REUSED_SHARE)) if rows else ():
            old = random.integers(len(old_signatures))
            changed = np.zeros(HASHES, bool)
            if random.random() < 0.5:
                hashes[row] = old_hashes[old]
            else:
                changed = random.random(HASHES) < random.random() * MAX_CHANGED
            signatures[row] = old_signatures[old] + changed
            planted[int(make_addresses(index, np.array([row]))[0])] = float(changed.mean())
        scored = folder / f"{index:04d}.parquet"
        pq.write_table(pa.table({"signature": fixed_binary_array(signatures)}), scored)
        columns = {field.name: pa.nulls(count, field.type) for field in DECISION_SCHEMA}
        columns |= {
            "address": pa.array(make_addresses(index, np.arange(count))),
            "origin": pa.array(origin),
            "content_hash": fixed_binary_array(hashes),
        }
        path = folder / f"{index:04d}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
            writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
        shards.append(DecidedShard(ScoredShard(scored.name, str(scored), count, index), str(path), count))
    return shards, planted


def join(folder: Path, documents: int, rows: int) -> dict:
    """The join in this process: figures, and what it found."""
    shards, planted = write_run(folder / "run", documents, rows)
    search_files((), (), open_ledger(str(folder / "ledger"), KEYS).reading([SYNTHETIC]), MIN_SIMILARITY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    reading = open_ledger(str(folder / "ledger"), KEYS).reading([SYNTHETIC])
    probes = [made for shard in shards for made in emit_probes(shard, (ORIGIN_CODES["synthetic"],), BANDS, EXTRA_BANDS, str(folder / "probes"))]
    emitted = time.process_time()
    found = [keyed for files in group_files(reading.files) for keyed in search_files(files, probes, reading, MIN_SIMILARITY)]
    ended = time.process_time()
    addresses = {address for _, batch in found for address in batch["address"].to_pylist()}
    near = [address in addresses for address, changed in planted.items() if changed]
    return {
        "emit_s": emitted - began,
        "search_s": ended - emitted,
        "rss_before_mb": before / 1024,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows_read": sum(file.num_rows for file in reading.files),
        "bytes_a_row": sum(file.num_bytes for file in reading.files) / max(1, sum(file.num_rows for file in reading.files)),
        "equal_found": sum(address in addresses for address, changed in planted.items() if not changed),
        "equal": sum(not changed for changed in planted.values()),
        "near_found": sum(near),
        "near": len(near),
        "foreign": len(addresses - set(planted)),
    }


def _publisher(output: Path, run_id: str):
    def publish() -> str:
        output.mkdir(exist_ok=True)
        (output / "manifest.json").write_text(json.dumps({"run": {"id": run_id}}))
        return str(output)

    return publish


def _main(documents: int) -> None:
    print(
        f"python -m benchmarks.ledger {documents}; {platform.processor() or platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )
    print(f"{'ledger':<42}{'join CPU-s':>11}{'us a row':>10}{'RSS MB':>8}{'B a row':>9}{'equal found':>15}{'near found':>15}{'foreign':>9}")
    root = Path(tempfile.mkdtemp(prefix="headwater-ledger-"))
    try:
        for times, human in ((0, 0), (1, 0), (1, 10), (10, 0)):
            folder = root / f"{times}-{human}"
            (folder / "run").mkdir(parents=True)
            open_ledger(str(folder / "ledger"), KEYS)
            fill_ledger(folder / "ledger", times * documents, "synthetic")
            fill_ledger(folder / "ledger", human * documents, "human")
            command = [sys.executable, "-m", "benchmarks.ledger", "--join", str(folder), str(documents), str(times * documents)]
            held = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            name = f"{times * documents:,} synthetic rows" + (f", {human * documents:,} human" if human else "")
            each = 1e6 * held["search_s"] / held["rows_read"] if held["rows_read"] else 0.0
            print(
                f"{name:<42}{held['emit_s'] + held['search_s']:>11.2f}{each:>10.2f}{held['rss_mb']:>8.0f}{held['bytes_a_row']:>9.0f}"
                f"{held['equal_found']:>8,}/{held['equal']:,}{held['near_found']:>10,}/{held['near']:,}{held['foreign']:>9}"
            )
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--join"]:
        print(json.dumps(join(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
    else:
        _main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
