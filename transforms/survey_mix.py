"""What DECIDE's shards tell about the mix without any worker seeing all documents: histograms first, then a few documents.

Every alive document has two 64-bit keys (`order_keys`): the priority key (smallest is chosen first) and the placement key (smallest is
placed first). A survey of one decided shard either counts its documents by the top
`BIN_BITS` of a key, or gathers those in a few bins. Histograms of all shards add up; the planners then ask for the bins
that a cut falls into, and `order_steps` puts the gathered documents in the place of their bins.

Where groups have reserved places, surveys of the groups come first (`reserve_places`); what they find, `Reserved`, then puts reserved
documents before the others by the highest bits of the priority key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.bound_mix import HumanOrder
from transforms.decisions import read_decisions
from transforms.group_members import add_members, count_fields, decided_fields, member_columns, read_cells, with_members
from transforms.human_rows import COPY_FIELD, copy_keys, copy_row_keys, counts_as_human, repeat_human
from transforms.mix_settings import MixSettings
from transforms.order_keys import placement_keys
from transforms.plan_mix import MixPlan
from transforms.read_priorities import BY_QUALITY, read_priorities
from transforms.records import DecidedShard
from transforms.survey_cells import CellCuts, survey_cells

BIN_BITS = 20
"""Bits of a key that make its bin: a million bins, a thousand documents in each at a billion documents. At least the two bits of a class."""
HUMAN, OTHER = 0, 1
"""The two strata, as codes."""
_COLUMNS = ("address", "origin", "row_key", "quality", "tokens", "bytes", "reason")
RESERVED_MARK = 1 << 32
"""Added to the stratum of a gathered document that has a reserved place."""
FRESH_END = np.uint64(1 << 63)
"""Where a share of fresh human text is asked for, the priority keys of fresh human documents lie before it, those of others from it on."""

CLASS_ENDS = np.array([1 << 62, 1 << 63, 3 << 62], np.uint64)
"""Where places are reserved: priority keys before which human documents are reserved fresh ones, reserved others, and other fresh ones."""
FRESH, STALE = 0, 1
"""The classes of human documents within a group; its other documents are the third. Without a fresh share all human ones are fresh."""
GROUP_CLASSES = 3

Position = tuple[int, int] | None
"""A place between documents in the order of (key, address): before the document named, or the end (None)."""


@dataclass(frozen=True)
class ReservedPlaces:
    """Which documents of one group have a reserved place: those before a position among their class's priorities, without the class's bits."""

    available: int
    """Alive documents of the group."""
    ends: tuple[Position, Position, Position]
    """For fresh human, other human and other documents."""


Reserved = tuple[ReservedPlaces, ...]
"""One for each of the settings' reserves, in their order."""


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
    within_fresh: Position = None
    """Other documents from here to `within_size` are left out because too little of the whole is fresh."""
    carried: Position = None
    """Human documents with a reserved place that are not fresh are left out from here on: no fresh text carries them."""
    reserved: Reserved = ()
    """Who has a reserved place."""
    cells: CellCuts | None = None
    """Where groups are asked for: the cuts that count instead of all those above."""
    baseline: Selection | None = None
    """Where groups are asked for: the selection of the mix without them, which says why else a document is left out."""


@dataclass(frozen=True, eq=False)
class Request:
    """What a survey is asked for."""

    selection: Selection | None = None
    """None: all alive documents by priority key; else the chosen ones by placement key."""
    bins: np.ndarray | None = None
    """None: a histogram; else the documents in these bins (int64 codes, as the histogram's)."""
    reserved: Reserved = ()
    """Who has a reserved place; without a selection, which knows."""
    of_groups: bool = False
    """Whether the documents of each group with reserved places are asked for, by group, class and priority; a document may count in several."""
    of_cells: bool = False
    """Whether documents are asked for by cell and priority (`survey_cells`), with a selection the chosen ones."""
    lost: np.ndarray | None = None
    """uint64: addresses of chosen documents that no shard could hold; not counted."""

    @property
    def places(self) -> Reserved:
        """Who has a reserved place, as far as is known."""
        return self.selection.reserved if self.selection else self.reserved


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
    is_stale: np.ndarray
    """bool: human and, where a fresh share is asked for, not fresh."""
    members: np.ndarray
    """bool (groups, n): of which groups with reserved places it is."""
    is_reserved: np.ndarray
    """bool: has a reserved place."""
    cells: np.ndarray
    """int64: cell of the document (`group_members`), where groups are asked for; else 0."""
    found: tuple[int, ...] = ()
    """Documents that have each field that the groups name."""

    def chosen(self, selection: Selection) -> np.ndarray:
        """bool: lies before the cut of its stratum, or of its cell where there are groups."""
        if selection.cells is not None:
            return selection.cells.takes(self.cells, self.priority, self.addresses)
        human = lies_before(self.priority, self.addresses, selection.human) & ~self.is_uncarried(selection)
        return np.where(self.is_human, human, lies_before(self.priority, self.addresses, selection.other))

    def is_uncarried(self, selection: Selection) -> np.ndarray:
        """bool: has a reserved place among the human documents, but there is no fresh text that carries it."""
        if selection.carried is None:
            return np.zeros(len(self.rows), bool)
        return self.is_reserved & self.is_stale & ~lies_before(self.priority, self.addresses, selection.carried)


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
    is_reserved: np.ndarray
    """bool: a single document that was gathered with the mark of a reserved place."""

    def human_order(self, settings: MixSettings) -> HumanOrder:
        """What the human steps' keys say of their order."""
        if not settings.reserve:
            return HumanOrder(int(np.searchsorted(self.keys, FRESH_END)))
        reserved_fresh, reserved, fresh_end = (int(end) for end in np.searchsorted(self.keys, CLASS_ENDS))
        return HumanOrder(fresh_end - (reserved - reserved_fresh), reserved_fresh, reserved - reserved_fresh)

    def without(self, begin: int, end: int) -> OrderedSteps:
        """The steps but for those from `begin` to `end`."""
        columns = (self.keys, self.addresses, self.units, self.is_open, self.is_reserved)
        return OrderedSteps(*(np.delete(column, slice(begin, end), axis=0) for column in columns))

    def before(self, key: int) -> int:
        """Steps whose keys are smaller than `key`, at which no lump straddles."""
        return int(np.searchsorted(self.keys, np.uint64(key)))

    def position(self, index: int) -> Position:
        """The place before step `index`; the end if there is none."""
        return (int(self.keys[index]), int(self.addresses[index])) if index < len(self.keys) else None

    def bins(self, indices: np.ndarray, stratum: int) -> np.ndarray:
        """Histogram codes (int64) of the steps at `indices`."""
        return (stratum << BIN_BITS) | (self.keys[indices] >> np.uint64(64 - BIN_BITS)).astype(np.int64)


def lies_before(keys: np.ndarray, addresses: np.ndarray, position: Position) -> np.ndarray:
    """bool: (key, address) is smaller than the position."""
    if position is None:
        return np.ones(len(keys), bool)
    key, address = np.uint64(position[0]), np.uint64(position[1])
    return (keys < key) | ((keys == key) & (addresses < address))


def survey_columns(settings: MixSettings) -> tuple[str, ...]:
    """The columns of `DECISION_SCHEMA` that the mix looks at; beside them it looks at `settings.scored_fields`."""
    return tuple(dict.fromkeys((*_COLUMNS, *(("fresh",) if settings.min_fresh_human else ()), *decided_fields(settings.groups))))


def read_for_mix(decided: DecidedShard, settings: MixSettings, columns: Sequence[str] | None = None, scored: Sequence[str] = ()) -> pa.Table:
    """The decisions about a shard, or these `columns` of them, with all that the mix looks at beside them, and the columns `scored`."""
    beside = tuple(dict.fromkeys((*settings.scored_fields, *scored)))
    return with_members(read_decisions(decided, columns, beside), decided, settings.groups)


def read_alive(decisions: pa.Table, settings: MixSettings, reserved: Reserved = ()) -> AliveDocuments:
    """The alive rows of a table of `DECISION_SCHEMA`, with the columns `settings.scored_fields` beside it, and `copy` where a row may be a further copy.

    Where there are groups, also with the columns of `add_members`, or those that their predicates name; priority keys then stand as they are,
    without what fresh shares and reserves make of them. Raises ValueError where a figure that the mix needs is missing.
    """
    decisions = add_members(decisions, settings.groups)
    rows = np.flatnonzero(pc.is_null(decisions["reason"]).to_numpy())
    beside = (*({COPY_FIELD.name} & set(decisions.column_names)), *member_columns(decisions, settings.groups))
    names = dict.fromkeys((*survey_columns(settings), *settings.scored_fields, *beside))
    alive = decisions.select([name for name in names if name != "reason"])
    if len(rows) < decisions.num_rows:
        alive = alive.take(pa.array(rows))
    by_quality = [order for order in settings.orders if order in BY_QUALITY]
    needed = [name for name in _COLUMNS if name != "reason" and (name != "quality" or by_quality)]
    for name in needed:
        if alive[name].null_count:
            raise ValueError(f"decision column {name!r}: {alive[name].null_count} documents to mix have none; every alive document needs one")
    columns = {name: alive[name].to_numpy() for name in needed}
    qualities = columns.get("quality", np.empty(0))
    if np.isnan(qualities).any():
        raise ValueError(f"decision column 'quality': not a number; priority={by_quality[0]} needs a value in 0..1 for every alive document")
    is_human, priority = counts_as_human(columns["origin"], settings), read_priorities(alive, columns["row_key"], qualities, settings)
    copies = alive[COPY_FIELD.name].to_numpy() if COPY_FIELD.name in alive.column_names else np.zeros(len(rows), np.int16)
    priority = np.where(is_human, copy_keys(priority, copies, settings), priority)
    is_stale, is_reserved = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    if settings.min_fresh_human:
        is_stale = is_human & ~(pc.fill_null(alive["fresh"], False).to_numpy() & (copies == 0))
    members = _members(alive, settings) & (copies == 0)
    cells, found = np.zeros(len(rows), np.int64), ()
    if settings.groups:
        cells, found = read_cells(alive, is_human, is_stale, members, settings), tuple(count_fields(alive, settings.groups))
    elif reserved:
        classes = np.where(is_human, np.where(is_stale, STALE, FRESH), GROUP_CLASSES - 1)
        for group, places in enumerate(reserved):
            for number, end in enumerate(places.ends):
                is_reserved |= members[group] & (classes == number) & lies_before(priority, columns["address"], end)
        human_bits = (np.where(is_reserved, 0, 2) + is_stale).astype(np.uint64) << np.uint64(62)
        other_bits = (~is_reserved).astype(np.uint64) << np.uint64(63)
        priority = np.where(is_human, (priority >> np.uint64(2)) | human_bits, (priority >> np.uint64(1)) | other_bits)
    elif settings.min_fresh_human and not settings.reserve:
        priority = np.where(is_human, (priority >> np.uint64(1)) | np.where(is_stale, FRESH_END, np.uint64(0)), priority)
    return AliveDocuments(
        rows=rows,
        is_human=is_human,
        addresses=columns["address"],
        units=np.stack([np.ones(len(rows), np.int64), columns["tokens"].astype(np.int64), columns["bytes"].astype(np.int64)], axis=1),
        priority=priority,
        placement=placement_keys(copy_row_keys(columns["row_key"], copies), settings),
        is_stale=is_stale,
        members=members,
        is_reserved=is_reserved,
        cells=cells,
        found=found,
    )


def _members(alive: pa.Table, settings: MixSettings) -> np.ndarray:
    members = [pc.fill_null(pc.equal(alive[one.field], one.value), False).to_numpy() for one in settings.reserve]
    return np.stack(members) if members else np.empty((0, alive.num_rows), bool)


def survey_table(decisions: pa.Table, request: Request, settings: MixSettings) -> np.ndarray:
    """A histogram (int64: code, documents, tokens, bytes) or documents (uint64: stratum, key, address, tokens, bytes), one a row.

    A code is the stratum followed by `BIN_BITS` of key; histogram rows are sorted by it, documents stand in row order. Of groups, the
    stratum is `GROUP_CLASSES` times the group plus the class. From `RESERVED_MARK` on, a document's stratum says that its place is reserved.
    """
    return survey_alive(read_alive(decisions, settings, request.places), request)


def survey_alive(alive: AliveDocuments, request: Request) -> np.ndarray:
    """`survey_table` of documents that were read before, with the request's `places`."""
    selection = request.selection
    wanted = np.ones(len(alive.rows), bool) if selection is None else alive.chosen(selection)
    if request.lost is not None:
        wanted &= ~np.isin(alive.addresses, request.lost)
    if request.of_cells:
        found = () if selection else alive.found
        return survey_cells(alive.cells[wanted], alive.priority[wanted], alive.addresses[wanted], alive.units[wanted], request.bins, found)
    keys = alive.priority if selection is None else alive.placement
    strata = np.where(alive.is_human, HUMAN, OTHER)
    if not request.of_groups:
        return _survey_rows(alive, np.flatnonzero(wanted), strata[wanted], keys, request.bins)
    classes = np.where(alive.is_human, np.where(alive.is_stale, STALE, FRESH), GROUP_CLASSES - 1)
    group, row = np.nonzero(alive.members & wanted)
    return _survey_rows(alive, row, GROUP_CLASSES * group + classes[row], keys, request.bins)


def _survey_rows(alive: AliveDocuments, rows: np.ndarray, strata: np.ndarray, keys: np.ndarray, bins: np.ndarray | None) -> np.ndarray:
    codes = (strata << BIN_BITS) | (keys[rows] >> np.uint64(64 - BIN_BITS)).astype(np.int64)
    if bins is None:
        return add_up(codes, alive.units[rows])
    is_asked = np.isin(codes, bins)
    rows = rows[is_asked]
    marked = strata[is_asked] + np.where(alive.is_reserved[rows], RESERVED_MARK, 0)
    columns = [marked, keys[rows], alive.addresses[rows], alive.units[rows, 1], alive.units[rows, 2]]
    return np.stack([column.astype(np.uint64) for column in columns], axis=1)


def survey_shard(decided: DecidedShard, request: Request, settings: MixSettings) -> list[np.ndarray]:
    """`survey_table` of a decided shard's file, reading only the columns it needs; nothing where there is nothing to tell."""
    if decided.num_alive == 0 or (request.bins is not None and len(request.bins) == 0):
        return []
    decisions = read_for_mix(decided, settings, survey_columns(settings))
    found = survey_table(repeat_human(decisions, settings), request, settings)
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
    parts = [part for part in histograms if len(part)]
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([np.empty((0, 4), np.int64), *parts])
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
    opened = documents[documents[:, 0] % RESERVED_MARK == stratum]
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
        is_reserved=np.concatenate([np.zeros(len(lumps), bool), opened[:, 0] >= RESERVED_MARK])[order],
    )
