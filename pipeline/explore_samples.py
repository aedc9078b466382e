"""The few documents that the explorer shows: which, what became of each, and its text. About 5 ms of reading for each MiB of the shards they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.explore_columns import ScoredColumns
from pipeline.explore_figures import ALIVE, Decisions, Figures
from transforms.decisions import read_decisions
from transforms.records import ORIGIN_NAMES, DecidedShard, Stage

SHOWN = 4
"""Documents shown at a time, on each side of a bound."""
MOST_CHARS = 4_000
"""Characters of a document that are sent to the page."""
_SCORED = ("id", "text", "origin", "source", "location", "language", "words", "tokens", "ai_probability", "quality")
_DECIDED = ("value", "limit", "partner_id")


@dataclass(frozen=True)
class Sample:
    """One document, as it is shown."""

    id: str
    """The document's id."""
    facts: str
    """Source, origin, language, size and scores, in one line."""
    fate: str
    """What becomes of it, in words."""
    is_published: bool
    """Whether it is published."""
    text: str
    """The first `MOST_CHARS` characters of its text, as they stand."""
    chars_left_out: int
    """Characters of the text that are not among them."""
    location: str
    """Where it was read."""


def read_samples(
    columns: ScoredColumns, places: Sequence[int], decisions: Decisions | None, figures: Figures | None, field: str | None = None
) -> list[Sample]:
    """The documents at `places`, with their score `field`. Without figures what becomes of them is not known."""
    if not places:
        return []
    names = [*_SCORED, *([field] if field and field not in _SCORED else [])]
    rows = columns.rows(places, names)
    return [
        Sample(
            id=row["id"],
            facts=_facts(row, decisions.origin[place] if decisions else None, field),
            fate=_fate(columns, int(place), decisions, figures),
            is_published=figures is not None and figures.fate[place] == ALIVE,
            text=row["text"][:MOST_CHARS],
            chars_left_out=max(0, len(row["text"]) - MOST_CHARS),
            location=row["location"],
        )
        for place, row in zip(places, rows, strict=True)
    ]


def turned_down_for(figures: Figures, stage: str, reason: str) -> np.ndarray:
    """bool (documents): rejected at this stage, for this reason or, where that is ``, for any; stage `published`: published."""
    if stage == "published":
        return figures.fate == ALIVE
    wanted = [place for place, (of, why) in enumerate(figures.fates) if of == stage and reason in ("", why)]
    return np.isin(figures.fate, wanted)


def _facts(row: dict, origin: int | None, field: str | None) -> str:
    declared = "unlabelled" if row["origin"] == "unknown" else row["origin"]
    verified = None if origin is None else ORIGIN_NAMES[origin]
    said = [row["source"], declared if verified in (None, row["origin"]) else f"{declared} → {verified}"]
    said += [row["language"]] if row.get("language") else []
    said += [f"{row['words']:,} words", f"{row['tokens']:,} tokens"]
    shown = dict.fromkeys([*([field] if field else []), "ai_probability", "quality"])
    for name in shown:
        if name in row and name not in ("words", "tokens"):
            said.append(f"{name} {_number(row[name])}")
    return " · ".join(said)


def _fate(columns: ScoredColumns, place: int, decisions: Decisions | None, figures: Figures | None) -> str:
    if figures is None or decisions is None:
        return "not decided yet"
    if figures.fate[place] == ALIVE:
        return "published"
    stage, reason = figures.fates[figures.fate[place]]
    said = f"turned down: {reason}" if reason.startswith(stage.removesuffix("s")) else f"turned down: {stage}: {reason}"
    if decisions.fate[place] == ALIVE:
        return said
    shard = int(np.searchsorted(columns.first_rows, place, side="right")) - 1
    decided = DecidedShard(columns.shards[shard], f"{decisions.folder.rstrip('/')}/{shard:06d}.arrow", 0)
    row = read_decisions(decided, _DECIDED).slice(place - int(columns.first_rows[shard]), 1).to_pylist()[0]
    if row["value"] is not None and row["limit"] is not None:
        said += f" ({_number(row['value'])}, limit {_number(row['limit'])})"
    if row["partner_id"] is not None:
        said += f"; {'holds' if stage == Stage.CONTAMINATION else 'lost to'} {row['partner_id']}"
    return said


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
