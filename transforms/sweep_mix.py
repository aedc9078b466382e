"""What mixes under many settings would be, over decisions that are read once.

A sweep asks the same documents again and again, so it holds the narrow columns of all alive ones, about 80 bytes each, where a run reads
them from disk at every survey: a table for one machine, not a step of a run. The cuts are those of `find_cuts`, so each figure is what a run
with these settings would publish.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.apply_mix import MixOutcome, apply_mix
from transforms.decisions import read_decisions
from transforms.find_cuts import find_cuts
from transforms.group_members import decided_fields, with_members
from transforms.group_settings import Group
from transforms.human_rows import repeat_human
from transforms.mix_settings import DEFAULT_TARGET_SHARD_BYTES, RANK_FIELD, MixSettings
from transforms.place_mix import MixCuts
from transforms.plan_mix import MixPlan
from transforms.rank_documents import cluster_column, rank_table, read_clusters
from transforms.records import DecidedShard
from transforms.sample_texts import choose_sample, sample_keys
from transforms.survey_mix import AliveDocuments, Request, Reserved, read_alive, survey_alive

_COLUMNS = (
    "address",
    "source",
    "origin",
    "row_key",
    "quality",
    "tokens",
    "bytes",
    "reason",
    "stage",
    "value",
    "limit",
    "fresh",
    "words",
    "content_hash",
)
SAMPLE_KEY = "sample_key"
"""Column in which the alive rows have what samples are chosen by, instead of `content_hash`."""

MOST_READ = 4
"""Readings of the documents that are kept, at most: each takes about 60 bytes a document."""
_UNREAD = {
    "human_quota": 0,
    "quota_unit": "documents",
    "max_documents": 1,
    "max_tokens": None,
    "on_shortage": "shrink",
    "num_shards": None,
    "target_shard_bytes": DEFAULT_TARGET_SHARD_BYTES,
}
"""Settings that decide how many documents are published, not how each is read: all others tell two readings apart."""


@dataclass(frozen=True)
class MixFigures:
    """What one mix would be."""

    plan: MixPlan
    """The plan, with all that it says of shortages."""
    mean_quality: float | None
    """Mean quality of what is published, 0..1; None if that is nothing, or quality was not scored."""
    sources: tuple[tuple[str, int], ...]
    """(source, documents published), for every source with alive documents, sorted by name."""
    sample: np.ndarray
    """uint64: addresses of the texts by which its variety is measured (`sample_texts`)."""

    @property
    def effective_sources(self) -> float | None:
        """Number of equally large sources that would be as mixed: 1 / the sum of squared shares of documents; None if nothing is published.

        *Source:* Simpson 1949, as a number of its own kind Hill 1973 (order 2).
        """
        counts = np.array([count for _, count in self.sources], np.float64)
        return float(counts.sum() ** 2 / (counts**2).sum()) if counts.any() else None


def read_alive_decisions(
    decided: Iterable[DecidedShard],
    fields: Sequence[str],
    clusters: Sequence[str] = (),
    near_clusters: str | None = None,
    groups: Sequence[Group] = (),
) -> pa.Table:
    """The alive rows of all shards with what the mix looks at, text as dictionaries; `fields` are the settings' `scored_fields`.

    `clusters`: what any of the settings takes turns over; `near_clusters`: the folder of groups of near-duplicates, if these are among them;
    `groups`: of all settings, of which a bit a document stays for each predicate.
    """
    parts = []
    fields = [name for name in fields if name != RANK_FIELD]
    for shard in decided:
        decided_columns = tuple(dict.fromkeys((*_COLUMNS, *decided_fields(groups))))
        table = with_members(read_decisions(shard, decided_columns, [name for name in fields if name != "source"]), shard, groups)
        table = table.drop_columns([name for name in decided_columns if name not in _COLUMNS])
        for key in clusters:
            held, valid = read_clusters(shard, key, near_clusters)
            table = table.append_column(cluster_column(key), pa.array(held, pa.uint64(), mask=~valid))
        alive = table.filter(pc.is_null(table["reason"]))
        for name in dict.fromkeys(("source", *fields)):
            if not pa.types.is_floating(alive.schema.field(name).type):
                alive = alive.set_column(alive.schema.get_field_index(name), name, alive[name].cast(pa.string()).dictionary_encode())
        alive = alive.append_column(SAMPLE_KEY, pa.array(sample_keys(alive["content_hash"]))).drop_columns("content_hash")
        parts.append(alive)
    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


class MixSweep:
    """Mixes over one table of `read_alive_decisions`. About 0.4 microseconds of CPU a document for the first, less for others like it."""

    def __init__(self, alive: pa.Table):
        self._alive = alive
        self._order = np.argsort(alive[SAMPLE_KEY].to_numpy(), kind="stable")
        self._read: OrderedDict[tuple, _ReadMix] = OrderedDict()

    def mix(self, settings: MixSettings) -> tuple[MixCuts, MixOutcome, pa.Table]:
        """The cuts of the mix, what they decide about each row, and the rows: further copies stand behind the documents (`human_rows`)."""
        read = self._reading(settings)
        cuts = find_cuts(read.survey, settings)
        return cuts, apply_mix(read.alive, cuts, settings, read.documents(cuts.selection.reserved, bool(settings.groups))), read.alive

    def figures(self, settings: MixSettings) -> MixFigures:
        """The figures of the mix with these settings."""
        cuts, outcome, alive = self.mix(settings)
        kept = outcome.output_shard >= 0
        names = alive["source"].chunk(0).dictionary.to_pylist() if alive.num_rows else []
        codes = alive["source"].chunk(0).indices.to_numpy(zero_copy_only=False) if alive.num_rows else np.empty(0, np.int64)
        counts = np.bincount(codes[kept], minlength=len(names))
        qualities = alive["quality"].to_numpy()[kept]
        mean = float(qualities.mean(dtype=np.float64)) if len(qualities) and not np.isnan(qualities).any() else None
        # Further copies stand behind the documents: a sample of texts holds none twice.
        sample = choose_sample(kept[: len(self._order)], self._order, *(self._alive[name].to_numpy() for name in ("words", "address")))
        return MixFigures(cuts.plan, mean, tuple(sorted(zip(names, counts.tolist(), strict=True))), sample)

    def _reading(self, settings: MixSettings) -> _ReadMix:
        """What is read for these settings, shared by all that differ only in what no document is looked at for."""
        groups = tuple(Group(group.name, group.where, group.within, priority=group.priority) for group in settings.groups)
        key = replace(settings, groups=groups, **_UNREAD)
        if key not in self._read:
            ranked = rank_table(self._alive, settings) if settings.takes_turns else self._alive
            self._read[key] = _ReadMix(repeat_human(ranked, settings), settings)
        self._read.move_to_end(key)
        if len(self._read) > MOST_READ:
            self._read.popitem(last=False)
        return self._read[key]


class _ReadMix:
    """The documents as mixes with some settings see them, and the first histograms that all of these begin with."""

    def __init__(self, alive: pa.Table, settings: MixSettings):
        self.alive, self._settings = alive, settings
        self._documents: dict[bool, tuple[Reserved, AliveDocuments]] = {}
        self._first: dict[bool, tuple[Reserved, np.ndarray]] = {}

    def documents(self, reserved: Reserved, with_groups: bool) -> AliveDocuments:
        """`read_alive` with these reserved places, of the mix with its groups or of that without."""
        if with_groups not in self._documents or self._documents[with_groups][0] != reserved:
            settings = self._settings if with_groups else self._settings.without_groups if self._settings.groups else self._settings
            self._documents[with_groups] = reserved, read_alive(self.alive, settings, reserved)
        return self._documents[with_groups][1]

    def survey(self, request: Request, settings: MixSettings) -> list[np.ndarray]:
        """`survey_table` of all documents."""
        with_groups, reserved = bool(settings.groups), request.places
        if request.selection is not None or request.bins is not None or request.of_groups or request.lost is not None:
            return [survey_alive(self.documents(reserved, with_groups), request)]
        if with_groups not in self._first or self._first[with_groups][0] != reserved:
            self._first[with_groups] = reserved, survey_alive(self.documents(reserved, with_groups), request)
        return [self._first[with_groups][1]]
