"""The Dataflow job, built offline: the service is never reached, the job it would be given is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import WITHOUT_DETECTOR
from tests.texts import documents, write_jsonl

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("apitools") is None, reason="needs the extra gcp: pip install 'headwater[gcp]'")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """What `headwater curate --runner=DataflowRunner --template_location=...` leaves behind."""
    folder = tmp_path_factory.mktemp("dataflow")
    for name in ("temp", "staging", "template"):
        (folder / name).mkdir()
    human = write_jsonl(folder / "human.jsonl", documents("human", range(20)))
    packed = write_jsonl(folder / "packed.jsonl.gz", documents("packed", range(20)))
    ended = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pipeline",
                "curate",
                f"--human=h={human}",
                f"--synthetic=p={packed}",
                f"--output={folder}/out",
                WITHOUT_DETECTOR,
            ),
            *("--runner=DataflowRunner", "--project=p", "--region=us-central1", "--no_auth", "--dataflow_endpoint=http://localhost:9"),
            *(f"--temp_location={folder}/temp", f"--staging_location={folder}/staging", f"--template_location={folder}/template/job.json"),
            *("--setup_file=./setup.py", "--sdk_container_image=headwater:1", "--progress=none"),
        ],
        cwd=ROOT,
        env={**os.environ, "NO_GCE_CHECK": "true", "GCE_METADATA_HOST": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    return folder, ended


def test_the_job_is_built_and_its_steps_are_those_of_the_graph(template):
    from apache_beam.portability.api import beam_runner_api_pb2

    folder, ended = template
    assert ended.returncode == 0, ended.stderr
    job = json.loads((folder / "template" / "job.json").read_text())
    assert job["environment"]["sdkPipelineOptions"]["options"]["project"] == "p"
    (graph,) = list(folder.rglob("pipeline.pb"))
    pipeline = beam_runner_api_pb2.Pipeline.FromString(graph.read_bytes())
    names = {transform.unique_name for transform in pipeline.components.transforms.values()}
    for step in ("Score/ScoreSplits", "Decide/JudgeShards", "PlanMix", "Publish/WriteShards", "FinishRun"):
        assert any(name == step or name.startswith(f"{step}/") for name in names), (step, sorted(names))


def test_nothing_is_pickled_that_dataflow_would_refuse_as_a_key(template):
    from apache_beam.portability.api import beam_runner_api_pb2

    folder, _ = template
    (graph,) = list(folder.rglob("pipeline.pb"))
    components = beam_runner_api_pb2.Pipeline.FromString(graph.read_bytes()).components
    # Beam's own global combines group under the single key None, which every runner takes.
    grouped = [t for t in components.transforms.values() if t.spec.urn == "beam:transform:group_by_key:v1" and "/CombinePerKey/" not in t.unique_name]
    assert grouped
    for transform in grouped:
        (source,) = transform.inputs.values()
        coder = components.coders[components.pcollections[source].coder_id]
        if coder.spec.urn == "beam:coder:windowed_value:v1":
            coder = components.coders[coder.component_coder_ids[0]]
        key = components.coders[coder.component_coder_ids[0]]
        # Pickled keys (other than Reshuffle's random ones, which are bytes or integers) would not be deterministic.
        assert "pickle" not in key.spec.urn, transform.unique_name


def test_the_launcher_says_what_it_left(template):
    _, ended = template
    assert "template" in ended.stdout and "Traceback" not in ended.stderr
