"""How tokenized texts go through a transformer, so that a text's number does not depend on what is scored beside it.

Matrix kernels round differently for different shapes. On a CPU each text therefore goes alone, at its own length: no slower there,
nothing is padded, and several threads score several texts. On an accelerator a text is padded to the next of a few lengths, and
every batch of that length has the same number of rows, filled up with blank ones: the shapes that a text meets depend on it alone.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PADDED_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Lengths in tokens that an accelerator sees."""
BATCH_TOKENS = 16_384
"""Tokens, padding included, of a batch on an accelerator, where a detector does not say otherwise."""
CHARS_PER_TOKEN = 12
"""Characters of text tokenized for each token that may be used: prose has 4 to 5. Bounds the cost of a text of megabytes."""

SELECTOR_RUN = 16
"""Variation selectors in a row that are taken for a C2PA wrapper, which writes each byte of a manifest as one; an emoji takes one."""
UNWRAPPING = "unwrapped-1"
"""Name of the rule below, for the versions of detectors that apply it."""
_WRAPPER = rf"\x{{FEFF}}?[\x{{FE00}}-\x{{FE0F}}\x{{E0100}}-\x{{E01EF}}]{{{SELECTOR_RUN},}}"

Forward = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Token ids and mask (int64[rows, length], 1 = a token, 0 = padding at the end) -> one row of numbers (float64[rows, k]) each."""


def unwrap(texts: pa.StringArray) -> pa.StringArray:
    """`texts` without C2PA wrappers: invisible, and so long that a model would read nothing else. Linear in the bytes.

    *Source:* C2PA specification 2.3, section A.7, "Embedding manifests into unstructured text".
    """
    return pc.replace_substring_regex(texts, _WRAPPER, "")


def first_chars(texts: pa.StringArray, max_tokens: int) -> list[str]:
    """The beginning of each text that `max_tokens` tokens can stand for."""
    return pc.utf8_slice_codeunits(texts, 0, max_tokens * CHARS_PER_TOKEN).to_pylist()


def score_alone(tokens: Sequence[Sequence[int]], forward: Forward, num_threads: int = 1) -> list[np.ndarray]:
    """What `forward` gives for each text by itself, in order; `num_threads` of them at once. Each needs at least one token."""

    def score(ids: Sequence[int]) -> np.ndarray:
        row = np.asarray(ids, np.int64)[None, :]
        return forward(row, np.ones_like(row))[0]

    if num_threads == 1 or len(tokens) < 2:
        return [score(ids) for ids in tokens]
    with ThreadPoolExecutor(num_threads) as threads:
        return list(threads.map(score, tokens))


def score_padded(tokens: Sequence[Sequence[int]], forward: Forward, blank: int, batch_tokens: int = BATCH_TOKENS) -> list[np.ndarray]:
    """What `forward` gives for each text, in order, in batches of one shape a length; padding and filling rows are `blank` tokens.

    Each text needs at least one token, and at most `PADDED_LENGTHS[-1]`.
    """
    results: list[np.ndarray] = [np.empty(0)] * len(tokens)
    for rows, length, num_rows in plan_batches([len(ids) for ids in tokens], batch_tokens):
        ids, mask = np.full((num_rows, length), blank, np.int64), np.zeros((num_rows, length), np.int64)
        mask[:, 0] = 1  # a row without any token divides by nothing
        for at, row in enumerate(rows):
            ids[at, : len(tokens[row])] = tokens[row]
            mask[at, : len(tokens[row])] = 1
        for row, numbers in zip(rows, forward(ids, mask), strict=False):
            results[row] = numbers
    return results


def plan_batches(lengths: Sequence[int], batch_tokens: int = BATCH_TOKENS) -> list[tuple[list[int], int, int]]:
    """Batches of `batch_tokens` tokens as (which texts, padded length, rows of the batch), shortest first; each text is in one.

    Raises ValueError for a text longer than the longest length.
    """
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        if length > PADDED_LENGTHS[-1]:
            raise ValueError(f"a text of {length} tokens; at most {PADDED_LENGTHS[-1]} fit")
        by_length.setdefault(next(padded for padded in PADDED_LENGTHS if length <= padded), []).append(row)
    batches = []
    for padded, rows in sorted(by_length.items()):
        num_rows = max(1, batch_tokens // padded)
        batches += [(rows[start : start + num_rows], padded, num_rows) for start in range(0, len(rows), num_rows)]
    return batches
