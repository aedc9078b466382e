"""The explorer's histograms count every document once, and its samples are the nearest ones, whatever the order of files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from pipeline.explore_charts import MOST_BARS, histogram_chart, parts_chart
from pipeline.explore_columns import DECLARED_ORIGINS, ScoredColumns, by_hash, histogram, nearest
from pipeline.explore_controls import count_stops, nearest_stop, parse_value, share_stops, value_stops
from pipeline.explore_figures import Part
from transforms.records import ScoredShard, make_addresses

VALUES = numpy_st.arrays(np.float32, st.integers(1, 200), elements=st.one_of(st.just(np.nan), st.floats(-1e6, 1e6, width=32), st.integers(0, 20)))


@given(VALUES, st.integers(0, 2**32))
def test_a_histogram_counts_each_document_once_and_holds_the_marks(values, seed):
    declared = np.random.default_rng(seed).integers(0, 3, len(values)).astype(np.uint8)
    found = histogram(values, declared, [0.25, np.nan])
    for code, name in enumerate(DECLARED_ORIGINS):
        present = declared == code
        assert (name in found.counts) == present.any()
        if present.any():
            assert found.counts[name].sum() + found.missing[name] == present.sum() and (found.counts[name] >= 0).all()
    assert (np.diff(found.edges) > 0).all() and found.edges[0] <= 0.25 <= found.edges[-1] and len(found.edges) <= 63


def test_whole_numbers_have_bars_of_their_own():
    found = histogram(np.array([0, 1, 1, 3], np.float32), np.zeros(4, np.uint8))
    assert found.edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5] and found.counts["human"].tolist() == [1, 2, 0, 1]


@given(VALUES, st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_nearest_are_nearest_whatever_the_order(margin, count, random):
    keys = np.arange(len(margin), dtype=np.uint64) * np.uint64(7919) % np.uint64(1009)
    kept, down = nearest(margin, keys, count)
    for side, among in ((kept, margin >= 0), (down, margin < 0)):
        wanted = sorted((abs(float(margin[place])), int(keys[place])) for place in np.flatnonzero(among))[:count]
        assert [(abs(float(margin[place])), int(keys[place])) for place in side] == wanted
    order = list(range(len(margin)))
    random.shuffle(order)
    again = nearest(margin[order], keys[order], count)
    assert [[order[place] for place in side] for side in again] == [kept, down]


@given(numpy_st.arrays(bool, st.integers(0, 60)), st.integers(1, 5))
def test_pages_of_a_sample_show_every_document_once(among, count):
    keys = np.arange(len(among), dtype=np.uint64) * np.uint64(7919) % np.uint64(1009)
    pages = [by_hash(among, keys, count, skip) for skip in range(0, int(among.sum()) + 1, count)]
    shown = [place for page in pages for place in page]
    assert sorted(shown) == np.flatnonzero(among).tolist() and [int(keys[place]) for place in shown] == sorted(int(keys[place]) for place in shown)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    shards = []
    for number, rows in enumerate((5, 3)):
        path = folder / f"{number}.parquet"
        ids = [f"{number}-{row}" for row in range(rows)]
        scores = pa.array([None, *(float(row) for row in range(1, rows))], pa.float32())
        table = pa.table({"id": ids, "text": [f"text of {one}" for one in ids], "score": scores, "language": ["en", None, "de", "en", "en"][:rows]})
        pq.write_table(table, path, row_group_size=2)
        shards.append(ScoredShard(path.name, str(path), rows, number))
    return ScoredColumns(shards)


def test_columns_come_in_the_order_of_addresses(columns):
    assert columns.num_documents == 8
    assert np.isnan(columns.numbers("score")).tolist() == [True, False, False, False, False, True, False, False]
    codes, names = columns.codes("language")
    assert [names[code] for code in codes] == ["en", "", "de", "en", "en", "en", "", "de"]
    assert columns.places(make_addresses(1, np.array([0, 2]))).tolist() == [5, 7]
    assert columns.is_numeric("score") and not columns.is_numeric("language") and not columns.is_numeric("none")


@given(st.lists(st.integers(0, 7), min_size=1, unique=True))
def test_rows_are_read_in_the_order_asked_for(columns, places):
    ids = [*(f"0-{row}" for row in range(5)), *(f"1-{row}" for row in range(3))]
    assert columns.rows(places, ["id", "text", "none"]) == [{"id": ids[place], "text": f"text of {ids[place]}"} for place in places]


@given(st.integers(1, 10**10))
def test_a_slider_of_counts_reaches_both_ends_in_round_steps(most):
    stops = count_stops(most)
    assert stops[0] == 0 and stops[-1] == most and list(stops) == sorted(set(stops)) and len(stops) <= 202


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.booleans())
def test_a_slider_of_values_ascends(low, width, is_whole):
    stops = value_stops(low, low + width, is_whole=is_whole)
    assert list(stops) == sorted(set(stops)) and len(stops) >= 2


def test_a_field_takes_numbers_as_they_are_written_and_leaves_the_rest_to_the_recipe():
    assert parse_value("1,000", int) == 1000 and parse_value(" 0.05 ", float) == 0.05
    assert parse_value("1/3", str) == "1/3" and parse_value("many", int) == "many"
    assert nearest_stop(share_stops(0), "1/3") == 33 and nearest_stop(share_stops(0.4), "much") == 0 and nearest_stop((0, 5, 9), 6) == 1


def test_charts_hold_all_documents():
    parts = [Part(f"s{number}", 10, 8, 5, 50) for number in range(MOST_BARS + 3)]
    options = parts_chart(parts, "not told")
    assert [sum(series["data"]) for series in options["series"]] == [5 * len(parts), 3 * len(parts), 2 * len(parts)]
    assert options["yAxis"]["data"][-1].startswith("3 others") and parts_chart([Part("", 1, 1, 1, 1)], "not told")["yAxis"]["data"] == ["not told  1"]
    few = [Part("en", 995, 900, 900, 9), Part("de", 3, 3, 1, 1), Part("fr", 2, 0, 0, 0)]
    assert parts_chart(few, "", 0.004)["yAxis"]["data"] == ["en  900", "2 others  1"] and len(parts_chart(few, "")["yAxis"]["data"]) == 3
    assert len(parts_chart(few, "", 0.003)["yAxis"]["data"]) == 3, "what stands alone keeps its name"
    found = histogram(np.array([0, 0.5, 1], np.float32), np.array([0, 0, 2], np.uint8))
    drawn = histogram_chart(found, "score", [("max 0.5", 0.5)], as_share=True)
    assert [round(sum(y for _, y in series["data"])) for series in drawn["series"]] == [100, 100]
    lines = histogram_chart(found, "score", [("a", 0.5), ("b", 0.55), ("c", 0.9), ("d", 0.5)], as_share=False)["series"][0]["markLine"]["data"]
    assert len({one["label"]["distance"] for one in lines if one["xAxis"] < 0.6}) == 3, "labels of lines that lie close stand in rows"
    assert drawn["series"][0]["markLine"]["data"][0]["xAxis"] == 0.5 and drawn["xAxis"]["name"] == "score"
