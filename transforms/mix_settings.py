"""What a mix must hold: quota, units, sizes, order. Validated when made, and all that the planner knows of the user's wishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from classifiers.nearest import did_you_mean
from transforms.group_settings import MOST_GROUPS, PRIORITIES, Group, exact_fraction, make_groups

UNITS = ("documents", "tokens", "bytes")
"""What a share can be counted in: the columns of every array of units, in this order."""
RESERVE_FIELDS = ("task", "source", "generator", "declared_language", "language")
"""Columns of a scored shard by whose values places can be reserved."""
RANK_FIELD = "cluster_rank"
"""The column of each document's rank within its cluster (`transforms.rank_documents`)."""
PRIORITY_FIELDS = {"importance": "ai_probability", "diverse": RANK_FIELD, "hard": "perplexity"}
"""The score that an order is made of, where that is not the quality of the decisions."""
MOST_EXPONENT = 100.0
"""Largest exponent of the importance weights: beyond it nothing but the surest human text would have a weight."""
MOST_REPEATS = 64
"""Times that a document may be published, at most."""
DEFAULT_TARGET_SHARD_BYTES = 256 << 20
"""Bytes of text in one published shard, before compression."""


def parse_quota(value: str | int | float | Decimal | Fraction, key: str = "human_quota") -> Fraction:
    """`value` as the exact fraction that its decimal notation says: "0.7", 0.7 and "7/10" are 7/10, not the nearest binary number.

    Raises ValueError for anything that is not a number in 0..1, both ends included.
    """
    try:
        quota = exact_fraction(value)
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{key}={value!r}: must be a number in 0..1") from error
    if not 0 <= quota <= 1:
        raise ValueError(f"{key}={value!r}: must be a number in 0..1")
    return quota


@dataclass(frozen=True, order=True)
class Reserve:
    """Places that one group of documents has in the mix. Raises ValueError."""

    field: str
    """One of `RESERVE_FIELDS`."""
    value: str
    """The value that the documents of the group have there."""
    documents: int
    """At least so many of them are published, if there are as many; 0 or more."""

    def __post_init__(self) -> None:
        known = ", ".join(RESERVE_FIELDS)
        if self.field not in RESERVE_FIELDS or not self.value:
            raise ValueError(
                f"reserve.{self.name}: must be FIELD.VALUE with FIELD one of {known}, such as task.support{did_you_mean(self.field, RESERVE_FIELDS)}"
            )
        if self.documents != 0 and not _is_count(self.documents):
            raise ValueError(f"reserve.{self.name}={self.documents!r}: must be a whole number of documents, 0 or more")

    @property
    def name(self) -> str:
        """FIELD.VALUE."""
        return f"{self.field}.{self.value}"


@dataclass(frozen=True)
class MixSettings:
    """What the mix must hold, validated when made. Raises ValueError naming key, value and what is allowed."""

    human_quota: Fraction = Fraction(1, 2)
    """Least share of human text, 0..1, overall and in every published shard; anything `parse_quota` reads is accepted."""
    quota_unit: str = "documents"
    """What the share is counted in: documents, tokens or bytes (UTF-8 length of the text)."""
    min_fresh_human: Fraction = Fraction(0)
    """Least share of fresh text, 0..1 in `quota_unit`: human text that was never published before; read as the quota is."""
    fresh_share_of: str = "human"
    """What `min_fresh_human` is a share of: "human" (the published human text) or "all" (everything that is published)."""
    reserve: tuple[Reserve, ...] = ()
    """Groups with reserved places; a mapping of FIELD.VALUE to documents is accepted. Kept sorted, without those of 0 documents."""
    groups: tuple[Group, ...] = ()
    """What groups of documents are promised; a mapping of names to tables of `Group` is accepted. Kept with parents first, else by name."""
    max_documents: int | None = None
    """Wanted size in documents; None: no limit."""
    max_tokens: int | None = None
    """Wanted size in tokens; None: no limit. Both limits may be set, and both hold."""
    on_shortage: str = "fail"
    """When quota and wanted size cannot both hold: "fail" (the run stops with the numbers) or "shrink" (a smaller mix)."""
    max_human_repeats: int = 1
    """Times that a human document may be published where human text is too little for the wanted size, 1..64; 1: once."""
    priority: str = "random"
    """Who comes first within a stratum, one of `PRIORITIES`."""
    importance_exponent: float = 1.0
    """b of the weights (1 - p)^b by which "importance" draws, 0..100: 0 draws evenly, more prefers likely human text more."""
    diverse_by: str = "semantic_cluster"
    """What "diverse" takes turns over: a key, as those of `transforms.document_keys`."""
    count_presumed_human: bool = False
    """Whether unlabelled text that the detector takes for human counts as human."""
    num_shards: int | None = None
    """Published shards; None: as many as `target_shard_bytes` asks for."""
    target_shard_bytes: int = DEFAULT_TARGET_SHARD_BYTES
    """Bytes of text in one shard, where `num_shards` is None."""
    seed: int = 0
    """Of every choice made by hash, 0..2**64-1."""

    def __post_init__(self) -> None:
        for key in ("human_quota", "min_fresh_human"):
            object.__setattr__(self, key, parse_quota(getattr(self, key), key))
        self._demand("fresh_share_of", self.fresh_share_of in ("human", "all"), "human or all")
        if isinstance(self.reserve, Mapping):
            reserve = (Reserve(*name.partition(".")[::2], documents) for name, documents in self.reserve.items())
        else:
            reserve = self.reserve
        object.__setattr__(self, "reserve", tuple(sorted(one for one in reserve if one.documents)))
        object.__setattr__(self, "groups", make_groups(self.groups))
        if self.groups and len(self.groups) + len(self.reserve) > MOST_GROUPS:
            raise ValueError(f"groups: with {len(self.reserve)} reserves there are more than {MOST_GROUPS}; leave some out")
        self._demand("quota_unit", self.quota_unit in UNITS, "one of " + ", ".join(UNITS))
        self._demand("on_shortage", self.on_shortage in ("fail", "shrink"), "fail or shrink")
        self._demand("priority", self.priority in PRIORITIES, "one of " + ", ".join(PRIORITIES))
        is_number = isinstance(self.importance_exponent, (int, float)) and not isinstance(self.importance_exponent, bool)
        self._demand("importance_exponent", is_number and 0 <= self.importance_exponent <= MOST_EXPONENT, f"a number in 0..{MOST_EXPONENT:g}")
        self._demand("diverse_by", isinstance(self.diverse_by, str) and self.diverse_by != "", "a key, such as semantic_cluster or source")
        self._demand("count_presumed_human", isinstance(self.count_presumed_human, bool), "true or false")
        for key in ("max_documents", "max_tokens", "num_shards"):
            self._demand(key, getattr(self, key) is None or _is_count(getattr(self, key)), "a whole number, 1 or more, or nothing")
        self._demand(
            "max_human_repeats", _is_count(self.max_human_repeats) and self.max_human_repeats <= MOST_REPEATS, f"a whole number in 1..{MOST_REPEATS}"
        )
        if self.max_human_repeats > 1:
            repeats = f"max_human_repeats={self.max_human_repeats}"
            if self.max_documents is None and self.max_tokens is None:
                raise ValueError(f"{repeats}: repeats human text where it is too little for the wanted size; set max_documents or max_tokens too")
            if self.groups:
                raise ValueError(f"{repeats}: cannot be had with groups, whose promises are about documents; leave one of them out")
        self._demand("target_shard_bytes", _is_count(self.target_shard_bytes), "a whole number, 1 or more")
        self._demand("seed", self.seed == 0 or (_is_count(self.seed) and self.seed < 1 << 64), "a whole number in 0..2**64-1")

    def _demand(self, key: str, is_allowed: bool, allowed: str) -> None:
        if not is_allowed:
            raise ValueError(f"{key}={getattr(self, key)!r}: must be {allowed}")

    def most_other(self, human: int) -> int:
        """Most units of other text that `human` units of human text carry: floor(human * (1 - q) / q). Only for a quota above 0."""
        return human * (self.human_quota.denominator - self.human_quota.numerator) // self.human_quota.numerator

    def most_by_fresh(self, fresh: int) -> int | None:
        """Most units of what is counted that `fresh` fresh ones among them allow: floor(fresh / min_fresh_human); None: any."""
        return int(fresh / self.min_fresh_human) if self.min_fresh_human else None

    @property
    def copy_bits(self) -> int:
        """Bits that tell the copies of a human document apart."""
        return (self.max_human_repeats - 1).bit_length()

    @property
    def without_groups(self) -> MixSettings:
        """The same without groups and reserves."""
        return replace(self, groups=(), reserve=())

    @property
    def reserve_fields(self) -> tuple[str, ...]:
        """The columns that tell which documents have a reserved place."""
        return tuple(sorted({one.field for one in self.reserve}))

    @property
    def orders(self) -> tuple[str, ...]:
        """Every order of priority that some document has, of the whole mix first, each once."""
        return tuple(dict.fromkeys((self.priority, *(group.priority for group in self.groups if group.priority))))

    @property
    def takes_turns(self) -> bool:
        """Whether documents need a rank within a cluster."""
        return "diverse" in self.orders

    @property
    def scored_fields(self) -> tuple[str, ...]:
        """The columns that the mix looks at beside the decisions: those of a scored shard, and the rank within a cluster."""
        return (*self.reserve_fields, *(PRIORITY_FIELDS[order] for order in self.orders if order in PRIORITY_FIELDS))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
