"""`headwater diff RUN_A RUN_B`: which documents moved between two published runs, and why, by source and reason.

    headwater diff curated curated70
    headwater diff curated curated70 --json --moved moved.jsonl

Reads the columns `source`, `id`, `stage` and `reason` of `data/` and `rejected/` and the two manifests, never a text.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.errors import UsageError
from pipeline.standard_output import plain_console, printing
from transforms.compare_runs import ABSENT, FATE_SCHEMA, PART_DOCUMENTS, PUBLISHED, Move, compare_parts, spill_fates
from transforms.human_rows import COPY_FIELD
from transforms.storage import open_arrow, write_whole


def run_diff(parsed: Namespace) -> dict[str, Any]:
    """Compares the two runs, prints what moved, and returns it. Raises UsageError if a folder holds no run."""
    runs = (parsed.run_a, parsed.run_b)
    manifests = [_manifest(run) for run in runs]
    moves: Counter[Move] = Counter()
    num_parts = sum(_num_documents(run) for run in runs) // PART_DOCUMENTS + 1
    with tempfile.TemporaryDirectory(prefix="headwater-diff-") as folder, contextlib.ExitStack() as stack:
        for name, run in zip("ab", runs, strict=True):
            spill_fates(read_fates(run), folder, name, num_parts)
        file = stack.enter_context(write_whole(parsed.moved)) if parsed.moved else None
        for part in compare_parts(folder, ("a", "b"), num_parts):
            moves.update(part.moves)
            if file:
                for batch in part.moved.to_batches(1_000):
                    file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in batch.to_pylist())
    found = describe_diff(moves, manifests)
    with printing(f"the documents that moved are in {parsed.moved}" if parsed.moved else ""):
        if parsed.json:
            print(json.dumps(found, indent=2, ensure_ascii=False))
        else:
            print_diff(found, runs)
    return found


def read_fates(run: str) -> Iterator[pa.RecordBatch]:
    """Every document of a published run, as batches of `FATE_SCHEMA`, published ones first."""
    for path in _files(run, "data"):
        with open_arrow(path) as file:
            parquet = pq.ParquetFile(file)
            copies = [COPY_FIELD.name] if COPY_FIELD.name in parquet.schema_arrow.names else []
            for batch in parquet.iter_batches(columns=["source", "id", *copies]):
                # A document that is published several times is one document.
                batch = batch.filter(pc.equal(batch[COPY_FIELD.name], 0)) if copies else batch
                yield _batch(batch, pa.repeat(pa.scalar(PUBLISHED), batch.num_rows))
    for path in _files(run, "rejected"):
        with open_arrow(path) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=["source", "id", "stage", "reason"]):
                yield _batch(batch, pc.binary_join_element_wise(batch["stage"], batch["reason"], ": "))


def describe_diff(moves: Mapping[Move, int], manifests: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What moved, as nested dictionaries: the settings that differ, the totals, and every move with its documents, the largest first."""

    def total(holds: Any) -> int:
        return sum(count for move, count in moves.items() if holds(move))

    changed = sorted(((move, count) for move, count in moves.items() if move.was != move.now), key=lambda item: (-item[1], item[0]))
    return {
        "runs": [manifest["run"]["id"] for manifest in manifests],
        "settings": _settings_that_differ(*(manifest["recipe"] for manifest in manifests)),
        "published": [total(lambda move: move.was == PUBLISHED), total(lambda move: move.now == PUBLISHED)],
        "stayed": total(lambda move: move.was == move.now == PUBLISHED),
        "left": total(lambda move: move.was == PUBLISHED != move.now),
        "came": total(lambda move: move.was != PUBLISHED == move.now),
        "moves": [{"source": move.source, "was": move.was, "now": move.now, "documents": count} for move, count in changed],
    }


def print_diff(found: Mapping[str, Any], runs: tuple[str, str], console: Console | None = None) -> None:
    """Prints what `describe_diff` found."""
    console = console or plain_console(120)
    for one in found["settings"]:
        console.print(f"{one['key']}: {json.dumps(one['was'])} -> {json.dumps(one['now'])}", highlight=False, soft_wrap=True)
    (before, after), (name, other) = found["published"], runs
    console.print(
        f"{name} publishes {before:,} documents, {other} {after:,}: {found['stayed']:,} stayed, {found['left']:,} left, {found['came']:,} came.",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    if not found["moves"]:
        console.print("No document moved.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("source", "was", "is now"):
        table.add_column(title)
    table.add_column("documents", justify="right")
    for move in found["moves"]:
        table.add_row(move["source"], move["was"], move["now"], f"{move['documents']:,}")
    console.print(table)
    if any(ABSENT in (move["was"], move["now"]) for move in found["moves"]):
        console.print("absent: neither published nor rejected; that run did not read them, or could not.", style="dim")


def _settings_that_differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    flat = [dict(_flat_settings(recipe)) for recipe in (before, after)]
    keys = sorted(flat[0].keys() | flat[1].keys())
    pairs = ((key, flat[0].get(key), flat[1].get(key)) for key in keys)
    return [{"key": key, "was": was, "now": now} for key, was, now in pairs if was != now]


def _flat_settings(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(dotted key, value), groups of the mix key by key."""
    for section, table in recipe.items():
        for key, value in table.items():
            if (section, key) == ("mix", "groups"):
                yield from ((f"mix.groups.{name}.{inner}", one) for name, group in value.items() for inner, one in group.items())
            else:
                yield f"{section}.{key}", value


def _manifest(run: str) -> Mapping[str, Any]:
    try:
        with open(os.path.join(run, "manifest.json"), "rb") as file:
            found = json.load(file)
        return {"run": found["run"], "recipe": found["recipe"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{run}: holds no published run (no readable manifest.json); give the --output folder of curate or remix") from error


def _files(run: str, kind: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(run), kind, "*.parquet")))


def _num_documents(run: str) -> int:
    return sum(_num_rows(path) for kind in ("data", "rejected") for path in _files(run, kind))


def _num_rows(path: str) -> int:
    with open_arrow(path) as file:
        return pq.read_metadata(file).num_rows


def _batch(batch: pa.RecordBatch, fates: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch["source"].cast(pa.string()), batch["id"].cast(pa.string()), fates], schema=FATE_SCHEMA)
