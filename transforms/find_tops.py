"""Finds the threshold above which the asked share of documents lies, by a score: of all documents, or of each value of a field.

    count           ->  narrow              ->  gather            ->  reject
    documents by the    those of the bin        the documents of      whoever comes after
    top 20 bits of      that the cut falls      the narrowed bin,     the last one that
    their place         into, by 20 more        one by one            stays

The threshold is exact, whatever the number of documents, shards and workers. A document's place is its score (as float32, the higher the better;
none comes last), then a seeded hash of its row key: so exactly the asked share stays, also where many scores are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.order_keys import mix_hash
from transforms.records import DECISION_SCHEMA, ORIGIN_NAMES, Reason, Stage
from transforms.top_settings import TopShare

LEVEL_BITS = 20
"""Bits of a place that each histogram tells apart."""
MOST_GROUPS = 10_000
"""Groups of one field, at most: each costs a threshold, and a line of the manifest."""
_STREAM = 3
"""Of `mix_hash`; the mix has the first two."""
_UNSCORED = np.uint32(0xFFFFFFFF)
DECISIVE = ("address", "row_key", "origin", "reason")
"""The columns of `DECISION_SCHEMA` that a survey looks at."""
COUNT_SCHEMA = pa.schema([("top", pa.int16()), ("group", pa.string()), ("bin", pa.uint64()), ("documents", pa.int64())])
"""Documents of one share and group in one bin."""
PLACE_SCHEMA = pa.schema([("top", pa.int16()), ("group", pa.string()), ("high", pa.uint64()), ("low", pa.uint32()), ("address", pa.uint64())])
"""One document of one share and group: `high` is its score and half of its hash, `low` the other half."""


@dataclass(frozen=True)
class TopBin:
    """The bin that a cut falls into."""

    top: int
    """Number of the share."""
    group: str | None
    """Value of the share's field; None: documents without one, or no field."""
    documents: int
    """Documents of the group."""
    kept: int
    """How many of them stay."""
    before: int
    """Documents in better bins: all of them stay."""
    prefix: int
    """The bin: the highest bits of `high`."""


@dataclass(frozen=True)
class TopFound:
    """The threshold of one share and group."""

    top: TopShare
    """The share."""
    group: str | None
    """Value of the share's field; None: documents without one, or no field."""
    documents: int
    """Documents of the group that passed the rules."""
    kept: int
    """How many of them stay."""
    threshold: float | None
    """The lowest score that stays; of documents with just this one only some may. None: some without a score stay."""
    last: tuple[int, int, int]
    """Place of the last one that stays: (high, low, address)."""

    def stored(self) -> list:
        """What JSON can hold; `recall` reads it back."""
        return [
            self.top.field,
            str(self.top.share),
            self.top.group,
            self.top.of_mix,
            self.group,
            self.documents,
            self.kept,
            self.threshold,
            list(self.last),
        ]

    @classmethod
    def recall(cls, stored: Sequence) -> TopFound:
        """From `stored`."""
        field, share, top_group, of_mix, group, documents, kept, threshold, last = stored
        return cls(TopShare(field, Fraction(share), top_group, of_mix), group, documents, kept, threshold, tuple(last))

    @property
    def name(self) -> str:
        """FIELD, FIELD@GROUP=VALUE, or FIELD@GROUP for a group of the mix."""
        return f"{self.top.name}={self.group}" if self.top.group and not self.top.of_mix else self.top.name


Survey = Callable[[Sequence[TopBin] | None, int], Iterable[pa.Table]]
"""`survey(bins, level)`: what `survey_tops` finds in each part of the documents, in any order."""


def find_tops(survey: Survey, tops: Sequence[TopShare]) -> tuple[TopFound, ...]:
    """The thresholds over all documents that `survey` tells of: the plan of `KeepTop` in plain calls."""
    bins = narrow_tops(add_counts(survey(None, 1)), tops)
    bins = narrow_tops(add_counts(survey(bins, 2)), tops, bins)
    return place_tops(bins, survey(bins, 3), tops)


def survey_tops(decisions: pa.Table, scores: pa.Table, bins: Sequence[TopBin] | None, level: int, tops: Sequence[TopShare], seed: int) -> pa.Table:
    """What the alive rows of `decisions` (at least `DECISIVE`) tell; `scores` has the same rows and `top_columns`.

    Level 1: `COUNT_SCHEMA` of all of them by the first 20 bits of their places; level 2: of those in `bins`, by 40 bits; level 3: `PLACE_SCHEMA` of
    those in `bins`.
    """
    is_alive = pc.is_null(decisions["reason"])
    alive, scores = decisions.filter(is_alive), scores.filter(is_alive)
    parts = [COUNT_SCHEMA.empty_table() if level < 3 else PLACE_SCHEMA.empty_table()]
    for number, top in enumerate(tops):
        high, low = _places(alive, scores, top, seed)
        groups = _groups(alive, scores, top)
        rows = np.arange(alive.num_rows)
        if top.of_mix:
            rows = np.flatnonzero(scores[member_column(top)].to_numpy())
        if bins is not None:
            wanted = {one.group: one.prefix for one in bins if one.top == number}
            prefixes = np.array([wanted.get(name, -1) for name in groups.dictionary.to_pylist()] or [-1], np.int64)
            rows = rows[(high[rows] >> np.uint64(64 - LEVEL_BITS * (level - 1))).astype(np.int64) == prefixes[groups.indices.to_numpy()[rows]]]
        taken = groups.dictionary.take(groups.indices.take(pa.array(rows)))
        columns = {"top": pa.array(np.full(len(rows), number, np.int16)), "group": taken}
        if level == 3:
            columns |= {"high": pa.array(high[rows]), "low": pa.array(low[rows]), "address": alive["address"].take(pa.array(rows))}
            parts.append(pa.table(columns, schema=PLACE_SCHEMA))
            continue
        columns |= {"bin": pa.array(high[rows] >> np.uint64(64 - LEVEL_BITS * level)), "documents": pa.array(np.ones(len(rows), np.int64))}
        parts.append(add_counts([pa.table(columns, schema=COUNT_SCHEMA)]))
    return pa.concat_tables(parts)


def add_counts(counts: Iterable[pa.Table]) -> pa.Table:
    """`COUNT_SCHEMA` of all documents that the given tables count."""
    whole = pa.concat_tables([COUNT_SCHEMA.empty_table(), *counts])
    summed = whole.group_by(["top", "group", "bin"], use_threads=False).aggregate([("documents", "sum")])
    return summed.rename_columns(COUNT_SCHEMA.names).cast(COUNT_SCHEMA)


def narrow_tops(counts: pa.Table, tops: Sequence[TopShare], bins: Sequence[TopBin] | None = None) -> tuple[TopBin, ...]:
    """The bin of each group that its last document which stays lies in; `bins`: those that `counts` looks into, None where it counts all."""
    counts = counts.sort_by([("top", "ascending"), ("group", "ascending"), ("bin", "ascending")])
    known = {(one.top, one.group): one for one in bins or ()}
    if not counts.num_rows:
        return ()
    top, group = counts["top"].to_numpy(), pc.dictionary_encode(counts["group"].combine_chunks(), null_encoding="encode")
    names = group.dictionary.to_pylist()
    codes = group.indices.to_numpy()
    ends = np.flatnonzero(np.r_[(top[1:] != top[:-1]) | (codes[1:] != codes[:-1]), True]) + 1
    totals, prefixes = np.cumsum(counts["documents"].to_numpy()), counts["bin"].to_numpy()
    for number in np.flatnonzero(np.bincount(top[ends - 1]) > MOST_GROUPS).tolist():
        raise ValueError(f"keep_top.{tops[number].name}: {tops[number].group!r} has more than {MOST_GROUPS:,} values; a share needs a field with few")
    found = []
    for start, end in zip(np.r_[0, ends[:-1]].tolist(), ends.tolist(), strict=True):
        number, name, ahead = int(top[start]), names[codes[start]], int(totals[start - 1]) if start else 0
        one = known.get((number, name))
        documents = one.documents if one else int(totals[end - 1]) - ahead
        kept, before = (one.kept, one.before) if one else (tops[number].kept_of(documents), 0)
        place = start + int(np.searchsorted(totals[start:end], ahead + kept - before))
        if place >= end:
            raise RuntimeError(f"keep_top: {documents:,} documents counted where there were more; a decided shard changed underway")
        found.append(TopBin(number, name, documents, kept, before + (int(totals[place - 1]) if place else 0) - ahead, int(prefixes[place])))
    return tuple(found)


def place_tops(bins: Sequence[TopBin], gathered: Iterable[pa.Table], tops: Sequence[TopShare]) -> tuple[TopFound, ...]:
    """The thresholds, from the narrowed bins and the documents in them. Raises RuntimeError if those are fewer than were counted."""
    order = [(name, "ascending") for name in PLACE_SCHEMA.names]
    places = pa.concat_tables([PLACE_SCHEMA.empty_table(), *gathered]).sort_by(order)
    group = pc.dictionary_encode(places["group"].combine_chunks(), null_encoding="encode")
    names, codes, top = group.dictionary.to_pylist(), group.indices.to_numpy(), places["top"].to_numpy()
    starts = np.flatnonzero(np.r_[len(top) > 0, (top[1:] != top[:-1]) | (codes[1:] != codes[:-1])])
    ends = np.r_[starts[1:], len(top)][: len(starts)]
    first = {(int(top[start]), names[codes[start]]): (int(start), int(end)) for start, end in zip(starts, ends, strict=True)}
    found = []
    for one in bins:
        start, end = first.get((one.top, one.group), (0, 0))
        row = start + one.kept - one.before - 1
        if row >= end:
            raise RuntimeError(f"keep_top: {end - start} documents gathered where more were counted; a decided shard changed underway")
        last = tuple(places[name][row].as_py() for name in ("high", "low", "address"))
        found.append(TopFound(tops[one.top], one.group, one.documents, one.kept, _score_of(last[0]), last))
    return tuple(found)


def reject_below(decisions: pa.Table, scores: pa.Table, found: Sequence[TopFound], seed: int) -> pa.Table:
    """`DECISION_SCHEMA` with the alive rows after the last one that stays rejected: score as value, threshold as limit, and whose share it was
    as `partner_id`. Of several shares the first one, by name, that a document misses counts."""
    columns = {name: decisions[name] for name in ("stage", "reason", "value", "limit", "partner_id")}
    for top in dict.fromkeys(one.top for one in found):
        (high, low), groups = _places(decisions, scores, top, seed), _groups(decisions, scores, top)
        of_group = {one.group: one for one in found if one.top == top}
        held = [of_group.get(name) for name in groups.dictionary.to_pylist()] or [None]
        codes = groups.indices.to_numpy()
        # Groups that only rejected documents have were not counted; nothing of theirs is alive.
        ends = np.array([(0, 0, 0) if one is None else one.last for one in held], np.uint64)[codes]
        rest = (low.astype(np.uint64), decisions["address"].to_numpy())
        later = (rest[0] > ends[:, 1]) | ((rest[0] == ends[:, 1]) & (rest[1] > ends[:, 2]))
        below = pc.and_(pa.array((high > ends[:, 0]) | ((high == ends[:, 0]) & later)), pc.is_null(columns["reason"]))
        if top.of_mix:
            below = pc.and_(below, scores[member_column(top)])
        limits = pa.array([None if one is None else one.threshold for one in held], pa.float32()).take(groups.indices)
        named = pa.array([None if one is None else one.name for one in held], pa.string()).take(groups.indices)
        stated = (pa.scalar(Stage.TOP.value), pa.scalar(Reason.BELOW_TOP.value), pc.cast(scores[top.field], pa.float32(), safe=False), limits, named)
        columns = {name: pc.if_else(below, new, columns[name]) for name, new in zip(columns, stated, strict=True)}
    for name, column in columns.items():
        decisions = decisions.set_column(decisions.schema.get_field_index(name), DECISION_SCHEMA.field(name), column)
    return decisions


def top_columns(tops: Sequence[TopShare]) -> list[str]:
    """The columns of scored shards that the shares look at; the verified `origin` is a decision, and who is of a group of the mix `member_column`."""
    groups = {top.group for top in tops if top.group not in ("", "origin") and not top.of_mix}
    return sorted({*(top.field for top in tops), *groups})


def member_column(top: TopShare) -> str:
    """Name of the column, beside those of scored shards, that says which documents are of the share's group of the mix."""
    return f"in:{top.group}"


def _places(decisions: pa.Table, scores: pa.Table, top: TopShare, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`high` (uint64) and `low` (uint32) of each row: less is better."""
    values = pc.cast(scores[top.field], pa.float32(), safe=False)
    unscored = pc.is_null(values, nan_is_null=True).to_numpy()
    # Adding 0 makes -0 and 0 one score.
    bits = (pc.fill_null(values, 0).to_numpy() + np.float32(0)).view(np.uint32)
    ascending = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    hashes = mix_hash(decisions["row_key"].to_numpy(), seed, _STREAM)
    high = np.where(unscored, _UNSCORED, ~ascending).astype(np.uint64) << np.uint64(32)
    return high | (hashes >> np.uint64(32)), hashes.astype(np.uint32)


def _score_of(high: int) -> float | None:
    descending = np.uint32(high >> 32)
    if descending == _UNSCORED:
        return None
    bits = ~descending
    return float((bits ^ np.uint32(1 << 31) if bits >> np.uint32(31) else ~bits).view(np.float32))


def _groups(decisions: pa.Table, scores: pa.Table, top: TopShare) -> pa.DictionaryArray:
    """The value of the share's field of each row, as string; null where there is none."""
    if not top.group or top.of_mix:
        name = top.group or None
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(decisions.num_rows, np.int32)), pa.array([name], pa.string()))
    if top.group == "origin":
        codes = decisions["origin"].combine_chunks().cast(pa.int32()) if decisions.num_rows else pa.array([], pa.int32())
        return pa.DictionaryArray.from_arrays(codes, pa.array(ORIGIN_NAMES, pa.string()))
    return pc.dictionary_encode(pc.cast(scores[top.group], pa.string()).combine_chunks(), null_encoding="encode")
