"""The benchmark of semantic duplicates counts what it says: pairs, false hits, and what clusters miss."""

import numpy as np

from benchmarks.semantic import MIN_WORDS, Text, cluster_recall, cosines_of, count_hits, draw_others, draw_pairs

LONG = " ".join(f"word{number}" for number in range(MIN_WORDS))


def record(pair, label, text=LONG):
    return {"pair": pair, "label": label, "text": f"{text} {pair} {label}"}


def test_pairs_have_both_sides_and_are_the_same_in_any_order():
    records = [record(pair, label) for pair in "abcdef" for label in ("human", "machine")] + [record("g", "human"), record("h", "machine")]
    records += [record("i", "human"), {"pair": "i", "label": "machine", "text": "too short"}, {"pair": None, "label": "human", "text": LONG}]
    drawn = draw_pairs(records, 3)
    assert drawn == draw_pairs(records[::-1], 3)
    assert [one.rewrite for one in drawn] == [False, True] * 3
    assert all(human.pair == machine.pair and "human" in human.text for human, machine in zip(drawn[::2], drawn[1::2], strict=True))
    assert {one.pair for one in draw_pairs(records, 99)} == set("abcdef")


def test_others_are_different_texts_of_enough_words():
    records = [record(str(number), "human") for number in range(5)] * 2 + [{"text": "short"}]
    assert len(draw_others(records, "set", 99)) == 5
    assert draw_others(records, "set", 2) == draw_others(records[::-1], "set", 2)


def test_hits_are_pairs_found_and_texts_that_are_no_rewrite():
    texts = [
        Text("a", "p", "1"),
        Text("b", "p", "1", rewrite=True),
        Text("c", "p", "2"),
        Text("d", "p", "2", rewrite=True),
        Text("e", "q"),
        Text("f", "q"),
    ]
    alike = np.eye(6, dtype=bool)
    for one, other in ((0, 1), (2, 0), (3, 0), (5, 4)):
        alike[one, other] = alike[other, one] = True
    found, false = count_hits(texts, alike)
    # 1 is found; 2 is like 0 wrongly, 3 is a rewrite, 5 is like 4.
    assert (found, false) == (1, {"p": 1, "q": 1})


def test_cosines_and_clusters_of_plain_vectors():
    vectors = np.array([[127, 0], [127, 1], [0, 127], [1, 127], [0, 0]], np.int8)
    cosines = cosines_of(vectors)
    assert cosines[0, 1] > 0.99 and cosines[0, 2] == 0 and not cosines[4].any()
    alike = cosines > 0.9
    assert cluster_recall(vectors[:4], alike[:4, :4], 1, 1) == (1.0, 1.0)
    assert cluster_recall(vectors[:4], alike[:4, :4], 2, 1) == (1.0, 2 / 6)
    assert cluster_recall(vectors[:4], alike[:4, :4], 2, 2) == (1.0, 1.0)
