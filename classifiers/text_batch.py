"""A batch of texts as the scorers see it: the UTF-8 bytes where Arrow keeps them, and the words found in them, once for all scorers."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa

from classifiers.words import Words, split_words

T = TypeVar("T")


class TextBatch:
    """Texts to score. What one scorer derives from them (`words`, `derive`) the others find ready.

    Holds no copy of the texts. For one thread at a time.
    """

    def __init__(self, texts: pa.StringArray):
        """Raises TypeError unless `texts` is a `pa.StringArray`, ValueError if one is null. A slice is fine."""
        if not isinstance(texts, pa.StringArray):
            raise TypeError(f"texts must be a pyarrow.StringArray, not {type(texts).__name__}")
        if texts.null_count:
            raise ValueError(f"{texts.null_count} of {len(texts)} texts are null: drop them, or send them to the dead letters, before scoring")
        self.texts = texts
        """The texts, without nulls."""
        _, offsets, data = texts.buffers()
        if offsets is None or not len(texts):
            self.offsets = np.zeros(1, np.int64)
        else:
            self.offsets = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
        """int64[n + 1]: text i is `utf8[offsets[i]:offsets[i + 1]]`. A slice starts where its parent's bytes do, so not always at 0."""
        self.utf8 = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
        """uint8: the bytes that `offsets` point into, read-only."""
        # Whatever Arrow says of the buffer: a kernel is compiled once for read-only bytes and once more for others.
        self.utf8.flags.writeable = False
        self._derived: dict[object, object] = {}

    @classmethod
    def of(cls, texts: Iterable[str] | Sequence[str]) -> "TextBatch":
        """A batch of ordinary strings. Raises ValueError (`UnicodeEncodeError`) on a lone surrogate, which UTF-8 cannot hold."""
        return cls(pa.array(texts if isinstance(texts, Sequence) else list(texts), pa.string()))

    def __len__(self) -> int:
        return len(self.texts)

    @functools.cached_property
    def words(self) -> Words:
        """Words and symbols of every text (`classifiers.words`), split once."""
        return split_words(self.utf8, self.offsets)

    @functools.cached_property
    def num_bytes(self) -> np.ndarray:
        """int32[n]: UTF-8 length of each text."""
        return np.diff(self.offsets).astype(np.int32)

    def derive(self, compute: Callable[["TextBatch"], T]) -> T:
        """`compute(self)`, computed once: for columns that several scorers build on. `compute` must be a module-level function."""
        if compute not in self._derived:
            self._derived[compute] = compute(self)
        return self._derived[compute]
