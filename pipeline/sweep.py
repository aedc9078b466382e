"""`headwater plan --sweep`: what each of many settings would publish, as a table.

    headwater plan --scored DIR --sweep human_quota=0.3:0.9:0.1 --sweep max_documents=1000,2000

Decisions are read once for all settings that differ only in the mix. Settings that decide earlier (thresholds, rules, duplicates) are
decided anew, once for each such setting.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import itertools
import json
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from classifiers.diversity import Figure
from pipeline.errors import UsageError
from pipeline.recipe import default_tables
from pipeline.recipe_flags import recipe_flags
from pipeline.standard_output import plain_console
from transforms.storage import write_whole
from transforms.sweep_mix import MixFigures

MOST_SETTINGS = 1_000
"""Settings of one sweep, at most: a table longer than that is nobody's to read."""
BAR_CHARS = 12
"""Length of the longest bar."""
FIGURES = {
    "documents": "documents",
    "tokens": "tokens",
    "human_share": "human share",
    "mean_quality": "mean quality",
    "effective_sources": "sources",
    "compression_ratio": "compression",
    "distinct_2": "distinct 2",
    "self_repetition": "repetition",
}
"""What a setting yields, each with its title in the table."""
_SOURCE = "source:"
_MOST_DIGITS = 30
"""Before or behind the point of a number of a range."""
EXPLANATION = (
    "sources: how many equally large ones would be as mixed. Variety, on up to 2,048 excerpts of equal length: compression (bytes over compressed bytes) "
    "and repetition (4-grams shared with other texts) rise, distinct 2 (different word pairs) falls, as text repeats itself."
)


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
    diversity: Mapping[str, Figure]
    """How varied its text is (`transforms.sample_texts.DIVERSITY`); empty where it has too little."""

    def value_of(self, name: str) -> float | None:
        """One of `FIGURES`; None where there is none."""
        plan, selected = self.figures.plan, self.figures.plan.selected
        if name in self.diversity:
            return self.diversity[name].value
        if name == "human_share":
            return float(plan.human_share) if selected.documents else None
        return getattr(self.figures, name) if name in ("mean_quality", "effective_sources") else getattr(selected, name, None)


def parse_sweep(text: str) -> Sweep:
    """`KEY=FROM:TO:STEP` (both ends included) or `KEY=A,B,...`; KEY is a flag without its dashes, or a key of the recipe. Raises UsageError."""
    shown, equals, given = text.partition("=")
    shown = shown.strip()
    if not shown or not equals or not given.strip():
        raise UsageError(f"--sweep={text}: must be KEY=FROM:TO:STEP or KEY=A,B,..., such as human_quota=0.3:0.9:0.1")
    key = _key_of(text, shown)
    parts = given.split(":")
    values = _range(text, parts) if len(parts) == 3 and "/" not in given else tuple(value.strip() for value in given.split(","))
    if not all(values) or len(set(values)) < len(values):
        raise UsageError(f"--sweep={text}: has an empty value or one twice; give values that differ, with commas")
    return Sweep(key, shown, values)


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
    console = console or plain_console(160)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for sweep in sweeps:
        table.add_column(sweep.shown, justify="right")
    for name in FIGURES:
        table.add_column(FIGURES[name], justify="right")
    sources = _sources_that_fit(sweeps, rows, console.width)
    for name in sources:
        table.add_column(name, justify="right")
    table.add_column("", no_wrap=True)
    most = max((row.figures.plan.selected.documents for row in rows), default=0)
    for row in rows:
        figures, counts = row.figures, dict(row.figures.sources)
        selected = figures.plan.selected
        bar = "█" * round(BAR_CHARS * selected.documents / most) if most else ""
        told = (*(_shown(row.value_of(name)) for name in FIGURES), *(f"{counts.get(name, 0):,}" for name in sources))
        table.add_row(*row.values, *told, ("short " if figures.plan.shortages else "") + bar, style="dim" if figures.plan.shortages else "")
    console.print(table)
    if rows and len(sources) < len(rows[0].figures.sources):
        console.print("Documents of each source: --sweep_output FILE.csv", style="dim")
    console.print(EXPLANATION, style="dim", highlight=False, soft_wrap=True)
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
        # What one setting has and another has not: no documents of that source, but no figure of variety.
        names = dict.fromkeys(name for record in flat for name in record)
        absent = {name: 0 if name.startswith(_SOURCE) else "" for name in names}
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(absent | record for record in flat)
        file.write(text.getvalue().encode())


def check_output(flag: str, path: str | None, endings: tuple[str, ...]) -> None:
    """Raises UsageError if nothing can be written to the `path` given by `flag`."""
    if path is None:
        return
    if not path.endswith(endings):
        raise UsageError(f"--{flag}={path}: must end in {' or '.join(endings)}, which says the form")
    with contextlib.suppress(ValueError):
        if "://" not in path and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise UsageError(f"--{flag}={path}: its folder does not exist; make it first")


def _key_of(text: str, shown: str) -> str:
    """The recipe key of a flag without its dashes, or the key itself."""
    flags = {flag.flag: flag.key for flag in recipe_flags()}
    key = flags.get(shown, shown)
    if "." not in key:
        keys = [f"{section}.{name}" for section, table in default_tables().items() for name in table if section != "rules"]
        close = difflib.get_close_matches(shown, [*flags, *keys], 1)
        hint = f"did you mean {close[0]!r}?" if close else "give a flag without its dashes, or a key such as mix.human_quota"
        raise UsageError(f"--sweep={text}: {shown!r} is no flag and no key of the recipe; {hint}")
    if key.startswith(("read.", "score.")):
        raise UsageError(f"--sweep={text}: {key} takes effect where text is read and scored; score again with `headwater curate` for each value")
    return key


def _sources_that_fit(sweeps: Sequence[Sweep], rows: Sequence[SweepRow], width: int) -> list[str]:
    """The sources, if a column for each fits beside the rest; else none."""
    sources = [name for name, _ in rows[0].figures.sources] if rows else []
    columns = [max(len(text) for text in (sweep.shown, *sweep.values)) for sweep in sweeps]
    columns += [max(len(text) for text in (title, *(_shown(row.value_of(name)) for row in rows))) for name, title in FIGURES.items()]
    columns += [max(len(name), 7) for name in sources]
    return sources if sum(columns) + 2 * len(columns) + BAR_CHARS <= width else []


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if value < 10 else f"{value:.2f}"


def _range(text: str, parts: Iterable[str]) -> tuple[str, ...]:
    try:
        first, last, step = numbers = [Decimal(part.strip()) for part in parts]
        # Written out, as settings are, a larger one would fill the memory.
        if any(abs(number.adjusted()) > _MOST_DIGITS for number in numbers):
            raise ValueError(f"more than {_MOST_DIGITS} digits")
        # Raises InvalidOperation for NaN and infinity as well.
        count = int((last - first) / step) + 1
    except (ArithmeticError, ValueError) as error:
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
        "human_share": row.value_of("human_share"),
        "mean_quality": row.figures.mean_quality,
        "effective_sources": row.figures.effective_sources,
        "diversity": {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in row.diversity.items()},
        "num_shards": plan.num_shards,
        "sources": dict(row.figures.sources),
        "shortages": list(plan.shortages),
    }


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat = {**record["settings"], **{name: value for name, value in record.items() if name not in ("settings", "diversity", "sources", "shortages")}}
    flat |= {name if end == "value" else f"{name}.{end}": held for name, one in record["diversity"].items() for end, held in one.items()}
    return flat | {f"{_SOURCE}{name}": count for name, count in record["sources"].items()} | {"shortages": "; ".join(record["shortages"])}
