"""How many documents to publish, as integer arithmetic: the human share is a theorem here, not a measurement.

The alive documents form two strata, human and other, each in an order of priority; a mix is one prefix of each. With
quota q, `other` gets the longest prefix that stays within its share (1 - q) of every size limit and that leaves
`human >= q * (human + other)` once human documents fill the rest of the size. Both conditions get harder as the prefix
grows, so the longest one is found by bisection, and it can only get shorter as q rises.

**Fresh text.** Where a share f of the human text must be fresh (never published before), fresh documents come first in the human order,
so any prefix holds as many as it can: all the fresh text F there is bounds the human text by F / f, one more limit on its length. Where f is
a share of the whole, F / f bounds the whole: it is one more size limit, of which `other` gets its share (1 - q) and human documents fill the
rest. If they fill it with all of F, the share holds, for the whole is within F / f. If not, all human text chosen is fresh (but for reserved
places), and `fresh >= f * (human + other)` gets harder as the prefix of `other` grows; so again the longest one is found by bisection.

**Reserved places.** A group (all documents with one value of a field) has places for its first n documents, and these are the same
whatever else is chosen: its human documents by priority, fresh ones first, and if they are fewer than n, its others by priority. (Human
first, because these no quota can keep out.) A document that several groups reserve takes one place and counts for each. Reserved documents stand
first in their strata, so the mix stays one prefix of each, and a reserve is met where the prefixes hold its documents. Human documents
with a reserved place displace others: `other` also stays within what they leave of every size limit.

With fresh text and reserves together the human order is: reserved fresh, reserved stale, fresh, stale. A prefix is then too short for the
fresh share if it ends before enough fresh text stands behind the reserved stale text, or too long. So what `other` must leave room for is
`least_human`, the shortest prefix that holds every reserved place and in which the share holds; all prefixes from it to the limit F / f will do. Reserved stale
documents for which there is no such prefix within the size are in no mix (`bound_carried`).

Counted in documents, no mix that holds quota, sizes, fresh share and all reserved documents publishes more. And without a fresh share, for groups
that have no document in common: if any mix that holds quota and sizes meets all reserves, this one does, and none of those publishes more; exchange,
in such a mix, others of a group for human ones of it. (With shared documents the fewest places that meet all reserves are a set cover, which is hard
to find; here each group keeps the places of its own best. With a fresh share, human text that is not fresh may take more room, with what carries it,
than others would.) The quota is never given up for a reserve: a reserve that quota or size keep out is a shortage. Counted in tokens or bytes, a
reserved document that a boundary between files falls into may find no place; it is the first to be tried, and what is published is counted after.

**Repeats.** Where human documents may be published several times, their further copies are steps of their own behind all first ones
(`human_rows`): neither fresh nor reserved. All above holds for them as for human text that is not fresh, and since the human prefix is no longer than
the size asks for, nothing is repeated that need not be.

Nobody holds all documents in one place, so a stratum comes as steps: one document each, or many lumped together (a bin
of a histogram). A cut that falls into a lump is known only as an interval; `bound_mix` carries intervals through the
whole plan, and says by them which lumps must be opened. Over single documents every interval closes and the same
function gives the exact plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from transforms.bound_mix import HumanOrder, MixBounds, bound_carried, bound_mix
from transforms.mix_settings import MixSettings
from transforms.mix_steps import Amount, Steps, share_of

if TYPE_CHECKING:
    # Brings along the solver's rows, which a mix without groups has no use for.
    from transforms.explain_conflict import Conflict

LOSS_WORTH_A_WARNING = Fraction(1, 100)
"""Share of the chosen other documents that may find no place in any shard without a warning: a few do in most mixes."""


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
class ReservedGroup:
    """What became of the reserved places of one group."""

    name: str
    """FIELD.VALUE."""
    reserved: int
    """Documents that were to be published, if there are as many."""
    available: int
    """Alive documents of the group."""
    published: int
    """Documents of the group that are published."""

    @property
    def is_met(self) -> bool:
        """Whether the promise is kept."""
        return self.published >= self.reserved

    def sentence(self) -> str:
        """The shortage in words; only where the reserve is not met."""
        if self.published == self.available:
            return f"{self.reserved:,} places are reserved for {self.name}, and only {self.available:,} such documents are left to choose from"
        return (
            f"{self.reserved:,} places are reserved for {self.name}, and quota, size and fresh share let in {self.published:,} "
            f"of {self.available:,} such documents"
        )


@dataclass(frozen=True)
class GroupOutcome:
    """What became of one group."""

    name: str
    """As the recipe names it."""
    where: str
    """Its predicate."""
    within: str
    """Name of its parent; empty: none."""
    asked: str
    """What was asked for, in words; empty: nothing."""
    available: Amount
    """Alive documents of the group."""
    published: Amount
    """Documents of the group that are published."""
    whole: Amount
    """All that is published of its parent, or of everything."""

    def share(self, unit: str) -> float:
        """Its share of the parent, or of all that is published."""
        return self.published.count(unit) / max(1, self.whole.count(unit))

    def sentence(self, unit: str) -> str:
        """What was asked for, is there and is published."""
        of = f" of {self.within}" if self.within else ""
        asked = f", asked for {self.asked}" if self.asked else ""
        return f"group {self.name}: {self.published} of {self.available.documents:,} documents, {self.share(unit):.4f} of the {unit}{of}{asked}"


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
    """Share of fresh text that the human text, or the whole, would have had without the least share."""
    reserved: tuple[ReservedGroup, ...] = ()
    """What became of the reserved places; empty until they are counted over all documents."""
    repeated: Amount | None = None
    """The part of `human_selected` that are further copies of its documents; None where these were not asked for."""
    groups: tuple[GroupOutcome, ...] = ()
    """What became of the groups; empty until they are counted over all documents."""
    conflict: Conflict | None = None
    """Where groups are asked for: why promises and wanted size cannot all be had."""
    missing_fields: tuple[str, ...] = ()
    """Fields of the records that groups name and no document has: slips, for which a run is refused."""
    refused: str = ""
    """Why no mix with these groups can be planned, in words without a full stop, for which a run is refused; empty: one can."""

    @property
    def is_unmet(self) -> bool:
        """Whether the run must stop: a shortage that may not be shrunk away, or nothing at all to publish."""
        return bool(self.shortages) and (self.settings.on_shortage == "fail" or self.selected.documents == 0)

    @property
    def shortages(self) -> tuple[str, ...]:
        """What cannot be had, in sentences without a full stop: human text, fresh text, reserved places."""
        if self.refused:
            return (self.refused,)
        first = () if self.shortage is None else (self.shortage.sentence,)
        if self.conflict is not None:
            return (self.conflict.sentence,)
        return (*first, *(group.sentence() for group in self.reserved if not group.is_met))

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
            f"human: {self.human_selected}{', repeats included,' if self.repeated is not None else ''} of {self.human_available.documents:,} documents",
            f"other: {self.other_selected} of {self.other_available.documents:,} documents",
            f"human share of {unit}: {float(self.human_share):.4f}, at least {quota:g} promised overall and in each of {self.num_shards:,} shards",
        ]
        if self.fresh_selected is not None:
            is_of_all = self.settings.fresh_share_of == "all"
            rest = (self.selected if is_of_all else self.human_selected) - self.fresh_selected
            share, whole = float(share_of(self.fresh_selected, rest, unit)), "all" if is_of_all else "human"
            facts.append(f"fresh share of {whole} {unit}: {share:.4f}, at least {float(self.settings.min_fresh_human):g} promised")
        if self.repeated is not None:
            # All second copies stand before any third one.
            twice = min(self.repeated.documents, self.human_selected.documents - self.repeated.documents)
            most = self.settings.max_human_repeats
            facts.append(f"human documents published more than once: {twice:,}, up to {most:,} times each; rows from repeats: {self.repeated}")
        facts += [
            f"reserved for {group.name}: {group.published:,} documents, at least {group.reserved:,} promised, of {group.available:,}"
            for group in self.reserved
        ]
        facts += [group.sentence(unit) for group in self.groups]
        return (*facts, *self.shortages, *self.warnings)


def plan_mix(
    human: np.ndarray, other: np.ndarray, settings: MixSettings, fresh_documents: int = 0, reserved_documents: tuple[int, int] = (0, 0)
) -> MixPlan:
    """The mix of two strata given as units (n, 3) in order of priority, columns as `UNITS`.

    Of the human rows, `fresh_documents` are fresh and `reserved_documents` (fresh, other) have a reserved place; they come in the order of
    `HumanOrder`. Rows may be lumps of documents where no cut falls into them; ValueError otherwise. Never more than the limits; the
    quota holds overall; in tokens and bytes, placing may yet reject one document a shard (`place_mix`).
    """
    steps, order = Steps(human), HumanOrder(fresh_documents, *reserved_documents)
    carried, carriers = bound_carried(steps, settings, order)
    steps, order = without_uncarried(steps, order, carried.low)
    bounds = bound_mix(steps, Steps(other), settings, order)
    if not bounds.is_exact or carried.low < carried.high or carriers.low < carriers.high:
        raise ValueError("plan_mix: a cut falls into a lump of several documents; open the lumps that bound_mix names first")
    return describe_mix(steps, Steps(other), bounds, settings, order, Steps(human))


def without_uncarried(human: Steps, order: HumanOrder, carried: int) -> tuple[Steps, HumanOrder]:
    """The human steps less the reserved ones beyond the first `carried` that are not fresh, and their order."""
    begin = order.reserved_fresh + carried
    if begin == order.reserved:
        return human, order
    return human.without(begin, order.reserved), HumanOrder(order.fresh, order.reserved_fresh, carried)


def describe_mix(human: Steps, other: Steps, bounds: MixBounds, settings: MixSettings, order: HumanOrder, all_human: Steps) -> MixPlan:
    """The plan that exact bounds stand for. `human` are the steps that can be carried, of `all_human`."""
    present, whole = all_human.amount(len(all_human)), other.amount(len(other))
    allowed, by_fresh, by_quota, placed = (other.amount(cut.low) for cut in bounds.other_cuts)
    selected, unlimited = human.amount(bounds.human.low), human.amount(bounds.unlimited_human.low)
    warnings = []
    shards, wanted = bounds.num_shards[0], settings.num_shards
    warnings += warn_of_shards(shards, wanted, settings)
    warnings += warn_of_loss(by_quota.documents - placed.documents, by_quota.documents, shards)
    is_sized = bool(settings.max_documents or settings.max_tokens)
    usable = bounds.usable_human.low
    is_short = is_sized and by_quota != by_fresh and bounds.filled_human.low == usable
    is_stale = bounds.stale_human.low > bounds.human.low or by_fresh != allowed
    fresh = order.fresh_amount(human, order.fresh_end)
    stale = human.amount(bounds.stale_human.low) + (allowed if settings.fresh_share_of == "all" else Amount())
    shortage = None
    if is_short or (present.documents == 0 and settings.human_quota > 0) or selected.documents + placed.documents == 0 or (is_sized and is_stale):
        if is_stale:
            left_out = human.amount(bounds.stale_human.low) - selected + allowed - by_fresh
            shortage = _stale_shortage(stale, left_out.documents, fresh, settings)
        else:
            shortage = _describe_shortage(human.amount(usable), whole, by_fresh, by_quota, settings)
    return MixPlan(
        settings=settings,
        human_available=present,
        other_available=whole,
        human_selected=selected,
        other_selected=placed,
        num_shards=shards,
        share_before_quota=float(share_of(unlimited, by_fresh, settings.quota_unit)),
        shortage=shortage,
        warnings=tuple(warnings),
        fresh_selected=order.fresh_amount(human, bounds.human.low) if settings.min_fresh_human else None,
        fresh_share_unlimited=float(share_of(fresh, stale - fresh, settings.quota_unit)) if is_stale else 1.0,
    )


def warn_of_shards(shards: int, wanted: int | None, settings: MixSettings) -> tuple[str, ...]:
    """A warning, or none, that there are fewer shards than were asked for."""
    if wanted is None or not 0 < shards < wanted:
        return ()
    kind = "human documents" if settings.human_quota > 0 else "documents"
    return (f"num_shards={wanted:,}: only {shards:,} {kind} are published, and each shard needs one; {shards:,} shards are written",)


def warn_of_loss(lost: int, chosen: int, num_shards: int, kind: str = "other documents") -> tuple[str, ...]:
    """A warning, or none, that `lost` of the `chosen` documents are left out for the sake of the quota of single shards."""
    if lost <= chosen * LOSS_WORTH_A_WARNING:
        return ()
    return (f"{lost:,} of {chosen:,} {kind} find no place, because each of {num_shards:,} shards holds the quota; fewer shards would keep more",)


def _describe_shortage(human: Amount, other: Amount, allowed: Amount, by_quota: Amount, settings: MixSettings) -> Shortage:
    unit, quota = settings.quota_unit, settings.human_quota
    repeated = f", each text {settings.max_human_repeats:,} times" if settings.max_human_repeats > 1 else ""
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
            f"at quota {float(quota):g}; {present:,} are there{repeated}, so {missing:,} other documents are left out"
        )
    return Shortage(unit, needed, present, missing, sentence)


def _stale_shortage(stale: Amount, missing: int, fresh: Amount, settings: MixSettings) -> Shortage:
    unit, least = settings.quota_unit, settings.min_fresh_human
    kind, whole = ("", " of the whole") if settings.fresh_share_of == "all" else ("human ", "")
    needed = -int(-stale.count(unit) * least // 1)
    sentence = (
        f"too little fresh human text: at min_fresh_human {float(least):g}{whole}, {stale.count(unit):,} {kind}{unit} take {needed:,} that were never "
        f"published before; {fresh.count(unit):,} are there, so {missing:,} {kind}documents are left out"
    )
    return Shortage(unit, needed, fresh.count(unit), 0, sentence)
