import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.text_batch import TextBatch
from classifiers.words import (
    APOSTROPHE,
    BREAK,
    COMPLEX,
    CONNECTOR,
    DIGIT,
    IDEOGRAPH,
    IGNORED,
    KIND_LETTERS,
    KIND_SYMBOL,
    KIND_WORD,
    LETTER,
    MARK,
    MID_NUMBER,
    SPACE,
    SYMBOL,
    TABLE_SIZE,
    code_point_tables,
    split_words,
)
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

SYMBOLS = (SYMBOL, CONNECTOR, APOSTROPHE, MID_NUMBER)


def class_of(character: str) -> int:
    code_point = ord(character)
    if code_point < TABLE_SIZE:
        return int(code_point_tables()[0][code_point])
    return IDEOGRAPH if code_point < 0x40000 else IGNORED if 0xE0000 <= code_point < 0xE1000 else SYMBOL


def slow_split(text: str) -> list[tuple[str, int]]:
    """The rules of the module's docstring, one code point after another: pieces and their kinds."""
    pieces, at = [], 0
    while at < len(text):
        begin, first = at, class_of(text[at])
        at += 1
        if first in (SPACE, BREAK, IGNORED):
            continue
        if first in SYMBOLS:
            while at < len(text) and class_of(text[at]) in (*SYMBOLS, MARK, IGNORED):
                at += 1
            pieces.append((text[begin:at], KIND_SYMBOL))
            continue
        last = first
        while at < len(text):
            this, following = class_of(text[at]), class_of(text[at + 1]) if at + 1 < len(text) else BREAK
            if this in (MARK, IGNORED):
                pass
            elif first == IDEOGRAPH or (first == COMPLEX and this != COMPLEX):
                break
            elif first == COMPLEX:
                if at - begin >= 4:
                    break
            elif (
                this in (LETTER, DIGIT)
                or (this == CONNECTOR and following in (LETTER, DIGIT))
                or (this == APOSTROPHE and last == following == LETTER)
                or (this == MID_NUMBER and last == following == DIGIT)
            ):
                last = this
            else:
                break
            at += 1
        has_letter = any(class_of(character) in (LETTER, IDEOGRAPH, COMPLEX) for character in text[begin:at])
        pieces.append((text[begin:at], KIND_LETTERS if has_letter else KIND_WORD))
    return pieces


def split(text: str) -> list[str]:
    """Pieces that are words."""
    words = TextBatch.of([text]).words
    data = text.encode()
    return [data[b:e].decode() for b, e, kind in zip(words.begins, words.ends, words.kinds, strict=True) if kind != KIND_SYMBOL]


def folded_hashes(text: str) -> list[int]:
    return TextBatch.of([text]).words.folded.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop", ["Don't", "stop"]),
        ("o’clock 'quoted'", ["o’clock", "quoted"]),
        ("3.14 and 1,234.5; 3. .5", ["3.14", "and", "1,234.5", "3", "5"]),
        ("e.g. www.example.com", ["e", "g", "www", "example", "com"]),
        ("snake_case __init__ ____", ["snake_case", "init"]),
        ("well-known", ["well", "known"]),
        ("漢字かな", ["漢", "字", "か", "な"]),
        ("한국어 텍스트", ["한국어", "텍스트"]),
        ("สวัสดีครับ", ["สวัส", "ดีคร", "ับ"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("zero\u200bwidth soft\u00adhyphen", ["zero", "width", "soft\u00adhyphen"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("👍 😀 = + #", []),
        ("a1b2", ["a1b2"]),
    ],
)
def test_words_are_split_as_documented(text, words):
    assert split(text) == words


@settings(max_examples=300)
@given(any_texts)
def test_kernel_agrees_with_the_slow_rules(text):
    batch = TextBatch.of([text])
    words, data = batch.words, text.encode()
    pieces = [(data[b:e].decode(), int(kind)) for b, e, kind in zip(words.begins, words.ends, words.kinds, strict=True)]
    assert pieces == slow_split(text)
    assert words.chars.tolist() == [len(piece) for piece, _ in pieces]
    assert words.counts.tolist() == [sum(kind != KIND_SYMBOL for _, kind in pieces)]
    assert words.text_chars.tolist() == [len(text)]
    assert words.offsets.tolist() == [0, len(pieces)]


@settings(max_examples=200)
@given(any_texts)
def test_pretokens_follow_their_definition(text):
    expected = 0
    for piece, kind in slow_split(text):
        if kind == KIND_SYMBOL:
            expected += -(-len(piece) // 4)
        else:
            digits = sum(class_of(character) == DIGIT for character in piece)
            expected += -(-(len(piece) - digits) // 6) + -(-digits // 3)
    assert TextBatch.of([text]).words.pretokens.tolist() == [expected]


@settings(max_examples=100)
@given(st.lists(any_texts, max_size=6))
def test_a_text_is_split_alike_alone_and_in_a_batch(texts):
    together = TextBatch.of(texts).words
    for place, text in enumerate(texts):
        alone = TextBatch.of([text]).words
        here = slice(together.offsets[place], together.offsets[place + 1])
        for column in ("chars", "folded", "exact", "kinds"):
            np.testing.assert_array_equal(getattr(together, column)[here], getattr(alone, column))
        assert together.counts[place] == alone.counts[0]


@settings(max_examples=200)
@given(st.lists(any_texts, min_size=2, max_size=8))
def test_exact_hashes_are_equal_just_when_pieces_are(texts):
    seen: dict[str, int] = {}
    for text in texts:
        for (piece, _), value in zip(slow_split(text), TextBatch.of([text]).words.exact.tolist(), strict=True):
            assert seen.setdefault(piece, value) == value
    assert len(set(seen.values())) == len(seen)


def test_hashes_of_many_words_do_not_collide():
    words = [f"{prefix}{number}{suffix}" for prefix in ("", "a", "word", "é") for number in range(20_000) for suffix in ("", "x")]
    batch = TextBatch.of([" ".join(dict.fromkeys(words))]).words
    assert len(np.unique(batch.exact)) == len(np.unique(batch.folded)) == batch.counts[0] == len(set(words))
    assert len(np.unique(batch.folded >> np.uint64(40))) > 0.98 * len(batch.folded)  # the high bits alone choose a table's slot


def test_folded_hash_ignores_case_apostrophe_style_and_invisible_characters():
    assert folded_hashes("The DON'T ÉTÉ ΣΊ") == folded_hashes("the don’t été σί")
    assert folded_hashes("so\u00adft wa\u200cter ma\ufe0frk") == folded_hashes("soft water mark")
    assert folded_hashes("the") != folded_hashes("teh")
    assert TextBatch.of(["The the"]).words.exact[0] != TextBatch.of(["The the"]).words.exact[1]


def test_hashes_are_the_same_on_every_machine():
    """Signatures of earlier runs are compared with today's: these numbers may change only together with `WORD_SPLITTER`."""
    assert folded_hashes("Hello") == [1611427738979397366]
    assert TextBatch.of(["…"]).words.exact.tolist() == [3096329032465506918]


@pytest.mark.parametrize("character", [" ", "\t", "\x1f", "\x85", "\u00a0", "\u2003", "\u2028", "\u3000"])
def test_white_space_separates(character):
    assert split(f"left{character}right") == ["left", "right"]


def test_space_class_is_exactly_str_isspace():
    classes = code_point_tables()[0]
    assert [c for c in range(TABLE_SIZE) if classes[c] == SPACE] == [c for c in range(TABLE_SIZE) if chr(c).isspace()]


def test_classes_follow_unicode_categories():
    classes = code_point_tables()[0]
    for code_point in range(0, TABLE_SIZE, 7):
        category, value = unicodedata.category(chr(code_point)), classes[code_point]
        if value == LETTER:
            assert category[0] == "L"
        elif value == DIGIT:
            assert category[0] == "N"
        elif value == SYMBOL:
            assert category[0] in "PSC"


def test_lower_case_is_one_to_one():
    lower = code_point_tables()[1]
    for code_point in range(TABLE_SIZE):
        if code_point not in (0x2019, 0xFF07):
            form = chr(code_point).lower()
            assert lower[code_point] == (ord(form) if len(form) == 1 else code_point)


def test_no_text_becomes_one_giant_word_without_spaces():
    assert TextBatch.of(["漢字" * 500]).words.counts[0] == 1_000
    assert TextBatch.of(["ไทย" * 400]).words.counts[0] == 300


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_texts_are_split_within_their_bounds(text):
    words = TextBatch.of(["before", text, "after"]).words
    assert (words.begins < words.ends).all() and (np.diff(words.begins) > 0).all()
    assert words.counts[0] == words.counts[2] == 1
    assert [(p, k) for p, k in slow_split(text)] == slow_split(text) and words.offsets[2] - words.offsets[1] == len(slow_split(text))


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=12), max_size=5))
def test_malformed_utf8_never_reads_out_of_bounds(parts):
    utf8 = np.frombuffer(b"".join(parts), np.uint8)
    offsets = np.cumsum([0, *map(len, parts)])
    words = split_words(utf8, offsets)
    assert (words.ends <= len(utf8)).all() and (words.begins < words.ends).all()


def test_ten_megabytes_of_one_word_are_one_word():
    words = TextBatch.of(["x" * 10_000_000]).words
    assert (words.counts[0], words.chars[0], words.pretokens[0]) == (1, 10_000_000, 1_666_667)


def test_prose_has_more_pretokens_than_words():
    words = TextBatch.of([make_prose(seed) for seed in range(20)]).words
    assert (words.pretokens > words.counts).all() and (words.pretokens < 2 * words.counts).all()
