"""Claims about planning: what cannot work is an error at once, and splits depend on the files alone."""

import gzip
import io
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.reading import USUAL, json_lines, plan, read, spec, spill
from transforms.inputs import FieldNames, Format, InputError
from transforms.plan_splits import EXTENSIONS, _runs, find_files, plan_splits
from transforms.records import DeadReason, Origin

GOOD = json_lines({"text": "a document", "title": "x"})


def write(path, data: bytes = GOOD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Errors at once


def test_a_glob_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"books.*no file matches '.*\*\.jsonl'"):
        plan(f"{tmp_path}/*.jsonl")


def test_a_folder_is_an_error_that_shows_the_glob(tmp_path):
    with pytest.raises(InputError, match=r"is a folder; .*/\*\.jsonl"):
        plan(tmp_path)


@pytest.mark.parametrize("name", ["a.docx", "a", "a.gz", "a.parquet.gz", "a.jsonl.bz2"])
def test_an_unknown_extension_is_an_error_that_lists_the_known(tmp_path, name):
    with pytest.raises(InputError, match=r"\.jsonl, \.ndjson.*\.parquet"):
        plan(write(tmp_path / name))


def test_two_inputs_of_one_name_are_an_error(tmp_path):
    path = write(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="two inputs are named 'books'"):
        plan_splits([spec(path), spec(path, Origin.SYNTHETIC)], USUAL)


def test_lines_that_are_arrays_among_records_are_dead_letters(tmp_path):
    assert len(plan(write(tmp_path / "a.jsonl", b"[1]\n" + GOOD))) == 1


@pytest.mark.parametrize("data", [b"", b"\n\n \n"])
def test_an_input_without_a_record_is_an_error(tmp_path, data):
    with pytest.raises(InputError, match="holds no record"):
        plan(write(tmp_path / "a.jsonl", data))


def test_an_input_without_a_readable_document_is_an_error_that_shows_the_first_fault(tmp_path):
    with pytest.raises(InputError, match=r"none of the 2 records .* can be read. The first, .*a\.jsonl:1: not JSON"):
        plan(write(tmp_path / "a.jsonl", b"<html>\n</html>\n"))


@pytest.mark.parametrize("opening", [b"[\n", b"[", b"[" + b'{"text": "a"},\n' * 3_000])
def test_a_json_array_is_an_error_that_shows_the_way(tmp_path, opening):
    with pytest.raises(InputError, match=r"jq -c"):
        plan(write(tmp_path / "a.json", opening + b'{"text": "a"},\n  {"text": "b"}\n]\n'))


def test_one_bad_input_among_good_ones_is_an_error(tmp_path):
    with pytest.raises(InputError, match="books1"):
        plan(write(tmp_path / "a.jsonl"), write(tmp_path / "b.jsonl", b"{bad\n"))


def test_a_text_field_that_no_record_has_is_an_error_that_lists_the_fields(tmp_path):
    with pytest.raises(InputError, match=r"Fields seen: text, title"):
        plan(write(tmp_path / "a.jsonl"), fields=FieldNames(text="body"))


def test_records_without_any_usual_text_field_are_an_error_that_lists_the_fields(tmp_path):
    with pytest.raises(InputError, match=r"'text' or 'content'.*Fields seen: prose, title.*--text_field"):
        plan(write(tmp_path / "a.jsonl", json_lines({"prose": "a", "title": "b"})))


@pytest.mark.parametrize("role", ["id", "generator", "created_at", "parents", "language", "task", "messages", "origin", "generation"])
def test_a_named_field_that_no_record_has_is_an_error(tmp_path, role):
    with pytest.raises(InputError, match=rf"--{role}_field=absent: no record has this field. Fields seen: text, title"):
        plan(write(tmp_path / "a.jsonl"), fields=FieldNames(**{role: "absent"}))


def test_a_named_field_may_be_in_one_input_only(tmp_path):
    other = write(tmp_path / "b.jsonl", json_lines({"text": "t", "nr": 7}))
    splits = plan(write(tmp_path / "a.jsonl"), other, fields=FieldNames(id="nr"))
    assert read(splits, FieldNames(id="nr")).column("id")[1] == "7"


def test_a_named_field_may_appear_in_a_later_file_only(tmp_path):
    write(tmp_path / "a.jsonl")
    write(tmp_path / "b.jsonl", json_lines({"text": "t", "nr": 7}))
    assert len(plan(f"{tmp_path}/*", fields=FieldNames(id="nr"))) == 2


def test_an_origin_asked_of_records_that_have_none_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"'origin' or 'label'.*--origin_field"):
        plan(write(tmp_path / "a.jsonl"), origin=None)
    with pytest.raises(InputError, match="takes its origin from its records"):
        plan(write(tmp_path / "a.txt", b"text"), origin=None)


def test_an_origin_that_no_record_spells_right_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'martian'; known are 'human'"):
        plan(write(tmp_path / "a.jsonl", json_lines({"text": "t", "origin": "martian"})), origin=None)


def test_unknown_settings_are_errors(tmp_path):
    path = write(tmp_path / "a.txt", b"text")
    with pytest.raises(InputError, match="file, line"):
        plan(path, text_unit="paragraph")
    with pytest.raises(InputError, match="at least 1"):
        plan(path, split_bytes=0)


def test_an_unknown_filesystem_is_an_error():
    with pytest.raises(InputError, match="cannot be looked up"):
        plan("nosuchscheme://bucket/*.jsonl")


# Looking at first records


def test_looking_goes_on_until_a_document_is_found(tmp_path):
    write(tmp_path / "a.jsonl", b"{bad\n" * 3_000 + GOOD)
    assert len(plan(tmp_path / "a.jsonl")) == 1
    write(tmp_path / "b.jsonl", b"")
    write(tmp_path / "c.parquet", b"broken")
    assert len(plan(f"{tmp_path}/*")) == 2


def test_looking_at_a_wrong_field_stops_after_the_first_batch_of_each_file(tmp_path, monkeypatch):
    from transforms import plan_splits as module

    batches = []
    real = module.read_with
    monkeypatch.setattr(module, "read_with", lambda split, mapper: (batches.append(batch) or batch for batch in real(split, mapper)))
    for name in "ab":
        write(tmp_path / f"{name}.jsonl", json_lines({"prose": "a"}) * 10_000)
    with pytest.raises(InputError):
        plan(f"{tmp_path}/*")
    assert len(batches) == 2


# Globs


def test_globs_cross_folders_and_leave_folders_and_hidden_files_out(tmp_path):
    for name in ("a.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl", "sub/.hidden.jsonl", "dir.jsonl/d.jsonl"):
        write(tmp_path / name)
    found = [file.path.removeprefix(f"{tmp_path}/") for file in find_files(spec(f"{tmp_path}/**/*.jsonl"))]
    assert found == ["a.jsonl", "dir.jsonl/d.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl"]


def test_a_name_with_brackets_is_itself(tmp_path):
    path = write(tmp_path / "data[1].jsonl")
    write(tmp_path / "data1.jsonl")
    assert [file.path for file in find_files(spec(path))] == [str(path)]


def test_a_file_scheme_and_a_home_folder_are_local(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_files(spec(f"file://{path}")) == find_files(spec("~/a.jsonl")) == find_files(spec(path))


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("packing", ["", ".gz", ".ZST"])
def test_every_extension_has_its_format(tmp_path, extension, packing):
    if packing and EXTENSIONS[extension] is Format.PARQUET:
        return
    (file,) = find_files(spec(write(tmp_path / f"a{extension.upper()}{packing}")))
    assert (file.format, file.compression) == (EXTENSIONS[extension], {"": None, ".gz": "gzip", ".ZST": "zstd"}[packing])


# Splits


@settings(max_examples=100)
@given(st.lists(st.integers(0, 9)), st.integers(0, 20), st.integers(1, 5))
def test_runs_hold_every_item_once_and_no_more_than_fits(sizes, max_size, max_items):
    runs = list(_runs(sizes, max_size, max_items))
    assert [number for run in runs for number in run] == list(range(len(sizes)))
    for run in runs:
        assert 1 <= len(run) <= max_items
        assert len(run) == 1 or sum(sizes[number] for number in run) <= max_size


def corpus(folder) -> list:
    """Inputs of every format, in no special order."""
    rows = [{"text": f"document {n}", "id": str(n)} for n in range(50)]
    write(folder / "a/x.jsonl", json_lines(*rows))
    write(folder / "a/y.jsonl.gz", gzip.compress(json_lines(*rows)))
    write(folder / "b/x.csv", b"id,text\n" + b"".join(b"%d,row %d\n" % (n, n) for n in range(50)))
    for name in range(20):
        write(folder / f"c/{name}.txt", b"text " * name + b"end")
    pq.write_table(pa.Table.from_pylist(rows), folder / "b/z.parquet", row_group_size=7)
    return [spec(f"{folder}/a/*", name="a"), spec(f"{folder}/b/*", name="b"), spec(f"{folder}/c/*", name="c")]


def test_splits_do_not_depend_on_the_order_of_inputs_or_of_files(tmp_path, monkeypatch):
    inputs = corpus(tmp_path)
    splits = plan_splits(inputs, USUAL, split_bytes=300)
    import glob

    real = glob.glob
    monkeypatch.setattr(glob, "glob", lambda *args, **kwargs: random.Random(1).sample(found := real(*args, **kwargs), len(found)))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert plan_splits(inputs[::-1], USUAL, split_bytes=300) == splits


def test_split_names_are_unique_safe_and_tell_the_input(tmp_path):
    inputs = corpus(tmp_path)
    splits = plan_splits([*inputs, spec(f"{tmp_path}/a/*", Origin.SYNTHETIC, "again")], USUAL, split_bytes=300)
    names = [part.name for part in [*splits, *spill(splits, tmp_path / "chunks")]]
    assert len(set(names)) == len(set(splits) | set(spill(splits, tmp_path / "chunks")))
    for split in splits:
        assert split.name.startswith(f"{split.source}-")
        assert set(split.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@settings(max_examples=30)
@given(st.integers(1, 5_000))
def test_a_file_is_cut_by_size_into_equal_parts(tmp_path_factory, split_bytes):
    path = tmp_path_factory.getbasetemp() / "equal.jsonl"
    path.write_bytes(GOOD * 100)
    size = path.stat().st_size
    splits = plan(path, split_bytes=split_bytes)
    sizes = [split.end - split.begin for split in splits]
    assert sum(sizes) == size and max(sizes) <= split_bytes and max(sizes) - min(sizes) <= 1
    assert len(splits) == -(-size // split_bytes)


def test_small_text_files_share_a_split(tmp_path):
    for name in range(100):
        write(tmp_path / f"{name:03d}.txt", b"x" * 10)
    splits = plan(f"{tmp_path}/*.txt", split_bytes=300)
    assert [len(split.paths) for split in splits] == [30, 30, 30, 10]
    assert sum(split.num_bytes for split in splits) == 1_000
    assert len(read(splits).documents) == 100


def test_row_groups_share_a_split_up_to_its_size(tmp_path):
    pq.write_table(pa.table({"text": [f"document {n}" for n in range(1_000)]}), tmp_path / "a.parquet", row_group_size=10)
    whole = plan(tmp_path / "a.parquet")
    assert [(split.begin, split.end, split.first_position) for split in whole] == [(0, 100, 0)]
    parts = plan(tmp_path / "a.parquet", split_bytes=5_000)
    assert 3 < len(parts) < 100
    assert all(split.first_position == 10 * split.begin for split in parts)


def test_what_is_compressed_is_spilled_only_when_it_is_large(tmp_path):
    packed = gzip.compress(json_lines(*({"text": os.urandom(500).hex()} for _ in range(100))))
    path = write(tmp_path / "a.jsonl.gz", packed)
    assert [split.chunk_bytes for split in plan(path, split_bytes=10_000)] == [10_000]
    assert not plan(path)[0].needs_spill
    table = write(tmp_path / "a.csv", b"text\n" + b"word\n" * 1_000)
    assert plan(table, split_bytes=1_000)[0].needs_spill
    assert not plan(table)[0].needs_spill


# Other filesystems

REMOTE: dict[str, bytes] = {}


class MemoryFileSystem(FileSystem):
    """Files in a dict under memtest://, as an object store would show them."""

    @classmethod
    def scheme(cls):
        return "memtest"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        for path, data in REMOTE.items():
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(self, path, mime_type="application/octet-stream", compression_type=CompressionTypes.AUTO):
        class Object(io.BytesIO):
            def close(self):
                REMOTE.setdefault(path, self.getvalue())
                super().close()

        REMOTE.pop(path, None)
        return Object()

    def open(self, path, mime_type="application/octet-stream", compression_type=CompressionTypes.AUTO):
        if path not in REMOTE:
            raise BeamIOError("not found", {path: "not found"})
        return io.BytesIO(REMOTE[path])

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    rename = copy

    def exists(self, path):
        return path in REMOTE

    def size(self, path):
        return len(REMOTE[path])

    def last_updated(self, path):
        return 0.0

    def checksum(self, path):
        return ""

    def metadata(self, path):
        return FileMetadata(path, self.size(path))

    def delete(self, paths):
        for path in paths:
            del REMOTE[path]


@pytest.fixture
def remote():
    REMOTE.clear()
    yield REMOTE
    REMOTE.clear()


def test_any_filesystem_that_beam_knows_is_read_and_spilled_to(remote):
    rows = [{"text": f"document {n}", "id": str(n)} for n in range(200)]
    remote["memtest://in/a.jsonl"] = json_lines(*rows)
    remote["memtest://in/b.jsonl.gz"] = gzip.compress(json_lines(*rows))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=30)
    remote["memtest://in/c.parquet"] = sink.getvalue().to_pybytes()
    remote["memtest://in/d.csv"] = b"id,text\n" + b"".join(b"%d,document %d\n" % (n, n) for n in range(200))
    remote["memtest://in/e.txt"] = b"document 0"
    splits = plan("memtest://in/*", split_bytes=1_000)
    found = read(spill(splits, "memtest://chunks"))
    assert [part.path for part in splits] == sorted(part.path for part in splits)
    assert found.column("text") == [row["text"] for row in rows] * 4 + ["document 0"]
    assert any(path.startswith("memtest://chunks/") for path in remote)


def test_a_remote_file_is_not_read_twice_for_line_numbers_so_its_lines_are_named_by_byte(remote):
    remote["memtest://in/a.jsonl"] = b"\xef\xbb\xbf" + GOOD * 10 + b"{bad\n" + GOOD * 10
    found = read(plan("memtest://in/a.jsonl", split_bytes=100))
    offsets = [0, *(3 + len(GOOD) * n for n in range(1, 10))]
    assert [int(where.removeprefix("memtest://in/a.jsonl@")) for where in found.column("location")[:10]] == offsets
    assert found.letter.location == f"memtest://in/a.jsonl@{3 + 10 * len(GOOD)}"
    assert read(plan("memtest://in/a.jsonl")).letter.location == "memtest://in/a.jsonl:11"


def test_a_remote_object_that_vanished_is_a_dead_letter(remote):
    remote["memtest://in/a.jsonl"] = GOOD
    splits = plan("memtest://in/a.jsonl")
    remote.clear()
    assert read(splits).letter.reason is DeadReason.BROKEN_FILE
