"""Machine text of our own: prompts, batches, cuts and files, with a writer that needs no model; and with a tiny real one where torch is installed."""

import gzip
import importlib.util
from collections import Counter
from itertools import islice

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.__main__ import main
from classifiers.generate import (
    DECODINGS,
    LENGTHS,
    MIN_WORDS,
    Batch,
    GenerateSettings,
    generate,
    load_writer,
    plan_batches,
    record_of,
    trim,
    write_records,
)
from classifiers.generation_prompts import CHAT_KINDS, OPENINGS, SUBJECTS, Prompt, draw_prompts
from classifiers.labelled_text import LabelledText
from classifiers.train import GENERATED_SET, TrainSettings, piece_weights, read_corpus
from tests.classifiers.detector_texts import write_set

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra headwater[torch]")


class FakeWriter:
    """Answers at once: every text of a batch differs, unless `same`."""

    def __init__(self, same=False, words=80):
        self.same, self.words, self.asked = same, words, []

    def answers(self, batch):
        self.asked.append(batch)
        return [f"Text {0 if self.same else f'{batch.number} of {place}'} begins. " + "And so it goes on. " * (self.words // 5)
                for place in range(len(batch.prompts))]  # fmt: skip


def batch_of(*prompts, max_words=120):
    return Batch(0, tuple(prompts), "plain", max_words, 7)


def test_prompts_come_in_one_order_for_one_seed():
    first = list(islice(draw_prompts(3), 200))
    assert first == list(islice(draw_prompts(3), 200)) != list(islice(draw_prompts(4), 200))


def test_prompts_take_every_kind_and_every_subject():
    drawn = list(islice(draw_prompts(0), 12 * len(SUBJECTS)))
    assert {prompt.kind for prompt in drawn if prompt.is_chat} == set(CHAT_KINDS)
    assert {prompt.kind for prompt in drawn if not prompt.is_chat} == set(OPENINGS)
    assert all(sum(subject in prompt.text for prompt in drawn) >= 12 for subject in SUBJECTS)
    assert 0.7 < sum(prompt.is_chat for prompt in drawn) / len(drawn) < 0.8


def test_every_template_has_one_place_for_the_subject():
    for templates in (*CHAT_KINDS.values(), *OPENINGS.values()):
        assert all(template.count("{}") == 1 for template in templates)
    assert len(set(SUBJECTS)) == len(SUBJECTS)


def test_batches_go_through_every_decoding_at_every_length():
    planned = list(plan_batches(GenerateSettings(batches=20, batch_prompts=4)))
    pairs = Counter((batch.decoding, batch.max_words) for batch in planned)
    assert set(pairs) == {(decoding, length) for decoding in DECODINGS for length in LENGTHS} and set(pairs.values()) == {1}
    assert all(len({prompt.is_chat for prompt in batch.prompts}) == 1 for batch in planned)
    assert sum(not batch.prompts[0].is_chat for batch in planned) == 5


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 5), st.integers(0, 1000))
def test_a_long_run_begins_like_a_short_one(batches, more, batch_prompts, seed):
    short = list(plan_batches(GenerateSettings(batches, batch_prompts, seed)))
    long = list(plan_batches(GenerateSettings(batches + more, batch_prompts, seed)))
    assert long[:batches] == short and len(long) == batches + more
    assert len({batch.seed for batch in long}) == len(long)


@given(st.lists(st.sampled_from(["word", "end.", "why?", '"Yes!"', "3.5", "a,", "\n\n"]), max_size=150), st.integers(MIN_WORDS, 120))
def test_a_trimmed_text_is_a_beginning_of_whole_sentences(words, max_words):
    text = " ".join(words)
    kept = trim(text, max_words)
    if kept is None:
        return
    assert text.strip().startswith(kept) and MIN_WORDS <= len(kept.split()) <= max_words
    ends = ("end.", "why?", '"Yes!"')
    first = text.split()[:max_words]
    assert kept.split()[-1] in ends if any(word in ends for word in first) else kept.split() == first


def test_a_text_without_sentences_is_cut_at_the_word():
    assert trim("word " * 200, 90) == " ".join(["word"] * 90)


def test_a_text_whose_sentences_end_too_soon_is_left_out():
    assert trim("Short. " + "word " * 200, 90) is None
    assert trim("", 90) is None


def test_a_record_says_how_its_text_came_about():
    prompt = Prompt("review", "Write a review of night trains.", True)
    record = record_of(batch_of(prompt), 0, "model", FakeWriter().answers(batch_of(prompt))[0])
    assert record["label"] == "machine" and record["generator"] == "model" and record["domain"] == "review"
    assert record["decoding"] == "plain" and record["prompt"] == prompt.text and prompt.text not in record["text"]


def test_an_opening_stands_before_what_was_written_to_it():
    prompt = Prompt("story", "It was late when night trains", False)
    record = record_of(batch_of(prompt), 0, "model", "  came by, " + "and so it went. " * 30)
    assert record["text"].startswith("It was late when night trains came by, and so it went.")


def test_short_and_repeated_texts_are_left_out():
    settings = GenerateSettings(batches=3, batch_prompts=5)
    assert len(list(generate(FakeWriter(), "m", settings))) == 15
    assert len(list(generate(FakeWriter(same=True), "m", settings))) == 1
    assert not list(generate(FakeWriter(words=6), "m", settings))


def test_ids_are_unique_and_progress_is_told():
    told = []
    records = list(generate(FakeWriter(), "m", GenerateSettings(batches=4, batch_prompts=3), told.append))
    assert len({record["id"] for record in records}) == 12
    assert len(told) == 4 and told[-1].startswith("batch 4 of 4 (") and told[-1].endswith("12 texts")


def test_the_same_records_give_the_same_file(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        assert write_records(str(tmp_path / name), generate(FakeWriter(), "m", GenerateSettings(2, 3))) == 6
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    lines = gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).splitlines()
    assert [orjson.loads(line)["label"] for line in lines] == ["machine"] * 6


def test_a_run_that_fails_leaves_no_file(tmp_path):
    def broken():
        yield {"text": "one"}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_records(str(tmp_path / "out.jsonl.gz"), broken())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("key", "wrong"), [("batches", 0), ("batch_prompts", 0), ("seed", -1)])
def test_wrong_settings_name_the_key_and_what_is_allowed(key, wrong):
    with pytest.raises(ValueError, match=f"{key} must be at least [01], not {wrong}"):
        GenerateSettings(**{key: wrong})


def test_training_takes_the_texts_beside_the_sets(tmp_path):
    write_set(tmp_path, "l2r21", range(0, 40))
    path = str(tmp_path / "own.jsonl.gz")
    count = write_records(path, generate(FakeWriter(), "m", GenerateSettings(2, 10)))
    without, with_own = (read_corpus(str(tmp_path), TrainSettings(), ("l2r21",), generated) for generated in ("", path))
    own = [text for text in with_own.texts if text.set_name == GENERATED_SET]
    assert len(own) == count == len(with_own.texts) - len(without.texts)
    assert all(text.is_machine and text.attack == "none" and text.generator == "m" for text in own)


def test_texts_of_our_own_have_a_weight_of_their_own():
    def texts(name, machine, count):
        return [LabelledText("x", machine, name, f"{name}{machine}{n}", "g", "none", "") for n in range(count)]

    settings = TrainSettings(human_set_weight=0.1, generated_weight=0.4, size_power=1.0)
    own, mixed = texts(GENERATED_SET, True, 50), texts("l2r21", True, 50) + texts("l2r21", False, 50)
    weights = piece_weights(own + mixed, np.arange(150), settings)
    assert weights[:50].sum() == pytest.approx(0.4 * weights[50:100].sum(), rel=1e-5)
    assert weights[:100].sum() == pytest.approx(weights[100:].sum(), rel=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_error_gives_the_install_line(tmp_path, capsys):
    assert main(["generate", "--model", "x", "--output", str(tmp_path / "out.jsonl.gz")]) == 2
    assert 'pip install "headwater[torch]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_torch
def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.gguf"):
        load_writer(str(tmp_path / "none.gguf"))


def save_writer(folder, template="{% for message in messages %}{{ message['content'] }} {% endfor %}"):
    """A language model of random weights whose tokenizer has a chat template; returns its path."""
    from tests.classifiers.test_torch_tiers import save_lm

    path = save_lm(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_bytes(orjson.dumps(orjson.loads(settings.read_bytes()) | ({"chat_template": template} if template else {})))
    return path


@needs_torch
@pytest.mark.parametrize("decoding", DECODINGS)
def test_a_batch_gets_the_same_answers_whatever_was_asked_before(tmp_path, decoding):
    prompts = (Prompt("review", "the river runs to sea", True), Prompt("story", "a long way so we went home by night", True))
    batch = Batch(3, prompts, decoding, 50, 11)
    writer = load_writer(save_writer(tmp_path))
    first = writer.answers(batch)
    writer.answers(Batch(4, prompts, "hot", 50, 12))
    assert writer.answers(batch) == first and len(first) == 2
    assert all(len(answer.split()) >= MIN_WORDS for answer in first)
    if DECODINGS[decoding]["do_sample"]:
        assert writer.answers(Batch(3, prompts, decoding, 50, 12)) != first


@needs_torch
def test_the_command_writes_the_file_and_the_same_one_again(tmp_path, capsys):
    model = save_writer(tmp_path)
    options = ["--model", model, "--batches", "2", "--batch_prompts", "3", "--generator", "tiny"]
    for name in ("a", "b"):
        assert main(["generate", *options, "--output", str(tmp_path / name / "own.jsonl.gz")]) == 0
    content = (tmp_path / "a" / "own.jsonl.gz").read_bytes()
    assert content == (tmp_path / "b" / "own.jsonl.gz").read_bytes()
    records = [orjson.loads(line) for line in gzip.decompress(content).splitlines()]
    assert records and all(record["generator"] == "tiny" and len(record["text"].split()) >= MIN_WORDS for record in records)
    assert f"wrote {len(records)} texts" in capsys.readouterr().out


@needs_torch
def test_a_model_without_a_chat_template_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without a chat template cannot be asked"):
        load_writer(save_writer(tmp_path, template=""))
