"""Of the documents with one key the best N stay: in any order, for any cut into shards, and at a bounded cost for a key that all have."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.line_shards import Page, find_removed, rank, row_key, write_pages
from transforms.cap_keys import (
    CAP_ORDER,
    KEY_ORDER,
    OFFER_SCHEMA,
    CapKeys,
    WriteClusters,
    choose_kept,
    count_keys,
    find_full,
    list_over,
    living_keys,
    offer_best,
    write_clusters,
)
from transforms.packed_arrays import unpack_arrays
from transforms.records import ORIGIN_CODES, Origin

HUMAN, SYNTHETIC = ORIGIN_CODES[Origin.HUMAN], ORIGIN_CODES[Origin.SYNTHETIC]
DRAWN = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0])), max_size=20)


def capped_plainly(pages: list[Page], limit: int, order=rank, origins=()) -> dict[str, tuple[str, float]]:
    """Removed id -> (best of its key, documents with its key), one key at a time."""
    taking_part = [page for page in pages if page.reason is None and page.fields.get("generator") and (not origins or page.origin in origins)]
    removed = {}
    for key, count in Counter(page.fields["generator"] for page in taking_part).items():
        ordered = sorted((page for page in taking_part if page.fields["generator"] == key), key=order)
        removed |= {page.id: (ordered[0].id, float(count)) for page in ordered[limit:]}
    return removed


def by_hash(page: Page) -> tuple:
    return (page.origin, -page.quality, row_key(page))


def capped_purely(pages: list[Page], limit: int, cuts: list[int], order: list[int]) -> dict[str, tuple[str, float]]:
    """What the pure functions make of the pages in shards."""
    arranged = [pages[place] for place in order]
    bounds = [0, *sorted(cuts), len(arranged)]
    shards = [arranged[a:b] for a, b in itertools.pairwise(bounds)]
    keyed = {index: (np.arange(len(held)), np.array([page.fields["key"] for page in held], np.uint64)) for index, held in enumerate(shards)}
    emitted = [value for index, (_, hashes) in keyed.items() for _, value in count_keys(index, hashes, 1)]
    full = {index: np.frombuffer(value, "<u8").reshape(-1, 2) for index, value in find_full(emitted, limit)} if emitted else {}
    offers = [OFFER_SCHEMA.empty_table()]
    for index, held in full.items():
        totals = dict(held.tolist())
        offered = [(page, row) for row, page in enumerate(shards[index]) if page.fields["key"] in totals]
        columns = {
            "key": pa.array([page.fields["key"] for page, _ in offered], pa.uint64()),
            "shard": pa.array([index] * len(offered), pa.uint32()),
            "documents": pa.array([totals[page.fields["key"]] for page, _ in offered], pa.int64()),
            "address": pa.array([index << 32 | row for _, row in offered], pa.uint64()),
            "origin": pa.array([page.origin for page, _ in offered], pa.uint8()),
            "quality": pa.array([page.quality for page, _ in offered], pa.float32()),
            "id": pa.array([page.id for page, _ in offered], pa.string()),
            "row_key": pa.array([row_key(page) for page, _ in offered], pa.uint64()),
        }
        offers.append(offer_best(pa.table(columns, schema=OFFER_SCHEMA), limit, KEY_ORDER))
    removed = {}
    for index, verdicts in choose_kept(pa.concat_tables(offers).combine_chunks(), limit, KEY_ORDER).items():
        for row in list_over(*keyed[index], index, verdicts).to_pylist():
            removed[shards[index][row["address"] & 0xFFFFFFFF].id] = (row["partner_id"], row["value"])
    return removed


@settings(max_examples=60)
@given(DRAWN, st.integers(1, 3), st.data())
def test_the_best_of_each_key_stay_for_any_order_and_cut(drawn, limit, data):
    pages = [
        Page(f"{n:02d}", origin=origin, quality=quality, fields={"key": key, "generator": f"g{key}"})
        for n, (key, origin, quality) in enumerate(drawn)
    ]
    order = data.draw(st.permutations(range(len(pages))))
    cuts = data.draw(st.lists(st.integers(0, len(pages)), max_size=3))
    removed = capped_purely(pages, limit, cuts, order)
    assert removed == capped_plainly(pages, limit)
    left = [page for page in pages if page.id not in removed]
    assert capped_purely(left, limit, [], list(range(len(left)))) == {}


@pytest.mark.parametrize("num_partitions", [1, 5])
def test_beam_keeps_the_best_in_any_order_of_shards(tmp_path, num_partitions):
    random = np.random.default_rng(1)
    pages = [
        Page(f"{n:03d}", origin=int(random.integers(3)), quality=float(random.integers(3)) / 2, fields={"generator": f"g{int(random.integers(12))}"})
        for n in range(90)
    ]
    pages += [Page("no key", quality=1.0, fields={"generator": None}), Page("dead", quality=1.0, reason="too_short", fields={"generator": "g1"})]
    for name, order in (("as they are", range(92)), ("shuffled", random.permutation(92))):
        arranged = [pages[place] for place in order]
        shards = [arranged[:30], arranged[30:31], arranged[31:]]
        decided = write_pages(tmp_path / name, shards)
        for limit, order_by, plain in ((1, KEY_ORDER, rank), (3, CAP_ORDER, by_hash)):
            transform = CapKeys("generator", limit, order=order_by, num_partitions=num_partitions)
            assert find_removed(transform, decided, shards) == capped_plainly(pages, limit, plain)


def test_a_cap_on_synthetic_text_neither_counts_nor_removes_human_text(tmp_path):
    pages = [
        [Page(f"h{n}", origin=HUMAN, fields={"generator": "same"}) for n in range(3)],
        [Page(f"s{n}", origin=SYNTHETIC, quality=n / 4, fields={"generator": "same"}) for n in range(4)],
    ]
    found = find_removed(CapKeys("generator", 2, [Origin.SYNTHETIC]), write_pages(tmp_path, pages), pages)
    assert found == {"s0": ("s3", 4.0), "s1": ("s3", 4.0)}


def test_a_second_pass_removes_nothing(tmp_path):
    pages = [[Page(f"{n}", quality=n / 9, fields={"generator": f"g{n % 2}"}) for n in range(9)]]
    found = find_removed(CapKeys("generator", 2), write_pages(tmp_path / "first", pages), pages)
    assert len(found) == 5
    left = [[dataclasses.replace(page, reason="over_cap") if page.id in found else page for page in pages[0]]]
    assert find_removed(CapKeys("generator", 2), write_pages(tmp_path / "second", left), left) == {}


def test_names_do_not_decide_who_stays_under_a_cap(tmp_path):
    pages = [[Page(f"{model}-{n}", fields={"generator": f"prompt {n}"}) for n in range(40) for model in ("a-model", "z-model")]]
    removed = find_removed(CapKeys("generator", 1), write_pages(tmp_path, pages), pages)
    assert 8 < sum(name.startswith("a-") for name in removed) < 32


def test_a_key_that_all_documents_have_costs_its_limit_a_shard(tmp_path):
    pages = [[Page(f"{shard}-{n:04d}", fields={"generator": "hot"}) for n in range(500)] for shard in range(3)]
    decided = write_pages(tmp_path, pages)
    emitted = [value for shard in decided for _, value in count_keys(shard.shard.index, living_keys(shard, "generator", ())[1], 4)]
    assert [unpack_arrays(value, "<u8", "<u8", "<u8")[2].tolist() for value in emitted] == [[500]] * 3
    found = find_removed(CapKeys("generator", 2), decided, pages)
    assert len(found) == 1498 and set(found.values()) == {(min((p for s in pages for p in s), key=by_hash).id, 1500.0)}


def test_clusters_written_by_address_are_a_key(tmp_path):
    pages = [[Page("a"), Page("b"), Page("c")], [Page("d"), Page("e")], []]
    decided = write_pages(tmp_path, pages)
    pairs = {0: [(0, 9), (2, 9)], 1: [(1 << 32, 9), ((1 << 32) + 1, 4)]}
    folder = str(tmp_path / "clusters")
    for shard in decided:
        held = np.array(pairs.get(shard.shard.index, []), "<u8").reshape(-1, 2)
        values = [shard, held.tobytes()] if len(held) else [shard]
        assert write_clusters((shard.shard.index, values), folder) == [shard]
    assert [living_keys(shard, "near_cluster", (), folder)[0].tolist() for shard in decided] == [[0, 2], [0, 1], []]
    removed = find_removed(CapKeys("near_cluster", 1, order=KEY_ORDER, clusters=folder), decided, pages)
    assert removed == {"c": ("a", 3.0), "d": ("a", 3.0)}
    assert WriteClusters(folder) is not None


def test_a_key_that_nothing_has_removes_nothing(tmp_path):
    pages = [[Page("a", fields={"generator": "x"})], []]
    assert find_removed(CapKeys("id", 1), write_pages(tmp_path, pages), pages) == {}
    assert find_removed(CapKeys("id", 1), [], []) == {}


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": 1, "num_partitions": 0}])
def test_impossible_settings_are_an_error(arguments):
    with pytest.raises(ValueError, match="limit and num_partitions must be at least 1"):
        CapKeys("url", **arguments)
