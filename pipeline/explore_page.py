"""The explorer's page: what its user has set, what is shown for it, and how one follows the other.

Each change of a control is planned anew at once where only the mix changes. Where it decides before the mix, the rules' own yield is shown at once,
the figures of the earlier setting are greyed, and when the control is let go of, documents are decided about again in a process of its own. Changes
that come while one is worked on wait for it, and of these only the last is shown.
"""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import Any

from nicegui import background_tasks, ui

from pipeline.errors import HeadwaterError, UsageError
from pipeline.explore_charts import BLUE
from pipeline.explore_controls import Control, Field, deciding_controls, mix_controls, table_controls, top_controls, value_of
from pipeline.explore_dialogs import offer_command, offer_recipe, show_documents
from pipeline.explore_figures import Decisions, Figures
from pipeline.explore_mix import MixPanel
from pipeline.explore_rules import Preview
from pipeline.explore_session import Session, Setting
from pipeline.explore_thresholds import ThresholdsPanel

READY, PLANNING, DECIDING, WAITING = "as headwater plan", "planning ...", "deciding again ...", "let go to decide"
"""What the status says."""


class Page:
    """One browser tab. `settled` is true when what is shown is what the controls say."""

    def __init__(self, session: Session):
        self.session = session
        # A page that is loaded again, or woken with the machine, goes on where the last one was.
        self.changes: dict[str, Any] = dict(session.last_changes)
        self.setting: Setting | None = None
        self.decisions: Decisions | None = None
        self.figures: Figures | None = None
        self.preview: Preview | None = None
        self.settled = False
        self._is_dirty = self._is_done = self._is_following = False
        self._controls_are_old = True
        self._deciding_for: str | None = None
        self._fields: dict[str, Field] = {}
        ui.colors(primary=BLUE)
        ui.add_css(resources.files("pipeline").joinpath("explore.css").read_text("utf-8"))
        self._lay_out()
        self.change("", None, True)

    def change(self, key: str, value: Any, done: bool) -> None:
        """Sets `key` of the recipe to `value` and shows what comes of it; `done`: the user has let go of the control."""
        if key and self.changes.get(key) == value:
            # Letting go of a slider tells its value a second time: nothing new, unless it is what deciding again waits for.
            self._is_done = (done and not self.settled) or self._is_done
            if self._is_following or not self._is_done:
                return
        if key:
            self.changes[key] = value
        self.follow(done)

    def start_over(self) -> None:
        """Takes all changes back."""
        self.changes.clear()
        self._controls_are_old = True
        self.follow(True)

    def follow(self, done: bool) -> None:
        """Has the page catch up with the changes."""
        self._is_dirty, self._is_done = True, done or self._is_done
        self.settled = False
        if not self._is_following:
            self._is_following = True
            background_tasks.create(self._follow(), name="follow")

    async def _follow(self) -> None:
        try:
            while self._is_dirty or self._is_done:
                self._is_dirty = False
                await self._catch_up()
        finally:
            self._is_following = False

    async def _catch_up(self) -> None:
        self._say(PLANNING)
        session = self.session
        try:
            setting = await asyncio.to_thread(session.setting, dict(self.changes))
        except (UsageError, ValueError) as error:
            self._stale(True)
            self._refuse(str(error), "This setting is refused, and the figures are of the one before")
            return
        self.setting = setting
        session.last_changes = dict(self.changes)
        self._refusal.set_visibility(False)
        if self._controls_are_old:
            self._controls_are_old = False
            self._show_controls(setting)
        decisions = await asyncio.to_thread(session.decided, setting)
        if self.preview is None or decisions is None or self.thresholds.is_open:
            self.preview = await asyncio.to_thread(session.preview, setting)
        if decisions is None:
            self._stale(True)
            await self.thresholds.show(setting, self.preview, is_decided=False)
            if self._is_done or self._deciding_for == setting.key:
                self._is_done = False
                self._decide(setting)
            else:
                self._say(WAITING)
            return
        if self._deciding_for is not None:
            self._deciding_for = None
            session.cancel()
        self.decisions = decisions
        try:
            self.figures = await asyncio.to_thread(session.figures, decisions, setting)
        except Exception as error:
            # A library that is missing, a figure that a score lacks: what would end a run with a sentence is a sentence here, too.
            self._stale(True)
            self._refuse(str(error), "There are no figures for this setting, and those shown are of the one before")
            return
        self._show(self.figures)
        await self.thresholds.show(setting, self.preview, is_decided=True)

    def _decide(self, setting: Setting) -> None:
        self._say(DECIDING)
        if self._deciding_for != setting.key:
            self._deciding_for = setting.key
            background_tasks.create(self._decided(setting.key, dict(self.changes)), name="decide")

    async def _decided(self, key: str, changes: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(self.session.decide, changes)
        except (HeadwaterError, ValueError) as error:
            if self._deciding_for == key:
                self._deciding_for = None
                self._refuse(str(error), "Deciding again was refused")
            return
        if self._deciding_for == key:
            self._deciding_for = None
            self.follow(False)

    def _show(self, figures: Figures) -> None:
        plan = figures.plan
        selected = plan.selected
        before = sum(count for (stage, _), count in figures.counts().items() if stage not in ("published", "mix"))
        by_mix = sum(count for (stage, _), count in figures.counts().items() if stage == "mix")
        share = "–" if not selected.documents else f"{float(plan.human_share):.2%}"
        quality = "–" if figures.mean_quality is None else f"{figures.mean_quality:.3f}"
        promised = f"human share of {plan.settings.quota_unit}, at least {float(plan.settings.human_quota):.1%} promised"
        read = f"{self.session.columns.num_documents:,} read"
        shown = {
            "documents": (f"{selected.documents:,}", f"rows, some of them repeats, of {read}" if figures.repeats else f"documents of {read}"),
            "tokens": (f"{selected.tokens:,}", "tokens"),
            "share": (share, promised),
            "quality": (quality, "mean quality"),
            "before": (f"{before:,}", "turned down before the mix"),
            "mix": (f"{by_mix:,}", "left out by the mix"),
        }
        for key, (value, name) in shown.items():
            self._figures[key][0].set_text(value)
            self._figures[key][1].set_text(name)
        self._stale(False)
        if figures.refusal is not None:
            self._refuse(figures.refusal, "A remix with this setting stops (exit code 4)")
        else:
            self._refusal.set_visibility(False)
            self._say(READY)
        self.mix.show(figures)
        self.settled, self._is_done = not self._is_dirty, False

    def _refuse(self, said: str, title: str) -> None:
        self._is_done = False
        self._refusal_text.set_text(f"{title}: {said}")
        self._refusal.set_visibility(True)
        self._say("refused")
        self.settled = True

    def _stale(self, is_stale: bool) -> None:
        for element in (self._row, self._mix_area):
            element.classes(**{"add" if is_stale else "remove": "hw-stale"})

    def _say(self, status: str) -> None:
        self._status.set_text(status)
        self._spinner.set_visibility(status in (PLANNING, DECIDING))
        self._icon.set_visibility(status == READY)
        self._row.props(f'aria-busy="{str(status in (PLANNING, DECIDING)).lower()}"')

    def _show_controls(self, setting: Setting) -> None:
        self.thresholds.forget_controls()
        for key, field in self._fields.items():
            field.show(value_of(setting.recipe.tables, key))

    def _place(self, controls: list[Control]) -> None:
        for control in controls:
            self._fields[control.key] = Field(control, self.change)

    def _lay_out(self) -> None:
        session = self.session
        with ui.header().classes("hw-header"):
            with ui.element("div").classes("hw-title"):
                ui.html("Headwater explorer", sanitize=False, tag="h1")
                ui.label(session.scored).classes("hw-path").props(f'title="{session.scored}"' if '"' not in session.scored else "")
                ui.button("Copy as command line", icon="content_copy", on_click=lambda: offer_command(self)).props("unelevated no-caps size=sm")
                ui.button("Save recipe", icon="save", on_click=lambda: offer_recipe(self)).props("outline no-caps size=sm")
                ui.button("Start over", icon="restart_alt", on_click=self.start_over).props("flat no-caps size=sm")
            with ui.element("div").classes("hw-figures").props('role="status" aria-label="What would be published"') as self._row:
                self._figures = {}
                for key in ("documents", "tokens", "share", "quality", "before", "mix"):
                    with ui.element("div").classes("hw-figure"):
                        self._figures[key] = (
                            ui.label("–").classes("hw-value").props(f'data-figure="{key}"'),
                            ui.label(key).classes("hw-name"),
                        )
                with ui.element("div").classes("hw-status"):
                    self._spinner = ui.spinner(size="sm")
                    self._icon = ui.icon("check_circle").classes("hw-check")
                    self._status = ui.label(PLANNING).props('data-figure="status"')
        with ui.left_drawer(value=True, fixed=True, bordered=True).props("width=312 behavior=desktop").classes("hw-drawer"):
            _heading("The mix")
            total = int(session.columns.table(["tokens"])["tokens"].to_numpy().sum(dtype="int64"))
            documents, schema = session.columns.num_documents, session.columns.schema.names
            tables = session.setting({}).recipe.tables
            self._place(mix_controls(documents, total))
            if promised := table_controls(tables, documents, total):
                _heading("Groups")
                self._place(promised)
            _heading("Before the mix")
            ui.label("Documents are decided about again when you let go.").classes("hw-note")
            self._place([*top_controls(tables, has_quality="quality" in schema), *deciding_controls(has_detector="ai_probability" in schema)])
            ui.label("Bounds of single rules stand under Thresholds.").classes("hw-note")
        with ui.element("div").classes("hw-refusal").props('role="alert"') as self._refusal:
            ui.icon("error")
            self._refusal_text = ui.label("").props('data-figure="refusal"')
        self._refusal.set_visibility(False)
        with ui.tabs().props("dense align=left no-caps inline-label").classes("hw-tabs") as tabs:
            ui.tab("mix", "Mix", icon="stacked_bar_chart")
            ui.tab("thresholds", "Thresholds", icon="tune")
        with ui.tab_panels(tabs, value="mix", animated=False, keep_alive=True).classes("w-full").style("width: 100%; background: none"):
            with ui.tab_panel("mix").style("padding: 0"):
                with ui.element("div").style("width: 100%") as self._mix_area:
                    self.mix = MixPanel(lambda stage, reason, label: show_documents(self, stage, reason, label))
            with ui.tab_panel("thresholds").style("padding: 0"):
                self.thresholds = ThresholdsPanel(self)
        tabs.on_value_change(lambda event: self.thresholds.opened(event.value == "thresholds"))


def _heading(text: str) -> None:
    ui.html(text, sanitize=False, tag="h2")
