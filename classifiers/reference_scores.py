"""Makes the reference scores behind estimates of prevalence (`classifiers.prevalence`), and tries the estimate on known mixtures.

For the fast detector each set is scored by a detector trained without it, on the scale of the shipped one. Other detectors score
held-out texts of the sets that they were trained on.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from classifiers.ai_detector import probability_of
from classifiers.detectors import Detector
from classifiers.evaluate import ScoredSet, clean_texts, limit_texts, score_texts
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, UNSEEN_SETS, has_set, read_set
from classifiers.leave_out import leave_sets_out
from classifiers.prevalence import (
    HELD_OUT_SHIFT,
    LEFT_OUT_SHIFT,
    LEVEL,
    SHAPE,
    Reference,
    ReferenceSource,
    ShareEstimate,
    count_scores,
    estimate_share,
)
from classifiers.train import TrainSettings, is_held_out, scale_left_out

MIN_TEXTS = 150
"""Texts of a domain or a generator that make a source of their own; fewer are put together with the others of their set."""
TRIED_SHARES = (0.0, 0.1, 0.3, 0.5, 0.9)
"""Shares of machine text in the mixtures that the estimate is tried on."""
TRIED_TEXTS = 2_000
"""Texts of such a mixture, at most."""
LEFT_OUT = "clean texts of each set, scored by weights trained without that set, on the scale of the shipped ones"
"""What a reference of sets left out of training is made of."""
TOLERANCE = 0.005
"""Shares are told from one another to half a point."""


def left_out_reference(
    folder: str,
    detector: Detector,
    settings: TrainSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    report: Callable[[str], None] = lambda _: None,
    generated: str = "",
) -> tuple[Reference, dict[str, ScoredSet]]:
    """The fast detector's reference, and the scored sets that it is made of. As long as leaving sets out: 5 to 9 CPU-minutes.

    Raises FileNotFoundError for a set that is missing.
    """
    scored = clean_texts(
        {one.name: one.scored for one in leave_sets_out(folder, settings, sets, score_others=False, report=report, generated=generated)}
    )
    intercept, factor = scale_left_out({name: (one.texts, one.odds) for name, one in scored.items() if one.machine.any()})
    scaled = {name: _scaled(one, intercept, factor) for name, one in scored.items()}
    return Reference(detector.version, LEFT_OUT, reference_sources(scaled), LEFT_OUT_SHIFT), scaled


def held_out_reference(
    folder: str, detector: Detector, max_texts: int, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS
) -> tuple[Reference, dict[str, ScoredSet]]:
    """The reference of any detector from at most `max_texts` held-out texts of each set and label, and the scored sets themselves.

    Raises FileNotFoundError for a set that is missing.
    """
    scored = {}
    for name in sets:
        texts = [text for text in read_set(folder, name) if text.attack == "none" and is_held_out(text)]
        scored[name] = score_texts(detector, limit_texts(texts, max_texts))
    made_of = "held-out texts of sets of which the shipped weights know other texts"
    return Reference(detector.version, made_of, reference_sources(scored), HELD_OUT_SHIFT), scored


def unseen_scores(folder: str, detector: Detector, max_texts: int) -> dict[str, ScoredSet]:
    """At most `max_texts` texts of each set in `folder` that neither training nor a reference may touch, scored: for `try_mixtures`."""
    return {name: score_texts(detector, limit_texts(read_set(folder, name), max_texts)) for name in UNSEEN_SETS if has_set(folder, name)}


def reference_sources(sets: Mapping[str, ScoredSet]) -> tuple[ReferenceSource, ...]:
    """Human text by set and domain, machine text by set and generator; small ones of a set together as `other`."""
    sources = []
    for name, one in sets.items():
        for is_machine in (False, True):
            part = one.where((one.machine == is_machine) & ~np.isnan(one.probability))
            kinds = [(text.generator if is_machine else text.domain) or "other" for text in part.texts]
            sizes = Counter(kinds)
            kinds = np.array([kind if sizes[kind] >= MIN_TEXTS else "other" for kind in kinds], str)
            for kind in sorted(set(kinds)):
                counts = count_scores(part.probability[kinds == kind], part.words[kinds == kind])
                if counts.any():
                    sources.append(ReferenceSource(f"{name}: {'machine' if is_machine else 'human'}: {kind}", name, is_machine, counts))
    return tuple(sources)


@dataclass(frozen=True)
class Trial:
    """The estimate for one mixture whose share is known."""

    human_set: str
    """Where its human texts come from."""
    machine_set: str
    """Where its machine texts come from; neither set is in the reference that judges it."""
    share: float
    """Machine texts among those that could be judged."""
    estimate: ShareEstimate
    """What was estimated, without margins."""

    @property
    def is_held(self) -> bool:
        """Whether the interval holds the share, to half a point."""
        return self.estimate.low - TOLERANCE <= self.share <= self.estimate.high + TOLERANCE

    def widened(self, margins: tuple[float, float]) -> "Trial":
        """The trial with its interval widened by `margins`."""
        one = self.estimate
        return replace(self, estimate=replace(one, low=max(0.0, one.low - margins[0]), high=min(1.0, one.high + margins[1])))


def pools_of(sets: Mapping[str, ScoredSet]) -> dict[tuple[str, bool], np.ndarray]:
    """For each of `sets`, and whether models wrote the texts, the scores of those that could be judged (`Reference.pools`)."""
    pools = {}
    for name, one in sets.items():
        for is_machine in (False, True):
            chosen = one.machine == is_machine
            counts = count_scores(one.probability[chosen], one.words[chosen])
            if counts.any():
                pools[name, is_machine] = counts
    return pools


def try_mixtures(pools: Mapping[tuple[str, bool], np.ndarray], reference: Reference, seed: int = 0) -> Iterator[Trial]:
    """Estimates, without margins, for mixtures of every human with every machine pool at each of `TRIED_SHARES`, without the sets of the two in
    the reference. Texts are drawn from a pool without repetition. Deterministic for one `seed`; about 0.1 CPU-seconds a mixture."""
    random = np.random.default_rng(seed)
    for (human_set, _), people in ((key, counts) for key, counts in pools.items() if not key[1]):
        for (machine_set, _), models in ((key, counts) for key, counts in pools.items() if key[1]):
            try:
                others = reference.without_sets((human_set, machine_set))
            except ValueError:  # nothing left to judge by
                continue
            for share in TRIED_SHARES:
                size = int(min(TRIED_TEXTS, people.sum() / (1 - share), models.sum() / share if share else TRIED_TEXTS))
                num_machine = round(share * size)
                counts = _drawn(people, size - num_machine, random) + _drawn(models, num_machine, random)
                estimate = estimate_share(counts, others)
                if estimate:
                    yield Trial(human_set, machine_set, num_machine / size, estimate)


def fit_margins(trials: Sequence[Trial], without: Sequence[str] = ()) -> tuple[float, float]:
    """How far intervals must reach below and above to hold `LEVEL` of the trials of the worst human and of the worst machine set.

    People who sound like models make a share seem too high, models that sound like people too low: so the lower margin is that of a human
    set, the upper one that of a machine set. That a further set is worse than the worst of k has a chance of 1 in k + 1, if sets come as
    they come. Trials of sets in `without` do not count; of no trials (0, 0).
    """
    too_high: dict[str, list[float]] = {}
    too_low: dict[str, list[float]] = {}
    for one in trials:
        if not {one.human_set, one.machine_set} & set(without):
            too_high.setdefault(one.human_set, []).append(max(0.0, one.estimate.low - one.share))
            too_low.setdefault(one.machine_set, []).append(max(0.0, one.share - one.estimate.high))
    return _worst(too_high), _worst(too_low)


def with_margins(reference: Reference, trials: Sequence[Trial], known: Collection[Reference] = ()) -> Reference:
    """`reference` with the margins of its `trials` on sets of its own.

    A detector that knows other texts of its reference's sets makes fewer mistakes on them than elsewhere. Its margins are therefore no
    narrower than those of a reference among `known` whose sets were left out of training.
    """
    own = {source.set_name for source in reference.sources}
    below, above = fit_margins([one for one in trials if {one.human_set, one.machine_set} <= own])
    if reference.made_of != LEFT_OUT:
        for other in known:
            if other.made_of == LEFT_OUT:
                below, above = max(below, other.margins[0]), max(above, other.margins[1])
    return replace(reference, margins=(below, above))


def widen_by_turns(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with margins that come from the other sets' trials alone: what margins are worth for a set that had no part in them."""
    margins: dict[tuple[str, str], tuple[float, float]] = {}
    for one in trials:
        key = one.human_set, one.machine_set
        if key not in margins:
            margins[key] = fit_margins(trials, key)
    return [one.widened(margins[one.human_set, one.machine_set]) for one in trials]


def trial_table(trials: Sequence[Trial]) -> dict[str, dict]:
    """How often the intervals held the share, how wide they were and how far off the estimates, by share and by kind of mixture: with margins
    by turns (of sets never trained on, those of all sets of the reference), and without."""
    never = [set(UNSEEN_SETS) & {one.human_set, one.machine_set} for one in trials]
    margins = fit_margins([one for one, unseen in zip(trials, never, strict=True) if not unseen])
    known = widen_by_turns([one for one, unseen in zip(trials, never, strict=True) if not unseen])
    pairs, place = [], 0
    for one, unseen in zip(trials, never, strict=True):
        pairs.append((one, one.widened(margins) if unseen else known[place]))
        place += not unseen
    rows = {f"{share:.0%} machine text": [pair for pair in pairs if abs(pair[0].share - share) < 0.02] for share in TRIED_SHARES}
    rows["both of one set"] = [pair for pair in pairs if pair[0].human_set == pair[0].machine_set]
    rows["of two sets"] = [pair for pair in pairs if pair[0].human_set != pair[0].machine_set]
    rows["of sets never trained on"] = [pair for pair in pairs if {pair[0].human_set, pair[0].machine_set} <= set(UNSEEN_SETS)]
    rows["all"] = pairs
    return {
        name: {
            "mixtures": len(some),
            "held": float(np.mean([wide.is_held for _, wide in some])),
            "median width": float(np.median([wide.estimate.high - wide.estimate.low for _, wide in some])),
            "held without margins": float(np.mean([bare.is_held for bare, _ in some])),
            "width without": float(np.median([bare.estimate.high - bare.estimate.low for bare, _ in some])),
            "mean error": float(np.mean([abs(bare.estimate.share - bare.share) for bare, _ in some])),
        }
        for name, some in rows.items()
        if some
    }


def _drawn(counts: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """The scores of `size` texts of a pool, no text twice."""
    return random.multivariate_hypergeometric(counts.ravel(), size).reshape(SHAPE)


def _worst(misses_by_set: Mapping[str, Sequence[float]]) -> float:
    return max((float(np.quantile(misses, LEVEL, method="higher")) for misses in misses_by_set.values()), default=0.0)


def _scaled(one: ScoredSet, intercept: float, factor: float) -> ScoredSet:
    odds = intercept + factor * one.odds
    return replace(one, odds=odds, probability=np.where(np.isnan(one.probability), np.float32(np.nan), probability_of(odds)))
