"""Sentence encoders: what a stored vector is, what a text's depends on, and what is refused."""

import json
import multiprocessing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from classifiers import sentence_encoder
from classifiers.detectors import MissingExtra
from classifiers.scorers import ScoreSettings, make_scorers, score_fields
from classifiers.sentence_encoder import EmbeddingScorer, dimensions_of, make_encoder, parse_encoder, pool, pooling_of, quantize
from classifiers.text_batch import TextBatch
from tests.classifiers.tiny_onnx import gather_model, write_encoder

WORDS = ["river", "lake", "house", "door"]
VECTORS = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.8, 0.2], [0, 0, 0]], np.float32)


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("onnxruntime")
    return write_encoder(tmp_path / "encoder", WORDS, VECTORS)


def vectors_of(scorer, texts):
    column = scorer.score(TextBatch.of(texts))["embedding"]
    assert column.type == scorer.fields.field("embedding").type
    return [None if value is None else np.frombuffer(value, np.int8).tolist() for value in column.to_pylist()]


def test_a_text_is_the_mean_of_its_tokens_scaled_to_127(folder):
    found = vectors_of(EmbeddingScorer(f"onnx:{folder}"), ["river", "river house", "River  DOOR", "house house river"])
    assert found == [[127, 0, 0], [127, 127, 0], [127, 102, 25], [64, 127, 0]]


def test_a_text_without_a_token_has_no_vector_nor_has_one_of_zeros(folder):
    assert vectors_of(EmbeddingScorer(f"onnx:{folder}"), ["", "  ", "unheard of", "lake"])[:3] == [None, None, None]
    assert EmbeddingScorer(f"onnx:{folder}").score(TextBatch.of([]))["embedding"].to_pylist() == []


@given(st.lists(st.lists(st.sampled_from([*WORDS, "sea"]), max_size=6).map(" ".join), min_size=1, max_size=6), st.randoms())
def test_a_vector_depends_on_its_text_alone(tmp_path_factory, texts, random):
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.getbasetemp() / "shared-encoder"
    if not folder.exists():
        write_encoder(folder, WORDS, VECTORS)
    scorer = EmbeddingScorer(f"onnx:{folder}")
    alone = {text: vectors_of(scorer, [text])[0] for text in texts}
    random.shuffle(texts)
    assert vectors_of(scorer, texts) == [alone[text] for text in texts]


def test_no_more_tokens_are_read_than_asked_for_or_than_the_model_has_places_for(folder, tmp_path):
    long = "river " * 5 + "house " * 50
    assert vectors_of(EmbeddingScorer(f"onnx:{folder}", 5), [long]) == [[127, 0, 0]]
    short = write_encoder(tmp_path / "short", WORDS, VECTORS, max_position_embeddings=5)
    assert vectors_of(EmbeddingScorer(f"onnx:{short}", 100), [long]) == [[127, 0, 0]]


def test_versions_tell_weights_tokenizers_pooling_and_tokens_apart(folder, tmp_path):
    other = write_encoder(tmp_path / "other", WORDS, VECTORS[::-1])
    words = write_encoder(tmp_path / "words", WORDS[::-1], VECTORS)
    first = write_encoder(tmp_path / "first", WORDS, VECTORS)
    (first / "1_Pooling").mkdir()
    (first / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    versions = [EmbeddingScorer(f"onnx:{one}").version for one in (folder, other, words, first)] + [EmbeddingScorer(f"onnx:{folder}", 9).version]
    assert len(set(versions)) == 5
    assert EmbeddingScorer(f"onnx:{write_encoder(tmp_path / 'again', WORDS, VECTORS)}").version == versions[0]
    assert vectors_of(EmbeddingScorer(f"onnx:{first}"), ["river house"]) == [[127, 0, 0]]


def test_masks_and_types_are_given_where_the_model_wants_them(tmp_path):
    pytest.importorskip("onnxruntime")
    wants = write_encoder(tmp_path / "wants", WORDS, VECTORS, inputs=("input_ids", "attention_mask", "token_type_ids"))
    assert vectors_of(EmbeddingScorer(f"onnx:{wants}"), ["river"]) == [[127, 0, 0]]
    odd = write_encoder(tmp_path / "odd", WORDS, VECTORS, inputs=("input_ids", "pixels"))
    with pytest.raises(ValueError, match="wants the inputs pixels; known are input_ids"):
        EmbeddingScorer(f"onnx:{odd}")


def test_scorer_joins_the_contract_and_its_column_is_known_without_the_model(folder):
    settings = ScoreSettings(scorers=("size", "embedding"), embedding=f"onnx:{folder}")
    assert score_fields(settings).field("embedding").type.byte_width == 3
    assert make_scorers(settings)[1].version.endswith("int8-1;256 tokens")
    assert dimensions_of("minilm") == 384
    (folder / "config.json").unlink()
    assert dimensions_of(f"onnx:{folder}") == 3


def _vector_in_child(scorer, queue):
    queue.put(vectors_of(scorer, ["river house"]))


def test_an_encoder_outlives_a_fork(folder):
    scorer, queue = EmbeddingScorer(f"onnx:{folder}"), multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(target=_vector_in_child, args=(scorer, queue))
    child.start()
    assert queue.get(timeout=60) == vectors_of(scorer, ["river house"])
    child.join()


@pytest.mark.parametrize("spec", ["", "mini", "minilm:x", "onnx", "onnx:", "hf:", "gguf:x"])
def test_unknown_names_list_the_known(spec):
    with pytest.raises(ValueError, match="must be one of minilm, onnx:FOLDER, hf:PATH_OR_NAME"):
        parse_encoder(spec)


def test_a_folder_without_its_files_is_named(tmp_path, folder):
    with pytest.raises(ValueError, match=r"nowhere/model\.onnx cannot be read .* give a folder with model\.onnx and tokenizer\.json"):
        make_encoder(f"onnx:{tmp_path}/nowhere", 8)
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match="holds no sentence encoder"):
        make_encoder(f"onnx:{folder}", 8)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        dimensions_of(f"onnx:{folder}")


@pytest.mark.parametrize(("spec", "extra"), [("minilm", "embedding"), ("onnx:x", "deep"), ("hf:x", "torch")])
def test_missing_libraries_are_an_error_with_the_install_line(monkeypatch, spec, extra):
    monkeypatch.setattr(sentence_encoder.importlib.util, "find_spec", lambda name: None)
    make_encoder.cache_clear()
    with pytest.raises(MissingExtra, match=rf'pip install "headwater\[{extra}\]"'):
        make_encoder(spec, 8)


@given(arrays.arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(1, 8)), elements=st.floats(-1e6, 1e6, allow_subnormal=False)))
def test_quantized_vectors_keep_their_direction(vectors):
    found = quantize(vectors)
    assert found.dtype == np.int8 and found.shape == vectors.shape
    for given_row, row in zip(vectors, found.astype(float), strict=True):
        if not given_row.any():
            assert not row.any()
        else:
            assert np.abs(row).max() == 127
            assert np.allclose(row / 127, given_row / np.abs(given_row).max(), atol=0.5 / 127 + 1e-9)
    assert (quantize(vectors * 4.0) == found).all()


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        quantize(np.array([[1.0, np.nan]]))


def test_pooling_is_the_mean_the_first_token_or_nothing_to_do(tmp_path):
    output = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    assert pool(output, "mean").tolist() == [[0.5, 0.5]]
    assert pool(output, "cls").tolist() == [[1.0, 0.0]]
    assert pool(output[:, 0], "mean").tolist() == [[1.0, 0.0]]
    assert pooling_of(str(tmp_path)) == "mean"
    assert len(gather_model(VECTORS)) > 100


def test_a_hugging_face_encoder_gives_the_mean_of_its_last_states(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    write_encoder(tmp_path / "words", [*WORDS, "[PAD]"], np.zeros((6, 2), np.float32))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "words" / "tokenizer.json"), unk_token="[UNK]", pad_token="[PAD]")
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=8, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=16)
    ).eval()
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    encoder = make_encoder(f"hf:{tmp_path}/bert", 8)
    ids = torch.tensor([[0, 2]])
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(dim=1)[0]
    found = encoder.encode(["river house", "", "door"])
    assert np.allclose(found[0], expected, atol=1e-6)
    assert not found[1].any() and found.shape == (3, 12) == (3, dimensions_of(f"hf:{tmp_path}/bert"))
