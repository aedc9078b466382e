"""Texts that the tests of the kernels share: generated prose, hostile ones, and Hypothesis strategies."""

import random

from hypothesis import strategies as st

VOCABULARY = """
the be to of and that have with river stone water light morning window garden letter market road winter paper music answer question
simple bright slowly because although mountain village number seven always harbour silver kitchen engine travel remember yellow
quiet between distance
""".split()  # noqa: SIM905

HOSTILE_TEXTS = (
    "",
    " ",
    "\n",
    "\n\n\n",
    "\0",
    "\0\0\0 a \0",
    "a" * 5_000,
    "漢字" * 2_000,
    "สวัสดีครับ" * 300,
    "שלום עולם، مرحبا بالعالم!",
    "👩‍👩‍👧‍👦👍🏽 🇳🇱 1️⃣ 😀😀😀",
    "QmFzZTY0IGlzIG5vdCBwcm9zZQ==" * 50,
    "= " * 500,
    "-" * 3_000,
    "\ufeff- item one\n\u200b• item two\r\n...\u200d\n",
    "e\u0301\u0301\u0301\u0301 \u0301 \u200d \ufe0f",
    "a\u00adb a\u200cb A\ufe0fB",
    "__init__ snake_case_ _x 3.14 1,234.5 3. .5 don't o’clock 'quoted' l'homme",
    "\u2028line\u2029paragraph\x85next\x1cfile\x1dgroup\x1erecord\x0bvt\x0cff\r\rend",
    "\U0010ffff\U000e0001\U0001f600\U00020000\U0003134a",
    "ΣΊΣΥΦΟΣ Straße İstanbul ǅ Ⓐ",
    "Ａ１＇ｂ １２３ ٣٫١٤ ²",
)
"""One example of each way in which text is not prose."""


def make_prose(seed: int, num_words: int = 200) -> str:
    """Sentences of random words in paragraphs of lines, the same for a seed."""
    chance = random.Random(seed)
    words = []
    for place in range(num_words):
        word = chance.choice(VOCABULARY)
        words.append(word.capitalize() if chance.random() < 0.1 else word)
        if chance.random() < 0.12:
            words[-1] += chance.choice([".", ",", "...", "…", " -", "!", "?", " #"])
        if chance.random() < 0.05 and place:
            words[-1] += chance.choice(["\n", "\n\n", "\n- ", "\n• ", "\r\n"])
    return " ".join(words)


repetitive_texts = st.lists(st.sampled_from(["a", "b", "ab", "a b", "c.", "-", "\n", "\n\n", " ", "é", "漢", "...", "x\n"]), max_size=60).map(
    lambda parts: "".join(part if part.isspace() else part + " " for part in parts)
)
"""Texts of very few different words, lines and paragraphs: everything repeats."""

any_texts = st.one_of(
    st.text(max_size=80),
    st.text(st.sampled_from("aB1 .,'’_-#…•\n\r\t漢かกั\u0301\u00ad\u200b\u2028é👍🏽\0\x1e\x85"), max_size=60),
    repetitive_texts,
    st.integers(0, 1_000).map(lambda seed: make_prose(seed, 40)),
    st.sampled_from(HOSTILE_TEXTS),
)
"""Any text that UTF-8 can hold, with a taste for what splitters get wrong."""
