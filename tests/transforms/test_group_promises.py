"""Promises over cells are exact to the last unit, and written as whoever asked for them wrote them."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.group_members import FRESH_BIT, HUMAN_BIT
from transforms.group_promises import Cells, Row, at_least, at_most, counts_documents_only, make_promises, say, sibling_weights
from transforms.group_settings import MOST_GROUPS
from transforms.mix_settings import MixSettings

SHARES = st.fractions(0, 1, max_denominator=1_000)
AMOUNTS = st.lists(st.integers(0, 1 << 45), min_size=1, max_size=4)


def cells_of(patterns, documents, largest=10) -> Cells:
    amounts = np.array([(count, 10 * count, 40 * count) for count in documents], np.int64).reshape(-1, 3)
    return Cells(np.array(patterns, np.int64), amounts, np.tile(np.array([1, largest, 4 * largest]), (len(patterns), 1)))


@given(AMOUNTS, SHARES, st.data())
def test_a_share_is_kept_exactly_when_the_fraction_says_so(amounts, share, data):
    part = np.array(data.draw(st.lists(st.booleans(), min_size=len(amounts), max_size=len(amounts))))
    held = np.zeros((len(amounts), 3), np.int64)
    held[:, 2] = amounts
    of_part, of_all = sum(n for n, one in zip(amounts, part, strict=True) if one), sum(amounts)
    everything = np.ones(len(amounts), bool)
    low, high = at_least(part, everything, share, 2), at_most(part, everything, share, 2)
    assert (low.excess(held) <= 0) == (of_part >= share * of_all)
    assert (high.excess(held) <= 0) == (of_part <= share * of_all)
    assert low.excess(held) == share.numerator * of_all - share.denominator * of_part == -high.excess(held)
    # A tolerance of one denominator is one unit of the part.
    loose = at_least(part, everything, share, 2, share.denominator)
    assert (loose.excess(held) <= 0) == (of_part + 1 >= share * of_all)


def test_amounts_beyond_64_bits_together_are_counted_without_overflow():
    row = Row(np.array([1 << 40, 1 << 40]), 0, 0)
    assert row.excess(np.full((2, 3), 1 << 40, np.int64)) == 1 << 81


@given(st.fractions(0, 1, max_denominator=10_000))
def test_a_share_that_is_said_is_the_share(share):
    assert Fraction(say(share)) == share


def test_shares_are_said_short_where_that_is_exact():
    assert [say(Fraction(one)) for one in ("0.4", "1", "0", "1/3", "0.0001", "0.123456789")] == ["0.4", "1", "0", "1/3", "0.0001", "123456789/1000000000"]


def test_the_last_group_has_a_bit_of_its_own():
    cells = cells_of([0, 1 << (2 + MOST_GROUPS - 1), 1 << (2 + MOST_GROUPS - 2)], [1, 1, 1])
    assert cells.of_bit(MOST_GROUPS - 1).tolist() == [False, True, False] and cells.of_bit(MOST_GROUPS - 2).tolist() == [False, False, True]
    assert cells.largest_of(cells.of_bit(0), 1) == 0 and cells.largest_of(cells.of_bit(MOST_GROUPS - 1), 1) == 10


MIX = {
    "human_quota": "0.5",
    "min_fresh_human": "0.25",
    "max_documents": 1_000,
    "reserve": {"task.code": 3},
    "groups": {
        "a": {"where": "quality >= 0.5", "share": "0.4"},
        "b": {"where": "quality < 0.5", "within": "a", "min_documents": 2, "max_tokens": 1_500},
    },
}


def test_promises_are_named_as_they_were_written_and_in_a_fixed_order():
    cells = cells_of([0, HUMAN_BIT, HUMAN_BIT | FRESH_BIT, HUMAN_BIT | 4, 4 | 8, 16], [5, 5, 5, 5, 5, 5])
    names = [promise.name for promise in make_promises(cells, MixSettings(**MIX))]
    assert names == [
        "human_quota = 0.5",
        "min_fresh_human = 0.25",
        "max_documents = 1,000",
        "groups.a.share = 0.4",
        "groups.b.min_documents = 2",
        "groups.b.max_tokens = 1,500",
        "reserve.task.code = 3",
    ]
    reordered = MIX | {"groups": dict(reversed(MIX["groups"].items()))}
    assert [promise.name for promise in make_promises(cells, MixSettings(**reordered))] == names
    of_all = make_promises(cells, MixSettings(**MIX, fresh_share_of="all"))
    assert of_all[1].name == "min_fresh_human = 0.25 of all"


def test_text_without_a_token_needs_a_human_document_beside_it():
    cells = cells_of([0, HUMAN_BIT], [7, 1])
    (quota,) = make_promises(cells, MixSettings(human_quota="0.5", quota_unit="tokens"))
    assert not quota.is_kept(np.array([[7, 0, 70], [0, 0, 0]]))
    assert quota.is_kept(np.array([[7, 0, 70], [1, 0, 0]])) and quota.is_kept(np.zeros((2, 3), np.int64))


def test_an_exact_share_bends_by_less_than_a_document_or_by_the_largest_one():
    cells = cells_of([HUMAN_BIT, HUMAN_BIT | 4], [50, 50], largest=10)
    groups = {"a": {"where": "quality >= 0.5", "share": "1/3"}}
    (share,) = make_promises(cells, MixSettings(human_quota=0, groups=groups, quota_unit="documents"))
    kept = [count for count in range(11) if share.is_kept(np.array([[10 - count, 0, 0], [count, 0, 0]]))]
    assert kept == [3, 4]
    (share,) = make_promises(cells, MixSettings(human_quota=0, groups=groups, quota_unit="tokens"))
    kept = [count for count in range(91) if share.is_kept(np.array([[0, 90 - count, 0], [0, count, 0]]))]
    assert kept == list(range(20, 41))


def test_only_tokens_and_bytes_are_planned_in_parts():
    whole = {"human_quota": 0, "quota_unit": "documents"}
    assert counts_documents_only(MixSettings(**whole)) and not counts_documents_only(MixSettings(**whole | {"quota_unit": "bytes"}))
    assert not counts_documents_only(MixSettings(**whole, max_tokens=5))
    assert not counts_documents_only(MixSettings(**whole, groups={"a": {"where": "quality >= 0.5", "max_tokens": 4}}))
    assert counts_documents_only(MixSettings(**whole, groups={"a": {"where": "quality >= 0.5", "max_documents": 4}}))


def test_a_weight_needs_a_sibling_to_share_with():
    cells = cells_of([4, 8, 4 | 16], [1, 1, 1])
    groups = {"a": {"where": "quality >= 0.5", "weight": 2}, "b": {"where": "quality < 0.5", "weight": 1}, "c": {"where": "words > 3", "within": "a", "weight": 9}}
    ((first, second),) = sibling_weights(cells, MixSettings(groups=groups).groups)
    assert (first[1], second[1]) == (2, 1) and first[0].tolist() == [True, False, True] and second[0].tolist() == [False, True, False]
