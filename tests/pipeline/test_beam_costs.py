"""What is done once instead of thousands of times gives the same answers."""

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions
from apache_beam.transforms import core

from pipeline.beam_costs import ViewedOnce, remember_signatures


class Plain(beam.DoFn):
    def process(self, element, factor=2):
        yield element * factor


class Other(beam.DoFn):
    def process(self, element, *, window=beam.DoFn.WindowParam):
        yield element


def test_views_of_beams_options_share_their_values():
    options = ViewedOnce(["--project=first"])
    cloud = options.view_as(GoogleCloudOptions)
    assert options.view_as(GoogleCloudOptions) is cloud and cloud.project == "first"
    cloud.project = "second"
    assert options.view_as(StandardOptions).view_as(GoogleCloudOptions).project == "second"
    assert options.get_all_options()["project"] == "second"


def test_remembered_signatures_are_those_that_beam_finds(monkeypatch):
    anew = core.get_function_args_defaults
    while hasattr(anew, "__wrapped__"):
        anew = anew.__wrapped__
    monkeypatch.setattr(core, "get_function_args_defaults", anew)
    methods = [Plain().process, Other().process, Plain().start_bundle, Other().setup, len, lambda a, b=1: a]
    expected = [anew(method) for method in methods]
    remember_signatures()
    for _ in range(2):
        assert [core.get_function_args_defaults(method) for method in methods] == expected
    assert core.get_function_args_defaults(Plain().process) == expected[0]


def test_an_answer_may_be_changed_by_who_got_it(monkeypatch):
    monkeypatch.setattr(core, "get_function_args_defaults", core.get_function_args_defaults)
    remember_signatures()
    arguments, _ = core.get_function_args_defaults(Plain().process)
    arguments.append("spoilt")
    assert "spoilt" not in core.get_function_args_defaults(Plain().process)[0]


def test_remembering_twice_is_remembering_once(monkeypatch):
    monkeypatch.setattr(core, "get_function_args_defaults", core.get_function_args_defaults)
    remember_signatures()
    once = core.get_function_args_defaults
    remember_signatures()
    assert core.get_function_args_defaults is once
