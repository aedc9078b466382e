"""datatrove's words: the tokens of spaCy's English rules, for runs whose numbers must agree with datatrove's.

Setting `score.words = "datatrove"` makes the heuristic scorers count these instead of `classifiers.words`. spaCy is not needed: its
patterns and special cases are data (`weights/datatrove_words.json.gz`, MIT licence), and the loop that applies them is here. A run of
characters between white space always splits alike, so each different one is split once a process and then only looked up:
about a twentieth of what spaCy takes.

*Source:* spaCy 3.8, `Tokenizer`; datatrove 0.10, `split_into_words` and `PUNCTUATION_SET`.
"""

import functools
import gzip
import json
import re
import unicodedata
from dataclasses import dataclass
from importlib import resources

import numpy as np
import xxhash
from numba import njit

from classifiers.splitters import HEADWATER, SPLITTERS
from classifiers.text_batch import TextBatch
from classifiers.words import KIND_LETTERS, KIND_SYMBOL, KIND_WORD, SPACE, TABLE_SIZE, WORD_SPLITTER_VERSION, Words, code_point_tables, mix64

DATATROVE_WORDS = "datatrove-words-1+spacy-3.8-en"
"""Name of the splitting rules, part of the version of every scorer that used them."""

MAX_CACHED_CHUNKS = 1_000_000
"""Different runs of characters remembered a process, about 300 bytes each; a full memory is emptied."""

TOKEN_END, TOKEN_PUNCTUATION = 1, 2
"""Bits of `_Chunk.marks`: a token that ends a sentence; one of nothing but punctuation."""


@dataclass(frozen=True)
class _Chunk:
    """How one run of characters between white space splits."""

    begins: tuple[int, ...]
    """First byte of each token, within the run."""
    ends: tuple[int, ...]
    """The byte after its last."""
    chars: tuple[int, ...]
    """Its length in code points."""
    hashes: tuple[int, ...]
    """XXH3-64 of its bytes."""
    kinds: tuple[int, ...]
    """As in `Words.kinds`."""
    marks: tuple[int, ...]
    """`TOKEN_END` and `TOKEN_PUNCTUATION`."""


def splitter_version(words: str) -> str:
    """Name and version of the word splitter that `words` (of `SPLITTERS`) stands for. Raises ValueError for another."""
    if words not in SPLITTERS:
        raise ValueError(f"words must be one of {', '.join(SPLITTERS)}, not {words!r}")
    return WORD_SPLITTER_VERSION if words == HEADWATER else DATATROVE_WORDS


def words_of(batch: TextBatch, words: str) -> Words:
    """The words of every text by the splitter `words`, split once a batch."""
    return batch.words if words == HEADWATER else batch.derive(split_as_datatrove)


def split_as_datatrove(batch: TextBatch) -> Words:
    """datatrove's words of every text; to be called through `batch.derive`.

    As `classifiers.words.split_words` gives them, but: a piece may be any token; `counts` are the tokens that hold a character
    outside datatrove's punctuation (what its Gopher filter counts); `folded` is `exact`; `pretokens` and `text_chars` are the
    batch's own.
    """
    return batch.derive(_assemble)[0]


def sentence_marks(batch: TextBatch) -> np.ndarray:
    """uint8, one for each piece of `split_as_datatrove`: `TOKEN_END` and `TOKEN_PUNCTUATION`, from which sentences are counted."""
    return batch.derive(_assemble)[1]


def split_chunk(chunk: str) -> list[str]:
    """The tokens of a run of characters without white space, in order; joined they are `chunk` again.

    spaCy's loop: prefixes and suffixes are cut off until nothing or a special case is left, then infixes split the rest, and
    special cases that affixes tore apart are put together again.
    """
    rules = _rules()
    special = rules.special.get(chunk)
    if special is not None:
        return list(special)
    if chunk.isalnum() and chunk.isascii() and not chunk[0].isdigit():
        return [chunk]
    return _rejoin(_cut(chunk, rules, with_special=True), rules)


@dataclass(frozen=True)
class _Rules:
    """The exported rules, compiled."""

    prefix: re.Pattern
    """Search for a prefix."""
    suffix: re.Pattern
    """Search for a suffix."""
    infix: re.Pattern
    """Finds infixes."""
    url: re.Pattern
    """Matches what is not split at infixes."""
    special: dict[str, tuple[str, ...]]
    """Special cases and their tokens."""
    torn: dict[tuple[str, ...], tuple[str, ...]]
    """Special cases that affixes would split, by what they would make of them."""
    most_torn: int
    """Tokens of the longest key of `torn`."""
    sentence_ends: frozenset[str]
    """Tokens that end a sentence."""
    punctuation: frozenset[str]
    """Characters that are no words."""


@functools.lru_cache(maxsize=1)
def _rules() -> _Rules:
    read = json.loads(gzip.decompress(resources.files("classifiers").joinpath("weights/datatrove_words.json.gz").read_bytes()))
    patterns = {name: re.compile(pattern) for name, pattern in read["patterns"].items()}
    special = {text: tuple(tokens) for text, tokens in read["special_cases"].items()}
    ends, punctuation = frozenset(read["sentence_ends"]), frozenset(read["punctuation"])
    rules = _Rules(**patterns, special=special, torn={}, most_torn=0, sentence_ends=ends, punctuation=punctuation)
    torn = {}
    for text, tokens in special.items():
        if not text.isspace() and (rules.prefix.search(text) or rules.suffix.search(text) or rules.infix.search(text)):
            torn[tuple(_cut(text, rules, with_special=False))] = tokens
    return _Rules(**patterns, special=special, torn=torn, most_torn=max(map(len, torn)), sentence_ends=ends, punctuation=punctuation)


def terminal_punctuation() -> str:
    """The characters that end a line in datatrove's FineWeb filter, sorted."""
    packed = resources.files("classifiers").joinpath("weights/datatrove_words.json.gz").read_bytes()
    return json.loads(gzip.decompress(packed))["terminal_punctuation"]


def _cut(chunk: str, rules: _Rules, with_special: bool) -> list[str]:
    """spaCy's `_split_affixes` and `_attach_tokens`."""
    special = rules.special if with_special else {}
    prefixes: list[str] = []
    suffixes: list[str] = []
    rest, last_length = chunk, 0
    while rest and len(rest) != last_length:
        if rest in special:
            break
        last_length = len(rest)
        found = rules.prefix.search(rest)
        num_prefix = found.end() - found.start() if found else 0
        if num_prefix and rest[num_prefix:] in special:
            prefixes.append(rest[:num_prefix])
            rest = rest[num_prefix:]
            break
        found = rules.suffix.search(rest[num_prefix:])
        num_suffix = found.end() - found.start() if found else 0
        if num_suffix and rest[:-num_suffix] in special:
            suffixes.append(rest[-num_suffix:])
            rest = rest[:-num_suffix]
            break
        if num_prefix and num_suffix and num_prefix + num_suffix <= len(rest):
            prefixes.append(rest[:num_prefix])
            suffixes.append(rest[-num_suffix:])
            rest = rest[num_prefix:-num_suffix]
        elif num_prefix:
            prefixes.append(rest[:num_prefix])
            rest = rest[num_prefix:]
        elif num_suffix:
            suffixes.append(rest[-num_suffix:])
            rest = rest[:-num_suffix]
    tokens = prefixes
    if rest in special:
        tokens += special[rest]
    elif rest:
        tokens += [rest] if rules.url.match(rest) else _split_infixes(rest, rules)
    return [*tokens, *reversed(suffixes)]


def _split_infixes(rest: str, rules: _Rules) -> list[str]:
    tokens, start = [], 0
    for match in rules.infix.finditer(rest):
        if match.start() == 0:
            continue
        if match.start() != start:
            tokens.append(rest[start : match.start()])
        if match.start() != match.end():
            tokens.append(match[0])
        start = match.end()
    return [*tokens, rest[start:]] if start < len(rest) else tokens


def _rejoin(tokens: list[str], rules: _Rules) -> list[str]:
    """spaCy's `_apply_special_cases`: the longest torn special cases first, the leftmost of equally long ones."""
    spans = []
    for length in range(min(rules.most_torn, len(tokens)), 0, -1):
        for begin in range(len(tokens) - length + 1):
            if tuple(tokens[begin : begin + length]) in rules.torn and all(end <= begin or start >= begin + length for start, end in spans):
                spans.append((begin, begin + length))
    joined, at = [], 0
    for begin, end in sorted(spans):
        joined += [*tokens[at:begin], *rules.torn[tuple(tokens[begin:end])]]
        at = end
    return [*joined, *tokens[at:]]


_chunks: dict[int, _Chunk] = {}
"""Split runs by the hash of their bytes: for one thread's benefit at a time, and harmless when two fill it at once."""


def _describe(chunk: bytes) -> _Chunk:
    rules = _rules()
    tokens = split_chunk(chunk.decode("utf-8", "replace"))
    packed = [token.encode() for token in tokens]
    ends = tuple(np.cumsum([len(one) for one in packed]).tolist())
    kinds, marks = [], []
    for token in tokens:
        symbol = all(character in rules.punctuation for character in token)
        kinds.append(KIND_SYMBOL if symbol else KIND_LETTERS if any(character.isalpha() for character in token) else KIND_WORD)
        mark = TOKEN_END if token in rules.sentence_ends else 0
        marks.append(mark | (TOKEN_PUNCTUATION if all(unicodedata.category(character)[0] == "P" for character in token) else 0))
    hashes = tuple(xxhash.xxh3_64_intdigest(one) for one in packed)
    return _Chunk((0, *ends[:-1]), ends, tuple(map(len, tokens)), hashes, tuple(kinds), tuple(marks))


def _assemble(batch: TextBatch) -> tuple[Words, np.ndarray]:
    """The words of every text and the marks of each."""
    most = int(batch.offsets[-1] - batch.offsets[0])
    begins, ends, keys = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint64)
    chunk_offsets = np.zeros(len(batch) + 1, np.int64)
    used = _find_chunks(batch.utf8, batch.offsets, code_point_tables()[0], chunk_offsets, begins, ends, keys)
    begins, ends, keys = begins[:used], ends[:used], keys[:used]
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if len(_chunks) + len(unique) > MAX_CACHED_CHUNKS:
        _chunks.clear()
    view, known = memoryview(batch.utf8), []
    for key, begin, end in zip(unique.tolist(), begins[first].tolist(), ends[first].tolist(), strict=True):
        chunk = _chunks.get(key)
        if chunk is None:
            chunk = _chunks[key] = _describe(bytes(view[begin:end]))
        known.append(chunk)

    num_tokens = np.array([len(chunk.begins) for chunk in known], np.int64)
    table_starts = np.concatenate(([0], np.cumsum(num_tokens)))
    times = num_tokens[inverse]
    piece_starts = np.concatenate(([0], np.cumsum(times)))
    source = np.repeat(table_starts[inverse] - piece_starts[:-1], times) + np.arange(piece_starts[-1])

    def spread(name: str, kind: type) -> np.ndarray:
        flat = [value for chunk in known for value in getattr(chunk, name)]
        return np.array(flat, kind)[source] if flat else np.empty(0, kind)

    base = np.repeat(begins, times)
    hashes, kinds = spread("hashes", np.uint64), spread("kinds", np.uint8)
    offsets = piece_starts[chunk_offsets]
    running = np.concatenate(([0], np.cumsum(kinds != KIND_SYMBOL)))
    counts = np.diff(running[offsets]).astype(np.int32)
    first_bytes, last_bytes = (base + spread(name, np.int64) for name in ("begins", "ends"))
    words = Words(
        offsets,
        first_bytes.astype(np.int32),
        last_bytes.astype(np.int32),
        spread("chars", np.int32),
        hashes,
        hashes,
        kinds,
        counts,
        batch.words.pretokens,
        batch.words.text_chars,
    )
    return words, spread("marks", np.uint8)


@njit(cache=True, nogil=True)
def _find_chunks(utf8, offsets, classes, chunk_offsets, begins, ends, keys):
    """Runs of characters between white space (`str.isspace`): their bytes and a hash of these; returns how many."""
    prime = np.uint64(0x9E3779B97F4A7C15)
    used = 0
    for text in range(len(offsets) - 1):
        at, end = offsets[text], offsets[text + 1]
        begin, inside = at, False
        key = np.uint64(0)
        while at <= end:
            code_point, size = np.int64(0x20), 1
            if at < end:
                code_point = np.int64(utf8[at])
                if 0xC2 <= code_point < 0xE0 and at + 1 < end:
                    code_point, size = (code_point & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F, 2
                elif 0xE0 <= code_point < 0xF0 and at + 2 < end:
                    code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
                    size = 3
                elif code_point >= 0x80:
                    # Beyond the third byte, or malformed: no white space, whose code points all have at most three bytes.
                    code_point, size = 0xFFFD, min(4, end - at) if code_point >= 0xF0 else 1
            if code_point < TABLE_SIZE and classes[code_point] == SPACE:
                if inside:
                    begins[used], ends[used], keys[used] = begin, at, mix64(key)
                    used += 1
                    inside = False
            else:
                if not inside:
                    begin, inside = at, True
                    key = np.uint64(1)
                for place in range(at, at + size):
                    key = (key ^ np.uint64(utf8[place])) * prime
                    key ^= key >> np.uint64(32)
            at += size
        chunk_offsets[text + 1] = used
    return used
