"""Who stays in a group of duplicates, and that every removed document lost to one that is really like it."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signature import estimate_jaccard
from tests.transforms.shard_files import HASHES
from transforms.choose_survivors import choose_survivors, estimate_by_agreeing
from transforms.fixed_columns import fixed_binary_array
from transforms.records import DUPLICATE_SCHEMA, ORIGIN_CODES, Origin

BEST = {"group": 1, "origin": 0, "quality": 0.5, "id": "b", "row_key": 5, "address": 9}


def table(members, signatures=None):
    """Members (dicts) as `choose_survivors` takes them."""
    schema = {"group": pa.uint64(), "origin": pa.uint8(), "quality": pa.float32(), "id": pa.string(), "row_key": pa.uint64(), "address": pa.uint64()}
    columns = {name: pa.array([member[name] for member in members], kind) for name, kind in schema.items()}
    if signatures is not None:
        columns["signature"] = fixed_binary_array(np.array(signatures, np.uint8).reshape(len(members), HASHES))
    return pa.table(columns)


def removed_by(members, signatures=None, min_similarity=None):
    """Removed address -> (partner address, partner id, similarity)."""
    found = choose_survivors(table(members, signatures), min_similarity)
    assert found.schema == DUPLICATE_SCHEMA
    return {row["address"]: (row["partner_address"], row["partner_id"], row["similarity"]) for row in found.to_pylist()}


def choose_plainly(members, signatures, min_similarity):
    """The rule of `choose_survivors` one pair at a time."""
    ranked = sorted(
        range(len(members)), key=lambda m: (members[m]["origin"], -members[m]["quality"], members[m]["id"].encode(), members[m]["address"])
    )
    survivors, removed = {}, {}
    for member in ranked:
        best = None
        for survivor in survivors.setdefault(members[member]["group"], []):
            found = estimate_jaccard(signatures[None, member], signatures[None, survivor])[0]
            if found >= np.float32(min_similarity) and (best is None or found > best[1]):
                best = (survivor, found)
        if best is None:
            survivors[members[member]["group"]].append(member)
        else:
            removed[members[member]["address"]] = (members[best[0]]["address"], members[best[0]]["id"], best[1])
    return removed


@pytest.mark.parametrize(
    ("field", "worse"),
    [
        ("origin", 1),
        ("origin", 2),
        ("quality", 0.4),
        ("quality", None),
        ("quality", float("nan")),
        ("id", "ba"),
        ("id", "ä"),
        ("row_key", 6),
        ("address", 10),
    ],
)
def test_the_better_one_survives_in_each_field_of_the_order(field, worse):
    other = BEST | {"address": 8} | {field: worse}
    if field == "address":
        other = BEST | {"address": worse}
    # The worse member is better in every later field: an earlier one decides.
    later = ["origin", "quality", "id", "row_key", "address"]
    for name in later[later.index(field) + 1 :]:
        other[name] = {"quality": 0.9, "id": "a", "row_key": 1, "address": 8}[name]
    expected = {other["address"]: (BEST["address"], BEST["id"], 1.0)}
    assert removed_by([BEST, other]) == expected
    assert removed_by([other, BEST]) == expected
    assert removed_by([other, BEST], np.zeros((2, HASHES)), 0.7) == expected


def test_human_text_survives_before_presumed_human_before_synthetic():
    origins = [Origin.SYNTHETIC, Origin.HUMAN, Origin.PRESUMED_HUMAN]
    members = [BEST | {"origin": ORIGIN_CODES[origin], "address": address} for address, origin in enumerate(origins)]
    assert {address: partner for address, (partner, _, _) in removed_by(members).items()} == {0: 1, 2: 1}
    assert {address: partner for address, (partner, _, _) in removed_by([members[0], members[2]]).items()} == {0: 2}


def test_groups_do_not_touch_each_other():
    members = [BEST | {"group": group, "address": 10 * group + place} for group in (3, 1, 2) for place in range(3)]
    expected = {10 * group + place: (10 * group, "b", 1.0) for group in (1, 2, 3) for place in (1, 2)}
    assert removed_by(members) == expected
    assert removed_by(members, np.zeros((9, HASHES)), 0.7) == expected


def test_a_chain_of_small_changes_keeps_its_far_ends():
    # Each link changes ten bytes of 112 more: neighbours are .91 alike, the ends not at all.
    signatures = [[1] * 10 * link + [0] * (HASHES - 10 * link) for link in range(12)]
    members = [BEST | {"id": f"{link:02}", "address": link} for link in range(12)]
    removed = removed_by(members, signatures, 0.7)
    assert {address: partner for address, (partner, _, _) in removed.items()} == {1: 0, 2: 0, 3: 0, 5: 4, 6: 4, 7: 4, 9: 8, 10: 8, 11: 8}
    assert all(similarity >= 0.7 for _, _, similarity in removed.values())


def test_the_partner_is_the_most_similar_survivor_and_of_equals_the_first():
    signatures = np.zeros((4, HASHES), np.uint8)
    signatures[1, :40] = 1  # .64 like the first: both survive
    signatures[2, :25] = 1  # 15 bytes from the second, 25 from the first
    signatures[3, :20] = 1  # 20 from both
    members = [BEST | {"id": str(place), "address": place} for place in range(4)]
    assert {address: partner for address, (partner, _, _) in removed_by(members, signatures, 0.7).items()} == {2: 1, 3: 0}


def test_a_hundred_thousand_alike_documents_have_one_survivor():
    n = 100_000
    random = np.random.default_rng(0)
    signatures = np.zeros((n, HASHES), np.uint8)
    signatures[np.arange(n), random.integers(0, HASHES, n)] = 1
    columns = {
        "group": np.zeros(n, np.uint64),
        "origin": np.ones(n, np.uint8),
        "quality": np.zeros(n, np.float32),
        "row_key": np.arange(n, dtype=np.uint64),
    }
    columns |= {"id": [f"{place:06}" for place in random.permutation(n)], "address": np.arange(n, dtype=np.uint64)}
    found = choose_survivors(pa.table(columns | {"signature": fixed_binary_array(signatures)}), 0.7)
    assert found.num_rows == n - 1
    assert found["partner_id"].unique().to_pylist() == ["000000"]


@st.composite
def groups(draw):
    n = draw(st.integers(0, 25))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    bases = random.integers(0, 3, (2, HASHES), np.uint8)
    signatures = np.where(random.random((n, HASHES)) < random.random((n, 1)) * 0.4, 9, bases[random.integers(0, 2, n)]).astype(np.uint8)
    members = [
        {"group": int(random.integers(3)), "origin": int(random.integers(3)), "quality": float(np.float32(random.integers(3) / 4))}
        | {"id": f"é{random.integers(5)}", "row_key": 0, "address": address}
        for address in range(n)
    ]
    return members, signatures, draw(st.permutations(range(n)))


@given(groups(), st.sampled_from([0.5, 0.7, 0.85, 1.0]))
def test_the_choice_is_the_plain_rule_in_any_order(drawn, min_similarity):
    members, signatures, order = drawn
    expected = choose_plainly(members, signatures, min_similarity)
    assert removed_by(members, signatures, min_similarity) == expected
    assert removed_by([members[place] for place in order], signatures[list(order)], min_similarity) == expected


@given(groups())
def test_survivors_of_a_group_are_unlike_and_choosing_again_removes_nothing(drawn):
    members, signatures, _ = drawn
    removed = removed_by(members, signatures, 0.7)
    kept = [place for place, member in enumerate(members) if member["address"] not in removed]
    assert removed_by([members[place] for place in kept], signatures[kept], 0.7) == {}
    assert {partner for partner, _, _ in removed.values()} <= {members[place]["address"] for place in kept}


@pytest.mark.parametrize("hashes", [1, 20, 112, 450])
def test_the_table_of_estimates_is_that_of_the_estimator(hashes):
    estimates = estimate_by_agreeing(hashes)
    assert estimates[0] == 0
    assert estimates[-1] == 1
    assert (np.diff(estimates) >= 0).all()
    other = np.zeros((1, hashes), np.uint8)
    other[0, : hashes // 3] = 1
    assert estimates[hashes - hashes // 3] == estimate_jaccard(np.zeros((1, hashes), np.uint8), other)[0]


def test_no_members_are_no_duplicates():
    assert removed_by([]) == {}
    assert removed_by([], np.zeros((0, HASHES)), 0.7) == {}
