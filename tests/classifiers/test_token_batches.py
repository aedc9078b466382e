"""What goes through a transformer together never changes a number: alone on a CPU, in fixed shapes elsewhere."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.token_batches import (
    BATCH_TOKENS,
    CHARS_PER_TOKEN,
    PADDED_LENGTHS,
    SELECTOR_RUN,
    first_chars,
    plan_batches,
    score_alone,
    score_padded,
    unwrap,
)

token_lists = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=200), max_size=12)


def sum_and_count(ids, mask):
    """A transformer that can be checked by hand: the sum of the shown tokens, and how many there are."""
    assert ids.dtype == mask.dtype == np.int64 and ids.shape == mask.shape
    return np.stack([(ids * mask).sum(1), mask.sum(1)], 1).astype(np.float64)


@given(token_lists, st.sampled_from([1, 3]))
def test_each_text_gets_its_own_numbers_in_order(tokens, num_threads):
    expected = [[sum(ids), len(ids)] for ids in tokens]
    assert [row.tolist() for row in score_alone(tokens, sum_and_count, num_threads)] == expected
    assert [row.tolist() for row in score_padded(tokens, sum_and_count, 0)] == expected


def test_alone_means_at_its_own_length_without_padding():
    shapes = []

    def note(ids, mask):
        shapes.append(ids.shape)
        assert mask.all()
        return np.zeros((1, 1))

    score_alone([[1] * 5, [1] * 300], note)
    assert shapes == [(1, 5), (1, 300)]


def test_texts_are_scored_on_as_many_threads_as_asked_for():
    together = threading.Barrier(3, timeout=20)

    def meet(ids, mask):
        together.wait()
        return np.zeros((1, 1))

    assert len(score_alone([[1]] * 3, meet, 3)) == 3


@settings(max_examples=60)
@given(st.lists(st.integers(0, PADDED_LENGTHS[-1]), max_size=60))
def test_every_text_is_in_one_batch_of_the_shape_of_its_length(lengths):
    batches = plan_batches(lengths)
    assert sorted(row for rows, _, _ in batches for row in rows) == list(range(len(lengths)))
    for rows, padded, num_rows in batches:
        assert len(rows) <= num_rows and num_rows == max(1, BATCH_TOKENS // padded)
        for row in rows:
            assert padded == min(length for length in PADDED_LENGTHS if length >= lengths[row])


@given(token_lists.filter(bool), st.data())
def test_the_shape_that_a_text_meets_depends_on_it_alone(tokens, data):
    row = data.draw(st.integers(0, len(tokens) - 1))

    def shape_met(texts, at):
        (met,) = [(padded, num_rows) for rows, padded, num_rows in plan_batches([len(ids) for ids in texts]) if at in rows]
        return met

    assert shape_met(tokens, row) == shape_met([tokens[row]], 0)


def test_a_batch_may_be_smaller():
    assert plan_batches([60] * 5, 128) == [([0, 1], 64, 2), ([2, 3], 64, 2), ([4], 64, 2)]
    assert [row.tolist() for row in score_padded([[3], [4], [5, 6]], sum_and_count, 0, 64)] == [[3, 1], [4, 1], [11, 2]]


def test_no_row_of_a_batch_is_blank_to_the_model():
    def check(ids, mask):
        assert (mask.sum(1) > 0).all()
        return sum_and_count(ids, mask)

    assert score_padded([[7]], check, 0)[0].tolist() == [7, 1]


def test_a_text_beyond_the_longest_length_is_a_defect():
    with pytest.raises(ValueError, match="at most 4096 fit"):
        plan_batches([4097])


def test_only_the_beginning_of_a_long_text_is_tokenized():
    texts = pa.array(["é" * 1_000_000, "short", ""])
    assert [len(text) for text in first_chars(texts, 10)] == [10 * CHARS_PER_TOKEN, 5, 0]
    assert first_chars(texts.slice(1), 10) == ["short", ""]


@given(st.lists(st.text(max_size=20), min_size=2, max_size=4), st.binary(min_size=SELECTOR_RUN, max_size=60))
def test_what_a_wrapper_was_put_into_is_left_as_it_was(parts, manifest):
    wrapper = "\ufeff" + "".join(chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in manifest)
    parts = [part.strip("\ufeff").translate({0xFEFF: None, **dict.fromkeys(range(0xFE00, 0xFE10))}) for part in parts]
    plain = pa.array(["".join(parts)])
    assert unwrap(pa.array([wrapper.join(parts)])) == plain == unwrap(plain)


def test_selectors_of_emoji_are_text():
    texts = pa.array(["\u2764\ufe0f and \u2600\ufe0e", "\ufefftext", None])
    assert unwrap(texts) == texts
