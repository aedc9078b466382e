"""Groups meet the shard that they are about, and only that one."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from transforms.pool_steps import GroupOnPool, key_by_shard, part_shard
from transforms.records import DecidedShard, ScoredShard

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
SHARD = DecidedShard(ScoredShard("a.parquet", "/a", 3, 7), "/a.arrow", 3)


def lengths(group, extra):
    key, values = group
    return [(key, b"".join(sorted(values)) + extra)]


def test_groups_of_several_collections_are_handed_over_whole():
    with beam.Pipeline(runner=RUNNER) as root:
        one = root | "One" >> beam.Create([(1, b"a"), (2, b"b")])
        two = root | "Two" >> beam.Create([(1, b"c")])
        found = (one, two) | "Lengths" >> GroupOnPool(lengths, b"!")
        assert_that(found, equal_to([(1, b"ac!"), (2, b"b!")]))


def test_a_shard_is_keyed_by_its_index():
    assert key_by_shard(SHARD) == (7, SHARD)


def test_a_group_parts_into_its_shard_and_the_rest():
    shard, others = part_shard((7, iter([b"x", SHARD, b"y"])))
    assert shard == SHARD and sorted(others) == [b"x", b"y"]


def test_a_shard_that_nobody_asks_about_is_left_alone():
    assert part_shard((7, [SHARD])) == (None, [])


@pytest.mark.parametrize("shards", [[], [SHARD, SHARD]])
def test_an_index_stands_for_exactly_one_shard(shards):
    with pytest.raises(ValueError, match=f"stands for {len(shards)} scored shards"):
        part_shard((7, [*shards, b"x"]))
