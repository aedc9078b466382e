"""Small detectors that are real objects: they count words, and keep the contract."""

import numpy as np

from classifiers.text_batch import TextBatch


class WordShareDetector:
    """Log odds that grow with the share of `word` among a text's words; abstains below `min_words`. Remembers the texts it saw."""

    def __init__(self, kind: str, word: str, factor: float = 10.0, min_words: int = 3):
        self.version = f"{kind}-{word}{factor:g}"
        self.seen: list[str] = []
        self._word, self._factor, self._min_words = word, factor, min_words

    def log_odds(self, batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
        texts = batch.texts.to_pylist()
        self.seen += texts
        shares = [text.split().count(self._word) / max(len(text.split()), 1) for text in texts]
        return self._factor * (np.array(shares, np.float64) - 0.5), batch.words.counts < self._min_words
