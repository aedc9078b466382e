"""The ledger as a table: made once, read by version, refused where it cannot be compared; nothing is imported where none is used."""

import ast
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.ledger import LedgerKeys, open_ledger, open_table, read_ledger, storage_options
from tests.pipeline.ledgers import KEYS, commit, ids_of, texts
from transforms.ledger_files import LEDGER_SCHEMA

deltalake = pytest.importorskip("deltalake")


def test_a_new_ledger_is_empty_and_is_made_once(tmp_path):
    assert read_ledger(str(tmp_path / "ledger")).version == -1
    first, second = (open_ledger(str(tmp_path / "ledger"), KEYS) for _ in range(2))
    assert first == second and first.version == 0 and first.files == () and first.keys == KEYS


def test_rows_are_read_back_by_column_kind_and_value(tmp_path):
    documents = texts("a", 30) + texts("h", 10, origin=0)
    commit(tmp_path / "ledger", tmp_path / "out", documents, "run-1")
    snapshot = open_ledger(str(tmp_path / "ledger"), KEYS)
    assert snapshot.num_rows() == 40 and snapshot.num_rows(["human"]) == 10
    assert sum(table.num_rows for table in snapshot.read(["id"], ["human"])) == 10
    found = snapshot.find("id", ["a-3", "h-4", "nobody"], ["id", "kind", "run_id"]).sort_by("id").to_pylist()
    assert found == [{"id": "a-3", "kind": "synthetic", "run_id": "run-1"}, {"id": "h-4", "kind": "human", "run_id": "run-1"}]
    assert snapshot.find("id", [], ["id"]).num_rows == 0


def test_any_reader_of_delta_tables_reads_it(tmp_path):
    commit(tmp_path / "ledger", tmp_path / "out", texts("a", 20), "run-1")
    table = deltalake.DeltaTable(str(tmp_path / "ledger"))
    read = table.to_pyarrow_dataset().to_table()
    assert read.num_rows == 20 and set(read.schema.names) == set(LEDGER_SCHEMA.names)
    assert table.metadata().partition_columns == ["kind", "part"]


def test_duckdb_reads_it(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    commit(tmp_path / "ledger", tmp_path / "out", texts("a", 20), "run-1")
    held = deltalake.DeltaTable(str(tmp_path / "ledger")).to_pyarrow_dataset()
    assert duckdb.sql("select count(*) from held where kind = 'synthetic'").fetchone() == (20,) and held


def test_polars_reads_it(tmp_path):
    polars = pytest.importorskip("polars")
    commit(tmp_path / "ledger", tmp_path / "out", texts("a", 20), "run-1")
    assert polars.scan_delta(str(tmp_path / "ledger")).select("id").collect().height == 20


def test_an_earlier_snapshot_stays_as_it_was(tmp_path):
    commit(tmp_path / "ledger", tmp_path / "out1", texts("a", 10), "run-1")
    before = open_ledger(str(tmp_path / "ledger"), KEYS)
    commit(tmp_path / "ledger", tmp_path / "out2", texts("b", 10), "run-2", "c2")
    assert before.num_rows() == 10
    assert set(before.files) < set(open_ledger(str(tmp_path / "ledger"), KEYS).files)
    assert len(ids_of(tmp_path / "ledger")) == 20


def test_a_reading_names_the_files_of_its_kinds(tmp_path):
    commit(tmp_path / "ledger", tmp_path / "out", texts("a", 10) + texts("h", 10, origin=0), "run-1")
    reading = open_ledger(str(tmp_path / "ledger"), KEYS).reading(["synthetic"], ["run-0"])
    assert {file.kind for file in reading.files} == {"synthetic"} and reading.ignored_runs == ("run-0",)
    assert reading.bands == KEYS.bands and reading.num_hashes == KEYS.num_hashes
    assert read_ledger(str(tmp_path / "none")).reading(["synthetic"]).files == ()


# What is refused


def test_other_settings_than_the_ledgers_are_refused(tmp_path):
    open_ledger(str(tmp_path), KEYS)
    with pytest.raises(UsageError, match="recognises texts by minhash-test and hash-test, but this run makes minhash-2 and hash-test"):
        open_ledger(str(tmp_path), LedgerKeys("minhash-2", "hash-test", KEYS.bands, KEYS.num_hashes))


def test_another_table_and_another_folder_are_refused(tmp_path):
    deltalake.write_deltalake(str(tmp_path / "table"), pa.table({"a": [1]}))
    with pytest.raises(UsageError, match="a table that Headwater did not make"):
        read_ledger(str(tmp_path / "table"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("Dear")
    with pytest.raises(UsageError, match=r"holds files but no ledger \(letter.txt\)"):
        open_ledger(str(tmp_path / "folder"), KEYS)


def test_a_missing_ledger_cannot_be_asked(tmp_path):
    with pytest.raises(UsageError, match="holds no ledger"):
        open_table(str(tmp_path / "none"))


@pytest.mark.parametrize("given", ["no json", "[1]", '{"a": 1}'])
def test_storage_options_must_be_an_object_of_strings(monkeypatch, given):
    monkeypatch.setenv("HEADWATER_LEDGER_OPTIONS", given)
    with pytest.raises(UsageError, match="HEADWATER_LEDGER_OPTIONS"):
        storage_options("s3://bucket/ledger")
    assert storage_options("local/ledger") is None


def test_storage_options_are_passed_on(monkeypatch):
    monkeypatch.setenv("HEADWATER_LEDGER_OPTIONS", '{"AWS_REGION": "eu"}')
    assert storage_options("s3://bucket/ledger") == {"AWS_REGION": "eu"}


def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(UsageError, match=r"pip install 'headwater\[ledger\]'"):
        read_ledger(str(tmp_path))


def test_the_library_is_loaded_only_where_a_ledger_is_used():
    """It takes 130 MB of disk and is an extra: no module may need it when it is imported."""
    for path in (Path(__file__).parents[2] / "pipeline").glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            named = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            )
            assert not any(name.split(".")[0] == "deltalake" for name in named), path.name
