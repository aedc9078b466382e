"""The benchmarks say what is: similarity and recall of planted copies, books recounted from files, growth without copies."""

import json
import re
from collections import Counter
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import corpus, explorer, growth, real_run, steering


def topic_texts(count: int) -> list[str]:
    """`count` passages of 120 words from the interpreter's own documentation, each different."""
    words = " ".join(topics.topics.values()).split()
    texts = [" ".join(words[start : start + 120]) for start in range(0, len(words) - 120, 120)]
    assert len(texts) >= count
    return texts[:count]


# --- corpus -----------------------------------------------------------------------------------------------------------


def test_jaccard_counts_shared_five_word_shingles():
    assert corpus.jaccard("a b c d e f", "A, b; c. d e f!") == 1
    assert corpus.jaccard("a b c d e f", "a b c d e g") == 1 / 3
    assert corpus.jaccard("a b c", "a b c") == 1
    assert corpus.jaccard("a b c", "a b d") == 0
    assert corpus.jaccard("", "") == 1
    assert corpus.jaccard("", "a") == 0


@given(st.text(max_size=200), st.text(max_size=200))
def test_jaccard_is_symmetric_and_bounded(a, b):
    assert corpus.jaccard(a, b) == corpus.jaccard(b, a)
    assert 0 <= corpus.jaccard(a, b) <= 1
    assert corpus.jaccard(a, a) == 1


def test_planted_copies_have_the_stated_similarity():
    texts = topic_texts(300)
    documents, planted = corpus.plant(texts, exact=20, near=100, seed=1)
    held = dict(documents)
    assert len(held) == 420
    assert all(held[pair.original] == held[pair.copy] and pair.similarity == 1 for pair in planted.exact)
    assert all(pair.similarity == corpus.jaccard(held[pair.original], held[pair.copy]) < 1 for pair in planted.near)
    # Three edits of 120 words touch at most fifteen of 116 shingles: a similarity of 101 / 131 at least, but for repeated words.
    assert 0.76 < np.mean([pair.similarity for pair in planted.near]) < 0.86


def test_no_text_is_copied_twice_and_planting_is_deterministic():
    texts = topic_texts(200)
    documents, planted = corpus.plant(texts, exact=50, near=50, seed=2)
    sources = [pair.original for pair in (*planted.exact, *planted.near)]
    copies = [pair.copy for pair in (*planted.exact, *planted.near)]
    assert len(set(sources)) == len(set(copies)) == 100
    assert not set(sources) & set(copies)
    assert corpus.plant(texts, exact=50, near=50, seed=2) == (documents, planted)
    assert corpus.plant(texts, exact=50, near=50, seed=3)[1] != planted


def test_ids_do_not_tell_copies_from_originals():
    documents, planted = corpus.plant(topic_texts(300), exact=100, near=100, seed=4)
    copies = {pair.copy for pair in (*planted.exact, *planted.near)}
    places = [place for place, (name, _) in enumerate(documents) if name in copies]
    assert 0.35 < np.mean(places) / len(documents) < 0.65
    assert documents == sorted(documents)


@pytest.mark.parametrize(("exact", "near"), [(0, 11), (11, 0), (6, 6)])
def test_too_many_copies_for_the_texts_is_an_error(exact, near):
    with pytest.raises(ValueError, match="copies wanted"):
        corpus.plant(topic_texts(10), exact=exact, near=near, seed=0)


@given(st.lists(st.sampled_from(["one", "two,", "three.", "\n", "-"]), max_size=60), st.floats(0, 1), st.integers(0, 5))
def test_edits_are_as_many_as_asked_for(words, rate, seed):
    text = " ".join(words)
    edited = corpus.edit_words(text, rate, ["zzz"], np.random.default_rng(seed))
    before, after = (sum(any(c.isalpha() for c in word) for word in one.split()) for one in (text, edited))
    edits = min(max(1, round(rate * before)), before)
    replaced = edited.split().count("zzz")
    assert before - after + replaced == edits
    assert edited.count("\n") == text.count("\n")


def test_corpus_reads_back_as_written(tmp_path):
    documents, planted = corpus.plant(topic_texts(60), exact=5, near=5, seed=0)
    corpus.write_corpus(tmp_path / "c", documents, planted, shards=3)
    files = sorted((tmp_path / "c" / "docs").glob("*.jsonl"))
    assert len(files) == 3
    read = [(record["id"], record["text"]) for path in files for record in corpus.read_jsonl(path)]
    assert sorted(read) == documents
    assert corpus.read_planted(tmp_path / "c") == planted


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_jsonl_is_read_across_blocks_and_without_a_last_newline(tmp_path, suffix):
    path = tmp_path / f"x.jsonl{suffix}"
    records = [{"id": str(number), "text": "x" * 40_000} for number in range(150)]
    with pa.output_stream(str(path), compression="detect") as stream:
        stream.write("\n".join(map(json.dumps, records)).encode())
    assert list(corpus.read_jsonl(path)) == records


def test_missing_data_set_names_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no outfox.*--data"):
        corpus.data_set(tmp_path, "outfox")


# --- files of a run ---------------------------------------------------------------------------------------------------


def write_output(out: Path, published: list[tuple], rejected: list[tuple], dead: list[dict] = ()) -> Path:
    """Files of a run: published (source, id, origin), rejected (source, id, stage, partner)."""
    for folder in ("data", "rejected", "dead_letters"):
        (out / folder).mkdir(parents=True)
    columns = zip(*published, strict=True) if published else ([], [], [])
    table = dict(zip(("source", "id", "origin"), (pa.array(list(column), pa.string()) for column in columns), strict=True))
    pq.write_table(pa.table(table), out / "data" / "train-00000-of-00001.parquet")
    columns = zip(*rejected, strict=True) if rejected else ([], [], [], [])
    names = ("source", "id", "stage", "partner_id")
    table = dict(zip(names, (pa.array(list(column), pa.string()) for column in columns), strict=True))
    pq.write_table(pa.table({**table, "reason": table["stage"]}), out / "rejected" / "000000.parquet")
    (out / "dead_letters" / "0.jsonl").write_text("".join(json.dumps(letter) + "\n" for letter in dead))
    return out


# --- growth -----------------------------------------------------------------------------------------------------------


def test_repeats_are_no_near_duplicates_but_the_planted_are():
    vocabulary = growth.make_vocabulary(topic_texts(100))
    texts = list(growth.scrambled_texts(vocabulary, 1_000, seed=0))
    assert max(corpus.jaccard(texts[place], texts[place + 100]) for place in range(200)) < 0.4
    copies = [corpus.jaccard(one, other) for one, other in pairwise(texts)]
    assert 0.01 < np.mean([similarity > 0.6 for similarity in copies]) < 0.08


def test_a_small_corpus_is_the_beginning_of_a_large_one_and_texts_keep_their_length():
    vocabulary = growth.make_vocabulary(topic_texts(50))
    small, large = list(growth.scrambled_texts(vocabulary, 20, seed=0)), growth.scrambled_texts(vocabulary, 10**9, seed=0)
    assert small == list(islice(large, 20))
    assert {text.count(" ") for text in small} == {119}


def test_growth_corpus_is_half_human_and_its_ids_are_distinct(tmp_path):
    vocabulary = growth.make_vocabulary(topic_texts(50))
    text_bytes = growth.write_growth_corpus(tmp_path / "g", vocabulary, 320, seed=0)
    records = {kind: [r for path in (tmp_path / "g").glob(f"{kind}-*.jsonl") for r in corpus.read_jsonl(path)] for kind in ("human", "synthetic")}
    assert len(records["human"]) == len(records["synthetic"]) == 160
    everything = records["human"] + records["synthetic"]
    assert len({record["id"] for record in everything}) == 320
    assert text_bytes == sum(len(record["text"].encode()) for record in everything)


# --- real run ---------------------------------------------------------------------------------------------------------

READ = {"h": Counter({"1": 1, "2": 1, "3": 1}), "s": Counter({"1": 1, "2": 1})}
ACCOUNTS = [
    {"source": "h", "read": 3, "published": {"human": 1}, "rejected": [{"documents": 1}], "dead": [{"records": 1}]},
    {"source": "s", "read": 2, "published": {"synthetic": 1}, "rejected": [{"documents": 1}], "dead": []},
]


def left_of(tmp_path: Path, **changes) -> real_run.Left:
    files = {
        "published": [("h", "1", "human"), ("s", "1", "synthetic")],
        "rejected": [("h", "2", "near_duplicates", "1"), ("s", "2", "mix", None)],
        "dead": [{"source": "h"}],
    }
    return real_run.read_left(write_output(tmp_path / "out", **{**files, **changes}))


def test_balanced_books_have_no_fault(tmp_path):
    assert real_run.find_book_faults(READ, left_of(tmp_path), ACCOUNTS) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"published": [("h", "1", "human")]}, "s: 1 documents are neither published nor rejected, but 0 are dead letters"),
        ({"published": [("h", "1", "human"), ("s", "1", "x"), ("s", "2", "x")]}, r"s: 1 documents more in the output.*\['2'\]"),
        ({"published": [("h", "1", "human"), ("s", "9", "x")]}, r"s: 1 documents more in the output.*\['9'\]"),
        ({"dead": []}, "h: 1 documents are neither published nor rejected, but 0 are dead letters"),
        ({"dead": [{"source": "h", "count": 2}]}, "but 2 are dead letters"),
    ],
)
def test_lost_doubled_and_unknown_documents_are_faults(tmp_path, changes, fault):
    found = real_run.find_book_faults(READ, left_of(tmp_path, **changes), ACCOUNTS)
    assert any(re.search(fault, one) for one in found), found


def test_a_manifest_that_says_otherwise_is_a_fault(tmp_path):
    (fault,) = real_run.find_book_faults(READ, left_of(tmp_path), ACCOUNTS[:1])
    assert fault.startswith("s: the manifest says")


def test_quota_is_recounted_from_every_file(tmp_path):
    out = write_output(tmp_path / "out", [("h", "1", "human"), ("s", "1", "synthetic"), ("s", "2", "synthetic")], [])
    assert real_run.find_quota_faults(out, Fraction(1, 3)) == ([], [1 / 3])
    faults, _ = real_run.find_quota_faults(out, Fraction("0.34"))
    assert faults == ["train-00000-of-00001.parquet: 1 of 3 documents are human, less than 17/50"]


def test_groups_are_split_when_two_members_come_through_deduplication(tmp_path):
    left = left_of(tmp_path)
    groups = {
        "one published": [("h", "1"), ("h", "2")],
        "one published, one over the quota": [("h", "1"), ("s", "2")],
        "none": [("h", "2"), ("h", "3")],
    }
    assert real_run.find_split_groups(groups, left) == ["one published, one over the quota"]


def test_inputs_are_extracted_without_labels(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    files = [*real_run.HUMAN.values(), *real_run.SYNTHETIC.values()]
    for name in files:
        (data / f"{name}.jsonl").write_text(json.dumps({"id": name, "text": "x", "dup_group": "g" if name == "human_imdb_2011" else None}) + "\n")
    machine = [{"id": "1", "text": "x", "label": "machine"}, {"id": "2", "text": "y", "label": "human"}]
    (data / "l2r21.jsonl").write_text("".join(json.dumps(record) + "\n" for record in machine))
    (data / "detectrl.jsonl").write_text(
        json.dumps({"id": "3", "text": "z", "label": "human", "generator": "g", "attack": "a", "domain": "d"}) + "\n"
    )
    inputs = real_run.extract_inputs(data, tmp_path / "scratch")
    assert list(corpus.read_jsonl(inputs["unlabelled"]["detectrl"])) == [{"id": "3", "text": "z", "domain": "d"}]
    read, groups = real_run.read_inputs(inputs)
    assert read["l2r21"] == Counter({"1": 1})
    assert groups == {"g": [("imdb", "human_imdb_2011")]}


# --- steering ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_compared_with_what_lies_in_the_files(tmp_path):
    for kind, rows in (
        ("data", {"tokens": [3, 4, 5], "origin": ["human", "synthetic", "human"], "source": ["a", "b", "a"]}),
        ("rejected", {"stage": ["mix", "mix"], "reason": ["over_quota", "over_quota"]}),
    ):
        (tmp_path / kind).mkdir()
        pq.write_table(pa.table(rows), tmp_path / kind / "0.parquet")
    found = steering.read_published(tmp_path)
    assert found == steering.Published(3, 12, 2, {"a": 2, "b": 1}, {"mix: over_quota": 2})
    account = {"rejected": [{"stage": "mix", "reason": "over_quota", "documents": 2}], "dead": []}
    accounts = [{"source": "a", "published": {"human": 2}, "rejected": []}, {"source": "b", "published": {"synthetic": 1}, **account}]
    planned = steering.read_plan({"accounts": accounts, "published": {"documents": {"all": 3}, "tokens": {"all": 12}}})
    assert planned == found and steering.find_differences("x", vars(planned), found) == []
    row = {"documents": 3, "tokens": 11, "human_share": 2 / 3, "sources": {"a": 2, "b": 1, "c": 0}}
    assert steering.find_differences("x", steering.read_row(row), found) == ["x: tokens planned 11, published 12"]


def test_copies_of_a_scored_shard_are_other_documents_with_the_same_scores():
    rows = 4
    hashes = pa.array([bytes([row] * 16) for row in range(rows)], pa.binary(16))
    table = pa.table({"id": [f"d{row}" for row in range(rows)], "row_key": pa.array(range(rows), pa.uint64()), "words": list(range(rows))})
    table = table.append_column("content_hash", hashes).append_column("signature", hashes).append_column("bands", hashes)
    copies = [explorer.copy_shard(table, number) for number in range(3)]
    assert copies[0].drop_columns("id").equals(table.drop_columns("id"))
    for name in ("id", "row_key", "content_hash", "signature", "bands"):
        assert len({value for copy in copies for value in copy[name].to_pylist()}) == 3 * rows
    assert all(copy["words"].equals(table["words"]) and copy.schema.equals(table.schema) for copy in copies)
