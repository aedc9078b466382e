"""Size and identity of a text: words, tokens and bytes, and the hash by which exact copies are found."""

import numpy as np
import pyarrow as pa
import xxhash

from classifiers.datatrove_words import splitter_version, words_of
from classifiers.pretokens import PRETOKENS
from classifiers.splitters import HEADWATER
from classifiers.strip_spans import strip_spans
from classifiers.text_batch import TextBatch


class SizeScorer:
    """How long a text is: `words` (by the splitter that the version names), `tokens` (by the tokenizer that the version names), `bytes` (of UTF-8)."""

    name = "size"
    fields = pa.schema([("words", pa.int32()), ("tokens", pa.int32()), ("bytes", pa.int32())])

    def __init__(self, tokenizer: str = PRETOKENS, words: str = HEADWATER):
        """`tokenizer` is `headwater-pretokens-1` or what `load_counter` takes, counted without special tokens; `words` is `headwater` or `datatrove`:
        whose words are counted.

        Raises ValueError, saying what to do, if the tokenizer cannot be loaded.
        """
        self._count, counted_by = (None, PRETOKENS) if tokenizer == PRETOKENS else _load(tokenizer)
        self._words = words
        self.version = f"{splitter_version(words)};{counted_by}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The three columns, int32 and never null."""
        tokens = batch.words.pretokens if self._count is None else self._count(batch.texts)
        return {"words": pa.array(words_of(batch, self._words).counts), "tokens": pa.array(tokens), "bytes": pa.array(batch.num_bytes)}


class ContentHashScorer:
    """`content_hash`: XXH3-128 (canonical, big-endian) of the UTF-8 bytes of the text without the white space at its two ends.

    White space is what `str.strip` strips. Two texts that differ otherwise, in case or inner spacing too, are different.
    """

    name = "content_hash"
    version = "xxh3-128-stripped-1"
    fields = pa.schema([("content_hash", pa.binary(16))])

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """One column of 16 bytes, never null: an empty text has the hash of no bytes."""
        begins, ends = strip_whitespace(batch.utf8, batch.offsets)
        view, digest = memoryview(batch.utf8), xxhash.xxh3_128_digest
        digests = b"".join([digest(view[begin:end]) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)])
        return {"content_hash": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(batch), [None, pa.py_buffer(digests)])}


def strip_whitespace(utf8: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last-but-one byte (int64[n] each) of every text without the white space (`str.isspace`) at its ends."""
    return strip_spans(utf8, offsets[:-1], offsets[1:])


def _load(tokenizer: str):
    # Imported here: most runs count with what the words' kernel counts anyway.
    from classifiers.token_counters import load_counter

    return load_counter(tokenizer)
