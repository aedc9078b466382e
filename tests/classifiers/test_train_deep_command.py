"""From labelled sets to an ONNX file with thresholds and a card in one command, with a tiny base model. Needs the extra `train-deep`."""

import numpy as np
import orjson
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install headwater[train-deep]")
for module in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
    pytest.importorskip(module, reason=f"{module} is not installed: pip install headwater[train-deep]")

from classifiers import deep_encoder, leave_out_deep, train_deep  # noqa: E402
from classifiers.__main__ import main  # noqa: E402
from classifiers.calibration import load_calibration  # noqa: E402
from classifiers.deep_card import SECTION  # noqa: E402
from classifiers.deep_encoder import load_deep  # noqa: E402
from classifiers.fasttext_member import FastTextSettings  # noqa: E402
from classifiers.hashed_ngrams import NgramSettings  # noqa: E402
from classifiers.metrics import auroc  # noqa: E402
from classifiers.text_batch import TextBatch  # noqa: E402
from classifiers.train import TrainSettings  # noqa: E402
from classifiers.train_deep import BATCH, WINDOWS_PER_STEP, settings_for  # noqa: E402
from tests.classifiers.detector_texts import write_set, written  # noqa: E402
from tests.classifiers.tiny_base import write_base  # noqa: E402

SETS = ("l2r21", "raidar", "human_imdb_2011")
SMALL = {"ngrams": NgramSettings(2, 2, 12, 200), "fasttext": FastTextSettings(dim=2, bits=10, min_count=2), "common_words": 20}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder, "l2r21", range(0, 120))
    write_set(folder, "raidar", range(1_000, 1_120))
    write_set(folder, "human_imdb_2011", range(2_000, 2_060), with_machine=False)
    return folder


@pytest.fixture(scope="module", autouse=True)
def tiny_base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_deep, "base_path", lambda name: str(folder / name))
        patch.setattr(deep_encoder, "TRAINING_MODULES", ("torch", "onnx"))
        yield folder


def train_command(data, output, *more):
    return ["train", "--ai_detector", "deep", "--data", str(data), "--output", str(output), "--sets", ",".join(SETS), "--max_texts", "60", *more]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    assert main(train_command(data, folder, "--steps", "12", "--threads", "1")) == 0
    return folder


def test_one_command_writes_model_tokenizer_settings_thresholds_and_card(trained):
    assert sorted(path.name for path in (trained / "deep").iterdir()) == ["MODEL_CARD.md", "model.onnx", "settings.json", "tokenizer.json"]
    deep = load_deep(str(trained / "deep"))
    calibration = load_calibration(str(trained / "calibration-deep.json"))
    assert calibration.detector == deep.version and set(calibration.sources) == set(SETS)
    assert deep.settings.factors == train_deep.DeepTrainSettings().factors


def test_what_was_trained_tells_the_writers_apart(trained):
    deep = load_deep(str(trained / "deep"))
    odds = deep.head_log_odds([written(n % 2 == 1, 90_000 + n) for n in range(60)])
    assert auroc(odds[:, 1], np.arange(60) % 2 == 1) > 0.7 and len(set(odds[:, 0])) > 50


def test_the_card_says_how_to_make_it_again_and_of_what(trained):
    card = (trained / "deep" / "MODEL_CARD.md").read_text()
    assert f"--steps 12 --seed 0 --sets {','.join(SETS)}" in card
    assert load_deep(str(trained / "deep")).version in card
    assert load_calibration(str(trained / "calibration-deep.json")).digest in card
    assert f"{12 * WINDOWS_PER_STEP:,} windows of" in card and f"the first {12 * BATCH:,} of them" in card
    assert all(f"| {name} |" in card for name in (*SETS, "model.onnx", "settings.json", "tokenizer.json"))


def test_training_again_gives_the_same_numbers_and_keeps_the_rest_of_the_card(data, trained, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "MODEL_CARD.md").write_text(f"# Mine\n\n{SECTION}\n\nformer text\n\n## Limits\n\nmany\n")
    assert main(train_command(data, tmp_path, "--steps", "12", "--threads", "1")) == 0
    card = (tmp_path / "deep" / "MODEL_CARD.md").read_text()
    assert card.startswith("# Mine\n") and card.endswith("## Limits\n\nmany\n") and "former text" not in card
    batch = TextBatch.of([written(n % 2 == 1, 91_000 + n) for n in range(6)])
    first, again = (load_deep(str(folder / "deep")).log_odds(batch)[0] for folder in (trained, tmp_path))
    assert first.tolist() == again.tolist()


def test_the_trained_folder_predicts_by_the_command(trained, tmp_path):
    rows = [{"id": n, "text": written(n % 2 == 1, 92_000 + n)} for n in range(8)]
    (tmp_path / "in.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    options = ["--model", str(trained / "deep"), "--calibration", str(trained / "calibration-deep.json"), "--max_false_positive_rate", "0.1"]
    assert main(["predict", "--ai_detector", "deep", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl"), *options]) == 0
    out = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["id"] for row in out] == list(range(8)) and all(0 <= row["ai_probability"] <= 1 for row in out)


def test_as_many_steps_as_shipped_are_the_shipped_recipe():
    assert settings_for(250) == train_deep.DeepTrainSettings() and settings_for(250).steps == 250
    assert settings_for(2, 7).seed == 7 and settings_for(2).tuned_sequences == 2 * BATCH


@pytest.mark.parametrize("steps", ["0", "-3"])
def test_no_steps_are_refused(data, tmp_path, capsys, steps):
    assert main(train_command(data, tmp_path, "--steps", steps)) == 2
    assert "steps must be at least 1" in capsys.readouterr().err and not (tmp_path / "deep").exists()


@pytest.fixture
def small_fast(monkeypatch):
    monkeypatch.setattr(leave_out_deep, "TrainSettings", lambda seed: TrainSettings(seed=seed, **SMALL))


def leave_out(data, folds, kind, *more):
    return ["evaluate", "--leave_one_set_out", "--ai_detector", kind, "--data", str(data), "--sets", ",".join(SETS), "--folds", str(folds),
            "--steps", "4", "--max_texts", "20", *more]  # fmt: skip


def test_sets_are_left_out_of_the_deep_detector_and_a_second_run_trains_nothing(data, tmp_path, small_fast, monkeypatch, capsys):
    folds, figures = tmp_path / "folds", tmp_path / "figures.json"
    assert main(leave_out(data, folds, "deep", "--json", str(figures))) == 0
    said = capsys.readouterr()
    assert "encoder without l2r21" in said.err and "fast detector without raidar" in said.err
    assert sorted(path.name for path in folds.iterdir()) == [f"{half}-{name}.npz" for half in ("encoder", "fast") for name in ("l2r21", "raidar")]
    report = orjson.loads(figures.read_bytes())
    assert list(report["sets"]) == ["l2r21", "raidar", "mean"] and report["sets"]["l2r21"]["human"] == 20
    assert report["sets"]["mean"]["AUROC"] > 0.8 and "4 steps" in report["about"]["detector"]
    # The cascade is fitted to the same scores: with nothing to train, torch is not asked for.
    monkeypatch.setattr(leave_out_deep, "require_training", lambda: pytest.fail("trains again"))
    monkeypatch.setattr(leave_out_deep, "fit_model", lambda *_: pytest.fail("trains again"))
    assert main(leave_out(data, folds, "cascade")) == 0
    assert "encoder without" not in capsys.readouterr().err


def test_a_stopped_run_goes_on_where_it_was(data, tmp_path, small_fast, capsys):
    assert main(leave_out(data, tmp_path, "deep")) == 0
    whole = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "encoder-raidar.npz").unlink()
    capsys.readouterr()
    assert main(leave_out(data, tmp_path, "deep")) == 0
    said = capsys.readouterr().err
    assert "encoder without raidar" in said and "without l2r21" not in said
    again = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in whole if whole[name] != again[name]} == set()


def test_scores_of_other_settings_are_refused(data, tmp_path, small_fast, capsys):
    assert main(leave_out(data, tmp_path, "deep")) == 0
    command = leave_out(data, tmp_path, "deep")
    command[command.index("--steps") + 1] = "5"
    assert main(command) == 2
    assert "was made with another steps (4, not 5)" in capsys.readouterr().err
