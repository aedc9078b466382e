"""Finds many phrases at once in a batch of texts, on the words that are split anyway.

A phrase is a sequence of words, matched whatever their case and whatever spaces or punctuation stand between them, so that
`Certainly! Here's` is found in `**certainly**, here’s`. One walk over the words: each is looked up in a small table, and only where
a phrase may begin is a trie followed. Linear in the text (times the longest phrase at worst), about 2 microseconds for 300 words,
nearly the same for ten phrases and for a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from classifiers.text_batch import TextBatch
from classifiers.words import KIND_SYMBOL

MAX_SYMBOLS_BETWEEN = 2
"""Runs of symbols that may stand between two words of a phrase: `Sure! - here`."""
NEWLINE = 0x0A


@dataclass(frozen=True)
class Phrase:
    """What to look for, and where."""

    group: int
    """What a hit means to whoever looks; given back with it."""
    text: str
    """The words. Punctuation in it says nothing."""
    starts_text: bool = False
    """Only where nothing but symbols stands before it in the text."""
    starts_line: bool = False
    """Only where nothing but symbols stands before it in its line."""
    after: str = ""
    """The characters (ASCII) that must stand right before the first word, such as `<|`."""
    before: str = ""
    """The characters that must stand right after the last word, such as `:`."""
    exact: bool = False
    """Whether case counts."""


@dataclass(frozen=True)
class PhraseBook:
    """Phrases compiled for `find_phrases`: a trie of words in two hash tables."""

    words: np.ndarray
    """uint64[2**k]: folded hashes of all words that occur in phrases, 0 where a slot is free."""
    word_ids: np.ndarray
    """int32[2**k]: number of each, from 1."""
    edges: np.ndarray
    """int64[2**m]: node * 2**20 + word, plus 1, of every edge of the trie; 0 where a slot is free."""
    children: np.ndarray
    """int32[2**m]: the node each leads to."""
    node_phrases: np.ndarray
    """int32[nodes + 1]: the phrases that end at a node are those from `node_phrases[node]` to the next, in `phrases`."""
    phrases: np.ndarray
    """int32[phrases, 8]: group, flags, and begin and end in `contexts` of `after`, of `before` and of an exact text."""
    contexts: np.ndarray
    """uint8: the bytes of all of these, one behind the other."""


@dataclass(frozen=True)
class Hits:
    """Where phrases stand, in the order of the texts."""

    text: np.ndarray
    """int32: index of the text."""
    group: np.ndarray
    """int32: the phrase's group."""
    begin: np.ndarray
    """int64: first byte of its first word, in the batch's `utf8`."""
    end: np.ndarray
    """int64: the byte after its last word."""

    def count(self, num_texts: int, group: int) -> np.ndarray:
        """int16[num_texts]: hits of `group` in each text, at most 32,767."""
        return np.minimum(np.bincount(self.text[self.group == group], minlength=num_texts), 2**15 - 1).astype(np.int16)


STARTS_TEXT, STARTS_LINE, EXACT = 1, 2, 4


def compile_phrases(phrases: Sequence[Phrase]) -> PhraseBook:
    """A book of `phrases`. Raises ValueError for one without a word."""
    ids: dict[int, int] = {}
    trie: dict[tuple[int, int], int] = {}
    ending: dict[int, list[tuple[int, ...]]] = {}
    contexts = bytearray()

    def place(context: str) -> tuple[int, int]:
        begin = len(contexts)
        contexts.extend(context.encode("ascii"))
        return begin, len(contexts)

    words = TextBatch.of([phrase.text for phrase in phrases]).words
    folded, is_word, offsets = words.folded.tolist(), (words.kinds != KIND_SYMBOL).tolist(), words.offsets.tolist()
    for number, phrase in enumerate(phrases):
        hashes = [folded[piece] for piece in range(offsets[number], offsets[number + 1]) if is_word[piece]]
        if not hashes:
            raise ValueError(f"phrase {phrase.text!r} holds no word")
        node = 0
        for key in hashes:
            node = trie.setdefault((node, ids.setdefault(key, len(ids) + 1)), len(trie) + 1)
        flags = STARTS_TEXT * phrase.starts_text | STARTS_LINE * phrase.starts_line | EXACT * phrase.exact
        exact = place(phrase.text) if phrase.exact else (0, 0)
        ending.setdefault(node, []).append((phrase.group, flags, *place(phrase.after), *place(phrase.before), *exact))

    word_slots, edge_slots = _slots(len(ids)), _slots(len(trie))
    table, word_ids = np.zeros(word_slots, np.uint64), np.zeros(word_slots, np.int32)
    for key, number in ids.items():
        slot = key & (word_slots - 1)
        while table[slot]:
            slot = (slot + 1) & (word_slots - 1)
        table[slot], word_ids[slot] = key, number
    edges, children = np.zeros(edge_slots, np.int64), np.zeros(edge_slots, np.int32)
    for (node, word), child in trie.items():
        edge = (node << 20 | word) + 1
        slot = _edge_slot(edge, edge_slots - 1)
        while edges[slot]:
            slot = (slot + 1) & (edge_slots - 1)
        edges[slot], children[slot] = edge, child
    node_phrases = np.cumsum([0] + [len(ending.get(node, ())) for node in range(len(trie) + 1)]).astype(np.int32)
    flat = [phrase for node in range(len(trie) + 1) for phrase in ending.get(node, ())]
    return PhraseBook(
        table, word_ids, edges, children, node_phrases, np.array(flat, np.int32).reshape(-1, 8), np.frombuffer(bytes(contexts), np.uint8)
    )


def find_phrases(batch: TextBatch, book: PhraseBook) -> Hits:
    """Every place where a phrase of `book` stands; overlapping ones too. Deterministic."""
    words = batch.words
    arrays = (words.offsets, words.begins, words.ends, words.folded, words.kinds)
    tables = (book.words, book.word_ids, book.edges, book.children, book.node_phrases, book.phrases, book.contexts)
    room = 256 + len(batch)
    while True:
        found = np.empty((room, 4), np.int64)
        used = _find(batch.utf8, batch.offsets, *arrays, *tables, found)
        if used <= room:
            break
        room = used
    found = found[:used]
    return Hits(found[:, 0].astype(np.int32), found[:, 1].astype(np.int32), found[:, 2].copy(), found[:, 3].copy())


def _slots(num_keys: int) -> int:
    """A power of two, at most a quarter full."""
    return 1 << max(4, (4 * num_keys).bit_length())


@njit(cache=True, nogil=True)
def _edge_slot(edge, mask):
    return (edge * 0x9E3779B1 >> 12) & mask


@njit(cache=True, nogil=True)
def _find(utf8, offsets, piece_offsets, begins, ends, folded, kinds, table, word_ids, edges, children, node_phrases, phrases, contexts, found):
    """Fills `found` with (text, group, begin, end) while there is room; returns how many there are."""
    word_mask, edge_mask = np.uint64(len(table) - 1), len(edges) - 1
    used, room = 0, len(found)
    for text in range(len(offsets) - 1):
        last = piece_offsets[text + 1]
        for piece in range(piece_offsets[text], last):
            if kinds[piece] == KIND_SYMBOL:
                continue
            key = folded[piece]
            slot = key & word_mask
            while table[slot] != 0 and table[slot] != key:
                slot = (slot + np.uint64(1)) & word_mask
            if table[slot] == 0:
                continue
            node, at, word = 0, piece, word_ids[slot]
            while True:
                edge = (np.int64(node) << 20 | word) + 1
                place = _edge_slot(edge, edge_mask)
                while edges[place] != 0 and edges[place] != edge:
                    place = (place + 1) & edge_mask
                if edges[place] == 0:
                    break
                node = children[place]
                for entry in range(node_phrases[node], node_phrases[node + 1]):
                    begin, end = np.int64(begins[piece]), np.int64(ends[at])
                    if _stands(
                        utf8, offsets[text], offsets[text + 1], begin, end, phrases[entry], contexts, kinds, piece, piece_offsets[text], begins
                    ):
                        if used < room:
                            found[used, 0], found[used, 1], found[used, 2], found[used, 3] = text, phrases[entry, 0], begin, end
                        used += 1
                at += 1
                symbols = 0
                while at < last and kinds[at] == KIND_SYMBOL and symbols < MAX_SYMBOLS_BETWEEN:
                    at += 1
                    symbols += 1
                if at >= last or kinds[at] == KIND_SYMBOL:
                    break
                key = folded[at]
                slot = key & word_mask
                while table[slot] != 0 and table[slot] != key:
                    slot = (slot + np.uint64(1)) & word_mask
                if table[slot] == 0:
                    break
                word = word_ids[slot]
    return used


@njit(cache=True, nogil=True)
def _stands(utf8, text_begin, text_end, begin, end, phrase, contexts, kinds, piece, first_piece, begins):
    """Whether the phrase that matched `utf8[begin:end]` stands where it must."""
    flags = phrase[1]
    after, before = phrase[3] - phrase[2], phrase[5] - phrase[4]
    if begin - text_begin < after or text_end - end < before:
        return False
    for place in range(after):
        if utf8[begin - after + place] != contexts[phrase[2] + place]:
            return False
    for place in range(before):
        if utf8[end + place] != contexts[phrase[4] + place]:
            return False
    if flags & EXACT:
        if end - begin != phrase[7] - phrase[6]:
            return False
        for place in range(end - begin):
            if utf8[begin + place] != contexts[phrase[6] + place]:
                return False
    if flags & (STARTS_TEXT | STARTS_LINE):
        line = begin
        if flags & STARTS_LINE:
            while line > text_begin and utf8[line - 1] != NEWLINE:
                line -= 1
        else:
            line = text_begin
        earlier = piece - 1
        while earlier >= first_piece and begins[earlier] >= line:
            if kinds[earlier] != KIND_SYMBOL:
                return False
            earlier -= 1
    return True
