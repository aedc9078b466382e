"""The committed examples are what their README says, and the demo's human text is prose that is not among them."""

import importlib.util
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import demo

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PLANTED = {
    "near_copy": 46,
    "exact_copy": 28,
    "loop": 12,
    "truncated": 12,
    "too_short": 12,
    "refusal": 10,
    "prompt_residue": 10,
    "bullets_only": 8,
    "symbol_heavy": 6,
    "not_english": 4,
}


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict]]:
    return {name: [json.loads(line) for line in _lines(f"{name}.jsonl")] for name in ("synthetic", "unlabelled")}


@pytest.fixture(scope="module")
def documents(files) -> dict[str, dict]:
    return {document["id"]: document for document in itertools.chain(*files.values())}


@pytest.fixture(scope="module")
def good(documents) -> list[dict]:
    return [document for document in documents.values() if "planted" not in document]


@pytest.fixture(scope="module")
def human() -> list[dict]:
    return list(demo.read_human_documents())


def _lines(name: str) -> list[str]:
    return (EXAMPLES / name).read_text(encoding="utf-8").splitlines()


def _planted(documents: dict[str, dict], kind: str) -> list[dict]:
    return [document for document in documents.values() if document.get("planted") == kind]


def _content(document: dict) -> str:
    return document["text"] if "text" in document else "\n".join(message["content"] for message in document["messages"])


def _original_of(document: dict, documents: dict[str, dict]) -> dict:
    return documents[document["id"].rsplit(".", 1)[0]]


# The files


def test_committed_files_are_what_the_base_file_makes(maker):
    made = maker.make_examples(maker.read_base(EXAMPLES))
    for name, rows in made.items():
        assert maker.format_jsonl(rows).encode() == (EXAMPLES / f"{name}.jsonl").read_bytes()


def test_main_writes_both_files_next_to_the_base_file(maker, tmp_path, capsys):
    (tmp_path / "base.jsonl").write_bytes((EXAMPLES / "base.jsonl").read_bytes())
    maker.main(tmp_path)
    assert (tmp_path / "synthetic.jsonl").read_bytes() == (EXAMPLES / "synthetic.jsonl").read_bytes()
    assert (tmp_path / "unlabelled.jsonl").read_bytes() == (EXAMPLES / "unlabelled.jsonl").read_bytes()
    assert "200 documents" in capsys.readouterr().out


def test_counts_are_those_of_the_readme(files, documents, good):
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(files["synthetic"]) == 200 and "| `synthetic.jsonl` | 200 |" in readme
    assert len(files["unlabelled"]) == 110 and "| `unlabelled.jsonl` | 110 |" in readme
    assert len(_lines("base.jsonl")) == 224 and "| `base.jsonl` | 224 |" in readme
    assert Counter(document["planted"] for document in documents.values() if "planted" in document) == PLANTED
    for kind, count in PLANTED.items():
        assert f"| `{kind}` | {count} |" in readme
    assert len(good) + sum(PLANTED.values()) == 310
    assert len(good) >= 160


def test_readme_says_that_no_human_wrote_the_texts():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert "None of it is human text" in readme and "CC0" in readme


def test_ids_are_unique_across_both_files(files, documents):
    assert len(documents) == sum(map(len, files.values()))


def test_synthetic_documents_carry_their_provenance(files):
    for document in files["synthetic"]:
        assert document["generator"] == "headwater-examples"
        assert document["generation"] == 1
        assert document["task"]
        assert re.fullmatch(r"2025-\d\d-\d\dT\d\d:\d\d:00Z", document["created_at"])
        assert "origin" not in document
    days = [document["created_at"] for document in files["synthetic"]]
    assert days == sorted(set(days))


def test_unlabelled_documents_say_nothing_of_their_origin(files):
    for document in files["unlabelled"]:
        assert set(document) - {"planted"} == {"id", "text", "url"}
        assert document["url"].startswith("https://pages.example/")


def test_some_documents_are_chats(documents):
    chats = [document for document in documents.values() if "messages" in document]
    assert len(chats) == 7
    for chat in chats:
        assert "text" not in chat and chat["task"] == "support"
        assert [message["role"] for message in chat["messages"]] == ["user", "assistant"] * (len(chat["messages"]) // 2)
        assert all(message["content"] for message in chat["messages"])


# The good texts


def test_good_texts_have_80_to_180_words(good):
    for document in good:
        assert 80 <= len(_content(document).split()) <= 180, document["id"]


def test_good_texts_are_complete(good):
    greeting = re.compile("Dear|Hello|Hi |Subject:|To whom")
    for document in good:
        text = _content(document)
        is_signed = greeting.match(text) and len(text.splitlines()[-1].split()) <= 6
        assert text[-1] in ".!?\"'" or is_signed, document["id"]


def test_good_texts_are_each_their_own_piece(maker, good):
    shingles = [maker.word_shingles(_content(document)) for document in good]
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(shingles, 2)) < 0.02
    shared = Counter(itertools.chain(*shingles))
    assert shared.most_common(1)[0][1] <= 3


def test_good_texts_vary_in_opening_task_and_topic(good):
    openings = Counter(tuple(_content(document).lower().split()[:3]) for document in good)
    assert openings.most_common(1)[0][1] <= 4
    tasks = Counter(document.get("task") for document in good if "task" in document)
    assert len(tasks) >= 20 and max(tasks.values()) < 0.25 * len(good)
    assert len({json.loads(line)["topic"] for line in _lines("base.jsonl")}) >= 50


def test_no_text_is_over_represented(documents):
    families = Counter(identifier.split(".")[0] for identifier in documents)
    assert max(families.values()) <= 3


# The planted faults


def test_exact_copies_equal_their_original_and_nothing_else_repeats(documents):
    for copy in _planted(documents, "exact_copy"):
        assert copy["text"] == _original_of(copy, documents)["text"]
    assert len({_content(document) for document in documents.values()}) == len(documents) - PLANTED["exact_copy"]


def test_some_copies_lie_in_the_other_file(files, documents):
    file_of = {document["id"]: name for name, rows in files.items() for document in rows}
    for kind in ("exact_copy", "near_copy"):
        crossing = [copy for copy in _planted(documents, kind) if file_of[copy["id"]] != file_of[_original_of(copy, documents)["id"]]]
        assert len(crossing) >= 8


def test_near_copies_have_a_jaccard_between_79_and_86_hundredths(maker, documents):
    for copy in _planted(documents, "near_copy"):
        original = _original_of(copy, documents)["text"]
        assert len(original.split()) >= 120
        assert 0.79 < maker.jaccard(original, copy["text"]) <= 0.86
        assert abs(len(copy["text"].split()) - len(original.split())) <= 4


def test_every_other_pair_of_documents_is_far_apart(maker, documents):
    texts = {_content(document): document["id"] for document in documents.values() if document.get("planted") != "near_copy"}
    shingles = [maker.word_shingles(text) for text in texts if len(text.split()) >= 20]
    assert max(len(a & b) / len(a | b) for a, b in itertools.combinations(shingles, 2)) < 0.5


def test_loops_say_one_sentence_thirty_times(documents):
    for loop in _planted(documents, "loop"):
        sentences = Counter(re.split(r"(?<=[.!?])\s+", loop["text"]))
        assert 30 in sentences.values() or any(loop["text"].count(sentence) == 30 for sentence in sentences)


def test_truncated_texts_end_in_the_middle_of_a_word(maker, documents):
    base = {line["slug"]: line for line in maker.read_base(EXAMPLES)}
    for document in _planted(documents, "truncated"):
        slug = document["id"].rsplit(".", 1)[0]
        whole = base[slug]["text"]
        assert whole.startswith(document["text"])
        assert document["text"][-1].isalpha() and whole[len(document["text"])].isalpha()
        assert 0.6 < len(document["text"]) / len(whole) < 0.85
        assert slug not in documents, "the whole text must not stand beside its stump"


def test_refusals_refuse(documents):
    pattern = re.compile(r"can't|cannot|unable|not able|unfortunately", re.IGNORECASE)
    for document in _planted(documents, "refusal"):
        assert pattern.search(document["text"]) and re.search(r"sorry|as an ai|apologise", document["text"], re.IGNORECASE)
        assert len(document["text"].split()) >= 50


def test_prompt_residue_shows_the_prompt(documents):
    mark = re.compile(r"<\|im_|\[/?INST\]|^User:|USER:|###|\[[A-Z][\w ]+\]|[Hh]ere is (?:a|the)|^Task:")
    for document in _planted(documents, "prompt_residue"):
        assert mark.search(document["text"]), document["id"]
        assert len(document["text"].split()) >= 50


def test_short_texts_are_short(documents):
    assert all(len(document["text"].split()) < 25 for document in _planted(documents, "too_short"))


def test_lists_are_bullets_on_every_line(documents):
    for document in _planted(documents, "bullets_only"):
        lines = document["text"].splitlines()
        assert len(lines) >= 10 and all(line.startswith(("- ", "* ", "• ")) for line in lines)
        assert len(document["text"].split()) >= 50


def test_symbol_heavy_texts_break_gophers_bound_of_a_tenth(documents):
    for document in _planted(documents, "symbol_heavy"):
        text = document["text"]
        assert max(text.count("#"), text.count("...")) > 0.1 * len(text.split()), document["id"]


def test_foreign_texts_are_german_and_spanish(documents):
    languages = Counter()
    for document in _planted(documents, "not_english"):
        words = set(document["text"].lower().split())
        languages["de"] += {"und", "der"} <= words
        languages["es"] += {"que", "las"} <= words
    assert languages == {"de": 2, "es": 2}


def test_broken_file_holds_every_kind_of_unreadable_line():
    found = Counter()
    for line in _lines("broken.jsonl"):
        try:
            text = json.loads(line).get("text")
        except json.JSONDecodeError:
            found["malformed"] += 1
            continue
        found["good" if isinstance(text, str) and text else "missing" if text is None else "empty" if text == "" else "type"] += 1
    assert found == {"good": 3, "malformed": 3, "missing": 2, "empty": 1, "type": 1}


# Making them


def test_near_copy_of_a_text_without_known_phrases_is_an_error(maker):
    with pytest.raises(ValueError, match="some-slug: 0 phrases"):
        maker.make_near_copy("Red lorry yellow lorry. " * 30, "some-slug")


def test_unknown_kind_of_fault_is_an_error(maker):
    line = {"slug": "a", "file": "synthetic", "task": "t", "topic": "t", "text": "Words.", "derive": [{"kind": "blur", "file": "synthetic"}]}
    with pytest.raises((ValueError, KeyError), match="blur"):
        maker.make_examples([line])


def test_swaps_change_what_they_replace(maker):
    assert all(phrase != replacement for phrase, replacement in maker.SWAPS.items())
    assert all(phrase == phrase.lower() for phrase in maker.SWAPS)


@given(st.text(alphabet="ab .", max_size=80), st.text(alphabet="ab .", max_size=80))
def test_jaccard_is_symmetric_and_one_for_equal_texts(maker, left, right):
    if maker.word_shingles(left) or maker.word_shingles(right):
        assert maker.jaccard(left, right) == maker.jaccard(right, left)
        assert 0 <= maker.jaccard(left, right) <= 1
    if maker.word_shingles(left):
        assert maker.jaccard(left, left) == 1


def test_no_human_text_is_in_the_examples(maker, human, documents):
    theirs = set().union(*(maker.word_shingles(document["text"]) for document in human))
    for document in documents.values():
        ours = maker.word_shingles(_content(document))
        assert len(ours & theirs) <= 0.1 * len(ours), document["id"]
    folder = b"".join(path.read_bytes() for path in sorted(EXAMPLES.iterdir()) if path.is_file())
    for document in human:
        assert json.dumps(document["text"], ensure_ascii=False).encode()[1:-1] not in folder
