"""Where a dataset may be published to: what cannot work is refused before any work, what can work does, and nothing else is left there."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.publishing import check_output, stage_output
from tests.conftest import WITHOUT_DETECTOR
from tests.pipeline.test_publishing import content, publish
from tests.texts import documents, write_jsonl


def left_beside(output: Path) -> list[str]:
    """What lies in the output's folder beside it: staging, locks."""
    return sorted(name for name in os.listdir(output.parent) if name.startswith("."))


@pytest.fixture
def disk(tmp_path) -> Path:
    """A folder that another one leads to."""
    (tmp_path / "large" / "real").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    return tmp_path / "large" / "real"


@pytest.fixture
def link(disk, tmp_path) -> Path:
    (tmp_path / "home" / "out").symlink_to(disk)
    return tmp_path / "home" / "out"


def test_a_link_is_published_through_and_staging_lies_on_the_disk_it_leads_to(link, disk):
    with stage_output(str(link), "one", overwrite=False) as folders:
        assert os.path.dirname(folders.root) == str(disk.parent)
    publish(str(link), "one", "first")
    assert content(disk) == content(link) == "first"
    assert link.is_symlink() and left_beside(disk) == left_beside(link) == []


def test_a_dataset_behind_a_link_is_replaced_and_the_link_stays(link, disk):
    publish(str(link), "one", "first")
    with pytest.raises(UsageError, match="--overwrite"):
        publish(str(link), "two", "second")
    publish(str(link), "two", "second", overwrite=True)
    assert link.is_symlink() and content(disk) == "second" and left_beside(disk) == []


def test_a_link_that_leads_nowhere_yet_is_published_to_where_it_leads(link, disk):
    disk.rmdir()
    publish(str(link), "one", "first")
    assert link.is_symlink() and content(disk) == "first"


def test_two_names_of_one_folder_are_kept_apart_like_one(link, disk):
    with stage_output(str(link), "one", overwrite=False):
        with pytest.raises(UsageError, match="another run is publishing there"), stage_output(str(disk), "two", overwrite=False):
            pass


def test_a_link_to_itself_is_a_usage_error_and_leaves_nothing(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match="symbolic links"), stage_output(str(tmp_path / "loop"), "one", overwrite=False):
        pass
    assert left_beside(tmp_path / "loop") == []


@pytest.mark.parametrize("held", ["a file", "foreign files", "a dataset", "a manifest and foreign files", "data without a manifest"])
def test_a_refused_output_is_left_as_it_was_without_a_lock_beside_it(tmp_path, held):
    output = tmp_path / "out"
    if held == "a file":
        output.write_text("mine")
    else:
        output.mkdir()
        (output / ("thesis.txt" if "foreign" in held else "data")).write_text("mine")
        if held in ("a dataset", "a manifest and foreign files"):
            (output / "manifest.json").write_text("{}")
    before = sorted(output.iterdir()) if output.is_dir() else output.read_text()
    # Only a whole dataset may be replaced, and only where that is asked for.
    with pytest.raises(UsageError, match=r"--output=.*; give"), stage_output(str(output), "one", overwrite=held != "a dataset"):
        pass
    assert before == (sorted(output.iterdir()) if output.is_dir() else output.read_text())
    assert left_beside(output) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_folder_that_may_not_be_listed_is_a_usage_error(tmp_path):
    (tmp_path / "out").mkdir(mode=0)
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(UsageError, match="Permission denied"):
            check_output(str(tmp_path / "out"), overwrite=True)
    finally:
        os.seteuid(0)


def test_what_an_earlier_run_left_is_cleared_but_only_of_this_output(tmp_path):
    for name in (".out.staging-20260101T000000-aa", ".out2.staging-20260101T000000-bb", ".o*t.staging-1"):
        (tmp_path / name / "data").mkdir(parents=True)
    publish(str(tmp_path / "out"), "one", "first")
    assert left_beside(tmp_path / "out") == [".o*t.staging-1", ".out2.staging-20260101T000000-bb"]
    publish(str(tmp_path / "o*t"), "one", "first")
    assert left_beside(tmp_path / "out") == [".out2.staging-20260101T000000-bb"]


@pytest.mark.parametrize("name", ["with space é", "new\nline", "trailing/", "a/b/c", "[brackets]", "-dash"])
def test_a_folder_of_any_name_is_published_to_and_replaced(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run_id, text in (("one", "first"), ("two", "second")):
        publish(name, run_id, text, overwrite=True)
        assert content(name) == text
    assert left_beside(Path(os.path.abspath(name))) == []


def test_a_staging_folder_that_cannot_be_made_is_a_usage_error(tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(28, os.strerror(28), path)

    (tmp_path / "out").mkdir()
    real = os.makedirs
    monkeypatch.setattr(os, "makedirs", lambda path, *rest, **more: full(path) if "staging" in str(path) else real(path, *rest, **more))
    with pytest.raises(UsageError, match="No space left on device"), stage_output(str(tmp_path / "out"), "one", overwrite=False):
        pass
    assert left_beside(tmp_path / "out") == []


# The command line


@pytest.fixture(scope="module")
def run_flags(tmp_path_factory):
    path = write_jsonl(tmp_path_factory.mktemp("inputs") / "h.jsonl", documents("h", range(12)))
    return ["curate", f"--human=h={path}", WITHOUT_DETECTOR]


def test_an_output_without_a_name_is_refused_before_any_work(headwater, run_flags):
    ran = headwater(*run_flags, "--output=")
    assert ran.code == 2 and "names no folder" in ran.err and "Nothing was written" not in ran.out


def test_the_home_folder_may_be_written_with_a_tilde(headwater, run_flags, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    ran = headwater(*run_flags, "--output=~/out")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "home" / "out" / "manifest.json").read_text())["shards"]
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(("output", "ledger"), [("out", "out"), ("out", "out/ledger"), ("ledger/out", "ledger"), ("link", "out/ledger")])
def test_a_ledger_and_a_dataset_one_in_the_other_are_refused_before_any_work(headwater, run_flags, tmp_path, output, ledger):
    (tmp_path / "link").symlink_to(tmp_path / "out")
    ran = headwater(*run_flags, f"--output={tmp_path}/{output}", f"--ledger={tmp_path}/{ledger}", "--cycle=one")
    assert ran.code == 2 and "folders apart" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link"]


def test_a_dataset_is_never_mixed_from_itself(headwater, run_flags, tmp_path):
    assert headwater(*run_flags, f"--output={tmp_path}/out").code == 0
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for output in ("out", "link"):
        ran = headwater("remix", f"--scored={tmp_path}/out/scored", f"--output={tmp_path}/{output}", "--overwrite")
        assert ran.code == 2 and "holds the scored shards that this run reads" in ran.err
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    ran = headwater("remix", f"--scored={tmp_path}/copy/scored", f"--output={tmp_path}/link", "--overwrite")
    assert ran.code == 0 and (tmp_path / "link").is_symlink(), ran.err
