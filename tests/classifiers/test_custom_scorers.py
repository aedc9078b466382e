import sys
import textwrap

import pyarrow as pa
import pytest

from classifiers.custom_scorers import is_custom, load_custom_scorer
from classifiers.scorers import SCORER_NAMES, ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch

MODULE = """
import pyarrow as pa

NOT_A_SCORER = 3

def shouts(text: str) -> float:
    return text.count("!") / max(len(text), 1)

def has_tabs(text: str) -> bool:
    return "\\t" in text

def first_word(text: str) -> str | None:
    return text.split()[0] if text.split() else None

def words(text: str) -> int:
    return len(text.split())

def unannotated(text):
    return 1

def annotated_with_a_list(text: str) -> list:
    return []

def fails(text: str) -> int:
    raise RuntimeError("no")

class Lengths:
    version = "lengths-1"
    fields = pa.schema([("chars_squared", pa.int64()), ("is_long", pa.bool_())])

    def score(self, batch):
        chars = batch.words.text_chars.astype("int64")
        return {"chars_squared": chars ** 2, "is_long": pa.array(chars > 5)}

class WithoutFields:
    def score(self, batch):
        return {}

class NeedsArguments(Lengths):
    def __init__(self, path):
        self.path = path

class WrongColumns(Lengths):
    def score(self, batch):
        return {"chars_squared": [1] * len(batch)}

class WrongLength(Lengths):
    def score(self, batch):
        return {"chars_squared": [1], "is_long": [True]}
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path, monkeypatch):
    """A module `own_scorers` on the path, forgotten again after the test."""
    (tmp_path / "own_scorers.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_scorers", None)
    load_custom_scorer.cache_clear()


def table_of(*names: str, texts=("Hello!", "a\tb", "")) -> dict:
    columns = score(make_scorers(ScoreSettings(scorers=names)), TextBatch.of(texts))
    return {name: column.to_pylist() for name, column in columns.items()}


def test_a_function_makes_a_column_named_after_it():
    assert table_of("own_scorers:shouts") == {"shouts": pytest.approx([1 / 6, 0, 0])}
    assert table_of("own_scorers:has_tabs") == {"has_tabs": [False, True, False]}
    assert table_of("own_scorers:first_word") == {"first_word": ["Hello!", "a", None]}


def test_a_class_makes_the_columns_of_its_fields():
    assert table_of("own_scorers:Lengths") == {"chars_squared": [36, 9, 0], "is_long": [True, False, False]}


def test_own_scorers_stand_beside_those_that_ship():
    settings = ScoreSettings(scorers=("size", "own_scorers:shouts", "own_scorers:Lengths"))
    assert score_fields(settings).names == ["words", "tokens", "bytes", "shouts", "chars_squared", "is_long"]
    assert [scorer.name for scorer in make_scorers(settings)] == list(settings.scorers)
    assert [field.type for field in score_fields(settings)][3] == pa.float32()


def test_the_version_changes_with_the_file(own_module):
    version = load_custom_scorer("own_scorers:Lengths").version
    assert version.startswith("lengths-1;")
    assert load_custom_scorer("own_scorers:shouts").version == version.removeprefix("lengths-1;")
    (own_module / "own_scorers.py").write_text(textwrap.dedent(MODULE) + "# changed\n")
    sys.modules.pop("own_scorers")
    load_custom_scorer.cache_clear()
    assert load_custom_scorer("own_scorers:Lengths").version != version


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:f", "cannot be imported.*PYTHONPATH"),
        ("own_scorers:nothing", "has no nothing"),
        ("own_scorers:NOT_A_SCORER", "is a int; name a function"),
        ("own_scorers:unannotated", "annotate what it returns"),
        ("own_scorers:annotated_with_a_list", "annotate what it returns"),
        ("own_scorers:WithoutFields", "needs `fields`"),
        ("own_scorers:NeedsArguments", "cannot be made without arguments"),
    ],
)
def test_what_is_no_scorer_is_refused_with_the_remedy(name, said):
    with pytest.raises(ValueError, match=said):
        score_fields(ScoreSettings(scorers=("size", name)))


@pytest.mark.parametrize(("name", "said"), [("WrongColumns", "must make the columns"), ("WrongLength", "has 1 values for 3 texts")])
def test_columns_other_than_announced_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        table_of(f"own_scorers:{name}")


def test_an_exception_of_a_scorer_is_its_own():
    with pytest.raises(RuntimeError, match="no"):
        table_of("own_scorers:fails")


def test_two_scorers_may_not_make_the_same_column():
    with pytest.raises(ValueError, match="'size' and 'own_scorers:words' both make a column 'words'"):
        score_fields(ScoreSettings(scorers=("size", "own_scorers:words")))


@pytest.mark.parametrize("name", ["module:function", "a.b.c:Class", "_m:_f1"])
def test_names_of_own_scorers(name):
    assert is_custom(name)


@pytest.mark.parametrize("name", [*SCORER_NAMES, "module", ":f", "m:", "m:a.b", "m:f:g", "m n:f", "1m:f", "hf:org/model", "/path:f"])
def test_other_names_are_not(name):
    assert not is_custom(name)
    if name not in SCORER_NAMES:
        with pytest.raises(ValueError, match="module:function or module:Class"):
            ScoreSettings(scorers=(name,))
