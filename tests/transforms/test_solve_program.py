"""Small programs have the answers that trying every value gives, whatever order their rows are given in."""

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.solve_program import Program

SMALL = st.integers(-3, 3)


@st.composite
def programs(draw):
    """(upper bounds, rows of (values, lower, upper), costs) of two or three whole columns."""
    count = draw(st.integers(2, 3))
    numbers = st.lists(SMALL, min_size=count, max_size=count)
    rows = draw(st.lists(st.tuples(numbers, st.integers(-6, 2), st.integers(0, 8)), max_size=3))
    return draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)), rows, draw(numbers)


def made_of(upper, rows) -> Program:
    program = Program()
    columns = program.add_columns(len(upper), np.array(upper, float), integral=True)
    for values, low, high in rows:
        program.add_row(columns, np.array(values, float), low, low + high)
    return program


def tried(upper, rows) -> list[tuple[int, ...]]:
    """Every whole point that keeps the rows."""
    points = itertools.product(*(range(most + 1) for most in upper))
    return [
        one for one in points if all(low <= sum(v * x for v, x in zip(values, one, strict=True)) <= low + high for values, low, high in rows)
    ]


@given(programs(), st.booleans())
@settings(max_examples=60)
def test_the_best_whole_point_is_found_or_that_there_is_none(problem, maximise):
    upper, rows, costs = problem
    points = tried(upper, rows)
    values = made_of(upper, rows).solve(range(len(upper)), costs, maximise=maximise)
    assert (values is None) == (not points)
    if points:
        assert tuple(values.astype(int)) in points and (values == values.astype(int)).all()
        worth = [sum(c * x for c, x in zip(costs, one, strict=True)) for one in points]
        assert float(values @ np.array(costs)) == (max if maximise else min)(worth)
        # Parts of documents can do no worse than whole ones.
        relaxed = made_of(upper, rows).relaxed().solve(range(len(upper)), costs, maximise=True)
        assert float(relaxed @ np.array(costs)) >= max(worth) - 1e-6


@given(programs(), st.randoms())
@settings(max_examples=20)
def test_the_same_program_has_the_same_answer_and_rows_in_any_order_one_as_good(problem, chance):
    upper, rows, costs = problem
    first, again = (made_of(upper, rows).solve(range(len(upper)), costs) for _ in range(2))
    shuffled = made_of(upper, chance.sample(rows, len(rows))).solve(range(len(upper)), costs)
    if first is None:
        assert again is None and shuffled is None
        return
    assert first.tolist() == again.tolist()
    assert float(first @ np.array(costs)) == float(shuffled @ np.array(costs))


def test_a_copy_can_be_added_to_without_its_original():
    program = made_of([4, 4], [([1, 1], 0, 6)])
    copy = program.copy()
    more = copy.add_columns(1, 2.0)
    copy.add_row(np.array([0, int(more[0])]), np.array([1.0, 1.0]), upper=1.0)
    assert program.num_columns == 2 and copy.num_columns == 3
    assert program.solve([0, 1], [1, 1], maximise=True).sum() == 6
    assert copy.solve([0, *more], [1, 1], maximise=True)[[0, 2]].sum() == 1


def test_a_column_that_a_row_or_the_costs_name_twice_counts_twice():
    program = Program()
    columns = program.add_columns(1, 10.0, integral=True)
    program.add_row(np.repeat(columns, 2), np.ones(2), upper=7.0)
    assert program.solve(np.repeat(columns, 2), [1.0, -3.0]).tolist() == [3]


def test_nothing_asked_of_nothing_is_answered():
    assert Program().solve().tolist() == []
    program = Program()
    program.add_columns(2, 1.0)
    assert len(program.solve()) == 2


def test_bounds_that_cross_have_no_answer():
    program = Program()
    program.add_columns(1, 1.0, lower=2.0)
    assert program.solve() is None


def test_what_has_no_end_is_a_fault_that_is_named():
    program = Program()
    columns = program.add_columns(1)
    with pytest.raises(RuntimeError, match=r"^mix: the solver ended with Unbounded on 1 columns$"):
        program.solve(columns, np.ones(1), maximise=True)


def test_without_the_solver_the_error_has_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(ImportError, match=r"^groups in the mix need the solver HiGHS; install it with: pip install 'highspy>=1.11,<2'$"):
        Program().solve()
