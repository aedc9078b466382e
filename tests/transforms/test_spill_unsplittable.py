"""Claims about spilling: chunks together hold exactly the records of the file they were cut from, at their places in it."""

import csv
import gzip
import io
import itertools
import os
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.reading import USUAL, Read, json_lines, plan, read, spec, spill
from transforms.inputs import Format
from transforms.plan_splits import plan_splits
from transforms.records import DeadReason, Origin

CELLS = st.sampled_from(["a", "two words", "", "with, comma", 'a "quote"', "two\nlines", "\r\nthree\n\nlines ", "é", " x "])


def pack(data: bytes, suffix: str) -> bytes:
    return {"": lambda: data, ".gz": lambda: gzip.compress(data, mtime=0), ".zst": lambda: zstandard.compress(data)}[suffix]()


def both_ways(path, folder, split_bytes: int, **settings) -> tuple[Read, Read]:
    """The file read as it lies, and read from chunks of about `split_bytes`."""
    whole = plan(path, **settings)
    assert not any(split.needs_spill for split in whole)
    splits = plan(path, split_bytes=split_bytes, **settings)
    return read(whole), read(spill(splits, folder))


def same(one: Read, other: Read) -> bool:
    return (one.documents, one.dead, one.num_read, one.conflicts) == (other.documents, other.dead, other.num_read, other.conflicts)


LINES = [
    b'{"text": "a"}',
    '{"text": "längere Zeile"}\r'.encode(),
    b"",
    b"{bad",
    b'{"text": ""}',
    b'{"text": "m", "label": "machine"}',
    b'{"text": "\xff"}',
]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@settings(max_examples=25)
@given(lines=st.lists(st.sampled_from(LINES), max_size=30), split_bytes=st.integers(1, 200), newline=st.booleans(), mark=st.booleans())
def test_json_lines_in_chunks_are_those_of_the_file(tmp_path_factory, suffix, lines, split_bytes, newline, mark):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"property.jsonl{suffix}"
    lines = [*lines, LINES[0]]
    path.write_bytes(pack((b"\xef\xbb\xbf" if mark else b"") + b"\n".join(lines) + (b"\n" if newline else b""), suffix))
    assert same(*both_ways(path, folder / "chunks", split_bytes))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=20), split_bytes=st.integers(1, 200), crlf=st.booleans(), blanks=st.booleans(), mark=st.booleans()
)
def test_csv_in_chunks_is_that_of_the_file(tmp_path_factory, suffix, rows, split_bytes, crlf, blanks, mark):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"property.csv{suffix}"
    rows = [*rows, ("last", "x")]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n" if crlf else "\n")
    writer.writerow(("text", "title"))
    for row in rows:
        if blanks:
            sink.write("\n")
        writer.writerow(row)
    path.write_bytes(pack((b"\xef\xbb\xbf" if mark else b"") + sink.getvalue().encode(), suffix))
    whole, chunks = both_ways(path, folder / "chunks", split_bytes)
    assert same(whole, chunks)
    assert whole.column("text") == [text for text, _ in rows if text.strip()]
    assert whole.num_read == len(rows)


@settings(max_examples=30)
@given(lines=st.lists(st.sampled_from(["eins", "", "zwei\r", " "])), split_bytes=st.integers(1, 30))
def test_lines_of_compressed_text_in_chunks_are_those_of_the_file(tmp_path_factory, lines, split_bytes):
    folder = tmp_path_factory.getbasetemp()
    path = folder / "property.txt.gz"
    path.write_bytes(gzip.compress("\n".join([*lines, "ende"]).encode()))
    assert same(*both_ways(path, folder / "chunks", split_bytes, text_unit="line"))


# CSV rows that cannot be read


def read_csv(tmp_path, data: bytes, name: str = "a.csv", split_bytes: int = 0) -> Read:
    path = tmp_path / name
    path.write_bytes(data)
    splits = plan(path, **({"split_bytes": split_bytes} if split_bytes else {}))
    return read(spill(splits, tmp_path / "chunks"))


@pytest.mark.parametrize("split_bytes", [0, 10])
def test_a_row_that_does_not_fit_is_a_dead_letter_at_its_first_line(tmp_path, split_bytes):
    data = b'text,n\ngood,1\n"two\nlines",2\nshort\nlong,3,4\nca\xff,5\n,6\n\nlast,7\n'
    found = read_csv(tmp_path, data, split_bytes=split_bytes)
    assert list(zip(found.column("text"), found.column("location"), strict=True)) == [
        ("good", f"{tmp_path}/a.csv:2"),
        ("two\nlines", f"{tmp_path}/a.csv:3"),
        ("last", f"{tmp_path}/a.csv:10"),
    ]
    assert [(letter.location.rsplit(":")[-1], letter.reason) for letter in found.dead] == [
        ("5", DeadReason.MALFORMED),
        ("6", DeadReason.MALFORMED),
        ("7", DeadReason.NOT_UTF8),
        ("8", DeadReason.EMPTY_TEXT),
    ]
    assert "1 cells where the header has 2" in found.dead[0].detail
    assert found.dead[2].first_bytes == "ca\\xff,5"


@pytest.mark.parametrize("split_bytes", [0, 10])
def test_a_quote_that_is_never_closed_is_a_dead_letter_and_no_document(tmp_path, split_bytes):
    found = read_csv(tmp_path, b'text,n\ngood,1\nx,"open\nand on\n', split_bytes=split_bytes)
    assert found.column("text") == ["good"]
    assert (found.letter.reason, found.letter.location) == (DeadReason.MALFORMED, f"{tmp_path}/a.csv:3")
    assert "never closed" in found.letter.detail


def test_a_quote_inside_a_cell_means_nothing(tmp_path):
    assert read_csv(tmp_path, b'text,n\n5" pipe,1\n6" pipe,2\n', split_bytes=8).column("text") == ['5" pipe', '6" pipe']


def test_a_cell_too_long_for_memory_is_given_up_and_reading_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.parse_csv.MAX_CELL_CHARS", 1_000)
    found = read_csv(tmp_path, b'text,n\ngood,1\n"' + b"swallowed,2\n" * 200 + b"last,3\n")
    assert found.column("text")[0] == "good"
    assert found.column("text")[-1] == "last"
    assert found.dead[0].reason is DeadReason.MALFORMED


def test_tabs_separate_the_cells_of_tsv(tmp_path):
    only = read_csv(tmp_path, b"id\ttext\tlabel\n7\ta, b\thuman\n", "a.tsv").only
    assert (only["id"], only["text"], only["extra"]) == ("7", "a, b", '{"label":"human"}')


@pytest.mark.parametrize("header", [b"text,text\n", b'"text,\n', b"te\xfft,n\n"])
@pytest.mark.parametrize("split_bytes", [0, 5])
def test_a_file_whose_header_cannot_be_read_is_one_dead_letter(tmp_path, header, split_bytes):
    (tmp_path / "good.csv").write_bytes(b"text\ngood\n")
    (tmp_path / "bad.csv").write_bytes(header + b"a,b\n" * 10)
    splits = plan(f"{tmp_path}/*.csv", **({"split_bytes": split_bytes} if split_bytes else {}))
    found = read(spill(splits, tmp_path / "chunks"))
    assert found.column("text") == ["good"]
    assert found.letter.reason is DeadReason.BROKEN_FILE
    assert found.letter.location.startswith(f"{tmp_path}/bad.csv")


# Damage


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("extension", [".jsonl", ".csv"])
def test_a_truncated_file_keeps_its_whole_records_and_the_last_chunk_says_where_it_broke(tmp_path, suffix, extension):
    texts = [f"{n * 7919 % 10_007} document {n}" for n in range(40_000)]
    data = (
        json_lines(*({"text": text} for text in texts))
        if extension == ".jsonl"
        else b"text,n\n" + b"".join(f'"{text}",0\n'.encode() for text in texts)
    )
    path = tmp_path / f"a{extension}{suffix}"
    packed = pack(data, suffix)
    path.write_bytes(packed[: len(packed) * 3 // 4])
    splits = plan(path, split_bytes=50_000)
    assert splits[0].needs_spill
    found = read(spill(splits, tmp_path / "chunks"))
    assert 1_000 < len(found.documents) < 40_000
    assert found.column("text") == texts[: len(found.documents)]
    first_line = 1 if extension == ".jsonl" else 2
    assert (found.letter.location, found.letter.reason) == (f"{path}:{len(found.documents) + first_line}", DeadReason.TRUNCATED_FILE)
    assert found.num_read == len(found.documents) + 1


def test_a_csv_that_breaks_inside_a_quote_loses_one_row_not_two(tmp_path):
    row = b'"some text\nover lines",1\n'
    packed = b"".join(zstandard.compress(part) for part in (b"text,n\n", row, row, b'"and here'))
    for split_bytes in (1 << 20, 20):
        path = tmp_path / "a.csv.zst"
        path.write_bytes(packed[:-3])
        found = read(spill(plan(path, split_bytes=split_bytes), tmp_path / "chunks"))
        assert len(found.documents) == 2
        assert found.letter.reason is DeadReason.TRUNCATED_FILE


CUT_SHORT = gzip.compress(b'{"text": "a"}\n', mtime=0)[:-3]


@pytest.mark.parametrize("data", [b"", b"not compressed", CUT_SHORT], ids=["empty", "unpacked", "cut_short"])
def test_a_file_that_breaks_before_its_first_record_is_one_dead_letter(tmp_path, data):
    (tmp_path / "good.jsonl").write_bytes(json_lines({"text": "t"}))
    path = tmp_path / "bad.jsonl.gz"
    path.write_bytes(data)
    found = read(spill(plan(f"{tmp_path}/*", split_bytes=3), tmp_path / "chunks"))
    assert len(found.documents) <= 2
    assert (found.letter.reason, found.letter.source, found.letter.origin) == (DeadReason.TRUNCATED_FILE, "books", Origin.HUMAN)


def test_a_file_that_vanished_is_one_dead_letter(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines({"text": "t"})))
    splits = plan(path, split_bytes=10)
    path.unlink()
    found = read(spill(splits, tmp_path / "chunks"))
    assert (found.letter.reason, found.letter.location, found.num_read) == (DeadReason.BROKEN_FILE, str(path), 1)


# The chunks themselves


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(*({"text": f"document {n}"} for n in range(1_000))), mtime=0))
    return path


def test_chunks_are_as_large_as_asked_and_know_their_first_line(packed, tmp_path):
    chunks = spill(plan(packed, split_bytes=2_000), tmp_path / "chunks")
    assert all(2_000 <= chunk.end < 2_030 for chunk in chunks[:-1])
    assert all(not chunk.needs_spill and chunk.path == str(packed) and chunk.format is Format.JSONL for chunk in chunks)
    for chunk in chunks:
        assert read([chunk]).documents[0]["location"] == f"{packed}:{chunk.first_position}"
    assert sum(chunk.num_bytes for chunk in chunks) == packed.stat().st_size


def test_chunks_are_the_same_files_when_a_bundle_is_retried(packed, tmp_path):
    splits = plan(packed, split_bytes=2_000)
    first = {chunk.name: open_bytes(chunk.stored_at) for chunk in spill(splits, tmp_path / "one")}
    again = {chunk.name: open_bytes(chunk.stored_at) for chunk in spill(splits, tmp_path / "two")}
    assert first == again
    assert spill(splits, tmp_path / "one") == spill(splits, tmp_path / "one")
    assert len(list((tmp_path / "one").iterdir())) == len(first)


def test_chunks_do_not_depend_on_how_the_file_was_compressed(tmp_path):
    data = json_lines(*({"text": f"document {n * 31 % 1009}"} for n in range(5_000)))
    contents = []
    for number, level in enumerate((0, 1, 9)):
        path = tmp_path / f"{number}.jsonl.gz"
        path.write_bytes(gzip.compress(data[:7_777], level) + gzip.compress(data[7_777:], level))
        (split,) = plan(path, split_bytes=3_000)
        contents.append([open_bytes(chunk.stored_at) for chunk in spill([split], tmp_path / f"chunks{number}")])
    assert contents[0] == contents[1] == contents[2]


def open_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_memory_is_flat_in_the_length_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(*({"text": os.urandom(1_000).hex()} for _ in range(3_000))), 1))
    splits = plan(path, split_bytes=50_000)
    tracemalloc.start()
    chunks = spill(splits, tmp_path / "chunks")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(chunks) > 100
    assert peak < 4 << 20


def test_inputs_of_two_names_spill_to_different_chunks(packed, tmp_path):
    splits = plan_splits([spec(packed, name="a"), spec(packed, Origin.SYNTHETIC, "b")], USUAL, split_bytes=2_000)
    chunks = spill(splits, tmp_path / "chunks")
    assert len({chunk.stored_at for chunk in chunks}) == len(chunks)
    origins = {source: set(read(part).column("origin")) for source, part in itertools.groupby(chunks, lambda chunk: chunk.source)}
    assert origins == {"a": {"human"}, "b": {"synthetic"}}
