"""Folds away the marks that tell one data set from another, so that a detector learns how a text is worded and not how it was stored.

Line breaks, quote styles, " ." spacing, bold and bullets, HTML, mojibake, invisible characters (C2PA wrappers among them) and an assistant's opening
("Sure, here is ...:") separate human from machine almost perfectly in several public sets and mean nothing elsewhere. The folded
text is plain ASCII: lower-case words, single spaces, one token for each mark of punctuation, `0` for any number. One pass over the
UTF-8 bytes, linear in their number.
"""

import unicodedata

import numpy as np
from numba import njit, types

FOLDING = "headwater-folding-2"
"""Name of the folding rules; a new name whenever they change."""
OPENING_BYTES = 240
"""How far into a text the colon or line break that ends an assistant's opening may stand."""
TAG_BYTES = 120
"""Longest HTML tag that is dropped; a longer one is taken for text."""

READ_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
"""Kernel argument: bytes that are only read (Arrow buffers cannot be written)."""

_OPENERS = (b"sure", b"certainly", b"of course", b"absolutely", b"here is", b"here's", b"here are", b"okay", b"great")
_LABELS = (b"abstract", b"title", b"introduction", b"review", b"article", b"essay", b"story", b"answer", b"response", b"summary", b"poem",
           b"output", b"text", b"rewritten")  # fmt: skip

# What one decoded character becomes; letters, digits and ASCII punctuation stand for themselves.
_DROP, _SPACE, _APOSTROPHE, _DASH, _ELLIPSIS, _OTHER_LETTER = 1, 2, 3, 4, 5, 6


def fold_marks(text: str) -> str:
    """`text` folded: ASCII letters in lower case, digits as `0`, marks of punctuation as words of their own. Deterministic."""
    utf8 = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    folded = np.empty(folded_capacity(len(utf8)), np.uint8)
    length, _, _ = fold_bytes(utf8, 0, len(utf8), len(utf8), folded, TABLE, STARTS)
    return folded[:length].tobytes().decode("ascii")


def folded_capacity(num_bytes: int) -> int:
    """Bytes that folding `num_bytes` bytes may fill, at most."""
    return 3 * num_bytes + 4


def _make_table() -> np.ndarray:
    """Code point (below 0x3000) -> ASCII letter or one of the codes above; everything else is decided by range in `_classify`."""
    table = np.full(0x3000, _SPACE, np.uint8)
    for point in range(0x3000):
        char = chr(point)
        base = unicodedata.normalize("NFKD", char)[0]
        category = unicodedata.category(char)
        if point < 128 and (char.isalnum() or char in ".,;:!?()"):
            table[point] = ord(char.lower())
        elif base.isascii() and base.isalpha():
            table[point] = ord(base.lower())
        elif char.isdigit() and base.isascii():
            table[point] = ord("0")
        elif category in ("Cf", "Mn", "Me"):
            table[point] = _DROP
        elif category == "Pd" or char == "-" or point == 0x2212:
            table[point] = _DASH
        elif char in "'\u2018\u2019\u02bc\u02b9\u2032\u0060\u00b4":
            table[point] = _APOSTROPHE
        elif char == "\u2026":
            table[point] = _ELLIPSIS
        elif char.isalpha():
            table[point] = _OTHER_LETTER
    for char, base in zip("\u00df\u00e6\u00f8\u0153\u0111\u0142\u00fe\u00f0\u0131", "saoodltdi", strict=True):
        table[ord(char)] = ord(base)
    for char, base in zip("\u00c6\u00d8\u0152\u0110\u0141\u00de\u00d0", "aooddtd", strict=True):
        table[ord(char)] = ord(base)
    return table


def _make_starts() -> np.ndarray:
    """Openers, then labels, as rows of bytes padded with zeros; the last column says which (1 opener, 2 label)."""
    rows = np.zeros((len(_OPENERS) + len(_LABELS), 16), np.uint8)
    for row, start in zip(rows, _OPENERS + _LABELS, strict=True):
        row[: len(start)] = np.frombuffer(start, np.uint8)
        row[15] = 1 if start in _OPENERS else 2
    return rows


TABLE = _make_table()
STARTS = _make_starts()


@njit("uint8(uint32, uint8[::1])", cache=True, nogil=True)
def _classify(point, table):
    if point < 0x3000:
        return table[point]
    if 0xFE00 <= point <= 0xFE0F or point == 0xFEFF or 0xE0000 <= point <= 0xE0FFF:
        return _DROP
    if (
        0x3000 <= point <= 0x303F
        or 0xE000 <= point <= 0xF8FF
        or 0xFF00 <= point <= 0xFF20
        or 0xFFF0 <= point <= 0xFFFF
        or 0x1F000 <= point <= 0x1FAFF
    ):
        return _SPACE
    return _OTHER_LETTER


@njit(types.UniTuple(types.int64, 2)(READ_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _decode(utf8, at, end):
    """Code point at `at` and the bytes it takes; a broken sequence reads as one space."""
    lead = utf8[at]
    if lead < 0x80:
        return np.int64(lead), 1
    if lead >= 0xF0:
        width, point = 4, np.int64(lead & 0x07)
    elif lead >= 0xE0:
        width, point = 3, np.int64(lead & 0x0F)
    elif lead >= 0xC0:
        width, point = 2, np.int64(lead & 0x1F)
    else:
        return 32, 1
    if at + width > end:
        return 32, 1
    for i in range(1, width):
        point = (point << 6) | np.int64(utf8[at + i] & 0x3F)
    return point, width


@njit(types.boolean(READ_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _is_lone_letter(utf8, at, end):
    return at < end and 97 <= (utf8[at] | 32) <= 122 and (at + 1 == end or not 97 <= (utf8[at + 1] | 32) <= 122)


@njit(types.int64(READ_BYTES, types.int64, types.int64, types.uint8[:, ::1]), cache=True, nogil=True)
def _skip_opening(utf8, start, end, starts):
    """Where the text begins once an assistant's opening or a leading label ("Abstract:") is dropped."""
    at = start
    while at < end and (utf8[at] <= 32 or utf8[at] == 42 or utf8[at] == 35 or utf8[at] == 34):
        at += 1
    for row in range(len(starts)):
        length = 0
        while length < 15 and starts[row, length] != 0 and at + length < end:
            byte = utf8[at + length]
            if 65 <= byte <= 90:
                byte += 32
            if byte != starts[row, length]:
                break
            length += 1
        if starts[row, length] != 0 or length == 0 or at + length >= end:
            continue
        after = utf8[at + length]
        if 97 <= (after | 32) <= 122:
            continue
        if starts[row, 15] == 2:
            while at + length < end and (utf8[at + length] == 42 or utf8[at + length] == 32):
                length += 1
            return at + length + 1 if at + length < end and utf8[at + length] == 58 else start
        for i in range(at + length, min(end, at + OPENING_BYTES)):
            if utf8[i] == 58 or utf8[i] == 10:
                return i + 1
        return start
    return start


@njit(
    types.UniTuple(types.int64, 3)(READ_BYTES, types.int64, types.int64, types.int64, types.uint8[::1], types.uint8[::1], types.uint8[:, ::1]),
    cache=True,
    nogil=True,
)
def fold_bytes(utf8, start, stop, max_bytes, folded, table, starts):
    """Folds the first `max_bytes` bytes of `utf8[start:stop]` into `folded` (`folded_capacity` of them); returns its length, the Latin letters
    and the letters of other scripts.

    Invisible characters do not count among the bytes: a C2PA wrapper, thousands of variation selectors, may stand before or amid the text.
    """
    while start < stop:
        point, width = _decode(utf8, start, stop)
        if _classify(np.uint32(point), table) != _DROP:
            break
        start += width
    end = min(stop, start + max_bytes)
    at = _skip_opening(utf8, start, end, starts)
    out = 0
    latin = 0
    foreign = 0
    # What stands last in `folded`: 0 a space or nothing, 1 a letter, 2 a number, otherwise the byte of a mark of punctuation.
    last = 0
    while at < end:
        # Up to `stop`: a character that begins among the bytes to read may end beyond them.
        point, width = _decode(utf8, at, stop)
        if point == 60 and at + 2 < end and (utf8[at + 1] == 47 or utf8[at + 1] == 33 or 97 <= (utf8[at + 1] | 32) <= 122):
            close = at + 1
            while close < end and close < at + TAG_BYTES and utf8[close] != 62 and utf8[close] != 60:
                close += 1
            if close < end and utf8[close] == 62:
                at = close
                point, width = 32, 1
        elif point == 104 and last != 1 and at + 8 < end and utf8[at + 1] == 116 and utf8[at + 2] == 116 and utf8[at + 3] == 112:
            close = at + 4
            if utf8[close] == 115:
                close += 1
            if utf8[close] == 58 and utf8[close + 1] == 47:
                while close < end and utf8[close] > 32:
                    close += 1
                at = close
                continue
        elif point == 0xE2 and at + 5 < end and utf8[at + 2] == 0xE2 and utf8[at + 3] == 0x82 and utf8[at + 4] == 0xAC:
            # Mojibake of a curly quote or dash: three characters that were one.
            third, third_width = _decode(utf8, at + 5, end)
            width = 5 + third_width
            point = 0x2019 if third == 0x2122 or third == 0x2DC else (0x2014 if third == 0x201C or third == 0x201D else 32)
        elif point == 0xC2 and at + 3 < end and utf8[at + 2] == 0xC2:
            at += 2
            continue
        at += width
        kind = _classify(np.uint32(point), table)
        if kind == _DROP:
            end = min(stop, end + width)
            continue
        if kind == _OTHER_LETTER:
            foreign += 1
            kind = _SPACE
        if 97 <= kind <= 122:
            if last != 1 and last != 0:
                folded[out] = 32
                out += 1
            folded[out] = kind
            out += 1
            latin += 1
            last = 1
        elif 48 <= kind <= 57:
            if last == 2:
                continue
            if last != 0:
                folded[out] = 32
                out += 1
            folded[out] = 48
            out += 1
            last = 2
        elif kind == _APOSTROPHE:
            if last == 1 and at < end and (97 <= (utf8[at] | 32) <= 122):
                if out >= 3 and folded[out - 1] == 110 and folded[out - 2] == 32 and 97 <= folded[out - 3] <= 122:
                    # " n't" of tokenised text joins the word before it.
                    folded[out - 2] = 110
                    out -= 1
                folded[out] = 39
                out += 1
            elif last == 0 and out >= 2 and 97 <= folded[out - 2] <= 122 and _is_lone_letter(utf8, at, end):
                # " 's", " 't", " 'm" of tokenised text joins the word before it.
                folded[out - 1] = 39
                last = 1
            elif last != 0:
                folded[out] = 32
                out += 1
                last = 0
        elif kind == _SPACE:
            if last != 0:
                folded[out] = 32
                out += 1
                last = 0
        else:
            mark = 45 if kind == _DASH else (126 if kind == _ELLIPSIS else np.int64(kind))
            if last == 2 and (mark == 46 or mark == 44 or mark == 58) and at < end and 48 <= utf8[at] <= 57:
                continue
            previous = last if last != 0 else (np.int64(folded[out - 2]) if out >= 2 else 0)
            if previous == mark and mark != 40 and mark != 41:
                # A run of one mark counts once, but a run of dots is another mark than one dot.
                if mark == 46 and last == 46:
                    folded[out - 1] = 126
                    last = 126
                continue
            if previous == 126 and mark == 46:
                continue
            if last != 0:
                folded[out] = 32
                out += 1
            folded[out] = mark
            out += 1
            last = mark
    while out > 0 and folded[out - 1] == 32:
        out -= 1
    return out, latin, foreign
