"""Files of earlier runs that are cut, emptied, lost or not ours: the file is named, nothing is published, and nothing half-done is left."""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from tests.conftest import WITHOUT_DETECTOR
from tests.texts import documents, write_jsonl
from transforms.decisions import recall_decisions
from transforms.records import ScoredShard
from transforms.storage import name_damaged, open_arrow

DECIDE_ANEW = "--min_similarity=0.7"


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    """A published run of several scored shards. Not to be changed."""
    folder = tmp_path_factory.mktemp("damaged")
    human = write_jsonl(folder / "h.jsonl", documents("h", range(24)))
    synthetic = write_jsonl(folder / "s.jsonl", documents("s", range(100, 116)))
    flags = [f"--human=h={human}", f"--synthetic=s={synthetic}", f"--output={folder}/out", WITHOUT_DETECTOR]
    assert main(["curate", *flags, "--split_bytes=7000", "--workers=0", "--progress=none"]) == 0
    return folder / "out"


@pytest.fixture
def copy(curated, tmp_path) -> Path:
    return Path(shutil.copytree(curated, tmp_path / "run"))


def shard(run: Path, number: int, kind: str = "scored") -> Path:
    return sorted((run / kind).glob("*.parquet" if kind != "decided" else "*.arrow"))[number]


def digest(run: Path) -> str:
    return json.loads((run / "manifest.json").read_text())["digest"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    """The middle of the columns, with the footer whole."""
    data = bytearray(path.read_bytes())
    data[100 : len(data) // 2] = b"\xff" * (len(data) // 2 - 100)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "number", "flags"),
    [
        *itertools.product([cut, empty, overwritten, foreign, folder], [0, -1], [()]),
        # Decided anew, under Beam: another reader and another way for what it raises.
        (overwritten, -1, (DECIDE_ANEW,)),
        (foreign, -1, (DECIDE_ANEW,)),
    ],
)
def test_a_damaged_scored_shard_stops_a_remix_by_its_name(headwater, copy, tmp_path, harm, number, flags):
    harmed = shard(copy, number)
    harm(harmed)
    ran = headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/again", *flags)
    assert ran.code in (1, 2) and str(harmed) in ran.err, ran.err
    assert "Traceback" not in ran.err and "published" not in ran.out
    assert sorted(os.listdir(tmp_path)) == ["run"]


@pytest.mark.parametrize("kind", ["scored", "data", "rejected"])
def test_damage_where_a_run_does_not_look_does_not_stop_it(headwater, copy, curated, tmp_path, kind):
    """What was published is no input of a remix; scored shards are."""
    if kind == "scored":
        (copy / "scored" / "notes.txt").write_text("mine")
    else:
        for path in (copy / kind).iterdir():
            empty(path)
    ran = headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/again")
    assert ran.code == 0, ran.err
    assert digest(tmp_path / "again") == digest(curated)


def test_a_shard_that_is_missing_beside_its_manifest_loses_no_documents_in_silence(headwater, copy, curated, tmp_path):
    left = len(list((copy / "scored").glob("*.parquet")))
    shard(copy, 0).unlink()
    for command in (("remix", f"--output={tmp_path}/again"), ("plan",)):
        ran = headwater(*command, f"--scored={copy}/scored")
        assert ran.code == 2 and f"holds {left - 1} scored shards, and the run that made them left {left}" in ran.err, ran.err
    assert sorted(os.listdir(tmp_path)) == ["run"]
    # Copied elsewhere, fewer shards are what their owner wants.
    (copy / "scored").rename(tmp_path / "chosen")
    assert headwater("plan", f"--scored={tmp_path}/chosen").code == 0


@pytest.mark.parametrize("manifest", ["", "{", '{"scored_shards": null}', "{}"])
def test_a_manifest_that_does_not_count_shards_asks_for_none_and_a_broken_one_is_named(headwater, copy, manifest):
    (copy / "manifest.json").write_text(manifest)
    ran = headwater("plan", f"--scored={copy}/scored")
    assert ran.code == (0 if manifest.endswith("}") else 2), ran.err
    assert ran.code == 0 or f"{copy}/manifest.json" in ran.err


def without_one(run: Path) -> None:
    shard(run, 1, "decided").unlink()


def without_all(run: Path) -> None:
    shutil.rmtree(run / "decided")


def with_a_broken_key(run: Path) -> None:
    (run / "decided" / "key.json").write_text('{"key": ')


@pytest.mark.parametrize("lost", [without_one, without_all, with_a_broken_key])
def test_lost_decisions_are_made_anew_with_the_same_result(headwater, copy, curated, tmp_path, lost):
    lost(copy)
    ran = headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/again")
    assert ran.code == 0, ran.err
    assert digest(tmp_path / "again") == digest(curated)


@pytest.mark.parametrize("harm", [cut, empty, overwritten])
def test_damaged_decisions_are_named_and_how_to_do_without_them(headwater, copy, tmp_path, harm):
    harmed = shard(copy, 1, "decided")
    harm(harmed)
    ran = headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/again")
    assert ran.code == 1 and str(harmed) in ran.err and f"delete {copy}/decided" in ran.err
    assert not (tmp_path / "again").exists()


def test_decisions_about_another_number_of_documents_are_refused(copy):
    decided = copy / "decided"
    rows = pq.read_metadata(shard(copy, 0)).num_rows
    (right,) = recall_decisions(ScoredShard("a", "", rows, 0), str(decided))
    assert 0 <= right.num_alive <= rows
    with pytest.raises(ValueError, match=f"decides about {rows} documents, but a holds {rows + 1}; delete {decided}"):
        recall_decisions(ScoredShard("a", "", rows + 1, 0), str(decided))


@pytest.mark.parametrize("given", ["{run}", "{run}/manifest.json", "{run}/nowhere", "{run}/data/", "{run}/rejected"])
def test_a_folder_that_holds_no_scored_shards_is_a_usage_error(headwater, curated, tmp_path, given):
    ran = headwater("remix", f"--scored={given.format(run=curated)}", f"--output={tmp_path}/again")
    assert ran.code == 2 and "scored" in ran.err and "Traceback" not in ran.err
    assert os.listdir(tmp_path) == []


# Comparing runs


def compare(capfd, *runs: Path) -> tuple[int, str]:
    """Exit code of `headwater diff`, and what it says on standard error."""
    capfd.readouterr()
    code = main(["diff", *map(str, runs)])
    return code, capfd.readouterr().err


@pytest.mark.parametrize("harm", [cut, empty, folder])
@pytest.mark.parametrize("kind", ["data", "rejected"])
def test_a_comparison_with_a_damaged_run_names_the_file(capfd, copy, curated, harm, kind):
    harmed = shard(copy, 0, kind)
    harm(harmed)
    code, said = compare(capfd, copy, curated)
    assert code == 1 and str(harmed) in said and "Traceback" not in said


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"run": {}}', '{"run": {"id": "x"}}', "\xff", None])
def test_a_comparison_needs_two_manifests(capfd, copy, curated, manifest):
    (copy / "manifest.json").unlink()
    if manifest is not None:
        (copy / "manifest.json").write_text(manifest, encoding="latin-1")
    for runs in ((copy, curated), (curated, copy)):
        code, said = compare(capfd, *runs)
        assert code == 2 and f"{copy}: holds no published run" in said


# How a damaged file is told from a fault of the machine


def harmless(path: Path) -> Callable[[], None]:
    def read() -> None:
        with open_arrow(str(path)) as file:
            pq.read_table(file)

    return read


def test_a_damaged_file_is_named_with_what_to_do_and_the_class_stays(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    harmless(path)()
    cut(path)
    with pytest.raises(pa.ArrowInvalid, match=rf"{path}: is damaged \(.*\); restore it, or run again what wrote it"):
        harmless(path)()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "/other/file"), KeyError("a"), FileNotFoundError(2, "gone")])
def test_faults_that_are_not_of_the_file_keep_their_words(error):
    with pytest.raises(type(error)) as raised, name_damaged("/some/file"):
        raise error
    assert "/some/file" not in str(raised.value)


def test_a_file_that_names_itself_is_not_named_twice():
    with pytest.raises(OSError, match=r"^/some/file: Invalid$"), name_damaged("/some/file"):
        raise OSError("/some/file: Invalid")
