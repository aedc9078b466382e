"""What counts tokens: any tokenizer of the Hugging Face libraries, by file, folder or name.

    TOKENIZER.json     a file of the `tokenizers` library
    FOLDER             as `save_pretrained` leaves it: tokenizer.json, or the vocabulary files of a tokenizer written in Python
    OWNER/NAME, NAME   a tokenizer of the hub, from its cache or downloaded

Tokens of the text alone: nothing is added, cut off or padded. Code that comes with a tokenizer is never run. Texts go to the library in batches;
MiniLM's WordPiece counts some 2,000 film reviews (236 words each) a CPU-second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from classifiers.pretokens import PRETOKENS
from classifiers.torch_models import loaded

BATCH_TEXTS = 256
"""Texts given to a tokenizer at a time: bounds its memory."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")

Counter = Callable[[pa.StringArray], np.ndarray]
"""Texts in, tokens of each (int32) out."""


def load_counter(tokenizer: str) -> tuple[Counter, str]:
    """What counts with `tokenizer`, and `tokenizer-` with 16 digits of a digest of its rules: of the file's bytes, or of what a folder or name loads.

    Raises ValueError, one sentence that says what to do, for what cannot be loaded.
    """
    # Processes share the cores; threads of its own would not survive the fork that makes these.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.path.isdir(tokenizer) or (_HUB_NAME.fullmatch(tokenizer) and not os.path.exists(tokenizer) and not tokenizer.endswith(".json")):
        return _load_auto(tokenizer)
    return _load_file(tokenizer)


def _load_file(path: str) -> tuple[Counter, str]:
    from tokenizers import Tokenizer

    remedy = f'give a tokenizer.json of the Hugging Face `tokenizers` library, a folder that transformers saved, the name of one on the hub, or "{PRETOKENS}"'
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"tokenizer {path!r} cannot be read ({error.strerror}): {remedy}") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises plain Exception for whatever it does not like about the JSON
        raise ValueError(f"tokenizer {path!r} is no tokenizer file ({error}): {remedy}") from error
    return _count_fast(tokenizer), _named(content)


def _load_auto(name: str) -> tuple[Counter, str]:
    is_folder = os.path.isdir(name)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

    def load():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, local_files_only=is_folder)

    try:
        tokenizer = loaded(name, load, key="tokenizer")
    except ValueError as error:
        offline = "; without a network, download it elsewhere (`hf download NAME`, or save_pretrained) and give the folder"
        remedy = "give a folder that transformers saved a tokenizer to" if is_folder else f"{name!r} is no file or folder here, so the hub was asked"
        raise ValueError(f"{error} ({remedy}{'' if is_folder else offline})") from error
    if getattr(tokenizer, "is_fast", False):
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        for state_of_use in ("truncation", "padding"):
            rules.pop(state_of_use, None)
        return _count_fast(tokenizer.backend_tokenizer), _named(json.dumps(rules, sort_keys=True).encode())
    settings = {key: value for key, value in tokenizer.init_kwargs.items() if isinstance(value, bool) and "local" not in key}
    rules = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), sorted(settings.items()), _vocabulary_files(tokenizer)]
    return _count_slow(tokenizer), _named(json.dumps(rules).encode())


def _vocabulary_files(tokenizer) -> list[str]:
    """Digests of the files that a tokenizer written in Python saves: merges, say, are not in its vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        digests = []
        for path in tokenizer.save_vocabulary(folder) or ():
            with open(path, "rb") as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        return digests


def _named(rules: bytes) -> str:
    return f"tokenizer-{hashlib.sha256(rules).hexdigest()[:16]}"


def _count_fast(tokenizer) -> Counter:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda texts: _in_batches(texts, lambda batch: tokenizer.encode_batch_fast(batch, add_special_tokens=False))


def _count_slow(tokenizer) -> Counter:
    plain = {"add_special_tokens": False, "padding": False, "truncation": False, "return_attention_mask": False, "return_token_type_ids": False}
    return lambda texts: _in_batches(texts, lambda batch: tokenizer(batch, verbose=False, **plain)["input_ids"])


def _in_batches(texts: pa.StringArray, encode: Callable[[list[str]], list]) -> np.ndarray:
    counts = np.empty(len(texts), np.int32)
    for begin in range(0, len(texts), BATCH_TEXTS):
        encoded = encode(texts.slice(begin, BATCH_TEXTS).to_pylist())
        counts[begin : begin + BATCH_TEXTS] = np.fromiter(map(len, encoded), np.int32, len(encoded))
    return counts
