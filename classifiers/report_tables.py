"""The tables of an evaluation's report, for reading and for pasting into a page (Markdown)."""

from collections.abc import Callable, Mapping

TITLES = {
    "about": "What was measured",
    "sets": "How well machine text is told from human text; format: what punctuation and layout alone give",
    "generators": "By generator, against the clean human texts of its set",
    "attacks": "By attack, against the clean human texts of its set; flagged human: human texts under the same attack",
    "lengths": "By length, all sets together",
    "false_positives": "Human texts flagged at the thresholds used",
    "false_positives_by_turns": "Human texts flagged at thresholds from the other sets alone",
    "writers": "Human essays flagged, by writer",
    "unseen": "Sets that neither training nor calibration may touch: flagged",
    "reliability": "What became of texts by the probability said (human and machine weigh the same)",
    "calibration_error": "Expected calibration error",
}
"""Sections of a report, in order."""


def print_tables(report: Mapping[str, Mapping], report_line: Callable[[str], None] = print) -> None:
    """Every section of `report` as a table, in the order of `TITLES`; sections without rows are left out."""
    for section, title in TITLES.items():
        rows = report.get(section)
        if not rows:
            continue
        report_line(f"\n{title}\n")
        for line in table_lines(section, rows):
            report_line(line)


def table_lines(section: str, rows: Mapping[str, object]) -> list[str]:
    """One Markdown table: a row for each of `rows`, a column for each of their cells, in the order in which they first come."""
    cells = {name: row if isinstance(row, Mapping) else {"value": row} for name, row in rows.items()}
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    table = [[section.replace("_", " "), *columns], *([name, *(write_cell(row.get(column)) for column in columns)] for name, row in cells.items())]
    # Names come from the sets' own records: a line of its own or a bar in one must not end a cell.
    table = [[" ".join(text.split()).replace("|", "\\|") for text in row] for row in table]
    widths = [max(len(row[place]) for row in table) for place in range(len(columns) + 1)]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in table]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def write_cell(cell: object) -> str:
    """A cell of a report as text: `.914 (.902-.925)` for a figure, `1.2 % (0.4-3.1) of 212` for a share, nothing for what is not there."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, Mapping) and "share" in cell:
        return f"{cell['share']:.1%} ({100 * cell['low']:.1f}-{100 * cell['high']:.1f}) of {cell['of']:,}".replace("%", " %")
    if isinstance(cell, Mapping):
        interval = "" if cell["low"] != cell["low"] else f" ({_short(cell['low'])}-{_short(cell['high'])})"
        return "" if cell["value"] != cell["value"] else _short(cell["value"]) + interval
    if isinstance(cell, float):
        return _short(cell)
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3f}"
