"""Hashes of a text's lines, paragraphs or spans of three sentences: what repeated lines are found by across documents.

Two units are equal where their words are, in order and lower-cased: punctuation, symbols, case and white space do not count, numbers do. A
unit without a word is none. About 11 microseconds a text of 330 words in nine lines, 15 for spans of sentences; the words are split already.

*Source:* lines and paragraphs: Wenzek et al. 2020, "CCNet" (arXiv 1911.00359), section 3.2, which folds digits as well; spans of three
sentences: Raffel et al. 2020 (JMLR 21:140), section 2.2, and datatrove 0.10 (`SentDedup`), as FineWeb ran it.
"""

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.c4_rules import mark_sentence_ends
from classifiers.datatrove_words import TOKEN_END
from classifiers.line_units import LINE_UNITS
from classifiers.lines import split_lines
from classifiers.text_batch import TextBatch
from classifiers.words import KIND_SYMBOL, WORD_SPLITTER_VERSION, mix64

SPAN_SENTENCES = 3
"""Sentences in a span; spans overlap, one begins at each sentence that has enough after it. A shorter text is one span."""

_PRIME = 0x9E3779B97F4A7C15


class LineHashesScorer:
    """`line_hashes`, eight bytes (little-endian uint64, ascending) for each distinct unit of a text, and `line_chars`, four (uint32) for each of these.

    A unit's characters are the code points of its words, times its occurrences. Both columns are empty, not null, for a text without a word.
    """

    name = "line_hashes"
    fields = pa.schema([("line_hashes", pa.binary()), ("line_chars", pa.binary())])

    def __init__(self, unit: str = "line"):
        """`unit` is one of `LINE_UNITS`. Raises ValueError for another."""
        if unit not in LINE_UNITS:
            raise ValueError(f"line_unit must be one of {', '.join(LINE_UNITS)}, not {unit!r}")
        self._unit = unit
        self.version = f"line-hashes-1;{unit};{WORD_SPLITTER_VERSION}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The two columns, never null."""
        offsets, hashes, chars = distinct_units(*hash_units(batch, self._unit), len(batch))
        return {"line_hashes": _binary_array(offsets, hashes.astype("<u8")), "line_chars": _binary_array(offsets, chars.astype("<u4"))}


def hash_units(batch: TextBatch, unit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The text (int64), hash (uint64) and characters (int64) of every unit that has a word, in order."""
    words, lines = batch.words, batch.derive(split_lines)
    marks = batch.derive(mark_sentence_ends) if unit == "sentences" else np.empty(0, np.uint8)
    most = len(words.begins)
    texts, hashes, chars = np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.int64)
    pieces = (words.offsets, words.begins, words.folded, words.chars, words.kinds)
    used = _hash_units(*pieces, marks, lines.offsets, lines.begins, LINE_UNITS.index(unit), texts, hashes, chars)
    return texts[:used], hashes[:used], chars[:used]


def distinct_units(texts: np.ndarray, hashes: np.ndarray, chars: np.ndarray, num_texts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each text's distinct hashes, ascending, with their characters summed: offsets (int64[num_texts + 1]), uint64 and int64."""
    order = np.lexsort((hashes, texts))
    texts, hashes, chars = texts[order], hashes[order], chars[order]
    starts = np.flatnonzero(np.r_[len(texts) > 0, (texts[1:] != texts[:-1]) | (hashes[1:] != hashes[:-1])])
    sums = np.add.reduceat(chars, starts) if len(starts) else chars
    return np.searchsorted(texts[starts], np.arange(num_texts + 1)), hashes[starts], sums


def _binary_array(offsets: np.ndarray, values: np.ndarray) -> pa.BinaryArray:
    ends = pa.py_buffer((offsets * values.itemsize).astype(np.int32).tobytes())
    return pa.BinaryArray.from_buffers(pa.binary(), len(offsets) - 1, [None, ends, pa.py_buffer(values.tobytes())])


@njit(cache=True, nogil=True)
def _hash_units(piece_offsets, begins, folded, chars, kinds, marks, line_offsets, line_begins, unit, texts, hashes, lengths):
    """Fills the arrays of `hash_units` and returns how many units there are. `unit` is a place in `LINE_UNITS`."""
    prime = np.uint64(_PRIME)
    used = 0
    for text in range(len(piece_offsets) - 1):
        first = used
        line, last_line = line_offsets[text], line_offsets[text + 1] - 1
        previous = line
        unit_hash, length = np.uint64(0), 0
        for piece in range(piece_offsets[text], piece_offsets[text + 1]):
            while line < last_line and line_begins[line + 1] <= begins[piece]:
                line += 1
            if length > 0 and line - previous > (0 if unit == 0 else 1):
                texts[used], hashes[used], lengths[used] = text, mix64(unit_hash), length
                used += 1
                unit_hash, length = np.uint64(0), 0
            previous = line
            if kinds[piece] != KIND_SYMBOL:
                unit_hash = (unit_hash ^ folded[piece]) * prime
                length += chars[piece]
            if unit == 2 and length > 0 and marks[piece] == TOKEN_END:
                texts[used], hashes[used], lengths[used] = text, mix64(unit_hash), length
                used += 1
                unit_hash, length = np.uint64(0), 0
        if length > 0:
            texts[used], hashes[used], lengths[used] = text, mix64(unit_hash), length
            used += 1
        if unit == 2 and used > first:
            spans = max(used - first - SPAN_SENTENCES + 1, 1)
            for span in range(first, first + spans):
                unit_hash, length = np.uint64(0), 0
                for sentence in range(span, min(span + SPAN_SENTENCES, used)):
                    unit_hash = (unit_hash ^ hashes[sentence]) * prime
                    length += lengths[sentence]
                # A span is written where its first sentence stood, which no later span begins with.
                hashes[span], lengths[span] = mix64(unit_hash), length
            used = first + spans
    return used
