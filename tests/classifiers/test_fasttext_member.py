"""The fastText half: the same model from the same lines, and a text's number is its own."""

import functools
from pathlib import Path

import fasttext
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fasttext_member import HUMAN_LABEL, MACHINE_LABEL, FastTextMember, FastTextSettings, collapse, train_fasttext
from tests.classifiers.detector_texts import written

SMALL = FastTextSettings(dim=2, word_ngrams=2, bits=10, min_count=1, learning_rate=0.5, draws=1)
LINES = [(n % 2 == 1, written(n % 2 == 1, n).lower().replace(".", " .")) for n in range(200)] * 3


@functools.cache
def trained():
    return train_fasttext(LINES, SMALL, 0)


@pytest.fixture
def member():
    return trained()


def test_the_same_lines_and_seed_give_the_same_bytes_and_another_seed_does_not(member):
    assert train_fasttext(iter(LINES), SMALL, 0).content == member.content
    assert train_fasttext(LINES, SMALL, 1).digest != member.digest


def test_the_file_is_fasttexts_own(member, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(member.content)
    model = fasttext.load_model(str(path))
    assert model.get_dimension() == 1
    odds = FastTextMember(str(path)).log_odds([line + "\n" for _, line in LINES[:20]])
    assert odds.tolist() == member.log_odds([line + "\n" for _, line in LINES[:20]]).tolist()
    assert (odds[1::2] > 0).all() and (odds[::2] < 0).all()


@settings(max_examples=50)
@given(st.lists(st.sampled_from([line for _, line in LINES[:30]] + ["", "zzz", "0 0 0", "word " * 400]), min_size=1, max_size=8))
def test_a_line_has_the_same_number_in_any_company(lines):
    member = trained()
    lines = [line.strip() + "\n" for line in lines]
    together = member.log_odds(lines)
    assert together.dtype == np.float64 and np.isfinite(together).all()
    assert together.tolist() == [member.log_odds([line])[0] for line in lines]


def test_collapsing_leaves_the_odds_as_they_were_and_takes_no_other_file(tmp_path):
    path, small = str(tmp_path / "model.bin"), str(tmp_path / "small.bin")
    (tmp_path / "lines").write_text("".join(f"{(HUMAN_LABEL, MACHINE_LABEL)[is_machine]} {line}\n" for is_machine, line in LINES))
    model = fasttext.train_supervised(str(tmp_path / "lines"), dim=5, wordNgrams=2, bucket=1_024, epoch=1, thread=1, seed=0, verbose=0)
    model.save_model(path)
    content, matrices = Path(path).read_bytes(), (model.get_input_matrix(), model.get_output_matrix())
    Path(small).write_bytes(collapse(content, *matrices))
    lines = [line + "\n" for _, line in LINES[:50]] + ["\n", "unknown words\n"]
    np.testing.assert_allclose(FastTextMember(small).log_odds(lines), FastTextMember(path).log_odds(lines), rtol=1e-3, atol=1e-3)
    assert len(Path(small).read_bytes()) < len(content) / 2
    for wrong in (content[:-1], content + b"\0", b"\0" * len(content)):
        with pytest.raises(ValueError, match="not the file of a fastText model"):
            collapse(wrong, *matrices)


def test_no_lines_give_no_numbers(member):
    assert member.log_odds([]).shape == (0,)


def test_files_that_are_no_detector_are_named(tmp_path):
    path = tmp_path / "no.bin"
    path.write_bytes(b"nothing at all")
    with pytest.raises(ValueError, match=r"no\.bin: not a fastText model"):
        FastTextMember(str(path))
    (tmp_path / "lines").write_text("__label__cat meow meow\n__label__dog woof woof\n" * 5)
    fasttext.train_supervised(str(tmp_path / "lines"), dim=2, bucket=16, epoch=1, thread=1, verbose=0).save_model(str(path))
    with pytest.raises(ValueError, match=r"no\.bin: a fastText model of the labels \['__label__cat'"):
        FastTextMember(str(path))


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"word_ngrams": 9}, {"bits": 40}, {"min_count": 0}, {"learning_rate": 0}, {"draws": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FastTextSettings(**wrong)
