"""Trains the quality classifier's weights (`classifiers.trained_quality`), the same every time from the same data and seed.

A logistic regression of each block by AdaGrad, in a fixed order of texts on one core. In every set good and bad text weigh the same,
so that a set's own style or topic says nothing about the label. The sum of both blocks is scaled on texts of sets that the
weights had not seen, each set left out in turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit, types

from classifiers.quality_texts import QUALITY_SETS, QualityText, read_quality_sets
from classifiers.quality_tokens import hash_tokens, ngram_buckets
from classifiers.text_batch import TextBatch
from classifiers.train import fit_scale
from classifiers.trained_quality import QualityModel, QualityNgrams

GAIN = 20.0
"""What a block's mean weight is multiplied by while training: the root of a usual text's n-grams, which suits AdaGrad's steps."""


@dataclass(frozen=True)
class QualityTrainSettings:
    """How the weights are fitted."""

    ngrams: QualityNgrams = field(default_factory=QualityNgrams)
    """What is hashed."""
    epochs: int = 2
    """Passes over all pieces."""
    learning_rate: float = 0.1
    """Step of AdaGrad."""
    l2: float = 1e-3
    """Pull of every weight towards zero."""
    read_tokens: int = 1_500
    """Tokens of a text that random pieces are cut from."""
    piece_tokens: tuple[int, int] = (40, 300)
    """Shortest and longest random piece; one is cut from each text beside its beginning."""
    shapes_factor: float = 2.0
    """Weight of the shapes' score beside the words'; chosen among four by leaving sets out in turn."""
    seed: int = 0
    """Decides order and pieces."""

    def __post_init__(self):
        for key, low in (("epochs", 1), ("read_tokens", 16), ("seed", 0)):
            if getattr(self, key) < low:
                raise ValueError(f"{key} must be at least {low}, not {getattr(self, key)}")
        for key in ("learning_rate", "shapes_factor"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key)}")
        if not 8 <= self.piece_tokens[0] <= self.piece_tokens[1]:
            raise ValueError(f"piece_tokens must be two ascending numbers from 8 on, not {self.piece_tokens}")


@dataclass(frozen=True, eq=False)
class QualityCorpus:
    """Pieces of texts as buckets, made once for all models trained on parts of them."""

    texts: Sequence[QualityText]
    """The texts."""
    owners: np.ndarray
    """int64[pieces]: the text of each piece."""
    buckets: np.ndarray
    """int32: the n-grams of all pieces, end to end."""
    ends: np.ndarray
    """int64[pieces + 1, 2]: row i + 1 says where the word and the shape n-grams of piece i end."""

    @property
    def is_good(self) -> np.ndarray:
        """bool[n]."""
        return np.array([text.is_good for text in self.texts], bool)


def cut_pieces(texts: Sequence[QualityText], settings: QualityTrainSettings) -> QualityCorpus:
    """Each text's beginning and a random piece of it, as buckets of n-grams."""
    random = np.random.default_rng(settings.seed)
    ngrams = settings.ngrams
    words, shapes = np.empty(settings.read_tokens, np.uint64), np.empty(settings.read_tokens, np.uint64)
    scratch = np.empty(max(settings.read_tokens, ngrams.max_tokens) * (ngrams.word_ngrams + ngrams.shape_ngrams), np.int32)
    found, owners, ends, filled = [], [], [(0, 0)], 0
    shortest, longest = settings.piece_tokens
    for index, text in enumerate(texts):
        utf8 = np.frombuffer(text.text.encode(), np.uint8)
        count = hash_tokens(utf8, 0, len(utf8), settings.read_tokens, words, shapes)
        length = int(random.integers(shortest, longest + 1))
        start = int(random.random() * max(0, count - length + 1))
        places = [(0, min(count, ngrams.max_tokens))]
        if count >= 2 * shortest:
            places.append((start, min(count, start + length)))
        for first, last in places:
            words_end, end = ngram_buckets(
                words[first:last],
                shapes[first:last],
                last - first,
                ngrams.word_ngrams,
                ngrams.shape_ngrams,
                ngrams.word_bits,
                ngrams.shape_bits,
                scratch,
            )
            found.append(scratch[:end].copy())
            owners.append(index)
            ends.append((filled + words_end, filled + end))
            filled += end
    return QualityCorpus(texts, np.array(owners, np.int64), np.concatenate(found), np.array(ends, np.int64))


def piece_weights(corpus: QualityCorpus, chosen: np.ndarray) -> np.ndarray:
    """float32[pieces]: weight of each piece of the `chosen` texts (bool[n]), mean 1; 0 for the others.

    A set of n such texts weighs as the root of n, half of it in its good and half in its bad texts.
    """
    sets = np.array([text.set_name for text in corpus.texts])
    good = corpus.is_good
    weights = np.zeros(len(corpus.texts))
    for name in np.unique(sets[chosen]):
        here = chosen & (sets == name)
        for label in (False, True):
            cell = here & (good == label)
            weights[cell] = np.sqrt(here.sum()) / 2 / max(cell.sum(), 1)
    pieces = weights[corpus.owners]
    return (pieces * (np.count_nonzero(pieces) / pieces.sum())).astype(np.float32)


@njit(
    types.float32[::1](
        types.int32[::1], types.int64[::1], types.int64[::1], types.uint8[::1], types.float32[::1], types.int64[:, ::1],
        types.float64, types.float64, types.int64,
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _fit(buckets, begins, stops, good, weights, order, learning_rate, l2, num_buckets):
    """AdaGrad on the weighted logistic loss of `GAIN` x (mean weight of a piece's n-grams)."""
    state = np.empty((num_buckets, 2), np.float32)
    state[:, 0] = 0.0
    state[:, 1] = 1e-2
    intercept = 0.0
    intercept_squares = 1e-2
    rate = np.float32(learning_rate)
    for epoch in range(order.shape[0]):
        for at in range(order.shape[1]):
            piece = order[epoch, at]
            begin, stop = begins[piece], stops[piece]
            if stop == begin:
                continue
            total = np.float32(0.0)
            for i in range(begin, stop):
                total += state[buckets[i], 0]
            norm = GAIN / (stop - begin)
            gradient = (1.0 / (1.0 + np.exp(-(total * norm + intercept))) - good[piece]) * weights[piece]
            shared = np.float32(gradient * norm)
            decay = np.float32(l2 * weights[piece])
            for i in range(begin, stop):
                bucket = buckets[i]
                step = shared + decay * state[bucket, 0]
                squares = state[bucket, 1] + step * step
                state[bucket, 1] = squares
                state[bucket, 0] -= rate * step / np.sqrt(squares)
            intercept_squares += gradient * gradient
            intercept -= learning_rate * gradient / np.sqrt(intercept_squares)
    return state[:, 0].copy()


def fit_model(corpus: QualityCorpus, chosen: np.ndarray, settings: QualityTrainSettings, scale: tuple[float, float] = (0.0, 1.0)) -> QualityModel:
    """The model of the `chosen` texts (bool[n]) of `corpus`. `scale`: intercept and factor that turn the sum of both blocks into log odds.

    Raises ValueError unless there is text of both labels.
    """
    good = corpus.is_good
    if not good[chosen].any() or good[chosen].all():
        raise ValueError("training needs good and bad text")
    weights = piece_weights(corpus, chosen)
    pieces = np.flatnonzero(weights > 0)
    random = np.random.default_rng(settings.seed + 1)
    order = np.stack([random.permutation(pieces) for _ in range(settings.epochs)])
    ngrams, ends = settings.ngrams, corpus.ends
    borders = (ends[:-1, 1], ends[1:, 0], ends[1:, 1])
    rounded, factors = np.zeros(ngrams.num_buckets, np.int8), []
    for block, share in enumerate((1.0, settings.shapes_factor)):
        begins, stops = (np.ascontiguousarray(border) for border in borders[block : block + 2])
        labels = good[corpus.owners].astype(np.uint8)
        fitted = _fit(corpus.buckets, begins, stops, labels, weights, order, settings.learning_rate, settings.l2, ngrams.num_buckets)
        used = np.abs(fitted[fitted != 0])
        # The few largest are clipped: they would cost all others their precision.
        step = float(np.quantile(used, 0.9999)) / 127 if len(used) else 1.0
        rounded += np.clip(np.rint(fitted / step), -127, 127).astype(np.int8)
        factors.append(step * GAIN * share * scale[1])
    return QualityModel(ngrams, rounded, np.array([scale[0], *factors]))


def log_odds_of(model: QualityModel, texts: Sequence[QualityText]) -> np.ndarray:
    """Log odds (float64) of each text by `model`."""
    measured = model.measure(TextBatch.of([text.text for text in texts]))
    return model.scale[0] + measured[:, 1:] @ model.scale[1:]


def leave_sets_out(corpus: QualityCorpus, settings: QualityTrainSettings, report: Callable[[str], None]) -> dict[str, np.ndarray]:
    """For each set the unscaled log odds of all its texts by weights trained on the other sets alone.

    No text of one of these sets shares its page or opening with another set's; where one did, it would not be trained on.
    """
    sets = np.array([text.set_name for text in corpus.texts])
    results = {}
    for name in dict.fromkeys(sets.tolist()):
        here = sets == name
        openings = {text.group.partition("/")[2] for text, is_here in zip(corpus.texts, here, strict=True) if is_here}
        shared = np.array([text.group.partition("/")[2] in openings for text in corpus.texts])
        model = fit_model(corpus, ~here & ~shared, settings)
        results[name] = log_odds_of(model, [text for text, is_here in zip(corpus.texts, here, strict=True) if is_here])
        report(f"left out {name}: {int(here.sum()):,} texts")
    return results


def train_quality(
    folder: str, settings: QualityTrainSettings, sets: Sequence[str] = QUALITY_SETS, report: Callable[[str], None] = print
) -> tuple[QualityModel, QualityCorpus, dict[str, np.ndarray]]:
    """The model from `sets` in `folder`, all their texts, and what `leave_sets_out` gives. Deterministic; about a CPU-minute.

    Raises FileNotFoundError for a set that is not there, ValueError for fewer than two sets (each is left out in turn).
    """
    if len(sets) < 2:
        raise ValueError(f"training needs at least two sets (each is left out in turn), not {len(sets)}")
    corpus = cut_pieces(read_quality_sets(folder, sets), settings)
    left_out = leave_sets_out(corpus, settings, report)
    good = {name: np.array([text.is_good for text in corpus.texts if text.set_name == name]) for name in left_out}
    balanced = [np.where(one, 0.5 / one.sum(), 0.5 / (~one).sum()) for one in good.values()]
    scale = fit_scale(np.concatenate(list(left_out.values())), np.concatenate(list(good.values())), np.concatenate(balanced))
    seen = np.array([not text.is_held_out for text in corpus.texts])
    return fit_model(corpus, seen, settings, scale), corpus, left_out
