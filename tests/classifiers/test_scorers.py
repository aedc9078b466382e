import concurrent.futures
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.pretokens import PRETOKENS
from classifiers.scorers import SCORER_NAMES, ScoreSettings, make_scorers, score, score_fields, warm_up
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts, make_prose

KERNELS = (
    "size", "gopher_quality", "gopher_repetition", "c4", "fineweb", "synthetic_faults", "personal_data", "quality", "content_hash", "signature",
)  # fmt: skip
"""Scorers without a model."""
SETTINGS = ScoreSettings(scorers=KERNELS)


def table_of(texts: pa.StringArray) -> pa.Table:
    return pa.table(score(make_scorers(SETTINGS), TextBatch(texts)))


@settings(max_examples=60)
@given(st.lists(any_texts, min_size=1, max_size=6), st.data())
def test_scores_do_not_depend_on_the_rest_of_the_batch(texts, data):
    array = pa.array(texts, pa.string())
    whole = table_of(array)
    begin = data.draw(st.integers(0, len(texts)))
    length = data.draw(st.integers(0, len(texts)))
    assert table_of(array.slice(begin, length)).equals(whole.slice(begin, length))
    assert pa.concat_tables([table_of(array.slice(row, 1)) for row in range(len(texts))]).combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize("name", SCORER_NAMES)
def test_every_scorer_makes_the_columns_it_announces(name):
    chosen = ScoreSettings(scorers=(name,), bands=3, rows_per_band=5)
    columns = score(make_scorers(chosen), TextBatch.of(["Some text.", "", make_prose(1)]))
    assert [(column, array.type) for column, array in columns.items()] == [(field.name, field.type) for field in score_fields(chosen)]
    assert all(len(array) == 3 for array in columns.values())


@pytest.mark.parametrize("name", SCORER_NAMES)
def test_every_scorer_takes_hostile_texts_alone_or_together(name):
    scorers = make_scorers(ScoreSettings(scorers=(name,)))
    together = pa.table(score(scorers, TextBatch.of(HOSTILE_TEXTS)))
    alone = pa.concat_tables([pa.table(score(scorers, TextBatch.of([text]))) for text in HOSTILE_TEXTS])
    assert together.equals(alone.combine_chunks())


def test_scorers_are_made_in_the_order_asked_for():
    chosen = ScoreSettings(scorers=("signature", "size"))
    assert [scorer.name for scorer in make_scorers(chosen)] == ["signature", "size"]
    assert score_fields(chosen).names == ["signature", "bands", "words", "tokens", "bytes"]


def test_no_two_scorers_make_the_same_column():
    names = score_fields(ScoreSettings()).names
    assert len(set(names)) == len(names)


def test_every_scorer_has_a_name_a_version_and_fields():
    for scorer, name in zip(make_scorers(SETTINGS), KERNELS, strict=True):
        assert scorer.name == name
        assert scorer.version and isinstance(scorer.version, str)
        assert isinstance(scorer.fields, pa.Schema)


def test_whose_words_are_counted_reaches_every_scorer_that_counts_them():
    counting = ("size", "gopher_quality", "gopher_repetition", "c4", "fineweb")
    for scorer in make_scorers(ScoreSettings(scorers=counting, words="datatrove")):
        assert "datatrove-words" in scorer.version and "headwater-words" not in scorer.version
    with pytest.raises(ValueError, match="words must be one of headwater, datatrove"):
        ScoreSettings(words="spacy")


def test_settings_reach_the_scorers():
    scorers = make_scorers(ScoreSettings(scorers=("signature", "size"), bands=2, rows_per_band=3, shingle_words=4, signature_seed=9))
    assert "2x3" in scorers[0].version and "4-grams" in scorers[0].version and "seed 9" in scorers[0].version
    assert PRETOKENS in scorers[1].version


def test_unknown_scorer_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown 'perplexity'.*size, gopher_quality.*signature"):
        ScoreSettings(scorers=("size", "perplexity"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scorers": ()}, "at least one"),
        ({"scorers": ("size", "size")}, "each once"),
        ({"bands": 0}, "bands must be a whole number from 1"),
        ({"bands": True}, "bands"),
        ({"rows_per_band": 2.5}, "rows_per_band"),
        ({"bands": 1000, "rows_per_band": 10}, "at most 4096"),
        ({"shingle_words": 65}, "shingle_words"),
        ({"signature_seed": -1}, "signature_seed"),
        ({"tokenizer": ""}, "tokenizer"),
        ({"ai_detector": None}, "ai_detector"),
    ],
)
def test_bad_settings_are_refused_by_name(changed, message):
    with pytest.raises(ValueError, match=message):
        ScoreSettings(**changed)


def test_settings_accept_a_list_of_names_and_stay_hashable():
    assert ScoreSettings(scorers=["size"]) == ScoreSettings(scorers=("size",))
    assert hash(ScoreSettings()) == hash(ScoreSettings(scorers=list(SCORER_NAMES)))


def test_scorers_score_the_same_from_many_threads():
    scorers = make_scorers(SETTINGS)
    batches = [pa.array([make_prose(seed + row, 120) for row in range(40)]) for seed in range(0, 320, 40)]
    expected = [table_of(batch) for batch in batches]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        scored = list(threads.map(lambda batch: pa.table(score(scorers, TextBatch(batch))), batches * 3))
    assert all(one.equals(other) for one, other in zip(scored, expected * 3, strict=True))


def test_hostile_texts_are_all_scored():
    table = table_of(pa.array([*HOSTILE_TEXTS, "word" * 2_500_000]))
    assert table.num_rows == len(HOSTILE_TEXTS) + 1
    assert all(table[name].null_count == 0 for name in table.column_names if name not in ("signature", "bands", "mean_word_chars"))


def test_warm_up_leaves_nothing_to_compile():
    warm_up(SETTINGS)
    from classifiers import gopher_quality, gopher_repetition, signature, words

    kernels = (words._split, gopher_quality._count, gopher_repetition._measure, signature._minhash)
    compiled = [len(kernel.signatures) for kernel in kernels]
    table_of(pa.array(["Some more text.", *HOSTILE_TEXTS]).slice(1))
    assert [len(kernel.signatures) for kernel in kernels] == compiled and min(compiled) > 0


def test_importing_scorers_imports_neither_beam_nor_models():
    code = "import sys, classifiers.scorers; print([m for m in ('apache_beam', 'fasttext', 'transformers', 'tokenizers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
