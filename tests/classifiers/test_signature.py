import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.signature import SignatureScorer, estimate_jaccard, hash_bands, make_parameters, minimum_hashes, signature_fields
from classifiers.text_batch import TextBatch
from classifiers.words import mix64
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

BANDS, ROWS = 14, 8


def score(texts: list[str], **settings_) -> tuple[np.ndarray, np.ndarray]:
    """Signatures (uint8[n, 112]) and bands (uint64[n, 14]) of texts that all have words."""
    columns = SignatureScorer(**settings_).score(TextBatch.of(texts))
    signature, bands = columns["signature"], columns["bands"]
    assert signature.null_count == bands.null_count == 0
    return (
        np.frombuffer(signature.buffers()[1], np.uint8).reshape(len(texts), -1),
        np.frombuffer(bands.buffers()[1], "<u8").reshape(len(texts), -1),
    )


def texts_of_jaccard(shared: int, own: int, pairs: int, seed: int) -> tuple[list[str], float]:
    """Pairs of texts (left ones, then right ones) that have `shared` words in common and `own` each for themselves, and their Jaccard."""
    chance = random.Random(seed)
    lefts, rights = [], []
    for pair in range(pairs):
        words = [f"w{pair}n{number}" for number in range(shared + 2 * own)]
        left, right = words[: shared + own], words[:shared] + words[shared + own :]
        chance.shuffle(left)
        chance.shuffle(right)
        lefts.append(" ".join(left))
        rights.append(" ".join(right))
    return lefts + rights, shared / (shared + 2 * own)


def slow_minima(text: str, word_multipliers: np.ndarray, hash_parameters: np.ndarray) -> list[int]:
    """The minima by plain integers."""
    words, size = TextBatch.of([text]).words, len(word_multipliers)
    hashes = words.folded[words.kinds > 0].tolist()
    shingles = [hashes[at : at + size] for at in range(max(len(hashes) - size + 1, 1))] if hashes else []
    minima = [2**32 - 1] * hash_parameters.shape[1]
    for shingle in shingles:
        value = sum(word * int(factor) for word, factor in zip(shingle, word_multipliers, strict=False)) % 2**64
        value = int(mix64.py_func(np.uint64(value)))
        low, high = value % 2**32, value >> 32
        for k, (a, b, c) in enumerate(hash_parameters.T.tolist()):
            x = (low * a + high * b + c) % 2**32
            x = ((x ^ (x >> 16)) * 0x85EBCA6B) % 2**32
            minima[k] = min(minima[k], x ^ (x >> 15))
    return minima


@settings(max_examples=60)
@given(any_texts, st.integers(1, 7), st.integers(0, 2**63 - 1))
@pytest.mark.filterwarnings("ignore:overflow")
def test_kernel_agrees_with_plain_integers(text, shingle_words, seed):
    parameters = make_parameters(6, shingle_words, seed)
    with np.errstate(over="ignore"):
        assert minimum_hashes(TextBatch.of([text]).words, *parameters)[0].tolist() == slow_minima(text, *parameters)


@pytest.mark.parametrize(("shared", "own"), [(60, 20), (75, 10), (80, 5), (50, 25)])
def test_match_rate_follows_the_banding_formula(shared, own):
    pairs = 1_500
    texts, jaccard = texts_of_jaccard(shared, own, pairs, seed=shared)
    _, bands = score(texts, shingle_words=1)
    matched = (bands[:pairs] == bands[pairs:]).any(axis=1).mean()
    expected = 1 - (1 - jaccard**ROWS) ** BANDS
    assert abs(matched - expected) < 4.5 * np.sqrt(expected * (1 - expected) / pairs) + 0.002


@pytest.mark.parametrize(("shared", "own"), [(10, 90), (50, 50), (60, 20), (80, 5)])
def test_estimate_is_unbiased_and_as_sharp_as_its_bytes_allow(shared, own):
    pairs = 1_500
    texts, jaccard = texts_of_jaccard(shared, own, pairs, seed=own)
    signature, _ = score(texts, shingle_words=1)
    errors = estimate_jaccard(signature[:pairs], signature[pairs:]) - jaccard
    sigma = np.sqrt(jaccard * (1 - jaccard) / 112)
    assert abs(errors.mean()) < 4.5 * sigma / np.sqrt(pairs) + 0.001
    assert errors.std() < 1.1 * sigma + 0.005


def test_unrelated_texts_have_an_estimate_near_zero():
    signature, bands = score([make_prose(seed) for seed in range(400)])
    assert estimate_jaccard(signature[:200], signature[200:]).mean() < 0.02
    assert not (bands[:200] == bands[200:]).any()


def test_bytes_of_minima_are_evenly_spread():
    signature, _ = score([make_prose(seed, 60) for seed in range(1_000)])
    counts = np.bincount(signature.ravel(), minlength=256)
    expected = signature.size / 256
    assert ((counts - expected) ** 2 / expected).sum() < 600  # texts share a vocabulary: wider than chi square's 255 +- 23


def test_case_punctuation_and_layout_do_not_change_a_signature():
    plain = "every river begins as a small spring in the mountains above the village"
    shouted = 'EVERY river -- begins, as a\n\n"small" spring: in the MOUNTAINS above the village!!!'
    signature, bands = score([plain, shouted])
    assert (signature[0] == signature[1]).all() and (bands[0] == bands[1]).all()


def test_order_of_words_matters():
    signature, _ = score(["one two three four five six seven", "seven six five four three two one"])
    assert estimate_jaccard(signature[:1], signature[1:])[0] < 0.1


def test_short_text_is_one_shingle():
    _signature, bands = score(["hello there", "Hello, there!", "hello", "there hello", "hello there you"])
    assert (bands[0] == bands[1]).all()
    assert not any((bands[0] == bands[other]).any() for other in (2, 3, 4))


def test_text_without_words_has_no_signature():
    columns = SignatureScorer().score(TextBatch.of(["", "!!! ...", "word", "\n"]))
    assert columns["signature"].is_valid().to_pylist() == columns["bands"].is_valid().to_pylist() == [False, False, True, False]


def test_equal_minima_in_two_bands_hash_differently():
    bands = hash_bands(np.full((1, 112), 7, np.uint32), BANDS, 1)
    assert len(np.unique(bands)) == BANDS
    assert (hash_bands(np.full((1, 112), 7, np.uint32), BANDS, 2) != bands).all()


def test_band_covers_its_own_rows_only():
    minima = np.arange(112, dtype=np.uint32)[None].repeat(2, 0)
    minima[1, 3 * ROWS + 5] += 1
    changed = np.flatnonzero(np.not_equal(*hash_bands(minima, BANDS, 1)))
    assert changed.tolist() == [3]


def test_seeds_give_unrelated_signatures():
    text = [make_prose(3)]
    (first, _), (second, _) = score(text, seed=1), score(text, seed=2)
    assert estimate_jaccard(first, second)[0] < 0.1


def test_signatures_are_the_same_on_every_machine():
    """A ledger compares with signatures of earlier runs: these numbers may change only together with the scorer's version."""
    signature, bands = score(["Every river begins as a spring in the hills."])
    assert signature[0, :8].tolist() == [68, 254, 92, 213, 151, 127, 146, 19]
    assert int(bands[0, 0]) == 5077900050193835443


def test_estimate_corrects_for_chance_and_clips():
    ones, zeros = np.ones((1, 256), np.uint8), np.zeros((1, 256), np.uint8)
    assert estimate_jaccard(ones, ones)[0] == 1 and estimate_jaccard(ones, zeros)[0] == 0
    chance = zeros.copy()
    chance[0, 0] = 1
    assert estimate_jaccard(ones, chance)[0] == 0
    assert estimate_jaccard(ones, ones).dtype == np.float32
    assert estimate_jaccard(ones[:0], ones[:0]).shape == (0,)


def test_estimate_refuses_signatures_of_two_lengths():
    with pytest.raises(ValueError, match="one shape"):
        estimate_jaccard(np.zeros((2, 112), np.uint8), np.zeros((2, 100), np.uint8))


@settings(max_examples=40)
@given(st.lists(any_texts, max_size=6))
def test_a_text_is_signed_alike_alone_and_in_a_batch(texts):
    scorer = SignatureScorer()
    together = scorer.score(TextBatch.of(texts))
    for place, text in enumerate(texts):
        alone = scorer.score(TextBatch.of([text]))
        assert all(together[name][place] == alone[name][0] or not alone[name][0].is_valid for name in together)


@pytest.mark.parametrize(("bands", "rows"), [(1, 1), (14, 8), (20, 13), (450, 2)])
def test_columns_have_the_declared_widths(bands, rows):
    scorer = SignatureScorer(bands, rows)
    columns = scorer.score(TextBatch.of(["some words", ""]))
    schema = pa.schema([(name, column.type) for name, column in columns.items()])
    assert schema == scorer.fields == signature_fields(bands, rows)
    assert all(len(column) == 0 for column in scorer.score(TextBatch.of([])).values())


def test_version_names_every_setting():
    versions = {SignatureScorer(*arguments).version for arguments in [(), (13,), (14, 7), (14, 8, 4), (14, 8, 5, 2)]}
    assert len(versions) == 5


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "x " * 500_000])
def test_hostile_texts_are_signed_or_null(text):
    columns = SignatureScorer().score(TextBatch.of([text]))
    assert columns["signature"][0].is_valid == bool(TextBatch.of([text]).words.counts[0])


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 60), st.randoms(use_true_random=False))
def test_estimate_is_symmetric_bounded_and_one_for_equal_signatures(pairs, hashes, chance):
    left, right = (np.frombuffer(chance.randbytes(pairs * hashes), np.uint8).reshape(pairs, hashes) for _ in range(2))
    estimates = estimate_jaccard(left, right)
    assert (estimates == estimate_jaccard(right, left)).all()
    assert (estimates >= 0).all() and (estimates <= 1).all()
    assert (estimate_jaccard(left, left) == 1).all()


def test_one_changed_word_moves_the_estimate_by_its_five_shingles():
    words = [f"word{number}" for number in range(300)]
    changed = [*words[:150], "other", *words[151:]]
    signature, _ = score([" ".join(words), " ".join(changed)])
    assert abs(estimate_jaccard(signature[:1], signature[1:])[0] - 291 / 301) < 0.08
