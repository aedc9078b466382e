"""Words, marks and line breaks of raw text as two streams of hashes: what the trained quality classifier looks at.

Nothing is folded away here, unlike in `classifiers.fold_marks`: line breaks, symbols and capitals tell navigation from prose.
The first stream holds words as they are, without case; in the second every word is replaced by its length and capitals, in
whatever script, so that what is learned of layout in one language holds in others. Marks and line breaks are the same in both.
"""

import numpy as np
from numba import njit, types

from classifiers.fold_marks import READ_BYTES

TOKENIZATION = "headwater-quality-tokens-1"
"""Name of these rules; a new name whenever they change."""
BYTES_PER_TOKEN = 16
"""Bytes of text read for each token that may be used: bounds the cost of a text of white space."""
MAX_WORD_CHARS = 24
"""A longer word is cut: scripts without spaces make long ones."""

READ_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
READ_WEIGHTS = types.Array(types.int8, 1, "C", readonly=True)

_SEED, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_NUMBER, _LINE, _PARAGRAPH, _EMOJI = 1_000, 2_000, 2_001, 2_002


@njit(types.uint64(types.uint64), cache=True, nogil=True)
def _mix(value):
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(32))


@njit(types.int64(types.uint8, types.uint8), cache=True, nogil=True)
def _mark_bytes(byte, following):
    """Bytes of the mark or symbol that begins so; 0: a letter does."""
    if byte < 128:
        return 0 if 65 <= byte <= 90 or 97 <= byte <= 122 else 1
    if byte == 0xC2:
        return 2
    if byte == 0xE2 or (byte == 0xE3 and following == 0x80) or byte == 0xEF:
        return 3
    return 4 if byte >= 0xF0 else 0


@njit(types.int64(READ_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _plain_mark(utf8, at, length):
    """A number for the mark: that of its ASCII twin for typographic quotes, dashes and ellipses."""
    if length == 1:
        return np.int64(utf8[at])
    if length >= 4:
        return np.int64(_EMOJI)
    if length == 3 and utf8[at] == 0xE2 and utf8[at + 1] == 0x80:
        last = utf8[at + 2]
        if last == 0x98 or last == 0x99:
            return np.int64(39)
        if last == 0x9C or last == 0x9D:
            return np.int64(34)
        if 0x90 <= last <= 0x95:
            return np.int64(45)
    value = np.int64(0)
    for i in range(at, at + length):
        value = value * 256 + utf8[i]
    return value + 100_000


@njit(types.int64(READ_BYTES, types.int64, types.int64, types.int64, types.uint64[::1], types.uint64[::1]), cache=True, nogil=True)
def hash_tokens(utf8, start, end, max_tokens, words, shapes):
    """Hashes of the first `max_tokens` tokens of `utf8[start:end]` into `words` and `shapes`; returns how many there are.

    Never reads at or beyond `end`, whatever the bytes are.
    """
    end = min(end, start + max_tokens * BYTES_PER_TOKEN)
    count = 0
    at = start
    while at < end and count < max_tokens:
        byte = utf8[at]
        following = utf8[at + 1] if at + 1 < end else np.uint8(0)
        if byte == 32 or byte == 9 or byte == 13:
            at += 1
            continue
        if byte == 0xC2 and following == 0xA0:
            at += 2
            continue
        if byte == 10:
            breaks = 0
            while at < end and (utf8[at] == 10 or utf8[at] == 32 or utf8[at] == 9 or utf8[at] == 13):
                breaks += utf8[at] == 10
                at += 1
            value = _mix(np.uint64(_LINE if breaks == 1 else _PARAGRAPH))
            words[count] = value
            shapes[count] = value
            count += 1
            continue
        if 48 <= byte <= 57:
            digits = 0
            while at < end and 48 <= utf8[at] <= 57:
                digits += 1
                at += 1
            value = _mix(np.uint64(_NUMBER + min(digits, 5)))
            words[count] = value
            shapes[count] = value
            count += 1
            continue
        mark = _mark_bytes(byte, following)
        if mark:
            value = np.uint64(_plain_mark(utf8, at, min(mark, end - at)))
            repeats = 1
            at += mark
            if mark == 1:
                while at < end and utf8[at] == byte:
                    repeats += 1
                    at += 1
            value = _mix(value * np.uint64(4) + np.uint64(min(repeats, 3)))
            words[count] = value
            shapes[count] = value
            count += 1
            continue
        value = _SEED
        chars = 0
        capitals = 0
        first_is_capital = False
        while at < end and chars < MAX_WORD_CHARS:
            byte = utf8[at]
            if byte < 128:
                is_capital = 65 <= byte <= 90
                if not (is_capital or 97 <= byte <= 122):
                    break
                value = (value ^ np.uint64(byte | 32)) * _PRIME
                at += 1
            else:
                following = utf8[at + 1] if at + 1 < end else np.uint8(0)
                if _mark_bytes(byte, following):
                    break
                is_capital = (byte == 0xC3 and 0x80 <= following <= 0x9E) or (byte == 0xD0 and 0x80 <= following <= 0xAF)
                is_capital |= byte == 0xCE and 0x86 <= following <= 0xAB
                value = (value ^ np.uint64(byte)) * _PRIME
                at += 1
                while at < end and 0x80 <= utf8[at] <= 0xBF:
                    value = (value ^ np.uint64(utf8[at] | 32 if byte == 0xC3 else utf8[at])) * _PRIME
                    at += 1
            if is_capital:
                capitals += 1
                first_is_capital |= chars == 0
            chars += 1
            # Ideographs and kana: each stands for about a word.
            if 0xE3 <= byte <= 0xE9:
                break
        case = 0 if capitals == 0 else (2 if capitals == chars and chars > 1 else (1 if first_is_capital and capitals == 1 else 3))
        words[count] = value
        shapes[count] = _mix(np.uint64(5_000 + 32 * case + min(chars, 14) // 2))
        count += 1
    return count


@njit(
    types.UniTuple(types.int64, 2)(
        types.uint64[::1], types.uint64[::1], types.int64, types.int64, types.int64, types.int64, types.int64, types.int32[::1]
    ),
    cache=True,
    nogil=True,
)
def ngram_buckets(words, shapes, count, word_ngrams, shape_ngrams, word_bits, shape_bits, buckets):
    """Buckets of all n-grams, the words' first and the shapes' behind them, into `buckets`; returns where each block ends.

    A feature stands there as often as in the text. Word n-grams fill buckets 0 to 2**word_bits - 1, shapes those above.
    """
    found = 0
    word_shift, shape_shift = np.uint64(64 - word_bits), np.uint64(64 - shape_bits)
    for i in range(count):
        value = np.uint64(17)
        for n in range(min(word_ngrams, count - i)):
            # The product's upper bits depend on all of its factors' bits: one multiplication an n-gram is enough.
            value = (value ^ words[i + n]) * _SPREAD
            buckets[found] = np.int32(value >> word_shift)
            found += 1
    words_end = found
    above = np.int32(1 << word_bits)
    for i in range(count):
        value = np.uint64(91)
        for n in range(min(shape_ngrams, count - i)):
            value = (value ^ shapes[i + n]) * _SPREAD
            buckets[found] = above + np.int32(value >> shape_shift)
            found += 1
    return words_end, found


@njit(
    types.void(READ_BYTES, READ_OFFSETS, types.int64, types.int64, types.int64, types.int64, types.int64, READ_WEIGHTS, types.float64[:, ::1]),
    cache=True,
    nogil=True,
)
def score_texts(utf8, offsets, max_tokens, word_ngrams, shape_ngrams, word_bits, shape_bits, weights, results):
    """For each text its tokens and the mean weight (int8) of its word and of its shape n-grams into `results` (float64[n, 3])."""
    words, shapes = np.empty(max_tokens, np.uint64), np.empty(max_tokens, np.uint64)
    buckets = np.empty(max_tokens * (word_ngrams + shape_ngrams), np.int32)
    for text in range(len(offsets) - 1):
        count = hash_tokens(utf8, offsets[text], offsets[text + 1], max_tokens, words, shapes)
        words_end, end = ngram_buckets(words, shapes, count, word_ngrams, shape_ngrams, word_bits, shape_bits, buckets)
        total = 0
        for i in range(words_end):
            total += weights[buckets[i]]
        results[text, 0] = count
        results[text, 1] = total / max(words_end, 1)
        total = 0
        for i in range(words_end, end):
            total += weights[buckets[i]]
        results[text, 2] = total / max(end - words_end, 1)
