"""Was this written by a model? The columns that a detector's log odds become, and when it declines to give a number.

Which detector stands behind them is a name: `classifiers.detectors` says which there are. The probability is calibrated on texts of
sets that the weights had not seen, half of them machine-written: it is no prevalence of any corpus. To decide, use thresholds from
`classifiers.calibration`.
"""

import numpy as np
import pyarrow as pa

from classifiers.detectors import Detector, make_detector
from classifiers.fast_model import MIN_WORDS, MODEL_FILE, FastModel, load_model
from classifiers.text_batch import TextBatch

__all__ = ["MIN_WORDS", "MODEL_FILE", "AiDetectorScorer", "FastModel", "load_model", "probability_of"]


class AiDetectorScorer:
    """`ai_probability`: calibrated probability (0 to 1) that a model wrote the text, null where the detector abstains; `ai_abstained`:
    whether it does, because the text is too short or not English prose. Deterministic, the same in any batch."""

    name = "ai_detector"
    fields = pa.schema([("ai_probability", pa.float32()), ("ai_abstained", pa.bool_())])

    def __init__(self, detector: str | Detector = "fast", model_path: str | None = None):
        """`detector` is a name that `make_detector` knows, or a detector already made; `model_path` replaces the shipped weights.

        Raises ValueError for an unknown name or weights that are none, and whatever else `make_detector` raises.
        """
        self.detector = make_detector(detector, model_path=model_path) if isinstance(detector, str) else detector
        self.version = self.detector.version

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        odds, abstained = self.detector.log_odds(batch)
        probability = probability_of(odds)
        return {"ai_probability": pa.array(probability, mask=abstained), "ai_abstained": pa.array(abstained)}


def probability_of(log_odds: np.ndarray) -> np.ndarray:
    """float32 probability of float64 log odds, limited to +-16, where float32 can still tell neighbours apart."""
    return (1.0 / (1.0 + np.exp(-np.clip(log_odds, -16.0, 16.0)))).astype(np.float32)
