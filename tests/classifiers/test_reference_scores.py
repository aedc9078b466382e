"""Reference scores are made of texts that were not trained on, and are tried on mixtures of sets that they do not hold."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import reference_scores
from classifiers.__main__ import main
from classifiers.ai_detector import probability_of
from classifiers.detectors import make_detector
from classifiers.evaluate import ScoredSet
from classifiers.fasttext_member import FastTextSettings
from classifiers.hashed_ngrams import NgramSettings
from classifiers.labelled_text import LabelledText
from classifiers.prevalence import HELD_OUT_SHIFT, LEFT_OUT_SHIFT, Reference, ShareEstimate, count_scores, read_references, to_json
from classifiers.reference_scores import (
    LEFT_OUT,
    MIN_TEXTS,
    TOLERANCE,
    Trial,
    fit_margins,
    held_out_reference,
    left_out_reference,
    pools_of,
    reference_sources,
    trial_table,
    try_mixtures,
    unseen_scores,
    widen_by_turns,
    with_margins,
)
from classifiers.train import TrainSettings, is_held_out
from tests.classifiers.detector_texts import write_set

SETS = ("l2r21", "raidar", "human_imdb_2011")
SMALL = TrainSettings(ngrams=NgramSettings(2, 2, 12, 200), fasttext=FastTextSettings(dim=2, bits=10, min_count=2), common_words=20)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder, "l2r21", range(0, 250))
    write_set(folder, "raidar", range(1_000, 1_250))
    write_set(folder, "human_imdb_2011", range(2_000, 2_200), with_machine=False)
    return folder


def made_up(name, human, machine=0, human_mean=-2.0, machine_mean=2.0, domains=("a",), abstained=0):
    """A scored set whose log odds are drawn around two means."""
    random = np.random.default_rng(len(name) + human)
    odds = np.concatenate([random.normal(human_mean, 1, human), random.normal(machine_mean, 1, machine)])
    labels = np.arange(human + machine) >= human
    texts = [
        LabelledText("", bool(label), name, "", "bot" if label else "human", "none", domains[at % len(domains)]) for at, label in enumerate(labels)
    ]
    probability = probability_of(odds)
    probability[:abstained] = np.nan
    return ScoredSet(texts, odds, probability, np.full(human + machine, 150, np.int32))


def test_sources_are_domains_and_generators_and_small_ones_come_together():
    sets = {
        "web": made_up("web", 2 * MIN_TEXTS + 8, MIN_TEXTS - 1, domains=("news", "forum"), abstained=4),
        "few": made_up("few", 9, domains=("x", "")),
    }
    sources = {source.name: source for source in reference_sources(sets)}
    assert set(sources) == {"web: human: forum", "web: human: news", "web: machine: other", "few: human: other"}
    assert sources["web: human: news"].counts.sum() == MIN_TEXTS + 2 and not sources["web: human: news"].is_machine
    assert sources["few: human: other"].counts.sum() == 9 and sources["web: machine: other"].is_machine


def test_a_set_that_could_not_be_judged_is_no_source():
    assert reference_sources({"web": made_up("web", 5, abstained=5)}) == ()


@pytest.fixture(scope="module")
def trials():
    sets = {f"set{n}": made_up(f"set{n}", 900 + n, 700 + n, -2.0 + 0.1 * n, 2.0 + 0.1 * n) for n in range(4)}
    sets["people"] = made_up("people", 800)
    return list(try_mixtures(pools_of(sets), Reference("test-1", "made up", reference_sources(sets), 0.2)))


def test_every_human_set_is_mixed_with_every_machine_set_at_every_share(trials):
    pairs = {(one.human_set, one.machine_set) for one in trials}
    assert len(pairs) == 5 * 4 and len(trials) == 5 * 4 * 5
    assert sorted({round(one.share, 1) for one in trials}) == [0.0, 0.1, 0.3, 0.5, 0.9]


def test_mixtures_like_the_reference_are_held_and_the_table_says_so(trials):
    table = trial_table(trials)
    assert list(table) == ["0% machine text", "10% machine text", "30% machine text", "50% machine text", "90% machine text", "both of one set",
                           "of two sets", "all"]  # fmt: skip
    assert table["all"]["mixtures"] == 100 and table["all"]["held without margins"] >= 0.95
    assert table["all"]["held"] >= table["all"]["held without margins"] and table["all"]["median width"] >= table["all"]["width without"]
    assert table["all"]["mean error"] < 0.06 and 0 < table["all"]["width without"] < 0.4


def test_the_sets_of_a_mixture_are_not_in_the_reference_that_judges_it(monkeypatch):
    sets = {f"set{n}": made_up(f"set{n}", 200, 200) for n in range(3)}
    seen = []

    def remember(counts, reference):
        seen.append({source.set_name for source in reference.sources})
        return ShareEstimate(1, 0.5, 0.0, 1.0)

    monkeypatch.setattr(reference_scores, "estimate_share", remember)
    for trial, names in zip(try_mixtures(pools_of(sets), Reference("t", "m", reference_sources(sets))), seen, strict=False):
        assert not names & {trial.human_set, trial.machine_set}
        assert names


def test_a_mixture_without_anything_to_judge_by_is_not_tried():
    sets = {"one": made_up("one", 200, 200), "two": made_up("two", 200, 200)}
    pairs = {(one.human_set, one.machine_set) for one in try_mixtures(pools_of(sets), Reference("t", "m", reference_sources(sets)))}
    assert pairs == {("one", "one"), ("two", "two")}


@pytest.mark.parametrize(("share", "held"), [(0.1, True), (0.4, True), (0.405, True), (0.41, False), (0.09, False)])
def test_an_interval_holds_what_lies_in_it_to_half_a_point(share, held):
    assert Trial("a", "b", share, ShareEstimate(100, 0.2, 0.1, 0.4)).is_held == held


def test_left_out_scores_are_on_the_scale_of_log_odds(data):
    said = []
    reference, scored = left_out_reference(str(data), make_detector("fast"), SMALL, SETS, said.append)
    assert reference.detector == make_detector("fast").version and reference.shift == LEFT_OUT_SHIFT and "without that set" in reference.made_of
    assert {source.set_name for source in reference.sources} == set(SETS) and len(said) == 3
    mixed = scored["l2r21"]
    assert np.nanmean(mixed.probability[mixed.machine]) > 0.8 and np.nanmean(mixed.probability[~mixed.machine]) < 0.2
    again = reference_sources({"l2r21": mixed})
    assert sum(one.counts for one in again).sum() == count_scores(mixed.probability, mixed.words).sum()


def test_other_detectors_are_scored_on_held_out_texts(data):
    reference, scored = held_out_reference(str(data), make_detector("fast"), 30, SETS)
    assert reference.shift == HELD_OUT_SHIFT and "held-out" in reference.made_of
    assert all(is_held_out(text) for one in scored.values() for text in one.texts)
    assert max(len(one.texts) for one in scored.values()) <= 60


def test_the_command_keeps_the_references_of_other_kinds_and_drops_older_versions(data, tmp_path, monkeypatch, capsys):
    made = held_out_reference(str(data), make_detector("fast"), 30, SETS)
    monkeypatch.setattr(reference_scores, "left_out_reference", lambda *arguments: made)
    path = tmp_path / "prevalence.json"
    command = ["reference", "--data", str(data), "--sets", ",".join(SETS), "--output", str(path)]
    assert main(command) == 0
    first = path.read_bytes()
    record = orjson.loads(first)
    for version in ("deep-0123", "fast-0123"):
        record["detectors"].append(record["detectors"][0] | {"detector": version})
    path.write_bytes(orjson.dumps(record))
    assert main(command) == 0
    assert set(read_references(str(path))) == {"deep-0123", made[0].detector}
    assert "held without margins" in capsys.readouterr().out


def test_sets_that_a_reference_may_not_touch_are_scored_to_try_it_on(data, tmp_path):
    write_set(tmp_path, "human_blogs_2004", range(3_000, 3_050), with_machine=False)
    (name, one), *rest = unseen_scores(str(tmp_path), make_detector("fast"), 20).items()
    assert name == "human_blogs_2004" and not rest and len(one.texts) == 20
    assert unseen_scores(str(data), make_detector("fast"), 20) == {}


def trial(human, machine, share, low, high):
    return Trial(human, machine, share, ShareEstimate(100, (low + high) / 2, low, high))


def test_pools_of_sets_are_those_of_the_reference_made_of_them():
    sets = {"web": made_up("web", 2 * MIN_TEXTS + 8, 170, domains=("news", "forum"), abstained=4), "people": made_up("people", 40)}
    pools, known = pools_of(sets), Reference("t", "m", reference_sources(sets)).pools()
    assert set(pools) == set(known) == {("web", False), ("web", True), ("people", False)}
    assert all((pools[key] == known[key]).all() for key in pools)
    assert pools["web", False].sum() == 2 * MIN_TEXTS + 4


def test_margins_are_what_the_worst_human_and_the_worst_machine_set_need():
    trials = [trial("mail", "bot", 0.0, 0.2, 0.6), trial("news", "bot", 0.0, 0.05, 0.3), trial("news", "new", 0.9, 0.4, 0.6)]
    assert fit_margins(trials) == pytest.approx((0.2, 0.3))
    assert fit_margins(trials, ("mail",)) == pytest.approx((0.05, 0.3))
    assert fit_margins(trials, ("new",)) == pytest.approx((0.2, 0.0))
    assert fit_margins(trials, ("news", "mail")) == fit_margins([]) == (0.0, 0.0)


def test_one_of_twenty_mixtures_of_a_set_may_be_missed():
    trials = [trial("mail", "bot", 0.0, 0.1, 0.2)] * 39 + [trial("mail", "bot", 0.0, 0.7, 0.9)]
    assert fit_margins(trials)[0] == pytest.approx(0.1)
    assert fit_margins(trials + trials[-1:] * 4)[0] == pytest.approx(0.7)


trials_drawn = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20
).map(lambda rows: [trial(human, machine, share, min(one, other), max(one, other)) for human, machine, share, one, other in rows])


@given(trials_drawn)
def test_margins_hold_nearly_all_of_the_trials_that_they_come_from(trials):
    margins = fit_margins(trials)
    assert all(0 <= margin <= 1 for margin in margins)
    wide = [one.widened(margins) for one in trials]
    for human in {one.human_set for one in trials}:
        inside = [one.estimate.low <= one.share + 1e-9 for one in wide if one.human_set == human]
        assert sum(inside) >= 0.95 * len(inside) - 1e-9
    for machine in {one.machine_set for one in trials}:
        inside = [one.share <= one.estimate.high + 1e-9 for one in wide if one.machine_set == machine]
        assert sum(inside) >= 0.95 * len(inside) - 1e-9


@given(trials_drawn)
def test_by_turns_a_trial_has_no_part_in_its_own_margins(trials):
    for bare, wide in zip(trials, widen_by_turns(trials), strict=True):
        others = [one for one in trials if not {one.human_set, one.machine_set} & {bare.human_set, bare.machine_set}]
        assert wide == bare.widened(fit_margins(others))
        assert wide.estimate.low <= bare.estimate.low and wide.estimate.high >= bare.estimate.high
        assert 0 <= wide.estimate.low <= wide.estimate.high <= 1 and wide.estimate.share == bare.estimate.share


def test_a_reference_of_known_sets_is_no_surer_than_one_of_sets_left_out():
    sets = {f"set{n}": made_up(f"set{n}", 200, 200) for n in range(3)}
    own = Reference("deep-1", "held-out texts", reference_sources(sets))
    left_out = replace(own, detector="fast-1", made_of=LEFT_OUT, margins=(0.2, 0.05))
    trials = [trial("set0", "set1", 0.0, 0.1, 0.3), trial("set1", "set2", 0.9, 0.5, 0.8), trial("blogs", "set2", 0.0, 0.9, 1.0)]
    assert with_margins(own, trials).margins == pytest.approx((0.1, 0.1))
    assert with_margins(own, trials, [left_out]).margins == pytest.approx((0.2, 0.1))
    assert with_margins(own, trials, [replace(left_out, made_of="held-out texts")]).margins == pytest.approx((0.1, 0.1))
    assert with_margins(left_out, trials, [replace(left_out, margins=(0.9, 0.9))]).margins == pytest.approx((0.1, 0.1))


def test_sets_never_trained_on_are_judged_by_the_margins_of_all_others():
    known = [trial("set0", "set1", 0.0, 0.3, 0.5), trial("set2", "set1", 0.5, 0.4, 0.6)]
    table = trial_table([*known, trial("human_blogs_2004", "alpacaeval_machine", 0.1, 0.35, 0.5)])
    assert table["of sets never trained on"]["held"] == 1.0 and table["of sets never trained on"]["held without margins"] == 0.0
    assert table["of sets never trained on"]["median width"] == pytest.approx(0.45)
    assert table["all"]["mixtures"] == 3


def test_margins_are_fitted_again_without_the_sets(tmp_path, capsys):
    sets = {f"set{n}": made_up(f"set{n}", 300, 300, -2.0 + 0.4 * n, 2.0 + 0.2 * n) for n in range(3)}
    first = Reference("fast-1", LEFT_OUT, reference_sources(sets), 0.2)
    path = tmp_path / "prevalence.json"
    path.write_bytes(to_json({"fast-1": first, "deep-1": replace(first, detector="deep-1", made_of="held-out")}))
    assert main(["reference", "--output", str(path)]) == 0
    found = read_references(str(path))
    assert list(found) == ["deep-1", "fast-1"]
    trials = list(try_mixtures(first.pools(), first))
    assert found["fast-1"].margins == pytest.approx(fit_margins(trials)) and found["deep-1"].margins[0] >= found["fast-1"].margins[0]
    assert all((one.counts == other.counts).all() for one, other in zip(found["fast-1"].sources, first.sources, strict=True))
    said = capsys.readouterr().out
    assert said.index("of fast-1 to") < said.index("of deep-1 to") and "margins" in said


def test_without_references_and_without_sets_there_is_nothing_to_fit(tmp_path, capsys):
    assert main(["reference", "--output", str(tmp_path / "none.json")]) == 2
    assert "give --data" in capsys.readouterr().err


def test_what_ships_holds_the_truth_for_sets_left_out():
    from classifiers.prevalence import shipped_references

    for version, reference in shipped_references().items():
        assert reference.margins > (0.0, 0.0), version
        if reference.made_of == LEFT_OUT:
            few = {key: counts for key, counts in reference.pools().items() if key[0] in ("raidar", "rexshijaku", "human_imdb_2011", "sakibsh_llm")}
            trials = [one.widened(reference.margins) for one in try_mixtures(few, reference)]
            assert np.mean([one.is_held for one in trials]) >= 0.9


@pytest.mark.parametrize("margins", [(0.1,), (-0.1, 0.0), (0.0, 1.5), (float("nan"), 0.0)])
def test_impossible_margins_are_refused(margins):
    sources = reference_sources({"a": made_up("a", 20, 20)})
    with pytest.raises(ValueError, match="margins must be two shares"):
        Reference("t", "m", sources, 0.2, margins)


def test_shares_are_told_apart_to_half_a_point():
    assert trial("a", "b", 0.2 - TOLERANCE / 2, 0.2, 0.3).is_held and not trial("a", "b", 0.2 - 2 * TOLERANCE, 0.2, 0.3).is_held
