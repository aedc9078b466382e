"""Group by key, then hand each whole group to `PoolDo`: the shape of every shuffle of deduplication.

A group may hold a shard's `DecidedShard` among values in bytes: so what concerns a shard meets the files to look it up in. This is
a join in one step where `CoGroupByKey` takes four, and each step of a Beam pipeline costs 20 ms before the first document.
"""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

from transforms.records import DecidedShard
from transforms.spill_bytes import Spilled, count_bytes, load_bytes
from transforms.worker_pool import PoolDo

Keyed = tuple[int, bytes | Spilled]
"""What is shuffled: arrays in bytes, or where these lie on a disk, under a partition or the index of a shard."""
Group = tuple[int, Iterable[Any]]


class GroupOnPool(beam.PTransform):
    """Groups (int, value) by key and calls `function((key, values), *arguments)` on the pool; takes one PCollection or several.

    `output` is the type of one output. Values come in any order: `function` must not depend on it.
    """

    def __init__(self, function: Callable[..., list], *arguments: Any, output: Any = Keyed):
        super().__init__()
        self._function, self._arguments, self._output = function, arguments, output

    def expand(self, keyed):
        if isinstance(keyed, tuple):
            keyed = keyed | "Flatten" >> beam.Flatten().with_output_types(tuple[int, Any])
        run = PoolDo(self.label, self._function, *self._arguments)
        return keyed | "Group" >> beam.GroupByKey() | "Run" >> beam.ParDo(run).with_output_types(self._output)


def key_by_shard(decided: DecidedShard) -> tuple[int, DecidedShard]:
    """The shard under its index."""
    return decided.shard.index, decided


def part_shard(group: Group) -> tuple[DecidedShard | None, list[bytes]]:
    """The decided shard and the other values of a group, read back if they were spilled; (None, []) where there are no others.

    Raises ValueError unless one shard has the index.
    """
    index, values = group
    held = list(values)
    shards = [value for value in held if isinstance(value, DecidedShard)]
    others = load_bytes(value for value in held if not isinstance(value, DecidedShard))
    if others and len(shards) != 1:
        raise ValueError(f"shard index {index} stands for {len(shards)} scored shards {[found.shard.name for found in shards]}: each needs its own")
    return (shards[0] if others else None), others


class CountItems(beam.DoFn):
    """Adds the items, of `item_bytes` each, in the bytes of each (key, value) to the Beam counter `headwater/name`, and passes it on."""

    def __init__(self, name: str, item_bytes: int):
        self._counter = beam.metrics.Metrics.counter("headwater", name)
        self._item_bytes = item_bytes

    def process(self, keyed: Keyed) -> list[Keyed]:
        self._counter.inc(count_bytes(keyed[1]) // self._item_bytes)
        return [keyed]
