"""How well the trained quality classifier ranks judged text, beside the heuristic and two baselines; and what it says of machine text.

Every figure is the chance that a good text scores above a bad one of the same set (AUROC). `unseen` is the honest one: weights
trained on the other sets alone. `held out` are other texts of sets that were trained on. `better rank` and `lower rank` are those of the heuristic and
the unseen weights together, as `quality_ensemble` has the first; ranks within the other sets' texts. The baselines are the length of the text,
and a regression on punctuation, white space and mark-up counts, fitted on the other sets.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from classifiers.format_baseline import fit_format_baseline, format_features
from classifiers.labelled_text import fraction_of, has_set, read_set
from classifiers.metrics import auroc, measure_separation
from classifiers.quality import QualityScorer
from classifiers.quality_texts import QUALITY_SETS, QualityText
from classifiers.text_batch import TextBatch
from classifiers.train_quality import QualityCorpus, QualityTrainSettings, log_odds_of, train_quality
from classifiers.trained_quality import QualityModel

FORMAT_TEXTS = 400
"""Texts of one set and label that the format baseline is fitted to and tried on, at most: its patterns are slow."""
MACHINE_TEXTS = 1_000
"""Texts of one set and label that are scored to compare human and machine text, at most."""
PAIRED_SETS = ("l2r21", "raidar", "detectrl", "outfox", "sakibsh_llm", "rexshijaku")
"""Sets with human and machine text of one kind."""
REPEATS = 200
"""Draws of the bootstrap."""
BATCH_TEXTS = 1_000


def evaluate_quality(
    folder: str, settings: QualityTrainSettings, sets: Sequence[str] = QUALITY_SETS, report: Callable[[str], None] = lambda _: None
) -> tuple[QualityModel, dict]:
    """The model that training gives, and the report on it: `sets` and `machine_text`, tables as `report_tables` prints them.

    Raises what `train_quality` raises. About two CPU-minutes on the shared sets.
    """
    model, corpus, left_out = train_quality(folder, settings, sets, report)
    rows = quality_table(model, corpus, left_out, settings.seed)
    report("compared with the heuristic and the baselines")
    return model, {"sets": rows, "machine text": machine_table(folder, model)}


def quality_table(model: QualityModel, corpus: QualityCorpus, left_out: Mapping[str, np.ndarray], seed: int) -> dict[str, dict]:
    """One row a set, and their mean."""
    by_set = {name: [text for text in corpus.texts if text.set_name == name] for name in left_out}
    format_scores = _format_scores(by_set)
    heuristic = {name: score_heuristic([text.text for text in texts]) for name, texts in by_set.items()}
    rows = {}
    for name, texts in by_set.items():
        good = np.array([text.is_good for text in texts])
        held_out = [text for text in texts if text.is_held_out]
        groups = np.unique([text.group for text in texts], return_inverse=True)[1]
        measured = measure_separation(left_out[name], good, (), groups, REPEATS, seed)[0]
        ranks = np.stack([_rank_within([scores[other] for other in by_set if other != name], scores[name]) for scores in (left_out, heuristic)])
        rows[name] = {
            "good / bad": f"{good.sum():,} / {(~good).sum():,}",
            "trained, unseen": {"value": measured.value, "low": measured.low, "high": measured.high},
            "trained, held out": auroc(log_odds_of(model, held_out), np.array([text.is_good for text in held_out])),
            "heuristic": auroc(heuristic[name], good),
            "better rank": auroc(ranks.max(axis=0), good),
            "lower rank": auroc(ranks.min(axis=0), good),
            "length": auroc(np.array([float(len(text.text)) for text in texts]), good),
            "format": auroc(*format_scores[name]),
        }
    figures = ("trained, held out", "heuristic", "better rank", "lower rank", "length", "format")
    unseen = float(np.mean([row["trained, unseen"]["value"] for row in rows.values()]))
    rows["mean"] = {"trained, unseen": unseen, **{key: float(np.mean([row[key] for row in rows.values()])) for key in figures}}
    return rows


def machine_table(folder: str, model: QualityModel) -> dict[str, dict]:
    """For each set with human and machine text: mean probabilities of both, and the chance that a machine text scores above a human one.

    One half would be no preference. Sets that `folder` lacks are left out.
    """
    rows = {}
    for name in PAIRED_SETS:
        if not has_set(folder, name):
            continue
        texts = sorted((text for text in read_set(folder, name) if text.attack == "none"), key=lambda text: fraction_of(text.text, 0))
        kept = [text for label in (False, True) for text in [one for one in texts if one.is_machine == label][:MACHINE_TEXTS]]
        machine = np.array([text.is_machine for text in kept], bool)
        strings = [text.text.encode("utf-8", "replace").decode() for text in kept]
        trained = model.probability(TextBatch.of(strings)).astype(np.float64)
        rows[name] = {
            "human / machine": f"{(~machine).sum():,} / {machine.sum():,}",
            "trained: mean of human": float(trained[~machine].mean()),
            "of machine": float(trained[machine].mean()),
            "machine above human": auroc(trained, machine),
            "heuristic: machine above human": auroc(score_heuristic(strings), machine),
        }
    return rows


def score_heuristic(texts: Sequence[str]) -> np.ndarray:
    """`quality` (float64[n]) of each text, as the scorer of that name gives it."""
    scorer = QualityScorer()
    batches = [texts[at : at + BATCH_TEXTS] for at in range(0, len(texts), BATCH_TEXTS)]
    return np.concatenate([np.empty(0), *(scorer.score(TextBatch.of(batch))["quality"].to_numpy() for batch in batches)]).astype(np.float64)


def _rank_within(others: Sequence[np.ndarray], scores: np.ndarray) -> np.ndarray:
    """Share (float64[n]) of the texts of `others` that score below each of `scores`, equal ones counted half."""
    ordered = np.sort(np.concatenate(others))
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(ordered))


def _format_scores(by_set: Mapping[str, Sequence[QualityText]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores of some texts of each set by the format baseline fitted to the other sets, and their labels (bool)."""
    chosen = {}
    for name, texts in by_set.items():
        ordered = sorted(texts, key=lambda text: fraction_of(text.text, 0))
        chosen[name] = [text for label in (True, False) for text in [one for one in ordered if one.is_good == label][:FORMAT_TEXTS]]
    features = {name: format_features([text.text for text in texts]) for name, texts in chosen.items()}
    labels = {name: np.array([text.is_good for text in texts], bool) for name, texts in chosen.items()}
    scores = {}
    for name in chosen:
        others = [other for other in chosen if other != name]
        good = np.concatenate([labels[other] for other in others])
        weights = np.concatenate([np.where(labels[other], 0.5 / labels[other].sum(), 0.5 / (~labels[other]).sum()) for other in others])
        factors = fit_format_baseline(np.concatenate([features[other] for other in others]), good.astype(np.float64), weights)
        scores[name] = features[name] @ factors, labels[name]
    return scores
