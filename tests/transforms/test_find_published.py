"""What earlier cycles published of a run's documents is found: equal texts always, near-duplicates by their signatures."""

import uuid
from dataclasses import replace

import apache_beam as beam
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given, settings

from tests.transforms.ledger_rows import probes_of, reading_of, rows_of_documents, write_rows
from tests.transforms.shard_files import BANDS, HASHES, Document, random_signature, similarity, vary, write_shards
from transforms.find_earlier import (
    EARLIER_SCHEMA,
    GROUP_ROWS,
    emit_probes,
    find_earlier,
    find_published,
    group_files,
    load_probes,
    look_up,
    make_probes,
    sort_earlier,
)
from transforms.find_published import FindPublished
from transforms.ledger_files import EXTRA_BANDS, LedgerFile

SYNTHETIC = 2
_FOUND: dict[str, list] = {}


def synthetic(name, signature, **details):
    return Document(name, signature, origin=SYNTHETIC, **details)


# Looking up


@settings(max_examples=60)
@given(
    ours=st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), max_size=12),
    theirs=st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), max_size=12),
    spread=st.sampled_from([1, 1 << 10, 104_729 << 10]),
)
def test_looking_up_meets_exactly_the_documents_that_share_a_key(ours, theirs, spread):
    ours, theirs = (np.array(held, np.uint32).reshape(-1, 3) * np.uint32(spread) for held in (ours, theirs))
    n = len(ours)
    probes = make_probes(np.arange(n, dtype=np.uint64), np.zeros((n, 16), np.uint8), np.zeros((n, 8), np.uint8), np.ones(n, bool), ours)
    met = [(int(row), int(owner)) for rows, owners in look_up(theirs, probes) for row, owner in zip(rows, owners, strict=True)]
    shared = [(row, owner) for row in range(len(theirs)) for owner in range(n) if set(theirs[row].tolist()) & set(ours[owner].tolist())]
    assert met == shared


def test_meetings_come_in_blocks_and_none_is_lost(monkeypatch):
    monkeypatch.setattr("transforms.find_earlier.BLOCK_MEETINGS", 7)
    ours = np.repeat(np.arange(5, dtype=np.uint32)[:, None], 3, axis=1)
    theirs = np.repeat(np.arange(10, dtype=np.uint32)[:, None] % 5, 3, axis=1)
    probes = make_probes(np.arange(5, dtype=np.uint64), np.zeros((5, 16), np.uint8), np.zeros((5, 8), np.uint8), np.ones(5, bool), ours)
    blocks = list(look_up(theirs, probes))
    assert len(blocks) > 1
    assert [pair for rows, owners in blocks for pair in zip(rows.tolist(), owners.tolist(), strict=True)] == [(row, row % 5) for row in range(10)]


def test_a_key_that_very_many_share_meets_the_first_of_them(monkeypatch):
    monkeypatch.setattr("transforms.find_earlier.MAX_SHARING", 4)
    addresses = np.arange(10, dtype=np.uint64)[::-1]
    keys = np.zeros((10, 1), np.uint32)
    probes = make_probes(addresses, np.zeros((10, 16), np.uint8), np.zeros((10, 8), np.uint8), np.ones(10, bool), keys)
    ((_, owners),) = look_up(np.zeros((1, 1), np.uint32), probes)
    assert probes.addresses[owners].tolist() == [0, 1, 2, 3]


# Finding


def test_the_same_text_and_a_near_duplicate_are_found_with_cycle_and_id(tmp_path):
    random = np.random.default_rng(1)
    first, second, third = (random_signature(random) for _ in range(3))
    files = write_rows(tmp_path, rows_of_documents([synthetic("old-a", first), synthetic("old-b", second)], "c1", "r1"), "r1")
    files += write_rows(tmp_path, rows_of_documents([synthetic("older-b", second)], "c0", "r0"), "r0")
    near = vary(second, range(20))
    ours = [synthetic("old-a", first), synthetic("edited-b", near), synthetic("new", third)]
    found = find_earlier(reading_of(tmp_path, files), probes_of(ours), 0.7).to_pylist()
    expected = similarity(synthetic("b", second), synthetic("e", near))
    assert [(row["address"], row["cycle"], row["id"]) for row in found] == [(0, "c1", "old-a"), (1, "c0", "older-b"), (1, "c1", "old-b")]
    assert [row["similarity"] for row in found] == [1, pytest.approx(expected), pytest.approx(expected)]


def test_equal_texts_are_found_though_they_have_no_word(tmp_path):
    files = write_rows(tmp_path, rows_of_documents([synthetic("old", None, content=b"c" * 16)], "c1", "r1"), "r1")
    (shard,) = write_shards(tmp_path / "run", [[synthetic("new", None, content=b"c" * 16), synthetic("other", None, content=b"d" * 16)]])
    (probes,) = load_probes(emit_probes(shard, (SYNTHETIC,), BANDS, EXTRA_BANDS, str(tmp_path / "probes")))
    (row,) = find_earlier(reading_of(tmp_path, files), probes, 0.7).to_pylist()
    assert (row["address"], row["id"], row["similarity"]) == (0, "old", 1)


def test_two_texts_without_words_are_not_near_duplicates(tmp_path):
    """Their absent signatures are equal zeros."""
    crossing = b"\0\0\0\0abcd" + bytes(8)
    files = write_rows(tmp_path, rows_of_documents([synthetic("old", None, content=crossing)], "c1", "r1"), "r1")
    (shard,) = write_shards(tmp_path / "run", [[synthetic("new", None, content=b"\0\0\0\1abcd" + bytes(8))]])
    (probes,) = load_probes(emit_probes(shard, (SYNTHETIC,), BANDS, EXTRA_BANDS, str(tmp_path / "probes")))
    assert find_earlier(reading_of(tmp_path, files), probes, 0.01).num_rows == 0


def test_unlike_texts_that_share_a_band_are_not_reuse(tmp_path):
    random = np.random.default_rng(2)
    ours, theirs = random_signature(random), random_signature(random)
    theirs = ours[:8] + theirs[8:]
    files = write_rows(tmp_path, rows_of_documents([synthetic("old", theirs)], "c1", "r1"), "r1")
    assert find_earlier(reading_of(tmp_path, files), probes_of([synthetic("new", ours)]), 0.7).num_rows == 0


def test_rows_of_other_kinds_and_of_replaced_runs_do_not_count(tmp_path):
    random = np.random.default_rng(3)
    signature = random_signature(random)
    files = write_rows(tmp_path, rows_of_documents([Document("as-human", signature, origin=0)], "c1", "r1"), "r1")
    files += write_rows(tmp_path, rows_of_documents([synthetic("before", signature)], "c2", "r2"), "r2")
    probes = probes_of([synthetic("new", signature)])
    assert find_earlier(reading_of(tmp_path, files), probes, 0.7)["id"].to_pylist() == ["before"]
    assert find_earlier(reading_of(tmp_path, files, ignored=["r2"]), probes, 0.7).num_rows == 0
    both = find_earlier(reading_of(tmp_path, files, kinds=("human", "synthetic")), probes, 0.7)
    assert both["id"].to_pylist() == ["as-human", "before"]


def test_nearly_every_near_duplicate_is_found(tmp_path):
    """At .8 of agreement the bands propose 96 % of pairs, at .9 all but one in ten thousand."""
    random = np.random.default_rng(4)
    texts = [random_signature(random) for _ in range(300)]
    files = write_rows(tmp_path, rows_of_documents([synthetic(f"old-{n}", text) for n, text in enumerate(texts)], "c1", "r1"), "r1")
    edited = [vary(text, random.permutation(HASHES)[:11]) for text in texts]
    found = find_earlier(reading_of(tmp_path, files), probes_of([synthetic(f"new-{n}", text) for n, text in enumerate(edited)]), 0.7)
    assert found.num_rows == 300
    assert found["id"].to_pylist() == [f"old-{n}" for n in range(300)]


# On Beam


def _collect(keyed, run):
    _FOUND.setdefault(run, []).append(keyed)


def run_on(transform, shards):
    run = uuid.uuid4().hex
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | beam.Create(shards, reshuffle=False) | transform | "Collect" >> beam.Map(_collect, run)
    pipeline.run().wait_until_finish()
    found = _FOUND.pop(run, [])
    assert len({index for index, _ in found}) == len(found)
    assert all((address.as_py() >> 32) == index for index, batch in found for address in batch["address"])
    return pa.Table.from_batches([batch for _, batch in sorted(found, key=lambda keyed: keyed[0])], EARLIER_SCHEMA)


def test_the_step_finds_what_the_function_finds_for_living_documents_of_the_origin(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.find_earlier.PASS_KEYS", 50)
    monkeypatch.setattr("transforms.find_earlier.GROUP_ROWS", 10)
    random = np.random.default_rng(6)
    texts = [random_signature(random) for _ in range(60)]
    files = []
    for cycle in range(3):
        documents = [synthetic(f"old-{cycle}-{n}", text) for n, text in enumerate(texts) if n % 3 >= cycle]
        files += write_rows(tmp_path, rows_of_documents(documents, f"c{cycle}", f"r{cycle}"), f"r{cycle}")
    documents = [synthetic(f"new-{n}", vary(text, range(n % 30))) for n, text in enumerate(texts)]
    documents[0] = replace(documents[0], origin=0)
    documents[1] = replace(documents[1], reason="near_duplicate")
    shards = write_shards(tmp_path / "run", [documents[:25], documents[25:27], documents[27:]])
    found = run_on(FindPublished(reading_of(tmp_path, files), (SYNTHETIC,), 0.7, str(tmp_path / "probes")), shards)
    whole = find_earlier(reading_of(tmp_path, files), probes_of(documents), 0.7)
    numbers = [(int(address) >> 32, int(address) & 0xFFFFFFFF) for address in found["address"].to_numpy()]
    flat = [{0: 0, 1: 25, 2: 27}[shard] + row for shard, row in numbers]
    expected = [row for row in whole.to_pylist() if row["address"] not in (0, 1)]
    here = [batch for _, batch in find_published(shards, reading_of(tmp_path, files), (SYNTHETIC,), 0.7, str(tmp_path / "here"))]
    assert sort_earlier(pa.Table.from_batches(here)).equals(found)
    assert list(zip(flat, found["cycle"].to_pylist(), found["id"].to_pylist(), strict=True)) == [
        (row["address"], row["cycle"], row["id"]) for row in expected
    ]
    assert len(expected) > 60


def test_an_empty_ledger_finds_nothing(tmp_path):
    shards = write_shards(tmp_path / "run", [[synthetic("new", random_signature(np.random.default_rng(7)))]])
    assert run_on(FindPublished(reading_of(tmp_path, []), (SYNTHETIC,), 0.7, str(tmp_path / "probes")), shards).num_rows == 0


def test_files_are_taken_in_groups_of_about_as_many_rows():
    files = [LedgerFile(f"f{n:02}", "synthetic", "0", GROUP_ROWS // 3, 1) for n in range(7)] + [
        LedgerFile("large", "synthetic", "0", 5 * GROUP_ROWS, 1)
    ]
    groups = group_files(files)
    assert [len(group) for group in groups] == [3, 3, 1, 1]
    assert sorted(file.path for group in groups for file in group) == sorted(file.path for file in files)


@pytest.mark.parametrize("similarity", [0, 1.1])
def test_a_similarity_outside_its_range_is_refused(similarity):
    with pytest.raises(ValueError, match="must lie in 0"):
        FindPublished(reading_of("x", []), (SYNTHETIC,), similarity, "y")


def test_a_probe_file_cut_short_is_refused(tmp_path):
    (shard,) = write_shards(tmp_path / "run", [[synthetic("new", random_signature(np.random.default_rng(8)))]])
    (file,) = emit_probes(shard, (SYNTHETIC,), BANDS, EXTRA_BANDS, str(tmp_path))
    whole = (tmp_path / file.path).read_bytes()
    (tmp_path / file.path).write_bytes(whole[:-4])
    with pytest.raises(ValueError):
        list(load_probes([file]))


def test_a_file_that_is_not_as_the_ledger_says_is_refused(tmp_path):
    (file,) = write_rows(tmp_path, rows_of_documents([synthetic("old", random_signature(np.random.default_rng(9)))], "c", "r"), "r")
    wrong = LedgerFile(file.path, file.kind, file.part, 2, file.num_bytes)
    with pytest.raises(ValueError, match="1 rows where the ledger counts 2"):
        find_earlier(reading_of(tmp_path, [wrong]), probes_of([synthetic("n", random_signature(np.random.default_rng(9)))]), 0.7)
