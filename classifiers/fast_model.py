"""The fast tier: two models of one folded text (`classifiers.fold_marks`).

A logistic regression over hashed n-grams, in one compiled pass over the bytes of a whole batch (`classifiers.hashed_ngrams`), and a
fastText model (`classifiers.fasttext_member`). Their scores are added with fixed weights. The log odds are scaled on texts of sets
that the weights had not seen, half of them machine-written: they know no prevalence of any corpus.
"""

import functools
import hashlib
import importlib.resources
import os
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from classifiers.fasttext_member import FastTextMember, digest_of
from classifiers.fold_marks import FOLDING
from classifiers.hashed_ngrams import NgramSettings, common_table, score_and_fold_texts, score_texts
from classifiers.text_batch import TextBatch

MODEL_FILE = "fast.npz"
"""Name of the shipped model within `classifiers/weights`; its fastText half lies beside it, ending in `FASTTEXT_EXTENSION`."""
FASTTEXT_EXTENSION = ".bin"
MIN_WORDS = 50
"""Words (`TextBatch.words.counts`) below which the detector abstains: shorter texts carry too little to judge."""
MIN_FUNCTION_WORD_SHARE = 0.12
"""Share of English function words below which it abstains: other languages, code, tables, lists of names."""
MAX_FOREIGN_SHARE = 0.2
"""Share of letters outside the Latin script above which it abstains."""


@dataclass(frozen=True, eq=False)
class FastModel:
    """Weights of the fast tier."""

    settings: NgramSettings
    """What is hashed."""
    weights: np.ndarray
    """int8[2**bits]: one weight for each bucket."""
    common: np.ndarray
    """uint64: hashes of the words that the second block of features keeps as they are, ascending."""
    scale: np.ndarray
    """float64[4]: intercept, factors of the words block, the shapes block and fastText's log odds; together the log odds that a model
    wrote the text."""
    fasttext: FastTextMember | None = None
    """The fastText half; None: n-grams alone, and fastText's factor is 0."""

    def __post_init__(self):
        if self.weights.dtype != np.int8 or self.weights.shape != (1 << self.settings.bits,):
            raise ValueError(f"weights must be int8[{1 << self.settings.bits}], not {self.weights.dtype}{list(self.weights.shape)}")
        if self.scale.shape != (4,) or not np.isfinite(self.scale).all() or (self.scale[1:] < 0).any():
            raise ValueError("scale must be an intercept and three factors that are not negative")
        if self.fasttext is None and self.scale[3]:
            raise ValueError("without a fastText model its factor must be 0")

    @functools.cached_property
    def digest(self) -> str:
        """12 hexadecimal digits of everything that decides a score."""
        parts = [FOLDING.encode(), orjson.dumps(asdict(self.settings)), self.weights.tobytes(), self.common.tobytes(), self.scale.tobytes()]
        return hashlib.blake2b(b"\0".join([*parts, self._fasttext_digest]), digest_size=6).hexdigest()

    @property
    def version(self) -> str:
        """`fast-DIGEST`."""
        return f"fast-{self.digest}"

    @property
    def _fasttext_digest(self) -> bytes:
        return self.fasttext.digest if self.fasttext else b""

    @functools.cached_property
    def table(self) -> np.ndarray:
        """`common` as the kernels read it."""
        return common_table(self.common)

    def save(self, path: str) -> None:
        """Writes the model to `path` and its fastText half beside it; the same model gives the same bytes."""
        with open(path, "wb") as file:
            settings = np.frombuffer(orjson.dumps(asdict(self.settings)), np.uint8)
            half = np.frombuffer(self._fasttext_digest, np.uint8)
            np.savez_compressed(file, settings=settings, weights=self.weights, common=self.common, scale=self.scale, fasttext=half)
        if self.fasttext:
            with open(fasttext_path(path), "wb") as file:
                file.write(self.fasttext.content)

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64) that a model wrote each text, and whether (bool) the detector abstains from it."""
        arguments = batch.utf8, batch.offsets, self.table, self.settings, self.weights
        scores, lines = score_and_fold_texts(*arguments) if self.fasttext else (score_texts(*arguments), [])
        odds = self.scale[0] + self.scale[1] * scores[:, 0].astype(np.float64) + self.scale[2] * scores[:, 1].astype(np.float64)
        if self.fasttext:
            odds += self.scale[3] * self.fasttext.log_odds(lines)
        abstained = (batch.words.counts < MIN_WORDS) | (scores[:, 3] < MIN_FUNCTION_WORD_SHARE) | (scores[:, 4] > MAX_FOREIGN_SHARE)
        return odds, abstained


def load_model(path: str | None = None) -> FastModel:
    """The model at `path`, or the shipped one (read once a process). Raises OSError, ValueError (naming the file) when it is not one."""
    return _shipped_model() if path is None else _read_model(path)


@functools.cache
def _shipped_model() -> FastModel:
    with importlib.resources.as_file(importlib.resources.files("classifiers") / "weights" / MODEL_FILE) as path:
        return _read_model(str(path))


def fasttext_path(path: str) -> str:
    """Where the fastText half of the model at `path` lies."""
    return os.path.splitext(path)[0] + FASTTEXT_EXTENSION


def _read_model(path: str) -> FastModel:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            settings = NgramSettings(**orjson.loads(arrays["settings"].tobytes()))
            digest = arrays["fasttext"].tobytes()
            return FastModel(settings, arrays["weights"], arrays["common"], arrays["scale"], _read_half(path, digest) if digest else None)
    except (KeyError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a detector's weights: {error}") from error


def _read_half(path: str, digest: bytes) -> FastTextMember:
    """The fastText half, once it is sure to be the one: fastText itself reads a damaged file without a word."""
    half = fasttext_path(path)
    with open(half, "rb") as file:
        if digest_of(file.read()) != digest:
            raise ValueError(f"{half} is not the fastText model that was trained with it")
    return FastTextMember(half)
