"""What the torch tiers share: where a model runs, what tells two models apart, and how its loader's complaints read."""

import hashlib
import json
import os
from collections.abc import Callable
from typing import TypeVar

import orjson

T = TypeVar("T")


def prepare_device(device: str) -> str:
    """`device` itself, if torch can run there; on the CPU torch is held to one thread a text. Raises ValueError."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r}: torch cannot use it here ({_first_line(error)}); give cpu, or a device it has") from error
    if torch.device(device).type == "cpu":
        # Threads are for texts, one each; and a process forked after torch has started threads of its own would hang in them.
        torch.set_num_threads(1)
    return device


def model_digest(model, tokenizer, settings: object) -> str:
    """12 hexadecimal digits of a torch model's weights and configuration, its tokenizer, and `settings` (anything that JSON can hold)."""
    import torch

    digest = hashlib.blake2b(digest_size=6)
    digest.update(orjson.dumps([type(model).__name__, model.config.vocab_size, settings], option=orjson.OPT_SORT_KEYS))
    state = model.state_dict()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu").contiguous().reshape(-1)
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(state[name].shape)}\0".encode())
        digest.update(tensor.view(torch.uint8).numpy())
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) if getattr(tokenizer, "is_fast", False) else tokenizer.get_vocab()
    for state_of_use in ("truncation", "padding"):
        rules.pop(state_of_use, None)
    digest.update(json.dumps(rules, sort_keys=True).encode())
    return digest.hexdigest()


def loaded(spec: str, load: Callable[[], T], key: str = "ai_detector") -> T:
    """What `load` returns. Raises ValueError, one sentence that names `spec` and the setting `key`, for whatever a Hugging Face loader raises of a bad model."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Its threads would compete with the pool's processes, and do not outlive the fork that makes them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return load()
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{key} {spec}: cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
