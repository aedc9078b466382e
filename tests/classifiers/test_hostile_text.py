"""Whatever a text holds, a detector gives it a score or abstains: it never fails, and never depends on what stands beside it.

Ten megabytes of anything must finish within the time limit of a test, which nothing quadratic would.
"""

import base64
import random

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import LengthThresholds
from classifiers.detectors import MissingExtra, detector_calibration
from classifiers.labelled_text import parse_record
from classifiers.predict import predict
from classifiers.text_batch import TextBatch

PROSE = "It was late when the ferry came in, and nobody on the quay could say why the lamps had not been lit. "
HUGE = 10 << 20

HOSTILE = {
    "empty": "",
    "blanks": " \n\t" * 500,
    "one letter": "a",
    "no spaces": "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=20_000)),
    "nuls": "\0" * 5_000,
    "prose with nuls": PROSE.replace(" ", "\0") * 20,
    "controls": "".join(map(chr, range(32))) * 100,
    "right to left": "\u202e" + "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 " * 200,
    "hebrew among english": (PROSE + "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd. ") * 20,
    "emoji": "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 " * 300,
    "variation selectors": "\ufe0f".join(PROSE * 10) + "\U000e0100" * 500,
    "combining": "e" + "\u0301" * 10_000,
    "base64": base64.b64encode(random.Random(1).randbytes(20_000)).decode(),
    "code": "for (int i = 0; i < n; i++) { a[i] = b[i] ^ 0xff; }\n" * 200,
    "markup": "<div class='x'><p>&nbsp;</p></div>" * 300,
    "json": orjson.dumps({"k": list(range(2_000))}).decode(),
    "chinese": "\u8fd9\u662f\u4e00\u4e2a\u6d4b\u8bd5\u3002" * 300,
    "german": "Der Fluss stieg in der Nacht und niemand wusste warum die Lampen nicht brannten. " * 20,
    "digits": "0123456789 " * 500,
    "last characters": "\U0010ffff\uffff\ufffe" * 200,
    "one word many times": "the " * 5_000,
    "punctuation": "?!.,;:" * 2_000,
}


def installed(spec):
    try:
        return AiDetectorScorer(spec)
    except ValueError as error:
        # Weights that ship and cannot be read must fail here.
        if isinstance(error, MissingExtra) or "ships with this version" in str(error):
            pytest.skip(f"the detector {spec} is not here: {error}")
        raise


@pytest.fixture(scope="module", params=["fast", "deep", "cascade"])
def scorer(request):
    return installed(request.param)


def score(scorer, texts):
    columns = scorer.score(TextBatch.of(texts))
    probability = columns["ai_probability"].to_numpy(zero_copy_only=False).astype(np.float32)
    abstained = columns["ai_abstained"].to_numpy(zero_copy_only=False).astype(bool)
    assert (np.isnan(probability) == abstained).all()
    assert ((probability >= 0) & (probability <= 1) | abstained).all()
    return probability, abstained


def test_hostile_texts_are_scored_or_abstained_from(scorer):
    _, abstained = score(scorer, list(HOSTILE.values()))
    verdict = dict(zip(HOSTILE, abstained.tolist(), strict=True))
    for name in ("empty", "blanks", "one letter", "no spaces", "nuls", "right to left", "emoji", "base64", "chinese", "digits", "last characters"):
        assert verdict[name], f"{name} was judged"


def test_a_hostile_neighbour_changes_no_score(scorer):
    alone, _ = score(scorer, [PROSE * 5])
    among, _ = score(scorer, [*list(HOSTILE.values())[:11], PROSE * 5, *list(HOSTILE.values())[11:]])
    assert among[11] == alone[0]


def test_a_c2pa_wrapper_changes_no_score_wherever_it_stands(scorer):
    manifest = b"C2PATXT\0\1" + random.Random(2).randbytes(9_000)
    wrapper = "\ufeff" + "".join(chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in manifest)
    words = (PROSE * 9).split(" ")
    plain = " ".join(words)
    for place in (0, 1, 60, len(words)):
        probability, abstained = score(scorer, [plain, " ".join([*words[:place], wrapper, *words[place:]]).strip()])
        assert probability[0] == probability[1] and not abstained.any()
    assert np.ptp(score(scorer, ["Sure, here is one:\n" + plain, wrapper + "Sure, here is one:\n" + plain])[0]) == 0


HUGE_TEXTS = {
    "one word": lambda: "a" * HUGE,
    "one word again and again": lambda: "word " * (HUGE // 5),
    "nuls": lambda: "\0" * HUGE,
    "blanks": lambda: " " * HUGE,
    "prose": lambda: PROSE * (HUGE // len(PROSE)),
    "emoji": lambda: "\U0001f600" * (HUGE // 4),
    "combining": lambda: "e" + "\u0301" * (HUGE // 2),
    "variation selectors": lambda: "\U000e0100" * (HUGE // 4) + PROSE * 5,
}


@pytest.mark.parametrize("name", HUGE_TEXTS)
def test_ten_megabytes_are_scored_like_any_text(name):
    score(installed("fast"), [HUGE_TEXTS[name](), PROSE * 5])


@pytest.mark.parametrize("spec", ["deep", "cascade"])
def test_ten_megabytes_are_scored_by_the_slower_tiers_too(spec):
    score(installed(spec), [make() for make in HUGE_TEXTS.values()])


def test_what_stands_beyond_what_is_read_changes_nothing():
    scorer = installed("fast")
    short, long = score(scorer, [PROSE * 200, PROSE * 400])[0]
    assert short == long


@settings(max_examples=200)
@given(st.lists(st.text(max_size=300), max_size=5))
def test_any_text_is_scored_or_abstained_from(texts):
    score(AiDetectorScorer(), texts)


@settings(max_examples=60)
@given(st.text(max_size=200), st.integers(1, 8))
def test_prose_with_any_text_in_it_is_scored_the_same_twice(text, times):
    given_text = PROSE * times + text + PROSE
    first, second = score(AiDetectorScorer(), [given_text, given_text])[0]
    assert first == second or (np.isnan(first) and np.isnan(second))


def test_lone_surrogates_written_as_escapes_are_scored():
    lines = [
        b'{"id": 1, "text": "\\ud800"}',
        b'{"id": 2, "text": "' + PROSE.encode() * 5 + b'\\udc00"}',
        b'{"id": 3, "text": "' + PROSE.encode() * 5 + b'\\ud83d\\ude00"}',
    ]
    scorer = AiDetectorScorer()
    thresholds = detector_calibration("fast").thresholds(0.01)
    first, lone, pair = predict(map(parse_record, lines), scorer, thresholds)
    assert first["abstained"] and not lone["abstained"] and not pair["abstained"]
    assert lone["ai_probability"] == pytest.approx(pair["ai_probability"], abs=0.2)


def test_a_flag_needs_a_threshold_of_its_length():
    thresholds = LengthThresholds(0.01, (50,), (float("nan"),), "digest")
    (row,) = predict([{"id": 1, "text": PROSE * 5}], AiDetectorScorer(), thresholds)
    assert row["abstained"] and not row["ai_flag"] and row["ai_probability"] is not None
