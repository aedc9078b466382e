"""What the rules and the detector turn down by themselves: exact counts of the first steps of DECIDE, before documents are compared.

The same function judges as in a run (`transforms.judge_documents`), so these counts are those of the plan's lines `origin`, `contamination` and
`rules`. What later steps make of it (duplicates, caps, the mix) needs deciding again. About half a microsecond of CPU a document and 20 rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from classifiers.calibration import LengthThresholds
from classifiers.contamination_fields import BY, NGRAMS, SHARE
from pipeline.explore_columns import DECLARED_ORIGINS, ScoredColumns
from pipeline.recipe import Recipe
from transforms.apply_rules import Rule, apply_rules
from transforms.judge_documents import Judged, judge_columns, origin_names
from transforms.records import ORIGIN_CODES, Reason, Stage

FIRST_STAGES = (Stage.ORIGIN.value, Stage.CONTAMINATION.value, Stage.RULES.value)
"""The stages that look at each document by itself."""


@dataclass(frozen=True)
class RuleYield:
    """What one rule turns down."""

    alone: int
    """Documents that break it, whatever else they break."""
    first: int
    """Documents that are turned down for it: it is the first thing that they break."""


@dataclass(frozen=True, eq=False)
class Preview:
    """What the first stages of DECIDE turn down."""

    turned_down: dict[tuple[str, str], int]
    """Documents by (stage, reason)."""
    rules: dict[str, RuleYield]
    """By the name of each enabled rule."""
    flagged: dict[str, int]
    """Documents that the detector takes for machine text, by declared origin."""
    judged: Judged
    """Of every document."""

    @property
    def total(self) -> int:
        """Documents turned down by these stages."""
        return sum(self.turned_down.values())


def preview(columns: ScoredColumns, recipe: Recipe, thresholds: LengthThresholds | None, alone: dict[tuple, int] | None = None) -> Preview:
    """The counts under `recipe`. `alone` keeps, between calls, what single rules turn down."""
    table = columns.table(columns_of(columns, recipe))
    judged = judge_columns(table, recipe.rules, thresholds, recipe.origin.reject_disputed, recipe.contamination)
    first = np.bincount(judged.verdicts.rule[judged.broken], minlength=len(recipe.rules))
    turned_down = {(Stage.RULES.value, rule.name): int(count) for rule, count in zip(recipe.rules, first, strict=True)}
    turned_down[Stage.ORIGIN.value, Reason.DISPUTED_ORIGIN.value] = int(np.count_nonzero(judged.disputed))
    turned_down[Stage.CONTAMINATION.value, Reason.CONTAMINATED.value] = int(np.count_nonzero(judged.contaminated))
    known = {} if alone is None else alone
    rules = {}
    for rule, count in zip(recipe.rules, first, strict=True):
        # A rule for some origins depends on the detector's verdicts as well.
        key = (rule, thresholds if rule.origins else None)
        if key not in known:
            known[key] = count_broken(columns, rule, judged)
        rules[rule.name] = RuleYield(known[key], int(count))
    synthetic, disputed = ORIGIN_CODES["synthetic"], ORIGIN_CODES["disputed"]
    taken = (judged.origin == disputed) | ((judged.declared == ORIGIN_CODES["unknown"]) & (judged.origin == synthetic))
    flagged = {name: int(np.count_nonzero(taken & (judged.declared == ORIGIN_CODES[name]))) for name in DECLARED_ORIGINS}
    return Preview({key: count for key, count in turned_down.items() if count}, rules, flagged, judged)


def count_broken(columns: ScoredColumns, rule: Rule, judged: Judged) -> int:
    """Documents that break `rule`, whatever else they break."""
    return int(np.count_nonzero(breaks(columns, rule, judged)))


def breaks(columns: ScoredColumns, rule: Rule, judged: Judged) -> np.ndarray:
    """bool (documents): breaks `rule`."""
    names = {rule.field, *(["language"] if rule.languages else ()), *(["source"] if rule.sources else ())}
    return apply_rules(columns.table(sorted(names)), origin_names(judged.origin), [rule]).rule >= 0


def columns_of(columns: ScoredColumns, recipe: Recipe) -> list[str]:
    """The columns that the first stages of DECIDE look at under `recipe`."""
    names = ["origin", "source", "words", *(rule.field for rule in recipe.rules)]
    names += ["ai_probability"] if "ai_probability" in columns.schema.names else []
    names += ["language"] if any(rule.languages for rule in recipe.rules) else []
    return names + ([] if recipe.contamination is None else [NGRAMS, SHARE, BY])


def margin_of_rule(columns: ScoredColumns, rule: Rule) -> np.ndarray:
    """float64 (documents): how far each lies within the rule's bounds, below 0 outside; nan where it has no such score."""
    values = columns.numbers(rule.field).astype(np.float64)
    margins = [np.full(len(values), np.inf)]
    if rule.min is not None:
        margins.append(values - np.float32(rule.min))
    if rule.max is not None:
        margins.append(np.float32(rule.max) - values)
    least = np.minimum.reduce(margins)
    return np.where(np.isinf(least), np.nan, least)


def margin_of_detector(judged: Judged) -> np.ndarray:
    """float64 (documents): the detector's threshold for the text's length less its score, below 0 where it is flagged; nan where it is not judged."""
    margin = judged.limits.astype(np.float64) - judged.ai_probability
    return np.where(judged.verified, margin, np.nan)
