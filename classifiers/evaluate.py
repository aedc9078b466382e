"""What the fast detector finds, what it wrongly flags, and how much of that storage alone would give away.

`evaluate` measures the shipped weights on text that training never saw. `evaluate_leaving_sets_out` trains again without each set
and tests on all of it: the honest figure for text of another origin. False positives are measured by turns: the thresholds that
judge a set's human texts come from the other sets alone.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from classifiers.ai_detector import AiDetectorScorer, probability_of
from classifiers.calibrate import SHIPPED_TEXTS_PER_SOURCE, read_held_out_human, score_human_text
from classifiers.calibration import DEFAULT_EDGES, Calibration, LengthThresholds, calibrate, judge
from classifiers.fast_model import FastModel
from classifiers.format_baseline import fit_format_baseline, format_features
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, UNSEEN_SETS, LabelledText, find_set, fraction_of, read_set
from classifiers.metrics import auroc, bootstrap_interval, calibration_error, tpr_at_fpr, wilson_interval
from classifiers.train import (
    Corpus,
    TrainSettings,
    balanced_weights,
    batch_of,
    fit_model,
    fit_scale,
    fold_corpus,
    is_held_out,
    piece_weights,
    read_training_texts,
    without_set,
)

UNSEEN_TEXTS = 10_000
"""Texts of an unseen set that are scored, at most."""

HumanScores = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""For each human source its probabilities (nan where abstained) and words."""


def evaluate(folder: str, max_false_positive_rate: float, seed: int) -> dict:
    """Figures of the shipped weights on held-out texts of `folder`, as plain numbers in nested dicts. Raises FileNotFoundError."""
    scorer = AiDetectorScorer()
    human = {name: score_human_text(scorer, [text.text for text in texts]) for name, texts in read_held_out_human(folder).items()}
    everyone = _balanced_calibration(human)
    thresholds = everyone.thresholds(max_false_positive_rate)
    report: dict = {"detector": scorer.version, "max_false_positive_rate": max_false_positive_rate}
    report["false_positives_by_turns"] = {name: _turn(human, name, max_false_positive_rate) for name in human}
    report["sets"], report["generators"], report["attacks"] = {}, {}, {}
    for name in MIXED_SETS:
        texts = [text for text in read_set(folder, name) if is_held_out(text)]
        odds, probability, words = _score(scorer.detector, texts)
        clean = np.array([text.attack == "none" for text in texts])
        machine = np.array([text.is_machine for text in texts])
        flagged, judged = judge(probability, words, thresholds)
        by_generator = np.array([text.generator for text in texts])
        by_attack = np.array([text.attack for text in texts])
        found = _share(flagged[clean & machine], judged[clean & machine], "flagged_machine")
        report["sets"][name] = _separation(odds[clean], machine[clean], seed) | found
        for generator in sorted(set(by_generator[clean & machine])):
            chosen = clean & (~machine | (by_generator == generator))
            report["generators"][f"{name}: {generator}"] = _separation(odds[chosen], machine[chosen], seed, repeats=0) | _share(
                flagged[chosen & machine], judged[chosen & machine], "flagged_machine"
            )
        for attack in sorted(set(by_attack)):
            chosen = (clean & ~machine) | ((by_attack == attack) & machine)
            same = by_attack == attack
            report["attacks"][f"{name}: {attack}"] = (
                _separation(odds[chosen], machine[chosen], seed, repeats=0)
                | _share(flagged[same & machine], judged[same & machine], "flagged_machine")
                | _share(flagged[same & ~machine], judged[same & ~machine], "flagged_human")
            )
    report["unseen"] = {name: _unseen(folder, name, scorer, everyone, max_false_positive_rate) for name in UNSEEN_SETS if _exists(folder, name)}
    return report


def evaluate_leaving_sets_out(folder: str, max_false_positive_rate: float, seed: int, settings: TrainSettings | None = None) -> dict:
    """Figures when each set in turn is left out of training and of calibration; about 9 CPU-minutes."""
    settings = settings or TrainSettings(seed=seed)
    corpus = fold_corpus(read_training_texts(folder, settings), settings.ngrams.max_words)
    held_out = read_held_out_human(folder)
    report: dict = {"max_false_positive_rate": max_false_positive_rate, "sets": {}, "format_only": {}, "false_positives_left_out": {}}
    outcomes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in MIXED_SETS + HUMAN_SETS:
        left_out = [text for text in read_set(folder, name) if text.attack == "none"]
        left_out = sorted(left_out, key=lambda text: fraction_of(text.text, seed))
        if name not in MIXED_SETS:
            left_out = left_out[:UNSEEN_TEXTS]
        part = without_set(corpus, name, left_out)
        model = fit_model(part, settings)
        odds, probability, words = _score(model, left_out)
        machine = np.array([text.is_machine for text in left_out])
        others = {other: _score(model, texts)[1:] for other, texts in held_out.items() if other != name}
        thresholds = _balanced_calibration(others).thresholds(max_false_positive_rate)
        flagged, judged = judge(probability, words, thresholds)
        report["false_positives_left_out"][name] = _by_length(flagged[~machine], judged[~machine], words[~machine], thresholds)
        if name in MIXED_SETS:
            report["sets"][name] = _separation(odds, machine, seed) | _share(flagged[machine], judged[machine], "flagged_machine")
            report["format_only"][name] = _format_only(part, left_out, settings, seed)
            outcomes[name] = odds, machine
    for table in ("sets", "format_only"):
        rows = report[table].values()
        report[table]["mean"] = {key: float(np.mean([row[key] for row in rows])) for key in ("auroc", "tpr_at_1_percent", "tpr_at_5_percent")}
    report["calibration_error"] = _left_out_calibration_error(outcomes)
    return report


def print_tables(report: Mapping, report_line: Callable[[str], None] = print) -> None:
    """Every table of a report, one line a row."""
    for title, content in report.items():
        if not isinstance(content, Mapping):
            report_line(f"{title}: {content}")
            continue
        report_line(f"\n{title}")
        for name, row in content.items():
            cells = " ".join(f"{key} {_cell(value)}" for key, value in row.items()) if isinstance(row, Mapping) else _cell(row)
            report_line(f"  {name:<44} {cells}")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_cell(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(_cell(item) for item in value) + "]" if isinstance(value, tuple | list) else str(value)


def _score(model: FastModel, texts: Sequence[LabelledText]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log odds, probabilities (float32, nan where abstained) and words of `texts`."""
    odds, probabilities, words = [np.empty(0)], [np.empty(0, np.float32)], [np.empty(0, np.int32)]
    for start in range(0, len(texts), 1000):
        batch = batch_of(texts[start : start + 1000])
        some_odds, abstained = model.log_odds(batch)
        odds.append(some_odds)
        probabilities.append(np.where(abstained, np.float32(np.nan), probability_of(some_odds)))
        words.append(batch.words.counts)
    return np.concatenate(odds), np.concatenate(probabilities), np.concatenate(words)


def _separation(scores: np.ndarray, machine: np.ndarray, seed: int, repeats: int = 200) -> dict:
    """AUROC and true-positive rates, with bootstrap intervals if `repeats`; abstentions are not considered."""
    row: dict = {"human": int((~machine).sum()), "machine": int(machine.sum())}
    measures = {"auroc": auroc, "tpr_at_1_percent": partial(tpr_at_fpr, rate=0.01), "tpr_at_5_percent": partial(tpr_at_fpr, rate=0.05)}
    for key, measure in measures.items():
        row[key] = measure(scores, machine)
        if repeats:
            row[f"{key}_interval"] = bootstrap_interval(measure, scores, machine, repeats, seed)
    return row


def _share(flagged: np.ndarray, judged: np.ndarray, name: str) -> dict:
    """Share flagged of all texts, and share that could not be judged."""
    if not len(flagged):
        return {}
    return {name: float(flagged.mean()), f"{name}_abstained": float((~judged).mean())}


def _balanced_calibration(human: HumanScores) -> Calibration:
    """Thresholds as the shipped ones are made."""
    return calibrate(human, "evaluation", DEFAULT_EDGES, SHIPPED_TEXTS_PER_SOURCE)


def _turn(human: HumanScores, name: str, rate: float) -> dict:
    """Realised false positives of one source under thresholds from all others."""
    thresholds = _balanced_calibration({other: scores for other, scores in human.items() if other != name}).thresholds(rate)
    probability, words = human[name]
    return _by_length(*judge(probability, words, thresholds), words, thresholds)


def _by_length(flagged: np.ndarray, judged: np.ndarray, words: np.ndarray, thresholds: LengthThresholds) -> dict:
    """Flagged share of judged human texts, overall and by length group, each with texts and Wilson interval."""
    group = np.searchsorted(np.array(thresholds.edges), words, side="right") - 1
    rows = {"all": judged} | {f"from_{edge}_words": judged & (group == index) for index, edge in enumerate(thresholds.edges)}
    return {
        key: {"texts": int(chosen.sum()), "fpr": float(flagged[chosen].mean()) if chosen.any() else float("nan"),
              "interval": wilson_interval(int(flagged[chosen].sum()), int(chosen.sum()))}
        for key, chosen in rows.items()
    } | {"abstained": float((~judged).mean())}  # fmt: skip


def _unseen(folder: str, name: str, scorer: AiDetectorScorer, calibration: Calibration, rate: float) -> dict:
    """Flagged share of a set that neither training nor calibration may touch."""
    texts = sorted(read_set(folder, name), key=lambda text: fraction_of(text.text, 0))[:UNSEEN_TEXTS]
    _, probability, words = _score(scorer.detector, texts)
    thresholds = calibration.thresholds(rate)
    return _by_length(*judge(probability, words, thresholds), words, thresholds)


def _format_only(part: Corpus, left_out: Sequence[LabelledText], settings: TrainSettings, seed: int) -> dict:
    """The format-only baseline, trained and tested on the very same texts (of the training texts one in four)."""
    chosen = [text for text in part.texts if fraction_of(text.text, seed) < 0.25]
    machine = np.array([text.is_machine for text in chosen])
    factors = fit_format_baseline(
        format_features([text.text for text in chosen]), machine, piece_weights(chosen, np.arange(len(chosen)), settings).astype(np.float64)
    )
    return _separation(format_features([text.text for text in left_out]) @ factors, np.array([text.is_machine for text in left_out]), seed, repeats=0)


def _left_out_calibration_error(outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict:
    """Expected calibration error of each left-out set when the scale comes from the other left-out sets; human and machine weigh the same."""
    errors = {}
    for name, (odds, machine) in outcomes.items():
        others = [outcome for other, outcome in outcomes.items() if other != name]
        intercept, factor = fit_scale(
            np.concatenate([scores for scores, _ in others]), np.concatenate([labels for _, labels in others]),
            np.concatenate([balanced_weights(labels) for _, labels in others]),
        )  # fmt: skip
        errors[name] = calibration_error(probability_of(intercept + factor * odds), machine, balanced_weights(machine))
    return errors | {"mean": float(np.mean(list(errors.values())))}


def _exists(folder: str, name: str) -> bool:
    try:
        find_set(folder, name)
    except FileNotFoundError:
        return False
    return True
