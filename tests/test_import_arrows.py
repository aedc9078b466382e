"""The shape of the tree: imports point one way, schemas depend on nothing of ours, and files stay small enough to keep in the head."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "transforms", "classifiers")
FORBIDDEN = {
    "classifiers": {"transforms", "pipeline", "apache_beam"},
    "transforms": {"pipeline"},
    "pipeline": set(),
}
MAX_LINES = 400


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imported(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Top-level names that a file imports, wherever the import stands, with their lines; relative ones resolve to `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (package if node.level else (node.module or "").split(".")[0]), node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                literal = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
                if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                    yield literal.value.split(".")[0], node.lineno


def arrows(path: Path) -> list[tuple[str, int]]:
    return list(imported(ast.parse(path.read_text("utf-8")), path.relative_to(ROOT).parts[0]))


def test_the_three_packages_are_there():
    for package in PACKAGES:
        assert len(sources(package)) > 3, package


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_right(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}" for path in sources(package) for name, line in arrows(path) if name in FORBIDDEN[package]
    ]
    assert not wrong, "\n".join(wrong)


def test_schemas_import_nothing_of_ours():
    ours = [name for name, _ in arrows(ROOT / "transforms" / "records.py") if name in PACKAGES]
    assert not ours


def test_no_package_imports_tests_examples_or_benchmarks():
    wrong = [str(path.relative_to(ROOT)) for path in sources(*PACKAGES) for name, _ in arrows(path) if name in ("tests", "examples", "benchmarks")]
    assert not wrong


def test_a_forbidden_import_would_be_seen():
    """The finder itself: at the top, inside a function, under TYPE_CHECKING, by name, and relative."""
    code = """
import apache_beam.io
from pipeline.errors import UsageError
def f():
    import transforms.records
    importlib.import_module("datasets.load")
    importlib.import_module(f"classifiers.{name}")
if TYPE_CHECKING:
    from . import sibling
"""
    assert {name for name, _ in imported(ast.parse(code), "own")} == {"apache_beam", "pipeline", "transforms", "datasets", "classifiers", "own"}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "examples", "benchmarks"])
def test_no_file_is_longer_than_400_lines(folder):
    long = {str(path.relative_to(ROOT)): lines for path in sources(folder) if (lines := len(path.read_text("utf-8").splitlines())) > MAX_LINES}
    assert not long


def test_every_file_begins_by_saying_what_it_is():
    silent = [str(path.relative_to(ROOT)) for path in sources(*PACKAGES) if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent
