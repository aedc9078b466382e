"""Reads human text, scores it and makes the thresholds that keep the promise (`classifiers.calibration`)."""

import glob
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import DEFAULT_EDGES, Calibration, calibrate, judge
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, LabelledText, find_set, fraction_of, read_records, read_set
from classifiers.metrics import wilson_interval
from classifiers.text_batch import TextBatch
from classifiers.train import is_held_out

BATCH_TEXTS = 1_000
"""Texts scored at once."""
TEXTS_PER_SET = 10_000
"""Held-out texts of one shared set that are read, at most."""
SHIPPED_TEXTS_PER_SOURCE = 250
"""Texts of one set in one length group that the shipped thresholds rest on, at most: film reviews must not decide for essays."""


def score_human_text(scorer: AiDetectorScorer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """`ai_probability` (float32, nan where the detector abstains) and words (int32) of each text."""
    probabilities, words = [np.empty(0, np.float32)], [np.empty(0, np.int32)]
    for start in range(0, len(texts), BATCH_TEXTS):
        batch = TextBatch.of([text.encode("utf-8", "replace").decode() for text in texts[start : start + BATCH_TEXTS]])
        probabilities.append(scorer.score(batch)["ai_probability"].to_numpy(zero_copy_only=False).astype(np.float32))
        words.append(batch.words.counts)
    return np.concatenate(probabilities), np.concatenate(words)


def read_human_globs(patterns: Sequence[str]) -> dict[str, list[str]]:
    """Texts of each glob of JSON lines; of labelled records only the human ones. One glob is one source.

    Raises FileNotFoundError for a glob that matches nothing, ValueError (`MalformedLine`, with file and line) for a bad line.
    """
    sources: dict[str, list[str]] = {}
    for pattern in patterns:
        paths = sorted(glob.glob(pattern, recursive=True))
        if not paths:
            raise FileNotFoundError(f"--human {pattern}: no such file")
        sources[pattern] = [record["text"] for path in paths for record in read_records(path) if record.get("label", "human") == "human"]
    return sources


def read_held_out_human(folder: str, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS) -> dict[str, list[LabelledText]]:
    """Clean human texts that training never saw, of each of `sets` in `folder`, at most `TEXTS_PER_SET` (those that hash lowest)."""
    sources: dict[str, list[LabelledText]] = {}
    for name in sets:
        find_set(folder, name)
        chosen = [text for text in read_set(folder, name) if not text.is_machine and text.attack == "none" and is_held_out(text)]
        sources[name] = sorted(chosen, key=lambda text: fraction_of(text.text, 1))[:TEXTS_PER_SET]
    return sources


def read_sources(patterns: Sequence[str] | None, folder: str) -> tuple[dict[str, list[str]], int | None]:
    """Human texts of each source, and how many of one may count in a length group: the globs' (all), or those that ship thresholds rest on.

    Raises ValueError unless either `patterns` or `folder` is given; what `read_human_globs` and `read_held_out_human` raise.
    """
    if bool(patterns) == bool(folder):
        raise ValueError("give either --human GLOB, once for each source of human text, or --data FOLDER of the labelled sets")
    if patterns:
        return read_human_globs(patterns), None
    return {name: [text.text for text in texts] for name, texts in read_held_out_human(folder).items()}, SHIPPED_TEXTS_PER_SOURCE


def calibrate_on(scorer: AiDetectorScorer, sources: Mapping[str, Sequence[str]], edges: Sequence[int] = DEFAULT_EDGES) -> Calibration:
    """Thresholds of `scorer` from all human texts of all sources."""
    return calibrate({name: score_human_text(scorer, texts) for name, texts in sources.items()}, scorer.version, edges)


def calibrate_shipped(
    scorer: AiDetectorScorer, folder: str, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS, max_scored: int | None = None
) -> Calibration:
    """The default thresholds: from held-out human text of `sets` in `folder`, `SHIPPED_TEXTS_PER_SOURCE` of each at most.

    Of each set the first `max_scored` texts of a length group are scored, or all: a slow detector need not score what is not counted.
    """
    held_out = {name: first_of_each_length(texts, max_scored) for name, texts in read_held_out_human(folder, sets).items()}
    scores = {name: score_human_text(scorer, [text.text for text in texts]) for name, texts in held_out.items()}
    return calibrate(scores, scorer.version, DEFAULT_EDGES, SHIPPED_TEXTS_PER_SOURCE)


def by_turns(
    scores: Mapping[str, tuple[np.ndarray, np.ndarray]],
    max_false_positive_rate: float,
    edges: Sequence[int] = DEFAULT_EDGES,
    max_texts_per_source: int | None = None,
) -> dict[str, list[dict]]:
    """What the promise is worth for text of another origin: the realised rate of each source under thresholds from all the others.

    `scores` are as `score_human_text` gives them. For each source one row a length group: `texts` that could be judged, `flagged` of
    them, `rate` and its 95 % `interval` (Wilson); nan where no text could be judged. Raises ValueError with fewer than two sources, or
    for a rate that cannot be promised.
    """
    if len(scores) < 2:
        raise ValueError(f"by turns each source is judged by the others: give at least two sources, not {len(scores)}")
    rows: dict[str, list[dict]] = {}
    for name, (probability, words) in scores.items():
        others = {other: some for other, some in scores.items() if other != name}
        thresholds = calibrate(others, "by turns", edges, max_texts_per_source).thresholds(max_false_positive_rate)
        flagged, judged = judge(probability, words, thresholds)
        group = np.searchsorted(np.array(thresholds.edges), words, side="right") - 1
        rows[name] = [_realised(flagged, judged & (group == index)) for index in range(len(thresholds.edges))]
    return rows


def print_by_turns(rows: Mapping[str, Sequence[Mapping]], edges: Sequence[int], report: Callable[[str], None]) -> None:
    """The table of `by_turns`: one line a source, one column a length group, each with the number of texts judged."""
    report("human texts flagged, of those judged, by thresholds from all other sources:")
    report(" " * 34 + "".join(f"{f'from {edge} words':>18}" for edge in edges))
    for name, groups in rows.items():
        cells = [f"{row['rate']:.3f} of {row['texts']:,}" if row["texts"] else "-" for row in groups]
        report(f"  {name[-32:]:<32}" + "".join(f"{cell:>18}" for cell in cells))


def _realised(flagged: np.ndarray, judged: np.ndarray) -> dict:
    texts, found = int(judged.sum()), int((flagged & judged).sum())
    return {"texts": texts, "flagged": found, "rate": found / texts if texts else float("nan"), "interval": wilson_interval(found, texts)}


def first_of_each_length(texts: Sequence[LabelledText], count: int | None) -> list[LabelledText]:
    """The first `count` of `texts` in each length group, in order; None: all of them."""
    if count is None or not texts:
        return list(texts)
    words = TextBatch.of([text.text.encode("utf-8", "replace").decode() for text in texts]).words.counts
    groups = np.searchsorted(np.array(DEFAULT_EDGES), words, side="right")
    chosen = np.sort(np.concatenate([np.flatnonzero(groups == group)[:count] for group in range(len(DEFAULT_EDGES) + 1)]))
    return [texts[index] for index in chosen.tolist()]


def describe(calibration: Calibration, max_false_positive_rate: float, report: Callable[[str], None]) -> None:
    """Prints the thresholds at one rate, and which groups cannot keep it."""
    chosen = calibration.thresholds(max_false_positive_rate)
    report(f"detector {calibration.detector}, calibration {calibration.digest}: at most {max_false_positive_rate:.2%} of human texts flagged")
    ends = [*(f"{edge - 1}" for edge in calibration.edges[1:]), "more"]
    for edge, end, count, threshold in zip(calibration.edges, ends, calibration.counts, chosen.thresholds, strict=True):
        verdict = f"flag above {threshold:.6f}" if not np.isnan(threshold) else "too few human texts for this rate: abstains"
        report(f"  {edge:>5} to {end:>5} words, {count:>6} human texts: {verdict}")
