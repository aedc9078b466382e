"""What the ledger's log and folder remember beside its rows: which run published what, the figures of each cycle, and the human reference."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classifiers.diversity import TailReference
from pipeline.ledger import open_table, place, read_ledger
from transforms.ledger_storage import read_ledger_bytes, write_ledger_whole

REFERENCE = "_headwater/reference.npz"
"""Tail of the human vocabulary of the first cycle that had enough human text: fixed from then on."""


@dataclass(frozen=True)
class PublishedRun:
    """One commit of a run's rows."""

    run_id: str
    """Names the run."""
    cycle: str
    """The cycle that it published for."""
    output: str
    """Where."""
    rows: int
    """Documents."""
    version: int
    """Version of the ledger that holds it first."""
    ignored: tuple[str, ...] = ()
    """Runs whose dataset it replaced."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Those of its cycle report."""


def published_runs(url: str) -> list[PublishedRun]:
    """Every run that is committed, the oldest first. Empty where there is no ledger; its log holds the commits of a year."""
    if read_ledger(url).version < 0:
        return []
    return runs_of(open_table(url))


def runs_of(table: Any) -> list[PublishedRun]:
    """`published_runs` of an open table."""
    found = []
    for commit in reversed(table.history()):
        about = commit.get("headwater") or {}
        if about.get("event") == "publish":
            named = (about["run"], about["cycle"], about["output"], about["rows"], commit["version"])
            found.append(PublishedRun(*named, tuple(about["ignored"]), dict(about["figures"])))
    return found


def earlier_figures(url: str, ignored_runs: tuple[str, ...] = ()) -> list[tuple[str, Mapping[str, float]]]:
    """(cycle, figures) of each run that reported, the oldest first: what alarms compare to. Runs that are being replaced do not count."""
    return [(run.cycle, run.figures) for run in published_runs(url) if run.figures and run.run_id not in ignored_runs]


def replaced_runs(url: str, run_id: str | None) -> tuple[str, ...]:
    """`run_id` and all that it replaced, directly or not: what does not count when its dataset is replaced. Empty for None or a run not in the ledger."""
    held = {run.run_id: run for run in published_runs(url)} if run_id else {}
    return tuple(dict.fromkeys((run_id, *held[run_id].ignored))) if run_id in held else ()


def load_reference(url: str) -> TailReference | None:
    """The human reference of the ledger; None while there is none. Raises ValueError if its file is damaged."""
    try:
        held = np.load(io.BytesIO(read_ledger_bytes(place(url), REFERENCE)), allow_pickle=False)
        return TailReference(held["words"], float(held["types_per_group"]))
    except FileNotFoundError:
        return None
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{REFERENCE} in {place(url)}: is no reference ({error}); restore the file, or delete it to take a new reference from the next cycle"
        ) from error


def keep_reference(url: str, reference: TailReference | None) -> None:
    """Makes `reference` that of the ledger unless it has one, or `reference` is None."""
    if reference is None or load_reference(url) is not None:
        return
    packed = io.BytesIO()
    np.savez_compressed(packed, words=reference.words, types_per_group=np.float64(reference.types_per_group))
    with write_ledger_whole(place(url), REFERENCE) as file:
        file.write(packed.getvalue())
