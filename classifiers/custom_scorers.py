"""Scorers of your own: `module:name` in `score.scorers` joins the same contract as those that ship.

`name` is a function of one text, or a class that scores whole batches:

* a **function** `def questions(text: str) -> int` makes one column named after it. What it returns must be annotated: `float`, `int`, `bool` or
  `str`, each also with `| None` where there may be no score;
* a **class** without constructor arguments has `fields` (a `pyarrow.Schema`) and `score(batch) -> dict[str, pyarrow.Array]`, as
  `classifiers.scorers.Scorer` says, and may have a `version`.

The version of either holds the digest of its source file, so that scores by two versions of the code cannot be mixed up. The module must be importable wherever
scoring runs: on `PYTHONPATH`, or installed. A text on which it raises becomes a dead letter, as with any scorer.
"""

import functools
import hashlib
import importlib
import inspect
import re
import typing
from types import UnionType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from classifiers.text_batch import TextBatch

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""What the name of a scorer of one's own looks like."""
COLUMN_TYPES: dict[type, pa.DataType] = {float: pa.float32(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
"""The column that a function makes, by what its annotation says it returns."""


def is_custom(name: str) -> bool:
    """Whether `name` names a scorer of one's own: `module:name`."""
    return NAME.fullmatch(name) is not None


@functools.lru_cache(maxsize=64)
def load_custom_scorer(name: str) -> "CustomScorer":
    """The scorer that `name` names, imported once a process.

    Raises ValueError, saying what to do, for a module that cannot be imported, a name that it lacks, and whatever is neither such a function nor such a class.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(f"scorer {name!r}: {module_name} cannot be imported ({error}); put its folder on PYTHONPATH, or install it") from error
    if not hasattr(module, attribute):
        raise ValueError(f"scorer {name!r}: {module_name} has no {attribute}; name a function of one text, or a class")
    found = getattr(module, attribute)
    digest = _source_digest(module)
    if inspect.isclass(found):
        return _from_class(name, found, digest)
    if inspect.isfunction(found):
        return _from_function(name, found, digest)
    raise ValueError(f"scorer {name!r}: is a {type(found).__name__}; name a function of one text, or a class")


class CustomScorer:
    """A scorer of one's own whose columns are checked: names, types and lengths are those announced."""

    def __init__(self, name: str, version: str, fields: pa.Schema, score: Any):
        """`score` takes a batch and gives its columns."""
        self.name, self.version, self.fields = name, version, fields
        self._score = score

    def score(self, batch: "TextBatch") -> dict[str, pa.Array]:
        """The columns. Raises ValueError if they are not those of `fields`, one value for each text."""
        columns = self._score(batch)
        if not isinstance(columns, dict) or set(columns) != set(self.fields.names):
            made = sorted(columns) if isinstance(columns, dict) else type(columns).__name__
            raise ValueError(f"scorer {self.name!r} must make the columns {self.fields.names}, not {made}")
        checked = {}
        for field in self.fields:
            column = columns[field.name]
            column = column if isinstance(column, pa.Array) else pa.array(column)
            if len(column) != len(batch):
                raise ValueError(f"scorer {self.name!r}: column {field.name!r} has {len(column)} values for {len(batch)} texts")
            checked[field.name] = column if column.type == field.type else column.cast(field.type)
        return checked


def _from_class(name: str, found: type, digest: str) -> CustomScorer:
    fields = getattr(found, "fields", None)
    if not isinstance(fields, pa.Schema) or not len(fields) or not callable(getattr(found, "score", None)):
        raise ValueError(f"scorer {name!r}: a class needs `fields`, a pyarrow.Schema of at least one column, and a method `score(batch)`")
    try:
        made = found()
    except TypeError as error:
        raise ValueError(f"scorer {name!r}: cannot be made without arguments ({error}); give its constructor defaults") from error
    version = getattr(made, "version", "")
    return CustomScorer(name, f"{version};{digest}" if version else digest, fields, made.score)


def _from_function(name: str, found: Any, digest: str) -> CustomScorer:
    returned = typing.get_type_hints(found).get("return")
    options = set(typing.get_args(returned)) - {type(None)} if isinstance(returned, UnionType) or typing.get_origin(returned) else {returned}
    (kind,) = options if len(options) == 1 else (None,)
    if kind not in COLUMN_TYPES:
        raise ValueError(
            f"scorer {name!r}: annotate what it returns: one of {', '.join(one.__name__ for one in COLUMN_TYPES)}, or one of them `| None`"
        )
    column, column_type = found.__name__, COLUMN_TYPES[kind]

    def score(batch: "TextBatch") -> dict[str, pa.Array]:
        return {column: pa.array([found(text) for text in batch.texts.to_pylist()], column_type)}

    return CustomScorer(name, digest, pa.schema([(column, column_type)]), score)


def _source_digest(module: Any) -> str:
    """First 12 hex digits of the SHA-256 of the module's file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return "builtin"
    with open(file, "rb") as source:
        return hashlib.sha256(source.read()).hexdigest()[:12]
