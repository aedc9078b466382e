"""Was this written by a model? The columns that a detector's log odds become, and when it declines to give a number.

Which detector stands behind them is a name: `classifiers.detectors` says which there are. The probability is calibrated on texts of
sets that the weights had not seen, half of them machine-written: it is no prevalence of any corpus. To decide, use thresholds from
`classifiers.calibration`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.cascade import DEEP, FAST, CascadeDetector
from classifiers.detectors import CascadeWork, Detector, make_detector
from classifiers.text_batch import TextBatch

PROBABILITY_FIELDS = pa.schema([("ai_probability", pa.float32()), ("ai_abstained", pa.bool_())])
"""The columns of every detector."""
TIER_FIELD = pa.field("ai_tier", pa.string())
"""The cascade's further column."""


class AiDetectorScorer:
    """`ai_probability`: calibrated probability (0 to 1) that a model wrote the text, null where the detector abstains; `ai_abstained`:
    whether it does, because the text is too short or not English prose; with a cascade also `ai_tier`: `fast`, or `deep` where the deep
    detector was asked. Deterministic, the same in any batch."""

    name = "ai_detector"

    def __init__(self, detector: str | Detector = "fast", model_path: str | None = None, **settings):
        """`detector` is a name that `make_detector` knows, or a detector already made; `model_path` replaces the shipped weights, and
        `settings` are the other `DetectorSettings`.

        Raises ValueError for an unknown name or weights that are none, and whatever else `make_detector` raises.
        """
        self.detector = make_detector(detector, model_path=model_path, **settings) if isinstance(detector, str) else detector
        self.version = self.detector.version
        self.fields = detector_fields(self.version.partition("-")[0])

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        if isinstance(self.detector, CascadeDetector):
            odds, abstained, asked = self.detector.log_odds_and_tier(batch)
            tier = {TIER_FIELD.name: pc.if_else(pa.array(asked), DEEP, FAST)}
        else:
            odds, abstained = self.detector.log_odds(batch)
            tier = {}
        probability = probability_of(odds)
        return {"ai_probability": pa.array(probability, mask=abstained), "ai_abstained": pa.array(abstained), **tier}

    def take_work(self) -> CascadeWork | None:
        """What a cascade did since the last call; None for another detector."""
        return self.detector.take_work() if isinstance(self.detector, CascadeDetector) else None


def detector_fields(spec: str) -> pa.Schema:
    """The columns that the detector called `spec` makes. Loads nothing."""
    return PROBABILITY_FIELDS.append(TIER_FIELD) if spec == "cascade" else PROBABILITY_FIELDS


def probability_of(log_odds: np.ndarray) -> np.ndarray:
    """float32 probability of float64 log odds, limited to +-16, where float32 can still tell neighbours apart."""
    return (1.0 / (1.0 + np.exp(-np.clip(log_odds, -16.0, 16.0)))).astype(np.float32)
