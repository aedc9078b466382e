"""The lines of a batch of texts, found once for every scorer that looks at lines."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from classifiers.strip_spans import strip_spans
from classifiers.text_batch import TextBatch

USUAL_LINE_BYTES = 16
"""Bytes of a line below which, on average, a batch is walked a second time, for there was too little room."""


@dataclass(frozen=True)
class Lines:
    """Lines of every text, in order, as flat arrays."""

    offsets: np.ndarray
    """int64[n + 1]: the lines of text i are those from `offsets[i]` up to, not including, `offsets[i + 1]`."""
    begins: np.ndarray
    """int64: first byte of each line, in the `utf8` of the batch."""
    ends: np.ndarray
    """int64: the byte after its last, before what ends the line."""


def split_lines(batch: TextBatch) -> Lines:
    """Lines as `str.splitlines` has them; to be called through `batch.derive`."""
    return _lines(batch, newlines_only=False)


def split_at_newlines(batch: TextBatch) -> Lines:
    """Lines as `str.split("\\n")` has them: an empty text has one, and a carriage return belongs to its line."""
    return _lines(batch, newlines_only=True)


def _lines(batch: TextBatch, newlines_only: bool) -> Lines:
    offsets = np.zeros(len(batch) + 1, np.int64)
    room = len(batch) + int(batch.offsets[-1] - batch.offsets[0]) // USUAL_LINE_BYTES
    while True:
        begins, ends = np.empty(room, np.int64), np.empty(room, np.int64)
        used = _find_lines(batch.utf8, batch.offsets, newlines_only, offsets, begins, ends)
        if used <= room:
            return Lines(offsets, begins[:used], ends[:used])
        room = used


@njit(cache=True, nogil=True)
def _find_lines(utf8, offsets, newlines_only, line_offsets, begins, ends):
    """Fills the arrays of `Lines` where they have room, and returns how many lines there are."""
    used, room = 0, len(begins)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        at = begin
        while at < end:
            byte = utf8[at]
            if byte > 0x1E and byte != 0xC2 and byte != 0xE2:
                at += 1
                continue
            size = 0
            if byte == 0x0A:
                size = 1
            elif not newlines_only:
                if byte <= 0x1E:
                    if byte == 0x0D:
                        size = 2 if at + 1 < end and utf8[at + 1] == 0x0A else 1
                    elif byte == 0x0B or byte == 0x0C or byte >= 0x1C:
                        size = 1
                elif byte == 0xC2:
                    size = 2 if at + 1 < end and utf8[at + 1] == 0x85 else 0
                elif byte == 0xE2:
                    size = 3 if at + 2 < end and utf8[at + 1] == 0x80 and 0xA8 <= utf8[at + 2] <= 0xA9 else 0
            if size:
                if used < room:
                    begins[used], ends[used] = begin, at
                used += 1
                at += size
                begin = at
            else:
                at += 1
        if begin < end or newlines_only:
            if used < room:
                begins[used], ends[used] = begin, end
            used += 1
        line_offsets[text + 1] = used
    return used


def strip_lines(batch: TextBatch, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
    """First and last-but-one byte (int64 each) of every line without the white space (`str.isspace`) at its ends."""
    return strip_spans(batch.utf8, lines.begins, lines.ends)
