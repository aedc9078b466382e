"""How much of what came without an origin models wrote: estimated for the manifest, said in the funnel and on the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from classifiers.prevalence import LEVEL, Reference, estimate_share, shipped_references
from transforms.count_unlabelled import UnlabelledScores


def estimate_prevalence(unlabelled: Sequence[UnlabelledScores], detector: str | None) -> dict[str, Any]:
    """How much of the documents of unknown origin models wrote, by source and, of several, together; or why there is no estimate.

    Shares are of the documents as read that the detector could judge, rounded to 0.0001. See `classifiers.prevalence`.
    """
    why_none = None
    reference = shipped_references().get(detector) if detector else None
    if not unlabelled:
        why_none = "no documents of unknown origin" if detector else "no detector scored"
    elif reference is None:
        why_none = f"no reference scores ship for the detector {detector}"
    together = UnlabelledScores("all", sum(one.documents for one in unlabelled), ())
    pools = [(one, one.counts()) for one in unlabelled]
    if len(pools) > 1:
        pools.append((together, sum(counts for _, counts in pools)))
    return {
        "detector": detector,
        "level": LEVEL,
        "made_of": reference.made_of if reference else None,
        "why_none": why_none,
        "sources": [_prevalence(one, counts, reference) for one, counts in pools],
    }


def prevalence_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """One sentence for each unlabelled source: the estimated share of AI text and its interval, or why there is none."""
    found = manifest["prevalence"]
    if not found["sources"]:
        return []
    if found["why_none"]:
        return [f"AI text among the unlabelled: not estimated, {found['why_none']}."]
    return [f"AI text among the unlabelled: {_estimate(one)}, source {one['source']}." for one in found["sources"]]


def _prevalence(one: UnlabelledScores, counts: np.ndarray, reference: Reference | None) -> dict[str, Any]:
    estimate = estimate_share(counts, reference) if reference else None
    return {
        "source": one.source,
        "documents": one.documents,
        "judged": int(counts.sum()),
        **{key: round(getattr(estimate, key), 4) if estimate else None for key in ("share", "low", "high")},
    }


def _estimate(one: Mapping[str, Any]) -> str:
    if not one["judged"]:
        return f"not estimated, the detector could judge none of {one['documents']:,}"
    said = f"{100 * one['share']:.0f} % ({100 * one['low']:.0f} to {100 * one['high']:.0f})"
    return said if one["judged"] == one["documents"] else f"{said} of the {one['judged']:,} in {one['documents']:,} that could be judged"
