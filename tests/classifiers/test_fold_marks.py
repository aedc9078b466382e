"""Folding removes the marks of storage and keeps the wording."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.fold_marks import OPENING_BYTES, STARTS, TABLE, fold_bytes, fold_marks, folded_capacity

PLAIN = "the river rises , then it falls - slowly . don't wait"


@pytest.mark.parametrize(
    "marked",
    [
        "The river rises, then it falls - slowly. Don't wait",
        "The river rises , then it falls \u2014 slowly . Don\u2019t wait",
        "  **The river** rises,\n\nthen it falls -- slowly.\r\n\tDon't wait  ",
        "The river rises, then it falls \u2013 slowly.<br /><br />Don't wait",
        '\u201cThe river\u201d "rises", then it falls \u2014 slowly. Do n\'t wait',
        "The riv\u200ber rises,\ufe0f then\u00a0it falls \u2014 slowly. Don\u00e2\u20ac\u2122t wait",
        "# The river rises, then it falls - slowly.\n\n> Don't wait",
        "Sure, here is a possible version:\n\nThe river rises, then it falls - slowly. Don't wait",
        "Certainly! Here's the text.\nThe river rises, then it falls - slowly. Don't wait",
        "Abstract: The river rises, then it falls - slowly. Don't wait",
        "**Title:** The river rises, then it falls - slowly. Don't wait",
        "THE RIVER RISES, THEN IT FALLS - SLOWLY. DON'T WAIT",
    ],
)
def test_one_wording_in_many_formats_folds_to_the_same_text(marked):
    assert fold_marks(marked) == PLAIN


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", ""),
        ("\0\0\n", ""),
        ("caf\u00e9 na\u00efve Stra\u00dfe \u00c6sop", "cafe naive strase asop"),
        ("3,000.5 km at 12:30 in 1999", "0 km at 0 in 0"),
        ("wait... what?!", "wait ~ what ? !"),
        ("wait\u2026 what???", "wait ~ what ?"),
        ("see https://example.org/a?b=c for it", "see for it"),
        ("\u00c2\u00a31,200 each", "0 each"),
        ("it 's John 's", "it's john's"),
        ("the 'quoted' words", "the quoted words"),
        ("5 < 6 and a<b", "0 0 and a b"),
        ("\u4e2d\u6587 and \u0440\u0443\u0441 words", "and words"),
        ("\ud800 alone", "? alone"),
        ("Sure I like it", "sure i like it"),
        ("Surely: not an opening", "surely : not an opening"),
        ("Titles: many", "titles : many"),
    ],
)
def test_folding_of_single_marks(text, folded):
    assert fold_marks(text) == folded


def test_an_opening_without_an_end_nearby_is_text():
    text = "Sure, " + "the road is long and " * 30
    assert len(text) > OPENING_BYTES
    assert fold_marks(text).startswith("sure , the road")


@given(st.text(max_size=300))
def test_folded_text_is_plain_single_spaced_ascii_within_capacity(text):
    folded = fold_marks(text)
    assert len(folded) <= folded_capacity(len(text.encode("utf-8", "replace")))
    assert set(folded) <= set("abcdefghijklmnopqrstuvwxyz0 '.,;:!?()-~")
    assert "  " not in folded and folded == folded.strip()


@given(st.binary(max_size=300))
def test_broken_utf8_never_reads_out_of_bounds(data):
    utf8 = np.frombuffer(b"x" + data + b"y", np.uint8)
    out = np.full(folded_capacity(len(utf8)) + 8, 255, np.uint8)
    length, latin, foreign = fold_bytes(utf8, 1, len(utf8) - 1, len(utf8), out, TABLE, STARTS)
    assert (out[folded_capacity(len(data)) :] == 255).all()
    assert length >= 0 and 0 <= latin <= len(data) and 0 <= foreign <= len(data)


@given(st.text(st.sampled_from("ab ,.\u00e9\u0301\ufe0f\U000e0100\u200b"), max_size=80), st.integers(0, 60))
def test_no_more_is_read_than_asked_for_and_invisible_characters_are_not_counted(text, max_bytes):
    utf8, seen = (np.frombuffer(one.encode(), np.uint8) for one in (text, re.sub("[\u0301\ufe0f\U000e0100\u200b]", "", text)))
    out = np.full((2, folded_capacity(max_bytes) + 8), 255, np.uint8)
    length, latin, _ = fold_bytes(utf8, 0, len(utf8), max_bytes, out[0], TABLE, STARTS)
    assert (length, latin) == fold_bytes(seen, 0, len(seen), max_bytes, out[1], TABLE, STARTS)[:2]
    assert (out[0, :length] == out[1, :length]).all() and (out[:, folded_capacity(max_bytes) :] == 255).all()


@given(st.lists(st.sampled_from(["river", "stone", "it's", "0", ",", "."]), max_size=30))
def test_folded_text_folds_to_itself_when_no_mark_repeats(words):
    text = " ".join(word for i, word in enumerate(words) if i == 0 or word != words[i - 1])
    assert fold_marks(fold_marks(text)) == fold_marks(text)


@pytest.mark.parametrize("piece", ["<a", "http", "https://", "<", "....", "\u00e2\u20ac", "Sure, here ", "' ", "(" * 10, "\u202e"])
def test_hostile_repetition_folds_in_linear_space(piece):
    assert len(fold_marks(piece * 20_000)) <= folded_capacity(len((piece * 20_000).encode()))
