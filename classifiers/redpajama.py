"""The quality signals of RedPajama-Data-v2 that a text tells by itself, under their names there: an optional scorer, `redpajama`.

What is not in the text is left out: perplexity and language (other scorers give them), importance weights and classifiers (models), lists of bad words and
of addresses. A signal of lines is stored as one number, the mean over the lines (of `rps_lines_javascript_counts` the sum). Two things are simpler: text is
lower-cased and decomposed (NFD) character by character, so that a final sigma stays a sigma and the order of several marks on a letter counts; and the stop
words are the English function words below.

About twice what splitting a text into words takes: 50 microseconds for 300 words.

*Source:* Weber et al. 2024 (arXiv 2411.12372), table of quality signals; `docs/quality-signals.md` says what differs.
"""

import functools
import string
import unicodedata

import numpy as np
import pyarrow as pa

from classifiers.redpajama_kernel import (
    ALPHA,
    BULLET,
    FIRST_SHIFT,
    LENGTH_SHIFT,
    LONE,
    LOWER,
    MULTIPLIER,
    NUMERIC_SHIFT,
    PUNCTUATION,
    SENTENCE_END,
    SPACE,
    TERMINAL,
    UPPER,
    WORD,
    measure_batch,
)
from classifiers.text_batch import TextBatch

STOP_WORDS = tuple(
    """a about above across after again against all almost along already also although always am among an and another any anyone anything are around as at away
    be because been before behind being below beneath beside between beyond both but by can cannot could did do does doing done down during each either else enough
    even ever every everyone everything except few for from further had has have having he hence her here hers herself him himself his how however i if in indeed
    instead into is it its itself just least less let like many may maybe me might mine more most much must my myself near neither never next no nobody none nor not
    nothing now of off often on once one only onto or other others otherwise our ours ourselves out over own per perhaps quite rather same several shall she should
    since so some somebody someone something sometimes still such than that the their theirs them themselves then there therefore these they this those though
    through throughout thus to together too toward towards under unless until up upon us very via was we well were what whatever when where whereas wherever whether
    which while who whoever whole whom whose why will with within without would yet you your yours yourself yourselves""".split()
)
"""English function words, matched as they stand (not lower-cased), as RedPajama matches its own longer list."""
BULLETS = "\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013"
TERMINALS = ".!?\u201d"
TABLE_SIZE = 0x33480
"""Code points with an entry of their own; above are marks, tags and private use, which are neither letters nor white space."""

TEXT_COLUMNS = ("ccnet_length", "ccnet_nlines", "rps_doc_word_count", "rps_doc_num_sentences", "rps_doc_mean_word_length", "rps_doc_symbol_to_word_ratio",
    "rps_doc_frac_lines_end_with_ellipsis", "rps_doc_frac_no_alph_words", "rps_doc_frac_unique_words", "rps_doc_unigram_entropy", "rps_doc_frac_all_caps_words",
    "rps_doc_curly_bracket", "rps_doc_lorem_ipsum", "rps_doc_stop_word_fraction", "rps_lines_ending_with_terminal_punctution_mark", "rps_lines_javascript_counts",
    "rps_lines_num_words", "rps_lines_numerical_chars_fraction", "rps_lines_start_with_bulletpoint", "rps_lines_uppercase_letter_fraction")  # fmt: skip
"""Columns of `measure_text`, in order."""
NGRAM_COLUMNS = (*(f"rps_doc_frac_chars_top_{n}gram" for n in (2, 3, 4)), *(f"rps_doc_frac_chars_dupe_{n}grams" for n in range(5, 11)))
"""Columns of `measure_ngrams`, in order."""
COUNTS = ("ccnet_length", "ccnet_nlines", "rps_doc_word_count", "rps_doc_num_sentences", "rps_lines_javascript_counts")
"""Columns of whole numbers."""


class RedPajamaScorer:
    """The columns of `TEXT_COLUMNS` and `NGRAM_COLUMNS`: int32 for `COUNTS`, else float32.

    Where there is nothing to divide by (a text without words, or without lines) a share of words or lines is null, as in RedPajama.
    """

    name = "redpajama"
    version = f"redpajama-2;1;unicode-{unicodedata.unidata_version}"
    fields = pa.schema([(name, pa.int32() if name in COUNTS else pa.float32()) for name in (*TEXT_COLUMNS, *NGRAM_COLUMNS)])

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """All columns."""
        signals, ngrams = measure_signals(batch)
        made = {}
        for names, values in ((TEXT_COLUMNS, signals), (NGRAM_COLUMNS, ngrams)):
            for place, name in enumerate(names):
                column = values[:, place]
                made[name] = pa.array(column.astype(np.int32)) if name in COUNTS else pa.array(column.astype(np.float32), mask=np.isnan(column))
        return made


def measure_signals(batch: TextBatch) -> tuple[np.ndarray, np.ndarray]:
    """float64[n, 20] and float64[n, 9]: the signals of each text, nan where one is not defined."""
    tables, (stop_words, javascript) = code_point_forms(), _known_words()
    signals, ngrams = np.empty((len(batch), len(TEXT_COLUMNS))), np.zeros((len(batch), len(NGRAM_COLUMNS)))
    most = int(np.max(np.diff(batch.offsets), initial=0)) // 2 + 2
    table = np.zeros(1 << max(4, (2 * most).bit_length()), np.int32)
    measure_batch(batch.utf8, batch.offsets, *tables, stop_words, javascript, table, most, signals, ngrams)
    return signals, ngrams


@functools.lru_cache(maxsize=1)
def code_point_forms() -> tuple[np.ndarray, np.ndarray]:
    """Of every code point below `TABLE_SIZE`, what the kernel knows of it (int32, its bits as `redpajama_kernel` says), and the hash (uint64) of its lower-cased,
    decomposed form. Takes about 0.3 s, once a process."""
    forms, hashes = np.zeros(TABLE_SIZE, np.int32), _mix(np.arange(TABLE_SIZE, dtype=np.uint64))
    own = hashes.copy()
    for code_point in range(TABLE_SIZE):
        character = chr(code_point)
        mark = WORD if character.isalnum() or character == "_" else SPACE if character.isspace() else 0
        if character.isupper():
            mark |= UPPER
        elif character.islower() or character.istitle():
            mark |= LOWER
        form = unicodedata.normalize("NFD", character.lower())
        if form != character:
            hashes[code_point] = _hash_word(form, own)
        numerals = sum(map(str.isnumeric, form))
        mark |= LONE if len(form) == 1 and not numerals else 0
        first = ord(form[0]) if form[0].isascii() else 0
        forms[code_point] = mark | len(form) << LENGTH_SHIFT | numerals << NUMERIC_SHIFT | first << FIRST_SHIFT
    for characters, mark in (
        (string.punctuation, PUNCTUATION),
        (string.ascii_letters, ALPHA),
        (".!?", SENTENCE_END),
        (TERMINALS, TERMINAL),
        (BULLETS, BULLET),
    ):
        forms[[ord(character) for character in characters]] |= mark
    return forms, hashes


@functools.lru_cache(maxsize=1)
def _known_words() -> tuple[np.ndarray, np.uint64]:
    """An open table of the hashes of the stop words (0 = free, at most a quarter full), and the hash of `javascript`."""
    hashes = code_point_forms()[1]
    table = np.zeros(1 << (4 * len(STOP_WORDS)).bit_length(), np.uint64)
    for word in STOP_WORDS:
        value = _hash_word(word, hashes)
        slot = value >> 32 & (len(table) - 1)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = value
    return table, np.uint64(_hash_word("javascript", hashes))


def _hash_word(word: str, hashes: np.ndarray) -> int:
    value = 0
    for character in word:
        value = (value * int(MULTIPLIER) + int(hashes[ord(character)])) % 2**64
    return value


def _mix(values: np.ndarray) -> np.ndarray:
    """`words.mix64` on an array of code points, none of which becomes 0."""
    values = (values + np.uint64(1)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ (values >> np.uint64(33))
