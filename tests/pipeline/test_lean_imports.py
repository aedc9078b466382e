"""Claims about starting without pandas, each in a process of its own: what a process has imported cannot be taken back."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_arrow_imports_pandas_by_itself_and_not_when_it_is_left_out():
    make = "import sys, pyarrow as pa; {}pa.array([1, None]); print('pandas' in sys.modules)"
    assert run(make.format("")) == "True"
    assert run(make.format("from pipeline.lean_imports import leave_pandas_out; leave_pandas_out(); ")) == "False"


def test_arrays_from_numpy_and_lists_are_the_same_without_pandas():
    code = """
import numpy as np, pyarrow as pa
{}
print(pa.array([1, None]), pa.array(np.array(["a", None], dtype=object), pa.string()), pa.array(np.arange(3.0)), pa.array([{{"a": [1]}}]))
"""
    assert run(code.format("")) == run(code.format("from pipeline.lean_imports import leave_pandas_out; leave_pandas_out(); leave_pandas_out()"))


def test_others_can_still_import_pandas():
    code = """
import sys, pyarrow
from pipeline.lean_imports import leave_pandas_out
leave_pandas_out()
print([finder for finder in sys.meta_path if type(finder).__name__ == "_LeftOut"])
import pandas
print(pandas.Series([1]).sum())
"""
    assert run(code).split() == ["[]", "1"]


def test_a_remix_needs_neither_beam_nor_the_kernels_compiler():
    modules = "import sys, pipeline.run, pipeline.remix_here; print([name for name in ('apache_beam', 'numba', 'fasttext', 'torch') if name in sys.modules])"
    assert run(modules) == "[]"


def test_beam_for_local_files_runs_without_clients_of_services_and_pandas():
    code = """
import sys
from pipeline.lean_imports import import_beam_for_local_files, leave_pandas_out
leave_pandas_out()
import_beam_for_local_files()
import pipeline.run_graph
print([name for name in ("google.auth", "google.api_core", "google.cloud.storage", "apitools", "pymongo", "bson", "pandas") if name in sys.modules])
import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.testing.util import assert_that, equal_to
with beam.Pipeline(runner="apache_beam.runners.portability.fn_api_runner.FnApiRunner") as root:
    assert_that(root | beam.Create([1, 2]) | beam.Map(lambda x: x + 1), equal_to([2, 3]))
try:
    FileSystems.exists("gs://bucket/object")
except ValueError as error:
    print("unknown")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "unknown"]
    assert "bson" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), True),
        (("--human=a=gs://bucket/a.jsonl",), False),
        (("--human=a=hf://datasets/owner/name",), False),
        (("--runner=DataflowRunner",), False),
        (("--job_name=x",), False),
    ],
)
def test_googles_clients_are_left_out_only_where_every_path_is_local_and_beam_was_not_asked_for_more(monkeypatch, flags, expected):
    from pipeline import run as command
    from pipeline.options import parse_arguments

    done = []
    monkeypatch.setattr(command, "import_beam_for_local_files", lambda: done.append(True))
    line = ("curate", "--synthetic=b=b.jsonl", "--output=out", *flags)
    command._import_beam(parse_arguments(line), line)
    assert bool(done) is expected
