"""Claims about starting without pandas, each in a process of its own: what a process has imported cannot be taken back."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_arrow_imports_pandas_by_itself_and_not_when_it_is_left_out():
    make = "import sys, pyarrow as pa; {}pa.array([1, None]); print('pandas' in sys.modules)"
    assert run(make.format("")) == "True"
    assert run(make.format("from pipeline.lean_arrow import leave_pandas_out; leave_pandas_out(); ")) == "False"


def test_arrays_from_numpy_and_lists_are_the_same_without_pandas():
    code = """
import numpy as np, pyarrow as pa
{}
print(pa.array([1, None]), pa.array(np.array(["a", None], dtype=object), pa.string()), pa.array(np.arange(3.0)), pa.array([{{"a": [1]}}]))
"""
    assert run(code.format("")) == run(code.format("from pipeline.lean_arrow import leave_pandas_out; leave_pandas_out(); leave_pandas_out()"))


def test_others_can_still_import_pandas():
    code = """
import sys, pyarrow
from pipeline.lean_arrow import leave_pandas_out
leave_pandas_out()
print([finder for finder in sys.meta_path if type(finder).__name__ == "_NoPandas"])
import pandas
print(pandas.Series([1]).sum())
"""
    assert run(code).split() == ["[]", "1"]


def test_a_remix_needs_neither_beam_nor_the_kernels_compiler():
    modules = "import sys, pipeline.run, pipeline.remix_here; print([name for name in ('apache_beam', 'numba', 'fasttext', 'torch') if name in sys.modules])"
    assert run(modules) == "[]"
