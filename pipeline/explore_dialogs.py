"""The explorer's dialogs: documents of one kind, the command line to copy, the recipe to save."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nicegui import ui

from pipeline.errors import UsageError
from pipeline.explore_columns import by_hash
from pipeline.explore_recipe import as_command, as_toml, save_recipe
from pipeline.explore_samples import SHOWN, Sample, read_samples, turned_down_for

if TYPE_CHECKING:
    from pipeline.explore_page import Page


def place_samples(samples: Sequence[Sample]) -> None:
    """Cards for documents; their text stands there as text, whatever it holds."""
    for sample in samples:
        with ui.element("article").classes("hw-sample" if sample.is_published else "hw-sample down"):
            ui.label(sample.fate).classes("hw-fate")
            ui.label(sample.facts).classes("hw-small")
            ui.label(sample.text).classes("hw-text").props('tabindex=0 dir=auto aria-label="text of the document"')
            more = f" · {sample.chars_left_out:,} more characters" if sample.chars_left_out else ""
            ui.label(f"{sample.id} · {sample.location}{more}").classes("hw-small")


def show_documents(page: Page, stage: str, reason: str, label: str) -> None:
    """Opens documents that ended at one line of the funnel: a fixed random sample."""
    figures, decisions, columns = page.figures, page.decisions, page.session.columns
    if figures is None or decisions is None:
        return
    among = turned_down_for(figures, stage, reason)
    total, shown = int(among.sum()), 0
    row_keys = columns.table(["row_key"])["row_key"].to_numpy()

    async def more() -> None:
        nonlocal shown
        button.disable()
        places = by_hash(among, row_keys, SHOWN, shown)
        samples = await asyncio.to_thread(read_samples, columns, places, decisions, figures)
        shown += len(samples)
        with cards:
            place_samples(samples)
        count.set_text(f"{shown:,} of {total:,} documents, chosen by hash")
        button.set_visibility(shown < total)
        button.enable()

    with ui.dialog(value=True) as dialog, ui.card().classes("hw-dialog").style("width: 860px; max-height: 88vh"):
        ui.html("", sanitize=False, tag="h2")
        ui.label(label.removeprefix("– ")).style("font-size: 16px; font-weight: 600")
        count = ui.label("").classes("hw-note")
        cards = ui.element("div").style("overflow: auto; width: 100%")
        with ui.row():
            button = ui.button("More", on_click=more).props("outline no-caps size=sm")
            ui.button("Close", on_click=dialog.close).props("flat no-caps size=sm")
    ui.timer(0, more, once=True)


def offer_command(page: Page) -> None:
    """Opens the command line that publishes what is set."""
    setting = page.setting
    if setting is None:
        return
    changed = page.session.changed(setting)

    def written() -> str:
        return as_command(changed, os.path.abspath(page.session.scored), output.value.strip() or "remixed")

    with ui.dialog(value=True) as dialog, ui.card().classes("hw-dialog"):
        ui.label("This command publishes what is set here").style("font-size: 16px; font-weight: 600")
        if page.figures is not None and page.figures.refusal is not None:
            ui.label("As set, it would stop with exit code 4.").style("color: #bc4c00; font-weight: 600")
        output = ui.input("Folder for the dataset", value="remixed", on_change=lambda: text.set_text(written())).props("dense outlined")
        text = ui.label("").classes("hw-command").props('data-figure="command" tabindex=0')
        text.set_text(written())
        with ui.row():
            ui.button("Copy", icon="content_copy", on_click=lambda: (ui.clipboard.write(written()), ui.notify("Copied"))).props("unelevated no-caps")
            ui.button("Close", on_click=dialog.close).props("flat no-caps")


def offer_recipe(page: Page) -> None:
    """Opens the recipe that holds what differs from the default, to save or download."""
    setting = page.setting
    if setting is None:
        return
    changed = page.session.changed(setting)

    def save() -> None:
        try:
            path = save_recipe(name.value, changed, overwrite=replace.value)
        except UsageError as error:
            said.set_text(str(error))
            return
        said.set_text(f"Saved to {path}; use it with --recipe {path}")

    with ui.dialog(value=True) as dialog, ui.card().classes("hw-dialog"):
        ui.label("A recipe of what differs from the default").style("font-size: 16px; font-weight: 600")
        ui.label(as_toml(changed)).classes("hw-command").style("max-height: 320px; overflow: auto").props('data-figure="recipe" tabindex=0')
        name = ui.input("File", value=os.path.abspath("recipe.toml")).props("dense outlined").style("width: 100%")
        replace = ui.checkbox("Replace the file if it is there")
        said = ui.label("").props('role="status" data-figure="saved"')
        with ui.row():
            ui.button("Save", icon="save", on_click=save).props("unelevated no-caps")
            ui.button("Download", icon="download", on_click=lambda: ui.download.content(as_toml(changed), "recipe.toml")).props("outline no-caps")
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
