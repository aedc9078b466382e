"""KenLM's binaries give the numbers of the ARPA file that they were made from, by KenLM itself.

`pip install "headwater[kenlm]"` and a `build_binary` on the path, or named by HEADWATER_TEST_BUILD_BINARY, let all of it run.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings

from classifiers.arpa import ArpaModel
from classifiers.detectors import MissingExtra
from classifiers.kenlm_binary import MAGIC, KenlmModel, is_kenlm_binary
from classifiers.perplexity import PerplexityScorer
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS
from tests.classifiers.test_perplexity import make_arpa, sentences

BUILD_BINARY = os.environ.get("HEADWATER_TEST_BUILD_BINARY") or shutil.which("build_binary")
has_kenlm = importlib.util.find_spec("kenlm") is not None
needs_kenlm = pytest.mark.skipif(not has_kenlm, reason='KenLM is absent: pip install "headwater[kenlm]"')
needs_binaries = pytest.mark.skipif(not (has_kenlm and BUILD_BINARY), reason="KenLM or its build_binary is absent")


def make_closed_arpa(order):
    """`make_arpa` without n-grams whose last words are no n-gram themselves: KenLM builds no model of such."""
    kept, lines = {()}, [[] for _ in range(order)]
    for line in make_arpa(order).splitlines():
        fields = line.split("\t")
        gram = tuple(fields[1].split(" ")) if len(fields) > 1 else ()
        if gram and gram[1:] in kept and gram[:-1] in kept:
            kept.add(gram)
            lines[len(gram) - 1].append(line)
    counts = [f"ngram {n}={len(of_order)}" for n, of_order in enumerate(lines, 1)]
    sections = [line for n, of_order in enumerate(lines, 1) for line in (f"\\{n}-grams:", *of_order, "")]
    return "\n".join(["\\data\\", *counts, "", *sections, "\\end\\", ""])


def scores(model, *texts):
    batch = TextBatch.of(texts)
    return model.log10_and_tokens(batch.utf8, batch.offsets)


@pytest.fixture
def fake_kenlm(monkeypatch):
    """A package `kenlm` whose scores are minus the length of a line in bytes; files that say `broken` cannot be read."""

    class Model:
        order = 3

        def __init__(self, path):
            with open(path, "rb") as file:
                if b"broken" in file.read():
                    raise RuntimeError("Cannot read model")

        def score(self, line):
            return -float(len(line))

    module = types.ModuleType("kenlm")
    module.Model = Model
    monkeypatch.setitem(sys.modules, "kenlm", module)


def write_binary(folder, rest=b" 5\n\0"):
    path = folder / "model.bin"
    path.write_bytes(MAGIC + rest)
    return str(path)


def test_a_binary_is_known_by_its_first_bytes_whatever_its_name(tmp_path):
    assert is_kenlm_binary(write_binary(tmp_path))
    (tmp_path / "model.arpa").write_text(make_arpa(2))
    (tmp_path / "empty.bin").write_text("")
    assert not is_kenlm_binary(str(tmp_path / "model.arpa"))
    assert not is_kenlm_binary(str(tmp_path / "empty.bin"))
    with pytest.raises(OSError):
        is_kenlm_binary(str(tmp_path / "missing.bin"))


def test_without_kenlm_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'perplexity_model ngram:.*model\.bin needs kenlm: pip install "headwater\[kenlm\]"'):
        PerplexityScorer(f"ngram:{write_binary(tmp_path)}")


def test_each_line_with_a_word_is_asked_for_and_counts_its_end(tmp_path, fake_kenlm):
    model = KenlmModel(write_binary(tmp_path))
    assert scores(model, "ab c\n\n \t\nd", "", "é").tolist() == [[-5, 5], [0, 0], [-2, 2]]


def test_what_kenlm_cannot_read_is_an_error_that_names_the_file(tmp_path, fake_kenlm):
    with pytest.raises(ValueError, match=r"model\.bin: KenLM cannot read it: Cannot read model"):
        KenlmModel(write_binary(tmp_path, b" 5\n broken"))


def test_the_digest_tells_models_apart(tmp_path, fake_kenlm):
    (tmp_path / "other").mkdir()
    assert KenlmModel(write_binary(tmp_path)).digest != KenlmModel(write_binary(tmp_path / "other", b" 6\n\0")).digest


@needs_kenlm
@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_and_the_arpa_reader_agree_on_every_text(order, tmp_path):
    path = tmp_path / "model.arpa"
    path.write_text(make_closed_arpa(order), "utf-8")
    ours, theirs = ArpaModel(str(path)), KenlmModel(str(path))
    assert theirs.order == ours.order == order
    assert np.allclose(scores(ours, *HOSTILE_TEXTS), scores(theirs, *HOSTILE_TEXTS), rtol=1e-5, atol=1e-3)

    @given(sentences)
    @settings(max_examples=60)
    def holds(text):
        assert np.allclose(scores(ours, text), scores(theirs, text), atol=1e-4)

    holds()


@needs_binaries
@pytest.mark.parametrize("kind", ["probing", "trie"])
def test_a_binary_gives_the_numbers_of_its_arpa_file(kind, tmp_path):
    arpa, binary = tmp_path / "model.arpa", tmp_path / "model.bin"
    arpa.write_text(make_closed_arpa(3), "utf-8")
    subprocess.run([BUILD_BINARY, kind, arpa, binary], check=True, capture_output=True)
    texts = ["the river runs to the sea", "the river\n\nunheard the", *HOSTILE_TEXTS]
    expected = PerplexityScorer(f"ngram:{arpa}").score(TextBatch.of(texts))["perplexity"].to_pylist()
    found = PerplexityScorer(f"ngram:{binary}").score(TextBatch.of(texts))["perplexity"].to_pylist()
    assert [value is None for value in found] == [value is None for value in expected]
    assert [value or 0 for value in found] == pytest.approx([value or 0 for value in expected], rel=1e-4)
    folded = PerplexityScorer(f"ngram:{binary}#fold").score(TextBatch.of(["The RIVER runs"]))["perplexity"]
    assert folded.to_pylist() == pytest.approx(PerplexityScorer(f"ngram:{binary}").score(TextBatch.of(["the river runs"]))["perplexity"].to_pylist())
