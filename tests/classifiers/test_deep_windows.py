"""What the deep detector is trained on: balanced draws, and windows that a text is cut into alike in training and in use."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.deep_encoder import DeepSettings, average_windows, cut_windows
from classifiers.deep_windows import DrawSettings, cut_texts, draw_texts, draw_windows, fold_and_tokenize, rows_without
from classifiers.labelled_text import LabelledText
from tests.classifiers.detector_texts import written


class WordTokenizer:
    """Stands for a tokenizer of `tokenizers`: one token a word."""

    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        return type("Encoding", (), {"ids": [1000 + sum(word.encode()) for word in text.split()]})()


def labelled(is_machine, set_name="essays", seed=0, **fields):
    fields = {"group": f"{set_name}/{seed}", "generator": "m1" if is_machine else "human", "attack": "none", "domain": "d"} | fields
    return LabelledText(text=written(is_machine, seed), is_machine=is_machine, set_name=set_name, **fields)


READING = DeepSettings(window_tokens=20, max_windows=3, min_window_tokens=6)


@given(st.integers(0, 400), st.integers(8, 60), st.integers(1, 6), st.data())
def test_windows_touch_and_cover_the_beginning_of_a_text(num_tokens, size, most, data):
    shortest = data.draw(st.integers(1, size))
    windows = cut_windows(num_tokens, DeepSettings(window_tokens=size, max_windows=most, min_window_tokens=shortest))
    assert len(windows) <= most
    assert bool(windows) == (num_tokens > 0)
    assert [begin for begin, _ in windows] == [index * size for index in range(len(windows))]
    assert all(end - begin == size for begin, end in windows[:-1])
    for begin, end in windows[1:]:
        assert shortest <= end - begin <= size
    left = min(num_tokens, size * most) - (windows[-1][1] if windows else 0)
    assert left < shortest


@given(st.lists(st.lists(st.tuples(st.floats(-9, 9), st.integers(1, 126)), max_size=4), max_size=8))
def test_a_texts_score_is_the_mean_of_its_windows_by_length(texts):
    flat = [window for text in texts for window in text]
    scores, lengths = np.array([score for score, _ in flat]), np.array([length for _, length in flat])
    found = average_windows(scores, lengths, [len(text) for text in texts])
    wanted = [sum(score * length for score, length in text) / sum(length for _, length in text) if text else 0.0 for text in texts]
    assert found.shape == (len(texts),)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_both_labels_of_a_set_are_drawn_alike_though_one_is_rare():
    texts = [labelled(True, seed=seed) for seed in range(90)] + [labelled(False, seed=seed) for seed in range(10)]
    drawn = draw_texts(texts, DrawSettings(sequences=2_000))
    assert 0.45 < np.mean([texts[index].is_machine for index in drawn]) < 0.55


def test_a_set_weighs_as_the_root_of_its_size():
    texts = [labelled(seed % 2 == 0, "big", seed) for seed in range(400)] + [labelled(seed % 2 == 0, "small", seed) for seed in range(100)]
    names = Counter(texts[index].set_name for index in draw_texts(texts, DrawSettings(sequences=3_000)))
    assert 1.7 < names["big"] / names["small"] < 2.3


def test_sets_without_machine_text_get_their_share_in_equal_parts():
    texts = [labelled(seed % 2 == 0, "mixed", seed) for seed in range(40)]
    texts += [labelled(False, "films", seed) for seed in range(100)] + [labelled(False, "news", seed) for seed in range(5)]
    names = Counter(texts[index].set_name for index in draw_texts(texts, DrawSettings(sequences=2_000, human_set_share=0.2)))
    assert 0.15 < (names["films"] + names["news"]) / 2_000 < 0.25
    assert 0.7 < names["films"] / names["news"] < 1.4


def test_no_text_comes_twice_before_all_of_its_kind_came_once():
    texts = [labelled(seed % 2 == 0, seed=seed) for seed in range(60)]
    times = Counter(draw_texts(texts, DrawSettings(sequences=300)))
    for is_machine in (True, False):
        of_label = [times[index] for index, text in enumerate(texts) if text.is_machine == is_machine]
        assert max(of_label) - min(of_label) <= 1


def test_disguised_texts_come_up_less_often():
    texts = [labelled(True, seed=seed) for seed in range(50)] + [labelled(True, seed=seed, attack="typos") for seed in range(50, 100)]
    texts += [labelled(False, seed=seed) for seed in range(100, 150)]
    attacks = Counter(texts[index].attack for index in draw_texts(texts, DrawSettings(sequences=3_000)) if texts[index].is_machine)
    assert 1.6 < attacks["none"] / attacks["typos"] < 2.5


def test_the_seed_decides_the_draw():
    texts = [labelled(seed % 2 == 0, seed=seed) for seed in range(30)]
    assert draw_texts(texts, DrawSettings(sequences=50, seed=3)) == draw_texts(texts, DrawSettings(sequences=50, seed=3))
    assert draw_texts(texts, DrawSettings(sequences=50, seed=3)) != draw_texts(texts, DrawSettings(sequences=50, seed=4))


def test_text_of_one_label_cannot_be_drawn_from():
    with pytest.raises(ValueError, match="human and machine"):
        draw_texts([labelled(False)], DrawSettings(sequences=5))


def test_a_training_window_is_a_piece_of_its_text_between_the_marks():
    texts = [labelled(seed % 2 == 0, seed=seed) for seed in range(12)]
    drawn = draw_windows(texts, WordTokenizer(), DrawSettings(sequences=80, window_tokens=(8, 15)), READING)
    whole = fold_and_tokenize(texts, WordTokenizer(), READING)
    beginnings = 0
    for window, owner in zip(drawn.tokens, drawn.owners.tolist(), strict=True):
        assert (window[0], window[-1]) == (READING.first_token, READING.last_token)
        assert 8 <= len(window) - 2 <= 15
        piece, text = window[1:-1].tolist(), whole[owner]
        places = [start for start in range(len(text)) if text[start : start + len(piece)] == piece]
        assert places
        beginnings += places[0] == 0
    assert 15 < beginnings < 60


def test_a_text_shorter_than_a_window_is_taken_whole():
    short = [
        LabelledText("one two three", False, "s", "a", "human", "none", "d"),
        LabelledText("four five six seven", True, "s", "b", "m", "none", "d"),
    ]
    drawn = draw_windows(short, WordTokenizer(), DrawSettings(sequences=10, window_tokens=(8, 15)), READING)
    assert {len(window) - 2 for window in drawn.tokens} == {3, 4}


def test_testing_windows_are_those_that_the_detector_reads():
    texts = [labelled(True, seed=seed) for seed in range(3)]
    windows = cut_texts(texts, WordTokenizer(), READING)
    assert windows.owners.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    tokens = fold_and_tokenize(texts, WordTokenizer(), READING)
    assert [token for window in windows.tokens[:3] for token in window[1:-1].tolist()] == tokens[0][:60]


def test_leaving_a_set_out_leaves_out_what_shares_its_wording():
    left_out = [labelled(True, "a", 1), labelled(False, "a", 2)]
    copy = LabelledText(left_out[0].text + " and more of it .", False, "b", "b/copy", "human", "none", "d")
    texts = [*left_out, copy, labelled(True, "b", 3), labelled(False, "b", 4), labelled(False, "c", 2, group="a/2")]
    windows = draw_windows(texts, WordTokenizer(), DrawSettings(sequences=400), READING)
    kept = {int(windows.owners[row]) for row in rows_without(texts, windows, left_out, "a")}
    assert kept == {3, 4}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"sequences": 0}, "sequences"),
        ({"seed": -1}, "seed"),
        ({"beginning_share": 1.0}, "beginning_share"),
        ({"human_set_share": -0.1}, "human_set_share"),
        ({"attack_weight": 0.0}, "attack_weight"),
        ({"window_tokens": (90, 40)}, "window_tokens"),
        ({"window_tokens": (4, 40)}, "window_tokens"),
    ],
)
def test_impossible_draws_are_refused_by_name(changes, key):
    with pytest.raises(ValueError, match=key):
        DrawSettings(**changes)
