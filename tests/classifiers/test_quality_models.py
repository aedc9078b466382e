"""Quality models of one's own: what an entry may be, and that a column holds what the model says. `hf:` is skipped without torch."""

import importlib.util

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.detectors import MissingExtra
from classifiers.quality_models import FastTextQuality, QualityModelsScorer, good_labels
from classifiers.quality_settings import QualityEntry, parse_entries, parse_entry
from classifiers.scorers import ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS
from tests.texts import prose

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra headwater[torch]")
BAD = "click here buy now free offer log in cookies terms"


@pytest.fixture(scope="module")
def fasttext_file(tmp_path_factory) -> str:
    """A fastText model that tells prose (`__label__hq`) from offers (`__label__cc`)."""
    folder = tmp_path_factory.mktemp("fasttext")
    lines = [f"__label__hq {prose(seed, 40)}" for seed in range(60)] + [f"__label__cc {BAD} {seed} {BAD}" for seed in range(60)]
    (folder / "train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    model = fasttext.train_supervised(str(folder / "train.txt"), dim=4, epoch=5, minCount=1, thread=1, verbose=0)
    model.save_model(str(folder / "model.bin"))
    return str(folder / "model.bin")


# Entries


@pytest.mark.parametrize(
    ("entry", "parsed"),
    [
        ("edu=hf:models/edu", QualityEntry("edu", "hf", "models/edu")),
        ("dclm=fasttext:a/b.bin#__label__hq", QualityEntry("dclm", "fasttext", "a/b.bin", ("__label__hq",))),
        ("q2=fasttext:m.ftz#a+b", QualityEntry("q2", "fasttext", "m.ftz", ("a", "b"))),
        ("x=hf:owner/name#LABEL_1", QualityEntry("x", "hf", "owner/name", ("LABEL_1",))),
        ("win=fasttext:C:/m.bin", QualityEntry("win", "fasttext", "C:/m.bin")),
    ],
)
def test_an_entry_names_column_kind_model_and_labels(entry, parsed):
    assert parse_entry(entry) == parsed and f"{parsed.name}={parsed.spec}" == entry


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "edu",
        "edu=",
        "edu=hf",
        "edu=hf:",
        "=hf:x",
        "Edu=hf:x",
        "1a=hf:x",
        "a b=hf:x",
        "edu=onnx:x",
        "hf:x",
        "edu=hf:#l",
        "a=fasttext:x#",
        "a=hf:x#l+",
    ],
)
def test_a_bad_entry_is_an_error_that_shows_what_one_looks_like(entry):
    with pytest.raises(ValueError, match=r"quality_models: .*(NAME|empty label)"):
        parse_entry(entry)


def test_two_models_cannot_make_one_column():
    with pytest.raises(ValueError, match="two models make one column: a, a"):
        parse_entries(["a=hf:x", "a=hf:y"])


@given(st.text(max_size=30))
@settings(max_examples=100)
def test_any_text_is_an_entry_or_an_error_of_one_sentence(text):
    try:
        parsed = parse_entry(text)
    except ValueError as error:
        assert "\n" not in str(error).replace(repr(text), "")
    else:
        assert f"{parsed.name}={parsed.spec}" == text


# Which label is good


@pytest.mark.parametrize(
    ("known", "asked", "good"),
    [
        (["__label__hq", "__label__cc"], [], {"__label__hq"}),
        (["LABEL_0", "LABEL_1"], ["LABEL_1"], {"LABEL_1"}),
        (["0", "1"], [], {"1"}),
        (["bad", "fair", "good"], ["fair", "good"], {"fair", "good"}),
    ],
)
def test_the_good_label_is_the_one_asked_for_or_told_by_its_name(known, asked, good):
    assert good_labels("fasttext:m", known, asked) == good


@pytest.mark.parametrize(
    ("known", "asked", "message"),
    [
        (["LABEL_0", "LABEL_1"], [], "cannot be told from LABEL_0, LABEL_1; say which, as hf:m#LABEL"),
        (["good", "edu", "bad"], [], "cannot be told"),
        (["a", "b"], ["c"], "has no label 'c'; it has a, b"),
        (["a", "b"], ["a", "b"], "cannot be told"),
    ],
)
def test_labels_that_leave_it_open_are_refused(known, asked, message):
    with pytest.raises(ValueError, match=message):
        good_labels("hf:m", known, asked)


# fastText


def test_the_column_is_fasttexts_own_probability(fasttext_file):
    texts = [prose(900, 50), BAD, f"{prose(901, 20)} {BAD}"]
    column = QualityModelsScorer([f"hq=fasttext:{fasttext_file}#__label__hq"]).score(TextBatch.of(texts))["hq"].to_pylist()
    model = fasttext.load_model(fasttext_file)
    for text, value in zip(texts, column, strict=True):
        labels, probabilities = model.f.multilinePredict([text + "\n"], 2, 0.0, "strict")
        assert value == pytest.approx(min(1.0, dict(zip(labels[0], probabilities[0], strict=True))["__label__hq"]), abs=1e-6)
    assert column[0] > 0.5 > column[1]


def test_labels_of_the_good_side_are_added_and_sides_add_up_to_one(fasttext_file):
    batch = TextBatch.of([prose(3, 40), BAD])
    good, bad = (FastTextQuality(fasttext_file, [label]).values(batch) for label in ("__label__hq", "__label__cc"))
    assert good + bad == pytest.approx([1, 1], abs=1e-3)


def test_a_text_has_the_same_number_in_any_batch(fasttext_file):
    model = FastTextQuality(fasttext_file)
    texts = [*HOSTILE_TEXTS, prose(1), "two\nlines\r\nand \x85 more"]
    assert model.values(TextBatch.of(texts)).tolist() == [model.values(TextBatch.of([text]))[0] for text in texts]
    assert len(model.values(TextBatch.of([]))) == 0


def test_a_quantised_model_is_read(tmp_path):
    lines = [f"__label__hq {prose(seed, 40)}" for seed in range(300)] + [f"__label__cc {BAD} {seed}" for seed in range(300)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), dim=4, epoch=2, minCount=1, thread=1, verbose=0)
    model.quantize(retrain=False)
    model.save_model(str(tmp_path / "model.ftz"))
    good, bad = FastTextQuality(str(tmp_path / "model.ftz")).values(TextBatch.of([prose(7, 40), BAD]))
    assert good > bad


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"x\.bin: not a fastText model"):
        FastTextQuality(str(tmp_path / "x.bin"))
    with pytest.raises(FileNotFoundError):
        FastTextQuality(str(tmp_path / "nowhere.bin"))


def test_another_model_or_label_is_another_version(fasttext_file):
    versions = {FastTextQuality(fasttext_file, labels).version for labels in ((), ("__label__hq",), ("__label__cc",))}
    assert len(versions) == 2


# In a run's settings


def test_models_named_in_the_settings_run_without_being_listed_as_scorers(fasttext_file):
    chosen = ScoreSettings(scorers=("size",), quality_models=[f"hq=fasttext:{fasttext_file}"])
    assert score_fields(chosen).names == ["words", "tokens", "bytes", "hq"] and score_fields(chosen).field("hq").type == pa.float32()
    assert score(make_scorers(chosen), TextBatch.of([prose(1), ""]))["hq"].null_count == 0
    assert hash(chosen) is not None


def test_a_column_that_another_scorer_makes_is_refused():
    with pytest.raises(ValueError, match="both make a column 'words'"):
        score_fields(ScoreSettings(scorers=("size",), quality_models=("words=hf:x",)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"quality_models": "a=hf:x"}, "quality_models must be a list"),
        ({"quality_models": ("a=x",)}, "quality_models: 'a=x' must be"),
        ({"perplexity_model": "kenlm:x"}, "perplexity_model: 'kenlm:x' must be ngram:PATH"),
        ({"quality_ensemble": ("edu",)}, "no model is called 'edu'; there are quality, trained_quality"),
        ({"quality_ensemble": ("perplexity",)}, "set score.perplexity_model"),
        ({"quality_ensemble": ("quality", "quality")}, "stands twice"),
        ({"quality_ranks": "r.json"}, "goes with quality_ensemble only"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        ScoreSettings(**changed)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_error_says_what_to_install():
    with pytest.raises(MissingExtra, match=r'quality_models hf:x needs torch.*pip install "headwater\[torch\]"'):
        QualityModelsScorer(["edu=hf:x"])


# hf:


@needs_torch
def test_a_regression_is_given_as_it_is_and_labels_as_probabilities(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from tests.classifiers.test_torch_tiers import TEXTS, save_classifier

    score_of = save_classifier(tmp_path / "regression", labels=("score",))
    labelled = save_classifier(tmp_path / "labelled", labels=("bad", "fair", "good"))
    scorer = QualityModelsScorer([f"edu=hf:{score_of}", f"hq=hf:{labelled}", f"kept=hf:{labelled}#fair+good"])
    columns = scorer.score(TextBatch.of([*TEXTS, ""]))
    for path, column in ((score_of, "edu"), (labelled, "hq")):
        model, tokenizer = AutoModelForSequenceClassification.from_pretrained(path), AutoTokenizer.from_pretrained(path)
        for text, value in zip(TEXTS, columns[column].to_pylist(), strict=False):
            with torch.inference_mode():
                logits = model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits[0]
            assert value == pytest.approx(float(logits[0] if column == "edu" else logits.softmax(-1)[2]), abs=1e-4)
    assert (columns["kept"].to_numpy() >= columns["hq"].to_numpy()).all() and columns["edu"].to_pylist()[-1] == 0
    alone = [scorer.score(TextBatch.of([text]))["edu"][0].as_py() for text in TEXTS]
    assert alone == columns["edu"].to_pylist()[:-1]


@needs_torch
def test_pickled_weights_and_models_that_are_not_there_are_refused(tmp_path):
    from tests.classifiers.test_torch_tiers import save_classifier

    for path in (save_classifier(tmp_path / "pickled", labels=("score",), safe=False), str(tmp_path / "nowhere")):
        with pytest.raises(ValueError, match=r"quality_models hf:.*: cannot be loaded: ") as raised:
            QualityModelsScorer([f"edu=hf:{path}"])
        assert "\n" not in str(raised.value)


@needs_torch
def test_two_unnamed_labels_are_refused(tmp_path):
    from tests.classifiers.test_torch_tiers import save_classifier

    path = save_classifier(tmp_path, labels=("LABEL_0", "LABEL_1"))
    with pytest.raises(ValueError, match="cannot be told from LABEL_0, LABEL_1"):
        QualityModelsScorer([f"edu=hf:{path}"])
    assert np.isfinite(QualityModelsScorer([f"edu=hf:{path}#LABEL_1"]).score(TextBatch.of(["x"]))["edu"].to_numpy()).all()
