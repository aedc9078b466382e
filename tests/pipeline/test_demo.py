"""The demo's human text is prose that comes with Python, and its examples are found wherever Headwater is installed."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import demo

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def human() -> list[dict]:
    return list(demo.read_human_documents())


def test_demo_writes_human_text_and_finds_the_examples(tmp_path):
    paths = demo.write_demo_inputs(str(tmp_path / "inputs"))
    assert set(paths) == {"human", "synthetic", "unlabelled"}
    assert Path(paths["synthetic"]) == EXAMPLES / "synthetic.jsonl"
    assert Path(paths["unlabelled"]) == EXAMPLES / "unlabelled.jsonl"
    rows = [json.loads(line) for line in Path(paths["human"]).read_text(encoding="utf-8").splitlines()]
    assert all(set(row) == {"id", "text", "title", "kind"} for row in rows)
    first = Path(paths["human"]).read_bytes()
    demo.write_demo_inputs(str(tmp_path / "inputs"))
    assert Path(paths["human"]).read_bytes() == first


def test_demo_has_enough_human_documents_with_unique_ids(human):
    assert len(human) >= 400
    assert len({document["id"] for document in human}) == len(human)
    assert Counter(document["kind"] for document in human).keys() == {"topic", "docstring"}
    assert all(document["id"].startswith(("pydoc:topic:", "stdlib:")) for document in human)


def test_human_passages_are_prose_of_60_to_400_words(human):
    for document in human:
        assert demo.MIN_WORDS <= len(document["text"].split()) <= demo.MAX_WORDS, document["id"]
        assert ">>>" not in document["text"].split()
        assert "  " not in document["text"]


def test_no_human_paragraph_appears_twice(human):
    paragraphs = Counter(paragraph for document in human for paragraph in document["text"].split("\n\n"))
    assert paragraphs.most_common(1)[0][1] == 1


def test_missing_examples_are_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "pipeline" / "demo.py"))
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path / name))
    monkeypatch.setattr(demo.site, "getuserbase", lambda: str(tmp_path / "user"))
    with pytest.raises(FileNotFoundError, match="run it from a source checkout"):
        demo.find_examples()
    assert not list(tmp_path.iterdir())


def test_installed_examples_are_found_without_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "site-packages" / "pipeline" / "demo.py"))
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(tmp_path))
    installed = tmp_path / "share" / "headwater" / "examples"
    installed.mkdir(parents=True)
    for name in ("synthetic.jsonl", "unlabelled.jsonl"):
        (installed / name).touch()
    assert demo.find_examples() == installed


@pytest.mark.parametrize(
    "block",
    [
        "Too short a paragraph.",
        "- an item of a list that goes on for quite some time, though it is no paragraph.",
        ">>> print('an example that somebody typed at the prompt of the interpreter itself.')",
        "A Heading That Is Long Enough To Be Taken For One\n*************************************************",
        "if x == 1: y = foo(bar[3], baz=4); z = {k: v for k, v in d.items()} + q(r, s=5) * 7.",
        "",
    ],
)
def test_code_lists_headings_and_crumbs_are_no_prose(block):
    assert demo.clean_paragraph(block) == ""


def test_paragraphs_are_joined_and_freed_of_marks():
    block = '   The :class:`~a.b.Thing` is a thing that is *often* used\n   by ``other`` "things" of which it\'s 2 * 3 that we shall not speak here.'
    assert (
        demo.clean_paragraph(block) == "The a.b.Thing is a thing that is often used by other things of which it's 2 * 3 that we shall not speak here."
    )


def test_passages_leave_out_what_was_seen():
    paragraph = "The quick brown fox jumps over the lazy dog and goes on doing so. " * 5
    seen: set[str] = set()
    assert len(demo.make_passages(paragraph, seen)) == 1
    assert demo.make_passages(paragraph.upper(), seen) == []


@given(st.lists(st.integers(1, 120), max_size=25))
def test_passages_keep_order_and_length(lengths):
    words = (f"word{letter}" for letter in map(_spell, itertools.count()))
    paragraphs = [("A " + " ".join(next(words) for _ in range(length)) + ".") for length in lengths]
    passages = demo.make_passages("\n\n".join(paragraphs), set())
    flat = [paragraph for passage in passages for paragraph in passage.split("\n\n")]
    assert flat == [paragraph for paragraph in paragraphs if paragraph in set(flat)]
    assert all(demo.MIN_WORDS <= len(passage.split()) <= demo.MAX_WORDS for passage in passages)


def _spell(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))
