"""Small published datasets with a ledger: real texts, real scorers, and a manifest as short as what reads it allows."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.content import ContentHashScorer
from classifiers.scorers import ScoreSettings
from classifiers.signature import SignatureScorer
from classifiers.text_batch import TextBatch
from pipeline.ledger import open_ledger
from pipeline.ledger_commit import publish_and_commit
from pipeline.ledger_queries import keys_of
from pipeline.ledger_records import PendingRun
from tests.texts import prose
from tests.transforms.ledger_rows import write_rows
from transforms.ledger_files import make_rows

SETTINGS = ScoreSettings()
SHARD = "train-00000-of-00001.parquet"


def record(name: str, text: str, origin: str = "synthetic", **fields: object) -> dict:
    """One document as published."""
    return {"id": name, "text": text, "origin": origin, "declared_origin": origin, "source": "models" if origin == "synthetic" else "books", **fields}


def records(prefix: str, seeds: range, origin: str = "synthetic", words: int = 90, **fields: object) -> list[dict]:
    return [record(f"{prefix}-{seed}", prose(seed, words), origin, **fields) for seed in seeds]


def published_table(documents: list[dict]) -> pa.Table:
    """The documents with the columns of a published file that reports and ledgers read."""
    n = len(documents)
    kinds = {"generator": pa.string(), "generation": pa.int16(), "parents": pa.list_(pa.string()), "task": pa.string()}
    columns = {name: pa.array([one[name] for one in documents], pa.string()) for name in ("id", "text", "origin", "declared_origin", "source")}
    columns |= {name: pa.array([one.get(name) for one in documents], kind) for name, kind in kinds.items()}
    sizes = [len(one["text"].split()) for one in documents]
    columns |= {"tokens": pa.array(sizes, pa.int32()), "bytes": pa.array([len(one["text"].encode()) for one in documents], pa.int32())}
    assert len(columns["id"]) == n
    return pa.table(columns)


def stage_dataset(ledger: Path, output: Path, documents: list[dict], run_id: str, cycle: str, **more) -> tuple[PendingRun, callable]:
    """Rows in the ledger's folder and a dataset ready to be published: the run, and what publishes it."""
    base = open_ledger(str(ledger), keys_of(SETTINGS)).version
    table = published_table(documents)
    staging = output.parent / f".{output.name}.staging-{run_id}"
    (staging / "data").mkdir(parents=True)
    pq.write_table(table, staging / "data" / SHARD)
    digest = hashlib.sha256((staging / "data" / SHARD).read_bytes()).hexdigest()
    manifest = {"run": {"id": run_id}, "shards": [{"name": SHARD, "sha256": digest, "documents": {"all": len(documents)}}]}
    (staging / "manifest.json").write_text(json.dumps(manifest))
    batch = TextBatch(table["text"].combine_chunks())
    scored = table.append_column("content_hash", ContentHashScorer().score(batch)["content_hash"])
    scored = scored.append_column("signature", SignatureScorer().score(batch)["signature"])
    rows = make_rows(scored, SETTINGS.bands, cycle=cycle, run_id=run_id, shard=SHARD, shard_digest=digest, published_at="2025-06-01T00:00:00+00:00")
    run = PendingRun(run_id, cycle, str(output), base, tuple(write_rows(ledger, rows, run_id)), **more)

    def publish() -> str:
        if staging.exists():
            staging.rename(output)
        return str(output / "manifest.json")

    return run, publish


def publish_dataset(ledger: Path, output: Path, documents: list[dict], run_id: str, cycle: str, **more) -> PendingRun:
    """A whole run: dataset, rows, commit."""
    run, publish = stage_dataset(ledger, output, documents, run_id, cycle, **more)
    publish_and_commit(str(ledger), run, publish)
    return run
