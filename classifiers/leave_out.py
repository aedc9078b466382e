"""Leaving one set out: train on all sets but one, test on that one. The honest figure for text of another origin.

The same scores are what `classifiers.prevalence` takes for the scores of texts that nobody trained on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from classifiers.ai_detector import probability_of
from classifiers.calibrate import read_held_out_human
from classifiers.evaluate import (
    FORMAT_TEXTS,
    MAX_TEXTS,
    FormatBaseline,
    ScoredSet,
    attack_table,
    balanced_calibration,
    clean_texts,
    false_positives,
    generator_table,
    limit_texts,
    reliability_tables,
    score_texts,
    separation_table,
    writers_table,
)
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, read_set
from classifiers.train import TrainSettings, balanced_weights, fit_model, fit_scale, read_corpus, without_set


@dataclass(frozen=True, eq=False)
class LeftOut:
    """One set, scored by a detector that was trained on the others."""

    name: str
    """The set."""
    scored: ScoredSet
    """Its texts; of attacks only where the set holds machine text."""
    others: Mapping[str, ScoredSet]
    """Held-out human texts of the other sets, scored by the same detector: what its thresholds may come from; empty unless asked for."""


def leave_sets_out(
    folder: str,
    settings: TrainSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    max_human_texts: int = MAX_TEXTS,
    score_others: bool = True,
    report: Callable[[str], None] = lambda _: None,
    generated: str = "",
) -> Iterator[LeftOut]:
    """Each of `sets` in `folder` in turn, scored by the fast detector trained on the others (and on the file `generated`, where one is given),
    not yet scaled to log odds.

    Of a set with human text only, `max_human_texts` are scored. About 20 CPU-seconds a set on the shared ones, after one minute.
    """
    corpus = read_corpus(folder, settings, sets, generated)
    held_out = read_held_out_human(folder, sets) if score_others else {}
    for name in sets:
        texts = read_set(folder, name)
        if name not in MIXED_SETS:
            texts = limit_texts([text for text in texts if text.attack == "none"], max_human_texts)
        model = fit_model(without_set(corpus, name, texts), settings)
        others = {other: score_texts(model, limit_texts(some, MAX_TEXTS)) for other, some in held_out.items() if other != name}
        yield LeftOut(name, score_texts(model, texts), others)
        report(f"left out {name}: {len(texts):,} texts")


def evaluate_leaving_sets_out(
    folder: str,
    max_false_positive_rate: float,
    seed: int = 0,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    settings: TrainSettings | None = None,
    report: Callable[[str], None] = lambda _: None,
    generated: str = "",
) -> dict:
    """A report as `classifiers.evaluate.evaluate` gives, when each set in turn is left out of training and of calibration.

    Raises FileNotFoundError for a set that is missing, ValueError for a rate that cannot be promised.
    """
    settings = settings or TrainSettings(seed=seed)
    left_out = list(leave_sets_out(folder, settings, sets, report=report, generated=generated))
    thresholds = {one.name: balanced_calibration(one.others).thresholds(max_false_positive_rate) for one in left_out}
    mixed = {one.name: one.scored for one in left_out if one.scored.machine.any()}
    clean = clean_texts({one.name: one.scored for one in left_out})
    human = {name: one.where(~one.machine) for name, one in clean.items()}
    clean = {name: clean[name] for name in mixed}
    baseline = FormatBaseline([text for one in clean.values() for text in limit_texts(one.texts, FORMAT_TEXTS)])
    return {
        "about": {
            "detector": "fast, trained again without the set of each row",
            "texts": "all texts of each set",
            "thresholds": "by turns: made from held-out human texts of the other sets",
            "max_false_positive_rate": max_false_positive_rate,
        },
        "sets": separation_table(clean, thresholds, seed, baseline, left_out=True),
        "generators": generator_table(clean, thresholds, seed),
        "attacks": attack_table(mixed, thresholds, seed),
        "false_positives_by_turns": {name: false_positives(one, thresholds[name]) for name, one in human.items()},
        "writers": writers_table(human, {"flagged by turns": thresholds}),
        **reliability_tables(scale_by_turns(clean)),
    }


def scale_by_turns(mixed: Mapping[str, ScoredSet]) -> dict[str, ScoredSet]:
    """Probabilities of each set when the scale of its scores (`classifiers.train.fit_scale`) comes from the other left-out sets."""
    scaled = {}
    for name, one in mixed.items():
        others = [other for other_name, other in mixed.items() if other_name != name]
        if not others:
            continue
        intercept, factor = fit_scale(
            np.concatenate([other.odds for other in others]),
            np.concatenate([other.machine for other in others]),
            np.concatenate([balanced_weights(other.machine) for other in others]),
        )
        odds = intercept + factor * one.odds
        scaled[name] = replace(one, odds=odds, probability=np.where(np.isnan(one.probability), np.float32(np.nan), probability_of(odds)))
    return scaled
