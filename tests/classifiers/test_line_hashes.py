"""Hashes of lines, paragraphs and spans of sentences against a plain reading of the same rules."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.line_hashes import LineHashesScorer, distinct_units, hash_units
from classifiers.line_units import LINE_UNITS
from classifiers.text_batch import TextBatch

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "River", "river", "12", "--", "\n", "\n\n", "\r\n", "\u2028", "stop.", "Go!", "水。", " "]), max_size=30).map(
        " ".join
    ),
    max_size=6,
)


def units(text: str, unit: str = "line") -> dict[int, int]:
    """Hash -> characters of the units of one text."""
    columns = LineHashesScorer(unit).score(TextBatch.of([text]))
    hashes, chars = (columns[name][0].as_py() for name in ("line_hashes", "line_chars"))
    return dict(zip(np.frombuffer(hashes, "<u8").tolist(), np.frombuffer(chars, "<u4").tolist(), strict=True))


def plain_lines(text: str, blank_lines_part: bool) -> Counter:
    """The lower-cased words of each unit -> characters, by the words that the splitter finds."""
    found: Counter = Counter()
    held: list[str] = []

    def close():
        if held:
            found[tuple(held)] += sum(map(len, held))
            held.clear()

    for line in text.splitlines():
        batch = TextBatch.of([line])
        words = [line.encode()[b:e].decode() for b, e, kind in zip(batch.words.begins, batch.words.ends, batch.words.kinds, strict=True) if kind]
        if not blank_lines_part or not len(batch.words.begins):
            close()
        held += [word.lower() for word in words]
    close()
    return found


@given(TEXTS)
@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_units_are_those_of_a_plain_reading(unit, texts):
    columns = LineHashesScorer(unit).score(TextBatch.of(texts))
    named: dict[tuple, int] = {}
    for text, hashes, chars in zip(texts, columns["line_hashes"].to_pylist(), columns["line_chars"].to_pylist(), strict=True):
        expected = plain_lines(text, blank_lines_part=unit == "paragraph")
        assert sorted(np.frombuffer(chars, "<u4").tolist()) == sorted(expected.values())
        found = np.frombuffer(hashes, "<u8").tolist()
        assert found == sorted(found) and len(set(found)) == len(found) == len(expected)
        for words in expected:
            # One hash for one sequence of words, in whatever text of the batch it stands.
            (hashed,) = units("\n".join([" ".join(words)]), unit)
            assert named.setdefault(words, hashed) == hashed and hashed in found


def test_case_punctuation_and_space_do_not_count_but_numbers_do():
    assert units("Read more: HERE!") == units("  read   more, here") != units("read more there")
    assert units("Page 12") != units("Page 13")
    assert units("ab c") != units("a bc")


def test_a_unit_without_a_word_is_none():
    assert units("--- *** ---\n\n\n!!!") == units("") == {}
    columns = LineHashesScorer().score(TextBatch.of(["", "--"]))
    assert columns["line_hashes"].to_pylist() == columns["line_chars"].to_pylist() == [b"", b""]


def test_characters_are_those_of_words_times_occurrences():
    assert list(units("One, two.\nother\none TWO").values()) in ([12, 5], [5, 12])
    assert list(units("水 水").values()) == [2]


def test_paragraphs_are_parted_by_blank_lines_alone():
    assert units("one\ntwo\n \nthree", "paragraph") == units("one two", "paragraph") | units("three", "paragraph")
    assert units("one\n---\ntwo", "paragraph") == units("one two", "paragraph")


def test_spans_of_three_sentences_overlap():
    sentences = ["The first one came.", "A second followed it!", "Was there a third?", "The fourth was late.", "Nobody saw the fifth."]
    whole = units(" ".join(sentences), "sentences")
    parts = [units(" ".join(sentences[at : at + 3]), "sentences") for at in range(3)]
    assert all(len(part) == 1 for part in parts)
    assert whole == parts[0] | parts[1] | parts[2]


@pytest.mark.parametrize("text", ["One sentence alone", "One sentence. And another one."])
def test_a_text_of_fewer_sentences_is_one_span(text):
    assert len(units(text, "sentences")) == 1


def test_a_blank_line_ends_a_sentence_and_a_line_end_does_not():
    assert units("A heading\n\nIt began. It ended.", "sentences") == units("A heading. It began. It ended.", "sentences")
    assert units("It began\nlate. It ended. So it was.", "sentences") == units("It began late. It ended. So it was.", "sentences")


def test_a_span_shared_by_two_texts_has_one_hash_wherever_it_stands():
    shared = "It rained for a week. The river rose. Nobody was surprised."
    assert units(shared, "sentences").keys() <= units("Before that, it was dry. " + shared + " Then it stopped.", "sentences").keys()


@given(TEXTS, st.sampled_from(LINE_UNITS))
def test_a_text_has_the_same_units_in_any_batch(texts, unit):
    together = LineHashesScorer(unit).score(TextBatch.of(texts))
    for place, text in enumerate(texts):
        alone = LineHashesScorer(unit).score(TextBatch.of([text]))
        assert all(together[name][place] == alone[name][0] for name in together)
    sliced = pa.array(["a line before", *texts], pa.string()).slice(1)
    assert LineHashesScorer(unit).score(TextBatch(sliced)) == together


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(1, 9)), max_size=30))
def test_distinct_units_sum_what_occurs_again(found):
    found.sort(key=lambda unit: unit[0])
    texts, hashes, chars = (np.array([unit[place] for unit in found], kind) for place, kind in enumerate((np.int64, np.uint64, np.int64)))
    offsets, distinct, sums = distinct_units(texts, hashes, chars, 4)
    for text in range(4):
        expected: Counter = Counter()
        for owner, value, count in found:
            if owner == text:
                expected[value] += count
        held = slice(offsets[text], offsets[text + 1])
        assert dict(zip(distinct[held].tolist(), sums[held].tolist(), strict=True)) == expected
        assert distinct[held].tolist() == sorted(expected)


def test_every_unit_is_found_in_its_text():
    texts, hashes, chars = hash_units(TextBatch.of(["one\ntwo", "", "three"]), "line")
    assert texts.tolist() == [0, 0, 2] and chars.tolist() == [3, 3, 5] and len(set(hashes.tolist())) == 3


def test_an_unknown_unit_is_an_error():
    with pytest.raises(ValueError, match="line_unit must be one of line, paragraph, sentences, not 'word'"):
        LineHashesScorer("word")


def test_the_version_names_unit_and_splitter():
    assert LineHashesScorer("paragraph").version.startswith("line-hashes-1;paragraph;headwater-words-1")
