"""The shipped detector: a score or an abstention for anything, the same in any batch."""

import pydoc_data.topics
import re
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.ai_detector import AiDetectorScorer, probability_of
from classifiers.calibration import judge, load_calibration
from classifiers.fast_model import MIN_WORDS, FastModel, load_model
from classifiers.fasttext_member import FastTextSettings, train_fasttext
from classifiers.hashed_ngrams import NgramSettings, fold_line
from classifiers.text_batch import TextBatch

MACHINE = (
    "In conclusion, effective time management plays a crucial role in achieving both personal and professional success. By setting clear goals, "
    "prioritizing tasks, and maintaining a healthy work-life balance, individuals can enhance their productivity and overall well-being. Furthermore, "
    "it is important to note that cultivating good habits fosters resilience and creativity. Additionally, leveraging technology can provide valuable "
    "insights into how we spend our time, empowering us to make informed decisions. Ultimately, by embracing these strategies, we can navigate the "
    "complexities of modern life and unlock our full potential, creating a more fulfilling and meaningful future for ourselves and our communities."
)
HUMAN = (
    "Went down to the allotment Sunday, Dad had the shed door off again. He reckons the hinge was cheap rubbish from that place by the ring road, and "
    "I wasn't going to argue - he'd already had words with my brother about the hose. We dug up maybe two rows of potatoes, half of them had been got "
    "at by slugs. Still, it was dry for once. Old Pete came over with a flask and told the same story about the fox, the one where it sits in his chair, "
    "and we all laughed in the right places. I got home about six, back killing me, and fell asleep in front of the snooker with my boots on."
)


@pytest.fixture(scope="module")
def scorer():
    return AiDetectorScorer()


def documentation_texts():
    """Human prose of the interpreter's own documentation, long enough to judge."""
    texts = [re.sub(r"\s+", " ", topic) for topic in pydoc_data.topics.topics.values()]
    return [text[:3_000] for text in texts if len(text.split()) >= 80]


def test_plain_examples_fall_on_their_sides(scorer):
    machine, human = scorer.score(TextBatch.of([MACHINE, HUMAN]))["ai_probability"].to_pylist()
    assert machine > 0.9 and human < 0.5


def test_the_shipped_thresholds_flag_the_plain_example_and_no_more_than_a_little_documentation(scorer):
    thresholds = load_calibration().thresholds(0.01)
    texts = [MACHINE, HUMAN, *documentation_texts()]
    batch = TextBatch.of(texts)
    probability = scorer.score(batch)["ai_probability"].to_numpy(zero_copy_only=False).astype(np.float32)
    flagged, judged = judge(probability, batch.words.counts, thresholds)
    assert flagged[0] and judged[1] and not flagged[1]
    assert judged.sum() >= 30
    assert flagged[1:].mean() <= 0.05


@pytest.mark.parametrize("change", [str.upper, lambda text: text.replace(" ", "\n"),
                                    lambda text: "Sure, here is a paragraph:\n\n" + text,
                                    lambda text: "**" + text.replace(", ", " , ") + "**",
                                    lambda text: text.replace("-", "\u2013").replace("'", "\u2019")])  # fmt: skip
def test_marks_of_storage_do_not_change_the_score(scorer, change):
    for text in (MACHINE, HUMAN):
        plain, marked = scorer.score(TextBatch.of([text, change(text)]))["ai_probability"].to_pylist()
        assert plain == marked


def test_fields_are_as_declared_and_null_means_abstained(scorer):
    columns = scorer.score(TextBatch.of([MACHINE, "Too short.", ""]))
    assert pa.schema([(name, column.type) for name, column in columns.items()]) == scorer.fields
    assert columns["ai_abstained"].to_pylist() == [False, True, True]
    assert columns["ai_probability"].is_null().to_pylist() == [False, True, True]


def test_short_text_is_never_scored(scorer):
    words = MACHINE.split()
    batch = TextBatch.of([" ".join(words[:n]) for n in range(0, len(words), 3)])
    abstained = scorer.score(batch)["ai_abstained"].to_numpy(zero_copy_only=False)
    assert (abstained[batch.words.counts < MIN_WORDS]).all() and not abstained[batch.words.counts >= MIN_WORDS].any()


@pytest.mark.parametrize(
    "text",
    [
        "Chaque fleuve commence par une source et grandit en chemin avec les ruisseaux qui le rejoignent. " * 8,
        "Каждая река начинается с родника и растёт, когда по дороге в неё впадают ручьи. " * 8,
        "每一条河流都从一处泉水开始，在流向大海的路上汇入其他溪流而逐渐变大。" * 8,
        "def area(width, height):\n    return width * height\n" * 20,
        "QUJDREVGRw== " * 200,
        "alpha; beta; gamma; delta; 12; 14; 16; " * 20,
        "שלום עולם " * 100,
    ],
)
def test_other_languages_code_and_tables_are_not_judged(scorer, text):
    assert scorer.score(TextBatch.of([text]))["ai_abstained"].to_pylist() == [True]


HOSTILE = ["", "\0" * 1_000, "a" * 1_000_000, " " * 1_000_000, "\n" * 100_000, "😀" * 50_000, "<a" * 50_000, "http" * 50_000, "." * 100_000,
           "the " * 200_000, "\u202e" * 10_000 + MACHINE, "' " * 50_000, "Sure, here is " * 20_000]  # fmt: skip


def test_hostile_texts_get_a_score_or_an_abstention_in_bounded_time(scorer):
    scorer.score(TextBatch.of(HOSTILE[:2]))
    started = time.process_time()
    columns = scorer.score(TextBatch.of(HOSTILE))
    assert time.process_time() - started < 20  # a quadratic pass over a megabyte would take hours
    for probability, abstained in zip(*(columns[name].to_pylist() for name in ("ai_probability", "ai_abstained")), strict=True):
        assert (probability is None) == abstained
        assert abstained or 0 <= probability <= 1


@settings(max_examples=50)
@given(st.lists(st.sampled_from([MACHINE, HUMAN, "", "short", *HOSTILE[5:7]]), min_size=1, max_size=6), st.integers(0, 3))
def test_a_score_depends_neither_on_the_batch_nor_on_a_slice(texts, skipped):
    scorer = AiDetectorScorer()
    alone = [scorer.score(TextBatch.of([text]))["ai_probability"].to_pylist()[0] for text in texts]
    padded = pa.array(["padding "] * skipped + texts + ["end"], pa.string()).slice(skipped, len(texts))
    assert scorer.score(TextBatch(padded))["ai_probability"].to_pylist() == alone


def test_unknown_kinds_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown 'slow'; known: fast, deep, cascade, hf:PATH_OR_NAME, lm:PATH_OR_NAME"):
        AiDetectorScorer("slow")


def test_no_texts_give_no_rows(scorer):
    assert [len(column) for column in scorer.score(TextBatch.of([])).values()] == [0, 0]


@pytest.fixture(scope="module")
def half():
    """A tiny fastText model."""
    lines = [(is_machine, " ".join((("it is important", "so we went")[not is_machine], "river stone"))) for is_machine in (True, False)] * 20
    return train_fasttext(lines, FastTextSettings(dim=2, bits=8, min_count=1, draws=1), 0)


def small_model(factor=1.0, fasttext=None):
    weights = np.arange(-128, 128).astype(np.int8)
    return FastModel(
        NgramSettings(1, 0, 8, 64), weights, np.array([1, 2], np.uint64), np.array([0.0, factor, 0.0, 0.5 if fasttext else 0.0]), fasttext
    )


def test_a_model_survives_its_files_and_the_same_model_gives_the_same_bytes(tmp_path, half):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    small_model(fasttext=half).save(str(first))
    load_model(str(first)).save(str(second))
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes() == half.content
    assert load_model(str(first)).digest == small_model(fasttext=half).digest
    assert len({small_model(fasttext=half).digest, small_model().digest, small_model(2.0).digest}) == 3


def test_the_halves_are_added_with_their_factors(half):
    texts = ["It is important: stone.", "So we went", "", "river \n" * 90]
    batch = TextBatch.of(texts)
    alone, _ = small_model().log_odds(batch)
    both, _ = small_model(fasttext=half).log_odds(batch)
    lines = [fold_line(text, 64) + "\n" for text in texts]
    assert both.tolist() == (alone + 0.5 * half.log_odds(lines)).tolist()


def test_the_shipped_detector_is_both_halves_within_8_megabytes(scorer):
    model = scorer.detector
    assert model.fasttext is not None and model.scale[3] > 0 and model.scale[1] > 0
    assert len(model.fasttext.content) + model.weights.nbytes <= 8 << 20
    lines = [fold_line(text, model.settings.max_words) + "\n" for text in (MACHINE, HUMAN)]
    machine, human = model.fasttext.log_odds(lines)
    assert machine > human


def test_a_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "no.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.npz: not a detector's weights"):
        load_model(str(path))


def test_a_fasttext_half_that_is_missing_or_another_is_refused(tmp_path, half):
    path = tmp_path / "a.npz"
    small_model(fasttext=half).save(str(path))
    (tmp_path / "a.bin").write_bytes(half.content[:-1])
    with pytest.raises(ValueError, match=r"a\.bin is not the fastText model that was trained with it"):
        load_model(str(path))
    (tmp_path / "a.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.bin"):
        load_model(str(path))


def test_impossible_weights_are_refused(half):
    with pytest.raises(ValueError, match="int8"):
        FastModel(NgramSettings(1, 0, 8, 64), np.zeros(3, np.int8), np.empty(0, np.uint64), np.array([0.0, 1.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="not negative"):
        small_model(-1.0)
    with pytest.raises(ValueError, match="its factor must be 0"):
        FastModel(NgramSettings(1, 0, 8, 64), np.zeros(256, np.int8), np.empty(0, np.uint64), np.array([0.0, 1.0, 1.0, 1.0]))


def test_probability_rises_with_the_odds_and_stays_inside():
    odds = np.linspace(-40, 40, 4_001)
    probability = probability_of(odds)
    assert (np.diff(probability) >= 0).all() and probability[0] > 0 and probability[-1] < 1 and probability[2_000] == 0.5
