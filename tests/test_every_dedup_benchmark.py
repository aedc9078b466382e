"""The corpus of `benchmarks.every_dedup` holds work for every kind of deduplication, in proportion to its size."""

from pydoc_data import topics

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import every_dedup, growth
from transforms.document_keys import normalise_url

BOILERPLATES = [[f"line {line} of boilerplate {number}" for line in range(4)] for number in range(every_dedup.BOILERPLATES)]
ITEMS = [" ".join(f"item{number}word{word}" for word in range(60)) for number in range(7)]


def record_of(number, text="The text of the document, as it was."):
    return every_dedup.plant(number, text, BOILERPLATES, ITEMS)


@given(st.integers(0, 1 << 20))
def test_two_documents_in_fifty_have_one_address_written_in_two_ways(block):
    first = block * every_dedup.URL_EVERY
    records = [record_of(first + place) for place in range(every_dedup.URL_EVERY)]
    addresses = [normalise_url(record["url"]) for record in records]
    assert len(set(addresses)) == every_dedup.URL_EVERY - 1
    assert addresses[20] == addresses[21]
    assert len({record["url"] for record in records}) == every_dedup.URL_EVERY


def test_hot_keys_grow_with_the_corpus_and_the_others_do_not():
    records = [record_of(number) for number in range(1_200)]
    prompts, lines = [record["prompt"] for record in records], [record["text"].split("\n")[-1] for record in records]
    assert prompts.count("Write something.") == 1_200 // every_dedup.HOT_PROMPT_EVERY
    assert max(prompts.count(prompt) for prompt in set(prompts) - {"Write something."}) <= every_dedup.PROMPT_DOCUMENTS
    hot = [line for line in lines if line.startswith("Sign up")]
    assert 1_200 // every_dedup.HOT_LINE_EVERY - 1_200 // every_dedup.QUOTE_EVERY <= len(hot) <= 1_200 // every_dedup.HOT_LINE_EVERY


def test_documents_of_boilerplate_hold_mostly_that_and_quotations_a_stretch_of_an_item():
    text = " ".join(["word"] * 100)
    boilerplate = record_of(every_dedup.BOILERPLATE_EVERY + 7, text)["text"]
    assert all(line in boilerplate for line in BOILERPLATES[1])
    assert len(boilerplate) < len(text)
    quoting = record_of(2 * every_dedup.QUOTE_EVERY + 11, text)["text"]
    assert quoting.endswith(" ".join(ITEMS[2].split()[: every_dedup.QUOTED_WORDS]))


@pytest.mark.parametrize("count", [50, 120])
def test_a_corpus_has_both_origins_its_evaluation_set_and_begins_alike_at_every_size(tmp_path, count):
    texts = [text[:400] for text in topics.topics.values() if len(text) > 400][:40]
    vocabulary = growth.make_vocabulary(texts)
    every_dedup.write_corpus(tmp_path, vocabulary, count, seed=0)
    records = [orjson.loads(line) for path in sorted(tmp_path.glob("*-0000.jsonl")) for line in path.read_bytes().splitlines()]
    assert sorted(record["id"] for record in records) == [f"{number:09d}" for number in range(count)]
    assert {path.name.split("-")[0] for path in tmp_path.glob("*-0000.jsonl")} == {"human", "synthetic"}
    items = [orjson.loads(line) for line in (tmp_path / "evaluation.jsonl").read_bytes().splitlines()]
    assert len(items) == every_dedup.EVALUATION_ITEMS
    first = next(record for record in records if record["id"] == f"{11:09d}")
    assert " ".join(items[0]["text"].split()[: every_dedup.QUOTED_WORDS]) in first["text"]
    other = tmp_path / "other"
    every_dedup.write_corpus(other, vocabulary, 20, seed=0)
    early = [orjson.loads(line) for path in sorted(other.glob("*-0000.jsonl")) for line in path.read_bytes().splitlines()]
    assert early == sorted((record for record in records if int(record["id"]) < 20), key=lambda record: early.index(record))
