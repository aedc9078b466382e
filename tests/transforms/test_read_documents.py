"""Claims about reading files: every record comes out exactly once, as a document or as a dead letter that says where and why."""

import gzip
import itertools
import json
import os
import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pydoc_data.topics import topics

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.reading import json_lines, plan, read, read_file
from transforms.dead_letters import DeadLetter
from transforms.inputs import FieldNames
from transforms.read_documents import read_split
from transforms.records import BATCH_BYTES, DeadReason, Origin

# Kinds of lines with what each must become: a document (True), a dead letter, or no record at all (None).
LINES = [
    (b'{"text": "a document"}', True),
    ('{"text": "ein Stück"}'.encode(), True),
    (b'{"text": "carriage return"}\r', True),
    (b'{"text": "' + b"long " * 60 + b'"}', True),
    (b'{"text": "number", "score": NaN, "limit": -Infinity, "big": 123456789012345678901234567890}', True),
    (b"", None),
    (b" \t\r", None),
    (b'{"text": "cut', DeadReason.MALFORMED),
    (b'{"text": "\xff\xfe"}', DeadReason.NOT_UTF8),
    (b'{"text": "\\ud800"}', DeadReason.NOT_UTF8),
    (b'{"title": "no text"}', DeadReason.MISSING_TEXT),
    (b'{"text": "  "}', DeadReason.EMPTY_TEXT),
    (b'{"text": 3}', DeadReason.WRONG_TYPE),
    (b'["text"]', DeadReason.WRONG_TYPE),
    (b"[" * 3_000, DeadReason.MALFORMED),
]
FILES = st.lists(st.sampled_from(LINES), min_size=1, max_size=25)


def expected(kinds, path) -> tuple[list[str], list[tuple[str, DeadReason]]]:
    """Locations of the documents, and locations and reasons of the dead letters."""
    numbered = [(f"{path}:{number}", kind) for number, (_, kind) in enumerate(kinds, 1)]
    return [where for where, kind in numbered if kind is True], [(where, kind) for where, kind in numbered if isinstance(kind, DeadReason)]


@settings(max_examples=50)
@given(kinds=FILES, split_bytes=st.integers(1, 400), newline=st.booleans(), mark=st.booleans())
def test_any_split_size_gives_every_record_once_in_order_with_its_line(tmp_path_factory, kinds, split_bytes, newline, mark):
    path = tmp_path_factory.getbasetemp() / "property.jsonl"
    kinds = [*kinds, LINES[0]]
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + b"\n".join(line for line, _ in kinds) + (b"\n" if newline else b""))
    splits = plan(path, split_bytes=split_bytes)
    found = read(splits)
    documents, letters = expected(kinds, path)
    assert found.column("location") == documents
    assert [(letter.location, letter.reason) for letter in found.dead] == letters
    assert found.num_read == len(documents) + len(letters)
    assert len({split.name for split in splits}) == len(splits)
    assert sum(split.num_bytes for split in splits) == path.stat().st_size


def test_documents_keep_text_and_values(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines({"id": 1, "text": "été\r\n\0x", "label": "machine", "n": {"b": 1, "a": [None]}, "date": "2020-01-01"}))
    assert read_file(path, None).only == {
        "id": "1", "text": "été\r\n\0x", "messages": None, "origin": "synthetic", "source": "books", "generator": None, "generation": None, "parents": None,
        "created_at": datetime(2020, 1, 1, tzinfo=UTC), "task": None, "declared_language": None,
            "licence": None, "consent": None, "extra": '{"n":{"a":[null],"b":1}}', "location": f"{path}:1",
    }  # fmt: skip


def test_a_line_of_20_megabytes_is_read_once_by_one_split(tmp_path):
    path = tmp_path / "long.jsonl"
    long = "word " * (4 << 20)
    path.write_bytes(json_lines({"text": "before"}, {"text": long}, {"text": "after"}))
    splits = plan(path, split_bytes=3 << 20)
    found = read(splits)
    assert found.column("text") == ["before", long, "after"]
    assert found.column("location") == [f"{path}:{line}" for line in (1, 2, 3)]
    assert len(splits) == 7


def test_batches_are_cut_at_a_thousand_documents_and_at_four_megabytes(tmp_path):
    many, large = tmp_path / "many.jsonl", tmp_path / "large.jsonl"
    many.write_bytes(json_lines(*({"text": f"document {n}"} for n in range(2_500))))
    large.write_bytes(json_lines(*({"text": "x" * (BATCH_BYTES // 2 - 1)} for _ in range(5))))
    assert len(read_file(many).documents) == 2_500  # `read` checks every batch
    assert len(read_file(large).documents) == 5


def test_a_thousand_dead_letters_do_not_wait_for_a_document(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json_lines({"text": "good"}, *[b"{bad"] * 2_500))
    found = read_file(path)
    assert (len(found.dead), found.num_read) == (2_500, 2_501)


def test_a_dead_letter_quotes_the_line_and_names_its_origin_and_source(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines({"text": "good"}, b'{"text": "caf\xe9"}'))
    letter = read_file(path, Origin.SYNTHETIC).letter
    assert (letter.location, letter.origin, letter.source, letter.reason) == (f"{path}:2", Origin.SYNTHETIC, "books", DeadReason.NOT_UTF8)
    assert letter.first_bytes == '{"text": "caf\\xe9"}'
    assert read_file(path.rename(tmp_path / "b.jsonl"), Origin.HUMAN).letter.origin is Origin.HUMAN


def test_conflicting_origins_are_counted_in_their_batches(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(*({"text": f"t{n}", "label": "machine" if n % 3 == 0 else "human"} for n in range(3_000))))
    found = read_file(path)
    assert found.conflicts == 1_000
    assert found.column("origin").count("synthetic") == 1_000


def test_json_with_nan_is_read_and_its_nan_becomes_null(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "t", "score": NaN, "id": 99999999999999999999}\n')
    only = read_file(path).only
    assert (only["id"], only["extra"]) == ("99999999999999999999", '{"score":null}')


def test_memory_is_flat_in_the_length_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(*({"text": "word " * 600, "n": n} for n in range(10_000))))
    (split,) = plan(path, split_bytes=1 << 30)
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    num_documents = sum(batch.documents.num_rows for batch in read_split(split, FieldNames()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_documents == 10_000
    assert peak < 16 << 20 < path.stat().st_size
    assert pa.total_allocated_bytes() - before < 16 << 20


# Text files


def test_each_text_file_is_a_document_named_by_its_path(tmp_path):
    for name, text in {"b.txt": "zwei\n", "a.md": "\ufeffeins", "sub/c.text": "drei"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"vier"))
    found = read_file(f"{tmp_path}/**/*")
    assert dict(zip(found.column("location"), found.column("text"), strict=True)) == {
        f"{tmp_path}/a.md": "eins",
        f"{tmp_path}/b.txt": "zwei\n",
        f"{tmp_path}/d.txt.gz": "vier",
        f"{tmp_path}/sub/c.text": "drei",
    }
    assert found.column("id")[0] == xxhash.xxh3_128_hexdigest(b"books\0eins")


def test_a_text_file_that_cannot_be_read_is_one_dead_letter(tmp_path):
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"much text " * 100)[:-20])
    (tmp_path / "gone.txt").write_text("gone")
    splits = plan(f"{tmp_path}/*.txt*")
    (tmp_path / "gone.txt").unlink()
    found = read(splits)
    assert found.column("text") == ["good"]
    assert {letter.location.removeprefix(f"{tmp_path}/"): letter.reason for letter in found.dead} == {
        "blank.txt": DeadReason.EMPTY_TEXT,
        "empty.txt": DeadReason.EMPTY_TEXT,
        "latin.txt": DeadReason.NOT_UTF8,
        "cut.txt.gz": DeadReason.TRUNCATED_FILE,
        "gone.txt": DeadReason.BROKEN_FILE,
    }


@settings(max_examples=50)
@given(lines=st.lists(st.sampled_from(["eins", "zwei drei", "", " ", "vier\r", "fünf"]), min_size=1), split_bytes=st.integers(1, 30))
def test_lines_of_text_are_documents_when_asked(tmp_path_factory, lines, split_bytes):
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes("\n".join([*lines, "ende"]).encode())
    found = read_file(path, text_unit="line", split_bytes=split_bytes)
    wanted = [(f"{path}:{number}", line.strip("\r")) for number, line in enumerate([*lines, "ende"], 1) if line.strip()]
    assert list(zip(found.column("location"), found.column("text"), strict=True)) == wanted
    assert not found.dead


# Parquet


def write_parquet(path, table: pa.Table | dict, row_group_size: int = 1 << 20, **settings) -> None:
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path, row_group_size=row_group_size, **settings)


TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_parquet_text_of_any_string_type_is_read(tmp_path, kind):
    texts = ["eins", "été", None, "", " \n\u3000", "drei\0"]
    write_parquet(tmp_path / "a.parquet", {"text": pa.array(texts, pa.string()).cast(kind), "n": list(range(6))})
    found = read_file(tmp_path / "a.parquet")
    assert found.column("text") == ["eins", "été", "drei\0"]
    assert found.column("extra") == ['{"n":0}', '{"n":1}', '{"n":5}']
    assert [(letter.location[-2:], letter.reason) for letter in found.dead] == [
        ("#2", DeadReason.MISSING_TEXT),
        ("#3", DeadReason.EMPTY_TEXT),
        ("#4", DeadReason.EMPTY_TEXT),
    ]


@settings(max_examples=40)
@given(
    texts=st.lists(st.none() | st.sampled_from(["a", "", " ", "bc " * 9, "é"]), max_size=40),
    group_rows=st.integers(1, 15),
    split_bytes=st.sampled_from([1, 100, 10_000]),
)
def test_parquet_in_any_row_groups_gives_every_row_once_as_json_lines_do(tmp_path_factory, texts, group_rows, split_bytes):
    folder = tmp_path_factory.getbasetemp()
    texts = [*texts, "last"]
    rows = [{"text": text, "id": f"r{n}", "lang": "de", "score": n / 2} for n, text in enumerate(texts)]
    write_parquet(folder / "p.parquet", pa.Table.from_pylist(rows), group_rows)
    (folder / "p.jsonl").write_bytes(json_lines(*rows))
    ours, theirs = read_file(folder / "p.parquet", split_bytes=split_bytes), read_file(folder / "p.jsonl", split_bytes=split_bytes)
    assert [document["location"] for document in ours.documents] == [
        f"{folder}/p.parquet#{n}" for n, text in enumerate(texts) if text and text.strip()
    ]
    assert [{**document, "location": ""} for document in ours.documents] == [{**document, "location": ""} for document in theirs.documents]
    assert [letter.reason for letter in ours.dead] == [letter.reason for letter in theirs.dead]


def test_parquet_bytes_that_are_no_utf8_lose_their_row_only(tmp_path):
    table = pa.table({"text": pa.array([b"good", b"caf\xe9", b" "], pa.binary()), "title": pa.array([b"x"] * 3, pa.binary())})
    write_parquet(tmp_path / "a.parquet", table)
    found = read_file(tmp_path / "a.parquet")
    assert found.column("text") == ["good"]
    assert [letter.reason for letter in found.dead] == [DeadReason.NOT_UTF8, DeadReason.EMPTY_TEXT]
    assert found.dead[0].first_bytes == "caf\\xe9"


def test_parquet_strings_that_are_no_utf8_in_another_column_lose_their_row_only(tmp_path):
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    write_parquet(tmp_path / "a.parquet", pa.table({"text": ["eins", "zwei"], "title": bad}))
    found = read_file(tmp_path / "a.parquet")
    assert found.column("text") == ["eins"]
    assert (found.letter.reason, found.letter.first_bytes) == (DeadReason.NOT_UTF8, "zwei")


def test_parquet_columns_of_every_kind_survive_in_extra(tmp_path):
    columns = {
        "text": ["t"],
        "day": pa.array([date(2020, 1, 2)]),
        "at": pa.array([1_577_934_245_000_000_001], pa.timestamp("ns")),
        "price": pa.array([Decimal("1.50")]),
        "raw": pa.array([b"\xff"], pa.binary()),
        "tags": pa.array([["a", None]]),
        "nested": pa.array([{"b": 1, "a": float("nan")}]),
        "pairs": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    write_parquet(tmp_path / "a.parquet", columns)
    assert json.loads(read_file(tmp_path / "a.parquet").only["extra"]) == {
        "day": "2020-01-02", "at": "2020-01-02T03:04:05", "price": "1.50", "raw": "\\xff", "tags": ["a", None], "nested": {"b": 1, "a": None}, "pairs": [["k", 1]],
    }  # fmt: skip


def test_parquet_values_find_their_columns(tmp_path):
    turns = [[{"role": "user", "content": "Hi"}], None]
    columns = {
        "id": [1, 2],
        "text": [None, "t"],
        "messages": turns,
        "label": ["machine", "human"],
        "timestamp": pa.array([1_577_934_245_000, None], pa.timestamp("ms")),
        "parents": [["a"], []],
        "generation": [1, None],
    }
    write_parquet(tmp_path / "a.parquet", columns)
    first, second = read_file(tmp_path / "a.parquet", None).documents
    assert (first["id"], first["text"], first["messages"], first["origin"]) == ("1", "user: Hi", turns[0], "synthetic")
    assert (first["created_at"], first["parents"], first["generation"]) == (datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), ["a"], 1)
    assert (second["text"], second["messages"], second["parents"], second["origin"]) == ("t", None, [], "human")


def test_parquet_text_that_is_a_number_is_of_the_wrong_type(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"text": pa.array([3, None]), "content": ["a", "b"]})
    (tmp_path / "b.jsonl").write_bytes(json_lines({"text": "good"}))
    found = read_file(f"{tmp_path}/*")
    assert [letter.reason for letter in found.dead] == [DeadReason.WRONG_TYPE, DeadReason.MISSING_TEXT]


def test_a_broken_parquet_footer_is_one_dead_letter_for_the_file(tmp_path):
    write_parquet(tmp_path / "good.parquet", {"text": ["good"]})
    (tmp_path / "bad.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-6])
    (tmp_path / "empty.parquet").write_bytes(b"")
    found = read_file(f"{tmp_path}/*.parquet")
    assert found.column("text") == ["good"]
    assert sorted((letter.location, letter.reason) for letter in found.dead) == [
        (f"{tmp_path}/bad.parquet", DeadReason.BROKEN_FILE),
        (f"{tmp_path}/empty.parquet", DeadReason.BROKEN_FILE),
    ]


def test_a_row_group_that_does_not_decode_is_lost_alone_and_all_its_rows_counted(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [f"document {n} of many" for n in range(3_000)]
    write_parquet(path, {"text": texts}, 1_000, compression="zstd", use_dictionary=False, write_page_checksum=True)
    column = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    data[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(data)
    found = read_file(path)
    assert found.column("text") == texts[:1_000] + texts[2_000:]
    assert (found.letter.location, found.letter.reason, found.letter.count) == (f"{path}#1000", DeadReason.BROKEN_FILE, 1_000)
    assert found.num_read == 3_000


def test_parquet_text_larger_than_a_batch_is_cut_by_bytes(tmp_path):
    write_parquet(tmp_path / "a.parquet", {"text": ["x" * (1 << 20), *["y"] * 2_000, *["z" * (3 << 20)] * 3]}, 5_000)
    assert len(read_file(tmp_path / "a.parquet").documents) == 2_004


def test_a_large_row_group_is_not_held_in_memory_at_once(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, {"text": [os.urandom(1_000).hex() for _ in range(20_000)]}, use_dictionary=False, compression="none")
    (split,) = plan(path, split_bytes=1 << 30)
    before, most = pa.total_allocated_bytes(), 0
    for batch in read_split(split, FieldNames()):
        most = max(most, pa.total_allocated_bytes() - before)
        assert batch.documents.num_rows
    assert most < 16 << 20 < path.stat().st_size


# Files that are not there, or not whole


def test_a_file_that_vanished_is_a_dead_letter(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json_lines({"text": "t"}))
    splits = plan(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").unlink()
    assert read(splits).letter.reason is DeadReason.BROKEN_FILE


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_file_keeps_its_whole_lines_and_names_the_next(tmp_path, suffix):
    lines = json_lines(*({"text": f"{n * 7919 % 10_007} document {n}"} for n in range(40_000)))
    packed = gzip.compress(lines) if suffix == ".gz" else zstandard.ZstdCompressor().compress(lines)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    found = read_file(path)
    assert 0 < len(found.documents) < 40_000
    assert found.column("text") == [f"{n * 7919 % 10_007} document {n}" for n in range(len(found.documents))]
    assert (found.letter.location, found.letter.reason) == (f"{path}:{len(found.documents) + 1}", DeadReason.TRUNCATED_FILE)


def test_a_dead_letter_that_a_split_carries_comes_out_after_its_records(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json_lines({"text": "t"}))
    (split,) = plan(tmp_path / "a.jsonl")
    letter = DeadLetter("a.jsonl:2", Origin.HUMAN, "books", DeadReason.TRUNCATED_FILE, "cut off", count=3)
    found = read([replace(split, trouble=letter)])
    assert (found.num_read, found.column("text"), found.dead) == (4, ["t"], [letter])


def test_documentation_of_the_interpreter_reads_the_same_from_every_format(tmp_path):
    records = [{"id": name, "text": text, "section": len(name)} for name, text in sorted(topics.items())]
    (tmp_path / "a.jsonl").write_bytes(json_lines(*records))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json_lines(*records)))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(json_lines(*records)))
    write_parquet(tmp_path / "a.parquet", pa.Table.from_pylist(records), 20)
    readings = [read_file(path) for path in sorted(tmp_path.iterdir())]
    for one, other in itertools.pairwise(readings):
        assert [(d["id"], d["text"], d["extra"]) for d in one.documents] == [(d["id"], d["text"], d["extra"]) for d in other.documents]
    assert readings[0].column("text") == [record["text"] for record in records]
