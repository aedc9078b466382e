import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.phrases import Phrase, compile_phrases, find_phrases
from classifiers.text_batch import TextBatch
from classifiers.words import KIND_SYMBOL


def found(text: str, *phrases: Phrase) -> list[tuple[int, str]]:
    batch = TextBatch.of(["nothing here", text])
    hits = find_phrases(batch, compile_phrases(phrases))
    assert set(hits.text.tolist()) <= {1}
    return [(int(group), bytes(batch.utf8[begin:end]).decode()) for group, begin, end in zip(hits.group, hits.begin, hits.end, strict=True)]


@pytest.mark.parametrize("text", ["As an AI model", "as AN ai MODEL", "as\nan   ai\tmodel", "**as an** 'ai' model", "as, an (ai) model!"])
def test_case_space_and_punctuation_do_not_matter(text):
    assert len(found(text, Phrase(3, "as an ai model"))) == 1


@pytest.mark.parametrize("text", ["as an ai", "as an aim model", "has an ai model", "as an AI (see below, in part two) model", "model ai an as"])
def test_words_must_be_whole_and_in_order(text):
    assert found(text, Phrase(0, "as an ai model")) == []


def test_at_most_two_runs_of_symbols_stand_between_words():
    assert found("one - ... two", Phrase(0, "one two"))
    assert not found("one - ... ! two", Phrase(0, "one two"))


def test_typographic_apostrophes_are_apostrophes():
    assert found("I can’t do that", Phrase(0, "can't do")) == [(0, "can’t do")]


def test_overlapping_phrases_are_all_found():
    phrases = (Phrase(0, "a b"), Phrase(1, "a b c"), Phrase(2, "b c"), Phrase(3, "b"))
    assert sorted(found("a b c", *phrases)) == [(0, "a b"), (1, "a b c"), (2, "b c"), (3, "b")]


def test_two_phrases_of_the_same_words_are_two_hits():
    assert found("go on", Phrase(0, "go on"), Phrase(5, "go on")) == [(0, "go on"), (5, "go on")]


def test_a_phrase_may_be_bound_to_the_beginning_of_the_text():
    phrase = Phrase(0, "sure", starts_text=True)
    assert found('  "Sure", he said', phrase) and found("sure", phrase)
    assert not found("not sure", phrase) and not found("well\nsure", phrase)


def test_a_phrase_may_be_bound_to_the_beginning_of_a_line():
    phrase = Phrase(0, "user", starts_line=True, before=":")
    assert len(found("User: hi\n> user: ho\nthe user: no\nuser is\n", phrase)) == 2


def test_what_stands_right_before_and_after_can_be_asked_for():
    phrase = Phrase(0, "im_end", after="<|", before="|>")
    assert found("<|im_end|>", phrase) and not found("im_end", phrase) and not found("<| im_end|>", phrase) and not found("<|im_end", phrase)
    assert not found("<|im_end|", phrase)


def test_case_counts_where_asked_for():
    phrase = Phrase(0, "INST", exact=True, after="[", before="]")
    assert found("[INST]", phrase) and not found("[Inst]", phrase) and not found("[inst]", phrase)


def test_ideographs_are_words_of_a_phrase():
    assert found("我是，人工智能。", Phrase(0, "人工智能")) == [(0, "人工智能")]


def test_more_hits_than_were_expected_are_all_given():
    batch = TextBatch.of(["go " * 3_000, "go"])
    hits = find_phrases(batch, compile_phrases([Phrase(2, "go")]))
    assert hits.count(2, 2).tolist() == [3_000, 1]
    assert hits.count(2, 1).tolist() == [0, 0]


def test_a_phrase_without_words_is_refused():
    with pytest.raises(ValueError, match=r"'\.\.\.' holds no word"):
        compile_phrases([Phrase(0, "...")])


def slow_hits(text: str, phrases: list[list[str]]) -> list[tuple[int, int]]:
    """Place of the first word and number of each phrase that stands in `text`, by comparing lists."""
    words, data = TextBatch.of([text]).words, text.encode()
    pieces = [data[b:e].decode().lower() if kind != KIND_SYMBOL else None for b, e, kind in zip(words.begins, words.ends, words.kinds, strict=True)]
    found = []
    for place, piece in enumerate(pieces):
        for number, phrase in enumerate(phrases):
            at, matched = place, piece is not None and piece == phrase[0]
            for word in phrase[1:]:
                skipped = 0
                at += 1
                while matched and at < len(pieces) and pieces[at] is None and skipped < 2:
                    at, skipped = at + 1, skipped + 1
                matched = matched and at < len(pieces) and pieces[at] == word
            if matched:
                found.append((int(words.begins[place]), number))
    return sorted(found)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "A", ".", "-", "!?", "x"]), max_size=30).map(" ".join),
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=5),
)
def test_the_trie_finds_what_comparing_every_phrase_everywhere_finds(text, phrases):
    batch = TextBatch.of([text])
    hits = find_phrases(batch, compile_phrases([Phrase(number, " ".join(phrase)) for number, phrase in enumerate(phrases)]))
    assert sorted(zip(hits.begin.tolist(), hits.group.tolist(), strict=True)) == slow_hits(text, phrases)
