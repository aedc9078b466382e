"""Which documents a group holds, as a small language of comparisons: `language == "de" and quality >= 0.5 and source in ["a", "b"]`.

A predicate is parsed by Python's grammar and then walked: comparisons of a field with constants, `and`, `or`, `not`, `is none`; nothing else
is accepted and nothing is evaluated as Python. A field is a column of the decided or scored shards, or else a field of the record that survives in
`extra` (`domain`, `metadata.domain`; `extra.domain` where a column has that name; `field("url-path")` for a name that is no word).

A comparison with a missing value, or with one of another type, is false: `language != "de"` leaves out documents without a language, and
`not language == "de"` takes them. Cost: a few nanoseconds a document and comparison; 2 microseconds where a record has to be parsed.
"""

from __future__ import annotations

import ast
import datetime
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_CHARS = 2_000
"""Length of a predicate, at most: Python's parser is not made for endless nesting."""
EXTRA = "extra."
"""Before the name of a field of the record that a column hides."""
ANYTHING, TEXT, NUMBER, TRUTH = "anything", "text", "a number", "true or false"
"""What a field is compared with."""
_ORDERS: dict[type, tuple[str, Callable]] = {
    ast.Eq: ("==", pc.equal),
    ast.NotEq: ("!=", pc.not_equal),
    ast.Lt: ("<", pc.less),
    ast.LtE: ("<=", pc.less_equal),
    ast.Gt: (">", pc.greater),
    ast.GtE: (">=", pc.greater_equal),
}
_TURNED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}
_EXAMPLE = 'such as language == "de" and quality >= 0.5'

Columns = Callable[[str, str], pa.Array | pa.ChunkedArray]
"""(name, what it is compared with) -> the values of that field, null where a document has none of that type."""


@dataclass(frozen=True)
class Predicate:
    """A parsed predicate. Raises ValueError, with the part that is not understood."""

    text: str
    """As written."""
    _tree: ast.expr = field(init=False, repr=False, compare=False)
    """Of the grammar above and nothing else."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip() or len(self.text) > MOST_CHARS:
            raise ValueError(f"{self.text!r}: must be a comparison of at most {MOST_CHARS:,} characters, {_EXAMPLE}")
        try:
            tree = ast.parse(self.text.strip().replace("\n", " "), mode="eval").body
            object.__setattr__(self, "_tree", tree)
            list(_uses(tree))
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{self.text!r}: is no comparison ({getattr(error, 'msg', 'too deep')}); write one {_EXAMPLE}") from error

    @property
    def uses(self) -> tuple[tuple[str, str], ...]:
        """(field, what it is compared with), each once, in order."""
        return tuple(dict.fromkeys(_uses(self._tree)))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it looks at, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.uses))

    def holds(self, columns: Columns, num_rows: int) -> np.ndarray:
        """bool: for which documents it is true."""
        return _evaluate(self._tree, columns, num_rows)


def kind_of(column: pa.DataType) -> str | None:
    """What a column of this type can be compared with; None: nothing. Times are compared with text, as ISO 8601."""
    kind = column.value_type if pa.types.is_dictionary(column) else column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_timestamp(kind):
        return TEXT
    if pa.types.is_boolean(kind):
        return TRUTH
    return NUMBER if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _uses(node: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _uses(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from _uses(node.operand)
    elif isinstance(node, ast.Compare):
        for name, _, values in _comparisons(node):
            yield name, _kind(values, node)
    elif _is_constant(node):
        if not isinstance(_constant(node), bool):
            raise ValueError(f"{ast.unparse(node)}: stands alone; compare a field with it, {_EXAMPLE}")
    else:
        yield _name(node), TRUTH


def _evaluate(node: ast.expr, columns: Columns, num_rows: int) -> np.ndarray:
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return join.reduce([_evaluate(value, columns, num_rows) for value in node.values])
    if isinstance(node, ast.UnaryOp):
        return ~_evaluate(node.operand, columns, num_rows)
    if isinstance(node, ast.Compare):
        made = (_compare(columns(name, _kind(values, node)), order, values) for name, order, values in _comparisons(node))
        return np.logical_and.reduce(list(made))
    if _is_constant(node):
        return np.full(num_rows, _constant(node))
    return _truth(columns(_name(node), TRUTH))


def _comparisons(node: ast.Compare) -> Iterator[tuple[str, type, tuple]]:
    """(field, order, constants) of each link of a chain, the field on the left: `0.2 <= quality < 0.5` is two."""
    sides = [node.left, *node.comparators]
    for left, order, right in zip(sides, node.ops, sides[1:], strict=False):
        kind = type(order)
        if kind in (ast.In, ast.NotIn):
            if not isinstance(right, (ast.List, ast.Tuple, ast.Set)) or not right.elts:
                raise ValueError(f'{ast.unparse(node)}: `in` takes a list of constants, such as source in ["a", "b"]')
            yield _name(left), kind, tuple(_constant(one) for one in right.elts)
        elif kind in (ast.Is, ast.IsNot):
            if not _is_constant(right) or _constant(right) is not None:
                raise ValueError(f"{ast.unparse(node)}: `is` is followed by none; use == for values")
            yield _name(left), kind, ()
        elif kind in _ORDERS:
            turned = _is_constant(left)
            name, constant = (right, left) if turned else (left, right)
            if not _is_constant(constant):
                raise ValueError(f"{ast.unparse(node)}: compares no field with a constant; write one {_EXAMPLE}")
            yield _name(name), _TURNED.get(kind, kind) if turned else kind, (_constant(constant),)


def _kind(values: tuple, node: ast.expr) -> str:
    if not values:
        return ANYTHING
    kinds = {TRUTH if isinstance(value, bool) else TEXT if isinstance(value, str) else NUMBER for value in values}
    if None in values:
        raise ValueError(f"{ast.unparse(node)}: write `is none` or `is not none`")
    if len(kinds) > 1:
        raise ValueError(f"{ast.unparse(node)}: mixes {' and '.join(sorted(kinds))}; values of one list are of one type")
    return kinds.pop()


def _compare(column: pa.Array | pa.ChunkedArray, order: type, values: tuple) -> np.ndarray:
    if order in (ast.Is, ast.IsNot):
        return _truth(pc.is_null(column) if order is ast.Is else pc.is_valid(column))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        # Constants may have decimals, and 64-bit integers are exact up to 2**53 only as numbers with decimals.
        column = column.cast(pa.int64() if all(isinstance(value, int) for value in values) else pa.float64(), safe=False)
    constants = [_scalar(value, column.type) for value in values]
    if order in (ast.In, ast.NotIn):
        found = pc.is_in(column, value_set=pa.array([one.as_py() for one in constants], column.type))
        return _truth(pc.and_(pc.is_valid(column), found if order is ast.In else pc.invert(found)))
    return _truth(_ORDERS[order][1](column, constants[0]))


def _scalar(value: Any, column: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(column):
        when = datetime.datetime.fromisoformat(value)
        return pa.scalar(when if when.tzinfo else when.replace(tzinfo=datetime.UTC), column)
    # In the precision of the column: a float32 of 0.7 is at least 0.7.
    return pa.scalar(value, column)


def _truth(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    filled = pc.fill_null(column, False)
    return filled.to_numpy() if isinstance(filled, pa.ChunkedArray) else filled.to_numpy(zero_copy_only=False)


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in _CONSTANTS)


def _constant(node: ast.expr) -> Any:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return operator.neg(value)
    elif isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (str, int, float, bool))):
        if isinstance(node.value, int) and abs(node.value) >= 1 << 63:
            raise ValueError(f"{ast.unparse(node)}: is larger than any number of a document")
        return node.value
    elif isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    raise ValueError(f"{ast.unparse(node)}: is no constant; text stands in quotes")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name) and node.id not in _CONSTANTS:
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "field" and not node.keywords and len(node.args) == 1:
        named = node.args[0]
        if isinstance(named, ast.Constant) and isinstance(named.value, str) and named.value:
            return named.value
    raise ValueError(
        f"{ast.unparse(node)}: is not understood; a group is made of comparisons of fields with constants, `and`, `or`, `not`, {_EXAMPLE}"
    )
