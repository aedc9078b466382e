"""Ranks within clusters: by quality and hash, kinds apart, the same however documents are parted, in a graph, without one and in memory."""

import functools
from unittest import mock

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.line_shards import Page, row_key, write_pages
from transforms import rank_documents
from transforms.decisions import read_decisions
from transforms.mix_settings import MixSettings
from transforms.near_clusters import read_near_clusters, write_near_clusters
from transforms.order_keys import MOST_RANK, quality_keys
from transforms.rank_documents import cluster_column, order_within, rank_here, rank_table, rank_within
from transforms.rank_in_clusters import RankInClusters
from transforms.records import ORIGIN_CODES, DecidedShard, Origin
from transforms.sweep_mix import read_alive_decisions

HUMAN, PRESUMED, SYNTHETIC = (ORIGIN_CODES[name] for name in (Origin.HUMAN, Origin.PRESUMED_HUMAN, Origin.SYNTHETIC))
MIX = MixSettings(priority="diverse", diverse_by="generator", seed=3)
DRAWN = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from([HUMAN, PRESUMED, SYNTHETIC]), st.sampled_from([0.0, 0.3, 1.0]), st.booleans()),
    max_size=25,
)


def make_pages(drawn) -> list[Page]:
    return [
        Page(f"d{number}", origin=origin, quality=quality, reason="gone" if is_gone and number % 3 == 0 else None, fields={"generator": cluster})
        for number, (cluster, origin, quality, is_gone) in enumerate(drawn)
    ]


def ranked_plainly(pages: list[Page], mix: MixSettings, most: int) -> dict[str, int]:
    """Living id -> rank, one cluster and kind at a time, by quality level and hash."""
    key = functools.cache(lambda page: int(order_within(*(np.array([value]) for value in (row_key(page), page.quality, page.origin)), mix)[0]))
    ranks = {}
    for page in pages:
        if page.reason is None:
            mates = [one for one in pages if one.reason is None and one.fields["generator"] == page.fields["generator"]]
            human = [one for one in mates if (key(one) < 1 << 63) == (key(page) < 1 << 63)]
            ranks[page.id] = 0 if page.fields["generator"] is None else min(most, sum(key(one) < key(page) for one in human))
    return ranks


def ranks_of(decided: list[DecidedShard]) -> dict[str, int]:
    ranks = {}
    for one in decided:
        table = read_decisions(one, ["id", "reason"], ["cluster_rank"])
        ranks |= {row["id"]: row["cluster_rank"] for row in table.to_pylist() if row["reason"] is None}
    return ranks


@given(DRAWN, st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 2, MOST_RANK]), st.booleans())
@settings(max_examples=25)
def test_however_documents_are_parted_each_has_its_place_in_its_cluster(tmp_path_factory, drawn, shards, partitions, most, presumed):
    pages = make_pages(drawn)
    mix = MixSettings(priority="diverse", diverse_by="generator", seed=3, count_presumed_human=presumed)
    folder = tmp_path_factory.mktemp("ranks")
    parted = [[page for number, page in enumerate(pages) if number % shards == shard] for shard in range(shards)]
    with mock.patch.object(rank_documents, "MOST_RANK", most):
        found = rank_here(write_pages(folder, [part for part in parted if part]), mix, None, partitions, str(folder / "work"))
    assert ranks_of(found) == ranked_plainly(pages, mix, most)


def test_the_graph_and_a_table_in_memory_rank_as_files_do(tmp_path):
    chance = np.random.default_rng(5)
    pages = [
        Page(
            f"d{number}",
            origin=int(chance.choice([HUMAN, SYNTHETIC])),
            quality=float(chance.random()),
            fields={"generator": str(chance.choice(list("abcde")))},
        )
        for number in range(200)
    ]
    decided = write_pages(tmp_path / "in", [pages[:90], pages[90:91], pages[91:]])
    expected = ranked_plainly(pages, MIX, MOST_RANK)
    for spill in (None, str(tmp_path / "spill")):
        with beam.Pipeline(FnApiRunner()) as pipeline:
            made = pipeline | beam.Create(decided, reshuffle=False) | RankInClusters(MIX, None, 3, str(tmp_path / f"out-{spill is None}"), spill)
            assert_that(made, lambda found: _check(ranks_of(found) == expected and len(found) == 3))
    alive = read_alive_decisions(decided, ["cluster_rank"], ["generator"])
    ranked = rank_table(alive, MIX)
    names = {row: page.id for row, page in zip(ranked["address"].to_pylist(), _living(decided, pages), strict=True)}
    assert {names[address]: rank for address, rank in zip(ranked["address"].to_pylist(), ranked["cluster_rank"].to_pylist(), strict=True)} == expected
    assert cluster_column("generator") in alive.column_names


def _living(decided, pages):
    held = {page.id: page for page in pages}
    return [held[name] for one in decided for name in read_decisions(one, ["id"])["id"].to_pylist()]


def _check(holds: bool) -> None:
    assert holds


def test_groups_of_near_duplicates_are_read_from_their_files(tmp_path):
    pages = [Page(f"d{number}", origin=SYNTHETIC, quality=1 - number / 10) for number in range(5)]
    (decided,) = write_pages(tmp_path, [pages])
    pairs = np.array([[0, 7], [3, 7], [4, 9]], "<u8")
    write_near_clusters(decided, [pairs[:1].tobytes(), pairs[1:].tobytes()], str(tmp_path))
    clusters, valid = read_near_clusters(decided, str(tmp_path))
    assert clusters[valid].tolist() == [7, 7, 9] and valid.tolist() == [True, False, False, True, True]
    mix = MixSettings(priority="diverse", diverse_by="near_cluster")
    found = rank_here([decided], mix, str(tmp_path), 2, str(tmp_path / "work"))
    assert ranks_of(found) == {"d0": 0, "d1": 0, "d2": 0, "d3": 1, "d4": 0}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 9)), max_size=20, unique=True), st.randoms())
def test_ranks_do_not_depend_on_the_order_of_rows(rows, chance):
    columns = np.array(rows, np.uint64).reshape(-1, 3)
    columns[:, 1] <<= np.uint64(62)
    ranks = rank_within(*columns.T)
    order = np.array(chance.sample(range(len(rows)), len(rows)), np.int64)
    assert np.array_equal(rank_within(*columns[order].T), ranks[order])
    for cluster, key, _ in columns[ranks == 0]:
        mates = columns[(columns[:, 0] == cluster) & (columns[:, 1] >> np.uint64(63) == key >> np.uint64(63))]
        assert key == mates[:, 1].min()


def test_the_best_of_a_cluster_has_rank_0():
    row_keys, qualities = np.arange(4, dtype=np.uint64), np.array([0.1, 0.9, 0.5, 0.9], np.float32)
    keys = order_within(row_keys, qualities, np.full(4, SYNTHETIC), MIX)
    ranks = rank_within(np.zeros(4, np.uint64), keys, row_keys)
    assert ranks[0] == 3 and ranks[2] == 2 and sorted(ranks[[1, 3]]) == [0, 1]
    assert (quality_keys(row_keys, qualities) >> np.uint64(56)).tolist() == [230, 25, 128, 25]


def test_a_shard_without_ranks_says_so(tmp_path):
    (decided,) = write_pages(tmp_path, [[Page("d0")]])
    with pytest.raises((OSError, ValueError)):
        read_decisions(decided, ["id"], ["cluster_rank"])
    assert pa.types.is_uint16(
        read_decisions(
            rank_here([decided], MIX.__class__(priority="diverse", diverse_by="id"), None, 1, str(tmp_path / "w"))[0], ["id"], ["cluster_rank"]
        )["cluster_rank"].type
    )
