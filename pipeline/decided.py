"""Decisions that a later mix can take over: what came of origins, rules and duplicates, kept beside the scores.

Quota, size, seed and priority change nothing before the mix. So a run leaves its decision files (100 bytes a document before
compression) under `decided/`, with a key of everything that they depend on; `remix` and `plan` with an equal key start at the
mix, others decide anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence

from classifiers.calibration import LengthThresholds
from pipeline.caps import NEAR_CLUSTER, SEMANTIC_CLUSTER, finds_meanings
from pipeline.folders import Folders
from pipeline.mix_orders import takes_turns_over
from pipeline.recipe import Recipe
from transforms.decisions import decision_path
from transforms.find_tops import TopFound
from transforms.records import ScoredShard
from transforms.storage import is_local, join_path, open_binary, write_whole

FORMAT = 3
"""Version of the decision files; others are not taken over."""
KEY_FILE = "key.json"


def decision_key(recipe: Recipe, thresholds: LengthThresholds | None) -> str:
    """SHA-256 of all that decides before the mix: sections [score], [origin], [rules], [keep_top], [dedup], [caps] and [decontaminate], and the
    detector's thresholds."""
    decisive = {
        "format": FORMAT,
        "score": recipe.tables["score"],
        "origin": {key: value for key, value in recipe.tables["origin"].items() if key != "calibration"},
        "rules": [repr(rule) for rule in recipe.rules],
        "dedup": {key: value for key, value in recipe.tables["dedup"].items() if key != "partitions"},
        "decontaminate": recipe.tables["decontaminate"],
        "caps": repr(recipe.caps),
        "thresholds": None if thresholds is None else [thresholds.calibration_digest, repr(thresholds.thresholds), repr(thresholds.edges)],
    }
    if recipe.tops:
        within = {group.name: [group.where, group.within] for group in recipe.mix.groups} if any(top.of_mix for top in recipe.tops) else {}
        decisive["keep_top"] = [[repr(top) for top in recipe.tops], recipe.mix.seed, within]
    # Clusters that nothing else asks for: decisions without them are no use to a mix that takes turns over them.
    if takes_turns_over(recipe.mix, NEAR_CLUSTER):
        decisive["clusters"] = NEAR_CLUSTER
    elif takes_turns_over(recipe.mix, SEMANTIC_CLUSTER) and not finds_meanings(recipe.dedup, recipe.caps):
        decisive["clusters"] = SEMANTIC_CLUSTER
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def write_key(folders: Folders, key: str, shards: Sequence[ScoredShard], tops: Sequence[TopFound] = ()) -> None:
    """Leaves the key, the shards that it holds for, and the thresholds of best shares beside the decision files."""
    found = {"key": key, "shards": [[shard.name, shard.num_rows] for shard in shards], "keep_top": [one.stored() for one in tops]}
    with write_whole(join_path(folders.decided, KEY_FILE)) as file:
        file.write(json.dumps(found).encode())


def recall_tops(decided: str) -> tuple[TopFound, ...]:
    """The thresholds of best shares that the decisions in the folder `decided` were made by."""
    with contextlib.closing(open_binary(join_path(decided, KEY_FILE))) as file:
        return tuple(TopFound.recall(stored) for stored in json.loads(file.read()).get("keep_top", ()))


def find_decided(scored: str, names: Sequence[str], key: str) -> str | None:
    """The folder of decisions beside the folder `scored` whose key is `key` and whose shards are `names` (sorted), if there is one.

    None also where the key file is missing or unreadable, or a decision file is missing: deciding anew is always right.
    """
    decided = join_path(os.path.dirname(scored.rstrip("/")) or ".", "decided")
    try:
        with contextlib.closing(open_binary(join_path(decided, KEY_FILE))) as file:
            found = json.loads(file.read())
        if found["key"] != key or [name for name, _ in found["shards"]] != list(names):
            return None
        present = not is_local(decided) or all(os.path.isfile(decision_path(decided, index)) for index in range(len(names)))
        return decided if present else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
