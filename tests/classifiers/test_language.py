"""Language identification: right on plain prose, silent about what is no language, never an exception."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.language import PREFIX_BYTES, UNDETERMINED, LanguageScorer, cut_at_character, detect_language
from classifiers.text_batch import TextBatch

PROSE = {
    "en": "Every river begins as a spring and grows as other streams join it on the way down to the sea.",
    "fr": "Chaque fleuve commence par une source et grandit en chemin, rejoint par d'autres ruisseaux, jusqu'à la mer.",
    "de": "Jeder Fluss beginnt als Quelle und wächst, wenn sich andere Bäche auf dem Weg zum Meer mit ihm vereinen.",
    "es": "Cada río comienza como un manantial y crece cuando otros arroyos se le unen en su camino hacia el mar.",
    "ru": "Каждая река начинается с родника и растёт, когда по дороге к морю в неё впадают другие ручьи.",
    "zh": "每一条河流都从一处泉水开始，在流向大海的路上汇入其他溪流而逐渐变大。",
    "he": "כל נהר מתחיל כמעיין וגדל כשנחלים אחרים מצטרפים אליו בדרכו אל הים.",
}


@pytest.mark.parametrize("code", PROSE)
def test_prose_is_given_its_language(code):
    found, share = detect_language(PROSE[code].encode())
    assert found == code and share > 0.5


@pytest.mark.parametrize("text", ["", " ", "\0\1\2", "a", "1234 5678", "😀" * 300, "a" * 100_000, "QUJDREVGRw==" * 50, "\ufffe\uffff"])
def test_what_is_no_language_is_undetermined(text):
    assert detect_language(text.encode()) == (UNDETERMINED, 0.0)


@pytest.mark.parametrize("dirt", ["\0", "\x85", "\x1b[0m", "\ufffe", "\ue000", "\u202e", "\U000e0041"])
def test_characters_that_cld2_refuses_do_not_hide_the_language(dirt):
    assert detect_language((dirt + PROSE["en"].replace(" ", dirt + " ", 3)).encode())[0] == "en"


def test_only_the_prefix_counts():
    long_text = PROSE["en"] * (PREFIX_BYTES // len(PROSE["en"]) + 1)
    assert detect_language((long_text + PROSE["ru"] * 100).encode())[0] == "en"


@given(st.text(max_size=40), st.integers(0, 60))
def test_a_cut_never_splits_a_character(text, max_bytes):
    cut = cut_at_character(text.encode(), max_bytes)
    assert text.encode().startswith(cut) and len(cut) <= max_bytes
    assert text.startswith(cut.decode())


@given(st.binary(max_size=400))
def test_no_bytes_raise(data):
    code, share = detect_language(data)
    assert code and 0 <= share <= 1


def test_a_slice_is_scored_like_its_texts():
    scorer = LanguageScorer()
    sliced = pa.array(["x", *PROSE.values(), "y"]).slice(1, len(PROSE))
    columns = scorer.score(TextBatch(sliced))
    assert columns["language"].to_pylist() == list(PROSE)
    assert pa.schema([(name, column.type) for name, column in columns.items()]) == scorer.fields
    assert scorer.version.startswith("pycld2-")


def test_no_texts_give_no_rows():
    assert [len(column) for column in LanguageScorer().score(TextBatch.of([])).values()] == [0, 0]
