"""Figures of diversity: each is what its definition says, moves with what it should notice, and stays when only the texts are others."""

import math
import zlib
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from classifiers.diversity import (
    EXCERPT_WORDS,
    FIGURES,
    GROUP_EXCERPTS,
    MAX_GROUPS,
    MIN_GROUPS,
    Excerpts,
    bootstrap_mean,
    cluster_concentration,
    compression_ratio,
    cut_excerpts,
    distinct_share,
    hash_grams,
    make_reference,
    measure_diversity,
    measure_self_repetition,
    self_repetition,
)
from tests.texts import prose

COUNT = 3 * GROUP_EXCERPTS


@pytest.fixture(scope="module")
def varied():
    return [prose(seed, 80) for seed in range(COUNT)]


def excerpts_of(texts, seed=0):
    return cut_excerpts(pa.array(texts, pa.string()), seed)


small = st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=6).map(lambda rows: np.array(rows, np.uint64))


# Definitions, against plain Python


@given(small, st.integers(1, 5))
def test_distinct_n_is_different_grams_over_grams(words, n):
    grams = [tuple(row[start : start + n]) for row in words.tolist() for start in range(5 - n + 1)]
    assert distinct_share(words, n) == pytest.approx(len(set(grams)) / len(grams))


@given(small)
def test_self_repetition_counts_the_other_excerpts_that_hold_each_gram(words):
    rows = [[tuple(row[start : start + 4]) for start in range(2)] for row in words.tolist()]
    expected = [math.log(1 + sum(sum(gram in other for other in rows) - 1 for gram in row)) for row in rows]
    assert self_repetition(words) == pytest.approx(np.mean(expected))


def grouped_repetition(words, groups):
    """`self_repetition` of each group on its own, in plain Python."""
    means = []
    for group in range(groups):
        rows = [[tuple(row[start : start + 4]) for start in range(len(row) - 3)] for row in words[group * 64 : group * 64 + 64].tolist()]
        held = Counter(gram for row in rows for gram in set(row))
        means.append(np.mean([math.log(1 + sum(held[gram] - 1 for gram in row)) for row in rows]))
    return np.array(means)


def repeating(seed, count=4 * GROUP_EXCERPTS, phrases=400):
    """Excerpts of a few words that now and then hold one of some phrases, as people's do."""
    random = np.random.default_rng(seed)
    words = random.integers(0, 1 << 40, (count, 32), np.uint64)
    kept = np.random.default_rng(1_000_000).integers(0, 1 << 40, (phrases, 4), np.uint64)
    for row in words:
        row[4:8] = kept[random.integers(phrases)]
    return words


def test_self_repetition_is_the_mean_over_groups_and_steadier_than_any_one_set_of_them():
    held = [repeating(seed) for seed in range(20)]
    one = np.array([grouped_repetition(words, 4).mean() for words in held])
    many = np.array([self_repetition(words) for words in held])
    assert many.mean() == pytest.approx(one.mean(), rel=0.06)
    assert many.std() < 0.75 * one.std()


def test_self_repetition_does_not_depend_on_how_many_excerpts_there_are():
    few, many = (np.mean([self_repetition(repeating(seed, count)) for seed in range(seeds)]) for count, seeds in ((128, 60), (1024, 6)))
    assert few == pytest.approx(many, rel=0.1)


def test_what_does_not_fill_a_group_takes_turns_in_being_left_out():
    words = np.concatenate([repeating(1, 2 * GROUP_EXCERPTS), np.repeat(repeating(2, 1), 60, axis=0)])
    alone = self_repetition(words[: 2 * GROUP_EXCERPTS])
    assert self_repetition(words) > 3 * alone


def test_the_interval_of_self_repetition_holds_it_and_what_it_is_elsewhere():
    true = np.mean([self_repetition(repeating(seed)) for seed in range(100, 130)])
    found = [measure_self_repetition(repeating(seed)) for seed in range(40)]
    assert all(figure.low <= figure.value <= figure.high and figure.groups == 4 for figure in found)
    assert np.mean([figure.low <= true <= figure.high for figure in found]) >= 0.85


@pytest.mark.parametrize("words", [np.arange(128 * 32, dtype=np.uint64).reshape(128, 32), np.zeros((128, 32), np.uint64)])
def test_where_all_groups_are_alike_the_interval_is_a_point(words):
    figure = measure_self_repetition(words)
    assert figure.low == pytest.approx(figure.value) == pytest.approx(figure.high)
    assert figure.value == pytest.approx(math.log(1 + 29 * 63) if not words.any() else 0)


def test_the_compression_ratio_is_that_of_deflate():
    texts = [b"one text", b"another text", b"one text"]
    assert compression_ratio(texts) == len(b"\n".join(texts)) / len(zlib.compress(b"\n".join(texts), 9))


def test_equal_excerpts_are_one_cluster_and_unlike_ones_each_their_own():
    random = np.random.default_rng(0)
    unlike = random.integers(0, 1 << 63, (16, EXCERPT_WORDS), np.uint64)
    assert cluster_concentration(unlike) == pytest.approx(1 / 16)
    assert cluster_concentration(np.repeat(unlike[:4], 4, axis=0)) == pytest.approx(1 / 4)
    assert cluster_concentration(np.repeat(unlike[:1], 16, axis=0)) == 1


@given(small, st.integers(1, 4))
def test_grams_have_equal_hashes_where_their_words_are_equal(words, n):
    hashed = hash_grams(words, n)
    grams = [tuple(row[start : start + n]) for row in words.tolist() for start in range(5 - n + 1)]
    by_gram = dict(zip(grams, hashed.ravel().tolist(), strict=True))
    assert [by_gram[gram] for gram in grams] == hashed.ravel().tolist()
    assert len(set(by_gram.values())) == len(by_gram)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_the_interval_holds_the_mean_and_is_the_same_every_time(values):
    figure = bootstrap_mean(np.array(values))
    assert figure == bootstrap_mean(np.array(values))
    assert min(values) - 1e-9 <= figure.low <= figure.high <= max(values) + 1e-9
    assert figure.value == pytest.approx(np.mean(values)) and figure.groups == len(values)


def test_the_interval_is_that_of_the_mean():
    """Over many samples of one distribution about 95 % of the intervals hold its mean: percentile intervals of 32 values, a little fewer."""
    random = np.random.default_rng(3)
    held = [bootstrap_mean(random.normal(size=32)) for _ in range(200)]
    assert 0.88 <= np.mean([figure.low <= 0 <= figure.high for figure in held]) <= 0.99


# Excerpts


def test_every_text_that_is_long_enough_gives_one_excerpt_of_equal_length():
    texts = ["too short", prose(1, 80), "", prose(2, 200), "word " * EXCERPT_WORDS]
    held = excerpts_of(texts)
    assert held.rows.tolist() == [1, 3, 4]
    assert held.words.shape == (3, EXCERPT_WORDS)
    for row, text in zip(held.rows, held.texts, strict=True):
        assert text.decode() in texts[row]
    assert held.texts[2] == ("word " * EXCERPT_WORDS).strip().encode()


def test_where_an_excerpt_begins_depends_on_its_text_and_the_seed_alone():
    texts = [prose(seed, 300) for seed in range(10)]
    whole, reversed_ = excerpts_of(texts), excerpts_of(texts[::-1])
    assert whole.texts == reversed_.texts[::-1]
    assert excerpts_of(texts, seed=1).texts != whole.texts
    assert len({text.index(found.decode()) for text, found in zip(texts, whole.texts, strict=True)}) > 5


def test_no_texts_give_no_excerpts():
    held = excerpts_of([])
    assert held.words.shape == (0, EXCERPT_WORDS) and held.texts == () and measure_diversity(held) == {}


# What the figures notice


def test_the_same_texts_give_the_same_figures(varied):
    reference = make_reference(excerpts_of(varied))
    first, second = (measure_diversity(excerpts_of(varied), reference) for _ in range(2))
    assert first == second
    assert tuple(first) == FIGURES
    assert all(figure.low <= figure.value <= figure.high and figure.groups == 3 for figure in first.values())


def test_a_slice_of_an_array_is_measured_as_its_own(varied):
    padded = pa.array([prose(10_000, 80), *varied], pa.string()).slice(1)
    assert measure_diversity(cut_excerpts(padded)) == measure_diversity(excerpts_of(varied))


def templated(texts, share=0.3, templates=5):
    """`share` of the texts replaced by one of a few templates with three words filled in."""
    random = np.random.default_rng(1)
    models = [prose(90_000 + number, 80) for number in range(templates)]
    held = list(texts)
    for place in random.permutation(len(texts))[: int(share * len(texts))]:
        words = models[random.integers(templates)].split()
        for slot in (5, 20, 50):
            words[slot] = f"name{random.integers(10**6)}"
        held[place] = " ".join(words)
    return held


def test_templates_move_every_figure_of_repetition(varied):
    before, after = measure_diversity(excerpts_of(varied)), measure_diversity(excerpts_of(templated(varied)))
    assert after["compression_ratio"].value > 1.15 * before["compression_ratio"].value
    assert after["self_repetition"].value > 1.1 * before["self_repetition"].value
    assert after["distinct_3"].value < 0.95 * before["distinct_3"].value
    assert after["cluster_concentration"].value > 1.3 * before["cluster_concentration"].value


def test_lost_rare_words_are_seen_as_lost_tail(varied):
    rare = [f"rare{n}" for n in range(4000)]
    random = np.random.default_rng(2)

    def with_rare(text, often):
        return " ".join(rare[random.integers(4000)] if random.random() < often else word for word in text.split())

    human = [with_rare(text, 0.2) for text in varied]
    reference = make_reference(excerpts_of(human))
    again = measure_diversity(excerpts_of([with_rare(text, 0.2) for text in varied]), reference)["tail_coverage"]
    lost = measure_diversity(excerpts_of([with_rare(text, 0.02) for text in varied]), reference)["tail_coverage"]
    assert again.value == pytest.approx(1, abs=0.15)
    assert lost.value < 0.5 * again.value


def test_other_texts_of_the_same_kind_move_nothing_much(varied):
    other = [prose(5_000 + seed, 80) for seed in range(COUNT)]
    before, after = (measure_diversity(excerpts_of(texts)) for texts in (varied, other))
    for name in before:
        assert after[name].value == pytest.approx(before[name].value, rel=0.1), name


def test_too_few_texts_give_no_figures_and_no_reference(varied):
    few = excerpts_of(varied[: MIN_GROUPS * GROUP_EXCERPTS - 1])
    assert measure_diversity(few) == {}
    with pytest.raises(ValueError, match="127 texts of 64 words are too few for a reference; give at least 128"):
        make_reference(few)


def test_texts_that_say_one_thing_have_no_tail():
    with pytest.raises(ValueError, match="no rare words"):
        make_reference(excerpts_of(["again " * 80] * 128))


@settings(max_examples=10)
@given(st.integers(1, 5))
def test_only_whole_groups_count(extra):
    words = np.random.default_rng(0).integers(0, 1 << 40, (2 * GROUP_EXCERPTS + extra, EXCERPT_WORDS), np.uint64)
    excerpts = Excerpts(words, tuple(row.tobytes() for row in words), np.arange(len(words)))
    assert measure_diversity(excerpts) == measure_diversity(excerpts.take(np.arange(2 * GROUP_EXCERPTS)))


def test_no_more_groups_are_measured_than_are_needed():
    words = np.random.default_rng(0).integers(0, 1 << 20, ((MAX_GROUPS + 1) * GROUP_EXCERPTS, EXCERPT_WORDS), np.uint64)
    excerpts = Excerpts(words, tuple(row.tobytes()[:100] for row in words), np.arange(len(words)))
    assert measure_diversity(excerpts)["distinct_1"].groups == MAX_GROUPS


@given(st.lists(st.text(max_size=200), max_size=5))
def test_any_text_is_cut_without_error(texts):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    held = excerpts_of(texts)
    counts = Counter(held.rows.tolist())
    assert all(count == 1 for count in counts.values())
