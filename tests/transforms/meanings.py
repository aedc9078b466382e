"""Scored shards and decision files of documents with chosen embeddings, and a cosine in plain Python."""

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.transforms.shard_files import hash_id
from transforms.records import DECISION_SCHEMA, DecidedShard, ScoredShard, make_addresses

DIMENSIONS = 16


@dataclass(frozen=True)
class Meant:
    """A document as its meaning."""

    id: str
    vector: np.ndarray | None
    origin: int = 0
    quality: float = 0.5
    reason: str | None = None


def write_meant(folder, shards):
    """One scored Parquet file and one decision file for each list of documents."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder, index, documents) for index, documents in enumerate(shards)]


def _write(folder, index, documents):
    n, scored, path = len(documents), folder / f"{index:04d}.parquet", folder / f"{index:04d}.arrow"
    vectors = pa.array([None if one.vector is None else one.vector.astype(np.int8).tobytes() for one in documents], pa.binary(DIMENSIONS))
    pq.write_table(pa.table({"embedding": vectors}), scored, row_group_size=7)
    columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
    columns["address"] = pa.array(make_addresses(index, np.arange(n)))
    columns["id"], columns["reason"] = (pa.array([getattr(one, name) for one in documents], pa.string()) for name in ("id", "reason"))
    columns["origin"] = pa.array([one.origin for one in documents], pa.uint8())
    columns["quality"] = pa.array([one.quality for one in documents], pa.float32())
    columns["row_key"] = pa.array([hash_id(one.id) for one in documents], pa.uint64())
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(pa.table(columns, schema=DECISION_SCHEMA))
    return DecidedShard(ScoredShard(scored.name, str(scored), n, index), str(path), sum(one.reason is None for one in documents))


def direction(generator, near=None, spread=0.0):
    base = generator.standard_normal(DIMENSIONS) if near is None else near + spread * generator.standard_normal(DIMENSIONS) * np.linalg.norm(near) / 4
    return np.rint(base / np.abs(base).max() * 127)


def meanings(seed=0, subjects=30, members=4):
    """Documents about `subjects`, some nearly alike, and as many others."""
    generator, documents = np.random.default_rng(seed), []
    for subject in range(subjects):
        base = direction(generator)
        for member in range(members):
            details = {"origin": int(generator.integers(3)), "quality": float(generator.integers(3)) / 4}
            documents.append(Meant(f"{subject:03}-{member}", direction(generator, base, 0.2 * member), **details))
        documents.append(Meant(f"{subject:03}-else", direction(generator)))
    return documents


def arrange(documents, order, cuts):
    arranged = [documents[place] for place in order]
    return [arranged[start:end] for start, end in itertools.pairwise([0, *cuts, len(arranged)])]


def exact_cosine(a, b):
    a, b = a.astype(int), b.astype(int)
    return np.float32(min(float(a @ b) / (np.sqrt(float(a @ a)) * np.sqrt(float(b @ b))), 1))
