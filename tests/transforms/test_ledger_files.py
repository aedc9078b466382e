"""Rows of the ledger: what they hold, where they lie, and that they can be read back."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from tests.transforms.ledger_rows import content_of, rows_of_documents, write_rows
from tests.transforms.shard_files import BANDS, HASHES, Document, random_signature, vary
from transforms.ledger_files import (
    EXTRA_BANDS,
    FILE_SCHEMA,
    LEDGER_SCHEMA,
    cut_bands,
    lookup_keys,
    make_rows,
    matrix_of,
    read_ledger_file,
    split_rows,
    write_ledger_file,
)

RANDOM = np.random.default_rng(5)


def some_documents(count=200):
    return [Document(f"d{n:04}", random_signature(RANDOM), origin=n % 5) for n in range(count)]


def test_every_document_has_one_row_with_where_it_was_published():
    documents = some_documents()
    rows = rows_of_documents(documents, "spring", "run-1", generation=pa.array([n % 3 for n in range(200)], pa.int16()))
    assert rows.schema == LEDGER_SCHEMA
    assert rows["id"].to_pylist() == [held.id for held in documents]
    assert set(rows["cycle"].to_pylist()) == {"spring"} and set(rows["run_id"].to_pylist()) == {"run-1"}
    assert rows["generation"].to_pylist()[:4] == [0, 1, 2, 0]
    assert rows["generator"].null_count == rows["parents"].null_count == 200
    assert rows["content_hash"].to_pylist() == [content_of(held) for held in documents]
    assert rows["signature"].to_pylist() == [held.signature for held in documents]


def test_human_and_presumed_human_text_is_one_kind_and_all_else_the_other():
    rows = rows_of_documents(some_documents(5), "c", "r")
    assert rows["kind"].to_pylist() == ["human", "human", "synthetic", "synthetic", "synthetic"]


def test_the_part_is_the_first_digit_of_the_content_hash():
    rows = rows_of_documents(some_documents(), "c", "r")
    assert rows["part"].to_pylist() == [value.hex()[0] for value in rows["content_hash"].to_pylist()]


def test_a_text_without_a_word_has_neither_bands_nor_signature():
    rows = rows_of_documents([Document("words", random_signature(RANDOM)), Document("none", None)], "c", "r")
    assert rows["bands"].is_null().to_pylist() == rows["signature"].is_null().to_pylist() == [False, True]


def test_splitting_gives_each_row_once_to_its_kind_and_part():
    rows = rows_of_documents(some_documents(), "c", "r")
    parts = split_rows(rows)
    assert len({(kind, part) for kind, part, _ in parts}) == len(parts)
    for kind, part, held in parts:
        assert set(held["kind"].to_pylist()) == {kind} and set(held["part"].to_pylist()) == {part}
    assert sorted(name for *_, held in parts for name in held["id"].to_pylist()) == sorted(rows["id"].to_pylist())


def test_a_file_is_the_same_whatever_the_order_of_its_rows(tmp_path):
    (kind, part, rows), *_ = split_rows(rows_of_documents(some_documents(), "c", "r"))
    mixed = rows.take(pa.array(RANDOM.permutation(rows.num_rows)))
    one, other = (write_ledger_file(held, str(tmp_path / name), kind, part, "run") for name, held in (("a", rows), ("b", mixed)))
    assert one == other
    assert (tmp_path / "a" / one.path).read_bytes() == (tmp_path / "b" / other.path).read_bytes()


def test_what_is_read_back_is_what_was_written(tmp_path):
    rows = rows_of_documents(some_documents(), "c", "r", parents=pa.array([["p", "q"]] * 200, pa.list_(pa.string())))
    files = write_rows(tmp_path, rows, "run")
    read = pa.concat_tables([read_ledger_file(str(tmp_path), file, LEDGER_SCHEMA.names) for file in files])
    assert read.sort_by("id").to_pylist() == rows.sort_by("id").to_pylist()
    assert sum(file.num_rows for file in files) == 200
    assert all((tmp_path / file.path).stat().st_size == file.num_bytes for file in files)


def test_rows_of_a_file_stand_in_order_of_their_content_hash(tmp_path):
    for file in write_rows(tmp_path, rows_of_documents(some_documents(), "c", "r"), "run"):
        hashes = read_ledger_file(str(tmp_path), file, ["content_hash"])["content_hash"].to_pylist()
        assert hashes == sorted(hashes)
        assert pq.read_schema(tmp_path / file.path).names == FILE_SCHEMA.names


def test_single_rows_are_read_by_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.ledger_files.ROW_GROUP_ROWS", 3)
    for file in write_rows(tmp_path, rows_of_documents(some_documents(), "c", "r"), "run"):
        whole = read_ledger_file(str(tmp_path), file, ["id"])["id"].to_pylist()
        wanted = np.arange(0, file.num_rows, 2)
        assert read_ledger_file(str(tmp_path), file, ["id"], wanted)["id"].to_pylist() == [whole[row] for row in wanted]
    assert read_ledger_file(str(tmp_path), file, ["id", "kind"], np.array([], np.int64)).num_rows == 0


def test_a_file_with_other_rows_than_the_ledger_counts_is_refused(tmp_path):
    (file, *_) = write_rows(tmp_path, rows_of_documents(some_documents(), "c", "r"), "run")
    wrong = type(file)(file.path, file.kind, file.part, file.num_rows + 1, file.num_bytes)
    with pytest.raises(ValueError, match=f"holds {file.num_rows} rows where the ledger counts {file.num_rows + 1}"):
        read_ledger_file(str(tmp_path), wrong, ["id"])


def test_values_of_another_width_are_refused():
    with pytest.raises(ValueError, match="not 16 bytes wide"):
        matrix_of(pa.chunked_array([pa.array([b"short"], pa.binary())]), 16)


# Bands

signature_pairs = st.tuples(arrays(np.uint8, (2, HASHES)), st.sets(st.integers(0, HASHES - 1)))


@given(signature_pairs)
def test_signatures_that_share_a_band_share_its_hash_and_hardly_any_other(pair):
    signatures, places = pair
    ours, theirs = signatures[0].tobytes(), vary(signatures[0].tobytes(), places)
    hashes = cut_bands(np.frombuffer(ours + theirs, np.uint8).reshape(2, HASHES), BANDS)
    assert hashes.shape == (2, BANDS + EXTRA_BANDS) and hashes.dtype == np.uint32
    for band in range(BANDS):
        shared = not places & set(range(8 * band, 8 * band + 8))
        assert (hashes[0, band] == hashes[1, band]) == shared


@given(st.integers(2, 20), st.integers(1, 9))
def test_any_cut_of_the_signature_gives_as_many_bands(bands, rows):
    signatures = RANDOM.integers(0, 256, (3, bands * rows), np.uint8)
    assert cut_bands(signatures, bands, 0).shape == (3, bands)
    assert np.array_equal(cut_bands(signatures, bands, 1)[:, :bands], cut_bands(signatures, bands, 0))


def test_a_document_is_looked_up_by_its_content_and_by_each_band():
    hashes, bands = RANDOM.integers(0, 256, (2, 16), np.uint8), np.arange(40, dtype="<u4").reshape(2, 20)
    keys = lookup_keys(hashes, bands, np.array([True, False]))
    assert keys.shape == (2, 21)
    assert keys[0, 0] == int.from_bytes(hashes[0, 4:8].tobytes(), "little") and keys[0, 1:].tolist() == bands[0].tolist()
    assert set(keys[1].tolist()) == {int.from_bytes(hashes[1, 4:8].tobytes(), "little")}


def test_no_rows_make_an_empty_table():
    published = rows_of_documents([], "c", "r")
    assert published.num_rows == 0 and published.schema == LEDGER_SCHEMA
    assert split_rows(published) == []


def test_columns_that_a_dataset_lacks_are_null():
    table = pa.table(
        {
            "id": ["a"],
            "origin": ["human"],
            "source": ["s"],
            "content_hash": pa.array([bytes(16)], pa.binary(16)),
            "signature": pa.array([bytes(HASHES)], pa.binary(HASHES)),
        }
    )
    (row,) = make_rows(table, BANDS, cycle="c", run_id="r", shard="s", shard_digest="d", published_at="2025-01-01T00:00:00+00:00").to_pylist()
    assert row["task"] is row["generation"] is row["parents"] is None
