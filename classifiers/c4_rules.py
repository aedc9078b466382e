"""C4's rules: which lines it would drop, and what then speaks against the document.

*Source:* Raffel et al. 2020 (JMLR 21:140), section 2.2, in the reading of datatrove 0.10 (`C4QualityFilter`), as FineWeb ran it: the rule that a
line must end in punctuation is a score of its own and drops no line. By Headwater's words a line's words are those of
`classifiers.words`, so that Chinese or Thai is not one word a line; with `words = "datatrove"` they are what stands between white space.
Some 10 microseconds for 300 words.
"""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from classifiers.datatrove_words import TOKEN_END, TOKEN_PUNCTUATION, sentence_marks, split_as_datatrove, splitter_version
from classifiers.lines import split_lines, strip_lines
from classifiers.phrases import Hits, Phrase, PhraseBook, compile_phrases, find_phrases
from classifiers.splitters import DATATROVE, HEADWATER
from classifiers.text_batch import TextBatch
from classifiers.words import COMPLEX, KIND_SYMBOL, SPACE, TABLE_SIZE, code_point_tables, split_words

MIN_LINE_WORDS = 3
"""Words of a line that C4 keeps, at least."""
MAX_WORD_CHARS = 1_000
"""Code points of a word in a line that C4 keeps, at most."""
POLICY_PHRASES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
"""Phrases of lines that C4 drops as a site's small print."""
ABBREVIATIONS = (
    "mr mrs ms dr prof st jr sr vs etc no vol fig inc ltd co corp gen rep sen gov dept approx jan feb mar apr jun jul aug sep sept oct nov dec"
)
"""Words after which a full stop does not end a sentence, besides single letters."""
CITATIONS = r"\[\d*\]|\[edit\]|\[citation needed\]"
"""Marks of Wikipedia that C4 removes from what it keeps."""

LOREM_IPSUM, JAVASCRIPT, POLICY = 1, 2, 4
KEPT, TOO_FEW_WORDS, LONG_WORD, JAVASCRIPT_LINE, POLICY_LINE = range(5)
"""What becomes of a line, as `judge_lines` has it."""

SENTENCES, LOREM_LINES, BRACKET_LINES, JAVASCRIPT_LINES, POLICY_LINES, CHARS, DROPPED_CHARS, FULL_LINES, UNPUNCTUATED = range(9)
"""Columns of the kernel."""


class C4Scorer:
    """What C4's rules ask of a document, as numbers.

    * `c4_sentences`: sentences in the lines that C4 keeps;
    * `c4_lorem_ipsum_lines`, `c4_curly_bracket_lines`: lines that hold `lorem ipsum`, or `{`, among those with enough words;
    * `c4_javascript_lines`, `c4_policy_lines`: lines that C4 drops because they speak of JavaScript, or of cookies and terms of use;
    * `c4_dropped_char_share`: characters in lines that C4 drops for any reason, per character of all lines, white space at their ends aside;
    * `c4_unpunctuated_line_share`: lines, of those that are not blank, without one of `. ? ! " '` at their end, or with `...` there.
    """

    name = "c4"
    fields = pa.schema(
        [
            ("c4_sentences", pa.int32()),
            ("c4_lorem_ipsum_lines", pa.int32()),
            ("c4_curly_bracket_lines", pa.int32()),
            ("c4_javascript_lines", pa.int32()),
            ("c4_policy_lines", pa.int32()),
            ("c4_dropped_char_share", pa.float32()),
            ("c4_unpunctuated_line_share", pa.float32()),
        ]
    )

    def __init__(self, words: str = HEADWATER):
        """`words` is `headwater` or `datatrove`: whose words and sentences are counted."""
        self._measure = _measure_as_datatrove if words == DATATROVE else _measure
        self.version = f"c4-1;{splitter_version(words)}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The seven columns, never null; 0 for a text without lines."""
        counts = batch.derive(self._measure)[0]
        made = {
            "c4_sentences": counts[:, SENTENCES].astype(np.int32),
            "c4_lorem_ipsum_lines": counts[:, LOREM_LINES].astype(np.int32),
            "c4_curly_bracket_lines": counts[:, BRACKET_LINES].astype(np.int32),
            "c4_javascript_lines": counts[:, JAVASCRIPT_LINES].astype(np.int32),
            "c4_policy_lines": counts[:, POLICY_LINES].astype(np.int32),
            "c4_dropped_char_share": (counts[:, DROPPED_CHARS] / np.maximum(counts[:, CHARS], 1)).astype(np.float32),
            "c4_unpunctuated_line_share": (counts[:, UNPUNCTUATED] / np.maximum(counts[:, FULL_LINES], 1)).astype(np.float32),
        }
        return {name: pa.array(column) for name, column in made.items()}


def keep_c4_lines(texts: pa.StringArray, words: str = HEADWATER) -> pa.StringArray:
    """`texts` as C4 leaves them: of each the lines that it keeps, stripped, without citation marks, joined by newlines.

    Changes text, so no scorer does it: for whoever wants C4's cleaning and not only its verdict. A text of which no line is kept is empty.
    """
    batch = TextBatch(texts)
    lines = batch.derive(split_lines)
    begins, ends = strip_lines(batch, lines)
    fates = batch.derive(_measure_as_datatrove if words == DATATROVE else _measure)[1]
    kept, offsets = _join(batch.utf8, lines.offsets, begins, ends, fates == KEPT)
    joined = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(kept))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(joined, pattern=CITATIONS, replacement=""))


def judge_lines(batch: TextBatch) -> np.ndarray:
    """uint8, one for each of `split_lines(batch)`: `KEPT`, or why C4 would drop it, by Headwater's words."""
    return batch.derive(_measure)[1]


def find_line_phrases(batch: TextBatch) -> Hits:
    """Where C4's phrases stand; groups are `LOREM_IPSUM`, `JAVASCRIPT` and `POLICY`."""
    return find_phrases(batch, _book())


@functools.lru_cache(maxsize=1)
def _book() -> PhraseBook:
    policy = [Phrase(POLICY, phrase) for phrase in POLICY_PHRASES]
    return compile_phrases([Phrase(LOREM_IPSUM, "lorem ipsum"), Phrase(JAVASCRIPT, "javascript"), *policy])


@functools.lru_cache(maxsize=1)
def _abbreviations() -> np.ndarray:
    """Folded hashes of `ABBREVIATIONS`, ascending."""
    utf8 = np.frombuffer(ABBREVIATIONS.encode(), np.uint8)
    return np.sort(split_words(utf8, np.array([0, len(utf8)])).folded)


def mark_sentence_ends(batch: TextBatch) -> np.ndarray:
    """uint8, one for each piece of `batch.words`: `TOKEN_END` after which a new sentence begins, `TOKEN_PUNCTUATION` for other symbols."""
    words = batch.words
    marks = np.empty(len(words.begins), np.uint8)
    pieces = (words.offsets, words.begins, words.ends, words.folded, words.kinds, words.chars)
    _mark_sentence_ends(batch.utf8, *pieces, code_point_tables()[0], _abbreviations(), marks)
    return marks


def _measure(batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    """int64[n, 9] with the columns named above, and uint8 for each line: what becomes of it."""
    return _count_lines(batch, batch.words, batch.derive(mark_sentence_ends), by_white_space=False)


def _measure_as_datatrove(batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    return _count_lines(batch, batch.derive(split_as_datatrove), sentence_marks(batch), by_white_space=True)


def _count_lines(batch, words, marks, by_white_space) -> tuple[np.ndarray, np.ndarray]:
    lines, hits = batch.derive(split_lines), batch.derive(find_line_phrases)
    begins, ends = strip_lines(batch, lines)
    counts, fates = np.zeros((len(batch), 9), np.int64), np.zeros(len(lines.begins), np.uint8)
    pieces = (words.offsets, words.begins, words.chars, words.kinds, marks)
    classes = code_point_tables()[0]
    _judge(batch.utf8, classes, lines.offsets, begins, ends, *pieces, hits.group, hits.begin, by_white_space, counts, fates)
    return counts, fates


@njit(cache=True, nogil=True)
def _mark_sentence_ends(utf8, offsets, begins, ends, folded, kinds, chars, classes, abbreviations, marks):
    """`TOKEN_END` for a piece after which a new sentence begins, `TOKEN_PUNCTUATION` for other symbols."""
    for text in range(len(offsets) - 1):
        last = offsets[text + 1]
        for piece in range(offsets[text], last):
            begin, end = np.int64(begins[piece]), np.int64(ends[piece])
            following = np.int64(begins[piece + 1]) if piece + 1 < last else end + 1
            marks[piece] = 0
            if kinds[piece] != KIND_SYMBOL:
                # Thai and its neighbours write a space where others end a sentence or a clause.
                if utf8[begin] >= 0xE0 and utf8[begin] < 0xF0 and end - begin >= 3 and following > end:
                    code_point = (np.int64(utf8[begin]) & 0x0F) << 12 | (np.int64(utf8[begin + 1]) & 0x3F) << 6 | np.int64(utf8[begin + 2]) & 0x3F
                    marks[piece] = TOKEN_END if classes[code_point] == COMPLEX else 0
                continue
            dots, strong, wide = 0, False, False
            for at in range(begin, end):
                byte = utf8[at]
                if byte == 0x2E:
                    dots += 1
                elif byte == 0x21 or byte == 0x3F:
                    strong = True
                elif byte >= 0x80 and at > begin:
                    wide = wide or _ends_sentence(byte, utf8[at - 1], utf8[at - 2] if at - begin >= 2 else 0)
            ended = wide
            if following > end and (strong or dots == 1):
                ended = True
                if not strong and end - begin == 1 and piece > offsets[text] and begins[piece] == ends[piece - 1]:
                    ascii_letter = chars[piece - 1] == 1 and utf8[begins[piece - 1]] < 0x80 and kinds[piece - 1] == 3
                    key = folded[piece - 1]
                    place = np.searchsorted(abbreviations, key)
                    ended = not ascii_letter and (place == len(abbreviations) or abbreviations[place] != key)
            marks[piece] = TOKEN_END if ended else TOKEN_PUNCTUATION


@njit(cache=True, nogil=True)
def _judge(
    utf8, classes, line_offsets, begins, ends, piece_offsets, piece_begins, chars, kinds, marks, groups, hit_begins, by_white_space, counts, fates
):
    hit, num_hits = 0, len(groups)
    for text in range(len(line_offsets) - 1):
        piece, last = piece_offsets[text], piece_offsets[text + 1]
        for line in range(line_offsets[text], line_offsets[text + 1]):
            begin, end = begins[line], ends[line]
            found = 0
            while hit < num_hits and hit_begins[hit] < end:
                found |= groups[hit] if hit_begins[hit] >= begin else 0
                hit += 1
            words, longest, sentences, in_sentence, ended = 0, 0, 0, False, False
            while piece < last and piece_begins[piece] < end:
                if kinds[piece] != KIND_SYMBOL:
                    words += 1
                    longest = max(longest, chars[piece])
                if marks[piece] & TOKEN_END:
                    # What ends a sentence may belong to one that it opens itself: a lone full stop is one to datatrove.
                    if not in_sentence and (by_white_space or kinds[piece] != KIND_SYMBOL):
                        sentences += 1
                        in_sentence = True
                    ended = True
                elif (by_white_space or kinds[piece] != KIND_SYMBOL) and (not in_sentence or (ended and not marks[piece] & TOKEN_PUNCTUATION)):
                    sentences += 1
                    in_sentence, ended = True, False
                piece += 1
            num_chars, brackets = 0, 0
            for byte in utf8[begin:end]:
                num_chars += byte & 0xC0 != 0x80
                brackets += byte == 0x7B
            if by_white_space:
                words, longest = _count_chunks(utf8, begin, end, classes)
            fate = KEPT
            if longest > MAX_WORD_CHARS:
                fate = LONG_WORD
            elif words < MIN_LINE_WORDS:
                fate = TOO_FEW_WORDS
            else:
                counts[text, LOREM_LINES] += 1 if found & LOREM_IPSUM else 0
                if found & JAVASCRIPT:
                    fate = JAVASCRIPT_LINE
                    counts[text, JAVASCRIPT_LINES] += 1
                else:
                    counts[text, BRACKET_LINES] += 1 if brackets else 0
                    if found & POLICY:
                        fate = POLICY_LINE
                        counts[text, POLICY_LINES] += 1
            fates[line] = fate
            counts[text, CHARS] += num_chars
            counts[text, DROPPED_CHARS] += num_chars if fate != KEPT else 0
            counts[text, SENTENCES] += sentences if fate == KEPT else 0
            if end > begin:
                counts[text, FULL_LINES] += 1
                counts[text, UNPUNCTUATED] += 0 if _is_punctuated(utf8, begin, end) else 1


@njit(cache=True, nogil=True)
def _ends_sentence(byte, previous, before):
    """Whether three bytes end in a mark that ends a sentence without a space after it: Chinese and Japanese, Devanagari, Arabic, Urdu."""
    if previous == 0x80 and before == 0xE3:
        return byte == 0x82
    if previous == 0xBC and before == 0xEF:
        return byte == 0x81 or byte == 0x8E or byte == 0x9F
    if previous == 0xA5 and before == 0xE0:
        return byte == 0xA4 or byte == 0xA5
    return (byte == 0x9F and previous == 0xD8) or (byte == 0x94 and previous == 0xDB)


@njit(cache=True, nogil=True)
def _count_chunks(utf8, begin, end, classes):
    """What stands between white space (`str.split`): how many, and the code points of the longest."""
    chunks, chars, longest = 0, 0, 0
    at = begin
    while at < end:
        code_point, size = np.int64(utf8[at]), 1
        if code_point >= 0x80:
            if code_point < 0xE0 and at + 1 < end:
                code_point, size = (code_point & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F, 2
            elif code_point < 0xF0 and at + 2 < end:
                code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
                size = 3
            else:
                code_point, size = 0xFFFD, 4
        if classes[code_point] == SPACE:
            chars = 0
        else:
            chunks += 1 if chars == 0 else 0
            chars += 1
            longest = max(longest, chars)
        at += size
    return chunks, longest


@njit(cache=True, nogil=True)
def _is_punctuated(utf8, begin, end):
    """Whether a line ends as C4 wants it; citation marks (`[12]`) at its end aside."""
    while end - begin >= 2 and utf8[end - 1] == 0x5D:
        at = end - 2
        while at > begin and 0x30 <= utf8[at] <= 0x39:
            at -= 1
        if utf8[at] != 0x5B:
            break
        end = at
    if end == begin:
        return False
    byte = utf8[end - 1]
    dots = end - begin >= 3 and byte == 0x2E and utf8[end - 2] == 0x2E and utf8[end - 3] == 0x2E
    return not dots and (byte == 0x2E or byte == 0x3F or byte == 0x21 or byte == 0x22 or byte == 0x27)


@njit(cache=True, nogil=True)
def _join(utf8, line_offsets, begins, ends, kept):
    total = 0
    for line in range(len(begins)):
        total += ends[line] - begins[line] + 1 if kept[line] else 0
    joined, offsets = np.empty(total, np.uint8), np.zeros(len(line_offsets), np.int64)
    used = 0
    for text in range(len(line_offsets) - 1):
        start = used
        for line in range(line_offsets[text], line_offsets[text + 1]):
            if kept[line]:
                if used > start:
                    joined[used] = 0x0A
                    used += 1
                for at in range(begins[line], ends[line]):
                    joined[used] = utf8[at]
                    used += 1
        offsets[text + 1] = used
    return joined[:used], offsets


assert TABLE_SIZE > 0xFFFF, "every code point that _count_chunks decodes has a class"
