"""Which pieces of which texts the deep detector's encoder is trained on, and which pieces of a text it is tested on.

Every set weighs as the root of its size; within a set human and machine text come up equally often, whatever the generator or the
domain, so that neither the set nor its proportions say who wrote a text. Any beginning of the drawn order is balanced alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classifiers.deep_encoder import DeepSettings, cut_windows
from classifiers.hashed_ngrams import fold_line
from classifiers.labelled_text import LabelledText, drop_shared


@dataclass(frozen=True)
class DrawSettings:
    """How windows are drawn."""

    sequences: int = 12_000
    """Windows drawn."""
    window_tokens: tuple[int, int] = (40, 100)
    """Shortest and longest window, in word pieces: length says nothing, and short windows are many for their price."""
    beginning_share: float = 0.4
    """Share of windows that are a text's beginning; the others start anywhere."""
    human_set_share: float = 0.18
    """Share of windows that come from sets without machine text, in equal parts."""
    attack_weight: float = 0.5
    """Weight of the disguised texts of a set (`attack` other than none), against its clean ones."""
    seed: int = 0
    """Decides all of it."""

    def __post_init__(self):
        object.__setattr__(self, "window_tokens", tuple(self.window_tokens))
        for key, low, high in (("sequences", 1, 10**7), ("seed", 0, 2**63 - 1)):
            if not low <= getattr(self, key) <= high:
                raise ValueError(f"{key} must be from {low} to {high}, not {getattr(self, key)}")
        for key in ("beginning_share", "human_set_share"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"{key} must be a share from 0 up to but not including 1, not {getattr(self, key)}")
        if not self.attack_weight > 0:
            raise ValueError(f"attack_weight must be above 0, not {self.attack_weight}")
        if len(self.window_tokens) != 2 or not 8 <= self.window_tokens[0] <= self.window_tokens[1] <= 510:
            raise ValueError(f"window_tokens must be two ascending numbers from 8 to 510, not {self.window_tokens}")


@dataclass(frozen=True, eq=False)
class Windows:
    """Pieces of texts as token ids."""

    tokens: Sequence[np.ndarray]
    """int64 ids of each window, marks included."""
    owners: np.ndarray
    """int64: index of the text of each window."""


def draw_texts(texts: Sequence[LabelledText], settings: DrawSettings) -> list[int]:
    """Indices of `texts` in the order in which windows are cut from them, `settings.sequences` in all. Deterministic.

    A set is drawn by the root of the number of its clean texts, then a label, then a generator (of human text a domain) by the
    root of its texts, then the next text of a shuffled deck. Raises ValueError unless a set holds text of both labels.
    """
    random = np.random.default_rng(settings.seed)
    cells: dict[str, dict[bool, dict[tuple[str, bool], list[int]]]] = {}
    for index, text in enumerate(texts):
        bucket = (text.generator if text.is_machine else text.domain, text.attack != "none")
        cells.setdefault(text.set_name, {}).setdefault(text.is_machine, {}).setdefault(bucket, []).append(index)
    mixed = [name for name, labels in cells.items() if len(labels) == 2]
    human_only = [name for name, labels in cells.items() if set(labels) == {False}]
    if not mixed:
        raise ValueError("training needs a set with human and machine text")
    clean = [sum(text.set_name == name and text.attack == "none" for text in texts) ** 0.5 for name in mixed]
    share = settings.human_set_share if human_only else 0.0
    weights = [(1.0 - share) * one / sum(clean) for one in clean] + [share / len(human_only) for _ in human_only]
    decks: dict[tuple, list[int]] = {}
    chosen = []
    for name in random.choice(mixed + human_only, size=settings.sequences, p=weights).tolist():
        is_machine = name in mixed and bool(random.random() < 0.5)
        buckets = cells[name][is_machine]
        keys = list(buckets)
        sizes = np.array([len(buckets[key]) ** 0.5 * (settings.attack_weight if key[1] else 1.0) for key in keys])
        key = keys[int(random.choice(len(keys), p=sizes / sizes.sum()))]
        deck = decks.get((name, is_machine, key))
        if not deck:
            deck = decks[name, is_machine, key] = random.permutation(buckets[key]).tolist()
        chosen.append(deck.pop())
    return chosen


def draw_windows(texts: Sequence[LabelledText], tokenizer, settings: DrawSettings, reading: DeepSettings) -> Windows:
    """A random piece of each text that `draw_texts` draws, in its order, of the part of it that `reading` looks at."""
    owners = draw_texts(texts, settings)
    used = list(dict.fromkeys(owners))
    tokens = dict(zip(used, fold_and_tokenize([texts[index] for index in used], tokenizer, reading), strict=True))
    random = np.random.default_rng(settings.seed + 1)
    pieces = []
    for owner in owners:
        length = int(random.integers(settings.window_tokens[0], settings.window_tokens[1] + 1))
        spare = max(0, len(tokens[owner]) - length)
        start = 0 if random.random() < settings.beginning_share else int(random.integers(0, spare + 1))
        pieces.append(_marked(tokens[owner][start : start + length], reading))
    return Windows(pieces, np.array(owners, np.int64))


def cut_texts(texts: Sequence[LabelledText], tokenizer, reading: DeepSettings) -> Windows:
    """The windows that the detector looks at in each text, in order."""
    pieces, owners = [], []
    for index, tokens in enumerate(fold_and_tokenize(texts, tokenizer, reading)):
        for begin, end in cut_windows(len(tokens), reading):
            pieces.append(_marked(tokens[begin:end], reading))
            owners.append(index)
    return Windows(pieces, np.array(owners, np.int64))


def fold_and_tokenize(texts: Sequence[LabelledText], tokenizer, reading: DeepSettings) -> list[list[int]]:
    """Token ids of each text, folded as the detector folds it, without marks. `tokenizer` is one of `tokenizers`."""
    return [tokenizer.encode(fold_line(text.text, reading.max_words), add_special_tokens=False).ids for text in texts]


def rows_without(texts: Sequence[LabelledText], windows: Windows, left_out: Sequence[LabelledText], name: str) -> np.ndarray:
    """Windows (indices, in order) of texts that neither are of the set `name` nor share a group or wording with `left_out`."""
    drawn = np.unique(windows.owners).tolist()
    others = [texts[index] for index in drawn if texts[index].set_name != name]
    kept = {id(text) for text in drop_shared(others, left_out)}
    return np.flatnonzero([id(texts[owner]) in kept for owner in windows.owners.tolist()])


def _marked(tokens: Sequence[int], reading: DeepSettings) -> np.ndarray:
    return np.array([reading.first_token, *tokens, reading.last_token], np.int64)
