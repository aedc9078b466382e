"""The ledger as a table: made once, read by version, refused where it cannot be compared; nothing is imported where none is used."""

import ast
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import ledger, ledger_commit
from pipeline.errors import UsageError
from pipeline.ledger import LedgerKeys, open_ledger, open_table, read_ledger, storage_options
from pipeline.ledger_upkeep import compact_ledger
from tests.pipeline.ledgers import KEYS, commit, ids_of, texts
from transforms import ledger_files
from transforms.ledger_files import ADDED_COLUMNS, FILE_SCHEMA, LEDGER_SCHEMA

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


# A ledger of an earlier version


def make_older(folder, monkeypatch):
    """A ledger as it was before rows had licence and consent, with one run in it."""
    older = [pa.schema([field for field in schema if field.name not in ADDED_COLUMNS]) for schema in (LEDGER_SCHEMA, FILE_SCHEMA)]
    with monkeypatch.context() as patched:
        for module in (ledger, ledger_commit, ledger_files):
            patched.setattr(module, "LEDGER_SCHEMA", older[0])
        for module in (ledger, ledger_files):
            patched.setattr(module, "FILE_SCHEMA", older[1])
        patched.setattr(ledger, "ADDED_COLUMNS", ())
        commit(folder, folder.parent / "out1", texts("a", 20), "run-1")
    assert not set(ADDED_COLUMNS) & {field.name for field in open_table(str(folder)).schema().fields}


def test_an_older_ledger_is_read_as_if_its_rows_said_nothing(tmp_path, monkeypatch):
    make_older(tmp_path / "ledger", monkeypatch)
    snapshot = read_ledger(str(tmp_path / "ledger"))
    assert snapshot.find("id", ["a-3"], ["id", "consent", "kind"]).to_pylist() == [{"id": "a-3", "consent": None, "kind": "synthetic"}]
    assert sum(table.num_rows for table in snapshot.read(["licence"])) == 20
    assert snapshot.version == 2


def test_an_older_ledger_gains_the_columns_by_one_commit(tmp_path, monkeypatch):
    make_older(tmp_path / "ledger", monkeypatch)
    before = read_ledger(str(tmp_path / "ledger"))
    first, second = (open_ledger(str(tmp_path / "ledger"), KEYS) for _ in range(2))
    assert first == second and first.version == before.version + 1 and first.files == before.files
    commit(tmp_path / "ledger", tmp_path / "out2", texts("b", 20), "run-2", "c2", licence=pa.array(["MIT"] * 20), consent=pa.array(["true"] * 20))
    held = deltalake.DeltaTable(str(tmp_path / "ledger")).to_pyarrow_dataset().to_table(columns=["run_id", "licence", "consent"])
    assert {(row["run_id"], row["licence"], row["consent"]) for row in held.to_pylist()} == {("run-1", None, None), ("run-2", "MIT", "true")}


def test_an_older_ledger_that_is_compacted_keeps_all_rows(tmp_path, monkeypatch):
    make_older(tmp_path / "ledger", monkeypatch)
    commit(tmp_path / "ledger", tmp_path / "out2", texts("b", 20), "run-2", "c2", licence=pa.array(["MIT"] * 20))
    compact_ledger(str(tmp_path / "ledger"))
    found = read_ledger(str(tmp_path / "ledger")).find("id", ["a-1", "b-1"], ["id", "licence"]).sort_by("id").to_pylist()
    assert found == [{"id": "a-1", "licence": None}, {"id": "b-1", "licence": "MIT"}]
    assert len(ids_of(tmp_path / "ledger")) == 40


def test_of_two_runs_that_add_the_columns_one_finds_them_added(tmp_path, monkeypatch):
    make_older(tmp_path / "ledger", monkeypatch)
    stale = open_table(str(tmp_path / "ledger"))
    open_ledger(str(tmp_path / "ledger"), KEYS)
    monkeypatch.setattr(ledger, "open_table", lambda url: stale)
    assert ledger._add_columns(str(tmp_path / "ledger"), ADDED_COLUMNS).columns >= set(ADDED_COLUMNS)


def test_a_damaged_file_is_not_taken_for_an_older_one(tmp_path):
    commit(tmp_path / "ledger", tmp_path / "out", texts("a", 20), "run-1")
    path = next((tmp_path / "ledger").glob("kind=*/**/*.parquet"))
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["id"]), path)
    with pytest.raises((ValueError, KeyError)):
        list(read_ledger(str(tmp_path / "ledger")).read(["id"]))


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
