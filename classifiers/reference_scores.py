"""Makes the reference scores behind estimates of prevalence (`classifiers.prevalence`), and tries the estimate on known mixtures.

For the fast detector each set is scored by a detector trained without it, on the scale of the shipped one. Other detectors score
held-out texts of the sets that they were trained on.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from classifiers.ai_detector import probability_of
from classifiers.detectors import Detector
from classifiers.evaluate import ScoredSet, clean_texts, limit_texts, score_texts
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, UNSEEN_SETS, has_set, read_set
from classifiers.leave_out import leave_sets_out
from classifiers.prevalence import HELD_OUT_SHIFT, LEFT_OUT_SHIFT, SHAPE, Reference, ReferenceSource, ShareEstimate, count_scores, estimate_share
from classifiers.train import TrainSettings, is_held_out, scale_left_out

MIN_TEXTS = 150
"""Texts of a domain or a generator that make a source of their own; fewer are put together with the others of their set."""
TRIED_SHARES = (0.0, 0.1, 0.3, 0.5, 0.9)
"""Shares of machine text in the mixtures that the estimate is tried on."""
TRIED_TEXTS = 2_000
"""Texts of such a mixture, at most."""


def left_out_reference(
    folder: str,
    detector: Detector,
    settings: TrainSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[Reference, dict[str, ScoredSet]]:
    """The fast detector's reference, and the scored sets that it is made of. As long as leaving sets out: 5 to 9 CPU-minutes.

    Raises FileNotFoundError for a set that is missing.
    """
    scored = clean_texts({one.name: one.scored for one in leave_sets_out(folder, settings, sets, score_others=False, report=report)})
    intercept, factor = scale_left_out({name: (one.texts, one.odds) for name, one in scored.items() if one.machine.any()})
    scaled = {name: _scaled(one, intercept, factor) for name, one in scored.items()}
    made_of = "clean texts of each set, scored by weights trained without that set, on the scale of the shipped ones"
    return Reference(detector.version, made_of, reference_sources(scaled), LEFT_OUT_SHIFT), scaled


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
    """What was estimated."""

    @property
    def is_held(self) -> bool:
        """Whether the interval holds the share, to half a point."""
        return self.estimate.low - 0.005 <= self.share <= self.estimate.high + 0.005


def try_mixtures(sets: Mapping[str, ScoredSet], reference: Reference, seed: int = 0) -> Iterator[Trial]:
    """Estimates for mixtures of every human set with every machine set at each of `TRIED_SHARES`, without those sets in the reference."""
    random = np.random.default_rng(seed)
    human = {name: one for name, one in sets.items() if _judged(one, False).any()}
    machine = {name: one for name, one in sets.items() if _judged(one, True).any()}
    for human_name, human_set in human.items():
        for machine_name, machine_set in machine.items():
            try:
                others = reference.without_sets((human_name, machine_name))
            except ValueError:  # nothing left to judge by
                continue
            people, models = np.flatnonzero(_judged(human_set, False)), np.flatnonzero(_judged(machine_set, True))
            for share in TRIED_SHARES:
                size = int(min(TRIED_TEXTS, len(people) / (1 - share), len(models) / share if share else TRIED_TEXTS))
                num_machine = round(share * size)
                counts = np.zeros(SHAPE, np.int64)
                for one, chosen in (
                    (human_set, random.choice(people, size - num_machine, replace=False)),
                    (machine_set, random.choice(models, num_machine, replace=False)),
                ):
                    counts += count_scores(one.probability[chosen], one.words[chosen])
                estimate = estimate_share(counts, others)
                if estimate:
                    yield Trial(human_name, machine_name, num_machine / size, estimate)


def trial_table(trials: Sequence[Trial]) -> dict[str, dict]:
    """How often the intervals held the share, how wide they were and how far off the estimates, by share and by kind of mixture."""
    rows = {f"{share:.0%} machine text": [one for one in trials if abs(one.share - share) < 0.02] for share in TRIED_SHARES}
    rows["both of one set"] = [one for one in trials if one.human_set == one.machine_set]
    rows["of two sets"] = [one for one in trials if one.human_set != one.machine_set]
    rows["of sets never trained on"] = [one for one in trials if {one.human_set, one.machine_set} <= set(UNSEEN_SETS)]
    rows["all"] = list(trials)
    return {
        name: {
            "mixtures": len(some),
            "held by the interval": float(np.mean([one.is_held for one in some])),
            "median width": float(np.median([one.estimate.high - one.estimate.low for one in some])),
            "mean error": float(np.mean([abs(one.estimate.share - one.share) for one in some])),
        }
        for name, some in rows.items()
        if some
    }


def _judged(one: ScoredSet, is_machine: bool) -> np.ndarray:
    return (one.machine == is_machine) & ~np.isnan(one.probability)


def _scaled(one: ScoredSet, intercept: float, factor: float) -> ScoredSet:
    odds = intercept + factor * one.odds
    return replace(one, odds=odds, probability=np.where(np.isnan(one.probability), np.float32(np.nan), probability_of(odds)))
