"""One number for how good a text looks, from 0 to 1: what decides between duplicates, and what a mix keeps first.

A heuristic, not a judgement: how far each of Gopher's statistics stays inside its limit. A statistic far inside has a headroom of
1, at its limit of 0.5, twice as far out of 0. Then

    quality = (mean of five headrooms + smallest headroom of all) / 2

where the five are length, share of words with letters, length of words, and the means over symbols and over repetition. The
smallest one is there because one fault spoils a text, however good it is otherwise. What only fits English (its stop words, the
least length of a word) is left out, so that other languages are not ranked below English for being others.

It ranks the better text first in 65 % of pairs of natural and unnatural web text in 22 languages, 62 % of main content and
boilerplate, 55 % of ham and spam: better than a coin, and no more.
"""

import numpy as np
import pyarrow as pa

from classifiers.gopher_quality import measure_quality
from classifiers.gopher_repetition import REPETITION_COLUMNS, measure_repetition
from classifiers.text_batch import TextBatch
from classifiers.words import WORD_SPLITTER_VERSION

LIMITS = {
    "hash_word_share": 0.1,
    "ellipsis_word_share": 0.1,
    "bullet_line_share": 0.9,
    "ellipsis_line_share": 0.3,
    "duplicate_line_share": 0.30,
    "duplicate_paragraph_share": 0.30,
    "duplicate_line_char_share": 0.20,
    "duplicate_paragraph_char_share": 0.20,
    "top_2gram_char_share": 0.20,
    "top_3gram_char_share": 0.18,
    "top_4gram_char_share": 0.16,
    "duplicate_5gram_char_share": 0.15,
    "duplicate_6gram_char_share": 0.14,
    "duplicate_7gram_char_share": 0.13,
    "duplicate_8gram_char_share": 0.12,
    "duplicate_9gram_char_share": 0.11,
    "duplicate_10gram_char_share": 0.10,
}
"""Most of each statistic that Gopher accepts. *Source:* Rae et al. 2021, A.1.1 and table A1."""

WORDS_CURVE = ((0, 50, 200, 50_000, 100_000, 200_000), (0, 0.5, 1, 1, 0.5, 0))
"""Headroom by number of words, linear between these points: Gopher accepts 50 to 100,000."""
WORD_CHARS_CURVE = ((7, 10, 13), (1, 0.5, 0))
"""Headroom by mean length of a word in code points: Gopher accepts at most 10."""
ALPHA_CURVE = ((0.6, 0.8, 1), (0, 0.5, 1))
"""Headroom by the share of words with a letter: Gopher accepts 0.8 and more, prose has about 0.97."""


class QualityScorer:
    """`quality`, float32 in 0..1, by the formula of this module."""

    name = "quality"
    version = f"gopher-headroom-2;{WORD_SPLITTER_VERSION}"
    fields = pa.schema([("quality", pa.float32())])

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """One column, never null. A text without words has 0."""
        columns = {**batch.derive(measure_quality), **batch.derive(measure_repetition)}
        return {"quality": pa.array(grade(batch.words.counts, columns))}


def grade(words: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Quality (float32[n], 0..1) of texts of so many words and such Gopher statistics (the columns of both Gopher scorers).

    Never rises with any statistic of `LIMITS` or with the mean length of a word, never falls with `alpha_word_share`.
    """
    length = np.interp(words, *WORDS_CURVE)
    letters = np.interp(columns["alpha_word_share"], *ALPHA_CURVE)
    word_length = np.interp(columns["mean_word_chars"], *WORD_CHARS_CURVE)
    within = {name: 1 - np.minimum(columns[name].astype(np.float64) / (2 * limit), 1) for name, limit in LIMITS.items()}
    repetition = [within[name] for name in REPETITION_COLUMNS]
    symbols = [headroom for name, headroom in within.items() if name not in REPETITION_COLUMNS]
    mean = (length + letters + word_length + sum(symbols) / len(symbols) + sum(repetition) / len(repetition)) / 5
    least = np.minimum.reduce([length, letters, word_length, *symbols, *repetition])
    return np.where(words > 0, (mean + least) / 2, 0).astype(np.float32)
