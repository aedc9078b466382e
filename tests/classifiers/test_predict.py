"""`predict`: one line out for each record in, in order, in flat memory, whatever the lines hold."""

import gzip
import io
from itertools import pairwise

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import predict as predicting
from classifiers.__main__ import main
from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import LengthThresholds, load_calibration
from classifiers.labelled_text import MalformedLine
from classifiers.predict import BATCH_CHARS, BATCH_RECORDS, predict, predict_file
from tests.classifiers.detector_texts import written

FIELDS = {"id", "ai_probability", "ai_flag", "abstained"}


class LengthDetector:
    """Log odds from a text's length; remembers the batches that it was given."""

    version = "length-1"

    def __init__(self):
        self.batches = []

    def log_odds(self, batch):
        self.batches.append(len(batch))
        return np.diff(batch.offsets) / 100.0 - 5.0, batch.words.counts < 3


THRESHOLDS = LengthThresholds(0.01, (2,), (0.5,), "digest")


def predict_lines(tmp_path, content, *options, name="in.jsonl", code=0):
    (tmp_path / name).write_bytes(content)
    assert main(["predict", "--input", str(tmp_path / name), "--output", str(tmp_path / "out"), *options]) == code
    return [orjson.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()] if code == 0 else None


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(), st.text(max_size=40))), max_size=30), st.integers(1, 7), st.integers(1, 60))
def test_every_record_has_its_line_in_order_however_they_are_cut_into_batches(rows, records, chars):
    given_rows = [None if row is None else {"id": row[0], "text": row[1]} for row in rows]
    whole = list(predict(given_rows, AiDetectorScorer(LengthDetector()), THRESHOLDS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "BATCH_RECORDS", records)
        patch.setattr(predicting, "BATCH_CHARS", chars)
        assert list(predict(given_rows, AiDetectorScorer(LengthDetector()), THRESHOLDS)) == whole
    assert [row["id"] for row in whole] == [None if row is None else row[0] for row in rows]
    assert all(set(row) == FIELDS for row in whole)
    assert all(row["abstained"] and not row["ai_flag"] for row, one in zip(whole, rows, strict=True) if one is None)


def test_batches_are_bounded_by_records_and_by_characters():
    detector = LengthDetector()
    long = [{"text": "x" * (BATCH_CHARS // 3)}] * 7 + [{"text": "y" * (2 * BATCH_CHARS)}] + [{"text": "z"}] * (BATCH_RECORDS + 1)
    assert sum(1 for _ in predict(long, AiDetectorScorer(detector), THRESHOLDS)) == len(long)
    assert detector.batches == [3, 3, 1, 1, BATCH_RECORDS, 1]


def test_records_are_read_no_further_than_the_batch_that_is_scored():
    read = []

    def records():
        for number in range(5 * BATCH_RECORDS):
            read.append(number)
            yield {"id": number, "text": "one two three"}

    predictions = predict(records(), AiDetectorScorer(LengthDetector()), THRESHOLDS)
    next(predictions)
    assert len(read) <= BATCH_RECORDS + 1


def test_flags_follow_the_thresholds_and_abstentions_are_never_flagged():
    rows = list(predict([{"text": "a b c " * 200}, {"text": "a b c"}, {"text": "a"}], AiDetectorScorer(LengthDetector()), THRESHOLDS))
    assert [(row["ai_flag"], row["abstained"]) for row in rows] == [(True, False), (False, False), (False, True)]
    assert rows[2]["ai_probability"] is None and rows[0]["ai_probability"] > 0.9


def test_input_may_be_compressed_and_order_is_kept(tmp_path):
    content = b"".join(orjson.dumps({"id": str(n), "text": written(bool(n % 3), n)}) + b"\n" for n in range(30))
    frames = zstandard.compress(content[:700]) + zstandard.compress(content[700:])
    members = gzip.compress(content[:700]) + gzip.compress(content[700:])
    outputs = [
        predict_lines(tmp_path, packed, name=name)
        for name, packed in (
            ("a.jsonl", content),
            ("a.jsonl.gz", gzip.compress(content)),
            ("b.jsonl.gz", members),
            ("a.jsonl.zst", zstandard.compress(content)),
            ("b.jsonl.zst", frames),
        )
    ]
    assert all(output == outputs[0] for output in outputs)
    assert [row["id"] for row in outputs[0]] == [str(n) for n in range(30)]


def test_short_texts_abstain_and_a_missing_id_is_null(tmp_path):
    assert predict_lines(tmp_path, b'{"text": "Hello."}\n\n{"id": 5, "text": ""}\n') == [
        {"id": None, "ai_probability": None, "ai_flag": False, "abstained": True},
        {"id": 5, "ai_probability": None, "ai_flag": False, "abstained": True},
    ]


def test_no_records_give_no_lines(tmp_path):
    assert predict_lines(tmp_path, b"") == []
    assert predict_lines(tmp_path, zstandard.compress(b""), name="a.jsonl.zst") == []


BAD_LINES = [b'{"id": 2\n', b"[1]\n", b'{"id": 2, "text": null}\n', b'{"text": "\xff"}\n', b'{"text": 5}\n', b"\x00\x01\n", b"[" * 5_000 + b"\n"]


@pytest.mark.parametrize("bad", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_malformed_line_ends_with_2_names_the_line_and_leaves_no_output(tmp_path, capsys, bad):
    predict_lines(tmp_path, b'{"id": 1, "text": "fine"}\n' + bad, code=2)
    assert "in.jsonl:2: " in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl"}


def test_malformed_lines_can_be_abstained_from_one_line_each(tmp_path, capsys):
    content = b'{"id": 1, "text": "fine"}\n' + b"".join(BAD_LINES) + b'{"id": 9, "text": "fine"}\n'
    rows = predict_lines(tmp_path, content, "--on_malformed", "abstain")
    assert [row["id"] for row in rows] == [1] + [None] * len(BAD_LINES) + [9]
    assert all(row["abstained"] for row in rows)
    assert capsys.readouterr().err.count("abstained from") == len(BAD_LINES)


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
@pytest.mark.parametrize("on_malformed", ["fail", "abstain"])
def test_a_file_that_was_cut_off_is_refused_whatever_is_done_about_lines(tmp_path, capsys, name, pack, on_malformed):
    content = b"".join(orjson.dumps({"id": n, "text": written(False, n)}) + b"\n" for n in range(300))
    predict_lines(tmp_path, pack(content)[:-40], "--on_malformed", on_malformed, name=name, code=2)
    assert "broken compressed file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_was_there_stays_when_the_input_is_bad(tmp_path):
    (tmp_path / "out").write_bytes(b"before")
    predict_lines(tmp_path, b"{", code=2)
    assert (tmp_path / "out").read_bytes() == b"before"


def test_ids_come_back_as_they_were_or_as_what_can_be_written(tmp_path):
    ids = [7, "a", None, 1.5, True, {"k": [1]}, 2**64 - 1]
    content = b"".join(orjson.dumps({"id": id, "text": "x"}) + b"\n" for id in ids)
    assert [row["id"] for row in predict_lines(tmp_path, content + b'{"id": "\\ud800", "text": "x"}\n')] == [*ids, "?"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--ai_detector", "slow"], "unknown 'slow'; known: fast"),
        (["--max_false_positive_rate", "0.9"], "max_false_positive_rate must be from"),
        (["--calibration", "nowhere.json"], "nowhere.json"),
        (["--model", "nowhere.npz"], "nowhere.npz"),
        (["--input", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--output", "nowhere/out.jsonl"], "nowhere/out.jsonl"),
    ],
)
def test_wrong_options_end_with_2_and_say_what_is_wrong(tmp_path, capsys, extra, message):
    predict_lines(tmp_path, b'{"id": 1, "text": "fine"}\n', *extra, code=2)
    assert message in capsys.readouterr().err


def test_an_unknown_way_with_malformed_lines_is_refused():
    with pytest.raises(ValueError, match="must be fail or abstain"):
        predict_file("x", io.BytesIO(), AiDetectorScorer(LengthDetector()), THRESHOLDS, "ignore")


def test_what_was_written_before_a_bad_line_stays_in_the_stream(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "a b c"}\n' * BATCH_RECORDS * 2 + b"{")
    output = io.BytesIO()
    with pytest.raises(MalformedLine, match=rf"in\.jsonl:{2 * BATCH_RECORDS + 1}: not JSON"):
        predict_file(str(path), output, AiDetectorScorer(LengthDetector()), THRESHOLDS)
    assert len(output.getvalue().splitlines()) in (BATCH_RECORDS, 2 * BATCH_RECORDS)


def test_a_stricter_rate_flags_no_more(tmp_path):
    content = b"".join(orjson.dumps({"id": n, "text": written(bool(n % 2), n)}) + b"\n" for n in range(40))
    rates = ("0.2", "0.05", "0.01", "0.001")
    flags = [{row["id"] for row in predict_lines(tmp_path, content, "--max_false_positive_rate", rate) if row["ai_flag"]} for rate in rates]
    assert all(strict <= lenient for lenient, strict in pairwise(flags))
    assert load_calibration().detector == AiDetectorScorer().version
