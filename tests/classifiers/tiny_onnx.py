"""A sentence encoder of a few kilobytes, written byte by byte: each word has a vector, and a text is the mean of its words'.

An ONNX file is a protocol buffer; what is written here is a graph of one node, `Gather(vectors, ids)`, and no package that makes such files is needed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

INT64, FLOAT = 7, 1


def write_encoder(folder: Path, words: Sequence[str], vectors: np.ndarray, *, inputs: Sequence[str] = ("input_ids",), **config: object) -> Path:
    """`model.onnx`, `tokenizer.json` and `config.json` of an encoder that knows `words` (vectors: float32[len(words) + 1, d], the last of any other)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(gather_model(vectors, inputs))
    tokenizer = Tokenizer(models.WordLevel({**{word: place for place, word in enumerate(words)}, "[UNK]": len(words)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "config.json").write_text(json.dumps({"hidden_size": vectors.shape[1], **config}))
    return folder


def gather_model(vectors: np.ndarray, inputs: Sequence[str] = ("input_ids",)) -> bytes:
    """An ONNX file: the first of `inputs` (int64[1, n]) -> `vectors` of these rows (float32[1, n, d]); the other inputs are not looked at."""
    table = _field(1, vectors.shape[0]) + _field(1, vectors.shape[1]) + _field(2, FLOAT) + _field(8, b"vectors")
    table += _field(9, np.ascontiguousarray(vectors, "<f4").tobytes())
    node = _field(1, b"vectors") + _field(1, inputs[0].encode()) + _field(2, b"last_hidden_state") + _field(4, b"Gather")
    graph = _field(1, node) + _field(2, b"tiny") + _field(5, table)
    graph += b"".join(_field(11, _value(name, INT64, [1, "n"])) for name in inputs)
    graph += _field(12, _value("last_hidden_state", FLOAT, [1, "n", vectors.shape[1]]))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 13))


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(_field(1, _field(1, size) if isinstance(size, int) else _field(2, size.encode())) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, dims)))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
