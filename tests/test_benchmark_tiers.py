"""The benchmark of the tiers reads the texts it says, and measures every tier on the same ones."""

from benchmarks.tiers import measure_tiers, read_texts
from classifiers.ai_detector import AiDetectorScorer
from classifiers.cascade import CascadeDetector, CascadeSettings
from tests.classifiers.detector_texts import write_set
from tests.classifiers.fake_detectors import WordShareDetector


def test_texts_are_beginnings_of_one_length_half_of_them_machine_written(tmp_path):
    write_set(tmp_path, "raidar", range(300))
    texts = read_texts(str(tmp_path), 100, 40, ("raidar",))
    assert len(texts) == 40 and {len(text.split()) for text in texts} == {100}
    habits = [
        any(habit in text.lower() for habit in ("furthermore", "fosters", "crucial", "valuable", "in conclusion", "important")) for text in texts
    ]
    assert sum(habits) == 20
    assert read_texts(str(tmp_path), 100, 40, ("raidar",)) == texts


def test_every_tier_is_measured_on_the_same_texts_and_the_cascade_tells_its_share(capsys):
    fast, deep = WordShareDetector("fast", "a"), WordShareDetector("deep", "b")
    cascade = CascadeDetector(
        WordShareDetector("fast", "a"), WordShareDetector("deep", "b"), CascadeSettings(-1, 1, 0, (0, 1, 1), fast.version, deep.version)
    )
    texts = ["a a b b", "b b b b", "a b b b"] * 10
    scorers = {"fast": AiDetectorScorer(fast), "deep": AiDetectorScorer(deep), "cascade": AiDetectorScorer(cascade)}
    rates = measure_tiers(scorers, texts, 4, seconds_a_turn=0.01)
    assert set(rates) == set(scorers) and all(rate > 0 for rate in rates.values())
    assert set(fast.seen) == set(deep.seen) == set(texts)
    said = capsys.readouterr().out
    assert "33.3% went deep" in said and said.count("times deep") == 3
