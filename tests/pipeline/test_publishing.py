"""Publication: the previous dataset or the new one, whole; never a mixture, never somebody else's files."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from pipeline import publishing
from pipeline.errors import UsageError
from pipeline.folders import WORK, Folders
from pipeline.publishing import check_output, publish_staged, stage_output


def fill(folders: Folders, run_id: str, text: str = "new") -> None:
    os.makedirs(folders.data)
    for work in WORK:
        os.makedirs(os.path.join(folders.root, work))
    with open(os.path.join(folders.data, "train-00000-of-00001.parquet"), "w") as file:
        file.write(text)
    with open(folders.manifest, "w") as file:
        json.dump({"run": {"id": run_id}}, file)
    with open(folders.card, "w") as file:
        file.write("card")


def publish(output: str, run_id: str, text: str, overwrite: bool = False) -> None:
    with stage_output(output, run_id, overwrite=overwrite) as folders:
        fill(folders, run_id, text)
        publish_staged(folders, output, run_id, overwrite=overwrite)


def content(output) -> str:
    return open(os.path.join(output, "data", "train-00000-of-00001.parquet")).read()


def test_a_published_run_leaves_only_what_readers_need(tmp_path):
    output = str(tmp_path / "out")
    publish(output, "one", "first")
    assert sorted(os.listdir(output)) == ["README.md", "data", "manifest.json"]
    assert os.listdir(tmp_path) == ["out"]


def test_an_existing_empty_folder_may_be_published_to(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    publish(str(output), "one", "first")
    assert content(output) == "first"


def test_replacing_a_dataset_needs_overwrite(tmp_path):
    output = str(tmp_path / "out")
    publish(output, "one", "first")
    with pytest.raises(UsageError, match="--overwrite"), stage_output(output, "two", overwrite=False):
        pass
    publish(output, "two", "second", overwrite=True)
    assert content(output) == "second"
    assert os.listdir(tmp_path) == ["out"]


def test_files_that_are_not_ours_are_never_replaced(tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"did not write \(thesis.tex\)"):
        check_output(str(output), overwrite=True)
    (output / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="did not write"):
        check_output(str(output), overwrite=True)


def test_a_file_in_the_place_of_the_output_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        check_output(str(tmp_path / "out"), overwrite=True)


def test_an_unwritable_place_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="give a folder that can be written"), stage_output(str(tmp_path / "file" / "out"), "one", overwrite=False):
        pass


def test_a_run_that_stops_leaves_the_previous_dataset_and_no_staging(tmp_path):
    output = str(tmp_path / "out")
    publish(output, "one", "first")
    with pytest.raises(RuntimeError), stage_output(output, "two", overwrite=True) as folders:
        fill(folders, "two", "second")
        raise RuntimeError
    assert content(output) == "first"
    assert os.listdir(tmp_path) == ["out"]


def test_publishing_twice_changes_nothing(tmp_path):
    output = str(tmp_path / "out")
    with stage_output(output, "one", overwrite=False) as folders:
        fill(folders, "one", "first")
        first = publish_staged(folders, output, "one", overwrite=False)
        assert publish_staged(folders, output, "one", overwrite=False) == first
    assert content(output) == "first"


def test_two_runs_into_one_output_are_kept_apart(tmp_path):
    output = str(tmp_path / "out")
    with stage_output(output, "one", overwrite=False):
        with pytest.raises(UsageError, match="another run is publishing there"), stage_output(output, "two", overwrite=False):
            pass
    with stage_output(output, "three", overwrite=False):
        pass


def test_without_atomic_exchange_the_previous_dataset_is_put_back(tmp_path, monkeypatch):
    output = str(tmp_path / "out")
    publish(output, "one", "first")
    # What a kill between the two renames leaves: the old dataset aside, nothing in its place.
    os.rename(output, tmp_path / ".out.previous")
    os.makedirs(tmp_path / ".out.staging-two" / "data")
    with stage_output(output, "three", overwrite=True):
        assert content(output) == "first"
    assert os.listdir(tmp_path) == ["out"]


def test_the_fallback_of_two_renames_replaces_too(tmp_path, monkeypatch):
    output = str(tmp_path / "out")
    publish(output, "one", "first")

    class NoExchange:
        renameat2 = None

    monkeypatch.setattr(publishing.ctypes, "CDLL", lambda *_, **__: NoExchange())
    publish(output, "two", "second", overwrite=True)
    assert content(output) == "second"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_9_around_the_exchange_leaves_one_whole_dataset(tmp_path, moment):
    output = str(tmp_path / "out")
    publish(output, "one", "first")
    script = textwrap.dedent(
        f"""
        import os, signal
        from pipeline import publishing
        from tests.pipeline.test_publishing import fill
        exchange = publishing._exchange
        def killed(*paths):
            if {moment!r} == "after":
                exchange(*paths)
            os.kill(os.getpid(), signal.SIGKILL)
        publishing._exchange = killed
        with publishing.stage_output({output!r}, "two", overwrite=True) as folders:
            fill(folders, "two", "second")
            publishing.publish_staged(folders, {output!r}, "two", overwrite=True)
        """
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert content(output) == ("second" if moment == "after" else "first")
    publish(output, "three", "third", overwrite=True)
    assert content(output) == "third"
    assert os.listdir(tmp_path) == ["out"]


def test_an_object_store_is_never_published_over():
    class Exists:
        @staticmethod
        def exists(path):
            return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "beam_filesystems", lambda: Exists)
        patch.setattr(publishing, "join_path", lambda *parts: "/".join(parts))
        with pytest.raises(UsageError, match="new folder"), stage_output("gs://bucket/out", "one", overwrite=True):
            pass
