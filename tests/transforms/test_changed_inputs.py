"""Inputs that others touch between planning and reading: what is gone is told by a dead letter, and nothing is read twice."""

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.transforms.reading import json_lines, plan, read, spill
from transforms.inputs import InputError
from transforms.records import DeadReason

ROWS = [{"text": f"document {n} of a file that somebody touches", "id": str(n)} for n in range(300)]
GROUP_ROWS = 60


def write(path: Path, rows: list[dict]) -> None:
    lines = json_lines(*rows)
    match path.name.partition(".")[2]:
        case "jsonl":
            path.write_bytes(lines)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines))
        case "jsonl.zst":
            path.write_bytes(zstandard.compress(lines))
        case "csv":
            path.write_text("id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows))
        case "txt":
            path.write_text("".join(row["text"] for row in rows))
        case _:
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=GROUP_ROWS)


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = ("jsonl", "jsonl.gz", "jsonl.zst", "csv", "txt", "parquet")
CUT = (1 << 30, 4_000)
"""Sizes of splits: one for the file, and several."""


def changed(tmp_path: Path, kind: str, split_bytes: int, change: Callable[[Path], None]):
    """What is read of a file of that kind which is changed after planning, chunks spilled where a run would spill them."""
    path = tmp_path / f"a.{kind}"
    write(path, ROWS)
    splits = plan(path, split_bytes=split_bytes)
    change(path)
    return read(spill(splits, tmp_path / "chunks"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_bytes", CUT)
@pytest.mark.parametrize(("change", "said"), [(Path.unlink, "No such file"), (replaced_by_folder, "directory")])
def test_a_file_that_is_gone_is_a_dead_letter_for_each_of_its_splits(tmp_path, kind, split_bytes, change, said):
    found = changed(tmp_path, kind, split_bytes, change)
    assert found.documents == [] and found.dead
    for letter in found.dead:
        assert letter.reason is DeadReason.BROKEN_FILE and "cannot be opened" in letter.detail and said in letter.detail
        assert letter.location == f"{tmp_path}/a.{kind}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split_bytes", CUT)
def test_a_file_that_is_empty_by_then_does_not_pass_for_read(tmp_path, kind, split_bytes):
    found = changed(tmp_path, kind, split_bytes, lambda path: path.write_bytes(b""))
    assert found.documents == [] and found.dead


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "parquet"])
@pytest.mark.parametrize("split_bytes", CUT)
def test_of_a_file_replaced_by_a_shorter_one_all_that_is_there_is_read_once_and_the_rest_is_told(tmp_path, kind, split_bytes):
    found = changed(tmp_path, kind, split_bytes, lambda path: write(path, ROWS[:GROUP_ROWS]))
    assert [document["id"] for document in found.documents] == [row["id"] for row in ROWS[:GROUP_ROWS]]
    assert found.dead and {letter.reason for letter in found.dead} == {DeadReason.TRUNCATED_FILE}
    assert all("when the run was planned" in letter.detail for letter in found.dead)
    if split_bytes == CUT[0]:
        position = {"parquet": f"#{GROUP_ROWS}", "csv": f":{GROUP_ROWS + 2}"}.get(kind, f":{GROUP_ROWS + 1}")
        assert [letter.location for letter in found.dead] == [f"{tmp_path}/a.{kind}{position}"]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_cut_in_the_middle_of_a_line_loses_that_line_and_says_that_it_was_cut(tmp_path, kind):
    found = changed(tmp_path, kind, CUT[0], lambda path: os.truncate(path, path.stat().st_size // 2))
    whole = len(found.documents)
    assert 100 < whole < 200
    assert [document["text"] for document in found.documents[: whole - 1]] == [row["text"] for row in ROWS[: whole - 1]]
    assert found.dead[-1].reason is DeadReason.TRUNCATED_FILE and "was cut or replaced meanwhile" in found.dead[-1].detail


@pytest.mark.parametrize("split_bytes", CUT)
def test_what_is_added_to_a_file_after_planning_is_left_for_the_next_run(tmp_path, split_bytes):
    def add(path: Path) -> None:
        with path.open("ab") as file:
            file.write(json_lines({"text": "added later", "id": "late"}))

    found = changed(tmp_path, "jsonl", split_bytes, add)
    assert [document["id"] for document in found.documents] == [row["id"] for row in ROWS]
    assert not found.dead


def test_a_file_of_the_same_length_in_another_format_is_dead_not_misread(tmp_path):
    found = changed(tmp_path, "parquet", CUT[0], lambda path: path.write_bytes(b"\0" * path.stat().st_size))
    assert found.documents == [] and found.letter.reason is DeadReason.BROKEN_FILE
    write(tmp_path / "a.jsonl", ROWS)
    splits = plan(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"\0" * (tmp_path / "a.jsonl").stat().st_size)
    assert read(splits).letter.reason is DeadReason.MALFORMED


def test_a_table_that_lost_its_text_column_is_dead_row_by_row(tmp_path):
    found = changed(tmp_path, "parquet", CUT[1], lambda path: pq.write_table(pa.table({"n": range(300)}), path, row_group_size=GROUP_ROWS))
    assert found.documents == [] and len(found.dead) == 300
    assert {letter.reason for letter in found.dead} == {DeadReason.MISSING_TEXT}
    assert len({letter.location for letter in found.dead}) == 300


@pytest.fixture
def open_folder():
    """A folder that every user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", ["planning", "reading"])
def test_a_file_that_may_not_be_read_says_so(open_folder, kind, when):
    path = open_folder / f"a.{kind}"
    write(path, ROWS)
    splits = plan(path, split_bytes=CUT[1]) if when == "reading" else []
    path.chmod(0)
    os.seteuid(65534)
    try:
        if when == "reading":
            assert all("Permission denied" in letter.detail for letter in read(splits).dead) and splits
        else:
            with pytest.raises(InputError, match="Permission denied"):
                plan(path, split_bytes=CUT[1])
    finally:
        os.seteuid(0)


def test_one_file_that_vanishes_leaves_the_others_whole(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.jsonl", [{**row, "id": f"{name}{row['id']}"} for row in ROWS])
    splits = plan(f"{tmp_path}/*.jsonl")
    shutil.move(tmp_path / "b.jsonl", tmp_path / "elsewhere")
    found = read(splits)
    assert [document["id"] for document in found.documents] == [f"{name}{n}" for name in "ac" for n in range(300)]
    assert found.letter.location == f"{tmp_path}/b.jsonl" and found.num_read == 601
