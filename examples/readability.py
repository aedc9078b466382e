"""Two scorers of one's own: a function of one text, and a class that scores a batch at once. See docs/scorers.md."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def questions_per_sentence(text: str) -> float | None:
    """Question marks per mark that ends a sentence; None (null) where there is none."""
    marks = text.count(".") + text.count("!") + text.count("?")
    return text.count("?") / marks if marks else None


class Readability:
    """Flesch's reading ease, about 0 (hard) to 100 (easy). *Source:* Flesch 1948, "A new readability yardstick"."""

    version = "flesch-1"
    fields = pa.schema([("reading_ease", pa.float32())])

    def score(self, batch) -> dict[str, pa.Array]:
        """One column: 206.8 - 1.015 words a sentence - 84.6 syllables a word, counting runs of vowels as syllables."""
        words = np.maximum(batch.words.counts, 1)
        sentences = np.maximum(pc.count_substring_regex(batch.texts, pattern=r"[.!?]+(\s|$)").to_numpy(), 1)
        syllables = pc.count_substring_regex(batch.texts, pattern="[aeiouy]+", ignore_case=True).to_numpy()
        return {"reading_ease": pa.array((206.835 - 1.015 * words / sentences - 84.6 * syllables / words).astype(np.float32))}
