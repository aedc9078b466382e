"""The benchmark of the detector: every tier on the same texts, ratios, the table and where it is written."""

import numpy as np
import pytest

from benchmarks import detection
from benchmarks.detection import (
    GOALS,
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
from classifiers.detectors import CascadeWork, MissingExtra
from classifiers.labelled_text import MIXED_SETS
from tests.classifiers.detector_texts import write_set

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
    costs = {cost.part: cost for cost in measure_cost(made_up_pool(50, 20), 3, FEW)}
    assert list(costs) == ["splitting words", "language", *TIERS]
    assert {tier: one.sizes for tier, one in tiers.items()} == {"fast": [8, 20, 20, 20], "deep": [4, 4, 4, 4], "cascade": [8, 10, 10, 10]}
    assert {part: cost.texts for part, cost in costs.items()} == {"splitting words": 60, "language": 60, "fast": 60, "deep": 12, "cascade": 30}
    assert all(cost.low <= cost.per_cpu_s <= cost.high for cost in costs.values())


def test_the_share_that_went_deep_leaves_the_warm_up_out(tiers):
    costs = {cost.part: cost for cost in measure_cost(made_up_pool(50, 20), 2, FEW)}
    assert costs["cascade"].deep_share == 0.5 and costs["fast"].deep_share is None


def test_a_tier_that_is_not_installed_is_named_and_left_out(monkeypatch, capsys):
    def make(tier, **_):
        if tier != "fast":
            raise MissingExtra(f"{tier} needs onnxruntime")
        return CountingTier()

    monkeypatch.setattr(detection, "make_detector", make)
    assert [cost.part for cost in measure_cost(made_up_pool(30, 20), 1, FEW)] == ["splitting words", "language", "fast"]
    assert "deep: left out, deep needs onnxruntime" in capsys.readouterr().out


def test_the_shipped_fast_tier_is_measured():
    costs = measure_cost(made_up_pool(40, 60), 1, FEW)
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


def test_the_pool_is_half_machine_text_of_every_set_cut_to_length(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "MIXED_SETS", MIXED_SETS[:2])
    for number, name in enumerate(MIXED_SETS[:2]):
        write_set(tmp_path, name, range(1_000 * number, 1_000 * number + 100))
    pool = read_pool(str(tmp_path), 60)
    assert len(pool) >= 20 and len(pool) % 2 == 0 and {len(text.split()) for text in pool} == {60}
    habits = ("furthermore", "important", "fosters", "conclusion", "crucial", "insights")
    assert sum(any(habit in text.lower() for habit in habits) for text in pool) == len(pool) / 2
    assert pool == read_pool(str(tmp_path), 60)
