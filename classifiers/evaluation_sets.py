"""Which evaluation sets a corpus is kept free of, as settings: what stands in recipes, in the metadata of scored shards and in the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

MOST_NGRAM_WORDS = 64
"""Longest n-gram, in words."""
SET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of evaluation sets, as of inputs: no `/`, which separates the set from the item in what rejections name."""


@dataclass(frozen=True)
class SetRead:
    """What was found in one evaluation set."""

    name: str
    """As the user called it."""
    items: int
    """Records."""
    ngrams: int
    """Different n-grams sought that are counted for an item of this set; a short field sought as a whole is one."""
    common_ngrams: int
    """Those left out because too many items share them."""
    unsought: int
    """Items none of whose fields is long enough to be sought: text that holds them is not recognised."""
    files: tuple[tuple[str, str], ...]
    """(path, SHA-256) of each file, by path; of a Hugging Face dataset the digest is that of the texts read."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple((path, digest) for path, digest in self.files))


@dataclass(frozen=True)
class EvaluationSets:
    """Evaluation sets and how they are sought in a text."""

    sets: tuple[str, ...]
    """`NAME=GLOB` each, as given."""
    fields: tuple[str, ...] = ()
    """Fields of their records that hold text; empty: the usual name of a text."""
    ngram_words: int = 13
    """Words of an n-gram. *Source:* Brown et al. 2020 (arXiv 2005.14165), appendix C."""
    min_item_words: int = 8
    """A field shorter than an n-gram but of at least so many words is sought as a whole; `ngram_words`: none is. *Source:* likewise (N of at least 8)."""
    common_ngram_items: int = 10
    """An n-gram in more items than this is a prompt, not a question, and left out; 0: none is. *Source:* likewise, of training documents."""
    digest: str = ""
    """Of the index made of them; empty: not made yet."""
    read: tuple[SetRead, ...] = ()
    """What was found in each set, by name."""
    index: str = ""
    """Where the index lies during the run; never stored."""

    def __post_init__(self) -> None:
        for key in ("sets", "fields"):
            value = getattr(self, key)
            if isinstance(value, str) or not all(isinstance(one, str) and one for one in value):
                raise ValueError(f"decontaminate.{key} = {value!r}: must be a list of words")
            object.__setattr__(self, key, tuple(value))
        names = [parse_set(one)[0] for one in self.sets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"decontaminate.sets: two evaluation sets are named {twice!r}; give each a name of its own")
        for key, low, high in (
            ("ngram_words", 1, MOST_NGRAM_WORDS),
            ("min_item_words", 1, MOST_NGRAM_WORDS),
            ("common_ngram_items", 0, 2**31 - 1),
        ):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"decontaminate.{key} = {value!r}: must be a whole number from {low} to {high}")
        object.__setattr__(self, "read", tuple(one if isinstance(one, SetRead) else SetRead(**one) for one in self.read))

    def stored(self) -> dict[str, Any]:
        """The settings as scored shards keep them: all but where the index lay. `EvaluationSets(**stored)` reads them back."""
        return asdict(replace(self, index="")) | {"index": ""}

    def describe(self) -> str:
        """The sets and their files in a few words, for messages."""
        return ", ".join(self.sets)


ASKED = ("sets", "fields", "ngram_words", "min_item_words", "common_ngram_items")
"""Fields of `EvaluationSets` that a user sets, as keys of the recipe."""
assert set(ASKED) < {field.name for field in fields(EvaluationSets)}


def parse_set(argument: str) -> tuple[str, str]:
    """(name, pattern) of `NAME=GLOB`. Raises ValueError."""
    name, equals, pattern = argument.partition("=")
    if not equals or not pattern or not SET_NAME.fullmatch(name):
        raise ValueError(
            f"evaluation set {argument!r}: write NAME=GLOB, as in mmlu=evals/mmlu/*.jsonl, with a name of letters, digits, '.', '_' or '-'"
        )
    return name, pattern


def recall_sets(stored: Mapping[str, Any] | None) -> EvaluationSets | None:
    """What `EvaluationSets.stored` gave, or None."""
    return None if not stored else EvaluationSets(**stored)
