"""The features are the same in training and in use, and are what the description says."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fold_marks import fold_marks
from classifiers.hashed_ngrams import (
    BLOCKS,
    FUNCTION_WORDS,
    NgramSettings,
    collect_features,
    common_table,
    fold_and_hash,
    fold_line,
    hash_word,
    score_and_fold_texts,
    score_texts,
)
from classifiers.text_batch import TextBatch

WIDE = NgramSettings(word_ngrams=2, shape_ngrams=3, bits=16, max_words=64)
COMMON = common_table(np.array([hash_word(word) for word in ("river", "stone")], np.uint64))
texts = st.lists(st.sampled_from("the river falls , stone running . walking it's of and 0 - quite".split()), max_size=90).map(" ".join)


def features_of(text, ngrams=WIDE):
    features, ends = collect_features([fold_and_hash(text, ngrams.max_words)], COMMON, ngrams)
    return features[: ends[1, 0]], features[ends[1, 0] : ends[1, 1]]


def test_hash_of_a_word_is_fnv():
    assert hash_word("") == 14695981039346656037
    assert hash_word("a") == 0xAF63DC4C8601EC8C


@given(texts)
def test_kernel_words_are_the_folded_words(text):
    words, shapes = fold_and_hash(text, 64)
    expected = fold_marks(text).split()[:64]
    assert words.tolist() == [hash_word(word) for word in expected]
    assert len(shapes) == len(words)


def test_words_of_one_ending_and_length_class_have_one_shape():
    _, shapes = fold_and_hash("walking talking jumped ing walkings", 64)
    assert shapes[0] == shapes[1]
    assert len(set(shapes.tolist())) == 4


@given(texts)
def test_each_feature_counts_once_and_stands_in_its_block(text):
    words, shapes = features_of(text)
    half = 1 << (WIDE.bits - 1)
    assert len(set(words.tolist())) == len(words) and (words < half).all() and (words >= 0).all()
    assert len(set(shapes.tolist())) == len(shapes) and (shapes >= half).all() and (shapes < 2 * half).all()
    tokens = fold_marks(text).split()[:64]
    grams = {tuple(tokens[i : i + n]) for n in (1, 2) for i in range(len(tokens) - n + 1)}
    assert len(words) <= len(grams)
    assert len(words) >= 0.98 * len(grams) - 1  # two n-grams may share a bucket


@given(texts)
def test_order_of_sentences_far_apart_does_not_change_unigrams(text):
    unigrams = NgramSettings(word_ngrams=1, shape_ngrams=0, bits=16, max_words=200)
    tokens = fold_marks(text).split()
    forwards, _ = features_of(" ".join(tokens), unigrams)
    backwards, _ = features_of(" ".join(reversed(tokens)), unigrams)
    assert set(forwards.tolist()) == set(backwards.tolist())


def test_common_words_stay_themselves_in_shapes():
    same = features_of("river walking .")[1], features_of("river talking .")[1]
    other = features_of("stone walking .")[1]
    assert set(same[0].tolist()) == set(same[1].tolist()) != set(other.tolist())


@settings(max_examples=60)
@given(st.lists(texts, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_scores_are_sums_of_weights_over_the_root_of_the_number_of_features(batch_texts, seed):
    weights = np.random.default_rng(seed).integers(-127, 128, 1 << WIDE.bits).astype(np.int8)
    batch = TextBatch.of(batch_texts)
    results = score_texts(batch.utf8, batch.offsets, COMMON, WIDE, weights)
    assert results.shape == (len(batch_texts), BLOCKS + 3)
    for row, text in zip(results, batch_texts, strict=True):
        for block, features in enumerate(features_of(text)):
            assert row[block] == pytest.approx(weights[features].astype(float).sum() / max(len(features), 1) ** 0.5, abs=1e-3)
        tokens = fold_marks(text).split()[:64]
        assert row[2] == len(tokens)
        assert row[3] == pytest.approx(sum(token in FUNCTION_WORDS for token in tokens) / max(len(tokens), 1))


@given(st.lists(texts, min_size=2, max_size=5))
def test_scores_do_not_depend_on_the_batch(batch_texts):
    weights = np.arange(1 << WIDE.bits).astype(np.int8)
    whole = TextBatch.of(batch_texts)
    together = score_texts(whole.utf8, whole.offsets, COMMON, WIDE, weights)
    for row, text in zip(together, batch_texts, strict=True):
        alone = TextBatch.of([text])
        assert (score_texts(alone.utf8, alone.offsets, COMMON, WIDE, weights)[0] == row).all()


@given(st.lists(texts | st.text(max_size=60), max_size=5), st.integers(0, 2))
def test_lines_are_the_words_that_are_hashed_and_folding_along_changes_no_score(batch_texts, skipped):
    batch_texts = [text.encode("utf-8", "replace").decode() for text in batch_texts]
    weights = np.arange(1 << WIDE.bits).astype(np.int8)
    batch = TextBatch(pa.array(["skipped"] * skipped + batch_texts, pa.string()).slice(skipped))
    scores, lines = score_and_fold_texts(batch.utf8, batch.offsets, COMMON, WIDE, weights)
    assert (scores == score_texts(batch.utf8, batch.offsets, COMMON, WIDE, weights)).all()
    assert lines == [fold_line(text, WIDE.max_words) + "\n" for text in batch_texts]
    for line, text in zip(lines, batch_texts, strict=True):
        assert [hash_word(word) for word in line.split()] == fold_and_hash(text, WIDE.max_words)[0].tolist()


def test_share_of_other_scripts_is_of_letters():
    weights = np.zeros(1 << WIDE.bits, np.int8)
    batch = TextBatch.of(["abc \u0430\u0431\u0432 123", "", "\u4e2d"])
    assert score_texts(batch.utf8, batch.offsets, COMMON, WIDE, weights)[:, 4].tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("wrong", [{"word_ngrams": 6}, {"bits": 4}, {"max_words": 0}, {"word_ngrams": 0, "shape_ngrams": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        NgramSettings(**wrong)
