"""Every flag of the command line, where it lands, and what it means.

Flags that decide what is published are keys of the recipe under another name; the table below says which. Whatever is not
listed here goes to Beam, if Beam knows it; a flag that nobody knows is an error that names the nearest one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import UsageError
from pipeline.ledger_flags import add_ledger_commands
from pipeline.recipe import default_tables, parse_assignment
from transforms.inputs import FIELD_ALIASES, FieldNames, InputError, InputSpec, parse_input
from transforms.records import Origin

IN_MEMORY_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""The default, by its full name: plain DirectRunner may pick Prism and try to download it."""


@dataclass(frozen=True)
class RecipeFlag:
    """A flag that overrides one key of the recipe."""

    flag: str
    """As typed, without the dashes."""
    key: str
    """Dotted key of the recipe."""
    help: str
    """What it does, with its unit."""
    choices: tuple[str, ...] = ()
    """The only values allowed."""
    repeatable: bool = False
    """Whether a list is given by repeating the flag, rather than with commas."""


RECIPE_FLAGS = {
    "what is published": (
        RecipeFlag("human_quota", "mix.human_quota", "smallest share of human text, 0..1 or a fraction such as 1/3, overall and in every shard"),
        RecipeFlag("quota_unit", "mix.quota_unit", "what the share is counted in", ("documents", "tokens", "bytes")),
        RecipeFlag("max_documents", "mix.max_documents", "documents wanted at most; 0 = no limit"),
        RecipeFlag("max_tokens", "mix.max_tokens", "tokens wanted at most; 0 = no limit"),
        RecipeFlag(
            "on_shortage", "mix.on_shortage", "too little human text for the wanted size: stop with exit code 4, or publish less", ("fail", "shrink")
        ),
        RecipeFlag("priority", "mix.priority", "which documents go first", ("quality", "random")),
        RecipeFlag("count_presumed_human", "mix.count_presumed_human", "count unlabelled text that the detector takes for human towards the quota"),
        RecipeFlag("seed", "mix.seed", "seed of every choice and of the shuffle"),
        RecipeFlag("num_shards", "publish.num_shards", "published files; 0 = by size"),
        RecipeFlag("target_shard_bytes", "publish.target_shard_bytes", "bytes of text in a published file, about"),
        RecipeFlag("mask_personal_data", "publish.mask_personal_data", "kinds of personal data to mask, with commas: email, ip, phone, card, key"),
    ),
    "what is recognised and dropped": (
        RecipeFlag("max_false_positive_rate", "origin.max_false_positive_rate", "share of human documents that may be taken for machine text, 0..1"),
        RecipeFlag("calibration", "origin.calibration", "calibration made by `python -m classifiers calibrate`; empty = the shipped one"),
        RecipeFlag("reject_disputed", "origin.reject_disputed", "reject text declared human that the detector disputes, or publish it as not human"),
        RecipeFlag("dedup_key", "dedup.key", "of documents with one value of this field, such as url or url:normalised, one stays; empty = off"),
        RecipeFlag(
            "max_repeated_line_share",
            "dedup.max_repeated_line_share",
            "share of a document's characters that may stand in lines of better documents, 0..1; 1 = off",
        ),
        RecipeFlag("min_similarity", "dedup.min_similarity", "estimated Jaccard similarity from which two documents are near-duplicates, 0..1"),
        RecipeFlag("decontaminate", "decontaminate.sets", "NAME=GLOB: evaluation set that the corpus is kept free of; repeatable", repeatable=True),
        RecipeFlag("decontaminate_fields", "decontaminate.fields", "fields of evaluation sets that hold text, with commas, such as question,answer"),
        RecipeFlag("min_contaminated_ngrams", "decontaminate.min_ngrams", "n-grams of evaluation sets in a document from which it is rejected"),
        RecipeFlag("min_contaminated_share", "decontaminate.min_share", "and share of one evaluation item's n-grams that it holds, 0..1"),
    ),
    "what earlier cycles mean (with --ledger)": (
        RecipeFlag("max_synthetic_uses", "ledger.max_synthetic_uses", "cycles that may publish one synthetic text, or near-duplicates of it"),
        RecipeFlag("max_generation", "ledger.max_generation", "deepest generation that is published: 0 = human, 1 = by a model; -1 = any"),
        RecipeFlag("min_fresh_human", "ledger.min_fresh_human", "share of the human text that no earlier cycle published, 0..1 or a fraction"),
        RecipeFlag("fresh_share_of", "ledger.fresh_share_of", "what that is a share of: human text, or all that is published", ("human", "all")),
        RecipeFlag("fresh_after", "ledger.fresh_after", "date from which human text counts as fresh, such as 2025-06-01; empty = any"),
    ),
}
SCORE_FLAGS = (
    RecipeFlag("ai_detector", "score.ai_detector", "which AI-text detector scores: fast, deep, cascade, hf:PATH_OR_NAME or lm:PATH_OR_NAME"),
    RecipeFlag("ai_label", "score.ai_label", "labels of an hf: classifier that mean machine-written, with commas; empty = told from their names"),
    RecipeFlag("tokenizer", "score.tokenizer", "what `tokens` counts: headwater-pretokens-1, or a Hugging Face tokenizers JSON file"),
    RecipeFlag("split_bytes", "read.split_bytes", "bytes of input that a worker takes at a time"),
    RecipeFlag("text_unit", "read.text_unit", "plain text files: one document a file, or one a line", ("file", "line")),
    RecipeFlag("max_dead_share", "read.max_dead_share", "share of unreadable records, 0..1, beyond which the run stops with exit code 3"),
)
INPUT_FLAGS = {
    "human": (Origin.HUMAN, "verified human text"),
    "synthetic": (Origin.SYNTHETIC, "text written by models"),
    "unlabelled": (Origin.UNKNOWN, "text of unknown origin"),
    "input": (None, "text whose origin stands in a field of each record"),
}


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
    curate = commands.add_parser("curate", help="score, decide and publish", allow_abbrev=False)
    remix = commands.add_parser("remix", help="decide and publish again from the scores of an earlier run", allow_abbrev=False)
    plan = commands.add_parser("plan", help="what a mix would be; writes nothing", allow_abbrev=False)

    _add_inputs(curate, required=True)
    _add_output(curate)
    remix.add_argument("--scored", metavar="DIR", required=True, help="the scored/ folder of an earlier run")
    _add_output(remix)
    plan.add_argument("--scored", metavar="DIR", help="the scored/ folder of an earlier run; or give inputs, which are scored first")
    _add_inputs(plan, required=False)
    _add_sweep(plan)
    demo = commands.add_parser("demo", help="curate text that comes with Python and with Headwater", allow_abbrev=False)
    demo.add_argument(
        "--output", metavar="DIR", default="demo_out", help="where the dataset is published (default: demo_out; replaced if it is there)"
    )
    demo.set_defaults(overwrite=True, **dict.fromkeys(INPUT_FLAGS), **{f"{role}_field": None for role in FIELD_ALIASES})
    for command in (curate, remix, plan):
        _add_ledger(command)
    for command in (curate, remix, plan, demo):
        _add_recipe(command, with_scores=command is not remix)
        if command is not remix:
            _add_detector(command)
        _add_running(command)
    _add_diff(commands)
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


def overrides_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Recipe key -> value, from the flags and then from `--set`."""
    overrides = {}
    for flag in (*(flag for group in RECIPE_FLAGS.values() for flag in group), *SCORE_FLAGS):
        value = getattr(parsed, flag.flag, None)
        if value is not None:
            overrides[flag.key] = value
    for reserve in parsed.reserve or ():
        group, _, documents = reserve.rpartition("=")
        if not group or not documents.isdigit():
            raise UsageError(f"--reserve={reserve}: must be FIELD.VALUE=DOCUMENTS, such as task.support=500")
        overrides[f"reserve.{group}"] = int(documents)
    for cap in parsed.cap or ():
        key, equals, most = cap.rpartition("=")
        if not key or not equals or not most.isdigit():
            raise UsageError(f"--cap={cap}: must be FIELD=N, such as prompt=2")
        overrides[f"caps.{key}"] = int(most)
    if parsed.keep_languages:
        overrides |= {"rules.unwanted_language.allow": parsed.keep_languages, "rules.unwanted_language.enabled": True}
    for assignment in parsed.set or ():
        key, value = parse_assignment(assignment)
        overrides[key] = value
    return overrides


def _add_inputs(parser: argparse.ArgumentParser, *, required: bool) -> None:
    group = parser.add_argument_group("inputs" + (" (at least one)" if required else ""))
    for flag, (_, what) in INPUT_FLAGS.items():
        group.add_argument(f"--{flag}", action="append", metavar="NAME=GLOB", help=f"{what}; repeatable")
    fields = parser.add_argument_group("names of the records' fields (default: the usual names)")
    for role, aliases in FIELD_ALIASES.items():
        fields.add_argument(f"--{role}_field", metavar="NAME", help=f"default: {', '.join(aliases)}")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="DIR", required=True, help="where the dataset is published: a new or empty folder")
    group.add_argument("--overwrite", action="store_true", help="replace the dataset that is already there")


def _add_diff(commands: Any) -> None:
    diff = commands.add_parser("diff", help="which documents moved between two published runs, and why", allow_abbrev=False)
    diff.add_argument("run_a", metavar="RUN_A", help="output folder of curate or remix")
    diff.add_argument("run_b", metavar="RUN_B", help="output folder of another run")
    diff.add_argument("--json", action="store_true", help="print JSON instead of a table")
    diff.add_argument("--moved", metavar="FILE", help="write every document that moved there, one JSON object a line")


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many settings at once (with --scored)")
    group.add_argument(
        "--sweep",
        action="append",
        metavar="KEY=VALUES",
        help="plan with each value of a flag or recipe key, as FROM:TO:STEP or A,B,...: human_quota=0.3:0.9:0.1; repeatable: all combinations",
    )
    group.add_argument("--sweep_output", metavar="FILE", help="write the table there as well: .csv or .json")


def _add_recipe(parser: argparse.ArgumentParser, *, with_scores: bool) -> None:
    defaults = default_tables()
    groups = dict(RECIPE_FLAGS)
    if with_scores:
        groups["how inputs are read and scored"] = SCORE_FLAGS
    for title, flags in groups.items():
        group = parser.add_argument_group(title)
        for flag in flags:
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
    group = parser.add_argument_group("reserved places")
    group.add_argument(
        "--reserve",
        action="append",
        metavar="FIELD.VALUE=N",
        help="publish at least N documents of a group, such as task.support=500, if there are as many; repeatable",
    )
    group = parser.add_argument_group("languages")
    group.add_argument(
        "--keep_languages",
        type=_languages,
        metavar="CODE,...",
        help="publish these languages alone, such as en,de; und = not certain; [rules.unwanted_language] of the recipe (default: any)",
    )
    group = parser.add_argument_group("diversity")
    group.add_argument(
        "--cap",
        action="append",
        metavar="FIELD=N",
        help="at most N documents with one value of FIELD, such as prompt=2; [caps] of the recipe; repeatable",
    )
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", metavar="FILE", help="TOML file laid over the default recipe")
    group.add_argument("--set", action="append", metavar="KEY=VALUE", help="one key of the recipe, such as rules.top_2gram.max=0.3; repeatable")


def _add_detector(parser: argparse.ArgumentParser) -> None:
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


def _add_ledger(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("memory across training cycles")
    group.add_argument("--ledger", metavar="DIR_OR_URL", help="the ledger of what earlier cycles were given; made if there is none")
    group.add_argument("--cycle", metavar="NAME", help="the training cycle that this run publishes for; --ledger requires it")
    group.add_argument(
        "--fail_on",
        action="append",
        metavar="ALARM",
        help="stop with exit code 6 before publication, such as 'human_share<0.5' or 'compression_ratio>+15%%'; repeatable",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--runner", default=IN_MEMORY_RUNNER, help="Beam runner (default: in memory on this machine); its own flags pass through")
    group.add_argument("--workers", type=_whole, default=None, metavar="N", help="processes on this machine (default: one for each core)")
    group.add_argument(
        "--progress", choices=("auto", "bars", "lines", "none"), default="auto", help="how progress is shown (default: bars on a terminal)"
    )
    group.add_argument("--debug", action="store_true", help="show tracebacks and Beam's own log")


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


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return ",".join(default) or "none"
    return str(default) if default != "" else "none"


def default_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
