"""What a detector finds, what it wrongly flags, and how much of that storage alone would give away.

`evaluate` measures any detector on texts that the training of the shipped weights never saw. `evaluate_leaving_sets_out`
(`classifiers.leave_out`) trains the fast one again without each set and tests on all of it: the honest figure for text of another
origin. False positives stand twice, under the thresholds as they are and by turns: there the thresholds that judge a set's human
texts come from the other sets alone.

A report is nested plain values: sections, in each of them rows by name, in each row cells by name. A cell is a number, a name, a
figure `{"value", "low", "high"}` or a share `{"share", "low", "high", "of"}`, both with 95 % intervals.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from classifiers.ai_detector import probability_of
from classifiers.calibrate import SHIPPED_TEXTS_PER_SOURCE
from classifiers.calibration import DEFAULT_EDGES, Calibration, LengthThresholds, calibrate, judge
from classifiers.detectors import Detector
from classifiers.format_baseline import fit_format_baseline, format_features
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, UNSEEN_SETS, LabelledText, fraction_of, has_set, read_set
from classifiers.metrics import calibration_error, measure_separation, reliability, wilson_interval
from classifiers.train import balanced_weights, batch_of, is_held_out

RATES = {"TPR@1%": 0.01, "TPR@5%": 0.05}
"""False-positive rates at which true positives are counted."""
REPEATS = 400
"""Draws of the bootstrap behind the intervals of a set; generators and attacks, of which there are many, get half."""
MAX_TEXTS = 4_000
"""Texts of one set, label and attack that are scored, at most, unless told otherwise."""
FORMAT_TEXTS = 1_500
"""Texts of one set and label that the format-only baseline is fitted to, at most."""
WRITERS = {
    "native: student essays": ("outfox", "student_essay"),
    "native: essays": ("sakibsh_llm", "essay"),
    "non-native: TOEFL essays": ("rexshijaku", "toefl_essay"),
}
"""Human essays, whose writers grew up with English or learned it later, by set and domain."""
BATCH_TEXTS = 1_000


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """Texts and what a detector made of them."""

    texts: Sequence[LabelledText]
    """The texts."""
    odds: np.ndarray
    """float64[n]: log odds, also where the detector abstained."""
    probability: np.ndarray
    """float32[n]: nan where it abstained."""
    words: np.ndarray
    """int32[n]."""

    @cached_property
    def machine(self) -> np.ndarray:
        """bool[n]: whether a model wrote it."""
        return np.array([text.is_machine for text in self.texts], bool)

    @cached_property
    def attacks(self) -> np.ndarray:
        """str[n]: how it was disguised, `none` for clean text; what was done to people's texts is called as what was done to models'."""
        return np.array([text.attack.removesuffix("_llm").removesuffix("_human") for text in self.texts], str)

    @cached_property
    def groups(self) -> np.ndarray:
        """int[n]: texts of equal number are rewrites of one original."""
        return np.unique([text.group for text in self.texts], return_inverse=True)[1] if self.texts else np.empty(0, int)

    def where(self, chosen: np.ndarray) -> "ScoredSet":
        """The texts at which `chosen` (bool[n]) is true."""
        texts = [text for text, keep in zip(self.texts, chosen.tolist(), strict=True) if keep]
        return ScoredSet(texts, self.odds[chosen], self.probability[chosen], self.words[chosen])


def evaluate(
    folder: str,
    detector: Detector,
    calibration: Calibration | None,
    max_false_positive_rate: float,
    seed: int = 0,
    max_texts: int = MAX_TEXTS,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
) -> dict:
    """Figures of `detector` on held-out texts of `sets` in `folder`, at most `max_texts` of each set, label and attack.

    Without a `calibration` thresholds are made from the held-out human texts themselves, as the shipped ones are. Raises
    FileNotFoundError for a set that is missing, ValueError for a rate that cannot be promised. Deterministic.
    """
    scored, format_texts = {}, []
    for name in sets:
        texts = read_set(folder, name)
        scored[name] = score_texts(detector, limit_texts([text for text in texts if is_held_out(text)], max_texts))
        if name in MIXED_SETS:
            clean = [text for text in texts if text.attack == "none" and not is_held_out(text)]
            format_texts += limit_texts(clean, FORMAT_TEXTS)
    human = {name: one.where(~one.machine & (one.attacks == "none")) for name, one in scored.items()}
    mixed = {name: one for name, one in scored.items() if name in MIXED_SETS}
    clean = clean_texts(mixed)
    thresholds = (calibration or balanced_calibration(human)).thresholds(max_false_positive_rate)
    turns = thresholds_by_turns(human, max_false_positive_rate)
    baseline = FormatBaseline(format_texts)
    unseen = {name: score_texts(detector, limit_texts(read_set(folder, name), max_texts)) for name in UNSEEN_SETS if has_set(folder, name)}
    report: dict = {
        "about": {
            "detector": detector.version,
            "texts": "held out of the training of the shipped weights, from sets that were trained on",
            "thresholds": f"calibration {calibration.digest}" if calibration else "made from the held-out human texts below",
            "max_false_positive_rate": max_false_positive_rate,
        },
        "sets": separation_table(clean, dict.fromkeys(clean, thresholds), seed, baseline),
        "generators": generator_table(clean, dict.fromkeys(mixed, thresholds), seed),
        "attacks": attack_table(mixed, dict.fromkeys(mixed, thresholds), seed),
        "lengths": _by_length_group(clean, thresholds, seed),
        "false_positives": {name: false_positives(one, thresholds) for name, one in human.items()},
        "false_positives_by_turns": {name: false_positives(one, turns[name]) for name, one in human.items()},
        "writers": writers_table(human, {"flagged": dict.fromkeys(human, thresholds), "flagged by turns": turns}),
        "unseen": {name: false_positives(one, thresholds) for name, one in unseen.items()},
    }
    return report | reliability_tables(clean)


def score_texts(detector: Detector, texts: Sequence[LabelledText]) -> ScoredSet:
    """What `detector` makes of `texts`."""
    odds, probability, words = [np.empty(0)], [np.empty(0, np.float32)], [np.empty(0, np.int32)]
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = batch_of(texts[start : start + BATCH_TEXTS])
        some_odds, abstained = detector.log_odds(batch)
        odds.append(some_odds)
        probability.append(np.where(abstained, np.float32(np.nan), probability_of(some_odds)))
        words.append(batch.words.counts)
    return ScoredSet(texts, np.concatenate(odds), np.concatenate(probability), np.concatenate(words))


def limit_texts(texts: Sequence[LabelledText], max_texts: int) -> list[LabelledText]:
    """Of each label and attack the `max_texts` whose hash is lowest, in the order of that hash."""
    taken: dict[tuple[bool, str], int] = {}
    chosen = []
    for text in sorted(texts, key=lambda text: fraction_of(text.text, 1)):
        cell = text.is_machine, text.attack
        taken[cell] = taken.get(cell, 0) + 1
        if taken[cell] <= max_texts:
            chosen.append(text)
    return chosen


class FormatBaseline:
    """The format-only baseline, fitted to clean texts in which every set and label weighs the same."""

    def __init__(self, texts: Sequence[LabelledText]):
        self._texts = texts
        self._features = format_features([text.text for text in texts])
        self._machine = np.array([text.is_machine for text in texts], bool)
        cells = [(text.set_name, text.is_machine) for text in texts]
        sizes = {cell: cells.count(cell) for cell in set(cells)}
        self._weights = np.array([1.0 / sizes[cell] for cell in cells])

    def score(self, texts: Sequence[LabelledText], without_set: str = "") -> np.ndarray:
        """Scores of `texts` by factors fitted without the texts of `without_set`; nan where there is no text of both labels to fit to."""
        used = np.array([text.set_name != without_set for text in self._texts], bool)
        machine = self._machine[used]
        if not used.any() or machine.all() or not machine.any():
            return np.full(len(texts), np.nan)
        factors = fit_format_baseline(self._features[used], machine, self._weights[used])
        return format_features([text.text for text in texts]) @ factors


def separation(one: ScoredSet, thresholds: LengthThresholds | None, seed: int, repeats: int = REPEATS) -> dict:
    """One row: texts, AUROC, true positives (abstentions not considered), and what the thresholds, if any, find of the machine texts."""
    measured = measure_separation(one.odds, one.machine, tuple(RATES.values()), one.groups, repeats, seed)
    row = {
        "human": int((~one.machine).sum()),
        "machine": int(one.machine.sum()),
        **{name: asdict(figure) for name, figure in zip(("AUROC", *RATES), measured, strict=True)},
    }
    if thresholds is None:
        return row
    flagged, judged = judge(one.probability, one.words, thresholds)
    return row | {"flagged": share_of(flagged[one.machine]), "abstained": float((~judged).mean()) if len(judged) else None}


def separation_table(
    sets: Mapping[str, ScoredSet], thresholds: Mapping[str, LengthThresholds | None], seed: int, baseline: FormatBaseline, left_out: bool = False
) -> dict:
    """A row of `separation` for each set, with the format-only baseline beside it (`left_out`: fitted without that set), and the means."""
    rows = {}
    for name, one in sets.items():
        format_scores = baseline.score(one.texts, name if left_out else "")
        by_format = measure_separation(format_scores, one.machine, tuple(RATES.values()))
        rows[name] = separation(one, thresholds[name], seed) | {
            f"format {key}": figure.value for key, figure in zip(("AUROC", *RATES), by_format, strict=True)
        }
    means = {key: float(np.mean([row[key]["value"] for row in rows.values()])) for key in ("AUROC", *RATES)}
    means |= {f"format {key}": float(np.mean([row[f"format {key}"] for row in rows.values()])) for key in ("AUROC", *RATES)}
    return rows | {"mean": means}


def share_of(hits: np.ndarray) -> dict | None:
    """Share of bool[n] `hits` with its Wilson interval; None of nothing."""
    if not len(hits):
        return None
    low, high = wilson_interval(int(hits.sum()), len(hits))
    return {"share": float(hits.mean()), "low": low, "high": high, "of": len(hits)}


def balanced_calibration(human: Mapping[str, ScoredSet]) -> Calibration:
    """Thresholds as the shipped ones are made, from these human texts."""
    scores = {name: (one.probability, one.words) for name, one in human.items()}
    return calibrate(scores, "evaluation", DEFAULT_EDGES, SHIPPED_TEXTS_PER_SOURCE)


def thresholds_by_turns(human: Mapping[str, ScoredSet], rate: float) -> dict[str, LengthThresholds]:
    """For each set the thresholds that come from all others."""
    return {name: balanced_calibration({other: one for other, one in human.items() if other != name}).thresholds(rate) for name in human}


def false_positives(one: ScoredSet, thresholds: LengthThresholds) -> dict:
    """Flagged share of the texts that could be judged, overall and by length group, and the share that could not."""
    flagged, judged = judge(one.probability, one.words, thresholds)
    row = {"all": share_of(flagged[judged])}
    for label, inside in length_groups(one.words, thresholds.edges).items():
        row[label] = share_of(flagged[judged & inside])
    return row | {"abstained": float((~judged).mean()) if len(judged) else None}


def length_groups(words: np.ndarray, edges: Sequence[int]) -> dict[str, np.ndarray]:
    """Which texts (bool[n]) lie in each length group, by a name such as `50-99 words`."""
    index = np.searchsorted(np.array(edges), words, side="right") - 1
    names = [f"{low}-{high - 1} words" for low, high in itertools.pairwise(edges)] + [f"{edges[-1]}+ words"]
    return {name: index == place for place, name in enumerate(names)}


def reliability_tables(sets: Mapping[str, ScoredSet]) -> dict:
    """Sections `reliability` (bins of all sets, in which each set and label weighs the same) and `calibration_error` (of each set)."""
    judged = {name: one.where(~np.isnan(one.probability)) for name, one in sets.items()}
    judged = {name: one for name, one in judged.items() if one.machine.any() and not one.machine.all()}
    errors = {name: calibration_error(one.probability, one.machine, balanced_weights(one.machine)) for name, one in judged.items()}
    if not judged:
        return {"reliability": {}, "calibration_error": {}}
    together = [
        np.concatenate(parts)
        for parts in zip(*((one.probability, one.machine, balanced_weights(one.machine)) for one in judged.values()), strict=True)
    ]
    bins = {
        f"{one.low:.2f}": {"texts": one.texts, "weight": one.weight, "said": one.probability, "machine": one.machine}
        for one in reliability(*together)
    }
    rows = {name: {"ECE": error} for name, error in errors.items()}
    rows["mean"] = {"ECE": float(np.mean(list(errors.values())))}
    return {"reliability": bins, "calibration_error": rows | {"all together": {"ECE": calibration_error(*together)}}}


def clean_texts(sets: Mapping[str, ScoredSet]) -> dict[str, ScoredSet]:
    """Of each set the texts that nobody disguised."""
    return {name: one.where(one.attacks == "none") for name, one in sets.items()}


def generator_table(sets: Mapping[str, ScoredSet], thresholds: Mapping[str, LengthThresholds | None], seed: int) -> dict:
    """A row of `separation` for each generator of each set, against the human texts of that set."""
    rows = {}
    for name, one in sets.items():
        generators = np.array([text.generator for text in one.texts], str)
        for generator in sorted(set(generators[one.machine])):
            chosen = one.where(~one.machine | (generators == generator))
            rows[f"{name}: {generator}"] = separation(chosen, thresholds[name], seed, REPEATS // 2)
    return rows


def attack_table(sets: Mapping[str, ScoredSet], thresholds: Mapping[str, LengthThresholds | None], seed: int) -> dict:
    """Disguised machine texts against clean human ones of their set; beside it how many human texts under the same attack are flagged."""
    rows = {}
    for name, one in sets.items():
        for attack in sorted(set(one.attacks)) if (one.attacks != "none").any() else ():
            same = one.attacks == attack
            row = separation(one.where((one.machine & same) | (~one.machine & (one.attacks == "none"))), thresholds[name], seed, REPEATS // 2)
            if thresholds[name] is not None:
                people = one.where(same & ~one.machine)
                row["flagged human"] = share_of(judge(people.probability, people.words, thresholds[name])[0])
            rows[f"{name}: {attack}"] = row
    return rows


def _by_length_group(sets: Mapping[str, ScoredSet], thresholds: LengthThresholds, seed: int) -> dict:
    parts = list(sets.values())
    together = ScoredSet(
        [text for one in parts for text in one.texts],
        *(np.concatenate([getattr(one, key) for one in parts]) for key in ("odds", "probability", "words")),
    )
    return {
        name: separation(together.where(inside), thresholds, seed, REPEATS // 2)
        for name, inside in length_groups(together.words, thresholds.edges).items()
    }


def writers_table(human: Mapping[str, ScoredSet], thresholds: Mapping[str, Mapping[str, LengthThresholds]]) -> dict:
    """False positives on essays of native and of non-native writers; `thresholds` are those of each set, by title of the column."""
    rows = {}
    for title, (name, domain) in WRITERS.items():
        if name not in human:
            continue
        essays = human[name].where(np.array([text.domain == domain for text in human[name].texts], bool))
        rows[f"{title} ({name})"] = {column: false_positives(essays, by_set[name])["all"] for column, by_set in thresholds.items()}
    return rows
