"""Perplexity from n-gram models in the ARPA format, against a slow reading of the same file; and from a causal model where torch is installed."""

import gzip
import importlib.util
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.arpa import ArpaModel
from classifiers.detectors import MissingExtra
from classifiers.perplexity import MAX_PERPLEXITY, PerplexityScorer
from classifiers.scorers import ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS

WORDS = "the river runs to sea".split()


def make_arpa(order: int = 3, seed: int = 0, words: list[str] = WORDS) -> str:
    """A model of random probabilities over `words`: every unigram, and some of the longer n-grams whose beginnings are there."""
    chance = np.random.default_rng(seed)
    grams: list[list[tuple[str, ...]]] = [[("<unk>",), ("<s>",), ("</s>",), *((word,) for word in words)]]
    for _ in range(order - 1):
        ends = [*words, "</s>"]
        longer = [(*gram, word) for gram in grams[-1] if gram[-1] not in ("</s>", "<unk>") for word in ends]
        grams.append([gram for gram in longer if chance.random() < 0.5])
    lines = ["\\data\\", *(f"ngram {n}={len(some)}" for n, some in enumerate(grams, 1)), ""]
    for n, some in enumerate(grams, 1):
        lines.append(f"\\{n}-grams:")
        for gram in some:
            back_off = f"\t{-chance.random():.6f}" if n < order and gram[-1] != "</s>" else ""
            lines.append(f"{-3 * chance.random():.6f}\t{' '.join(gram)}{back_off}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


def plain_score(arpa: str, text: str) -> tuple[float, int]:
    """Sum of log10 probabilities and number of tokens, by dictionaries."""
    grams: dict[tuple[str, ...], tuple[float, float]] = {}
    for line in arpa.splitlines():
        fields = line.split("\t")
        if len(fields) > 1:
            grams[tuple(fields[1].split(" "))] = (float(fields[0]), float(fields[2]) if len(fields) > 2 else 0.0)
    order = max(map(len, grams))
    total, count = 0.0, 0
    for line in text.split("\n"):
        words = [word.decode() for word in line.encode().split()]
        if not words:
            continue
        history = ["<s>"]
        for word in [*words, "</s>"]:
            word = word if (word,) in grams else "<unk>"
            context, penalty = history[-(order - 1) :] if order > 1 else [], 0.0
            while (*context, word) not in grams:
                penalty += grams.get(tuple(context), (0.0, 0.0))[1]
                context = context[1:]
            total += grams[(*context, word)][0] + penalty
            count += 1
            history.append(word)
    return total, count


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arpa")
    for order in (1, 2, 3, 5):
        (folder / f"{order}.arpa").write_text(make_arpa(order), "utf-8")
    return folder


def perplexity_of(spec: str, *texts: str) -> list[float | None]:
    return PerplexityScorer(spec).score(TextBatch.of(texts))["perplexity"].to_pylist()


# n-gram models

sentences = st.lists(st.sampled_from([*WORDS, "unheard", "</s>", "<s>", "\n", "\t", "  "]), max_size=25).map(" ".join)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_scores_are_those_of_the_plain_reading(order, folder):
    model, arpa = ArpaModel(str(folder / f"{order}.arpa")), make_arpa(order)

    @given(st.lists(sentences, max_size=4))
    @settings(max_examples=60)
    def holds(texts):
        batch = TextBatch.of(texts)
        for text, (total, count) in zip(texts, model.log10_and_tokens(batch.utf8, batch.offsets), strict=True):
            expected, tokens = plain_score(arpa, text)
            assert count == tokens and total == pytest.approx(expected, abs=1e-4)

    holds()


def test_perplexity_is_that_of_kenlm_one_sentence_worked_out_by_hand(tmp_path):
    (tmp_path / "m.arpa").write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-2\t<unk>\n-99\t<s>\t-0.5\n-1\t</s>\n-0.7\ta\t-0.3\n\n\\2-grams:\n-0.2\t<s> a\n-0.4\ta </s>\n\n\\end\\\n"
    )
    spec = f"ngram:{tmp_path}/m.arpa"
    (known,) = perplexity_of(spec, "a")
    assert known == pytest.approx(10 ** ((0.2 + 0.4) / 2), rel=1e-5)
    (unknown,) = perplexity_of(spec, "a b")
    assert unknown == pytest.approx(10 ** ((0.2 + (0.3 + 2) + 1) / 3), rel=1e-5)


def test_expected_text_has_the_lower_perplexity_and_a_text_without_words_none(folder):
    spec = f"ngram:{folder}/3.arpa"
    known, unknown, empty, blank = perplexity_of(spec, "the river runs to the sea", "colourless green ideas sleep", "", " \n\t\n ")
    assert known >= 1 and unknown >= 1 and empty is None and blank is None


def test_every_line_is_a_sentence_of_its_own(folder):
    spec = f"ngram:{folder}/3.arpa"
    assert perplexity_of(spec, "the river\nthe river") == pytest.approx(perplexity_of(spec, "the river"))
    assert perplexity_of(spec, "the river\n\n \n") == pytest.approx(perplexity_of(spec, "the river"))


def test_folded_text_is_read_as_a_model_of_folded_text_expects(folder):
    folded, raw = f"ngram:{folder}/3.arpa#fold", f"ngram:{folder}/3.arpa"
    assert perplexity_of(folded, "The RIVER runs") == perplexity_of(raw, "the river runs")
    assert perplexity_of(raw, "The RIVER runs") != perplexity_of(raw, "the river runs")
    assert PerplexityScorer(folded).version != PerplexityScorer(raw).version


def test_a_text_has_the_same_number_in_any_batch_and_hostile_ones_have_one(folder):
    spec = f"ngram:{folder}/2.arpa"
    together = perplexity_of(spec, *HOSTILE_TEXTS)
    assert together == [perplexity_of(spec, text)[0] for text in HOSTILE_TEXTS]
    assert all(value is None or 1 <= value <= MAX_PERPLEXITY * 1.01 for value in together)


def test_a_compressed_model_is_the_same_model(folder, tmp_path):
    with gzip.open(tmp_path / "3.arpa.gz", "wt") as file:
        file.write(make_arpa(3))
    assert PerplexityScorer(f"ngram:{tmp_path}/3.arpa.gz").version == PerplexityScorer(f"ngram:{folder}/3.arpa").version


@pytest.mark.parametrize("number", ["-1.5", "-1.5e0", "-15E-1", "-.15e+1", "-1.50000"])
def test_numbers_may_be_written_in_any_way(number, tmp_path):
    (tmp_path / "m.arpa").write_text(f"\\data\\\nngram 1=3\n\n\\1-grams:\r\n-1\t<unk>\r\n-99\t<s>\t0\r\n{number}\t</s>\r\n\n\\end\\\n")
    assert perplexity_of(f"ngram:{tmp_path}/m.arpa", "x") == pytest.approx([10**1.25], rel=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not an ARPA file"),
        ("no model at all", "not an ARPA file"),
        (make_arpa(2).replace("\\end\\", ""), "is it cut off"),
        (make_arpa(2).replace("ngram 1=8", "ngram 1=9"), "holds 8 1-grams and announces 9"),
        (make_arpa(2).replace("ngram 2=", "ngram 3="), "orders"),
        (make_arpa(1).replace("\triver", "\t"), "not a line of the 1-grams"),
        (make_arpa(1).replace("<unk>", "unknown"), "lacks <unk>"),
        (make_arpa(2).replace("\\2-grams:", "\\4-grams:"), "lacks the 2-grams"),
    ],
)
def test_a_file_that_is_no_model_says_what_is_wrong(content, message, tmp_path):
    (tmp_path / "m.arpa").write_text(content)
    with pytest.raises(ValueError, match=message):
        ArpaModel(str(tmp_path / "m.arpa"))


def test_a_cut_off_compressed_file_is_an_error(tmp_path):
    whole = gzip.compress(make_arpa(3).encode())
    (tmp_path / "m.arpa.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="broken compressed file"):
        ArpaModel(str(tmp_path / "m.arpa.gz"))


# In a run's settings


@pytest.mark.parametrize("spec", ["kenlm:x", "ngram:", "ngram", "lm:", "ngram:x#lower", "lm:x#fold", "x.arpa"])
def test_a_bad_name_is_an_error_that_lists_what_there_is(spec):
    with pytest.raises(ValueError, match="must be ngram:PATH, ngram:PATH#fold or lm:PATH_OR_NAME"):
        ScoreSettings(perplexity_model=spec)


def test_a_model_named_in_the_settings_makes_the_column(folder):
    chosen = ScoreSettings(scorers=("size",), perplexity_model=f"ngram:{folder}/3.arpa")
    assert score_fields(chosen).names[-1] == "perplexity"
    scorers = make_scorers(chosen)
    assert scorers[-1].version.startswith("ngram-")
    assert score(scorers, TextBatch.of(["the sea", ""]))["perplexity"].null_count == 1


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_error_says_what_to_install():
    with pytest.raises(MissingExtra, match=r'perplexity_model lm:x needs torch.*pip install "headwater\[torch\]"'):
        PerplexityScorer("lm:x")


# lm:


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra headwater[torch]")
def test_perplexity_under_a_causal_model_is_that_of_its_own_loss(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.classifiers.test_torch_tiers import TEXTS, save_lm

    path = save_lm(tmp_path)
    column = perplexity_of(f"lm:{path}", *TEXTS, "", "river")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    for text, value in zip(TEXTS, column, strict=False):
        ids = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            assert value == pytest.approx(math.exp(float(model(ids, labels=ids).loss)), rel=1e-3)
    assert column[-2:] == [None, None]
    assert [perplexity_of(f"lm:{path}", text)[0] for text in TEXTS] == column[: len(TEXTS)]
