"""Scores JSON lines, one line out for each line in."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import numpy as np
import orjson

from classifiers.ai_detector import AiDetectorScorer
from classifiers.calibration import LengthThresholds, judge
from classifiers.labelled_text import read_records
from classifiers.text_batch import TextBatch

BATCH_RECORDS = 1_000
"""Records scored at once; a record's result does not depend on it."""


def predict(records: Iterable[dict], scorer: AiDetectorScorer, thresholds: LengthThresholds) -> Iterator[dict]:
    """For each record, in order: `id` (null when it has none), `ai_probability` (null when abstained), `ai_flag`, `abstained`.

    `abstained` also covers a text whose length group has no threshold at this rate: it is never flagged.
    """
    records = iter(records)
    while chunk := list(islice(records, BATCH_RECORDS)):
        batch = TextBatch.of([record["text"].encode("utf-8", "replace").decode() for record in chunk])
        probability = scorer.score(batch)["ai_probability"].to_numpy(zero_copy_only=False).astype(np.float32)
        flagged, judged = judge(probability, batch.words.counts, thresholds)
        for record, value, flag, sure in zip(chunk, probability.tolist(), flagged.tolist(), judged.tolist(), strict=True):
            yield {"id": record.get("id"), "ai_probability": None if value != value else value, "ai_flag": flag, "abstained": not sure}


def predict_file(input_path: str, output: BinaryIO, scorer: AiDetectorScorer, thresholds: LengthThresholds) -> int:
    """Writes the predictions for `input_path` (JSON lines, plain, gzip or zstd) to `output`; returns their number.

    Raises MalformedLine (`file:line`) at the first bad line; what was written before it stays.
    """
    count = 0
    for prediction in predict(read_records(input_path), scorer, thresholds):
        output.write(orjson.dumps(prediction, option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    return count
