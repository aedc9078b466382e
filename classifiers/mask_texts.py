"""Masks personal data: texts in, texts with placeholders out, and how many pieces of each kind were replaced.

Exactly what `classifiers.personal_data` flags is replaced, and nothing else changes. What only comes to light by that (a number that was part of a
longer word until an address behind it became a mask) is masked in turn: a masked text has nothing left to mask, so masking twice changes nothing.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from classifiers.personal_data import find_personal_data
from classifiers.personal_kinds import KIND_NAMES, MASKS, check_kinds
from classifiers.text_batch import TextBatch

MAX_BYTES = (1 << 31) - 1
"""Bytes of text that an Arrow string array can hold."""


def mask_texts(texts: pa.StringArray, kinds: Sequence[str] = KIND_NAMES) -> tuple[pa.StringArray, np.ndarray]:
    """`texts` with every piece of personal data of `kinds` (of `KIND_NAMES`) replaced by its mask, and what was replaced (int32[n, 5], by kind).

    Never inside a code point; deterministic; linear in the bytes but for what comes to light later, which is looked for in the changed texts alone.
    Raises ValueError for an unknown kind, or if the masked texts exceed what one array can hold.
    """
    check_kinds(tuple(kinds), "kinds")
    wanted = np.array([name in kinds for name in KIND_NAMES])
    masked, counts = _mask_once(texts, wanted)
    rows = np.flatnonzero(counts.any(axis=1))
    changed, more = masked.take(pa.array(rows)) if len(rows) else None, False
    while len(rows):
        changed, found = _mask_once(changed, wanted)
        if not found.any():
            break
        counts[rows] += found
        more = True
    if more:
        mask = np.zeros(len(texts), bool)
        mask[rows] = True
        masked = pc.replace_with_mask(masked, pa.array(mask), changed)
    return masked, counts


def _mask_once(texts: pa.StringArray, wanted: np.ndarray) -> tuple[pa.StringArray, np.ndarray]:
    batch = TextBatch(texts)
    spans = find_personal_data(batch)
    chosen = wanted[spans.kind]
    counts = np.bincount(spans.text[chosen] * len(KIND_NAMES) + spans.kind[chosen], minlength=len(texts) * len(KIND_NAMES))
    counts = counts.reshape(-1, len(KIND_NAMES)).astype(np.int32)
    if not chosen.any():
        return texts, counts
    masks = np.frombuffer("".join(MASKS).encode(), np.uint8)
    mask_offsets = np.concatenate(([0], np.cumsum([len(mask) for mask in MASKS]))).astype(np.int64)
    arrays = (spans.text[chosen], spans.kind[chosen], spans.begin[chosen], spans.end[chosen])
    data, offsets = _replace(batch.utf8, batch.offsets, *arrays, masks, mask_offsets)
    if offsets[-1] > MAX_BYTES:
        raise ValueError(f"{offsets[-1]:,} bytes of masked text do not fit one array of {MAX_BYTES:,}; mask fewer texts at a time")
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)), counts


@njit(cache=True, nogil=True)
def _replace(utf8, offsets, texts, kinds, begins, ends, masks, mask_offsets):
    total = offsets[-1] - offsets[0]
    for span in range(len(texts)):
        total += mask_offsets[kinds[span] + 1] - mask_offsets[kinds[span]] - (ends[span] - begins[span])
    made, made_offsets = np.empty(total, np.uint8), np.zeros(len(offsets), np.int64)
    used, span = 0, 0
    for text in range(len(offsets) - 1):
        at = offsets[text]
        while at < offsets[text + 1]:
            if span < len(texts) and texts[span] == text and begins[span] == at:
                for place in range(mask_offsets[kinds[span]], mask_offsets[kinds[span] + 1]):
                    made[used] = masks[place]
                    used += 1
                at = ends[span]
                span += 1
            else:
                made[used] = utf8[at]
                used += 1
                at += 1
        made_offsets[text + 1] = used
    return made, made_offsets
