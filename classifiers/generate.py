"""Machine text of our own for the fast detector's training: a causal language model answers `classifiers.generation_prompts`.

Batches differ in how the next word is chosen, because a detector that knows one way of sampling is fooled by another. Each batch has
prompts and a seed of its own: the first batches of a long run are those of a short one. Needs the extra `torch`.
"""

import gzip
import importlib.util
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import orjson

from classifiers.detectors import MissingExtra
from classifiers.generation_prompts import Prompt, draw_prompts

DECODINGS: Mapping[str, Mapping] = {
    "few": {"do_sample": True, "temperature": 0.8, "top_k": 40},
    "plain": {"do_sample": True, "temperature": 1.0, "top_k": 0},
    "greedy": {"do_sample": False, "repetition_penalty": 1.15},
    "cool": {"do_sample": True, "temperature": 0.6, "top_k": 100},
    "hot": {"do_sample": True, "temperature": 1.2, "top_k": 200},
}
"""Ways to choose the next word, in the order in which batches take them; the words are those of `transformers`' generation settings."""
MIN_WORDS = 50
"""Shortest text that is kept, in words."""
TOKENS_PER_WORD = 1.35
"""Tokens that the longest text may need for each of its words."""
LENGTHS = (120, 90, 200, 70)
"""Most words asked for, by batch in turn."""

WEIGHTS_DTYPE = "bfloat16"
"""Numbers that the writing model computes in: 1.7 times the tokens of float32 per CPU-second on a processor with such instructions."""

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")


@dataclass(frozen=True)
class GenerateSettings:
    """How much is written, and by what chance."""

    batches: int = 20
    """Batches of prompts, from 1."""
    batch_prompts: int = 64
    """Prompts of a batch, which are written to at once, from 1."""
    seed: int = 0
    """Decides prompts and samples, from 0."""

    def __post_init__(self):
        for key, low in (("batches", 1), ("batch_prompts", 1), ("seed", 0)):
            if getattr(self, key) < low:
                raise ValueError(f"{key} must be at least {low}, not {getattr(self, key)}")


@dataclass(frozen=True)
class Batch:
    """Prompts that are answered at once, and how."""

    number: int
    """Its place, from 0."""
    prompts: tuple[Prompt, ...]
    """What is asked."""
    decoding: str
    """Key of `DECODINGS`."""
    max_words: int
    """Longest text, in words."""
    seed: int
    """Of its samples."""


def plan_batches(settings: GenerateSettings) -> Iterator[Batch]:
    """The batches of `settings`, in order: all prompts of one kind (instructions, openings), and every decoding with every length in turn."""
    chat, openings = (filter(lambda prompt, is_chat=is_chat: prompt.is_chat == is_chat, draw_prompts(settings.seed)) for is_chat in (True, False))
    names = list(DECODINGS)
    for number in range(settings.batches):
        prompts = tuple(islice(openings if number % 4 == 3 else chat, settings.batch_prompts))
        # Five decodings and four lengths: all twenty pairs come up before one comes again.
        yield Batch(number, prompts, names[number % len(names)], LENGTHS[number % len(LENGTHS)], settings.seed * 1_000_003 + number)


def trim(text: str, max_words: int) -> str | None:
    """`text` up to the last sentence that ends within `max_words` words; as it is where none does; None if `MIN_WORDS` words do not remain.

    A model that is stopped in mid-sentence would give itself away by that alone.
    """
    text = text.strip()
    words = list(re.finditer(r"\S+", text))
    if len(words) > max_words:
        text = text[: words[max_words - 1].end()]
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    if ends:
        text = text[: ends[-1]]
    return text if len(text.split()) >= MIN_WORDS else None


def record_of(batch: Batch, place: int, generator: str, answer: str) -> dict | None:
    """The labelled record of the answer to prompt `place` of `batch`, an opening put before it; None for an answer that is too short."""
    prompt = batch.prompts[place]
    text = trim(answer if prompt.is_chat else f"{prompt.text} {answer.lstrip()}", batch.max_words)
    if text is None:
        return None
    return {
        "id": f"{generator}-{batch.seed}-{place}",
        "text": text,
        "label": "machine",
        "generator": generator,
        "domain": prompt.kind,
        "decoding": batch.decoding,
        "prompt": prompt.text,
    }


class Writer:
    """A causal language model that answers batches of prompts."""

    def __init__(self, model, tokenizer):
        """`model` and `tokenizer` are of `transformers`; the tokenizer has a chat template."""
        import torch

        torch.set_num_threads(1)  # sums in another order would give other samples
        self._torch, self._model, self._tokenizer = torch, model.eval(), tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    def answers(self, batch: Batch) -> list[str]:
        """What the model writes to each prompt of `batch`: the same on one machine, whatever was asked before."""
        prompts = [self._ask(prompt) for prompt in batch.prompts]
        asked = self._tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        self._torch.manual_seed(batch.seed)
        with self._torch.inference_mode():
            written = self._model.generate(
                **asked, **DECODINGS[batch.decoding], max_new_tokens=int(batch.max_words * TOKENS_PER_WORD), pad_token_id=self._tokenizer.pad_token_id
            )
        return self._tokenizer.batch_decode(written[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)

    def _ask(self, prompt: Prompt) -> str:
        if not prompt.is_chat:
            return prompt.text
        return self._tokenizer.apply_chat_template([{"role": "user", "content": prompt.text}], tokenize=False, add_generation_prompt=True)


def load_writer(path: str) -> Writer:
    """The model at `path`: a folder, a name of the hub, or a GGUF file. Raises ValueError naming it, or the extra that is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtra('generate needs torch: pip install "headwater[torch]"')
    import torch

    from classifiers.lm_detector import load_causal
    from classifiers.torch_models import loaded

    model, tokenizer = loaded(path, lambda: load_causal(path))
    if not tokenizer.chat_template:
        raise ValueError(f"{path}: a model without a chat template cannot be asked for texts: give an instruction-tuned one")
    # Turned here and not while loading: a GGUF file that is asked for in another type stays packed, and slow.
    return Writer(model.to(getattr(torch, WEIGHTS_DTYPE)), tokenizer)


def generate(writer: Writer, generator: str, settings: GenerateSettings, report: Callable[[str], None] = lambda _: None) -> Iterator[dict]:
    """The labelled records of all batches, without texts that are too short or came before."""
    seen: set[str] = set()
    for batch in plan_batches(settings):
        records = [record_of(batch, place, generator, answer) for place, answer in enumerate(writer.answers(batch))]
        for record in records:
            if record and record["text"] not in seen:
                seen.add(record["text"])
                yield record
        report(f"batch {batch.number + 1} of {settings.batches} ({batch.decoding}, {batch.max_words} words): {len(seen):,} texts")


def write_records(path: str, records: Iterator[dict]) -> int:
    """Writes `records` as gzipped JSON lines to `path`, whole or not at all, and returns their number. The same records give the same bytes."""
    count = 0
    with tempfile.NamedTemporaryFile("wb", dir=os.path.dirname(path) or ".", prefix=".generate-", delete=False) as file:
        try:
            with gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
                for record in records:
                    packed.write(orjson.dumps(record) + b"\n")
                    count += 1
            os.replace(file.name, path)
        except BaseException:
            os.remove(file.name)
            raise
    return count
