"""The format-only baseline reads marks and no words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.format_baseline import fit_format_baseline, format_features
from classifiers.metrics import auroc


def test_the_format_baseline_sees_format_and_no_words():
    tidy = [f"Line {n}.\nAnother line.\n" for n in range(200)]
    loose = [f"line {n} - another one ... and on" for n in range(200)]
    machine = np.arange(400) < 200
    features = format_features(tidy + loose)
    factors = fit_format_baseline(features, machine, np.ones(400))
    assert auroc(features @ factors, machine) > 0.99
    assert (format_features(["one two"]) == format_features(["six ten"])).all()


def test_the_format_baseline_takes_no_texts_and_empty_texts():
    assert format_features([]).shape == (0, format_features(["x"]).shape[1])
    assert np.isfinite(format_features(["", "\0"])).all()


@settings(max_examples=50)
@given(st.text(alphabet="ab \n.,\"'*#-1A\u2014", max_size=60))
def test_other_letters_in_the_same_format_change_nothing(text):
    other = text.translate(str.maketrans("ab", "xy"))
    assert (format_features([text]) == format_features([other])).all()


@settings(max_examples=30)
@given(st.text(alphabet="ab \n.,*-1A", min_size=1, max_size=40), st.integers(2, 5))
def test_features_are_rates_not_counts(text, times):
    once, again = format_features([text + "x", (text + "x") * times])
    # Marks of the beginning, of the end and those that span two copies do not repeat in proportion; all others do.
    assert np.abs(once - again).max() <= np.sqrt(1000 * 2 / len(text + "x")) + 1e-9


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_features_on_any_scale_are_fitted_and_a_constant_one_does_no_harm(scale):
    random = np.random.default_rng(0)
    machine = np.arange(400) % 2 == 0
    features = np.column_stack([scale * (random.normal(0, 1, 400) + machine), np.full(400, 7.0)])
    factors = fit_format_baseline(features, machine, np.ones(400))
    assert np.isfinite(factors).all() and factors[0] > 0
    assert auroc(features @ factors, machine) == pytest.approx(auroc(features[:, 0], machine))


def test_weights_decide_what_is_fitted():
    features = np.column_stack([np.tile([0.0, 1.0], 100), np.ones(200)])
    machine = np.concatenate([np.tile([False, True], 50), np.tile([True, False], 50)])
    half = np.arange(200) < 100
    assert fit_format_baseline(features, machine, np.where(half, 1.0, 0.01))[0] > 0
    assert fit_format_baseline(features, machine, np.where(half, 0.01, 1.0))[0] < 0
