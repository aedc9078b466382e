"""Training of the deep detector's encoder. Needs the extra `train-deep`: without torch these tests are skipped."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install headwater[train-deep]")

from classifiers.deep_network import Encoder, attention_mask, export_encoder, load_base, pool_states  # noqa: E402
from classifiers.deep_windows import DrawSettings, Windows  # noqa: E402
from classifiers.train_deep import (  # noqa: E402
    DeepTrainSettings,
    HiddenStates,
    fit,
    fit_linear,
    pad_tokens,
    score_texts,
    score_tuned,
    set_linear,
)

WIDTH, WORDS = 24, 50


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def tiny(layers=2, frozen_layers=1):
    torch.manual_seed(1)
    return Encoder(layers, frozen_layers, words=WORDS, positions=40, width=WIDTH).eval()


def windows_of(count, seed=0):
    """Windows whose label is whether the word 7 stands in them."""
    random = np.random.default_rng(seed)
    windows = [random.integers(10, WORDS, int(random.integers(5, 20))) for _ in range(count)]
    machine = np.arange(count) % 2 == 1
    for window, label in zip(windows, machine, strict=True):
        if label:
            window[len(window) // 2 :] = 7
    return windows, machine


def test_padding_does_not_change_what_a_window_scores():
    encoder, (windows, _) = tiny(), windows_of(6)
    ids, mask = pad_tokens(windows)
    with torch.inference_mode():
        together = encoder.upper(encoder.lower(ids, mask), mask)
        alone = torch.cat([encoder(torch.from_numpy(window)[None])[:, 0] for window in windows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_pooled_states_are_the_mean_and_the_spread_of_a_texts_own_tokens():
    hidden, mask = torch.randn(3, 5, WIDTH), torch.tensor([[1.0] * 5, [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    pooled = pool_states(hidden, mask)
    for row, length in enumerate((5, 3, 1)):
        own = hidden[row, :length]
        torch.testing.assert_close(pooled[row], torch.cat([own.mean(0), own.std(0, correction=0)]), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(pool_states(hidden, None), pool_states(hidden, torch.ones(3, 5)), atol=1e-6, rtol=1e-5)


def test_the_mask_blocks_padding_alone():
    assert attention_mask(torch.tensor([[1.0, 0.0]])).flatten().tolist() == [0.0, -1e4]


def test_kept_states_are_those_that_the_frozen_layers_give():
    encoder, (windows, _) = tiny(), windows_of(9)
    states = HiddenStates(encoder, windows)
    assert states.lengths().tolist() == [len(window) for window in windows]
    hidden, mask = states.batch(np.array([4, 2]))
    assert mask.sum(1).tolist() == [len(windows[4]), len(windows[2])]
    with torch.inference_mode():
        wanted = encoder.lower(torch.from_numpy(windows[4])[None], None)[0]
    torch.testing.assert_close(hidden[0, : len(windows[4])], wanted, atol=2e-3, rtol=2e-3)
    assert states.pooled().shape == (9, 2 * WIDTH)


def test_the_linear_head_minimises_its_loss():
    random = np.random.default_rng(0)
    pooled = random.normal(size=(200, 5)).astype(np.float32) * [1, 2, 3, 4, 0]
    machine = pooled[:, 0] + random.normal(size=200) > 0.3
    weights, intercept = fit_linear(pooled, machine, 0.1)
    spread = pooled.std(0)

    def loss(weights, intercept):
        odds = pooled @ weights + intercept
        return np.mean(np.logaddexp(0, odds) - machine * odds) + 0.05 * ((weights * spread) ** 2).sum()

    best = loss(weights, intercept)
    for _ in range(50):
        moved = random.normal(size=6) * 0.01
        assert loss(weights + moved[:5] * (spread > 0), intercept + moved[5]) >= best - 1e-6


def test_training_learns_and_gives_the_running_mean_at_every_point():
    windows, machine = windows_of(320)
    encoder = tiny()
    states = HiddenStates(encoder, windows)
    settings = DeepTrainSettings(DrawSettings(sequences=320), 320, layers=2, frozen_layers=1, learning_rate=5e-3, warm_up_steps=2, dropout=0.0)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    points = [(seen, loss) for seen, loss, averaged in fit(encoder, states, machine, np.arange(320), settings, [160])]
    assert [seen for seen, _ in points] == [160, 320]
    assert points[1][1] < points[0][1] < 0.75
    changed = {name.split(".")[0] + "." + name.split(".")[1] for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"layers.1", "tuned.weight", "tuned.bias"}


def test_the_averaged_encoder_tells_the_labels_apart():
    windows, machine = windows_of(320)
    encoder = tiny()
    states = HiddenStates(encoder, windows)
    settings = DeepTrainSettings(DrawSettings(sequences=320), 320, layers=2, frozen_layers=1, learning_rate=5e-3, warm_up_steps=2)
    for _, _, averaged in fit(encoder, states, machine, np.arange(320), settings, []):
        scores = score_tuned(averaged, states)
    assert scores[machine].mean() > scores[~machine].mean() + 1


def test_the_seed_decides_the_weights():
    windows, machine = windows_of(48)

    def trained(seed):
        encoder = tiny()
        states = HiddenStates(encoder, windows)
        settings = DeepTrainSettings(DrawSettings(sequences=48, seed=seed), 48, layers=2, frozen_layers=1)
        return [score_tuned(averaged, states).tolist() for _, _, averaged in fit(encoder, states, machine, np.arange(48), settings, [])]

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


def test_a_texts_score_comes_from_its_windows():
    windows, _ = windows_of(3)
    states = HiddenStates(tiny(), windows)
    scores = score_texts(np.array([1.0, 3.0, 5.0]), states, Windows(windows, np.array([0, 0, 2])), 3)
    lengths = states.lengths() - 2
    assert scores.tolist() == pytest.approx([(lengths[0] + 3 * lengths[1]) / (lengths[0] + lengths[1]), 0.0, 5.0])


def test_the_base_models_layers_are_read_as_they_are(tmp_path):
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save_file

    config = transformers.BertConfig(
        vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=12, intermediate_size=4 * WIDTH, max_position_embeddings=40
    )
    base = transformers.BertModel(config, add_pooling_layer=False).eval()
    save_file({name: value.contiguous() for name, value in base.state_dict().items()}, str(tmp_path / "base.safetensors"))
    encoder = load_base(str(tmp_path / "base.safetensors"), 2, 2).eval()
    ids = torch.randint(0, WORDS, (2, 11))
    with torch.inference_mode():
        theirs = base(ids, output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(encoder.lower(ids, None), theirs, atol=1e-4, rtol=1e-3)


def test_a_file_without_such_a_model_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "base.safetensors"))
    with pytest.raises(ValueError, match="not a BERT model of at least 2 layers"):
        load_base(str(tmp_path / "base.safetensors"), 2, 1)


def test_what_ships_scores_like_what_was_trained():
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from classifiers.deep_encoder import OnnxEncoder

    encoder = tiny()
    set_linear(encoder, np.linspace(-1, 1, 2 * WIDTH), 0.25)
    plain, small = OnnxEncoder(export_encoder(encoder, eight_bits=False)), OnnxEncoder(export_encoder(encoder))
    for window in windows_of(4)[0]:
        with torch.inference_mode():
            wanted = encoder(torch.from_numpy(window)[None]).numpy()
        np.testing.assert_allclose(plain(window[None]), wanted, atol=1e-4)
        np.testing.assert_allclose(small(window[None]), wanted, atol=0.5)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tuned_sequences": 12_001}, "tuned_sequences"),
        ({"layers": 7}, "layers"),
        ({"layers": 2, "frozen_layers": 2}, "frozen_layers"),
        ({"batch": 0}, "batch"),
        ({"dropout": 1.0}, "dropout"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"linear_ridge": 0.0}, "linear_ridge"),
    ],
)
def test_impossible_training_is_refused_by_name(changes, key):
    with pytest.raises(ValueError, match=key):
        DeepTrainSettings(**changes)
