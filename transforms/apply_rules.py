"""Rules: bounds on scores and lists of allowed values, each with a name that becomes the reason of what it rejects."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.nearest import did_you_mean
from transforms.records import Origin

LARGEST_BOUND = float(np.finfo(np.float32).max)
"""Scores and the limits that rejections name are float32."""
RULE_ORIGINS = (Origin.HUMAN, Origin.PRESUMED_HUMAN, Origin.SYNTHETIC, Origin.DISPUTED)


@dataclass(frozen=True)
class Rule:
    """One bound that a document must keep. A document whose field is null is rejected by it only if it is `required`."""

    name: str
    """Reason given to what the rule rejects: snake_case."""
    field: str
    """The scored column it looks at."""
    min: float | None = None
    """Smallest value kept (inclusive)."""
    max: float | None = None
    """Largest value kept (inclusive)."""
    allow: tuple = field(default=())
    """The only values kept, for a column of words such as `language`; empty: any."""
    deny: tuple = field(default=())
    """Values never kept."""
    origins: tuple[str, ...] = field(default=())
    """Verified origins the rule applies to; empty: all."""
    languages: tuple[str, ...] = field(default=())
    """Languages (column `language`) the rule applies to; empty: all."""
    sources: tuple[str, ...] = field(default=())
    """Inputs (column `source`) the rule applies to; empty: all."""
    required: bool = False
    """Whether a document whose field is null breaks the rule."""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise ValueError(f"rule name {self.name!r}: must be snake_case (letters, digits, underscores), as it becomes a rejection's reason")
        if self.min is None and self.max is None and not self.allow and not self.deny and not self.required:
            raise ValueError(f"rules.{self.name}: has no bound; give at least one of min, max, allow, deny, required")
        for key, bound in (("min", self.min), ("max", self.max)):
            # No score is above nan, nor below it: the rule would pass everything and say nothing.
            if bound is not None and not (abs(bound) <= LARGEST_BOUND or abs(bound) == math.inf):
                raise ValueError(f"rules.{self.name}.{key} = {bound!r}: must be a number, at most {LARGEST_BOUND:g}; inf or -inf for no bound")
        for key in ("languages", "sources"):
            for value in getattr(self, key):
                if not isinstance(value, str):
                    raise ValueError(f"rules.{self.name}.{key}: {value!r} is no text; give names such as \"en\"")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"rules.{self.name}: min {self.min} is above max {self.max}; nothing could pass")
        unknown = [origin for origin in self.origins if origin not in RULE_ORIGINS]
        if unknown:
            raise ValueError(f"rules.{self.name}.origins: {unknown[0]!r} is not an origin; allowed: {', '.join(RULE_ORIGINS)}")


@dataclass(frozen=True)
class Verdicts:
    """The first rule that each of n documents breaks."""

    rule: np.ndarray
    """int16[n]: index into the rules, -1 where none is broken."""
    value: np.ndarray
    """float32[n]: the score that broke it (nan for a column of words)."""
    limit: np.ndarray
    """float32[n]: the bound it broke (nan likewise)."""


def check_rule_fields(rules: Sequence[Rule], schema: pa.Schema) -> None:
    """Raises ValueError, listing the fields there are, for a rule whose field no scorer makes or whose bounds do not fit its type."""
    for rule in rules:
        if rule.languages and "language" not in schema.names:
            raise ValueError(f"rules.{rule.name}.languages: no scorer tells the language; add 'language' to score.scorers, or set languages = []")
        if rule.field not in schema.names:
            raise ValueError(
                f"rules.{rule.name}.field: no scorer makes {rule.field!r} and no document has it{did_you_mean(rule.field, schema.names)}; "
                f"the fields are: {', '.join(sorted(schema.names))}"
            )
        kind = schema.field(rule.field).type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if (rule.min is not None or rule.max is not None) and not numeric:
            raise ValueError(f"rules.{rule.name}: {rule.field!r} is of type {kind}, which has no min or max; use allow or deny")
        for value in (*rule.allow, *rule.deny):
            try:
                pa.scalar(value, kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise ValueError(f"rules.{rule.name}: value {value!r} does not fit {rule.field!r}, which is of type {kind}") from error


def apply_rules(columns: pa.Table, origin_names: pa.Array, rules: Sequence[Rule]) -> Verdicts:
    """The first broken rule of each document, in the order of `rules`.

    `columns` holds every rule's field, and `language` or `source` where a rule names some; `origin_names` (string[n]) the verified origins.
    Nulls break no rule but those that are `required`.
    """
    n = columns.num_rows
    first = np.full(n, -1, dtype=np.int16)
    value = np.full(n, np.nan, dtype=np.float32)
    limit = np.full(n, np.nan, dtype=np.float32)
    for index, rule in enumerate(rules):
        column = columns[rule.field]
        undecided = first < 0
        if rule.origins:
            undecided &= _as_mask(pc.is_in(origin_names, value_set=pa.array(rule.origins, pa.string())))
        if rule.languages:
            undecided &= _as_mask(pc.is_in(columns["language"], value_set=pa.array(rule.languages, pa.string())))
        if rule.sources:
            undecided &= _as_mask(pc.is_in(columns["source"], value_set=pa.array(rule.sources, pa.string())))
        for bound, broken in _broken(column, rule):
            hit = undecided & broken
            first[hit] = index
            if bound is not None:
                value[hit] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)[hit]
                limit[hit] = bound
            undecided &= ~hit
    return Verdicts(first, value, limit)


def _broken(column: pa.ChunkedArray, rule: Rule) -> list[tuple[float | None, np.ndarray]]:
    checks = []
    if rule.min is not None:
        checks.append((rule.min, _as_mask(pc.less(column, _bound(rule.min, column.type)))))
    if rule.max is not None:
        checks.append((rule.max, _as_mask(pc.greater(column, _bound(rule.max, column.type)))))
    if rule.allow:
        kept = pc.is_in(column, value_set=pa.array(rule.allow, column.type))
        checks.append((None, _as_mask(pc.and_(pc.invert(kept), pc.is_valid(column)))))
    if rule.deny:
        checks.append((None, _as_mask(pc.is_in(column, value_set=pa.array(rule.deny, column.type)))))
    if rule.required:
        checks.append((None, _as_mask(pc.is_null(column))))
    return checks


def _bound(bound: float, kind: pa.DataType) -> pa.Scalar:
    # A float32 column against a float64 bound would reject a score that equals the bound as written, such as 0.2. Whole bounds may be more than
    # the column's type can tell apart, or more than fits 64 bits: as floats they are rounded.
    if pa.types.is_floating(kind):
        return pa.scalar(float(bound), kind)
    return pa.scalar(bound if abs(bound) < 1 << 63 else float(bound))


def _as_mask(broken: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return pc.fill_null(broken, False).to_numpy(zero_copy_only=False)
