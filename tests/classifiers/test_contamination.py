from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import contamination
from classifiers.contamination import ContaminationScorer, EvaluationIndex, build_index, count_words, keep_index
from classifiers.contamination_fields import BY, FIELDS, NGRAMS, SHARE
from classifiers.evaluation_sets import EvaluationSets, SetRead, parse_set
from classifiers.scorers import ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

SETS = EvaluationSets(("quiz=quiz.jsonl",))


def scorer(items: list[list[str]], sets: EvaluationSets = SETS) -> ContaminationScorer:
    """The scorer of an evaluation set whose items have these fields; item n is `quiz/n`."""
    texts = [text for item in items for text in item]
    owners = [number for number, item in enumerate(items) for _ in item]
    index = build_index(texts, owners, [f"quiz/{number}" for number in range(len(items))], sets)
    return ContaminationScorer(replace(sets, digest=keep_index(index)))


def found(made: ContaminationScorer, *texts: str) -> list[tuple]:
    columns = made.score(TextBatch.of(texts))
    return list(zip(*(columns[name].to_pylist() for name in (NGRAMS, SHARE, BY)), strict=True))


WORDS = [f"w{number}" for number in range(60)]
QUESTION = " ".join(WORDS[:20])


def test_thirteen_words_in_a_row_are_a_hit_and_twelve_are_none():
    made = scorer([[QUESTION]])
    assert found(made, "so " + " ".join(WORDS[3:16]) + " end") == [(1, np.float32(1 / 8), "quiz/0")]
    assert found(made, " ".join(WORDS[3:15])) == [(0, 0.0, None)]
    assert found(made, QUESTION) == [(8, 1.0, "quiz/0")]


def test_case_and_punctuation_do_not_hide_a_hit():
    text = "; ".join(QUESTION.upper().split()) + "!"
    assert found(scorer([[QUESTION]]), f"«{text}»") == [(8, 1.0, "quiz/0")]


def test_han_text_is_sought_character_by_character():
    made = scorer([["这是一个用来测试模型是否见过答案的问题"]])
    assert found(made, "他说：这是一个用来测试模型是否见过答案的问题。")[0][1:] == (1.0, "quiz/0")


def test_an_ngram_repeated_in_a_document_counts_once():
    assert found(scorer([[QUESTION]]), " and ".join([QUESTION] * 3)) == [(8, 1.0, "quiz/0")]


def test_no_ngram_spans_two_fields_of_an_item():
    made = scorer([[" ".join(WORDS[:7]), " ".join(WORDS[7:14])]])
    assert found(made, " ".join(WORDS[:14])) == [(0, 0.0, None)]


def test_a_short_field_is_sought_as_a_whole_and_a_shorter_one_is_not():
    made = scorer([[" ".join(WORDS[:8])], [" ".join(WORDS[20:27])]])
    assert found(made, "x " + " ".join(WORDS[:8]) + " y", " ".join(WORDS[:7]), " ".join(WORDS[20:27])) == [
        (1, 1.0, "quiz/0"),
        (0, 0.0, None),
        (0, 0.0, None),
    ]
    none = scorer([[" ".join(WORDS[:8])]], replace(SETS, min_item_words=13))
    assert found(none, " ".join(WORDS[:8])) == [(0, 0.0, None)]


def test_the_item_named_is_that_of_the_largest_share_then_of_most_ngrams_then_the_first():
    long, short = " ".join(WORDS[:40]), " ".join(WORDS[40:54])
    made = scorer([[long], [short]])
    assert found(made, " ".join(WORDS[:20]) + " x " + short) == [(10, 1.0, "quiz/1")]
    assert found(made, long + " x " + short)[0][1:] == (1.0, "quiz/0")
    equal = scorer([[" ".join(WORDS[:14])], [short]])
    assert found(equal, short + " x " + " ".join(WORDS[:14]))[0][1:] == (1.0, "quiz/0")


def test_an_ngram_of_several_items_counts_for_the_first():
    made = scorer([[QUESTION], [QUESTION + " and so on it goes"]])
    assert found(made, QUESTION) == [(8, 1.0, "quiz/0")]
    assert found(made, QUESTION + " and so on it goes")[0][2] == "quiz/0"


def test_prompts_that_many_items_share_are_left_out():
    prompt = " ".join(WORDS[:15])
    items = [[f"{prompt} " + " ".join(f"q{number}x{place}" for place in range(14))] for number in range(11)]
    assert found(scorer(items), prompt) == [(0, 0.0, None)]
    assert found(scorer(items), items[7][0])[0][1:] == (1.0, "quiz/7")
    assert found(scorer(items, replace(SETS, common_ngram_items=0)), prompt)[0][0] == 3
    assert found(scorer(items[:10]), prompt)[0][0] == 3


def slow(items: list[list[str]], text: str, sets: EvaluationSets) -> tuple:
    """What is found, in plain Python, over sets of tuples of words."""
    holders: dict[tuple, list[int]] = {}
    for number, item in enumerate(items):
        for field in item:
            words = field.split()
            size = sets.ngram_words if len(words) >= sets.ngram_words else len(words)
            if len(words) < min(sets.min_item_words, sets.ngram_words):
                continue
            for place in range(len(words) - size + 1):
                holders.setdefault(tuple(words[place : place + size]), []).append(number)
    kept = {gram: who[0] for gram, who in holders.items() if not sets.common_ngram_items or len(set(who)) <= sets.common_ngram_items}
    words = text.split()
    hits = {gram for gram in kept if any(tuple(words[place : place + len(gram)]) == gram for place in range(len(words)))}
    owned = [sum(owner == number for owner in kept.values()) for number in range(len(items))]
    own = [sum(kept[gram] == number for gram in hits) for number in range(len(items))]
    best = max((number for number in range(len(items)) if own[number]), key=lambda n: (own[n] / owned[n], own[n], -n), default=None)
    return (0, 0.0, None) if best is None else (len(hits), np.float32(own[best] / owned[best]), f"quiz/{best}")


few_words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)
settings_of_sets = st.builds(
    lambda ngram, least, common: replace(SETS, ngram_words=ngram, min_item_words=least, common_ngram_items=common),
    st.integers(1, 5), st.integers(1, 6), st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(st.lists(few_words, min_size=1, max_size=2), min_size=1, max_size=4), st.lists(few_words, min_size=1, max_size=4), settings_of_sets)
def test_what_is_found_is_what_a_slow_search_finds(items, texts, sets):
    made = scorer(items, sets)
    assert found(made, *texts) == [slow(items, text, sets) for text in texts]


@settings(max_examples=30)
@given(st.lists(any_texts, min_size=1, max_size=5), st.integers(0, 4), st.integers(0, 4))
def test_a_text_is_found_whatever_its_batch(texts, begin, length):
    made = scorer([[make_prose(1, 60)], ["one two three four five six seven eight"], [HOSTILE_TEXTS[7]]])
    array = pa.array(texts, pa.string())
    whole = pa.table(made.score(TextBatch(array)))
    assert pa.table(made.score(TextBatch(array.slice(begin, length)))).equals(whole.slice(begin, length))


def test_equal_hashes_of_ngrams_are_told_apart_by_their_words(monkeypatch):
    # All n-grams in one slot of the table and the bitmap: what is left is the comparison word by word.
    index = build_index([QUESTION, " ".join(WORDS[20:40])], [0, 1], ["quiz/0", "quiz/1"], SETS)
    other = build_index([" ".join(WORDS[40:60])], [0], ["quiz/x"], SETS)
    forged = replace(index, hashes=np.resize(other.hashes, len(index.hashes)))
    made = ContaminationScorer(replace(SETS, digest=keep_index(forged)))
    assert found(made, " ".join(WORDS[40:60])) == [(0, 0.0, None)]


def test_an_index_survives_its_file_and_its_digest_tells_indexes_apart():
    index = build_index([QUESTION], [0], ["quiz/ä"], SETS)
    again = EvaluationIndex.from_bytes(index.to_bytes())
    assert again.digest == index.digest and again.labels.equals(index.labels) and np.array_equal(again.hashes, index.hashes)
    others = [build_index([QUESTION], [0], ["quiz/b"], SETS), build_index([QUESTION], [0], ["quiz/ä"], replace(SETS, ngram_words=12))]
    assert len({index.digest, *(other.digest for other in others)}) == 3
    assert QUESTION.encode() not in index.to_bytes()


def test_sets_without_an_ngram_find_nothing():
    assert found(scorer([["too short"]]), "too short", "") == [(0, 0.0, None)] * 2


def test_items_out_of_order_are_refused():
    with pytest.raises(ValueError, match="in the order of their items"):
        build_index([QUESTION, QUESTION], [1, 0], ["a", "b"], SETS)


def test_words_are_counted_as_ngrams_count_them():
    assert count_words(["one, two - three!", "", "漢字"]).tolist() == [3, 0, 2]


def test_the_scorer_joins_the_others_where_there_are_sets():
    index = build_index([QUESTION], [0], ["quiz/0"], SETS)
    chosen = ScoreSettings(scorers=("size",), evaluation=replace(SETS, digest=keep_index(index)))
    columns = score(make_scorers(chosen), TextBatch.of([QUESTION]))
    assert list(columns) == score_fields(chosen).names == ["words", "tokens", "bytes", *FIELDS.names]
    assert index.digest in make_scorers(chosen)[-1].version
    assert not set(FIELDS.names) & set(score_fields(ScoreSettings(scorers=("size",))).names)


def test_an_index_that_was_not_loaded_is_an_error_not_an_empty_one():
    with pytest.raises(ValueError, match="has not been loaded"):
        ContaminationScorer(replace(SETS, digest="0" * 32))


def test_only_one_index_is_held():
    keep_index(build_index([QUESTION], [0], ["a/0"], SETS))
    last = keep_index(build_index([QUESTION], [0], ["b/0"], SETS))
    assert list(contamination._indexes) == [last]


def test_settings_survive_storage_without_the_place_of_the_index():
    read = SetRead("quiz", 3, 2, 1, 0, (("quiz.jsonl", "ab"),))
    chosen = ScoreSettings(evaluation=replace(SETS, digest="d", read=(read,), index="/somewhere"))
    stored = chosen.stored()
    assert ScoreSettings(**stored) == replace(chosen, evaluation=replace(chosen.evaluation, index=""))
    assert "/somewhere" not in repr(stored) and hash(ScoreSettings(**stored)) and "evaluation" not in ScoreSettings().stored()


@pytest.mark.parametrize("argument", ["quiz", "=a.jsonl", "quiz=", "a/b=c.jsonl", " =x"])
def test_a_set_is_a_name_and_a_pattern(argument):
    with pytest.raises(ValueError, match="write NAME=GLOB"):
        parse_set(argument)


@pytest.mark.parametrize(
    "changed",
    [
        {"ngram_words": 0},
        {"ngram_words": 65},
        {"ngram_words": True},
        {"min_item_words": 0},
        {"common_ngram_items": -1},
        {"fields": "text"},
        {"sets": ("a=b", "a=c")},
    ],
)
def test_bad_settings_are_refused_by_name(changed):
    with pytest.raises(ValueError, match=f"decontaminate.{next(iter(changed))}"):
        replace(SETS, **changed)
