"""SCORE: reads one split, scores its documents batch by batch, and leaves one scored Parquet shard and its dead letters.

Scorers only add numbers: nothing is dropped here. The shard is named after its split, so that a retried bundle overwrites
itself, and carries in its metadata who made each score and how many records were read: all that `remix` needs.

Memory: one split's documents and scores (`split_bytes`, 16 MiB, and about as much again), never more.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from classifiers.detectors import CascadeWork
from classifiers.scorers import Scorer, ScoreSettings, make_scorers, score_fields
from classifiers.text_batch import TextBatch
from transforms.count_unlabelled import count_unlabelled
from transforms.dead_letters import DeadLetter, quote_start
from transforms.document_keys import hash_keys, key_fields
from transforms.inputs import FieldNames, Split
from transforms.read_documents import read_split
from transforms.records import DOCUMENT_SCHEMA, DeadReason, ScoredShard, Stage
from transforms.scored_shards import FORMAT, METADATA_KEY, SplitScored, dead_letters_name
from transforms.spare_turns import spare_turns
from transforms.storage import join_path, write_whole

ROW_GROUP_DOCUMENTS = 10_000
DETAIL_CHARS = 300
"""Characters of an exception's message kept in a dead letter."""

ROW_KEY = pa.field("row_key", pa.uint64(), nullable=False)
_WORDLIKE = ("source", "origin", "generator", "task", "licence", "consent", "declared_language", "language", "ai_tier")
_INCOMPRESSIBLE = ("signature", "bands", "content_hash", "row_key", "line_hashes")

Books = Counter
"""Counts of records: (source, declared origin, "read" | "dead", stage, reason) -> records."""


def scored_schema(settings: ScoreSettings) -> pa.Schema:
    """The columns of a scored shard: the document's, `row_key`, the keys', and every scorer's."""
    return pa.schema([*DOCUMENT_SCHEMA, ROW_KEY, *key_fields(settings.keys), *score_fields(settings)])


def score_split(split: Split, fields: FieldNames, settings: ScoreSettings, scored_folder: str, dead_folder: str) -> list[SplitScored]:
    """Reads and scores `split`; a pool task. Deterministic: the same split gives the same bytes.

    A document that makes a scorer fail becomes a dead letter; its neighbours are scored. Raises OSError when the shard
    cannot be written.
    """
    scorers = _scorers(settings)
    schema = scored_schema(settings)
    _take_cascade_work(scorers)
    books: Books = Counter()
    conflicts = 0
    letters: list[DeadLetter] = []
    batches: list[pa.RecordBatch] = []
    for parsed in read_split(split, fields):
        conflicts += parsed.origin_conflicts
        letters.extend(parsed.dead)
        for origin, count in _value_counts(parsed.documents["origin"]):
            books[split.source, origin, "read", "", ""] += count
        for letter in parsed.dead:
            books[split.source, letter.origin, "read", "", ""] += letter.count
        scored, failed = score_batch(parsed.documents, scorers, schema, settings.keys)
        letters.extend(failed)
        batches.extend(scored)
    for letter in letters:
        books[split.source, letter.origin, "dead", letter.stage, letter.reason] += letter.count
    table = pa.Table.from_batches(batches, schema)
    name = f"{split.name}.parquet"
    result = SplitScored(
        shard=ScoredShard(name, join_path(scored_folder, name), table.num_rows),
        books=tuple(sorted(books.items())),
        origin_conflicts=conflicts,
        num_bytes=int(pc.sum(table["bytes"]).as_py() or 0),
        input_bytes=split.num_bytes,
        scored_by=_scored_by(scorers, settings),
        cascade_work=_take_cascade_work(scorers),
        unlabelled=count_unlabelled(table),
        keys=tuple((key, table.num_rows - table[name].null_count) for key, name in zip(settings.keys, key_fields(settings.keys).names, strict=True)),
    )
    write_scored(table, result)
    if letters:
        write_letters(letters, join_path(dead_folder, dead_letters_name(name)))
    return [result]


def score_batch(
    documents: pa.RecordBatch, scorers: Sequence[Scorer], schema: pa.Schema, keys: Sequence[str] = ()
) -> tuple[list[pa.RecordBatch], list[DeadLetter]]:
    """`documents` with every score and the `keys` beside them, and a dead letter for each document that made a scorer fail.

    A failing batch is halved until the documents at fault stand alone: log2(n) extra passes for one of n.
    """
    if documents.num_rows == 0:
        return [], []
    try:
        return [_scored(documents, scorers, schema, keys)], []
    except Exception as error:
        # Whatever a scorer raises on one document is that document's dead letter; the failure budget bounds how many.
        if documents.num_rows == 1:
            return [], [scorer_failure(documents, f"{type(error).__name__}: {error}")]
    middle = documents.num_rows // 2
    first, first_failed = score_batch(documents.slice(0, middle), scorers, schema, keys)
    second, second_failed = score_batch(documents.slice(middle), scorers, schema, keys)
    return first + second, first_failed + second_failed


def row_keys(documents: pa.RecordBatch, content_hashes: pa.Array) -> np.ndarray:
    """uint64[n]: xxh3 of id, source and content hash: what every seeded choice about a document is made from."""
    ids, sources = documents["id"].to_pylist(), documents["source"].to_pylist()
    hashes = content_hashes.to_pylist()
    keys = (xxhash.xxh3_64_intdigest(f"{id}\0{source}\0".encode() + content) for id, source, content in zip(ids, sources, hashes, strict=True))
    return np.fromiter(keys, dtype=np.uint64, count=len(ids))


_made: dict[ScoreSettings, list[Scorer]] = {}


def _scorers(settings: ScoreSettings) -> list[Scorer]:
    # Once a process: loading a model costs as much as scoring thousands of documents.
    if settings not in _made:
        if settings.evaluation is not None:
            # Imported here: a run without evaluation sets compiles none of it.
            from transforms.read_evaluation import ensure_index

            ensure_index(settings.evaluation)
        _made[settings] = make_scorers(settings)
    return _made[settings]


def _scored(documents: pa.RecordBatch, scorers: Sequence[Scorer], schema: pa.Schema, keys: Sequence[str]) -> pa.RecordBatch:
    batch = TextBatch(documents["text"])
    columns = dict(zip(documents.schema.names, documents.columns, strict=True))
    for scorer in scorers:
        columns |= scorer.score(batch)
    columns = spare_turns(documents, columns, scorers)
    columns |= hash_keys(documents, keys) if keys else {}
    columns[ROW_KEY.name] = pa.array(row_keys(documents, columns["content_hash"]))
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def scorer_failure(document: pa.RecordBatch, error: str) -> DeadLetter:
    """The dead letter of a batch of one document that made a scorer fail."""
    row = document.select(["origin", "source", "location", "text"]).to_pylist()[0]
    return DeadLetter(
        location=row["location"],
        origin=row["origin"],
        source=row["source"],
        stage=Stage.SCORE,
        reason=DeadReason.SCORER_FAILED,
        detail=error[:DETAIL_CHARS],
        first_bytes=quote_start(row["text"]),
    )


def _take_cascade_work(scorers: Sequence[Scorer]) -> CascadeWork | None:
    return next((scorer.take_work() for scorer in scorers if scorer.name == "ai_detector"), None)


def _value_counts(column: pa.Array) -> list[tuple[str, int]]:
    return [(entry["values"], entry["counts"]) for entry in column.value_counts().to_pylist()]


def _scored_by(scorers: Sequence[Scorer], settings: ScoreSettings) -> str:
    made = {scorer.name: {"version": scorer.version, "fields": scorer.fields.names} for scorer in scorers}
    return json.dumps({"scorers": made, "settings": settings.stored()}, sort_keys=True)


def write_scored(table: pa.Table, result: SplitScored) -> None:
    """Writes the scored shard that `result` names, with all that `recall_split` needs in its metadata."""
    about = {
        **json.loads(result.scored_by),
        "format": FORMAT,
        "books": [[*key, count] for key, count in result.books],
        "origin_conflicts": result.origin_conflicts,
        "num_bytes": result.num_bytes,
        "input_bytes": result.input_bytes,
        "keys": [list(one) for one in result.keys],
        "unlabelled": [[one.source, one.documents, one.cells] for one in result.unlabelled],
    }
    if result.cascade_work:
        # Not its CPU seconds: the same split must give the same bytes.
        about["cascade_work"] = [result.cascade_work.texts, result.cascade_work.deep_texts]
    schema = table.schema.with_metadata({METADATA_KEY: json.dumps(about, sort_keys=True).encode()})
    with write_whole(result.shard.path) as file:
        writer = pq.ParquetWriter(
            file,
            schema,
            compression={name: "none" if name in _INCOMPRESSIBLE else "zstd" for name in _leaf_names(schema)},
            compression_level={name: 1 for name in _leaf_names(schema) if name not in _INCOMPRESSIBLE},
            use_dictionary=[name for name in _WORDLIKE if name in schema.names],
            write_statistics=False,
        )
        with writer:
            writer.write_table(table, row_group_size=ROW_GROUP_DOCUMENTS)


def write_letters(letters: Sequence[DeadLetter], path: str) -> None:
    """Writes dead letters as JSON lines."""
    with write_whole(path) as file:
        for letter in letters:
            file.write(json.dumps(dataclasses.asdict(letter), ensure_ascii=True, sort_keys=True).encode() + b"\n")


def _leaf_names(schema: pa.Schema) -> list[str]:
    # Parquet names compression by leaf column: a list of structs has one leaf for each of its members.
    nested = {"messages": ["messages.list.element.role", "messages.list.element.content"], "parents": ["parents.list.element"]}
    return [leaf for name in schema.names for leaf in nested.get(name, [name])]
