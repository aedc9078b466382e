"""Claims about groups as they are asked for: what is accepted, in which order they stand, and how a mistake is said."""

from fractions import Fraction

import pytest

from transforms.group_settings import MOST_GROUPS, Group, parent_places
from transforms.mix_settings import MixSettings

GERMAN = 'language == "de"'


def test_shares_and_weights_are_exact_fractions():
    group = Group("german", GERMAN, share=0.1)
    assert group.share == Fraction(1, 10) and Group("german", GERMAN, min_share="1/3").min_share == Fraction(1, 3)
    assert Group("german", GERMAN, weight=2.5).weight == Fraction(5, 2)


def test_parents_stand_before_their_groups_whatever_the_order():
    tables = {"c": {"where": "true", "within": "b"}, "b": {"where": "true", "within": "z"}, "z": {"where": "true"}, "a": {"where": "true"}}
    groups = MixSettings(groups=tables).groups
    assert [group.name for group in groups] == ["a", "z", "b", "c"] and parent_places(groups) == [-1, -1, 1, 2]
    assert MixSettings(groups=groups).groups == MixSettings(groups=dict(reversed(tables.items()))).groups == groups


def test_what_is_asked_is_said_in_words():
    group = Group("poems", GERMAN, "german", min_share="1/3", max_share=0.5, max_documents=30_000)
    assert group.asked == "min_share = 1/3, max_share = 0.5, max_documents = 30,000 of german"
    assert Group("poems", GERMAN).asked == ""


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"a b": {"where": GERMAN}}, "groups.a b: must be named by a word"),
        ({"a": {}}, "groups.a: names no documents; a group needs where"),
        ({"a": {"where": "language = 'de'"}}, "groups.a.where = \"language = 'de'\": is no comparison"),
        ({"a": {"where": GERMAN, "share": 1.5}}, "groups.a.share = 1.5: must be a number in 0..1"),
        ({"a": {"where": GERMAN, "share": "much"}}, "groups.a.share = 'much': must be a number"),
        ({"a": {"where": GERMAN, "share": True}}, "groups.a.share = True: must be a number"),
        ({"a": {"where": GERMAN, "shares": 1}}, "groups.a.shares: no such key; known: where, within, share"),
        ({"a": {"where": GERMAN, "weight": 0}}, "groups.a.weight = 0: must be above 0"),
        ({"a": {"where": GERMAN, "documents": -1}}, "groups.a.documents = -1: must be a whole number"),
        ({"a": {"where": GERMAN, "max_tokens": 1.5}}, "groups.a.max_tokens = 1.5: must be a whole number"),
        ({"a": {"where": GERMAN, "share": 0.5, "min_share": 0.1}}, "groups.a.share = 0.5: must be given without min_share and max_share"),
        ({"a": {"where": GERMAN, "min_documents": 5, "max_documents": 4}}, "groups.a.min_documents = 5: must be at most max_documents"),
        ({"a": {"where": GERMAN, "within": "b"}}, "groups.a.within = 'b': must be the name of a group; there are a"),
        ({"a": {"where": GERMAN, "within": "a"}}, "a group lies within itself"),
        ({"a": {"where": GERMAN, "within": "b"}, "b": {"where": GERMAN, "within": "a"}}, "a group lies within itself"),
        ({f"g{n}": {"where": GERMAN} for n in range(MOST_GROUPS + 1)}, "groups: 41 are given, at most 40 can be"),
    ],
)
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(tables, said):
    with pytest.raises(ValueError) as raised:
        MixSettings(groups=tables)
    assert said in str(raised.value)


def test_groups_and_reserves_share_the_bits_there_are():
    with pytest.raises(ValueError, match="with 1 reserves there are more than 40"):
        MixSettings(groups={f"g{n}": {"where": GERMAN} for n in range(MOST_GROUPS)}, reserve={"task.a": 1})


def test_two_groups_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two have one name"):
        MixSettings(groups=(Group("a", GERMAN), Group("a", "true")))
