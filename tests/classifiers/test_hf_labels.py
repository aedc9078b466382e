"""Which of a classifier's labels means machine-written: told from their names, or said; never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.hf_classifier import HUMAN_NAMES, MACHINE_NAMES, machine_outputs


@pytest.mark.parametrize(
    ("labels", "machine"),
    [
        (("Human", "ChatGPT"), 1),
        (("Fake", "Real"), 0),
        (("AI-generated", "human-written"), 0),
        (("HUMAN", "MACHINE_GENERATED"), 1),
        (("LABEL_0", "LABEL_1"), 1),
        (("human", "whatever"), 1),
        (("whatever", "ai"), 1),
    ],
)
def test_usual_names_tell_the_machine_label(labels, machine):
    assert machine_outputs(dict(enumerate(labels))) == (machine,)


@pytest.mark.parametrize(
    "labels",
    [("positive", "negative"), ("ai", "fake"), ("human", "real"), ("LABEL_0", "LABEL_1", "LABEL_2"), ("human", "ai", "mixed"), ("a", "b", "ai")],
)
def test_ambiguous_labels_are_named_and_asked_for(labels):
    with pytest.raises(ValueError) as raised:
        machine_outputs(dict(enumerate(labels)))
    assert ", ".join(labels) in str(raised.value) and "--ai_label" in str(raised.value)


def test_several_machine_labels_are_told_where_every_name_is_known():
    assert machine_outputs({0: "human", 1: "gpt", 2: "llm"}) == (1, 2)


def test_what_is_said_goes_before_what_is_told():
    labels = {0: "human", 1: "ai", 2: "mixed"}
    assert machine_outputs(labels, "ai,Mixed") == (1, 2)
    assert machine_outputs({0: "human", 1: "ai"}, "HUMAN") == (0,)


def test_a_label_that_the_classifier_lacks_is_named_with_those_it_has():
    with pytest.raises(ValueError, match="ai_label = 'ai,robot': the classifier has no label 'robot'; it has human, ai"):
        machine_outputs({0: "human", 1: "ai"}, "ai,robot")


def test_all_labels_cannot_be_machine():
    with pytest.raises(ValueError, match="cannot be told"):
        machine_outputs({0: "human", 1: "ai"}, "human,ai")


def test_a_single_output_is_the_machine_one():
    assert machine_outputs({0: "LABEL_0"}) == (0,) == machine_outputs({0: "score"}, "score")


@given(st.sampled_from(sorted(MACHINE_NAMES)), st.sampled_from(sorted(HUMAN_NAMES)), st.booleans(), st.sampled_from([str.upper, str.title, str]))
def test_case_and_order_do_not_matter(machine, human, first, spell):
    labels = [machine, human] if first else [human, machine]
    assert machine_outputs({index: spell(name) for index, name in enumerate(labels)}) == (0 if first else 1,)


def test_no_name_means_both():
    assert not MACHINE_NAMES & HUMAN_NAMES
