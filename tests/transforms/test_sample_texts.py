"""Samples of text: which are chosen, that each is read once, and that their figures are those of the texts themselves."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.diversity import EXCERPT_WORDS, cut_excerpts, measure_diversity
from tests.texts import prose
from transforms import sample_texts
from transforms.records import ScoredShard, make_addresses
from transforms.sample_texts import DIVERSITY, choose_sample, measure_samples, read_excerpts, sample_keys

TEXTS = [prose(seed, 90 if seed % 5 else 30) for seed in range(200)]
WORDS = np.array([len(text.split()) for text in TEXTS])
HASHES = pa.array([hashlib.md5(text.encode()).digest() for text in TEXTS], pa.binary(16))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The texts in two shards of small row groups, by index."""
    folder = tmp_path_factory.mktemp("sample")
    found = {}
    for index, rows in ((0, TEXTS[:120]), (7, TEXTS[120:])):
        pq.write_table(pa.table({"text": rows}), folder / f"{index}.parquet", row_group_size=32)
        found[index] = ScoredShard(f"{index}.parquet", str(folder / f"{index}.parquet"), len(rows), index)
    return found


ADDRESSES = np.concatenate([make_addresses(0, np.arange(120)), make_addresses(7, np.arange(80))])


def test_keys_are_the_first_bytes_of_the_hashes_also_of_a_slice():
    expected = [int.from_bytes(one.as_py()[:8], "big") for one in HASHES]
    assert sample_keys(HASHES).tolist() == expected
    assert sample_keys(HASHES.slice(3, 5)).tolist() == expected[3:8]
    assert sample_keys(pa.chunked_array([HASHES.slice(0, 2), HASHES.slice(2, 3)])).tolist() == expected[:5]
    assert sample_keys(HASHES.slice(0, 0)).tolist() == []


def test_the_smallest_hashes_of_long_texts_that_are_kept_make_the_sample(monkeypatch):
    monkeypatch.setattr(sample_texts, "SAMPLE_TEXTS", 50)
    keys, kept = sample_keys(HASHES), np.arange(200) % 2 == 0
    chosen = choose_sample(kept, np.argsort(keys), WORDS, ADDRESSES)
    expected = sorted(
        (key, address) for key, address, long, is_kept in zip(keys, ADDRESSES, WORDS >= EXCERPT_WORDS, kept, strict=True) if long and is_kept
    )
    assert chosen.tolist() == [address for _, address in expected[:50]]


def test_figures_are_those_of_the_texts_in_the_order_of_the_sample(shards):
    order = np.random.default_rng(0).permutation(200)
    samples = [ADDRESSES[order], ADDRESSES[order[:190]], ADDRESSES[order[:190]], ADDRESSES[:0]]
    found = measure_samples(samples, shards)
    for places, figures in zip((order, order[:190], order[:190]), found, strict=False):
        expected = measure_diversity(cut_excerpts(pa.array([TEXTS[place] for place in places])), names=DIVERSITY)
        assert list(figures) == list(DIVERSITY) and figures == expected
    assert found[3] == {}


def test_each_text_is_read_once_and_only_from_its_row_group(shards, monkeypatch):
    read = []
    monkeypatch.setattr(
        sample_texts, "read_excerpts", lambda of_shard: (read.append((of_shard[0].index, of_shard[1].tolist())), read_excerpts(of_shard))[1]
    )
    measure_samples([ADDRESSES[[3, 40, 130]], ADDRESSES[[40, 130, 131]]], shards)
    assert read == [(0, [3, 40]), (7, [10, 11])]


def test_only_the_figures_that_are_asked_for_are_taken():
    excerpts = cut_excerpts(pa.array(TEXTS))
    everything = measure_diversity(excerpts)
    for name in everything:
        assert measure_diversity(excerpts, names=(name,)) == {name: everything[name]}
