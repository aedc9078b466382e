"""Quality models of one's own: `score.quality_models = ["NAME=KIND:PATH", ...]`, each a column `NAME` of the scored shards.

| entry | what scores | the column holds | needs |
|---|---|---|---|
| `NAME=fasttext:PATH` | a supervised fastText model, `.bin` or `.ftz`, one of whose labels tells that it is good | probability of the good label | nothing else |
| `NAME=fasttext:PATH#LABEL` | the same, the label said: `#__label__hq`, several with `+` | probability of those labels together | nothing else |
| `NAME=hf:PATH_OR_NAME` | a Hugging Face sequence classifier of one output, a regression such as FineWeb-Edu's | that output as it is | extra `torch` |
| `NAME=hf:PATH_OR_NAME#LABEL` | one of several outputs | probability of those labels together | extra `torch` |

Weights are read from safetensors files only, and no code that comes with a model is ever run.
"""

import functools
import hashlib
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from classifiers.detectors import require_extra
from classifiers.quality_settings import parse_entries, quality_model_fields
from classifiers.text_batch import TextBatch

MAX_CHARS = 20_000
"""Characters of a text that fastText reads: about 3,000 words; its cost grows with them."""
MAX_TOKENS = 512
"""Tokens of a text that a transformer reads, at most."""
LOGIT_LIMIT = 1e4
"""A regression's output is held within this on both sides: a broken text must not give an infinity."""
_GOOD_LABELS = frozenset(("hq", "1", "good", "high", "keep", "pos", "positive", "cc0", "wiki", "edu"))


class QualityValues(Protocol):
    """A loaded model: texts in, one number each out."""

    version: str
    """Changes whenever its numbers do."""

    def values(self, batch: TextBatch) -> np.ndarray:
        """float64[n]. Deterministic; a text's number does not depend on the rest of the batch."""
        ...


class QualityModelsScorer:
    """One column (float32, never null) for each entry: what that model says of the text."""

    name = "quality_models"

    def __init__(self, entries: Sequence[str]):
        """Loads every model, once a process. Raises ValueError (`MissingExtra` where libraries are missing)."""
        self.fields = quality_model_fields(entries)
        self.models = {entry.name: load_quality_values(entry.kind, entry.path, entry.labels) for entry in parse_entries(entries)}
        self.version = ";".join(f"{name}={model.version}" for name, model in self.models.items())

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        return {name: pa.array(batch.derive(model.values), pa.float32()) for name, model in self.models.items()}


@functools.lru_cache(maxsize=16)
def load_quality_values(kind: str, path: str, labels: tuple[str, ...] = ()) -> QualityValues:
    """The model of an entry, loaded once a process. Raises ValueError."""
    if kind == "fasttext":
        try:
            return FastTextQuality(path, labels)
        except OSError as error:
            raise ValueError(f"quality_models fasttext:{path}: cannot be read ({error.strerror}); give the path of a fastText model") from error
    require_extra(f"hf:{path}", "torch", "quality_models")
    return load_hf_quality(path, labels)


class FastTextQuality:
    """A supervised fastText model; a text goes in as one line, as DCLM and others feed theirs."""

    def __init__(self, path: str, labels: Sequence[str] = ()):
        """Raises OSError where there is no such file, ValueError where it is no supervised model or its labels leave open which is good."""
        from classifiers.fasttext_member import MAGIC

        with open(path, "rb") as file:
            if file.read(4) != MAGIC:
                raise ValueError(f"quality_models fasttext:{path}: not a fastText model; give a .bin or .ftz that fastText wrote")
            file.seek(0)
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=6)).hexdigest()
        import fasttext

        self._model = fasttext.load_model(path)
        self.good = good_labels(f"fasttext:{path}", list(self._model.labels), labels)
        self.version = f"fasttext-{digest}-{'+'.join(sorted(self.good))}"

    def values(self, batch: TextBatch) -> np.ndarray:
        """Probability (float64[n], 0..1) of the good labels."""
        lines = [" ".join(text[:MAX_CHARS].split()) + "\n" for text in batch.texts.to_pylist()]
        if not lines:
            return np.empty(0)
        labels, probabilities = self._model.f.multilinePredict(lines, len(self._model.labels), 0.0, "strict")
        sums = [
            sum(float(probability) for label, probability in zip(*row, strict=False) if label in self.good)
            for row in zip(labels, probabilities, strict=True)
        ]
        # fastText's own softmax table adds up to a little over 1.
        return np.clip(np.array(sums, np.float64), 0.0, 1.0)


class HfQuality:
    """A Hugging Face sequence classifier or regression; the text goes in as it is, cut after the model's longest input."""

    def __init__(self, model, tokenizer, good: Sequence[int], device: str = "cpu"):
        """`good` are the outputs that mean good; empty: the only output, as it is."""
        from classifiers.torch_models import model_digest, prepare_device

        self._device = prepare_device(device)
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._good = np.zeros(model.config.num_labels, bool)
        self._good[list(good)] = True
        self._max_tokens = min(MAX_TOKENS, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", MAX_TOKENS))
        self._tokenizing = threading.Lock()
        self.version = f"hf-{model_digest(model, tokenizer, ['quality', sorted(map(int, good)), self._max_tokens])}"

    def values(self, batch: TextBatch) -> np.ndarray:
        """float64[n]: the regression's output, or the probability of the good labels; of a text without a token the least there is, 0."""
        from classifiers.token_batches import first_chars, score_alone

        texts = first_chars(batch.texts, self._max_tokens)
        values = np.zeros(len(texts))
        if not texts:
            return values
        with self._tokenizing:  # truncation is a state of the tokenizer
            tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens, return_attention_mask=False)["input_ids"]
        rows = [row for row, ids in enumerate(tokens) if ids]
        logits = score_alone([tokens[row] for row in rows], self._forward)
        values[rows] = [self._value_of(row) for row in logits]
        return values

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            inputs = {"input_ids": torch.from_numpy(ids).to(self._device), "attention_mask": torch.from_numpy(mask).to(self._device)}
            return self._model(**inputs).logits.to("cpu", torch.float64).numpy()

    def _value_of(self, logits: np.ndarray) -> float:
        logits = np.clip(np.nan_to_num(logits), -LOGIT_LIMIT, LOGIT_LIMIT)
        if not self._good.any():
            return float(logits[0])
        powers = np.exp(logits - logits.max())
        return float(powers[self._good].sum() / powers.sum())


def load_hf_quality(name: str, labels: Sequence[str] = ()) -> HfQuality:
    """The classifier or regression called `name`: a folder, or a model of the hub. Raises ValueError: not to be had, not safe to load, or no such
    label."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from classifiers.torch_models import loaded

    def load():
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        return AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=False, use_safetensors=True), tokenizer

    model, tokenizer = loaded(f"hf:{name}", load, "quality_models")
    outputs = [str(model.config.id2label[index]) for index in sorted(model.config.id2label)]
    if len(outputs) == 1 and not labels:
        return HfQuality(model, tokenizer, ())
    good = good_labels(f"hf:{name}", outputs, labels)
    return HfQuality(model, tokenizer, [index for index, label in enumerate(outputs) if label in good])


def good_labels(spec: str, known: Sequence[str], asked: Sequence[str]) -> frozenset[str]:
    """Which of a model's labels mean good: those `asked` for, or the only one whose name says so.

    Raises ValueError, naming the labels, for one that it lacks, and where their names leave it open.
    """
    if asked:
        missing = [label for label in asked if label not in known]
        if missing:
            raise ValueError(f"quality_models {spec}: has no label {missing[0]!r}; it has {', '.join(known)}")
        chosen = frozenset(asked)
    else:
        chosen = frozenset(label for label in known if label.removeprefix("__label__").lower() in _GOOD_LABELS)
    if not chosen or len(chosen) == len(known) or (not asked and len(chosen) > 1):
        raise ValueError(f"quality_models {spec}: which label means good cannot be told from {', '.join(known)}; say which, as {spec}#LABEL")
    return chosen
