import gzip
import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.contamination import build_index, holds_index, keep_index
from classifiers.contamination_fields import BY, NGRAMS, SHARE
from classifiers.evaluation_sets import EvaluationSets
from tests.texts import prose
from transforms.find_contaminated import ContaminationLimits, find_contaminated
from transforms.inputs import InputError
from transforms.read_evaluation import ensure_index, read_evaluation, texts_in, write_index

RECORDS = [{"id": f"q{n}", "question": prose(n, 20), "choices": {"text": [prose(50 + n, 14), "no"], "label": ["A", "B"]}} for n in range(4)]


def write(folder, name: str) -> str:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    elif name.endswith(".csv"):
        rows = [f'{one["id"]},"{one["question"]}","{one["choices"]["text"][0]}"' for one in RECORDS]
        path.write_text("\n".join(["id,question,choices", *rows]) + "\n")
    else:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "wt") as file:
            file.writelines(json.dumps(one) + "\n" for one in RECORDS)
    return str(path)


@pytest.mark.parametrize("name", ["quiz.jsonl", "quiz.jsonl.gz", "quiz.parquet", "quiz.csv"])
def test_sets_of_every_format_give_the_same_ngrams(tmp_path, name):
    sets, index = read_evaluation(EvaluationSets((f"quiz={write(tmp_path, name)}",), fields=("question", "choices")))
    texts = [text for one in RECORDS for text in (one["question"], one["choices"]["text"][0])]
    plain = build_index(texts, [n // 2 for n in range(8)], [f"quiz/q{n}" for n in range(4)], sets)
    assert index.labels.equals(plain.labels) and sorted(index.hashes.tolist()) == sorted(plain.hashes.tolist())
    (read,) = sets.read
    assert (read.items, read.unsought, read.ngrams) == (4, 0, len(index.hashes)) and sets.digest == index.digest
    assert read.files == ((str(tmp_path / name), hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()),)


def test_text_files_are_items_named_after_their_file(tmp_path):
    for number in range(3):
        (tmp_path / f"story{number}.txt").write_text(prose(number, 40))
    _, index = read_evaluation(EvaluationSets((f"stories={tmp_path}/*.txt",)))
    assert index.labels.to_pylist() == ["stories/story0.txt", "stories/story1.txt", "stories/story2.txt"]


def test_the_usual_name_of_a_text_needs_no_field(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"content": prose(1, 30), "other": prose(2, 30)}) + "\n")
    _, index = read_evaluation(EvaluationSets((f"a={tmp_path}/a.jsonl",)))
    assert index.labels.to_pylist() == ["a/a.jsonl:1"]
    assert len(index.hashes) == len(prose(1, 30).split()) - 12


def test_the_order_of_sets_and_files_does_not_matter(tmp_path):
    one, two = write(tmp_path, "one.jsonl"), write(tmp_path, "two.csv")
    digests = {
        read_evaluation(EvaluationSets(order, fields=("question",)))[0].digest for order in ((f"a={one}", f"b={two}"), (f"b={two}", f"a={one}"))
    }
    assert len(digests) == 1


def test_items_too_short_to_be_sought_are_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in ("What is it?", prose(1, 20), "one two three four five six seven eight"))
    )
    sets, _ = read_evaluation(EvaluationSets((f"a={tmp_path}/a.jsonl",)))
    assert (sets.read[0].items, sets.read[0].unsought) == (3, 1)
    with pytest.raises(InputError, match=r"none of its 3 items has a field of 64 words"):
        read_evaluation(replace(sets, ngram_words=64, min_item_words=64))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "fine words"}\n{broken\n', r"a.jsonl:2 cannot be read \(malformed"),
        ('{"prompt": "fine words"}\n', r"neither 'text' nor .* holds text; its fields are prompt: name those that do with --decontaminate_fields"),
        ('{"text": "fine words"}\n{"text": null}\n', r"a.jsonl:2 cannot be read"),
        ("\n", "holds no records"),
    ],
)
def test_a_record_that_cannot_be_read_stops_everything(tmp_path, content, said):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(InputError, match=said):
        read_evaluation(EvaluationSets((f"a={tmp_path}/a.jsonl",)))


def test_texts_are_found_wherever_they_stand_in_a_field():
    assert list(texts_in({"text": ["a", " ", {"b": "c"}], "n": 3, "none": None})) == ["a", "c"]


def test_a_worker_loads_the_index_that_the_run_left(tmp_path):
    sets, index = read_evaluation(EvaluationSets((f"quiz={write(tmp_path, 'quiz.jsonl')}",), fields=("question",)))
    placed = replace(sets, index=f"{tmp_path}/evaluation/index")
    write_index(index, placed.index)
    keep_index(build_index([prose(9, 30)], [0], ["other/0"], sets))
    assert not holds_index(sets.digest)
    ensure_index(placed)
    assert holds_index(sets.digest)
    ensure_index(None)
    with pytest.raises(ValueError, match=r"is the index .*; run again"):
        ensure_index(replace(placed, digest="0" * 32))


def test_both_limits_must_be_reached():
    columns = pa.table({NGRAMS: pa.array([0, 1, 5, 5], pa.int32()), SHARE: pa.array([0, 1, 0.3, 0.29], pa.float32()), BY: ["", "a/1", "a/2", "a/3"]})
    assert find_contaminated(columns, ContaminationLimits()).tolist() == [False, True, True, True]
    assert find_contaminated(columns, ContaminationLimits(2, 0.3)).tolist() == [False, False, True, False]


@pytest.mark.parametrize("limits", [(0, 0.0), (1.5, 0.0), (True, 0.0), (1, -0.1), (1, 1.1)])
def test_limits_out_of_range_are_refused(limits):
    with pytest.raises(ValueError, match=r"decontaminate\.min_"):
        ContaminationLimits(*limits)
