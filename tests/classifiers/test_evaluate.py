"""Evaluation end to end on made-up sets: every table, what stands in it, and that thresholds by turns never see the set they judge."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from classifiers import leave_out
from classifiers.__main__ import main
from classifiers.calibration import LengthThresholds
from classifiers.evaluate import (
    FormatBaseline,
    ScoredSet,
    attack_table,
    evaluate,
    false_positives,
    length_groups,
    limit_texts,
    reliability_tables,
    score_texts,
    separation,
    separation_table,
    share_of,
    thresholds_by_turns,
    writers_table,
)
from classifiers.fasttext_member import FastTextSettings
from classifiers.hashed_ngrams import NgramSettings
from classifiers.labelled_text import LabelledText
from classifiers.leave_out import evaluate_leaving_sets_out, scale_by_turns
from classifiers.metrics import auroc
from classifiers.report_tables import TITLES, print_tables, table_lines, write_cell
from classifiers.text_batch import TextBatch
from classifiers.train import GENERATED_SET, TrainSettings
from tests.classifiers.detector_texts import write_set, written

SETS = ("l2r21", "raidar", "human_imdb_2011")
SMALL = TrainSettings(ngrams=NgramSettings(2, 2, 12, 200), fasttext=FastTextSettings(dim=2, bits=10, min_count=2), common_words=20)


class HabitDetector:
    """Counts a machine writer's habits: right about nearly every made-up text, and abstains from those of fewer than 50 words."""

    version = "habit-1"

    def log_odds(self, batch):
        texts = batch.texts.to_pylist()
        odds = [(-2.0 if "uncle" in text.lower() or "nobody" in text.lower() else 1.0) + 0.001 * len(text) for text in texts]
        return np.array(odds, np.float64), batch.words.counts < 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder, "l2r21", range(0, 250))
    write_set(folder, "raidar", range(1_000, 1_250))
    write_set(folder, "human_imdb_2011", range(2_000, 2_200), with_machine=False)
    write_set(folder, "human_blogs_2004", range(3_000, 3_050), with_machine=False)
    return folder


@pytest.fixture(scope="module")
def report(data):
    return evaluate(str(data), HabitDetector(), None, 0.05, sets=SETS)


def labelled(text, machine=False, set_name="one", attack="none", group=None, domain=""):
    return LabelledText(text, machine, set_name, group or text, "bot" if machine else "human", attack, domain)


def scored(odds, machine, words=None, **fields):
    odds = np.array(odds, np.float64)
    texts = [labelled(f"text {at}", bool(label), **fields) for at, label in enumerate(machine)]
    probability = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return ScoredSet(texts, odds, probability, np.array(words if words is not None else [120] * len(odds), np.int32))


ANY_LENGTH = LengthThresholds(0.05, (50, 100), (0.5, 0.9), "digest")


def test_a_report_has_every_table_and_every_set_has_the_format_baseline_beside_it(report):
    assert set(report) == set(TITLES)
    assert set(report["sets"]) == {"l2r21", "raidar", "mean"}
    for row in report["sets"].values():
        assert {"AUROC", "TPR@1%", "TPR@5%", "format AUROC", "format TPR@1%", "format TPR@5%"} <= set(row)
    assert report["sets"]["l2r21"]["AUROC"]["low"] <= report["sets"]["l2r21"]["AUROC"]["value"] <= report["sets"]["l2r21"]["AUROC"]["high"]
    assert report["sets"]["mean"]["AUROC"] > 0.9 > report["sets"]["mean"]["format AUROC"]
    assert set(report["false_positives"]) == set(report["false_positives_by_turns"]) == set(SETS)
    assert set(report["unseen"]) == {"human_blogs_2004"}
    assert report["about"]["detector"] == "habit-1" and "made from" in report["about"]["thresholds"]


def test_each_attack_has_one_line_and_stands_against_clean_human_text(report):
    assert set(report["attacks"]) == {"l2r21: none", "l2r21: loud", "raidar: none", "raidar: loud"}
    for name in ("l2r21", "raidar"):
        assert report["attacks"][f"{name}: loud"]["human"] == report["attacks"][f"{name}: none"]["human"] > 0
        assert 0 < report["attacks"][f"{name}: loud"]["machine"] < report["attacks"][f"{name}: none"]["machine"]


def test_an_attack_on_human_and_on_machine_text_is_one_line():
    texts = [labelled("a", True, attack="shout_llm"), labelled("b", False, attack="shout_human"), labelled("c")]
    one = ScoredSet(texts, np.array([2.0, 1.0, 0.0]), np.array([0.9, 0.95, 0.5], np.float32), np.array([120, 120, 120], np.int32))
    rows = attack_table({"set": one}, {"set": ANY_LENGTH}, 0)
    assert set(rows) == {"set: none", "set: shout"}
    assert rows["set: shout"]["AUROC"]["value"] == 1.0 and rows["set: shout"]["flagged human"]["share"] == 1.0


def test_the_same_data_gives_the_same_report_and_fewer_texts_are_taken_when_asked(data, report):
    assert orjson.dumps(evaluate(str(data), HabitDetector(), None, 0.05, sets=SETS)) == orjson.dumps(report)
    fewer = evaluate(str(data), HabitDetector(), None, 0.05, max_texts=20, sets=SETS)
    assert fewer["sets"]["l2r21"]["human"] == fewer["sets"]["l2r21"]["machine"] == 20


def test_only_held_out_texts_are_measured(report):
    assert 25 < report["sets"]["l2r21"]["human"] < 80


def test_a_missing_set_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no l2r21\.jsonl"):
        evaluate(str(tmp_path), HabitDetector(), None, 0.05)


def test_leaving_sets_out_reports_every_set_beside_the_format_baseline(data):
    said = []
    report = evaluate_leaving_sets_out(str(data), 0.05, 0, SETS, SMALL, said.append)
    assert report["sets"]["mean"]["AUROC"] > 0.99 > report["sets"]["mean"]["format AUROC"]
    assert set(report["sets"]) == {"l2r21", "raidar", "mean"}
    assert set(report["attacks"]) == {"l2r21: none", "l2r21: loud", "raidar: none", "raidar: loud"}
    assert set(report["generators"]) == {"l2r21: made-up", "raidar: made-up"}
    assert report["sets"]["l2r21"]["machine"] == report["attacks"]["l2r21: none"]["machine"] == 250
    assert set(report["false_positives_by_turns"]) == set(SETS)
    assert 0 <= report["calibration_error"]["mean"]["ECE"] <= 1
    assert len(said) == 3
    lines = []
    print_tables(report, lines.append)
    assert any("l2r21" in line for line in lines) and any("AUROC" in line for line in lines)


def test_texts_of_our_own_are_trained_on_whatever_set_is_left_out(data, tmp_path, monkeypatch):
    own = tmp_path / "own.jsonl"
    texts = [" ".join(f"word{number}x{place}" for place in range(60)) for number in range(5)]
    own.write_bytes(b"".join(orjson.dumps({"id": text, "text": text, "label": "machine"}) + b"\n" for text in texts))
    trained = []

    def fit(corpus, settings):
        trained.append({text.set_name: None for text in corpus.texts} | {"own": sum(text.set_name == GENERATED_SET for text in corpus.texts)})
        return HabitDetector()

    monkeypatch.setattr(leave_out, "fit_model", fit)
    command = ["evaluate", "--leave_one_set_out", "--data", str(data), "--sets", ",".join(SETS), "--generated", str(own)]
    assert main(command) == 0
    assert [name for name, known in zip(SETS, trained, strict=True) if name not in known and known["own"] == 5] == list(SETS)


def test_the_command_writes_json_and_prints_the_tables(data, tmp_path, capsys):
    out = tmp_path / "figures.json"
    command = ["evaluate", "--data", str(data), "--sets", ",".join(SETS), "--json", str(out), "--max_texts", "40"]
    assert main(command) == 0
    figures = orjson.loads(out.read_bytes())
    assert figures["about"]["detector"].startswith("fast-") and figures["about"]["thresholds"].startswith("calibration ")
    printed = capsys.readouterr().out
    for section in ("sets", "attacks", "false_positives_by_turns", "reliability"):
        assert TITLES[section] in printed


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--ai_detector", "slow"], "unknown 'slow'"),
        (["--leave_one_set_out", "--model", "mine.npz"], "leave out --model and --calibration"),
        (["--max_false_positive_rate", "0.9"], "max_false_positive_rate must be from"),
        (["--calibration", "nowhere.json"], "nowhere.json"),
        (["--sets", "nosuchset"], "no nosuchset.jsonl"),
    ],
)
def test_wrong_options_end_with_2_and_say_what_is_wrong(data, capsys, extra, message):
    assert main(["evaluate", "--data", str(data), "--max_texts", "5", *([] if "--sets" in extra else ["--sets", "l2r21"]), *extra]) == 2
    assert message in capsys.readouterr().err


# Parts


def test_scoring_keeps_log_odds_where_the_detector_abstains():
    texts = [labelled(written(False, 1)), labelled("Too short.")]
    one = score_texts(HabitDetector(), texts)
    assert np.isfinite(one.odds).all() and np.isnan(one.probability).tolist() == [False, True]
    assert one.words[1] == TextBatch.of(["Too short."]).words.counts[0]
    assert score_texts(HabitDetector(), []).odds.shape == (0,)


def test_limiting_takes_as_many_of_each_label_and_attack_whatever_their_order():
    texts = [labelled(f"t{n}", n % 2 == 0, attack="loud" if n % 4 == 0 else "none") for n in range(40)]
    chosen = limit_texts(texts, 3)
    assert sorted((text.is_machine, text.attack) for text in chosen) == [(False, "none")] * 3 + [(True, "loud")] * 3 + [(True, "none")] * 3
    assert limit_texts(texts[::-1], 3) == chosen
    assert len(limit_texts(texts, 100)) == 40


def test_a_row_counts_abstentions_and_flags():
    one = scored([3.0, -3.0, 3.0, -3.0], [True, True, False, False], words=[120, 120, 60, 20])
    row = separation(one, ANY_LENGTH, 0, repeats=0)
    assert (row["human"], row["machine"]) == (2, 2)
    assert row["AUROC"]["value"] == auroc(one.odds, one.machine) == 0.5
    assert row["flagged"]["share"] == 0.5 and row["flagged"]["of"] == 2
    assert row["abstained"] == 0.25


def test_false_positives_are_told_by_length_group_of_what_could_be_judged():
    one = scored([3.0, 0.1, 0.1, 3.0, -9.0], [False] * 5, words=[99, 70, 100, 100, 10])
    row = false_positives(one, ANY_LENGTH)
    assert row["50-99 words"] == share_of(np.array([True, True]))
    assert row["100+ words"]["share"] == 0.5 and row["all"]["of"] == 4 and row["abstained"] == 0.2
    assert false_positives(scored([], []), ANY_LENGTH)["all"] is None


def test_length_groups_part_the_texts():
    words = np.array([0, 49, 50, 99, 100, 5_000])
    groups = length_groups(words, (50, 100))
    assert list(groups) == ["50-99 words", "100+ words"]
    assert groups["50-99 words"].tolist() == [False, False, True, True, False, False]
    assert groups["100+ words"].tolist() == [False] * 4 + [True, True]


def test_thresholds_by_turns_never_see_the_set_they_judge():
    random = np.random.default_rng(0)
    human = {name: scored(random.normal(0, 1, 400), [False] * 400) for name in ("a", "b")}
    human["wild"] = scored(random.normal(4, 1, 400), [False] * 400)
    turns = thresholds_by_turns(human, 0.05)
    assert false_positives(human["wild"], turns["wild"])["all"]["share"] > 0.5
    changed = thresholds_by_turns(human | {"wild": scored(random.normal(9, 1, 400), [False] * 400)}, 0.05)
    assert changed["wild"].thresholds == pytest.approx(turns["wild"].thresholds, nan_ok=True)
    assert changed["a"].thresholds[1] > turns["a"].thresholds[1]


def test_essays_are_told_apart_by_who_wrote_them():
    human = {name: scored([0.0, 5.0], [False] * 2, domain=domain) for name, domain in (("outfox", "student_essay"), ("rexshijaku", "toefl_essay"))}
    rows = writers_table(human, {"flagged": dict.fromkeys(human, ANY_LENGTH)})
    assert set(rows) == {"native: student essays (outfox)", "non-native: TOEFL essays (rexshijaku)"}
    assert rows["non-native: TOEFL essays (rexshijaku)"]["flagged"]["share"] == 0.5


def test_the_format_baseline_of_a_left_out_set_never_saw_it():
    texts = [labelled(f"Line {n}.\n\nAnd more.", n % 2 == 0, "one") for n in range(60)] + [
        labelled(f"word {n}", n % 2 == 0, "two") for n in range(60)
    ]
    tell = [replace(text, text=text.text + " *" * 5 if text.is_machine else text.text) for text in texts if text.set_name == "two"]
    baseline = FormatBaseline([text for text in texts if text.set_name == "one"] + tell)
    machine = np.array([text.is_machine for text in tell])
    assert auroc(baseline.score(tell), machine) > 0.99
    assert auroc(baseline.score(tell, without_set="two"), machine) < 0.9
    assert np.isnan(FormatBaseline(tell).score(tell, without_set="two")).all()


def test_the_mean_row_is_the_mean_of_its_sets():
    sets = {"a": scored([2.0, 1.0], [True, False]), "b": scored([1.0, 2.0], [True, False])}
    table = separation_table(sets, dict.fromkeys(sets, ANY_LENGTH), 0, FormatBaseline([]))
    assert table["mean"]["AUROC"] == 0.5
    assert [table[name]["AUROC"]["value"] for name in sets] == [1.0, 0.0]


def test_scale_by_turns_makes_probabilities_of_scores_on_any_scale():
    random = np.random.default_rng(1)
    sets = {}
    for name in ("a", "b", "c"):
        machine = random.random(3_000) < 0.5
        sets[name] = scored(10 * (random.normal(0, 1, 3_000) + np.where(machine, 1.0, -1.0)), machine)
    assert reliability_tables(sets)["calibration_error"]["mean"]["ECE"] > 0.1
    errors = reliability_tables(scale_by_turns(sets))["calibration_error"]
    assert set(errors) == {"a", "b", "c", "mean", "all together"} and errors["mean"]["ECE"] < 0.05


def test_sets_without_both_labels_have_no_reliability():
    assert reliability_tables({"a": scored([1.0, 2.0], [True, True])}) == {"reliability": {}, "calibration_error": {}}


# Tables


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (12_345, "12,345"),
        (0.25, ".250"),
        (1.0, "1.000"),
        ("fast-1", "fast-1"),
        ({"value": 0.5, "low": 0.25, "high": 1.0}, ".500 (.250-1.000)"),
        ({"value": 0.5, "low": float("nan"), "high": float("nan")}, ".500"),
        ({"value": float("nan"), "low": float("nan"), "high": float("nan")}, ""),
        ({"share": 0.012, "low": 0.004, "high": 0.031, "of": 2_120}, "1.2 % (0.4-3.1) of 2,120"),
    ],
)
def test_cells_are_written_short(cell, text):
    assert write_cell(cell) == text


def test_a_table_has_a_column_for_every_cell_and_equally_long_lines():
    lines = table_lines("my_table", {"a": {"x": 1}, "b": {"y": 0.5}, "c": "plain"})
    assert [part.strip() for part in lines[0].strip("|").split("|")] == ["my table", "x", "y", "value"]
    assert len(lines) == 5 and len({len(line) for line in lines}) == 1


def test_sections_without_rows_are_left_out():
    lines = []
    print_tables({"sets": {"a": {"x": 1}}, "unseen": {}}, lines.append)
    assert any(TITLES["sets"] in line for line in lines) and not any(TITLES["unseen"] in line for line in lines)
