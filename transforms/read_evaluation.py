"""Reads evaluation sets, from any format that inputs may have, into the index that `classifiers.contamination` seeks with.

The whole of the sets is held in memory once, by the process that starts the run; workers get the index. An evaluation set that cannot be read to its last
record stops the run: what is missing from the index would be let through in silence.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from classifiers.contamination import EvaluationIndex, build_index, count_words, holds_index, keep_index
from classifiers.evaluation_sets import EvaluationSets, SetRead, parse_set
from transforms.inputs import END_OF_FILE, FIELD_ALIASES, FieldNames, Format, InputError, InputSpec, Split
from transforms.map_records import RecordMapper, Roles, Row, Unreadable, read_name
from transforms.read_documents import read_with
from transforms.records import DeadReason, Origin
from transforms.storage import open_binary, write_whole

MAX_FIELDS_SHOWN = 20


@dataclass(frozen=True)
class EvaluationItem:
    """One record of an evaluation set."""

    label: str
    """`SET/ID`; for a record without an id `SET/FILE:LINE`."""
    texts: tuple[str, ...]
    """Its fields that hold text, in order; at least one."""


class EvaluationMapper(RecordMapper):
    """Takes of each record the text of some fields, which become its `messages`, by the name of the field."""

    def __init__(self, name: str, wanted: Sequence[str]):
        super().__init__(FieldNames(), name, Origin.UNKNOWN)
        self._wanted = tuple(wanted)

    def roles_of(self, names: tuple[str, ...]) -> Roles:
        """As of any record, but that no field is *the* text: every record comes to `map_record`."""
        return super().roles_of(names)._replace(text=None)

    def map_record(self, record: dict[str, Any]) -> tuple[bytes, Row]:
        """The texts of the wanted fields. Raises `Unreadable` where the record has none of them."""
        self.roles_of(tuple(record))
        names = self._wanted or [name for name in FIELD_ALIASES["text"] if name in record][:1]
        present = [name for name in names if name in record]
        texts = [(name, text) for name in present for text in texts_in(record[name])]
        if not texts:
            wanted = " nor ".join(map(repr, self._wanted or FIELD_ALIASES["text"]))
            seen = ", ".join(sorted(record)[:MAX_FIELDS_SHOWN])
            raise Unreadable(
                DeadReason.MISSING_TEXT, f"neither {wanted} holds text; its fields are {seen}: name those that do with --decontaminate_fields"
            )
        ids = (read_name(record[alias]) for alias in FIELD_ALIASES["id"] if alias in record)
        values = dict.fromkeys(Row._fields) | {
            "id": next((one for one in ids if one), ""),
            "messages": [{"role": name, "content": text} for name, text in texts],
            "origin": Origin.UNKNOWN,
        }
        return "\n".join(text for _, text in texts).encode(), Row(**values)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a field's value, in order: of lists and objects those within (`{"text": [...], "label": [...]}`)."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts_in(inner)


def read_items(name: str, path: str, file_format: Format, compression: str | None, wanted: Sequence[str]) -> Iterator[EvaluationItem]:
    """The items of one file, in order. Raises InputError for a record that cannot be read."""
    split = Split(
        name="evaluation",
        source=name,
        origin=Origin.UNKNOWN,
        path=path,
        format=file_format,
        end=END_OF_FILE,
        compression=compression,
        first_position=0 if file_format in (Format.PARQUET, Format.HUGGING_FACE) else 1,
        paths=(path,) if file_format is Format.TEXT_FILES else (),
    )
    for batch in read_with(split, EvaluationMapper(name, wanted)):
        for letter in batch.dead:
            raise InputError(
                f"evaluation set {name!r}: {letter.location} cannot be read ({letter.reason}: {letter.detail}); mend it, or leave it out"
            )
        for row in batch.documents.select(["id", "text", "messages", "location"]).to_pylist():
            texts = tuple(turn["content"] for turn in row["messages"]) if row["messages"] else (row["text"],)
            # A text file has an id made of its text, which tells nobody where to look.
            given = row["id"] if row["messages"] else None
            yield EvaluationItem(f"{name}/{given or row['location'].rsplit('/', 1)[-1]}", texts)


def read_evaluation(sets: EvaluationSets) -> tuple[EvaluationSets, EvaluationIndex]:
    """The index of `sets`, and `sets` with its digest and what was found. Raises InputError for what cannot be read or holds nothing to seek."""
    # Brings Beam along, which whoever only loads an index need not have.
    from transforms.plan_splits import find_files

    labels: list[str] = []
    texts: list[str] = []
    owners: list[int] = []
    bounds, files = [0], []
    for name, pattern in sorted(map(parse_set, sets.sets)):
        found = []
        for file in find_files(InputSpec(name, pattern, Origin.UNKNOWN)):
            digest = hashlib.sha256()
            for item in read_items(name, file.path, file.format, file.compression, sets.fields):
                if file.format is Format.HUGGING_FACE:
                    digest.update("\0".join(item.texts).encode() + b"\n")
                owners += [len(labels)] * len(item.texts)
                texts += item.texts
                labels.append(item.label)
            found.append((file.path, digest.hexdigest() if file.format is Format.HUGGING_FACE else _digest_of(file.path)))
        if len(labels) == bounds[-1]:
            raise InputError(f"evaluation set {name!r}: {pattern} holds no records; name the right files")
        files.append((name, tuple(found)))
        bounds.append(len(labels))
    index = build_index(texts, owners, labels, sets)
    enough = np.asarray(owners, np.int64)[count_words(texts) >= min(sets.min_item_words, sets.ngram_words)]
    sought = np.bincount(enough, minlength=len(labels)) > 0
    read = [
        SetRead(
            name,
            end - begin,
            int(index.owned[begin:end].sum()),
            int(index.common[begin:end].sum()),
            int(np.count_nonzero(~sought[begin:end])),
            found,
        )
        for (name, found), begin, end in zip(files, bounds[:-1], bounds[1:], strict=True)
    ]
    for one in read:
        if one.unsought == one.items:
            raise InputError(
                f"evaluation set {one.name!r}: none of its {one.items:,} items has a field of {min(sets.min_item_words, sets.ngram_words)} words or more, so "
                "nothing of it can be sought; name longer fields with --decontaminate_fields, or lower decontaminate.min_item_words"
            )
    return replace(sets, digest=index.digest, read=tuple(read)), index


def write_index(index: EvaluationIndex, path: str) -> None:
    """Writes the index where workers find it."""
    with write_whole(path) as file:
        file.write(index.to_bytes())


def ensure_index(sets: EvaluationSets | None) -> None:
    """Loads the index of `sets` into this process, if it does not hold it. Raises ValueError if what lies there is another."""
    if sets is None or holds_index(sets.digest):
        return
    with contextlib.closing(open_binary(sets.index)) as file:
        index = EvaluationIndex.from_bytes(file.read())
    if index.digest != sets.digest:
        raise ValueError(f"{sets.index}: is the index {index.digest}, not {sets.digest}; run again")
    keep_index(index, sets.digest)


def _digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with contextlib.closing(open_binary(path)) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
