"""Alarms: limits on the figures of a cycle that stop a run before it publishes, and which source or generator broke them.

human_share<0.5                 below one half
compression_ratio>+15%          more than 15 % above that of the last cycle
tail_coverage<-10%@spring       more than 10 % below that of cycle `spring`

A figure that is taken on a sample has an interval, and so has its change: a change trips only if it is also more than chance makes once in a thousand times, so
that texts which are merely others trip nothing. The interval's ends stand beside a figure as FIGURE.low and FIGURE.high; one without is exact.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import AlarmTripped, UsageError

SURE = 3.29 / 1.96
"""Half-width of an interval of 99.9 % over that of one of 95 %, which figures have: how sure a change must be."""
_GRAMMAR = re.compile(r"\s*(?P<figure>\w+)\s*(?P<side>[<>])\s*(?P<limit>[+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?P<percent>%?)\s*(?:@\s*(?P<cycle>\S.*?))?\s*")
_SHAPE = (
    "FIGURE<LIMIT or FIGURE>LIMIT, such as 'human_share<0.5', or against an earlier cycle 'compression_ratio>+15%' or 'compression_ratio>+15%@CYCLE'"
)


@dataclass(frozen=True)
class Alarm:
    """One limit."""

    text: str
    """As given."""
    figure: str
    """Name of the figure."""
    above: bool
    """Whether it trips above the limit, or below; at the limit it never does."""
    limit: float
    """The figure's limit; or if relative that of its change, as a share of the earlier one."""
    relative: bool
    """Whether the figure is compared to that of an earlier cycle."""
    cycle: str | None = None
    """The cycle compared to; None: the last one."""

    def trips_surely(self, figures: Mapping[str, float], before: Mapping[str, float]) -> bool:
        """Whether the figure's change against the mapping `before` crosses the limit and is more than chance makes. Relative alarms only.

        The near end of the difference of two independent estimates lies the root of the sum of their squared distances to their own near ends
        away; `SURE` times that must not reach back to no change (or to the limit, where the limit itself lies on that side).
        *Source:* Zou and Donner 2008, "Construction of confidence limits about effect measures", section 2 (MOVER).
        """
        name = self.figure
        near, far = (f"{name}.low", f"{name}.high") if self.above else (f"{name}.high", f"{name}.low")
        value, earlier = figures[name], before[name]
        if not self.trips(value, earlier):
            return False
        unmoved = earlier * (1 + (min if self.above else max)(0.0, self.limit))
        return abs(value - unmoved) > SURE * math.hypot(value - figures.get(near, value), before.get(far, earlier) - earlier)

    def trips(self, value: float, before: float | None) -> bool:
        """Whether `value` crosses the limit; `before` is the earlier cycle's, which a relative limit needs. Against 0 any change is endless."""
        if self.relative:
            if before is None:
                raise ValueError(f"{self.text}: nothing to compare to")
            change = value - before
            value = change / abs(before) if before else (0.0 if not change else float("inf") if change > 0 else float("-inf"))
        return value > self.limit if self.above else value < self.limit


@dataclass(frozen=True)
class Suspect:
    """What the figure would be without one source or generator."""

    column: str
    """`source` or `generator`."""
    name: str
    """Its name."""
    share: float
    """Its share of the documents, 0 to 1."""
    without: float
    """The figure without it."""
    clears: bool
    """Whether the alarm would then not trip."""


@dataclass(frozen=True)
class Tripped:
    """An alarm that tripped."""

    alarm: Alarm
    """Which."""
    value: float | None
    """The figure; None where it could not be taken."""
    before: float | None
    """That of the cycle compared to."""
    suspects: tuple[Suspect, ...] = ()
    """Sources and generators, the one that moved the figure most first."""

    @property
    def sentence(self) -> str:
        """What tripped, by how much, and who moved it."""
        alarm = self.alarm
        if self.value is None:
            return f"{alarm.text}: {alarm.figure} could not be taken, since too few published texts are long enough for it"
        said = f"{alarm.text}: {alarm.figure} is {_shown(self.value)}"
        if self.before is not None:
            change = f" ({(self.value - self.before) / abs(self.before):+.1%})" if self.before else ""
            said += f", after {_shown(self.before)} in {f'cycle {alarm.cycle}' if alarm.cycle else 'the last cycle'}{change}"
        if self.suspects:
            first = self.suspects[0]
            clears = ", and would not trip this alarm" if first.clears else ""
            said += f"; {first.column} {first.name!r} ({first.share:.0%} of documents) moved it most: without it it would be {_shown(first.without)}{clears}"
        return said


def parse_alarm(text: str, figures: Iterable[str]) -> Alarm:
    """The alarm that `text` describes. Raises UsageError if it has another shape, or names none of `figures`."""
    found = _GRAMMAR.fullmatch(text)
    if not found:
        raise UsageError(f"--fail_on={text}: must be {_SHAPE}")
    figure, limit, percent, cycle = found["figure"], found["limit"], found["percent"], found["cycle"]
    known = list(figures)
    if figure not in known:
        close = difflib.get_close_matches(figure, known, 1)
        raise UsageError(f"--fail_on={text}: no figure {figure!r}; " + (f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"))
    signed = limit[0] in "+-"
    if signed != bool(percent):
        raise UsageError(
            f"--fail_on={text}: a change against an earlier cycle is written with sign and %, such as +15%, a limit with neither, such as 0.15"
        )
    if cycle and not percent:
        raise UsageError(
            f"--fail_on={text}: a limit without sign and % compares to no cycle; leave out @{cycle}, or write a change such as +15%@{cycle}"
        )
    return Alarm(text, figure, found["side"] == ">", float(limit) / (100 if percent else 1), bool(percent), cycle)


def check_cycles(alarms: Iterable[Alarm], cycles: Sequence[str]) -> None:
    """Raises UsageError if an alarm compares to a cycle that the ledger does not hold."""
    for alarm in alarms:
        if alarm.cycle is not None and alarm.cycle not in cycles:
            known = ", ".join(cycles[-5:]) or "none"
            raise UsageError(f"--fail_on={alarm.text}: the ledger holds no figures of cycle {alarm.cycle!r}; it holds {known}")


def evaluate(alarms: Iterable[Alarm], figures: Mapping[str, float], earlier: Sequence[tuple[str, Mapping[str, float]]]) -> list[Tripped]:
    """The alarms that trip, in their order.

    `figures` are those of this cycle, `earlier` those of the cycles before by name, the last one last. A figure that could not be taken trips
    its alarm; a change is not judged where there is no earlier cycle, or that one lacks the figure, and trips by `Alarm.trips_surely`. Raises
    UsageError for an unknown cycle.
    """
    alarms = list(alarms)
    check_cycles(alarms, [name for name, _ in earlier])
    tripped = []
    for alarm in alarms:
        value = figures.get(alarm.figure)
        if not alarm.relative:
            if value is None or alarm.trips(value, None):
                tripped.append(Tripped(alarm, value, None))
            continue
        compared = next((held for name, held in reversed(earlier) if alarm.cycle in (None, name)), {})
        if alarm.figure in compared and (value is None or alarm.trips_surely(figures, compared)):
            tripped.append(Tripped(alarm, value, compared[alarm.figure]))
    return tripped


def attribute(tripped: Tripped, names: Mapping[str, Mapping[str, float]], measure_without: Callable[[str, str], Mapping[str, float]]) -> Tripped:
    """`tripped` with its suspects: each source and generator is left out once, and the figure taken again.

    `names`: column -> name -> share of documents. `measure_without(column, name)` gives the figures of all other documents. Whoever's absence moves
    the figure furthest back comes first; those without whom it cannot be taken are left out. Cost: the figures once for each name.
    """
    if tripped.value is None:
        return tripped
    suspects = []
    for column, shares in names.items():
        for name, share in shares.items():
            value = measure_without(column, name).get(tripped.alarm.figure)
            if value is not None:
                suspects.append(Suspect(column, name, share, value, not tripped.alarm.trips(value, tripped.before)))
    towards = 1 if tripped.alarm.above else -1
    suspects.sort(key=lambda suspect: (towards * suspect.without, -suspect.share, suspect.column != "source", suspect.name))
    return Tripped(tripped.alarm, tripped.value, tripped.before, tuple(suspects))


def raise_tripped(tripped: Sequence[Tripped]) -> None:
    """Raises AlarmTripped with a sentence for each alarm, if there is one."""
    if tripped:
        said = ". ".join(one.sentence for one in tripped)
        raise AlarmTripped(f"{len(tripped)} alarm{'s' if len(tripped) > 1 else ''} tripped, nothing was published. {said}.")


def _shown(value: float) -> str:
    return f"{value:.4g}"
