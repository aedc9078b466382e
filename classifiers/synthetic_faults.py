"""Faults that text written by models has and edited text has not: refusals, chat templates, blanks to fill in, loops, torn endings.

Each is a number of its own, so that each can be a rule of its own. Phrases come from `classifiers.fault_phrases`; all else is read off the words and
lines in one walk. About 15 microseconds for 300 words. How many human texts each would cost stands in `benchmarks/README.md`
(`python -m benchmarks.faults`): under one in two hundred of every set.
"""

import functools

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers import fault_phrases
from classifiers.fault_phrases import fault_book
from classifiers.lines import split_lines, strip_lines
from classifiers.phrases import Hits, find_phrases
from classifiers.text_batch import TextBatch
from classifiers.words import COMPLEX, KIND_LETTERS, KIND_SYMBOL, WORD_SPLITTER_VERSION, code_point_tables

MIN_LOOP_CYCLES = 4
"""Times that something must be said in a row to be a loop."""
MAX_LOOP_WORDS = 64
"""Words of what is said over and over, at most; longer ones are repeated n-grams to Gopher's rules."""
MIN_LINES = 3
"""Lines that a text must have for its share of list items or headings to say anything."""
MAX_HEADING_WORDS = 12
"""Words of a line in bold, or one that ends in a colon, that is taken for a heading."""
BLOCK_WORDS = 30
"""Words of which the language is told at a time. A language counts from its second block in a row: one is a quotation."""
MIN_VOTES = 5
"""Function words of one language that a block must hold, and three times as many as of any other, for its language to be known."""
MIN_DIFFERENT_VOTES = 3
"""How many of these must differ: a column of *de* is no French."""

MIN_BROKEN_WORDS = 180
"""Words of a text from which an ending in mid-sentence counts: a model breaks off where its tokens end, and the fewest that are usual, 256, are some 190 words of
English. Shorter ones that end so are excerpts, which people cut."""
UNFINISHED_WORDS = "the a an and or of than into their your my our its whose because"
"""Words that end no English sentence, or hardly ever: not *this*, *with* or *to*, on which people do end theirs."""
FUNCTION_WORDS = (
    "the of and that with for this are you not have from they but his her which were been would there i to do by a as no me on so was had has my he "
    "she it in is at be or if an one all out up we who their what about when can will your more just like than its our us am go per",
    "der und das ist nicht ein eine mit sich auch auf dem für wir ich sie werden wird einen aber oder",
    "les et des est une dans pour pas qui sur avec vous nous cette sont aux plus mais leur être",
    "el los las una por con para pero más como está también muy esta y su sus lo al",
    "il che è per non gli della sono nel anche più dei questo alla degli dal una con",
    "os não uma para mais ao são dos das pelo também isso você às por",
    "het een van ik niet zijn voor ook maar deze wordt naar hebben de en",
    "и в не на что с как по это из для его она они был",
    "i nie się na że jest do to jak ale przez od który są",
    "ve bir bu için ile de da çok olarak gibi daha ancak",
)
"""Frequent words of ten languages; one that stands in two lists counts for neither."""

LATIN, CYRILLIC, GREEK, HEBREW, ARABIC, INDIC, THAI, HAN, HANGUL, OTHER = range(len(FUNCTION_WORDS), len(FUNCTION_WORDS) + 10)
"""Scripts, numbered on from the languages."""

TRUNCATED, LOOP_CHARS, SWITCHES, FULL_LINES, LIST_LINES, HEADING_LINES = range(6)
"""Columns of the kernel."""


class SyntheticFaultsScorer:
    """The faults of a text, never null.

    * `refusal_phrases`, `assistant_phrases`, `cutoff_phrases`: phrases with which a model refuses, speaks as an assistant, or dates its
      knowledge, wherever they stand (int16);
    * `template_marks`: marks of chat templates (`<|im_end|>`, `[INST]`, `### Response:`), and pairs of lines that begin with `User:` and `Assistant:`;
    * `placeholder_marks`: blanks never filled in (`[Your Name]`, `{{name}}`, `[insert date]`);
    * `truncated_end` (int8): 1 where the text breaks off: behind a word that ends no sentence (in a text of at least 180 words), an opened
      bracket that is no smiley, a list number without its item;
    * `loop_char_share`: characters in the longest stretch that says the same (up to 64 words) at least four times in a row, per character of the text;
    * `language_switches`: how often the language or script changes from one stretch of 30 words to the next, and stays changed;
    * `list_line_share`, `heading_line_share`: list items and headings, of the lines that are not blank; 0 where there are fewer than three.
    """

    name = "synthetic_faults"
    version = f"synthetic-faults-2;{WORD_SPLITTER_VERSION}"
    fields = pa.schema(
        [
            ("refusal_phrases", pa.int16()),
            ("assistant_phrases", pa.int16()),
            ("cutoff_phrases", pa.int16()),
            ("template_marks", pa.int16()),
            ("placeholder_marks", pa.int16()),
            ("truncated_end", pa.int8()),
            ("loop_char_share", pa.float32()),
            ("language_switches", pa.int16()),
            ("list_line_share", pa.float32()),
            ("heading_line_share", pa.float32()),
        ]
    )

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The ten columns."""
        hits, counts, n = batch.derive(find_fault_phrases), batch.derive(measure_form), len(batch)
        roles = np.minimum(hits.count(n, fault_phrases.ROLE_USER), hits.count(n, fault_phrases.ROLE_ASSISTANT))
        enough = counts[:, FULL_LINES] >= MIN_LINES
        lines = np.maximum(counts[:, FULL_LINES], 1)
        made = {
            "refusal_phrases": hits.count(n, fault_phrases.REFUSAL),
            "assistant_phrases": hits.count(n, fault_phrases.ASSISTANT),
            "cutoff_phrases": hits.count(n, fault_phrases.CUTOFF),
            "template_marks": hits.count(n, fault_phrases.TEMPLATE) + roles,
            "placeholder_marks": hits.count(n, fault_phrases.PLACEHOLDER),
            "truncated_end": counts[:, TRUNCATED].astype(np.int8),
            "loop_char_share": (counts[:, LOOP_CHARS] / np.maximum(batch.words.text_chars, 1)).astype(np.float32),
            "language_switches": np.minimum(counts[:, SWITCHES], 2**15 - 1).astype(np.int16),
            "list_line_share": np.where(enough, counts[:, LIST_LINES] / lines, 0).astype(np.float32),
            "heading_line_share": np.where(enough, counts[:, HEADING_LINES] / lines, 0).astype(np.float32),
        }
        return {name: pa.array(column) for name, column in made.items()}


def find_fault_phrases(batch: TextBatch) -> Hits:
    """Where the phrases of `classifiers.fault_phrases` stand, with its groups."""
    return find_phrases(batch, fault_book())


def measure_form(batch: TextBatch) -> np.ndarray:
    """int64[n, 6]: 1 if broken off, characters of the longest loop, switches of language, lines that are not blank, list items, headings."""
    words, lines = batch.words, batch.derive(split_lines)
    begins, ends = strip_lines(batch, lines)
    counts = np.zeros((len(batch), 6), np.int64)
    pieces = (words.offsets, words.begins, words.ends, words.chars, words.folded, words.kinds)
    _measure(batch.utf8, *pieces, lines.offsets, begins, ends, code_point_tables()[0], *_vocabulary(), counts)
    return counts


@functools.lru_cache(maxsize=1)
def _vocabulary() -> tuple[np.ndarray, np.ndarray]:
    """A hash table of 2**12 slots: folded hashes of words, and for each 1 + its language, or 64 for a word that ends no sentence, or both."""
    lists = [set(text.split()) for text in FUNCTION_WORDS]
    marks = {word: 0 for words in (*lists, UNFINISHED_WORDS.split()) for word in words}
    for word in marks:
        languages = [language for language, words in enumerate(lists) if word in words]
        marks[word] = (languages[0] + 1 if len(languages) == 1 else 0) | (64 if word in UNFINISHED_WORDS.split() else 0)
    table, values = np.zeros(1 << 12, np.uint64), np.zeros(1 << 12, np.uint8)
    for key, mark in zip(TextBatch.of(list(marks)).words.folded.tolist(), marks.values(), strict=True):
        slot = key & (len(table) - 1)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot], values[slot] = key, mark
    return table, values


@njit(cache=True, nogil=True)
def _mark_of(key, table, values):
    slot = key & np.uint64(len(table) - 1)
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + np.uint64(1)) & np.uint64(len(table) - 1)
    return values[slot] if table[slot] != 0 else np.uint8(0)


@njit(cache=True, nogil=True)
def _measure(utf8, offsets, begins, ends, chars, folded, kinds, line_offsets, line_begins, line_ends, classes, table, values, counts):
    num_texts = len(offsets) - 1
    most = 0
    for text in range(num_texts):
        most = max(most, offsets[text + 1] - offsets[text])
    slots = 16
    while slots < 2 * most:
        slots *= 2
    last_seen, owners = np.zeros(slots, np.int32), np.empty(slots, np.uint64)
    own = np.empty(most + 1, np.int64)
    votes, kinds_of_votes = np.zeros(OTHER + 1, np.int32), np.zeros(OTHER + 1, np.uint64)
    for text in range(num_texts):
        first, last = offsets[text], offsets[text + 1]
        num = 0
        for piece in range(first, last):
            if kinds[piece] != KIND_SYMBOL:
                own[num] = piece
                num += 1
        counts[text, LOOP_CHARS] = _longest_loop(folded, begins, ends, utf8, own, num, last_seen, owners)
        counts[text, SWITCHES] = _count_switches(utf8, begins, ends, folded, kinds, own, num, classes, table, values, votes, kinds_of_votes)
        for line in range(line_offsets[text], line_offsets[text + 1]):
            begin, end = line_begins[line], line_ends[line]
            if begin < end:
                counts[text, FULL_LINES] += 1
                kind = _kind_of_line(utf8, begin, end)
                counts[text, LIST_LINES] += 1 if kind == 1 else 0
                counts[text, HEADING_LINES] += 1 if kind == 2 else 0
                if line + 1 == line_offsets[text + 1] and kind != 2 and last > first:
                    counts[text, TRUNCATED] = _breaks_off(utf8, begin, begins, ends, folded, kinds, first, last, num, table, values)


@njit(cache=True, nogil=True)
def _longest_loop(folded, begins, ends, utf8, own, num, last_seen, owners):
    """Code points of the longest stretch of words that repeat with one period; 0 unless they do so `MIN_LOOP_CYCLES` times.

    The period is how far back the same word last stood: where it is wrong (a word stands twice in what is repeated), the next word that
    does not fit corrects it, and every repetition is soon followed with the right one.
    """
    slots = 16
    while slots < 2 * num:
        slots *= 2
    mask = np.uint64(slots - 1)
    last_seen[:slots] = 0
    longest, period, run = 0, 0, 0
    for place in range(num + 1):
        back = 0
        if place < num:
            key = folded[own[place]]
            slot = key & mask
            while last_seen[slot] != 0 and owners[slot] != key:
                slot = (slot + np.uint64(1)) & mask
            if last_seen[slot] != 0:
                back = place - (last_seen[slot] - 1)
            owners[slot] = key
            last_seen[slot] = place + 1
        if period and place < num and folded[own[place - period]] == folded[own[place]]:
            run += 1
            continue
        if period and run + period >= MIN_LOOP_CYCLES * period:
            begin, end = begins[own[place - run - period]], ends[own[place - 1]]
            stretch = 0
            for at in range(begin, end):
                stretch += 1 if utf8[at] & 0xC0 != 0x80 else 0
            longest = max(longest, stretch)
        period = back if back <= MAX_LOOP_WORDS else 0
        run = 1 if period else 0
    return longest


@njit(cache=True, nogil=True)
def _count_switches(utf8, begins, ends, folded, kinds, own, num, classes, table, values, votes, kinds_of_votes):
    """How often two blocks in a row are in another language or script than the two before them whose language was known."""
    known, previous, switches = -1, -1, 0
    for start in range(0, num - BLOCK_WORDS + 1, BLOCK_WORDS):
        votes[:] = 0
        kinds_of_votes[:] = 0
        letters = 0
        for place in range(start, start + BLOCK_WORDS):
            piece = own[place]
            if kinds[piece] != KIND_LETTERS:
                continue
            letters += 1
            votes[_script_of(utf8, np.int64(begins[piece]), np.int64(ends[piece]), classes)] += 1
            mark = _mark_of(folded[piece], table, values) & np.uint8(63)
            if mark:
                votes[mark - 1] += 1
                kinds_of_votes[mark - 1] |= np.uint64(1) << (folded[piece] >> np.uint64(58))
        script = LATIN
        for one in range(LATIN, OTHER + 1):
            script = one if votes[one] > votes[script] else script
        if letters * 2 < BLOCK_WORDS or votes[script] * 5 < letters * 4 or script == OTHER:
            continue
        found = script
        if script == LATIN:
            best, second = 0, 0
            for language in range(LATIN):
                if votes[language] > best:
                    second, best, found = best, votes[language], language
                else:
                    second = max(second, votes[language])
            different, rest = 0, kinds_of_votes[found] if found < LATIN else np.uint64(0)
            while rest:
                different += 1
                rest &= rest - np.uint64(1)
            if best < MIN_VOTES or best < 3 * second or different < MIN_DIFFERENT_VOTES:
                continue
        if found == previous:
            switches += 1 if known >= 0 and found != known else 0
            known = found
        previous = found
    return switches


@njit(cache=True, nogil=True)
def _script_of(utf8, at, end, classes):
    """The script of a word, by its first character."""
    code_point = np.int64(utf8[at])
    if code_point < 0x80:
        return LATIN
    if code_point < 0xE0 and end - at >= 2:
        code_point = (code_point & 0x1F) << 6 | np.int64(utf8[at + 1]) & 0x3F
    elif code_point < 0xF0 and end - at >= 3:
        code_point = (code_point & 0x0F) << 12 | (np.int64(utf8[at + 1]) & 0x3F) << 6 | np.int64(utf8[at + 2]) & 0x3F
    else:
        return OTHER
    if code_point < 0x370 or 0x1E00 <= code_point < 0x1F00:
        return LATIN
    if code_point < 0x400 or 0x1F00 <= code_point < 0x2000:
        return GREEK
    if code_point < 0x530:
        return CYRILLIC
    if 0x590 <= code_point < 0x600:
        return HEBREW
    if 0x600 <= code_point < 0x780:
        return ARABIC
    if 0x900 <= code_point < 0xE00:
        return INDIC
    if classes[code_point] == COMPLEX:
        return THAI
    if 0xAC00 <= code_point < 0xD7B0 or 0x1100 <= code_point < 0x1200:
        return HANGUL
    return HAN if 0x3005 <= code_point < 0xFB00 else OTHER


@njit(cache=True, nogil=True)
def _kind_of_line(utf8, begin, end):
    """1 for an item of a list, 2 for a heading, 0 for any other line, white space at its ends aside."""
    first = utf8[begin]
    at = begin
    if first == 0x23:  # '#'
        while at < end and utf8[at] == 0x23:
            at += 1
        return 2 if at - begin <= 6 and at < end and utf8[at] == 0x20 else 0
    if (first == 0x2D or first == 0x2A or first == 0x2B) and end - begin > 1 and utf8[begin + 1] == 0x20:
        return 1
    if (
        end - begin > 3
        and first == 0xE2
        and (
            (utf8[begin + 1] == 0x80 and (utf8[begin + 2] == 0xA2 or utf8[begin + 2] == 0x93))
            or (utf8[begin + 1] == 0x97 and utf8[begin + 2] == 0x8F)
            or (utf8[begin + 1] == 0x96 and utf8[begin + 2] == 0xAA)
        )
    ):
        return 1
    while at < end and 0x30 <= utf8[at] <= 0x39:
        at += 1
    if 0 < at - begin <= 3 and at + 1 < end and (utf8[at] == 0x2E or utf8[at] == 0x29) and utf8[at + 1] == 0x20:
        return 1
    spaces = 0
    for place in range(begin, end):
        spaces += 1 if utf8[place] == 0x20 else 0
    if spaces >= MAX_HEADING_WORDS:
        return 0
    bold = end - begin > 4 and first == 0x2A and utf8[begin + 1] == 0x2A
    bold = bold and ((utf8[end - 1] == 0x2A and utf8[end - 2] == 0x2A) or (utf8[end - 1] == 0x3A and utf8[end - 2] == 0x2A))
    return 2 if bold or utf8[end - 1] == 0x3A else 0


@njit(cache=True, nogil=True)
def _breaks_off(utf8, line_begin, begins, ends, folded, kinds, first, last, num, table, values):
    """1 if a text of `num` words whose last line begins at `line_begin` stops in the middle of something."""
    piece = last - 1
    begin, end = np.int64(begins[piece]), np.int64(ends[piece])
    if kinds[piece] == KIND_SYMBOL:
        mark = utf8[end - 1]
        if end - begin == 1 and (mark == 0x28 or mark == 0x5B or mark == 0x7B):
            eyes = utf8[ends[piece - 1] - 1] if piece > first else 0
            # ': (' is a face.
            return 0 if mark == 0x28 and (eyes == 0x3A or eyes == 0x3B or eyes == 0x3D) else 1
        # A number of a list, or a bullet, and nothing behind it.
        return 1 if mark == 0x2E and end - begin == 1 and piece > first + 2 and kinds[piece - 1] == 1 and begins[piece - 1] == line_begin else 0
    if num < MIN_BROKEN_WORDS or not _mark_of(folded[piece], table, values) & np.uint8(64):
        return 0
    # Prose, not a title, a table or code: a word stands before it, and enough in its line for a sentence.
    return 1 if begin - line_begin >= 30 and kinds[piece - 1] != KIND_SYMBOL else 0
