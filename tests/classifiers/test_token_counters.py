"""Tokenizers by file, folder and name: counts are the library's own, and what counted has a name that changes with its rules."""

import json
import os
import shutil

import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from classifiers.content import SizeScorer
from classifiers.detectors import weights_file
from classifiers.text_batch import TextBatch
from classifiers.token_counters import BATCH_TEXTS, load_counter
from tests.classifiers.kernel_texts import HOSTILE_TEXTS
from tests.texts import prose

TEXTS = [prose(seed, 40) for seed in range(5)] + ["", "River! rivers…", "x" * 500]


def write_folder(folder, kind):
    """A tokenizer's folder as transformers saves it: `wordpiece` and `bpe` from vocabulary files, `bytes` of Python alone, `saved` with tokenizer.json."""
    folder.mkdir()
    if kind == "wordpiece":
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "river", "##s", "!", *"abcdefghijklmnopqrstuvwxyz"]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 4}))
    elif kind == "bpe":
        (folder / "vocab.json").write_text(json.dumps({"<unk>": 0, "the</w>": 1, "ri@@": 2, "ver</w>": 3}))
        (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\nr i\n")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CTRLTokenizer"}))
    elif kind == "bytes":
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    else:
        shutil.copy(weights_file("deep/tokenizer.json"), folder / "tokenizer.json")
    return str(folder)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "bytes", "saved"])
def test_a_folder_counts_as_transformers_does_and_cuts_nothing(tmp_path, kind):
    folder = write_folder(tmp_path / kind, kind)
    count, name = load_counter(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = [len(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]) for text in TEXTS]
    counts = count(pa.array(TEXTS))
    assert counts.tolist() == expected and counts.dtype == "int32" and max(expected) > 4
    assert name.startswith("tokenizer-") and len(name) == 26


def test_many_texts_are_counted_as_each_alone(tmp_path):
    count, _ = load_counter(write_folder(tmp_path / "saved", "saved"))
    texts = TEXTS * (BATCH_TEXTS // 4)
    assert count(pa.array(texts)).tolist() == count(pa.array(TEXTS)).tolist() * (BATCH_TEXTS // 4)
    assert count(pa.array([], pa.string())).tolist() == []


def test_hostile_texts_are_counted(tmp_path):
    for kind in ("bytes", "bpe"):
        scorer = SizeScorer(write_folder(tmp_path / kind, kind))
        assert len(scorer.score(TextBatch.of(list(HOSTILE_TEXTS)))["tokens"]) == len(HOSTILE_TEXTS)


@pytest.mark.parametrize(("kind", "file", "before", "after"), [("bpe", "merges.txt", "r i\n", ""), ("wordpiece", "vocab.txt", "river", "riven")])
def test_the_name_changes_with_the_rules_and_not_with_the_place(tmp_path, kind, file, before, after):
    names = [load_counter(write_folder(tmp_path / place, kind))[1] for place in ("one", "two")]
    assert names[0] == names[1]
    changed = tmp_path / "two" / file
    changed.write_text(changed.read_text().replace(before, after))
    assert load_counter(str(tmp_path / "two"))[1] != names[0]


def test_a_saved_folder_and_its_file_count_alike(tmp_path):
    folder = write_folder(tmp_path / "saved", "saved")
    assert load_counter(f"{folder}/tokenizer.json")[0](pa.array(TEXTS)).tolist() == load_counter(folder)[0](pa.array(TEXTS)).tolist()
    assert load_counter(folder)[0](pa.array(["the river", "the " * 600])).tolist() == [2, 600]


def test_a_name_of_the_hub_is_loaded_by_that_name_and_runs_no_code(monkeypatch, tmp_path):
    asked, folder = [], write_folder(tmp_path / "saved", "saved")
    load = AutoTokenizer.from_pretrained
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda name, **options: (asked.append((name, options)), load(folder))[1])
    assert load_counter("owner/name")[0](pa.array(["the river"]))[0] == 2
    assert asked == [("owner/name", {"trust_remote_code": False, "local_files_only": False})]


def test_code_that_comes_with_a_tokenizer_is_not_run(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.Own", None]}}))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(ValueError, match="cannot be loaded"):
        load_counter(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "no-such-owner/no-such-name",
            r"is no file or folder here, so the hub was asked; without a network, download it elsewhere .* and give the folder",
        ),
        ("tokenzier.json", r"cannot be read \(No such file.*the name of one on the hub"),
        ("/no/such/folder", r"cannot be read \(No such file"),
    ],
)
def test_what_is_not_there_says_what_to_do(name, said):
    with pytest.raises(ValueError, match=said):
        load_counter(name)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give a folder that transformers saved a tokenizer to"):
        load_counter(str(tmp_path))


def test_no_threads_of_the_library_live_through_a_fork(tmp_path):
    load_counter(write_folder(tmp_path / "saved", "saved"))
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
