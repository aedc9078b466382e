"""The command line of the detector: train, generate, calibrate, evaluate, predict, reference. Exit codes: 0 done; 2 usage, or input that cannot be read."""

import argparse
import contextlib
import os
import sys

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import HIGHEST_RATE, LOWEST_RATE, Calibration
from classifiers.detectors import DETECTORS, SHIPPED_CALIBRATIONS, detector_calibration, make_detector, parse_detector, weights_file
from classifiers.fast_model import MODEL_FILE
from classifiers.quality_commands import add_quality_commands

USAGE_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _make_parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return 0


def _run_train(options: argparse.Namespace) -> None:
    from classifiers.calibrate import calibrate_shipped, describe
    from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS
    from classifiers.train import TrainSettings, train

    sets = tuple(options.sets.split(",")) if options.sets else MIXED_SETS + HUMAN_SETS
    if options.ai_detector == "cascade":
        _train_cascade(options, sets)
        return
    if options.ai_detector == "deep":
        _train_deep(options, sets)
        return
    model = train(options.data, TrainSettings(seed=options.seed), sets, generated=options.generated)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, MODEL_FILE)
    model.save(path)
    scorer = AiDetectorScorer(model_path=path)
    calibration = calibrate_shipped(scorer, options.data, sets)
    _write(os.path.join(options.output, "calibration.json"), calibration.to_json())
    describe(calibration, 0.01, print)
    print(f"wrote {path} ({scorer.version}), its fastText half and calibration.json ({calibration.digest})")


def _train_cascade(options: argparse.Namespace, sets: tuple[str, ...]) -> None:
    from classifiers.calibrate import calibrate_shipped, describe
    from classifiers.cascade import SETTINGS_FILE
    from classifiers.fit_cascade import make_cascade

    deep = make_detector("deep", num_threads=options.threads)
    cascade = make_cascade(options.data, make_detector("fast"), deep, sets, options.max_deep_share)
    calibration = calibrate_shipped(AiDetectorScorer(cascade), options.data, sets, options.max_texts)
    os.makedirs(options.output, exist_ok=True)
    _write(os.path.join(options.output, SETTINGS_FILE), cascade.settings.to_json())
    _write(os.path.join(options.output, SHIPPED_CALIBRATIONS["cascade"]), calibration.to_json())
    describe(calibration, 0.01, print)
    print(f"wrote {SETTINGS_FILE} ({cascade.version}) and {SHIPPED_CALIBRATIONS['cascade']} ({calibration.digest}) to {options.output}")


def _train_deep(options: argparse.Namespace, sets: tuple[str, ...]) -> None:
    from classifiers.calibrate import calibrate_shipped, describe
    from classifiers.deep_encoder import WEIGHTS_FOLDER, load_deep, require_training

    require_training()  # before torch is imported
    from classifiers.deep_card import write_card
    from classifiers.train_deep import settings_for, train

    folder = os.path.join(options.output, WEIGHTS_FOLDER)
    trained = train(options.data, folder, settings_for(options.steps, options.seed), sets)
    deep = load_deep(folder, options.threads)
    calibration = calibrate_shipped(AiDetectorScorer(deep), options.data, sets, options.max_texts)
    _write(os.path.join(options.output, SHIPPED_CALIBRATIONS["deep"]), calibration.to_json())
    describe(calibration, 0.01, print)
    write_card(folder, trained, deep.version, calibration)
    print(f"wrote {folder} ({deep.version}) and {SHIPPED_CALIBRATIONS['deep']} ({calibration.digest})")


def _make_scorer(options: argparse.Namespace) -> AiDetectorScorer:
    return AiDetectorScorer(options.ai_detector, options.model, ai_label=options.ai_label, num_threads=options.threads)


def _run_calibrate(options: argparse.Namespace) -> None:
    from classifiers.calibrate import by_turns, describe, print_by_turns, read_sources, score_human_text
    from classifiers.calibration import calibrate

    scorer = _make_scorer(options)
    edges = tuple(int(edge) for edge in options.edges.split(","))
    sources, max_texts_per_source = read_sources(options.human, options.data)
    scores = {name: score_human_text(scorer, texts) for name, texts in sources.items()}
    calibration = calibrate(scores, scorer.version, edges, max_texts_per_source)
    describe(calibration, options.max_false_positive_rate, print)
    if options.by_turns:
        print_by_turns(by_turns(scores, options.max_false_positive_rate, edges, max_texts_per_source), edges, print)
    if options.output:
        _write(options.output, calibration.to_json())


def _run_evaluate(options: argparse.Namespace) -> None:
    import orjson

    from classifiers.evaluate import MAX_TEXTS, evaluate
    from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS
    from classifiers.leave_out import evaluate_leaving_sets_out
    from classifiers.report_tables import print_tables

    sets = tuple(options.sets.split(",")) if options.sets else MIXED_SETS + HUMAN_SETS
    if options.leave_one_set_out:
        if options.ai_detector not in SHIPPED_CALIBRATIONS or options.model or options.calibration:
            raise ValueError(
                "--leave_one_set_out trains the detector again for each set: --ai_detector must be fast, deep or cascade; "
                "leave out --model and --calibration"
            )
        if options.ai_detector == "fast":
            report = evaluate_leaving_sets_out(
                options.data, options.max_false_positive_rate, options.seed, sets, report=_progress, generated=options.generated
            )
        else:
            report = _leave_out_deep(options, sets)
    else:
        detector = _make_scorer(options).detector
        calibration = _own_calibration(options.ai_detector, detector.version, options.calibration)
        max_texts = MAX_TEXTS if options.max_texts is None else options.max_texts
        report = evaluate(options.data, detector, calibration, options.max_false_positive_rate, options.seed, max_texts, sets)
    if options.json:
        _write(options.json, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    print_tables(report)


def _leave_out_deep(options: argparse.Namespace, sets: tuple[str, ...]) -> dict:
    from classifiers.leave_out_deep import TEXTS, FoldSettings, evaluate_deep_leaving_sets_out

    if not options.folds:
        raise ValueError(
            f"--leave_one_set_out with {options.ai_detector} takes minutes a set: give --folds DIR, where scores of left-out sets are kept"
        )
    settings = FoldSettings(options.steps, TEXTS if options.max_texts is None else options.max_texts, options.seed, options.generated)
    return evaluate_deep_leaving_sets_out(options.data, options.ai_detector, options.folds, settings, sets, report=_progress)


def _own_calibration(spec: str, version: str, path: str | None) -> Calibration | None:
    """The calibration at `path`, which must be the detector's, or the shipped one; None where none ships for this very version."""
    kind, _ = parse_detector(spec)
    if path is None and not (kind in SHIPPED_CALIBRATIONS and os.path.exists(weights_file(SHIPPED_CALIBRATIONS[kind]))):
        return None
    calibration = detector_calibration(spec, path)
    if path is not None and calibration.detector != version:
        raise ValueError(f"the calibration is of detector {calibration.detector}, not of {version}: calibrate again")
    return calibration if calibration.detector == version else None


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run_generate(options: argparse.Namespace) -> None:
    from classifiers.generate import GenerateSettings, generate, load_writer, write_records

    settings = GenerateSettings(options.batches, options.batch_prompts, options.seed)
    writer = load_writer(options.model)
    os.makedirs(os.path.dirname(options.output) or ".", exist_ok=True)
    count = write_records(options.output, generate(writer, options.generator or os.path.basename(options.model), settings, _progress))
    print(f"wrote {count:,} texts to {options.output}")


def _run_predict(options: argparse.Namespace) -> None:
    from classifiers.predict import predict_file

    calibration = detector_calibration(options.ai_detector, options.calibration)
    scorer = _make_scorer(options)
    if calibration.detector != scorer.version:
        raise ValueError(f"the calibration is of detector {calibration.detector}, not of {scorer.version}: calibrate again")
    thresholds = calibration.thresholds(options.max_false_positive_rate)
    partial = options.output + ".partial"
    try:
        with open(partial, "wb") as output:
            count = predict_file(options.input, output, scorer, thresholds, options.on_malformed, _progress)
        os.replace(partial, options.output)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
    print(f"wrote {count:,} predictions of {scorer.version} to {options.output}")


def _run_reference(options: argparse.Namespace) -> None:
    from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS
    from classifiers.prevalence import read_references
    from classifiers.reference_scores import held_out_reference, left_out_reference, pools_of, unseen_scores
    from classifiers.train import TrainSettings

    known = read_references(options.output) if os.path.exists(options.output) else {}
    if not options.data:
        if not known:
            raise ValueError(f"{options.output} holds no references whose margins could be fitted: give --data, the folder of the labelled sets")
        for reference in sorted(known.values(), key=lambda one: not one.detector.startswith("fast-")):
            known = _keep_reference(options, known, reference)
        return
    sets = tuple(options.sets.split(",")) if options.sets else MIXED_SETS + HUMAN_SETS
    detector = _make_scorer(options).detector
    if options.ai_detector == "fast":
        reference, _ = left_out_reference(options.data, detector, TrainSettings(seed=options.seed), sets, _progress, options.generated)
    else:
        reference, _ = held_out_reference(options.data, detector, options.max_texts, sets)
    _keep_reference(options, known, reference, pools_of(unseen_scores(options.data, detector, options.max_texts)))


def _keep_reference(options: argparse.Namespace, known: dict, reference, unseen: dict | None = None) -> dict:
    """Fits the margins of `reference`, writes it among those `known`, prints how well it does, and returns what the file holds."""
    from classifiers.prevalence import to_json
    from classifiers.reference_scores import trial_table, try_mixtures, with_margins
    from classifiers.report_tables import table_lines

    trials = list(try_mixtures(reference.pools() | (unseen or {}), reference, options.seed))
    # One reference of each kind of detector: an older version's scores are nobody's.
    kind = reference.detector.partition("-")[0]
    kept = {version: one for version, one in known.items() if version.partition("-")[0] != kind}
    reference = with_margins(reference, trials, kept.values())
    kept = dict(sorted({**kept, reference.detector: reference}.items()))
    _write(options.output, to_json(kept))
    below, above = reference.margins
    print(f"wrote {len(reference.sources)} sources of {reference.detector} to {options.output}, margins {below:.3f} below and {above:.3f} above")
    for line in table_lines("mixtures of sets left out of the reference", trial_table(trials)):
        print(line)
    return kept


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifiers", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train | generate | calibrate | evaluate | predict | reference | ...")

    train = commands.add_parser("train", help="fit the fast detector's weights and its shipped thresholds")
    train.add_argument("--data", required=True, help="folder of the labelled sets")
    train.add_argument("--output", required=True, help="folder for fast.npz, fast.bin (the fastText half) and calibration.json")
    train.add_argument(
        "--ai_detector", default="fast", choices=("fast", "deep", "cascade"), help="what to fit; cascade: the band between the shipped tiers"
    )
    train.add_argument(
        "--max_deep_share", type=float, default=0.06, help="cascade: share of texts that may go to the deep detector, above 0, at most 1"
    )
    train.add_argument(
        "--max_texts",
        type=int,
        default=300,
        help="deep and cascade: human texts of one set and length group that are scored for the thresholds, at most",
    )
    train.add_argument("--seed", type=int, default=0, help="order of texts and choice of pieces")
    train.add_argument("--sets", default="", help="names of the sets, with commas; default: all that may be trained on")
    train.set_defaults(run=_run_train)

    generate = commands.add_parser("generate", help="machine text of our own to train on, by a causal language model (extra: torch)")
    generate.add_argument("--model", required=True, help="instruction-tuned model: a folder, a name of the hub, or a GGUF file")
    generate.add_argument("--output", required=True, help="file for the texts, gzipped JSON lines, for train --generated")
    generate.add_argument("--generator", default="", help="what the texts call the model; default: the last part of --model")
    generate.add_argument("--batches", type=int, default=20, help="batches of prompts; decodings and lengths change from one to the next")
    generate.add_argument("--batch_prompts", type=int, default=64, help="prompts of a batch")
    generate.add_argument("--seed", type=int, default=0, help="choice of prompts and of words")
    generate.set_defaults(run=_run_generate)

    calibrate = commands.add_parser("calibrate", help="thresholds that keep a false-positive rate on your own human text")
    calibrate.add_argument("--human", action="append", metavar="GLOB", help="JSON lines with a field text; repeat for each source")
    calibrate.add_argument("--data", default="", help="instead: folder of the labelled sets, of which the held-out human text is taken")
    calibrate.add_argument("--by_turns", action="store_true", help="also the share flagged of each source by thresholds from the others")
    calibrate.add_argument("--output", default="", help="file for the thresholds; without it they are only printed")
    calibrate.add_argument("--edges", default="50,100,200,400", help="first word count of each length group")
    calibrate.set_defaults(run=_run_calibrate)

    evaluate = commands.add_parser("evaluate", help="what the detector finds and what it wrongly flags")
    evaluate.add_argument("--data", required=True, help="folder of the labelled sets")
    evaluate.add_argument("--sets", default="", help="names of the sets, with commas; default: all that may be trained on")
    evaluate.add_argument("--leave_one_set_out", action="store_true", help="train on all sets but one, test on that one, for each")
    evaluate.add_argument("--calibration", default=None, help="thresholds made by calibrate; default: the shipped ones")
    evaluate.add_argument("--json", default="", help="file for the figures")
    evaluate.add_argument("--seed", type=int, default=0, help="of the training and the bootstrap")
    evaluate.add_argument(
        "--max_texts",
        type=int,
        default=None,
        help="texts of one set, label and attack, at most; default 4,000; 250 to leave sets out of deep or cascade",
    )
    evaluate.add_argument(
        "--folds", default="", help="deep and cascade, leaving sets out: folder that keeps their scores; what it holds is not trained again"
    )
    evaluate.set_defaults(run=_run_evaluate)

    predict = commands.add_parser("predict", help="one line of output for each line of input")
    predict.add_argument("--input", required=True, help="JSON lines with fields id and text; plain, .gz or .zst")
    predict.add_argument("--output", required=True, help='file for lines {"id", "ai_probability", "ai_flag", "abstained"}')
    predict.add_argument("--calibration", default=None, help="thresholds made by calibrate; default: the shipped ones")
    predict.add_argument(
        "--on_malformed",
        default="fail",
        choices=("fail", "abstain"),
        help="a line that is no JSON object with a string field text: stop there, or abstain from it and say so",
    )
    predict.set_defaults(run=_run_predict)

    reference = commands.add_parser("reference", help="reference scores behind estimates of how much AI text an unlabelled pool holds")
    reference.add_argument(
        "--data", default="", help="folder of the labelled sets; without it only the margins of the references in --output are fitted again"
    )
    reference.add_argument("--sets", default="", help="names of the sets, with commas; default: all that may be trained on")
    reference.add_argument("--output", required=True, help="file for the scores; those of other detectors that it holds stay")
    reference.add_argument("--seed", type=int, default=0, help="of the training without each set, and of the mixtures tried")
    reference.add_argument("--max_texts", type=int, default=1_000, help="texts of one set and label, at most; all for the fast detector")
    reference.set_defaults(run=_run_reference)

    for command in (train, evaluate, reference):
        command.add_argument(
            "--generated", default="", help="fast: machine texts that generate wrote, to train on too (evaluate, reference: without each set)"
        )
    add_quality_commands(commands)
    for command in (train, evaluate):
        command.add_argument(
            "--steps", type=int, default=250, help="deep: steps of 16 windows that its upper layers are trained for (evaluate: without each set)"
        )
    for command in (calibrate, evaluate, predict):
        command.add_argument(
            "--max_false_positive_rate", type=float, default=0.01, help=f"share of human text that may be flagged, {LOWEST_RATE} to {HIGHEST_RATE}"
        )
    for command in (calibrate, evaluate, predict, reference):
        command.add_argument("--ai_detector", default="fast", help=f"name of the detector: {', '.join(DETECTORS)}")
        command.add_argument("--ai_label", default="", help="labels of an hf: classifier that mean machine-written, with commas")
        command.add_argument("--model", default=None, help="weights of that kind (the .npz; its .bin lies beside it); default: the shipped ones")
    for command in (train, calibrate, evaluate, predict, reference):
        command.add_argument(
            "--threads", type=int, default=_cores(), help="texts that a transformer scores at once; changes no number (default: one for each core)"
        )
    return parser


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
