"""Runs a job as one Beam graph, on any runner."""

from __future__ import annotations

from argparse import Namespace

import apache_beam as beam

from pipeline.beam_costs import remember_modules, remember_signatures, remember_specs
from pipeline.beam_flags import beam_options
from pipeline.graph import build_graph
from pipeline.job import Job


def run_graph(job: Job, parsed: Namespace) -> None:
    """Builds the graph and runs it to its end; where only a Dataflow template is made, runs nothing. Raises what stopped a step."""
    remember_signatures()
    remember_specs()
    remember_modules()
    pipeline = beam.Pipeline(options=beam_options(parsed))
    build_graph(pipeline, job)
    result = pipeline.run()
    if template_of(parsed) is None:
        result.wait_until_finish()


def template_of(parsed: Namespace) -> str | None:
    """Where Beam leaves a Dataflow template instead of running; None: it runs."""
    return beam_options(parsed).get_all_options().get("template_location")
