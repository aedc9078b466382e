"""The commands about quality: `train-quality`, `evaluate-quality` and `fit-ranks`."""

from __future__ import annotations

import argparse
import glob
import os
import sys


def add_quality_commands(commands: argparse._SubParsersAction) -> None:
    """Adds the commands to those of `python -m classifiers`."""
    train = commands.add_parser("train-quality", help="fit the weights of the scorer trained_quality")
    train.add_argument("--data", required=True, help="folder of the quality_* sets")
    train.add_argument("--output", required=True, help="folder for quality.npz")
    train.add_argument("--sets", default="", help="names of the sets, with commas, two or more; default: all four")
    train.add_argument("--seed", type=int, default=0, help="order of texts and choice of pieces")
    train.set_defaults(run=_run_train)

    evaluate = commands.add_parser("evaluate-quality", help="AUROC on each quality_* set, unseen and held out, beside the heuristic and baselines")
    evaluate.add_argument("--data", required=True, help="folder of the quality_* sets, and of those with machine text")
    evaluate.add_argument("--sets", default="", help="names of the sets, with commas, two or more; default: all four")
    evaluate.add_argument("--json", default="", help="file for the figures")
    evaluate.add_argument("--seed", type=int, default=0, help="of the training and the bootstrap")
    evaluate.set_defaults(run=_run_evaluate)

    ranks = commands.add_parser("fit-ranks", help="ranks of quality_ensemble from a sample of your own texts")
    ranks.add_argument("--text", action="append", metavar="GLOB", help="JSON lines with a field text; repeatable")
    ranks.add_argument("--data", default="", help="instead: folder of the quality_* sets, from which the shipped ranks are made")
    ranks.add_argument("--members", required=True, help="models of the ensemble, with commas, as score.quality_ensemble names them")
    ranks.add_argument("--quality_model", action="append", default=[], metavar="NAME=KIND:PATH", help="as in score.quality_models; repeatable")
    ranks.add_argument("--perplexity_model", default="", help="as in score.perplexity_model")
    ranks.add_argument("--max_texts", type=int, default=20_000, help="texts of the sample, at most; chosen by their hash")
    ranks.add_argument("--output", required=True, help="file for the ranks, for score.quality_ranks")
    ranks.set_defaults(run=_run_ranks)


def _sets_of(options: argparse.Namespace) -> tuple[str, ...]:
    from classifiers.quality_texts import QUALITY_SETS

    return tuple(options.sets.split(",")) if options.sets else QUALITY_SETS


def _run_train(options: argparse.Namespace) -> None:
    from classifiers.train_quality import QualityTrainSettings, train_quality
    from classifiers.trained_quality import MODEL_FILE

    model, _, _ = train_quality(options.data, QualityTrainSettings(seed=options.seed), _sets_of(options), _progress)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, MODEL_FILE)
    model.save(path)
    print(f"wrote {path} ({model.version})")


def _run_evaluate(options: argparse.Namespace) -> None:
    import orjson

    from classifiers.evaluate_quality import evaluate_quality
    from classifiers.report_tables import table_lines
    from classifiers.train_quality import QualityTrainSettings

    model, report = evaluate_quality(options.data, QualityTrainSettings(seed=options.seed), _sets_of(options), _progress)
    if options.json:
        with open(options.json, "wb") as file:
            file.write(orjson.dumps({"model": model.version, **report}, option=orjson.OPT_INDENT_2) + b"\n")
    print(model.version)
    for section, rows in report.items():
        print()
        for line in table_lines(section, rows):
            print(line)


def _run_ranks(options: argparse.Namespace) -> None:
    from classifiers.labelled_text import fraction_of
    from classifiers.quality_ensemble import fit_ranks, load_members, write_ranks
    from classifiers.quality_settings import parse_entries

    members = load_members(options.members.split(","), parse_entries(options.quality_model), options.perplexity_model)
    found = sorted(set(_read_texts(options.text, options.data)), key=lambda text: fraction_of(text, 0))
    texts = found[: options.max_texts]
    write_ranks(options.output, fit_ranks(texts, members))
    print(f"wrote ranks of {', '.join(members)} from {len(texts):,} texts to {options.output}")


def _read_texts(patterns: list[str] | None, folder: str) -> list[str]:
    from classifiers.labelled_text import read_records
    from classifiers.quality_texts import QUALITY_SETS, read_quality_sets

    if bool(patterns) == bool(folder):
        raise ValueError("give either --text GLOB, repeated as needed, or --data FOLDER of the quality_* sets")
    if folder:
        return [text.text for text in read_quality_sets(folder, QUALITY_SETS)]
    paths = [(pattern, sorted(glob.glob(pattern, recursive=True))) for pattern in patterns or ()]
    empty = [pattern for pattern, found in paths if not found]
    if empty:
        raise ValueError(f"--text {empty[0]}: no such file; give a path or a glob of JSON lines")
    return [record["text"].encode("utf-8", "replace").decode() for _, found in paths for path in found for record in read_records(path)]


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
