"""The estimate of prevalence on pools whose share is known, and its parts against slow references."""

import math
from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers.ai_detector import probability_of
from classifiers.detectors import MissingExtra, make_detector
from classifiers.prevalence import (
    DRAWS,
    LENGTH_EDGES,
    NUM_BINS,
    SCORE_EDGES,
    SHAPE,
    Reference,
    ReferenceSource,
    count_scores,
    estimate_share,
    read_references,
    shift_scores,
    shipped_references,
    solve_mixture,
    to_json,
    weighted_quantiles,
)

random = np.random.default_rng(0)


def scores(mean, count, spread=1.0, words=150):
    odds = np.random.default_rng(abs(hash((mean, count, spread, words))) % 2**32).normal(mean, spread, count)
    return count_scores(probability_of(odds), np.full(count, words, np.int32))


def source(name, is_machine, mean, count=2_000, **more):
    return ReferenceSource(name, name.split(":")[0], is_machine, scores(mean, count, **more))


def reference(shift=0.2, gap=4.0):
    sources = [source(f"h{n}: x", False, -gap / 2 + 0.1 * n) for n in range(4)] + [source(f"m{n}: x", True, gap / 2 + 0.1 * n) for n in range(4)]
    return Reference("test-1", "made up", tuple(sources), shift)


@given(st.lists(st.tuples(st.one_of(st.just(math.nan), st.floats(0, 1, width=32)), st.integers(0, 1_000)), max_size=30))
def test_every_judged_text_is_counted_once_in_its_group_and_bin(texts):
    probability = np.array([value for value, _ in texts], np.float32)
    words = np.array([count for _, count in texts], np.int32)
    slow = np.zeros(SHAPE, np.int64)
    for value, count in zip(probability.astype(float), words, strict=True):
        if math.isnan(value) or count < LENGTH_EDGES[0]:
            continue
        value = min(max(value, 1e-9), 1 - 1e-9)
        odds = math.log(value / (1 - value))
        slow[sum(count >= edge for edge in LENGTH_EDGES) - 1, sum(odds >= edge for edge in SCORE_EDGES)] += 1
    assert (count_scores(probability, words) == slow).all()


@given(st.integers(0, 30), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30))
def test_counts_of_parts_add_up(cut, values):
    probability, words = np.array(values, np.float32), np.full(len(values), 120, np.int32)
    parts = [count_scores(probability[piece], words[piece]) for piece in (slice(cut), slice(cut, None))]
    assert (sum(parts) == count_scores(probability, words)).all()


positive = arrays(np.float64, (3, 5), elements=st.floats(0.01, 1)).map(lambda values: values / values.sum(axis=-1, keepdims=True))


@given(arrays(np.int64, (3, 5), elements=st.integers(0, 50)), positive, positive)
def test_the_solved_share_is_likelier_than_any_on_a_grid(counts, human, machine):
    shares = solve_mixture(counts, human, machine)

    def likelihood(share):
        return (counts * np.log((1 - share) * human + share * machine)).sum(axis=-1)

    best = np.max([likelihood(share) for share in np.linspace(0, 1, 101)], axis=0)
    assert (likelihood(shares[:, None]) >= best - 1e-3).all()
    assert ((shares >= 0) & (shares <= 1)).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=20), st.floats(0, 1))
def test_a_weighted_quantile_has_that_much_weight_up_to_it(rows, level):
    values, weights = (np.array(column) for column in zip(*rows, strict=True))
    (found,) = weighted_quantiles(values, weights, (level,))
    assert weights[values <= found].sum() >= level * weights.sum() - 1e-9
    assert weights[values < found].sum() <= level * weights.sum() + 1e-9


@given(arrays(np.float64, (2, SHAPE[0], NUM_BINS), elements=st.floats(0, 1)), st.floats(-5, 5))
def test_moving_scores_loses_none_and_whole_bins_move_whole(shares, shift):
    moved = shift_scores(shares, np.full(2, shift))
    assert moved.sum(axis=-1) == pytest.approx(shares.sum(axis=-1)) and (moved >= -1e-9).all()
    by_three = shift_scores(shares, np.full(2, 1.5))
    assert by_three[..., 4:-1] == pytest.approx(shares[..., 1:-4])
    assert shift_scores(shares, np.zeros(2)) == pytest.approx(shares)


def test_moved_scores_have_moved_means():
    shares = scores(0.0, 5_000)[None] / 5_000 + 1e-12
    middles = np.concatenate([[SCORE_EDGES[0]], (SCORE_EDGES[1:] + SCORE_EDGES[:-1]) / 2, [SCORE_EDGES[-1]]])
    before, after = ((one * middles).sum() for one in (shares, shift_scores(shares, np.array([0.7]))))
    assert after - before == pytest.approx(0.7, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_the_interval_holds_the_share_of_a_pool_like_the_reference(share):
    pool = scores(-2.0, round(2_000 * (1 - share)) or 1) * (share < 1) + scores(2.0, round(2_000 * share) or 1) * (share > 0)
    estimate = estimate_share(pool, reference())
    assert estimate.low - 0.01 <= share <= estimate.high + 0.01
    assert estimate.share == pytest.approx(share, abs=0.06)
    assert estimate.texts == 2_000


@settings(max_examples=8)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_margins_widen_the_interval_and_leave_the_estimate(below, above, share):
    pool = scores(-2.0, round(300 * (1 - share)) + 1) + scores(2.0, round(300 * share) + 1)
    bare = estimate_share(pool, reference())
    wide = estimate_share(pool, replace(reference(), margins=(below, above)))
    assert (wide.texts, wide.share) == (bare.texts, bare.share)
    assert wide.low == max(0.0, bare.low - below) and wide.high == min(1.0, bare.high + above)


def test_lengths_may_hold_different_shares():
    pool = scores(-2.0, 1_000, words=80) + scores(2.0, 500, words=300)
    known = Reference(
        "test-1",
        "made up",
        tuple(
            ReferenceSource(f"{kind}{n}", f"{kind}{n}", kind == "m", sum(scores(mean, 900 + n, words=words) for words in (80, 300)))
            for kind, mean in (("h", -2.0), ("m", 2.0))
            for n in range(3)
        ),
        0.1,
    )
    assert estimate_share(pool, known).share == pytest.approx(1 / 3, abs=0.05)


def test_sources_that_disagree_and_scores_that_overlap_widen_the_interval():
    pool = scores(-2.0, 1_400) + scores(2.0, 600)
    widths = {name: (one := estimate_share(pool, ref)).high - one.low for name, ref in
              {"sure": reference(0.1), "moved": reference(1.0), "overlap": reference(0.1, gap=1.5)}.items()}  # fmt: skip
    assert widths["sure"] < widths["moved"] and widths["sure"] < widths["overlap"]


def test_few_texts_are_less_sure_than_many():
    few, many = (estimate_share(scores(-2.0, 7 * size) + scores(2.0, 3 * size), reference(0.1)) for size in (3, 300))
    assert few.high - few.low > many.high - many.low


def test_the_estimate_is_the_same_every_time():
    pool = scores(-2.0, 700) + scores(2.0, 300)
    assert estimate_share(pool, reference()) == estimate_share(pool, reference())


def test_of_no_texts_there_is_no_estimate():
    assert estimate_share(np.zeros(SHAPE, np.int64), reference()) is None


def test_drawn_pairs_are_shares_without_empty_bins():
    for part in reference().pairs:
        assert part.shape == (DRAWS, *SHAPE)
        assert part.sum(axis=-1) == pytest.approx(np.ones((DRAWS, SHAPE[0]))) and part.min() > 0


def test_a_reference_survives_its_file_and_is_found_by_version(tmp_path):
    path = tmp_path / "prevalence.json"
    path.write_bytes(to_json({"test-1": reference()}))
    found = read_references(str(path))["test-1"]
    assert to_json({"test-1": found}) == path.read_bytes()
    pool = scores(-2.0, 700) + scores(2.0, 300)
    assert estimate_share(pool, found) == estimate_share(pool, reference())


def test_leaving_sets_out_leaves_their_sources_out():
    left = reference().without_sets(("h1", "m2"))
    assert [one.name for one in left.sources] == ["h0: x", "h2: x", "h3: x", "m0: x", "m1: x", "m3: x"]
    with pytest.raises(ValueError, match="needs human and machine sources"):
        reference().without_sets(("m0", "m1", "m2", "m3"))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"format": 2}', to_json({}).replace(b'"word_edges":[50', b'"word_edges":[51'), b'{"format":1,"detectors":[{}]}']
)
def test_what_is_no_reference_is_refused_by_name(tmp_path, content):
    path = tmp_path / "wrong.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"wrong\.json: not a file of reference scores"):
        read_references(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReferenceSource("a", "a", True, np.zeros(SHAPE, np.int64)), "not all 0"),
        (lambda: ReferenceSource("a", "a", True, np.ones((2, 2), np.int64)), "counts must be 4 x 26"),
        (lambda: Reference("v", "m", (source("a", True, 1.0), source("a", False, 1.0))), "different names"),
        (lambda: Reference("v", "m", (source("a", True, 1.0),)), "needs human and machine"),
        (lambda: Reference("v", "m", reference().sources, 9.0), "shift must be from 0 to 3"),
    ],
)
def test_impossible_references_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("spec", ["fast", "deep", "cascade"])
def test_every_shipped_detector_has_a_reference(spec):
    try:
        version = make_detector(spec).version
    except ValueError as error:
        if not (isinstance(error, MissingExtra) or "ships with this version" in str(error)):
            raise
        pytest.skip(f"the detector {spec} is not here: {error}")
    found = shipped_references().get(version)
    assert found, f"make it: python -m classifiers reference --ai_detector {spec} --data ../shared/data --output classifiers/weights/prevalence.json"
    assert orjson.loads(to_json({version: found}))["detectors"][0]["made_of"] == found.made_of
    assert sum(one.counts.sum() for one in found.sources) > 1_000
