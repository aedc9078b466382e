"""Beam steps whose work is done by the pool of processes, and the shape of every shuffle of deduplication: group, then work on whole groups.

A group may hold a shard's `DecidedShard` among values in bytes: so what concerns a shard meets the files to look it up in. This is
a join in one step where `CoGroupByKey` takes four, and each step of a Beam pipeline costs 20 ms before the first document.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms.records import DecidedShard
from transforms.spill_bytes import Spilled, count_bytes, load_bytes
from transforms.worker_pool import PoolTasks

Keyed = tuple[int, bytes | Spilled]
"""What is shuffled: arrays in bytes, or where these lie on a disk, under a partition or the index of a shard."""
Group = tuple[int, Iterable[Any]]


class PoolDo(beam.DoFn):
    """Calls `function(element, *side_inputs, *arguments)` for each element, on the pool where there is one, and yields what it returns.

    As `PoolTasks`: the function returns a list, its items are the outputs; what it raises fails the pipeline.
    """

    def __init__(self, label: str, function: Callable[..., list], *arguments: Any):
        self._label = label
        self._function = function
        self._arguments = arguments

    def start_bundle(self) -> None:
        self._tasks = PoolTasks(self._label, self._function)

    def process(self, element, *side_inputs):
        yield from self._tasks.start(element, *side_inputs, *self._arguments)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for output in self._tasks.finish():
            yield WindowedValue(output, window.max_timestamp(), [window])


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
