"""How much of a pool of unlabelled texts did models write? An estimate with an interval, from scores alone.

The share of flagged texts is no answer: a threshold that spares people misses most machine text. The scores of the pool are taken
for a mixture of human and of machine scores instead, and the share is what explains them best, length group by length group. What
human and machine scores look like differs from one source of text to the next, far more than chance would have it. So the
mixture is solved a thousand times, each time with another pair of known sources, moved by as much as sources of one set differ;
pairs that explain the pool badly count for little. The middle 95 % of the answers hold the sampling error of the pool and of the
reference, and the difference between known sources. A pool's source is another one: the interval is therefore widened on either side by as
much as the worst of the reference's own sets needed when it was left out (`Reference.margins`). A set that is worse than all of them, such as
a new way of writing, it cannot hold.

*Source:* Forman 2008, "Quantifying counts and costs via classification", section 2 (mixture model); Saerens, Latinne, Decaestecker
2002, "Adjusting the outputs of a classifier to new a priori probabilities", section 2.2 (maximum likelihood of the share); Romano,
Patterson, Candes 2019, "Conformalized quantile regression", section 3 (widening by residuals of what was left out).
"""

import functools
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from classifiers.calibration import DEFAULT_EDGES

FORMAT = 2
FILE_NAME = "prevalence.json"
"""The shipped references, within `classifiers/weights`."""
SCORE_EDGES = np.arange(-6.0, 6.25, 0.5)
"""Log odds at which one bin of scores ends and the next begins."""
NUM_BINS = len(SCORE_EDGES) + 1
LENGTH_EDGES = DEFAULT_EDGES
"""First word count of each length group."""
SHAPE = (len(LENGTH_EDGES), NUM_BINS)
"""Of an array of counts: length groups x bins."""
DRAWS = 1_000
"""Pairs of sources that the mixture is solved with."""
LEFT_OUT_SHIFT, HELD_OUT_SHIFT = 0.5, 0.8
"""Log odds by which a drawn source is moved, as standard deviation: where the detector knew no text of the source's set, and where it
was trained on other texts of that set, which makes scores better than they are elsewhere."""
WEIGHED_TEXTS = 20
"""Texts of the pool that speak for or against a pair, at most. More would trust the reference too much: sources differ in shape too."""
PRIOR_TEXTS = 30
"""Texts of all sources together that are added to each source, so that no bin of a small one is empty."""
LEAK = 0.01
"""Share of a source that is taken to be spread evenly over all bins."""
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class ReferenceSource:
    """Scores of texts of known origin that the detector was not trained on."""

    name: str
    """Unique in a reference: set, and domain or generator."""
    set_name: str
    """Sources of one set are together as likely as those of another."""
    is_machine: bool
    """Whether models wrote them."""
    counts: np.ndarray
    """int64[length groups, bins]: `count_scores` of them."""

    def __post_init__(self):
        if self.counts.shape != SHAPE or self.counts.min(initial=0) < 0 or not self.counts.any():
            raise ValueError(f"{self.name}: counts must be {SHAPE[0]} x {SHAPE[1]} whole numbers from 0 on, not all 0")


@dataclass(frozen=True, eq=False)
class Reference:
    """What one detector's scores look like on human and on machine text."""

    detector: str
    """Version of the detector; another's scores mean something else."""
    made_of: str
    """A sentence: which texts, and how far the detector knows them."""
    sources: tuple[ReferenceSource, ...]
    """At least one of each kind."""
    shift: float = LEFT_OUT_SHIFT
    """Log odds by which sources are moved, as standard deviation, from 0 to 3."""
    margins: tuple[float, float] = (0.0, 0.0)
    """How far an interval reaches below and above the middle answers, in shares from 0 to 1 (`reference_scores.fit_margins`)."""

    def __post_init__(self):
        if len(self.margins) != 2 or not all(0 <= margin <= 1 for margin in self.margins):
            raise ValueError(f"margins must be two shares from 0 to 1, not {self.margins}")
        if not 0 <= self.shift <= 3:
            raise ValueError(f"shift must be from 0 to 3 log odds, not {self.shift}")
        if {source.is_machine for source in self.sources} != {False, True}:
            raise ValueError("a reference needs human and machine sources")
        if len({source.name for source in self.sources}) != len(self.sources):
            raise ValueError("the sources of a reference must have different names")

    def without_sets(self, names: Sequence[str]) -> "Reference":
        """The reference without the sources of some sets, and without margins, which those sets had a part in: to try it on them."""
        return Reference(self.detector, self.made_of, tuple(source for source in self.sources if source.set_name not in names), self.shift)

    def pools(self) -> dict[tuple[str, bool], np.ndarray]:
        """For each set, and whether models wrote the texts, all its scores (int64[length groups, bins])."""
        pools: dict[tuple[str, bool], np.ndarray] = {}
        for source in self.sources:
            key = source.set_name, source.is_machine
            pools[key] = pools.get(key, 0) + source.counts
        return pools

    @functools.cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """float64[`DRAWS`, length groups, bins] twice: the human and the machine scores of each drawn pair, as shares of a length group."""
        random = np.random.default_rng(0)
        human, machine = ([source for source in self.sources if source.is_machine == kind] for kind in (False, True))
        return _draw(human, self.shift, random), _draw(machine, self.shift, random)


@dataclass(frozen=True)
class ShareEstimate:
    """How much of a pool models wrote."""

    texts: int
    """Texts of the pool that the detector could judge; the others are not spoken of."""
    share: float
    """The middle answer, 0 to 1."""
    low: float
    """Lower end of the interval of level `LEVEL`."""
    high: float
    """Upper end."""


def count_scores(ai_probability: np.ndarray, words: np.ndarray) -> np.ndarray:
    """int64[length groups, bins]: how many texts have which log odds. Those of nan (abstained) or too few words are left out.

    `ai_probability` is float32[n] from 0 to 1, `words` int32[n]. Counts of parts add up to the count of the whole.
    """
    group = np.searchsorted(np.array(LENGTH_EDGES), words, side="right") - 1
    chosen = ~np.isnan(ai_probability) & (group >= 0)
    probability = np.clip(ai_probability[chosen].astype(np.float64), 1e-9, 1 - 1e-9)
    bins = np.searchsorted(SCORE_EDGES, np.log(probability / (1 - probability)), side="right")
    return np.bincount(group[chosen] * NUM_BINS + bins, minlength=SHAPE[0] * SHAPE[1]).reshape(SHAPE)


def estimate_share(counts: np.ndarray, reference: Reference) -> ShareEstimate | None:
    """The share of machine text among the texts behind `counts` (`count_scores`); None of no texts. Deterministic.

    About 0.1 CPU-seconds, after as much for the reference's first use.
    """
    used = counts.any(axis=1)
    if not used.any():
        return None
    counts = counts[used]
    sizes = counts.sum(axis=1)
    human, machine = (part[:, used] for part in reference.pairs)
    random = np.random.default_rng(1)
    drawn = np.stack([random.multinomial(size, row / size, DRAWS) for size, row in zip(sizes, counts, strict=True)], axis=1)
    shares = solve_mixture(drawn, human, machine)
    explained = human + shares[..., None] * (machine - human)
    found = counts / sizes[:, None]
    # The distance (Kullback and Leibler) of the pool from each mixture, by size of the length groups.
    distance = (np.where(found > 0, found * np.log(np.maximum(found, 1e-12) / explained), 0.0).sum(axis=-1) * sizes).sum(axis=1) / sizes.sum()
    weights = np.exp(-min(WEIGHED_TEXTS, int(sizes.sum())) * (distance - distance.min()))
    answers = (shares * sizes).sum(axis=1) / sizes.sum()
    low, share, high = weighted_quantiles(answers, weights, ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    below, above = reference.margins
    return ShareEstimate(int(sizes.sum()), share, max(0.0, low - below), min(1.0, high + above))


def solve_mixture(counts: np.ndarray, human: np.ndarray, machine: np.ndarray) -> np.ndarray:
    """The share (0 to 1) that makes `counts` likeliest as a mixture `(1 - share) * human + share * machine`, over the last axis.

    All arrays have the same shape; `human` and `machine` hold positive shares that sum to 1. The likelihood has one top, found by halving
    to 1e-6.
    """
    gap = machine - human
    low, high = np.zeros(counts.shape[:-1]), np.ones(counts.shape[:-1])
    for _ in range(20):
        middle = (low + high) / 2
        rises = (counts * gap / (human + middle[..., None] * gap)).sum(axis=-1) > 0
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    return (low + high) / 2


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels: Sequence[float]) -> list[float]:
    """For each level the smallest of `values` up to which at least that share of all weight lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][min(int(np.searchsorted(reached, level)), len(values) - 1)]) for level in levels]


def shift_scores(shares: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Shares of bins (float64[n, groups, bins]) moved up by `shift` (float64[n]) log odds, linearly within a bin; the ends take what leaves."""
    steps = shift / (SCORE_EDGES[1] - SCORE_EDGES[0])
    whole = np.floor(steps).astype(np.int64)
    part = (steps - whole)[:, None, None]
    below = np.concatenate([np.zeros((*shares.shape[:-1], 1)), np.cumsum(shares, axis=-1)], axis=-1)
    places = np.arange(NUM_BINS + 1)

    def moved(by: np.ndarray) -> np.ndarray:
        index = np.clip(places - by[:, None], 0, NUM_BINS)[:, None, :]
        return np.take_along_axis(below, np.broadcast_to(index, below.shape), axis=-1)

    below = (1 - part) * moved(whole) + part * moved(whole + 1)
    below[..., 0], below[..., -1] = 0.0, shares.sum(axis=-1)
    return np.diff(below, axis=-1)


def _draw(sources: Sequence[ReferenceSource], shift: float, random: np.random.Generator) -> np.ndarray:
    """Scores of `DRAWS` sources: each a known one with its sampling error, moved by a random shift."""
    counts = np.stack([source.counts for source in sources]).astype(np.float64)
    sets = [source.set_name for source in sources]
    chance = np.array([1 / sets.count(name) for name in sets])
    # A source without texts of some length takes all sources' scores there.
    together = np.stack(
        [counts[:, group][counts[:, group].any(axis=1)].sum(axis=0) if counts[:, group].any() else np.ones(NUM_BINS) for group in range(SHAPE[0])]
    )
    counts += PRIOR_TEXTS * together / together.sum(axis=1, keepdims=True)
    chosen = random.choice(len(sources), DRAWS, p=chance / chance.sum())
    drawn = random.standard_gamma(counts[chosen]) + 1e-12
    moved = shift_scores(drawn / drawn.sum(axis=-1, keepdims=True), random.normal(0, shift, DRAWS))
    return (1 - LEAK) * moved + LEAK / NUM_BINS


def to_json(references: Mapping[str, Reference]) -> bytes:
    """References by version of their detector as one JSON object."""
    record = {
        "format": FORMAT,
        "log_odds_edges": SCORE_EDGES.tolist(),
        "word_edges": list(LENGTH_EDGES),
        "detectors": [
            {
                "detector": one.detector,
                "made_of": one.made_of,
                "shift": one.shift,
                "margins": one.margins,
                "sources": [
                    {"name": source.name, "set": source.set_name, "is_machine": source.is_machine, "counts": source.counts.tolist()}
                    for source in one.sources
                ],
            }
            for one in references.values()
        ],
    }
    return orjson.dumps(record) + b"\n"


def read_references(path: str) -> dict[str, Reference]:
    """References of the file at `path`, by version of their detector. Raises OSError, ValueError (naming the file) when it holds none."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        record = orjson.loads(content)
        if record["format"] != FORMAT or record["log_odds_edges"] != SCORE_EDGES.tolist() or record["word_edges"] != list(LENGTH_EDGES):
            raise ValueError("of another format: make it again with `python -m classifiers reference`")
        return {one["detector"]: _read_reference(one) for one in record["detectors"]}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a file of reference scores: {error}") from error


def _read_reference(record: Mapping) -> Reference:
    sources = tuple(
        ReferenceSource(source["name"], source["set"], source["is_machine"], np.array(source["counts"], np.int64)) for source in record["sources"]
    )
    return Reference(record["detector"], record["made_of"], sources, record["shift"], tuple(record["margins"]))


@functools.cache
def shipped_references() -> dict[str, Reference]:
    """The references that ship, by version of their detector; read once a process."""
    with importlib.resources.as_file(importlib.resources.files("classifiers") / "weights" / FILE_NAME) as path:
        return read_references(str(path))
