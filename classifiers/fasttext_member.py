"""The fastText half of the fast detector: a supervised fastText model of two labels over folded text, trained, read and asked in batches.

fastText averages the vectors of a text's words and hashed word n-grams and weighs the mean for each label. It sees how often a
feature stands in a text, where the n-gram half (`classifiers.hashed_ngrams`) sees whether it does, and errs on other texts.
The shipped file is fastText's own format: `fasttext.load_model` reads it.

*Source:* Joulin, Grave, Bojanowski, Mikolov 2017, "Bag of Tricks for Efficient Text Classification".
"""

import functools
import hashlib
import os
import struct
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import fasttext
import numpy as np

HUMAN_LABEL, MACHINE_LABEL = "__label__0", "__label__1"
MAGIC = (793712314).to_bytes(4, "little")
"""First bytes of a fastText file."""
DIM_PLACE = slice(8, 12)
"""Where the length of the vectors stands in it."""


@dataclass(frozen=True)
class FastTextSettings:
    """How fastText is trained."""

    dim: int = 4
    """Length of the vectors while training (`collapse` makes it 1): a few numbers make the descent smoother."""
    word_ngrams: int = 3
    """Longest n-gram of words."""
    bits: int = 18
    """Buckets of the n-grams, as a power of two."""
    min_count: int = 5
    """Words seen less often in the training lines are not kept as words."""
    learning_rate: float = 0.5
    """First step of the descent, which falls to 0."""
    draws: int = 1
    """Lines drawn, in multiples of the number of texts; each is seen once."""

    def __post_init__(self):
        for key, low, high in (("dim", 1, 300), ("word_ngrams", 1, 5), ("bits", 8, 22), ("min_count", 1, 1 << 20), ("draws", 1, 100)):
            if not low <= getattr(self, key) <= high:
                raise ValueError(f"{key} must be from {low} to {high}, not {getattr(self, key)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")


class FastTextMember:
    """A trained fastText model of the labels human and machine."""

    def __init__(self, path: str):
        """Reads the model at `path`. Raises OSError, ValueError (naming the file) when it is none of these two labels."""
        with open(path, "rb") as file:
            self.content = file.read()
        if self.content[:4] != MAGIC:
            raise ValueError(f"{path}: not a fastText model")
        self._model = fasttext.load_model(path)
        if sorted(self._model.labels) != [HUMAN_LABEL, MACHINE_LABEL]:
            raise ValueError(f"{path}: a fastText model of the labels {sorted(self._model.labels)}, not {[HUMAN_LABEL, MACHINE_LABEL]}")

    @functools.cached_property
    def digest(self) -> bytes:
        """16 bytes that say which model this is."""
        return digest_of(self.content)

    def log_odds(self, lines: Sequence[str]) -> np.ndarray:
        """float64: log odds that a model wrote each of `lines` (folded, each ending in a line break), about -11.5 to 11.5.

        A line's number does not depend on the others. Holds the interpreter's lock.
        """
        if not lines:
            return np.empty(0)
        labels, probabilities = self._model.f.multilinePredict(lines, 2, 0.0, "strict")
        first = np.array([row[0] for row in probabilities], np.float64)
        second = np.array([row[1] for row in probabilities], np.float64)
        sign = np.array([1.0 if row[0] == MACHINE_LABEL else -1.0 for row in labels])
        return sign * (np.log(first) - np.log(second))


def digest_of(content: bytes) -> bytes:
    """16 bytes that tell the contents of model files apart."""
    return hashlib.blake2b(content, digest_size=16).digest()


def train_fasttext(lines: Iterable[tuple[bool, str]], settings: FastTextSettings, seed: int) -> FastTextMember:
    """The model of `lines` (whether a model wrote it, folded text), seen once and in order: the same lines and seed give the same bytes."""
    with tempfile.TemporaryDirectory(prefix="headwater-fasttext-") as folder:
        text_path, model_path = os.path.join(folder, "lines.txt"), os.path.join(folder, "model.bin")
        with open(text_path, "w", encoding="ascii", newline="\n") as file:
            file.writelines(f"{MACHINE_LABEL if is_machine else HUMAN_LABEL} {line}\n" for is_machine, line in lines)
        # One thread: more of them write to the same weights without a lock, and no two runs are alike.
        model = fasttext.train_supervised(
            text_path, dim=settings.dim, wordNgrams=settings.word_ngrams, bucket=1 << settings.bits, minCount=settings.min_count,
            lr=settings.learning_rate, epoch=1, minn=0, maxn=0, thread=1, seed=seed, verbose=0,
        )  # fmt: skip
        model.save_model(model_path)
        with open(model_path, "rb") as file:
            content = file.read()
        with open(model_path, "wb") as file:
            file.write(collapse(content, model.get_input_matrix(), model.get_output_matrix()))
        return FastTextMember(model_path)


def collapse(content: bytes, vectors: np.ndarray, outputs: np.ndarray) -> bytes:
    """The file of a model of two labels with vectors of one number that gives the same odds, as fastText reads it.

    The log odds are the mean of a text's `vectors` (float32[rows, dim]) times the difference of the two `outputs` (float32[2, dim]):
    multiplied beforehand, one number a row is all that is left, and the file is a fraction of its size. Raises ValueError for a
    file that is not laid out as that of an unquantised model with these matrices.
    """
    (rows, dim), labels = vectors.shape, len(outputs)
    shapes = b"\0" + struct.pack("<qq", rows, dim), b"\0" + struct.pack("<qq", labels, dim)
    at = len(content) - 4 * dim * (rows + labels) - len(shapes[0]) - len(shapes[1])
    laid_out = content[at:].startswith(shapes[0]) and content[len(content) - 4 * dim * labels - len(shapes[1]) :].startswith(shapes[1])
    if labels != 2 or not laid_out or content[DIM_PLACE] != struct.pack("<i", dim):
        raise ValueError("not the file of a fastText model of two labels with these matrices")
    odds = (vectors.astype(np.float64) * (outputs[1].astype(np.float64) - outputs[0])).sum(axis=1)
    head = content[: DIM_PLACE.start] + struct.pack("<i", 1) + content[DIM_PLACE.stop : at]
    halves = np.array([-0.5, 0.5], "<f4").tobytes()
    return b"".join([head, b"\0", struct.pack("<qq", rows, 1), odds.astype("<f4").tobytes(), b"\0", struct.pack("<qq", 2, 1), halves])
