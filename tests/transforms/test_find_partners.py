"""The kernels agree with the plain rule, and stay cheap where nearly all members of a large group survive."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.shard_files import HASHES
from transforms.find_partners import compare_all, compare_by_word, find_partners, number_words


def template(members, share, seed=0):
    """Signatures of pages of one template: each keeps all but about `share` of its bytes."""
    random = np.random.default_rng(seed)
    changed = random.random((members, HASHES)) < share
    return np.where(changed, random.integers(1, 256, (members, HASHES)), 0).astype(np.uint8)


def partners_of(signatures, needed, by_word):
    partners, agreeing = np.full(len(signatures), -1), np.zeros(len(signatures), np.int64)
    if by_word:
        compare_by_word(signatures, number_words(signatures), needed, partners, agreeing)
    else:
        compare_all(signatures, np.array([0]), np.array([len(signatures)]), needed, partners, agreeing)
    return partners, agreeing


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_large_group_with_few_survivors_is_compared_in_full(share):
    signatures = template(3_000, share)
    plain, by_word = (partners_of(signatures, 79, way) for way in (False, True))
    assert np.array_equal(plain[0], by_word[0])
    assert np.array_equal(plain[1], by_word[1])


def test_copies_are_found_in_a_large_group_of_many_survivors():
    """Pages of one template, each unlike the others but for a copy of half of them that differs in three bytes."""
    pages = template(4_000, 0.25)
    copies = pages[:2_000].copy()
    copies[:, [3, 50, 90]] += 1
    partners, agreeing = partners_of(np.concatenate([pages, copies]), 79, by_word=True)
    survived = partners[:4_000] < 0
    assert survived.mean() > 0.9
    assert (partners[4_000:][survived[:2_000]] >= 0).all()
    held = np.concatenate([pages, copies])
    for row in np.flatnonzero(partners >= 0)[::50]:
        assert partners[partners[row]] < 0
        assert (held[row] == held[partners[row]]).sum() == agreeing[row] >= 79


def test_large_and_small_groups_go_together(monkeypatch):
    signatures = template(300, 0.08)
    ends = np.array([0, 40, 140, 140, 150, 300])
    plain = find_partners(signatures, ends, 79)
    monkeypatch.setattr("transforms.find_partners.LARGE_GROUP_MEMBERS", 50)
    assert np.array_equal(find_partners(signatures, ends, 79), plain)
    groups = np.repeat(np.arange(5), np.diff(ends))
    removed = np.flatnonzero(plain[0] >= 0)
    assert len(removed) > 200
    assert (groups[removed] == groups[plain[0][removed]]).all()


def test_no_rows_have_no_partners():
    partners, agreeing = find_partners(np.zeros((0, HASHES), np.uint8), np.zeros(1, np.int64), 79)
    assert len(partners) == len(agreeing) == 0


@given(st.integers(1, 30), st.integers(0, 20))
def test_words_are_numbered_apart_at_each_place(hashes, members):
    signatures = np.random.default_rng(0).integers(0, 2, (members, hashes), np.uint8)
    numbers = number_words(signatures)
    assert numbers.shape == (members, -(-hashes // 8))
    named = {}
    for row in range(members):
        for place, number in enumerate(numbers[row].tolist()):
            word = (place, signatures[row, 8 * place : 8 * place + 8].tobytes())
            assert named.setdefault(number, word) == word
    assert sorted(named) == list(range(len(set(named.values()))))
