"""How much each text says in training: sets, labels and disguised texts; settings that are refused; the scale of the scores."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from classifiers.labelled_text import LabelledText
from classifiers.train import TrainSettings, balanced_weights, fit_scale, piece_weights, quantise

ROWS = st.lists(
    st.tuples(st.sampled_from(["l2r21", "raidar", "human_imdb_2011", "generated"]), st.booleans(), st.sampled_from(["none", "loud"])),
    min_size=1,
    max_size=80,
)
SETTINGS = st.builds(
    TrainSettings,
    size_power=st.sampled_from([0.0, 0.5, 1.0]),
    human_set_weight=st.sampled_from([0.1, 1.0]),
    generated_weight=st.sampled_from([0.3, 2.0]),
    attack_weight=st.sampled_from([0.2, 1.0]),
)


def text_of(set_name, is_machine, attack="none"):
    return LabelledText("x", is_machine, set_name, "", "g", attack, "")


def slow_weights(texts, owners, settings):
    """The rule, written out: cells of set and label, one after the other."""
    pieces = [texts[owner] for owner in owners]
    totals = {}
    for name in {text.set_name for text in pieces}:
        sizes = [sum(text.set_name == name and text.is_machine == label for text in pieces) for label in (False, True)]
        if all(sizes):
            totals[name] = [(sizes[0] ** settings.size_power * sizes[1] ** settings.size_power) ** 0.5] * 2
        else:
            alone = settings.generated_weight if name == "generated" else settings.human_set_weight
            totals[name] = [alone * size**settings.size_power if size else 0.0 for size in sizes]
    of_label = [sum(some[label] for some in totals.values()) for label in (0, 1)]
    weights = []
    for text in pieces:
        cell = [other for other in pieces if (other.set_name, other.is_machine) == (text.set_name, text.is_machine)]
        share = {"none": 1.0}.get(text.attack, settings.attack_weight)
        whole = sum({"none": 1.0}.get(other.attack, settings.attack_weight) for other in cell)
        weights.append(share / whole * totals[text.set_name][text.is_machine] / of_label[text.is_machine] * len(pieces) / 2)
    return weights


@given(ROWS, SETTINGS, st.data())
def test_weights_follow_the_rule_written_out(rows, settings, data):
    texts = [text_of(*row) for row in rows]
    owners = np.array(data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=120)))
    assert piece_weights(texts, owners, settings) == pytest.approx(slow_weights(texts, owners, settings), rel=1e-4)


@given(ROWS, SETTINGS)
def test_both_labels_weigh_the_same_and_the_mean_is_one(rows, settings):
    texts = [text_of(*row) for row in rows]
    machine = np.array([text.is_machine for text in texts])
    assume(machine.any() and not machine.all())
    weights = piece_weights(texts, np.arange(len(texts)), settings)
    assert weights.dtype == np.float32 and (weights > 0).all()
    assert weights[machine].sum() == pytest.approx(weights[~machine].sum(), rel=1e-4)
    assert weights.mean() == pytest.approx(1, rel=1e-4)


def test_both_labels_of_one_set_weigh_the_same():
    # Otherwise the set itself would say who wrote a text: most of l2r21 is machine-written, most of detectrl is not.
    texts = [text_of("l2r21", True)] * 80 + [text_of("l2r21", False)] * 20 + [text_of("detectrl", True)] * 10 + [text_of("detectrl", False)] * 90
    weights = piece_weights(texts, np.arange(200), TrainSettings())
    assert weights[:80].sum() == pytest.approx(weights[80:100].sum(), rel=1e-5)
    assert weights[100:110].sum() == pytest.approx(weights[110:].sum(), rel=1e-5)


def test_a_disguised_text_weighs_its_share_of_a_clean_one():
    texts = [text_of("l2r21", True, "loud"), text_of("l2r21", True), text_of("l2r21", False)]
    weights = piece_weights(texts, np.arange(3), TrainSettings(attack_weight=0.25))
    assert weights[0] == pytest.approx(0.25 * weights[1], rel=1e-5)


def test_weights_do_not_depend_on_the_order_of_texts():
    texts = [text_of("l2r21", n % 3 == 0, "loud" if n % 5 == 0 else "none") for n in range(30)] + [text_of("raidar", n % 2 == 0) for n in range(11)]
    forward = piece_weights(texts, np.arange(41), TrainSettings())
    backward = piece_weights(texts[::-1], np.arange(41), TrainSettings())
    assert forward == pytest.approx(backward[::-1], rel=1e-6)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("epochs", 0),
        ("crops", -1),
        ("whole_words", 8),
        ("texts_per_human_set", -1),
        ("common_words", -1),
        ("seed", -1),
        ("learning_rate", 0),
        ("human_set_weight", 0),
        ("generated_weight", 0),
        ("attack_weight", -0.5),
        ("fasttext_factor", -0.1),
        ("piece_words", (4, 20)),
        ("piece_words", (50, 20)),
    ],
)
def test_a_wrong_setting_is_named(key, wrong):
    with pytest.raises(ValueError, match=key):
        TrainSettings(**{key: wrong})


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.floats(0.5, 3))
def test_the_scale_finds_the_odds_that_the_labels_were_drawn_from(seed, intercept, factor):
    random = np.random.default_rng(seed)
    scores = random.normal(size=8_000)
    machine = random.random(8_000) < 1 / (1 + np.exp(-(intercept + factor * scores)))
    found = fit_scale(scores, machine.astype(float), np.ones(8_000))
    assert found == pytest.approx((intercept, factor), abs=0.5)


def test_scores_that_fall_with_the_label_are_refused():
    scores = np.linspace(-1, 1, 200)
    with pytest.raises(ValueError, match="scores do not rise with the label"):
        fit_scale(scores, (scores < 0.2).astype(float), np.ones(200))


@given(st.integers(1, 50), st.integers(1, 50))
def test_balanced_weights_give_each_label_one_half(humans, machines):
    machine = np.array([False] * humans + [True] * machines)
    weights = balanced_weights(machine)
    assert weights[machine].sum() == pytest.approx(0.5) and weights[~machine].sum() == pytest.approx(0.5)


@given(st.integers(0, 2**32 - 1))
def test_rounding_to_eight_bits_keeps_each_weight_within_a_step(seed):
    settings = TrainSettings()
    fitted = np.random.default_rng(seed).normal(size=1 << settings.ngrams.bits if seed == 0 else 1 << 10).astype(np.float32)
    settings = TrainSettings(ngrams=type(settings.ngrams)(bits=int(np.log2(len(fitted)))))
    model = quantise(fitted, np.array([1], np.uint64), settings)
    half = len(fitted) // 2
    for block, share in ((0, 1.0), (1, settings.shapes_factor)):
        step = model.scale[1 + block] / share
        restored = model.weights[block * half : (block + 1) * half] * step
        part = fitted[block * half : (block + 1) * half]
        unclipped = np.abs(part) <= 127 * step
        assert np.abs(restored - part)[unclipped].max() <= step / 2 + 1e-6
        assert (np.abs(model.weights[block * half : (block + 1) * half][~unclipped]) == 127).all()
