"""White space at the ends of spans is what `str.strip` takes away, whatever the spans are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classifiers.strip_spans import strip_spans

PIECES = st.text(st.sampled_from(" \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000\u200b\ufeffaé語🙂"), max_size=12)


@given(st.lists(PIECES, max_size=8))
def test_every_span_is_stripped_as_str_strip_does(pieces):
    encoded = [piece.encode() for piece in pieces]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in encoded])]).astype(np.int64)
    utf8 = np.frombuffer(b"".join(encoded) or b"\0", np.uint8)
    before = offsets.copy()
    begins, ends = strip_spans(utf8, offsets[:-1], offsets[1:])
    assert [bytes(utf8[begin:end]).decode() for begin, end in zip(begins, ends, strict=True)] == [piece.strip() for piece in pieces]
    assert np.array_equal(offsets, before)
    assert all(low <= begin <= end <= high for low, begin, end, high in zip(offsets[:-1], begins, ends, offsets[1:], strict=True))
