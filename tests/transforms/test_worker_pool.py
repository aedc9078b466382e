"""The pool uses all cores, passes errors on, and never hangs when a process dies."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from transforms.pool_steps import PoolDo
from transforms.worker_pool import observe_results, start_pool, stop_pool

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.fixture(params=[0, 2], ids=["inline", "two processes"])
def pool(request):
    start_pool(request.param)
    yield request.param
    stop_pool()


def squares(element: int, times: int) -> list[int]:
    return [element * element * times]


def process_ids(element: int) -> list[int]:
    time.sleep(0.05)
    return [os.getpid()]


def fail_on_three(element: int) -> list[int]:
    if element == 3:
        raise ValueError("three is refused")
    return [element]


def die_on_three(element: int) -> list[int]:
    if element == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return [element]


def test_every_element_is_answered_once(pool):
    with beam.Pipeline(runner=RUNNER) as root:
        found = root | beam.Create(list(range(100))) | beam.ParDo(PoolDo("square", squares, 2))
        assert_that(found, equal_to([2 * n * n for n in range(100)]))


def test_side_inputs_come_before_the_fixed_arguments(pool):
    with beam.Pipeline(runner=RUNNER) as root:
        side = root | "Side" >> beam.Create([3])
        found = root | beam.Create([2]) | beam.ParDo(PoolDo("square", squares), beam.pvalue.AsSingleton(side))
        assert_that(found, equal_to([12]))


def test_two_processes_share_the_work():
    start_pool(2)
    try:
        seen = []
        observe_results(lambda label, result: seen.append(result))
        with beam.Pipeline(runner=RUNNER) as root:
            _ = root | beam.Create(list(range(12))) | beam.ParDo(PoolDo("who", process_ids))
    finally:
        observe_results(None)
        stop_pool()
    assert len(set(seen)) == 2 and os.getpid() not in seen


def test_an_error_in_a_task_fails_the_pipeline_with_its_message(pool):
    with pytest.raises(Exception, match="three is refused"), beam.Pipeline(runner=RUNNER) as root:
        _ = root | beam.Create(list(range(6))) | beam.ParDo(PoolDo("fail", fail_on_three))


def test_a_process_that_dies_fails_the_pipeline_within_a_minute():
    start_pool(2)
    began = time.monotonic()
    try:
        with pytest.raises(Exception, match="worker process died during 'die'"), beam.Pipeline(runner=RUNNER) as root:
            _ = root | beam.Create(list(range(200))) | beam.ParDo(PoolDo("die", die_on_three))
    finally:
        stop_pool()
    assert time.monotonic() - began < 60


def test_results_are_observed_with_the_label_of_their_step(pool):
    seen = []
    observe_results(lambda label, result: seen.append((label, result)))
    try:
        with beam.Pipeline(runner=RUNNER) as root:
            _ = root | beam.Create([2, 3]) | beam.ParDo(PoolDo("square", squares, 1))
    finally:
        observe_results(None)
    assert sorted(seen) == [("square", 4), ("square", 9)]


def test_processes_end_when_their_parent_is_killed(tmp_path):
    script = textwrap.dedent(
        """
        import os, sys, time
        from transforms import worker_pool
        worker_pool.start_pool(2)
        print(" ".join(str(pid) for pid in worker_pool._pool._processes), flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    )
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in children)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
