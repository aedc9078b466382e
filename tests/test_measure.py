"""`benchmarks.measure` counts what it says: CPU and memory of a whole process tree, orphans and short-lived processes included."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measure

BURN = "import time\nwhile time.process_time() < {}: pass\n"
ORPHAN = f"""
import os
if os.fork() == 0:
    if os.fork() == 0:
        exec({BURN.format(0.6)!r})
        os._exit(0)
    os._exit(0)
exec({BURN.format(0.2)!r})
"""
UNDER_A_POOL = f"""
import multiprocessing
def burn(_):
    exec({BURN.format(0.3)!r})
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(burn, range(2), chunksize=1)
"""


def run_python(tmp_path: Path, script: str, **kwargs) -> measure.Measured:
    path = tmp_path / "script.py"
    path.write_text(script)
    return measure.measure([sys.executable, path], **kwargs)


def test_cpu_of_an_orphaned_grandchild_is_counted(tmp_path):
    measured = run_python(tmp_path, ORPHAN)
    assert measured.cpu_s >= 0.8 * 0.99
    assert measured.killed == 0


def test_a_parents_own_accounting_misses_the_orphan(tmp_path):
    # What `time` would say: the reason why measure.py has a supervisor.
    script = f"import resource, subprocess, sys\nsubprocess.run([sys.executable, '-c', {ORPHAN!r}])\n" + (
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN)\nprint(usage.ru_utime + usage.ru_stime)"
    )
    missed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    counted = run_python(tmp_path, ORPHAN)
    assert counted.cpu_s - float(missed.stdout) > 0.3


def test_cpu_of_pool_workers_is_counted(tmp_path):
    measured = run_python(tmp_path, UNDER_A_POOL)
    assert measured.cpu_s >= 0.6 * 0.99
    assert measured.peak_processes >= 2


def test_processes_too_short_to_be_sampled_are_counted(tmp_path):
    script = f"import subprocess, sys\nfor _ in range(4): subprocess.run([sys.executable, '-S', '-c', {BURN.format(0.1)!r}])"
    measured = run_python(tmp_path, script, interval_s=30)
    assert measured.cpu_s >= 0.4 * 0.99
    assert measured.sampled_cpu_s < measured.cpu_s


def test_a_loss_of_cpu_shows_in_the_samples():
    counted = measure.Measured(("x",), 0, 1.0, 10.0, 9.0, 9.9, 1, 1, 1, 0)
    lost = measure.Measured(("x",), 0, 1.0, 5.0, 4.0, 9.9, 1, 1, 1, 0)
    assert counted.counted_all
    assert not lost.counted_all


def test_peak_memory_is_that_of_the_whole_tree(tmp_path):
    block = "held = bytearray(b'x') * (80 << 20); import time; time.sleep(1.0)"
    script = f"import subprocess, sys\nchildren = [subprocess.Popen([sys.executable, '-S', '-c', {block!r}]) for _ in range(2)]\n[c.wait() for c in children]"
    measured = run_python(tmp_path, script, interval_s=0.05)
    assert measured.peak_rss_bytes >= 2 * (80 << 20)
    assert measured.peak_pss_bytes is None or measured.peak_pss_bytes <= measured.peak_rss_bytes


def test_failure_is_an_error_that_quotes_the_output(tmp_path):
    with pytest.raises(measure.CommandFailed, match=r"exit code 3 (.|\n)*no such luck"):
        run_python(tmp_path, "import sys; print('no such luck'); sys.exit(3)")
    assert run_python(tmp_path, "import sys; sys.exit(3)", accept_failure=True).exit_code == 3


def test_measure_command_line_passes_the_exit_code_and_writes_json(tmp_path):
    figures = tmp_path / "figures.json"
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure", "--json", figures, "--", sys.executable, "-S", "-c", "raise SystemExit(5)"],
        cwd=measure.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 5
    assert "CPU" in ran.stdout
    assert json.loads(figures.read_text())["exit_code"] == 5


def test_table_is_aligned_markdown():
    lines = measure.format_table(["tool", "CPU-s"], [["a", 1], ["longer", "10.5"]]).splitlines()
    assert lines == ["| tool   | CPU-s |", "|--------|------:|", "| a      |     1 |", "| longer |  10.5 |"]


def test_machine_is_described_with_date_and_commit():
    assert {"date", "processor", "cores", "memory", "commit"} <= measure.describe_machine().keys()
