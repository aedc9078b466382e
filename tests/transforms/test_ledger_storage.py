"""Files of a ledger: the same on a disk and in a store, whole or not at all, with one set of options."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import fs

from transforms import ledger_storage
from transforms.ledger_storage import (
    PIECE_BYTES,
    STORAGE_VARIABLE,
    delete_ledger_file,
    list_ledger_folder,
    open_ledger_file,
    read_ledger_bytes,
    storage_options,
    write_ledger_whole,
)


@pytest.fixture(params=["disk", "store"])
def folder(request, tmp_path, monkeypatch):
    """A ledger's folder on disk, and one in a store: a folder behind the same interface."""
    if request.param == "disk":
        return str(tmp_path / "ledger")
    (tmp_path / "bucket" / "_headwater").mkdir(parents=True)
    store = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    monkeypatch.setattr(ledger_storage, "_connect", lambda *_: store)
    return "s3://bucket/ledger"


def write(folder, path, content):
    with write_ledger_whole(folder, path) as file:
        file.write(content)


def test_what_was_written_is_read_back(folder):
    write(folder, "_headwater/a.json", b"{}")
    assert read_ledger_bytes(folder, "_headwater/a.json") == b"{}"
    with open_ledger_file(folder, "_headwater/a.json") as file:
        assert file.size() == 2 and file.read_at(1, 1) == b"}"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.sampled_from([0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]), byte=st.integers(0, 255))
def test_a_file_of_any_size_comes_back_as_it_went(folder, size, byte):
    write(folder, "_headwater/a.bin", bytes([byte]) * size)
    assert read_ledger_bytes(folder, "_headwater/a.bin") == bytes([byte]) * size


def test_a_write_that_fails_leaves_what_was_there(folder):
    write(folder, "_headwater/a.bin", b"before")
    with pytest.raises(RuntimeError), write_ledger_whole(folder, "_headwater/a.bin") as file:
        file.write(b"after")
        raise RuntimeError
    assert read_ledger_bytes(folder, "_headwater/a.bin") == b"before"
    assert list_ledger_folder(folder, "_headwater") == ["a.bin"]


def test_deleting_what_is_not_there_is_nothing(folder):
    write(folder, "_headwater/a.bin", b"a")
    for _ in range(2):
        delete_ledger_file(folder, "_headwater/a.bin")
    assert list_ledger_folder(folder, "_headwater") == []
    with pytest.raises(FileNotFoundError):
        read_ledger_bytes(folder, "_headwater/a.bin")


def test_a_folder_is_listed_by_name_without_its_folders(folder):
    for name in ("b.json", "a.json"):
        write(folder, f"_headwater/{name}", b"")
    assert list_ledger_folder(folder, "_headwater") == ["a.json", "b.json"]
    assert list_ledger_folder(folder, "_headwater/none") == []
    assert "_headwater" not in list_ledger_folder(folder, ".")


def test_a_connection_is_made_once_for_each_process_and_set_of_options(monkeypatch):
    made = []
    monkeypatch.setattr(ledger_storage, "_connect", lambda *key: made.append(key))
    monkeypatch.setattr("os.getpid", lambda: 7)
    ledger_storage._store("s3://bucket/ledger/")
    monkeypatch.setenv(STORAGE_VARIABLE, json.dumps({"b": "2", "a": "1"}))
    ledger_storage._store("s3://bucket/ledger")
    assert made == [("s3://bucket/ledger", (), 7), ("s3://bucket/ledger", (("a", "1"), ("b", "2")), 7)]


@pytest.mark.parametrize(
    ("given_value", "said"), [("no json", "is not JSON"), ("[1]", "must be a JSON object"), ('{"a": 1}', "whose values are strings")]
)
def test_options_that_are_no_object_of_strings_are_refused(monkeypatch, given_value, said):
    monkeypatch.setenv(STORAGE_VARIABLE, given_value)
    with pytest.raises(ValueError, match=f"{STORAGE_VARIABLE}: .*{said}"):
        storage_options("s3://bucket/ledger")
    assert storage_options("ledger") is None
