"""Standard output that is full or closed: what was done stands and is said to, and a command that only prints says why it failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.errors import HeadwaterError
from pipeline.standard_output import printing
from tests.conftest import WITHOUT_DETECTOR, published
from tests.texts import documents, write_jsonl

FULL = "standard output could not be written ([Errno 28] No space left on device)"


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    """A published dataset that is in a ledger."""
    pytest.importorskip("deltalake")
    folder = tmp_path_factory.mktemp("curated")
    human = write_jsonl(folder / "h.jsonl", documents("h", range(12)))
    synthetic = write_jsonl(folder / "s.jsonl", documents("s", range(100, 106)))
    given = [f"--human=h={human}", f"--synthetic=s={synthetic}", f"--ledger={folder}/ledger", "--cycle=c1", WITHOUT_DETECTOR]
    assert main(["curate", *given, f"--output={folder}/out", "--workers=0", "--progress=none"]) == 0
    return folder


@pytest.fixture
def full(monkeypatch, capsys):
    """Runs a command whose standard output is a full disk; its exit code and what it says on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with open("/dev/full", "w") as nowhere, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", nowhere)
            return main(list(arguments)), capsys.readouterr().err

    return run


def test_a_run_that_has_published_ends_well_and_says_where(full, curated, tmp_path):
    code, said = full("remix", f"--scored={curated}/out/scored", f"--output={tmp_path}/again", "--workers=0", "--progress=none")
    assert code == 0 and published(tmp_path / "again").num_rows == published(curated / "out").num_rows > 0
    assert said == f"headwater: {FULL}; the dataset is published at {tmp_path}/again, whole; manifest.json there has every figure of the report\n"


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "--scored={}/out/scored", "--workers=0", "--progress=none"],
        ["plan", "--scored={}/out/scored", "--workers=0", "--progress=none", "--sweep", "human_quota=0.5,0.6"],
        ["diff", "{}/out", "{}/out"],
        ["diff", "{}/out", "{}/out", "--json"],
        ["ledger", "show", "{}/ledger"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_command_that_only_prints_fails_and_says_why(full, curated, command):
    code, said = full(*(word.format(curated) for word in command))
    assert code == 1
    assert said == f"headwater: {FULL}; nothing else was to be done. Give it a place with room, or a reader that stays.\n"


def test_what_a_command_wrote_or_changed_stands(full, curated, tmp_path):
    code, said = full("diff", f"{curated}/out", f"{curated}/out", f"--moved={tmp_path}/moved.jsonl")
    assert code == 0 and f"the documents that moved are in {tmp_path}/moved.jsonl" in said and (tmp_path / "moved.jsonl").exists()
    sweep = ["plan", f"--scored={curated}/out/scored", "--workers=0", "--progress=none", "--sweep", "human_quota=0.5,0.6"]
    code, said = full(*sweep, f"--sweep_output={tmp_path}/sweep.csv")
    assert code == 0 and f"the sweep is in {tmp_path}/sweep.csv" in said and len((tmp_path / "sweep.csv").read_text().splitlines()) == 3
    code, said = full("ledger", "compact", f"{curated}/ledger")
    assert code == 0 and said == f"headwater: {FULL}; the ledger is compacted\n"


def test_a_reader_that_has_gone_leaves_no_exit_code_of_the_interpreter_s_own(curated, tmp_path):
    """Without this Python ends with 120 and says "Exception ignored"; the pipe is closed before the run begins, as by `| true`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = ["remix", f"--scored={curated}/out/scored", f"--output={tmp_path}/piped", "--workers=0", "--progress=none"]
    try:
        ran = subprocess.run([sys.executable, "-m", "pipeline", *command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("headwater: standard output could not be written ([Errno 32] Broken pipe); the dataset is published at ")
    assert ran.stderr.count("\n") == 1 and published(tmp_path / "piped").num_rows > 0


def test_brackets_are_text_wherever_they_stand(headwater, capfd, curated, tmp_path):
    """In a reserved value, a predicate, a value of a sweep and a path; taken for mark-up they would not be printed."""
    scored, shrunk = f"--scored={curated}/out/scored", "--on_shortage=shrink"
    said = headwater("plan", scored, "--reserve=task.[code]=2", shrunk).out
    assert "task.[code]" in said
    odd = "--group=odd=id != '[bold]h[/x]'; min_share=0.1"
    other = tmp_path / "run[b]"
    assert headwater("remix", scored, odd, "--seed=9", f"--output={other}", shrunk).code == 0
    assert main(["diff", f"{curated}/out", str(other)]) == 0
    said = capfd.readouterr().out
    assert "[bold]h[/x]" in said and f"{other} " in said
    said = headwater("plan", scored, odd, "--sweep", "mix.groups.odd.where=id != '[red]',id == '[/x]'").out
    assert "[red]" in said and "[/x]" in said


def test_an_error_that_is_not_of_the_output_passes_through():
    with pytest.raises(HeadwaterError, match="other"), printing("done"):
        raise HeadwaterError("other")
