"""Masks personal data in what is published: text, chat turns, and the other fields of a record. Scored shards keep the original.

Lengths and scores of a published document, and the hash by which the ledger knows it, stay those of the original: a document that returns is recognised, and a
mask cannot move a quota.
"""

import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.personal_kinds import KIND_NAMES
from transforms.records import MESSAGE_TYPE

MASKED_TYPE = pa.list_(pa.struct([("column", pa.string()), ("kind", pa.string()), ("count", pa.int32())]))
MASKED_FIELD = pa.field("masked", MASKED_TYPE, nullable=False)
"""What was masked in a published row: column (`text`, `messages` or `extra`), kind (`KIND_NAMES`) and how often; empty where nothing was."""
MASKED_COLUMNS = ("text", "messages", "extra")
"""Columns that are masked; the others hold names and numbers by which a document is found."""

_JSON_VALUES = re.compile(r'"(?:[^"\\]|\\.)*"(:?)|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')
_CARD_DIGITS = range(13, 20)

Column = pa.Array | pa.ChunkedArray


def mask_columns(columns: Mapping[str, Column], kinds: Sequence[str]) -> dict[str, Column]:
    """Those of `MASKED_COLUMNS` that `columns` holds, masked, and the column `masked` of all of them. An unmasked value stays byte for byte.

    In `messages` the contents are masked and the roles are not. In `extra`, every text in the JSON object but the names of fields, and whole numbers of 13 to 19
    digits that are card numbers, which become texts.
    """
    # Imported here: a run that masks nothing compiles none of it.
    from classifiers.mask_texts import mask_texts

    made: dict[str, Column] = {}
    counts: dict[str, np.ndarray] = {}
    for name, mask in (("text", mask_texts), ("messages", mask_messages), ("extra", mask_extra)):
        if name in columns:
            chunks = [mask(chunk, kinds) for chunk in _chunks(columns[name])]
            made[name] = pa.chunked_array([masked for masked, _ in chunks], columns[name].type)
            counts[name] = np.concatenate([np.zeros((0, len(KIND_NAMES)), np.int32), *(count for _, count in chunks)])
    made[MASKED_FIELD.name] = list_masked(counts)
    return made


def mask_messages(messages: pa.ListArray, kinds: Sequence[str]) -> tuple[pa.ListArray, np.ndarray]:
    """Chat turns (`MESSAGE_TYPE`, null where there are none) with their contents masked, and what was replaced (int32[n, 5])."""
    from classifiers.mask_texts import mask_texts

    counts = np.zeros((len(messages), len(KIND_NAMES)), np.int32)
    turns = messages.flatten()
    masked, found = mask_texts(pc.struct_field(turns, "content"), kinds)
    if not found.any():
        return messages, counts
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    np.add.at(counts, np.repeat(np.arange(len(messages)), lengths), found)
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    values = pa.StructArray.from_arrays([pc.struct_field(turns, "role"), masked], fields=list(MESSAGE_TYPE.value_type))
    absent = messages.is_null() if messages.null_count else None
    return pa.ListArray.from_arrays(offsets, values, type=MESSAGE_TYPE, mask=absent), counts


def mask_extra(extra: pa.StringArray, kinds: Sequence[str]) -> tuple[pa.StringArray, np.ndarray]:
    """JSON objects (or null) with the texts in them masked, and what was replaced (int32[n, 5]). Everything else stays as it was written.

    One Python step for each text in the objects: about a microsecond.
    """
    from classifiers.mask_texts import mask_texts

    counts = np.zeros((len(extra), len(KIND_NAMES)), np.int32)
    rows, places, texts = [], [], []
    objects = extra.to_pylist()
    for row, written in enumerate(objects):
        for value in _JSON_VALUES.finditer(written) if written else ():
            token = value[0]
            if token[0] == '"':
                if value[1]:
                    continue
                text = json.loads(token) if "\\" in token else token[1:-1]
            elif token.isdecimal() and len(token) in _CARD_DIGITS:
                text = token
            else:
                continue
            rows.append(row)
            places.append(value.span())
            texts.append(text)
    masked, found = mask_texts(pa.array(texts, pa.string()), kinds)
    hit = np.flatnonzero(found.any(axis=1))
    np.add.at(counts, np.array(rows, np.int64)[hit], found[hit])
    # From the last to the first, so that the places of the others stay right.
    for place, text in zip(hit[::-1].tolist(), masked.take(pa.array(hit[::-1])).to_pylist(), strict=True):
        row, (begin, end) = rows[place], places[place]
        objects[row] = objects[row][:begin] + json.dumps(text, ensure_ascii=False) + objects[row][end:]
    return (pa.array(objects, pa.string()) if len(hit) else extra), counts


def list_masked(counts: Mapping[str, np.ndarray]) -> pa.ListArray:
    """The column `masked` (`MASKED_TYPE`) of what was replaced in each column (int32[n, 5] each), in the order of `counts` and of the kinds."""
    table = np.stack(list(counts.values()), axis=1).reshape(-1, len(counts) * len(KIND_NAMES))
    names = [(column, kind) for column in counts for kind in KIND_NAMES]
    row, place = np.nonzero(table)
    offsets = np.concatenate(([0], np.cumsum(np.count_nonzero(table, axis=1)))).astype(np.int32)
    columns = [
        pa.array([names[one][0] for one in place.tolist()], pa.string()),
        pa.array([names[one][1] for one in place.tolist()], pa.string()),
        pa.array(table[row, place].astype(np.int32)),
    ]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(columns, fields=list(MASKED_TYPE.value_type)), type=MASKED_TYPE)


def _chunks(column: Column) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]
