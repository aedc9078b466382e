"""How many documents to publish, as integer arithmetic: the human share is a theorem here, not a measurement.

The alive documents form two strata, human and other, each in an order of priority; a mix is one prefix of each. With
quota q, `other` gets the longest prefix that stays within its share (1 - q) of every size limit and that leaves
`human >= q * (human + other)` once human documents fill the rest of the size. Both conditions get harder as the prefix
grows, so the longest one is found by bisection, and it can only get shorter as q rises.

Where a share of the human text must be fresh (never published before), fresh documents come first in the human order, so any prefix
holds as many as it can: the condition is one more limit on its length.

Nobody holds all documents in one place, so a stratum comes as steps: one document each, or many lumped together (a bin
of a histogram). A cut that falls into a lump is known only as an interval; `bound_mix` carries intervals through the
whole plan, and says by them which lumps must be opened. Over single documents every interval closes and the same
function gives the exact plan.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from transforms.mix_settings import UNITS, MixSettings

LOSS_WORTH_A_WARNING = Fraction(1, 100)
"""Share of the chosen other documents that may find no place in any shard without a warning: a few do in most mixes."""
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Amount:
    """How much text, in each unit."""

    documents: int = 0
    """Number of documents."""
    tokens: int = 0
    """Tokens, by the tokenizer that scored the text."""
    bytes: int = 0
    """UTF-8 length of the text."""

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.documents + other.documents, self.tokens + other.tokens, self.bytes + other.bytes)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.documents - other.documents, self.tokens - other.tokens, self.bytes - other.bytes)

    def __str__(self) -> str:
        return f"{self.documents:,} documents, {self.tokens:,} tokens, {self.bytes:,} bytes"

    def count(self, unit: str) -> int:
        """The figure in `unit`, one of `UNITS`."""
        return getattr(self, unit)


@dataclass(frozen=True)
class Shortage:
    """That the quota and the wanted size cannot both hold, in numbers."""

    unit: str
    """Unit of the two figures below."""
    human_needed: int
    """Human text that the wanted size takes at this quota."""
    human_present: int
    """Human text there is."""
    documents_missing: int
    """Other documents that the size alone would have let in, and that the quota keeps out."""
    sentence: str
    """All of it in words."""


@dataclass(frozen=True)
class MixPlan:
    """What the mix is: numbers only, the same for any split of the documents into shards."""

    settings: MixSettings
    """What was asked for."""
    human_available: Amount
    """Alive human documents."""
    other_available: Amount
    """All other alive documents."""
    human_selected: Amount
    """Human documents to publish."""
    other_selected: Amount
    """Other documents to publish."""
    num_shards: int
    """Published shards; 0 only if nothing is published."""
    share_before_quota: float
    """Human share, in the quota's unit, that the size limits alone would have given; 1 if they let nothing in."""
    shortage: Shortage | None
    """Why the wanted size is not reached because of the quota, or why nothing is published."""
    warnings: tuple[str, ...]
    """What differs from what was asked for, in sentences."""
    fresh_selected: Amount | None = None
    """Human documents to publish that were never published before; None where no share of them was asked for."""
    fresh_share_unlimited: float = 1.0
    """Share of fresh text that the human text would have had without the least share."""

    @property
    def is_unmet(self) -> bool:
        """Whether the run must stop: a shortage that may not be shrunk away, or nothing at all to publish."""
        return self.shortage is not None and (self.settings.on_shortage == "fail" or self.selected.documents == 0)

    @property
    def selected(self) -> Amount:
        """All that is published."""
        return self.human_selected + self.other_selected

    @property
    def human_share(self) -> Fraction:
        """Human share of what is published, in the quota's unit, exact; 1 if that is nothing."""
        return share_of(self.human_selected, self.other_selected, self.settings.quota_unit)

    def sentences(self) -> tuple[str, ...]:
        """The plan in plain words, one fact each; shortage and warnings last."""
        unit, quota = self.settings.quota_unit, float(self.settings.human_quota)
        facts = [
            f"human: {self.human_selected} of {self.human_available.documents:,} documents",
            f"other: {self.other_selected} of {self.other_available.documents:,} documents",
            f"human share of {unit}: {float(self.human_share):.4f}, at least {quota:g} promised overall and in each of {self.num_shards:,} shards",
        ]
        if self.fresh_selected is not None:
            share = float(share_of(self.fresh_selected, self.human_selected - self.fresh_selected, unit))
            facts.append(f"fresh share of human {unit}: {share:.4f}, at least {float(self.settings.min_fresh_human):g} promised")
        if self.shortage is not None:
            facts.append(self.shortage.sentence)
        return (*facts, *self.warnings)


def share_of(human: Amount, other: Amount, unit: str) -> Fraction:
    """human / (human + other) in `unit`; 1 if both are 0."""
    total = human.count(unit) + other.count(unit)
    return Fraction(human.count(unit), total) if total else Fraction(1)


@dataclass(frozen=True)
class Cut:
    """Where a prefix ends, as an interval of step indices: `low` steps are surely in, none from `high` on is."""

    low: int
    """Steps that are wholly in."""
    high: int
    """Steps that are at least partly in, at most; equal to `low` where the end is known."""


class Steps:
    """One stratum in order of priority, cumulated. `units`: int (n, 3), one step a row, columns as `UNITS`, documents >= 1, rest >= 0."""

    def __init__(self, units: np.ndarray):
        units = np.asarray(units, np.int64).reshape(-1, len(UNITS))
        if (units < 0).any() or (units[:, 0] < 1).any():
            raise ValueError("units of a step: must be at least 1 document, and tokens and bytes of 0 or more")
        self.totals = np.zeros((len(UNITS), len(units) + 1), np.int64)
        np.cumsum(units.T, axis=1, out=self.totals[:, 1:])

    def __len__(self) -> int:
        return self.totals.shape[1] - 1

    def amount(self, count: int) -> Amount:
        """The first `count` steps together."""
        return Amount(*(int(total) for total in self.totals[:, count]))

    def longest(self, limit: tuple[int | None, ...]) -> int:
        """Most steps that stay within the limit (inclusive; None: none) in every unit."""
        counts = [
            int(np.searchsorted(total, min(most, _LARGEST), side="right")) - 1
            for total, most in zip(self.totals, limit, strict=True)
            if most is not None
        ]
        return max(0, min(counts, default=len(self)))

    def stretch(self, count: int, most: int) -> int:
        """`count` steps, and one more if that is a lump, which may be partly in; `most` steps at most."""
        is_lump = count < most and self.totals[0, count + 1] - self.totals[0, count] > 1
        return count + 1 if is_lump else count

    def cut(self, lowest: tuple[int | None, ...], highest: tuple[int | None, ...]) -> Cut:
        """The longest prefix within a limit that lies between the two."""
        return Cut(self.longest(lowest), self.stretch(self.longest(highest), len(self)))


@dataclass(frozen=True)
class MixBounds:
    """The cuts of a mix over steps."""

    within_size: Cut
    """Other: what its share of the size limits lets in."""
    unlimited_human: Cut
    """Human: what fills the size beside `within_size`, as if there were no quota."""
    within_quota: Cut
    """Other: of that, what the quota lets in."""
    filled_human: Cut
    """Human: what fills the size beside `within_quota`."""
    other: Cut
    """Other: of `within_quota`, what finds a place in the shards. Shorter only for a quota in documents, where it is known beforehand."""
    human: Cut
    """Human: what fills the size beside `other`."""
    num_shards: tuple[int, int]
    """Least and most shards that the bytes ask for."""
    stale_human: Cut
    """Human: what would fill the size beside `other` if all of it were fresh."""

    @property
    def human_cuts(self) -> tuple[Cut, ...]:
        """The cuts through human steps; all but lumps between their ends may stay lumped."""
        return (self.unlimited_human, self.filled_human, self.human, self.stale_human)

    @property
    def other_cuts(self) -> tuple[Cut, ...]:
        """The cuts through other steps."""
        return (self.within_size, self.within_quota, self.other)

    @property
    def is_exact(self) -> bool:
        """Whether every cut is known to the document."""
        return all(cut.low == cut.high for cut in self.human_cuts + self.other_cuts) and self.num_shards[0] == self.num_shards[1]


def bound_mix(human: Steps, other: Steps, settings: MixSettings, fresh_steps: int = 0) -> MixBounds:
    """Where the cuts of the mix lie: exact where they fall between single documents, else an interval around the lump.

    The first `fresh_steps` of `human` hold the fresh documents, where a share of them is asked for.
    """
    wanted = (settings.max_documents, settings.max_tokens, None)
    quota = settings.human_quota

    def room_beside(taken: Amount) -> tuple[int | None, ...]:
        return tuple(None if most is None else max(0, most - taken.count(unit)) for unit, most in zip(UNITS, wanted, strict=True))

    def fill(cut: Cut, most: tuple[int | None, ...] = fresh_limit(human, settings, fresh_steps)) -> Cut:
        return human.cut(_tighter(room_beside(other.amount(cut.high)), most), _tighter(room_beside(other.amount(cut.low)), most))

    def longest(most: Cut, allows: Callable[[Amount, Amount, bool], bool]) -> Cut:
        def count(last: int, surely: bool) -> int:
            def forbids(steps: int) -> bool:
                beside = fill(Cut(steps, steps))
                return not allows(other.amount(steps), human.amount(beside.low if surely else beside.high), surely)

            return bisect.bisect_right(range(1, last + 1), False, key=forbids)

        return Cut(count(most.low, True), other.stretch(count(most.high, False), most.high))

    def quota_allows(others: Amount, humans: Amount, surely: bool) -> bool:
        return quota == 0 or (humans.documents > 0 and others.count(unit) <= settings.most_other(humans.count(unit)))

    def shards_allow(others: Amount, humans: Amount, surely: bool) -> bool:
        few, many = shards
        if few == many:
            return others.documents <= shard_capacity(humans.documents, few, settings)
        return others.documents <= settings.most_other(humans.documents) - (many - 1 if surely else 0)

    unit = settings.quota_unit
    share = tuple(None if most is None else int((1 - quota) * most) for most in wanted)
    within_size = Cut(0, 0) if quota == 1 else other.cut(share, share)
    within_quota = longest(within_size, quota_allows)
    filled = fill(within_quota)
    shards = tuple(
        count_shards(human.amount(humans), other.amount(others), settings)
        for humans, others in ((filled.low, within_quota.low), (filled.high, within_quota.high))
    )
    placed = longest(within_quota, shards_allow) if unit == "documents" and 0 < quota < 1 and shards[1] > 0 else within_quota
    return MixBounds(within_size, fill(within_size), within_quota, filled, placed, fill(placed), shards, fill(placed, (None,) * len(UNITS)))


def fresh_limit(human: Steps, settings: MixSettings, fresh_steps: int) -> tuple[int | None, ...]:
    """Most human units, by unit, that the fresh text among them allows."""
    most = settings.most_human(human.amount(fresh_steps).count(settings.quota_unit))
    return tuple(most if unit == settings.quota_unit else None for unit in UNITS)


def _tighter(one: tuple[int | None, ...], two: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return tuple(a if b is None else b if a is None else min(a, b) for a, b in zip(one, two, strict=True))


def count_shards(human: Amount, other: Amount, settings: MixSettings) -> int:
    """Shards for this much text: as asked for or as the target size says, but with a human document in each if there is a quota."""
    wanted = settings.num_shards or max(1, -(-(human.bytes + other.bytes) // settings.target_shard_bytes))
    return min(wanted, human.documents if settings.human_quota > 0 else human.documents + other.documents)


def shard_capacity(human_documents: int, num_shards: int, settings: MixSettings) -> int:
    """Other documents that `num_shards` shards carry together, human documents being spread evenly: the sum of each shard's floor."""
    if num_shards == 0:
        return 0
    fewer, larger_shards = divmod(human_documents, num_shards)
    return larger_shards * settings.most_other(fewer + 1) + (num_shards - larger_shards) * settings.most_other(fewer)


def plan_mix(human: np.ndarray, other: np.ndarray, settings: MixSettings, fresh_documents: int = 0) -> MixPlan:
    """The mix of two strata given as units (n, 3) in order of priority, columns as `UNITS`; the first `fresh_documents` human ones are fresh.

    Rows may be lumps of documents where no cut falls into them; ValueError otherwise. Never more than the limits; the
    quota holds overall; in tokens and bytes, placing may yet reject one document a shard (`place_mix`).
    """
    steps = Steps(human), Steps(other)
    bounds = bound_mix(*steps, settings, fresh_documents)
    if not bounds.is_exact:
        raise ValueError("plan_mix: a cut falls into a lump of several documents; open the lumps that bound_mix names first")
    return describe_mix(*steps, bounds, settings, fresh_documents)


def describe_mix(human: Steps, other: Steps, bounds: MixBounds, settings: MixSettings, fresh_steps: int = 0) -> MixPlan:
    """The plan that exact bounds stand for."""
    (allowed, by_quota, placed), present = (other.amount(cut.low) for cut in bounds.other_cuts), human.amount(len(human))
    selected, unlimited = human.amount(bounds.human.low), human.amount(bounds.unlimited_human.low)
    warnings = []
    shards, wanted = bounds.num_shards[0], settings.num_shards
    if wanted is not None and 0 < shards < wanted:
        kind = "human documents" if settings.human_quota > 0 else "documents"
        warnings.append(f"num_shards={wanted:,}: only {shards:,} {kind} are published, and each shard needs one; {shards:,} shards are written")
    warnings += warn_of_loss(by_quota.documents - placed.documents, by_quota.documents, shards)
    is_sized = bool(settings.max_documents or settings.max_tokens)
    human_end = human.longest(fresh_limit(human, settings, fresh_steps))
    is_short = is_sized and by_quota != allowed and bounds.filled_human.low == human_end
    is_stale = bounds.stale_human.low > bounds.human.low
    stale = human.amount(bounds.stale_human.low) if is_stale else None
    shortage = None
    if is_short or (present.documents == 0 and settings.human_quota > 0) or selected.documents + placed.documents == 0 or (is_sized and is_stale):
        fresh = human.amount(fresh_steps)
        whole = other.amount(len(other))
        usable = human.amount(human_end)
        shortage = _stale_shortage(stale, selected, fresh, settings) if stale else _describe_shortage(usable, whole, allowed, by_quota, settings)
    return MixPlan(
        settings=settings,
        human_available=present,
        other_available=other.amount(len(other)),
        human_selected=selected,
        other_selected=placed,
        num_shards=shards,
        share_before_quota=float(share_of(unlimited, allowed, settings.quota_unit)),
        shortage=shortage,
        warnings=tuple(warnings),
        fresh_selected=human.amount(min(fresh_steps, bounds.human.low)) if settings.min_fresh_human else None,
        fresh_share_unlimited=float(share_of(human.amount(fresh_steps), stale - human.amount(fresh_steps), settings.quota_unit)) if stale else 1.0,
    )


def warn_of_loss(lost: int, chosen: int, num_shards: int) -> tuple[str, ...]:
    """A warning, or none, that `lost` of the `chosen` other documents are left out for the sake of the quota of single shards."""
    if lost <= chosen * LOSS_WORTH_A_WARNING:
        return ()
    return (
        f"{lost:,} of {chosen:,} other documents find no place, because each of {num_shards:,} shards holds the quota; fewer shards would keep more",
    )


def _describe_shortage(human: Amount, other: Amount, allowed: Amount, by_quota: Amount, settings: MixSettings) -> Shortage:
    unit, quota = settings.quota_unit, settings.human_quota
    present, missing = human.count(unit), allowed.documents - by_quota.documents
    needed = max(1, -int(-allowed.count(unit) * quota // (1 - quota)) if quota < 1 else 1)
    if human.documents + other.documents == 0:
        sentence = "nothing to publish: no document is left to choose from"
    elif human.documents == 0 and quota > 0:
        sentence = f"nothing to publish: none of {other.documents:,} documents left is human, and the quota is {float(quota):g}"
    elif missing == 0:
        sentence = "nothing to publish: the size limits let no document in"
    else:
        sentence = (
            f"too little human text: {allowed.documents:,} other documents fit the size, which takes {needed:,} human {unit} "
            f"at quota {float(quota):g}; {present:,} are there, so {missing:,} other documents are left out"
        )
    return Shortage(unit, needed, present, missing, sentence)


def _stale_shortage(stale: Amount, selected: Amount, fresh: Amount, settings: MixSettings) -> Shortage:
    unit, least = settings.quota_unit, settings.min_fresh_human
    needed, missing = -int(-stale.count(unit) * least // 1), stale.documents - selected.documents
    sentence = (
        f"too little fresh human text: at min_fresh_human {float(least):g}, {stale.count(unit):,} human {unit} take {needed:,} that were never "
        f"published before; {fresh.count(unit):,} are there, so {missing:,} human documents are left out"
    )
    return Shortage(unit, needed, fresh.count(unit), 0, sentence)
