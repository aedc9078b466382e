"""The groups of flags that the commands of `headwater` share, as `--help` shows them."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pipeline.recipe import default_tables
from pipeline.recipe_flags import DROPPED, MEMORY, RECIPE_FLAGS, RecipeFlag, TableFlag
from transforms.inputs import FIELD_ALIASES
from transforms.records import Origin

IN_MEMORY_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""The default, by its full name: plain DirectRunner may pick Prism and try to download it."""
MOST_WORKERS = 1_000
"""Processes that `--workers` may ask for on one machine."""
INPUT_FLAGS = {
    "human": (Origin.HUMAN, "verified human text"),
    "synthetic": (Origin.SYNTHETIC, "text written by models"),
    "unlabelled": (Origin.UNKNOWN, "text of unknown origin"),
    "input": (None, "text whose origin stands in a field of each record"),
}


def add_inputs(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The inputs."""
    group = parser.add_argument_group("inputs" + (" (at least one)" if required else ""))
    for flag, (_, what) in INPUT_FLAGS.items():
        group.add_argument(f"--{flag}", action="append", metavar="NAME=GLOB", help=f"{what}; repeatable")


def add_fields(parser: argparse.ArgumentParser) -> None:
    """The names of the records' fields."""
    fields = parser.add_argument_group("names of the records' fields (default: the usual names)")
    for role, aliases in FIELD_ALIASES.items():
        fields.add_argument(f"--{role}_field", metavar="NAME", help=f"default: {', '.join(aliases)}")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where a dataset is published."""
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="DIR", required=True, help="where the dataset is published: a new or empty folder")
    group.add_argument("--overwrite", action="store_true", help="replace the dataset that is already there")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """Many settings at once."""
    group = parser.add_argument_group("many settings at once (with --scored)")
    group.add_argument(
        "--sweep",
        action="append",
        metavar="KEY=VALUES",
        help="plan with each value of a flag or recipe key, as FROM:TO:STEP or A,B,...: human_quota=0.3:0.9:0.1; repeatable: all combinations",
    )
    group.add_argument("--sweep_plot", metavar="FILE", help="plot what each setting yields there: .svg or .png (needs the extra `plot`)")
    group.add_argument("--sweep_output", metavar="FILE", help="write the table there as well: .csv or .json")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The recipe as a whole."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", metavar="FILE", help="TOML file laid over the default recipe")
    group.add_argument("--set", action="append", metavar="KEY=VALUE", help="one key of the recipe, such as rules.top_2gram.max=0.3; repeatable")


def add_recipe_flags(parser: argparse.ArgumentParser, *, with_scores: bool, with_ledger: bool) -> None:
    """A group for each of `RECIPE_FLAGS`; `with_scores`: also the flags that need scoring; `with_ledger`: also which ledger there is."""
    defaults = default_tables()
    for title, flags in RECIPE_FLAGS.items():
        taken = [flag for flag in flags if with_scores or not getattr(flag, "needs_scoring", False)]
        if not taken:
            continue
        group = parser.add_argument_group(title)
        if title == MEMORY and with_ledger:
            _add_ledger(group)
        for flag in taken:
            if isinstance(flag, TableFlag):
                group.add_argument(f"--{flag.flag}", action="append", metavar=flag.metavar, help=flag.help)
                continue
            section, key = flag.key.split(".")
            default = defaults[section][key]
            kind, metavar = _kind(default, flag)
            group.add_argument(
                f"--{flag.flag}",
                type=kind,
                **({"action": "append"} if flag.repeatable else {}),
                choices=flag.choices or None,
                metavar=metavar,
                help=f"{flag.help} (default: {_shown(default)})",
                **({"nargs": "?", "const": True} if isinstance(default, bool) else {}),
            )
        if title == DROPPED:
            group.add_argument(
                "--keep_languages",
                type=_languages,
                metavar="CODE,...",
                help="publish these languages alone, such as en,de; und = not certain; [rules.unwanted_language] of the recipe (default: any)",
            )


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Where the detector runs."""
    group = parser.add_argument_group("where the detector runs")
    group.add_argument(
        "--detector_runs",
        choices=("inline", "inference"),
        default="inline",
        help="with the other scorers, or as a step of its own under Beam's RunInference (default: inline)",
    )
    group.add_argument("--detector_device", metavar="DEVICE", help="inference: cpu, or a device that torch knows, such as cuda (default: cpu)")
    group.add_argument("--detector_min_ram", metavar="SIZE", help="inference: memory that a worker of the step must have, such as 16GB")
    group.add_argument(
        "--detector_accelerator",
        metavar="HINT",
        help="inference: what a worker of the step must have, such as type:nvidia-l4;count:1;install-nvidia-driver",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """How a run is carried out."""
    group = parser.add_argument_group("running")
    group.add_argument("--runner", default=IN_MEMORY_RUNNER, help="Beam runner (default: in memory on this machine); its own flags pass through")
    group.add_argument("--workers", type=_workers, default=None, metavar="N", help="processes on this machine (default: one for each core)")
    group.add_argument(
        "--progress", choices=("auto", "bars", "lines", "none"), default="auto", help="how progress is shown (default: bars on a terminal)"
    )
    group.add_argument("--debug", action="store_true", help="show tracebacks and Beam's own log")


def default_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _add_ledger(group: Any) -> None:
    group.add_argument("--ledger", metavar="DIR_OR_URL", help="the ledger of what earlier cycles were given; made if there is none")
    group.add_argument("--cycle", metavar="NAME", help="the training cycle that this run publishes for; --ledger requires it")
    group.add_argument(
        "--fail_on",
        action="append",
        metavar="ALARM",
        help="stop with exit code 6 before publication, such as 'human_share<0.5' or 'compression_ratio>+15%%'; repeatable",
    )


def _kind(default: Any, flag: RecipeFlag) -> tuple[Any, str | None]:
    if flag.key == "mix.human_quota":
        return str, "SHARE"
    if isinstance(default, bool):
        return _truth, "true|false"
    if isinstance(default, int):
        return int, "N"
    if isinstance(default, float):
        return float, "X"
    if isinstance(default, list):
        return (str, "NAME=GLOB") if flag.repeatable else (_names, "NAME,...")
    return str, None if flag.choices else "VALUE"


def _truth(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names with commas")
    return names


def _languages(text: str) -> list[str]:
    # Imported here: it brings the language detector along.
    from classifiers.language import known_languages

    codes = [code.strip() for code in text.split(",") if code.strip()]
    unknown = [code for code in codes if code not in known_languages()]
    if unknown or not codes:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {(unknown or [''])[0]!r} is no language code; give codes such as en,de,zh, and und for text that is unclear"
        )
    return codes


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MOST_WORKERS)) or int(text) > MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number from 0 to {MOST_WORKERS:,}; one process for each core is enough")
    return int(text)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return ",".join(default) or "none"
    return str(default) if default != "" else "none"
