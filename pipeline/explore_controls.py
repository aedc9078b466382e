"""The explorer's controls: what a key of the recipe looks like on the page, and the stops of its slider.

A control knows a key and its values, never what they do: each change goes through `load_recipe`, which refuses what a run would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from classifiers.calibration import HIGHEST_RATE, LOWEST_RATE
from pipeline.recipe_flags import recipe_flags
from transforms.group_settings import COUNT_KEYS, SHARE_KEYS

ROUND_RATES = (LOWEST_RATE, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, HIGHEST_RATE)
"""False-positive rates that the slider stops at; the field takes any."""
COUNT_STOPS = 200
"""Stops of a slider over a number of documents or tokens."""

REPEATS = tuple(range(1, 9))
"""Stops of the slider for how often a human document may be published."""

Changed = Callable[[str, Any, bool], None]
"""Called with a key, its new value, and whether the user has let go of it."""


@dataclass(frozen=True)
class Control:
    """How one key of the recipe is set on the page."""

    key: str
    """Dotted key of the recipe."""
    label: str
    """What it is, in words."""
    hint: str
    """What it does, with its unit."""
    stops: tuple = ()
    """Values of the slider, ascending; empty: no slider."""
    choices: tuple[str, ...] = ()
    """The only values; empty: any."""
    kind: type = str
    """`bool` for a switch; else what the field's text becomes: int, float or str."""


def mix_controls(documents: int, tokens: int) -> list[Control]:
    """Those that concern the mix alone, which is planned anew at once."""
    choices = {flag.key: flag.choices for flag in recipe_flags()}
    return [
        Control("mix.human_quota", "Human share, at least", "smallest share of human text, 0 to 1 or a fraction such as 1/3", share_stops(0.0)),
        Control("mix.quota_unit", "counted in", "what the share is counted in", choices=choices["mix.quota_unit"]),
        Control("mix.count_presumed_human", "Count presumed human", "count unlabelled text that the detector takes for human", kind=bool),
        Control("mix.max_documents", "Documents, at most", "0 = no limit", count_stops(documents), kind=int),
        Control("mix.max_tokens", "Tokens, at most", "0 = no limit", count_stops(tokens), kind=int),
        Control("mix.on_shortage", "Too little human text", "stop (exit code 4), or publish less", choices=choices["mix.on_shortage"]),
        Control("mix.max_human_repeats", "Human text, times at most", "where human text is too little for the size; 1 = once", REPEATS, kind=int),
        Control("mix.priority", "Who goes first", "which documents are chosen first", choices=choices["mix.priority"]),
        Control("mix.seed", "Seed", "of every choice by hash and of the shuffle", kind=int),
    ]


def deciding_controls(*, has_detector: bool) -> list[Control]:
    """Those that decide before the mix, so that documents are decided about again."""
    of_detector = [
        Control(
            "origin.max_false_positive_rate",
            "Human text flagged, at most",
            "share of human documents that the detector may take for machine text",
            ROUND_RATES,
            kind=float,
        ),
        Control("origin.reject_disputed", "Reject disputed", "reject text declared human that the detector disputes", kind=bool),
    ]
    return [
        *(of_detector if has_detector else []),
        Control("dedup.exact", "Drop exact duplicates", "of documents with equal text one stays", kind=bool),
        Control("dedup.near", "Drop near-duplicates", "of documents with nearly equal text one stays", kind=bool),
        Control("dedup.min_similarity", "Near-duplicates from similarity", "estimated Jaccard similarity, 0 to 1", share_stops(0.4), kind=float),
    ]


def table_controls(tables: Mapping[str, Any], documents: int, tokens: int) -> list[Control]:
    """Those of sections whose keys are the user's: promises to groups, and reserved places."""
    controls = []
    for name, table in tables["mix"].get("groups", {}).items():
        for key, value in table.items():
            control = Control(f"mix.groups.{name}.{key}", f"{name}: {key.replace('_', ' ')}", f"of documents where {table.get('where', name)}")
            if key in SHARE_KEYS:
                controls.append(replace(control, stops=share_stops(0.0)))
            elif key in COUNT_KEYS:
                most = tokens if key.endswith("tokens") else documents
                controls.append(replace(control, stops=count_stops(most), kind=int))
            elif key == "weight":
                controls.append(replace(control, kind=float if isinstance(value, int | float) else str))
    stops = count_stops(documents)
    controls += [Control(f"reserve.{name}", f"{name}: places", "documents, if there are as many", stops, kind=int) for name in tables["reserve"]]
    return controls


def top_controls(tables: Mapping[str, Any], *, has_quality: bool) -> list[Control]:
    """The best shares by a score: those of the recipe, and by quality."""
    names = dict.fromkeys([*(["quality"] if has_quality else []), *tables.get("keep_top", {})])
    hint = "share of the documents that pass the rules which stays, 0 to 1 or such as 10%; 1 = all"
    return [Control(f"keep_top.{name}", f"Best by {name.replace('@', ' of each ')}, keep", hint, share_stops(0.01)) for name in names]


def value_of(tables: Mapping[str, Any], key: str) -> Any:
    """The value that a dotted key has in a recipe; the whole where no best share is asked for."""
    section, _, rest = key.partition(".")
    if section == "keep_top":
        return tables.get(section, {}).get(rest, 1)
    if section == "reserve":
        return tables[section].get(rest, 0)
    table = tables[section]
    *names, last = rest.split(".")
    for name in names:
        table = table[name]
    return table[last]


def share_stops(lowest: float) -> tuple[float, ...]:
    """From `lowest` to 1 by hundredths."""
    return tuple(round(place / 100, 2) for place in range(round(100 * lowest), 101))


def count_stops(most: int) -> tuple[int, ...]:
    """From 0 to `most`, in round numbers."""
    step = max(1.0, most / COUNT_STOPS)
    magnitude = 10 ** int(np.floor(np.log10(step)))
    step = next(int(magnitude * lead) for lead in (1, 2, 5, 10) if magnitude * lead >= step)
    return (*range(0, most, step), most)


def value_stops(low: float, high: float, *, is_whole: bool) -> tuple:
    """Stops for a bound on a score between `low` and `high`."""
    if is_whole:
        return tuple(range(int(np.floor(low)), int(np.ceil(high)) + 1, max(1, round((high - low) / COUNT_STOPS))))
    digits = max(0, 2 - int(np.floor(np.log10(max(high - low, 1e-9)))))
    return tuple(dict.fromkeys(round(float(value), digits) for value in np.linspace(low, high, COUNT_STOPS + 1)))


def nearest_stop(stops: Sequence, value: Any) -> int:
    """The stop nearest to `value`, which may be a fraction in words."""
    try:
        number = float(Fraction(str(value)))
    except (ValueError, ZeroDivisionError):
        return 0
    return int(np.argmin(np.abs(np.array(stops, float) - number)))


def parse_value(text: str, kind: type) -> Any:
    """What the text of a field stands for; as it is where it is no such number, for the recipe to refuse."""
    text = text.strip().replace(",", "") if kind in (int, float) else text.strip()
    try:
        return kind(text) if kind is not float else float(text)
    except ValueError:
        return text


def text_of(value: Any) -> str:
    """A value as its field shows it."""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


class Slider(ui.slider):
    """A slider that moves in the browser without waiting for the server: an answer that comes late never pulls it back."""

    LOOPBACK = False


class Field:
    """A control on the page; `show` sets it without telling anybody, and only while nobody moves it."""

    def __init__(self, control: Control, changed: Changed):
        self.control = control
        self._changed = changed
        self._quiet = False
        self._known = ""
        self.slider: Slider | None = None
        self._place()

    def show(self, value: Any) -> None:
        """Shows `value`."""
        self._quiet = True
        try:
            if isinstance(self._input, ui.input):
                self._known = text_of(value)
                self._input.set_value(self._known)
            elif self._input is not None:
                self._input.set_value(value)
            if self.slider is not None:
                self.slider.set_value(nearest_stop(self.control.stops, value))
                self.slider.props["aria-valuetext"] = text_of(value)
        finally:
            self._quiet = False

    def _place(self) -> None:
        control = self.control
        with ui.element("div").classes("hw-control") as outer:
            # Set as values, not parsed from text: what a group is named after may hold any character.
            outer.props["data-key"] = control.key
            if control.kind is bool:
                self._input: ValueElement | None = ui.switch(control.label, on_change=lambda event: self._tell(event.value, True)).props("dense")
                self._input.tooltip(control.hint)
                return
            with ui.element("div").classes("hw-control-head"):
                ui.label(control.label).tooltip(control.hint)
                if control.choices and len(control.choices) <= 2:
                    self._input = ui.toggle(list(control.choices), on_change=lambda event: self._tell(event.value, True))
                    self._input.props("dense no-caps unelevated size=sm")
                elif control.choices:
                    self._input = ui.select(list(control.choices), on_change=lambda event: self._tell(event.value, True))
                    self._input.props("dense outlined options-dense").classes("hw-choice")
                else:
                    self._input = ui.input().props("dense outlined hide-bottom-space").classes("hw-number")
                    self._input.on("keydown.enter", self._from_text).on("blur", self._from_text)
                self._input.props["aria-label"] = control.label
            if control.stops:
                self.slider = Slider(min=0, max=len(control.stops) - 1, step=1, on_change=lambda event: self._from_slider(False))
                self.slider.props("dense").on("change", lambda: self._from_slider(True))
                self.slider.props["aria-label"] = control.label
                texts = json.dumps([text_of(stop) for stop in control.stops])
                # What a screen reader says is the value, not the number of the stop.
                says = f"(stop) => getElement({self.slider.id}).$el.setAttribute('aria-valuetext', {texts}[stop])"
                self.slider.on("update:model-value", js_handler=says)

    def _from_slider(self, done: bool) -> None:
        if self.slider is None or self._quiet or self.slider.value is None:
            return
        value = self.control.stops[int(self.slider.value)]
        self._known = text_of(value)
        self._quiet = True
        self._input.set_value(self._known)
        self._quiet = False
        # A share goes as it is written: 0.7 is seven tenths.
        self._tell(str(value) if self.control.kind is str else value, done)

    def _from_text(self) -> None:
        # A field that is left as it was says nothing: leaving it must not bring back what was taken back meanwhile.
        if not self._quiet and self._input.value != self._known:
            self._known = str(self._input.value)
            value = parse_value(self._known, self.control.kind)
            if self.slider is not None:
                self._quiet = True
                self.slider.set_value(nearest_stop(self.control.stops, value))
                self._quiet = False
            self._tell(value, True)

    def _tell(self, value: Any, done: bool) -> None:
        if not self._quiet:
            self._changed(self.control.key, value, done)
