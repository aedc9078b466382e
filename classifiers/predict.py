"""Scores JSON lines, one line out for each line in, in the same order and in flat memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np
import orjson

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import LengthThresholds, judge
from classifiers.labelled_text import MalformedLine, read_lines
from classifiers.text_batch import TextBatch

BATCH_RECORDS = 1_000
"""Records scored at once, at most; a record's result does not depend on it."""
BATCH_CHARS = 4 << 20
"""Characters scored at once, at most; a longer text is scored alone."""
ON_MALFORMED = ("fail", "abstain")
"""What can be done about a line that is no JSON object with a string field `text`."""


def predict(records: Iterable[dict | None], scorer: AiDetectorScorer, thresholds: LengthThresholds) -> Iterator[dict]:
    """For each record, in order: `id` (null when it has none), `ai_probability` (null when abstained), `ai_flag`, `abstained`.

    `abstained` also covers a text whose length group has no threshold at this rate: it is never flagged. None, a line that could not be
    read, is abstained from. Lone surrogates are scored as question marks.
    """
    for chunk in _chunks(records):
        batch = TextBatch.of([record["text"].encode("utf-8", "replace").decode() if record else "" for record in chunk])
        probability = scorer.score(batch)["ai_probability"].to_numpy(zero_copy_only=False).astype(np.float32)
        flagged, judged = judge(probability, batch.words.counts, thresholds)
        for record, value, flag, sure in zip(chunk, probability.tolist(), flagged.tolist(), judged.tolist(), strict=True):
            id = record.get("id") if record else None
            yield {"id": id, "ai_probability": None if value != value else value, "ai_flag": flag, "abstained": not sure}


def predict_file(
    input_path: str,
    output: BinaryIO,
    scorer: AiDetectorScorer,
    thresholds: LengthThresholds,
    on_malformed: str = "fail",
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Writes the predictions for `input_path` (JSON lines, plain, gzip or zstd) to `output`; returns their number.

    Empty lines are no records. Of a malformed line `on_malformed` decides: `fail` raises MalformedLine (`file:line`), `abstain` writes a
    line with a null id that is abstained from, and says so through `report`. Raises MalformedLine in any case where a compressed file is broken;
    OSError.
    """
    if on_malformed not in ON_MALFORMED:
        raise ValueError(f"on_malformed must be {' or '.join(ON_MALFORMED)}, not {on_malformed!r}")
    count = 0
    for prediction in predict(_records(input_path, on_malformed, report), scorer, thresholds):
        output.write(_write_line(prediction))
        count += 1
    return count


def _records(path: str, on_malformed: str, report: Callable[[str], None]) -> Iterator[dict | None]:
    for found in read_lines(path):
        if not isinstance(found, MalformedLine):
            yield found
        elif on_malformed == "fail":
            raise found
        else:
            report(f"{found}: abstained from")
            yield None


def _chunks(records: Iterable[dict | None]) -> Iterator[list[dict | None]]:
    chunk: list[dict | None] = []
    chars = 0
    for record in records:
        size = len(record["text"]) if record else 0
        if chunk and (len(chunk) == BATCH_RECORDS or chars + size > BATCH_CHARS):
            yield chunk
            chunk, chars = [], 0
        chunk.append(record)
        chars += size
    if chunk:
        yield chunk


def _write_line(prediction: dict) -> bytes:
    try:
        return orjson.dumps(prediction, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # An id that JSON can name and UTF-8 cannot hold: a lone surrogate.
        name = str(prediction["id"]).encode("utf-8", "replace").decode()
        return orjson.dumps(prediction | {"id": name}, option=orjson.OPT_APPEND_NEWLINE)
