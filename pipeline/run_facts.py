"""What a run knows of itself besides its documents: who asked for it, what was scored, what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from classifiers.detectors import CascadeWork
from transforms.count_unlabelled import UnlabelledScores
from transforms.records import ScoredShard

Counts = Sequence[tuple[tuple[str, str, str, str, str], tuple[int, int, int]]]


@dataclass(frozen=True)
class RunFacts:
    """What the command line knows of a run and its manifest should tell."""

    run_id: str
    """Names the run; two runs never share one."""
    mode: str
    """`curate`, `remix` or `plan`."""
    output: str
    """Where the dataset is published; empty for a plan."""
    started_at: str
    """UTC, ISO 8601."""
    command: tuple[str, ...]
    """The command line."""
    inputs: tuple[tuple[str, str, str], ...]
    """(name, pattern, declared origin or `by record`) of each input, or of the scored folder."""
    overwrite: bool
    """Whether a dataset already at `output` may be replaced."""
    decision_key: str = ""
    """Key of the decision files that the run leaves (see `pipeline.decided`)."""


@dataclass(frozen=True)
class RunCatalog:
    """All scored shards of a run, and the books of what was read: a few hundred bytes a shard."""

    shards: tuple[ScoredShard, ...]
    """Sorted by name; `index` is the place in this order."""
    books: tuple[tuple[tuple[str, str, str, str, str], int], ...]
    """((source, declared origin, "read" | "dead", stage, reason), records), sorted."""
    origin_conflicts: int
    """Documents of a human input whose own field said machine."""
    text_bytes: int
    """Bytes of text scored."""
    scored_by: str = "{}"
    """Scorers, versions and settings of all shards, as JSON."""
    cascade_work: CascadeWork | None = None
    """What the detector did, where it is a cascade."""
    unlabelled: tuple[UnlabelledScores, ...] = ()
    """The detector's scores of documents of unknown origin, by source."""
