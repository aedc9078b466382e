"""Each source judged by the thresholds of the others: counts, groups and the command."""

import math

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.__main__ import main
from classifiers.calibrate import by_turns, print_by_turns, read_sources
from classifiers.calibration import DEFAULT_EDGES, calibrate, judge
from tests.classifiers.detector_texts import written


def human(count, seed, shift=0.0):
    random = np.random.default_rng(seed)
    scores = (1 / (1 + np.exp(-random.normal(shift - 2, 1.5, count)))).astype(np.float32)
    scores[random.random(count) < 0.05] = np.nan
    return scores, random.integers(20, 900, count).astype(np.int32)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 0.2), st.floats(-1, 2))
def test_a_source_is_judged_by_the_others_alone(seed, rate, shift):
    sources = {"news": human(1_500, seed), "mail": human(900, seed + 1), "essays": human(700, seed + 2, shift)}
    rows = by_turns(sources, rate)
    thresholds = calibrate({name: sources[name] for name in ("news", "mail")}, "x").thresholds(rate)
    scores, words = sources["essays"]
    flagged, judged = judge(scores, words, thresholds)
    for index, (row, edge) in enumerate(zip(rows["essays"], DEFAULT_EDGES, strict=True)):
        chosen = judged & (np.searchsorted(DEFAULT_EDGES, words, side="right") - 1 == index)
        assert (row["texts"], row["flagged"]) == (chosen.sum(), flagged[chosen].sum()), edge
        assert row["interval"][0] - 1e-12 <= row["rate"] <= row["interval"][1] + 1e-12


def test_text_that_resembles_no_other_source_shows_as_flagged():
    sources = {"news": human(3_000, 1), "mail": human(3_000, 2), "odd": human(1_000, 3, 4.0)}
    rows = by_turns(sources, 0.01)
    assert all(row["rate"] < 0.02 for row in rows["news"])
    assert all(row["rate"] > 0.3 for row in rows["odd"])


def test_a_group_without_texts_has_no_rate():
    long_only = np.full(200, 0.1, np.float32), np.full(200, 500, np.int32)
    rows = by_turns({"news": human(2_000, 1), "rfc": long_only}, 0.05)
    assert [row["texts"] for row in rows["rfc"]] == [0, 0, 0, 200]
    assert math.isnan(rows["rfc"][0]["rate"])
    lines = []
    print_by_turns(rows, DEFAULT_EDGES, lines.append)
    assert lines[-1].split()[0] == "rfc" and lines[-1].split()[1:4] == ["-", "-", "-"]


def test_one_source_has_no_others():
    with pytest.raises(ValueError, match="at least two sources"):
        by_turns({"news": human(100, 1)}, 0.01)


@pytest.mark.parametrize(("patterns", "folder"), [(None, ""), ([], ""), (["a"], "b")])
def test_human_text_comes_from_globs_or_from_the_labelled_sets(patterns, folder):
    with pytest.raises(ValueError, match="either --human GLOB"):
        read_sources(patterns, folder)


def test_the_command_prints_a_row_for_each_source(tmp_path, capsys):
    globs = []
    for source, seeds in (("mail", range(300)), ("notes", range(500, 800))):
        path = tmp_path / f"{source}.jsonl"
        path.write_bytes(b"".join(orjson.dumps({"id": n, "text": written(False, n)}) + b"\n" for n in seeds))
        globs += ["--human", str(path)]
    assert main(["calibrate", *globs, "--by_turns", "--max_false_positive_rate", "0.02", "--edges", "50,120"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if ".jsonl" in line]
    assert len(rows) == 2 and all(" of " in row for row in rows)


def test_neither_globs_nor_sets_ends_with_2(capsys):
    assert main(["calibrate"]) == 2
    assert "either --human GLOB" in capsys.readouterr().err
