"""What is not a scored shard is refused by its path and with what to give instead, and a shard without documents says all that others do."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.detectors import CascadeWork
from transforms.scored_shards import FORMAT, METADATA_KEY, dead_letters_name, read_scored_columns, read_scored_metadata, recall_split

ABOUT = {
    "format": FORMAT,
    "scorers": {"size": {"version": "size-1"}},
    "settings": {"b": 1, "a": 2},
    "books": [["web", "human", "read", "", "", 3], ["web", "human", "dead", "read", "malformed", 3]],
    "origin_conflicts": 0,
    "num_bytes": 0,
    "input_bytes": 77,
}


def written(path, about: bytes | None, **columns) -> str:
    table = pa.table(columns or {"text": pa.array([], pa.string())})
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: about} if about is not None else None), path)
    return str(path)


@pytest.mark.parametrize("about", [None, b"", b"not json", b"null", b"[1]", b'"scored"', b"{}", b"\xff"], ids=repr)
def test_a_file_that_says_nothing_of_scores_is_no_scored_shard(tmp_path, about):
    path = written(tmp_path / "a.parquet", about)
    said = f"{path}: is not a scored shard of Headwater; give the scored/ folder that `headwater curate` left"
    for read in (read_scored_metadata, read_scored_columns, recall_split):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            read(path)


def test_another_layout_is_named_with_the_one_that_is_read(tmp_path):
    path = written(tmp_path / "a.parquet", b'{"format": 9}')
    said = f"{path}: has the layout 9, this version reads {FORMAT}; score again with `headwater curate`"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_scored_metadata(path)


def test_a_shard_without_documents_is_recalled_with_its_books(tmp_path):
    unknown = {"text": pa.array([], pa.string()), "source": pa.array([], pa.string()), "origin": pa.array([], pa.string())}
    (found,) = recall_split(written(tmp_path / "s-000.parquet", json.dumps(ABOUT | {"unlabelled": []}).encode(), **unknown))
    assert (found.shard.name, found.shard.num_rows, found.input_bytes) == ("s-000.parquet", 0, 77)
    assert found.books == ((("web", "human", "read", "", ""), 3), (("web", "human", "dead", "read", "malformed"), 3))
    assert found.cascade_work is None and found.keys == () and found.unlabelled == ()
    assert dead_letters_name(found.shard.name) == "s-000.jsonl"


def test_two_shards_scored_alike_say_so_whatever_the_order_of_their_settings(tmp_path):
    turned = ABOUT | {"settings": dict(reversed(ABOUT["settings"].items())), "unlabelled": []}
    first, second = (
        recall_split(written(tmp_path / f"{number}.parquet", json.dumps(about).encode()))[0]
        for number, about in enumerate((ABOUT | {"unlabelled": []}, turned))
    )
    assert first.scored_by == second.scored_by
    other = recall_split(written(tmp_path / "9.parquet", json.dumps(turned | {"settings": {"a": 2}}).encode()))[0]
    assert other.scored_by != first.scored_by


def test_what_later_versions_added_comes_back_as_it_was_stored(tmp_path):
    work = CascadeWork(*range(len(CascadeWork.__dataclass_fields__)))
    about = ABOUT | {"cascade_work": list(vars(work).values()), "keys": [["url", 2]], "unlabelled": [["web", 4, [[0, 1, 2]]]]}
    (found,) = recall_split(written(tmp_path / "a.parquet", json.dumps(about).encode()))
    assert found.cascade_work == work and found.keys == (("url", 2),)
    assert [(one.source, one.documents, one.cells) for one in found.unlabelled] == [("web", 4, ((0, 1, 2),))]
