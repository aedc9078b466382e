"""Decontamination as a run sees it: the recipe's section, the index that scoring needs, and what the manifest tells of the evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from classifiers.evaluation_sets import ASKED, EvaluationSets
from pipeline.errors import UsageError
from transforms.find_contaminated import ContaminationLimits
from transforms.inputs import InputError
from transforms.storage import join_path

if TYPE_CHECKING:
    # Bring along what a run without evaluation sets has no use for.
    from classifiers.contamination import EvaluationIndex
    from pipeline.recipe import Recipe

SECTION = "decontaminate"
"""The section of the recipe."""
INDEX_NAME = "evaluation_index.arrows"


def evaluation_of(table: Mapping[str, Any]) -> EvaluationSets | None:
    """The evaluation sets that section [decontaminate] names; None: there are none. Raises ValueError."""
    sets = EvaluationSets(**{key: table[key] for key in ASKED})
    return sets if sets.sets else None


def limits_of(table: Mapping[str, Any]) -> ContaminationLimits | None:
    """How much of them a document may not hold; None where no set is named. Raises ValueError."""
    limits = ContaminationLimits(table["min_ngrams"], table["min_share"])
    return limits if table["sets"] else None


def recall_evaluation(tables: dict[str, Any]) -> EvaluationSets | None:
    """Takes what shards were scored against out of section [score] of `tables`, and makes it the default of section [decontaminate]."""
    stored = tables["score"].pop("evaluation", None)
    sets = None if stored is None else EvaluationSets(**stored)
    if sets is not None:
        tables[SECTION] |= {key: list(value) if isinstance(value := getattr(sets, key), tuple) else value for key in ASKED}
    return sets


def check_evaluation(recipe: Recipe, scored: str) -> None:
    """Raises UsageError if a run from the scored shards in `scored` asks for other evaluation sets than they were scored against."""
    sets = recipe.score.evaluation
    made = EvaluationSets(()) if sets is None else sets
    for key in ASKED:
        wanted, had = recipe.tables[SECTION][key], getattr(made, key)
        if sets is None and not recipe.tables[SECTION]["sets"]:
            continue
        if tuple(wanted) != had if isinstance(had, tuple) else wanted != had:
            against = f"against {sets.describe()} (decontaminate.{key} = {_shown(had)})" if sets else "against no evaluation set"
            raise UsageError(
                f"decontaminate.{key} = {_shown(wanted)}: the shards in {scored} were scored {against}, and other sets or n-grams must be sought in the text; "
                "run `headwater curate` on the inputs with them, or leave this out: min_ngrams and min_share can be changed without"
            )


def read_sets(recipe: Recipe) -> tuple[Recipe, EvaluationIndex | None]:
    """`recipe` with the digests of its evaluation sets, and their index. Raises UsageError if one cannot be read."""
    if recipe.score.evaluation is None:
        return recipe, None
    from classifiers.contamination import keep_index
    from transforms.read_evaluation import read_evaluation

    try:
        sets, index = read_evaluation(recipe.score.evaluation)
    except (InputError, OSError) as error:
        raise UsageError(f"--decontaminate: {error}") from error
    # Held by this process before others are forked from it: they share it.
    keep_index(index, sets.digest)
    return replace(recipe, score=replace(recipe.score, evaluation=sets)), index


def place_index(recipe: Recipe, index: EvaluationIndex | None, root: str) -> Recipe:
    """Writes the index into the staging folder `root`, for workers on other machines; `recipe` says where it lies."""
    if index is None:
        return recipe
    from transforms.read_evaluation import write_index

    path = join_path(root, "evaluation", INDEX_NAME)
    write_index(index, path)
    return replace(recipe, score=replace(recipe.score, evaluation=replace(recipe.score.evaluation, index=path)))


def describe_evaluation(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the manifest tells of the evaluation sets, from the settings that shards were scored with; None where there were none."""
    stored = settings.get("evaluation")
    if not stored:
        return None
    sets = []
    for one in EvaluationSets(**stored).read:
        files = [{"path": path, "sha256": digest} for path, digest in one.files]
        counts = {"items": one.items, "ngrams": one.ngrams, "common_ngrams": one.common_ngrams, "unsought": one.unsought}
        sets.append({"name": one.name, **counts, "files": files})
    return {"index": stored["digest"], "sets": sets}


def evaluation_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """What was sought, in plain words: one sentence for each evaluation set, or none."""
    described = manifest.get("decontamination") or {"sets": ()}
    return [
        f"Kept free of {one['name']}: {one['items']:,} items, {one['ngrams']:,} n-grams"
        + (f"; {one['unsought']:,} items are too short to be sought" if one["unsought"] else "")
        + "."
        for one in described["sets"]
    ]


def _shown(value: Any) -> str:
    return f"[{', '.join(map(repr, value))}]" if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
