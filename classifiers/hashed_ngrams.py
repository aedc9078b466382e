"""Folded text as hashed n-grams: what one half of the fast detector looks at, by the same kernel in training and in use.

Two blocks. *Words*: n-grams of the folded words and marks of punctuation. *Shapes*: the same with every uncommon word replaced by
its length class and last three letters, so that phrasing is seen where the topic is new. A feature counts once a text, however
often it stands there. The same folding gives the lines that the fastText half reads.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, types

from classifiers.fold_marks import READ_BYTES, STARTS, TABLE, fold_bytes, folded_capacity

BLOCKS = 2
"""Blocks of features: 0 words, 1 shapes. Each has half the buckets."""
BYTES_PER_WORD = 10
"""Bytes of text read for each word that may be used: bounds the cost of a text without spaces."""
COMMON_BITS = 20
"""Size of the table that says which words are common; one in a thousand others is taken for one of them."""
FUNCTION_WORDS = (
    "the of and to a in is that it for was on with as be are this by at from or have an not but they his he which you we their has "
    "i her she one all there so if will would what who when my can your its were been more about than into some had"
).split()
"""Words whose share tells English prose from other languages, tables and code."""

_READ_WORDS = types.Array(types.uint64, 1, "C", readonly=True)
_READ_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_READ_FLAGS = types.Array(types.uint8, 1, "C", readonly=True)
_READ_WEIGHTS = types.Array(types.int8, 1, "C", readonly=True)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class NgramSettings:
    """What is hashed; part of a model."""

    word_ngrams: int = 2
    """Longest n-gram of words, from 1; 0: no such block."""
    shape_ngrams: int = 4
    """Longest n-gram of shapes, from 2; 0: no such block."""
    bits: int = 22
    """Buckets of both blocks together, as a power of two."""
    max_words: int = 500
    """Folded words looked at, from the beginning of a text."""

    def __post_init__(self):
        for key, low, high in (("word_ngrams", 0, 5), ("shape_ngrams", 0, 8), ("bits", 8, 26), ("max_words", 16, 1 << 16)):
            if not low <= getattr(self, key) <= high:
                raise ValueError(f"{key} must be from {low} to {high}, not {getattr(self, key)}")
        if not self.word_ngrams and not self.shape_ngrams:
            raise ValueError("word_ngrams and shape_ngrams cannot both be 0")

    @property
    def features_per_word(self) -> int:
        """Features that one more word adds, at most."""
        return self.word_ngrams + self.shape_ngrams


def hash_word(word: str) -> int:
    """Hash (64 bits) of one folded word: FNV-1a, as the kernels make it."""
    value = 14695981039346656037
    for byte in word.encode("ascii"):
        value = ((value ^ byte) * 1099511628211) & (2**64 - 1)
    return value


def common_table(hashes: np.ndarray) -> np.ndarray:
    """uint8[2**COMMON_BITS]: bit 0 marks the words of `hashes` (uint64), bit 1 the `FUNCTION_WORDS`."""
    table = np.zeros(1 << COMMON_BITS, np.uint8)
    mask = np.uint64((1 << COMMON_BITS) - 1)
    table[(np.asarray(hashes, np.uint64) & mask).astype(np.int64)] |= 1
    functions = np.array([hash_word(word) for word in FUNCTION_WORDS], np.uint64)
    table[(functions & mask).astype(np.int64)] |= 2
    return table


@njit(types.uint64(types.uint64), cache=True, nogil=True)
def _mix(value):
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return value ^ (value >> np.uint64(32))


@njit(types.int64(types.uint8[::1], types.int64, types.int64, types.uint64[::1], types.uint64[::1]), cache=True, nogil=True)
def hash_words(folded, length, max_words, words, shapes):
    """Hashes of the words of `folded[:length]` and of their shapes (length class, last three letters); returns how many there are."""
    count = 0
    at = 0
    while at < length and count < max_words:
        if folded[at] == 32:
            at += 1
            continue
        first = at
        value = np.uint64(14695981039346656037)
        while at < length and folded[at] != 32:
            value = (value ^ np.uint64(folded[at])) * np.uint64(1099511628211)
            at += 1
        shape = np.uint64(1469598103934665603) + np.uint64(min(at - first, 12) // 4)
        for i in range(max(first, at - 3), at):
            shape = (shape ^ np.uint64(folded[i])) * np.uint64(1099511628211)
        words[count] = value
        shapes[count] = shape
        count += 1
    return count


@njit(
    types.UniTuple(types.int64, 2)(
        _READ_WORDS, _READ_WORDS, types.int64, _READ_FLAGS, types.int64, types.int64, types.int64, types.int64[::1], types.int32[::1]
    ),
    cache=True,
    nogil=True,
)
def ngram_features(words, shapes, count, common, word_ngrams, shape_ngrams, bits, seen, features):
    """Distinct features of `count` words: the first block's, then the second's, into `features`; returns where each block ends.

    `seen` is scratch, a power of two at least twice as long as there can be features.
    """
    half = np.uint64(1 << (bits - 1))
    seen[:] = -1
    slots = np.int64(len(seen) - 1)
    found = 0
    for i in range(count):
        value = np.uint64(17)
        for n in range(min(word_ngrams, count - i)):
            value = _mix(((value * _SPREAD) ^ words[i + n]) + np.uint64(n))
            feature = np.int64((value >> np.uint64(20)) & (half - np.uint64(1)))
            slot = feature & slots
            while seen[slot] != -1 and seen[slot] != feature:
                slot = (slot + 1) & slots
            if seen[slot] == -1:
                seen[slot] = feature
                features[found] = feature
                found += 1
    words_end = found
    for i in range(count):
        value = np.uint64(91)
        for n in range(min(shape_ngrams, count - i)):
            piece = words[i + n]
            if common[np.int64(piece & np.uint64((1 << COMMON_BITS) - 1))] & 1 == 0:
                piece = shapes[i + n]
            value = _mix(((value * _SPREAD) ^ piece) + np.uint64(n + 77))
            if n == 0:
                continue
            feature = np.int64(((value >> np.uint64(20)) & (half - np.uint64(1))) | half)
            slot = feature & slots
            while seen[slot] != -1 and seen[slot] != feature:
                slot = (slot + 1) & slots
            if seen[slot] == -1:
                seen[slot] = feature
                features[found] = feature
                found += 1
    return words_end, found


@njit(
    types.void(
        READ_BYTES, _READ_OFFSETS, types.uint8[::1], types.uint8[:, ::1], _READ_FLAGS, types.int64, types.int64, types.int64, types.int64,
        _READ_WEIGHTS, types.float32[:, ::1], types.uint8[::1], types.int64[::1],
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _score_texts(utf8, offsets, table, starts, common, word_ngrams, shape_ngrams, bits, max_words, weights, results, lines, line_ends):
    max_bytes = max_words * BYTES_PER_WORD
    folded = np.empty(3 * max_bytes + 4, np.uint8)
    words = np.empty(max_words, np.uint64)
    shapes = np.empty(max_words, np.uint64)
    capacity = 64
    while capacity < 2 * max_words * (word_ngrams + shape_ngrams):
        capacity *= 2
    seen = np.empty(capacity, np.int64)
    features = np.empty(capacity, np.int32)
    filled = 0
    for text in range(len(offsets) - 1):
        length, latin, foreign = fold_bytes(utf8, offsets[text], offsets[text + 1], max_bytes, folded, table, starts)
        count = hash_words(folded, length, max_words, words, shapes)
        if len(lines):
            spaces = 0
            for i in range(length):
                spaces += folded[i] == 32
                if spaces == max_words:
                    break
                lines[filled] = folded[i]
                filled += 1
            lines[filled] = 10
            filled += 1
            line_ends[text] = filled
        functions = 0
        for i in range(count):
            functions += (common[np.int64(words[i] & np.uint64((1 << COMMON_BITS) - 1))] >> 1) & 1
        # Scratch in proportion to the text: clearing the whole of it would cost more than a short text itself.
        slots = 64
        while slots < 2 * count * (word_ngrams + shape_ngrams):
            slots *= 2
        words_end, shapes_end = ngram_features(words, shapes, count, common, word_ngrams, shape_ngrams, bits, seen[:slots], features)
        total = 0
        for i in range(words_end):
            total += weights[features[i]]
        results[text, 0] = np.float32(total / np.sqrt(max(words_end, 1)))
        total = 0
        for i in range(words_end, shapes_end):
            total += weights[features[i]]
        results[text, 1] = np.float32(total / np.sqrt(max(shapes_end - words_end, 1)))
        results[text, 2] = np.float32(count)
        results[text, 3] = np.float32(functions / max(count, 1))
        results[text, 4] = np.float32(foreign / max(latin + foreign, 1))


def score_texts(utf8: np.ndarray, offsets: np.ndarray, common: np.ndarray, settings: NgramSettings, weights: np.ndarray) -> np.ndarray:
    """float32[n, 5]: for each text the sum of the `weights` (int8[2**bits]) of each block's features over the root of their number, the
    folded words looked at, the share of function words among them and the share of letters of other scripts.

    `utf8` is uint8[bytes], `offsets` int64[n + 1] into it. Linear time; nothing depends on the other texts.
    """
    return _score_and_fold(utf8, offsets, common, settings, weights, np.empty(0, np.uint8))[0]


def score_and_fold_texts(
    utf8: np.ndarray, offsets: np.ndarray, common: np.ndarray, settings: NgramSettings, weights: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """What `score_texts` gives, and each text's line (`fold_line`) with a line break at its end: the folding is done once for both."""
    sizes = np.minimum(np.diff(offsets), settings.max_words * BYTES_PER_WORD)
    results, lines, ends = _score_and_fold(
        utf8, offsets, common, settings, weights, np.empty(int(folded_capacity(sizes).sum()) + len(sizes), np.uint8)
    )
    joined = lines[: ends[-1] if len(ends) else 0].tobytes().decode("ascii")
    stops = ends.tolist()
    return results, [joined[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _score_and_fold(utf8, offsets, common, settings, weights, lines):
    """The kernel's results, the buffer of `lines` it filled (not if it is empty) and where each line ends in it."""
    results, ends = np.empty((len(offsets) - 1, BLOCKS + 3), np.float32), np.zeros(len(offsets) - 1, np.int64)
    _score_texts(
        utf8, offsets, TABLE, STARTS, common, settings.word_ngrams, settings.shape_ngrams, settings.bits, settings.max_words, weights,
        results, lines, ends,
    )  # fmt: skip
    return results, lines, ends


def fold_line(text: str, max_words: int) -> str:
    """The first `max_words` folded words of `text`, those that `fold_and_hash` hashes, joined by single spaces."""
    folded = _fold_beginning(text, max_words)
    return " ".join(folded.tobytes().decode("ascii").split(" ")[:max_words])


def fold_and_hash(text: str, max_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) of the first `max_words` folded words of `text`, and of their shapes: what training cuts its pieces from."""
    folded = _fold_beginning(text, max_words)
    words, shapes = np.empty(max_words, np.uint64), np.empty(max_words, np.uint64)
    count = hash_words(folded, len(folded), max_words, words, shapes)
    return words[:count].copy(), shapes[:count].copy()


def collect_features(pieces: list[tuple[np.ndarray, np.ndarray]], common: np.ndarray, settings: NgramSettings) -> tuple[np.ndarray, np.ndarray]:
    """Features (int32) of all `pieces` (word and shape hashes) end to end, and int64[n + 1, 2]: where each piece's blocks end.

    Row i + 1 of the second array holds the ends of piece i's word features and of its shape features.
    """
    longest = max((len(words) for words, _ in pieces), default=1)
    seen = np.empty(1 << max(6, int(2 * max(longest, 1) * settings.features_per_word).bit_length()), np.int64)
    scratch = np.empty(len(seen), np.int32)
    ends = np.zeros((len(pieces) + 1, BLOCKS), np.int64)
    found: list[np.ndarray] = []
    filled = 0
    for index, (words, shapes) in enumerate(pieces):
        words_end, shapes_end = ngram_features(
            words, shapes, len(words), common, settings.word_ngrams, settings.shape_ngrams, settings.bits, seen, scratch
        )
        found.append(scratch[:shapes_end].copy())
        ends[index + 1] = filled + words_end, filled + shapes_end
        filled += shapes_end
    return np.concatenate(found) if found else np.empty(0, np.int32), ends


def _fold_beginning(text: str, max_words: int) -> np.ndarray:
    """The folded bytes (uint8) of as much of `text` as may be read for `max_words` words."""
    utf8 = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    max_bytes = max_words * BYTES_PER_WORD
    folded = np.empty(folded_capacity(min(len(utf8), max_bytes)), np.uint8)
    length, _, _ = fold_bytes(utf8, 0, len(utf8), max_bytes, folded, TABLE, STARTS)
    return folded[:length]
