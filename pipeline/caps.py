"""Section [caps] of the recipe, and what it, `dedup.key` and `dedup.max_repeated_line_share` need of the scored shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classifiers.scorers import ScoreSettings, score_fields
from pipeline.errors import UsageError
from pipeline.recipe_sections import DedupSettings, require
from transforms.apply_rules import RULE_ORIGINS

LINE_SCORER = "line_hashes"
"""The scorer without which no repeated lines are found."""
NEAR_CLUSTER = "near_cluster"
"""The cap on groups of linked near-duplicates, which needs no column."""
EMBEDDING_SCORER = "embedding"
"""The scorer without which no semantic duplicates or clusters are found."""
SEMANTIC_CLUSTER = "semantic_cluster"
"""The cap on clusters of embeddings."""


@dataclass(frozen=True)
class CapSettings:
    """How many documents of one kind are kept."""

    origins: tuple[str, ...]
    """Verified origins that caps apply to and count; empty: all."""
    most: tuple[tuple[str, int], ...]
    """Key and the most documents that share a value of it, by key; they apply one after the other."""

    def __post_init__(self) -> None:
        for origin in self.origins:
            require("caps.origins", list(self.origins), origin in RULE_ORIGINS, f"of {', '.join(RULE_ORIGINS)}")

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> CapSettings:
        """From the section's table; a cap of 0 is none. Raises ValueError."""
        most = {key: value for key, value in table.items() if key != "origins"}
        for key, value in most.items():
            require(f"caps.{key}", value, isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a whole number; 0 = no cap")
        return cls(tuple(table.get("origins", ())), tuple(sorted((key, value) for key, value in most.items() if value)))


def finds_meanings(dedup: DedupSettings, caps: CapSettings) -> bool:
    """Whether semantic clusters are found whatever the mix asks for."""
    return dedup.semantic or any(key == SEMANTIC_CLUSTER for key, _ in caps.most)


def complete_scores(tables: dict[str, Any], columns: Sequence[str] | None) -> None:
    """Adds to section [score] of `tables` what [dedup] and [caps] need: the scorer of lines, and keys that are no columns.

    With the `columns` of scored shards nothing can be added: raises UsageError, saying what to do, if they lack something.
    """
    score = tables["score"]
    if tables["dedup"]["max_repeated_line_share"] < 1 and LINE_SCORER not in score["scorers"]:
        if columns is not None:
            raise UsageError(
                f"dedup.max_repeated_line_share: the shards were scored without the scorer {LINE_SCORER!r}; score again with "
                "`headwater curate --max_repeated_line_share=...`, or leave it out"
            )
        score["scorers"] = [*score["scorers"], LINE_SCORER]
    takes_turns = _diverse_by(tables) == SEMANTIC_CLUSTER
    needed = {"dedup.semantic": tables["dedup"]["semantic"], f"caps.{SEMANTIC_CLUSTER}": tables.get("caps", {}).get(SEMANTIC_CLUSTER)}
    needed_for = next((name for name, is_needed in (needed | {'mix.priority = "diverse"': takes_turns}).items() if is_needed), None)
    if needed_for and EMBEDDING_SCORER not in score["scorers"]:
        if columns is not None:
            other = ", or take turns over something else (mix.diverse_by, such as near_cluster or source)" if takes_turns else ", or leave it out"
            raise UsageError(
                f"{needed_for}: the shards were scored without the scorer {EMBEDDING_SCORER!r}; score again with "
                f"`headwater curate --set dedup.semantic=true`{other}"
            )
        score["scorers"] = [*score["scorers"], EMBEDDING_SCORER]
    wanted = list(_wanted_keys(tables))
    if wanted:
        _complete_keys(score, wanted, columns)


def _wanted_keys(tables: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if tables["dedup"]["key"]:
        yield "dedup.key", tables["dedup"]["key"]
    for key, most in sorted(tables.get("caps", {}).items()):
        if key not in ("origins", NEAR_CLUSTER) and most:
            yield f"caps.{key}", key
    if _diverse_by(tables) not in ("", NEAR_CLUSTER):
        yield "mix.diverse_by", _diverse_by(tables)


def _diverse_by(tables: Mapping[str, Any]) -> str:
    groups = tables["mix"].get("groups", {})
    orders = [tables["mix"]["priority"], *(group.get("priority") for group in groups.values() if isinstance(group, Mapping))]
    return tables["mix"]["diverse_by"] if "diverse" in orders else ""


def _complete_keys(score: dict[str, Any], wanted: Iterable[tuple[str, str]], columns: Sequence[str] | None) -> None:
    # Imported here: a run without keys need not know how to read them.
    from transforms.document_keys import DocumentKey, is_column, key_fields, missing_key

    try:
        scores = score_fields(ScoreSettings(scorers=tuple(score["scorers"]))).names if columns is None else columns
        key_fields(score.get("keys", []))
    except ValueError as error:
        raise UsageError(f"recipe: score: {error}") from error
    for named, text in wanted:
        try:
            key = DocumentKey.parse(text)
        except ValueError as error:
            raise UsageError(f"recipe: {named}: {error}") from error
        if is_column(key, scores):
            continue
        if columns is not None and key.column not in columns:
            raise UsageError(f"{named}: the scored folder {missing_key(text)}")
        if columns is None and text not in score["keys"]:
            score["keys"] = [*score["keys"], text]
