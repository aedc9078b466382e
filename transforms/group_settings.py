"""What a group of documents is promised in the mix: a share, bounds, a weight or a number, of all that is published or of a parent group's part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

from classifiers.nearest import did_you_mean
from transforms.group_predicates import Predicate

MOST_GROUPS = 40
"""Groups and reserves of one mix, at most: each takes a bit of the 64 that a document's cell and priority share."""
SHARE_KEYS = ("share", "min_share", "max_share")
"""Keys whose value is a share of the parent, 0..1."""
PRIORITIES = ("quality", "random", "importance", "diverse", "hard")
"""Orders in which documents are chosen: `transforms.order_keys` says what each is."""
COUNT_KEYS = tuple(f"{bound}{unit}" for unit in ("documents", "tokens") for bound in ("", "min_", "max_"))
"""Keys whose value is a number of documents or tokens."""
_ENDLESS = re.compile(r"[eE][+-]?0*[1-9][\d_]{3,}")
"""An exponent so large that the exact fraction of it would fill the memory."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def exact_fraction(value: str | int | float | Decimal | Fraction) -> Fraction:
    """`value` as the exact fraction that its decimal notation says: 0.7 is 7/10. Raises ValueError, TypeError or ZeroDivisionError."""
    if isinstance(value, str) and _ENDLESS.search(value):
        raise ValueError("an exponent of four digits or more")
    return Fraction(repr(value) if isinstance(value, float) else value)


@dataclass(frozen=True)
class Group:
    """One group, validated when made. Raises ValueError naming the key, its value and what is allowed."""

    name: str
    """A word: letters, digits, `_` or `-`, a letter first."""
    where: str
    """Which documents it holds: a predicate (`group_predicates`). A nested group holds those of its parent alone."""
    within: str = ""
    """Name of the parent group, whose part the shares are of; empty: of all that is published."""
    share: Fraction | None = None
    """Exact share, 0..1 in the quota's unit, to within one document; anything `exact_fraction` reads is accepted."""
    min_share: Fraction | None = None
    """Least share."""
    max_share: Fraction | None = None
    """Largest share."""
    weight: Fraction | None = None
    """Above 0: what the groups of one parent that have a weight get is shared out in this proportion, as far as there is text."""
    documents: int | None = None
    """Exact number of documents."""
    min_documents: int | None = None
    """Least number of documents."""
    max_documents: int | None = None
    """Largest number of documents."""
    tokens: int | None = None
    """Number of tokens, to within one document."""
    min_tokens: int | None = None
    """Least number of tokens."""
    max_tokens: int | None = None
    """Largest number of tokens."""
    priority: str = ""
    """Which of its documents go first, one of `PRIORITIES`; empty: as in the parent, or the whole mix."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"groups.{self.name}: must be named by a word of at most 40 letters, digits, _ or -, a letter first")
        for key in (*SHARE_KEYS, "weight"):
            if getattr(self, key) is not None:
                object.__setattr__(self, key, self._fraction(key))
        for key in COUNT_KEYS:
            value = getattr(self, key)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 60):
                raise self._error(key, "a whole number, 0 or more")
        for exact in ("share", "documents", "tokens"):
            low, high = getattr(self, f"min_{exact}"), getattr(self, f"max_{exact}")
            if getattr(self, exact) is not None and (low is not None or high is not None):
                raise self._error(exact, f"given without min_{exact} and max_{exact}, since it is exact")
            if low is not None and high is not None and low > high:
                raise self._error(f"min_{exact}", f"at most max_{exact}")
        if self.priority not in ("", *PRIORITIES):
            raise self._error("priority", f"one of {', '.join(PRIORITIES)}, or empty{did_you_mean(self.priority, PRIORITIES)}")
        try:
            self.predicate  # noqa: B018
        except ValueError as error:
            raise ValueError(f"groups.{self.name}.where = {error}") from error

    @cached_property
    def predicate(self) -> Predicate:
        """`where`, parsed."""
        return Predicate(self.where)

    @property
    def asked(self) -> str:
        """What is asked for, in words; empty where nothing is."""
        keys = {key: _plain(getattr(self, key)) for key in (*SHARE_KEYS, "weight", *COUNT_KEYS) if getattr(self, key) is not None}
        if self.priority:
            keys["priority"] = self.priority
        return ", ".join(f"{key} = {value}" for key, value in keys.items()) + (f" of {self.within}" if self.within and keys else "")

    def _fraction(self, key: str) -> Fraction:
        try:
            if isinstance(getattr(self, key), bool):
                raise TypeError("a truth is no number")
            value = exact_fraction(getattr(self, key))
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise self._error(key, "a number, or a fraction such as 1/3") from error
        if key == "weight" and not 0 < value <= 1_000_000:
            raise self._error(key, "above 0, at most 1,000,000")
        if key != "weight" and not 0 <= value <= 1:
            raise self._error(key, "a number in 0..1")
        return value

    def _error(self, key: str, allowed: str) -> ValueError:
        value = getattr(self, key)
        return ValueError(f"groups.{self.name}.{key} = {_plain(value) if isinstance(value, Fraction) else repr(value)}: must be {allowed}")


GROUP_KEYS = tuple(one.name for one in fields(Group) if one.name != "name")
"""Keys of a group's table in the recipe."""


def make_groups(given: Mapping[str, Mapping[str, Any]] | Iterable[Group]) -> tuple[Group, ...]:
    """Groups from their tables by name, parents before children and else by name. Raises ValueError."""
    if isinstance(given, Mapping):
        made = []
        for name, table in given.items():
            if not isinstance(table, Mapping) or not table.get("where"):
                raise ValueError(f"groups.{name}: names no documents; a group needs where, such as where = 'language == \"de\"'")
            for key in sorted(table.keys() - set(GROUP_KEYS)):
                raise ValueError(f"groups.{name}.{key}: no such key; known: {', '.join(GROUP_KEYS)}")
            made.append(Group(name, **table))
    else:
        made = list(given)
    if len(made) > MOST_GROUPS:
        raise ValueError(f"groups: {len(made)} are given, at most {MOST_GROUPS} can be")
    by_name = {group.name: group for group in made}
    if len(by_name) < len(made):
        raise ValueError("groups: two have one name; every group needs a name of its own")
    return tuple(by_name[name] for name in sorted(by_name, key=lambda name: (len(_line(name, by_name)), name)))


def parent_places(groups: Sequence[Group]) -> list[int]:
    """For each group the place of its parent among them; -1: none."""
    places = {group.name: place for place, group in enumerate(groups)}
    return [places.get(group.within, -1) for group in groups]


def _line(name: str, by_name: Mapping[str, Group]) -> list[str]:
    """The ancestors of a group. Raises ValueError for one that is not there, and for a group within itself."""
    line: list[str] = []
    while within := by_name[name].within:
        if within not in by_name:
            raise ValueError(f"groups.{name}.within = {within!r}: must be the name of a group; there are {', '.join(sorted(by_name))}")
        if within in line or (within == name and not line):
            raise ValueError(f"groups.{name}.within = {within!r}: a group lies within itself; leave one of the `within` out")
        line.append(within)
        name = within
    return line


def _plain(value: Any) -> str:
    """A number as one writes it: decimals where they are exact, else a fraction."""
    if isinstance(value, Fraction):
        as_decimal = Fraction(repr(float(value)))
        return f"{float(value):g}" if as_decimal == value and Fraction(f"{float(value):g}") == value else str(value)
    return f"{value:,}"
