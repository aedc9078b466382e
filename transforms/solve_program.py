"""Linear and integer programs, solved by HiGHS: a proposal in floating point, which whoever asks for it checks in integers.

Rows and columns are gathered as lists and handed over at once. One thread, a fixed seed and a limit on nodes rather than on seconds: the same
program gives the same answer. Memory and time grow with the entries of the rows; 100,000 of them take a second or so.
*Source:* Huangfu and Hall, "Parallelizing the dual revised simplex method", Mathematical Programming Computation 10, 2018 (HiGHS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

MOST_NODES = 20_000
"""Nodes of the search for integers, at most; then the best that was found counts."""
_INSTALL = "groups in the mix need the solver HiGHS; install it with: pip install 'highspy>=1.11,<2'"


class Program:
    """Columns with bounds and rows of them; minimised or maximised for as many objectives as are asked for."""

    def __init__(self) -> None:
        self._lower: list[np.ndarray] = []
        self._upper: list[np.ndarray] = []
        self._integral: list[np.ndarray] = []
        self._rows: list[tuple[np.ndarray, np.ndarray, float, float]] = []
        self.num_columns = 0

    def add_columns(self, count: int, upper: np.ndarray | float = math.inf, *, integral: bool = False, lower: float = 0.0) -> np.ndarray:
        """New columns, as their numbers."""
        self._lower.append(np.full(count, lower, np.float64))
        self._upper.append(np.broadcast_to(np.asarray(upper, np.float64), (count,)))
        self._integral.append(np.full(count, integral))
        self.num_columns += count
        return np.arange(self.num_columns - count, self.num_columns)

    def add_row(self, columns: np.ndarray, values: np.ndarray, lower: float = -math.inf, upper: float = math.inf) -> None:
        """lower <= sum(values x columns) <= upper. Columns may be named more than once."""
        columns, values = np.asarray(columns, np.int32), np.asarray(values, np.float64)
        if len(np.unique(columns)) < len(columns):
            named, places = np.unique(columns, return_inverse=True)
            columns, values = named, np.bincount(places, values)
        kept = values != 0
        self._rows.append((columns[kept], values[kept], float(lower), float(upper)))

    def copy(self) -> Program:
        """A program of the same columns and rows, that more can be added to."""
        made = Program()
        made._lower, made._upper, made._integral, made._rows = map(list, (self._lower, self._upper, self._integral, self._rows))
        made.num_columns = self.num_columns
        return made

    def relaxed(self) -> Program:
        """A copy in which no column need be whole."""
        made = self.copy()
        made._integral = [np.zeros_like(one) for one in made._integral]
        return made

    def solve(
        self, columns: Sequence[int] | np.ndarray = (), costs: Sequence[float] | np.ndarray = (), *, maximise: bool = False, gap: float = 0.0
    ) -> np.ndarray | None:
        """Values of all columns where sum(costs x columns) is smallest or largest, to within `gap`; None where no values keep the rows.

        Integral columns come as whole numbers, up to the tolerance of floating point. Raises RuntimeError where the solver fails.
        """
        objective = np.bincount(np.asarray(columns, np.int64), np.asarray(costs, np.float64), self.num_columns) if len(columns) else None
        return _run(self, np.zeros(self.num_columns) if objective is None else objective, maximise, gap)


def _run(program: Program, objective: np.ndarray, maximise: bool, gap: float) -> np.ndarray | None:
    highspy, solver = _solver()
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = program.num_columns, len(program._rows)
    scale = float(np.abs(objective).max(initial=0.0)) or 1.0
    model.col_cost_ = objective / scale
    model.col_lower_ = np.concatenate([np.empty(0), *program._lower])
    model.col_upper_ = np.concatenate([np.empty(0), *program._upper])
    model.row_lower_ = np.array([row[2] for row in program._rows], np.float64)
    model.row_upper_ = np.array([row[3] for row in program._rows], np.float64)
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.append(0, np.cumsum([len(row[0]) for row in program._rows], dtype=np.int64)).astype(np.int32)
    model.a_matrix_.index_ = np.concatenate([np.empty(0, np.int32), *(row[0] for row in program._rows)])
    model.a_matrix_.value_ = np.concatenate([np.empty(0), *(row[1] for row in program._rows)])
    integral = np.concatenate([np.empty(0, bool), *program._integral])
    if integral.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[int(one)] for one in integral]
        solver.setOptionValue("mip_abs_gap", gap / scale)
    model.sense_ = highspy.ObjSense.kMaximize if maximise else highspy.ObjSense.kMinimize
    solver.passModel(model)
    solver.run()
    status, known = solver.getModelStatus(), highspy.HighsModelStatus
    if status == known.kInfeasible:
        return None
    values = np.array(solver.getSolution().col_value, np.float64)
    is_limited = status in (known.kSolutionLimit, known.kIterationLimit) and solver.getInfo().primal_solution_status == 2
    if status not in (known.kOptimal, known.kModelEmpty) and not is_limited:
        raise RuntimeError(f"mix: the solver ended with {solver.modelStatusToString(status)} on {program.num_columns:,} columns")
    values = np.clip(values, model.col_lower_, model.col_upper_) if len(values) else np.zeros(program.num_columns)
    values[integral] = np.round(values[integral])
    return values


def _solver():
    # Imported here: a mix without groups needs no solver.
    try:
        import highspy
    except ImportError as error:
        raise ImportError(_INSTALL) from error

    class Quiet(highspy.Highs):
        """Without the callbacks, whose set-up prints a banner."""

        def enableCallbacks(self) -> None:
            pass

    solver = Quiet()
    options = {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": 0.0, "mip_abs_gap": 0.0, "mip_max_nodes": MOST_NODES}
    tolerances = ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "mip_feasibility_tolerance")
    for key, value in (options | dict.fromkeys(tolerances, 1e-9)).items():
        solver.setOptionValue(key, value)
    return highspy, solver
