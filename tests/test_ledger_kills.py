"""Runs of the command line that are killed while they publish, or race: the benchmark's checks, at a few points."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deltalake")

ROOT = Path(__file__).resolve().parents[1]
# In a process of its own: what is forked must not inherit the threads of a library that other tests have used.
PROGRAM = """
import sys
from pathlib import Path

from benchmarks.ledger_kills import run_kills, run_race
from tests.texts import prose

root = Path(sys.argv[1])
human, synthetic = ([prose(seed, 80) for seed in range(first, first + count)] for first, count in ((0, 24), (1000, 12)))
killed = run_kills(2, human, synthetic, root)
assert [one.faults for one in killed] == [()] * 2, killed
assert [one.had_published for one in killed] == [False, True], killed
# What the two cycles offered shares half of the synthetic texts.
codes, faults = run_race(root / "first" / "out" / "scored", root / "second" / "out" / "scored", root / "race")
assert faults == [] and codes == (0, 7), (codes, faults)
"""


def test_killed_and_racing_runs_leave_ledger_and_datasets_in_agreement(tmp_path):
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
