"""Where the cuts of a mix lie, over steps that may be lumps: exact where they fall between single documents, else an interval.

The argument for why they lie there stands in `plan_mix`; this is its arithmetic.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Amount, Cut, Limit, Steps, tighter


@dataclass(frozen=True)
class HumanOrder:
    """How human steps are ordered: reserved fresh ones, reserved others, then fresh ones without a reserved place, then the rest."""

    fresh: int = 0
    """Steps of fresh documents, reserved or not. Means something only where a share of them is asked for."""
    reserved_fresh: int = 0
    """Steps of fresh documents with a reserved place; where no fresh share is asked for, of all human documents with one."""
    reserved_stale: int = 0
    """Steps of documents with a reserved place that are not fresh."""

    @property
    def reserved(self) -> int:
        """Steps with a reserved place: where they end."""
        return self.reserved_fresh + self.reserved_stale

    @property
    def fresh_end(self) -> int:
        """Steps up to the last fresh one."""
        return self.fresh + self.reserved_stale

    def fresh_amount(self, human: Steps, count: int) -> Amount:
        """The fresh text among the first `count` steps."""
        after = min(max(count, self.reserved), self.fresh_end)
        return human.amount(min(count, self.reserved_fresh)) + human.amount(after) - human.amount(self.reserved)


@dataclass(frozen=True)
class MixBounds:
    """The cuts of a mix over steps."""

    least_human: Cut
    """Human: the reserved ones, as far as the size lets them in, and the fresh ones that carry those of them that are not fresh."""
    within_size: Cut
    """Other: what its share of the size limits lets in, beside `least_human`."""
    within_fresh: Cut
    """Other: of that, what the fresh text lets in, where its share is one of the whole; else the same."""
    unlimited_human: Cut
    """Human: what fills the size beside `within_fresh`, as if there were no quota."""
    within_quota: Cut
    """Other: of `within_fresh`, what the quota lets in."""
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
    usable_human: Cut
    """Human: what the fresh text allows, whatever the size."""

    @property
    def human_cuts(self) -> tuple[Cut, ...]:
        """The cuts through human steps; all but lumps between their ends may stay lumped."""
        return (self.least_human, self.unlimited_human, self.filled_human, self.human, self.stale_human, self.usable_human)

    @property
    def other_cuts(self) -> tuple[Cut, ...]:
        """The cuts through other steps."""
        return (self.within_size, self.within_fresh, self.within_quota, self.other)

    @property
    def is_exact(self) -> bool:
        """Whether every cut is known to the document."""
        return all(cut.low == cut.high for cut in self.human_cuts + self.other_cuts) and self.num_shards[0] == self.num_shards[1]


def bound_mix(human: Steps, other: Steps, settings: MixSettings, order: HumanOrder = HumanOrder()) -> MixBounds:
    """Where the cuts of the mix lie: exact where they fall between single documents, else an interval around the lump.

    Every human step with a reserved place must be one that can be carried: see `bound_carried`.
    """
    wanted: Limit = (settings.max_documents, settings.max_tokens, None)
    quota, unit = settings.human_quota, settings.quota_unit
    most_fresh = _fresh_limit(human, settings, order)
    whole = tighter(wanted, most_fresh) if settings.fresh_share_of == "all" else wanted
    least = _carriers(human, settings, order)
    # Reserved documents that no size lets in carry nothing.
    fitting = human.cut(wanted, wanted)
    least = Cut(min(least.low, fitting.low), min(least.high, fitting.high))
    shards = (0, 0)

    def fill(cut: Cut, size: Limit = whole, most: Limit = most_fresh) -> Cut:
        beside = [tighter(_room(size, other.amount(taken)), most) for taken in (cut.high, cut.low)]
        return human.cut(*beside)

    def share_of(size: Limit) -> Cut:
        if quota == 1:
            return Cut(0, 0)
        limits = [
            tuple(None if limit is None else min(int((1 - quota) * most), limit) for most, limit in zip(size, _room(size, beside), strict=True))
            for beside in (human.amount(least.high), human.amount(least.low))
        ]
        return other.cut(*limits)

    def longest(most: Cut, allows: Callable[[Amount, int, bool], bool]) -> Cut:
        def count(last: int, surely: bool) -> int:
            def forbids(steps: int) -> bool:
                beside = fill(Cut(steps, steps))
                return not allows(other.amount(steps), beside.low if surely else beside.high, surely)

            return bisect.bisect_right(range(1, last + 1), False, key=forbids)

        return Cut(count(most.low, True), other.stretch(count(most.high, False), most.high))

    def fresh_allows(others: Amount, humans: int, surely: bool) -> bool:
        # What carries the reserved places is in, whatever is beside it.
        humans = max(humans, least.low if surely else least.high)
        if humans >= order.fresh_end:
            return True
        most = settings.most_by_fresh(order.fresh_amount(human, humans).count(unit))
        return most is None or human.amount(humans).count(unit) + others.count(unit) <= most

    def quota_allows(others: Amount, humans: int, surely: bool) -> bool:
        amount = human.amount(humans)
        return quota == 0 or (amount.documents > 0 and others.count(unit) <= settings.most_other(amount.count(unit)))

    def shards_allow(others: Amount, humans: int, surely: bool) -> bool:
        few, many = shards
        amount = human.amount(humans)
        if few == many:
            return others.documents <= shard_capacity(amount.documents, few, settings)
        return others.documents <= settings.most_other(amount.documents) - (many - 1 if surely else 0)

    within_size = within_fresh = share_of(wanted)
    if settings.min_fresh_human and settings.fresh_share_of == "all":
        limited = share_of(whole)
        within_fresh = longest(Cut(min(within_size.low, limited.low), min(within_size.high, limited.high)), fresh_allows)
    within_quota = longest(within_fresh, quota_allows)
    filled = fill(within_quota)
    shards = tuple(
        count_shards(human.amount(humans), other.amount(others), settings)
        for humans, others in ((filled.low, within_quota.low), (filled.high, within_quota.high))
    )
    placed = longest(within_quota, shards_allow) if unit == "documents" and 0 < quota < 1 and shards[1] > 0 else within_quota
    return MixBounds(
        least_human=least,
        within_size=within_size,
        within_fresh=within_fresh,
        unlimited_human=fill(within_fresh),
        within_quota=within_quota,
        filled_human=filled,
        other=placed,
        human=fill(placed),
        num_shards=shards,
        stale_human=fill(placed, wanted, (None,) * len(UNITS)),
        usable_human=human.cut(most_fresh, most_fresh),
    )


def bound_carried(human: Steps, settings: MixSettings, order: HumanOrder) -> tuple[Cut, Cut]:
    """How many of the reserved steps that are not fresh can be published at all: (that cut, from the first of them on; the carriers' cut).

    The longest run of them that fresh text carries within the size. The rest can be in no mix; the planner is to be given the human
    steps without them. Both cuts are exact after the lumps that they fall into are opened.
    """
    start, end, stale = order.reserved, order.fresh_end, order.reserved_stale
    if not (stale and settings.min_fresh_human):
        return Cut(stale, stale), Cut(start, start)
    size = (settings.max_documents, settings.max_tokens, None)

    def carriers(steps: int) -> int:
        """Where the fresh steps end that carry the first `steps` reserved ones; beyond `end` if none do."""
        return _first_carrier(human, settings, order, human.amount(order.reserved_fresh + steps) - human.amount(order.reserved_fresh))

    def run(surely: bool) -> int:
        def is_too_much(steps: int) -> bool:
            last = carriers(steps)
            if last > end:
                return True
            first = last if surely else _before_lump(human, last, start)
            total = human.amount(order.reserved_fresh + steps) + human.amount(first) - human.amount(start)
            return any(most is not None and total.count(unit) > most for unit, most in zip(UNITS, size, strict=True))

        return bisect.bisect_right(range(1, stale + 1), False, key=is_too_much)

    low, high = run(True), run(False)
    if low < stale and high < stale:
        is_lump = human.amount(order.reserved_fresh + high + 1).documents - human.amount(order.reserved_fresh + high).documents > 1
        high += is_lump
    return Cut(low, high), Cut(_before_lump(human, carriers(low), start), min(end, carriers(high)))


def _fresh_limit(human: Steps, settings: MixSettings, order: HumanOrder) -> Limit:
    """Most units, by unit, that all the fresh text there is allows: human ones, or of the whole, as `fresh_share_of` says."""
    most = settings.most_by_fresh(order.fresh_amount(human, order.fresh_end).count(settings.quota_unit)) if settings.min_fresh_human else None
    return tuple(most if unit == settings.quota_unit else None for unit in UNITS)


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


def _carriers(human: Steps, settings: MixSettings, order: HumanOrder) -> Cut:
    """The shortest human prefix that holds all reserved places and in which the fresh share holds."""
    if not (order.reserved_stale and settings.min_fresh_human):
        return Cut(order.reserved, order.reserved)
    last = min(_first_carrier(human, settings, order, human.amount(order.reserved) - human.amount(order.reserved_fresh)), order.fresh_end)
    return Cut(_before_lump(human, last, order.reserved), last)


def _first_carrier(human: Steps, settings: MixSettings, order: HumanOrder, stale: Amount) -> int:
    """The step before which fresh text of at least f / (1 - f) times `stale` stands, not before the reserved end; beyond the fresh end: none."""
    unit, least = settings.quota_unit, settings.min_fresh_human
    carried = stale.count(unit)
    if carried == 0:
        return order.reserved
    if least == 1:
        return order.fresh_end + 1
    missing = -int(-Fraction(carried) * least / (1 - least) // 1) - human.amount(order.reserved_fresh).count(unit)
    return max(order.reserved, human.shortest(unit, human.amount(order.reserved).count(unit) + missing, order.fresh_end))


def _before_lump(human: Steps, step: int, start: int) -> int:
    """`step`, or the step before it where that is a lump that may be partly in."""
    if step <= start or step > len(human):
        return min(step, len(human))
    return step - 1 if human.amount(step).documents - human.amount(step - 1).documents > 1 else step


def _room(size: Limit, taken: Amount) -> Limit:
    return tuple(None if most is None else max(0, most - taken.count(unit)) for unit, most in zip(UNITS, size, strict=True))
