"""Flags that go to Beam: which there are, and the options that they make."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.beam_costs import ViewedOnce
from pipeline.errors import UsageError
from pipeline.recipe_flags import recipe_flags


def beam_options(parsed: argparse.Namespace) -> PipelineOptions:
    """Options for Beam: the runner, and whatever else was given for it."""
    return ViewedOnce([f"--runner={parsed.runner}", *parsed.beam])


def check_beam_flags(rest: Sequence[str], parsed: argparse.Namespace) -> None:
    """Raises UsageError, naming the nearest flag there is, for what neither Headwater nor Beam knows."""
    known = _beam_flags()
    ours = {name for name in vars(parsed) if name not in ("command", "beam")}
    for argument in rest:
        if not argument.startswith("-") or argument[1:2].isdigit():
            continue
        dashes = "--" if argument.startswith("--") else "-"
        name = argument.removeprefix(dashes).partition("=")[0]
        if dashes == "--" and (name in known or name.removeprefix("no_") in known):
            continue
        if dashes == "--" and parsed.command == "remix" and name in {flag.flag for flag in recipe_flags() if flag.needs_scoring}:
            raise UsageError(f"--{name}: no such flag of remix, since it takes effect where text is scored; score again with `headwater curate`")
        close = difflib.get_close_matches(name, sorted(ours | known), 1)
        hint = f"; did you mean --{close[0]}?" if close else f"; `headwater {parsed.command} --help` lists those there are"
        raise UsageError(f"{dashes}{name}: no such flag{hint}")
    stray = [argument for index, argument in enumerate(rest) if not argument.startswith("-") and (index == 0 or not rest[index - 1].startswith("-"))]
    if stray:
        raise UsageError(f"{stray[0]!r}: not a flag; inputs are given as --human NAME=GLOB, --synthetic NAME=GLOB, --unlabelled NAME=GLOB")


def _beam_flags() -> set[str]:
    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in vars(options):
            options._add_argparse_args(parser)
    return {option[2:] for action in parser._actions for option in action.option_strings if option.startswith("--")}
