"""Claims about dead letters: the quoted beginning is short and printable whatever was in the record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.dead_letters import MAX_FIRST_CHARS, DeadLetter, quote_start
from transforms.records import DeadReason, Origin, Stage


@given(st.binary(max_size=500) | st.text(st.characters(), max_size=500))
def test_a_quote_is_short_and_printable(data):
    quoted = quote_start(data)
    assert len(quoted) <= MAX_FIRST_CHARS
    assert quoted.isprintable()
    quoted.encode()


@given(st.text(st.characters(categories=("L", "Nd")), max_size=50))
def test_printable_text_is_quoted_as_it_is(text):
    assert quote_start(text.encode()) == quote_start(text) == text


def test_bytes_that_are_no_text_are_spelled_out():
    assert quote_start(b"a\xff\n\x00") == r"a\xff\n\x00"


def test_a_letter_stands_for_one_record_lost_while_reading():
    letter = DeadLetter("a.jsonl:3", Origin.HUMAN, "books", DeadReason.MALFORMED, "not JSON")
    assert (letter.count, letter.stage) == (1, Stage.READ)


def test_a_letter_for_no_record_or_with_a_long_quote_is_refused():
    with pytest.raises(ValueError, match="count 0"):
        DeadLetter("a", Origin.HUMAN, "books", DeadReason.MALFORMED, "", count=0)
    with pytest.raises(ValueError, match="201 characters"):
        DeadLetter("a", Origin.HUMAN, "books", DeadReason.MALFORMED, "", "x" * 201)
