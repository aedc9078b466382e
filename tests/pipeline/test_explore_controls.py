"""What the explorer's controls stand for: every one reads a key that there is, and the recipe takes every stop of every slider."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nicegui")

from pipeline import explore_session
from pipeline.errors import UsageError
from pipeline.explore_columns import ScoredColumns
from pipeline.explore_controls import (
    count_stops,
    deciding_controls,
    mix_controls,
    nearest_stop,
    parse_value,
    share_stops,
    table_controls,
    text_of,
    top_controls,
    value_of,
)
from pipeline.explore_decide import Deciding
from pipeline.explore_recipe import as_assignment
from pipeline.explore_rules import margin_of_rule
from pipeline.explore_session import Session
from pipeline.options import parse_arguments
from pipeline.recipe import load_recipe
from pipeline.recipe_flags import overrides_of
from tests.pipeline.explored import scored_run
from transforms.apply_rules import Rule

USERS = {
    "mix.groups.web.where": 'source == "web"',
    "mix.groups.web.min_share": 0.25,
    "mix.groups.web.max_tokens": 5_000,
    "mix.groups.shop.where": "tokens > 5",
    "mix.groups.shop.weight": 2,
    "mix.groups.shop.within": "web",
    "mix.groups.shop.min_documents": 3,
    "reserve.source.web": 4,
    "keep_top.quality@generator": "0.5",
}


def tables_of(*changes) -> dict:
    words = [f"--set={as_assignment(key, value)}" for one in changes for key, value in one.items()]
    return load_recipe(None, overrides_of(parse_arguments(["plan", "--scored=x", *words]))).tables


def controls_of(tables) -> list:
    kinds = [mix_controls(40_000, 9_000_000), deciding_controls(has_detector=True), table_controls(tables, 40_000, 9_000_000)]
    return [control for kind in (*kinds, top_controls(tables, has_quality=True)) for control in kind]


def test_every_control_shows_a_value_of_the_recipe_and_there_is_one_for_each_promise():
    tables = tables_of(USERS)
    controls = {control.key: control for control in controls_of(tables)}
    # What tells documents apart is told by the control's hint, not changed by it.
    shown = USERS.keys() - {"mix.groups.web.where", "mix.groups.shop.where", "mix.groups.shop.within"}
    assert shown <= controls.keys() and len(controls) == len(controls_of(tables))
    assert not {key for key in controls if key.endswith((".where", ".within"))}
    for key, value in USERS.items():
        assert key not in controls or str(value_of(tables, key)) == str(value)
    assert value_of(tables, "keep_top.quality") == 1 and value_of(tables, "reserve.task.none") == 0
    assert controls["mix.groups.web.max_tokens"].stops[-1] == 9_000_000 and controls["mix.groups.shop.min_documents"].stops[-1] == 40_000
    assert controls["mix.groups.shop.weight"].kind is float and 'source == "web"' in controls["mix.groups.web.min_share"].hint
    assert {control.key for control in deciding_controls(has_detector=False)} == {key for key in controls if key.startswith("dedup.")}
    assert not top_controls(tables_of(), has_quality=False)


@pytest.mark.parametrize("control", [one for one in controls_of(tables_of(USERS)) if one.stops or one.choices], ids=lambda one: one.key)
def test_the_recipe_takes_the_ends_and_the_middle_of_every_slider_and_every_choice(control):
    stops = control.stops
    for value in {*control.choices, *({stops[0], stops[len(stops) // 2], stops[-1]} if stops else ())}:
        # The other end of a pair of bounds is left out: which of them contradict is for the recipe to say.
        others = {key: one for key, one in USERS.items() if not key.endswith(("min_share", "max_tokens")) or key == control.key}
        if control.key == "mix.max_human_repeats":
            # Repeats want a size and go with no groups.
            others = {"mix.max_documents": 50}
        beside = {"diverse": {"mix.diverse_by": "source"}, "hard": {"score.perplexity_model": "ngram:m.arpa"}}.get(value, {})
        tables = tables_of({**others, **beside, control.key: value})
        assert float(value_of(tables, control.key)) == value if stops else value_of(tables, control.key) == value


@given(st.one_of(st.integers(-9, 2 * 10**9), st.floats(0, 1), st.sampled_from(["", "x", "1/0", "nan", "inf", "2/3", "-1"])))
def test_a_slider_always_has_a_place_for_a_value_and_the_nearest_one(value):
    for stops in (share_stops(0.4), count_stops(1_234_567)):
        place = nearest_stop(stops, value)
        assert 0 <= place < len(stops)
        if isinstance(value, int | float):
            assert abs(stops[place] - value) == min(abs(stop - value) for stop in stops)


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_a_field_shows_a_value_as_it_is_read_back(value):
    kind = str if isinstance(value, bool) else type(value)
    assert parse_value(text_of(value), kind) == (str(value) if kind is str else value)


def test_a_count_of_nothing_has_one_stop():
    assert count_stops(0) == (0,) and nearest_stop(count_stops(0), 7) == 0


class Scores(ScoredColumns):
    """Columns of one score, without files."""

    def __init__(self, values):
        self._values = np.array(values, np.float32)

    def numbers(self, name):
        return self._values


def test_a_margin_is_to_the_nearer_bound_and_missing_where_nothing_is_bounded_or_scored():
    scores = Scores([0.1, 0.5, 0.75, 2.0, math.nan])
    margins = margin_of_rule(scores, Rule("r", field="f", min=0.25, max=1.0))
    assert margins[:4].tolist() == pytest.approx([-0.15, 0.25, 0.25, -1.0]) and np.isnan(margins[4])
    assert margin_of_rule(scores, Rule("r", field="f", max=1.0))[3] == -1.0
    assert np.isnan(margin_of_rule(scores, Rule("r", field="f", required=True))).all()


def test_decisions_that_are_let_go_are_deleted_but_never_those_of_the_run(corpus, tmp_path, monkeypatch):
    run = scored_run(corpus, tmp_path)
    monkeypatch.setattr(explore_session, "KEPT_DECISIONS", 1)
    held = sorted(os.listdir(run / "decided"))
    session = Session(str(run), [])
    try:
        own = session.decided(session.setting({}))
        made = session.decide({"dedup.near": False})
        assert made.folder != own.folder and os.path.isdir(made.folder)
        assert session.decide({"dedup.near": False}) is made
        session.decided(session.setting({}))
        assert not os.path.exists(made.folder) and sorted(os.listdir(run / "decided")) == held
    finally:
        session.close()
    assert sorted(os.listdir(run / "decided")) == held


def test_a_decision_that_is_refused_says_why_in_the_words_of_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"^--scored=.*nowhere: holds no scored shards"):
        Deciding(["plan", f"--scored={tmp_path}/nowhere"], str(tmp_path / "work")).wait()
