"""`cascade`: the fast detector for every text, the deep one only where the fast one is unsure.

Unsure is a band of the fast log odds. Outside it they stand as they are; inside, both detectors' log odds are weighed together, and
near the ends of the band the sum fades into the fast ones, so that the odds have no step where the band ends. For a text of given
fast odds they never fall as the deep ones grow. The band and the weights come from labelled text (`classifiers.fit_cascade`).
"""

import hashlib
import os
import time
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from classifiers.detectors import CascadeWork, Detector, make_detector, weights_file
from classifiers.text_batch import TextBatch

SETTINGS_FILE = "cascade.json"
"""Name of the shipped settings within `classifiers/weights`."""
FORMAT = 1
FAST, DEEP = "fast", "deep"
"""Values of the column `ai_tier`: which detector decided."""


@dataclass(frozen=True)
class CascadeSettings:
    """When the deep detector is asked, and how its answer counts."""

    low: float
    """Fast log odds from which the deep detector is asked, inclusive."""
    high: float
    """Fast log odds up to which it is asked, inclusive; at least `low`."""
    fade: float
    """Share of the band's width, 0 to 0.5, over which the weighed odds fade into the fast ones, at each end."""
    factors: tuple[float, float, float]
    """Intercept, factor of the fast and of the deep log odds where both are known; no factor is negative."""
    fast: str
    """Version of the fast detector that the band was fitted to."""
    deep: str
    """Version of the deep one."""
    deep_share: float = 0.0
    """Share of the texts it was fitted to, half of them machine-written, that the band takes in."""

    def __post_init__(self):
        object.__setattr__(self, "factors", tuple(map(float, self.factors)))
        if not (np.isfinite([self.low, self.high]).all() and self.low <= self.high):
            raise ValueError(f"the band must run from low to high log odds, not from {self.low} to {self.high}")
        if not 0 <= self.fade <= 0.5:
            raise ValueError(f"fade must be a share of the band from 0 to 0.5, not {self.fade}")
        if len(self.factors) != 3 or not np.isfinite(self.factors).all() or min(self.factors[1:]) < 0:
            raise ValueError(f"factors must be an intercept and two numbers that are not negative, not {self.factors}")

    def to_json(self) -> bytes:
        """The settings as one JSON object."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=orjson.OPT_INDENT_2) + b"\n"


class CascadeDetector:
    """Two detectors behind the contract of one (`classifiers.detectors`). Abstains where the fast one does."""

    def __init__(self, fast: Detector, deep: Detector, settings: CascadeSettings):
        """Raises ValueError when `settings` were fitted to other detectors."""
        for name, detector in ((settings.fast, fast), (settings.deep, deep)):
            if name != detector.version:
                raise ValueError(
                    f"the cascade was fitted to the detector {name}, not to {detector.version}; "
                    "fit it again with `python -m classifiers train --ai_detector cascade`"
                )
        self._fast, self._deep, self.settings = fast, deep, settings
        digest = hashlib.blake2b("\0".join([fast.version, deep.version, repr(settings)]).encode(), digest_size=6).hexdigest()
        self.version = f"cascade-{digest}"
        self._work = CascadeWork()

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64) and abstentions (bool), as `Detector` has it."""
        odds, abstained, _ = self.log_odds_and_tier(batch)
        return odds, abstained

    def log_odds_and_tier(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `log_odds` gives, and whether (bool) the deep detector was asked about each text."""
        began = time.process_time()
        fast, abstained = self._fast.log_odds(batch)
        asked = ~abstained & (fast >= self.settings.low) & (fast <= self.settings.high)
        between = time.process_time()
        odds = fast.copy()
        if asked.any():
            deep, declined = self._deep.log_odds(TextBatch(batch.texts.filter(asked)))
            odds[asked] = np.where(declined, fast[asked], weigh_odds(fast[asked], deep, self.settings))
        self._work += CascadeWork(len(batch), int(asked.sum()), between - began, time.process_time() - between)
        return odds, abstained, asked

    def take_work(self) -> CascadeWork:
        """What was done since the last call."""
        work, self._work = self._work, CascadeWork()
        return work


def weigh_odds(fast: np.ndarray, deep: np.ndarray, settings: CascadeSettings) -> np.ndarray:
    """Log odds (float64) of texts within the band from those of both detectors: rises with `deep`, and meets `fast` at the band's ends."""
    intercept, of_fast, of_deep = settings.factors
    both = intercept + of_fast * fast + of_deep * deep
    inside = np.minimum(fast - settings.low, settings.high - fast)
    width = settings.fade * (settings.high - settings.low)
    share = np.clip(inside / width, 0.0, 1.0) if width > 1e-9 else np.ones_like(fast)
    return share * both + (1.0 - share) * fast


def load_cascade(path: str | None = None, num_threads: int = 1) -> CascadeDetector:
    """The cascade of the shipped detectors with the settings at `path`, or the shipped ones. Raises OSError, ValueError."""
    if path is None and not os.path.exists(weights_file(SETTINGS_FILE)):
        raise ValueError("no cascade ships with this version: fit one with `python -m classifiers train --ai_detector cascade`")
    settings = read_settings(path or weights_file(SETTINGS_FILE))
    return CascadeDetector(make_detector(FAST), make_detector(DEEP, num_threads=num_threads), settings)


def read_settings(path: str) -> CascadeSettings:
    """The settings at `path`. Raises OSError, ValueError (naming the file) when they are none."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        record = orjson.loads(content)
        if record.pop("format") != FORMAT:
            raise ValueError(f"this version reads format {FORMAT}")
        return CascadeSettings(**record)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the settings of a cascade: {error}") from error
