"""White space at the ends of spans of bytes (texts, lines), stripped for a whole batch at once."""

import numpy as np
from numba import njit

from classifiers.words import SPACE, TABLE_SIZE, code_point_tables


def strip_spans(utf8: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First byte and the byte after the last (int64 each, new arrays) of every span of `utf8` without the white space (`str.isspace`) at its ends.

    Spans must be whole UTF-8, as those of texts and of lines are.
    """
    begins, ends = np.array(begins, np.int64), np.array(ends, np.int64)
    _strip_each(utf8, code_point_tables()[0], begins, ends)
    return begins, ends


@njit(cache=True, nogil=True)
def _strip_each(utf8, classes, begins, ends):
    for span in range(len(begins)):
        begin, end = begins[span], ends[span]
        while begin < end:
            code_point, size = np.int64(utf8[begin]), 1
            if 0xC2 <= code_point < 0xE0 and begin + 1 < end:
                code_point, size = (code_point & 0x1F) << 6 | np.int64(utf8[begin + 1]) & 0x3F, 2
            elif 0xE0 <= code_point < 0xF0 and begin + 2 < end:
                code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[begin + 1]) & 0x3F) << 6 | np.int64(utf8[begin + 2]) & 0x3F
                size = 3
            if code_point >= TABLE_SIZE or classes[code_point] != SPACE:
                break
            begin += size
        while begin < end:
            first = end - 1
            while first > begin and end - first < 4 and utf8[first] & 0xC0 == 0x80:
                first -= 1
            code_point, size = np.int64(utf8[first]), end - first
            if size == 2:
                code_point = (code_point & 0x1F) << 6 | np.int64(utf8[first + 1]) & 0x3F
            elif size == 3:
                code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[first + 1]) & 0x3F) << 6 | np.int64(utf8[first + 2]) & 0x3F
            if size > 3 or code_point >= TABLE_SIZE or classes[code_point] != SPACE:
                break
            end = first
        begins[span], ends[span] = begin, end
