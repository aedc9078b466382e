"""`headwater ledger show | trace | withdraw | verify | compact | release`: what is run and what is printed."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from pipeline.errors import BooksDoNotBalance, UsageError
from pipeline.ledger_commit import release
from pipeline.ledger_queries import show_ledger, trace_id, trace_text
from pipeline.ledger_upkeep import compact_ledger, verify_ledger, withdraw
from pipeline.standard_output import printing
from transforms.ledger_files import WITHDRAWN

_DONE = {
    "withdraw": "the documents are withdrawn; to repeat it changes nothing, and prints what holds them",
    "compact": "the ledger is compacted",
    "release": "the run was brought to an end",
}
"""What stands of a command whose result could not be printed."""


def run_ledger_command(parsed: argparse.Namespace) -> Any:
    """Runs one command of `headwater ledger`, prints its result and returns it. Raises UsageError, BooksDoNotBalance or LedgerConflict."""
    result = _run(parsed)
    with printing(_DONE.get(parsed.ledger_command, "")):
        print(json.dumps(result, indent=2, ensure_ascii=False) if parsed.json else "\n".join(_lines(parsed.ledger_command, result)))
    if parsed.ledger_command == "verify" and result["faults"]:
        raise BooksDoNotBalance(f"{parsed.ledger}: ledger and published shards do not agree in {len(result['faults']):,} places")
    return result


def _run(parsed: argparse.Namespace) -> Any:
    match parsed.ledger_command:
        case "show":
            return show_ledger(parsed.ledger)
        case "trace":
            if not 0 < parsed.min_similarity <= 1:
                raise UsageError(f"--min_similarity={parsed.min_similarity:g}: must lie in 0 (exclusive) to 1")
            if os.path.isfile(parsed.document):
                from pipeline.recipe import load_recipe

                return trace_text(parsed.ledger, _read_text(parsed.document), parsed.min_similarity, load_recipe(parsed.recipe).score)
            return trace_id(parsed.ledger, parsed.document, parsed.min_similarity)
        case "withdraw":
            return withdraw(parsed.ledger, [line.strip() for line in _read_text(parsed.ids).splitlines() if line.strip()])
        case "verify":
            return {"faults": verify_ledger(parsed.ledger, parsed.output or ())}
        case "compact":
            if parsed.min_age_hours < 0:
                raise UsageError(f"--min_age_hours={parsed.min_age_hours:g}: must be at least 0")
            return compact_ledger(parsed.ledger, min_age_hours=parsed.min_age_hours)
        case _:
            return {"released": release(parsed.ledger, parsed.run_id)}


def _lines(command: str, result: dict[str, Any]) -> list[str]:
    if command == "show":
        lines = [f"{result['ledger']}: {result['documents']:,} documents, {result['withdrawn']:,} withdrawn, {result['files']:,} files"]
        for held in result["cycles"]:
            lines.append(f"  {held['cycle']}: {held['documents']:,} documents in {len(held['run_ids'])} runs")
            lines += [
                f"    {title}: " + ", ".join(f"{name} {count:,}" for name, count in held[title].items())
                for title in ("origins", "sources", "generators")
            ]
        return lines
    if command == "trace":
        lines = [_publication(row) for row in result["publications"]] or ["no publication"]
        return lines + [f"  parent: {_publication(row)}" for row in result["ancestry"]]
    if command == "withdraw":
        lines = [f"{result['withdrawn']:,} withdrawn, {result['already']:,} were already, {len(result['unknown']):,} unknown"]
        lines += [f"  {row['documents']:,} in {row['output'] or row['run']}/{row['shard']} (cycle {row['cycle']})" for row in result["reached"]]
        return lines + [f"  unknown: {name}" for name in result["unknown"]]
    if command == "verify":
        return result["faults"] or ["ledger and published shards agree"]
    if command == "compact":
        return [f"{result['files_before']:,} files became {result['files_after']:,}; {result['files_deleted']:,} old ones were deleted"]
    return [result["released"]]


def _publication(row: dict[str, Any]) -> str:
    similarity = f", similarity {row['similarity']:.2f}" if row.get("similarity") is not None else ""
    generation = "" if row["generation"] is None else f", generation {row['generation']}"
    mark = ", withdrawn" if row["kind"] == WITHDRAWN else ""
    return (
        f"{row['id']} ({row['origin']} of {row['source']}{generation}{similarity}{mark}): cycle {row['cycle']}, run {row['run_id']}, {row['shard']}"
    )


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a text file in UTF-8") from error
