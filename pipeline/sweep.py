"""`headwater plan --sweep`: what each of many settings would publish, as a table.

    headwater plan --scored DIR --sweep human_quota=0.3:0.9:0.1 --sweep max_documents=1000,2000

Decisions are read once for all settings that differ only in the mix. Settings that decide earlier (thresholds, rules, duplicates) are
decided anew, once for each such setting.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import UsageError
from pipeline.recipe_flags import recipe_flags
from transforms.storage import write_whole
from transforms.sweep_mix import MixFigures

MOST_SETTINGS = 1_000
"""Settings of one sweep, at most: a table longer than that is nobody's to read."""
BAR_CHARS = 20
"""Length of the longest bar."""


@dataclass(frozen=True)
class Sweep:
    """One key and the values that it takes in turn."""

    key: str
    """Dotted key of the recipe."""
    shown: str
    """As the user named it."""
    values: tuple[str, ...]
    """As `--set` would be given them."""


@dataclass(frozen=True)
class SweepRow:
    """What one setting yields."""

    values: tuple[str, ...]
    """One for each sweep."""
    figures: MixFigures
    """The mix."""


def parse_sweep(text: str) -> Sweep:
    """`KEY=FROM:TO:STEP` (both ends included) or `KEY=A,B,...`; KEY is a flag without its dashes, or a key of the recipe. Raises UsageError."""
    shown, equals, given = text.partition("=")
    shown = shown.strip()
    if not shown or not equals or not given.strip():
        raise UsageError(f"--sweep={text}: must be KEY=FROM:TO:STEP or KEY=A,B,..., such as human_quota=0.3:0.9:0.1")
    flags = {flag.flag: flag.key for flag in recipe_flags()}
    parts = given.split(":")
    values = _range(text, parts) if len(parts) == 3 and "/" not in given else tuple(value.strip() for value in given.split(","))
    if not all(values) or len(set(values)) < len(values):
        raise UsageError(f"--sweep={text}: has an empty value or one twice; give values that differ, with commas")
    return Sweep(flags.get(shown, shown), shown, values)


def combinations(sweeps: Sequence[Sweep]) -> list[tuple[str, ...]]:
    """Every combination of values, the last key's fastest. Raises UsageError for too many, and for a key named twice."""
    keys = [sweep.key for sweep in sweeps]
    if len(set(keys)) < len(keys):
        raise UsageError("--sweep: names a key twice; give all its values at once, such as human_quota=0.3,0.5")
    count = 1
    for sweep in sweeps:
        count *= len(sweep.values)
    if count > MOST_SETTINGS:
        raise UsageError(f"--sweep: asks for {count:,} settings, more than {MOST_SETTINGS:,}; give fewer values")
    return list(itertools.product(*(sweep.values for sweep in sweeps)))


def with_values(parsed: Namespace, sweeps: Sequence[Sweep], values: Sequence[str]) -> Namespace:
    """The command line as if these values had been given with `--set`."""
    given = [f"{sweep.key}={value}" for sweep, value in zip(sweeps, values, strict=True)]
    return Namespace(**{**vars(parsed), "set": [*(parsed.set or ()), *given]})


def print_sweep(sweeps: Sequence[Sweep], rows: Sequence[SweepRow], console: Console | None = None) -> None:
    """Prints the table: one line a setting, with a bar of its documents; settings that a run would refuse say so below."""
    console = console or Console(width=None if Console().is_terminal else 160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for sweep in sweeps:
        table.add_column(sweep.shown, justify="right")
    for name in ("documents", "tokens", "human share", "mean quality"):
        table.add_column(name, justify="right")
    sources = sorted({name for row in rows for name, _ in row.figures.sources})
    for name in sources:
        table.add_column(name, justify="right")
    table.add_column("")
    most = max((row.figures.plan.selected.documents for row in rows), default=0)
    for row in rows:
        figures, counts = row.figures, dict(row.figures.sources)
        selected = figures.plan.selected
        bar = "█" * round(BAR_CHARS * selected.documents / most) if most else ""
        quality = "" if figures.mean_quality is None else f"{figures.mean_quality:.4f}"
        share = f"{float(figures.plan.human_share):.4f}" if selected.documents else ""
        sizes = (f"{selected.documents:,}", f"{selected.tokens:,}", share, quality, *(f"{counts.get(name, 0):,}" for name in sources))
        table.add_row(*row.values, *sizes, bar + (" short" if figures.plan.shortages else ""), style="dim" if figures.plan.shortages else "")
    console.print(table)
    for row in rows:
        for sentence in row.figures.plan.shortages:
            named = ", ".join(f"{sweep.shown}={value}" for sweep, value in zip(sweeps, row.values, strict=True))
            console.print(f"{named}: short: {sentence}", highlight=False, soft_wrap=True)


def write_sweep(path: str, sweeps: Sequence[Sweep], rows: Sequence[SweepRow]) -> None:
    """Writes the rows to `path`, as CSV or JSON by its name."""
    records = [_record(sweeps, row) for row in rows]
    with write_whole(path) as file:
        if path.endswith(".json"):
            file.write(json.dumps(records, indent=2, ensure_ascii=False).encode() + b"\n")
            return
        flat = [_flat(record) for record in records]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(dict.fromkeys(name for record in flat for name in record)), restval=0, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        file.write(text.getvalue().encode())


def check_output(path: str | None) -> None:
    """Raises UsageError if no table can be written to `path`."""
    if path is None:
        return
    if not path.endswith((".csv", ".json")):
        raise UsageError(f"--sweep_output={path}: must end in .csv or .json, which says the form")
    with contextlib.suppress(ValueError):
        if "://" not in path and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise UsageError(f"--sweep_output={path}: its folder does not exist; make it first")


def _range(text: str, parts: Iterable[str]) -> tuple[str, ...]:
    try:
        first, last, step = (Decimal(part.strip()) for part in parts)
        # Raises InvalidOperation for NaN and infinity as well.
        count = int((last - first) / step) + 1
    except (InvalidOperation, ZeroDivisionError, OverflowError, ValueError) as error:
        raise UsageError(f"--sweep={text}: FROM:TO:STEP must be three numbers with a step other than 0, such as 0.3:0.9:0.1") from error
    if count < 1 or (last - first) / step < 0 or count > MOST_SETTINGS:
        raise UsageError(f"--sweep={text}: has no values or more than {MOST_SETTINGS:,}; FROM:TO:STEP must lead from FROM to TO")
    return tuple(f"{first + step * number:f}" for number in range(count))


def _record(sweeps: Sequence[Sweep], row: SweepRow) -> dict[str, Any]:
    plan = row.figures.plan
    return {
        "settings": {sweep.key: value for sweep, value in zip(sweeps, row.values, strict=True)},
        "documents": plan.selected.documents,
        "tokens": plan.selected.tokens,
        "bytes": plan.selected.bytes,
        "human_share": float(plan.human_share) if plan.selected.documents else None,
        "mean_quality": row.figures.mean_quality,
        "num_shards": plan.num_shards,
        "sources": dict(row.figures.sources),
        "shortages": list(plan.shortages),
    }


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat = {**record["settings"], **{name: value for name, value in record.items() if name not in ("settings", "sources", "shortages")}}
    return flat | {f"source:{name}": count for name, count in record["sources"].items()} | {"shortages": "; ".join(record["shortages"])}
