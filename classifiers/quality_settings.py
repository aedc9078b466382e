"""What a run may ask of the quality models, taken apart and checked. Loads no model, and nothing that a run without them does not need."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from classifiers.scorers import ScoreSettings

KINDS = ("fasttext", "hf")
"""What may stand before the colon of an entry of `score.quality_models`."""
ENTRY = "NAME=fasttext:PATH, NAME=fasttext:PATH#LABEL, NAME=hf:PATH_OR_NAME or NAME=hf:PATH_OR_NAME#LABEL"
"""What an entry looks like."""
PERPLEXITY_MODELS = "ngram:PATH, ngram:PATH#fold or lm:PATH_OR_NAME"
"""What `score.perplexity_model` may be."""
ALWAYS_THERE = ("quality", "trained_quality")
"""Members of an ensemble beside the names of `score.quality_models` and `perplexity`."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class QualityEntry:
    """One entry of `score.quality_models`, taken apart."""

    name: str
    """Its column."""
    kind: str
    """One of `KINDS`."""
    path: str
    """File, folder or name of the model."""
    labels: tuple[str, ...] = ()
    """Labels that mean good; empty: told from the model."""

    @property
    def spec(self) -> str:
        """What stands behind the name."""
        return f"{self.kind}:{self.path}" + (f"#{'+'.join(self.labels)}" if self.labels else "")


def parse_entry(entry: str) -> QualityEntry:
    """`NAME=KIND:PATH[#LABEL+LABEL]` taken apart. Raises ValueError. Loads nothing."""
    name, equals, spec = str(entry).partition("=")
    kind, colon, path = spec.partition(":")
    path, mark, labels = path.partition("#")
    if not (equals and colon and path and _NAME.fullmatch(name) and kind in KINDS):
        raise ValueError(f"quality_models: {entry!r} must be {ENTRY}, with a NAME in snake_case, which becomes the column")
    named = tuple(labels.split("+")) if mark else ()
    if mark and not all(named):
        raise ValueError(f"quality_models: {entry!r} names an empty label; give #LABEL, or several as #LABEL+LABEL")
    return QualityEntry(name, kind, path, named)


def parse_entries(entries: Sequence[str]) -> tuple[QualityEntry, ...]:
    """All entries taken apart. Raises ValueError, also for a name that stands twice."""
    parsed = tuple(parse_entry(entry) for entry in entries)
    names = [entry.name for entry in parsed]
    if len(set(names)) != len(names):
        raise ValueError(f"quality_models: two models make one column: {', '.join(names)}; give each a name of its own")
    return parsed


def quality_model_fields(entries: Sequence[str]) -> pa.Schema:
    """One float32 column an entry. Loads nothing. Raises ValueError."""
    return pa.schema([(entry.name, pa.float32()) for entry in parse_entries(entries)])


def parse_perplexity(spec: str) -> tuple[str, str, bool]:
    """Kind, path and whether text is folded: `ngram:PATH#fold` -> ("ngram", "PATH", True). Raises ValueError. Loads nothing."""
    kind, _, path = spec.partition(":")
    path, mark, option = path.partition("#")
    if kind not in ("ngram", "lm") or not path or (mark and (kind, option) != ("ngram", "fold")):
        raise ValueError(f"perplexity_model: {spec!r} must be {PERPLEXITY_MODELS}")
    return kind, path, bool(mark)


def check_members(members: Sequence[str], entries: Sequence[QualityEntry], perplexity_model: str) -> None:
    """Raises ValueError for members that are not there or stand twice. Loads nothing."""
    known = (*ALWAYS_THERE, *(("perplexity",) if perplexity_model else ()), *(entry.name for entry in entries))
    for name in members:
        if name not in known:
            hint = "; set score.perplexity_model" if name == "perplexity" else ""
            raise ValueError(f"quality_ensemble: no model is called {name!r}; there are {', '.join(known)}{hint}")
    if len(set(members)) != len(members):
        raise ValueError(f"quality_ensemble: a model stands twice: {', '.join(members)}")


def quality_scorers(settings: "ScoreSettings") -> tuple[str, ...]:
    """Names of the scorers that run because a model is named for them."""
    asked = {
        "quality_models": settings.quality_models,
        "perplexity": settings.perplexity_model,
        "quality_ensemble": settings.quality_ensemble,
    }
    return tuple(name for name, models in asked.items() if models)


def check_quality_settings(settings: "ScoreSettings") -> None:
    """Makes tuples of lists, and raises ValueError, naming the key, for what cannot work. Loads nothing."""
    for key in ("quality_models", "quality_ensemble"):
        value = getattr(settings, key)
        if isinstance(value, str) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{key} must be a list of names, not {value!r}")
        object.__setattr__(settings, key, tuple(value))
    for key in ("perplexity_model", "quality_ranks"):
        if not isinstance(getattr(settings, key), str):
            raise ValueError(f"{key} must be text, not {getattr(settings, key)!r}")
    entries = parse_entries(settings.quality_models)
    if settings.perplexity_model:
        parse_perplexity(settings.perplexity_model)
    check_members(settings.quality_ensemble, entries, settings.perplexity_model)
    if settings.quality_ranks and not settings.quality_ensemble:
        raise ValueError(f"quality_ranks = {settings.quality_ranks!r} goes with quality_ensemble only; name its models there, or leave it out")
