"""The deep detector sees only what the fast one is unsure of, and the odds of both are one scale."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.ai_detector import AiDetectorScorer
from classifiers.cascade import SETTINGS_FILE, CascadeDetector, CascadeSettings, read_settings, weigh_odds
from classifiers.detectors import CascadeWork, detector_calibration, make_detector, weights_file
from classifiers.text_batch import TextBatch
from tests.classifiers.fake_detectors import WordShareDetector


def cascade(low=-1.0, high=1.0, fade=0.1, factors=(0.0, 0.5, 1.0)):
    fast, deep = WordShareDetector("fast", "a"), WordShareDetector("deep", "b", min_words=5)
    return CascadeDetector(fast, deep, CascadeSettings(low, high, fade, factors, fast.version, deep.version)), fast, deep


def mixture(share_a, share_b=0.0, words=20):
    """A text of 20 words with that share of `a` and of `b`."""
    a, b = round(share_a * words), round(share_b * words)
    return " ".join(["a"] * a + ["b"] * b + ["other"] * (words - a - b))


SURE_HUMAN, SURE_MACHINE, UNSURE = mixture(0.0), mixture(1.0), mixture(0.5, 0.5)


def test_only_unsure_texts_go_deep():
    detector, fast, deep = cascade()
    odds, abstained, asked = detector.log_odds_and_tier(TextBatch.of([SURE_HUMAN, UNSURE, SURE_MACHINE, "a b"]))
    assert fast.seen == [SURE_HUMAN, UNSURE, SURE_MACHINE, "a b"] and deep.seen == [UNSURE]
    assert asked.tolist() == [False, True, False, False] and abstained.tolist() == [False, False, False, True]
    assert odds[[0, 2]].tolist() == [-5.0, 5.0]
    assert odds[1] == pytest.approx(0.5 * 0.0 + 1.0 * 0.0)


def test_where_the_deep_detector_abstains_the_fast_one_decides():
    detector, _, deep = cascade()
    text = "a a b b"
    odds, abstained, asked = detector.log_odds_and_tier(TextBatch.of([text]))
    assert deep.seen == [text] and asked.all() and not abstained.any() and odds.tolist() == [0.0]


def test_a_text_scores_the_same_in_any_batch():
    texts = [SURE_HUMAN, UNSURE, mixture(0.45, 0.3), "a", SURE_MACHINE, ""]
    together = cascade()[0].log_odds(TextBatch.of(texts))
    alone = [cascade()[0].log_odds(TextBatch.of([text])) for text in texts]
    assert together[0].tolist() == [odds[0] for odds, _ in alone] and together[1].tolist() == [abstained[0] for _, abstained in alone]


def test_no_texts_ask_nobody():
    detector, _, deep = cascade()
    assert [len(array) for array in detector.log_odds_and_tier(TextBatch.of([]))] == [0, 0, 0] and not deep.seen


def test_scored_columns_say_which_tier_decided():
    columns = AiDetectorScorer(cascade()[0]).score(TextBatch.of([SURE_HUMAN, UNSURE, ""]))
    assert list(columns) == ["ai_probability", "ai_abstained", "ai_tier"]
    assert columns["ai_tier"].to_pylist() == ["fast", "deep", "fast"]


def test_the_work_done_is_told_once():
    detector, _, _ = cascade()
    detector.log_odds(TextBatch.of([SURE_HUMAN, UNSURE]))
    detector.log_odds(TextBatch.of([UNSURE]))
    work = detector.take_work()
    assert (work.texts, work.deep_texts) == (3, 2) and work.fast_cpu_s >= 0 and work.deep_cpu_s >= 0
    assert detector.take_work() == CascadeWork()
    assert CascadeWork(1, 2, 3.0, 4.0) + CascadeWork(10, 20, 30.0, 40.0) == CascadeWork(11, 22, 33.0, 44.0)
    assert CascadeWork(4, 1).deep_share == 0.25 and CascadeWork().deep_share == 0.0


numbers = st.floats(-20, 20)


@given(numbers, st.floats(0, 10), st.floats(0, 0.5), numbers, st.floats(0, 3), st.floats(0, 3), numbers, st.floats(0, 10))
def test_odds_rise_with_the_deep_ones_and_meet_the_fast_ones_at_the_ends(low, width, fade, intercept, of_fast, of_deep, deep, more):
    settings = CascadeSettings(low, low + width, fade, (intercept, of_fast, of_deep), "f", "d")
    fast = np.linspace(settings.low, settings.high, 21)
    first, second = weigh_odds(fast, np.full(21, deep), settings), weigh_odds(fast, np.full(21, deep + more), settings)
    assert (second >= first - 1e-9).all()
    if fade * width > 1e-9:
        assert first[[0, -1]] == pytest.approx(fast[[0, -1]])


def test_odds_have_no_step_at_the_ends_of_the_band():
    settings = CascadeSettings(-1, 1, 0.25, (3.0, 1.0, 1.0), "f", "d")
    fast = np.linspace(-1, 1, 20_001)
    assert np.abs(np.diff(weigh_odds(fast, np.full(len(fast), 4.0), settings))).max() < 0.01


def test_a_cascade_of_other_detectors_is_refused():
    fast, deep = WordShareDetector("fast", "a"), WordShareDetector("deep", "b")
    with pytest.raises(ValueError, match="fitted to the detector deep-old, not to deep-b10; fit it again"):
        CascadeDetector(fast, deep, CascadeSettings(0, 1, 0, (0, 1, 1), fast.version, "deep-old"))


def test_the_version_changes_with_every_setting():
    versions = {cascade()[0].version, cascade(low=-2)[0].version, cascade(factors=(0.1, 0.5, 1.0))[0].version, cascade(fade=0.2)[0].version}
    assert len(versions) == 4 and cascade()[0].version in versions and all(version.startswith("cascade-") for version in versions)


def test_settings_survive_their_file(tmp_path):
    settings = CascadeSettings(-0.5, 2.25, 0.1, (0.1, 0.2, 0.3), "fast-1", "deep-2", 0.08)
    path = tmp_path / "cascade.json"
    path.write_bytes(settings.to_json())
    assert read_settings(str(path)) == settings


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "low": 0}'])
def test_a_file_that_is_no_cascade_is_named(tmp_path, content):
    path = tmp_path / "no.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"no\.json: not the settings of a cascade"):
        read_settings(str(path))


@pytest.mark.parametrize(("change", "message"), [
    ({"high": -2.0}, "from low to high"), ({"low": float("nan")}, "from low to high"), ({"fade": 0.6}, "fade"), ({"factors": (0, -1, 1)}, "not negative"),
    ({"factors": (0, 1)}, "factors"),
])  # fmt: skip
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CascadeSettings(**({"low": -1.0, "high": 1.0, "fade": 0.1, "factors": (0, 1, 1), "fast": "f", "deep": "d"} | change))


def test_the_shipped_cascade_was_fitted_to_the_shipped_fast_detector():
    settings = read_settings(weights_file(SETTINGS_FILE))
    assert settings.fast == make_detector("fast").version and settings.deep.startswith("deep-")
    assert 0 < settings.deep_share <= 0.06
    assert detector_calibration("cascade").detector.startswith("cascade-")


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra headwater[deep]")
def test_the_shipped_cascade_and_its_thresholds_belong_together():
    assert make_detector("cascade").version == detector_calibration("cascade").detector
    odds, abstained, asked = make_detector("cascade").log_odds_and_tier(TextBatch.of(["", "too short", "the " * 200, "x" * 100_000]))
    assert np.isfinite(odds).all() and abstained[:2].all() and not asked[:2].any()
