"""What DECIDE's shards tell about the mix without any worker seeing all documents: histograms first, then a few documents.

Every alive document has two 64-bit keys made from its row key and the seed: the priority key (smallest is chosen first) and
the placement key (smallest is placed first). A survey of one decided shard either counts its documents by the top
`BIN_BITS` of a key, or gathers those in a few bins. Histograms of all shards add up; the planners then ask for the bins
that a cut falls into, and `order_steps` puts the gathered documents in the place of their bins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.mix_settings import MixSettings
from transforms.plan_mix import MixPlan
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, DecidedShard, Origin
from transforms.storage import open_arrow

BIN_BITS = 20
"""Bits of a key that make its bin: a million bins, a thousand documents in each at a billion documents."""
HUMAN, OTHER = 0, 1
"""The two strata, as codes."""
QUALITY_LEVELS = 256
"""Levels of quality that `priority="quality"` tells apart: the top 8 bits of the key."""
_PRIORITY_STREAM, _PLACEMENT_STREAM = 1, 2
_COLUMNS = ("address", "origin", "row_key", "quality", "tokens", "bytes", "reason")
_MASK = (1 << 64) - 1
FRESH_END = np.uint64(1 << 63)
"""Where a share of fresh human text is asked for, the priority keys of fresh human documents lie before it, those of others from it on."""

Position = tuple[int, int] | None
"""A place between documents in the order of (key, address): before the document named, or the end (None)."""


@dataclass(frozen=True)
class Selection:
    """Which documents are chosen: those whose (priority key, address) lies before the cut of their stratum."""

    plan: MixPlan
    """The numbers."""
    human: Position
    """Chosen human documents lie before it; the others are over the size, or not fresh."""
    stale: Position
    """Human documents from `human` to here are left out because too few of them are fresh."""
    within_size: Position
    """Other documents from here on are over the size."""
    within_quota: Position
    """Other documents from here to `within_size` are over the quota."""
    other: Position
    """Chosen other documents lie before it; from here to `within_quota` the shards' floors leave no place."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a survey is asked for."""

    selection: Selection | None = None
    """None: all alive documents by priority key; else the chosen ones by placement key."""
    bins: np.ndarray | None = None
    """None: a histogram; else the documents in these bins (int64 codes, as the histogram's)."""


@dataclass(frozen=True, eq=False)
class AliveDocuments:
    """The alive rows of a decided shard, as arrays of one length."""

    rows: np.ndarray
    """int64: row within the table."""
    is_human: np.ndarray
    """bool: counts as human."""
    addresses: np.ndarray
    """uint64."""
    units: np.ndarray
    """int64 (n, 3): 1, tokens, bytes."""
    priority: np.ndarray
    """uint64: priority key."""
    placement: np.ndarray
    """uint64: placement key."""

    def chosen(self, selection: Selection) -> np.ndarray:
        """bool: lies before the cut of its stratum."""
        human = lies_before(self.priority, self.addresses, selection.human)
        return np.where(self.is_human, human, lies_before(self.priority, self.addresses, selection.other))


@dataclass(frozen=True, eq=False)
class OrderedSteps:
    """One stratum by (key, address): single documents, and lumps for the bins that were not opened."""

    keys: np.ndarray
    """uint64: key of the document, or the smallest key of the bin."""
    addresses: np.ndarray
    """uint64: address of the document, or 0 for a bin: (key, address) lies at or before every document of the step."""
    units: np.ndarray
    """int64 (n, 3): documents, tokens, bytes."""
    is_open: np.ndarray
    """bool: a single document whose address is known."""

    @property
    def fresh_steps(self) -> int:
        """Human steps of fresh documents, which come first where a share of them is asked for."""
        return int(np.searchsorted(self.keys, FRESH_END))

    def position(self, index: int) -> Position:
        """The place before step `index`; the end if there is none."""
        return (int(self.keys[index]), int(self.addresses[index])) if index < len(self.keys) else None

    def bins(self, indices: np.ndarray, stratum: int) -> np.ndarray:
        """Histogram codes (int64) of the steps at `indices`."""
        return (stratum << BIN_BITS) | (self.keys[indices] >> np.uint64(64 - BIN_BITS)).astype(np.int64)


def mix_hash(row_keys: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """64-bit hashes (uint64) of row keys, a different and unrelated order for every (seed, stream); equal only for equal row keys.

    Two rounds of the splitmix64 finaliser, salted. *Source:* Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014, figure 16.
    """
    salts = [_finalise_int(_finalise_int(seed + 0x9E3779B97F4A7C15) + 2 * stream + turn) for turn in range(2)]
    hashes = np.array(row_keys, np.uint64)
    for salt in salts:
        hashes ^= np.uint64(salt)
        hashes ^= hashes >> np.uint64(30)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(27)
        hashes *= np.uint64(0x94D049BB133111EB)
        hashes ^= hashes >> np.uint64(31)
    return hashes


def priority_keys(row_keys: np.ndarray, qualities: np.ndarray, settings: MixSettings) -> np.ndarray:
    """Priority keys (uint64): by hash, or by quality (0..1, best first, in `QUALITY_LEVELS` levels) and then by hash."""
    hashes = mix_hash(row_keys, settings.seed, _PRIORITY_STREAM)
    if settings.priority == "random":
        return hashes
    levels = np.clip(np.floor((1.0 - qualities.astype(np.float64)) * QUALITY_LEVELS), 0, QUALITY_LEVELS - 1).astype(np.uint64)
    return (levels << np.uint64(56)) | (hashes >> np.uint64(8))


def placement_keys(row_keys: np.ndarray, settings: MixSettings) -> np.ndarray:
    """Placement keys (uint64): the global shuffle, independent of the choice."""
    return mix_hash(row_keys, settings.seed, _PLACEMENT_STREAM)


def lies_before(keys: np.ndarray, addresses: np.ndarray, position: Position) -> np.ndarray:
    """bool: (key, address) is smaller than the position."""
    if position is None:
        return np.ones(len(keys), bool)
    key, address = np.uint64(position[0]), np.uint64(position[1])
    return (keys < key) | ((keys == key) & (addresses < address))


def survey_columns(settings: MixSettings) -> tuple[str, ...]:
    """The columns of `DECISION_SCHEMA` that the mix looks at."""
    return (*_COLUMNS, "fresh") if settings.min_fresh_human else _COLUMNS


def read_alive(decisions: pa.Table, settings: MixSettings) -> AliveDocuments:
    """The alive rows of a table of `DECISION_SCHEMA`. Raises ValueError where a figure that the mix needs is missing."""
    rows = np.flatnonzero(pc.is_null(decisions["reason"]).to_numpy())
    alive = decisions.select([name for name in survey_columns(settings) if name != "reason"])
    if len(rows) < decisions.num_rows:
        alive = alive.take(pa.array(rows))
    needed = [name for name in alive.column_names if name != "fresh" and (name != "quality" or settings.priority == "quality")]
    for name in needed:
        if alive[name].null_count:
            raise ValueError(f"decision column {name!r}: {alive[name].null_count} documents to mix have none; every alive document needs one")
    columns = {name: alive[name].to_numpy() for name in needed}
    qualities = columns.get("quality", np.empty(0))
    if np.isnan(qualities).any():
        raise ValueError("decision column 'quality': not a number; priority=quality needs a value in 0..1 for every alive document")
    counted = [ORIGIN_CODES[Origin.HUMAN]] + [ORIGIN_CODES[Origin.PRESUMED_HUMAN]] * settings.count_presumed_human
    is_human, priority = np.isin(columns["origin"], counted), priority_keys(columns["row_key"], qualities, settings)
    if settings.min_fresh_human:
        is_stale = ~pc.fill_null(alive["fresh"], False).to_numpy()
        priority = np.where(is_human, (priority >> np.uint64(1)) | np.where(is_stale, FRESH_END, np.uint64(0)), priority)
    return AliveDocuments(
        rows=rows,
        is_human=is_human,
        addresses=columns["address"],
        units=np.stack([np.ones(len(rows), np.int64), columns["tokens"].astype(np.int64), columns["bytes"].astype(np.int64)], axis=1),
        priority=priority,
        placement=placement_keys(columns["row_key"], settings),
    )


def survey_table(decisions: pa.Table, request: Request, settings: MixSettings) -> np.ndarray:
    """A histogram (int64: code, documents, tokens, bytes) or documents (uint64: stratum, key, address, tokens, bytes), one a row.

    A code is the stratum followed by `BIN_BITS` of key; histogram rows are sorted by it, documents stand in row order.
    """
    alive = read_alive(decisions, settings)
    wanted = np.ones(len(alive.rows), bool) if request.selection is None else alive.chosen(request.selection)
    keys = alive.priority if request.selection is None else alive.placement
    strata = np.where(alive.is_human, HUMAN, OTHER)
    codes = (strata << BIN_BITS) | (keys >> np.uint64(64 - BIN_BITS)).astype(np.int64)
    if request.bins is None:
        return add_up(codes[wanted], alive.units[wanted])
    wanted &= np.isin(codes, request.bins)
    columns = [strata, keys, alive.addresses, alive.units[:, 1], alive.units[:, 2]]
    return np.stack([column[wanted].astype(np.uint64) for column in columns], axis=1)


def survey_shard(decided: DecidedShard, request: Request, settings: MixSettings) -> list[np.ndarray]:
    """`survey_table` of a decided shard's file, reading only the columns it needs; nothing where there is nothing to tell."""
    if decided.num_alive == 0 or (request.bins is not None and len(request.bins) == 0):
        return []
    options = pa.ipc.IpcReadOptions(included_fields=sorted(DECISION_SCHEMA.get_field_index(name) for name in survey_columns(settings)))
    with open_arrow(decided.path) as file, pa.ipc.open_file(file, options=options) as reader:
        decisions = reader.read_all()
    found = survey_table(decisions, request, settings)
    return [found] if len(found) else []


def add_up(codes: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Histogram (int64: code, documents, tokens, bytes; sorted by code) of documents or of parts of histograms."""
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    sums = np.add.reduceat(units[order], starts, axis=0) if len(starts) else np.empty((0, 3), np.int64)
    return np.concatenate([codes[starts, None], sums], axis=1)


def merge_histograms(histograms: Iterable[np.ndarray]) -> np.ndarray:
    """The histogram of all documents that the given ones count; of none, an empty one."""
    rows = np.concatenate([np.empty((0, 4), np.int64), *histograms])
    return add_up(rows[:, 0], rows[:, 1:])


def join_documents(documents: Iterable[np.ndarray]) -> np.ndarray:
    """All gathered documents in one array."""
    return np.concatenate([np.empty((0, 5), np.uint64), *documents])


def order_steps(histogram: np.ndarray, documents: np.ndarray, stratum: int) -> OrderedSteps:
    """The stratum by (key, address), with the gathered documents in the place of their bins.

    Raises RuntimeError if they are not all the documents of those bins: then a decided shard changed underway.
    """
    shift = np.uint64(64 - BIN_BITS)
    rows = histogram[histogram[:, 0] >> BIN_BITS == stratum]
    opened = documents[documents[:, 0] == stratum]
    bins = rows[:, 0] & ((1 << BIN_BITS) - 1)
    is_opened = np.isin(bins, (opened[:, 1] >> shift).astype(np.int64))
    opened_units = np.stack([np.ones(len(opened), np.int64), opened[:, 3].astype(np.int64), opened[:, 4].astype(np.int64)], axis=1)
    if not np.array_equal(opened_units.sum(axis=0), rows[is_opened, 1:].sum(axis=0)):
        raise RuntimeError(f"mix: {len(opened)} documents gathered where {rows[is_opened, 1].sum()} were counted; a decided shard changed underway")
    lumps = rows[~is_opened]
    keys = np.concatenate([bins[~is_opened].astype(np.uint64) << shift, opened[:, 1]])
    addresses = np.concatenate([np.zeros(len(lumps), np.uint64), opened[:, 2]])
    order = np.lexsort((addresses, keys))
    return OrderedSteps(
        keys=keys[order],
        addresses=addresses[order],
        units=np.concatenate([lumps[:, 1:], opened_units])[order],
        is_open=order >= len(lumps),
    )


def _finalise_int(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
