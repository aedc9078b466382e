"""Helpers of the reading tests: plan, spill and read files, and look at everything that came out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transforms.dead_letters import DeadLetter
from transforms.inputs import FieldNames, InputSpec, Split
from transforms.plan_splits import plan_splits
from transforms.read_documents import read_split
from transforms.records import BATCH_BYTES, BATCH_DOCUMENTS, DOCUMENT_SCHEMA, Origin
from transforms.spill_unsplittable import spill_unsplittable

USUAL = FieldNames()


@dataclass
class Read:
    """What reading some splits gave."""

    documents: list[dict]
    dead: list[DeadLetter]
    num_read: int
    conflicts: int

    def column(self, name: str) -> list:
        return [document[name] for document in self.documents]

    @property
    def only(self) -> dict:
        (document,) = self.documents
        return document

    @property
    def letter(self) -> DeadLetter:
        (letter,) = self.dead
        return letter


def read(splits: Iterable[Split], fields: FieldNames = USUAL) -> Read:
    """Reads `splits`, checking of every batch what every batch promises."""
    found = Read([], [], 0, 0)
    for split in splits:
        for batch in read_split(split, fields):
            assert batch.documents.schema == DOCUMENT_SCHEMA
            batch.documents.validate(full=True)
            sizes = [len(text.encode()) for text in batch.documents["text"].to_pylist()]
            assert len(sizes) <= BATCH_DOCUMENTS
            assert len(sizes) <= 1 or sum(sizes) <= BATCH_BYTES
            assert batch.num_read == len(sizes) + sum(letter.count for letter in batch.dead) > 0
            found.documents += batch.documents.to_pylist()
            found.dead += batch.dead
            found.num_read += batch.num_read
            found.conflicts += batch.origin_conflicts
    return found


def spec(pattern: object, origin: Origin | None = Origin.HUMAN, name: str = "books") -> InputSpec:
    return InputSpec(name, str(pattern), origin)


def plan(*patterns: object, origin: Origin | None = Origin.HUMAN, fields: FieldNames = USUAL, **settings) -> list[Split]:
    """Splits of one input for each pattern, named books, books1, books2 ..."""
    specs = [spec(pattern, origin, f"books{number or ''}") for number, pattern in enumerate(patterns)]
    return plan_splits(specs, fields, **settings)


def spill(splits: Iterable[Split], folder: Path) -> list[Split]:
    """`splits` with those that need it cut into chunks."""
    return [part for split in splits for part in (spill_unsplittable(split, str(folder)) if split.needs_spill else [split])]


def read_file(path: object, origin: Origin | None = Origin.HUMAN, fields: FieldNames = USUAL, **settings) -> Read:
    """Everything in one file, as one input."""
    return read(plan(path, origin=origin, fields=fields, **settings), fields)


def json_lines(*records: object) -> bytes:
    """JSON lines; bytes are taken as they are."""
    return b"".join((record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode()) + b"\n" for record in records)
