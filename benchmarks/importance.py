"""Whether `--priority=importance` is the weighted sampling without replacement that it claims to be: how often each document is published, against theory.

    python -m benchmarks.importance [--documents 10000] [--draw 3000] [--seeds 200] [--exponent 1] [--json FILE]

Made-up decisions: `--documents` synthetic texts whose AI probabilities lie anywhere in 0..1, most near the ends, and as many human ones as are
drawn of those. For each seed the real mix (`find_cuts`, `apply_mix`) publishes all human texts and `--draw` of the others at a quota of 1/2, with the
documents parted into another number of shards each time.

Theory: documents race, the one of weight w arrives at an exponential time of rate w, and the first n are published (Efraimidis and Spirakis
2006). At N documents the n-th arrival is near the time t at which sum(1 - exp(-w_i t)) = n, and document i is among them with probability
1 - exp(-w_i t), but for terms of the order of 1/N (Rosen 1997, "Asymptotic theory for order sampling"). Shown: the share of documents whose count lies in
the central 95 % interval of its binomial distribution, beside the chance that the intervals have (above 95 %, since counts are whole); a
chi-square over classes of weight, with the covariance that a fixed n gives the counts; the largest deviation; and the least likely count. For few
documents every subset's probability is exact, by recursion over subsets: a second chi-square compares the subsets that many seeds draw.
"""

import argparse
import math
import time

import numpy as np
import pyarrow as pa

from benchmarks.measure import format_table, report
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import MixSettings
from transforms.order_keys import importance_weights, mix_hash, priority_keys
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, Origin, make_addresses

CLASSES = 21
"""Classes of weight, of as many documents each; odd, so that the degrees of freedom are even and the chi-square's tail has a closed form."""
FEW_WEIGHTS, FEW_DRAWN, FEW_SEEDS = (0.05, 0.1, 0.3, 0.5, 0.9, 1.0, 0.0), 3, 20_000
"""Human probabilities of the documents whose subsets are counted, one of which can never be drawn; how many are drawn; and how often."""


def make_decisions(documents: int, human: int, exponent: float) -> tuple[pa.Table, np.ndarray]:
    """Decisions with `ai_probability` beside them, human texts last; and the weights (float64) of the other ones."""
    count = documents + human
    row_keys = mix_hash(np.arange(count, dtype=np.uint64), 20260101, 9)
    uniform = (mix_hash(row_keys, 1, 9) >> np.uint64(11)) * 2.0**-53
    probabilities = ((1 - np.cos(np.pi * uniform)) / 2).astype(np.float32)
    origins = np.where(np.arange(count) < documents, ORIGIN_CODES[Origin.SYNTHETIC], ORIGIN_CODES[Origin.HUMAN])
    made = {
        "address": make_addresses(0, np.arange(count)),
        "origin": origins,
        "row_key": row_keys,
        "quality": np.zeros(count),
        "tokens": np.full(count, 100),
        "bytes": np.full(count, 500),
    }
    columns = [pa.array(made[field.name], field.type) if field.name in made else pa.nulls(count, field.type) for field in DECISION_SCHEMA]
    decisions = pa.table(columns, schema=DECISION_SCHEMA).append_column("ai_probability", pa.array(probabilities))
    return decisions, importance_weights(probabilities[:documents], exponent)


def count_published(decisions: pa.Table, documents: int, drawn: int, seeds: int, exponent: float) -> np.ndarray:
    """int64: with how many seeds each of the first `documents` rows is published by the real mix."""
    counts = np.zeros(documents, np.int64)
    for seed in range(seeds):
        mix = MixSettings(
            human_quota="1/2", max_documents=2 * drawn, priority="importance", importance_exponent=exponent, seed=seed, num_shards=1 + seed % 5
        )
        parts = 1 + seed % 7
        cuts = cuts_of_tables([decisions.take(pa.array(np.arange(part, decisions.num_rows, parts))) for part in range(parts)], mix)
        kept = apply_mix(decisions, cuts, mix).output_shard >= 0
        if kept[:documents].sum() != drawn or not kept[documents:].all():
            raise RuntimeError(f"seed {seed}: {kept[:documents].sum()} of {drawn} drawn, {kept[documents:].sum()} human texts")
        counts += kept[:documents]
    return counts


def inclusion_probabilities(weights: np.ndarray, drawn: int) -> tuple[np.ndarray, float]:
    """(float64 probability of each of many documents to be among the `drawn` first arrivals, the time t): 1 - exp(-w t) with the sum `drawn`."""
    low, high = 0.0, 1.0
    while -np.expm1(-weights * high).sum() < drawn:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-weights * middle).sum() < drawn else (low, middle)
    return -np.expm1(-weights * low), low


def subset_probabilities(weights: np.ndarray, drawn: int) -> dict[int, float]:
    """The exact probability of each subset of `drawn` documents, as bit masks: drawn one by one, each with a chance proportional to its weight."""
    reached = {0: 1.0}
    for _ in range(drawn):
        after: dict[int, float] = {}
        for mask, chance in reached.items():
            left = [number for number in range(len(weights)) if not mask >> number & 1 and weights[number] > 0]
            total = math.fsum(weights[number] for number in left)
            for number in left:
                after[mask | 1 << number] = after.get(mask | 1 << number, 0.0) + chance * weights[number] / total
        reached = after
    return reached


def count_subsets(probabilities: np.ndarray, drawn: int, seeds: int, exponent: float) -> dict[int, int]:
    """How often each subset (bit mask) is the first `drawn` by priority key."""
    counts: dict[int, int] = {}
    row_keys = np.arange(len(probabilities), dtype=np.uint64)
    for seed in range(seeds):
        mix = MixSettings(priority="importance", importance_exponent=exponent, seed=seed)
        first = np.argsort(priority_keys(row_keys, probabilities, mix, probabilities))[:drawn]
        mask = sum(1 << int(number) for number in first)
        counts[mask] = counts.get(mask, 0) + 1
    return counts


def binomial_chances(trials: int, probabilities: np.ndarray) -> np.ndarray:
    """float64 (documents, trials + 2): the chance of fewer than 0, 1, ... trials + 1 successes."""
    counts = np.arange(trials + 1)
    ways = np.array([math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1) for count in counts])
    p = np.clip(probabilities, 1e-300, 1 - 1e-16)[:, None]
    chances = np.exp(ways + counts * np.log(p) + (trials - counts) * np.log1p(-p))
    return np.concatenate([np.zeros((len(probabilities), 1)), np.cumsum(chances, axis=1)], axis=1)


def binomial_intervals(fewer: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(least, most, chance of a count from least to most) of the central 95 % interval of each distribution of `binomial_chances`."""
    least, most = (fewer[:, 1:] <= 0.025).sum(axis=1), (fewer[:, 1:] < 0.975).sum(axis=1)
    rows = np.arange(len(fewer))
    return least, most, fewer[rows, most + 1] - fewer[rows, least]


def least_likely(fewer: np.ndarray, counts: np.ndarray) -> tuple[int, float]:
    """The document whose count lies farthest out, and the chance that one of as many independent documents lies as far out, at either end."""
    rows = np.arange(len(counts))
    tails = np.minimum(fewer[rows, counts + 1], 1 - fewer[rows, counts])
    worst = int(tails.argmin())
    return worst, -math.expm1(len(counts) * math.log1p(-min(1 - 1e-16, max(0.0, 2 * float(tails[worst])))))


def class_chi_square(counts: np.ndarray, trials: int, weights: np.ndarray, time_reached: float) -> tuple[float, int]:
    """(chi-square, degrees of freedom) of the counts summed over `CLASSES` classes of weight, given that each trial draws the same number.

    With X the counts of independent arrivals until t and d_c the rate of arrivals of class c then, a fixed number moves t so that the
    class counts are X_c - d_c / d * sum(X) about their means.
    """
    classes = np.empty(len(weights), np.int64)
    classes[np.argsort(weights, kind="stable")] = np.arange(len(weights)) * CLASSES // len(weights)
    included = -np.expm1(-weights * time_reached)
    deviations = np.bincount(classes, counts - trials * included)
    rates = np.bincount(classes, weights * np.exp(-weights * time_reached))
    moved = np.eye(CLASSES) - (rates / rates.sum())[:, None]
    covariance = trials * moved @ np.diag(np.bincount(classes, included * (1 - included))) @ moved.T
    return float(deviations @ np.linalg.pinv(covariance, rcond=1e-10) @ deviations), CLASSES - 1


def chi_square_tail(value: float, degrees: int) -> float:
    """The chance of a larger chi-square with an even number of degrees of freedom: exp(-x/2) * sum of (x/2)^k / k! for k below half of them."""
    return math.exp(-value / 2) * math.fsum((value / 2) ** term / math.factorial(term) for term in range(degrees // 2))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="How often importance sampling publishes each document, against theory.")
    parser.add_argument("--documents", type=int, default=10_000, help="texts that are drawn from (default: 10000)")
    parser.add_argument("--draw", type=int, default=3_000, help="of which so many are published (default: 3000)")
    parser.add_argument("--seeds", type=int, default=200, help="mixes (default: 200)")
    parser.add_argument("--exponent", type=float, default=1.0, help="b of the weights (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()

    began = time.process_time()
    decisions, weights = make_decisions(arguments.documents, arguments.draw, arguments.exponent)
    counts = count_published(decisions, arguments.documents, arguments.draw, arguments.seeds, arguments.exponent)
    included, reached = inclusion_probabilities(weights, arguments.draw)
    fewer = binomial_chances(arguments.seeds, included)
    least, most, chance = binomial_intervals(fewer)
    inside = (least <= counts) & (counts <= most)
    worst, worst_chance = least_likely(fewer, counts)
    largest = float(np.abs(counts / arguments.seeds - included).max())
    by_class, degrees = class_chi_square(counts, arguments.seeds, weights, reached)
    order = np.argsort(weights, kind="stable")
    rows = []
    for part in np.array_split(order, 5):
        span = f"{weights[part].min():.4f} to {weights[part].max():.4f}"
        published, expected = (value[part].mean() for value in (counts / arguments.seeds, included))
        rows.append([span, f"{published:.4f}", f"{expected:.4f}", f"{inside[part].mean():.2%}", f"{chance[part].mean():.2%}"])

    few = 1 - np.array(FEW_WEIGHTS, np.float32)
    exact = subset_probabilities(importance_weights(few, arguments.exponent), FEW_DRAWN)
    found = count_subsets(few, FEW_DRAWN, FEW_SEEDS, arguments.exponent)
    impossible = sum(count for mask, count in found.items() if mask not in exact)
    subsets = math.fsum((found.get(mask, 0) - FEW_SEEDS * chance) ** 2 / (FEW_SEEDS * chance) for mask, chance in exact.items())
    # An even number of degrees of freedom is the next one up: the tail that is said is then the larger one.
    free = len(exact) - 1
    results = {
        "inside": float(inside.mean()),
        "chance_inside": float(chance.mean()),
        "chi_square": by_class,
        "degrees": degrees,
        "p": chi_square_tail(by_class, degrees),
        "largest_deviation": largest,
        "least_likely": {"count": int(counts[worst]), "expected": float(arguments.seeds * included[worst]), "chance": worst_chance},
        "subsets_chi_square": subsets,
        "subsets_degrees": free,
        "impossible_subsets": impossible,
    }
    asked = f"{arguments.draw:,} of {arguments.documents:,} documents, weights (1 - p)^{arguments.exponent:g}"
    seeds, expected = arguments.seeds, arguments.seeds * included[worst]
    lines = [
        f"{seeds} mixes that publish {asked}; {time.process_time() - began:.0f} CPU-seconds.",
        f"Inside their 95 % binomial interval: {inside.sum():,} documents ({inside.mean():.2%}); the intervals' own chance is {chance.mean():.2%}.",
        f"Chi-square over {CLASSES} classes of weight: {by_class:.1f} with {degrees} degrees of freedom, p = {results['p']:.3f}.",
        f"Largest deviation of a rate: {largest:.3f}. Least likely count: {counts[worst]} of {seeds} where {expected:.1f} are expected; one as unlikely",
        f"stands among {len(counts):,} documents with a chance of {worst_chance:.2f}.",
        "",
        format_table(["weights, a fifth of the documents each", "published", "theory", "inside", "chance"], rows),
        "",
        f"{len(few)} documents, {FEW_DRAWN} drawn, {FEW_SEEDS:,} seeds: chi-square over the {len(exact)} subsets that can be drawn {subsets:.1f} with {free}",
        f"degrees of freedom, p at most {chi_square_tail(subsets, free + free % 2):.3f}; {impossible} other subsets.",
    ]
    report("Importance sampling", results, lines, arguments.json)


if __name__ == "__main__":
    main()
