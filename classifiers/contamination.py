"""Contamination: which texts hold n-grams of words of evaluation sets, and of which item.

Every run of `ngram_words` words of a text (lower-cased, without punctuation) is looked up in an index of the evaluation sets' n-grams: a rolling hash of the
words' hashes, a bitmap that fits a core's cache, a table, and then the n-gram itself, word by word. So a match can be false only where *all* words of
two different n-grams have pairwise equal 64-bit hashes; with 10^9 different words in a corpus and 10^6 in the evaluation sets a pair of unequal words
with equal hashes is expected 10^15 / 2^64 = 0.00005 times, before its neighbours need be equal too. Nothing is missed.

An n-gram that several items hold counts for the first of them. About 6 microseconds for a text of 300 words; memory 35 to 50 bytes for each word of the
evaluation sets, once for all processes of a machine that were forked from one.

*Source:* Brown et al. 2020 (arXiv 2005.14165), appendix C (13-grams; n-grams that many documents share left out).
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.contamination_fields import BY, FIELDS, NGRAMS, SHARE
from classifiers.evaluation_sets import EvaluationSets
from classifiers.text_batch import TextBatch
from classifiers.words import KIND_SYMBOL, WORD_SPLITTER_VERSION, mix64

BITS_PER_NGRAM = 16
"""Bits of the bitmap for each n-gram, at least: one look-up in sixteen of a clean text goes on to the table, at most."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""Of the rolling hash, a polynomial in the words' hashes modulo 2**64."""


@dataclass(frozen=True, eq=False)
class EvaluationIndex:
    """The n-grams of evaluation sets, ready to be sought."""

    words: np.ndarray
    """uint64: hashes of all words of all fields, in order."""
    hashes: np.ndarray
    """uint64[g]: hash of each n-gram sought."""
    starts: np.ndarray
    """int64[g]: its first word, in `words`."""
    lengths: np.ndarray
    """uint8[g]: its words."""
    items: np.ndarray
    """int32[g]: the item that it counts for."""
    owned: np.ndarray
    """int32[i]: n-grams that count for each item."""
    labels: pa.StringArray
    """[i]: `SET/ID` of each item."""
    common: np.ndarray
    """int32[i]: n-grams that were left out because too many items hold them, under the first of these."""

    @property
    def digest(self) -> str:
        """SHA-256 (first 32 hex digits) of all of it."""
        digest = hashlib.sha256("\n".join(self.labels.to_pylist()).encode())
        for column in fields(self):
            values = getattr(self, column.name)
            if isinstance(values, np.ndarray):
                digest.update(f"{column.name}:{len(values)};".encode() + values.tobytes())
        return digest.hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The index as one Arrow IPC stream; the same for the same sets and settings. It holds hashes, not the text of the sets."""
        sink = io.BytesIO()
        for column in fields(self):
            values = getattr(self, column.name)
            batch = pa.RecordBatch.from_arrays([values if isinstance(values, pa.Array) else pa.array(values)], names=[column.name])
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "EvaluationIndex":
        """What `to_bytes` gave. Raises ValueError (`pa.ArrowInvalid`) if it did not."""
        source, columns = pa.BufferReader(data), {}
        for column in fields(cls):
            with pa.ipc.open_stream(source) as reader:
                values = reader.read_all().column(0).combine_chunks()
            columns[column.name] = values if pa.types.is_string(values.type) else np.array(values)
        return cls(**columns)


def build_index(texts: Sequence[str], text_items: Sequence[int], labels: Sequence[str], sets: EvaluationSets) -> EvaluationIndex:
    """The index of `texts`, each a field of the item whose place in `labels` stands in `text_items` (ascending). No n-gram spans two fields.

    Deterministic. Raises ValueError if the items are not in order.
    """
    item_of = np.asarray(text_items, np.int32)
    if len(item_of) != len(texts) or np.any(np.diff(item_of) < 0):
        raise ValueError("fields of evaluation items must come in the order of their items")
    words, offsets = _hash_words(texts)
    lengths = np.diff(offsets)
    whole = (lengths >= min(sets.min_item_words, sets.ngram_words)) & (lengths < sets.ngram_words)
    ngram_words = np.where(lengths >= sets.ngram_words, sets.ngram_words, np.where(whole, lengths, 0))
    most = int(np.sum(np.where(ngram_words > 0, lengths - ngram_words + 1, 0)))
    table = np.zeros(_power_of_two(2 * most), np.int32)
    hashes, starts, sizes = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.uint8)
    first, last, holders = np.empty(most, np.int32), np.empty(most, np.int32), np.zeros(most, np.int32)
    used = _collect(words, offsets, item_of, ngram_words, table, hashes, starts, sizes, first, last, holders)
    kept = np.ones(used, bool) if sets.common_ngram_items == 0 else holders[:used] <= sets.common_ngram_items
    items = first[:used]
    count = len(labels)
    return EvaluationIndex(
        words,
        hashes[:used][kept],
        starts[:used][kept],
        sizes[:used][kept],
        items[kept],
        np.bincount(items[kept], minlength=count).astype(np.int32),
        pa.array(labels, pa.string()),
        np.bincount(items[~kept], minlength=count).astype(np.int32),
    )


def count_words(texts: Sequence[str]) -> np.ndarray:
    """Words (int64) of each text, as n-grams count them."""
    return np.diff(_hash_words(texts)[1])


class ContaminationScorer:
    """How much of the evaluation sets stands in a text.

    * `contaminated_ngrams`: different n-grams of the sets that the text holds, never null;
    * `contaminated_share`: of the item that the text holds most of, the share of its n-grams, 0..1, never null;
    * `contaminated_by`: `SET/ID` of that item; of several with the same share the one with more n-grams, then the first. Null where there is none.
    """

    name = "contamination"
    fields = FIELDS

    def __init__(self, sets: EvaluationSets):
        """Raises ValueError if this process has not been given the index (`keep_index`)."""
        index = _indexes.get(sets.digest)
        if index is None:
            raise ValueError(f"the index {sets.digest or 'of the evaluation sets'} has not been loaded: score through `headwater curate`")
        self.version = f"contamination-1;{sets.ngram_words}-grams;{sets.digest};{WORD_SPLITTER_VERSION}"
        self._index = index
        self._table, self._bitmap = _make_tables(index.hashes)
        self._sizes = np.flatnonzero(np.bincount(index.lengths, minlength=1)).astype(np.int64)

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The three columns."""
        ngrams, share, item = np.zeros(len(batch), np.int32), np.zeros(len(batch), np.float32), np.full(len(batch), -1, np.int32)
        words, index = batch.words, self._index
        if len(index.hashes):
            stored = (index.words, index.hashes, index.starts, index.lengths, index.items, index.owned)
            _seek(words.offsets, words.folded, words.kinds, self._sizes, self._table, self._bitmap, *stored, ngrams, share, item)
        by = index.labels.take(pa.array(item, mask=item < 0)) if len(index.labels) else pa.nulls(len(batch), pa.string())
        return {NGRAMS: pa.array(ngrams), SHARE: pa.array(share), BY: by}


_indexes: dict[str, EvaluationIndex] = {}


def keep_index(index: EvaluationIndex, digest: str | None = None) -> str:
    """Holds `index` for the scorers of this process and of those forked from it; returns its digest. The last one given is the only one held."""
    digest = digest or index.digest
    _indexes.clear()
    _indexes[digest] = index
    return digest


def holds_index(digest: str) -> bool:
    """Whether this process holds the index of this digest."""
    return digest in _indexes


def _hash_words(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the words of all texts, and where each text's begin (int64[n + 1])."""
    words, counts = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)]
    for begin in range(0, len(texts), 10_000):
        found = TextBatch.of(list(texts[begin : begin + 10_000])).words
        words.append(found.folded[found.kinds != KIND_SYMBOL])
        counts.append(found.counts.astype(np.int64))
    return np.concatenate(words), np.cumsum(np.concatenate(counts))


def _power_of_two(least: int) -> int:
    return 1 << max(4, (max(least, 1) - 1).bit_length())


def _make_tables(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An open table of 1 + the place of each n-gram (int32, 0 = free, at most half full), and the bitmap of their hashes."""
    table = np.zeros(_power_of_two(2 * len(hashes)), np.int32)
    bitmap = np.zeros(_power_of_two(BITS_PER_NGRAM * len(hashes)) // 64 or 1, np.uint64)
    _fill(hashes, table, bitmap)
    return table, bitmap


@njit(cache=True, nogil=True)
def _fill(hashes, table, bitmap):
    mask, bits = np.uint64(len(table) - 1), np.uint64(len(bitmap) * 64 - 1)
    for place in range(len(hashes)):
        slot = hashes[place] & mask
        while table[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = place + 1
        # The table takes the low bits of a hash, the bitmap the high ones.
        bit = (hashes[place] >> np.uint64(24)) & bits
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@njit(cache=True, nogil=True)
def _collect(words, offsets, text_items, ngram_words, table, hashes, starts, sizes, first, last, holders):
    """Fills the arrays with the different n-grams of all texts, and how many items hold each; returns their number."""
    used, mask = 0, np.uint64(len(table) - 1)
    for text in range(len(offsets) - 1):
        size, item = ngram_words[text], text_items[text]
        if size == 0:
            continue
        power, rolling = np.uint64(1), np.uint64(0)
        for place in range(size):
            rolling = rolling * MULTIPLIER + words[offsets[text] + place]
            power = power * MULTIPLIER if place else power
        for start in range(offsets[text], offsets[text + 1] - size + 1):
            if start > offsets[text]:
                rolling = (rolling - words[start - 1] * power) * MULTIPLIER + words[start + size - 1]
            key = mix64(rolling ^ np.uint64(size))
            slot = key & mask
            found = -1
            while table[slot] != 0:
                known = table[slot] - 1
                if hashes[known] == key and sizes[known] == size:
                    same = True
                    for place in range(size):
                        if words[starts[known] + place] != words[start + place]:
                            same = False
                            break
                    if same:
                        found = known
                        break
                slot = (slot + np.uint64(1)) & mask
            if found < 0:
                hashes[used], starts[used], sizes[used], first[used], last[used], holders[used] = key, start, size, item, item, 1
                used += 1
                table[slot] = used
            elif last[found] != item:
                last[found] = item
                holders[found] += 1
    return used


@njit(cache=True, nogil=True)
def _seek(piece_offsets, folded, kinds, ngram_sizes, table, bitmap, words, hashes, starts, lengths, items, owned, ngrams, share, best):
    """Fills `ngrams`, `share` and `best` (the item, or -1) of every text."""
    mask, bits = np.uint64(len(table) - 1), np.uint64(len(bitmap) * 64 - 1)
    most = 0
    for text in range(len(piece_offsets) - 1):
        most = max(most, piece_offsets[text + 1] - piece_offsets[text])
    own = np.empty(most, np.uint64)
    # 1 + the last text that held the n-gram or the item; pages that are never touched cost nothing.
    held, item_held, item_hits = np.zeros(len(hashes), np.int32), np.zeros(len(owned), np.int32), np.zeros(len(owned), np.int32)
    for text in range(len(piece_offsets) - 1):
        count = 0
        for piece in range(piece_offsets[text], piece_offsets[text + 1]):
            own[count] = folded[piece]
            count += 1 if kinds[piece] != KIND_SYMBOL else 0
        for size in ngram_sizes:
            if count < size:
                continue
            power, rolling = np.uint64(1), np.uint64(0)
            for place in range(size):
                rolling = rolling * MULTIPLIER + own[place]
                power = power * MULTIPLIER if place else power
            for start in range(count - size + 1):
                if start > 0:
                    rolling = (rolling - own[start - 1] * power) * MULTIPLIER + own[start + size - 1]
                key = mix64(rolling ^ np.uint64(size))
                bit = (key >> np.uint64(24)) & bits
                if not (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                    continue
                slot = key & mask
                while table[slot] != 0:
                    known = table[slot] - 1
                    slot = (slot + np.uint64(1)) & mask
                    if hashes[known] != key or lengths[known] != size:
                        continue
                    same = True
                    for place in range(size):
                        if words[starts[known] + place] != own[start + place]:
                            same = False
                            break
                    if not same:
                        continue
                    if held[known] != text + 1:
                        held[known] = text + 1
                        item = items[known]
                        if item_held[item] != text + 1:
                            item_held[item] = text + 1
                            item_hits[item] = 0
                        item_hits[item] += 1
                        ngrams[text] += 1
                        # In integers: of two items with the same share the comparison must not depend on rounding.
                        chosen = best[text]
                        if chosen < 0 or chosen == item:
                            best[text] = item
                        else:
                            now = np.int64(item_hits[item]) * owned[chosen]
                            then = np.int64(item_hits[chosen]) * owned[item]
                            more = item_hits[item] > item_hits[chosen] or (item_hits[item] == item_hits[chosen] and item < chosen)
                            if now > then or (now == then and more):
                                best[text] = item
                    break
        if best[text] >= 0:
            share[text] = np.float32(item_hits[best[text]] / owned[best[text]])
