"""Scores of unlabelled documents are counted by source, add up over shards, and are recalled as they were written."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from classifiers.prevalence import count_scores
from transforms.count_unlabelled import UnlabelledScores, add_unlabelled, count_unlabelled

documents = st.lists(
    st.tuples(
        st.sampled_from(["news", "web"]),
        st.sampled_from(["human", "synthetic", "unknown"]),
        st.integers(0, 600),
        st.one_of(st.none(), st.floats(0, 1, width=32)),
    ),
    max_size=30,
)


def table(rows):
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    kinds = pa.string(), pa.string(), pa.int32(), pa.float32()
    names = "source", "origin", "words", "ai_probability"
    return pa.table({name: pa.array(list(values), kind) for name, values, kind in zip(names, columns, kinds, strict=True)})


@given(documents)
def test_each_source_counts_its_own_unlabelled_documents_and_no_others(rows):
    found = {one.source: one for one in count_unlabelled(table(rows))}
    assert set(found) == {source for source, origin, _, _ in rows if origin == "unknown"}
    for source, one in found.items():
        own = [row for row in rows if row[0] == source and row[1] == "unknown"]
        assert one.documents == len(own)
        probability = np.array([np.nan if row[3] is None else row[3] for row in own], np.float32)
        assert (one.counts() == count_scores(probability, np.array([row[2] for row in own], np.int32))).all()
        assert all(count > 0 for _, count in one.cells) and list(one.cells) == sorted(one.cells)


@given(documents, st.integers(0, 30))
def test_the_counts_of_two_shards_add_up_to_those_of_both(rows, cut):
    parts = [*count_unlabelled(table(rows[:cut])), *count_unlabelled(table(rows[cut:]))]
    assert add_unlabelled(parts) == add_unlabelled(reversed(parts)) == count_unlabelled(table(rows))


def test_chunks_of_a_table_do_not_matter():
    one, two = table([("web", "unknown", 120, 0.5)]), table([("web", "unknown", 60, None), ("news", "unknown", 60, 1.0)])
    (news, web) = count_unlabelled(pa.concat_tables([one, two]))
    assert (news.source, news.documents, web.source, web.documents) == ("news", 1, "web", 2)
    assert sum(count for _, count in web.cells) == 1


def test_without_a_detector_nothing_is_counted():
    assert count_unlabelled(table([("web", "unknown", 120, 0.5)]).drop_columns("ai_probability")) == ()
    assert add_unlabelled([]) == ()


def test_a_source_that_could_not_be_judged_is_counted_all_the_same():
    assert count_unlabelled(table([("web", "unknown", 10, 0.5), ("web", "unknown", 99, None)])) == (UnlabelledScores("web", 2, ()),)
