"""`python -m classifiers`: train, calibrate, evaluate and predict on made-up sets."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from classifiers.__main__ import main
from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import load_calibration
from classifiers.fasttext_member import FastTextSettings
from classifiers.hashed_ngrams import NgramSettings, fold_line
from classifiers.train import (
    TrainSettings,
    cut_pieces,
    draw_lines,
    fit_model,
    fit_scale,
    fold_corpus,
    is_held_out,
    piece_weights,
    read_training_texts,
    train,
)
from tests.classifiers.detector_texts import write_set, written
from tests.conftest import SHARED_DATA

SETS = ("l2r21", "raidar", "human_imdb_2011")
SMALL = TrainSettings(ngrams=NgramSettings(2, 2, 12, 200), fasttext=FastTextSettings(dim=2, bits=10, min_count=2), common_words=20)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder, "l2r21", range(0, 400))
    write_set(folder, "raidar", range(1_000, 1_400))
    write_set(folder, "human_imdb_2011", range(2_000, 2_300), with_machine=False)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    assert main(["train", "--data", str(data), "--output", str(folder), "--sets", ",".join(SETS)]) == 0
    return folder


def predictions(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_training_again_gives_the_same_bytes(data, trained, tmp_path):
    assert main(["train", "--data", str(data), "--output", str(tmp_path), "--sets", ",".join(SETS)]) == 0
    for name in ("fast.npz", "fast.bin", "calibration.json"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()


def test_the_trained_weights_tell_the_writers_apart(trained, tmp_path):
    rows = [{"id": n, "text": written(n % 2 == 1, 50_000 + n)} for n in range(60)]
    (tmp_path / "in.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    options = ["--model", str(trained / "fast.npz"), "--calibration", str(trained / "calibration.json"), "--max_false_positive_rate", "0.05"]
    assert main(["predict", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl"), *options]) == 0
    out = predictions(tmp_path / "out.jsonl")
    assert [row["id"] for row in out] == list(range(60))
    assert all(row["ai_flag"] for row in out[1::2]) and sum(row["ai_flag"] for row in out[::2]) <= 6
    assert all(set(row) == {"id", "ai_probability", "ai_flag", "abstained"} for row in out)


def test_training_never_reads_held_out_or_shared_text(data):
    texts = read_training_texts(str(data), SMALL, SETS)
    assert not any(is_held_out(text) for text in texts)
    assert {text.set_name for text in texts} == set(SETS) and {text.attack for text in texts} == {"none", "loud"}


def test_pieces_lie_inside_their_texts_and_weights_balance_the_labels(data):
    texts = read_training_texts(str(data), SMALL, SETS)
    corpus = fold_corpus(texts, 200)
    pieces, owners = cut_pieces(corpus, SMALL)
    for (words, shapes), owner in zip(pieces, owners, strict=True):
        assert len(words) == len(shapes) <= SMALL.whole_words
        assert set(words.tolist()) <= set(corpus.hashed[owner][0].tolist())
    weights = piece_weights(texts, owners, SMALL)
    machine = corpus.is_machine[owners]
    assert weights[machine].sum() == pytest.approx(weights[~machine].sum(), rel=1e-3)
    assert weights.mean() == pytest.approx(1, rel=1e-3)


def test_lines_for_fasttext_are_pieces_of_their_texts_drawn_by_weight(data):
    corpus = fold_corpus(read_training_texts(str(data), SMALL, SETS), 200)
    lines = list(draw_lines(corpus, SMALL))
    assert lines == list(draw_lines(corpus, SMALL))
    known = {True: [], False: []}
    for is_machine, line in zip(corpus.is_machine, corpus.lines, strict=True):
        known[bool(is_machine)].append(line)
    for is_machine, line in lines[::40]:
        assert any(line in whole for whole in known[is_machine])
    assert len(lines) == pytest.approx(SMALL.fasttext.draws * len(corpus.texts), rel=0.1)
    assert np.mean([is_machine for is_machine, _ in lines]) == pytest.approx(0.5, abs=0.05)


def test_either_half_alone_tells_the_writers_apart(data):
    corpus = fold_corpus(read_training_texts(str(data), SMALL, SETS), 200)
    alone = fit_model(corpus, replace(SMALL, fasttext_factor=0.0))
    both = fit_model(corpus, SMALL)
    assert alone.fasttext is None and both.weights.tobytes() == alone.weights.tobytes()
    fresh = [fold_line(written(n % 2 == 1, 70_000 + n), 200) + "\n" for n in range(60)]
    odds = both.fasttext.log_odds(fresh)
    assert odds[1::2].min() > odds[::2].max()


def test_training_needs_two_sets_with_machine_text(data):
    with pytest.raises(ValueError, match="at least two sets"):
        train(str(data), SMALL, ("l2r21", "human_imdb_2011"), lambda _: None)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"learning_rate": 0}, {"piece_words": (90, 40)}, {"seed": -1}, {"fasttext_factor": -0.1}])
def test_impossible_training_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainSettings(**wrong)


def test_scaling_recovers_log_odds():
    random = np.random.default_rng(0)
    odds = random.normal(0, 2, 20_000)
    machine = random.random(20_000) < 1 / (1 + np.exp(-odds))
    intercept, factor = fit_scale((odds - 0.7) / 3, machine, np.ones(20_000))
    assert intercept == pytest.approx(0.7, abs=0.1) and factor == pytest.approx(3, abs=0.2)
    with pytest.raises(ValueError, match="do not rise"):
        fit_scale(-odds, machine, np.ones(20_000))


def test_a_calibration_of_another_detector_is_refused(trained, tmp_path, capsys):
    (tmp_path / "in.jsonl").write_bytes(b'{"id": 1, "text": "fine"}\n')
    options = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out"), "--calibration", str(trained / "calibration.json")]
    assert main(["predict", *options]) == 2
    assert "calibrate again" in capsys.readouterr().err


def test_calibrating_on_ones_own_text_keeps_the_promise_there(tmp_path, capsys):
    for source, seeds in (("mail", range(300)), ("notes", range(500, 900))):
        rows = [{"id": n, "text": written(False, n), "label": "human"} for n in seeds] + [{"id": -1, "text": written(True, 1), "label": "machine"}]
        (tmp_path / f"{source}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    out = tmp_path / "own.json"
    globs = ["--human", str(tmp_path / "mail.jsonl"), "--human", str(tmp_path / "note*.jsonl")]
    assert main(["calibrate", *globs, "--output", str(out), "--max_false_positive_rate", "0.02", "--edges", "50,120"]) == 0
    assert "human texts: flag above" in capsys.readouterr().out
    own = load_calibration(str(out))
    assert own.edges == (50, 120) and sum(own.counts) == 700 and own.detector == AiDetectorScorer().version
    assert main(["predict", "--input", str(tmp_path / "mail.jsonl"), "--output", str(tmp_path / "o"), "--calibration", str(out),
                 "--max_false_positive_rate", "0.02"]) == 0  # fmt: skip
    assert sum(row["ai_flag"] for row in predictions(tmp_path / "o")[:300]) <= 0.02 * 301 * 2


def test_a_glob_that_matches_nothing_ends_with_2(tmp_path, capsys):
    assert main(["calibrate", "--human", str(tmp_path / "none*.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the labelled sets of ../shared/data")
def test_the_shipped_weights_separate_essays_that_nobody_trained_on():
    from classifiers.evaluate import score_texts
    from classifiers.labelled_text import read_set
    from classifiers.metrics import auroc

    texts = [text for text in read_set(str(SHARED_DATA), "outfox") if is_held_out(text) and text.attack == "none" and text.generator != "flan_t5_xxl"]
    scored = score_texts(AiDetectorScorer().detector, texts)
    assert auroc(scored.odds, scored.machine) > 0.9
