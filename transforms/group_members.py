"""Which groups each document is of: the predicates of the mix's groups over the decisions about a shard and the scores and records beside them.

Each distinct predicate is evaluated once for a table that is read, and stays in it as a column of bits; each field of a record that a
predicate names leaves a column too, which says who has it: a name that no record has is a slip, and is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.document_keys import find_value, parse_record
from transforms.group_predicates import ANYTHING, EXTRA, NUMBER, TEXT, TRUTH, kind_of
from transforms.group_settings import Group, parent_places
from transforms.mix_settings import MixSettings
from transforms.records import DECISION_SCHEMA, DOCUMENT_SCHEMA, ORIGIN_NAMES, DecidedShard
from transforms.storage import open_arrow

HUMAN_BIT, FRESH_BIT = 1, 2
"""Bits of a cell: counts as human; and, where a fresh share is asked for, is fresh. Those of groups and then of reserves follow."""
FIRST_GROUP_BIT = 2
"""Place of the first group's bit."""
DECIDED_FIELDS = {
    "origin": pa.string(),
    "declared_origin": pa.string(),
    **{name: DECISION_SCHEMA.field(name).type for name in ("source", "verified", "quality", "tokens", "bytes", "words", "generation", "fresh")},
    "semantic_cluster": DECISION_SCHEMA.field("semantic_cluster").type,
}
"""Fields that the decisions know, with their types: `origin` as verified, `generation` as derived where there is a ledger."""
_AS_DECIDED = {"declared_origin": "declared"}
_NO_FIELDS = ("text", "messages", "parents", "extra", "location", "row_key")
_CLOSE = 0.8
"""Similarity (difflib) of an unknown name to a column's from which it is taken for a slip rather than for a field of the records."""


def known_fields(scores: Iterable[pa.Field]) -> pa.Schema:
    """Every column that a predicate may name: those of decisions and documents, and the scores."""
    documents = [field for field in DOCUMENT_SCHEMA if field.name not in (*DECIDED_FIELDS, *_NO_FIELDS)]
    named = {*DECIDED_FIELDS, *DOCUMENT_SCHEMA.names, *_NO_FIELDS}
    return pa.schema([*DECIDED_FIELDS.items(), *documents, *(field for field in scores if field.name not in named)])


def check_group_fields(groups: Sequence[Group], known: pa.Schema) -> None:
    """Raises ValueError for a predicate that compares a column with what it cannot hold, or names none but nearly does."""
    for group in groups:
        for name, kind in group.predicate.uses:
            where = f"groups.{group.name}.where: {name}"
            if name in _NO_FIELDS:
                raise ValueError(f"{where}: cannot be compared; name a score, a column of single values or a field of the records")
            if name in known.names:
                has = kind_of(known.field(name).type)
                if has is None or kind not in (ANYTHING, has):
                    raise ValueError(f"{where}: is {has or 'no single value'}, and is compared with {kind}")
            elif close := difflib.get_close_matches(name, known.names, 1, _CLOSE):
                raise ValueError(
                    f"{where}: no such column; did you mean {close[0]!r}? For a field of the records that is named so, write {EXTRA}{name}"
                )
        try:
            group.predicate.holds(lambda name, kind: _empty(known, name, kind), 0)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            raise ValueError(f"groups.{group.name}.where = {group.where!r}: {error}") from error


def decided_fields(groups: Sequence[Group]) -> tuple[str, ...]:
    """The columns of `DECISION_SCHEMA` that the groups look at."""
    return tuple(dict.fromkeys(_AS_DECIDED.get(name, name) for name in named_fields(groups) if name in DECIDED_FIELDS))


def with_members(table: pa.Table, decided: DecidedShard, groups: Sequence[Group]) -> pa.Table:
    """`table` of a decided shard's rows, whole, with the columns that `read_cells` needs; as it is where there are no groups."""
    if not groups:
        return table
    fields = set(named_fields(groups))
    with open_arrow(decided.shard.path) as file:
        parquet = pq.ParquetFile(file)
        present = set(parquet.schema_arrow.names) - set(_NO_FIELDS)
        own = {name for name in fields if name in present and (name not in DECIDED_FIELDS or name == "generation")}
        needs_records = bool(_record_fields(groups, present))
        scored = parquet.read([*sorted(own), *(["extra"] if needs_records else [])], use_threads=False)
    return add_members(table, groups, scored)


def add_members(table: pa.Table, groups: Sequence[Group], scored: pa.Table | None = None) -> pa.Table:
    """`table` with a column of bits for each predicate, and for each field of a record. `scored`: columns of the same rows, beside those of the table."""
    columns = _ColumnsOf(table, scored)
    missing = [name for name in _record_fields(groups, columns.names) if presence_column(name) not in table.column_names] if scored is None else []
    fresh = [group for group in groups if member_column(group) not in table.column_names]
    if missing and fresh:
        raise ValueError(f"{missing[0]}: a table of decisions is asked for a group that names what stands beside it; read it with its members")
    for group in fresh:
        if member_column(group) not in table.column_names:
            holds = group.predicate.holds(columns, table.num_rows)
            table = table.append_column(member_column(group), pa.array(holds, pa.bool_()))
    for name in _record_fields(fresh, columns.names):
        if presence_column(name) not in table.column_names:
            table = table.append_column(presence_column(name), pa.array([value is not None for value in columns.values_of(name)], pa.bool_()))
    return table


def member_column(group: Group) -> str:
    """Name of the column that says whom a group's predicate holds for."""
    return f"in:{group.where}"


def presence_column(field: str) -> str:
    """Name of the column that says which records have a field."""
    return f"has:{field}"


def read_cells(alive: pa.Table, is_human: np.ndarray, is_stale: np.ndarray, reserved: np.ndarray, settings: MixSettings) -> np.ndarray:
    """int64: the cell of each document. Documents of one cell are alike in all that is promised. `reserved`: bool (reserves, n)."""
    cells = np.where(is_human, HUMAN_BIT, 0)
    if settings.min_fresh_human:
        cells |= np.where(is_human & ~is_stale, FRESH_BIT, 0)
    for place, holds in enumerate([*read_members(alive, settings.groups), *reserved], FIRST_GROUP_BIT):
        cells |= holds.astype(np.int64) << place
    return cells


def read_members(alive: pa.Table, groups: Sequence[Group]) -> list[np.ndarray]:
    """bool: which documents of a table made by `add_members` are of each group, and so of its parents."""
    members: list[np.ndarray] = []
    for group, parent in zip(groups, parent_places(groups), strict=True):
        holds = alive[member_column(group)].to_numpy()
        members.append(holds & members[parent] if parent >= 0 else holds)
    return members


def named_fields(groups: Sequence[Group]) -> tuple[str, ...]:
    """Every field that the groups name, each once."""
    return tuple(dict.fromkeys(name for group in groups for name in group.predicate.fields))


def count_fields(alive: pa.Table, groups: Sequence[Group]) -> list[int]:
    """How many documents have each of `named_fields`, of a table made by `add_members`; all of them where it is a column."""
    columns = (presence_column(name) for name in named_fields(groups))
    return [int(pc.sum(alive[name]).as_py() or 0) if name in alive.column_names else alive.num_rows for name in columns]


def member_columns(table: pa.Table, groups: Sequence[Group]) -> list[str]:
    """The columns of a table made by `add_members` that `read_cells` and `count_fields` read."""
    names = [*(member_column(group) for group in groups), *(presence_column(name) for name in named_fields(groups))]
    return [name for name in dict.fromkeys(names) if name in table.column_names]


class _ColumnsOf:
    """The fields of a table's rows, as predicates ask for them; records are parsed once, and only those that are alive and mention a field."""

    def __init__(self, table: pa.Table, scored: pa.Table | None):
        self._table, self._scored = table, scored
        self.names = {*table.column_names, *DECIDED_FIELDS, *(scored.column_names if scored is not None else ())} - set(_NO_FIELDS)
        self._values: dict[str, list] = {}

    def __call__(self, name: str, kind: str) -> pa.Array | pa.ChunkedArray:
        if name in ("origin", "declared_origin"):
            codes = self._table[_AS_DECIDED.get(name, name)].to_numpy()
            return pa.array(np.array(ORIGIN_NAMES, dtype=object)[codes], pa.string())
        scored = self._scored[name] if self._scored is not None and name in self._scored.column_names else None
        if name in self._table.column_names:
            found = self._table[name]
            return pc.coalesce(found, scored.cast(found.type)) if name == "generation" and scored is not None else found
        return self._of_records(name, kind) if scored is None else scored

    def values_of(self, name: str) -> list:
        """The values of a field of the records, None where a record has none or its document is not alive."""
        if name not in self._values:
            self._values[name] = values = [None] * self._table.num_rows
            if self._scored is not None and "extra" in self._scored.column_names:
                field = name.removeprefix(EXTRA)
                extra, first = self._scored["extra"], field.partition(".")[0]
                # JSON may spell what is not ASCII in two ways.
                mentions = pc.match_substring(extra, f'"{first}') if first.isascii() else extra.is_valid()
                wanted = pc.and_(pc.fill_null(mentions, False), self._table["reason"].is_null()).to_numpy()
                for row in np.flatnonzero(wanted).tolist():
                    values[row] = find_value(parse_record(extra[row].as_py()), field)
        return self._values[name]

    def _of_records(self, name: str, kind: str) -> pa.Array:
        values = self.values_of(name)
        if kind == ANYTHING:
            return pa.array([None if value is None else True for value in values], pa.bool_())
        is_of = _IS_OF[kind]
        return pa.array([value if is_of(value) else None for value in values], _TYPES[kind])


_IS_OF = {
    TEXT: lambda value: isinstance(value, str),
    NUMBER: lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300,
    TRUTH: lambda value: isinstance(value, bool),
}
_TYPES = {TEXT: pa.string(), NUMBER: pa.float64(), TRUTH: pa.bool_(), ANYTHING: pa.bool_()}


def _record_fields(groups: Sequence[Group], columns: Iterable[str]) -> tuple[str, ...]:
    known = {*columns, *DECIDED_FIELDS}
    return tuple(name for name in named_fields(groups) if name not in known)


def _empty(known: pa.Schema, name: str, kind: str) -> pa.Array:
    return pa.array([], known.field(name).type if name in known.names else _TYPES[kind])
