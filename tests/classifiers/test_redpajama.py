"""Every signal against a slow reference in plain Python, written after the definitions of RedPajama-Data-v2."""

import math
import re
import string
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.redpajama import BULLETS, COUNTS, NGRAM_COLUMNS, STOP_WORDS, TERMINALS, TEXT_COLUMNS, RedPajamaScorer
from classifiers.scorers import SCORER_NAMES, ScoreSettings, score_fields
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose, repetitive_texts

NAMES = (*TEXT_COLUMNS, *NGRAM_COLUMNS)


def normalise(text: str) -> str:
    kept = "".join(character for character in text if character not in string.punctuation)
    spaced = re.sub(r"\s+", " ", kept.strip())
    # Character by character: the scorer says that it does no more.
    return "".join(unicodedata.normalize("NFD", character.lower()) for character in spaced)


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def top_share(words: list[str], n: int) -> float:
    grams = Counter(zip(*(words[k:] for k in range(n)), strict=False)).most_common(1)
    if not grams or grams[0][1] < 2:
        return 0.0
    gram, count = grams[0]
    return sum(map(len, gram)) * count / sum(map(len, words))


def duplicate_share(words: list[str], n: int) -> float:
    grams = list(zip(*(words[k:] for k in range(n)), strict=False))
    often = Counter(grams)
    covered = {place + k for place, gram in enumerate(grams) if often[gram] > 1 for k in range(n)}
    return sum(len(words[place]) for place in covered) / sum(map(len, words)) if words else 0.0


def expected(text: str) -> dict[str, float | None]:
    raw, normal = re.findall(r"\w+|[^\w\s]+", text), normalise(text)
    words, lines = normal.split(), re.findall(r"[^\n]*\n|[^\n]+$", text)
    normal_lines = [normalise(line) for line in lines]
    counts = Counter(words)
    made = {
        "ccnet_length": len(text),
        "ccnet_nlines": len(lines),
        "rps_doc_word_count": len(words),
        "rps_doc_num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "rps_doc_mean_word_length": mean([len(word) for word in words]),
        "rps_doc_symbol_to_word_ratio": sum(map(text.count, ("#", "...", "…"))) / len(raw) if raw else None,
        "rps_doc_frac_lines_end_with_ellipsis": mean([line.rstrip().endswith(("...", "…")) for line in lines]),
        "rps_doc_frac_no_alph_words": mean([not re.search("[a-zA-Z]", word) for word in raw]),
        "rps_doc_frac_unique_words": len(counts) / len(words) if words else None,
        "rps_doc_unigram_entropy": -sum(n / len(words) * math.log(n / len(words)) for n in counts.values()) if words else None,
        "rps_doc_frac_all_caps_words": mean([word.isupper() for word in raw]),
        "rps_doc_curly_bracket": (text.count("{") + text.count("}")) / len(text) if text else 0.0,
        "rps_doc_lorem_ipsum": normal.count("lorem ipsum") / len(normal) if normal else 0.0,
        "rps_doc_stop_word_fraction": sum(word in STOP_WORDS for word in raw) / len(raw) if words else 0.0,
        "rps_lines_ending_with_terminal_punctution_mark": mean([line.rstrip().endswith(tuple(TERMINALS)) for line in lines]),
        "rps_lines_javascript_counts": sum(line.split().count("javascript") for line in normal_lines),
        "rps_lines_num_words": mean([len(line.split()) for line in normal_lines]),
        "rps_lines_numerical_chars_fraction": mean([sum(map(str.isnumeric, line)) / len(line) if line else 0.0 for line in normal_lines]),
        "rps_lines_start_with_bulletpoint": mean([line.lstrip().startswith(tuple(BULLETS)) for line in lines]),
        "rps_lines_uppercase_letter_fraction": mean([sum(map(str.isupper, line)) / len(line) for line in lines]),
    }
    made |= {f"rps_doc_frac_chars_top_{n}gram": top_share(words, n) for n in (2, 3, 4)}
    return made | {f"rps_doc_frac_chars_dupe_{n}grams": duplicate_share(words, n) for n in range(5, 11)}


def check(texts: list[str]) -> None:
    columns = RedPajamaScorer().score(TextBatch.of(texts))
    for row, text in enumerate(texts):
        wanted = expected(text)
        for name in NAMES:
            value, right = columns[name][row].as_py(), wanted[name]
            same = value is None if right is None else value is not None and math.isclose(value, np.float32(right), rel_tol=2e-6, abs_tol=1e-7)
            assert same, (name, value, right, text[:200])


PARTS = (
    "JavaScript", "javascript,", "lorem", "Lorem-ipsum", "lorem ipsum", "lorem\n ipsum", "lórem ipsum", "{x}", "...", "....", "…", "#", "NASA", "Ⅷ", "½", "٣",
    "I", "the", "The", "don't", "a.b", "?!", "”", "•", "\u2013 x", "İ", "Å", "e\u0301", "한국어", "漢", "_", "-", "\u00a0", "\u2028", "\n", "\n\n", " . ",
    "... \n", "ǅ", "ⓐⒷ", "\U0001d400", "\U000e0101",
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.one_of(any_texts, repetitive_texts, st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join)), min_size=1, max_size=4))
def test_every_signal_is_that_of_the_reference(texts):
    check(texts)


def test_hostile_texts_and_prose_have_the_signals_of_the_reference():
    check([*HOSTILE_TEXTS, *(make_prose(seed) for seed in range(20)), *("".join(PARTS), "\n".join(PARTS))])


@settings(max_examples=60)
@given(st.lists(st.sampled_from("ab"), max_size=60), st.integers(1, 3))
def test_repetition_is_that_of_the_reference_where_everything_repeats(letters, times):
    check([" ".join(letters * times)])


def test_an_empty_text_has_no_shares():
    columns = {name: column.to_pylist()[0] for name, column in RedPajamaScorer().score(TextBatch.of([""])).items()}
    assert {name for name, value in columns.items() if value is None} == {name for name, value in expected("").items() if value is None}
    assert columns["rps_doc_word_count"] == 0 and columns["rps_doc_lorem_ipsum"] == 0


def test_a_slice_is_scored_as_its_texts_are():
    texts = TextBatch.of([make_prose(seed) for seed in range(5)]).texts
    whole, part = RedPajamaScorer().score(TextBatch(texts)), RedPajamaScorer().score(TextBatch(texts.slice(2, 2)))
    assert all(whole[name].slice(2, 2).equals(part[name]) for name in NAMES)


def test_the_scorer_is_optional_and_its_columns_are_those_of_redpajama():
    assert "redpajama" not in SCORER_NAMES
    fields = score_fields(ScoreSettings(scorers=("redpajama",)))
    assert fields.names == list(NAMES) and all(name.startswith(("rps_doc_", "rps_lines_", "ccnet_")) for name in NAMES)
    assert {field.name for field in fields if str(field.type) == "int32"} == set(COUNTS)


@pytest.mark.parametrize("words", [2_000, 200_000])
def test_a_long_word_or_text_is_no_trouble(words):
    columns = RedPajamaScorer().score(TextBatch.of(["word" * words, "word " * words]))
    assert columns["rps_doc_word_count"].to_pylist() == [1, words]
    assert columns["rps_doc_frac_chars_dupe_10grams"].to_pylist() == [0, 1]


def test_every_signal_is_documented_with_its_type_in_order():
    page = (Path(__file__).resolve().parents[2] / "docs" / "quality-signals.md").read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \|$", page, re.MULTILINE)
    assert documented == [(field.name, {"float": "float32"}.get(str(field.type), str(field.type))) for field in RedPajamaScorer.fields]
