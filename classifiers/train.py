"""Trains the fast detector's weights from the labelled sets, the same every time from the same data and seed.

Two models of the same texts: a logistic regression over hashed n-grams, fitted by AdaGrad in a fixed order of texts on one core,
and fastText on one thread. Every set weighs as the root of its size, human and machine weigh the same, and each text is seen
whole and as random pieces, so that length, set and topic say little. The sum of both is then scaled on texts of sets that the
weights had not seen, each set left out in turn.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit, types

from classifiers.fast_model import FastModel
from classifiers.fasttext_member import FastTextMember, FastTextSettings, train_fasttext
from classifiers.hashed_ngrams import BLOCKS, NgramSettings, collect_features, common_table, fold_and_hash, fold_line
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, LabelledText, drop_shared, fraction_of, read_labelled, read_set
from classifiers.text_batch import TextBatch

GENERATED_SET = "generated"
"""What the machine texts of our own (`python -m classifiers generate`) are called among the sets."""
HELD_OUT_SHARE = 0.2
"""Share of the groups of every set that training never sees: what calibration and evaluation use."""
_SPLIT_SEED = 7
"""Deals groups to training and held-out text: part of the data, not of a run."""


@dataclass(frozen=True)
class TrainSettings:
    """How the weights are fitted."""

    ngrams: NgramSettings = field(default_factory=NgramSettings)
    """What is hashed."""
    fasttext: FastTextSettings = field(default_factory=FastTextSettings)
    """How the fastText half is trained."""
    fasttext_factor: float = 0.05
    """Weight of fastText's log odds beside the n-grams' score, from 0; 0: no such half. Chosen by leaving sets out in turn."""
    epochs: int = 2
    """Passes over all pieces."""
    learning_rate: float = 0.1
    """Step of AdaGrad."""
    l2: float = 1e-5
    """Pull of every weight towards zero."""
    crops: int = 1
    """Random pieces of each text beside the text itself."""
    piece_words: tuple[int, int] = (40, 250)
    """Shortest and longest random piece, in folded words."""
    whole_words: int = 400
    """Folded words of a whole text, at most."""
    size_power: float = 1.0
    """A set of n texts weighs n to this power."""
    human_set_weight: float = 0.1
    """Weight of a set of human text alone, against one with both labels."""
    generated_weight: float = 2.0
    """Weight of the machine texts of our own, likewise; chosen by leaving sets out in turn."""
    texts_per_human_set: int = 6_000
    """Texts of such a set, at most."""
    attack_weight: float = 0.5
    """Weight of the disguised texts of a set (`attack` other than none), against its clean ones."""
    shapes_factor: float = 0.6
    """Weight of the shapes block's score beside the words block's; chosen by leaving sets out in turn."""
    common_words: int = 2_000
    """Words that shapes keep as they are."""
    seed: int = 0
    """Decides order and pieces."""

    def __post_init__(self):
        for key, low in (("epochs", 1), ("crops", 0), ("whole_words", 16), ("texts_per_human_set", 0), ("common_words", 0), ("seed", 0)):
            if getattr(self, key) < low:
                raise ValueError(f"{key} must be at least {low}, not {getattr(self, key)}")
        for key in ("learning_rate", "human_set_weight", "generated_weight", "attack_weight"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key)}")
        if not self.fasttext_factor >= 0:
            raise ValueError(f"fasttext_factor must be at least 0, not {self.fasttext_factor}")
        if not 8 <= self.piece_words[0] <= self.piece_words[1]:
            raise ValueError(f"piece_words must be two ascending numbers from 8 on, not {self.piece_words}")


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts and their folded words, folded once for all models trained on parts of them."""

    texts: Sequence[LabelledText]
    """The texts."""
    hashed: Sequence[tuple[np.ndarray, np.ndarray]]
    """Word and shape hashes of each (`hashed_ngrams.fold_and_hash`)."""
    lines: Sequence[str]
    """The same folded words of each as text (`hashed_ngrams.fold_line`)."""

    @property
    def is_machine(self) -> np.ndarray:
        """bool[n]."""
        return np.array([text.is_machine for text in self.texts], bool)


def is_held_out(text: LabelledText) -> bool:
    """Whether training never sees `text`: decided by its group alone."""
    return fraction_of(text.group, _SPLIT_SEED) < HELD_OUT_SHARE


def read_training_texts(folder: str, settings: TrainSettings, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS) -> list[LabelledText]:
    """Texts to train on: of each set those that neither are held out nor share wording with a held-out human text of their set.

    Of a set without machine text, those that hash lowest.
    """
    chosen: list[LabelledText] = []
    for name in sets:
        texts = read_set(folder, name)
        own = [text for text in texts if not is_held_out(text)]
        if name not in MIXED_SETS:
            own = sorted(own, key=lambda text: fraction_of(text.text, settings.seed))[: settings.texts_per_human_set]
        chosen += drop_shared(own, [text for text in texts if is_held_out(text) and not text.is_machine and text.attack == "none"])
    return chosen


def read_corpus(folder: str, settings: TrainSettings, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS, generated: str = "") -> "Corpus":
    """What the fast detector is trained on: `read_training_texts`, and the machine texts of the file `generated` (`classifiers.generate`)."""
    texts = read_training_texts(folder, settings, sets)
    if generated:
        texts += read_labelled(generated, GENERATED_SET)
    return fold_corpus(texts, settings.ngrams.max_words)


def fold_corpus(texts: Sequence[LabelledText], max_words: int) -> Corpus:
    """`texts` with their first `max_words` folded words."""
    return Corpus(texts, [fold_and_hash(text.text, max_words) for text in texts], [fold_line(text.text, max_words) for text in texts])


def cut_pieces(corpus: Corpus, settings: TrainSettings) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """What the weights are fitted to: each text's beginning, and `crops` random pieces of it; with the index of the text of each piece."""
    random = np.random.default_rng(settings.seed)
    pieces, owners = [], []
    shortest, longest = settings.piece_words
    for index, (words, shapes) in enumerate(corpus.hashed):
        pieces.append((words[: settings.whole_words], shapes[: settings.whole_words]))
        owners.append(index)
        for _ in range(settings.crops):
            length = int(random.integers(shortest, longest + 1))
            start = int(random.random() * max(0, len(words) - length + 1))
            if len(words) >= 2 * shortest:
                pieces.append((words[start : start + length], shapes[start : start + length]))
                owners.append(index)
    return pieces, np.array(owners, np.int64)


def piece_weights(texts: Sequence[LabelledText], owners: np.ndarray, settings: TrainSettings) -> np.ndarray:
    """float32: weight of each piece. n pieces of a set and label weigh n**size_power together, and in a set of both labels the geometric
    mean of the two for each; then both labels weigh the same over all sets; the mean is 1."""
    names = sorted({text.set_name for text in texts})
    cell_of_text = np.array([2 * names.index(text.set_name) + text.is_machine for text in texts], np.int64)
    share_of_text = np.array([1.0 if text.attack == "none" else settings.attack_weight for text in texts])
    cells, shares = cell_of_text[owners], share_of_text[owners]
    sizes = np.bincount(cells, minlength=2 * len(names)).reshape(-1, 2)
    totals = np.where(sizes, np.maximum(sizes, 1.0) ** settings.size_power, 0.0)
    has_both = sizes.all(axis=1)
    totals[has_both] = np.sqrt(totals[has_both].prod(axis=1))[:, None]
    of_one_label = np.array([settings.generated_weight if name == GENERATED_SET else settings.human_set_weight for name in names])
    totals[~has_both] *= of_one_label[~has_both, None]
    totals /= np.maximum(totals.sum(axis=0), 1e-12)
    within = np.bincount(cells, shares, minlength=2 * len(names))
    weights = shares * (totals.ravel() / np.maximum(within, 1e-12))[cells]
    return (weights * len(owners) / 2).astype(np.float32)


def draw_lines(corpus: Corpus, settings: TrainSettings) -> Iterator[tuple[bool, str]]:
    """What fastText is trained on: each text drawn as often as it weighs (`piece_weights`), in random order, with its label.

    fastText knows no weights, hence the draws. Half the lines are a text's beginning, half a random piece of it.
    """
    random = np.random.default_rng(settings.seed + 2)
    machine = corpus.is_machine
    weights = piece_weights(corpus.texts, np.arange(len(corpus.texts)), settings)
    shortest, longest = settings.piece_words
    for _ in range(settings.fasttext.draws):
        times = np.floor(weights + random.random(len(weights))).astype(np.int64)
        for index in random.permutation(np.repeat(np.arange(len(weights)), times)).tolist():
            words = corpus.lines[index].split(" ")
            length = int(random.integers(shortest, longest + 1))
            start = int(random.random() * max(0, len(words) - length + 1))
            is_piece = settings.crops > 0 and len(words) >= 2 * shortest and random.random() < 0.5
            yield bool(machine[index]), " ".join(words[start : start + length] if is_piece else words[: settings.whole_words])


@njit(
    types.Tuple((types.float32[::1], types.float64))(
        types.int32[::1], types.int64[::1], types.int64[::1], types.uint8[::1], types.float32[::1], types.int64[:, ::1],
        types.float64, types.float64, types.int64,
    ),
    cache=True,
    nogil=True,
)  # fmt: skip
def _fit(features, begins, ends, machine, weights, order, learning_rate, l2, num_buckets):
    """AdaGrad on the weighted logistic loss of (sum of a piece's weights) / sqrt(their number)."""
    # A weight and its sum of squared gradients lie side by side: one cache line a feature, and that is what the time goes to.
    state = np.empty((num_buckets, 2), np.float32)
    state[:, 0] = 0.0
    state[:, 1] = 1e-2
    rate = np.float32(learning_rate)
    intercept = 0.0
    intercept_squares = 1e-2
    for epoch in range(order.shape[0]):
        for at in range(order.shape[1]):
            piece = order[epoch, at]
            begin, end = begins[piece], ends[piece]
            if end == begin:
                continue
            total = np.float32(0.0)
            for i in range(begin, end):
                total += state[features[i], 0]
            norm = 1.0 / np.sqrt(end - begin)
            odds = total * norm + intercept
            gradient = (1.0 / (1.0 + np.exp(-odds)) - machine[piece]) * weights[piece]
            shared_step = np.float32(gradient * norm)
            decay = np.float32(l2 * weights[piece])
            for i in range(begin, end):
                feature = features[i]
                step = shared_step + decay * state[feature, 0]
                squares = state[feature, 1] + step * step
                state[feature, 1] = squares
                state[feature, 0] -= rate * step / np.sqrt(squares)
            intercept_squares += gradient * gradient
            intercept -= learning_rate * gradient / np.sqrt(intercept_squares)
    return state[:, 0].copy(), intercept


def fit_weights(corpus: Corpus, settings: TrainSettings) -> tuple[np.ndarray, np.ndarray]:
    """Weights (float32[2**bits]) of both blocks, each fitted by itself, and the common words (uint64, ascending).

    Raises ValueError unless there is text of both labels.
    """
    machine = corpus.is_machine
    if not machine.any() or machine.all():
        raise ValueError("training needs human and machine text")
    common = _common_words(corpus, settings.common_words)
    pieces, owners = cut_pieces(corpus, settings)
    features, ends = collect_features(pieces, common_table(common), settings.ngrams)
    weights = piece_weights(corpus.texts, owners, settings)
    random = np.random.default_rng(settings.seed + 1)
    order = np.stack([random.permutation(len(pieces)) for _ in range(settings.epochs)])
    labels = machine[owners].astype(np.uint8)
    fitted = np.zeros(1 << settings.ngrams.bits, np.float32)
    borders = (ends[:-1, 1], ends[1:, 0], ends[1:, 1])
    for block in range(BLOCKS):
        begins, stops = np.ascontiguousarray(borders[block]), np.ascontiguousarray(borders[block + 1])
        block_weights, _ = _fit(features, begins, stops, labels, weights, order, settings.learning_rate, settings.l2, len(fitted))
        fitted += block_weights
    return fitted, common


def quantise(
    fitted: np.ndarray,
    common: np.ndarray,
    settings: TrainSettings,
    fasttext: FastTextMember | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
) -> FastModel:
    """The model: each block's weights rounded to whole numbers from -127 to 127 (the largest in 100,000 are clipped), `fasttext` and the scale.

    `scale` is what `fit_scale` gives: intercept and factor that turn the sum of both halves into log odds.
    """
    weights = np.zeros(len(fitted), np.int8)
    factors = [0.0, 0.0, settings.fasttext_factor if fasttext else 0.0]
    half = len(fitted) // BLOCKS
    for block, share in enumerate((1.0, settings.shapes_factor)):
        part = fitted[block * half : (block + 1) * half]
        used = np.abs(part[part != 0])
        if len(used):
            step = float(np.quantile(used, 0.99999)) / 127
            weights[block * half : (block + 1) * half] = np.clip(np.rint(part / step), -127, 127)
            factors[block] = step * share
    return FastModel(settings.ngrams, weights, common, np.array([scale[0], *(scale[1] * factor for factor in factors)]), fasttext)


def fit_model(corpus: Corpus, settings: TrainSettings, scale: tuple[float, float] = (0.0, 1.0)) -> FastModel:
    """Both halves fitted to `corpus`. Raises ValueError unless there is text of both labels."""
    fitted, common = fit_weights(corpus, settings)
    fasttext = train_fasttext(draw_lines(corpus, settings), settings.fasttext, settings.seed) if settings.fasttext_factor else None
    return quantise(fitted, common, settings, fasttext, scale)


def fit_scale(scores: np.ndarray, machine: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Platt scaling: the intercept and the factor (not negative) of `scores` that minimise the weighted log loss, by damped Newton steps."""
    design = np.column_stack([np.ones(len(scores)), scores])
    factors = np.zeros(2)
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(design @ factors, -30, 30)))
        gradient = design.T @ (weights * (probability - machine))
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        factors -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    if not np.isfinite(factors).all() or factors[1] < 0:
        raise ValueError(f"scores do not rise with the label: factor {factors[1]}")
    return float(factors[0]), float(factors[1])


def score_texts_of(model: FastModel, texts: Sequence[LabelledText]) -> np.ndarray:
    """Log odds (float64) of each text by `model`, abstentions not considered."""
    return model.log_odds(batch_of(texts))[0]


def batch_of(texts: Sequence[LabelledText]) -> TextBatch:
    """`texts` as scorers take them; a lone surrogate becomes a question mark."""
    return TextBatch.of([text.text.encode("utf-8", "replace").decode() for text in texts])


def leave_one_set_out(
    folder: str, settings: TrainSettings, corpus: Corpus, report: Callable[[str], None] = print
) -> dict[str, tuple[list[LabelledText], np.ndarray]]:
    """For each mixed set: all its clean texts, and the unscaled score that weights trained on the other sets alone give them.

    Texts of the other sets that share a group or wording with the left-out set are not trained on either (`drop_shared`).
    """
    results: dict[str, tuple[list[LabelledText], np.ndarray]] = {}
    for name in dict.fromkeys(text.set_name for text in corpus.texts if text.is_machine and text.set_name != GENERATED_SET):
        started = time.process_time()
        left_out = [text for text in read_set(folder, name) if text.attack == "none"]
        part = without_set(corpus, name, left_out)
        results[name] = left_out, score_texts_of(fit_model(part, settings), left_out)
        report(f"left out {name}: trained on {len(part.texts)} texts, {time.process_time() - started:.0f} CPU-s")
    return results


def without_set(corpus: Corpus, name: str, left_out: Sequence[LabelledText]) -> Corpus:
    """`corpus` without the texts of set `name` and without those that share a group or wording with `left_out`."""
    kept = {id(text) for text in drop_shared([text for text in corpus.texts if text.set_name != name], left_out)}
    chosen = [index for index, text in enumerate(corpus.texts) if id(text) in kept]
    return Corpus(*([part[index] for index in chosen] for part in (corpus.texts, corpus.hashed, corpus.lines)))


def scale_left_out(results: Mapping[str, tuple[list[LabelledText], np.ndarray]]) -> tuple[float, float]:
    """The scale (`fit_scale`) that suits texts of sets not trained on: every set and label weighs the same."""
    scores = np.concatenate([scores for _, scores in results.values()])
    machine = np.concatenate([[text.is_machine for text in texts] for texts, _ in results.values()])
    weights = np.concatenate([balanced_weights(np.array([text.is_machine for text in texts])) for texts, _ in results.values()])
    return fit_scale(scores, machine, weights)


def train(
    folder: str,
    settings: TrainSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    report: Callable[[str], None] = print,
    generated: str = "",
) -> FastModel:
    """The fast detector's model from `sets` in `folder`, and from the file `generated` (`read_corpus`) where one is given.

    Deterministic; 2 to 4 CPU-minutes on the shared sets.

    Raises FileNotFoundError for a set that is not there, ValueError when fewer than two sets hold machine text.
    """
    corpus = read_corpus(folder, settings, sets, generated)
    num_mixed = len({text.set_name for text in corpus.texts if text.is_machine} - {GENERATED_SET})
    if num_mixed < 2:
        raise ValueError(f"training needs at least two sets with machine text (each is left out in turn), not {num_mixed}")
    report(f"read {len(corpus.texts)} texts of {len({text.set_name for text in corpus.texts})} sets")
    scale = scale_left_out(leave_one_set_out(folder, settings, corpus, report))
    return fit_model(corpus, settings, scale)


def balanced_weights(machine: np.ndarray) -> np.ndarray:
    """Weights under which both labels of one set sum to one half."""
    return np.where(machine, 0.5 / max(machine.sum(), 1), 0.5 / max((~machine).sum(), 1))


def _common_words(corpus: Corpus, count: int) -> np.ndarray:
    """Hashes of the `count` words that stand in the most texts, ascending; ties go to the smaller hash."""
    hashes, texts = np.unique(np.concatenate([np.unique(words) for words, _ in corpus.hashed]), return_counts=True)
    return np.sort(hashes[np.lexsort((hashes, -texts))[:count]])
