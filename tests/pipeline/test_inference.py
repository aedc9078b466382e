"""Where the detector runs is a matter of flags, and changes nothing that is published."""

import json
from argparse import Namespace

import pytest

from pipeline.errors import UsageError
from pipeline.inference import inference_of
from pipeline.options import parse_arguments
from pipeline.recipe import load_recipe
from tests.conftest import inputs

CURATE = ["curate", "--human", "a=b", "--output", "out"]


def inference(*flags, runs_here=True, **overrides):
    return inference_of(parse_arguments([*CURATE, *flags]), load_recipe(None, overrides), runs_here=runs_here)


def test_the_detector_runs_in_line_unless_told_otherwise():
    assert inference() is None and inference("--detector_runs=inline") is None


def test_a_remix_scores_nothing():
    assert inference_of(Namespace(), load_recipe(), runs_here=True) is None


def test_flags_become_settings_of_the_step():
    found = inference("--detector_runs=inference", "--detector_min_ram=16GB", "--detector_accelerator=type:t4;count:1", "--workers=3")
    assert found.version.startswith("fast-")
    assert (found.device, found.num_threads, found.min_ram, found.accelerator, found.share_model) == ("cpu", 3, "16GB", "type:t4;count:1", False)


def test_on_a_cluster_each_process_scores_one_text_at_a_time():
    assert inference("--detector_runs=inference", runs_here=False).num_threads == 1


def test_processes_share_the_model_on_an_accelerator(monkeypatch):
    monkeypatch.setattr("pipeline.inference.detector_version", lambda settings: "hf-0")
    found = inference("--detector_runs=inference", "--detector_device=cuda", **{"score.ai_detector": "hf:org/model"})
    assert (found.version, found.device, found.share_model) == ("hf-0", "cuda", True)


def test_what_runs_on_the_cpu_alone_takes_no_other_device():
    with pytest.raises(UsageError, match="--detector_runs=inference: device 'cuda' does not go with fast"):
        inference("--detector_runs=inference", "--detector_device=cuda")


@pytest.mark.parametrize("flag", ["--detector_device=cuda", "--detector_min_ram=1GB", "--detector_accelerator=type:t4"])
def test_flags_of_the_step_without_the_step_are_refused(flag):
    with pytest.raises(UsageError, match=f"{flag}: goes with --detector_runs=inference only"):
        inference(flag)


def test_a_step_without_a_detector_is_refused():
    scorers = load_recipe().score.scorers
    with pytest.raises(UsageError, match=r"no detector scores; add 'ai_detector' to score.scorers"):
        inference("--detector_runs=inference", **{"score.scorers": [name for name in scorers if name != "ai_detector"]})


def test_a_run_publishes_the_same_wherever_the_detector_runs(headwater, corpus, tmp_path):
    digests, scored = [], []
    for where in ("inline", "inference"):
        ran = headwater("curate", *inputs(corpus), f"--output={tmp_path}/{where}", f"--detector_runs={where}", "--on_shortage=shrink")
        assert ran.code == 0, ran.err
        manifest = json.loads((tmp_path / where / "manifest.json").read_text())
        digests.append((manifest["digest"], manifest["scorers"], manifest["accounts"]))
        scored.append({path.name: path.read_bytes() for path in (tmp_path / where / "scored").iterdir()})
    assert digests[0] == digests[1] and scored[0] == scored[1]
    assert not (tmp_path / "inference" / "unjudged").exists()


def test_a_detector_without_thresholds_stops_before_anything_is_read(headwater, corpus, tmp_path):
    ran = headwater("curate", *inputs(corpus), f"--output={tmp_path}/out", "--ai_detector=hf:org/model")
    assert ran.code == 2 and "`python -m classifiers calibrate --ai_detector hf:org/model --human GLOB" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_cascade_tells_the_manifest_what_went_deep_and_a_remix_remembers(headwater, corpus, tmp_path, monkeypatch):
    from classifiers import ai_detector
    from classifiers.calibrate import score_human_text
    from classifiers.calibration import calibrate
    from classifiers.cascade import CascadeDetector, CascadeSettings
    from tests.classifiers.fake_detectors import WordShareDetector
    from transforms import score_documents

    fast, deep = WordShareDetector("fast", "the"), WordShareDetector("deep", "a")
    cascade = CascadeDetector(fast, deep, CascadeSettings(-3.5, -3.35, 0.1, (0.0, 1.0, 1.0), fast.version, deep.version))
    monkeypatch.setattr(ai_detector, "make_detector", lambda spec, **settings: cascade)
    monkeypatch.setattr(score_documents, "_made", {})
    scores = score_human_text(ai_detector.AiDetectorScorer(cascade), [f"words enough {n} " * 40 for n in range(300)])
    calibration = calibrate({"own": scores}, cascade.version)
    (tmp_path / "own.json").write_bytes(calibration.to_json())
    flags = [f"--calibration={tmp_path}/own.json", "--on_shortage=shrink"]
    ran = headwater("curate", *inputs(corpus), f"--output={tmp_path}/out", "--ai_detector=cascade", *flags)
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["cascade"]
    assert told["texts"] == 140 and 0 < told["deep_texts"] < 140 and told["deep_share"] == told["deep_texts"] / 140
    assert told["fast_cpu_s"] > 0 and told["deep_cpu_s"] > 0
    ran = headwater("remix", f"--scored={tmp_path}/out/scored", f"--output={tmp_path}/again", *flags)
    assert ran.code == 0, ran.err
    again = json.loads((tmp_path / "again" / "manifest.json").read_text())["cascade"]
    assert again == told | {"fast_cpu_s": 0.0, "deep_cpu_s": 0.0}
