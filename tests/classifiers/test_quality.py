import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.gopher_quality import measure_quality
from classifiers.gopher_repetition import measure_repetition
from classifiers.quality import LIMITS, QualityScorer, grade
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

FLAWLESS = dict.fromkeys(LIMITS, 0.0) | {"mean_word_chars": 4.7, "alpha_word_share": 1.0}


def grade_one(words: int = 500, **changed: float) -> float:
    columns = {name: np.array([value], np.float32) for name, value in (FLAWLESS | changed).items()}
    return float(grade(np.array([words]), columns)[0])


def quality(*texts: str) -> list[float]:
    return QualityScorer().score(TextBatch.of(texts))["quality"].to_pylist()


def test_flawless_text_has_quality_one():
    assert grade_one() == 1


@pytest.mark.parametrize("name", LIMITS)
@given(low=st.floats(0, 3, width=32), high=st.floats(0, 3, width=32))
@settings(max_examples=25)
def test_quality_never_rises_with_a_fault(name, low, high):
    low, high = sorted((low, high))
    assert grade_one(**{name: low}) >= grade_one(**{name: high})


@given(st.floats(0, 40, width=32), st.floats(0, 40, width=32))
def test_quality_never_rises_with_the_length_of_words(low, high):
    low, high = sorted((low, high))
    assert grade_one(mean_word_chars=low) >= grade_one(mean_word_chars=high)


@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_quality_never_falls_with_the_share_of_words_with_letters(low, high):
    low, high = sorted((low, high))
    assert grade_one(alpha_word_share=low) <= grade_one(alpha_word_share=high)


@given(st.integers(0, 50_000), st.integers(0, 50_000))
def test_quality_never_falls_with_length_up_to_fifty_thousand_words(low, high):
    low, high = sorted((low, high))
    assert grade_one(words=low) <= grade_one(words=high)


@pytest.mark.parametrize("name", LIMITS)
def test_one_statistic_at_its_limit_costs_a_quarter_and_more(name):
    assert 0.6 < grade_one(**{name: LIMITS[name]}) < 0.75
    assert grade_one(**{name: 2 * LIMITS[name]}) < 0.5


@settings(max_examples=100)
@given(any_texts)
def test_quality_lies_between_zero_and_one(text):
    assert 0 <= quality(text)[0] <= 1


def test_text_without_words_has_quality_zero():
    assert quality("", "!!!", " \n") == [0, 0, 0]


def test_prose_ranks_above_loops_lists_noise_and_stubs():
    loop = "I cannot help with that request today. " * 40
    bullets = "\n".join(f"- thing {n}..." for n in range(100))
    noise = " ".join(f"{n * 7919:x}#{n}" for n in range(200))
    ranked = quality(make_prose(1, 400), loop, bullets, noise, "Too short.")
    assert ranked[0] > 0.8 and max(ranked[1:]) < 0.5


def test_quality_is_the_grade_of_the_gopher_columns():
    batch = TextBatch.of([make_prose(seed, 20 * seed) for seed in range(12)])
    expected = grade(batch.words.counts, {**measure_quality(batch), **measure_repetition(batch)})
    assert QualityScorer().score(batch)["quality"].to_numpy().tolist() == expected.tolist()


@settings(max_examples=40)
@given(st.lists(any_texts, max_size=6))
def test_a_text_is_graded_alike_alone_and_in_a_batch(texts):
    assert quality(*texts) == [quality(text)[0] for text in texts]


def test_column_has_the_declared_type():
    column = QualityScorer().score(TextBatch.of(list(HOSTILE_TEXTS)))["quality"]
    assert column.type == QualityScorer.fields.field("quality").type == pa.float32()
    assert column.null_count == 0 and len(column) == len(HOSTILE_TEXTS)
