"""What a deduplicating tool made of a corpus with planted copies, compared: recall, precision, and where two tools differ.

Everything here is about ids and texts, whatever tool they came from; `benchmarks.peer_tools` reads them from each tool's files.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.corpus import Pair, shingles

DESERVED_SIMILARITY = 0.6
"""True similarity from which a document removed as a near-duplicate counts as rightly removed."""
SIMILARITY_STEP = 0.05
"""Width of the similarity bins that recall is broken down by."""
DUPLICATE = "duplicate"
"""How a removal by deduplication is called among the reasons of filters."""


@dataclass(frozen=True)
class Outcome:
    """What a tool made of the corpus, by id."""

    reached: frozenset[str]
    """Documents that passed the filters and so reached deduplication."""
    kept: frozenset[str]
    """Documents in the output."""
    filtered: Mapping[str, str]
    """Why each document did not reach deduplication."""

    @property
    def removed(self) -> frozenset[str]:
        """Documents that deduplication removed."""
        return self.reached - self.kept


@dataclass(frozen=True)
class Share:
    """So many of so many; in print with Wilson's interval at 95 %."""

    found: int
    """Those that were found: pairs of which at least one document was removed, or removals that were right."""
    pairs: int
    """Those that could be: pairs of which both documents reached deduplication, or all removals."""

    @property
    def share(self) -> float:
        """`found / pairs`; nan if there are none."""
        return self.found / self.pairs if self.pairs else math.nan

    def __str__(self) -> str:
        low, high = wilson_interval(self.found, self.pairs)
        return f"{self.share:.2%} ({self.found} of {self.pairs}; {low:.1%} to {high:.1%})"


def measure_recall(pairs: Iterable[Pair], outcome: Outcome) -> Share:
    """Of `pairs` whose two documents reached deduplication, those of which one or both were removed there."""
    both = [pair for pair in pairs if {pair.original, pair.copy} <= outcome.reached]
    return Share(sum(not {pair.original, pair.copy} <= outcome.kept for pair in both), len(both))


def measure_precision(outcome: Outcome, texts: Mapping[str, np.ndarray], min_similarity: float = DESERVED_SIMILARITY) -> Share:
    """Of the documents that deduplication removed, those that are truly like another that reached it.

    `texts` holds the shingles of each text (`shingle_texts`). A tool that removes both documents of a pair is not punished for it here.
    """
    best = nearest_similarities(outcome.removed, outcome.reached, texts)
    return Share(sum(similarity >= min_similarity for similarity in best.values()), len(best))


def shingle_texts(texts: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The distinct shingles (uint64, sorted) of each text, by id."""
    return {name: np.array(sorted(shingles(text)), np.uint64) for name, text in texts.items()}


def nearest_similarities(names: Iterable[str], pool: Iterable[str], texts: Mapping[str, np.ndarray]) -> dict[str, float]:
    """For each of `names` its largest true Jaccard similarity to another document of `pool` (0 if none shares a shingle with it).

    Two texts without a word are equal. Cost: one look-up for each shingle of the pool, and one for each document that shares it.
    """
    names, pool = sorted(names), sorted(pool)
    wanted = {int(shingle) for name in names for shingle in texts[name]}
    holders: dict[int, list[int]] = {}
    for place, name in enumerate(pool):
        for shingle in texts[name].tolist():
            if shingle in wanted:
                holders.setdefault(shingle, []).append(place)
    wordless = sum(not len(texts[name]) for name in pool)
    found = {}
    for name in names:
        shared: Counter[int] = Counter(place for shingle in texts[name].tolist() for place in holders.get(shingle, ()))
        best = 1.0 if not len(texts[name]) and wordless - (name in pool) > 0 else 0.0
        for place, count in shared.items():
            if pool[place] != name:
                best = max(best, count / (len(texts[name]) + len(texts[pool[place]]) - count))
        found[name] = best
    return found


def recall_by_similarity(pairs: Iterable[Pair], outcomes: Mapping[str, Outcome]) -> list[list[str]]:
    """A row for each bin of true similarity that holds planted pairs: the bin, and each tool's recall in it."""
    bins: dict[int, list[Pair]] = {}
    for pair in pairs:
        bins.setdefault(math.floor(pair.similarity / SIMILARITY_STEP + 1e-9), []).append(pair)
    rows = []
    for place, held in sorted(bins.items()):
        recalls = [measure_recall(held, outcome) for outcome in outcomes.values()]
        cells = [f"{recall.share:.1%} of {recall.pairs}" if recall.pairs else "-" for recall in recalls]
        rows.append([f"{place * SIMILARITY_STEP:.2f} to {(place + 1) * SIMILARITY_STEP:.2f}", *cells])
    return rows


def explain_difference(one: Outcome, other: Outcome, max_reasons: int = 3) -> str:
    """The commonest reasons why `other` filtered out what `one` let pass."""
    return _commonest(Counter(other.filtered.get(name, "unknown") for name in one.reached - other.reached), max_reasons)


def explain_kept(one: Outcome, other: Outcome, max_reasons: int = 5) -> str:
    """The commonest reasons why what `one` kept is not in the output of `other`: those of its filters, or `duplicate`."""
    missing = one.kept - other.kept
    return _commonest(Counter(DUPLICATE if name in other.reached else other.filtered.get(name, "unknown") for name in missing), max_reasons)


def overlap_of_kept(one: Outcome, other: Outcome) -> tuple[int, int, int]:
    """Documents kept by both, by `one` alone, by `other` alone."""
    return len(one.kept & other.kept), len(one.kept - other.kept), len(other.kept - one.kept)


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share, 95 % by default; (0, 1) without trials. *Source:* Wilson 1927, JASA 22, 209-212."""
    if not trials:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    half = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, (share + spread / 2 - half) / (1 + spread)), min(1.0, (share + spread / 2 + half) / (1 + spread))


def _commonest(reasons: Counter, most: int) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(most)) or "nothing"
