"""What storage alone gives away: a logistic regression on punctuation, white space and mark-up counts of the raw text.

It reads no word. A detector evaluated on unfolded text can reach the same figures without having learned anything about writing.
"""

import re
from collections.abc import Sequence

import numpy as np

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n", r"\n\n", r"\n[ \t]", r"  +", r"^\s", r"\s$", r"\t", r" [.,;:!?]", r"[.,;:!?][A-Za-z]", r"\"", r"'", "[\u201c\u201d]", "[\u2018\u2019]",
        "[\u2013\u2014]", r"--", r"-", r",", r"\.", r"\.\.\.|\u2026", r"!", r"\?", r":", r";", r"\(", r"\)", r"[*_]", r"#", r"(?m)^\s*[-*\u2022] ",
        r"(?m)^\s*\d+[.)] ", r"<[a-zA-Z/]", r"https?:", r"[0-9]", r"[A-Z]", r"[^\x00-\x7f]", "[\u00c2\u00e2\ufffd]", "[\ufe00-\ufe0f\u200b-\u200f]",
    )
)  # fmt: skip
"""What is counted."""


def format_features(texts: Sequence[str]) -> np.ndarray:
    """float64[n, 37]: for each text the root of every mark's count per 1,000 characters, and a constant."""
    rows = [[len(pattern.findall(text)) / max(len(text), 1) * 1000 for pattern in _PATTERNS] + [1.0] for text in texts]
    return np.sqrt(np.array(rows, np.float64).reshape(len(texts), len(_PATTERNS) + 1))


def fit_format_baseline(features: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Factors (float64[37]) of the features, ridge-regularised, fitted by Newton steps. The scores are `features @ factors`."""
    spread = features.std(0)
    spread[spread == 0] = 1.0
    design = features / spread
    factors = np.zeros(design.shape[1])
    weights = weights / weights.sum()
    for _ in range(30):
        probability = 1 / (1 + np.exp(-np.clip(design @ factors, -30, 30)))
        gradient = design.T @ (weights * (probability - machine)) + 1e-4 * factors
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design + 1e-4 * np.eye(len(factors))
        step = np.linalg.solve(curvature, gradient)
        factors -= np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-7:
            break
    return factors / spread
