"""Two things that Beam does thousands of times to build a graph of ours, done once: 1.3 of 3 CPU-seconds before the first document.

Neither changes what Beam does; without them a run is slower and the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core


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
