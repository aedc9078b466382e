"""What a run needs of the ledger: fixed before it starts, carried to wherever its steps run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from classifiers.diversity import TailReference
from pipeline.alarms import Alarm, check_cycles
from pipeline.errors import UsageError
from pipeline.ledger import Snapshot, open_ledger, read_ledger
from pipeline.ledger_commit import recover
from pipeline.ledger_history import earlier_figures, load_reference, replaced_runs
from pipeline.ledger_queries import keys_of
from pipeline.ledger_records import PendingRun
from pipeline.recipe import Recipe
from transforms.find_earlier import LedgerReading
from transforms.find_parents import NO_LINEAGE, Lineage
from transforms.ledger_files import HUMAN, SYNTHETIC, WITHDRAWN, LedgerFile
from transforms.list_published import CountKey, PublishedRun
from transforms.memory_settings import MemorySettings
from transforms.records import ORIGIN_CODES
from transforms.remember_shard import HUMAN_ORIGINS, OTHER_ORIGINS


@dataclass(frozen=True, eq=False)
class LedgerJob:
    """The ledger as a run found it, and what the run may do with it."""

    snapshot: Snapshot
    """The version that the run is decided by."""
    cycle: str
    """The training cycle that it publishes for."""
    memory: MemorySettings
    """What may be published again."""
    min_similarity: float
    """Estimated Jaccard similarity of a near-duplicate."""
    alarms: tuple[Alarm, ...] = ()
    """What stops the run before it publishes."""
    earlier: tuple[tuple[str, Mapping[str, float]], ...] = ()
    """Figures of earlier cycles, the oldest first."""
    reference: TailReference | None = None
    """Human vocabulary that cycles are compared with; None: this run's own becomes it."""
    ignored_runs: tuple[str, ...] = ()
    """Runs whose dataset this one replaces: what they published does not count as used."""

    @property
    def url(self) -> str:
        """Where the ledger lies."""
        return self.snapshot.url

    def lookups(self) -> dict[str, tuple[LedgerReading, tuple[int, ...]]]:
        """Each question to the ledger by name: what is read, and for documents of which origins. None where it holds no rows of the kind."""
        asked = {"reused": (SYNTHETIC, OTHER_ORIGINS), "published": (HUMAN, HUMAN_ORIGINS), "withdrawn": (WITHDRAWN, tuple(ORIGIN_CODES.values()))}
        readings = {name: (self.snapshot.reading([kind], self.ignored_runs), origins) for name, (kind, origins) in asked.items()}
        return {name: held for name, held in readings.items() if held[0].files}

    def parent_files(self) -> tuple[LedgerFile, ...]:
        """Where parents are looked up: all publications."""
        return self.snapshot.of_kinds([HUMAN, SYNTHETIC])

    def published_run(self, run_id: str, published_at: str, recipe: Recipe) -> PublishedRun:
        """What all rows of the run share."""
        return PublishedRun(self.cycle, run_id, published_at, recipe.score.bands)

    def pending(self, run_id: str, output: str, files: Sequence[LedgerFile], host: str, claimed_at: str, figures: Mapping[str, float]) -> PendingRun:
        """The run as the ledger remembers it while it publishes."""
        return PendingRun(
            run_id, self.cycle, output, self.snapshot.version, tuple(files), self.min_similarity, self.ignored_runs, host, claimed_at, figures
        )


@dataclass(frozen=True, eq=False)
class LedgerRun:
    """What the steps of a run made for the ledger."""

    files: tuple[LedgerFile, ...] = ()
    """Rows of all that it publishes, written to the ledger's folder and not yet committed."""
    counts: Mapping[CountKey, tuple[int, int, int]] = field(default_factory=dict)
    """Documents, tokens and bytes that it publishes."""
    lineage: Lineage = NO_LINEAGE
    """What came of documents that name parents."""


def prepare_ledger(
    url: str, cycle: str, recipe: Recipe, alarms: Sequence[Alarm], *, replaced_run: str | None = None, write: bool = True
) -> LedgerJob:
    """Opens the ledger for a run, made if there is none (unless nothing will be written), and brings dead runs to their end. Raises UsageError.

    `replaced_run` is the run whose dataset this one will replace.
    """
    if "signature" not in recipe.score.scorers:
        raise UsageError("--ledger: recognises texts by their signatures; add 'signature' to score.scorers")
    if not cycle.strip():
        raise UsageError("--ledger: give the name of the training cycle with --cycle NAME")
    keys = keys_of(recipe.score)
    if write:
        snapshot = open_ledger(url, keys)
        if recover(url):
            snapshot = open_ledger(url, keys)
    else:
        snapshot = read_ledger(url)
        if snapshot.keys not in (None, keys):
            open_ledger(url, keys)
    ignored = replaced_runs(url, replaced_run)
    earlier = tuple(earlier_figures(url, ignored))
    check_cycles(alarms, [name for name, _ in earlier])
    try:
        reference = load_reference(url)
    except ValueError as error:
        raise UsageError(f"--ledger={url}: {error}") from error
    return LedgerJob(snapshot, cycle, recipe.ledger.memory, recipe.dedup.min_similarity, tuple(alarms), earlier, reference, ignored)
