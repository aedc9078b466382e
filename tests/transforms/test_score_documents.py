"""Scoring a split: every record becomes a scored row or a dead letter, and a failing scorer costs one document, not its batch."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.scorers import ScoreSettings
from classifiers.text_batch import TextBatch
from tests.texts import documents, write_jsonl
from transforms.inputs import FieldNames, InputSpec
from transforms.plan_splits import plan_splits
from transforms.records import DOCUMENT_SCHEMA
from transforms.score_documents import row_keys, score_batch, score_split, scored_schema
from transforms.scored_shards import read_scored_metadata, recall_split

SETTINGS = ScoreSettings(scorers=("size", "gopher_quality", "gopher_repetition", "quality", "content_hash", "signature"))


@pytest.fixture
def scored(tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", documents("a", range(30)))
    with open(path, "a") as file:
        file.write('{"id": "x", "text": \n{"id": "y", "text": "  "}\n')
    (split,) = plan_splits([InputSpec("books", str(path), "human")], FieldNames())
    (result,) = score_split(split, FieldNames(), SETTINGS, str(tmp_path / "scored"), str(tmp_path / "dead"))
    return tmp_path, split, result


def test_every_record_is_scored_or_dead(scored):
    tmp_path, split, result = scored
    assert result.shard.num_rows == 30
    assert dict(result.books) == {
        ("books", "human", "read", "", ""): 32,
        ("books", "human", "dead", "read", "malformed"): 1,
        ("books", "human", "dead", "read", "empty_text"): 1,
    }
    letters = [json.loads(line) for line in (tmp_path / "dead" / f"{split.name}.jsonl").read_text().splitlines()]
    assert [letter["location"].rsplit(":", 1)[1] for letter in letters] == ["31", "32"]


def test_a_scored_shard_holds_text_and_every_score(scored):
    _, split, result = scored
    table = pq.read_table(result.shard.path)
    assert table.schema.names == scored_schema(SETTINGS).names
    assert table["id"].to_pylist() == [f"a-{n:05d}" for n in range(30)]
    assert result.shard.name == f"{split.name}.parquet"
    assert all(words > 50 for words in table["words"].to_pylist())


def test_a_shard_says_who_scored_it(scored):
    _, _, result = scored
    about = read_scored_metadata(result.shard.path)
    assert set(about["scorers"]) == set(SETTINGS.scorers)
    assert all(made["version"] and made["fields"] for made in about["scorers"].values())
    assert about["settings"]["bands"] == 14


def test_remix_recalls_from_the_shard_what_scoring_said(scored):
    _, _, result = scored
    assert recall_split(result.shard.path) == [result]


def test_scoring_again_gives_the_same_bytes(scored, tmp_path):
    _, split, result = scored
    (again,) = score_split(split, FieldNames(), SETTINGS, str(tmp_path / "again"), str(tmp_path / "dead2"))
    assert open(again.shard.path, "rb").read() == open(result.shard.path, "rb").read()


def test_other_files_are_not_taken_for_scored_shards(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="not a scored shard"):
        read_scored_metadata(str(tmp_path / "other.parquet"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match="not a whole Parquet file"):
        read_scored_metadata(str(tmp_path / "broken.parquet"))


class Fussy:
    """A scorer that fails on any batch that holds a certain word."""

    name, version = "fussy", "1"
    fields = pa.schema([("content_hash", pa.binary(16))])

    def __init__(self):
        self.calls = 0

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        self.calls += 1
        texts = batch.texts.to_pylist()
        if any("poison" in text for text in texts):
            raise RuntimeError("cannot swallow this")
        return {"content_hash": pa.array([b"0" * 16] * len(texts), pa.binary(16))}


def batch_of(texts):
    rows = [{"id": f"d{n}", "text": text, "origin": "human", "source": "s", "location": f"f:{n + 1}"} for n, text in enumerate(texts)]
    return pa.RecordBatch.from_pylist(rows, DOCUMENT_SCHEMA)


SCHEMA = pa.schema([*DOCUMENT_SCHEMA, pa.field("row_key", pa.uint64(), nullable=False), *Fussy.fields])


@pytest.mark.parametrize("poisoned", [[], [0], [99], [3, 50, 51], list(range(100))])
def test_a_failing_document_is_a_dead_letter_and_its_neighbours_are_scored(poisoned):
    texts = ["poison" if n in poisoned else f"text {n}" for n in range(100)]
    fussy = Fussy()
    batches, letters = score_batch(batch_of(texts), [fussy], SCHEMA)
    scored_ids = [row for batch in batches for row in batch["id"].to_pylist()]
    assert scored_ids == [f"d{n}" for n in range(100) if n not in poisoned]
    assert [letter.location for letter in letters] == [f"f:{n + 1}" for n in poisoned]
    assert all(letter.stage == "score" and letter.reason == "scorer_failed" and "cannot swallow" in letter.detail for letter in letters)
    if len(poisoned) == 1:
        assert fussy.calls <= 2 * 8


def test_an_empty_batch_is_no_work():
    fussy = Fussy()
    assert score_batch(batch_of([]), [fussy], SCHEMA) == ([], []) and fussy.calls == 0


def test_row_keys_depend_on_id_source_and_content_alone():
    batch = batch_of(["a", "b"])
    hashes = pa.array([b"1" * 16, b"2" * 16], pa.binary(16))
    keys = row_keys(batch, hashes)
    assert keys.dtype == np.uint64
    assert row_keys(batch.slice(1), hashes.slice(1))[0] == keys[1]
    changed = batch.set_column(0, "id", pa.array(["d0", "other"]))
    assert (row_keys(changed, hashes) == keys).tolist() == [True, False]
