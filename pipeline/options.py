"""Every command and flag of the command line, and what was given with them.

Flags that decide what is published are keys of the recipe under another name (`pipeline.recipe_flags`). Whatever Headwater does not know goes to
Beam, if Beam knows it; a flag that nobody knows is an error that names the nearest one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from pipeline.errors import UsageError
from pipeline.flag_groups import (
    INPUT_FLAGS,
    add_detector,
    add_fields,
    add_inputs,
    add_output,
    add_recipe,
    add_recipe_flags,
    add_running,
    add_sweep,
)
from pipeline.ledger_flags import add_ledger_commands
from transforms.inputs import FIELD_ALIASES, FieldNames, InputError, InputSpec, parse_input


def make_parser() -> argparse.ArgumentParser:
    """The parser of `headwater`."""
    parser = argparse.ArgumentParser(
        prog="headwater",
        description="Curates training text: finds AI-written text, drops faults and duplicates, and guarantees a quota of human text.",
        epilog="Exit codes: 0 done; 1 stopped by a fault of the machine; 2 usage or recipe; 3 too many unreadable records; 4 quota unmet; "
        "5 books do not balance; 6 an alarm tripped; 7 another run published to the ledger meanwhile.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, usage: str, what: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=what, description=what, usage=f"headwater {name} {usage}", allow_abbrev=False)

    curate = add("curate", "--human NAME=GLOB --synthetic NAME=GLOB ... --output DIR [OPTIONS]", "score, decide and publish")
    remix = add("remix", "--scored DIR --output DIR [OPTIONS]", "decide and publish again from the scores of an earlier run")
    plan = add("plan", "--scored DIR [--sweep KEY=VALUES ...] [OPTIONS]", "what a mix would be; writes nothing")
    _add_diff(commands)
    _add_explore(add("explore", "SCORED_DIR [OPTIONS]", "try mixes out on a local page, from the scores of an earlier run"))
    demo = add("demo", "[--output DIR] [OPTIONS]", "curate text that comes with Python and with Headwater")
    demo.set_defaults(overwrite=True, **dict.fromkeys(INPUT_FLAGS), **{f"{role}_field": None for role in FIELD_ALIASES})

    add_inputs(curate, required=True)
    remix.add_argument("--scored", metavar="DIR", required=True, help="the scored/ folder of an earlier run")
    plan.add_argument("--scored", metavar="DIR", help="the scored/ folder of an earlier run; or give inputs, which are scored first")
    add_sweep(plan)
    add_inputs(plan, required=False)
    for command in (curate, remix):
        add_output(command)
    demo.add_argument(
        "--output", metavar="DIR", default="demo_out", help="where the dataset is published (default: demo_out; replaced if it is there)"
    )
    for command in (curate, remix, plan, demo):
        add_recipe_flags(command, with_scores=command is not remix, with_ledger=command is not demo)
        if command in (curate, plan):
            add_fields(command)
        if command is not remix:
            add_detector(command)
        add_recipe(command)
        add_running(command)
    add_ledger_commands(commands)
    return parser


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; `beam` holds what is left for Beam. Raises UsageError, or SystemExit(2) with a message."""
    parsed, rest = make_parser().parse_known_args(arguments)
    if rest:
        # Brings Beam along, which a command without Beam's flags may not need.
        from pipeline.beam_flags import check_beam_flags

        check_beam_flags(rest, parsed)
    parsed.beam = rest
    if parsed.command == "plan" and parsed.scored and any(getattr(parsed, flag) for flag in INPUT_FLAGS):
        raise UsageError("--scored: plan starts from scored shards or from inputs, not from both; leave one of them out")
    return parsed


def inputs_of(parsed: argparse.Namespace) -> list[InputSpec]:
    """The inputs named on the command line. Raises UsageError for a bad or repeated name."""
    inputs: dict[str, InputSpec] = {}
    for flag, (origin, _) in INPUT_FLAGS.items():
        for argument in getattr(parsed, flag) or ():
            try:
                spec = parse_input(argument, origin)
            except InputError as error:
                raise UsageError(f"--{flag}={argument}: {error}") from error
            if spec.name in inputs:
                raise UsageError(f"--{flag}={argument}: two inputs are named {spec.name!r}; every input needs a name of its own")
            inputs[spec.name] = spec
    if not inputs:
        raise UsageError("no input; give at least one of " + ", ".join(f"--{flag} NAME=GLOB" for flag in INPUT_FLAGS))
    return list(inputs.values())


def fields_of(parsed: argparse.Namespace) -> FieldNames:
    """The field names given on the command line. Raises UsageError."""
    try:
        return FieldNames(**{role: getattr(parsed, f"{role}_field") for role in FIELD_ALIASES})
    except InputError as error:
        raise UsageError(str(error)) from error


def _add_explore(explore: argparse.ArgumentParser) -> None:
    explore.add_argument("scored_dir", metavar="SCORED_DIR", help="the output folder of an earlier run, or its scored/ folder")
    explore.add_argument("--port", type=int, default=8765, metavar="N", help="port of the loopback address; 0 = any that is free (default: 8765)")
    explore.add_argument("--no_browser", action="store_true", help="print the address and open no browser")
    add_recipe(explore)


def _add_diff(commands: Any) -> None:
    diff = commands.add_parser("diff", help="which documents moved between two published runs, and why", allow_abbrev=False)
    diff.add_argument("run_a", metavar="RUN_A", help="output folder of curate or remix")
    diff.add_argument("run_b", metavar="RUN_B", help="output folder of another run")
    diff.add_argument("--json", action="store_true", help="print JSON instead of a table")
    diff.add_argument("--moved", metavar="FILE", help="write every document that moved there, one JSON object a line")
