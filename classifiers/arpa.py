"""N-gram language models in the ARPA format, as KenLM's `lmplz` and SRILM write them: read once, then asked by a compiled kernel.

An n-gram is a 64-bit hash of its words, its log probability and its back-off weight two float32 beside it: 24 bytes an n-gram at
most, in one open hash table for all orders. KenLM's own binary files are read by KenLM (`classifiers.kenlm_binary`).

*Source:* Katz 1987 (back-off); Heafield 2011, "KenLM" (how a sentence is scored, and its perplexity).
"""

import gzip
import hashlib
import re

import numpy as np
from numba import njit, types

from classifiers.fold_marks import READ_BYTES

MAX_ORDER = 8
"""Longest n-gram that is read."""
BEGIN, END, UNKNOWN = b"<s>", b"</s>", b"<unk>"

_KEYS = types.Array(types.uint64, 1, "C", readonly=True)
_VALUES = types.Array(types.float32, 2, "C", readonly=True)
_OFFSETS = types.Array(types.int64, 1, "C", readonly=True)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_SEED, _PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


@njit(types.uint64(types.uint64, types.uint64), cache=True, nogil=True)
def _append(context, word):
    """Hash of the n-gram `context` with `word` behind it; the empty one is 0. Never 0 itself."""
    value = (context * _SPREAD) ^ word
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return (value ^ (value >> np.uint64(32))) | np.uint64(1)


@njit(types.int64(_KEYS, types.uint64), cache=True, nogil=True)
def _find(keys, key):
    """Slot of `key`, or -1."""
    mask = np.uint64(len(keys) - 1)
    slot = (key >> np.uint64(7)) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return np.int64(slot)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@njit(types.Tuple((types.float64, types.int64))(READ_BYTES, types.int64, types.int64), cache=True, nogil=True)
def _number(data, at, end):
    """The number at `at` and where it ends; that is `at` itself where there is none."""
    first = at
    negative = at < end and data[at] == 45
    if at < end and (data[at] == 45 or data[at] == 43):
        at += 1
    if at + 3 <= end and data[at] == 105 and data[at + 1] == 110 and data[at + 2] == 102:
        return (-np.inf if negative else np.inf), at + 3
    value, digits, scale = 0.0, 0, 0
    while at < end and 48 <= data[at] <= 57:
        value = value * 10 + (data[at] - 48)
        at += 1
        digits += 1
    if at < end and data[at] == 46:
        at += 1
        while at < end and 48 <= data[at] <= 57:
            value = value * 10 + (data[at] - 48)
            at += 1
            digits += 1
            scale -= 1
    if digits == 0:
        return 0.0, first
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        down = at < end and data[at] == 45
        if at < end and (data[at] == 45 or data[at] == 43):
            at += 1
        power = 0
        while at < end and 48 <= data[at] <= 57:
            power = power * 10 + (data[at] - 48)
            at += 1
        scale += -power if down else power
    value *= 10.0**scale
    return (-value if negative else value), at


@njit(types.int64(READ_BYTES, types.int64, types.int64, types.int64, types.uint64[::1], types.float32[:, ::1]), cache=True, nogil=True)
def _read_section(data, at, end, order, keys, values):
    """Puts the n-grams of the lines `data[at:end]` into the table; returns how many, or -1 - place of the line that is none."""
    mask = np.uint64(len(keys) - 1)
    count = 0
    while at < end:
        line = at
        stop = at
        while stop < end and data[stop] != 10:
            stop += 1
        at = stop + 1
        if stop > line and data[stop - 1] == 13:
            stop -= 1
        if stop == line:
            continue
        probability, place = _number(data, line, stop)
        if place == line:
            return -1 - line
        key = np.uint64(0)
        for _ in range(order):
            while place < stop and (data[place] == 32 or data[place] == 9):
                place += 1
            if place == stop:
                return -1 - line
            word = _SEED
            while place < stop and data[place] != 32 and data[place] != 9:
                word = (word ^ np.uint64(data[place])) * _PRIME
                place += 1
            key = _append(key, word)
        while place < stop and (data[place] == 32 or data[place] == 9):
            place += 1
        backoff = 0.0
        if place < stop:
            backoff, after = _number(data, place, stop)
            if after != stop:
                return -1 - line
        slot = (key >> np.uint64(7)) & mask
        while keys[slot] != 0 and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = key
        values[slot, 0] = probability
        values[slot, 1] = backoff
        count += 1
    return count


@njit(types.void(READ_BYTES, _OFFSETS, types.int64, _KEYS, _VALUES, types.uint64[::1], types.float64[:, ::1]), cache=True, nogil=True)
def _score_texts(utf8, offsets, order, keys, values, marks, results):
    """For each text the sum of the log10 probabilities of its words and ends of lines, and how many those are."""
    history = np.empty(order, np.uint64)
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        total, count, length = 0.0, 0, 0
        while at <= end:
            is_end = at == end or utf8[at] == 10
            if is_end:
                at += 1
                if length == 0:
                    continue
                word = marks[1]
            elif utf8[at] == 32 or 9 <= utf8[at] <= 13:
                at += 1
                continue
            else:
                if length == 0:
                    history[0] = marks[0]
                    length = 1
                word = _SEED
                while at < end and utf8[at] != 32 and not 9 <= utf8[at] <= 13:
                    word = (word ^ np.uint64(utf8[at])) * _PRIME
                    at += 1
                if _find(keys, _append(np.uint64(0), word)) < 0:
                    word = marks[2]
            penalty = 0.0
            for context_words in range(min(length, order - 1), -1, -1):
                context = np.uint64(0)
                for i in range(length - context_words, length):
                    context = _append(context, history[i])
                slot = _find(keys, _append(context, word))
                if slot >= 0:
                    total += values[slot, 0] + penalty
                    break
                slot = _find(keys, context)
                if slot >= 0:
                    penalty += values[slot, 1]
            count += 1
            if is_end:
                length = 0
            elif length < order:
                history[length] = word
                length += 1
            else:
                history[:-1] = history[1:]
                history[-1] = word
        results[text, 0] = total
        results[text, 1] = count


class ArpaModel:
    """A back-off n-gram model. Words are what white space separates, sentences are lines, as for KenLM."""

    def __init__(self, path: str):
        """Reads the model at `path` (plain or .gz). Raises OSError; ValueError, naming what is wrong, where it is none."""
        data = _read(path)
        self.digest = hashlib.blake2b(data, digest_size=6).hexdigest()
        header, sections = _find_sections(path, data)
        self.order = len(header)
        capacity = 1 << max(4, (2 * sum(header)).bit_length())
        keys, values = np.zeros(capacity, np.uint64), np.zeros((capacity, 2), np.float32)
        array = np.frombuffer(data, np.uint8)
        for order, ((start, end), announced) in enumerate(zip(sections, header, strict=True), 1):
            found = _read_section(array, start, end, order, keys, values)
            if found < 0:
                line = data[-1 - found : -1 - found + 80].split(b"\n")[0].decode("utf-8", "replace")
                raise ValueError(f"{path}: not a line of the {order}-grams: {line!r}")
            if found != announced:
                raise ValueError(f"{path}: holds {found:,} {order}-grams and announces {announced:,}; is it cut off?")
        self._marks = np.array([_hash_word(word) for word in (BEGIN, END, UNKNOWN)], np.uint64)
        keys.flags.writeable = values.flags.writeable = False
        self._keys, self._values = keys, values
        for word, name in zip(self._marks, (BEGIN, END, UNKNOWN), strict=True):
            if _find(keys, _append(np.uint64(0), word)) < 0:
                raise ValueError(f"{path}: lacks {name.decode()}, without which no text can be scored; make it with KenLM's lmplz")

    def log10_and_tokens(self, utf8: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """float64[n, 2]: for each text of read-only `utf8` (uint8) the log10 probability of all its lines, and the words and line ends in them."""
        results = np.zeros((len(offsets) - 1, 2))
        _score_texts(utf8, offsets, self.order, self._keys, self._values, self._marks, results)
        return results


def _hash_word(word: bytes) -> int:
    value = int(_SEED)
    for byte in word:
        value = ((value ^ byte) * int(_PRIME)) & (2**64 - 1)
    return value


def _read(path: str) -> bytes:
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        try:
            head = file.read(64)
            return head + file.read()
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: a broken compressed file: {error}") from error


def _find_sections(path: str, data: bytes) -> tuple[list[int], list[tuple[int, int]]]:
    """How many n-grams of each order are announced, and where the lines of each order begin and end."""
    begin = data.find(b"\\data\\")
    first = data.find(b"\\1-grams:")
    if begin < 0 or first < 0:
        raise ValueError(f"{path}: not an ARPA file: no \\data\\ with \\1-grams: behind it")
    counts = {int(order): int(count) for order, count in re.findall(rb"(?m)^ngram\s+(\d+)\s*=\s*(\d+)", data[begin:first])}
    if not counts or sorted(counts) != list(range(1, len(counts) + 1)) or len(counts) > MAX_ORDER:
        raise ValueError(f"{path}: announces n-grams of the orders {sorted(counts)}; must be 1 to {MAX_ORDER} at most, none left out")
    starts = []
    for order in range(1, len(counts) + 1):
        title = b"\\%d-grams:" % order
        place = data.find(title, starts[-1] if starts else first)
        if place < 0:
            raise ValueError(f"{path}: lacks the {order}-grams; is it cut off?")
        starts.append(place + len(title))
    last = data.find(b"\\end\\", starts[-1])
    if last < 0:
        raise ValueError(f"{path}: does not end with \\end\\; is it cut off?")
    stops = [starts[index] - len(b"\\%d-grams:" % (index + 1)) for index in range(1, len(starts))] + [last]
    return [counts[order] for order in sorted(counts)], list(zip(starts, stops, strict=True))
