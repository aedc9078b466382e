import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.gopher_repetition import DUPLICATE_SIZES, REPETITION_COLUMNS, TOP_SIZES, GopherRepetitionScorer, measure_repetition
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose, repetitive_texts


def find_duplicates(elements: list[str]) -> tuple[int, int]:
    seen, duplicate_elements, duplicate_chars = set(), 0, 0
    for element in elements:
        if element in seen:
            duplicate_elements += 1
            duplicate_chars += len(element)
        seen.add(element)
    return duplicate_elements, duplicate_chars


def slow_repetition(text: str) -> dict[str, float]:
    """datatrove 0.10's `GopherRepetitionFilter.filter`, returning what it compares; n-grams are compared as tuples of words, two for one of ideographs."""
    size, result = max(len(text), 1), {}
    for name, elements in (("line", re.split(r"\n+", text)), ("paragraph", re.split(r"\n{2,}", text.strip()))):
        duplicates, chars = find_duplicates(elements)
        result[f"duplicate_{name}_share"] = duplicates / len(elements)
        result[f"duplicate_{name}_char_share"] = chars / size
    split, data = TextBatch.of([text]).words, text.encode()
    words = [data[b:e].decode() for b, e in zip(split.begins, split.ends, strict=True)]
    per_word = 2 if sum(len(word) == 1 and word >= "\u3000" for word in words) * 2 > len(words) else 1
    for n in TOP_SIZES:
        span = n * per_word
        grams = Counter((" " if per_word == 1 else "").join(words[i : i + span]) for i in range(len(words) - span + 1))
        top, count = grams.most_common(1)[0] if grams else ("", 0)
        result[f"top_{n}gram_char_share"] = len(top) * count / size
    for n in DUPLICATE_SIZES:
        unique, repeated_chars, at = set(), 0, 0
        span = n * per_word
        while at < len(words) - span + 1:
            gram = tuple(words[at : at + span])
            if gram in unique:
                repeated_chars += len("".join(gram))
                at += span
            else:
                unique.add(gram)
                at += 1
        result[f"duplicate_{n}gram_char_share"] = repeated_chars / size
    return result


def measure(text: str) -> dict[str, float]:
    return {name: column.to_pylist()[0] for name, column in GopherRepetitionScorer().score(TextBatch.of([text])).items()}


@settings(max_examples=300)
@given(any_texts)
def test_kernel_agrees_with_datatroves_definitions(text):
    assert measure(text) == pytest.approx(slow_repetition(text), rel=1e-6)


@settings(max_examples=300)
@given(st.lists(repetitive_texts, min_size=1, max_size=6).map("".join))
def test_kernel_agrees_where_everything_repeats(text):
    assert measure(text) == pytest.approx(slow_repetition(text), rel=1e-6)


@settings(max_examples=100)
@given(st.lists(st.sampled_from("ab"), max_size=120), st.integers(1, 12))
def test_kernel_agrees_on_two_words_in_any_order_and_on_loops(letters, loops):
    text = " ".join(letters * loops)
    assert measure(text) == pytest.approx(slow_repetition(text), rel=1e-6)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, *(make_prose(seed) for seed in range(8)), make_prose(1, 60) * 6])
def test_kernel_agrees_on_prose_and_on_hostile_texts(text):
    assert measure(text) == pytest.approx(slow_repetition(text), rel=1e-6)


def test_a_repeated_line_counts_once_it_was_seen():
    scores = measure("same\nother\nsame\nsame")
    assert scores["duplicate_line_share"] == 0.5
    assert scores["duplicate_line_char_share"] == pytest.approx(8 / 20)


def test_lines_differing_in_one_byte_are_different():
    lines = [f"This is line number {number:05d} of a long list of lines." for number in range(3_000)]
    assert measure("\n".join(lines))["duplicate_line_share"] == 0
    assert measure("\n".join([*lines, lines[17]]))["duplicate_line_share"] == pytest.approx(1 / 3_001)


def test_paragraphs_are_split_in_the_stripped_text_and_lines_in_the_whole():
    scores = measure("\n\na\nb\n\n\na\nb\n\n")
    assert scores["duplicate_paragraph_share"] == 0.5
    assert scores["duplicate_line_share"] == pytest.approx(3 / 6)  # "", a, b, a, b, "": the last three occurred before


def test_single_newlines_belong_to_their_paragraph():
    assert measure("a\nb\n\na b\n\na\nb")["duplicate_paragraph_share"] == pytest.approx(1 / 3)


def test_most_frequent_gram_is_the_first_among_equals():
    text = "long words one two long words x one two y"
    assert measure(text)["top_2gram_char_share"] == pytest.approx(len("long words") * 2 / len(text))


def test_text_that_repeats_nothing_keeps_the_share_of_its_first_gram():
    text = "every word here differs"
    assert measure(text)["top_2gram_char_share"] == pytest.approx(len("every word") / len(text))
    assert measure("lonely")["top_2gram_char_share"] == 0


def test_grams_are_compared_by_their_words_in_their_own_case():
    assert measure("a bc d e f ab c d e f")["duplicate_5gram_char_share"] == 0
    assert measure("Now we go to it now we go to it")["duplicate_5gram_char_share"] == 0
    assert measure("now we go to it now we go to it")["duplicate_5gram_char_share"] == pytest.approx(11 / 31)


def test_a_loop_is_nearly_all_duplicate():
    scores = measure("I cannot help with that request today. " * 50)
    assert all(scores[f"duplicate_{n}gram_char_share"] > 0.75 for n in DUPLICATE_SIZES)


def test_duplicate_grams_never_exceed_the_text():
    columns = measure_repetition(TextBatch.of([*HOSTILE_TEXTS, "a " * 999, "漢" * 999]))
    assert all((columns[f"duplicate_{n}gram_char_share"] <= 1).all() for n in DUPLICATE_SIZES)


def test_longer_grams_never_repeat_where_no_shorter_one_does():
    columns = measure_repetition(TextBatch.of([make_prose(seed, 80) for seed in range(200)]))
    none_of_five = columns["duplicate_5gram_char_share"] == 0
    assert none_of_five.any() and (columns["duplicate_10gram_char_share"][none_of_five] == 0).all()


@pytest.mark.parametrize("unit", ["word", "a ", "ab cd ", "x\n", "\n", "漢", ". "])
def test_megabytes_of_repetition_are_measured(unit):
    """A quadratic scan would take hours here and hit the time limit of the test run."""
    scores = measure(unit * (2_000_000 // len(unit)))
    assert all(np.isfinite(value) and value >= 0 for value in scores.values())


@settings(max_examples=60)
@given(st.lists(any_texts, max_size=6))
def test_a_text_is_measured_alike_alone_and_in_a_batch(texts):
    together = measure_repetition(TextBatch.of(texts))
    for place, text in enumerate(texts):
        for name, column in measure_repetition(TextBatch.of([text])).items():
            assert together[name][place] == column[0]


def test_columns_have_the_declared_types():
    scorer = GopherRepetitionScorer()
    columns = scorer.score(TextBatch.of(["one", "two"]))
    assert pa.schema([(name, column.type) for name, column in columns.items()]) == scorer.fields
    assert tuple(columns) == REPETITION_COLUMNS
    assert all(len(column) == 0 for column in scorer.score(TextBatch.of([])).values())


@pytest.mark.parametrize("length", range(1, 26))
def test_lines_that_differ_in_any_one_byte_are_told_apart(length):
    """Lines are hashed eight bytes at a time with a tail: no place of either may be passed over."""
    line = "abcdefghijklmnopqrstuvwxyz"[:length]
    changed = [line[:place] + "!" + line[place + 1 :] for place in range(length)]
    assert measure("\n".join([line, *changed]))["duplicate_line_share"] == 0
    assert measure("\n".join([line, *changed, line]))["duplicate_line_share"] == pytest.approx(1 / (length + 2))


def test_carriage_returns_belong_to_their_lines():
    assert measure("one\r\ntwo\r\none\r\n")["duplicate_line_share"] == pytest.approx(1 / 4)
    assert measure("one\r\n\r\none")["duplicate_paragraph_share"] == 0  # as in datatrove, only newlines in a row end a paragraph


def test_characters_are_code_points_not_bytes():
    assert measure("漢é👍\n漢é👍")["duplicate_line_char_share"] == pytest.approx(3 / 7)


def test_punctuation_takes_part_in_grams():
    assert measure("- , - , - , - ,")["top_2gram_char_share"] == pytest.approx(3 * 4 / 15)
