"""`hf:` and `lm:` with real, tiny models built here. Where torch is not installed (a plain install, CI) these are skipped: it is an extra."""

import importlib.util
import json

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra headwater[torch]")

WORDS = "the river runs to sea and it was a long way so we went home by night with old songs in our heads".split()
TEXTS = [" ".join(WORDS[(start * step) % len(WORDS)] for step in range(1, length)) for start, length in ((1, 60), (2, 90), (3, 300), (5, 2_000))]
"""Texts of known words, long enough to judge; the last is longer than the models read."""
SHORT = "the river runs"


def save_tokenizer(folder, unknown="[UNK]"):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["[PAD]", unknown, *WORDS])}
    rules = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    rules.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=rules, pad_token="[PAD]", unk_token=unknown, model_max_length=64).save_pretrained(folder)
    return len(vocabulary)


def save_classifier(folder, labels=("human", "AI"), seed=0, safe=True):
    """A BERT of two tiny layers as `save_pretrained` writes it; returns its path."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    size = save_tokenizer(folder)
    config = BertConfig(vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=64,
                        num_labels=len(labels), id2label=dict(enumerate(labels)), label2id={name: at for at, name in enumerate(labels)},
                        initializer_range=0.8)  # fmt: skip
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder)
    if not safe:
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    return str(folder)


def save_lm(folder, seed=0, vocabulary=None):
    """A GPT-2 of two tiny layers; returns its path."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    size = save_tokenizer(folder)
    config = GPT2Config(vocab_size=vocabulary or size, n_embd=16, n_layer=2, n_head=2, n_positions=256, initializer_range=0.8)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def batch():
    from classifiers.text_batch import TextBatch

    return TextBatch.of([*TEXTS, SHORT, ""])


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return save_lm(tmp_path_factory.mktemp("lm"))


def detector_of(spec, **settings):
    from classifiers.detectors import make_detector

    return make_detector(spec, **settings)


# hf:


def test_log_odds_are_those_of_the_softmax(classifier, batch):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    odds, abstained = detector_of(f"hf:{classifier}").log_odds(batch)
    assert abstained.tolist() == [False] * 4 + [True] * 2
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(classifier), AutoTokenizer.from_pretrained(classifier)
    for text, value in zip(TEXTS, odds, strict=False):
        with torch.inference_mode():
            human, ai = model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits.softmax(-1)[0].tolist()
        assert value == pytest.approx(np.log(ai / human), abs=1e-4)
    assert np.ptp(odds[:4]) > 1e-3


@pytest.mark.parametrize("kind", ["hf", "lm"])
def test_a_text_scores_the_same_in_any_batch_and_on_any_number_of_threads(kind, classifier, lm, batch):
    from classifiers.text_batch import TextBatch

    spec = f"hf:{classifier}" if kind == "hf" else f"lm:{lm}"
    odds, abstained = detector_of(spec).log_odds(batch)
    threaded = detector_of(spec, num_threads=3)
    assert [array.tolist() for array in threaded.log_odds(batch)] == [odds.tolist(), abstained.tolist()]
    for row, text in enumerate([*TEXTS, SHORT, ""]):
        assert detector_of(spec).log_odds(TextBatch.of([text]))[0].tolist() == [odds[row]]
    assert [len(array) for array in threaded.log_odds(TextBatch.of([]))] == [0, 0]


@pytest.mark.parametrize("kind", ["hf", "lm"])
def test_batches_of_fixed_shapes_give_the_same_odds(kind, classifier, lm, batch):
    """What an accelerator would run, on the CPU."""
    spec = f"hf:{classifier}" if kind == "hf" else f"lm:{lm}"
    alone, padded = detector_of(spec), detector_of(spec, device="cpu:0")
    assert padded.log_odds(batch)[0] == pytest.approx(alone.log_odds(batch)[0], abs=1e-4) and padded.version == alone.version


def test_a_classifier_made_from_a_language_model_takes_padding(tmp_path, batch):
    import torch
    from transformers import GPT2Config, GPT2ForSequenceClassification

    torch.manual_seed(0)
    size = save_tokenizer(tmp_path)
    config = GPT2Config(vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=64, id2label={0: "human", 1: "ai"}, initializer_range=0.8)
    assert config.pad_token_id is None
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    alone, padded = detector_of(f"hf:{tmp_path}"), detector_of(f"hf:{tmp_path}", device="cpu:0")
    odds = alone.log_odds(batch)[0]
    assert np.ptp(odds[:4]) > 1e-3 and padded.log_odds(batch)[0] == pytest.approx(odds, abs=1e-4)


@pytest.mark.parametrize("kind", ["hf", "lm"])
@pytest.mark.parametrize(
    "text", ["word" * 2_000_000, "\0 " * 500, "\u202e\u05e9 " * 300, "😀 " * 5_000, "QUJDREVGRw== " * 200, "\n" * 9_000, "a " * 1_000_000]
)
def test_hostile_texts_get_finite_odds_or_an_abstention(kind, text, classifier, lm):
    from classifiers.text_batch import TextBatch

    odds, abstained = detector_of(f"hf:{classifier}" if kind == "hf" else f"lm:{lm}").log_odds(TextBatch.of([text]))
    assert np.isfinite(odds).all() and len(odds) == len(abstained) == 1


@pytest.mark.parametrize("kind", ["hf", "lm"])
def test_a_c2pa_wrapper_changes_no_odds(kind, classifier, lm):
    from classifiers.text_batch import TextBatch

    odds, abstained = detector_of(f"hf:{classifier}" if kind == "hf" else f"lm:{lm}").log_odds(
        TextBatch.of([TEXTS[2], "\ufe01\U000e0123" * 5_000 + TEXTS[2]])
    )
    assert odds[0] == odds[1] and not abstained.any()


def test_swapping_the_label_turns_the_odds_around(classifier, batch):
    usual, other = detector_of(f"hf:{classifier}"), detector_of(f"hf:{classifier}", ai_label="human")
    assert other.log_odds(batch)[0] == pytest.approx(-usual.log_odds(batch)[0])
    assert usual.version != other.version and usual.version.startswith("hf-")


def test_labels_of_one_side_are_added(tmp_path, batch):
    path = save_classifier(tmp_path, ("human", "gpt", "llama"))
    spec = f"hf:{path}"
    with pytest.raises(ValueError, match=r"labels human, gpt, llama; say which .* by --ai_label"):
        detector_of(spec)
    both, neither = detector_of(spec, ai_label="gpt, llama").log_odds(batch)[0], detector_of(spec, ai_label="human").log_odds(batch)[0]
    assert both == pytest.approx(-neither)


def test_one_output_is_log_odds_itself(tmp_path, batch):
    odds, _ = detector_of(f"hf:{save_classifier(tmp_path, ('score',))}").log_odds(batch)
    assert np.ptp(odds[:4]) > 0


def test_the_version_is_that_of_the_weights_and_not_of_the_path(tmp_path, classifier):
    from classifiers.hf_classifier import load_classifier

    same, other = save_classifier(tmp_path / "same"), save_classifier(tmp_path / "other", seed=1)
    versions = [load_classifier(path).version for path in (classifier, same, other)]
    assert versions[0] == versions[1] != versions[2]


def test_pickled_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be loaded: OSError"):
        detector_of(f"hf:{save_classifier(tmp_path, safe=False)}")


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    path = save_classifier(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification"), "code.Model")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="cannot be loaded"):
        detector_of(f"hf:{path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["hf", "lm"])
def test_a_model_that_is_not_there_is_one_sentence(kind, tmp_path):
    with pytest.raises(ValueError, match=f"ai_detector {kind}:.*nowhere: cannot be loaded: ") as raised:
        detector_of(f"{kind}:{tmp_path}/nowhere")
    assert "\n" not in str(raised.value)


def test_a_device_that_is_not_there_is_refused(classifier):
    import torch

    device = "cuda:9" if not torch.cuda.is_available() else "xpu"
    with pytest.raises(ValueError, match=f"device '{device}': torch cannot use it here"):
        detector_of(f"hf:{classifier}", device=device)


# lm:


def test_curvature_and_rank_are_those_of_the_paper(lm):
    """Against equations 3 to 5 of Bao et al. written out token by token."""
    import pyarrow as pa
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    measured = detector_of(f"lm:{lm}").measure(pa.array(TEXTS[:3]))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(lm), AutoTokenizer.from_pretrained(lm)
    for text, (curvature, rank) in zip(TEXTS, measured, strict=False):
        ids = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = model(ids).logits[0].double()
        found, mean, variance, ranks = 0.0, 0.0, 0.0, []
        for at in range(ids.shape[1] - 1):
            p = logits[at].softmax(-1).numpy()
            chosen = int(ids[0, at + 1])
            found += np.log(p[chosen])
            mean += (p * np.log(p)).sum()
            variance += (p * np.log(p) ** 2).sum() - (p * np.log(p)).sum() ** 2
            ranks.append(np.log(1 + (p > p[chosen]).sum()))
        assert curvature == pytest.approx((found - mean) / np.sqrt(variance), abs=1e-3)
        assert rank == pytest.approx(-np.mean(ranks), abs=1e-4)


def test_text_written_by_the_model_has_the_higher_curvature(lm):
    """Sampled from the model itself: what the statistic is made for."""
    import pyarrow as pa
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(lm), AutoTokenizer.from_pretrained(lm)
    torch.manual_seed(0)
    start = torch.tensor([[2]] * 8)
    sampled = tokenizer.batch_decode(model.generate(start, do_sample=True, min_new_tokens=60, max_new_tokens=60, pad_token_id=0))
    random = [" ".join(np.random.default_rng(seed).choice(WORDS, 60)) for seed in range(8)]
    measured = detector_of(f"lm:{lm}").measure(pa.array(sampled + random))
    assert measured[:8, 0].min() > measured[8:, 0].max()


def test_odds_rise_with_both_measures_and_stay_finite(lm):
    detector = detector_of(f"lm:{lm}")
    odds = detector.odds_of(np.array([[-2.4, -2.05], [-1.4, -2.05], [-2.4, -1.05], [1e9, 0.0], [-1e9, 0.0]]))
    assert abs(odds[0]) < 0.1 and odds[1] > odds[0] and odds[2] > odds[0] and np.isfinite(odds).all()


def test_the_benchmark_of_measures_prints_a_line_a_set(lm, tmp_path):
    from benchmarks.zero_shot import choose_texts, measure_set
    from tests.classifiers.detector_texts import write_set

    write_set(tmp_path, "raidar", range(40))
    texts = choose_texts(str(tmp_path), "raidar", 10)
    assert [text.is_machine for text in texts] == [False] * 10 + [True] * 10
    line = measure_set("raidar", texts, detector_of(f"lm:{lm}"))
    assert line.startswith("raidar") and all(title in line for title in ("curvature", "log rank", "both", "documents per CPU-s"))


def test_white_space_does_not_change_the_odds(lm):
    from classifiers.text_batch import TextBatch

    odds, _ = detector_of(f"lm:{lm}").log_odds(TextBatch.of([TEXTS[0], TEXTS[0].replace(" ", "\n  ")]))
    assert odds[0] == odds[1]


def test_two_models_give_the_score_of_binoculars(lm, tmp_path):
    import pyarrow as pa
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    other = save_lm(tmp_path, seed=1)
    detector = detector_of(f"lm:{lm},{other}")
    measured = detector.measure(pa.array(TEXTS[:1]))
    observer, performer = (AutoModelForCausalLM.from_pretrained(path) for path in (lm, other))
    ids = AutoTokenizer.from_pretrained(lm)(TEXTS[0], truncation=True, max_length=64, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        seen, expected = observer(ids).logits[0, :-1].double(), performer(ids).logits[0, :-1].double().log_softmax(-1)
    perplexity = -expected.gather(-1, ids[0, 1:, None]).mean()
    cross = -(seen.softmax(-1) * expected).sum(-1).mean()
    assert measured.shape == (1, 1) and measured[0, 0] == pytest.approx(-float(perplexity / cross), abs=1e-4)
    assert detector.version.count("-") == 2 and detector.version != detector_of(f"lm:{lm}").version


@pytest.mark.parametrize("names", ["a,b,c", "a,"])
def test_one_model_or_two(names):
    with pytest.raises(ValueError, match="give one model, or two as lm:OBSERVER,PERFORMER"):
        detector_of(f"lm:{names}")


def test_models_of_different_tokens_are_refused(lm, tmp_path):
    with pytest.raises(ValueError, match="must read the same tokens"):
        detector_of(f"lm:{lm},{save_lm(tmp_path, vocabulary=99)}")


def test_a_missing_gguf_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.gguf: cannot be loaded: FileNotFoundError"):
        detector_of(f"lm:{tmp_path}/none.gguf")
