"""All cores of one machine, under any runner that runs in this process.

Beam's in-memory runner calls one DoFn at a time, and its own multi-processing mode hangs for ever when a worker dies.
So the command line forks a pool before the pipeline starts, and `PoolDo` (transforms/pool_steps.py) hands whole splits and
shards to it; so does a run that needs no Beam. Where no pool was started (Dataflow, Flink: each worker process has a core of
its own) the same function runs where it is called.
A pool process that dies fails its task at once; one whose parent dies ends itself within a second.
"""

import concurrent.futures
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

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

    `warm_up` runs first in this process, so that what it loads (kernels, model weights) is shared by all of them. Garbage is
    collected from here on, whoever switched that off while things were loaded.
    """
    global _pool, _pool_size
    stop_pool()
    if warm_up is not None:
        warm_up()
    # What is loaded by now stays to the end: nobody need look through it again for garbage, nor copy it into each process by doing so.
    gc.freeze()
    gc.enable()
    if num_workers < 2:
        return
    context = multiprocessing.get_context("fork")
    _pool = concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context, initializer=_watch_parent, initargs=(os.getpid(),))
    _pool_size = num_workers
    _pool.submit(_nothing).result()


def stop_pool() -> None:
    """Ends the pool, if one runs, and with it what its processes are doing: none writes any more when this returns."""
    global _pool, _pool_size
    gc.unfreeze()
    if _pool is not None:
        processes = list((_pool._processes or {}).values())
        _pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join(PARENT_CHECK_SECONDS)
    _pool, _pool_size = None, 0


def observe_results(observer: Callable[[str, Any], None] | None) -> None:
    """Calls `observer(step label, result)` for every result of a step in this process: how progress is drawn."""
    global _on_result
    _on_result = observer


class PoolTasks:
    """Calls of one function, on the pool where there is one, else here; outputs come as calls end, in any order.

    The function must live in an importable module. It returns a list: its items are the outputs. What it raises is raised
    here; a process that dies raises `WorkerDied`.
    """

    def __init__(self, label: str, function: Callable[..., list]):
        self._label = label
        self._function = function
        self._waiting: set[concurrent.futures.Future] = set()

    def start(self, *arguments: Any) -> Iterator[Any]:
        """Hands one call over and yields the outputs of calls that had to end before there was room for it."""
        if _pool is None:
            yield from self._observed(self._function(*arguments))
            return
        self._waiting.add(self._submit(arguments))
        while len(self._waiting) >= MAX_IN_FLIGHT_PER_WORKER * _pool_size:
            yield from self._collect()

    def finish(self) -> Iterator[Any]:
        """Yields the outputs of all calls that have not ended yet."""
        while self._waiting:
            yield from self._collect()

    def _submit(self, arguments: tuple) -> concurrent.futures.Future:
        try:
            return _pool.submit(self._function, *arguments)
        except BrokenProcessPool as error:
            raise WorkerDied(_died(self._label)) from error

    def _collect(self) -> Iterator[Any]:
        done, self._waiting = concurrent.futures.wait(self._waiting, return_when=concurrent.futures.FIRST_COMPLETED)
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


def run_on_pool(label: str, function: Callable[..., list], elements: Iterable[Any], *arguments: Any) -> Iterator[Any]:
    """The outputs of `function(element, *arguments)` for all elements, as `PoolTasks` gives them: one step of a run without Beam."""
    tasks = PoolTasks(label, function)
    for element in elements:
        yield from tasks.start(element, *arguments)
    yield from tasks.finish()


def _died(label: str) -> str:
    return f"a worker process died during {label!r} (killed, or out of memory); nothing was published: run again, with fewer --workers if memory was short"


def _nothing() -> None:
    return None


def _watch_parent(parent: int) -> None:
    # Ctrl-C reaches all processes of a terminal: the parent alone says what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-parent").start()
