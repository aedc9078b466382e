"""Leaving sets out of the deep detector and the cascade: what is kept, what is fitted to which sets, and what the report says. No torch."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers import leave_out_deep
from classifiers.__main__ import main
from classifiers.deep_encoder import MissingExtra
from classifiers.fasttext_member import FastTextSettings
from classifiers.fit_cascade import fit_cascade
from classifiers.hashed_ngrams import NgramSettings
from classifiers.labelled_text import LabelledText, read_set
from classifiers.leave_out_deep import (
    ATTACKED_SHARE,
    SHARES,
    Fold,
    FoldSettings,
    best_shares,
    choose_texts,
    evaluate_deep_leaving_sets_out,
    judge_fold,
    measure,
    read_folds,
)
from classifiers.train import TrainSettings
from tests.classifiers.detector_texts import write_set

NAMES = ("l2r21", "raidar", "outfox")
SETTINGS = FoldSettings(steps=3, max_texts=40)


def made_up_fold(name, seed=0, count=120, gaps=(2.0, 1.0, 1.0), attacked=0, abstained=0):
    """Human texts, as many of a machine, and some of those under attack, each odds drawn around means `gaps` apart."""
    random = np.random.default_rng([seed, *name.encode()])
    machine = np.arange(2 * count + attacked) >= count
    texts = [
        LabelledText(f"{name} {at}", bool(label), name, f"{name}{at}", "bot" if label else "human", "none" if at < 2 * count else "loud", "web")
        for at, label in enumerate(machine)
    ]
    odds = random.normal(0, 1, (3, len(texts))) + np.array(gaps)[:, None] * (machine - 0.5)
    return Fold(texts, np.full(len(texts), 150, np.int32), np.arange(len(texts)) < abstained, odds)


def folds_of(**more):
    return {name: made_up_fold(name, **more) for name in NAMES}


def write_folds(folder, data, odds_of, settings=SETTINGS, sets=NAMES):
    """The files of a finished run whose encoders said `odds_of` a text."""
    folder.mkdir(exist_ok=True)
    encoder = {"steps": settings.steps, "max_texts": settings.max_texts, "seed": settings.seed, "sets": list(sets)}
    fast = {"max_texts": settings.max_texts, "sets": list(sets), "trained": repr(TrainSettings(seed=settings.seed)), "generated": ""}
    for name in sets:
        texts = choose_texts(read_set(str(data), name), settings.max_texts)
        odds = np.array([odds_of(text) for text in texts])
        counts = np.array([len(text.text.split()) for text in texts], np.int32)
        leave_out_deep._write(str(folder / f"encoder-{name}.npz"), encoder, tuned=odds, linear=odds / 2)
        leave_out_deep._write(str(folder / f"fast-{name}.npz"), fast, odds=3 * odds, words=counts, abstained=np.zeros(len(texts), bool))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for number, name in enumerate(NAMES):
        write_set(folder, name, range(1_000 * number, 1_000 * number + 80))
    return folder


def habits(text):
    """Log odds of a reader who knows the machine's habits, not wholly sure of itself."""
    return 4.0 * sum(habit in text.text.lower() for habit in ("furthermore", "fosters", "crucial")) - 4.0 + 0.01 * (len(text.text) % 7)


def test_the_heads_weights_are_those_that_separate_best():
    random = np.random.default_rng(1)
    machine = np.arange(400) % 2 == 1
    fast, useless = random.normal(0, 1, 400), random.normal(0, 1, 400)
    linear = 2.0 * machine + random.normal(0, 0.3, 400)
    shares = best_shares([(np.stack([fast, useless, linear]), machine)])
    assert shares[0] == 1 and shares[1] <= 0.2 and shares[2] == max(SHARES)


@given(st.integers(0, 20))
def test_no_other_weights_do_better_on_the_sets_they_were_chosen_on(seed):
    fold = made_up_fold("web", seed, 30)
    shares = best_shares([(fold.odds, fold.machine)])
    best = np.mean(measure(shares @ fold.odds, fold.machine))
    for other in ((1.0, 0.0, 0.0), (1.0, 0.5, 0.5), (1.0, 1.5, 0.0)):
        assert best >= np.mean(measure(np.array(other) @ fold.odds, fold.machine))


@pytest.mark.parametrize("kind", ["deep", "cascade"])
def test_nothing_is_fitted_to_the_set_that_is_judged(kind):
    folds = folds_of()
    before = judge_fold("raidar", folds, kind)
    turned = folds["raidar"]
    # The labels of the judged set must not matter to its own odds; its order and its attacked texts neither to those of others.
    texts = [LabelledText(text.text, not text.is_machine, *(getattr(text, key) for key in ("set_name", "group", "generator", "attack", "domain")))
             for text in turned.texts]  # fmt: skip
    folds["raidar"] = Fold(texts, turned.words, turned.abstained, turned.odds)
    assert judge_fold("raidar", folds, kind).tolist() == before.tolist()


def test_other_sets_decide_the_scale():
    folds = folds_of()
    before = judge_fold("raidar", folds, "deep")
    for name in ("l2r21", "outfox"):
        one = folds[name]
        folds[name] = Fold(one.texts, one.words, one.abstained, one.odds - 1.0)
    assert judge_fold("raidar", folds, "deep").mean() > before.mean() + 0.5


def test_odds_of_sets_alike_are_log_odds():
    folds = folds_of(count=2_000)
    odds = judge_fold("outfox", folds, "deep")
    machine = folds["outfox"].machine
    for low in (-2.0, -1.0, 0.0, 1.0):
        inside = (odds >= low) & (odds < low + 1)
        assert machine[inside].mean() == pytest.approx(1 / (1 + np.exp(-odds[inside].mean())), abs=0.06)


def test_attacked_texts_are_judged_but_nothing_is_fitted_to_them():
    plain, loud = folds_of(), folds_of(attacked=50)
    for name in NAMES:
        clean = plain[name]
        loud[name] = Fold(loud[name].texts, loud[name].words, loud[name].abstained, np.concatenate([clean.odds, np.full((3, 50), 40.0)], axis=1))
    for kind in ("deep", "cascade"):
        odds = judge_fold("l2r21", loud, kind)
        assert odds[:240].tolist() == judge_fold("l2r21", plain, kind).tolist() and len(odds) == 290


def test_the_cascade_is_the_fast_detector_outside_its_band():
    folds = folds_of()
    cascade, deep = judge_fold("outfox", folds, "cascade", 0.1), judge_fold("outfox", folds, "deep")
    fast = leave_out_deep._scale({name: fold.odds[0] for name, fold in folds.items()}, {name: folds[name] for name in ("l2r21", "raidar")})["outfox"]
    moved = cascade != fast
    assert 0.02 < moved.mean() < 0.25 and (np.ptp(fast[moved]) < np.ptp(fast))
    assert not np.allclose(cascade[moved], deep[moved])


def test_texts_of_which_the_fast_detector_declines_count_for_no_band(monkeypatch):
    seen = []
    monkeypatch.setattr(leave_out_deep, "fit_cascade", lambda pairs, *rest: seen.append(len(pairs.fast)) or fit_cascade(pairs, *rest))
    judge_fold("l2r21", folds_of(abstained=30), "cascade")
    assert seen == [2 * (240 - 30)]


def test_clean_texts_of_both_labels_and_machine_text_under_attack_are_chosen(data):
    texts = choose_texts(read_set(str(data), "raidar"), 40)
    clean = [text for text in texts if text.attack == "none"]
    assert sum(text.is_machine for text in clean) == sum(not text.is_machine for text in clean) == 40
    assert [text.attack for text in texts if text.attack != "none"] == ["loud"] * int(40 * ATTACKED_SHARE)
    assert choose_texts(read_set(str(data), "raidar"), 40) == texts


def test_kept_scores_are_reported_without_training(data, tmp_path, monkeypatch):
    write_folds(tmp_path / "folds", data, habits)
    monkeypatch.setattr(leave_out_deep, "read_training_texts", lambda *_: pytest.fail("trains"))
    report = evaluate_deep_leaving_sets_out(str(data), "deep", str(tmp_path / "folds"), SETTINGS, NAMES)
    assert list(report["sets"]) == [*NAMES, "mean"]
    row = report["sets"]["raidar"]
    assert (row["human"], row["machine"]) == (40, 40) and row["AUROC"]["value"] > 0.95 and "flagged" not in row
    assert row["fast AUROC"]["value"] > 0.95 and 0 <= row["format AUROC"] <= 1
    assert report["sets"]["mean"]["fast TPR@1%"] == pytest.approx(np.mean([report["sets"][name]["fast TPR@1%"]["value"] for name in NAMES]))
    assert [name for name in report["attacks"] if name.endswith("loud")] == [f"{name}: loud" for name in NAMES]
    assert "flagged human" not in report["attacks"]["raidar: loud"]
    assert report["calibration_error"]["mean"]["ECE"] < 0.2


@pytest.mark.parametrize("kind", ["deep", "cascade"])
def test_the_command_prints_the_table_of_kept_scores(data, tmp_path, capsys, kind):
    write_folds(tmp_path / "folds", data, habits)
    command = ["evaluate", "--leave_one_set_out", "--ai_detector", kind, "--data", str(data), "--sets", ",".join(NAMES), "--steps", "3",
               "--max_texts", "40", "--folds", str(tmp_path / "folds"), "--json", str(tmp_path / "figures.json")]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{kind}, trained again without the set of each row (3 steps)" in said and "| raidar" in said
    assert orjson.loads((tmp_path / "figures.json").read_bytes())["sets"]["mean"]["AUROC"] > 0.9


def test_a_new_fast_detector_costs_its_own_training_alone(data, tmp_path, monkeypatch):
    folder = tmp_path / "folds"
    write_folds(folder, data, habits)
    kept = {path.name: path.read_bytes() for path in folder.glob("encoder-*")}
    for path in folder.glob("fast-*"):
        path.unlink()
    small = TrainSettings(ngrams=NgramSettings(2, 2, 12, 200), fasttext=FastTextSettings(dim=2, bits=10, min_count=2), common_words=20)
    monkeypatch.setattr(leave_out_deep, "TrainSettings", lambda seed: small)
    monkeypatch.setattr(leave_out_deep, "require_training", lambda: pytest.fail("trains the encoder"))
    said = []
    folds = read_folds(str(data), str(folder), SETTINGS, NAMES, said.append)
    assert [line.split(":")[0] for line in said] == [f"fast detector without {name}" for name in NAMES]
    assert all(measure(fold.odds[0][fold.clean], fold.machine[fold.clean])[0] > 0.9 for fold in folds.values())
    assert {path.name: path.read_bytes() for path in folder.glob("encoder-*")} == kept


def test_other_texts_of_our_own_are_another_training_of_the_fast_detector_alone(data, tmp_path):
    write_folds(tmp_path, data, habits)
    own = tmp_path / "own.jsonl"
    own.write_text('{"id": "1", "text": "x", "label": "machine"}\n')
    with pytest.raises(ValueError, match=r"fast-l2r21\.npz was made with another generated"):
        read_folds(str(data), str(tmp_path), replace(SETTINGS, generated=str(own)), NAMES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (FoldSettings(steps=4, max_texts=40), r"another steps \(3, not 4\)"),
        (FoldSettings(steps=3, max_texts=41), r"another max_texts \(40, not 41\)"),
        (FoldSettings(steps=3, max_texts=40, seed=1), "another trained|another seed"),
    ],
)
def test_scores_of_other_settings_are_refused(data, tmp_path, settings, said):
    write_folds(tmp_path, data, habits)
    with pytest.raises(ValueError, match=said):
        read_folds(str(data), str(tmp_path), settings, NAMES)


def test_a_file_that_holds_no_scores_is_named(data, tmp_path):
    write_folds(tmp_path, data, habits)
    (tmp_path / "encoder-raidar.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"encoder-raidar\.npz: not the scores of a left-out set"):
        read_folds(str(data), str(tmp_path), SETTINGS, NAMES)


def test_without_torch_the_install_line_is_given_before_anything_is_trained(data, tmp_path, monkeypatch):
    def missing():
        raise MissingExtra("training the deep detector needs torch")

    monkeypatch.setattr(leave_out_deep, "require_training", missing)
    monkeypatch.setattr(leave_out_deep, "read_training_texts", lambda *_: pytest.fail("reads"))
    with pytest.raises(MissingExtra, match="needs torch"):
        read_folds(str(data), str(tmp_path), SETTINGS, NAMES)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--ai_detector", "deep"], "give --folds DIR"),
        (["--ai_detector", "hf:MODEL", "--folds", "x"], "must be fast, deep or cascade"),
        (["--ai_detector", "cascade", "--folds", "x", "--model", "y"], "leave out --model"),
        (["--ai_detector", "deep", "--folds", "x", "--steps", "0"], "steps must be at least 1"),
        (["--ai_detector", "deep", "--folds", "x", "--max_texts", "3"], "max_texts must be at least 10"),
        (["--ai_detector", "deep", "--folds", "x", "--sets", "l2r21"], "at least two sets"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(data, capsys, flags, said):
    assert main(["evaluate", "--leave_one_set_out", "--data", str(data), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
