"""What is done once instead of thousands of times gives the same answers."""

import sys
from types import ModuleType

import apache_beam as beam
import objsize
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions
from apache_beam.transforms import core, userstate

from pipeline.beam_costs import ViewedOnce, remember_modules, remember_signatures, remember_specs


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


class Stateful(beam.DoFn):
    COUNT = beam.transforms.userstate.CombiningValueStateSpec("count", beam.coders.VarIntCoder(), sum)

    def process(self, element, count=beam.DoFn.StateParam(COUNT)):
        yield element


@pytest.fixture
def plain_specs(monkeypatch):
    anew = userstate.get_dofn_specs
    while hasattr(anew, "__wrapped__"):
        anew = anew.__wrapped__
    monkeypatch.setattr(userstate, "get_dofn_specs", anew)
    return anew


def test_remembered_states_and_timers_are_those_that_beam_finds(plain_specs):
    counts = beam.transforms.userstate.CombiningValueStateSpec("other", beam.coders.VarIntCoder(), sum)
    wrapped = [beam.Map(lambda one: one).fn, beam.FlatMap(lambda one, count=beam.DoFn.StateParam(counts): [one]).fn, beam.Map(len).fn]
    dofns = [Plain(), Other(), Stateful(), Plain(), *wrapped]
    expected = [plain_specs(dofn) for dofn in dofns]
    assert [len(state) for state, _ in expected[:4]] == [0, 0, 1, 0]
    remember_specs()
    once = userstate.get_dofn_specs
    for _ in range(2):
        assert [userstate.get_dofn_specs(dofn) for dofn in dofns] == expected
        remember_specs()
    assert userstate.get_dofn_specs is once
    userstate.get_dofn_specs(dofns[0])[0].add("spoilt")
    assert userstate.get_dofn_specs(Plain()) == (set(), set())


def test_an_instance_with_methods_of_its_own_is_looked_through_itself(plain_specs):
    remember_specs()
    assert userstate.get_dofn_specs(Plain()) == (set(), set())
    patched = Plain()
    patched.process = Stateful().process
    assert userstate.get_dofn_specs(patched) == plain_specs(patched)
    assert len(userstate.get_dofn_specs(patched)[0]) == 1


def test_modules_are_listed_again_after_an_import(monkeypatch):
    monkeypatch.setattr(objsize.traverse, "_iter_modules_globals", objsize.traverse._iter_modules_globals)
    remember_modules()
    before = list(objsize.traverse._iter_modules_globals())
    assert objsize.traverse._iter_modules_globals() is objsize.traverse._iter_modules_globals()
    module = ModuleType("a_module_of_this_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    after = list(objsize.traverse._iter_modules_globals())
    assert len(after) == len(before) + 1
    assert any(one is vars(module) for one in after)
    assert objsize.get_deep_size([vars(module)]) == objsize.get_deep_size([None])
