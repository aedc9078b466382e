"""Keeping the ledger true: withdrawals, its agreement with the published shards, and its files few."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.content import ContentHashScorer
from classifiers.text_batch import TextBatch
from pipeline.ledger import Snapshot, deltalake, open_table, place, snapshot_of
from pipeline.ledger_commit import commit_withdrawal, recover
from pipeline.ledger_history import PublishedRun, published_runs
from pipeline.ledger_queries import PUBLISHED, existing_ledger
from transforms.ledger_files import LEDGER_SCHEMA, ROW_GROUP_ROWS, WITHDRAWN, split_rows, write_ledger_file
from transforms.storage import join_path, open_arrow, open_binary

HASH_BLOCK_BYTES = 1 << 20
"""Bytes of a shard that are hashed at a time."""


def withdraw(url: str, ids: Sequence[str]) -> dict[str, Any]:
    """Marks all publications of these ids as withdrawn, in one commit: their texts are not published again. What cannot be found is named.

    Ids that are withdrawn already are left alone, so repeating it changes nothing. Returns the datasets that hold them, for their owners to mend.
    """
    snapshot = existing_ledger(url)
    wanted = sorted(set(ids))
    held = snapshot.find("id", wanted, LEDGER_SCHEMA.names, PUBLISHED)
    before = set(snapshot.find("id", wanted, ["id"], [WITHDRAWN])["id"].to_pylist())
    new = held.filter(pc.invert(pc.is_in(held["id"], value_set=pa.array(sorted(before), pa.string()))))
    if new.num_rows:
        run_id = f"withdrawal-{_now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        rows = new.set_column(LEDGER_SCHEMA.get_field_index("kind"), LEDGER_SCHEMA.field("kind"), pa.repeat(pa.scalar(WITHDRAWN), new.num_rows))
        files = [write_ledger_file(part, place(url), kind, name, run_id) for kind, name, part in split_rows(rows)]
        commit_withdrawal(url, run_id, files)
    outputs = {run.run_id: run.output for run in published_runs(url)}
    reached = Counter((row["cycle"], row["run_id"], row["shard"]) for row in held.select(["cycle", "run_id", "shard"]).to_pylist())
    return {
        "withdrawn": len(set(new["id"].to_pylist())),
        "already": len(before),
        "unknown": sorted(set(wanted) - set(held["id"].to_pylist())),
        "reached": [
            {"cycle": cycle, "run": run, "output": outputs.get(run, ""), "shard": shard, "documents": count}
            for (cycle, run, shard), count in sorted(reached.items())
        ],
    }


def verify_ledger(url: str, outputs: Sequence[str] = ()) -> list[str]:
    """Faults of the ledger against the published shards, a sentence each; none is well. Runs that died are brought to an end first.

    A file of the ledger that cannot be read is the only fault then: nothing can be counted without it. Checks `outputs`, or every dataset that the
    log names and that is still there with the run that published it: names, digests and rows of the shards, and the content hash of every text.
    Cost: all text of those datasets is read and hashed.
    """
    done = recover(url)
    for sentence in done:
        print(f"recovered: {sentence}", file=sys.stderr)
    snapshot = existing_ledger(url)
    runs = published_runs(url)
    try:
        faults = _check_counts(snapshot, runs)
    except (ValueError, OSError) as error:
        return [f"{url}: a file of the ledger cannot be read: {error}"]
    committed = {run.run_id: run for run in runs}
    for output in outputs or dict.fromkeys(run.output for run in runs):
        manifest = _manifest(output)
        if manifest is None:
            faults += [f"{output}: holds no dataset"] if outputs else []
            continue
        run_id = manifest["run"]["id"]
        if run_id not in committed:
            faults += [f"{output}: was published by run {run_id}, which the ledger does not hold"] if outputs else []
            continue
        faults += _check_dataset(snapshot, run_id, output, manifest)
    return faults


def compact_ledger(url: str, *, min_age_hours: float = 168) -> dict[str, int]:
    """Joins the small files of each kind and part into few, and deletes files that no version of the last `min_age_hours` hours names.

    Rows stay as they are; a run that is being decided meanwhile is not disturbed, as long as it takes less than that.
    """
    recover(url)
    table = open_table(url)
    before = len(snapshot_of(table, url).files)
    properties = deltalake().WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=ROW_GROUP_ROWS)
    table.optimize.compact(writer_properties=properties)
    deleted = table.vacuum(retention_hours=min_age_hours, dry_run=False, enforce_retention_duration=False)
    return {"files_before": before, "files_after": len(snapshot_of(open_table(url), url).files), "files_deleted": len(deleted)}


def _check_counts(snapshot: Snapshot, runs: Sequence[PublishedRun]) -> list[str]:
    held: Counter[str] = Counter()
    for table in snapshot.read(["run_id"], PUBLISHED):
        for row in pc.value_counts(table["run_id"]).to_pylist():
            held[row["values"]] += row["counts"]
    faults = [
        f"run {run.run_id} committed {run.rows:,} rows, but the ledger holds {held[run.run_id]:,}" for run in runs if held[run.run_id] != run.rows
    ]
    known = Counter(run.run_id for run in runs)
    faults += [f"run {run_id} was committed {count} times" for run_id, count in known.items() if count > 1]
    return faults + [f"{held[run_id]:,} rows are of run {run_id}, which no commit names" for run_id in sorted(set(held) - set(known))]


def _check_dataset(snapshot: Snapshot, run_id: str, output: str, manifest: dict[str, Any]) -> list[str]:
    rows = snapshot.find("run_id", [run_id], ["shard", "shard_digest", "id", "content_hash"], PUBLISHED)
    stated = {shard["name"]: shard for shard in manifest["shards"]}
    faults = [
        f"{output}: the ledger names shard {name}, which the manifest does not" for name in sorted(set(rows["shard"].to_pylist()) - set(stated))
    ]
    for name, shard in sorted(stated.items()):
        of_shard = rows.filter(pc.equal(rows["shard"], name))
        path = join_path(output, "data", name)
        try:
            digest, held = _digest(path), _hashes(path)
        except (OSError, pa.ArrowInvalid) as error:
            faults.append(f"{path}: cannot be read: {error}")
            continue
        named = {shard["sha256"], *of_shard["shard_digest"].to_pylist()}
        if named != {digest}:
            faults.append(f"{path}: has digest {digest[:16]}, where manifest and ledger say {', '.join(sorted(one[:16] for one in named))}")
        listed = sorted(zip(of_shard["id"].to_pylist(), of_shard["content_hash"].to_pylist(), strict=True))
        if listed != held:
            faults.append(
                f"{path}: holds {len(held):,} documents, of which the ledger has {len(set(held) & set(listed)):,} among its {len(listed):,} rows of that shard"
            )
    return faults


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with contextlib.closing(open_binary(path)) as file:
        while block := file.read(HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _hashes(path: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with open_arrow(path) as file, pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(batch_size=10_000, columns=["id", "text"], use_threads=False):
            hashes = ContentHashScorer().score(TextBatch(batch.column("text").cast(pa.string())))["content_hash"]
            found += zip(batch.column("id").to_pylist(), hashes.to_pylist(), strict=True)
    return sorted(found)


def _manifest(output: str) -> dict[str, Any] | None:
    try:
        with contextlib.closing(open_binary(join_path(output, "manifest.json"))) as file:
            return json.loads(file.read())
    except (OSError, ValueError):
        return None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
