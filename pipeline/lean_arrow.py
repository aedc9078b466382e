"""Keeps pandas out of a process that has no use for it: half a second of a remix that takes three.

pyarrow looks for pandas when it makes its first array from a Python or numpy object, and imports it if it is installed, which it is
wherever `datasets` is. Told that there is none, pyarrow does everything but `to_pandas`.
"""

import sys
from importlib.machinery import ModuleSpec

import pyarrow as pa


class _NoPandas:
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out of this process", name=name)
        return None


def leave_pandas_out() -> None:
    """Lets pyarrow find no pandas from now on, unless it already has; others may still import it. Calling it again does nothing."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
