"""A file appears whole or not at all."""

import os

import pyarrow as pa
import pytest

import tests.shelf  # noqa: F401 (registers shelf://)
from transforms.storage import is_local, join_path, open_arrow, open_binary, write_whole


def test_a_file_written_whole_can_be_read_back(tmp_path):
    path = str(tmp_path / "folder" / "file.bin")
    with write_whole(path) as file:
        file.write(b"whole")
    with open_binary(path) as file:
        assert file.read() == b"whole"
    with open_arrow(path) as file:
        file.seek(1)
        assert file.read(2) == b"ho"


def test_a_failing_writer_leaves_neither_file_nor_fragment(tmp_path):
    path = str(tmp_path / "file.bin")
    with pytest.raises(RuntimeError, match="full"), write_whole(path) as file:
        file.write(b"half")
        raise RuntimeError("full")
    assert os.listdir(tmp_path) == []


def test_a_failing_writer_leaves_the_previous_file(tmp_path):
    path = str(tmp_path / "file.bin")
    with write_whole(path) as file:
        file.write(b"before")
    with pytest.raises(RuntimeError), write_whole(path) as file:
        file.write(b"after")
        raise RuntimeError
    assert open(path, "rb").read() == b"before"


def test_nothing_is_visible_under_the_name_before_the_end(tmp_path):
    path = str(tmp_path / "file.bin")
    with write_whole(path) as file:
        file.write(b"x" * (1 << 20))
        assert not os.path.exists(path)
    assert os.path.getsize(path) == 1 << 20


def test_arrow_files_survive_the_round_trip(tmp_path):
    path = str(tmp_path / "file.arrow")
    batch = pa.record_batch({"a": [1, 2, 3]})
    with write_whole(path) as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    with open_arrow(path) as file:
        assert pa.ipc.open_file(file).get_batch(0) == batch


def test_compressed_names_are_not_decompressed(tmp_path):
    path = str(tmp_path / "file.gz")
    with write_whole(path) as file:
        file.write(b"not really gzip")
    with open_binary(path) as file:
        assert file.read() == b"not really gzip"


def test_local_paths_are_told_from_urls():
    assert is_local("/data/x") and is_local("x.jsonl") and not is_local("gs://bucket/x")
    assert join_path("folder", "a", "b") == os.path.join("folder", "a", "b")


def test_other_filesystems_of_beam_are_read_and_written(tmp_path):
    path = join_path(f"shelf:/{tmp_path}", "folder", "file.bin")
    with write_whole(path) as file:
        file.write(b"whole")
    with open_binary(path) as file:
        assert file.read() == b"whole"
    with open_arrow(path) as file:
        file.seek(1)
        assert file.read(2) == b"ho"


def test_a_failing_writer_leaves_no_object(tmp_path):
    path = join_path(f"shelf:/{tmp_path}", "file.bin")
    with pytest.raises(RuntimeError, match="full"), write_whole(path) as file:
        file.write(b"half")
        raise RuntimeError("full")
    assert os.listdir(tmp_path) == []
