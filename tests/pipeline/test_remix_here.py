"""Claims about a mix without Beam: when it is made so, and that it is the mix that the graph makes."""

import contextlib
import io
import json
import os
import signal
from argparse import Namespace
from types import SimpleNamespace

import pytest

from pipeline import run
from pipeline.__main__ import main
from pipeline.flag_groups import IN_MEMORY_RUNNER
from pipeline.folders import Folders
from pipeline.run import needs_no_beam
from tests.conftest import WITHOUT_DETECTOR, inputs, published, rejected


@pytest.fixture(scope="module")
def scored(corpus, tmp_path_factory):
    """The scored folder of a curated dataset in four small splits, with its decisions beside it."""
    output = tmp_path_factory.mktemp("remix_here") / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        flags = [f"--output={output}", WITHOUT_DETECTOR, "--split_bytes=20000", "--workers=0", "--progress=none"]
        assert main(["curate", *inputs(corpus), *flags]) == 0
    return output / "scored"


def remix_both_ways(headwater, scored, tmp_path, *flags):
    """Folders of the same remix, here and by the graph: a flag of Beam's own asks for Beam."""
    here, graph = tmp_path / "here", tmp_path / "graph"
    assert headwater("remix", f"--scored={scored}", f"--output={here}", *flags).code == 0
    assert headwater("remix", f"--scored={scored}", f"--output={graph}", *flags, "--job_name=asks-for-beam").code == 0
    return here, graph


@pytest.mark.parametrize(
    "flags",
    [
        ("--human_quota=0.8", "--num_shards=3"),
        ("--human_quota=0.6", "--quota_unit=tokens", "--max_documents=50", "--priority=random", "--seed=3"),
        ("--human_quota=0", "--quota_unit=bytes", "--max_tokens=4000"),
        ("--human_quota=1", "--num_shards=2"),
    ],
)
def test_here_and_in_the_graph_the_same_files_are_published(scored, headwater, tmp_path, flags):
    here, graph = remix_both_ways(headwater, scored, tmp_path, *flags)
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (here, graph)]
    for key in ("digest", "accounts", "recipe_digest", "quota"):
        assert manifests[0][key] == manifests[1][key], key
    assert published(here) == published(graph)
    assert rejected(here) == rejected(graph)
    assert sorted(path.name for path in here.rglob("*")) == sorted(path.name for path in graph.rglob("*"))


def test_workers_change_nothing(scored, headwater, tmp_path):
    for workers in (0, 2):
        assert headwater("remix", f"--scored={scored}", f"--output={tmp_path}/{workers}", "--human_quota=0.75", f"--workers={workers}").code == 0
    assert published(tmp_path / "0") == published(tmp_path / "2")
    assert rejected(tmp_path / "0") == rejected(tmp_path / "2")


def test_a_refused_mix_says_why_and_leaves_nothing(scored, headwater, tmp_path):
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", "--human_quota=0.9", "--max_documents=100")
    assert ran.code == 4 and "too little human text" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_ends_the_run_and_leaves_nothing(scored, headwater, tmp_path, monkeypatch):
    import pipeline.remix_here

    monkeypatch.setattr(pipeline.remix_here, "dispose_shard", die)
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", "--human_quota=0.7", "--workers=2")
    assert ran.code == 1 and "a worker process died during 'mix'" in ran.err
    assert list(tmp_path.iterdir()) == []


def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_shard_that_no_longer_fits_its_decisions_is_an_error(scored, headwater, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "find_decided", lambda *arguments: str(tmp_path / "elsewhere"))
    ran = headwater("remix", f"--scored={scored}", f"--output={tmp_path}/out", "--human_quota=0.7")
    assert ran.code == 1 and "elsewhere" in ran.err and "Nothing was published" in ran.err


@pytest.mark.parametrize(
    ("job", "parsed", "expected"),
    [
        ({}, {}, True),
        ({"decided": None}, {}, False),
        ({}, {"runner": "PortableRunner"}, False),
        ({}, {"beam": ["--job_endpoint=embed"]}, False),
        ({"scored": ("gs://bucket/scored/a.parquet",)}, {}, False),
        ({"folders": Folders("gs://bucket/out/staging")}, {}, False),
    ],
)
def test_beam_is_left_out_only_where_nothing_but_the_mix_is_left_to_do_on_this_machine(job, parsed, expected):
    job = {"decided": "/out/decided", "scored": ("/out/scored/a.parquet",), "folders": Folders("/out/staging")} | job
    parsed = {"runner": IN_MEMORY_RUNNER, "beam": []} | parsed
    assert needs_no_beam(SimpleNamespace(**job), Namespace(**parsed)) is expected
