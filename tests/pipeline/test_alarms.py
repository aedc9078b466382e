"""Alarms mean what they say, trip on the right side of their limit, and name who moved the figure."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.alarms import SURE, Alarm, attribute, check_cycles, evaluate, parse_alarm, raise_tripped
from pipeline.errors import AlarmTripped, UsageError

FIGURES = ("human_share", "compression_ratio", "distinct_2")
values = st.floats(0.01, 100)


@pytest.mark.parametrize(
    ("text", "alarm"),
    [
        ("human_share<0.5", ("human_share", False, 0.5, False, None)),
        (" human_share < .5 ", ("human_share", False, 0.5, False, None)),
        ("compression_ratio>3", ("compression_ratio", True, 3.0, False, None)),
        ("compression_ratio>+15%", ("compression_ratio", True, 0.15, True, None)),
        ("distinct_2<-10.5%", ("distinct_2", False, -0.105, True, None)),
        ("distinct_2<-10%@spring 2025", ("distinct_2", False, -0.1, True, "spring 2025")),
    ],
)
def test_an_alarm_is_figure_side_and_limit(text, alarm):
    assert parse_alarm(text, FIGURES) == Alarm(text, *alarm)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be FIGURE<LIMIT"),
        ("human_share", "must be FIGURE<LIMIT"),
        ("human_share=0.5", "must be FIGURE<LIMIT"),
        ("human_share<many", "must be FIGURE<LIMIT"),
        ("human_shore<0.5", "did you mean 'human_share'"),
        ("speed<1", "known: human_share, compression_ratio, distinct_2"),
        ("human_share<50%", "with sign and %"),
        ("human_share<+0.5", "with sign and %"),
        ("human_share<0.5@c1", "compares to no cycle; leave out @c1"),
        ("human_share<0.5@", "must be FIGURE<LIMIT"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(text, said):
    with pytest.raises(UsageError, match=said) as refused:
        parse_alarm(text, FIGURES)
    assert str(refused.value).startswith(f"--fail_on={text}: ")


@given(st.sampled_from(FIGURES), st.sampled_from("<>"), st.floats(0, 1000), values)
def test_a_limit_trips_beyond_it_and_never_at_it(figure, side, limit, value):
    alarm = parse_alarm(f"{figure}{side}{limit:.6f}", FIGURES)
    assert alarm.trips(value, None) == (value > alarm.limit if side == ">" else value < alarm.limit)
    assert not alarm.trips(alarm.limit, None)


@given(st.sampled_from("<>"), st.floats(-0.9, 3), values, values)
def test_a_change_is_measured_against_the_earlier_figure(side, change, value, before):
    alarm = parse_alarm(f"human_share{side}{100 * change:+.6f}%", FIGURES)
    actual = (value - before) / before
    assert alarm.trips(value, before) == (actual > alarm.limit if side == ">" else actual < alarm.limit)


def test_against_nothing_any_rise_is_endless():
    rise, fall = parse_alarm("human_share>+1000%", FIGURES), parse_alarm("human_share<-1%", FIGURES)
    assert rise.trips(0.1, 0.0) and not rise.trips(0.0, 0.0) and not fall.trips(0.1, 0.0)
    with pytest.raises(ValueError, match="nothing to compare to"):
        rise.trips(0.1, None)


def alarms(*texts):
    return [parse_alarm(text, FIGURES) for text in texts]


def test_changes_are_judged_against_the_last_cycle_or_the_one_named():
    earlier = [("c1", {"compression_ratio": 2.0}), ("c2", {"compression_ratio": 3.0})]
    held = alarms("compression_ratio>+15%", "compression_ratio>+15%@c1", "compression_ratio>+80%@c1")
    tripped = evaluate(held, {"compression_ratio": 3.3}, earlier)
    assert [(one.alarm.text, one.before) for one in tripped] == [("compression_ratio>+15%@c1", 2.0)]


def sampled(name, value, half):
    return {name: value, f"{name}.low": value - half, f"{name}.high": value + half}


def test_a_change_that_chance_may_have_made_trips_nothing():
    held = alarms("compression_ratio>+15%", "distinct_2<-10%")
    before = sampled("compression_ratio", 2.0, 0.2) | sampled("distinct_2", 0.8, 0.05)
    near = sampled("compression_ratio", 2.4, 0.2) | sampled("distinct_2", 0.7, 0.05)
    far = sampled("compression_ratio", 2.9, 0.2) | sampled("distinct_2", 0.6, 0.05)
    exact = {"compression_ratio": 2.4, "distinct_2": 0.7}
    assert evaluate(held, near, [("c1", before)]) == []
    assert [one.alarm.figure for one in evaluate(held, far, [("c1", before)])] == ["compression_ratio", "distinct_2"]
    assert [one.alarm.figure for one in evaluate(held, exact, [("c1", exact | {"compression_ratio": 2.0, "distinct_2": 0.8})])] == [
        "compression_ratio",
        "distinct_2",
    ]


def test_a_limit_without_a_sign_is_about_the_figure_itself():
    assert [one.value for one in evaluate(alarms("compression_ratio>3"), sampled("compression_ratio", 3.1, 1), [])] == [3.1]


@given(st.sampled_from("<>"), st.floats(-0.9, 3), values, values, st.floats(0, 5), st.floats(0, 5))
def test_doubt_only_ever_keeps_an_alarm_from_tripping(side, change, value, before, half, half_before):
    alarm = parse_alarm(f"distinct_2{side}{100 * change:+.6f}%", FIGURES)
    now, then = sampled("distinct_2", value, half), sampled("distinct_2", before, half_before)
    surely = alarm.trips_surely(now, then)
    assert not surely or alarm.trips(value, before)
    assert alarm.trips_surely({"distinct_2": value}, {"distinct_2": before}) == alarm.trips(value, before)
    if half == 0:
        # Against an exact figure of now, the earlier one's interval decides alone.
        towards = min(0, alarm.limit) if alarm.above else max(0, alarm.limit)
        moved, doubt = abs(value - (1 + towards) * before), SURE * half_before
        assert surely == (alarm.trips(value, before) and moved > doubt) or moved == pytest.approx(doubt)
    assert not surely or alarm.trips_surely(sampled("distinct_2", value, half / 2), then)


@pytest.mark.parametrize(("side", "texts"), [(">", "distinct_2>+15%"), ("<", "distinct_2<-15%")])
def test_of_changes_within_the_limit_hardly_any_trips_by_chance(side, texts):
    """Two samples of one thing, judged against a limit that the standard error crosses in one of three pairs, trip in less than one of a hundred."""
    random = np.random.default_rng(5)
    (alarm,) = alarms(texts)
    drawn = 1 + random.normal(0, 0.2, (2_000, 2))
    crossed = [alarm.trips(now, before) for now, before in drawn]
    tripped = [alarm.trips_surely(sampled("distinct_2", now, 0.4), sampled("distinct_2", before, 0.4)) for now, before in drawn]
    assert np.mean(crossed) > 0.2 and np.mean(tripped) < 0.01


def test_against_nothing_a_rise_trips_if_its_interval_leaves_nothing_out():
    (alarm,) = alarms("distinct_2>+10%")
    assert alarm.trips_surely(sampled("distinct_2", 0.4, 0.1), sampled("distinct_2", 0.0, 0.0))
    assert not alarm.trips_surely(sampled("distinct_2", 0.4, 0.5), sampled("distinct_2", 0.0, 0.0))


def test_of_a_cycle_with_several_runs_the_last_one_counts():
    earlier = [("c1", {"human_share": 0.2}), ("c1", {"human_share": 0.8})]
    (tripped,) = evaluate(alarms("human_share<-10%@c1"), {"human_share": 0.5}, earlier)
    assert tripped.before == 0.8


def test_the_first_cycle_trips_no_change():
    assert evaluate(alarms("human_share<-10%"), {"human_share": 0.1}, []) == []
    assert evaluate(alarms("human_share<-10%"), {"human_share": 0.1}, [("c1", {})]) == []


def test_a_figure_that_could_not_be_taken_trips_its_alarm():
    (tripped,) = evaluate(alarms("distinct_2<0.5"), {}, [])
    assert tripped.value is None and "could not be taken" in tripped.sentence
    assert attribute(tripped, {"source": {"a": 1.0}}, lambda *_: {}) == tripped


def test_an_unknown_cycle_is_refused_before_anything_is_judged():
    with pytest.raises(UsageError, match="holds no figures of cycle 'c9'; it holds c1"):
        check_cycles(alarms("human_share<-10%@c9"), ["c1"])
    with pytest.raises(UsageError, match="it holds none"):
        evaluate(alarms("human_share<-10%@c9"), {"human_share": 1}, [])


def test_whoever_moved_the_figure_most_is_named_first():
    held = {"web": (10, 10), "bot-a": (0, 20), "bot-b": (0, 5)}

    def figures(names):
        human, total = (sum(held[name][place] for name in names) for place in (0, 1))
        return {"human_share": human / total} if total else {}

    (tripped,) = evaluate(alarms("human_share<0.5"), figures(held), [])
    blamed = attribute(tripped, {"source": {name: held[name][1] / 35 for name in held}}, lambda _, left: figures(set(held) - {left}))
    assert [suspect.name for suspect in blamed.suspects] == ["bot-a", "bot-b", "web"]
    first = blamed.suspects[0]
    assert first.without == pytest.approx(10 / 15) and first.clears and first.share == pytest.approx(20 / 35)
    assert not blamed.suspects[1].clears
    assert "source 'bot-a' (57% of documents) moved it most: without it it would be 0.6667, and would not trip" in blamed.sentence


def test_a_rise_is_blamed_on_whose_absence_lowers_it():
    (tripped,) = evaluate(alarms("compression_ratio>3"), {"compression_ratio": 4.0}, [])
    without = {"a": 3.5, "b": 2.0, "c": 4.2}
    blamed = attribute(tripped, {"generator": dict.fromkeys(without, 1 / 3)}, lambda _, name: {"compression_ratio": without[name]})
    assert [suspect.name for suspect in blamed.suspects] == ["b", "a", "c"]


def test_a_name_that_is_everything_is_no_suspect():
    (tripped,) = evaluate(alarms("human_share<0.5"), {"human_share": 0.1}, [])
    assert attribute(tripped, {"source": {"all": 1.0}}, lambda *_: {}).suspects == ()


def test_all_alarms_stop_the_run_in_one_message_with_exit_code_6():
    tripped = evaluate(alarms("human_share<0.5", "distinct_2>+5%"), {"human_share": 0.1, "distinct_2": 0.9}, [("c1", {"distinct_2": 0.5})])
    with pytest.raises(AlarmTripped, match=r"2 alarms tripped, nothing was published. human_share<0.5: human_share is 0.1. ") as stopped:
        raise_tripped(tripped)
    assert stopped.value.exit_code == 6
    assert "distinct_2 is 0.9, after 0.5 in the last cycle (+80.0%)" in str(stopped.value)
    raise_tripped([])
