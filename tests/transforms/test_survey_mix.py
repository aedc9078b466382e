"""Claims about surveys: exact sums, and no document counted that is not alive."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.mix_documents import decisions_of, make_documents
from transforms import survey_mix
from transforms.mix_settings import MixSettings
from transforms.records import DECISION_SCHEMA, DecidedShard, ScoredShard
from transforms.survey_mix import (
    HUMAN,
    OTHER,
    Request,
    add_up,
    join_documents,
    lies_before,
    merge_histograms,
    order_steps,
    read_alive,
    survey_shard,
    survey_table,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20), st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_positions_order_by_key_then_address(documents, position):
    keys, addresses = (np.array([pair[index] for pair in documents], np.uint64) for index in range(2))
    assert lies_before(keys, addresses, position).tolist() == [position is None or pair < position for pair in documents]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1 << 60)), max_size=7), st.integers(1, 3))
def test_histograms_add_up_exactly_however_they_are_split(rows, parts):
    codes = np.array([code for code, _ in rows], np.int64)
    units = np.array([(1, size, size // 2) for _, size in rows], np.int64).reshape(-1, 3)
    expected = {}
    for code, (count, tokens, size) in zip(codes.tolist(), units.tolist(), strict=True):
        before = expected.get(code, (0, 0, 0))
        expected[code] = (before[0] + count, before[1] + tokens, before[2] + size)
    merged = merge_histograms([add_up(codes[part::parts], units[part::parts]) for part in range(parts)])
    assert {row[0]: tuple(row[1:]) for row in merged.tolist()} == expected
    assert merged[:, 0].tolist() == sorted(expected)


def test_a_survey_counts_the_alive_by_stratum_and_gathers_what_a_bin_holds():
    documents = make_documents(300, "mixed", 3)
    for document in documents[::4]:
        document.update(stage="rules", reason="too_short")
    settings, table = MixSettings(count_presumed_human=True), decisions_of(documents)
    alive = [document for document in documents if document["reason"] is None]
    histogram = survey_table(table, Request(), settings)
    for stratum, origins in ((HUMAN, (0, 1)), (OTHER, (2, 3, 4))):
        rows = histogram[histogram[:, 0] >> survey_mix.BIN_BITS == stratum]
        assert rows[:, 1].sum() == sum(document["origin"] in origins for document in alive)
        assert rows[:, 2].sum() == sum(document["tokens"] for document in alive if document["origin"] in origins)
    gathered = survey_table(table, Request(None, histogram[:10, 0]), settings)
    assert len(gathered) == histogram[:10, 1].sum()
    steps = order_steps(histogram, gathered, HUMAN)
    assert steps.is_open.sum() == len(gathered)
    assert steps.is_open[: len(gathered)].all()
    assert (np.diff(steps.keys.astype(object)) >= 0).all()


def test_gathering_less_than_was_counted_is_an_error():
    table = decisions_of(make_documents(50, "ties", 3))
    histogram = survey_table(table, Request(), MixSettings())
    gathered = survey_table(table, Request(None, histogram[:, 0]), MixSettings())
    with pytest.raises(RuntimeError, match="changed underway"):
        order_steps(histogram, gathered[1:], int(gathered[0, 0]))


def test_a_missing_figure_is_an_error_that_names_the_column():
    documents = make_documents(5, "mixed", 3)
    documents[2]["tokens"] = None
    with pytest.raises(ValueError, match=r"'tokens': 1 documents"):
        read_alive(decisions_of(documents), MixSettings())
    documents[2].update(tokens=1, quality=None)
    assert len(read_alive(decisions_of(documents), MixSettings()).rows) == 5
    with pytest.raises(ValueError, match="'quality'"):
        read_alive(decisions_of(documents), MixSettings(priority="quality"))
    documents[2]["quality"] = float("nan")
    with pytest.raises(ValueError, match="not a number"):
        read_alive(decisions_of(documents), MixSettings(priority="quality"))


def test_a_shard_with_nothing_to_tell_is_not_even_opened():
    missing = DecidedShard(ScoredShard("gone", "gone", 5, 0), "/nowhere/decided.arrow", 0)
    assert survey_shard(missing, Request(), MixSettings()) == []
    asked_for_nothing = DecidedShard(ScoredShard("gone", "gone", 5, 0), "/nowhere/decided.arrow", 5)
    assert survey_shard(asked_for_nothing, Request(None, np.empty(0, np.int64)), MixSettings()) == []
    with pytest.raises(FileNotFoundError):
        survey_shard(asked_for_nothing, Request(), MixSettings())


def test_a_survey_of_a_file_is_that_of_its_table(tmp_path):
    table = decisions_of(make_documents(90, "mixed", 3))
    with pa.OSFile(str(tmp_path / "decided.arrow"), "wb") as file, pa.ipc.new_file(file, DECISION_SCHEMA) as writer:
        writer.write_table(table.select(DECISION_SCHEMA.names), max_chunksize=20)
    decided = DecidedShard(ScoredShard("a", "a", 90, 0), str(tmp_path / "decided.arrow"), 90)
    (found,) = survey_shard(decided, Request(), MixSettings())
    assert np.array_equal(found, survey_table(table, Request(), MixSettings()))
    assert join_documents([]).shape == (0, 5)
