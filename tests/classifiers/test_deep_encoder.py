"""The deep detector: how its parts are weighed, what it refuses, and that a text's number depends on the text alone."""

import json
import multiprocessing
import os
import pydoc_data.topics
import re
from pathlib import Path

import numpy as np
import pytest

from classifiers import deep_encoder
from classifiers.deep_encoder import DeepDetector, DeepSettings, load_deep, parse_settings, require_training
from classifiers.detectors import MissingExtra, make_detector, weights_file
from classifiers.text_batch import TextBatch
from tests.classifiers.detector_texts import written

MAX_MODEL_BYTES = 30_000_000
"""What may ship."""
PROSE = [re.sub(r"\s+", " ", text) for text in list(pydoc_data.topics.topics.values())[:40] if len(text.split()) > 120]


class FastDetector:
    """Stands for the fast tier: odds by length, and it abstains from texts that begin with a #."""

    version = "fast-stub"

    def log_odds(self, batch):
        texts = batch.texts.to_pylist()
        return np.array([len(text) / 1000 for text in texts], float), np.array([text.startswith("#") for text in texts], bool)


class CountingEncoder:
    """Stands for the ONNX model: tuned is the share of odd tokens, linear the number of tokens."""

    def __init__(self, model):
        self.seen = []

    def __call__(self, ids, mask=None):
        self.seen.append(ids[0].tolist())
        return np.array([[np.mean(ids[0][1:-1] % 2), ids.shape[1] - 2.0]])


@pytest.fixture
def tokenizer():
    """JSON of a tokenizer that knows the numbers as words: their ids are their values."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(
        models.WordLevel({name: index for index, name in enumerate(["zero", *(chr(97 + n // 26) + chr(97 + n % 26) for n in range(300))])}, "zero")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str().encode()


@pytest.fixture
def make(monkeypatch, tokenizer):
    monkeypatch.setattr(deep_encoder, "OnnxEncoder", CountingEncoder)

    def make_deep(**settings):
        threads = settings.pop("num_threads", 1)
        return DeepDetector(b"model", tokenizer, DeepSettings(**settings), FastDetector(), threads)

    return make_deep


def odds_of(detector, texts):
    return detector.log_odds(TextBatch.of(texts))


def test_log_odds_are_the_weighed_sum_of_both_heads_and_the_fast_detector(make):
    deep = make(factors=(0.5, 2.0, 0.1, 3.0))
    text = "ab ac ad ae"
    heads = deep.head_log_odds([text])
    assert heads.shape == (1, 2)
    assert heads[0, 1] == 4
    odds, abstained = odds_of(deep, [text])
    assert odds[0] == pytest.approx(0.5 + 2.0 * heads[0, 0] + 0.1 * heads[0, 1] + 3.0 * len(text) / 1000)
    assert not abstained[0]


def test_a_text_that_the_fast_detector_abstains_from_is_not_encoded(make):
    deep = make(factors=(0.0, 1.0, 0.0, 1.0))
    odds, abstained = odds_of(deep, ["# ab ac", "ab ac"])
    assert abstained.tolist() == [True, False]
    assert len(deep._encoder.seen) == 1
    assert odds[0] == pytest.approx(7 / 1000)


def test_a_long_text_is_read_in_windows_up_to_the_last_that_counts(make):
    deep = make(window_tokens=10, max_windows=3, min_window_tokens=4)
    words = " ".join(chr(97 + n // 26) + chr(97 + n % 26) for n in range(60))
    windows = deep.windows(words)
    assert [len(window) for window in windows] == [12, 12, 12]
    assert all((window[0], window[-1]) == (101, 102) for window in windows)
    deep.head_log_odds([words])
    assert deep._encoder.seen == windows
    assert [len(window) - 2 for window in deep.windows(" ".join(words.split()[:23]))] == [10, 10]
    assert [len(window) - 2 for window in deep.windows(" ".join(words.split()[:24]))] == [10, 10, 4]


def test_marks_that_give_a_set_away_are_folded_before_tokens_are_made(make):
    deep = make()
    plain = "ab ac ad ae af ag ah"
    assert deep.windows(plain) == deep.windows("Sure, here is the text:\n\n**ab** AC <b>ad</b>\u200b  ae af\tag \u201cah\u201d")


def test_an_empty_batch_and_a_text_without_words_have_numbers(make):
    deep = make(factors=(1.0, 1.0, 1.0, 0.0))
    odds, abstained = odds_of(deep, [])
    assert odds.shape == abstained.shape == (0,)
    assert odds_of(deep, ["", "\u4f60\u597d"])[0].tolist() == [1.0, 1.0]


def test_the_version_changes_with_everything_that_decides_a_score(make, tokenizer):
    versions = {
        make().version,
        make(max_windows=2).version,
        make(factors=(0.1, 1.0, 0.0, 0.0)).version,
        make(factors=(0.0, 1.0, 0.0, 1.0)).version,
        DeepDetector(b"other", tokenizer, DeepSettings(), FastDetector()).version,
        DeepDetector(b"model", tokenizer.replace(b"zero", b"none"), DeepSettings(), FastDetector()).version,
    }
    assert len(versions) == 6
    assert all(re.fullmatch("deep-[0-9a-f]{12}", version) for version in versions)


def test_the_fast_detectors_version_counts_only_where_its_odds_do(make, monkeypatch):
    alone, both = make().version, make(factors=(0.0, 1.0, 0.0, 1.0)).version
    monkeypatch.setattr(FastDetector, "version", "fast-retrained")
    assert make().version == alone
    assert make(factors=(0.0, 1.0, 0.0, 1.0)).version != both


def test_settings_come_back_from_their_file():
    settings = DeepSettings(factors=(0.5, 1, 2, 3), max_windows=2)
    assert parse_settings(settings.to_json()) == settings


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"format": 99}', b"not json", b'{"format": 1, "colour": 2}', b'{"format": 1, "max_windows": 0}'])
def test_settings_of_another_form_are_refused(content):
    with pytest.raises((ValueError, TypeError)):
        parse_settings(content)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"factors": (0.0, 1.0, 0.0)}, "factors"),
        ({"factors": (0.0, -1.0, 0.0, 0.0)}, "factors"),
        ({"factors": (float("nan"), 1.0, 0.0, 0.0)}, "factors"),
        ({"window_tokens": 511}, "window_tokens"),
        ({"max_windows": 0}, "max_windows"),
        ({"min_window_tokens": 127}, "min_window_tokens"),
        ({"max_words": 3}, "max_words"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes, key):
    with pytest.raises(ValueError, match=key):
        DeepSettings(**changes)


def test_training_without_its_libraries_is_an_error_with_the_install_line(monkeypatch):
    monkeypatch.setattr(deep_encoder.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingExtra, match=r'needs torch: pip install "headwater\[train-deep\]"'):
        require_training()


# What follows needs onnxruntime, and the weights that ship.


@pytest.fixture(scope="module")
def shipped():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install headwater[deep]")
    return make_detector("deep")


@pytest.fixture(scope="module")
def texts():
    return [text[start : start + 1_500] for text in PROSE[:4] for start in (0, 700)] + [
        written(label, seed) for label in (False, True) for seed in (1, 2)
    ]


def test_a_folder_that_holds_something_else_is_named(tmp_path, shipped):
    for name in ("model.onnx", "tokenizer.json", "settings.json"):
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ValueError, match=f"{re.escape(str(tmp_path))}: not a deep detector's weights"):
        load_deep(str(tmp_path))
    (tmp_path / "tokenizer.json").write_bytes(Path(weights_file("deep/tokenizer.json")).read_bytes())
    (tmp_path / "settings.json").write_bytes(DeepSettings().to_json())
    with pytest.raises(ValueError, match="not an ONNX model"):
        load_deep(str(tmp_path))


def test_a_folder_without_a_model_is_named(tmp_path, shipped):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
        load_deep(str(tmp_path))


def test_the_shipped_model_is_small_enough_to_ship():
    sizes = [os.path.getsize(path) for path in Path(weights_file("deep")).iterdir()]
    assert 1_000_000 < sum(sizes) <= MAX_MODEL_BYTES


def test_a_texts_number_does_not_depend_on_the_batch_the_order_or_the_threads(shipped, texts):
    odds, abstained = odds_of(shipped, texts)
    assert np.isfinite(odds).all()
    assert not abstained.all()
    assert odds_of(shipped, texts[::-1])[0].tolist() == odds[::-1].tolist()
    assert odds_of(shipped, texts[2:3])[0][0] == odds[2]
    assert odds_of(load_deep(num_threads=3), texts)[0].tolist() == odds.tolist()


def test_a_slice_of_a_batch_scores_like_the_batch(shipped, texts):
    whole = TextBatch.of(texts)
    assert shipped.log_odds(TextBatch(whole.texts[1:3]))[0].tolist() == shipped.log_odds(whole)[0][1:3].tolist()


def test_a_pool_that_was_forked_after_the_warm_up_scores_alike(shipped, texts):
    expected = odds_of(shipped, texts[:3])[0].tolist()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_odds_in_child, (texts[:3],)).get(60) == expected


def _odds_in_child(texts):
    return odds_of(make_detector("deep"), texts)[0].tolist()


@pytest.mark.parametrize(
    "text",
    ["", " \n\t ", "word " * 50_000, "a" * 100_000, "nul\0 " * 200, "\u05e9\u05dc\u05d5\u05dd " * 300, "\U0001f600" * 5_000, "QUJD" * 20_000,
     "if x { y(); } " * 300],
    ids=["empty", "blank", "one-word", "no-spaces", "nul", "right-to-left", "emoji", "base64", "code"],
)  # fmt: skip
def test_hostile_text_gets_a_number_or_an_abstention(shipped, text):
    odds, abstained = odds_of(shipped, [text, "plain words " * 40])
    assert np.isfinite(odds).all()
    assert abstained.dtype == bool


def test_the_shipped_settings_and_tokenizer_are_those_of_the_model(shipped):
    settings = json.loads(Path(weights_file("deep/settings.json")).read_bytes())
    assert settings["format"] == deep_encoder.FORMAT
    assert shipped.settings == parse_settings(Path(weights_file("deep/settings.json")).read_bytes())
    window = shipped.windows("the river runs to the sea")[0]
    assert (window[0], window[-1], len(window)) == (101, 102, 8)


def test_both_heads_have_something_to_say(shipped, texts):
    heads = shipped.head_log_odds(texts)
    assert heads.shape == (len(texts), 2)
    assert (heads.std(0) > 0.05).all()
