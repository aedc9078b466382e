"""What Beam does hundreds or thousands of times to build and run a graph of ours, done once: half of the CPU-seconds before the first document.

Neither changes what Beam does; without them a run is slower and the same.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

import objsize.traverse
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate


class ViewedOnce(PipelineOptions):
    """Options that make each view of themselves once.

    Building a graph of ours asks for a view a thousand times, and each time Beam makes an argument parser for it: half a second of
    CPU. All views share their values, so one of each kind is as good as a thousand.
    """

    def view_as(self, cls: type[PipelineOptions]) -> PipelineOptions:
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def remember_signatures() -> None:
    """Lets Beam inspect each method once: for a hundred ParDos it asks 29,000 times, mostly for the methods of DoFn itself.

    Only bound methods are remembered, by their function: their arguments are the same for every instance. Calling it again does nothing.
    """
    inspect_anew = core.get_function_args_defaults
    if hasattr(inspect_anew, "__wrapped__"):
        return
    known: dict[Any, tuple[list, list]] = {}

    @functools.wraps(inspect_anew)
    def get_function_args_defaults(method: Callable) -> tuple[list, list]:
        function = getattr(method, "__func__", None)
        if function is None:
            return inspect_anew(method)
        if function not in known:
            known[function] = inspect_anew(method)
        arguments, defaults = known[function]
        return list(arguments), list(defaults)

    core.get_function_args_defaults = get_function_args_defaults


def remember_specs() -> None:
    """Lets Beam look for the state and timers of each kind of DoFn once: for a hundred ParDos it does so 900 times, through all of their methods.

    DoFns of one class have the same methods, and so the same parameters, unless an instance has some of its own or the class looks into
    what it wraps (`Map` and its like): such are remembered one by one. Calling it again does nothing.
    """
    find_anew = userstate.get_dofn_specs
    if hasattr(find_anew, "__wrapped__"):
        return
    known: dict[Any, tuple[Any, tuple[set, set]]] = {}
    wraps: dict[type, bool] = {}

    @functools.wraps(find_anew)
    def get_dofn_specs(dofn: core.DoFn) -> tuple[set, set]:
        kind = type(dofn)
        if kind not in wraps:
            wraps[kind] = any(name.startswith("_inspect_") for name in dir(kind))
        one_by_one = wraps[kind] or any(isinstance(value, MethodType) for value in vars(dofn).values())
        key = id(dofn) if one_by_one else kind
        if key not in known:
            # Held with its DoFn, so that no other comes to have its id.
            known[key] = dofn, find_anew(dofn)
        state, timers = known[key][1]
        return set(state), set(timers)

    userstate.get_dofn_specs = get_dofn_specs


def remember_modules() -> None:
    """Lets Beam list the modules of this process once, not for each side input that a step reads, of which it wants the size.

    They are listed again as soon as another one was imported. Calling it again does nothing.
    """
    list_anew = objsize.traverse._iter_modules_globals
    if hasattr(list_anew, "__wrapped__"):
        return
    known: list[Any] = [0, []]

    @functools.wraps(list_anew)
    def _iter_modules_globals() -> list[Any]:
        if known[0] != len(sys.modules):
            known[:] = len(sys.modules), list(list_anew())
        return known[1]

    objsize.traverse._iter_modules_globals = _iter_modules_globals
