"""Trains the deep detector's encoder from the labelled sets: the upper layers of MiniLM on short windows of folded text.

Made for two slow cores. The embeddings and lower layers stay as they are, so each window passes them once and its hidden states are
kept. Two heads read the rest: *tuned*, the upper layers, trained on the first windows, each once, with a running mean over the last fifth of the
steps for weights (which makes a run worth something at whatever step it ends); and *linear*, a logistic regression on the mean and
spread of the hidden states that the upper layers start from.
"""

import importlib.resources
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from classifiers.deep_card import Training
from classifiers.deep_encoder import MODEL_FILE, SETTINGS_FILE, TOKENIZER_FILE, DeepSettings, average_windows
from classifiers.deep_network import BASE_MODULE, Encoder, export_encoder, load_base, pool_states
from classifiers.deep_windows import DrawSettings, Windows, draw_windows
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS
from classifiers.train import TrainSettings, read_training_texts

RUNNING_MEAN_SHARE = 0.2
"""Share of the steps so far that the running mean of the weights looks back on."""
BATCH = 16
"""Windows a step."""
WINDOWS_PER_STEP = 48
"""Windows drawn for each step: the linear head, which is fitted to all, gains by more of them than the tuned one can be trained on."""
CACHE_ROWS = 64
"""Windows that pass a layer at once where nothing is trained."""


@dataclass(frozen=True)
class DeepTrainSettings:
    """How the encoder is trained."""

    windows: DrawSettings = field(default_factory=DrawSettings)
    """What it is trained on."""
    tuned_sequences: int = 4_000
    """Windows that the upper layers are trained on, the first of those drawn; the linear head is fitted to all. More made left-out sets
    worse, see docs/detector-deep.md."""
    layers: int = 4
    """Layers of MiniLM (of its six) that the encoder has."""
    frozen_layers: int = 2
    """Layers, from below, that are not trained; nor are the embeddings."""
    batch: int = BATCH
    """Windows a step."""
    learning_rate: float = 3e-4
    """Of AdamW; constant after `warm_up_steps`."""
    warm_up_steps: int = 30
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """Pull of matrices towards zero."""
    dropout: float = 0.1
    """Share of a trained layer's outputs that is left out at each step."""
    smoothing: float = 0.02
    """How far labels stand from 0 and 1."""
    linear_ridge: float = 0.2
    """Pull of the linear head's factors towards zero, against the mean loss, each feature having spread 1."""
    factors: tuple[float, float, float, float] = (0.108, 0.082, 0.245, 0.817)
    """What `DeepSettings.factors` become: fitted on left-out sets by `benchmarks.deep_detection`."""

    def __post_init__(self):
        for key, low, high in (
            ("tuned_sequences", 1, self.windows.sequences),
            ("layers", 1, 6),
            ("frozen_layers", 0, self.layers - 1),
            ("batch", 1, 1024),
            ("warm_up_steps", 1, 10**6),
        ):
            if not low <= getattr(self, key) <= high:
                raise ValueError(f"{key} must be from {low} to {high}, not {getattr(self, key)}")
        for key in ("dropout", "smoothing"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"{key} must be a share from 0 up to but not including 1, not {getattr(self, key)}")
        if not self.learning_rate > 0 or not self.linear_ridge > 0:
            raise ValueError(f"learning_rate and linear_ridge must be above 0, not {self.learning_rate} and {self.linear_ridge}")

    @property
    def seed(self) -> int:
        """Decides windows, order and dropout."""
        return self.windows.seed

    @property
    def steps(self) -> int:
        """Steps that the upper layers are trained for."""
        return -(-self.tuned_sequences // self.batch)


class HiddenStates:
    """What the frozen layers make of windows: float16[tokens, width] each, side by side in one array."""

    def __init__(self, encoder: Encoder, windows: Sequence[np.ndarray]):
        """Passes `windows` through the frozen layers, those of like length together."""
        ends = np.cumsum([0, *(len(window) for window in windows)])
        self._begins, self._ends = ends[:-1], ends[1:]
        self._states = torch.empty((int(ends[-1]), encoder.words.embedding_dim), dtype=torch.float16)
        order = np.argsort(self._ends - self._begins, kind="stable")
        with torch.inference_mode():
            for start in range(0, len(order), CACHE_ROWS):
                rows = order[start : start + CACHE_ROWS]
                ids, mask = pad_tokens([windows[row] for row in rows])
                hidden = encoder.eval().lower(ids, mask)
                for row, states in zip(rows, hidden, strict=True):
                    self._states[self._begins[row] : self._ends[row]] = states[: self._ends[row] - self._begins[row]]

    def __len__(self) -> int:
        return len(self._begins)

    def lengths(self) -> np.ndarray:
        """int64: tokens of each window, marks included."""
        return self._ends - self._begins

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (float32[rows, tokens, width]) padded to the longest of `rows`, and their mask (float32[rows, tokens])."""
        longest = int(self.lengths()[rows].max())
        hidden, mask = torch.zeros(len(rows), longest, self._states.shape[1]), torch.zeros(len(rows), longest)
        for at, row in enumerate(rows):
            length = self._ends[row] - self._begins[row]
            hidden[at, :length] = self._states[self._begins[row] : self._ends[row]]
            mask[at, :length] = 1.0
        return hidden, mask

    def pooled(self) -> np.ndarray:
        """float32[windows, 2 * width]: mean and standard deviation of each window's states (`deep_network.pool_states`)."""
        rows = [pool_states(self._states[begin:end].float()[None], None) for begin, end in zip(self._begins, self._ends, strict=True)]
        return torch.cat(rows).numpy()


def pad_tokens(windows: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (int64[rows, tokens]) of `windows` padded with 0 to the longest, and their mask (float32)."""
    longest = max(len(window) for window in windows)
    ids, mask = np.zeros((len(windows), longest), np.int64), np.zeros((len(windows), longest), np.float32)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1.0
    return torch.from_numpy(ids), torch.from_numpy(mask)


def base_path(name: str) -> str:
    """Path of a file of the base model, whose package must be installed (`deep_encoder.require_training`)."""
    return str(importlib.resources.files(BASE_MODULE) / "model" / name)


def read_tokenizer():
    """The base model's tokenizer, without truncation or padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(base_path("tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def fit(
    encoder: Encoder, states: HiddenStates, machine: np.ndarray, rows: np.ndarray, settings: DeepTrainSettings, points: Sequence[int]
) -> Iterator[tuple[int, float, Encoder]]:
    """Trains the upper layers and the tuned head on `rows` of `states` in their order; `machine` (bool) is the label of each of `states`.

    Yields at each of `points` (windows seen, ascending) and at the end: windows seen, mean loss since the last yield, and an encoder
    with the running mean of the weights, which the next step overwrites. Deterministic on one thread.
    """
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed + 2)
    trained = [parameter for layer in encoder.layers[encoder.frozen_layers :] for parameter in layer.parameters()] + list(encoder.tuned.parameters())
    encoder.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    for layer in encoder.layers:
        layer.dropout = settings.dropout
    matrices, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}], betas=(0.9, 0.98)
    )
    means = [parameter.detach().clone() for parameter in trained]
    step = seen = since = 0
    total = 0.0
    stops = sorted({*points, len(rows)})
    for begin, stop in zip([0, *stops], stops, strict=False):
        for batch in _batches(rows[begin:stop], states, settings.batch, random):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(1.0, step / settings.warm_up_steps)
            hidden, mask = states.batch(batch)
            target = torch.from_numpy(machine[batch].astype(np.float32)) * (1 - 2 * settings.smoothing) + settings.smoothing
            loss = functional.binary_cross_entropy_with_logits(encoder.train().upper(hidden, mask), target)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            weight = 1.0 / (RUNNING_MEAN_SHARE * step + 1.0)
            for mean, parameter in zip(means, trained, strict=True):
                mean.lerp_(parameter.detach(), weight)
            total, since, seen = total + loss.item() * len(batch), since + len(batch), seen + len(batch)
        _exchange(trained, means)
        yield seen, total / max(since, 1), encoder.eval()
        _exchange(trained, means)
        total, since = 0.0, 0


def fit_linear(pooled: np.ndarray, machine: np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """Factors (float64[2 * width]) and intercept of the linear head: ridge-regularised logistic regression, by damped Newton steps."""
    centre, spread = pooled.mean(0, dtype=np.float64), pooled.std(0, dtype=np.float64)
    spread[spread == 0] = 1.0
    design = np.column_stack([(pooled - centre) / spread, np.ones(len(pooled))])
    pull = np.append(np.full(pooled.shape[1], ridge), 1e-9)
    factors = np.zeros(design.shape[1])
    for _ in range(30):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ factors, -30, 30)))
        gradient = design.T @ (probability - machine) / len(design) + pull * factors
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design / len(design) + np.diag(pull)
        step = np.linalg.solve(curvature, gradient)
        factors -= np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    weights = factors[:-1] / spread
    return weights, float(factors[-1] - weights @ centre)


def set_linear(encoder: Encoder, weights: np.ndarray, intercept: float) -> None:
    """Puts what `fit_linear` gives into the encoder's linear head."""
    with torch.no_grad():
        encoder.linear.weight.copy_(torch.from_numpy(weights)[None])
        encoder.linear.bias.fill_(intercept)


def score_tuned(encoder: Encoder, states: HiddenStates) -> np.ndarray:
    """The tuned head's log odds (float64) of each of `states`."""
    scores, order = np.zeros(len(states)), np.argsort(states.lengths(), kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), CACHE_ROWS):
            rows = order[start : start + CACHE_ROWS]
            scores[rows] = encoder.eval().upper(*states.batch(rows)).numpy()
    return scores


def score_texts(scores: np.ndarray, states: HiddenStates, windows: Windows, num_texts: int) -> np.ndarray:
    """Log odds (float64) of each text from those of its windows (`deep_windows.cut_texts`)."""
    return average_windows(scores, states.lengths() - 2, np.bincount(windows.owners, minlength=num_texts).tolist())


def settings_for(steps: int, seed: int = 0) -> DeepTrainSettings:
    """The recipe of the shipped encoder with `steps` steps for the upper layers, and as many windows in proportion. Raises ValueError below 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    return DeepTrainSettings(DrawSettings(sequences=WINDOWS_PER_STEP * steps, seed=seed), BATCH * steps)


def train(
    folder: str, output: str, settings: DeepTrainSettings, sets: Sequence[str] = MIXED_SETS + HUMAN_SETS, report: Callable[[str], None] = print
) -> Training:
    """Trains on `sets` of `folder` and writes the detector's folder `output`: ONNX file, tokenizer and settings. Returns what it was.

    Deterministic on one machine. Raises FileNotFoundError for a set that is not there, ValueError without the base model.
    """
    began = time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    encoder = load_base(base_path("model.safetensors"), settings.layers, settings.frozen_layers)
    texts = read_training_texts(folder, TrainSettings(seed=settings.seed), sets)
    reading = DeepSettings(factors=settings.factors)
    windows = draw_windows(texts, read_tokenizer(), settings.windows, reading)
    report(f"read {len(texts):,} texts; {len(windows.tokens):,} windows of {len(np.unique(windows.owners)):,} of them")
    states = HiddenStates(encoder, windows.tokens)
    machine = np.array([texts[owner].is_machine for owner in windows.owners])
    set_linear(encoder, *fit_linear(states.pooled(), machine, settings.linear_ridge))
    rows = np.arange(settings.tuned_sequences)
    losses = []
    for seen, loss, averaged in fit(encoder, states, machine, rows, settings, range(1_000, len(rows), 1_000)):
        report(f"{seen:,} windows, loss {loss:.3f}")
        losses.append((seen, loss))
        if seen == len(rows):
            write_detector(output, averaged, reading)
    drawn = Counter((texts[owner].set_name, texts[owner].is_machine) for owner in windows.owners)
    by_set = {name: (drawn[name, False], drawn[name, True]) for name in sets}
    command = f"python -m classifiers train --ai_detector deep --data DATA --output DIR --steps {settings.steps} --seed {settings.seed}"
    if tuple(sets) != MIXED_SETS + HUMAN_SETS:
        command += f" --sets {','.join(sets)}"
    return Training(command, len(texts), len(windows.tokens), len(rows), by_set, losses, time.process_time() - began)


def write_detector(folder: str, encoder: Encoder, settings: DeepSettings) -> None:
    """Writes what `classifiers.deep_encoder.load_deep` reads."""
    os.makedirs(folder, exist_ok=True)
    with open(base_path("tokenizer.json"), "rb") as file:
        tokenizer = file.read()
    for name, content in ((MODEL_FILE, export_encoder(encoder)), (TOKENIZER_FILE, tokenizer), (SETTINGS_FILE, settings.to_json())):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def _batches(rows: np.ndarray, states: HiddenStates, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """`rows` in steps of `size`: windows of like length together among every eight steps' worth, the steps in random order."""
    for start in range(0, len(rows), 8 * size):
        chunk = rows[start : start + 8 * size]
        chunk = chunk[np.argsort(states.lengths()[chunk], kind="stable")]
        steps = [chunk[begin : begin + size] for begin in range(0, len(chunk), size)]
        for index in random.permutation(len(steps)):
            yield steps[index]


def _exchange(trained: Sequence[torch.nn.Parameter], means: Sequence[torch.Tensor]) -> None:
    for parameter, mean in zip(trained, means, strict=True):
        parameter.data, mean.data = mean.data, parameter.data
