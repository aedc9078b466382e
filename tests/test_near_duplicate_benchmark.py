"""The benchmark of near-duplicates judges as it says: which pairs were found, which removals were right, what holds a component together."""

import numpy as np
import pytest

from benchmarks.near_duplicates import Search, describe_largest, find, judge_removed, measure_groups, plant, write_documents
from tests.texts import edited, prose, write_jsonl


def test_each_text_has_one_copy_at_a_rate_by_turns():
    texts = [prose(number, 80) for number in range(6)]
    everything, copies = plant(texts, (0.05, 0.4))
    assert everything[:6] == texts and len(everything) == 12
    assert copies == {6 + number: (number, (0.05, 0.4)[number % 2]) for number in range(6)}
    assert plant(texts, (0.05, 0.4))[0] == everything


def test_a_pair_is_found_if_one_names_the_other_and_what_is_unlike_is_wrong():
    texts = [prose(1), prose(2), edited(prose(1), 0), prose(3)]
    copies = {2: (0, 0.02), 3: (1, 0.4)}
    assert judge_removed([(2, 0)], copies, texts, 0.6) == ({0.02: 1.0, 0.4: 0.0}, 1.0)
    assert judge_removed([(0, 2), (1, 0)], copies, texts, 0.6) == ({0.02: 1.0, 0.4: 0.0}, 0.5)
    assert judge_removed([], copies, texts, 0.6) == ({0.02: 0.0, 0.4: 0.0}, 1.0)


def test_the_largest_component_is_told_with_its_links():
    members = np.array([[1, 9], [2, 9], [3, 9], [7, 8], [6, 8]], np.uint64)
    edges = np.array([[1, 2], [2, 3], [3, 2], [6, 7]], np.uint64)
    assert describe_largest(members, edges) == (3, 2, 2)
    assert describe_largest(np.empty((0, 2), np.uint64), np.empty((0, 2), np.uint64)) == (0, 0, 0)


def test_copies_are_found_and_groups_counted(tmp_path):
    records = [{"id": str(n), "text": prose(n), "dup_group": None} for n in range(12)]
    records += [{"id": "copy", "text": prose(3), "dup_group": "a"}, {"id": "near", "text": edited(prose(4), 1), "dup_group": "b"}]
    records[3]["dup_group"], records[4]["dup_group"] = "a", "b"
    write_jsonl(tmp_path / "set.jsonl", records)
    shards = write_documents(tmp_path / "direct", [record["text"] for record in records], Search())
    assert find(shards, Search(), exact=True)[0] == [(12, 3)]
    removed, members, edges = find(shards, Search())
    assert removed == [(12, 3), (13, 4)] and len(members) == 4 and len(np.unique(edges, axis=0)) == 2
    row = measure_groups(tmp_path, "set", None, tmp_path / "scratch")
    assert row == ["set", "14", "2 of 2", "1", "2", "0", "-", "2", "1 (1)"]


def test_a_search_says_what_it_is():
    assert str(Search()) == "14 x 8, 5-grams, from 0.7"


def test_a_missing_set_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no set"):
        measure_groups(tmp_path, "set", None, tmp_path)
