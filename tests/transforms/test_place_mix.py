"""Claims about placement: shards get what their floor allows, a split document goes where it fits, and figures of any size stay exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import decisions_of, make_documents
from transforms import place_mix, survey_mix
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import MixSettings
from transforms.place_mix import Boundaries, place_human, place_other, seek_human, seek_other, shard_caps
from transforms.plan_mix import plan_mix
from transforms.survey_mix import HUMAN, OTHER, Selection, add_up


def histogram_of(human: list[int], other: list[int]) -> np.ndarray:
    """One document a bin, in this order of placement, with these tokens."""
    codes = [HUMAN << survey_mix.BIN_BITS | index for index in range(len(human))] + [
        OTHER << survey_mix.BIN_BITS | index for index in range(len(other))
    ]
    return add_up(np.array(codes), np.array([(1, tokens, tokens) for tokens in human + other], np.int64).reshape(-1, 3))


def documents_in(histogram: np.ndarray, bins: np.ndarray) -> list[np.ndarray]:
    """The documents of `histogram_of` in these bins; addresses count them within their stratum."""
    rows = histogram[np.isin(histogram[:, 0], bins)]
    mask = (1 << survey_mix.BIN_BITS) - 1
    columns = [rows[:, 0] >> survey_mix.BIN_BITS, (rows[:, 0] & mask) << (64 - survey_mix.BIN_BITS), rows[:, 0] & mask, rows[:, 2], rows[:, 3]]
    return [np.stack([column.astype(np.uint64) for column in columns], axis=1)]


def place(human: list[int], other: list[int], mix: MixSettings):
    """Cuts for documents with these tokens, all of them chosen."""
    histogram = histogram_of(human, other)
    units = [np.array([(1, tokens, tokens) for tokens in stratum], np.int64).reshape(-1, 3) for stratum in (human, other)]
    plan = plan_mix(*units, mix)
    assert plan.selected.documents == len(human) + len(other)
    selection = Selection(plan, None, None, None, None, None)
    placement = place_human(histogram, documents_in(histogram, seek_human(histogram, selection).bins), selection)
    return place_other(histogram, documents_in(histogram, seek_other(histogram, placement).bins), placement)


def test_human_documents_are_spread_to_within_one():
    cuts = place([1] * 11, [], MixSettings(human_quota="1", num_shards=4))
    assert cuts.human_units[:, 0].tolist() == [2, 3, 3, 3]
    assert cuts.other_units.tolist() == [0, 0, 0, 0]


def test_other_text_follows_the_human_text_of_its_shard():
    cuts = place([1, 9], [1] * 10, MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2))
    assert cuts.other_units.tolist() == [1, 9]
    assert len(cuts.straddlers) == 0


def test_a_document_across_a_boundary_goes_where_it_fits():
    cuts = place([10, 10], [4, 4, 4], MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2))
    assert cuts.straddlers.tolist() == [1]
    assert cuts.straddler_shards.tolist() == [0]
    assert cuts.other_units.tolist() == [8, 4]
    assert cuts.plan.warnings == ()


def test_a_document_that_no_shard_can_hold_is_rejected_and_counted():
    cuts = place([10, 10], [8, 8, 4], MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2))
    assert cuts.straddlers.tolist() == [1]
    assert cuts.straddler_shards.tolist() == [-1]
    assert cuts.plan.other_selected.documents == 2
    assert "1 of 3 other documents find no place" in cuts.plan.warnings[-1]


def test_a_document_larger_than_every_shards_share_is_rejected_once():
    cuts = place([10] * 4, [30, 1, 1], MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=4))
    assert cuts.straddlers.tolist() == [0]
    assert cuts.straddler_shards.tolist() == [-1]
    assert cuts.other_units.sum() == 2


def test_what_the_floors_leave_no_room_for_is_rejected_from_the_end_of_the_order():
    cuts = place([1, 1, 1], [1, 1], MixSettings(human_quota="0.6", quota_unit="tokens", num_shards=3))
    assert cuts.straddlers.tolist() == [0, 1]
    assert cuts.straddler_shards.tolist() == [-1, -1]
    assert cuts.plan.other_selected.documents == 0


def test_documents_without_units_always_find_a_place():
    cuts = place([1, 1, 1], [1, 0, 0, 1, 0], MixSettings(human_quota="0.6", quota_unit="tokens", num_shards=3))
    places = dict(zip(cuts.straddlers.tolist(), cuts.straddler_shards.tolist(), strict=True))
    assert {address for address, shard in places.items() if shard < 0} == {0, 3}
    assert cuts.plan.other_selected.documents == 3


def test_units_beyond_64_bit_products_are_placed_exactly():
    big = 1 << 59
    cuts = place([big, big], [big - 1, 1, big], MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2))
    assert cuts.other_units.tolist() == [big, big]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 100))
def test_without_a_quota_caps_make_all_shards_even(human, other):
    units = np.array([(count, 0, 0) for count in sorted(human, reverse=True)], np.int64)
    spread = units[:, 0].sum()
    even = np.array([(spread * (shard + 1) // len(human) - spread * shard // len(human), 0, 0) for shard in range(len(human))])
    caps = shard_caps(even, other, MixSettings(human_quota="0"))
    totals = even[:, 0] + caps
    assert sum(caps) == other
    assert min(caps) >= 0
    assert totals.max() - totals.min() <= 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20),
)
def test_a_documents_shard_is_the_number_of_boundaries_at_or_before_it(boundaries, documents):
    boundaries = sorted(boundaries)
    keys, addresses = (np.array([pair[index] for pair in boundaries], np.uint64) for index in range(2))
    shards = Boundaries(keys, addresses).shards(*(np.array([pair[index] for pair in documents], np.uint64) for index in range(2)))
    assert shards.tolist() == [sum(boundary <= document for boundary in boundaries) for document in documents]


@given(st.integers(0, 20))
@settings(max_examples=20)
def test_placement_is_a_shuffle_unrelated_to_the_choice(seed):
    table = decisions_of(make_documents(400, "all human", seed))
    mix = MixSettings(human_quota="0.5", priority="quality", max_documents=200, num_shards=2, seed=seed)
    outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
    quality = table["quality"].to_numpy()
    means = [quality[outcome.output_shard == shard].mean() for shard in range(2)]
    assert abs(means[0] - means[1]) < 0.1


def test_an_unopened_bin_is_an_error_not_a_guess():
    with pytest.raises(RuntimeError, match="was not opened"):
        histogram = np.array([[0, 10, 10, 10], [1 << survey_mix.BIN_BITS, 10, 10, 10]])
        plan = plan_mix(np.tile([1, 1, 1], (10, 1)), np.tile([1, 1, 1], (10, 1)), MixSettings(human_quota="0.5", num_shards=2))
        place_human(histogram, [], Selection(plan, None, None, None, None, None))


def lumped(human: list[int], lumps: list[tuple[int, int]], mix: MixSettings):
    """A histogram of human documents, one a bin, and of lumps of (documents, tokens) of other text; and the placement of the human ones."""
    histogram = histogram_of(human, [tokens for _, tokens in lumps])
    histogram[len(human) :, 1] = [count for count, _ in lumps]
    units = [
        np.array([(1, tokens, tokens) for tokens in human]),
        np.concatenate([np.tile([1, size // count, size // count], (count, 1)) for count, size in lumps]),
    ]
    selection = Selection(plan_mix(*units, mix), None, None, None, None, None)
    return histogram, place_human(histogram, documents_in(histogram, seek_human(histogram, selection).bins), selection)


def test_two_documents_in_the_bin_where_a_shard_begins_are_asked_for():
    """A boundary at the very beginning of a bin is named by the first of its documents; one of a bin of one document is known."""
    mix = MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2)
    bins = [OTHER << survey_mix.BIN_BITS | index for index in range(3)]
    for lumps, wanted in (([(1, 4), (2, 4)], bins[1:2]), ([(1, 4), (1, 4)], []), ([(1, 6), (1, 2)], bins[:1]), ([(2, 6), (1, 2)], bins[:1])):
        histogram, placement = lumped([4, 4], lumps, mix)
        assert seek_other(histogram, placement).bins.tolist() == wanted


@pytest.mark.parametrize(
    ("lumps", "said"),
    [([(1, 4), (2, 4)], "a boundary between other documents lies"), ([(1, 6), (1, 2)], "a document that straddles shards lies")],
)
def test_a_boundary_in_a_bin_that_was_not_opened_is_an_error_in_other_text_too(lumps, said):
    histogram, placement = lumped([4, 4], lumps, MixSettings(human_quota="0.5", quota_unit="tokens", num_shards=2))
    with pytest.raises(RuntimeError, match=said):
        place_other(histogram, [], placement)


def test_of_documents_across_boundaries_reserved_ones_choose_first_then_the_largest_and_each_the_tightest_room():
    sizes, caps, used = np.array([5, 6, 2, 4]), (8, 7), np.array([2, 0])
    places, nothing = np.arange(4), np.zeros(4, bool)
    # 6 fits the room of 6 exactly; 5 takes 5 of 7, and 2 what is left; nothing is left for 4.
    assert place_mix._fit(places, sizes, nothing, used, caps).tolist() == [1, 0, 1, -1]
    # The reserved 4 goes first, into the tighter room, and the 6 into the other: no room for 5 then.
    assert place_mix._fit(places, sizes, np.array([False, False, False, True]), used, caps).tolist() == [-1, 1, 0, 0]
