"""Claims about comparing runs: every document of either run is counted once, and parts and order change nothing."""

from collections import Counter, defaultdict

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.compare_runs import ABSENT, FATE_SCHEMA, Move, compare_fates, compare_parts, spill_fates

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3", "4 5", "é"]), st.sampled_from(["published", "rules: short", "mix: x"])),
    max_size=14,
)


def table(rows: list[tuple[str, str, str]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[], [], []]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=FATE_SCHEMA)


def slow_moves(before: list[tuple], after: list[tuple]) -> Counter:
    """Document by document; of those that share source and id the first by fate is matched with the first."""
    fates = defaultdict(lambda: ([], []))
    for side, rows in enumerate((before, after)):
        for source, name, fate in rows:
            fates[source, name][side].append(fate)
    moves = Counter()
    for (source, _), (was, now) in fates.items():
        most = max(len(was), len(now))
        padded = (sorted(side) + [ABSENT] * (most - len(side)) for side in (was, now))
        moves.update(Move(source, *pair) for pair in zip(*padded, strict=True))
    return moves


@given(ROWS, ROWS)
@settings(max_examples=100)
def test_moves_are_those_found_document_by_document(before, after):
    compared = compare_fates(table(before), table(after))
    assert compared.moves == slow_moves(before, after)
    assert compared.moved.num_rows == sum(count for move, count in compared.moves.items() if move.was != move.now)
    rows = compared.moved.to_pylist()
    assert Counter(Move(row["source"], row["was"], row["now"]) for row in rows) == {m: n for m, n in compared.moves.items() if m.was != m.now}
    assert rows == sorted(rows, key=lambda row: tuple(row.values()))


@given(ROWS)
@settings(max_examples=50)
def test_a_run_and_itself_in_any_order_differ_in_nothing(rows):
    compared = compare_fates(table(rows), table(rows[::-1]))
    assert compared.moved.num_rows == 0 and sum(compared.moves.values()) == len(rows)


@pytest.mark.parametrize("num_parts", [1, 3, 50])
def test_parts_change_nothing(tmp_path, num_parts):
    before = [("a", str(number), "published" if number % 3 else "mix: over_size") for number in range(300)]
    after = [("a", str(number), "published" if number % 2 else "rules: short") for number in range(50, 320)]
    for name, rows in (("one", before), ("two", after)):
        spill_fates(table(rows).to_batches(max_chunksize=70), str(tmp_path), name, num_parts)
    parts = list(compare_parts(str(tmp_path), ("one", "two"), num_parts))
    assert len(parts) == num_parts
    assert sum((part.moves for part in parts), Counter()) == slow_moves(before, after)
    ids = [row["id"] for part in parts for row in part.moved.to_pylist()]
    assert len(ids) == len(set(ids)) == sum(n for move, n in slow_moves(before, after).items() if move.was != move.now)
