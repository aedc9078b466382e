"""The tiers of the AI-text detector behind one contract, and how a name becomes one.

| name | what scores | needs |
|---|---|---|
| `fast` | hashed n-grams and fastText, as shipped | nothing else |
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from classifiers.text_batch import TextBatch

DETECTORS = ("fast",)
"""Names of detectors, as `--ai_detector` takes them."""


class Detector(Protocol):
    """Texts in, log odds that a model wrote them out."""

    version: str
    """`KIND-DIGEST`: changes whenever its numbers do."""

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64[n]) that a model wrote each text, finite also where it abstains, and whether (bool[n]) it abstains.

        Deterministic; a text's numbers do not depend on the rest of the batch. An empty batch gives two empty arrays.
        """
        ...


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector can be told beyond its name."""

    model_path: str | None = None
    """Weights that replace the shipped ones; None: those."""


def make_detector(spec: str, **settings) -> Detector:
    """The detector called `spec`, its model loaded. `settings` are fields of `DetectorSettings`.

    Raises ValueError for an unknown name, a setting that does not fit it, or weights that are none; ImportError with the install
    line for a tier whose libraries are missing.
    """
    chosen = DetectorSettings(**settings)
    if spec == "fast":
        from classifiers.fast_model import load_model

        return load_model(chosen.model_path)
    raise ValueError(f"ai_detector: unknown {spec!r}; known: {', '.join(DETECTORS)}")
