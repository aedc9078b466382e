"""`lm:PATH_OR_NAME`: zero-shot detection with a causal language model; nothing is trained.

With one model, Fast-DetectGPT's conditional probability curvature in its analytic form, and the mean log rank of the text's tokens:
models write what models find likely. With two, `lm:OBSERVER,PERFORMER`, the score of Binoculars. Both become log odds by the fixed
scale below; what they mean for texts like yours is said by a calibration alone.

The text's white space is folded to single blanks and `MAX_TOKENS` tokens of it are read.

*Source:* Bao et al. 2024, "Fast-DetectGPT", equations 3 to 5 with the sampling model as the scoring model; Gehrmann et al. 2019,
"GLTR" (ranks); Hans et al. 2024, "Spotting LLMs with Binoculars", equation 4.
"""

import os
import threading

import numpy as np

from classifiers.fast_model import MIN_WORDS
from classifiers.text_batch import TextBatch
from classifiers.token_batches import UNWRAPPING, first_chars, score_alone, score_padded, unwrap
from classifiers.torch_models import loaded, model_digest, prepare_device

MAX_TOKENS = 256
"""Tokens of a text that are read, at most: the cost grows with them, and curvature changes little beyond."""
MIN_TOKENS = 8
"""Tokens below which there is nothing to measure: the detector abstains."""
CURVATURE_SCALE = (4.7, 0.25, 2.0)
"""Log odds = intercept + factor x curvature + factor x negated mean log rank: 0 about where human and machine text meet under
SmolLM2-135M at 128 tokens, and the ranks, which tell more there, in front (`benchmarks.zero_shot`)."""
BINOCULARS_SCALE = (18.0, 20.0)
"""Log odds = intercept + factor x negated score of Binoculars: 0 at 0.9, where its authors put their threshold (0.9015, accuracy)."""
LOG_ODDS_LIMIT = 100.0
BATCH_TOKENS = 2_048
"""Tokens of a batch on an accelerator: each stands for a number for every word piece there is, several times over (about 2 GB of 50,000)."""
GGUF = ".gguf"


class LmDetector:
    """One or two causal language models behind the contract of `classifiers.detectors`. Abstains from texts of fewer than `MIN_WORDS`
    words or `MIN_TOKENS` tokens."""

    def __init__(self, models, tokenizer, device: str = "cpu", num_threads: int = 1):
        """`models` are one, or observer and performer, which must read the same tokens. Raises ValueError."""
        if len({model.config.vocab_size for model in models}) > 1:
            raise ValueError("observer and performer must read the same tokens; give two models with one tokenizer")
        self._device = prepare_device(device)
        self._models = [model.to(device).eval() for model in models]
        self._tokenizer = tokenizer
        self._num_threads = num_threads
        self._tokenizing = threading.Lock()
        scale = CURVATURE_SCALE if len(models) == 1 else BINOCULARS_SCALE
        self._scale = np.array(scale)
        self._max_tokens = min(MAX_TOKENS, *(getattr(model.config, "max_position_embeddings", MAX_TOKENS) for model in models))
        digests = [model_digest(model, tokenizer, [self._max_tokens, MIN_WORDS, MIN_TOKENS, UNWRAPPING, *scale]) for model in models]
        self.version = "lm-" + "-".join(digests)

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64) and abstentions (bool), as `Detector` has it. A text that is abstained from costs nothing and has odds 0."""
        odds, abstained = np.zeros(len(batch)), batch.words.counts < MIN_WORDS
        rows = np.flatnonzero(~abstained)
        if len(rows):
            measured = self.measure(batch.texts.take(rows))
            long_enough = ~np.isnan(measured[:, 0])
            abstained[rows[~long_enough]] = True
            odds[rows[long_enough]] = self.odds_of(measured[long_enough])
        return odds, abstained

    def odds_of(self, measured: np.ndarray) -> np.ndarray:
        """Log odds (float64[n]) of rows that `measure` gave."""
        return np.clip(self._scale[0] + measured @ self._scale[1:], -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)

    def measure(self, texts) -> np.ndarray:
        """float64[n, 2] of a `pa.StringArray`: curvature and negated mean log rank; with two models float64[n, 1], the negated score of
        Binoculars. nan where a text has fewer than `MIN_TOKENS` tokens."""
        plain = [" ".join(text.split()) for text in first_chars(unwrap(texts), self._max_tokens)]
        with self._tokenizing:
            tokens = self._tokenizer(plain, truncation=True, max_length=self._max_tokens, return_attention_mask=False)["input_ids"] if plain else []
        measured = np.full((len(plain), len(self._scale) - 1), np.nan)
        rows = [row for row, ids in enumerate(tokens) if len(ids) >= MIN_TOKENS]
        kept = [tokens[row] for row in rows]
        if self._device == "cpu":
            results = score_alone(kept, self._forward, self._num_threads)
        else:
            results = score_padded(kept, self._forward, 0, BATCH_TOKENS)
        for row, numbers in zip(rows, results, strict=True):
            measured[row] = np.nan_to_num(numbers, nan=0.0)
        return measured

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            tokens, shown = torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device)
            logits = [model(input_ids=tokens, attention_mask=shown).logits[:, :-1].float() for model in self._models]
            measure = curvature_and_rank if len(logits) == 1 else binoculars
            return measure(*logits, tokens[:, 1:], shown[:, 1:]).to("cpu", torch.float64).numpy()


def curvature_and_rank(logits, next_tokens, shown):
    """float[rows, 2]: conditional probability curvature, and the negated mean of the log of the rank (from 1) of each token.

    `logits` is float[rows, length, vocabulary], what was predicted for `next_tokens` (int64[rows, length]) where `shown` is 1.
    The curvature is (log p(x) - its expectation) / its standard deviation, all three summed over the text, the latter two under the
    model's own distribution at each place.
    """
    shown = shown.to(logits.dtype)
    log_p = logits.log_softmax(-1)
    chosen = log_p.gather(-1, next_tokens[..., None])
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    variance = ((p * log_p.square()).sum(-1) - mean.square()).clamp_min(0)
    difference = ((chosen[..., 0] - mean) * shown).sum(-1)
    curvature = difference / (variance * shown).sum(-1).clamp_min(1e-6).sqrt()
    rank = (log_p > chosen).sum(-1) + 1
    mean_log_rank = (rank.to(logits.dtype).log() * shown).sum(-1) / shown.sum(-1).clamp_min(1)
    return _stack(curvature, -mean_log_rank)


def binoculars(observer, performer, next_tokens, shown):
    """float[rows, 1]: the negated ratio of the performer's log perplexity to the cross-perplexity of observer and performer.

    Both logits are float[rows, length, vocabulary], of the places that predict `next_tokens`, where `shown` is 1.
    """
    shown = shown.to(performer.dtype)
    log_p = performer.log_softmax(-1)
    perplexity = -(log_p.gather(-1, next_tokens[..., None])[..., 0] * shown).sum(-1)
    cross = -((observer.softmax(-1) * log_p).sum(-1) * shown).sum(-1)
    return _stack(-perplexity / cross.clamp_min(1e-6))


def _stack(*columns):
    import torch

    return torch.stack(columns, -1)


def load_lm(name: str, device: str = "cpu", num_threads: int = 1) -> LmDetector:
    """The language model called `name` (a folder, a model of the hub, or a GGUF file), or two of them with a comma. Raises ValueError."""
    names = name.split(",")
    if len(names) > 2 or not all(names):
        raise ValueError(f"ai_detector lm:{name}: give one model, or two as lm:OBSERVER,PERFORMER")
    pairs = [loaded(f"lm:{one}", lambda one=one: load_causal(one)) for one in names]
    return LmDetector([model for model, _ in pairs], pairs[0][1], device, num_threads)


def load_causal(name: str):
    """Model and tokenizer called `name` (a folder, a model of the hub, or a GGUF file): safetensors only, and no code that comes with it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if name.endswith(GGUF):
        folder, file = os.path.split(name)
        if not os.path.isfile(name):
            raise FileNotFoundError(f"{name}: no such file")
        where, options = folder or ".", {"gguf_file": file}
    else:
        where, options = name, {}
    tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, **options)
    options = options or {"use_safetensors": True}
    return AutoModelForCausalLM.from_pretrained(where, trust_remote_code=False, dtype="float32", **options), tokenizer
