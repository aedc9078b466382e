"""Thresholds that keep a promise: of human texts like those calibrated on, at most the stated share is flagged.

Split-conformal, one group of lengths at a time: the threshold at rate a is the ceil((n + 1)(1 - a))-th smallest of n human
scores, and a text is flagged when its score is above it. For a new human text exchangeable with those n the chance of a flag is
then at most a, for any distribution and any detector. Where n is too small for a rate (n < 1/a - 1), or a text is shorter than
the first group, nothing is judged.

With several sources of human text the promise holds for their mixture, in which a source may be limited to so many texts that no
single one decides, and for each source by itself that has `MIN_SOURCE_TEXTS` or more texts in a group: the threshold is the highest
of the mixture's and theirs. Of a source too small for a rate no text is flagged. For a kind of text that no source resembles nothing
is promised: whoever has such text calibrates on it.

*Source:* Vovk, Gammerman, Shafer 2005, "Algorithmic Learning in a Random World", section 4 (Mondrian conformal predictors);
length groups for AI-text detection: arXiv 2505.05084.
"""

import functools
import hashlib
import importlib.resources
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

LOWEST_RATE, HIGHEST_RATE = 0.0005, 0.2
"""False-positive rates that can be asked for, both inclusive."""
_ROUND_RATES = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15}
RATES = tuple(sorted({float(f"{rate:.3g}") for rate in np.geomspace(LOWEST_RATE, HIGHEST_RATE, 120)} | _ROUND_RATES))
"""Rates whose thresholds are kept; a rate between two takes the smaller one's threshold, which keeps its promise too."""
DEFAULT_EDGES = (50, 100, 200, 400)
"""First word count of each length group; the last group has no upper end."""
MIN_SOURCE_TEXTS = 50
"""Texts in a length group from which on a source is kept a promise of its own; fewer say too little, and count in the mixture only."""
FORMAT = 1


@dataclass(frozen=True)
class LengthThresholds:
    """Thresholds of each length group at one false-positive rate."""

    max_false_positive_rate: float
    """The promise: at most this share of human texts is flagged, in every group."""
    edges: tuple[int, ...]
    """First word count of each group, ascending."""
    thresholds: tuple[float, ...]
    """A text of the group is flagged when its probability is above this; nan: the group cannot be judged at this rate."""
    calibration_digest: str
    """Which calibration they come from."""


@dataclass(frozen=True)
class Calibration:
    """Human scores of one detector, condensed to the thresholds of every rate."""

    detector: str
    """Version of the detector whose scores these are; thresholds mean nothing for another."""
    edges: tuple[int, ...]
    """First word count of each length group, ascending, at least 1."""
    counts: tuple[int, ...]
    """Human texts that each group's thresholds rest on."""
    rates: tuple[float, ...]
    """Rates with a threshold, ascending."""
    table: tuple[tuple[float, ...], ...]
    """Threshold of each group (outer) at each rate (inner), falling as the rate grows; nan where the group's sample is too small."""
    sources: tuple[str, ...] = ()
    """What the human texts were."""

    def __post_init__(self):
        if not self.edges or list(self.edges) != sorted(set(self.edges)) or self.edges[0] < 1:
            raise ValueError(f"edges must be ascending word counts from 1 on, not {self.edges}")
        if len(self.counts) != len(self.edges) or len(self.table) != len(self.edges):
            raise ValueError(f"{len(self.edges)} length groups need as many counts and thresholds, not {len(self.counts)} and {len(self.table)}")
        if not self.rates or list(self.rates) != sorted(set(self.rates)) or not 0 < self.rates[0] <= self.rates[-1] < 1:
            raise ValueError("rates must be ascending numbers between 0 and 1")
        for edge, row in zip(self.edges, self.table, strict=True):
            known = [value for value in row if not math.isnan(value)]
            if len(row) != len(self.rates) or known != sorted(known, reverse=True) or any(map(math.isnan, row[len(row) - len(known) :])):
                raise ValueError(f"thresholds of the group from {edge} words must be one a rate and fall as the rate grows")

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that change whenever a threshold does."""
        return hashlib.blake2b(self.to_json(), digest_size=8).hexdigest()

    def thresholds(self, max_false_positive_rate: float) -> LengthThresholds:
        """Thresholds for a rate from `LOWEST_RATE` to `HIGHEST_RATE`; of a rate that is not kept, those of the next smaller one.

        Raises ValueError outside that range.
        """
        if not LOWEST_RATE <= max_false_positive_rate <= HIGHEST_RATE:
            raise ValueError(f"max_false_positive_rate must be from {LOWEST_RATE} to {HIGHEST_RATE}, not {max_false_positive_rate}")
        column = int(np.searchsorted(np.array(self.rates), max_false_positive_rate, side="right")) - 1
        values = tuple(row[column] if column >= 0 else math.nan for row in self.table)
        return LengthThresholds(max_false_positive_rate, self.edges, values, self.digest)

    def to_json(self) -> bytes:
        """The calibration as one JSON object; nan is written as null."""
        groups = [
            {"min_words": edge, "human_texts": count, "thresholds": [None if math.isnan(value) else value for value in row]}
            for edge, count, row in zip(self.edges, self.counts, self.table, strict=True)
        ]
        record = {"format": FORMAT, "detector": self.detector, "sources": list(self.sources), "rates": list(self.rates), "groups": groups}
        return orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"


def load_calibration(path: str | None = None) -> Calibration:
    """The calibration at `path`, or the shipped one. Raises OSError, ValueError (naming the file) when it is not one."""
    return _shipped_calibration() if path is None else _read_calibration(path)


@functools.cache
def _shipped_calibration() -> Calibration:
    with importlib.resources.as_file(importlib.resources.files("classifiers") / "weights" / "calibration.json") as path:
        return _read_calibration(str(path))


def _read_calibration(path: str) -> Calibration:
    with open(path, "rb") as file:
        content = file.read()
    try:
        record = orjson.loads(content)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, this version reads {FORMAT}")
        groups = record["groups"]
        return Calibration(
            detector=record["detector"],
            edges=tuple(group["min_words"] for group in groups),
            counts=tuple(group["human_texts"] for group in groups),
            rates=tuple(record["rates"]),
            table=tuple(tuple(math.nan if value is None else float(value) for value in group["thresholds"]) for group in groups),
            sources=tuple(record["sources"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a calibration: {error}") from error


def judge(ai_probability: np.ndarray, words: np.ndarray, thresholds: LengthThresholds) -> tuple[np.ndarray, np.ndarray]:
    """Which texts are flagged, and which could be judged at all, as two bool arrays; what is not judged is not flagged.

    `ai_probability` is float32, nan where the detector abstained; `words` is int32 (`TextBatch.words.counts`).
    """
    group = np.searchsorted(np.array(thresholds.edges), words, side="right") - 1
    limit = np.append(np.array(thresholds.thresholds, np.float64), math.nan)[group]
    probability = np.asarray(ai_probability, np.float64)
    judged = ~np.isnan(limit) & ~np.isnan(probability)
    return judged & (np.where(judged, probability, 0.0) > np.where(judged, limit, 1.0)), judged


def calibrate(
    scores_by_source: Mapping[str, tuple[np.ndarray, np.ndarray]],
    detector: str,
    edges: Sequence[int] = DEFAULT_EDGES,
    max_texts_per_source: int | None = None,
) -> Calibration:
    """Thresholds from human texts: for each source their probabilities (float32, nan where abstained) and words (int32).

    In the mixture the first `max_texts_per_source` texts of each source in a length group count, or all; for a source's own promise
    all of them. Raises ValueError for impossible edges.
    """
    edges = tuple(edges)
    samples: list[list[np.ndarray]] = [[] for _ in edges]
    for probability, words in scores_by_source.values():
        group = np.searchsorted(np.array(edges), words, side="right") - 1
        for index in range(len(edges)):
            samples[index].append(np.asarray(probability, np.float64)[(group == index) & ~np.isnan(probability)])
    pools = [np.sort(np.concatenate([np.empty(0), *(sample[:max_texts_per_source] for sample in group)])) for group in samples]
    table = tuple(_thresholds_of_group(pool, group) for pool, group in zip(pools, samples, strict=True))
    return Calibration(detector, edges, tuple(len(pool) for pool in pools), RATES, table, tuple(scores_by_source))


def _thresholds_of_group(ascending_pool: np.ndarray, samples: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The threshold at each of `RATES`: the mixture's, or that of the source among `samples` whose threshold is highest."""
    highest = np.array([conformal_threshold(ascending_pool, rate) for rate in RATES])
    for sample in samples:
        if len(sample) >= MIN_SOURCE_TEXTS:
            ascending = np.sort(sample)
            # Below the lowest rate that a source can promise, its highest score stands: one in n + 1 is as strict as it can be.
            own = [conformal_threshold(ascending, max(rate, 1.0 / (len(ascending) + 1))) for rate in RATES]
            highest = np.maximum(highest, own)
    return tuple(highest.tolist())


def conformal_threshold(ascending_scores: np.ndarray, rate: float) -> float:
    """The ceil((n + 1)(1 - rate))-th smallest of n human scores, or nan when n is too small to promise `rate`."""
    count = len(ascending_scores)
    # The small subtraction undoes rounding of (n + 1)(1 - rate) just above a whole number; it cannot skip a rank.
    rank = math.ceil((count + 1) * (1.0 - rate) - 1e-9)
    return float(ascending_scores[rank - 1]) if 1 <= rank <= count else math.nan
