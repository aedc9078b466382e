"""The explorer's charts as options of Apache ECharts: plain dictionaries, made from figures.

Colours are those of Okabe and Ito, told apart by colour-blind people too, and lines differ by dash as well. Tooltips are drawn as text, never as HTML.
*Source:* Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.explore_columns import Histogram
from pipeline.explore_figures import Part

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#C4C8CC"
OF_ORIGIN = {"human": ("human", BLUE, "solid"), "synthetic": ("synthetic", VERMILION, "dashed"), "unknown": ("unlabelled", GREEN, "dotted")}
"""Name, colour and dash of each declared origin, as the funnel's columns name them."""
OF_FATE = (("published", BLUE), ("left out by the mix", ORANGE), ("turned down before the mix", GREY))
MOST_BARS = 8
"""Bars of one chart; the rest is summed up in one more."""
ROW_PIXELS = 24
MARK_ROW_PIXELS = 15
MARK_SHARE = 0.16
"""Part of a histogram's width that the label of a mark takes, about."""
_THOUSANDS = "value => value == null ? '' : value.toLocaleString('en-US')"
_SHORT = "value => value >= 1e6 ? value / 1e6 + ' M' : value >= 1e3 ? value / 1e3 + ' k' : value"
_INK, _FAINT = "#24292F", "#57606A"


def shown_parts(parts: Sequence[Part], least_share: float = 0.0) -> tuple[Sequence[Part], Sequence[Part]]:
    """The parts that have a bar of their own, and those that share the last one: beyond `MOST_BARS`, or of less than this share of all documents."""
    least = least_share * sum(part.read for part in parts)
    own = [part for part in parts[:MOST_BARS] if part.read >= least]
    return (parts, ()) if len(parts) - len(own) == 1 and len(parts) <= MOST_BARS else (own, parts[len(own) :])


def parts_chart(parts: Sequence[Part], nameless: str, least_share: float = 0.0) -> dict[str, Any]:
    """One bar for each of the `shown_parts`, of what becomes of its documents; `nameless` stands for the part without a name.

    `parts` come with the most documents first.
    """
    own, rest = shown_parts(parts, least_share)
    shown = [(part.name or nameless, part.published, part.left - part.published, part.read - part.left) for part in own]
    if rest:
        sums = (sum(part.published for part in rest), sum(part.left - part.published for part in rest), sum(part.read - part.left for part in rest))
        shown.append((f"{len(rest)} others", *sums))
    series = [
        {
            "name": name,
            "type": "bar",
            "stack": "documents",
            "barWidth": "62%",
            "data": [row[place + 1] for row in shown],
            "itemStyle": {"color": colour, "borderColor": "#fff", "borderWidth": 0.5},
        }
        for place, (name, colour) in enumerate(OF_FATE)
    ]
    return {
        "animation": False,
        "aria": {"enabled": True},
        "grid": {"left": 8, "right": 24, "top": 34, "bottom": 26, "containLabel": True},
        "legend": {"top": 0, "left": 0, "itemWidth": 14, "itemHeight": 10, "textStyle": {"color": _INK}},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}, "renderMode": "richText", "confine": True, ":valueFormatter": _THOUSANDS},
        "xAxis": {
            "type": "value",
            "name": "documents",
            "nameLocation": "middle",
            "nameGap": 24,
            "nameTextStyle": {"color": _FAINT},
            "splitNumber": 4,
            "axisLabel": {":formatter": _SHORT, "color": _FAINT},
        },
        "yAxis": {
            "type": "category",
            "inverse": True,
            "data": [f"{name}  {published:,}" for name, published, *_ in shown],
            "axisLabel": {"color": _INK, "interval": 0, "width": 190, "overflow": "truncate"},
            "axisTick": {"show": False},
        },
        "series": series,
    }


def parts_height(parts: Sequence[Part], least_share: float = 0.0) -> int:
    """Pixels that `parts_chart` takes."""
    own, rest = shown_parts(parts, least_share)
    return 78 + ROW_PIXELS * (len(own) + bool(rest))


def histogram_chart(found: Histogram, field: str, marks: Sequence[tuple[str, float]], *, as_share: bool) -> dict[str, Any]:
    """The distribution of `field` by declared origin, with a line at each of the `marks` (label, value)."""
    middles = (found.edges[:-1] + found.edges[1:]) / 2
    series: list[dict[str, Any]] = []
    for origin, counts in found.counts.items():
        name, colour, dash = OF_ORIGIN[origin]
        heights = 100 * counts / max(1, counts.sum()) if as_share else counts
        series.append(
            {
                "name": name,
                "type": "line",
                "step": "middle",
                "symbol": "none",
                "data": [[_plain(x), _plain(y)] for x, y in zip(middles, heights, strict=True)],
                "lineStyle": {"color": colour, "width": 2, "type": dash},
                "itemStyle": {"color": colour},
                "areaStyle": {"color": colour, "opacity": 0.07},
            }
        )
    if series:
        series[0]["markLine"] = {
            "symbol": "none",
            "silent": True,
            "animation": False,
            "lineStyle": {"color": _INK, "width": 2, "type": "solid"},
            "label": {"formatter": "{b}", "color": _INK, "fontWeight": "bold", "position": "end"},
            "data": [
                {"name": label, "xAxis": _plain(value), "label": {"distance": 4 + MARK_ROW_PIXELS * row}}
                for row, (label, value) in zip(_rows([value for _, value in marks], found), marks, strict=True)
            ],
        }
    low, high = float(found.edges[0]), float(found.edges[-1])
    return {
        "animation": False,
        "aria": {"enabled": True},
        "grid": {"left": 34, "right": 40, "top": 46 + MARK_ROW_PIXELS * max(_rows([value for _, value in marks], found), default=0), "bottom": 34}
        | {"containLabel": True},
        "legend": {"top": 0, "left": 0, "itemWidth": 28, "textStyle": {"color": _INK}},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True, ":valueFormatter": _share_text() if as_share else _THOUSANDS},
        "xAxis": {
            "type": "value",
            "min": low,
            "max": high,
            "name": field,
            "nameLocation": "middle",
            "nameGap": 26,
            "nameTextStyle": {"color": _FAINT},
            "axisLabel": {"color": _FAINT, "showMinLabel": False, "showMaxLabel": False},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "name": "% of the origin's documents" if as_share else "documents",
            "nameLocation": "middle",
            "nameGap": 40,
            "nameTextStyle": {"color": _FAINT},
            "axisLabel": {"color": _FAINT, **({} if as_share else {":formatter": _SHORT})},
        },
        "series": series,
    }


def _rows(values: Sequence[float], found: Histogram) -> list[int]:
    """In which row the label of each mark stands, from the bottom: marks that lie close to each other take different ones."""
    near = MARK_SHARE * (found.edges[-1] - found.edges[0])
    rows: dict[int, int] = {}
    for place in sorted(range(len(values)), key=values.__getitem__):
        taken = {row for other, row in rows.items() if abs(values[other] - values[place]) < near}
        rows[place] = next(row for row in range(len(values)) if row not in taken)
    return [rows[place] for place in range(len(values))]


def _plain(value: Any) -> float:
    return float(np.float64(value))


def _share_text() -> str:
    return "value => value == null ? '' : value.toFixed(2) + ' %'"
