"""The trained quality classifier: the same model from the same texts, a text's score its own, and what is shipped is what its card says."""

import dataclasses
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.__main__ import main
from classifiers.detectors import weights_file
from classifiers.metrics import auroc
from classifiers.quality_texts import QUALITY_SETS, QualityText, mail_body, read_quality_sets
from classifiers.scorers import ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch
from classifiers.train_quality import QualityTrainSettings, cut_pieces, fit_model, leave_sets_out, log_odds_of, piece_weights
from classifiers.trained_quality import QualityModel, QualityNgrams, TrainedQualityScorer, load_quality_model
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts
from tests.conftest import SHARED_DATA
from tests.texts import prose

SMALL = QualityTrainSettings(ngrams=QualityNgrams(word_bits=12, shape_bits=12, max_tokens=200), read_tokens=300)
MENU = "Home | About us | Contact | Log in | Terms | Shop | Help | Search | Jobs | Press | Cookies".split(" | ")


def menu(seed: int) -> str:
    """Navigation of a page that no one wrote, different for each seed."""
    chance = np.random.default_rng(seed)
    return (
        "\n".join(f"{MENU[int(chance.integers(len(MENU)))]} {'»' if chance.random() < 0.3 else ''}" for _ in range(60))
        + f"\n© {seed} All rights reserved"
    )


def judged(count: int = 60, sets: tuple[str, ...] = ("a", "b")) -> list[QualityText]:
    texts = [QualityText(prose(seed, 80), True, sets[seed % len(sets)], f"{sets[seed % len(sets)]}/good {seed}") for seed in range(count)]
    return texts + [QualityText(menu(seed), False, sets[seed % len(sets)], f"{sets[seed % len(sets)]}/bad {seed}") for seed in range(count)]


@pytest.fixture(scope="module")
def corpus():
    return cut_pieces(judged(), SMALL)


@pytest.fixture(scope="module")
def model(corpus):
    return fit_model(corpus, np.ones(len(corpus.texts), bool), SMALL)


def probabilities(model: QualityModel, *texts: str) -> list[float]:
    return model.probability(TextBatch.of(texts)).tolist()


# Training


def test_prose_is_told_from_menus_that_were_not_trained_on(model):
    texts = [prose(seed, 100) for seed in range(900, 930)] + [menu(seed) for seed in range(900, 930)]
    assert auroc(np.array(probabilities(model, *texts)), np.arange(60) < 30) > 0.95


def test_the_same_texts_and_seed_give_the_same_model_and_another_seed_does_not(corpus, model):
    everything = np.ones(len(corpus.texts), bool)
    assert fit_model(cut_pieces(judged(), SMALL), everything, SMALL).version == model.version
    other = dataclasses.replace(SMALL, seed=1)
    assert fit_model(cut_pieces(judged(), other), everything, other).version != model.version


def test_texts_that_were_not_chosen_leave_no_trace(corpus):
    chosen = np.arange(len(corpus.texts)) % 3 > 0
    part = [text for text, is_chosen in zip(corpus.texts, chosen, strict=True) if is_chosen]
    weights = piece_weights(corpus, chosen)
    assert (weights[~chosen[corpus.owners]] == 0).all()
    changed = [
        text if is_chosen else dataclasses.replace(text, is_good=not text.is_good) for text, is_chosen in zip(corpus.texts, chosen, strict=True)
    ]
    flipped = dataclasses.replace(corpus, texts=changed)
    assert fit_model(corpus, chosen, SMALL).version == fit_model(flipped, chosen, SMALL).version and len(part) < len(corpus.texts)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=2, max_size=30))
@settings(max_examples=20)
def test_good_and_bad_weigh_the_same_within_every_set(cells):
    texts = [QualityText(prose(3, 30), good, name, f"{name}/{at}") for at, (name, good) in enumerate(cells)]
    corpus = cut_pieces(texts, SMALL)
    weights = piece_weights(corpus, np.ones(len(texts), bool))
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    for name in {name for name, _ in cells}:
        sums = [
            sum(weights[at] for at, owner in enumerate(corpus.owners) if texts[owner].set_name == name and texts[owner].is_good == label)
            for label in (True, False)
        ]
        if all(sums):
            assert sums[0] == pytest.approx(sums[1], rel=1e-4)


def test_a_left_out_set_is_scored_by_weights_from_the_others_alone(corpus):
    said: list[str] = []
    scores = leave_sets_out(corpus, SMALL, said.append)
    assert list(scores) == ["a", "b"] and len(said) == 2
    others = np.array([text.set_name != "a" for text in corpus.texts])
    of_a = [text for text in corpus.texts if text.set_name == "a"]
    assert scores["a"].tolist() == log_odds_of(fit_model(corpus, others, SMALL), of_a).tolist()


def test_a_text_that_shares_its_group_with_a_left_out_set_is_not_trained_on():
    texts = judged(30, ("a", "b", "c"))
    copies = [dataclasses.replace(text, set_name="b", group="b/" + text.group.partition("/")[2]) for text in texts if text.set_name == "a"]
    without = leave_sets_out(cut_pieces(texts, SMALL), SMALL, lambda _: None)
    doubled = leave_sets_out(cut_pieces([*texts, *copies], SMALL), SMALL, lambda _: None)
    assert doubled["a"].tolist() == without["a"].tolist()


def test_one_label_alone_is_refused(corpus):
    with pytest.raises(ValueError, match="needs good and bad text"):
        fit_model(corpus, corpus.is_good, SMALL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"shapes_factor": -1}, "shapes_factor"),
        ({"piece_tokens": (9, 8)}, "piece_tokens"),
    ],
)
def test_bad_training_settings_are_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        QualityTrainSettings(**changed)


# The model


def test_a_saved_model_is_the_same_model(model, tmp_path):
    path = tmp_path / "quality.npz"
    model.save(str(path))
    again = load_quality_model(str(path))
    assert again.version == model.version and probabilities(again, prose(1)) == probabilities(model, prose(1))
    content = path.read_bytes()
    again.save(str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04"])
def test_a_file_that_is_no_model_is_named(content, tmp_path):
    path = tmp_path / "quality.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"quality\.npz: not a quality model's weights"):
        load_quality_model(str(path))


@pytest.mark.parametrize(
    ("weights", "scale", "message"),
    [
        (np.zeros(3, np.int8), np.ones(3), "weights must be int8"),
        (np.zeros((1 << 12) * 2, np.int8), np.array([0.0, -1.0, 1.0]), "scale must be"),
        (np.zeros((1 << 12) * 2, np.int8), np.array([np.nan, 1.0, 1.0]), "scale must be"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, scale, message):
    with pytest.raises(ValueError, match=message):
        QualityModel(SMALL.ngrams, weights, scale)


@pytest.mark.parametrize("changed", [{"word_ngrams": 0}, {"shape_bits": 25}, {"max_tokens": 1}, {"word_bits": True}])
def test_bad_ngram_settings_are_refused_by_name(changed):
    with pytest.raises(ValueError, match=next(iter(changed))):
        QualityNgrams(**changed)


@given(st.lists(any_texts, max_size=6))
@settings(max_examples=25)
def test_a_probability_is_a_number_from_0_to_1_and_the_same_in_any_batch(texts):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    shipped = load_quality_model()
    together = probabilities(shipped, *texts)
    assert together == [probabilities(shipped, text)[0] for text in texts]
    assert all(0 <= value <= 1 for value in together)


def test_length_by_itself_says_nothing():
    shipped = load_quality_model()
    once = prose(5, 80) + "\n"
    assert probabilities(shipped, once)[0] == pytest.approx(probabilities(shipped, once * 5)[0], abs=0.03)


# The scorer


def test_the_scorer_runs_where_it_is_asked_for():
    chosen = ScoreSettings(scorers=("size", "trained_quality"))
    columns = score(make_scorers(chosen), TextBatch.of([prose(1), "", menu(1)]))
    assert score_fields(chosen).names == ["words", "tokens", "bytes", "trained_quality"]
    good, empty, bad = columns["trained_quality"].to_pylist()
    assert good > bad and empty == 0 and "trained_quality" not in score_fields(ScoreSettings()).names


def test_hostile_texts_are_scored():
    scored = TrainedQualityScorer().score(TextBatch.of([*HOSTILE_TEXTS, "word" * 2_500_000]))["trained_quality"]
    assert scored.null_count == 0 and np.isfinite(scored.to_numpy()).all()


def test_what_ships_is_small_and_its_card_names_its_version():
    version = load_quality_model().version
    path = Path(weights_file("quality.npz"))
    assert path.stat().st_size < 4 << 20
    card = path.with_name("QUALITY_CARD.md").read_text("utf-8")
    assert version in card
    for name in QUALITY_SETS:
        assert name in card


# Reading the sets


def test_mail_is_read_without_headers_tags_and_encoded_parts():
    raw = "From: a@example.org\nSubject: Win\n\n--part\nContent-Type: text/html\n\n<p>Dear <b>friend</b></p>\n" + "QUJD" * 20 + "\nregards"
    assert mail_body(raw).split() == ["Dear", "friend", "regards"]


def write_set(folder: Path, name: str, records: list[dict]) -> None:
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def labelled(tmp_path) -> Path:
    """Two small sets in the form of the real ones; all of the text is our own."""
    pages = []
    for seed in range(30):
        for quality, text in (("main_content", prose(seed, 60)), ("boilerplate", menu(seed))):
            pages.append({"id": f"{seed}-{quality}", "text": text, "quality": quality, "set": "x", "page": f"page {seed}"})
    write_set(tmp_path, "quality_boilerplate", pages)
    annotated = [{"id": str(seed), "text": prose(100 + seed, 60), "quality": "ok"} for seed in range(30)]
    annotated += [{"id": f"u{seed}", "text": menu(100 + seed), "quality": "unnatural"} for seed in range(30)]
    annotated += [{"id": "p", "text": prose(7, 60), "quality": "porn"}, {"id": "s", "text": "too short", "quality": "ok"}]
    annotated += [annotated[0]]
    write_set(tmp_path, "quality_hplt2_annot", annotated)
    return tmp_path


def test_texts_are_read_once_with_their_labels_and_groups(labelled):
    texts = read_quality_sets(str(labelled), QUALITY_SETS[:2])
    assert len(texts) == 120 and sum(text.is_good for text in texts) == 60
    pages = {text.group for text in texts if text.set_name == "quality_boilerplate"}
    assert len(pages) == 30, "both texts of a page are one group"
    held_out = {text.group for text in texts if text.is_held_out}
    assert held_out and not held_out & {text.group for text in texts if not text.is_held_out}


def test_lines_that_were_kept_and_those_that_were_not_are_two_texts_of_one_group(tmp_path):
    keep, noise = prose(1, 40).split(". "), prose(2, 40).split(". ")
    record = {"id": "t1", "text": "", "lines": [*keep, *noise], "line_labels": [1] * len(keep) + [0] * len(noise)}
    write_set(tmp_path, "quality_turku_lines", [record])
    good, bad = read_quality_sets(str(tmp_path), ("quality_turku_lines",))
    assert (good.is_good, bad.is_good) == (True, False) and good.group == bad.group and good.text == "\n".join(keep)


def test_pages_that_are_mark_up_are_left_out_and_entities_are_characters(tmp_path):
    page = {"quality": "main_content", "set": "x"}
    source = f"<html><head><style>* {{}}</style></head><body>{prose(1, 60)}</body></html>"
    texts = [{**page, "id": "a", "page": "a", "text": source}, {**page, "id": "b", "page": "b", "text": f"The baker&#039;s &amp; {prose(2, 60)}"}]
    write_set(tmp_path, "quality_boilerplate", texts)
    (found,) = read_quality_sets(str(tmp_path), ("quality_boilerplate",))
    assert found.text.startswith("The baker's & ")


def test_an_unknown_set_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown 'x'; known: quality_boilerplate"):
        read_quality_sets("nowhere", ("x",))


# The commands


def test_training_from_the_command_line_writes_a_model_that_scores(labelled, tmp_path, capsys):
    sets = ",".join(QUALITY_SETS[:2])
    assert main(["train-quality", "--data", str(labelled), "--output", str(tmp_path / "out"), "--sets", sets]) == 0
    path = tmp_path / "out" / "quality.npz"
    assert str(path) in capsys.readouterr().out
    good, bad = probabilities(load_quality_model(str(path)), prose(500), menu(500))
    assert good > 0.5 > bad


def test_the_evaluation_prints_a_table_with_its_baselines(labelled, tmp_path, capsys):
    sets, report = ",".join(QUALITY_SETS[:2]), tmp_path / "report.json"
    assert main(["evaluate-quality", "--data", str(labelled), "--sets", sets, "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    for title in ("trained, unseen", "trained, held out", "heuristic", "better rank", "lower rank", "length", "format"):
        assert title in shown
    rows = json.loads(report.read_text())["sets"]
    assert rows["quality_boilerplate"]["trained, unseen"]["value"] > 0.9 and set(rows) == {*QUALITY_SETS[:2], "mean"}


def test_one_set_alone_is_refused_in_one_sentence(labelled, tmp_path, capsys):
    assert main(["train-quality", "--data", str(labelled), "--output", str(tmp_path), "--sets", QUALITY_SETS[0]]) == 2
    assert "at least two sets" in capsys.readouterr().err


@pytest.mark.skipif(not (SHARED_DATA / "quality_boilerplate.jsonl.zst").exists(), reason="needs ../shared/data")
def test_the_shipped_model_ranks_held_out_main_content_above_boilerplate():
    texts = [text for text in read_quality_sets(str(SHARED_DATA), ("quality_turku_lines",)) if text.is_held_out]
    assert auroc(log_odds_of(load_quality_model(), texts), np.array([text.is_good for text in texts])) > 0.9


def test_a_run_without_the_quality_models_imports_none_of_them():
    code = "import sys, classifiers.scorers; print([m for m in sys.modules if m.startswith('classifiers.') and 'quality' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert ran.stdout.strip() == "['classifiers.quality_settings']"
