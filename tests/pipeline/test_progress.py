"""Progress says the stage, the documents done, the rate and the time left, and costs the work nothing."""

import re
import time

import pytest

from pipeline import progress
from pipeline.progress import RunProgress
from transforms import worker_pool
from transforms.records import DecidedShard, ScoredShard
from transforms.scored_shards import SplitScored


def scored(documents: int, input_bytes: int) -> SplitScored:
    return SplitScored(ScoredShard("s", "s", documents), (), 0, 0, input_bytes, "")


def test_a_line_says_stage_documents_rate_and_time_left(monkeypatch):
    shown = RunProgress("lines", total_bytes=1000)
    monkeypatch.setattr(time, "monotonic", lambda: shown._began + 10)
    shown._on_result("score", scored(500, 250))
    assert re.fullmatch(r"\[ +10 s\] score: 500 documents, 50 a second, 25% of the input, about 30 s left", shown.line())


def test_later_stages_count_their_own_documents(monkeypatch):
    shown = RunProgress("lines", total_bytes=1000)
    monkeypatch.setattr(time, "monotonic", lambda: shown._began + 2)
    shown._on_result("score", scored(500, 1000))
    shown._on_result("judge", DecidedShard(ScoredShard("s", "s", 400), "", 400))
    assert "judge: 400 documents" in shown.line()


def test_without_a_terminal_a_line_comes_every_so_often(capsys, monkeypatch):
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    with RunProgress("auto", total_bytes=0):
        for _ in range(10):
            worker_pool._on_result("score", scored(10, 1))
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 10 and all("score:" in line for line in lines)


def test_none_shows_nothing(capsys):
    with RunProgress("none", total_bytes=0):
        assert worker_pool._on_result is None
    assert capsys.readouterr().err == ""


def test_bars_name_every_stage(capsys):
    with RunProgress("bars", total_bytes=2_000_000):
        worker_pool._on_result("score", scored(10, 1_000_000))
        worker_pool._on_result("judge", DecidedShard(ScoredShard("s", "s", 10), "", 10))
        worker_pool._on_result("find candidates", object())
    shown = capsys.readouterr().err
    assert "score" in shown and "judge" in shown and "find candidates" in shown


def test_nothing_is_observed_after_the_end():
    with pytest.raises(RuntimeError), RunProgress("lines", total_bytes=0):
        raise RuntimeError
    assert worker_pool._on_result is None
    assert progress.LINE_SECONDS == 15
