"""Reads the labelled sets and splits them so that no text, rewrite or opening stands on both sides.

One file a set: JSON lines, plain, gzip or zstd, with `id, text, label` and, where known, `pair, generator, domain, attack, label_suspect`.
"""

import functools
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import orjson
import zstandard

from classifiers.fold_marks import fold_marks
from classifiers.hashed_ngrams import fold_and_hash

MIXED_SETS = ("l2r21", "raidar", "detectrl", "outfox", "sakibsh_llm", "rexshijaku")
"""Sets that hold human and machine text: training, and leave-one-set-out validation."""
HUMAN_SETS = ("human_imdb_2011", "human_enwiki_2021", "human_reuters21578_1987", "human_nltk_small", "human_rfc_pre2020")
"""Human text only: hard negatives in training, and false positives."""
UNSEEN_SETS = ("alpacaeval_machine", "human_blogs_2004")
"""Never trained on nor calibrated with, because their licences are non-commercial: tests only."""
MIN_WORDS = 50
"""Shortest text, in words separated by white space, that training and evaluation use."""
OPENING_WORDS = 10
"""Words of a folded text that identify it across sets."""

PIECE_BYTES = 64 << 10
"""Compressed bytes decoded at a time."""
MAX_WINDOW_BYTES = 1 << 31
"""Largest zstd window accepted: that of `zstd --long=31`."""

OPENING_CHARS = 400
"""Characters of a text in which those words are looked for."""

SHINGLE_WORDS, SHINGLE_SAMPLE, SHINGLE_TEXT_WORDS = 8, 4, 500
"""What counts as shared wording, see `drop_shared`."""


class MalformedLine(ValueError):
    """A line that is no JSON object with an `id` and a `text`; the message begins with `file:line`."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """One labelled document."""

    text: str
    """As found."""
    is_machine: bool
    """Whether a model wrote it."""
    set_name: str
    """Which set it came from."""
    group: str
    """Texts of one group (rewrites of one original, or one opening) must not be split."""
    generator: str
    """Who wrote it, as the set names it; `human` for people."""
    attack: str
    """How the text was disguised; `none` for clean text."""
    domain: str
    """Kind of text, as the set names it."""


def open_lines(path: str) -> BinaryIO:
    """`path` for reading lines of bytes: gzip and zstd (any number of frames) by extension, anything else as it is."""
    if path.endswith(".gz"):
        return io.BufferedReader(gzip.open(path))
    if path.endswith((".zst", ".zstd")):
        return io.BufferedReader(_ZstdFrames(open(path, "rb")))
    return open(path, "rb")


class _ZstdFrames(io.RawIOBase):
    """The decompressed bytes of a zstd file. Unlike the library's own reader it tells a file that was cut off from a whole one."""

    def __init__(self, file: BinaryIO):
        self._file, self._decoder, self._rest = file, None, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not self._rest:
            piece = self._decoder.unused_data if self._decoder and self._decoder.eof else b""
            piece = piece or self._file.read(PIECE_BYTES)
            if not piece:
                if self._decoder and not self._decoder.eof:
                    raise EOFError("the file was cut off")
                return 0
            if self._decoder is None or self._decoder.eof:
                self._decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj()
            self._rest = self._decoder.decompress(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def read_records(path: str) -> Iterator[dict]:
    """The JSON objects of `path`, in order; empty lines are skipped. Raises MalformedLine (with file and line), OSError."""
    for found in read_lines(path):
        if isinstance(found, MalformedLine):
            raise found
        yield found


def read_lines(path: str) -> Iterator["dict | MalformedLine"]:
    """For each line of `path` that is not empty its JSON object, or what is wrong with the line.

    Raises MalformedLine only where a compressed file is broken: what follows cannot be read; OSError.
    """
    with open_lines(path) as lines:
        number = 0
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield parse_record(line)
                except ValueError as error:
                    yield MalformedLine(f"{path}:{number}: {error}")
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise MalformedLine(f"{path}:{number + 1}: broken compressed file: {error}") from error


def parse_record(line: bytes) -> dict:
    """The JSON object on `line`, which must have a string field `text`. Raises ValueError saying what it is instead.

    A lone surrogate, written as an escape, stays in the text: it is JSON, though UTF-8 cannot hold it.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        record = _parse_leniently(line, error)
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise ValueError("expected an object with a string field 'text'")
    return record


def _parse_leniently(line: bytes, first: Exception) -> object:
    # The strict parser refuses lone surrogates and whole numbers over 64 bits, which other libraries write.
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {first}") from error


def find_set(folder: str, set_name: str) -> str:
    """Path of `set_name` in `folder`. Raises FileNotFoundError naming what was looked for."""
    for extension in (".jsonl.zst", ".jsonl.gz", ".jsonl"):
        path = os.path.join(folder, set_name + extension)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"no {set_name}.jsonl.zst, .jsonl.gz or .jsonl in {folder}")


def has_set(folder: str, set_name: str) -> bool:
    """Whether `set_name` is in `folder`."""
    try:
        find_set(folder, set_name)
    except FileNotFoundError:
        return False
    return True


def read_set(folder: str, set_name: str, min_words: int = MIN_WORDS) -> list[LabelledText]:
    """The usable texts of one set in `folder`, in order (`read_labelled`). Raises FileNotFoundError where there is none."""
    return read_labelled(find_set(folder, set_name), set_name, min_words)


def read_labelled(path: str, set_name: str, min_words: int = MIN_WORDS) -> list[LabelledText]:
    """The usable texts of the file `path`: labelled, not suspect, not `mixed`, of at least `min_words` words, no exact repetition."""
    texts: list[LabelledText] = []
    seen: set[str] = set()
    for record in read_records(path):
        text = record["text"]
        if record.get("label_suspect") or record.get("mixed") or record.get("label") not in ("human", "machine"):
            continue
        if len(text.split(None, min_words - 1)) < min_words or text in seen:
            continue
        seen.add(text)
        pair = record.get("pair")
        texts.append(
            LabelledText(
                text=text,
                is_machine=record["label"] == "machine",
                set_name=set_name,
                group=f"{set_name}/{pair}" if pair is not None else opening(text),
                generator=record.get("generator") or record["label"],
                attack=record.get("attack") or "none",
                domain=record.get("domain") or "",
            )
        )
    return texts


def opening(text: str) -> str:
    """The first `OPENING_WORDS` folded words (numbers and punctuation left out): texts that share them are taken for one text."""
    words = [word for word in fold_marks(text[:OPENING_CHARS]).split() if word[0].isalpha()]
    return " ".join(words[:OPENING_WORDS])


def fraction_of(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on `group` and `seed` only: how groups are dealt out to splits."""
    digest = hashlib.blake2b(f"{seed}/{group}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def drop_shared(texts: Sequence[LabelledText], held_out: Sequence[LabelledText]) -> list[LabelledText]:
    """`texts` without those of a group of `held_out`, and without those that share wording with one of them.

    Sharing means a run of `SHINGLE_WORDS` folded words among the sampled one in `SHINGLE_SAMPLE`: copies with a few words changed,
    other crops of one article and continuations of one original are found wherever they begin.
    """
    groups = {text.group for text in held_out}
    known = np.unique(np.concatenate([_sampled_shingles(text.text) for text in held_out] or [np.empty(0, np.uint64)]))
    kept = []
    for text in texts:
        if text.group in groups:
            continue
        own = _sampled_shingles(text.text)
        places = np.minimum(np.searchsorted(known, own), max(len(known) - 1, 0))
        if not len(known) or not (known[places] == own).any():
            kept.append(text)
    return kept


@functools.lru_cache(maxsize=300_000)
def _sampled_shingles(text: str) -> np.ndarray:
    """Hashes of one in `SHINGLE_SAMPLE` of the runs of `SHINGLE_WORDS` folded words at the beginning of `text`, chosen by hash."""
    words, _ = fold_and_hash(text, SHINGLE_TEXT_WORDS)
    if len(words) < SHINGLE_WORDS:
        return np.empty(0, np.uint64)
    shingles = np.zeros(len(words) - SHINGLE_WORDS + 1, np.uint64)
    for place in range(SHINGLE_WORDS):
        shingles = shingles * np.uint64(0x9E3779B97F4A7C15) + words[place : place + len(shingles)]
        shingles ^= shingles >> np.uint64(29)
    return shingles[shingles % np.uint64(SHINGLE_SAMPLE) == 0]
