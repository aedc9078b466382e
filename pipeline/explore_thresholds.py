"""The explorer's second tab: every rule with what it turns down, and of the chosen one the distribution, its bounds, and documents on either side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui

from pipeline.explore_charts import OF_ORIGIN, histogram_chart
from pipeline.explore_columns import DECLARED_ORIGINS, histogram, nearest
from pipeline.explore_controls import Control, Field, value_stops
from pipeline.explore_dialogs import place_samples
from pipeline.explore_rules import Preview, margin_of_detector, margin_of_rule
from pipeline.explore_samples import SHOWN, read_samples
from pipeline.explore_session import Setting
from transforms.apply_rules import Rule

if TYPE_CHECKING:
    from pipeline.explore_page import Page

DETECTOR = "AI detector"
"""What the detector's line is called; no rule's name holds a space."""
OF_LABELS = {origin: name for origin, (name, *_) in OF_ORIGIN.items()}
_ROW = """
<q-tr :props="props" :class="props.row.style">
  <q-td v-for="column in props.cols" :key="column.name" :props="props">
    <button v-if="column.name == 'name'" class="hw-link" @click="$parent.$emit('choose', props.row.name)"
      :aria-current="props.row.chosen">{{ props.row.name }}</button>
    <template v-else>{{ column.value }}</template>
  </q-td>
</q-tr>
"""
_COLUMNS = [
    {"name": "name", "label": "rule", "field": "name", "align": "left"},
    {"name": "bound", "label": "bound", "field": "bound", "align": "right"},
    {"name": "alone", "label": "break it", "field": "alone", "align": "right"},
    {"name": "first", "label": "turned down for it", "field": "first", "align": "right"},
]


class ThresholdsPanel:
    """Rules and detector. Counts are exact at once; what later steps make of them needs deciding again."""

    def __init__(self, page: Page):
        self._page = page
        self.is_open = False
        self._chosen = DETECTOR if "ai_probability" in page.session.columns.schema.names else "gopher_too_few_words"
        self._fields: dict[str, Field] = {}
        self._laid_out_for: str | None = None
        self._last: tuple[Setting, Preview, bool] | None = None
        with ui.element("div").classes("hw-main hw-thresholds"):
            with ui.element("div").classes("hw-panel"):
                ui.html("Rules, each by itself", sanitize=False, tag="h2")
                self._said = ui.label("").classes("hw-note").props('data-figure="preview"')
                with ui.element("div").classes("hw-scroll"):
                    self._table = ui.table(columns=_COLUMNS, rows=[], row_key="name", pagination=0).classes("hw-rules")
                    self._table.props("dense flat hide-pagination").add_slot("body", _ROW)
                    self._table.on("choose", lambda event: self._choose(event.args))
            with ui.element("div").classes("hw-panel"):
                self._title = ui.label("").style("font-size: 14px; font-weight: 600")
                self._controls = ui.element("div").style("display: grid; grid-template-columns: 1fr 1fr; gap: 4px 24px; align-items: end")
                self._as_share = ui.switch("as a share of each origin", value=True, on_change=self._draw).props("dense")
                self._chart = ui.echart({}, renderer="svg").style("width: 100%; height: 270px").props('role="img" aria-label="distribution"')
                self._missing = ui.label("").classes("hw-note")
                with ui.element("div").classes("hw-row"):
                    ui.html("Documents nearest to the bound", sanitize=False, tag="h2")
                    self._of = ui.toggle({"": "all", **OF_LABELS}, value="", on_change=lambda: self._page.follow(False))
                    self._of.props('dense no-caps unelevated size=sm aria-label="declared origin of the documents shown"')
                with ui.element("div").classes("hw-sides"):
                    self._sides = [ui.element("div").style("min-width: 0") for _ in range(2)]

    async def opened(self, is_open: bool) -> None:
        """Says whether the tab is looked at: what it shows is worked out only then."""
        self.is_open = is_open
        if is_open:
            self._page.follow(False)

    def forget_controls(self) -> None:
        """Has the bounds laid out anew, with the values in effect."""
        self._laid_out_for = None

    async def show(self, setting: Setting, preview: Preview, *, is_decided: bool) -> None:
        """Shows what rules and detector turn down under `setting`."""
        self._last = setting, preview, is_decided
        if not self.is_open:
            return
        total = preview.total
        said = f"Exact for rules and detector alone: {total:,} documents turned down by them."
        self._said.set_text(said + ("" if is_decided else " Duplicates and the mix come when documents are decided about again."))
        self._table.rows = self._rows(setting, preview)
        self._lay_out_bounds(setting)
        await self._draw()
        await self._show_samples()

    def _rows(self, setting: Setting, preview: Preview) -> list[dict[str, Any]]:
        rows = []
        if setting.thresholds is not None:
            rate = setting.recipe.origin.max_false_positive_rate
            flagged = sum(preview.flagged.values())
            disputed = sum(count for (stage, _), count in preview.turned_down.items() if stage == "origin")
            rows.append({"name": DETECTOR, "bound": f"rate {rate:g}", "alone": f"{flagged:,}", "first": f"{disputed:,}", "style": ""})
        for name, table in setting.recipe.tables["rules"].items():
            found = preview.rules.get(name)
            bound = " ".join(_bound_text(key, table[key]) for key in ("min", "max", "allow", "deny", "required") if table.get(key) not in (None, [], False))
            alone, first = ("off", "") if found is None else (f"{found.alone:,}", f"{found.first:,}")
            rows.append({"name": name, "bound": bound, "alone": alone, "first": first, "style": "off" if found is None else ""})
        for row in rows:
            row["chosen"] = "true" if row["name"] == self._chosen else "false"
            row["style"] += " chosen" if row["name"] == self._chosen else ""
        return rows

    def _choose(self, name: str) -> None:
        self._chosen = name
        self._page.follow(False)

    def _rule(self, setting: Setting) -> Rule | None:
        """The chosen rule, whether it is on or not; None: the detector."""
        if self._chosen == DETECTOR:
            return None
        table = setting.recipe.tables["rules"][self._chosen]
        keys = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "enabled"}
        try:
            return Rule(name=self._chosen, **keys)
        except ValueError:
            # Off, and without a bound yet.
            return Rule(name=self._chosen, field=keys["field"], required=True)

    def _lay_out_bounds(self, setting: Setting) -> None:
        rule = self._rule(setting)
        self._title.set_text("AI detector: probability that a model wrote the text" if rule is None else f"{rule.name}: {rule.field}")
        if self._laid_out_for != self._chosen:
            self._laid_out_for = self._chosen
            self._controls.clear()
            self._fields = {}
            with self._controls:
                if rule is not None:
                    self._place_bounds(rule)
            for key, field in self._fields.items():
                field.show(setting.recipe.tables["rules"][self._chosen].get(key, True))

    def _place_bounds(self, rule: Rule) -> None:
        columns = self._page.session.columns
        self._fields["enabled"] = Field(Control(f"rules.{rule.name}.enabled", "On", "whether the rule applies", kind=bool), self._page.change)
        if not columns.is_numeric(rule.field):
            return
        values = columns.numbers(rule.field)
        found = histogram(values, columns.declared(), [rule.min, rule.max])
        is_whole = not (values[~np.isnan(values)] % 1).any()
        stops = value_stops(float(found.edges[0]) + 0.5 * is_whole, float(found.edges[-1]) - 0.5 * is_whole, is_whole=is_whole)
        for key, what in (("min", "At least"), ("max", "At most")):
            if getattr(rule, key) is not None:
                control = Control(f"rules.{rule.name}.{key}", f"{what} (inclusive)", f"bound on {rule.field}", stops, kind=float)
                self._fields[key] = Field(control, self._page.change)

    async def _draw(self) -> None:
        if self._last is None or not self.is_open:
            return
        setting, _, _ = self._last
        rule, columns = self._rule(setting), self._page.session.columns
        field = "ai_probability" if rule is None else rule.field
        if not columns.is_numeric(field):
            self._chart.set_visibility(False)
            self._missing.set_text(f"{field} is a column of words.")
            return
        self._chart.set_visibility(True)
        marks = _marks(setting, rule)
        found = await asyncio.to_thread(lambda: histogram(columns.numbers(field), columns.declared(), [value for _, value in marks]))
        self._chart.options.clear()
        self._chart.options.update(histogram_chart(found, field, marks, as_share=self._as_share.value))
        self._chart.update()
        missing = {name: count for name, count in found.missing.items() if count}
        without = ", ".join(f"{count:,} {'unlabelled' if name == 'unknown' else name}" for name, count in missing.items())
        said = "All documents read; the first and last bar hold what lies beyond."
        self._missing.set_text(said + (f" Without this score: {without}." if missing else ""))

    async def _show_samples(self) -> None:
        assert self._last is not None
        setting, preview, is_decided = self._last
        page, rule = self._page, self._rule(setting)
        columns = page.session.columns
        if rule is not None and not (columns.is_numeric(rule.field) and (rule.min is not None or rule.max is not None)):
            for side in self._sides:
                side.clear()
            return
        origin = self._of.value
        decisions, figures = (page.decisions, page.figures) if is_decided else (None, None)

        def read() -> list[list]:
            margin = margin_of_detector(preview.judged) if rule is None else margin_of_rule(columns, rule)
            row_keys = columns.table(["row_key"])["row_key"].to_numpy()
            among = columns.declared() == DECLARED_ORIGINS.index(origin) if origin else None
            field = "ai_probability" if rule is None else rule.field
            return [read_samples(columns, places, decisions, figures, field) for places in nearest(margin, row_keys, SHOWN, among)]

        sides = await asyncio.to_thread(read)
        titles = ("Not flagged", "Flagged") if rule is None else ("Keep the bound", "Break it")
        for side, title, samples in zip(self._sides, titles, sides, strict=True):
            side.clear()
            with side:
                ui.label(title if samples else f"{title}: none").style("font-weight: 600; font-size: 13px")
                place_samples(samples)


def _marks(setting: Setting, rule: Rule | None) -> list[tuple[str, float]]:
    if rule is not None:
        return [(f"{key} {getattr(rule, key):g}", getattr(rule, key)) for key in ("min", "max") if getattr(rule, key) is not None]
    if setting.thresholds is None:
        return []
    named = zip(setting.thresholds.edges, setting.thresholds.thresholds, strict=True)
    return [(f"{edge}+ words", value) for edge, value in named if not np.isnan(value)]


def _bound_text(key: str, value: Any) -> str:
    sign = {"min": "≥", "max": "≤"}.get(key, key)
    return f"{sign} {', '.join(map(str, value)) if isinstance(value, list) else value}" if key != "required" else "required"
