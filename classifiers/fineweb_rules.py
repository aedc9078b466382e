"""FineWeb's rules: statistics of lines that tell lists, menus and torn text from prose.

*Source:* Penedo et al. 2024 (arXiv 2406.17557), section 3.6, in the reading of datatrove 0.10 (`FineWebQualityFilter`). By Headwater's words
three things differ, so that text is not turned down for how it is set: white space and closing quotation marks and brackets at the end of a line do
not hide the punctuation before them; a Han, kana or Hangul character counts as two of a line's 30 (it is twice as wide, and says as
much); and words are those of `classifiers.words`. With `words = "datatrove"` the numbers are datatrove's.
"""

import functools

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.datatrove_words import split_as_datatrove, splitter_version, terminal_punctuation
from classifiers.lines import split_at_newlines, strip_lines
from classifiers.splitters import DATATROVE, HEADWATER
from classifiers.text_batch import TextBatch
from classifiers.words import TABLE_SIZE

SHORT_LINE_CHARS = 30
"""Characters of a short line, at most."""
CLOSING = "\"'”’»›」』】）)]}*_"
"""Characters that may stand between the punctuation of a line and its end."""

ENDS_LINE, CLOSES = 1, 2
FULL_LINES, PUNCTUATED, SHORT, DUPLICATE_CHARS, CHARS, NEWLINES = range(6)
"""Columns of the kernel."""


class FineWebScorer:
    """FineWeb's four statistics, float32, never null; 0 where there is nothing to divide by.

    * `fineweb_punctuated_line_share`: lines that end in terminal punctuation of any script, of those that are not blank;
    * `fineweb_short_line_share`: lines of at most 30 characters, likewise;
    * `fineweb_duplicate_line_char_share`: characters in lines that already occurred, per character of the text, newlines aside;
    * `fineweb_newlines_per_word`: newlines per word.
    """

    name = "fineweb"
    fields = pa.schema(
        [
            ("fineweb_punctuated_line_share", pa.float32()),
            ("fineweb_short_line_share", pa.float32()),
            ("fineweb_duplicate_line_char_share", pa.float32()),
            ("fineweb_newlines_per_word", pa.float32()),
        ]
    )

    def __init__(self, words: str = HEADWATER):
        """`words` is `headwater` or `datatrove`: whose words and lines are counted."""
        self._as_datatrove = words == DATATROVE
        self.version = f"fineweb-1;{splitter_version(words)}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The four columns."""
        counts = count_lines(batch, self._as_datatrove)
        words = np.diff(batch.derive(split_as_datatrove).offsets) if self._as_datatrove else batch.words.counts
        made = {
            "fineweb_punctuated_line_share": counts[:, PUNCTUATED] / np.maximum(counts[:, FULL_LINES], 1),
            "fineweb_short_line_share": counts[:, SHORT] / np.maximum(counts[:, FULL_LINES], 1),
            "fineweb_duplicate_line_char_share": counts[:, DUPLICATE_CHARS] / np.maximum(counts[:, CHARS], 1),
            "fineweb_newlines_per_word": counts[:, NEWLINES] / np.maximum(words, 1),
        }
        return {name: pa.array(column.astype(np.float32)) for name, column in made.items()}


def count_lines(batch: TextBatch, as_datatrove: bool = False) -> np.ndarray:
    """int64[n, 6]: lines that are not blank, punctuated ones, short ones, characters in duplicate ones, in all but newlines, and newlines."""
    lines = batch.derive(split_at_newlines)
    begins, ends = strip_lines(batch, lines)
    counts = np.zeros((len(batch), 6), np.int64)
    _count(batch.utf8, lines.offsets, lines.begins, lines.ends, begins, ends, _line_ends(), as_datatrove, counts)
    counts[:, CHARS] = batch.words.text_chars - counts[:, NEWLINES]
    return counts


@functools.lru_cache(maxsize=1)
def _line_ends() -> np.ndarray:
    """uint8 for every code point below `TABLE_SIZE`: `ENDS_LINE` or `CLOSES`."""
    table = np.zeros(TABLE_SIZE, np.uint8)
    table[[ord(character) for character in terminal_punctuation()]] = ENDS_LINE
    table[[ord(character) for character in CLOSING]] = CLOSES
    return table


@njit(cache=True, nogil=True)
def _count(utf8, line_offsets, begins, ends, stripped_begins, stripped_ends, table, as_datatrove, counts):
    most = 0
    for text in range(len(line_offsets) - 1):
        most = max(most, line_offsets[text + 1] - line_offsets[text])
    slots = 16
    while slots < 2 * most:
        slots *= 2
    seen, keys = np.zeros(slots, np.int64), np.empty(most + 1, np.uint64)
    prime = np.uint64(0x9E3779B97F4A7C15)
    for text in range(len(line_offsets) - 1):
        first, last = line_offsets[text], line_offsets[text + 1]
        size = 16
        while size < 2 * (last - first):
            size *= 2
        seen[:size] = 0
        num_keys = 0
        for line in range(first, last):
            begin, end = begins[line], ends[line]
            if stripped_begins[line] >= stripped_ends[line]:
                continue
            num_chars, wide = 0, 0
            key = np.uint64(end - begin)
            for at in range(begin, end):
                byte = utf8[at]
                num_chars += 1 if byte & 0xC0 != 0x80 else 0
                wide += 1 if 0xE3 <= byte <= 0xED or byte >= 0xF0 else 0
                key = (key ^ np.uint64(byte)) * prime
            key ^= key >> np.uint64(31)
            slot = np.int64(key & np.uint64(size - 1))
            while seen[slot] != 0 and keys[seen[slot] - 1] != key:
                slot = (slot + 1) & (size - 1)
            if seen[slot] != 0:
                counts[text, DUPLICATE_CHARS] += num_chars
            else:
                keys[num_keys] = key
                num_keys += 1
                seen[slot] = num_keys
            counts[text, FULL_LINES] += 1
            counts[text, SHORT] += 1 if num_chars + (0 if as_datatrove else wide) <= SHORT_LINE_CHARS else 0
            at = end if as_datatrove else stripped_ends[line]
            while at > begin:
                start = at - 1
                while start > begin and utf8[start] & 0xC0 == 0x80:
                    start -= 1
                code_point, length = np.int64(utf8[start]), at - start
                if length == 2:
                    code_point = (code_point & 0x1F) << 6 | np.int64(utf8[start + 1]) & 0x3F
                elif length == 3:
                    code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[start + 1]) & 0x3F) << 6 | np.int64(utf8[start + 2]) & 0x3F
                elif length == 4:
                    code_point = (code_point & 0x07) << 18 | (np.int64(utf8[start + 1]) & 0x3F) << 12
                    code_point |= (np.int64(utf8[start + 2]) & 0x3F) << 6 | np.int64(utf8[start + 3]) & 0x3F
                mark = table[code_point] if code_point < TABLE_SIZE else 0
                if mark == ENDS_LINE:
                    counts[text, PUNCTUATED] += 1
                    break
                if as_datatrove or mark != CLOSES:
                    break
                at = start
        counts[text, NEWLINES] = last - first - 1
