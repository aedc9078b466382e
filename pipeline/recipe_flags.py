"""The flags that set keys of the recipe, by what their user thinks of them: the groups of `--help`, in its order.

A flag is another name for a key; what the key means, its unit and its default stand in `recipe.toml` and docs/options.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.group_flags import GROUP_EXAMPLE, GROUP_FORM, parse_group
from pipeline.recipe import parse_assignment
from transforms.mix_settings import PRIORITIES
from transforms.sample_weights import WEIGHT_KINDS


@dataclass(frozen=True)
class RecipeFlag:
    """A flag that overrides one key of the recipe."""

    flag: str
    """As typed, without the dashes."""
    key: str
    """Dotted key of the recipe."""
    help: str
    """What it does, with its unit."""
    choices: tuple[str, ...] = ()
    """The only values allowed."""
    repeatable: bool = False
    """Whether a list is given by repeating the flag, rather than with commas."""
    needs_scoring: bool = False
    """Whether it takes effect where text is read and scored, so that a remix has no such flag."""


@dataclass(frozen=True)
class TableFlag:
    """A repeatable flag `KEY=NUMBER` that sets one key of a section whose keys are the user's."""

    flag: str
    """As typed, without the dashes."""
    section: str
    """Section of the recipe."""
    metavar: str
    """The form of a value, as `--help` shows it."""
    example: str
    """A value that works."""
    help: str
    """What it does, with its unit."""
    is_share: bool = False
    """Whether values are shares rather than whole numbers; `KEY=SHARE@GROUP` then means `KEY@GROUP=SHARE`."""

    def parse(self, text: str) -> dict[str, Any]:
        """Dotted keys and values of one argument. Raises UsageError."""
        if self.flag == "group":
            return parse_group(text)
        key, equals, value = text.rpartition("=")
        if not key or not equals or not (value if self.is_share else value.isdigit()):
            raise UsageError(f"--{self.flag}={text}: must be {self.metavar}, such as {self.example}")
        if not self.is_share:
            return {f"{self.section}.{key}": int(value)}
        share, at, group = value.partition("@")
        return {f"{self.section}.{key}{at}{group}": share}


DROPPED, MEMORY = "what is dropped", "memory across training cycles"
"""Titles of the groups that hold flags of other kinds too."""
RECIPE_FLAGS: dict[str, tuple[RecipeFlag | TableFlag, ...]] = {
    "what is published": (
        RecipeFlag("human_quota", "mix.human_quota", "smallest share of human text, 0..1 or a fraction such as 1/3, overall and in every shard"),
        RecipeFlag("quota_unit", "mix.quota_unit", "what the share is counted in", ("documents", "tokens", "bytes")),
        RecipeFlag("count_presumed_human", "mix.count_presumed_human", "count unlabelled text that the detector takes for human towards the quota"),
        RecipeFlag("max_documents", "mix.max_documents", "documents wanted at most; 0 = no limit"),
        RecipeFlag("max_tokens", "mix.max_tokens", "tokens wanted at most; 0 = no limit"),
        RecipeFlag(
            "on_shortage", "mix.on_shortage", "too little human text for the wanted size: stop with exit code 4, or publish less", ("fail", "shrink")
        ),
        TableFlag(
            "reserve",
            "reserve",
            "FIELD.VALUE=DOCUMENTS",
            "task.support=500",
            "publish at least so many documents of a group, such as task.support=500, if there are as many; repeatable",
        ),
        TableFlag(
            "group",
            "mix.groups",
            GROUP_FORM,
            GROUP_EXAMPLE,
            "promise a group of documents a share, bounds, a weight or a number, such as "
            "'german=language == \"de\"; share=0.4'; [mix.groups] of the recipe; repeatable",
        ),
        RecipeFlag(
            "max_human_repeats",
            "mix.max_human_repeats",
            "times that a human document may be published where human text is too little for the wanted size",
        ),
        RecipeFlag("priority", "mix.priority", "which documents go first", PRIORITIES),
        RecipeFlag(
            "importance_exponent", "mix.importance_exponent", "b of the weights (1 - p)^b that --priority=importance draws by, p the AI probability"
        ),
        RecipeFlag(
            "diverse_by", "mix.diverse_by", "what --priority=diverse takes turns over: semantic_cluster, near_cluster, or a key such as source"
        ),
        RecipeFlag("seed", "mix.seed", "seed of every choice and of the shuffle"),
    ),
    "what is taken for machine text": (
        RecipeFlag(
            "ai_detector",
            "score.ai_detector",
            "which AI-text detector scores: fast, deep, cascade, hf:PATH_OR_NAME or lm:PATH_OR_NAME",
            needs_scoring=True,
        ),
        RecipeFlag(
            "ai_label",
            "score.ai_label",
            "labels of an hf: classifier that mean machine-written, with commas; empty = told from their names",
            needs_scoring=True,
        ),
        RecipeFlag("max_false_positive_rate", "origin.max_false_positive_rate", "share of human documents that may be taken for machine text, 0..1"),
        RecipeFlag("calibration", "origin.calibration", "calibration made by `python -m classifiers calibrate`; empty = the shipped one"),
        RecipeFlag("reject_disputed", "origin.reject_disputed", "reject text declared human that the detector disputes, or publish it as not human"),
    ),
    DROPPED: (
        TableFlag(
            "keep_top",
            "keep_top",
            "FIELD[@GROUP]=SHARE",
            "quality=10% or quality@language=10%",
            "keep the best share, by a score, of what passes the rules, or of each value of GROUP, such as quality=10%% or quality@language=10%%; "
            "[keep_top] of the recipe; repeatable",
            is_share=True,
        ),
        RecipeFlag("decontaminate", "decontaminate.sets", "NAME=GLOB: evaluation set that the corpus is kept free of; repeatable", repeatable=True),
        RecipeFlag("decontaminate_fields", "decontaminate.fields", "fields of evaluation sets that hold text, with commas, such as question,answer"),
        RecipeFlag("min_contaminated_ngrams", "decontaminate.min_ngrams", "n-grams of evaluation sets in a document from which it is rejected"),
        RecipeFlag("min_contaminated_share", "decontaminate.min_share", "and share of one evaluation item's n-grams that it holds, 0..1"),
    ),
    "which duplicates are dropped": (
        RecipeFlag("dedup_key", "dedup.key", "of documents with one value of this field, such as url or url:normalised, one stays; empty = off"),
        RecipeFlag("min_similarity", "dedup.min_similarity", "estimated Jaccard similarity from which two documents are near-duplicates, 0..1"),
        RecipeFlag(
            "max_repeated_line_share",
            "dedup.max_repeated_line_share",
            "share of a document's characters that may stand in lines of better documents, 0..1; 1 = off",
        ),
        TableFlag(
            "cap", "caps", "FIELD=N", "prompt=2", "at most N documents with one value of FIELD, such as prompt=2; [caps] of the recipe; repeatable"
        ),
    ),
    "form of the published files": (
        RecipeFlag("num_shards", "publish.num_shards", "published files; 0 = by size"),
        RecipeFlag("target_shard_bytes", "publish.target_shard_bytes", "bytes of text in a published file, about"),
        RecipeFlag("sample_weight", "publish.sample_weight", "column that says how much each row should count in training", WEIGHT_KINDS),
        RecipeFlag("mask_personal_data", "publish.mask_personal_data", "kinds of personal data to mask, with commas: email, ip, phone, card, key"),
    ),
    MEMORY: (
        RecipeFlag("max_synthetic_uses", "ledger.max_synthetic_uses", "cycles that may publish one synthetic text, or near-duplicates of it"),
        RecipeFlag("max_generation", "ledger.max_generation", "deepest generation that is published: 0 = human, 1 = by a model; -1 = any"),
        RecipeFlag("min_fresh_human", "ledger.min_fresh_human", "share of the human text that no earlier cycle published, 0..1 or a fraction"),
        RecipeFlag("fresh_share_of", "ledger.fresh_share_of", "what that is a share of: human text, or all that is published", ("human", "all")),
        RecipeFlag("fresh_after", "ledger.fresh_after", "date from which human text counts as fresh, such as 2025-06-01; empty = any"),
    ),
    "how inputs are read and counted": (
        RecipeFlag(
            "tokenizer",
            "score.tokenizer",
            "what `tokens` counts: headwater-pretokens-1, or a Hugging Face tokenizer: a tokenizer.json, a folder, or a name of the hub",
            needs_scoring=True,
        ),
        RecipeFlag("text_unit", "read.text_unit", "plain text files: one document a file, or one a line", ("file", "line"), needs_scoring=True),
        RecipeFlag(
            "max_dead_share",
            "read.max_dead_share",
            "share of unreadable records, 0..1, beyond which the run stops with exit code 3",
            needs_scoring=True,
        ),
        RecipeFlag("split_bytes", "read.split_bytes", "bytes of input that a worker takes at a time", needs_scoring=True),
    ),
}
"""Group of `--help` -> its flags, both in the order in which a user comes to think of them."""


def recipe_flags() -> list[RecipeFlag]:
    """The flags that set one key each."""
    return [flag for group in RECIPE_FLAGS.values() for flag in group if isinstance(flag, RecipeFlag)]


def table_flags() -> list[TableFlag]:
    """The flags that set keys of a section whose keys are the user's."""
    return [flag for group in RECIPE_FLAGS.values() for flag in group if isinstance(flag, TableFlag)]


def overrides_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Recipe key -> value, from the flags and then from `--set`. Raises UsageError."""
    overrides = {}
    for flag in recipe_flags():
        value = getattr(parsed, flag.flag, None)
        if value is not None:
            overrides[flag.key] = value
    for flag in table_flags():
        for text in getattr(parsed, flag.flag) or ():
            overrides |= flag.parse(text)
    if parsed.keep_languages:
        overrides |= {"rules.unwanted_language.allow": parsed.keep_languages, "rules.unwanted_language.enabled": True}
    for assignment in parsed.set or ():
        key, value = parse_assignment(assignment)
        overrides[key] = value
    return overrides
