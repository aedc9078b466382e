"""`perplexity`: how surprised a language model is by a text, for each word or token. Low is expected text, very low is repetition.

| `score.perplexity_model` | what reads the text | needs |
|---|---|---|
| `ngram:PATH` | an n-gram model in the ARPA format (`.arpa`, `.arpa.gz`), as KenLM writes it; words between white space, lines as sentences | nothing else |
| `ngram:PATH` | one of KenLM's binary files (`build_binary`), known by its first bytes | extra `kenlm` |
| `ngram:PATH#fold` | the same over folded text (`classifiers.fold_marks`: lower case, marks as words), for a model trained on text folded alike | nothing else |
| `lm:PATH_OR_NAME` | any causal Hugging Face model, its first `MAX_TOKENS` tokens | extra `torch` |

*Source:* Wenzek et al. 2020, "CCNet", section 3.4 (perplexity under an n-gram model as a filter).
"""

import functools
import threading

import numpy as np
import pyarrow as pa

from classifiers.detectors import require_extra
from classifiers.quality_models import QualityValues
from classifiers.quality_settings import parse_perplexity
from classifiers.text_batch import TextBatch

MAX_TOKENS = 512
"""Tokens of a text that a causal model reads, at most."""
MAX_PERPLEXITY = 1e30
"""What a text is given at most: a float32 holds it."""
PERPLEXITY_FIELDS = pa.schema([("perplexity", pa.float32())])
"""The column of every model."""


class PerplexityScorer:
    """`perplexity`, float32 from 1 on: under the model that the settings name; null for a text without a word (or, with `lm:`, of one token)."""

    name = "perplexity"
    fields = PERPLEXITY_FIELDS

    def __init__(self, spec: str):
        """Loads the model, once a process. Raises ValueError (`MissingExtra` where libraries are missing)."""
        self.model = load_perplexity(spec)
        self.version = self.model.version

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        values = batch.derive(self.model.values)
        return {"perplexity": pa.array(values.astype(np.float32), pa.float32(), mask=np.isnan(values))}


@functools.lru_cache(maxsize=4)
def load_perplexity(spec: str) -> QualityValues:
    """The model that `spec` names, loaded once a process. Raises ValueError."""
    kind, path, folded = parse_perplexity(spec)
    if kind == "ngram":
        try:
            return NgramPerplexity(path, folded)
        except OSError as error:
            raise ValueError(f"perplexity_model {spec}: cannot be read ({error.strerror}); give the path of an ARPA file or a binary of KenLM") from error
    require_extra(spec, "torch", "perplexity_model")
    from classifiers.lm_detector import load_causal
    from classifiers.torch_models import loaded

    return LmPerplexity(*loaded(spec, lambda: load_causal(path), "perplexity_model"))


class NgramPerplexity:
    """10 to the power of minus the mean log10 probability of a text's words and ends of lines, as KenLM's own `perplexity`."""

    def __init__(self, path: str, folded: bool = False):
        """Raises OSError, ValueError where the file is no model (`MissingExtra` where it is KenLM's and KenLM is missing)."""
        from classifiers.fold_marks import FOLDING
        from classifiers.kenlm_binary import is_kenlm_binary

        if is_kenlm_binary(path):
            require_extra(f"ngram:{path}", "kenlm", "perplexity_model")
            from classifiers.kenlm_binary import KenlmModel as Model
        else:
            from classifiers.arpa import ArpaModel as Model
        self._model = Model(path)
        self._folded = folded
        self.version = f"ngram-{self._model.digest}" + (f"-{FOLDING}" if folded else "")

    def values(self, batch: TextBatch) -> np.ndarray:
        """float64[n], from 1 on; nan for a text without a word."""
        if self._folded:
            from classifiers.fold_marks import fold_marks

            batch = TextBatch.of([fold_marks(text) for text in batch.texts.to_pylist()])
        measured = self._model.log10_and_tokens(batch.utf8, batch.offsets)
        mean = np.divide(-measured[:, 0], measured[:, 1], out=np.full(len(measured), np.nan), where=measured[:, 1] > 0)
        return 10 ** np.minimum(mean, np.log10(MAX_PERPLEXITY))


class LmPerplexity:
    """e to the power of minus the mean log probability that a causal model gives a text's tokens, the first of them aside."""

    def __init__(self, model, tokenizer, device: str = "cpu"):
        """Takes a loaded model, as `classifiers.lm_detector.load_causal` gives it. Raises ValueError for a device that torch cannot use."""
        from classifiers.torch_models import model_digest, prepare_device

        self._device = prepare_device(device)
        self._model, self._tokenizer = model.to(device).eval(), tokenizer
        self._max_tokens = min(MAX_TOKENS, getattr(model.config, "max_position_embeddings", MAX_TOKENS))
        self._tokenizing = threading.Lock()
        self.version = f"lm-{model_digest(model, tokenizer, ['perplexity', self._max_tokens])}"

    def values(self, batch: TextBatch) -> np.ndarray:
        """float64[n], from 1 on; nan for a text of fewer than two tokens."""
        from classifiers.token_batches import first_chars, score_alone

        texts = [" ".join(text.split()) for text in first_chars(batch.texts, self._max_tokens)]
        values = np.full(len(texts), np.nan)
        if not texts:
            return values
        with self._tokenizing:
            tokens = self._tokenizer(texts, truncation=True, max_length=self._max_tokens, return_attention_mask=False)["input_ids"]
        rows = [row for row, ids in enumerate(tokens) if len(ids) > 1]
        values[rows] = np.exp(
            np.minimum([float(one[0]) for one in score_alone([tokens[row] for row in rows], self._forward)], np.log(MAX_PERPLEXITY))
        )
        return values

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            tokens, shown = torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device)
            logits = self._model(input_ids=tokens, attention_mask=shown).logits[:, :-1].float()
            log_p = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0] * shown[:, 1:]
            return (-log_p.sum(-1, keepdim=True) / shown[:, 1:].sum(-1, keepdim=True).clamp_min(1)).to("cpu", torch.float64).numpy()
