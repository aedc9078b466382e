"""The manifest: what a run promised, what it measured, and everything needed to run it again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.decontamination import describe_evaluation
from pipeline.prevalence import estimate_prevalence
from pipeline.recipe import Recipe
from pipeline.run_facts import Counts, RunCatalog, RunFacts
from transforms.balance_books import PUBLISHED, REPEATED, Account
from transforms.find_tops import TopFound
from transforms.mix_settings import MixSettings
from transforms.plan_mix import MixPlan
from transforms.sample_weights import SampleWeights
from transforms.survey_cells import CellCuts
from transforms.write_shards import ShardWritten

FORMAT = 1
"""Version of the manifest's layout."""
VERSIONED = ("headwater", "apache-beam", "pyarrow", "numpy", "fasttext-community", "pycld2", "xxhash", "highspy")


def build_manifest(
    facts: RunFacts,
    recipe: Recipe,
    catalog: RunCatalog,
    accounts: Sequence[Account],
    counts: Counts,
    plan: MixPlan,
    written: Sequence[ShardWritten],
    scored: Mapping[str, Any],
    tops: Sequence[TopFound] = (),
    *,
    finished_at: str,
    weights: SampleWeights | None = None,
) -> dict[str, Any]:
    """The manifest as nested dictionaries. Everything but the run's own facts and times depends on inputs and recipe alone."""
    mix = recipe.mix
    totals = _published_units(counts, human_too=mix.count_presumed_human)
    unit = next((human, total) for name, human, total in totals if name == mix.quota_unit)
    shares = [_share(shard, mix.quota_unit) for shard in written]
    return {
        "format": FORMAT,
        "run": {
            "id": facts.run_id,
            "mode": facts.mode,
            "started_at": facts.started_at,
            "finished_at": finished_at,
            "command": list(facts.command),
            "inputs": [{"name": name, "pattern": pattern, "origin": origin} for name, pattern, origin in facts.inputs],
        },
        "quota": {
            "promised": str(mix.human_quota),
            "promised_share": float(mix.human_quota),
            "unit": mix.quota_unit,
            "counts_as_human": ["human", "presumed_human"] if mix.count_presumed_human else ["human"],
            "measured_share": unit[0] / unit[1] if unit[1] else None,
            "smallest_shard_share": min(shares, default=None),
        },
        "published": {name: {"human": human, "all": total} for name, human, total in totals},
        "keep_top": [_top(one) for one in tops],
        "repeats": _repeats(counts, mix),
        "sample_weight": None if weights is None else asdict(weights),
        "reserve": [asdict(group) for group in plan.reserved],
        "groups": [{**asdict(group), "share": group.share(mix.quota_unit)} for group in plan.groups],
        "accounts": [describe_account(account) for account in accounts],
        "scored_shards": len(catalog.shards),
        "origin_conflicts": catalog.origin_conflicts,
        "mix": {"sentences": list(plan.sentences()), "num_shards": plan.num_shards},
        "shards": [_shard(shard, mix.quota_unit) for shard in written],
        "digest": content_digest(written),
        "recipe_digest": recipe.digest,
        "recipe": recipe.tables,
        "tokenizer": describe_tokenizer(recipe, scored["scorers"]),
        "scorers": scored["scorers"],
        "decontamination": describe_evaluation(scored.get("settings", {})),
        "cascade": None if catalog.cascade_work is None else {**asdict(catalog.cascade_work), "deep_share": catalog.cascade_work.deep_share},
        "prevalence": estimate_prevalence(catalog.unlabelled, scored["scorers"].get("ai_detector", {}).get("version")),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}},
    }


def describe_tokenizer(recipe: Recipe, scorers: Mapping[str, Any]) -> dict[str, str | None]:
    """What counted the tokens: as the recipe names it, and the version, with a digest of its rules, that stands in the scored shards."""
    version = scorers.get("size", {}).get("version")
    return {"name": recipe.score.tokenizer, "version": version and version.rsplit(";", 1)[-1]}


def describe_account(account: Account) -> dict[str, Any]:
    """One account of the books as the manifest holds it."""
    return {
        "source": account.source,
        "declared_origin": account.declared_origin,
        "read": account.read,
        "published": dict(account.published),
        "repeated": dict(account.repeated),
        "rejected": [{"stage": stage, "reason": reason, "documents": count} for (stage, reason), count in account.rejected],
        "dead": [{"stage": stage, "reason": reason, "records": count} for (stage, reason), count in account.dead],
    }


def content_digest(written: Sequence[ShardWritten]) -> str:
    """SHA-256 over the names and digests of the published files, in order of name: equal for equal content."""
    digest = hashlib.sha256()
    for shard in sorted(written, key=lambda one: one.name):
        digest.update(f"{shard.name} {shard.sha256}\n".encode())
    return digest.hexdigest()


def quota_faults(written: Sequence[ShardWritten], mix: MixSettings) -> list[str]:
    """A sentence for each published file, and for all of them together, that holds less human text than promised.

    Exact: integers against a fraction.
    """
    faults, all_human, all_units = [], 0, 0
    for shard in written:
        human, total = shard.of_unit(mix.quota_unit)
        all_human, all_units = all_human + human, all_units + total
        if human < mix.human_quota * total:
            faults.append(f"{shard.name} holds {human:,} human of {total:,} {mix.quota_unit}, less than the quota of {mix.human_quota}")
    if all_human < mix.human_quota * all_units:
        faults.append(f"all files hold {all_human:,} human of {all_units:,} {mix.quota_unit}, less than the quota of {mix.human_quota}")
    return faults


def group_faults(written: Sequence[ShardWritten], cells: CellCuts | None) -> list[str]:
    """A sentence for each promise to a group that the files as written do not keep together, and for a file that its cells do not add up to."""
    if cells is None:
        return []
    faults = [f"the files do not hold {name}" for name in cells.broken(cell for shard in written for cell in shard.cells)]
    for shard in written:
        counted = tuple(sum(cell[place] for cell in shard.cells) for place in (1, 2, 3))
        if counted != tuple(total for _, _, total in shard.units):
            faults.append(f"{shard.name} holds other text than was counted for groups")
    return faults


def _published_units(counts: Counts, *, human_too: bool) -> list[tuple[str, int, int]]:
    human_origins = ("human", "presumed_human") if human_too else ("human",)
    published = [(key[2], units) for key, units in counts if key[3] in (PUBLISHED, REPEATED)]
    return [
        (name, sum(units[place] for origin, units in published if origin in human_origins), sum(units[place] for _, units in published))
        for place, name in enumerate(("documents", "tokens", "bytes"))
    ]


def _top(found: TopFound) -> dict[str, Any]:
    share = {"name": found.top.name, "share": str(found.top.share), "field": found.top.field, "group": found.group}
    return share | {"documents": found.documents, "kept": found.kept, "threshold": found.threshold}


def _repeats(counts: Counts, mix: MixSettings) -> dict[str, int] | None:
    """What was published more than once; None where nothing may be."""
    if mix.max_human_repeats == 1:
        return None
    repeated = [(key[4], units) for key, units in counts if key[3] == REPEATED]
    totals = {name: sum(units[place] for _, units in repeated) for place, name in enumerate(("rows", "tokens", "bytes"))}
    # Every document that is repeated has a second copy, whose number is 1.
    return {"most": mix.max_human_repeats, "documents": sum(units[0] for copy, units in repeated if copy == "1"), **totals}


def _shard(shard: ShardWritten, unit: str) -> dict[str, Any]:
    return {
        "name": shard.name,
        **{name: {"human": human, "all": total} for name, human, total in shard.units},
        "human_share": _share(shard, unit),
        "origins": dict(shard.origins),
        "file_bytes": shard.file_bytes,
        "sha256": shard.sha256,
    }


def _share(shard: ShardWritten, unit: str) -> float | None:
    human, total = shard.of_unit(unit)
    return human / total if total else None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
