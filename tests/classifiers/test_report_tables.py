"""The tables of a report are Markdown whatever their cells hold, and write figures short."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.report_tables import TITLES, print_tables, table_lines, write_cell

NAN = float("nan")
CELLS = st.none() | st.text(max_size=5) | st.integers(-(10**9), 10**9) | st.floats() | st.just({"value": 0.5, "low": NAN, "high": NAN})
ROWS = st.dictionaries(st.text("ab|\\\n \u2028", max_size=4), CELLS | st.dictionaries(st.sampled_from("xyz|"), CELLS, max_size=3), max_size=4)


@given(ROWS)
def test_every_line_has_the_same_cells_and_no_cell_ends_a_line(rows):
    lines = table_lines("false_positives", rows)
    assert len(lines) == len(rows) + 2 and all(len(line.splitlines()) == 1 for line in lines)
    # In a table of Markdown a bar behind a backslash is text, whatever stands before the backslash.
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1 and len({len(line) for line in lines}) == 1
    assert lines[0].startswith("| false positives")


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (None, ""),
        (NAN, ""),
        (0.0, ".000"),
        (0.9994, ".999"),
        (0.9996, "1.000"),
        (1.0, "1.000"),
        (-0.25, "-0.250"),
        (1234567, "1,234,567"),
        ("as it is", "as it is"),
        ({"value": 0.914, "low": 0.902, "high": 0.925}, ".914 (.902-.925)"),
        ({"value": 0.914, "low": NAN, "high": NAN}, ".914"),
        ({"value": NAN, "low": 0.1, "high": 0.2}, ""),
        ({"share": 0.012, "low": 0.004, "high": 0.031, "of": 2120}, "1.2 % (0.4-3.1) of 2,120"),
    ],
)
def test_figures_are_written_short_and_what_is_not_there_is_not_written(cell, written):
    assert write_cell(cell) == written


def test_sections_come_in_their_order_and_empty_ones_not_at_all():
    said = []
    print_tables({"reliability": {"a": 0.5}, "about": {"texts": 3}, "sets": {}, "unheard_of": {"a": 1}}, said.append)
    titles = [line.strip() for line in said if line.strip() in TITLES.values()]
    assert titles == [TITLES["about"], TITLES["reliability"]]
    assert said[1:4] == ["| about | value |", "|-------|-------|", "| texts | 3     |"]
