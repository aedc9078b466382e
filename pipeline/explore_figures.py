"""What a mix would publish, as the explorer shows it: the plan, the funnel, sources and languages, from decisions that are read once.

The plan is that of `transforms.sweep_mix` and the funnel that of `pipeline.funnel`, so every figure is the one that `headwater plan` prints.
In memory for each document: 3 bytes for what was decided, 12 for where it counts, and of each alive one about 70 for what the mix looks at.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.explore_columns import DECLARED_ORIGINS, ScoredColumns
from pipeline.finishing import refusal_of_mix
from pipeline.funnel import funnel_rows, quota_sentence, repeats_sentence
from pipeline.manifest import describe_account
from pipeline.recipe import Recipe
from pipeline.run_facts import RunCatalog
from transforms.balance_books import PUBLISHED, REPEATED, keep_books
from transforms.decisions import read_decisions, recall_decisions
from transforms.group_settings import Group
from transforms.human_rows import copy_rows
from transforms.mix_settings import RESERVE_FIELDS, MixSettings
from transforms.plan_mix import MixPlan
from transforms.records import ORIGIN_NAMES, DecidedShard, Stage
from transforms.sweep_mix import MixSweep, read_alive_decisions

ALIVE = -1
"""Fate of a document that nothing before the mix turned down."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """What is decided before the mix about every document, under one recipe."""

    key: str
    """`decision_key` of the recipe."""
    folder: str
    """Where the decision files lie."""
    columns: ScoredColumns
    """The documents."""
    shards: tuple[DecidedShard, ...]
    """The decision files."""
    origin: np.ndarray
    """uint8 (documents): verified origin."""
    fate: np.ndarray
    """int16 (documents): what turned it down, a place in `fates`; `ALIVE`."""
    fates: tuple[tuple[str, str], ...]
    """(stage, reason) of all rejections before the mix."""
    _alive: tuple[set[str], set[str], set[Group], tuple[pa.Table, MixSweep]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def alive(self, mix: MixSettings) -> tuple[pa.Table, MixSweep]:
        """The documents that are left (`read_alive_decisions`), and mixes of them; read anew only where `mix` looks at more than those before."""
        fields = {name for name in RESERVE_FIELDS if name in self.columns.schema.names} | set(mix.scored_fields)
        clusters = {mix.diverse_by} if mix.takes_turns else set()
        # What is read of a group is whom its predicate holds for: shares and bounds are no matter.
        groups = {Group(group.name, group.where, group.within) for group in mix.groups}
        with self._lock:
            held_fields, held_clusters, held_groups, held = self._alive or (set(), set(), set(), None)
            if held is None or not (fields <= held_fields and clusters <= held_clusters and groups <= held_groups):
                fields, clusters, groups = fields | held_fields, clusters | held_clusters, groups | held_groups
                named = sorted(groups, key=lambda group: (group.name, group.where, group.within))
                table = read_alive_decisions(self.shards, sorted(fields), sorted(clusters), self.folder, named)
                held = table, MixSweep(table)
                object.__setattr__(self, "_alive", (fields, clusters, groups, held))
            return held

    @cached_property
    def alive_places(self) -> np.ndarray:
        """int64: where the alive documents stand among all."""
        return np.flatnonzero(self.fate == ALIVE)

    @cached_property
    def cells(self) -> tuple[np.ndarray, list[tuple[str, str, str]]]:
        """int32 (documents): where each counts, a place among all (source, declared origin, verified origin)."""
        codes, sources = self.columns.codes("source")
        cell = (codes.astype(np.int32) * len(DECLARED_ORIGINS) + self.columns.declared()) * len(ORIGIN_NAMES) + self.origin
        return cell, [(source, declared, origin) for source in sources for declared in DECLARED_ORIGINS for origin in ORIGIN_NAMES]


@dataclass(frozen=True)
class Part:
    """What becomes of the documents of one source or language."""

    name: str
    """The source or language; `` where none was told."""
    read: int
    """Documents read and scored."""
    left: int
    """Of these, documents that nothing before the mix turned down."""
    published: int
    """Of these, documents that are published."""
    tokens: int
    """Tokens of the published ones, those of repeats included."""


@dataclass(frozen=True, eq=False)
class Figures:
    """What one recipe would publish."""

    plan: MixPlan
    """The plan."""
    funnel: tuple[tuple[str, str, Counter], ...]
    """(style, label, documents by declared origin) of each line, as `headwater plan` prints it."""
    quota: str
    """The sentence on the quota, likewise."""
    repeats: str
    """The sentence on documents that are published more than once; empty where none may be."""
    refusal: str | None
    """What `headwater remix` would stop with, exit code 4; None where it would publish."""
    sources: tuple[Part, ...]
    """The most documents first."""
    languages: tuple[Part, ...]
    """Likewise; empty where no scorer told the language."""
    mean_quality: float | None
    """Mean quality of what is published, 0..1; None if that is nothing, or quality was not scored."""
    fate: np.ndarray
    """int16 (documents): what turned it down, a place in `fates`; `ALIVE`: published."""
    fates: tuple[tuple[str, str], ...]
    """(stage, reason) of all rejections."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Documents by (stage, reason) of their rejection; (`published`, ``) for the others."""
        counted = np.bincount(self.fate + 1, minlength=len(self.fates) + 1)
        return {key: int(count) for key, count in zip(((PUBLISHED, ""), *self.fates), counted, strict=True) if count}


def read_decided(columns: ScoredColumns, folder: str, key: str) -> Decisions:
    """The decisions under `folder` about all documents of `columns`. Raises ValueError where they are about others."""
    decided = [recall_decisions(replace(shard, index=index), folder)[0] for index, shard in enumerate(columns.shards)]
    words, origins = [], []
    for one in decided:
        table = read_decisions(one, ["origin", "stage", "reason"])
        words.append(pc.binary_join_element_wise(table["stage"], table["reason"], "\t").combine_chunks())
        origins.append(table["origin"].to_numpy())
    joined = pa.chunked_array(words, pa.string()).combine_chunks().dictionary_encode()
    return Decisions(
        key=key,
        folder=folder,
        columns=columns,
        shards=tuple(decided),
        origin=np.concatenate(origins),
        fate=pc.fill_null(joined.indices, ALIVE).to_numpy().astype(np.int16),
        fates=tuple(tuple(word.split("\t")) for word in joined.dictionary.to_pylist()),
    )


def figures_of(decisions: Decisions, recipe: Recipe, catalog: RunCatalog) -> Figures:
    """What `recipe` would publish, over the decisions that hold for it: half a microsecond of CPU a document, less where only quota and sizes changed."""
    mix = recipe.mix
    alive, sweep = decisions.alive(mix)
    cuts, outcome, rows = sweep.mix(mix)
    reasons = pa.chunked_array([outcome.reason.slice(0, alive.num_rows)]).combine_chunks().dictionary_encode()
    fates = (*decisions.fates, *((Stage.MIX.value, reason) for reason in reasons.dictionary.to_pylist()))
    fate = decisions.fate.copy()
    fate[decisions.alive_places] = pc.fill_null(pc.add(reasons.indices, len(decisions.fates)), ALIVE).to_numpy()

    is_row = outcome.output_shard >= 0
    copied = np.flatnonzero(is_row[alive.num_rows :]) + alive.num_rows
    repeats = decisions.alive_places[copy_rows(alive, mix)[0][copied]] if len(copied) else copied
    counts = [*count_fates(*decisions.cells, fate, fates), *count_repeats(*decisions.cells, repeats)]
    accounts = [describe_account(account) for account in keep_books(catalog.books, counts)]
    chosen = cuts.plan.selected.count(mix.quota_unit)
    quota = {"unit": mix.quota_unit, "promised_share": float(mix.human_quota), "smallest_shard_share": None}
    quota["measured_share"] = float(cuts.plan.human_share) if chosen else None
    refused = refusal_of_mix(cuts.plan, recipe)
    kept = fate == ALIVE
    qualities = rows["quality"].to_numpy()[is_row]
    said = {"documents": len(np.unique(repeats)), "rows": len(repeats), "most": mix.max_human_repeats} if mix.max_human_repeats > 1 else None
    return Figures(
        plan=cuts.plan,
        funnel=tuple(funnel_rows({"accounts": accounts, "repeats": said})),
        repeats=repeats_sentence({"repeats": said}),
        quota=quota_sentence({"quota": quota, "shards": ()}),
        refusal=None if refused is None else str(refused),
        sources=_parts(decisions, "source", kept, repeats),
        languages=_parts(decisions, "language", kept, repeats) if "language" in decisions.columns.schema.names else (),
        mean_quality=float(qualities.mean(dtype=np.float64)) if len(qualities) and not np.isnan(qualities).any() else None,
        fate=fate,
        fates=fates,
    )


def count_fates(
    cells: np.ndarray, names: Sequence[tuple[str, str, str]], fate: np.ndarray, fates: Sequence[tuple[str, str]]
) -> Iterable[tuple[tuple[str, str, str, str, str], tuple[int, int, int]]]:
    """((source, declared origin, verified origin, stage or `published`, reason), (documents, 0, 0)), for `keep_books`."""
    width = len(fates) + 1
    counted = np.bincount(cells * np.int64(width) + fate + 1, minlength=len(names) * width)
    known = ((PUBLISHED, ""), *fates)
    for place in np.flatnonzero(counted):
        yield (*names[place // width], *known[place % width]), (int(counted[place]), 0, 0)


def count_repeats(
    cells: np.ndarray, names: Sequence[tuple[str, str, str]], repeats: np.ndarray
) -> Iterable[tuple[tuple[str, str, str, str, str], tuple[int, int, int]]]:
    """((source, declared origin, verified origin, `repeated`, ``), (rows, 0, 0)), for `keep_books`: `repeats` are places, each as often as it is repeated."""
    counted = np.bincount(cells[repeats], minlength=len(names))
    for place in np.flatnonzero(counted):
        yield (*names[place], REPEATED, ""), (int(counted[place]), 0, 0)


def _parts(decisions: Decisions, name: str, kept: np.ndarray, repeats: np.ndarray) -> tuple[Part, ...]:
    codes, names = decisions.columns.codes(name)
    tokens = decisions.columns.table(["tokens"])["tokens"].to_numpy()
    read = np.bincount(codes, minlength=len(names))
    left = np.bincount(codes[decisions.fate == ALIVE], minlength=len(names))
    published = np.bincount(codes[kept], minlength=len(names))
    # Sums of whole numbers below 2**53 are exact in float64.
    sums = np.bincount(codes[kept], weights=tokens[kept], minlength=len(names))
    sums += np.bincount(codes[repeats], weights=tokens[repeats], minlength=len(names))
    parts = (Part(name, int(a), int(b), int(c), int(d)) for name, a, b, c, d in zip(names, read, left, published, sums, strict=True))
    return tuple(sorted(parts, key=lambda part: (-part.read, part.name)))
