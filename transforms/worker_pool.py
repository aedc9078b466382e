"""All cores of one machine, under any runner that runs in this process.

Beam's in-memory runner calls one DoFn at a time, and its own multi-processing mode hangs for ever when a worker dies.
So the command line forks a pool before the pipeline starts, and `PoolDo` hands whole splits and shards to it. Where no
pool was started (Dataflow, Flink: each worker process has a core of its own) the same function runs in the DoFn.
A pool process that dies fails its task at once; one whose parent dies ends itself within a second.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

MAX_IN_FLIGHT_PER_WORKER = 4
"""Tasks handed over and not yet answered, for each process: bounds what waits in queues and in results."""
PARENT_CHECK_SECONDS = 1.0

_pool: concurrent.futures.ProcessPoolExecutor | None = None
_pool_size = 0
_on_result: Callable[[str, Any], None] | None = None


class WorkerDied(RuntimeError):
    """A pool process ended in the middle of a task: killed, or out of memory."""


def start_pool(num_workers: int, warm_up: Callable[[], None] | None = None) -> None:
    """Forks `num_workers` processes now, before the runner starts threads; 0 or 1 starts none.

    `warm_up` runs first in this process, so that what it loads (kernels, model weights) is shared by all of them.
    """
    global _pool, _pool_size
    stop_pool()
    if warm_up is not None:
        warm_up()
    if num_workers < 2:
        return
    context = multiprocessing.get_context("fork")
    _pool = concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context, initializer=_watch_parent, initargs=(os.getpid(),))
    _pool_size = num_workers
    _pool.submit(_nothing).result()


def stop_pool() -> None:
    """Ends the pool, if one runs."""
    global _pool, _pool_size
    if _pool is not None:
        _pool.shutdown(wait=False, cancel_futures=True)
    _pool, _pool_size = None, 0


def observe_results(observer: Callable[[str, Any], None] | None) -> None:
    """Calls `observer(step label, result)` for every result of a `PoolDo` in this process: how progress is drawn."""
    global _on_result
    _on_result = observer


class PoolDo(beam.DoFn):
    """Calls `function(element, *arguments)` for each element, on the pool where there is one, and yields what it returns.

    `function` must live in an importable module. It returns a list: its items are the outputs. Exceptions of the
    function fail the pipeline; a process that dies raises `WorkerDied`.
    """

    def __init__(self, label: str, function: Callable[..., list], *arguments: Any):
        self._label = label
        self._function = function
        self._arguments = arguments

    def start_bundle(self) -> None:
        self._waiting: set[concurrent.futures.Future] = set()

    def process(self, element, *side_inputs):
        if _pool is None:
            yield from self._observed(self._function(element, *side_inputs, *self._arguments))
            return
        self._waiting.add(self._submit(element, side_inputs))
        while len(self._waiting) >= MAX_IN_FLIGHT_PER_WORKER * _pool_size:
            yield from self._collect(concurrent.futures.FIRST_COMPLETED)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        while self._waiting:
            for output in self._collect(concurrent.futures.FIRST_COMPLETED):
                yield WindowedValue(output, window.max_timestamp(), [window])

    def _submit(self, element: Any, side_inputs: tuple) -> concurrent.futures.Future:
        try:
            return _pool.submit(functools.partial(self._function, element, *side_inputs, *self._arguments))
        except BrokenProcessPool as error:
            raise WorkerDied(_died(self._label)) from error

    def _collect(self, until: str) -> Iterator[Any]:
        done, self._waiting = concurrent.futures.wait(self._waiting, return_when=until)
        for future in done:
            try:
                outputs = future.result()
            except BrokenProcessPool as error:
                raise WorkerDied(_died(self._label)) from error
            yield from self._observed(outputs)

    def _observed(self, outputs: Iterable[Any]) -> Iterator[Any]:
        for output in outputs:
            if _on_result is not None:
                _on_result(self._label, output)
            yield output


def _died(label: str) -> str:
    return f"a worker process died during {label!r} (killed, or out of memory); nothing was published: run again, with fewer --workers if memory was short"


def _nothing() -> None:
    return None


def _watch_parent(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
