"""Claims about predicates: what is accepted, what is refused without being run, and that they hold as Python says they do."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.group_predicates import ANYTHING, NUMBER, TEXT, TRUTH, Predicate

ROWS = pa.table(
    {
        "language": ["de", "en", None, "de", "fr"],
        "quality": pa.array([0.7, 0.2, 0.9, None, 0.5], pa.float32()),
        "tokens": pa.array([10, 200, 3000, 5, None], pa.int32()),
        "verified": [True, False, None, True, False],
        "created_at": pa.array([0, 10**15, None, 5, 1_700_000_000_000_000], pa.timestamp("us", tz="UTC")),
    }
)


def holds(text: str) -> list[int]:
    """Rows for which it is true."""
    return Predicate(text).holds(lambda name, kind: ROWS[name], len(ROWS)).nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('language == "de"', [0, 3]),
        ('language != "de"', [1, 4]),
        ('not language == "de"', [1, 2, 4]),
        ('language in ["de", "fr"]', [0, 3, 4]),
        ('language not in ("de", "fr")', [1]),
        ("language is none", [2]),
        ("language is not null and verified", [0, 3]),
        ("quality >= 0.7", [0, 2]),
        ("0.2 <= quality < 0.7", [1, 4]),
        ("0.7 > quality", [1, 4]),
        ("tokens > 9.5 and tokens < 201", [0, 1]),
        ("tokens in [5, 10]", [0, 3]),
        ("not verified", [1, 2, 4]),
        ("verified == false", [1, 4]),
        ("true", [0, 1, 2, 3, 4]),
        ("false or tokens == 3000", [2]),
        ('created_at >= "2001-01-01"', [1, 4]),
        ('language == "de" and quality > 0.5 or language == "fr"', [0, 4]),
        ('language == "de" and (quality > 0.5 or language == "fr")', [0]),
        ("quality > -1", [0, 1, 2, 4]),
        ('language ==\n"fr"', [4]),
    ],
)
def test_a_comparison_with_a_missing_value_is_false(text, rows):
    assert holds(text) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a comparison"),
        ("x" * 2001, "at most 2,000 characters"),
        ("language = 'de'", "is no comparison"),
        ("import os", "is no comparison"),
        ('__import__("os").remove("x") == 1', "is not understood"),
        ("open('x')", "is not understood"),
        ("(lambda: 1)() == 1", "is not understood"),
        ("[x for x in y] == 1", "is not understood"),
        ("x[0] == 1", "is not understood"),
        ("x + 1 == 2", "is not understood"),
        ('f"{x}" == "1"', "is not understood"),
        ('field(x) == "1"', "is not understood"),
        ("quality == tokens", "no field with a constant"),
        ("source in names", "`in` takes a list"),
        ("source in []", "`in` takes a list"),
        ('source in ["a", 1]', "mixes a number and text"),
        ("source == none", "write `is none`"),
        ("source is 3", "`is` is followed by none"),
        ("'de'", "stands alone"),
        ("3 and verified", "stands alone"),
        ("tokens == 99999999999999999999", "larger than any number"),
        ('tokens == b"x"', "is no constant"),
        ("not " * 499 + "x", "too deep"),
    ],
)
def test_what_is_no_comparison_is_refused_and_quoted(text, said):
    try:
        Predicate(text)
    except ValueError as error:
        assert said in str(error)
    else:
        # How deep is too deep is for the interpreter to say.
        assert said == "too deep"


def test_a_predicate_tells_its_fields_and_what_they_are_compared_with():
    predicate = Predicate('metadata.domain == "a" and field("url path") is not none and 1 < score <= 2 and ok and score != 3')
    assert predicate.uses == (("metadata.domain", TEXT), ("url path", ANYTHING), ("score", NUMBER), ("ok", TRUTH))
    assert predicate.fields == ("metadata.domain", "url path", "score", "ok")
    assert pickle.loads(pickle.dumps(predicate)) == predicate


VALUES = st.none() | st.integers(-3, 3)
NAMES = ("a", "b", "c")
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(NAMES), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-3, 3)),
    st.builds("{} < {} <= {}".format, st.integers(-3, 3), st.sampled_from(NAMES), st.integers(-3, 3)),
    st.builds("{} {} {}".format, st.sampled_from(NAMES), st.sampled_from(["in", "not in"]), st.lists(st.integers(-3, 3), min_size=1, max_size=3)),
    st.builds("{} is none".format, st.sampled_from(NAMES)),
)
PREDICATES = st.recursive(
    COMPARISONS, lambda inner: st.builds("({} and {})".format, inner, inner) | st.builds("({} or not {})".format, inner, inner), max_leaves=6
)


class Value:
    """A value as predicates see it: missing ones compare as false with everything."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return self.value is not None and self.value == other

    def __ne__(self, other):
        return self.value is not None and self.value != other

    def __lt__(self, other):
        return self.value is not None and self.value < other

    def __le__(self, other):
        return self.value is not None and self.value <= other

    def __gt__(self, other):
        return self.value is not None and self.value > other

    def __ge__(self, other):
        return self.value is not None and self.value >= other

    __hash__ = None


class Listed(list):
    """A list that holds no missing value, nor misses one."""

    def holds(self, value):
        return value.value is not None and value.value in list(self)

    def misses(self, value):
        return value.value is not None and value.value not in list(self)


@given(PREDICATES, st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8))
def test_a_predicate_holds_where_python_says_so(text, rows):
    table = pa.table({name: pa.array([row[place] for row in rows], pa.int16()) for place, name in enumerate(NAMES)})
    found = Predicate(text).holds(lambda name, kind: table[name], len(rows))
    python = text
    for name in NAMES:
        python = python.replace(f"{name} is none", f"({name}.value is None)")
        for word, method in (("not in", "misses"), ("in", "holds")):
            while f"{name} {word} [" in python:
                before, after = python.split(f"{name} {word} [", 1)
                listed, rest = after.split("]", 1)
                python = f"{before}Listed([{listed}]).{method}({name}){rest}"
    expected = [eval(python, {"Listed": Listed, **dict(zip(NAMES, map(Value, row), strict=True))}) for row in rows]
    assert found.tolist() == expected
