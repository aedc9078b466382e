import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from classifiers.gopher_quality import STOP_WORDS, GopherQualityScorer, measure_quality
from classifiers.text_batch import TextBatch
from classifiers.words import COMPLEX, IDEOGRAPH, KIND_LETTERS, KIND_SYMBOL, TABLE_SIZE, code_point_tables
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose


def pieces_of(text: str) -> list[tuple[str, int]]:
    words, data = TextBatch.of([text]).words, text.encode()
    return [(data[b:e].decode(), int(kind)) for b, e, kind in zip(words.begins, words.ends, words.kinds, strict=True)]


def is_syllabic(word: str) -> bool:
    """Whether a word begins with a character that is a word or a syllable, or is of a script without spaces."""
    name = unicodedata.name(word[0], "")
    ideograph = code_point_tables()[0][ord(word[0])] == IDEOGRAPH if ord(word[0]) < TABLE_SIZE else ord(word[0]) < 0x40000
    return name.startswith("HANGUL") or ideograph or (ord(word[0]) < TABLE_SIZE and code_point_tables()[0][ord(word[0])] == COMPLEX)


def slow_quality(text: str) -> dict[str, float]:
    """datatrove 0.10's `GopherQualityFilter.filter`, returning what it compares, per word in the paper's sense."""
    pieces = pieces_of(text)
    words = [piece for piece, _ in pieces]
    non_symbol_words = [piece for piece, kind in pieces if kind != KIND_SYMBOL]
    lines = text.splitlines()
    free_symbols = [chunk for chunk in text.split() if pieces_of(chunk) and not any(kind for _, kind in pieces_of(chunk))]
    syllabic = sum(map(is_syllabic, non_symbol_words)) * 2 > len(non_symbol_words)
    num_words, num_lines = max(len(non_symbol_words) + len(free_symbols), 1), max(len(lines), 1)
    return {
        "mean_word_chars": None if syllabic else sum(map(len, non_symbol_words)) / max(len(non_symbol_words), 1),
        "hash_word_share": text.count("#") / num_words,
        "ellipsis_word_share": (text.count("...") + text.count("…")) / num_words,
        "bullet_line_share": sum(s.lstrip().startswith(("•", "-")) for s in lines) / num_lines,
        "ellipsis_line_share": sum(s.rstrip().endswith(("...", "…")) for s in lines) / num_lines,
        "alpha_word_share": sum(kind == KIND_LETTERS for _, kind in pieces) / num_words,
        "stop_words": len(set(STOP_WORDS) & set(words)),
    }


def measure(text: str) -> dict[str, float]:
    return {name: column.to_pylist()[0] for name, column in GopherQualityScorer().score(TextBatch.of([text])).items()}


def without_null(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if score is not None}


@settings(max_examples=400)
@given(any_texts)
def test_kernel_agrees_with_datatroves_definitions(text):
    assert without_null(measure(text)) == pytest.approx(without_null(slow_quality(text)), rel=1e-6)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, *(make_prose(seed) for seed in range(8))])
def test_kernel_agrees_on_prose_and_on_hostile_texts(text):
    assert without_null(measure(text)) == pytest.approx(without_null(slow_quality(text)), rel=1e-6)


def test_letters_are_what_python_calls_letters():
    text = "word 42 naïve été слово ২৩ שלום 한국 x1 ½ e\u0301 สวัสดี 漢"
    assert [kind == KIND_LETTERS for _, kind in pieces_of(text)] == [any(c.isalpha() for c in piece) for piece, _ in pieces_of(text)]


def test_every_stop_word_is_found_and_nothing_else():
    assert measure(" ".join(STOP_WORDS))["stop_words"] == 8
    assert measure("The Be TO oft andy thatch haven without")["stop_words"] == 0  # as in datatrove, in lower case only
    assert measure("the the the to")["stop_words"] == 2


def test_free_standing_punctuation_counts_as_a_word_without_letters():
    scores = measure("alpha, (beta) - 7 !")
    assert scores["alpha_word_share"] == pytest.approx(2 / 5)
    assert scores["mean_word_chars"] == pytest.approx(10 / 3)


def test_ordinary_punctuation_does_not_dilute_prose():
    assert measure('"Well," she said; "it\'s late (too late)..."')["alpha_word_share"] == 1


def test_a_text_of_symbols_has_no_words_with_letters():
    scores = measure("# # # ...")
    assert (scores["alpha_word_share"], scores["hash_word_share"], scores["ellipsis_word_share"]) == (0, 0.75, 0.25)


@pytest.mark.parametrize(
    ("line", "is_bullet"),
    [("- item", True), ("  • item", True), ("\u3000- item", True), ("—dash", False), ("item -", False), ("\u200b- item", False), ("--", True)],
)
def test_bullet_lines_begin_with_a_bullet_or_hyphen(line, is_bullet):
    assert measure(line)["bullet_line_share"] == float(is_bullet)


@pytest.mark.parametrize(
    ("line", "is_ellipsis"),
    [("so...", True), ("so…  ", True), ("so.. .", False), ("so....", True), ("...so", False), ("…\u00a0", True), ("...\u200d", False)],
)
def test_ellipsis_lines_end_in_an_ellipsis(line, is_ellipsis):
    assert measure(line)["ellipsis_line_share"] == float(is_ellipsis)


def test_lines_are_those_of_splitlines():
    text = "- a\r\n- b\rc\x0b- d\u2028e\n\n"
    assert measure(text)["bullet_line_share"] == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    "text", ["水は低きに流れる。" * 20, "河水流向大海。" * 20, "강물은 바다로 흘러간다. " * 20, "แม่น้ำไหลลงสู่ทะเล " * 20, "ទន្លេហូរទៅសមុទ្រ " * 20]
)
def test_the_length_of_a_word_says_nothing_of_scripts_of_syllables_and_ideographs(text):
    assert measure(text)["mean_word_chars"] is None
    assert measure(text)["alpha_word_share"] > 0.8


@pytest.mark.parametrize("text", ["Река течёт к морю.", "ποταμός", "نهر يجري", "नदी समुद्र की ओर", "A river 河 runs to the sea 海."])
def test_the_length_of_a_word_is_told_of_alphabets(text):
    assert measure(text)["mean_word_chars"] > 1


def test_by_datatroves_words_punctuation_marks_are_words():
    columns = {
        name: column.to_pylist()[0] for name, column in GopherQualityScorer("datatrove").score(TextBatch.of(["Well , don't # be that."])).items()
    }
    # Tokens: Well , do n't # be that . Of these eight, five hold a letter; seven letters and more of words: 4 + 2 + 3 + 2 + 4.
    assert columns["alpha_word_share"] == pytest.approx(5 / 8)
    assert columns["hash_word_share"] == pytest.approx(1 / 8)
    assert columns["mean_word_chars"] == pytest.approx(15 / 5)
    assert columns["stop_words"] == 2


def test_the_splitter_stands_in_the_version():
    assert "headwater-words" in GopherQualityScorer().version
    assert "datatrove-words" in GopherQualityScorer("datatrove").version
    with pytest.raises(ValueError, match="words must be one of headwater, datatrove, not 'spacy'"):
        GopherQualityScorer("spacy")


def test_empty_text_scores_zero_throughout():
    assert set(measure("").values()) == set(measure(" \n ").values()) == {0}


def test_columns_have_the_declared_types():
    scorer = GopherQualityScorer()
    columns = scorer.score(TextBatch.of(["one", "two"]))
    assert pa.schema([(name, column.type) for name, column in columns.items()]) == scorer.fields
    assert all(len(column) == 2 and column.null_count == 0 for column in columns.values())


def test_an_empty_batch_gives_empty_columns():
    assert all(len(column) == 0 for column in measure_quality(TextBatch.of([])).values())


def test_measures_are_computed_once_a_batch():
    batch = TextBatch.of(["a b c"])
    assert batch.derive(measure_quality) is batch.derive(measure_quality)
    assert isinstance(batch.derive(measure_quality)["stop_words"], np.ndarray)
