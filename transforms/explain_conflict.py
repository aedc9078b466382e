"""Why promises cannot all hold: the smallest set of them that conflicts, and the least text that would settle it.

The smallest set is found by hitting sets: whatever promises a mix cannot add to those that it keeps, one of them is in every conflict; the smallest
choice that meets all such lists found so far is either a conflict, and then none is smaller, or shows a new list. *Source:* Ignatiev, Previti,
Liffiton and Marques-Silva, "Smallest MUS extraction with minimal hitting set dualization", CP 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.group_members import FIRST_GROUP_BIT, FRESH_BIT, HUMAN_BIT
from transforms.group_promises import DOCUMENTS, TOKENS, Cells, Promise
from transforms.group_settings import parent_places
from transforms.mix_settings import MixSettings
from transforms.solve_program import Program

Keeps = Callable[[list[Promise]], np.ndarray | None]
"""Promises -> amounts of the cells in a mix that keeps them; None where there is none."""


@dataclass(frozen=True)
class Missing:
    """Text of one kind that would have to be added."""

    kind: str
    """`human`, `fresh human` or `other`."""
    groups: tuple[str, ...]
    """Names of those of the groups in conflict that it is of; FIELD.VALUE for reserves."""
    documents: int
    """How many."""
    tokens: int
    """About how many, by the mean of such documents there are, or else of all."""

    def __str__(self) -> str:
        of = f" of {' and '.join(self.groups)}" if self.groups else ""
        return f"{self.documents:,} {self.kind} document{'s' if self.documents != 1 else ''}{of} (about {self.tokens:,} tokens)"


@dataclass(frozen=True)
class Conflict:
    """Promises that cannot all hold, though any fewer of them can."""

    names: tuple[str, ...]
    """As the user gave them."""
    missing: tuple[Missing, ...]
    """The least text that would let them hold; empty where none would."""

    @property
    def sentence(self) -> str:
        """Both in words, without a full stop."""
        *first, last = self.names
        named = f"{', '.join(first)} and {last} cannot all hold" if first else f"{last} cannot hold"
        if not self.missing:
            return f"{named}, whatever text is added"
        several = len(self.missing) > 1 or self.missing[0].documents != 1
        return f"{named}: {' and '.join(map(str, self.missing))} {'are' if several else 'is'} missing"


def smallest_conflict(promises: Sequence[Promise], keeps: Keeps) -> tuple[int, ...]:
    """Places of the fewest promises that no mix keeps together, the first of equals; empty where all can be kept."""
    lists: list[list[int]] = []
    while True:
        chosen = _meet(lists, len(promises))
        amounts = keeps([promises[place] for place in chosen])
        if amounts is None:
            return tuple(chosen)
        kept = set(chosen)
        for place, promise in enumerate(promises):
            if place in kept:
                continue
            if promise.is_kept(amounts):
                kept.add(place)
                continue
            larger = keeps([promises[one] for one in sorted({*kept, place})])
            if larger is not None:
                kept.add(place)
                amounts = larger
        left = [place for place in range(len(promises)) if place not in kept]
        if not left:
            return ()
        lists.append(left)


def explain_conflict(cells: Cells, demand: Callable[[Cells], list[Promise]], settings: MixSettings, keeps: Keeps) -> Conflict | None:
    """The smallest conflict among what `demand` makes of cells, and what is missing; None where there is none after all."""
    promises = demand(cells)
    found = smallest_conflict(promises, keeps)
    if not found:
        return None
    bits = {promises[place].bit for place in found} - {-1}
    return Conflict(tuple(promises[place].name for place in found), _least_text(cells, demand, found, bits, settings))


def _meet(lists: list[list[int]], count: int) -> list[int]:
    program = Program()
    columns = program.add_columns(count, 1.0, integral=True)
    for one in lists:
        program.add_row(columns[one], np.ones(len(one)), lower=1.0)
    values = program.solve(columns, 1.0 + np.arange(count) * 1e-4 / max(1, count))
    return np.flatnonzero(values > 0.5).tolist()


def _least_text(
    cells: Cells, demand: Callable[[Cells], list[Promise]], found: tuple[int, ...], bits: set[int], settings: MixSettings
) -> tuple[Missing, ...]:
    """Solves for the fewest documents that, added to what is there, let the promises hold; in documents whole ones, else about."""
    larger = _with_imagined(cells, bits, settings)
    names = [*(group.name for group in settings.groups), *(reserve.name for reserve in settings.reserve)]
    is_whole = settings.quota_unit == "documents"
    mean = cells.amounts.sum(axis=0) / max(1, int(cells.amounts[:, DOCUMENTS].sum()))
    each = np.where(larger.amounts[:, [DOCUMENTS]] > 0, larger.amounts / np.maximum(1, larger.amounts[:, [DOCUMENTS]]), mean)
    program, count = Program(), len(larger.patterns)
    there = program.add_columns(count, larger.amounts[:, DOCUMENTS], integral=is_whole)
    added = program.add_columns(count, integral=is_whole)
    promises = demand(larger)
    for place in found:
        for row in promises[place].rows:
            values = row.weights * each[:, row.unit]
            scale = max(1.0, float(np.abs(values).max(initial=0)))
            program.add_row(np.concatenate([there, added]), np.tile(values, 2) / scale, upper=row.most / scale)
    # Text as there is some of rather than text as there is none of, where both would do.
    costs = np.where(larger.amounts[:, DOCUMENTS] > 0, 1.0, 1.0001)
    values = program.solve(added, costs)
    if values is None:
        return ()
    by_kind: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
    for pattern, documents, tokens in zip(larger.patterns.tolist(), values[added].tolist(), each[:, TOKENS].tolist(), strict=True):
        if documents > 1e-6:
            of = tuple(names[bit] for bit in sorted(bits) if pattern >> (FIRST_GROUP_BIT + bit) & 1)
            kind = "fresh human" if pattern & FRESH_BIT else "human" if pattern & HUMAN_BIT else "other"
            key = (kind, of)
            by_kind[key] = by_kind.get(key, np.zeros(2)) + (documents, documents * tokens)
    counted = {key: np.ceil(total - 1e-6).astype(int).tolist() for key, total in by_kind.items()}
    return tuple(Missing(kind, of, documents, tokens) for (kind, of), (documents, tokens) in sorted(counted.items(), key=lambda item: -item[1][0]))


def _with_imagined(cells: Cells, bits: set[int], settings: MixSettings) -> Cells:
    """The cells, and empty ones of text that there is none of: outside all groups, and in groups in conflict that nothing is in."""
    parents = [*parent_places(settings.groups), *([-1] * len(settings.reserve))]
    kinds = (0, HUMAN_BIT, *([HUMAN_BIT | FRESH_BIT] if settings.min_fresh_human else ()))
    lines = [0]
    for bit in sorted(bits):
        if not cells.of_bit(bit).any():
            line, place = 0, bit
            while place >= 0:
                line, place = line | 1 << (FIRST_GROUP_BIT + place), parents[place]
            lines.append(line)
    imagined = {kind | line for kind in kinds for line in lines}
    extra = np.array(sorted(imagined - set(cells.patterns.tolist())), np.int64)
    patterns, nothing = np.concatenate([cells.patterns, extra]), np.zeros((len(extra), 3), np.int64)
    order = np.argsort(patterns)
    return Cells(patterns[order], np.concatenate([cells.amounts, nothing])[order], np.concatenate([cells.largest, nothing])[order])
