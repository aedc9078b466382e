"""`--sweep_plot FILE`: what each setting of a sweep yields, as small pictures side by side, one for each figure.

The sweep with the most values goes along the axis, every combination of the others is a line. A hollow mark is a setting that a run would refuse. The bytes of an
SVG depend on the figures alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.errors import UsageError
from pipeline.sweep import FIGURES, Sweep, SweepRow
from transforms.storage import write_whole

PANELS = {
    "documents": "",
    "tokens": "",
    "human_share": "dotted: promised",
    "mean_quality": "",
    "effective_sources": "as many equally large ones",
    "compression_ratio": "up: less varied",
    "distinct_2": "down: less varied",
    "self_repetition": "up: less varied",
}
"""Figures in reading order, each with what a reader must know of it; the bands are 95 % intervals."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
"""Okabe and Ito's, which people who are colour-blind tell apart."""
MOST_LINES = len(COLOURS)
"""Lines of a picture: more could not be told apart."""
LOG_RATIO = 20
"""Largest over smallest value from which the axis is logarithmic."""


def check_matplotlib() -> None:
    """Raises UsageError, with the line that installs it, where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            '--sweep_plot: needs matplotlib, which is not installed: pip install "headwater[plot]", or pip install matplotlib'
        ) from error


def plot_sweep(path: str, sweeps: Sequence[Sweep], rows: Sequence[SweepRow]) -> None:
    """Draws the rows to `path`, as SVG or PNG by its name. Raises UsageError where there are more lines than can be told apart."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    axis = max(range(len(sweeps)), key=lambda place: (len(sweeps[place].values), -place))
    lines: dict[tuple[str, ...], list[SweepRow]] = {}
    for row in rows:
        lines.setdefault((*row.values[:axis], *row.values[axis + 1 :]), []).append(row)
    if len(lines) > MOST_LINES:
        raise UsageError(
            f"--sweep_plot: {len(lines)} lines could not be told apart, {MOST_LINES} can; give fewer values beside those of {sweeps[axis].shown}"
        )
    style = {"svg.hashsalt": "headwater", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(14, 6.4), layout="constrained")
        panels = figure.subplots(2, len(PANELS) // 2, sharex=True)
        for panel, name in zip(panels.flat, PANELS, strict=True):
            _draw(panel, name, sweeps[axis], axis, list(lines.values()))
        for panel in panels[1]:
            panel.set_xlabel(sweeps[axis].shown)
        others = [sweep.shown for place, sweep in enumerate(sweeps) if place != axis]
        if others:
            labels = [", ".join(f"{name} = {value}" for name, value in zip(others, values, strict=True)) for values in lines]
            handles = [Line2D([], [], color=colour, marker="o", markersize=5) for colour in COLOURS[: len(labels)]]
            figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False)
        if any(row.figures.plan.shortages for row in rows):
            note = "hollow: the promises cannot all be kept; figures are those of --on_shortage=shrink"
            figure.legend([], [], title=note, loc="outside lower center", frameon=False)
        with write_whole(path) as file:
            ending = path.rsplit(".", 1)[-1]
            figure.savefig(file, format=ending, dpi=150, metadata={"Date": None} if ending == "svg" else {"Software": None})


def _draw(panel: Any, name: str, along: Sweep, axis: int, lines: Sequence[Sequence[SweepRow]]) -> None:
    numbers = _numbers(along.values)
    where = dict(zip(along.values, range(len(along.values)) if numbers is None else numbers, strict=True))
    for place, (colour, held) in enumerate(zip(COLOURS, lines, strict=False)):
        at = [where[row.values[axis]] for row in held]
        heights = [_height(row, name) for row in held]
        # Later lines are thinner, so that one that lies under another still shows.
        thick = (len(lines) - 1 - place) / max(len(lines) - 1, 1) if len(lines) > 1 else 0
        panel.plot(at, heights, color=colour, marker="o", markersize=3 + 5 * thick, linewidth=1 + 2.5 * thick, clip_on=False, zorder=3 + place)
        short = [(x, y) for x, y, row in zip(at, heights, held, strict=True) if row.figures.plan.shortages]
        if short:
            panel.plot(*zip(*short, strict=True), "o", color=colour, markersize=3 + 5 * thick, mfc="white", clip_on=False, zorder=3 + place)
        spread = [row.diversity.get(name) for row in held]
        if any(spread):
            low, high = ([getattr(one, end) if one else float("nan") for one in spread] for end in ("low", "high"))
            panel.fill_between(at, low, high, color=colour, alpha=0.1, linewidth=0)
        if name == "human_share":
            panel.plot(at, [float(row.figures.plan.settings.human_quota) for row in held], color="black", linestyle=":", linewidth=1, zorder=20)
    panel.set_title(FIGURES[name], loc="left", fontsize=10, fontweight="bold")
    panel.set_title(PANELS[name], loc="right", fontsize=8, color="#555555")
    panel.grid(axis="y", color="#E5E5E5", linewidth=0.8, zorder=0)
    if name in ("documents", "tokens", "effective_sources"):
        panel.set_ylim(bottom=0)
    if name in ("documents", "tokens"):
        panel.yaxis.set_major_formatter(lambda value, _: _short(value))
    if numbers is None:
        panel.set_xticks(range(len(along.values)), along.values, rotation=30 if len(along.values) > 4 else 0)
    elif min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_RATIO:
        panel.set_xscale("log")
        panel.set_xticks(numbers, along.values)
        panel.minorticks_off()


def _height(row: SweepRow, name: str) -> float:
    value = row.value_of(name)
    return float("nan") if value is None else float(value)


def _numbers(values: Sequence[str]) -> list[float] | None:
    try:
        return [float(value.removesuffix("%")) for value in values]
    except ValueError:
        return None


def _short(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"
