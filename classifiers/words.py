"""Splits texts into hashed words and symbols, for a whole batch at once, straight on its UTF-8 bytes.

One compiled pass finds every word of every text, with its length and two hashes; word counts, Gopher's statistics and MinHash
signatures all read its result. About 12 microseconds a text of 400 words.

The rules, named `headwater-words-1`, simplify UAX #29 so that no text, however hostile, becomes one giant word:

* letters, digits and combining marks in a row are one word; an apostrophe between letters (`don't`), a full stop or comma
  between digits (`3.14`) and a connector between either (`snake_case`) stay inside;
* every Han ideograph and every kana is a word of its own;
* scripts written without spaces whose words only a dictionary finds (Thai, Lao, Khmer, Burmese, Tai) count one word per four
  code points of a run;
* any other visible character is a *symbol*: a run of symbols (`...`, `!)`) is one piece, and is not a word;
* white space and the zero-width space separate; other invisible format characters and variation selectors belong to the piece
  they stand in, without changing its folded hash.

*Source:* Unicode Standard Annex #29, section 4 (word boundaries).
"""

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
from numba import njit

WORD_SPLITTER = "headwater-words-1"
"""Name of the splitting rules; a new name whenever they change."""
WORD_SPLITTER_VERSION = f"{WORD_SPLITTER}+unicode-{unicodedata.unidata_version}"
"""Rules and the version of Unicode whose classes they use (a newer interpreter may know new letters)."""

KIND_SYMBOL, KIND_WORD, KIND_LETTERS = 0, 1, 3
"""Values of `Words.kinds`: a run of symbols, a word, a word with at least one letter. Only a run of symbols has 0."""

COMPLEX_CODE_POINTS = 4
"""Code points taken as one word in scripts whose words only a dictionary finds."""
LETTERS_PER_PRETOKEN, DIGITS_PER_PRETOKEN, SYMBOLS_PER_PRETOKEN = 6, 3, 4
"""Code points of each sort that the built-in token count takes as one token."""

SYMBOL, SPACE, LETTER, DIGIT, MARK, IDEOGRAPH, COMPLEX, CONNECTOR, APOSTROPHE, MID_NUMBER, IGNORED, BREAK = range(12)
"""Classes of code points in the table that the kernel reads. SPACE is exactly `str.isspace`."""

TABLE_SIZE = 0x20000
"""Code points with an entry of their own; the planes above hold ideographs, tags and private use only."""

_COMPLEX_RANGES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF))
_IDEOGRAPH_RANGES = ((0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x3035), (0x3038, 0x303C), (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA),
                     (0x30FC, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
                     (0xFF66, 0xFF9D), (0x17000, 0x18AFF), (0x1AFF0, 0x1B16F))  # fmt: skip
_APOSTROPHES = (0x27, 0x2019, 0xFF07)


@dataclass(frozen=True)
class Words:
    """The pieces (words and symbols) of a batch of texts, in order, as flat arrays."""

    offsets: np.ndarray
    """int64[n + 1]: the pieces of text i are those from `offsets[i]` up to, not including, `offsets[i + 1]`."""
    begins: np.ndarray
    """int32: first byte of each piece, in the `utf8` of the batch."""
    ends: np.ndarray
    """int32: the byte after its last."""
    chars: np.ndarray
    """int32: its length in code points."""
    folded: np.ndarray
    """uint64: hash of its lower-cased code points (one to one, as of `str.lower`), without invisible ones."""
    exact: np.ndarray
    """uint64: hash of its code points as they stand."""
    kinds: np.ndarray
    """uint8: `KIND_SYMBOL`, `KIND_WORD` or `KIND_LETTERS`."""
    counts: np.ndarray
    """int32[n]: words (not symbols) of each text."""
    pretokens: np.ndarray
    """int32[n]: rough count of subword tokens, `headwater-pretokens-1`: a word counts ceil(letters / 6) + ceil(digits / 3), where
    marks and what stands inside a word count as letters; a run of symbols counts ceil(length / 4)."""
    text_chars: np.ndarray
    """int32[n]: code points of each text, white space included."""


def split_words(utf8: np.ndarray, offsets: np.ndarray) -> Words:
    """The words and symbols of every text.

    `utf8` is uint8[bytes], `offsets` int64[n + 1] into it, below 2**31. Deterministic, the same on every machine with the same
    `WORD_SPLITTER_VERSION`; time and memory are linear in the bytes. Malformed UTF-8 is read as symbols, never out of bounds.
    """
    classes, lower = code_point_tables()
    most = int(offsets[-1] - offsets[0])
    # A text cannot have more pieces than bytes; pages that are never written cost no memory.
    begins, ends, chars = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.int32)
    folded, exact, kinds = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.uint8)
    n = len(offsets) - 1
    piece_offsets = np.zeros(n + 1, np.int64)
    counts, pretokens, text_chars = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    used = _split(utf8, offsets, classes, lower, piece_offsets, begins, ends, chars, folded, exact, kinds, counts, pretokens, text_chars)
    return Words(piece_offsets, begins[:used], ends[:used], chars[:used], folded[:used], exact[:used], kinds[:used], counts, pretokens, text_chars)


@functools.lru_cache(maxsize=1)
def code_point_tables() -> tuple[np.ndarray, np.ndarray]:
    """Class (uint8) and lower-case form (uint32) of every code point below `TABLE_SIZE`. Takes about 0.05 s, once a process."""
    by_category = {"L": LETTER, "N": DIGIT, "M": MARK, "Z": SPACE}
    categories = list(map(unicodedata.category, map(chr, range(TABLE_SIZE))))
    classes = np.array([by_category.get(category[0], SYMBOL) for category in categories], np.uint8)
    for code_point, category in enumerate(categories):
        if category == "Cf":
            classes[code_point] = IGNORED
        elif category == "Pc":
            classes[code_point] = CONNECTOR
    for first, last in _COMPLEX_RANGES:
        part = classes[first : last + 1]
        part[(part == LETTER) | (part == MARK)] = COMPLEX
    for first, last in _IDEOGRAPH_RANGES:
        classes[first : last + 1] = IDEOGRAPH
    classes[[*range(0x09, 0x0E), *range(0x1C, 0x20), 0x85]] = SPACE
    classes[list(_APOSTROPHES)] = APOSTROPHE
    classes[[0x2E, 0x2C]] = MID_NUMBER
    classes[0x200B] = BREAK
    classes[[*range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]] = IGNORED
    lower = np.arange(TABLE_SIZE, dtype=np.uint32)
    for code_point, category in enumerate(categories):
        if category in ("Lu", "Lt") or 0x2160 <= code_point < 0x24D0:
            form = chr(code_point).lower()
            if len(form) == 1:
                lower[code_point] = ord(form)
    lower[list(_APOSTROPHES)] = 0x27
    classes.setflags(write=False)
    lower.setflags(write=False)
    return classes, lower


@njit(cache=True, nogil=True)
def mix64(value):
    """A bijection of uint64 whose every output bit depends on every input bit. *Source:* the finaliser of MurmurHash3."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@njit(cache=True, nogil=True)
def _next_class(utf8, at, end, classes):
    """Class of the code point at byte `at`, which may be the end."""
    if at >= end:
        return BREAK
    first, following = np.int64(utf8[at]), end - at - 1
    if first < 0x80:
        code_point = first
    elif 0xC2 <= first < 0xE0 and following >= 1:
        code_point = (first & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F
    elif 0xE0 <= first < 0xF0 and following >= 2:
        code_point = (first & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
    elif 0xF0 <= first < 0xF5 and following >= 3:
        code_point = (first & 0x07) << 18 | (np.int64(utf8[at + 1]) & 0x3F) << 12 | (np.int64(utf8[at + 2]) & 0x3F) << 6
    else:
        return SYMBOL
    return np.int64(classes[code_point]) if code_point < TABLE_SIZE else BREAK


@njit(cache=True, nogil=True)
def _split(utf8, offsets, classes, lower, piece_offsets, begins, ends, chars, folded, exact, kinds, counts, pretokens, text_chars):
    """Fills the arrays of `Words` and returns the number of pieces.

    One loop over code points that decodes in one place: passing arrays to small functions from an inner loop would cost more than
    all the rest, as numba counts their references.
    """
    prime = np.uint64(0x9E3779B97F4A7C15)
    used = 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        num_words, num_pretokens, num_chars = 0, 0, 0
        first_class, last_class = -1, -1
        begin, length, num_digits, kind = at, 0, 0, KIND_SYMBOL
        hash_exact, hash_folded = np.uint64(0), np.uint64(0)
        while True:
            code_point, size, this_class = 0, 0, BREAK
            if at < end:
                code_point, size = np.int64(utf8[at]), 1
                if code_point >= 0x80:
                    first, following = code_point, end - at - 1
                    code_point = 0xFFFD
                    if 0xC2 <= first < 0xE0 and following >= 1:
                        code_point, size = (first & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F, 2
                    elif 0xE0 <= first < 0xF0 and following >= 2:
                        code_point, size = (first & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F, 3
                    elif 0xF0 <= first < 0xF5 and following >= 3:
                        code_point = (first & 0x07) << 18 | (np.int64(utf8[at + 1]) & 0x3F) << 12
                        code_point, size = code_point | (np.int64(utf8[at + 2]) & 0x3F) << 6 | np.int64(utf8[at + 3]) & 0x3F, 4
                if code_point < TABLE_SIZE:
                    this_class, shown = np.int64(classes[code_point]), np.int64(lower[code_point])
                else:
                    shown = code_point
                    this_class = IDEOGRAPH if code_point < 0x40000 else IGNORED if 0xE0000 <= code_point < 0xE1000 else SYMBOL
                num_chars += 1
            if first_class >= 0:
                if first_class == SYMBOL:
                    extends = this_class in (SYMBOL, CONNECTOR, APOSTROPHE, MID_NUMBER, MARK, IGNORED)
                elif this_class in (LETTER, DIGIT):
                    extends = first_class != IDEOGRAPH and first_class != COMPLEX
                    if extends:
                        last_class = this_class
                        if this_class == LETTER:
                            kind = KIND_LETTERS
                        else:
                            num_digits += 1
                elif this_class in (MARK, IGNORED):
                    extends = True
                elif this_class == COMPLEX:
                    extends = first_class == COMPLEX and length < COMPLEX_CODE_POINTS
                elif (this_class == APOSTROPHE and last_class == LETTER) or (this_class == MID_NUMBER and last_class == DIGIT):
                    extends = _next_class(utf8, at + size, end, classes) == last_class
                elif this_class == CONNECTOR and first_class != IDEOGRAPH and first_class != COMPLEX:
                    following_class = _next_class(utf8, at + size, end, classes)
                    extends = following_class in (LETTER, DIGIT)
                else:
                    extends = False
                if extends:
                    hash_exact = (hash_exact ^ np.uint64(code_point)) * prime
                    if this_class != IGNORED:
                        hash_folded = (hash_folded ^ np.uint64(shown)) * prime
                    length += 1
                    at += size
                    continue
                if first_class == SYMBOL:
                    num_pretokens += (length + SYMBOLS_PER_PRETOKEN - 1) // SYMBOLS_PER_PRETOKEN
                else:
                    num_words += 1
                    num_pretokens += (length - num_digits + LETTERS_PER_PRETOKEN - 1) // LETTERS_PER_PRETOKEN
                    num_pretokens += (num_digits + DIGITS_PER_PRETOKEN - 1) // DIGITS_PER_PRETOKEN
                begins[used], ends[used], chars[used], kinds[used] = begin, at, length, kind
                exact[used], folded[used] = mix64(hash_exact), mix64(hash_folded)
                used += 1
                first_class = -1
            if at >= end:
                break
            if this_class != SPACE and this_class != BREAK and this_class != IGNORED:
                begin, length = at, 1
                hash_exact = np.uint64(code_point) * prime + np.uint64(1)
                hash_folded = np.uint64(shown) * prime + np.uint64(1)
                num_digits = 0
                if this_class in (SYMBOL, CONNECTOR, APOSTROPHE, MID_NUMBER):
                    first_class, kind = SYMBOL, KIND_SYMBOL
                else:
                    first_class, last_class = this_class, this_class
                    num_digits = 1 if this_class == DIGIT else 0
                    kind = KIND_WORD if this_class in (DIGIT, MARK) else KIND_LETTERS
            at += size
        piece_offsets[text + 1] = used
        counts[text], pretokens[text], text_chars[text] = num_words, num_pretokens, num_chars
    return used
