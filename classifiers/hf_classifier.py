"""`hf:PATH_OR_NAME`: any Hugging Face sequence classifier as a detector.

Weights are read from safetensors files only, and no code that comes with a model is ever run. The text goes in as it is, cut after
the model's longest input (512 tokens at most): what the classifier was trained on is not ours to fold.
"""

import re
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from classifiers.fast_model import MIN_WORDS
from classifiers.text_batch import TextBatch
from classifiers.token_batches import UNWRAPPING, first_chars, score_alone, score_padded, unwrap
from classifiers.torch_models import loaded, model_digest, prepare_device

MAX_TOKENS = 512
"""Tokens of a text that are read, at most."""
MACHINE_NAMES = frozenset(
    "ai aigenerated aiwritten artificial bot chatgpt fake generated gpt llm llmgenerated machine machinegenerated machinewritten synthetic".split()
)
"""Names of labels that mean machine-written, without case, spaces, dashes and underscores."""
HUMAN_NAMES = frozenset("authentic human humangenerated humanwritten notai original person real".split())
"""Names of labels that mean written by a person."""
LOG_ODDS_LIMIT = 100.0
"""Log odds are held within this on both sides: a broken text must not give an infinity."""


class HfDetector:
    """A sequence classifier behind the contract of `classifiers.detectors`. Abstains from texts of fewer than `MIN_WORDS` words."""

    def __init__(self, model, tokenizer, machine: Sequence[int], device: str = "cpu", num_threads: int = 1):
        """`machine` are the outputs that mean machine-written; a model of one output gives log odds itself, and takes (0,)."""
        import torch

        self._torch = torch
        self._device = prepare_device(device)
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._blank = next((token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id) if token is not None), 0)
        if model.config.pad_token_id is None and self._device != "cpu":
            # Classifiers made from language models read their answer at the last token that is no padding, and must know which that is.
            model.config.pad_token_id = self._blank
        self._num_threads = num_threads
        self._machine = np.zeros(model.config.num_labels, bool)
        self._machine[list(machine)] = True
        self._max_tokens = min(MAX_TOKENS, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", MAX_TOKENS))
        self._tokenizing = threading.Lock()
        self.version = f"hf-{model_digest(model, tokenizer, [sorted(map(int, machine)), self._max_tokens, MIN_WORDS, UNWRAPPING])}"

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64) and abstentions (bool), as `Detector` has it. A text that is abstained from costs nothing and has odds 0."""
        odds, abstained = np.zeros(len(batch)), batch.words.counts < MIN_WORDS
        rows = np.flatnonzero(~abstained)
        if not len(rows):
            return odds, abstained
        with self._tokenizing:  # truncation is a state of the tokenizer
            texts = first_chars(unwrap(batch.texts.take(rows)), self._max_tokens)
            tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens, return_attention_mask=False)["input_ids"]
        read = np.array([len(ids) > 0 for ids in tokens])
        abstained[rows[~read]] = True
        kept = [ids for ids in tokens if ids]
        if self._device == "cpu":
            logits = score_alone(kept, self._forward, self._num_threads)
        else:
            logits = score_padded(kept, self._forward, self._blank)
        odds[rows[read]] = [self._odds_of(row) for row in logits]
        return odds, abstained

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            inputs = {"input_ids": torch.from_numpy(ids).to(self._device), "attention_mask": torch.from_numpy(mask).to(self._device)}
            return self._model(**inputs).logits.to("cpu", torch.float64).numpy()

    def _odds_of(self, logits: np.ndarray) -> float:
        if len(logits) == 1:
            value = float(logits[0])
        else:
            value = float(np.logaddexp.reduce(logits[self._machine]) - np.logaddexp.reduce(logits[~self._machine]))
        return float(np.clip(np.nan_to_num(value, nan=0.0), -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT))


def load_classifier(name: str, ai_label: str = "", device: str = "cpu", num_threads: int = 1) -> HfDetector:
    """The classifier called `name`: a folder, or a model of the hub. Raises ValueError: not to be had, not safe to load, or its labels are
    ambiguous."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    def load():
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        return AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=False, use_safetensors=True), tokenizer

    model, tokenizer = loaded(f"hf:{name}", load)
    return HfDetector(model, tokenizer, machine_outputs(model.config.id2label, ai_label), device, num_threads)


def machine_outputs(id2label: Mapping[int, str], ai_label: str = "") -> tuple[int, ...]:
    """Which outputs of a classifier mean machine-written, ascending: those whose label `ai_label` names (several with commas), or those
    that their names give away. A single output means it by itself.

    Raises ValueError, naming the labels, where that is ambiguous or leaves no output on one of both sides.
    """
    labels = {index: str(id2label[index]) for index in sorted(id2label)}
    if len(labels) == 1 and not ai_label:
        return tuple(labels)
    if ai_label:
        wanted = [_plain(name) for name in ai_label.split(",")]
        unknown = [name.strip() for name in ai_label.split(",") if _plain(name) not in map(_plain, labels.values())]
        if unknown:
            raise ValueError(f"ai_label = {ai_label!r}: the classifier has no label {unknown[0]!r}; it has {', '.join(labels.values())}")
        chosen = tuple(index for index, name in labels.items() if _plain(name) in wanted)
    else:
        chosen = _told_by_name({index: _plain(name) for index, name in labels.items()})
    if not chosen or (len(chosen) == len(labels) and len(labels) > 1):
        raise ValueError(
            f"which label means machine-written cannot be told from the classifier's labels {', '.join(labels.values())}; "
            "say which (several with commas) by --ai_label"
        )
    return chosen


def _told_by_name(names: Mapping[int, str]) -> tuple[int, ...]:
    machine = tuple(index for index, name in names.items() if name in MACHINE_NAMES)
    human = tuple(index for index, name in names.items() if name in HUMAN_NAMES)
    if len(names) == 2 and len(machine) + len(human) == 1:
        # One name suffices where there are two: the other is the other.
        return machine or tuple(index for index in names if index not in human)
    if len(machine) + len(human) == len(names):
        return machine
    return (1,) if list(names.values()) == ["label0", "label1"] else ()


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
