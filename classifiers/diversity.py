"""How varied texts are: figures that fall, or rise, long before a model trained on its own output collapses.

Lengths decide such figures more than anything else, so all are taken on excerpts of `EXCERPT_WORDS` words in groups of `GROUP_EXCERPTS`, and a
figure is its mean over the groups: data sets of any size compare. The interval comes from drawing groups again. People
repeat one another so rarely that the pairs within one set of groups are too few: self-repetition is the mean over `REGROUPINGS` sets (on 2,048 film reviews
its relative standard deviation falls from 8 % to 4 %).

*Source:* Shaib et al. 2024, "Standardizing the measurement of text diversity" (arXiv 2403.00553): compression ratio, self-repetition and the
need to match lengths; Li et al. 2016 (distinct-n); Salkar et al. 2022 (self-repetition); Shumailov et al. 2024 (loss of the tail).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from classifiers.text_batch import TextBatch
from classifiers.words import KIND_SYMBOL

EXCERPT_WORDS = 64
"""Words of an excerpt; shorter texts take no part."""
GROUP_EXCERPTS = 64
"""Excerpts of a group: 24 kB of English, within the window of the compressor."""
MIN_GROUPS = 2
"""Groups below which nothing is said."""
MAX_GROUPS = 32
"""Groups that are measured, at most: 131,072 words."""
REGROUPINGS = 32
"""Times that excerpts are put into groups, where repetitions are counted."""
BOOTSTRAP_DRAWS = 1_000
"""Times that the groups are drawn again for an interval."""
CONFIDENCE = 0.95
"""Probability with which an interval is made."""
HEAD_SHARE = 0.8
"""Share of a reference's words that its most frequent words make up; all other words are its tail."""
CLUSTER_SIMILARITY = 0.4
"""Cosine of two excerpts' words, the rare ones weighing more, from which they are of one cluster."""
_DIMENSIONS = 4_096
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)

FIGURES = ("compression_ratio", "distinct_1", "distinct_2", "distinct_3", "self_repetition", "tail_coverage", "cluster_concentration")
"""Names of the figures, in the order in which they are reported."""


@dataclass(frozen=True)
class Figure:
    """One figure of a data set."""

    value: float
    """Mean over the groups."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    groups: int
    """Groups that it was taken on."""


@dataclass(frozen=True)
class TailReference:
    """The tail of a human vocabulary, to which later texts are compared."""

    words: np.ndarray
    """uint64, ascending: hashes of the rare words."""
    types_per_group: float
    """Of these, how many different ones a group of other text of the reference holds on average."""


@dataclass(frozen=True)
class Excerpts:
    """Excerpts of equal length, each the hashes of its words and its bytes."""

    words: np.ndarray
    """uint64[n, EXCERPT_WORDS]."""
    texts: tuple[bytes, ...]
    """UTF-8 from the first word to the last."""
    rows: np.ndarray
    """int64[n]: the text that each was cut from."""

    def take(self, places: np.ndarray) -> Excerpts:
        """The excerpts at `places`, in that order."""
        return Excerpts(self.words[places], tuple(self.texts[place] for place in places.tolist()), self.rows[places])


def cut_excerpts(texts: pa.StringArray, seed: int = 0) -> Excerpts:
    """One excerpt of each text that has `EXCERPT_WORDS` words, in order; where it begins depends on the text and `seed` alone."""
    batch = TextBatch(texts)
    words = batch.words
    is_word = words.kinds != KIND_SYMBOL
    before = np.r_[0, np.cumsum(is_word)]
    first_word, counts = before[words.offsets[:-1]], words.counts.astype(np.int64)
    rows = np.flatnonzero(counts >= EXCERPT_WORDS)
    pieces = np.flatnonzero(is_word)
    first = first_word[rows]
    # What draws the place is the text itself: its first words and how many there are.
    drawn = (
        words.folded[pieces[first]] ^ (words.folded[pieces[first + EXCERPT_WORDS - 1]] + np.uint64(seed) * _GOLDEN) ^ counts[rows].astype(np.uint64)
    )
    begins = first + (_mix(drawn) % (counts[rows] - EXCERPT_WORDS + 1).astype(np.uint64)).astype(np.int64)
    cut = pieces[begins[:, None] + np.arange(EXCERPT_WORDS)] if len(rows) else np.empty((0, EXCERPT_WORDS), np.int64)
    data = memoryview(batch.utf8)
    spans = zip(words.begins[cut[:, 0]].tolist(), words.ends[cut[:, -1]].tolist(), strict=True)
    return Excerpts(words.folded[cut], tuple(bytes(data[begin:end]) for begin, end in spans), rows)


def measure_diversity(excerpts: Excerpts, reference: TailReference | None = None, seed: int = 0, names: Sequence[str] = FIGURES) -> dict[str, Figure]:
    """The figures `names` of the excerpts, of `FIGURES`, taken in groups in their order; without a reference there is no `tail_coverage`.

    Empty where there are fewer than `MIN_GROUPS` groups. Only whole groups count, `MAX_GROUPS` at most. Deterministic.

    * `compression_ratio`: bytes over bytes after DEFLATE, level 9; at least 1, more is less varied.
    * `distinct_1`, `_2`, `_3`: different n-grams over n-grams, 0 to 1, less is less varied.
    * `self_repetition`: mean over excerpts of log(1 + for each of its 4-grams the number of other excerpts of a group that hold it); more is less varied.
    * `tail_coverage`: different words of the reference's tail over what equally much of the reference holds; 1 is as there.
    * `cluster_concentration`: sum of the squared shares of clusters of like excerpts, 1 / `GROUP_EXCERPTS` to 1; more is less varied.
    """
    groups = min(len(excerpts.rows) // GROUP_EXCERPTS, MAX_GROUPS)
    if groups < MIN_GROUPS:
        return {}
    values: dict[str, list[float]] = {name: [] for name in FIGURES if name in names and (reference is not None or name != "tail_coverage")}
    for group in range(groups):
        held = slice(group * GROUP_EXCERPTS, (group + 1) * GROUP_EXCERPTS)
        words = excerpts.words[held]
        if "compression_ratio" in values:
            values["compression_ratio"].append(compression_ratio(excerpts.texts[held]))
        for n in (1, 2, 3):
            if f"distinct_{n}" in values:
                values[f"distinct_{n}"].append(distinct_share(words, n))
        if "cluster_concentration" in values:
            values["cluster_concentration"].append(cluster_concentration(words))
        if "tail_coverage" in values:
            values["tail_coverage"].append(np.isin(np.unique(words), reference.words).sum() / reference.types_per_group)
    figures = {name: bootstrap_mean(np.array(found), seed) for name, found in values.items() if found}
    if "self_repetition" in values:
        figures["self_repetition"] = measure_self_repetition(excerpts.words[: groups * GROUP_EXCERPTS], seed)
    return {name: figures[name] for name in values}


def make_reference(excerpts: Excerpts) -> TailReference:
    """The tail of the excerpts' vocabulary. Raises ValueError where there are fewer than `MIN_GROUPS` groups or there is no tail.

    One half of the groups says which words are rare, the other how many of them other text of the same people holds: so that texts drawn anew
    have a coverage of 1, and these texts themselves one that means nothing.
    """
    groups = min(len(excerpts.rows) // GROUP_EXCERPTS, MAX_GROUPS)
    if groups < MIN_GROUPS:
        needed = MIN_GROUPS * GROUP_EXCERPTS
        raise ValueError(f"{len(excerpts.rows)} texts of {EXCERPT_WORDS} words are too few for a reference; give at least {needed}")
    by_group = excerpts.words[: groups * GROUP_EXCERPTS].reshape(groups, -1)
    words, others = by_group[: groups // 2], by_group[groups // 2 :]
    types, counts = np.unique(words, return_counts=True)
    order = np.lexsort((types, -counts))
    head = int(np.searchsorted(np.cumsum(counts[order]), HEAD_SHARE * words.size)) + 1
    tail = np.sort(types[order[head:]])
    held = float(np.mean([np.isin(np.unique(group), tail).sum() for group in others]))
    if not held:
        raise ValueError("the reference has no rare words: its texts repeat one another")
    return TailReference(tail, held)


def compression_ratio(texts: Sequence[bytes]) -> float:
    """Bytes over bytes after DEFLATE (level 9) of the texts with line feeds between them. *Source:* Shaib et al. 2024, section 3.2."""
    joined = b"\n".join(texts)
    return len(joined) / len(zlib.compress(joined, 9))


def distinct_share(words: np.ndarray, n: int) -> float:
    """Different n-grams over n-grams, none across excerpts (uint64[excerpts, words]). *Source:* Li et al. 2016, section 5.3."""
    grams = hash_grams(words, n)
    return len(_distinct(grams.ravel())) / grams.size


def self_repetition(words: np.ndarray, n: int = 4) -> float:
    """Mean over excerpts (uint64[excerpts, words]) of log(1 + for each of their n-grams the other excerpts of their group that hold it).

    Groups of `GROUP_EXCERPTS` are formed anew `REGROUPINGS` times; fewer excerpts are one group. *Source:* Shaib et al. 2024, section 3.4, which
    takes the whole data set for one group.
    """
    return _mean_repetition(_repeated_grams(words, n))


def measure_self_repetition(words: np.ndarray, seed: int = 0) -> Figure:
    """`self_repetition` of whole groups (uint64[excerpts, words]), at least two, with its interval.

    The interval is in relation that of log(1 + the same on average over all groups that hold the excerpt): this one needs no groups, so that leaving
    out `GROUP_EXCERPTS` excerpts at a time tells how far it varies. It is wide rather than narrow. *Source:* Efron and Tibshirani 1993, section 11.5
    (delete-group jackknife).
    """
    repeated = _repeated_grams(words, 4)
    groups = len(words) // GROUP_EXCERPTS
    whole, left_out = _leave_groups_out(repeated, groups)
    drawn = bootstrap_mean(groups * whole - (groups - 1) * left_out, seed)
    value = _mean_repetition(repeated)
    below, above = ((drawn.value - drawn.low) / whole, (drawn.high - drawn.value) / whole) if whole else (0.0, 0.0)
    return Figure(value, value * max(0.0, 1 - below), value * (1 + above), groups)


def cluster_concentration(words: np.ndarray) -> float:
    """Sum of squared shares of clusters of excerpts (uint64[n, words]): each joins the first before it that it is like, or begins a cluster.

    Likeness is the cosine of word counts, each weighted by the logarithm of excerpts over excerpts that hold it.
    """
    n = len(words)
    places = (words % np.uint64(_DIMENSIONS)).astype(np.int64)
    counts = np.zeros((n, _DIMENSIONS))
    np.add.at(counts, (np.repeat(np.arange(n), words.shape[1]), places.ravel()), 1)
    held = np.count_nonzero(counts, axis=0)
    vectors = np.sqrt(counts) * np.log(n / np.maximum(held, 1))
    norms = np.linalg.norm(vectors, axis=1)
    # Excerpts whose every word all others share have no direction of their own: they are alike.
    cosines = (vectors @ vectors.T) / np.maximum(np.outer(norms, norms), 1e-12)
    cosines[np.outer(norms == 0, norms == 0)] = 1
    leaders: list[int] = []
    sizes: list[int] = []
    for row in range(n):
        near = np.flatnonzero(cosines[row, leaders] >= CLUSTER_SIMILARITY) if leaders else np.empty(0, np.int64)
        if len(near):
            sizes[near[0]] += 1
        else:
            leaders.append(row)
            sizes.append(1)
    return float(((np.array(sizes) / n) ** 2).sum())


def hash_grams(words: np.ndarray, n: int) -> np.ndarray:
    """uint64[excerpts, words - n + 1]: hash of each n-gram."""
    grams = words[:, : words.shape[1] - n + 1].copy()
    for place in range(1, n):
        grams = _mix(grams * _GOLDEN) ^ words[:, place : words.shape[1] - n + 1 + place]
    return _mix(grams)


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> Figure:
    """Mean of the values and its percentile bootstrap interval (`BOOTSTRAP_DRAWS`, `CONFIDENCE`). Deterministic.

    *Source:* Efron and Tibshirani 1993, section 13.3.
    """
    n = len(values)
    stream = _mix(np.arange(1, BOOTSTRAP_DRAWS * n + 1, dtype=np.uint64) * _GOLDEN + np.uint64(seed))
    means = values[(stream % np.uint64(n)).astype(np.int64)].reshape(BOOTSTRAP_DRAWS, n).mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(float(values.mean()), float(low), float(high), n)


def _distinct(values: np.ndarray) -> np.ndarray:
    """The different values (of one dimension), ascending. Numpy's own `unique` hashes them where only they are asked for: nine times slower here."""
    ordered = np.sort(values)
    return ordered[np.r_[len(ordered) > 0, ordered[1:] != ordered[:-1]]]


def _mix(values: np.ndarray) -> np.ndarray:
    """`words.mix64` on an array."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))


@dataclass(frozen=True)
class _Repeated:
    """The n-grams that more than one excerpt holds, numbered from 0."""

    excerpts: int
    """Excerpts in all."""
    grams: int
    """N-grams that are repeated."""
    held: np.ndarray
    """int64: n-gram, once for each excerpt that holds it."""
    holder: np.ndarray
    """int64: that excerpt."""
    found: np.ndarray
    """int64: n-gram of each occurrence."""
    owner: np.ndarray
    """int64: its excerpt."""

    def others(self, group: np.ndarray, groups: int) -> np.ndarray:
        """float64[excerpts]: over the occurrences of an excerpt, the other excerpts of its `group` (int64[excerpts], below `groups`) with that n-gram."""
        counts = np.bincount(self.held * groups + group[self.holder], minlength=self.grams * groups)
        return np.bincount(self.owner, counts[self.found * groups + group[self.owner]] - 1, self.excerpts)


def _repeated_grams(words: np.ndarray, n: int) -> _Repeated:
    grams = hash_grams(words, n)
    excerpts, width = grams.shape
    _, number = np.unique(grams, return_inverse=True)
    number = number.ravel()
    held, holder = np.divmod(_distinct(number * excerpts + np.repeat(np.arange(excerpts), width)), excerpts)
    repeated = np.bincount(held) > 1
    place = np.cumsum(repeated) - 1
    at = np.flatnonzero(repeated[number])
    kept = repeated[held]
    return _Repeated(excerpts, int(repeated.sum()), place[held[kept]], holder[kept], place[number[at]], at // width)


def _mean_repetition(repeated: _Repeated) -> float:
    groups = repeated.excerpts // GROUP_EXCERPTS
    if groups < 2:
        return float(np.log1p(repeated.others(np.zeros(repeated.excerpts, np.int64), 1)).mean())
    means = []
    for draw in range(REGROUPINGS):
        keys = _mix(np.arange(draw * repeated.excerpts, (draw + 1) * repeated.excerpts, dtype=np.uint64) * _GOLDEN)
        # What is left over makes a group that does not count.
        group = np.empty(repeated.excerpts, np.int64)
        group[np.argsort(keys, kind="stable")] = np.arange(repeated.excerpts) // GROUP_EXCERPTS
        means.append(np.log1p(repeated.others(group, groups + 1))[group < groups].mean())
    return float(np.mean(means))


def _leave_groups_out(repeated: _Repeated, groups: int) -> tuple[float, np.ndarray]:
    """Mean over excerpts of log(1 + other excerpts with its n-grams, scaled to one group): of all, and float64[groups] without each group."""
    group = np.arange(repeated.excerpts) // GROUP_EXCERPTS
    counts = np.bincount(repeated.held * groups + group[repeated.holder], minlength=repeated.grams * groups).reshape(-1, groups)
    shared = np.zeros((repeated.excerpts, groups))
    np.add.at(shared, repeated.owner, counts[repeated.found])
    shared[np.arange(repeated.excerpts), group] -= np.bincount(repeated.owner, minlength=repeated.excerpts)
    every = shared.sum(axis=1)
    rest = repeated.excerpts - GROUP_EXCERPTS
    without = np.log1p((every[:, None] - shared) * ((GROUP_EXCERPTS - 1) / (rest - 1)))
    without[np.arange(repeated.excerpts), group] = 0
    whole = np.log1p(every * ((GROUP_EXCERPTS - 1) / (repeated.excerpts - 1))).mean()
    return float(whole), without.sum(axis=0) / rest
