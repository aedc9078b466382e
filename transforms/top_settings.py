"""Which best shares are kept: a score, a share, and the field within whose values the share holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from classifiers.nearest import did_you_mean
from transforms.group_settings import exact_fraction
from transforms.mix_settings import RESERVE_FIELDS

TOP_GROUPS = ("origin", *RESERVE_FIELDS)
"""Fields within whose values a best share can be kept; `origin` is the verified one."""


@dataclass(frozen=True, order=True)
class TopShare:
    """Of the documents that pass the rules, the best by one score stay. Raises ValueError."""

    field: str
    """The score, of which more is better."""
    share: Fraction
    """Share of the documents that stays, above 0 and at most 1; rounded up to whole documents."""
    group: str = ""
    """One of `TOP_GROUPS`: the share holds within each of its values; or a group of the mix: it holds for its documents alone, and the others stay;
    empty: over all documents."""
    of_mix: bool = False
    """Whether `group` is a group of the mix."""

    def __post_init__(self) -> None:
        if not self.field:
            raise ValueError(f"keep_top.{self.name}: names no score; write FIELD or FIELD@GROUP, such as quality@language")
        if self.group and not self.of_mix and self.group not in TOP_GROUPS:
            slip, known = did_you_mean(self.group, TOP_GROUPS), ", ".join(TOP_GROUPS)
            raise ValueError(f"keep_top.{self.name}: {self.group!r} is no group{slip}; after @ write one of {known}, or a group of the mix")
        if not 0 < self.share <= 1:
            raise ValueError(f"keep_top.{self.name} = {self.share}: must be a share above 0, at most 1, such as 10%, 0.1 or 1/10")

    @property
    def name(self) -> str:
        """FIELD or FIELD@GROUP."""
        return f"{self.field}@{self.group}" if self.group else self.field

    def kept_of(self, documents: int) -> int:
        """How many of `documents` stay: the share of them, rounded up."""
        return -(-documents * self.share.numerator // self.share.denominator)


def parse_tops(table: Mapping[str, object], mix_groups: Collection[str] = ()) -> tuple[TopShare, ...]:
    """The shares of section [keep_top], FIELD or FIELD@GROUP -> share, sorted; those of the whole are left out. Raises ValueError.

    GROUP is one of `TOP_GROUPS`, or else one of `mix_groups`, the names of the mix's groups.
    """

    def parse(name: str, value: object) -> TopShare:
        field, _, group = name.partition("@")
        return TopShare(field, parse_share(value, f"keep_top.{name}"), group, group in mix_groups and group not in TOP_GROUPS)

    tops = (parse(name, value) for name, value in table.items())
    return tuple(sorted(top for top in tops if top.share < 1))


def parse_share(value: object, key: str) -> Fraction:
    """`value` as the exact fraction that it says: 0.1, "0.1", "1/10" and "10%" are the same. Raises ValueError naming `key`."""
    text = str(value).strip()
    try:
        if isinstance(value, bool):
            raise ValueError
        return exact_fraction(text.removesuffix("%").strip()) / 100 if text.endswith("%") else exact_fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{key} = {value!r}: must be a share above 0, at most 1, such as 10%, 0.1 or 1/10") from error
