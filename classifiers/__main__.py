"""The command line of the detector: train, calibrate, evaluate, predict. Exit codes: 0 done; 2 usage, or input that cannot be read."""

import argparse
import os
import sys

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import HIGHEST_RATE, LOWEST_RATE, load_calibration
from classifiers.detectors import DETECTORS
from classifiers.fast_model import MODEL_FILE

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
    model = train(options.data, TrainSettings(seed=options.seed), sets)
    os.makedirs(options.output, exist_ok=True)
    path = os.path.join(options.output, MODEL_FILE)
    model.save(path)
    scorer = AiDetectorScorer(model_path=path)
    calibration = calibrate_shipped(scorer, options.data, sets)
    _write(os.path.join(options.output, "calibration.json"), calibration.to_json())
    describe(calibration, 0.01, print)
    print(f"wrote {path} ({scorer.version}), its fastText half and calibration.json ({calibration.digest})")


def _run_calibrate(options: argparse.Namespace) -> None:
    from classifiers.calibrate import calibrate_on, describe, read_human_globs

    scorer = AiDetectorScorer(options.ai_detector, options.model)
    edges = tuple(int(edge) for edge in options.edges.split(","))
    calibration = calibrate_on(scorer, read_human_globs(options.human), edges)
    describe(calibration, options.max_false_positive_rate, print)
    if options.output:
        _write(options.output, calibration.to_json())


def _run_evaluate(options: argparse.Namespace) -> None:
    import orjson

    from classifiers.evaluate import evaluate, evaluate_leaving_sets_out, print_tables

    run = evaluate_leaving_sets_out if options.leave_one_set_out else evaluate
    report = run(options.data, options.max_false_positive_rate, options.seed)
    if options.output:
        _write(options.output, orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    print_tables(report)


def _run_predict(options: argparse.Namespace) -> None:
    from classifiers.predict import predict_file

    scorer = AiDetectorScorer(options.ai_detector, options.model)
    calibration = load_calibration(options.calibration)
    if calibration.detector != scorer.version:
        raise ValueError(f"the calibration is of detector {calibration.detector}, not of {scorer.version}: calibrate again")
    thresholds = calibration.thresholds(options.max_false_positive_rate)
    partial = options.output + ".partial"
    with open(partial, "wb") as output:
        predict_file(options.input, output, scorer, thresholds)
    os.replace(partial, options.output)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifiers", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train | calibrate | evaluate | predict")

    train = commands.add_parser("train", help="fit the fast detector's weights and its shipped thresholds")
    train.add_argument("--data", required=True, help="folder of the labelled sets")
    train.add_argument("--output", required=True, help="folder for fast.npz, fast.bin (the fastText half) and calibration.json")
    train.add_argument("--seed", type=int, default=0, help="order of texts and choice of pieces")
    train.add_argument("--sets", default="", help="names of the sets, with commas; default: all that may be trained on")
    train.set_defaults(run=_run_train)

    calibrate = commands.add_parser("calibrate", help="thresholds that keep a false-positive rate on your own human text")
    calibrate.add_argument("--human", action="append", required=True, metavar="GLOB", help="JSON lines with a field text; repeat for each source")
    calibrate.add_argument("--output", default="", help="file for the thresholds; without it they are only printed")
    calibrate.add_argument("--edges", default="50,100,200,400", help="first word count of each length group")
    calibrate.set_defaults(run=_run_calibrate)

    evaluate = commands.add_parser("evaluate", help="what the detector finds and what it wrongly flags")
    evaluate.add_argument("--data", required=True, help="folder of the labelled sets")
    evaluate.add_argument("--leave_one_set_out", action="store_true", help="train on all sets but one, test on that one, for each")
    evaluate.add_argument("--output", default="", help="file for the figures as JSON")
    evaluate.add_argument("--seed", type=int, default=0, help="of the training and the bootstrap")
    evaluate.set_defaults(run=_run_evaluate)

    predict = commands.add_parser("predict", help="one line of output for each line of input")
    predict.add_argument("--input", required=True, help="JSON lines with fields id and text; plain, .gz or .zst")
    predict.add_argument("--output", required=True, help='file for lines {"id", "ai_probability", "ai_flag", "abstained"}')
    predict.add_argument("--calibration", default=None, help="thresholds made by calibrate; default: the shipped ones")
    predict.set_defaults(run=_run_predict)

    for command in (calibrate, evaluate, predict):
        command.add_argument(
            "--max_false_positive_rate", type=float, default=0.01, help=f"share of human text that may be flagged, {LOWEST_RATE} to {HIGHEST_RATE}"
        )
    for command in (calibrate, predict):
        command.add_argument("--ai_detector", default="fast", help=f"kind of detector: {', '.join(DETECTORS)}")
        command.add_argument("--model", default=None, help="weights of that kind (the .npz; its .bin lies beside it); default: the shipped ones")
    return parser


if __name__ == "__main__":
    sys.exit(main())
