"""Documents whose lines stand in better ones go; none goes for lines that nothing kept holds; and it is the same in any order."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.line_shards import Page, find_removed, remove_plainly, write_pages
from transforms.find_repeated_lines import (
    OFFER_SCHEMA,
    FindRepeatedLines,
    SharedLines,
    choose_holders,
    emit_lines,
    find_shared,
    gather_shared,
    list_removed,
    measure_repeated,
    offer_holders,
    rank_documents,
    read_lines,
)
from transforms.packed_arrays import unpack_arrays
from transforms.records import ORIGIN_CODES, Origin

HUMAN, SYNTHETIC = ORIGIN_CODES[Origin.HUMAN], ORIGIN_CODES[Origin.SYNTHETIC]

PAGES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 11), st.integers(1, 40), max_size=7), st.integers(0, 2), st.sampled_from([0.0, 0.25, 1.0]), st.integers(0, 9)
    ),
    max_size=16,
).map(
    lambda drawn: [
        Page(f"{n:02d}", lines, origin, quality, "too_short" if dead == 0 else None) for n, (lines, origin, quality, dead) in enumerate(drawn)
    ]
)


def removed_from(pages: list[Page], limit: float, rounds: int, cuts: list[int], order: list[int]) -> dict[str, tuple[str, float]]:
    """What the pure functions make of the pages in shards, without Beam: every exchange as the transform wires it."""
    arranged = [pages[place] for place in order]
    bounds = [0, *sorted(cuts), len(arranged)]
    shards = [arranged[a:b] for a, b in itertools.pairwise(bounds)]
    held = []
    for index, shard in enumerate(shards):
        entries = [(row, line, chars) for row, page in enumerate(shard) if page.reason is None for line, chars in page.lines.items()]
        columns = (np.array([entry[place] for entry in entries], kind) for place, kind in enumerate((np.int64, np.uint64, np.int64)))
        held.append((index, tuple(columns)))
    everywhere = np.concatenate([lines for _, (_, lines, _) in held])
    distinct, counts = np.unique(everywhere, return_counts=True)
    shared = distinct[counts > 1]
    states = {}
    for index, (rows, lines, chars) in held:
        gathered = gather_shared(rows, lines, chars, shared[np.isin(shared, lines)])
        states[index] = (gathered, describe([shards[index][row] for row in gathered.rows], index, gathered.rows))
    stays = {index: np.ones(len(lines.rows), bool) for index, (lines, _) in states.items()}
    for _ in range(2 * rounds):
        offers = pa.concat_tables([OFFER_SCHEMA.empty_table(), *(offer_holders(*states[index], stays[index], index) for index in states)])
        holders = choose_holders(offers)
        for index, (lines, documents) in states.items():
            stays[index] = measure_repeated(lines, documents, holders.get(index, OFFER_SCHEMA.empty_table()))[0] <= limit
    removed = {}
    for index, (lines, documents) in states.items():
        for row in list_removed(lines, documents, holders.get(index, OFFER_SCHEMA.empty_table()), limit).to_pylist():
            removed[shards[index][row["address"] & 0xFFFFFFFF].id] = (row["partner_id"], row["value"])
    return removed


def describe(pages: list[Page], index: int, rows: np.ndarray) -> pa.Table:
    columns = {
        "address": pa.array((np.uint64(index) << np.uint64(32)) | rows.astype(np.uint64)),
        "origin": pa.array([page.origin for page in pages], pa.uint8()),
        "quality": pa.array([page.quality for page in pages], pa.float32()),
        "id": pa.array([page.id for page in pages], pa.string()),
        "row_key": pa.array(np.zeros(len(pages), np.uint64)),
    }
    return pa.table(columns)


def rounded(removed: dict[str, tuple[str, float]]) -> dict[str, tuple[str, float]]:
    return {name: (partner, pytest.approx(share, abs=1e-6)) for name, (partner, share) in removed.items()}


@settings(max_examples=50)
@given(PAGES, st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), st.data())
def test_with_rounds_enough_it_is_one_pass_from_the_best_to_the_worst(pages, limit, data):
    order = data.draw(st.permutations(range(len(pages))))
    cuts = data.draw(st.lists(st.integers(0, len(pages)), max_size=3))
    found = removed_from(pages, limit, max(1, len(pages)), cuts, order)
    assert found == rounded(remove_plainly(pages, limit))


@settings(max_examples=50)
@given(PAGES, st.sampled_from([0.0, 0.3, 0.5, 0.8]), st.integers(1, 2), st.data())
def test_whoever_goes_has_its_share_in_better_documents_that_stay(pages, limit, rounds, data):
    order = data.draw(st.permutations(range(len(pages))))
    found = removed_from(pages, limit, rounds, [len(pages) // 2], order)
    assert found == removed_from(pages, limit, rounds, [], list(range(len(pages))))
    assert found.keys() <= remove_plainly(pages, limit).keys()
    rank = {page.id: (page.origin, -page.quality, page.id) for page in pages}
    kept = [page for page in pages if page.reason is None and page.id not in found]
    for page in pages:
        if page.id in found:
            safe = {line for other in kept if rank[other.id] < rank[page.id] for line in other.lines}
            assert sum(chars for line, chars in page.lines.items() if line in safe) > limit * sum(page.lines.values())
            partner, share = found[page.id]
            assert partner in {other.id for other in kept} and rank[partner] < rank[page.id] and share > limit


@settings(max_examples=25)
@given(PAGES, st.sampled_from([0.3, 0.5]))
def test_a_second_pass_removes_nothing(pages, limit):
    found = removed_from(pages, limit, max(1, len(pages)), [], list(range(len(pages))))
    left = [page if page.id not in found else dataclasses.replace(page, reason="repeated_lines_elsewhere") for page in pages]
    assert removed_from(left, limit, 2, [], list(range(len(left)))) == {}


@pytest.mark.parametrize("num_partitions", [1, 7])
def test_the_human_copy_of_a_line_stands(tmp_path, num_partitions):
    notice = {1: 50, 2: 30}
    pages = [
        [Page("a-model", {**notice, 3: 20}, SYNTHETIC, 1.0), Page("other", {4: 10})],
        [Page("z-human", {**notice, 5: 300}, HUMAN, 0.1)],
        [],
    ]
    found = find_removed(FindRepeatedLines(0.5, str(tmp_path / "work"), num_partitions), write_pages(tmp_path, pages), pages)
    assert found == {"a-model": ("z-human", pytest.approx(0.8))}


def test_who_goes_for_its_lines_makes_no_other_lose_theirs(tmp_path):
    # `middle` loses to `best`, so `last`, whose line stands in `middle` alone, stays.
    pages = [[Page("best", {1: 60, 9: 100}, quality=1.0), Page("middle", {1: 60, 2: 40}, quality=0.5)], [Page("last", {2: 40, 3: 10}, quality=0.1)]]
    found = find_removed(FindRepeatedLines(0.5, str(tmp_path / "work")), write_pages(tmp_path, pages), pages)
    assert set(found) == {"middle"}


def test_the_partner_holds_most_of_what_is_lost(tmp_path):
    pages = [
        [Page("few", {1: 10, 7: 99}, quality=1.0), Page("most", {2: 30, 3: 30, 8: 99}, quality=0.9)],
        [Page("lost", {1: 10, 2: 30, 3: 30, 4: 20}, quality=0.1)],
    ]
    found = find_removed(FindRepeatedLines(0.5, str(tmp_path / "work")), write_pages(tmp_path, pages), pages)
    assert found == {"lost": ("most", pytest.approx(70 / 90))}


def test_the_limit_itself_is_allowed(tmp_path):
    pages = [[Page("a", {1: 50, 2: 50}), Page("b", {1: 50, 3: 50})]]
    decided = write_pages(tmp_path, pages)
    assert find_removed(FindRepeatedLines(0.5, str(tmp_path / "work")), decided, pages) == {}
    assert set(find_removed(FindRepeatedLines(0.49, str(tmp_path / "more")), decided, pages)) == {"b"}


def test_a_rejected_document_holds_no_line(tmp_path):
    pages = [[Page("dead", {1: 50}, quality=1.0, reason="too_short"), Page("alive", {1: 50})]]
    assert find_removed(FindRepeatedLines(0.1, str(tmp_path / "work")), write_pages(tmp_path, pages), pages) == {}


@pytest.mark.parametrize("spill", [False, True])
def test_beam_finds_what_the_pure_functions_find_in_any_order(tmp_path, spill):
    random = np.random.default_rng(3)
    pages = [
        Page(
            f"{n:03d}", {int(line): int(line) % 37 + 3 for line in random.integers(0, 120, 8)}, int(random.integers(3)), float(random.integers(3)) / 2
        )
        for n in range(80)
    ]
    expected = rounded(remove_plainly(pages, 0.5))
    assert 10 < len(expected) < 70
    for name, order in (("as they are", range(80)), ("shuffled", random.permutation(80))):
        arranged = [pages[place] for place in order]
        shards = [arranged[:11], arranged[11:12], arranged[12:]]
        folder = tmp_path / name
        transform = FindRepeatedLines(0.5, str(folder / "work"), 5, rounds=6, spill_folder=str(folder / "spill") if spill else None)
        assert find_removed(transform, write_pages(folder, shards), shards) == expected
    assert (tmp_path / "shuffled" / "spill").exists() == spill


def test_a_line_that_every_document_holds_costs_a_row_a_shard(tmp_path):
    pages = [[Page(f"{shard}-{n:04d}", {1: 5, 1_000 + 500 * shard + n: 60}) for n in range(400)] for shard in range(3)]
    decided = write_pages(tmp_path, pages)
    emitted = [value for shard in decided for _, value in emit_lines(shard, 1)]
    assert sum(len(unpack_arrays(value, "<u8", "<u8", "u1")[1]) for value in emitted) == 3 * 401
    shared = dict(find_shared(emitted))
    assert {shard: len(held) // 8 for shard, held in shared.items()} == {0: 1, 1: 1, 2: 1}
    offers = []
    for shard, held in zip(decided, shared.values(), strict=True):
        lines = gather_shared(*read_lines(shard), np.frombuffer(held, "<u8"))
        offers.append(offer_holders(lines, describe(pages[shard.shard.index], shard.shard.index, lines.rows), np.ones(400, bool), shard.shard.index))
    assert [offer.num_rows for offer in offers] == [1, 1, 1]
    holders = choose_holders(pa.concat_tables(offers))
    assert {shard: table["id"].to_pylist() for shard, table in holders.items()} == {index: ["0-0000"] for index in range(3)}
    assert find_removed(FindRepeatedLines(0.5, str(tmp_path / "work")), decided, pages) == {}


@given(PAGES)
@settings(max_examples=30)
def test_lines_survive_being_packed(pages):
    entries = [(row, line, chars) for row, page in enumerate(pages) for line, chars in page.lines.items()]
    rows, lines, chars = (np.array([entry[place] for entry in entries], kind) for place, kind in enumerate((np.int64, np.uint64, np.int64)))
    held = gather_shared(rows, lines, chars, np.arange(0, 12, 2, dtype=np.uint64))
    back = SharedLines.unpack(held.pack())
    for name in ("hashes", "rows", "totals", "line", "document", "chars"):
        assert getattr(back, name).tolist() == getattr(held, name).tolist()
    totals = {row: sum(page.lines.values()) for row, page in enumerate(pages) if any(line % 2 == 0 for line in page.lines)}
    assert dict(zip(held.rows.tolist(), held.totals.tolist(), strict=True)) == totals


def test_ranks_are_equal_for_one_document_alone():
    documents = describe(
        [Page("b", quality=0.5), Page("a", quality=0.5), Page("c", origin=2, quality=1.0), Page("b", quality=0.5)], 0, np.array([5, 6, 7, 5])
    )
    assert rank_documents(documents).tolist() == [1, 0, 2, 1]
    assert rank_documents(documents.slice(0, 0)).tolist() == []


def test_no_shards_and_empty_shards_lose_nothing(tmp_path):
    assert find_removed(FindRepeatedLines(0.5, str(tmp_path)), [], []) == {}
    pages = [[], [Page("a", {})], [Page("b", {1: 3})]]
    assert find_removed(FindRepeatedLines(0.0, str(tmp_path / "work")), write_pages(tmp_path, pages), pages) == {}


def test_shards_without_the_scores_say_what_to_do(tmp_path):
    (decided,) = write_pages(tmp_path, [[Page("a", {1: 2})]])
    pa.parquet.write_table(pa.table({"text": ["x"]}), decided.shard.path)
    with pytest.raises(ValueError, match=r"0000\.parquet: holds no line_hashes; score again with `line_hashes`"):
        read_lines(decided)


@pytest.mark.parametrize(
    ("arguments", "message"), [((1.5, "w"), "max_share must lie in 0 to 1"), ((0.5, "w", 0), "at least 1"), ((0.5, "w", 1, 0), "at least 1")]
)
def test_impossible_settings_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        FindRepeatedLines(*arguments)
