"""Decides again in a process of its own, by the path of `headwater plan`, so that the explorer's page goes on answering meanwhile.

    python -m pipeline.explore_decide FOLDER     what the explorer starts; reads FOLDER/job.json, leaves FOLDER/decided

A process, because deciding forks a pool and imports Beam: a process with threads must do neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import BY_EXIT_CODE, HeadwaterError
from pipeline.folders import Folders

JOB_FILE = "job.json"
"""Name of the file that holds the command line to decide for."""
WORST_LINES = 5
"""Lines of a failed process' own words that are kept."""


class Deciding:
    """A process that decides again. `wait` for it, or `cancel` it."""

    def __init__(self, arguments: Sequence[str], folder: str):
        """`arguments`: the `headwater plan --scored ...` whose decisions are wanted; `folder`: a new one, theirs."""
        os.makedirs(folder)
        Path(folder, JOB_FILE).write_text(json.dumps(list(arguments)), "utf-8")
        self.folder = Folders(folder).decided
        self._is_overtaken = False
        path = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.explore_decide", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is for the explorer, which ends this process itself.
            start_new_session=True,
        )

    def wait(self) -> str:
        """The folder of the decisions. Raises HeadwaterError where deciding was refused, failed or was cancelled."""
        _, said = self._process.communicate()
        code = self._process.returncode
        if self._is_overtaken:
            raise HeadwaterError("a later setting was to be decided about; change this one to decide about it again")
        if code:
            last = "\n".join(said.strip().splitlines()[-WORST_LINES:]).removeprefix("headwater: ")
            raise BY_EXIT_CODE.get(code, HeadwaterError)(last or f"deciding again ended with code {code}")
        return self.folder

    def cancel(self) -> None:
        """Ends the process; its pool ends with it."""
        if self._process.poll() is None:
            self._is_overtaken = True
            self._process.kill()


def main(folder: str) -> int:
    """Decides for the command line in `folder` and returns the exit code."""
    from pipeline.lean_imports import leave_pandas_out

    leave_pandas_out()
    from pipeline.options import parse_arguments
    from pipeline.run import complain, decide_again, detector_thresholds, remix_recipe, scored_shards

    arguments = json.loads(Path(folder, JOB_FILE).read_text("utf-8"))
    try:
        parsed = parse_arguments(arguments)
        scored = scored_shards(parsed.scored)
        recipe, detector = remix_recipe(parsed, scored[0])
        thresholds = detector_thresholds(recipe, detector)
        decide_again(parsed, tuple(arguments), scored, recipe, thresholds, Folders(folder))
    except HeadwaterError as error:
        return complain(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
