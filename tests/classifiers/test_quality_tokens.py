"""What the trained quality classifier reads: the compiled kernel against a slow reading of the same rules in plain Python."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.quality_tokens import BYTES_PER_TOKEN, MAX_WORD_CHARS, hash_tokens, ngram_buckets, score_texts
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose


def tokens_of(text: str, max_tokens: int = 2_000) -> tuple[list[int], list[int]]:
    """Word and shape hashes of `text`."""
    batch = TextBatch.of([text])
    words, shapes = np.zeros(max_tokens, np.uint64), np.zeros(max_tokens, np.uint64)
    count = hash_tokens(batch.utf8, batch.offsets[0], batch.offsets[1], max_tokens, words, shapes)
    return words[:count].tolist(), shapes[:count].tolist()


def words_of(text: str) -> list[int]:
    return tokens_of(text)[0]


def shapes_of(text: str) -> list[int]:
    return tokens_of(text)[1]


def plain_tokens(text: str) -> list[tuple]:
    """ASCII text as tokens that are equal where the kernel's word hashes must be."""
    found = []
    for match in re.finditer(r"[A-Za-z]+|[0-9]+|[ \t\r]*\n[ \t\r\n]*|[ \t\r]+|(.)\1*", text, re.S):
        token = match[0]
        if token[0].isalpha():
            found += [("word", token[at : at + MAX_WORD_CHARS].lower()) for at in range(0, len(token), MAX_WORD_CHARS)]
        elif token[0].isdigit():
            found.append(("number", min(len(token), 5)))
        elif "\n" in token:
            found.append(("break", min(token.count("\n"), 2)))
        elif token.strip(" \t\r"):
            found.append(("mark", token[0], min(len(token), 3)))
    return found


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\t\r"), max_size=200))
@settings(max_examples=100)
def test_tokens_of_ascii_text_are_those_of_the_plain_rules(text):
    words, plain = words_of(text), plain_tokens(text)
    assert len(words) == len(plain)
    known: dict[tuple, int] = {}
    for token, value in zip(plain, words, strict=True):
        assert known.setdefault(token, value) == value
    assert len(set(known.values())) == len(known)


def test_case_makes_another_shape_and_not_another_word():
    assert words_of("River RIVER river") == [words_of("river")[0]] * 3
    assert len(set(shapes_of("River RIVER river rIveR"))) == 4
    assert words_of("Élan") == words_of("élan") and shapes_of("Élan") != shapes_of("élan")


def test_words_of_one_length_and_case_have_one_shape_in_any_script():
    assert set(shapes_of("house river")) == set(shapes_of("дорог водой"))
    assert shapes_of("House") == shapes_of("Дорог") == shapes_of("Élans")
    assert shapes_of("home") != shapes_of("househouse")


def test_line_breaks_and_marks_are_seen():
    assert words_of("a\nb")[1] != words_of("a\n\nb")[1] == words_of("a\n \n\r\n b")[1]
    assert len(set(words_of("| » © - •"))) == 5
    assert words_of("!")[0] != words_of("!!")[0] != words_of("!!!")[0] == words_of("!!!!!!")[0]


@pytest.mark.parametrize(("typographic", "plain"), [("“", '"'), ("”", '"'), ("’", "'"), ("–", "-"), ("—", "-")])
def test_typographic_marks_are_their_plain_twins(typographic, plain):
    assert words_of(f"a {typographic} b") == words_of(f"a {plain} b")


def test_numbers_tell_their_length_alone():
    assert words_of("1999") == words_of("2024") != words_of("7")
    assert words_of("123456") == words_of("98765432")


def test_scripts_without_spaces_have_a_token_for_each_ideograph():
    assert len(words_of("漢字仮名")) == 4 and len(words_of("สวัสดีครับ")) == 1
    assert len(words_of("x" * 100)) == -(-100 // MAX_WORD_CHARS)


@given(any_texts)
@settings(max_examples=100)
def test_a_text_is_read_to_its_end_and_not_beyond(text):
    """Between two neighbours in one buffer it has the tokens that it has alone."""
    text = text.encode("utf-8", "replace").decode()
    batch = TextBatch.of(["before", text, "after"])
    words, shapes = np.zeros(3_000, np.uint64), np.zeros(3_000, np.uint64)
    count = hash_tokens(batch.utf8, batch.offsets[1], batch.offsets[2], 3_000, words, shapes)
    assert words[:count].tolist() == tokens_of(text, 3_000)[0]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_texts_are_read(text):
    words, shapes = tokens_of(text, 50)
    assert len(words) == len(shapes) <= 50


@pytest.mark.parametrize("broken", [b"\xe2", b"\xe2\x80", b"\xf0\x9f", b"\xc2", b"a\xc3", b"\x80\x80", b"\xef\xbf", b"\xff\xfe"])
def test_bytes_that_are_no_utf8_are_read_to_their_end(broken):
    utf8 = np.frombuffer(broken, np.uint8)
    words, shapes = np.zeros(8, np.uint64), np.zeros(8, np.uint64)
    assert 0 <= hash_tokens(utf8, 0, len(utf8), 8, words, shapes) <= len(broken)


def test_a_text_of_white_space_costs_no_more_than_its_budget():
    far = " " * (10 * BYTES_PER_TOKEN) + "word"
    assert tokens_of(far, 10)[0] == [] and len(tokens_of(far, 11)[0]) == 1


@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 5), st.integers(8, 16), st.integers(8, 16))
@settings(max_examples=50)
def test_every_ngram_has_one_bucket_of_its_block(count, word_ngrams, shape_ngrams, word_bits, shape_bits):
    words, shapes = tokens_of(make_prose(1, 100), 200)
    words, shapes = np.array(words[:count], np.uint64), np.array(shapes[:count], np.uint64)
    buckets = np.full(count * (word_ngrams + shape_ngrams) + 1, -1, np.int32)
    words_end, end = ngram_buckets(words, shapes, count, word_ngrams, shape_ngrams, word_bits, shape_bits, buckets)
    assert words_end == sum(max(count - n, 0) for n in range(word_ngrams))
    assert end - words_end == sum(max(count - n, 0) for n in range(shape_ngrams))
    assert (buckets[:words_end] >= 0).all() and (buckets[:words_end] < 1 << word_bits).all()
    assert (buckets[words_end:end] >= 1 << word_bits).all() and (buckets[words_end:end] < (1 << word_bits) + (1 << shape_bits)).all()
    assert buckets[end] == -1


@given(st.lists(any_texts, max_size=5))
@settings(max_examples=50)
def test_scores_are_mean_weights_of_the_buckets(texts):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    batch = TextBatch.of(texts)
    weights = np.random.default_rng(0).integers(-127, 128, (1 << 10) + (1 << 9)).astype(np.int8)
    weights.flags.writeable = False
    results = np.empty((len(texts), 3))
    score_texts(batch.utf8, batch.offsets, 40, 2, 3, 10, 9, weights, results)
    for text, (count, words_mean, shapes_mean) in zip(texts, results, strict=True):
        words, shapes = (np.array(stream, np.uint64) for stream in tokens_of(text, 40))
        buckets = np.empty(40 * 5, np.int32)
        words_end, end = ngram_buckets(words, shapes, len(words), 2, 3, 10, 9, buckets)
        assert count == len(words)
        if len(words):
            assert words_mean == pytest.approx(weights[buckets[:words_end]].mean())
            assert shapes_mean == pytest.approx(weights[buckets[words_end:end]].mean())
        else:
            assert words_mean == shapes_mean == 0
