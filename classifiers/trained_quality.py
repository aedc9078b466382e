"""`trained_quality`: the probability that people would keep a text, by a linear model of hashed n-grams in DCLM's manner.

Two blocks (`classifiers.quality_tokens`): n-grams of words, and n-grams of shapes, which know neither words nor script. A text's
score is the mean weight of its n-grams, as in fastText, so that length by itself says nothing. Weights and scale come from
`python -m classifiers train-quality`; the probability means a world in which half of all text is bad, and no prevalence.

*Source:* Li et al. 2024, "DataComp-LM", section 4.4 (a linear n-gram classifier as the filter); Joulin et al. 2017 (fastText).
"""

import functools
import hashlib
import zipfile
from dataclasses import asdict, dataclass

import numpy as np
import orjson
import pyarrow as pa

from classifiers.detectors import weights_file
from classifiers.quality_tokens import TOKENIZATION, score_texts
from classifiers.text_batch import TextBatch

MODEL_FILE = "quality.npz"
"""Name of the shipped model within `classifiers/weights`."""


@dataclass(frozen=True)
class QualityNgrams:
    """What is hashed; part of a model."""

    word_ngrams: int = 2
    """Longest n-gram of words, from 1."""
    shape_ngrams: int = 4
    """Longest n-gram of shapes, from 1."""
    word_bits: int = 18
    """Buckets of the words' block, as a power of two."""
    shape_bits: int = 16
    """Buckets of the shapes' block, as a power of two."""
    max_tokens: int = 500
    """Words, marks and line breaks looked at, from the beginning of a text."""

    def __post_init__(self):
        for key, low, high in (
            ("word_ngrams", 1, 5),
            ("shape_ngrams", 1, 8),
            ("word_bits", 8, 24),
            ("shape_bits", 8, 24),
            ("max_tokens", 16, 65_536),
        ):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{key} must be a whole number from {low} to {high}, not {value!r}")

    @property
    def num_buckets(self) -> int:
        """Buckets of both blocks."""
        return (1 << self.word_bits) + (1 << self.shape_bits)


@dataclass(frozen=True, eq=False)
class QualityModel:
    """Weights of the trained quality classifier."""

    settings: QualityNgrams
    """What is hashed."""
    weights: np.ndarray
    """int8[num_buckets]: one weight for each bucket, the words' block first."""
    scale: np.ndarray
    """float64[3]: intercept and the factors of both blocks' mean weights; together the log odds of good against bad."""

    def __post_init__(self):
        if self.weights.dtype != np.int8 or self.weights.shape != (self.settings.num_buckets,):
            raise ValueError(f"weights must be int8[{self.settings.num_buckets}], not {self.weights.dtype}{list(self.weights.shape)}")
        if self.scale.shape != (3,) or not np.isfinite(self.scale).all() or (self.scale[1:] < 0).any():
            raise ValueError("scale must be an intercept and two factors that are not negative")
        self.weights.flags.writeable = False

    @functools.cached_property
    def version(self) -> str:
        """`quality-DIGEST`, 12 hexadecimal digits of everything that decides a score."""
        parts = [TOKENIZATION.encode(), orjson.dumps(asdict(self.settings)), self.weights.tobytes(), self.scale.tobytes()]
        return "quality-" + hashlib.blake2b(b"\0".join(parts), digest_size=6).hexdigest()

    def save(self, path: str) -> None:
        """Writes the model to `path`; the same model gives the same bytes."""
        settings = np.frombuffer(orjson.dumps(asdict(self.settings)), np.uint8)
        with open(path, "wb") as file:
            np.savez_compressed(file, settings=settings, weights=self.weights, scale=self.scale)

    def measure(self, batch: TextBatch) -> np.ndarray:
        """float64[n, 3]: tokens looked at, and the mean weight of the words' and of the shapes' n-grams. Linear in the bytes."""
        results = np.empty((len(batch), 3))
        one = self.settings
        score_texts(
            batch.utf8, batch.offsets, one.max_tokens, one.word_ngrams, one.shape_ngrams, one.word_bits, one.shape_bits, self.weights, results
        )
        return results

    def probability(self, batch: TextBatch) -> np.ndarray:
        """float32[n], 0 to 1: that each text is good; 0 for a text without a word or mark."""
        measured = self.measure(batch)
        odds = self.scale[0] + measured[:, 1:] @ self.scale[1:]
        return np.where(measured[:, 0] > 0, 1 / (1 + np.exp(-np.clip(odds, -60, 60))), 0).astype(np.float32)


class TrainedQualityScorer:
    """`trained_quality`, float32 in 0..1, never null: the shipped model's probability that people would keep the text."""

    name = "trained_quality"
    fields = pa.schema([("trained_quality", pa.float32())])

    def __init__(self, model_path: str | None = None):
        """`model_path` replaces the shipped weights. Raises OSError, ValueError."""
        self.model = load_quality_model(model_path)
        self.version = self.model.version

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        return {"trained_quality": pa.array(batch.derive(self.model.probability))}


def load_quality_model(path: str | None = None) -> QualityModel:
    """The model at `path`, or the shipped one (read once a process). Raises OSError, ValueError (naming the file) when it is not one."""
    return _shipped_model() if path is None else _read_model(path)


@functools.cache
def _shipped_model() -> QualityModel:
    return _read_model(weights_file(MODEL_FILE))


def _read_model(path: str) -> QualityModel:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return QualityModel(QualityNgrams(**orjson.loads(arrays["settings"].tobytes())), arrays["weights"], arrays["scale"])
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a quality model's weights: {error}") from error
