"""What every test shares: the command line run in this process, and a small corpus on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from tests.texts import documents, edited, write_jsonl

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Models and datasets are read from local folders here: a test that reaches for a hub must fail at once, not after retries.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# A remix in this process leaves pandas out (pipeline/lean_imports.py) unless pyarrow has found it before: so that no test depends on another.
pa.array([0])

# No test asserts a time, and the first example of a property may compile its kernels.
settings.register_profile("headwater", deadline=None)
settings.load_profile("headwater")


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def headwater(capfd):
    """Runs `headwater ARGUMENTS` in this process, without progress, on one core unless told otherwise."""
    from pipeline.__main__ import main

    def run(*arguments: object) -> Ran:
        given = [str(argument) for argument in arguments]
        if not any(argument.startswith("--workers") for argument in given):
            given.append("--workers=0")
        capfd.readouterr()
        try:
            code = main([*given, "--progress=none"])
        except SystemExit as stopped:
            code = stopped.code
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """60 human and 60 synthetic documents and 20 unlabelled ones, with faults planted, as JSON lines under one folder. Not to be changed."""
    folder = tmp_path_factory.mktemp("corpus")
    human = documents("human", range(60))
    synthetic = documents("synthetic", range(1000, 1050), generator="model-a", generation=1)
    synthetic += [{"id": f"copy-{n}", "text": synthetic[n]["text"], "generator": "model-b"} for n in range(5)]
    synthetic += [{"id": f"echo-{n}", "text": edited(human[n]["text"], n), "generator": "model-b"} for n in range(5)]
    unlabelled = documents("web", range(2000, 2018)) + [
        {"id": "web-short", "text": "Too short to be of any use."},
        {"id": "web-loop", "text": "Say it again and again until it stops. " * 40},
    ]
    write_jsonl(folder / "human.jsonl", human)
    write_jsonl(folder / "synthetic.jsonl.gz", synthetic)
    write_jsonl(folder / "unlabelled.jsonl", unlabelled)
    return folder


def inputs(corpus: Path) -> list[str]:
    """The flags that name the corpus."""
    return [f"--human=books={corpus}/human.jsonl", f"--synthetic=models={corpus}/synthetic.jsonl.gz", f"--unlabelled=web={corpus}/unlabelled.jsonl"]


# The detector was not made for the generated prose of these tests: what it says of it must not decide them.
WITHOUT_DETECTOR = '--set=score.scorers=["size", "gopher_quality", "gopher_repetition", "quality", "language", "content_hash", "signature"]'


def published(output: Path):
    """All published rows, in order of file and row."""
    return pa.concat_tables([pq.read_table(path) for path in sorted((Path(output) / "data").glob("*.parquet"))])


def rejected(output: Path):
    """All rejected rows."""
    return pa.concat_tables([pq.read_table(path) for path in sorted((Path(output) / "rejected").glob("*.parquet"))])


@pytest.fixture(scope="session")
def forty_of_each(tmp_path_factory) -> list[str]:
    """Flags of `curate` that name forty human and forty synthetic documents in several splits. Not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    human = write_jsonl(folder / "h.jsonl", documents("h", range(40)))
    synthetic = write_jsonl(folder / "s.jsonl", documents("s", range(100, 140)))
    return [f"--human=h={human}", f"--synthetic=s={synthetic}", "--split_bytes=8000", WITHOUT_DETECTOR]
