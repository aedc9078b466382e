"""The detector under RunInference gives what it gives in line, byte for byte; a text that it fails on costs itself alone."""

import dataclasses
import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import ai_detector
from classifiers.ai_detector import AiDetectorScorer
from classifiers.cascade import CascadeDetector, CascadeSettings
from classifiers.detectors import CascadeWork
from classifiers.scorers import ScoreSettings, without_detector
from classifiers.text_batch import TextBatch
from pipeline.flag_groups import IN_MEMORY_RUNNER
from tests.classifiers.fake_detectors import WordShareDetector
from tests.texts import documents, write_jsonl
from transforms.infer_scores import (
    DetectorHandler,
    InferenceSettings,
    Inferred,
    InferScores,
    TextScorer,
    complete_shard,
    read_texts,
)
from transforms.inputs import FieldNames, InputSpec
from transforms.plan_splits import plan_splits
from transforms.score_documents import score_split
from transforms.scored_shards import SplitScored, read_scored_metadata, recall_split

SETTINGS = ScoreSettings(scorers=("size", "content_hash", "ai_detector", "signature"))


class Choking:
    """A detector that fails on any batch that holds a certain word."""

    version = "own-choking"

    def log_odds(self, batch):
        if any("poison" in text for text in batch.texts.to_pylist()):
            raise RuntimeError("cannot swallow this")
        return np.arange(len(batch), dtype=np.float64) * 0, np.zeros(len(batch), bool)


def small_cascade():
    fast, deep = WordShareDetector("fast", "the"), WordShareDetector("deep", "a")
    return CascadeDetector(fast, deep, CascadeSettings(-3.5, -3.35, 0.1, (0.0, 1.0, 1.0), fast.version, deep.version))


@pytest.fixture
def splits(tmp_path):
    """Three splits of documents of very different lengths, and a broken record."""
    for name, rows in (("a", documents("a", range(40))), ("b", documents("b", range(100, 117))), ("empty", [])):
        write_jsonl(tmp_path / "in" / f"{name}.jsonl", rows) if rows else (tmp_path / "in" / f"{name}.jsonl").write_text("{broken\n")
    with open(tmp_path / "in" / "a.jsonl", "a") as file:
        file.write(
            json.dumps({"id": "short", "text": "Short."}) + "\n" + json.dumps({"id": "long", "text": "the river runs to the sea " * 900}) + "\n"
        )
    return plan_splits([InputSpec("books", str(tmp_path / "in" / "*.jsonl"), "human")], FieldNames())


def infer(splits, settings, version, folder, **inference):
    """The shards of `splits`, their detector run by RunInference."""
    with beam.Pipeline(runner=IN_MEMORY_RUNNER) as root:
        unjudged = root | beam.Create(list(splits)) | "Score" >> beam.FlatMap(
            score_split, FieldNames(), without_detector(settings), str(folder / "unjudged"), str(folder / "dead")
        ).with_output_types(SplitScored)  # fmt: skip
        _ = unjudged | InferScores(settings, InferenceSettings(version, **inference), str(folder / "scored"), str(folder / "dead"))
    return [recall_split(str(path))[0] for path in sorted((folder / "scored").iterdir())]


def in_line(splits, settings, folder):
    """The shards of `splits`, their detector run where all scorers run."""
    results = [score_split(split, FieldNames(), settings, str(folder / "scored"), str(folder / "dead"))[0] for split in splits]
    return sorted(results, key=lambda one: one.shard.name)


def without_cost(one: SplitScored) -> SplitScored:
    """As a remix recalls it: CPU seconds are no part of a shard."""
    return dataclasses.replace(one, cascade_work=CascadeWork(one.cascade_work.texts, one.cascade_work.deep_texts))


def content(results: list[SplitScored]):
    return [(one.shard.name, Path(one.shard.path).read_bytes(), dataclasses.replace(one, shard=None)) for one in results]


def test_the_fast_detector_gives_the_same_bytes_as_in_line(splits, tmp_path):
    expected = in_line(splits, SETTINGS, tmp_path / "line")
    found = infer(splits, SETTINGS, AiDetectorScorer().version, tmp_path / "step", max_batch_texts=7)
    assert len(found) == 3 and content(found) == content(expected)


def test_a_cascade_gives_the_same_bytes_and_says_which_tier_decided(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(ai_detector, "make_detector", lambda spec, **settings: small_cascade())
    monkeypatch.setattr("transforms.score_documents._made", {})
    settings = dataclasses.replace(SETTINGS, ai_detector="cascade")
    expected = in_line(splits, settings, tmp_path / "line")
    found = infer(splits, settings, small_cascade().version, tmp_path / "step")
    assert content(found) == content([without_cost(one) for one in expected])
    tiers = [tier for one in found for tier in pq.read_table(one.shard.path)["ai_tier"].to_pylist()]
    assert set(tiers) == {"fast", "deep"} and len(tiers) == 59
    assert sum(one.cascade_work.deep_texts for one in found) == tiers.count("deep") and sum(one.cascade_work.texts for one in found) == 59


def test_a_document_that_the_detector_fails_on_is_a_dead_letter(tmp_path, monkeypatch):
    monkeypatch.setattr(ai_detector, "make_detector", lambda spec, **settings: Choking())
    rows = documents("a", range(20))
    rows[13]["text"] += " poison"
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    splits = plan_splits([InputSpec("books", str(path), "human")], FieldNames())
    (found,) = infer(splits, SETTINGS, Choking.version, tmp_path)
    assert pq.read_table(found.shard.path)["id"].to_pylist() == [row["id"] for row in rows if "poison" not in row["text"]]
    assert dict(found.books) == {("books", "human", "read", "", ""): 20, ("books", "human", "dead", "score", "scorer_failed"): 1}
    (letter,) = [json.loads(line) for file in (tmp_path / "dead").iterdir() for line in file.read_text().splitlines()]
    assert letter["location"].endswith(":14") and "cannot swallow this" in letter["detail"]
    assert read_scored_metadata(found.shard.path)["scorers"]["ai_detector"] == {
        "version": "own-choking",
        "fields": ["ai_probability", "ai_abstained"],
    }


def test_a_worker_with_another_model_fails_the_run():
    with pytest.raises(ValueError, match=r"this worker loads the detector fast-.*, the launcher fast-other"):
        DetectorHandler("fast", InferenceSettings("fast-other")).load_model()


@given(st.lists(st.sampled_from(["a", "b b", "the c c c", "poison", "the end of it all", ""]), max_size=9))
def test_answers_stand_in_the_order_of_the_texts_whatever_fails(texts):
    found = TextScorer(AiDetectorScorer(Choking())).score_texts(texts)
    assert [bool(one.error) for one in found] == ["poison" in text for text in texts]
    shares = TextScorer(AiDetectorScorer(WordShareDetector("own", "the", min_words=0))).score_texts(texts)
    alone = [
        AiDetectorScorer(WordShareDetector("own", "the", min_words=0)).score(TextBatch.of([text]))["ai_probability"][0].as_py() for text in texts
    ]
    assert [one.values[0] for one in shares] == alone


def test_the_model_sees_texts_in_order_of_length():
    detector = WordShareDetector("own", "the")
    TextScorer(AiDetectorScorer(detector)).score_texts(["a" * 30, "b", "c" * 10])
    assert detector.seen == ["b", "c" * 10, "a" * 30]


def test_the_handler_tells_beam_its_batches_and_what_it_needs():
    handler = DetectorHandler(
        "fast", InferenceSettings("v", max_batch_texts=8, min_ram="16GB", accelerator="type:nvidia-l4;count:1", share_model=True)
    )
    assert handler.batch_elements_kwargs() == {"min_batch_size": 8, "max_batch_size": 8}
    assert handler.get_resource_hints() == {"min_ram": "16GB", "accelerator": "type:nvidia-l4;count:1"}
    assert handler.share_model_across_processes() and handler.get_num_bytes(["ab", "é"]) == 4
    plain = DetectorHandler("fast", InferenceSettings("v"))
    assert plain.get_resource_hints() == {} and not plain.share_model_across_processes() and plain.batch_elements_kwargs()["max_batch_size"] == 256


def test_resource_hints_reach_the_step():
    root = beam.Pipeline(runner=IN_MEMORY_RUNNER)
    step = InferScores(SETTINGS, InferenceSettings("v", min_ram="16GB", accelerator="type:nvidia-l4;count:1"), "scored", "dead")
    _ = root | beam.Create([]).with_output_types(SplitScored) | step
    hints = {urn: value for environment in root.to_runner_api().components.environments.values() for urn, value in environment.resource_hints.items()}
    assert hints == {"beam:resources:min_ram_bytes:v1": b"16000000000", "beam:resources:accelerator:v1": b"type:nvidia-l4;count:1"}


@pytest.mark.parametrize("rows", [[0], [0, 1, 1], [0, 2], [0, 1, 2]])
def test_a_missing_or_second_answer_is_a_defect(tmp_path, rows):
    path = write_jsonl(tmp_path / "in.jsonl", documents("a", range(2)))
    (split,) = plan_splits([InputSpec("books", str(path), "human")], FieldNames())
    (unjudged,) = score_split(split, FieldNames(), without_detector(SETTINGS), str(tmp_path / "unjudged"), str(tmp_path / "dead"))
    assert [key for key, _ in read_texts(unjudged)] == [(unjudged.shard.name, 0), (unjudged.shard.name, 1)]
    with pytest.raises(AssertionError, match="answers of the detector for 2 documents"):
        complete_shard((unjudged, [[(row, Inferred((0.5, False))) for row in rows]]), SETTINGS, "v", str(tmp_path / "scored"), str(tmp_path / "dead"))


@pytest.mark.parametrize("change", [{"num_threads": 0}, {"max_batch_texts": 0}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match="must be at least 1"):
        InferenceSettings("v", **change)


def test_processes_that_share_one_model_get_the_same_bytes(splits, tmp_path):
    expected = in_line(splits, SETTINGS, tmp_path / "line")
    found = infer(splits, SETTINGS, AiDetectorScorer().version, tmp_path / "step", share_model=True)
    assert content(found) == content(expected)
