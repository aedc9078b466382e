"""docs/detector-commands.md lists every flag of `python -m classifiers` with the commands that take it, and the lines that predict writes."""

import argparse
import re
from pathlib import Path

import pytest

from classifiers.__main__ import _make_parser
from classifiers.labelled_text import parse_record
from classifiers.predict import ON_MALFORMED

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "detector-commands.md").read_text("utf-8")


def commands():
    (found,) = [action for action in _make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def test_every_flag_is_documented_with_the_commands_that_take_it():
    flags: dict[str, set[str]] = {}
    for command, parser in commands().items():
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    flags.setdefault(option, set()).add(command)
    rows = re.findall(r"^\| `(--\w+)` \| ([\w, -]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert {flag: set(named.split(", ")) for flag, named, _ in rows} == flags
    assert len(rows) == len(flags)


@pytest.mark.parametrize("command", ["train", "generate", "calibrate", "evaluate", "predict", "reference"])
def test_every_command_is_shown(command):
    assert command in commands() and f"python -m classifiers {command}" in PAGE


def test_the_documented_line_has_the_fields_that_predict_writes():
    (line,) = re.findall(r'`(\{"id".+?\})`', PAGE)
    assert set(parse_record(line.replace("...", '"x", "text": ""').encode())) == {"id", "text", "ai_probability", "ai_flag", "abstained"}


def test_what_can_be_done_about_malformed_lines_is_documented():
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `--on_malformed`")]
    assert all(f"`{way}`" in row for way in ON_MALFORMED)
