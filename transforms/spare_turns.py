"""Names of speakers in a chat are no residue of a template: a text that was rendered from its `messages` is judged by what the turns say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.scorers import Scorer
from classifiers.text_batch import TextBatch
from transforms.map_records import render_messages

MARKS = "template_marks"
"""The score that takes lines such as `User:` and `Assistant:` for what a template left behind."""


def spare_turns(documents: pa.RecordBatch, columns: dict[str, pa.Array], scorers: Sequence[Scorer]) -> dict[str, pa.Array]:
    """`columns` with `MARKS` counted anew, in the turns alone, for each document whose text is its `messages` as rendered; never more than before.

    Cost: nothing where no document has messages, and nothing for those without a mark.
    """
    if MARKS not in columns or documents["messages"].null_count == documents.num_rows:
        return columns
    marked = pc.and_(documents["messages"].is_valid(), pc.fill_null(pc.greater(columns[MARKS], 0), False))
    rows = np.flatnonzero(marked.to_numpy(zero_copy_only=False))
    messages = documents["messages"].take(pa.array(rows)).to_pylist()
    texts = documents["text"].take(pa.array(rows)).to_pylist()
    rendered = [place for place, text in enumerate(texts) if text == render_messages(messages[place])]
    if not rendered:
        return columns
    turns = pa.array(["\n\n".join(message["content"] for message in messages[place]) for place in rendered], pa.string())
    scorer = next(scorer for scorer in scorers if MARKS in scorer.fields.names)
    marks = columns[MARKS].to_numpy(zero_copy_only=False).copy()
    marks[rows[rendered]] = np.minimum(marks[rows[rendered]], scorer.score(TextBatch(turns))[MARKS].to_numpy(zero_copy_only=False))
    return {**columns, MARKS: pa.array(marks, columns[MARKS].type)}
