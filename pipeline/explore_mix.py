"""The explorer's first tab: the funnel as `headwater plan` prints it, sources and languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from nicegui import ui

from pipeline.explore_charts import parts_chart, parts_height
from pipeline.explore_figures import Figures
from pipeline.funnel import ORIGINS
from transforms.records import Stage

LEAST_LANGUAGE_SHARE = 0.001
"""Share of the documents from which a language has a bar of its own."""
_ROW = """
<q-tr :props="props" :class="props.row.style">
  <q-td v-for="column in props.cols" :key="column.name" :props="props">
    <button v-if="column.name == 'label' && props.row.key" class="hw-link" @click="$parent.$emit('show', props.row)"
      :aria-label="'show documents: ' + props.row.label">{{ props.row.label }}</button>
    <template v-else>{{ column.value }}</template>
  </q-td>
</q-tr>
"""


class MixPanel:
    """Funnel, sources and languages. `on_show(stage, reason, label)` is called for the documents of a line."""

    def __init__(self, on_show: Callable[[str, str, str], Any]):
        self._figures: Figures | None = None
        with ui.element("div").classes("hw-main hw-mix"):
            with ui.element("div").classes("hw-panel"):
                with ui.element("div").classes("hw-row"):
                    ui.html("Funnel: documents, by declared origin", sanitize=False, tag="h2")
                    self._each = ui.switch("each rule", on_change=lambda: self._figures and self.show(self._figures)).props("dense")
                self._table = ui.table(columns=[], rows=[], row_key="label", pagination=0).classes("hw-funnel")
                self._table.props("dense flat hide-pagination").add_slot("body", _ROW)
                self._table.on("show", lambda event: on_show(*event.args["key"], event.args["label"].strip()))
                self._quota = ui.label("").props('data-figure="quota"').style("font-weight: 600; margin-top: 8px")
                self._sentences = ui.column().classes("hw-note").style("gap: 0; margin-top: 6px")
            with ui.element("div").style("display: grid; gap: 12px; min-width: 0"):
                self._charts = {}
                for key, title in (("sources", "Sources"), ("languages", "Languages")):
                    with ui.element("div").classes("hw-panel") as panel:
                        ui.html(f"{title}: documents, and what becomes of them", sanitize=False, tag="h2")
                        self._charts[key] = (panel, ui.echart({}, renderer="svg").style("width: 100%").props(f'role="img" aria-label="{title}"'))

    def show(self, figures: Figures) -> None:
        """Shows these figures."""
        self._figures = figures
        origins = [origin for origin in ORIGINS if any(counts[origin] for _, _, counts in figures.funnel)]
        numbers = [(origin, "unlabelled" if origin == "unknown" else origin) for origin in origins]
        columns = [{"name": "label", "label": "", "field": "label", "align": "left"}]
        columns += [{"name": name, "label": label, "field": name, "align": "right"} for name, label in (*numbers, ("all", "all"))]
        rows = []
        for style, label, counts, key in funnel_lines(figures, each_rule=self._each.value):
            of_origin = {origin: f"{counts[origin]:,}" if counts[origin] else "." for origin in origins}
            rows.append({"label": label.replace("  - ", "– "), "style": style, "key": key, "all": f"{sum(counts.values()):,}", **of_origin})
        self._table._props["columns"] = columns
        self._table.rows = rows
        self._quota.set_text(figures.quota)
        self._sentences.clear()
        with self._sentences:
            for sentence in (*figures.plan.sentences(), *([figures.repeats] if figures.repeats else [])):
                ui.label(sentence)
        for key, parts, least in (("sources", figures.sources, 0.0), ("languages", figures.languages, LEAST_LANGUAGE_SHARE)):
            panel, chart = self._charts[key]
            panel.set_visibility(bool(parts))
            chart.style(f"height: {parts_height(parts, least)}px")
            chart.options.clear()
            chart.options.update(parts_chart(parts, "not told", least))
            chart.update()


def funnel_lines(figures: Figures, *, each_rule: bool) -> list[tuple[str, str, Counter, list[str] | None]]:
    """The lines of the funnel with the (stage, reason) whose documents can be shown; without `each_rule` all rules are one line."""
    keys = {f"  - {reason}" if reason.startswith(stage.removesuffix("s")) else f"  - {stage}: {reason}": [stage, reason] for stage, reason in figures.fates}
    lines: list[tuple[str, str, Counter, list[str] | None]] = []
    of_rules: Counter = Counter()
    for style, label, counts in figures.funnel:
        key = ["published", ""] if label == "published" else keys.get(label)
        if each_rule or key is None or key[0] != Stage.RULES:
            lines.append((style, label, counts, key))
            continue
        if not of_rules:
            lines.append((style, "  - rules", of_rules, [Stage.RULES.value, ""]))
        of_rules.update(counts)
    return lines
