"""Which documents count as human, and the further copies of them that a mix may publish.

A copy is a row of its own wherever documents are chosen and placed: all first copies stand before all second ones in the order of priority, so that
none is published twice before every one was once, and the best go first among the second copies. What is counted are rows: quota, sizes and
shards take a copy for the text that it is. But it is no new text: it is never fresh, and it has no reserved place.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.mix_settings import MixSettings
from transforms.records import ORIGIN_CODES, Origin

COPY_FIELD = pa.field("copy", pa.int16(), nullable=False)
"""Of a published row: 0 for the first copy of its document, 1 for the second, and so on."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def counts_as_human(origins: np.ndarray, settings: MixSettings) -> np.ndarray:
    """bool: which verified origins (`ORIGIN_CODES`) count towards the quota."""
    is_human = origins == ORIGIN_CODES[Origin.HUMAN]
    return is_human | (origins == ORIGIN_CODES[Origin.PRESUMED_HUMAN]) if settings.count_presumed_human else is_human


def repeat_human(decisions: pa.Table, settings: MixSettings) -> pa.Table:
    """The rows of `decisions` (`DECISION_SCHEMA`, and whatever stands beside it), behind them the further copies of living human ones, and the column `copy`.

    As it is where no repeats are asked for. The copies stand in the order of copy and row.
    """
    if settings.max_human_repeats == 1:
        return decisions
    sources, copies = copy_rows(decisions, settings)
    repeated = pa.concat_tables([decisions, decisions.take(pa.array(sources[decisions.num_rows :]))])
    return repeated.append_column(COPY_FIELD, pa.array(copies)).combine_chunks()


def copy_rows(decisions: pa.Table, settings: MixSettings) -> tuple[np.ndarray, np.ndarray]:
    """(row of `decisions` (int64), copy (int16)) of each row of `repeat_human`."""
    count, further = decisions.num_rows, settings.max_human_repeats - 1
    if not further:
        return np.arange(count), np.zeros(count, np.int16)
    alive = pc.is_null(decisions["reason"]).to_numpy()
    human = np.flatnonzero(alive & counts_as_human(decisions["origin"].to_numpy(), settings))
    copies = np.repeat(np.arange(1, further + 1, dtype=np.int16), len(human))
    return np.concatenate([np.arange(count), np.tile(human, further)]), np.concatenate([np.zeros(count, np.int16), copies])


def copy_row_keys(row_keys: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """uint64: a row key for each copy, that of its document for the first: what places copies apart."""
    return row_keys + copies.astype(np.uint64) * _GOLDEN


def copy_keys(priorities: np.ndarray, copies: np.ndarray, settings: MixSettings) -> np.ndarray:
    """uint64: priority keys of human rows with the copy in their highest bits; as they are where no repeats are asked for."""
    bits = np.uint64(settings.copy_bits)
    return (priorities >> bits) | (copies.astype(np.uint64) << (np.uint64(64) - bits)) if bits else priorities


def first_copies_end(settings: MixSettings) -> int:
    """The key before which the first copies lie, and no others, in the human order of the whole mix (`survey_mix.read_alive`)."""
    if settings.reserve:
        return (3 << 62 if settings.min_fresh_human else 2 << 62) + (1 << (62 - settings.copy_bits))
    if settings.min_fresh_human:
        return (1 << 63) + (1 << (63 - settings.copy_bits))
    return 1 << (64 - settings.copy_bits)
