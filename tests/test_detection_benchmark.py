"""The benchmark of the detector: every tier on the same texts, ratios, the table and where it is written."""

import numpy as np
import orjson
import pytest

from benchmarks import detection
from benchmarks.detection import (
    GOALS,
    OTHER_TEXTS,
    SECTION,
    TIERS,
    Cost,
    cost_table,
    made_up_pool,
    measure_cost,
    ratios,
    read_pool,
    write_section,
)
from classifiers.cascade import CascadeDetector, CascadeSettings
from classifiers.detectors import CascadeWork, MissingExtra
from classifiers.labelled_text import MIXED_SETS
from tests.classifiers.detector_texts import write_set
from tests.classifiers.fake_detectors import WordShareDetector

FEW = {"fast": 20, "deep": 4, "cascade": 10}


class CountingTier:
    """Scores nothing, remembers the sizes of its batches, and sends every second text deep."""

    version = "counting-1"

    def __init__(self):
        self.sizes = []
        self._work = CascadeWork()

    def log_odds(self, batch):
        self.sizes.append(len(batch))
        self._work += CascadeWork(len(batch), len(batch) // 2, 0.0, 0.0)
        return np.zeros(len(batch)), np.zeros(len(batch), bool)

    def take_work(self):
        work, self._work = self._work, CascadeWork()
        return work


@pytest.fixture
def tiers(monkeypatch):
    made = {tier: CountingTier() for tier in TIERS}
    monkeypatch.setattr(detection, "make_detector", lambda tier, **_: made[tier])
    return made


def test_every_tier_scores_its_share_in_each_round_after_a_warm_up(tiers):
    costs = {cost.part: cost for cost in measure_cost(made_up_pool(50, 20), 3, texts=FEW)}
    assert list(costs) == ["splitting words", "language", *TIERS]
    assert {tier: one.sizes for tier, one in tiers.items()} == {"fast": [8, 20, 20, 20], "deep": [4, 4, 4, 4], "cascade": [8, 10, 10, 10]}
    assert {part: cost.texts for part, cost in costs.items()} == {"splitting words": 60, "language": 60, "fast": 60, "deep": 12, "cascade": 30}
    assert all(cost.low <= cost.per_cpu_s <= cost.high for cost in costs.values())


def test_the_share_that_went_deep_leaves_the_warm_up_out(tiers):
    costs = {cost.part: cost for cost in measure_cost(made_up_pool(50, 20), 2, texts=FEW)}
    assert costs["cascade"].deep_share == 0.5 and costs["fast"].deep_share is None


def test_a_tier_that_is_not_installed_is_named_and_left_out(monkeypatch, capsys):
    def make(tier, **_):
        if tier != "fast":
            raise MissingExtra(f"{tier} needs onnxruntime")
        return CountingTier()

    monkeypatch.setattr(detection, "make_detector", make)
    assert [cost.part for cost in measure_cost(made_up_pool(30, 20), 1, texts=FEW)] == ["splitting words", "language", "fast"]
    assert "deep: left out, deep needs onnxruntime" in capsys.readouterr().out


def test_the_shipped_fast_tier_is_measured():
    costs = measure_cost(made_up_pool(40, 60), 1, texts=FEW)
    assert "fast" in [cost.part for cost in costs] and all(cost.per_cpu_s > 0 for cost in costs)


def costs_of(**speeds):
    return [Cost(part, 1_000, 1_000 / speed, 0.9 * speed, 1.1 * speed, 0.08 if part == "cascade" else None) for part, speed in speeds.items()]


def test_ratios_are_of_documents_per_cpu_second():
    assert ratios(costs_of(fast=8_000, deep=40, cascade=500)) == pytest.approx({"fast to deep": 200, "cascade to deep": 12.5, "fast to cascade": 16})
    assert ratios(costs_of(fast=8_000)) == {}


def test_the_table_says_whether_each_goal_was_reached():
    lines = "\n".join(cost_table(costs_of(fast=8_000, deep=80, cascade=500), 200))
    assert "| fast | 8,000 | 7,200 to 8,800 |  |" in lines
    assert "| deep | 80.0 | 72.0 to 88.0 |  |" in lines
    assert "| cascade | 500 | 450 to 550 | 8.0 % |" in lines
    assert "Goal for fast: 5,000, reached." in lines and "Goal for cascade to deep: 10, not reached." in lines
    assert set(GOALS) == {"fast", "cascade to deep"}


def test_a_section_is_appended_once_and_then_written_anew(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Benchmarks\n\n## One\n\ntext\n")
    write_section(str(page), ["| a |", "|---|"])
    first = page.read_text()
    assert first == f"# Benchmarks\n\n## One\n\ntext\n\n{SECTION}\n\n| a |\n|---|\n"
    page.write_text(first + "\n## Last\n\nmore\n")
    write_section(str(page), ["| b |"])
    assert page.read_text() == f"# Benchmarks\n\n## One\n\ntext\n\n{SECTION}\n\n| b |\n\n## Last\n\nmore\n"


HABITS = ("furthermore", "important", "fosters", "conclusion", "crucial", "insights")


def sides_of(pool):
    """How many texts of the pool a person and how many a model wrote."""
    machine = sum(any(habit in text.lower() for habit in HABITS) for text in pool)
    return len(pool) - machine, machine


@pytest.fixture
def two_sets(tmp_path):
    for number, (name, count) in enumerate(zip(MIXED_SETS[:2], (300, 40), strict=True)):
        write_set(tmp_path, name, range(1_000 * number, 1_000 * number + count))
    return str(tmp_path)


def test_the_pool_is_half_machine_text_of_every_set_cut_to_length(two_sets):
    pool = read_pool(two_sets, 60, sets=MIXED_SETS[:2])
    assert len(pool) >= 20 and {len(text.split()) for text in pool} == {60}
    assert sides_of(pool) == (len(pool) / 2, len(pool) / 2)
    assert pool == read_pool(two_sets, 60, sets=MIXED_SETS[:2])


def test_a_large_set_gives_no_more_texts_than_its_part_of_the_pool(two_sets):
    alone = {name: read_pool(two_sets, 60, sets=(name,)) for name in MIXED_SETS[:2]}
    pool = read_pool(two_sets, 60, 40, MIXED_SETS[:2])
    found = {name: len(set(texts) & set(pool)) for name, texts in alone.items()}
    assert found[MIXED_SETS[0]] == 20 and found[MIXED_SETS[1]] == min(20, len(alone[MIXED_SETS[1]]))
    assert sum(found.values()) == len(pool)


def test_no_text_of_the_pool_is_shorter_than_the_others(two_sets):
    assert read_pool(two_sets, 5_000, sets=MIXED_SETS[:2]) == []


def test_other_detectors_are_measured_by_their_names_on_few_texts(monkeypatch):
    made = {name: CountingTier() for name in ("fast", "lm:MODEL.gguf")}
    monkeypatch.setattr(detection, "make_detector", lambda tier, **_: made[tier])
    costs = measure_cost(made_up_pool(30, 20), 2, list(made), FEW)
    assert [cost.part for cost in costs] == ["splitting words", "language", *made]
    assert made["lm:MODEL.gguf"].sizes == [OTHER_TEXTS] * 3 and made["fast"].sizes == [8, 20, 20]


def test_the_cascade_tells_its_share_of_the_texts_measured(monkeypatch):
    fast, deep = WordShareDetector("fast", "a"), WordShareDetector("deep", "b")
    cascade = CascadeDetector(fast, deep, CascadeSettings(-1, 1, 0, (0, 1, 1), fast.version, deep.version))
    made = {"fast": WordShareDetector("fast", "a"), "deep": WordShareDetector("deep", "b"), "cascade": cascade}
    monkeypatch.setattr(detection, "make_detector", lambda tier, **_: made[tier])
    pool = ["a a b b", "b b b b", "a b b b"] * 4
    costs = {cost.part: cost for cost in measure_cost(pool, 1, texts={"fast": 6, "deep": 6, "cascade": 12})}
    assert costs["cascade"].deep_share == pytest.approx(1 / 3)
    assert set(made["fast"].seen) == set(made["deep"].seen) == set(pool)
    assert set(deep.seen) == {"a a b b"}


@pytest.mark.parametrize("flags", [["--detectors", "fast"], ["--json", "figures.json", "--rounds", "2"]])
def test_the_command_prints_the_table_and_keeps_the_figures(tiers, monkeypatch, tmp_path, capsys, flags):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(detection, "read_pool", lambda folder, words, texts: made_up_pool(30, words))
    monkeypatch.setattr(detection, "TEXTS", FEW)
    monkeypatch.setattr("sys.argv", ["detection", "--words", "20", *flags])
    detection.main()
    said = capsys.readouterr().out
    assert said.startswith("$ python -m benchmarks.detection --words 20") and "| fast |" in said
    assert ("| deep |" in said) == ("--detectors" not in flags)
    if "--json" in flags:
        figures = orjson.loads((tmp_path / "figures.json").read_bytes())
        assert figures["words"] == 20 and [part["part"] for part in figures["parts"]][2:] == list(TIERS)
        assert set(figures["ratios"]) == {"fast to deep", "cascade to deep", "fast to cascade"}
