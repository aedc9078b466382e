import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.c4_rules import JAVASCRIPT_LINE, KEPT, LONG_WORD, POLICY_LINE, POLICY_PHRASES, TOO_FEW_WORDS, C4Scorer, judge_lines, keep_c4_lines
from classifiers.datatrove_words import TOKEN_END, TOKEN_PUNCTUATION, sentence_marks
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

LINES = (
    "A plain sentence stands here.", "two words", "We use cookies on this site.", "Turn on JavaScript to go on.", "Lorem ipsum dolor sit amet.",
    "if (x) { return y; }", "See our privacy policy for more", "It ends in dots...", 'He said "yes."', "", "   ", "x" * 1_001 + " and so on", "One. Two. Three!",
)  # fmt: skip


def scores(text: str, words: str = "headwater") -> dict:
    return {name: column.to_pylist()[0] for name, column in C4Scorer(words).score(TextBatch.of([text])).items()}


def count_sentences(line: str) -> int:
    """spaCy's sentencizer: a sentence begins at the first token that is no punctuation after one that ends a sentence."""
    marks = sentence_marks(TextBatch.of([line])).tolist()
    count, ended = min(len(marks), 1), False
    for mark in marks:
        if ended and not mark & (TOKEN_END | TOKEN_PUNCTUATION):
            count, ended = count + 1, False
        ended = ended or bool(mark & TOKEN_END)
    return count


def slow_c4(text: str) -> dict:
    """datatrove 0.10's `C4QualityFilter.filter` as FineWeb ran it, counting where it would stop."""
    found = dict.fromkeys(("c4_sentences", "c4_lorem_ipsum_lines", "c4_curly_bracket_lines", "c4_javascript_lines", "c4_policy_lines"), 0)
    for line in map(str.strip, text.splitlines()):
        lowered, words = line.lower(), line.split()
        if any(len(word) > 1_000 for word in words) or len(words) < 3:
            continue
        found["c4_lorem_ipsum_lines"] += "lorem ipsum" in lowered
        if "javascript" in lowered:
            found["c4_javascript_lines"] += 1
            continue
        found["c4_curly_bracket_lines"] += "{" in line
        if any(phrase in lowered for phrase in POLICY_PHRASES):
            found["c4_policy_lines"] += 1
            continue
        found["c4_sentences"] += count_sentences(line)
    return found


@settings(max_examples=100)
@given(st.one_of(any_texts, st.lists(st.sampled_from(LINES), max_size=8).map("\n".join)))
def test_by_datatroves_words_the_counts_are_datatroves(text):
    made = scores(text, "datatrove")
    assert {name: made[name] for name in slow_c4(text)} == slow_c4(text)


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, *(make_prose(seed) for seed in range(6))])
def test_hostile_texts_and_prose_by_datatroves_words(text):
    made = scores(text, "datatrove")
    assert {name: made[name] for name in slow_c4(text)} == slow_c4(text)


@pytest.mark.parametrize(
    ("line", "fate"),
    [
        ("Three words stay", KEPT),
        ("two words", TOO_FEW_WORDS),
        ("", TOO_FEW_WORDS),
        ("please switch on javascript", JAVASCRIPT_LINE),
        ("This site uses cookies, as all do", POLICY_LINE),
        ("our TERMS of USE are these", POLICY_LINE),
        ("a " + "x" * 1_001 + " in a line", LONG_WORD),
        ("河水流向大海。", KEPT),
        ("แม่น้ำไหลลงสู่ทะเล", KEPT),
    ],
)
def test_what_becomes_of_a_line(line, fate):
    assert judge_lines(TextBatch.of([line + "\nlast line here"])).tolist() == [fate, KEPT]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is there! Is three?", 3),
        ("Mr. Ames met Dr. Lee at 3.14 p.m. on Jan. 5", 1),
        ("J. S. Bach wrote it. Then he slept.", 2),
        ("It goes on... and on", 1),
        ('He said "no." She left.', 2),
        ("No full stop at all", 1),
        ("第一句话很长。第二句话也长！第三句呢？", 3),
        ("一つ目の文です。二つ目の文です。", 2),
        ("पहला वाक्य यह है। दूसरा वाक्य यह है।", 2),
        ("이것은 첫 문장이다. 이것은 둘째 문장이다.", 2),
        ("หนึ่งประโยคยาว สองประโยคยาว สามประโยคยาว", 3),
        ("... !!! ???", 0),
        ("two words\nthree words here now", 1),
    ],
)
def test_sentences_of_many_scripts_are_counted(text, sentences):
    assert scores(text)["c4_sentences"] == sentences


@pytest.mark.parametrize(
    ("line", "share"),
    [("It ends.", 0), ("It ends", 1), ("Does it?", 0), ("It ends...", 1), ('"It ends"', 0), ("It ends.[12]", 0), ("It [12]", 1), ("so [", 1)],
)
def test_lines_that_end_in_punctuation(line, share):
    assert scores(line)["c4_unpunctuated_line_share"] == share


def test_the_share_dropped_is_of_characters():
    assert scores("twelve chars\nthese are kept")["c4_dropped_char_share"] == pytest.approx(12 / 26)
    assert scores("")["c4_dropped_char_share"] == 0


def test_kept_lines_are_joined_without_citation_marks():
    text = "  The first line stays[1].\nno\nTurn on javascript please\r\nThe last one stays too[citation needed]  "
    assert keep_c4_lines(pa.array([text, "", "no"])).to_pylist() == ["The first line stays.\nThe last one stays too", "", ""]


@settings(max_examples=100)
@given(st.lists(st.one_of(any_texts, st.sampled_from(LINES)), max_size=4))
def test_kept_lines_are_lines_of_the_text(texts):
    kept = keep_c4_lines(pa.array(texts, pa.string())).to_pylist()
    for text, left in zip(texts, kept, strict=True):
        assert len(left) <= len(text)
        assert all(len(line.split()) > 0 for line in left.split("\n")) or left == ""


def test_the_splitter_stands_in_the_version():
    assert C4Scorer().version != C4Scorer("datatrove").version
    with pytest.raises(ValueError, match="words must be"):
        C4Scorer("other")
