"""Gopher's quality statistics: how much a text looks like prose rather than lists, markup or noise.

*Source:* Rae et al. 2021 (arXiv 2112.11446), appendix A.1.1, with the readings of datatrove 0.10: symbols are counted per word, a
line is what `str.splitlines` gives, stop words are matched in lower case. One difference: datatrove takes every punctuation mark
for a word, so that it finds letters in only four of five words of ordinary prose and rejects a third of Wikipedia; here, as in the
paper, punctuation counts as a word only where it stands free between white space. With `words = "datatrove"` the numbers are
datatrove's, punctuation and all.

Two statistics were made for alphabets, and say nothing of a script in which one character is a word or a syllable (Han, kana, Hangul,
Thai and its neighbours): where most words are in such a script, the mean length of a word is null, so that no rule turns it down.
"""

import functools

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.datatrove_words import split_as_datatrove, splitter_version
from classifiers.splitters import DATATROVE, HEADWATER
from classifiers.text_batch import TextBatch
from classifiers.words import COMPLEX, IDEOGRAPH, KIND_LETTERS, KIND_SYMBOL, SPACE, TABLE_SIZE, code_point_tables, split_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""Words of which English prose holds at least two, in lower case as listed. *Source:* Rae et al. 2021, A.1.1."""

STOP_TABLE_BITS = 12
"""The kernel finds stop words in a table of 2**12 entries: small enough for the first-level cache."""

(HASHES, ELLIPSES, BULLET_LINES, ELLIPSIS_LINES, LINES, WORDS_WITH_LETTERS, WORD_CHARS, FREE_SYMBOLS, SYLLABIC_WORDS,
 STOP_WORDS_SEEN) = range(10)  # fmt: skip
"""Columns of `count_marks`."""


class GopherQualityScorer:
    """The columns of `measure_quality`, or of `measure_quality_as_datatrove`."""

    name = "gopher_quality"
    fields = pa.schema(
        [
            ("mean_word_chars", pa.float32()),
            ("hash_word_share", pa.float32()),
            ("ellipsis_word_share", pa.float32()),
            ("bullet_line_share", pa.float32()),
            ("ellipsis_line_share", pa.float32()),
            ("alpha_word_share", pa.float32()),
            ("stop_words", pa.int16()),
        ]
    )

    def __init__(self, words: str = HEADWATER):
        """`words` is `headwater` or `datatrove`: whose words are counted."""
        self._words = words
        self.version = f"gopher-quality-2;{splitter_version(words)}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The seven columns. By Headwater's words `mean_word_chars` is null where more than half of them are syllabic; no other is ever null."""
        if self._words == DATATROVE:
            return {name: pa.array(column) for name, column in batch.derive(measure_quality_as_datatrove).items()}
        columns = {name: pa.array(column) for name, column in batch.derive(measure_quality).items()}
        syllabic = batch.derive(count_marks)[:, SYLLABIC_WORDS] * 2 > batch.words.counts
        columns["mean_word_chars"] = pa.array(batch.derive(measure_quality)["mean_word_chars"], mask=syllabic)
        return columns


def measure_quality(batch: TextBatch) -> dict[str, np.ndarray]:
    """Gopher's quality statistics of every text, float32 but for `stop_words` (int16). Where there is nothing to divide by: 0.

    * `mean_word_chars`: code points of a word, on average;
    * `hash_word_share`, `ellipsis_word_share`: `#`, and `...` or its one-character form, per word; can exceed 1;
    * `alpha_word_share`: words with a letter per word. In these three, symbols between white space count as one word;
    * `bullet_line_share`, `ellipsis_line_share`: lines (as `str.splitlines` has them) that begin with a bullet or `-`, or end
      in an ellipsis, white space aside, per line;
    * `stop_words`: how many of `STOP_WORDS` occur, 0 to 8.
    """
    words = batch.words
    marks = batch.derive(count_marks)
    chunks, lines = words.counts + marks[:, FREE_SYMBOLS], marks[:, LINES]
    return {
        "mean_word_chars": _share(marks[:, WORD_CHARS], words.counts),
        "hash_word_share": _share(marks[:, HASHES], chunks),
        "ellipsis_word_share": _share(marks[:, ELLIPSES], chunks),
        "bullet_line_share": _share(marks[:, BULLET_LINES], lines),
        "ellipsis_line_share": _share(marks[:, ELLIPSIS_LINES], lines),
        "alpha_word_share": _share(marks[:, WORDS_WITH_LETTERS], chunks),
        "stop_words": np.bitwise_count(marks[:, STOP_WORDS_SEEN]).astype(np.int16),
    }


def measure_quality_as_datatrove(batch: TextBatch) -> dict[str, np.ndarray]:
    """The same columns as datatrove 0.10 computes them: every token of its splitter is a word, but `mean_word_chars` is of those that hold
    more than punctuation."""
    words, marks, hashes = batch.derive(split_as_datatrove), batch.derive(count_marks), _datatrove_stop_hashes()
    text = np.repeat(np.arange(len(batch)), np.diff(words.offsets))
    counts, lines = np.diff(words.offsets), marks[:, LINES]
    place = np.searchsorted(hashes, words.exact)
    seen = np.zeros((len(batch), len(hashes)), bool)
    found = hashes[np.minimum(place, len(hashes) - 1)] == words.exact
    seen[text[found], place[found]] = True
    chars = np.bincount(text, np.where(words.kinds == KIND_SYMBOL, 0, words.chars), len(batch))
    return {
        "mean_word_chars": _share(chars, words.counts),
        "hash_word_share": _share(marks[:, HASHES], counts),
        "ellipsis_word_share": _share(marks[:, ELLIPSES], counts),
        "bullet_line_share": _share(marks[:, BULLET_LINES], lines),
        "ellipsis_line_share": _share(marks[:, ELLIPSIS_LINES], lines),
        "alpha_word_share": _share(np.bincount(text[words.kinds == KIND_LETTERS], minlength=len(batch)), counts),
        "stop_words": seen.sum(axis=1).astype(np.int16),
    }


def count_marks(batch: TextBatch) -> np.ndarray:
    """int64[n, 10]: what the shares are made of; the last column has one bit for each stop word seen."""
    words = batch.words
    marks = np.zeros((len(batch), STOP_WORDS_SEEN + 1), np.int64)
    stop_hashes, stop_table = _stop_table()
    arrays = (words.offsets, words.begins, words.ends, words.chars, words.exact, words.kinds)
    _count(batch.utf8, batch.offsets, *arrays, code_point_tables()[0], stop_hashes, stop_table, marks)
    return marks


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole` as float32, 0 where `whole` is 0."""
    return (part / np.maximum(whole, 1)).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _datatrove_stop_hashes() -> np.ndarray:
    """Hashes of the stop words as `split_as_datatrove` has them, ascending."""
    return np.sort(split_as_datatrove(TextBatch.of([" ".join(STOP_WORDS)])).exact)


@functools.lru_cache(maxsize=1)
def _stop_table() -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the stop words, and a table from the high bits of a hash to 1 + the place of the stop word that has them."""
    utf8 = np.frombuffer(" ".join(STOP_WORDS).encode(), np.uint8)
    hashes = split_words(utf8, np.array([0, len(utf8)])).exact
    table = np.zeros(1 << STOP_TABLE_BITS, np.uint8)
    slots = (hashes >> np.uint64(64 - STOP_TABLE_BITS)).astype(np.int64)
    table[slots] = np.arange(1, len(hashes) + 1)
    return hashes, table


@njit(cache=True, nogil=True)
def _count(utf8, offsets, piece_offsets, begins, ends, chars, exact, kinds, classes, stop_hashes, stop_table, marks):
    """Walks the pieces of every text and looks at bytes only between them, where the line ends are."""
    shift = np.uint64(64 - STOP_TABLE_BITS)
    for text in range(len(offsets) - 1):
        hashes, ellipses, bullet_lines, ellipsis_lines, lines = 0, 0, 0, 0, 0
        letters, word_chars, syllabic, seen = 0, 0, 0, 0
        free_symbols, chunk_has_word, chunk_has_symbol = 0, False, False
        at_line_start, ends_in_ellipsis, line_has_bytes = True, False, False
        at, end = offsets[text], offsets[text + 1]
        piece, last_piece = piece_offsets[text], piece_offsets[text + 1]
        while at < end:
            gap_end = np.int64(begins[piece]) if piece < last_piece else end
            separates = False
            while at < gap_end:
                code_point, size = np.int64(utf8[at]), 1
                if code_point == 0x20:
                    line_has_bytes, separates = True, True
                    at += 1
                    continue
                if 0xC2 <= code_point < 0xE0 and at + 1 < gap_end:
                    code_point, size = (code_point & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F, 2
                elif 0xE0 <= code_point < 0xF0 and at + 2 < gap_end:
                    code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
                    size = 3
                elif code_point >= 0xF0:
                    code_point, size = 0xE0001, 4
                ends_line = 0x0A <= code_point <= 0x0D or 0x1C <= code_point <= 0x1E or code_point == 0x85
                if ends_line or code_point == 0x2028 or code_point == 0x2029:
                    if code_point == 0x0D and at + 1 < end and utf8[at + 1] == 0x0A:
                        size = 2
                    lines += 1
                    ellipsis_lines += 1 if ends_in_ellipsis else 0
                    at_line_start, ends_in_ellipsis, line_has_bytes = True, False, False
                    separates = True
                else:
                    line_has_bytes = True
                    if code_point < TABLE_SIZE and classes[code_point] == SPACE:
                        separates = True
                    else:
                        at_line_start, ends_in_ellipsis = False, False
                at += size
            if separates or piece == last_piece:
                free_symbols += 1 if chunk_has_symbol and not chunk_has_word else 0
                chunk_has_word, chunk_has_symbol = False, False
            if piece == last_piece:
                break
            ends_in_ellipsis, line_has_bytes = False, True
            kind = kinds[piece]
            if kind == KIND_SYMBOL:
                chunk_has_symbol = True
                stop = np.int64(ends[piece])
                first = utf8[at]
                if at_line_start:
                    bullet = first == 0x2D or (first == 0xE2 and stop - at >= 3 and utf8[at + 1] == 0x80 and utf8[at + 2] == 0xA2)
                    bullet_lines += 1 if bullet else 0
                dots = 0
                for place in range(at, stop):
                    byte = utf8[place]
                    if byte == 0x2E:
                        dots += 1
                        ellipses += 1 if dots % 3 == 0 else 0
                        ends_in_ellipsis = dots >= 3
                    else:
                        dots = 0
                        hashes += 1 if byte == 0x23 else 0
                        ends_in_ellipsis = byte == 0xA6 and place - at >= 2 and utf8[place - 1] == 0x80 and utf8[place - 2] == 0xE2
                        ellipses += 1 if ends_in_ellipsis else 0
            else:
                chunk_has_word = True
                word_chars += chars[piece]
                letters += 1 if kind == KIND_LETTERS else 0
                if utf8[at] >= 0xE0:
                    syllabic += 1 if _is_syllabic(utf8, at, np.int64(ends[piece]), classes) else 0
                entry = np.int64(stop_table[exact[piece] >> shift])
                if entry > 0 and stop_hashes[entry - 1] == exact[piece]:
                    seen |= 1 << (entry - 1)
            at_line_start = False
            at = np.int64(ends[piece])
            piece += 1
        free_symbols += 1 if chunk_has_symbol and not chunk_has_word else 0
        if line_has_bytes:
            lines += 1
            ellipsis_lines += 1 if ends_in_ellipsis else 0
        marks[text, HASHES], marks[text, ELLIPSES], marks[text, LINES], marks[text, WORDS_WITH_LETTERS] = hashes, ellipses, lines, letters
        marks[text, BULLET_LINES], marks[text, ELLIPSIS_LINES], marks[text, WORD_CHARS] = bullet_lines, ellipsis_lines, word_chars
        marks[text, FREE_SYMBOLS], marks[text, SYLLABIC_WORDS], marks[text, STOP_WORDS_SEEN] = free_symbols, syllabic, seen


@njit(cache=True, nogil=True)
def _is_syllabic(utf8, at, end, classes):
    """Whether the word from byte `at` begins with a character that is a word or a syllable: Han, kana, Hangul, or of a script without spaces."""
    first = np.int64(utf8[at])
    if end - at < 3 + (first >= 0xF0):
        return False
    code_point = (first & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
    if first >= 0xF0:
        code_point = (first & 0x07) << 18 | (np.int64(utf8[at + 1]) & 0x3F) << 12
        code_point |= (np.int64(utf8[at + 2]) & 0x3F) << 6 | np.int64(utf8[at + 3]) & 0x3F
    if code_point >= TABLE_SIZE:
        return True  # the planes above hold ideographs; symbols and tags never begin a word
    hangul = 0x1100 <= code_point <= 0x11FF or 0xAC00 <= code_point <= 0xD7A3
    return hangul or classes[code_point] == IDEOGRAPH or classes[code_point] == COMPLEX
