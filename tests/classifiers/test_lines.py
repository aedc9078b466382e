import numpy as np
import pytest
from hypothesis import given, settings

from classifiers.lines import split_at_newlines, split_lines, strip_lines
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts


def lines_of(text: str, find=split_lines) -> list[str]:
    batch = TextBatch.of(["before\n", text, "after"])
    lines, data = batch.derive(find), bytes(batch.utf8)
    return [data[lines.begins[line] : lines.ends[line]].decode() for line in range(lines.offsets[1], lines.offsets[2])]


@settings(max_examples=120)
@given(any_texts)
def test_lines_are_those_of_splitlines(text):
    assert lines_of(text) == text.splitlines()


@settings(max_examples=100)
@given(any_texts)
def test_lines_at_newlines_are_those_of_split(text):
    assert lines_of(text, split_at_newlines) == text.split("\n")


@pytest.mark.parametrize("text", [*HOSTILE_TEXTS, "\r\n\r\n", "\n\r", "a\x1cb\x1db\x1eb\x1fb", "\u2028\u2029\x85", "\u2027\u202a\u00a0"])
def test_lines_of_hostile_texts(text):
    assert lines_of(text) == text.splitlines()
    assert lines_of(text, split_at_newlines) == text.split("\n")


@settings(max_examples=100)
@given(any_texts)
def test_stripped_lines_are_those_of_strip(text):
    batch = TextBatch.of([text])
    begins, ends = strip_lines(batch, batch.derive(split_lines))
    stripped = [bytes(batch.utf8[begin:end]).decode() for begin, end in zip(begins, ends, strict=True)]
    assert stripped == [line.strip() for line in text.splitlines()]


def test_a_slice_has_the_lines_of_its_texts():
    array = TextBatch.of(["one\ntwo", "three\n\nfour", "five"]).texts.slice(1, 1)
    assert np.diff(TextBatch(array).derive(split_lines).offsets).tolist() == [3]


def test_an_empty_batch_has_no_lines():
    assert len(TextBatch.of([]).derive(split_lines).begins) == 0
