"""Rows of Arrow tables become the documents that the same records as JSON become: of any slice, type of text, and cut into batches of any size."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.inputs import FieldNames
from transforms.map_records import RecordMapper, Unreadable
from transforms.parse_table import parse_table
from transforms.parsed_batches import BatchBuilder
from transforms.records import BATCH_BYTES, BATCH_DOCUMENTS, DeadReason, Origin

TEXTS = st.none() | st.sampled_from(["", " \u2028\t", "plain", "n\u00efce \U0001f600", "a\0b"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": TEXTS,
            "id": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
            "label": st.none() | st.sampled_from(["human", "AI", "martian"]),
            "score": st.none() | st.floats(),
        }
    ),
    max_size=8,
)
KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.string())]


def gather(batches: list, builder: BatchBuilder) -> tuple[list[dict], list[tuple[str, DeadReason, Origin]], int]:
    """Documents, what was lost and the number read, of all batches."""
    found = [*batches, *builder.rest()]
    documents = [document for batch in found for document in batch.documents.to_pylist()]
    return documents, [(letter.location, letter.reason, letter.origin) for batch in found for letter in batch.dead], sum(one.num_read for one in found)


def by_record(rows: list[dict], first_row: int, declared: Origin | None) -> tuple[list[dict], list[tuple[str, DeadReason, Origin]], int]:
    """What `map_record` makes of each row, one by one."""
    mapper = RecordMapper(FieldNames(), "books", declared)
    builder = BatchBuilder(mapper)
    for number, row in enumerate(rows, first_row):
        try:
            builder.add(*mapper.map_record(dict(row)), f"f#{number}")
        except Unreadable as error:
            builder.lose(f"f#{number}", error)
    return gather([], builder)


@given(ROWS, st.integers(0, 4), st.integers(0, 8), st.sampled_from(KINDS), st.sampled_from([Origin.HUMAN, None]), st.integers(1, 8))
@settings(max_examples=80)
def test_a_slice_of_any_type_gives_what_its_records_give(rows, begin, length, kind, declared, step):
    types = {"text": kind, "id": pa.int64(), "label": pa.string(), "score": pa.float64()}
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string() if name == "text" else of) for name, of in types.items()})
    text = table["text"].combine_chunks()
    whole = text.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else text.cast(kind)
    batch = pa.record_batch([whole, *(table[name].combine_chunks() for name in list(types)[1:])], names=list(types)).slice(begin, length)
    mapper = RecordMapper(FieldNames(), "books", declared)
    builder, found = BatchBuilder(mapper), []
    for start in range(0, max(1, batch.num_rows), step):
        found += parse_table(batch.slice(start, step), mapper, builder, "f#", 10 + start)
    assert gather(found, builder) == by_record(rows[begin : begin + length], 10, declared)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_batch_without_rows_gives_nothing(kind):
    for empty in (pa.array([], kind), pa.array(["a"], pa.string()).dictionary_encode().slice(1) if pa.types.is_dictionary(kind) else pa.nulls(3, kind).slice(3)):
        mapper = RecordMapper(FieldNames(), "books", Origin.HUMAN)
        builder = BatchBuilder(mapper)
        assert list(parse_table(pa.record_batch([empty], names=["text"]), mapper, builder, "f#", 0)) == []
        assert builder.take() is None


def test_rows_without_a_column_of_text_are_lost_each():
    mapper = RecordMapper(FieldNames(), "books", Origin.HUMAN)
    builder = BatchBuilder(mapper)
    batch = pa.record_batch([pa.array([1, 2])], names=["n"])
    documents, lost, num_read = gather(list(parse_table(batch, mapper, builder, "f#", 0)), builder)
    assert documents == [] and num_read == 2
    assert lost == [("f#0", DeadReason.MISSING_TEXT, Origin.HUMAN), ("f#1", DeadReason.MISSING_TEXT, Origin.HUMAN)]


def test_a_bad_byte_costs_its_own_row_alone_in_a_slice_too():
    texts = pa.array([b"one", b"\xff\xfe", None, b"\xc3", b"two"], pa.binary()).slice(1)
    mapper = RecordMapper(FieldNames(), "books", Origin.SYNTHETIC)
    builder = BatchBuilder(mapper)
    batch = pa.record_batch([texts, pa.array([json.dumps(n) for n in range(4)])], names=["text", "id"])
    documents, lost, num_read = gather(list(parse_table(batch, mapper, builder, "f#", 1)), builder)
    assert [one["text"] for one in documents] == ["two"] and documents[0]["location"] == "f#4" and num_read == 4
    reasons = [(place, reason) for place, reason, _ in lost]
    assert reasons == [("f#1", DeadReason.NOT_UTF8), ("f#2", DeadReason.MISSING_TEXT), ("f#3", DeadReason.NOT_UTF8)]


@given(st.lists(st.sampled_from([1, BATCH_BYTES // 2, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1, -1, -400]), max_size=7))
@settings(max_examples=25)
def test_batches_hold_what_was_added_and_lost_in_order_and_no_more_than_they_may(sizes):
    """Below 0: so many records that are lost together."""
    mapper = RecordMapper(FieldNames(), "books", Origin.HUMAN)
    row = mapper.map_rest({}, mapper.roles_of(()), Origin.HUMAN, b"", None)
    builder, found = BatchBuilder(mapper), []
    block = memoryview(b"x" * (BATCH_BYTES + 1))
    for place, size in enumerate(sizes):
        lost = Unreadable(DeadReason.MALFORMED, "no")
        full = builder.add(block[:size], row, str(place)) if size > 0 else builder.lose(str(place), lost, count=-size)
        found += [full] if full else []
    found += builder.rest()
    held = [[len(text) for text in batch.documents["text"].to_pylist()] for batch in found]
    assert [size for batch in held for size in batch] == [size for size in sizes if size > 0]
    assert all(len(batch) <= 1 or sum(batch) <= BATCH_BYTES for batch in held)
    assert [letter.count for batch in found for letter in batch.dead] == [-size for size in sizes if size < 0]
    assert sum(batch.num_read for batch in found) == sum(max(1, -size) for size in sizes)
    assert all(batch.num_read for batch in found)


def test_a_batch_is_full_at_a_thousand_documents_or_a_thousand_letters():
    mapper = RecordMapper(FieldNames(), "books", Origin.HUMAN)
    row = mapper.map_rest({}, mapper.roles_of(()), Origin.HUMAN, b"", None)
    builder = BatchBuilder(mapper)
    assert not any(builder.add(b"x", row, "") for _ in range(BATCH_DOCUMENTS))
    assert builder.add(b"y", row, "").documents.num_rows == BATCH_DOCUMENTS
    (last,) = builder.rest()
    assert last.documents["text"].to_pylist() == ["y"]
    letters = [builder.lose("", Unreadable(DeadReason.MALFORMED, "no")) for _ in range(BATCH_DOCUMENTS)]
    assert not any(letters[:-1]) and len(letters[-1].dead) == BATCH_DOCUMENTS and builder.take() is None
