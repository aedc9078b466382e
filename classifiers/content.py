"""Size and identity of a text: words, tokens and bytes, and the hash by which exact copies are found."""

import hashlib

import numpy as np
import pyarrow as pa
import xxhash

from classifiers.datatrove_words import splitter_version, words_of
from classifiers.pretokens import PRETOKENS
from classifiers.splitters import HEADWATER
from classifiers.strip_spans import strip_spans
from classifiers.text_batch import TextBatch

TOKENIZER_CHUNK = 256
"""Texts given to a Hugging Face tokenizer at a time: bounds its memory."""


class SizeScorer:
    """How long a text is: `words` (by the splitter that the version names), `tokens` (by the tokenizer that the version names), `bytes` (of UTF-8)."""

    name = "size"
    fields = pa.schema([("words", pa.int32()), ("tokens", pa.int32()), ("bytes", pa.int32())])

    def __init__(self, tokenizer: str = PRETOKENS, words: str = HEADWATER):
        """`tokenizer` is `headwater-pretokens-1` or the path of a Hugging Face `tokenizers` JSON file, counted without special tokens;
        `words` is `headwater` or `datatrove`: whose words are counted.

        Raises ValueError, saying what to do, if that file is missing or no tokenizer.
        """
        self._tokenizer, counted_by = (None, PRETOKENS) if tokenizer == PRETOKENS else _load_tokenizer(tokenizer)
        self._words = words
        self.version = f"{splitter_version(words)};{counted_by}"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The three columns, int32 and never null."""
        tokens = batch.words.pretokens if self._tokenizer is None else _count_tokens(self._tokenizer, batch.texts)
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


def _load_tokenizer(path: str):
    """The tokenizer of a JSON file, and the name under which its counts are published: file digest and all."""
    from tokenizers import Tokenizer

    remedy = f'give the path of a tokenizer.json of the Hugging Face `tokenizers` library, or "{PRETOKENS}"'
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"tokenizer {path!r} cannot be read ({error.strerror}): {remedy}") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises plain Exception for whatever it does not like about the JSON
        raise ValueError(f"tokenizer {path!r} is no tokenizer file ({error}): {remedy}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, f"tokenizer-{hashlib.sha256(content).hexdigest()[:16]}"


def _count_tokens(tokenizer, texts: pa.StringArray) -> np.ndarray:
    """Tokens of each text, int32."""
    counts = np.empty(len(texts), np.int32)
    for begin in range(0, len(texts), TOKENIZER_CHUNK):
        encodings = tokenizer.encode_batch_fast(texts.slice(begin, TOKENIZER_CHUNK).to_pylist(), add_special_tokens=False)
        counts[begin : begin + TOKENIZER_CHUNK] = [len(encoding) for encoding in encodings]
    return counts
