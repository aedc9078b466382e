"""The tiers behind one contract: names, what is missing, which thresholds ship."""

import importlib.util

import numpy as np
import pytest

from classifiers import detectors
from classifiers.ai_detector import AiDetectorScorer, detector_fields
from classifiers.detectors import DETECTORS, DetectorSettings, MissingExtra, detector_calibration, make_detector, parse_detector, require_extra
from classifiers.fast_model import FastModel
from classifiers.text_batch import TextBatch
from tests.classifiers.fake_detectors import WordShareDetector


def test_names_are_a_kind_and_for_some_a_model():
    assert parse_detector("fast") == ("fast", "")
    assert parse_detector("hf:org/name") == ("hf", "org/name")
    assert parse_detector("lm:C:/models/a.gguf") == ("lm", "C:/models/a.gguf")


@pytest.mark.parametrize("spec", ["", "slow", "FAST", "org/name", ":x"])
def test_an_unknown_name_is_refused_with_all_that_are_known(spec):
    with pytest.raises(ValueError, match="unknown .*; known: " + ", ".join(DETECTORS)):
        make_detector(spec)


@pytest.mark.parametrize(
    ("spec", "wanted"), [("hf", "hf:PATH_OR_NAME"), ("hf:", "hf:PATH_OR_NAME"), ("lm", "lm:PATH"), ("fast:x", "plain fast"), ("deep:", "plain deep")]
)
def test_a_name_of_the_wrong_form_is_refused_with_the_right_one(spec, wanted):
    with pytest.raises(ValueError, match=f"'{spec}' must be {wanted}"):
        make_detector(spec)


@pytest.mark.parametrize("spec", ["hf:x", "lm:x", "deep", "cascade"])
def test_missing_libraries_are_an_error_with_the_install_line(spec, monkeypatch):
    # A detector that an earlier test loaded is kept, and needs nothing more.
    detectors._shared_detector.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    extra = "torch" if ":" in spec else "deep"
    with pytest.raises(MissingExtra, match=rf'ai_detector {spec} needs .*: pip install "headwater\[{extra}\]"'):
        make_detector(spec)


def test_only_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "safetensors" else object())
    with pytest.raises(MissingExtra, match="needs safetensors: pip"):
        require_extra("hf:x", "torch")


def test_the_fast_detector_is_loaded_once():
    assert isinstance(make_detector("fast"), FastModel)
    assert make_detector("fast") is make_detector("fast")
    assert make_detector("fast").version == AiDetectorScorer().version


def test_weights_from_a_file_are_read_each_time(tmp_path):
    path = tmp_path / "a.npz"
    make_detector("fast").save(str(path))
    again = make_detector("fast", model_path=str(path))
    assert again is not make_detector("fast", model_path=str(path))
    assert again.version == make_detector("fast").version


@pytest.mark.parametrize(("settings", "message"), [({"num_threads": 0}, "num_threads must be from 1"), ({"device": ""}, "device must be cpu")])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DetectorSettings(**settings)


def test_settings_that_do_not_go_with_a_name_are_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match="ai_label = 'ai' does not go with fast"):
        make_detector("fast", ai_label="ai")
    with pytest.raises(ValueError, match="device 'cuda' does not go with fast: it runs on the CPU"):
        make_detector("fast", device="cuda")
    with pytest.raises(ValueError, match="model_path does not go with hf:x"):
        make_detector("hf:x", model_path="weights")


def test_the_shipped_thresholds_are_those_of_the_shipped_detector():
    assert detector_calibration("fast").detector == make_detector("fast").version


@pytest.mark.parametrize("spec", ["hf:org/name", "lm:model.gguf"])
def test_a_detector_without_thresholds_says_how_to_make_them(spec):
    with pytest.raises(ValueError) as raised:
        detector_calibration(spec)
    assert f"`python -m classifiers calibrate --ai_detector {spec} --human GLOB --output calibration.json`" in str(raised.value)


def test_thresholds_of_the_users_own_are_read_for_any_detector(tmp_path):
    path = tmp_path / "own.json"
    path.write_bytes(detector_calibration("fast").to_json())
    assert detector_calibration("hf:org/name", str(path)) == detector_calibration("fast")


def test_any_object_that_keeps_the_contract_makes_the_columns():
    scorer = AiDetectorScorer(WordShareDetector("own", "so"))
    columns = scorer.score(TextBatch.of(["so so so so", "not at all", "short"]))
    assert scorer.version == "own-so10" and scorer.fields == detector_fields("fast")
    probability = columns["ai_probability"].to_pylist()
    assert probability[0] == pytest.approx(1 / (1 + np.exp(-5))) and probability[1] == pytest.approx(1 / (1 + np.exp(5))) and probability[2] is None


def test_only_the_cascade_says_which_tier_decided():
    assert detector_fields("cascade").names == ["ai_probability", "ai_abstained", "ai_tier"]
    assert {tuple(detector_fields(spec).names) for spec in ("fast", "deep", "hf:x", "lm:x")} == {("ai_probability", "ai_abstained")}


def run_command(*arguments):
    from classifiers.__main__ import main

    return main(list(arguments))


def test_a_detector_without_thresholds_does_not_predict(tmp_path, capsys):
    code = run_command("predict", "--ai_detector=hf:model", f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl")
    assert code == 2 and "python -m classifiers calibrate --ai_detector hf:model --human GLOB" in capsys.readouterr().err


def test_an_unknown_detector_does_not_predict(tmp_path, capsys):
    assert run_command("predict", "--ai_detector=slow", f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out.jsonl") == 2
    assert "unknown 'slow'; known: fast, deep" in capsys.readouterr().err


def test_a_cascade_is_trained_and_calibrated_by_one_command(tmp_path, monkeypatch, capsys):
    from classifiers import __main__ as commands
    from classifiers.calibration import load_calibration
    from classifiers.cascade import CascadeDetector, read_settings
    from tests.classifiers.detector_texts import write_set

    tiers = {"fast": WordShareDetector("fast", "the", 20), "deep": WordShareDetector("deep", "i", 60)}
    monkeypatch.setattr(commands, "make_detector", lambda spec, **settings: tiers[spec])
    (tmp_path / "data").mkdir()
    write_set(tmp_path / "data", "raidar", range(400))
    arguments = ["--ai_detector=cascade", f"--data={tmp_path}/data", f"--output={tmp_path}/out", "--sets=raidar", "--max_deep_share=0.3"]
    assert run_command("train", *arguments) == 0
    settings = read_settings(str(tmp_path / "out" / "cascade.json"))
    assert 0 < settings.deep_share <= 0.3
    version = CascadeDetector(tiers["fast"], tiers["deep"], settings).version
    assert load_calibration(str(tmp_path / "out" / "calibration-cascade.json")).detector == version
    assert f"cascade.json ({version})" in capsys.readouterr().out
