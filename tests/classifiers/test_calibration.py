"""Thresholds keep the promised rate, group by group, and refuse to judge where they cannot."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.calibration import (
    DEFAULT_EDGES,
    HIGHEST_RATE,
    LOWEST_RATE,
    MIN_SOURCE_TEXTS,
    RATES,
    LengthThresholds,
    calibrate,
    conformal_threshold,
    judge,
    load_calibration,
)

rates = st.floats(LOWEST_RATE, HIGHEST_RATE)


def human(count, seed, shift=0.0):
    random = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-random.normal(shift - 2, 1.5, count)))
    return scores.astype(np.float32), random.integers(20, 900, count).astype(np.int32)


@pytest.fixture(scope="module")
def calibration():
    return calibrate({"essays": human(6_000, 1), "mail": human(3_000, 2, 0.5)}, "detector-1")


@given(st.lists(st.floats(0, 1), max_size=60), rates)
def test_conformal_threshold_is_the_stated_rank(scores, rate):
    threshold = conformal_threshold(np.sort(np.array(scores)), rate)
    rank = math.ceil(round((len(scores) + 1) * (1 - rate), 6))
    if rank > len(scores):
        assert math.isnan(threshold)
    else:
        assert threshold == sorted(scores)[rank - 1]


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(0, 10_000), rates)
def test_a_fresh_text_of_the_same_kind_is_flagged_at_most_at_the_rate(count, seed, rate):
    # Exchangeability, exactly: leave each of n + 1 scores out in turn, and at most rate * (n + 1) of them are flagged.
    scores = np.random.default_rng(seed).permutation(count + 1).astype(float)
    flagged = sum(scores[i] > conformal_threshold(np.sort(np.delete(scores, i)), rate) for i in range(len(scores)))
    assert flagged <= rate * (count + 1) + 1e-6


@given(rates)
def test_of_the_calibrating_texts_no_more_are_flagged_than_promised(rate):
    sources = {"essays": human(4_000, 1), "mail": human(2_000, 2, 1.0)}
    thresholds = calibrate(sources, "d").thresholds(rate)
    scores, words = (np.concatenate(parts) for parts in zip(*sources.values(), strict=True))
    flagged, _ = judge(scores, words, thresholds)
    for index, edge in enumerate(DEFAULT_EDGES):
        chosen = np.searchsorted(DEFAULT_EDGES, words, side="right") - 1 == index
        assert flagged[chosen].sum() <= rate * (chosen.sum() + 1), edge


def test_in_the_mixture_a_limited_source_counts_with_its_first_texts_of_each_group():
    scores, words = human(4_000, 1)
    few = {"mail": (np.full(MIN_SOURCE_TEXTS - 1, 0.999, np.float32), np.full(MIN_SOURCE_TEXTS - 1, 60, np.int32))}
    limited = calibrate({"essays": (scores, words)} | few, "d", DEFAULT_EDGES, 40)
    assert limited.counts == (80, 40, 40, 40)


@settings(max_examples=30)
@given(rates, st.integers(0, 1_000), st.floats(0, 3))
def test_each_source_of_enough_texts_is_kept_the_promise_by_itself(rate, seed, shift):
    sources = {"news": human(3_000, seed), "essays": human(900, seed + 1, shift), "verse": human(30, seed + 2, shift)}
    thresholds = calibrate(sources, "d", DEFAULT_EDGES, 250).thresholds(rate)
    for name in ("news", "essays"):
        scores, words = sources[name]
        flagged, judged = judge(scores, words, thresholds)
        for index, edge in enumerate(DEFAULT_EDGES):
            chosen = judged & (np.searchsorted(DEFAULT_EDGES, words, side="right") - 1 == index)
            assert chosen.sum() < MIN_SOURCE_TEXTS or flagged[chosen].sum() <= rate * (chosen.sum() + 1), (name, edge)


@settings(max_examples=30)
@given(rates, st.integers(0, 1_000))
def test_the_threshold_is_the_highest_of_the_mixtures_and_of_each_source(rate, seed):
    sources = {"news": human(2_000, seed), "essays": human(900, seed + 1, 2.0)}
    thresholds = calibrate(sources, "d").thresholds(rate).thresholds
    kept = max(one for one in RATES if one <= rate)
    for index in range(len(DEFAULT_EDGES)):
        own = [scores[np.searchsorted(DEFAULT_EDGES, words, side="right") - 1 == index].astype(float) for scores, words in sources.values()]
        mixture = conformal_threshold(np.sort(np.concatenate(own)), kept)
        known = [conformal_threshold(np.sort(some), max(kept, 1 / (len(some) + 1))) for some in own if len(some) >= MIN_SOURCE_TEXTS]
        assert (math.isnan(mixture) and math.isnan(thresholds[index])) or thresholds[index] == max([mixture, *known])


def test_a_source_of_few_texts_only_counts_in_the_mixture():
    many = human(4_000, 1)
    few = np.full(MIN_SOURCE_TEXTS - 1, 0.9999, np.float32), np.full(MIN_SOURCE_TEXTS - 1, 60, np.int32)
    with_few = calibrate({"news": many, "verse": few}, "d").thresholds(0.1).thresholds[0]
    assert with_few < 0.9999
    one_more = tuple(np.append(part, part[0]) for part in few)
    assert calibrate({"news": many, "verse": one_more}, "d").thresholds(0.02).thresholds[0] == pytest.approx(0.9999)


@given(rates, rates)
def test_thresholds_fall_as_the_rate_grows(calibration, one, other):
    low, high = sorted((one, other))
    for strict, loose in zip(calibration.thresholds(low).thresholds, calibration.thresholds(high).thresholds, strict=True):
        assert math.isnan(strict) or strict >= loose


@pytest.mark.parametrize("rate", [LOWEST_RATE, 0.001, 0.01, 0.05, HIGHEST_RATE])
def test_round_rates_are_kept_exactly(rate):
    assert any(math.isclose(rate, kept) for kept in RATES)


@pytest.mark.parametrize("rate", [0, -0.1, LOWEST_RATE / 2, HIGHEST_RATE + 1e-6, 1, math.nan])
def test_a_rate_outside_the_range_is_refused_with_the_range(calibration, rate):
    with pytest.raises(ValueError, match=f"{LOWEST_RATE} to {HIGHEST_RATE}"):
        calibration.thresholds(rate)


def test_too_few_texts_for_the_rate_are_not_judged():
    few = calibrate({"essays": (np.full(50, 0.1, np.float32), np.full(50, 60, np.int32))}, "d")
    assert math.isnan(few.thresholds(0.01).thresholds[0])
    assert not math.isnan(few.thresholds(0.05).thresholds[0])
    flagged, judged = judge(np.array([0.99], np.float32), np.array([60], np.int32), few.thresholds(0.01))
    assert not flagged[0] and not judged[0]


def test_short_abstained_and_unknown_groups_are_neither_judged_nor_flagged():
    thresholds = LengthThresholds(0.01, (50, 100), (0.5, math.nan), "x")
    flagged, judged = judge(np.array([0.9, 0.9, np.nan, 0.9, 0.5, 0.1], np.float32), np.array([49, 50, 60, 100, 99, 99], np.int32), thresholds)
    assert judged.tolist() == [False, True, False, False, True, True]
    assert flagged.tolist() == [False, True, False, False, False, False]


def test_judging_nothing_gives_nothing():
    flagged, judged = judge(np.empty(0, np.float32), np.empty(0, np.int32), LengthThresholds(0.01, (50,), (0.5,), "x"))
    assert flagged.dtype == judged.dtype == bool and len(flagged) == len(judged) == 0


def test_a_calibration_survives_its_file_bit_for_bit(calibration, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_bytes(calibration.to_json())
    again = load_calibration(str(path))
    assert again.digest == calibration.digest and again.detector == "detector-1" and again.sources == ("essays", "mail")
    np.testing.assert_array_equal(again.table, calibration.table)


def test_the_digest_changes_with_a_threshold(calibration):
    first = tuple(min(1.0, value + 1e-9) for value in calibration.table[0])
    assert replace(calibration, table=(first, *calibration.table[1:])).digest != calibration.digest


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format": 9}', b'{"format": 1, "groups": 3}'])
def test_a_file_that_is_no_calibration_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.json: not a calibration"):
        load_calibration(str(path))


def test_a_table_that_rises_is_refused(calibration):
    with pytest.raises(ValueError, match="fall as the rate grows"):
        replace(calibration, table=tuple(row[::-1] for row in calibration.table))
    with pytest.raises(ValueError, match="ascending word counts"):
        replace(calibration, edges=(100, 50, 200, 400))


def test_shipped_calibration_belongs_to_the_shipped_detector():
    from classifiers.ai_detector import AiDetectorScorer

    shipped = load_calibration()
    assert shipped.detector == AiDetectorScorer().version
    assert shipped.edges[0] >= 50
    assert not any(map(math.isnan, shipped.thresholds(0.01).thresholds))
    assert not {"alpacaeval_machine", "human_blogs_2004"} & set(shipped.sources)
