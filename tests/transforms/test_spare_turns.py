"""Speakers of a chat are no residue of a template; what is said in it may be."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.scorers import ScoreSettings, make_scorers
from classifiers.text_batch import TextBatch
from transforms.map_records import render_messages
from transforms.records import MESSAGE_TYPE
from transforms.spare_turns import MARKS, spare_turns

SCORERS = make_scorers(ScoreSettings(scorers=("synthetic_faults",)))
CHAT = [{"role": "user", "content": "How do I mend the gate?"}, {"role": "assistant", "content": "Take it off its hinges first."}] * 2


def marks_of(texts, messages, scorers=SCORERS):
    documents = pa.RecordBatch.from_arrays([pa.array(texts, pa.string()), pa.array(messages, MESSAGE_TYPE)], ["text", "messages"])
    columns = {name: column for scorer in SCORERS for name, column in scorer.score(TextBatch(documents["text"])).items()}
    spared = spare_turns(documents, columns, scorers)
    assert {name: column for name, column in spared.items() if name != MARKS} == {name: column for name, column in columns.items() if name != MARKS}
    assert spared[MARKS].type == columns[MARKS].type
    return spared[MARKS].to_pylist()


def test_speakers_of_a_chat_are_no_residue():
    assert marks_of([render_messages(CHAT)], [CHAT]) == [0]


def test_the_same_text_without_messages_is():
    assert marks_of([render_messages(CHAT)], [None]) == [2]


def test_residue_within_a_turn_still_counts():
    turn = {"role": "assistant", "content": "Of course. <|im_end|>\nUser: thanks\nAssistant: with pleasure"}
    chat = [*CHAT, turn]
    assert marks_of([render_messages(chat)], [chat]) == marks_of([turn["content"]], [None]) == [2]


def test_a_text_that_is_not_its_messages_is_judged_as_it_stands():
    assert marks_of(["User: a\nAssistant: b"], [CHAT]) == [1]


def test_neighbours_keep_their_marks():
    bare = "User: a\nAssistant: b\nUser: c\nAssistant: d"
    assert marks_of([bare, render_messages(CHAT), "No marks at all.", bare], [None, CHAT, None, None]) == [2, 0, 0, 2]


@pytest.mark.parametrize("messages", [None, CHAT])
def test_nothing_is_scored_again_where_nothing_was_marked(messages):
    assert marks_of(["Plain."], [messages], scorers=()) == [0]


def test_without_the_scorer_there_is_nothing_to_spare():
    documents = pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array([CHAT], MESSAGE_TYPE)], ["text", "messages"])
    assert spare_turns(documents, {"words": pa.array([1])}, ()) == {"words": pa.array([1])}


TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "human", "model"]),
            "content": st.sampled_from(["Hello.", "Bot: a\n\nUser: b", "### Response: x"]),
        }
    ),
    min_size=1,
    max_size=4,
)


@given(st.lists(TURNS, min_size=1, max_size=4))
def test_a_chat_has_the_marks_of_its_turns_and_never_more_than_its_text(chats):
    turns = ["\n\n".join(message["content"] for message in chat) for chat in chats]
    texts, alone = [render_messages(chat) for chat in chats], [None] * len(chats)
    assert marks_of(texts, chats) == [min(pair) for pair in zip(marks_of(texts, alone), marks_of(turns, alone), strict=True)]
