import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fault_phrases import ASSISTANT_OPENINGS, ASSISTANT_TALK, CUTOFFS, REFUSALS, expand
from classifiers.synthetic_faults import FUNCTION_WORDS, MIN_BROKEN_WORDS, SyntheticFaultsScorer
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, make_prose

ENGLISH = "The keeper of the garden had been there for years and would not have gone from it, but they asked. "
GERMAN = "Der Gärtner ist nicht mehr da und das wird auch für uns nicht leicht, aber wir werden es mit ihm versuchen. "
FRENCH = "Les jardiniers ne sont pas dans la cour et nous avons une idée pour cette année, mais avec vous. "
RUSSIAN = "Садовник ушёл из сада и не вернулся, но он был с нами, как это было всегда. "
CHINESE = "园丁离开了花园，再也没有回来，我们都很想念他，因为他总是和我们在一起。"


def scores(text: str) -> dict:
    return {name: column.to_pylist()[0] for name, column in SyntheticFaultsScorer().score(TextBatch.of([text])).items()}


def faults(text: str) -> set[str]:
    return {name for name, value in scores(text).items() if value}


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot fulfill this request.",
        "Well. I can’t assist you with that request, as it is harmful.",
        "I apologize, but as an AI I have none.",
        "That goes against my programming!",
        "很抱歉，我无法提供这个。",
    ],
)
def test_refusals_are_found_wherever_they_stand(text):
    for around in (text, f"Some words before it. {text} And some after it."):
        assert scores(around)["refusal_phrases"] >= 1


@pytest.mark.parametrize(
    "text", ["As an AI language model, I think so.", "It is said:\nas a large language model I", "I'm an AI assistant", "I am an AI and so on"]
)
def test_a_model_speaking_of_itself_is_found(text):
    assert scores(text)["assistant_phrases"] >= 1


def test_openings_count_only_where_the_text_opens():
    assert scores("**Certainly!** Here's a list of rivers.")["assistant_phrases"] == 1
    assert scores("He was, certainly, here is the proof.")["assistant_phrases"] == 0
    assert scores("Great question! Rivers flow.")["assistant_phrases"] == 1
    assert scores("It was a great question at the time.")["assistant_phrases"] == 0


@pytest.mark.parametrize(
    "text", ["As of my last update in 2021, it stands.", "My knowledge cutoff is then.", "I don't have access to real-time information."]
)
def test_knowledge_that_ends_is_found(text):
    assert scores(text)["cutoff_phrases"] >= 1


@pytest.mark.parametrize(
    "text",
    [
        "done<|im_end|>",
        "<|im_start|>user\nhi",
        "[INST] go [/INST]",
        "<<SYS>> be good",
        "### Response: yes",
        "<start_of_turn>model",
        "User: hi\nAssistant: ho",
        "</think> so",
    ],
)
def test_template_marks_are_found(text):
    assert scores(f"Some words.\n{text}")["template_marks"] >= 1


@pytest.mark.parametrize(
    "text", ["the user: someone", "User: a role in the system", "in [inst] form", "a think tank", "im_end is a token", "Human: all too human"]
)
def test_words_that_look_like_template_marks_are_not(text):
    assert scores(text)["template_marks"] == 0


@pytest.mark.parametrize(
    "text", ["Dear [Recipient's Name],", "I am [Your Name].", "Hi {{name}}!", "on [insert date here]", "<your company>", "key = YOUR_API_KEY"]
)
def test_blanks_to_fill_in_are_found(text):
    assert scores(text)["placeholder_marks"] >= 1


@pytest.mark.parametrize("text", ["your name", "[1]", "[sic]", "[edit]", "insert the coin", "(see your email)", "the recipient", "<b>name</b>"])
def test_what_is_no_blank_is_not_found(text):
    assert scores(text)["placeholder_marks"] == 0


def test_every_phrase_is_found_where_it_opens_a_text():
    texts = [text for group in (REFUSALS, ASSISTANT_TALK, ASSISTANT_OPENINGS, CUTOFFS) for text in expand(group)]
    columns = SyntheticFaultsScorer().score(TextBatch.of(texts))
    sums = [sum(values) for values in zip(*(columns[f"{name}_phrases"].to_pylist() for name in ("refusal", "assistant", "cutoff")), strict=True)]
    assert [text for text, count in zip(texts, sums, strict=True) if not count] == []


def test_alternatives_expand_to_every_text_once():
    assert expand(("a (b|c) d", "(x|y|)")) == ["a b d", "a c d", "x", "y", ""]
    assert expand(("a ((b|c) d|e)",)) == ["a b d", "a e", "a c d"]


LONG = "The tide was out, and nobody had come down to the boats since noon. " * 20


@pytest.mark.parametrize(
    "text",
    [
        LONG + "It was a long way from the harbour to the top of the",
        LONG + "They had walked for hours and the rain had come and",
        "It was a long way from the harbour to the hill, said the keeper (",
        "It was a long way from the harbour to the hill, and the list holds: [",
        "1. First of all the boat\n2. Then the sail and the oars\n3.",
    ],
)
def test_texts_that_break_off_are_found(text):
    assert scores(text)["truncated_end"] == 1


def test_an_ending_in_mid_sentence_counts_from_so_many_words_on():
    for words, broken in ((MIN_BROKEN_WORDS - 1, 0), (MIN_BROKEN_WORDS, 1)):
        assert scores("boat " * (words - 1) + "the")["truncated_end"] == broken


@pytest.mark.parametrize(
    "text",
    [
        "It was a long way.",
        "It was a long way from the harbour to the hill",
        "The end of the",
        "It was a long way from the harbour to the top of the",
        LONG + "It was a long way from the harbour to the hill",
        "It was a long way from the harbour, and they had closed the inn : (",
        LONG + "They would not let us in :(",
        "What are you looking at",
        "It is over (at last)",
        "",
        "a",
        "See page 3.",
    ],
)
def test_texts_that_end_are_not(text):
    assert scores(text)["truncated_end"] == 0


@pytest.mark.parametrize("cycle", ["no ", "go on ", "the cat the dog ", "one two three four five six seven. "])
def test_loops_are_found_whatever_their_length(cycle):
    share = scores(ENGLISH + cycle * 20)["loop_char_share"]
    assert share >= 0.6 * len(cycle * 20) / len(ENGLISH + cycle * 20)
    assert scores(ENGLISH + cycle * 3)["loop_char_share"] == 0


def slow_loop(words: list[str]) -> int:
    """Words of the longest stretch with a period of up to 64 that holds four cycles or more."""
    longest = 0
    for period in range(1, 65):
        run = 0
        for place in range(period, len(words) + 1):
            if place < len(words) and words[place] == words[place - period]:
                run += 1
                continue
            if run + period >= 4 * period:
                longest = max(longest, run + period)
            run = 0
    return longest


@settings(max_examples=100)
@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_a_loop_found_is_one_and_no_longer_than_the_longest(letters):
    share = scores(" ".join(letters))["loop_char_share"]
    longest = slow_loop(letters)
    assert round(share * max(len(" ".join(letters)), 1)) <= max(2 * longest - 1, 0)
    assert not share or longest


@settings(max_examples=60)
@given(st.integers(1, 64), st.integers(6, 12))
def test_a_loop_of_different_words_is_found_nearly_whole(period, cycles):
    text = " ".join([f"w{number}" for number in range(period)] * cycles)
    assert scores(text)["loop_char_share"] > 0.99


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations([ENGLISH, GERMAN, FRENCH, RUSSIAN, CHINESE], 2)))
def test_a_switch_of_language_is_found_once(first, second):
    assert scores(first * 8 + second * 8)["language_switches"] == 1


@pytest.mark.parametrize("text", [ENGLISH, GERMAN, FRENCH, RUSSIAN, CHINESE])
def test_text_of_one_language_has_no_switch(text):
    assert scores(text * 20)["language_switches"] == 0


def test_a_quotation_is_no_switch():
    assert scores(ENGLISH * 8 + FRENCH + ENGLISH * 8)["language_switches"] == 0


def test_no_word_votes_for_two_languages():
    assert len(FUNCTION_WORDS) == 10 and all(words == words.lower() for words in FUNCTION_WORDS)


def test_lists_and_headings_are_shares_of_lines():
    assert scores("- a\n* b\n1. c\n2) d\n• e\n\nprose")["list_line_share"] == pytest.approx(5 / 6)
    assert scores("# One\n**Two**\nThree:\nprose stands here")["heading_line_share"] == pytest.approx(3 / 4)
    assert scores("- a\n- b")["list_line_share"] == 0
    assert scores("-a\n1.b\n*c*\n#d\n1234. e\n")["list_line_share"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_prose_has_no_faults(seed):
    assert faults(make_prose(seed, 150).replace("#", "").replace("\n- ", "\n").replace("\n• ", "\n")) <= {"truncated_end"}


def test_hostile_texts_have_finite_scores():
    columns = SyntheticFaultsScorer().score(TextBatch.of([*HOSTILE_TEXTS, "no " * 100_000]))
    for name, column in columns.items():
        assert column.null_count == 0 and min(column.to_pylist()) >= 0, name
        if name.endswith("share"):
            assert max(column.to_pylist()) <= 1, name
