"""The flags of `headwater ledger`."""

from __future__ import annotations

import argparse
from typing import Any


def add_ledger_commands(subparsers: Any) -> None:
    """Adds `ledger` and its commands to the parser's commands; `pipeline.ledger_commands.run_ledger_command` runs what was parsed."""
    ledger = subparsers.add_parser("ledger", help="what earlier cycles were given: show, trace, withdraw, verify, compact", allow_abbrev=False)
    commands = ledger.add_subparsers(dest="ledger_command", metavar="COMMAND", required=True)

    def add(name: str, what: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        command.add_argument("ledger", metavar="DIR_OR_URL", help="the ledger, as runs were given it with --ledger")
        command.add_argument("--json", action="store_true", help="print JSON instead of text")
        return command

    add("show", "what each cycle was given")
    trace = add("trace", "every cycle, run and shard that a text or its near-duplicates reached, and its ancestry")
    trace.add_argument("document", metavar="ID_OR_TEXT_FILE", help="id of a published document, or path of a file that holds a text")
    trace.add_argument("--min_similarity", type=float, default=0.7, metavar="X", help="similarity (0..1) of a near-duplicate (default: 0.7)")
    trace.add_argument("--recipe", metavar="FILE", help="recipe of the ledger's runs, where their [score] is not the default")
    marked = add("withdraw", "mark documents as withdrawn: their texts are not published again")
    marked.add_argument("--ids", metavar="FILE", required=True, help="file with one id a line")
    checked = add("verify", "compare the ledger with the published shards")
    checked.add_argument("--output", action="append", metavar="DIR", help="dataset to check; repeatable (default: all that the ledger knows)")
    add("compact", "join the ledger's small files").add_argument(
        "--min_age_hours", type=float, default=168, metavar="N", help="hours for which files that are no longer named are kept (default: 168)"
    )
    add("release", "end the claim of a run that died on an object store").add_argument("--run_id", metavar="ID", required=True, help="the run")
