"""Which alarms trip and which do not: at the limit, beside an earlier 0, with a wider interval on one side; and the order of who is blamed."""

import pytest

from pipeline.alarms import Alarm, Tripped, attribute, evaluate, parse_alarm, raise_tripped
from pipeline.errors import UsageError

FIGURES = ("human_share", "distinct_2", "compression_ratio")


def alarm(text: str) -> Alarm:
    return parse_alarm(text, FIGURES)


@pytest.mark.parametrize(
    ("text", "value", "trips"),
    [
        ("human_share<0.5", 0.49, True),
        ("human_share<0.5", 0.5, False),
        ("human_share<0.5", 0.51, False),
        ("human_share>0.5", 0.51, True),
        ("human_share>0.5", 0.5, False),
        ("human_share>0.5", 0.49, False),
        ("human_share<0", 0.0, False),
        ("human_share>.5", 0.6, True),
    ],
)
def test_a_limit_on_a_figure_trips_beyond_it_alone(text, value, trips):
    assert [one.value for one in evaluate([alarm(text)], {"human_share": value}, [])] == ([value] if trips else [])


@pytest.mark.parametrize(
    ("text", "before", "now", "trips"),
    [
        ("distinct_2>+10%", 1.0, 1.11, True),
        ("distinct_2>+50%", 2.0, 3.0, False),
        ("distinct_2<-10%", 1.0, 0.89, True),
        ("distinct_2<-50%", 1.0, 0.5, False),
        # A rise of at most 5 % is asked for: a fall below that is no rise.
        ("distinct_2<+5%", 1.0, 1.04, True),
        ("distinct_2>-5%", 1.0, 0.96, True),
        # Against 0 every change is endless, and none is none.
        ("distinct_2>+1000%", 0.0, 0.001, True),
        ("distinct_2>+10%", 0.0, 0.0, False),
        ("distinct_2<-10%", 0.0, 0.0, False),
        ("distinct_2<-10%", 0.0, -0.001, True),
        # A share of the earlier figure's size, whatever its sign.
        ("distinct_2>+10%", -1.0, -0.8, True),
        ("distinct_2<-10%", -1.0, -1.2, True),
    ],
)
def test_a_change_trips_beyond_its_limit_alone(text, before, now, trips):
    assert alarm(text).trips(now, before) == trips
    found = evaluate([alarm(text)], {"distinct_2": now}, [("spring", {"distinct_2": before})])
    assert [(one.value, one.before) for one in found] == ([(now, before)] if trips else [])


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"distinct_2": value, "distinct_2.low": low, "distinct_2.high": high}


@pytest.mark.parametrize(
    ("text", "now", "before", "trips"),
    [
        # A rise: what counts is how far the figure may lie below, and the earlier one above.
        ("distinct_2>+10%", interval(1.5, 1.45, 9.0), interval(1.0, -9.0, 1.05), True),
        ("distinct_2>+10%", interval(1.5, 0.9, 1.55), interval(1.0, 0.95, 1.05), False),
        ("distinct_2>+10%", interval(1.5, 1.45, 1.55), interval(1.0, 0.95, 1.6), False),
        # A fall: the other way round.
        ("distinct_2<-10%", interval(0.5, -9.0, 0.55), interval(1.0, 0.95, 9.0), True),
        ("distinct_2<-10%", interval(0.5, 0.45, 1.1), interval(1.0, 0.95, 1.05), False),
        ("distinct_2<-10%", interval(0.5, 0.45, 0.55), interval(1.0, 0.4, 1.05), False),
    ],
)
def test_of_each_interval_the_near_side_alone_can_hold_an_alarm_back(text, now, before, trips):
    assert bool(evaluate([alarm(text)], now, [("spring", before)])) == trips


@pytest.mark.parametrize("cycle", [None, "spring", "summer"])
def test_the_cycle_that_is_named_is_compared_to_else_the_last(cycle):
    earlier = [("spring", {"distinct_2": 1.0}), ("summer", {"distinct_2": 2.0})]
    (tripped,) = evaluate([alarm(f"distinct_2<-10%{f'@{cycle}' if cycle else ''}")], {"distinct_2": 0.1}, earlier)
    assert tripped.before == {None: 2.0, "spring": 1.0, "summer": 2.0}[cycle]
    assert (f"in cycle {cycle}" if cycle else "in the last cycle") in tripped.sentence


def test_alarms_trip_in_the_order_they_were_given_and_each_for_itself():
    held = [alarm(text) for text in ("distinct_2>5", "human_share<0.9", "distinct_2>1", "compression_ratio>1")]
    found = evaluate(held, {"human_share": 0.5, "distinct_2": 2.0}, [])
    assert [one.alarm.text for one in found] == ["human_share<0.9", "distinct_2>1", "compression_ratio>1"]
    assert found[-1].value is None


@pytest.mark.parametrize(("text", "order"), [("distinct_2>1", ["down", "large", "small", "up"]), ("distinct_2<5", ["up", "large", "small", "down"])])
def test_who_is_blamed_first_moved_the_figure_most_then_has_more_documents(text, order):
    without = {"up": 4.0, "down": 1.0, "large": 2.5, "small": 2.5}
    shares = {"up": 0.2, "down": 0.2, "large": 0.5, "small": 0.1}
    blamed = attribute(Tripped(alarm(text), 3.0, None), {"source": shares}, lambda _, name: {"distinct_2": without[name]})
    assert [suspect.name for suspect in blamed.suspects] == order


def test_of_a_source_and_a_generator_that_are_the_same_text_the_source_is_blamed_and_then_the_first_name():
    blamed = attribute(
        Tripped(alarm("distinct_2>1"), 3.0, None), {"generator": {"a": 0.5}, "source": {"c": 0.5, "b": 0.5}}, lambda *_: {"distinct_2": 2.0}
    )
    assert [(suspect.column, suspect.name) for suspect in blamed.suspects] == [("source", "b"), ("source", "c"), ("generator", "a")]


@pytest.mark.parametrize(("left", "clears"), [(0.9, True), (1.0, True), (1.1, False)])
def test_a_suspect_clears_an_alarm_if_it_would_not_trip_without(left, clears):
    (suspect,) = attribute(Tripped(alarm("distinct_2>1"), 3.0, None), {"source": {"a": 0.5}}, lambda *_: {"distinct_2": left}).suspects
    assert suspect.clears == clears


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distinct2<0.5", "did you mean 'distinct_2'"),
        ("zzz<1", "known: human_share, distinct_2, compression_ratio"),
        ("distinct_2<5%", "written with sign and %"),
        ("distinct_2<+5", "written with sign and %"),
        ("distinct_2<0.5@spring", "leave out @spring"),
        ("distinct_2=0.5", "must be FIGURE<LIMIT"),
        ("distinct_2<1e3", "must be FIGURE<LIMIT"),
        ("distinct_2<nan", "must be FIGURE<LIMIT"),
        ("distinct_2<", "must be FIGURE<LIMIT"),
        ("", "must be FIGURE<LIMIT"),
    ],
)
def test_what_is_no_alarm_says_what_one_looks_like(text, said):
    with pytest.raises(UsageError) as refused:
        alarm(text)
    assert said in str(refused.value) and str(refused.value).startswith(f"--fail_on={text}: ")


@pytest.mark.parametrize("text", ["distinct_2<-10%@spring 2025", " distinct_2 < -10 % @ spring 2025 "])
def test_spaces_do_not_matter_but_inside_the_name_of_a_cycle(text):
    if text.startswith(" "):
        text = text.replace("10 %", "10%")
    found = alarm(text)
    assert (found.figure, found.above, found.limit, found.relative, found.cycle) == ("distinct_2", False, -0.1, True, "spring 2025")


@pytest.mark.parametrize("count", [1, 2])
def test_one_alarm_is_singular(count):
    with pytest.raises(Exception, match=r"^1 alarm tripped" if count == 1 else r"^2 alarms tripped"):
        raise_tripped([Tripped(alarm("distinct_2>1"), 3.0, None)] * count)
