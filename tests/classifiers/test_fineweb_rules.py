import pytest
from hypothesis import given, settings

from classifiers.datatrove_words import split_as_datatrove, terminal_punctuation
from classifiers.fineweb_rules import FineWebScorer
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose


def scores(text: str, words: str = "headwater") -> dict[str, float]:
    return {name.removeprefix("fineweb_"): column.to_pylist()[0] for name, column in FineWebScorer(words).score(TextBatch.of([text])).items()}


def slow_fineweb(text: str) -> dict[str, float]:
    """datatrove 0.10's `FineWebQualityFilter.filter`, returning what it compares."""
    lines = [line for line in text.split("\n") if line.strip() != ""]
    seen, duplicate_chars = set(), 0
    for line in lines:
        duplicate_chars += len(line) if line in seen else 0
        seen.add(line)
    words = len(TextBatch.of([text]).derive(split_as_datatrove).begins)
    return {
        "punctuated_line_share": sum(line.endswith(tuple(terminal_punctuation())) for line in lines) / max(len(lines), 1),
        "short_line_share": sum(len(line) <= 30 for line in lines) / max(len(lines), 1),
        "duplicate_line_char_share": duplicate_chars / max(len(text.replace("\n", "")), 1),
        "newlines_per_word": text.count("\n") / max(words, 1),
    }


@settings(max_examples=120)
@given(any_texts)
def test_by_datatroves_words_the_numbers_are_datatroves(text):
    assert scores(text, "datatrove") == pytest.approx(slow_fineweb(text), rel=1e-6)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, *(make_prose(seed) for seed in range(6)), "a.\na.\n\na.\r\n b! \n"])
def test_hostile_texts_and_prose_by_datatroves_words(text):
    assert scores(text, "datatrove") == pytest.approx(slow_fineweb(text), rel=1e-6)


@pytest.mark.parametrize(
    "line", ["It ends.", "It ends.  ", 'He said "it ends."', "(It ends.)", "**It ends.**", "It ends.\r", "終わった。", "終わった。」", "ختم۔"]
)
def test_space_and_closing_marks_do_not_hide_punctuation(line):
    assert scores(line)["punctuated_line_share"] == 1


@pytest.mark.parametrize("line", ["It ends", "It ends,", "It ends.x", "...)x", '"', "終わった"])
def test_lines_without_punctuation(line):
    assert scores(line)["punctuated_line_share"] == 0


def test_wide_characters_count_as_two_of_a_lines_thirty():
    assert scores("a" * 30)["short_line_share"] == 1 and scores("a" * 31)["short_line_share"] == 0
    assert scores("漢" * 15)["short_line_share"] == 1 and scores("漢" * 16)["short_line_share"] == 0
    assert scores("漢" * 16, "datatrove")["short_line_share"] == 1
    assert scores("é" * 30)["short_line_share"] == 1


def test_blank_lines_count_as_newlines_only():
    made = scores("word\n\n \n\nword")
    assert made["newlines_per_word"] == 2
    assert made["duplicate_line_char_share"] == pytest.approx(4 / 9)


def test_texts_do_not_see_each_others_lines():
    columns = FineWebScorer().score(TextBatch.of(["the same line", "the same line"]))
    assert columns["fineweb_duplicate_line_char_share"].to_pylist() == [0, 0]


def test_empty_texts_score_zero():
    assert set(scores("").values()) == set(scores(" ").values()) == {0}


def test_the_splitter_stands_in_the_version():
    assert FineWebScorer().version != FineWebScorer("datatrove").version
