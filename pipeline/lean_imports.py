"""Keeps out of a process what it has no use for, and what takes longer to import than a small run takes to work.

pyarrow looks for pandas when it makes its first array from a Python or numpy object, and imports it if it is installed, which it is
wherever `datasets` is: half a second. Told that there is none, pyarrow does everything but `to_pandas`. Beam imports Google's clients
wherever its extra `gcp` is installed: another half second; MongoDB's client and Google's older ones always: a quarter. None is needed to read and write
files of this machine.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec

GOOGLE = ("google.auth", "google.api_core")
"""What all of Google's clients import; Beam takes its absence for that of the extra."""
OTHERS = ("apitools", "pymongo", "bson")
"""What Beam imports where it can, and does without where it cannot, for Google's older services and MongoDB."""


class _LeftOut:
    def __init__(self, names: tuple[str, ...]):
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is left out of this process", name=name)
        return None


@contextlib.contextmanager
def left_out(*names: str) -> Iterator[None]:
    """Within it, modules `names` that are not imported yet seem not to be installed."""
    finder = _LeftOut(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def leave_pandas_out() -> None:
    """Lets pyarrow find no pandas from now on, unless it already has; others may still import it. Calling it again does nothing."""
    with left_out("pandas"):
        import pyarrow as pa

        pa.array([0])


def import_beam_for_local_files() -> None:
    """Imports Beam, if nothing has yet, without pandas and the clients of services: gs:// and the like are then unknown to this process."""
    mongodb = logging.getLogger("apache_beam.io.mongodbio")
    level = mongodb.level
    # Its one warning as it is imported is that bson is missing.
    mongodb.setLevel(logging.ERROR)
    with left_out("pandas", *GOOGLE, *OTHERS):
        import apache_beam  # noqa: F401
    mongodb.setLevel(level)
