import numpy as np
import pytest
from hypothesis import given, settings

from classifiers.datatrove_words import TOKEN_END, sentence_marks, split_as_datatrove, split_chunk, splitter_version, words_of
from classifiers.text_batch import TextBatch
from classifiers.words import KIND_LETTERS, KIND_SYMBOL, KIND_WORD
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts


def tokens_of(text: str) -> list[str]:
    batch = TextBatch.of(["one two", text])
    words = batch.derive(split_as_datatrove)
    return [bytes(batch.utf8[words.begins[piece] : words.ends[piece]]).decode() for piece in range(words.offsets[1], words.offsets[2])]


# What spaCy 3.8 makes of these, read off its own tokenizer.
@pytest.mark.parametrize(
    ("chunk", "tokens"),
    [
        ("don't", ["do", "n't"]),
        ("dont", ["do", "nt"]),
        ("cannot", ["can", "not"]),
        ("(don't)", ["(", "do", "n't", ")"]),
        ("Mr.", ["Mr."]),
        ("end.", ["end", "."]),
        ("U.S.", ["U.S."]),
        ("e.g.,", ["e.g.", ","]),
        ("well-known", ["well", "-", "known"]),
        ("3-4", ["3", "-", "4"]),
        ("$5.50", ["$", "5.50"]),
        ("10km", ["10", "km"]),
        ("wait...what", ["wait", "...", "what"]),
        ("me...dont", ["me", "...", "dont"]),
        ("...dont", ["...", "do", "nt"]),
        ("http://a.org/b-c?d=e", ["http://a.org/b-c?d=e"]),
        ("joe@x.org", ["joe@x.org"]),
        (":)", [":)"]),
        ("BC):**", ["BC", "):", "*", "*"]),
        ("Message-Id:", ["Message", "-", "Id", ":"]),
        ("and/or", ["and/or"]),
        ("black/white", ["black", "/", "white"]),
        ("it's", ["it", "'s"]),
        ("dogs'", ["dogs", "'"]),
        ("“quoted”", ["“", "quoted", "”"]),
    ],
)
def test_runs_split_as_spacy_splits_them(chunk, tokens):
    assert split_chunk(chunk) == tokens
    assert tokens_of(chunk) == tokens


@settings(max_examples=100)
@given(any_texts)
def test_tokens_are_the_text_without_its_white_space(text):
    assert "".join(tokens_of(text)) == "".join(text.split())


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_texts_are_split(text):
    assert "".join(tokens_of(text)) == "".join(text.split())


@settings(max_examples=100)
@given(any_texts)
def test_a_token_never_crosses_white_space_and_counts_code_points(text):
    batch = TextBatch.of([text])
    words = batch.derive(split_as_datatrove)
    tokens = tokens_of(text)
    assert words.chars.tolist() == [len(token) for token in tokens]
    assert all(not any(character.isspace() for character in token) for token in tokens)


def test_equal_tokens_have_equal_hashes_and_others_do_not():
    words = TextBatch.of(["cat dog cat Cat"]).derive(split_as_datatrove)
    assert words.exact[0] == words.exact[2] and len(set(words.exact.tolist())) == 3


def test_kinds_follow_datatroves_punctuation():
    words = TextBatch.of(["word 42 , … 漢 x1 ' '"]).derive(split_as_datatrove)
    assert words.kinds.tolist() == [KIND_LETTERS, KIND_WORD, KIND_SYMBOL, KIND_SYMBOL, KIND_LETTERS, KIND_LETTERS, KIND_SYMBOL, KIND_SYMBOL]
    assert words.counts.tolist() == [4]


def test_sentences_end_at_full_stops_that_stand_alone():
    batch = TextBatch.of(["Mr. Ames went. Did he?"])
    ends = sentence_marks(batch) & TOKEN_END != 0
    assert np.flatnonzero(ends).tolist() == [3, 6]


def test_a_split_once_made_is_made_again_the_same():
    batch = TextBatch.of(["don't stop, e.g. at 10km"])
    first, second = batch.derive(split_as_datatrove), TextBatch.of(["don't stop, e.g. at 10km"]).derive(split_as_datatrove)
    assert first.begins.tolist() == second.begins.tolist() and first.exact.tolist() == second.exact.tolist()


def test_words_of_gives_the_words_asked_for():
    batch = TextBatch.of(["don't"])
    assert words_of(batch, "headwater") is batch.words
    assert len(words_of(batch, "datatrove").begins) == 2
    assert splitter_version("headwater") != splitter_version("datatrove")
    with pytest.raises(ValueError, match="not 'nltk'"):
        splitter_version("nltk")


def test_an_empty_batch_has_no_words():
    assert len(TextBatch.of([]).derive(split_as_datatrove).begins) == 0
    assert TextBatch.of([" ", ""]).derive(split_as_datatrove).counts.tolist() == [0, 0]
