"""What the user points at: inputs, the names of their fields, and the splits that they are read in.

An input is a name, an origin and a glob. `plan_splits` turns inputs into splits; a split is the unit of work that one worker
reads, scores and writes, so its name is the name of its scored shard.
"""

import enum
import re
from dataclasses import dataclass, fields

from transforms.dead_letters import DeadLetter
from transforms.records import Origin

SPLIT_BYTES = 16 << 20
"""Bytes on disk (text) or in memory (Parquet row groups) that make one split: some seconds of scoring."""

INPUT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of inputs: they become file names, and no tool may take such a file for a hidden one."""

DECLARED_ORIGINS = (Origin.HUMAN, Origin.SYNTHETIC, Origin.UNKNOWN)
"""Origins that an owner can declare; verification makes the others."""

FIELD_ALIASES: dict[str, tuple[str, ...]] = {
    "text": ("text", "content", "document", "raw_content"),
    "id": ("id", "doc_id", "uuid"),
    "origin": ("origin", "label"),
    "generator": ("generator", "model"),
    "generation": ("generation",),
    "parents": ("parents",),
    "created_at": ("created_at", "timestamp", "date", "created"),
    "task": ("task",),
    "licence": ("licence", "license"),
    "consent": ("consent", "consent_given"),
    "language": ("lang", "language"),
    "messages": ("messages", "conversation", "conversations"),
}
"""Names under which each field is recognised when the user names none; of several in one record the first counts."""
END_OF_FILE = 1 << 62
"""`Split.end` of what is read to the end of its file, however long that is by then."""


class InputError(ValueError):
    """An input that cannot be read as asked: says what was given, what is allowed and what to do. The run must not start."""


@dataclass(frozen=True)
class FieldNames:
    """Which field of a record is which. None: the usual names (`FIELD_ALIASES`); a name given here must occur in some record."""

    text: str | None = None
    """The document. Where no record has such a field, it is rendered from `messages`."""
    id: str | None = None
    """Identity, text or number; derived from source and text where it is missing."""
    origin: str | None = None
    """Who wrote the document: read for inputs whose origin comes from the records."""
    generator: str | None = None
    """Model that wrote the document."""
    generation: str | None = None
    """0 = human, 1 = written by a model, n = by a model trained on generation n-1."""
    parents: str | None = None
    """Ids of the documents that this one was derived from: a list, or one id."""
    created_at: str | None = None
    """ISO-8601 text (UTC where it names no zone), or a number of seconds, milli-, micro- or nanoseconds since 1970."""
    task: str | None = None
    """What the document was written for."""
    licence: str | None = None
    """Terms under which it may be used, such as an SPDX identifier."""
    consent: str | None = None
    """Whether, or to what, those whom it comes from agreed: true or false, or words."""
    language: str | None = None
    """Language that the owner declares."""
    messages: str | None = None
    """Chat turns: a list of {role, content} (or {from, value})."""

    def __post_init__(self) -> None:
        named = self.named()
        for role, name in named.items():
            if not isinstance(name, str) or not name:
                usual = ", ".join(FIELD_ALIASES[role])
                raise InputError(f"--{role}_field={name!r}: give the name of a field, or leave the option out to use {usual}")
            twin = next(other for other, other_name in named.items() if other_name == name)
            if twin != role:
                raise InputError(f"--{twin}_field and --{role}_field both name {name!r}: a field can have one meaning; leave one of them out")

    def named(self) -> dict[str, str]:
        """The names that the user gave, by role (`text`, `id` ...)."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None}


@dataclass(frozen=True)
class InputSpec:
    """One input: files (or a dataset) with a name and an origin."""

    name: str
    """Becomes the `source` of its documents and part of file names; see `INPUT_NAME`."""
    pattern: str
    """A glob (`**` crosses folders) of any filesystem that Beam knows, or `hf://datasets/OWNER/NAME[:split]`."""
    origin: Origin | None
    """Declared origin of all its documents; None: taken from the origin field of each record."""

    def __post_init__(self) -> None:
        if not INPUT_NAME.fullmatch(self.name):
            raise InputError(
                f"input name {self.name!r}: a name is 1 to 100 letters, digits, '.', '_' or '-' and starts with a letter or digit; "
                "choose another, as in news=data/*.jsonl.gz"
            )
        if not self.pattern:
            raise InputError(f"input {self.name!r} names no files: write {self.name}=GLOB, as in {self.name}=data/*.jsonl.gz")
        if self.origin is not None:
            if self.origin not in DECLARED_ORIGINS:
                raise InputError(f"input {self.name!r}: origin {self.origin!r} cannot be declared; use {', '.join(DECLARED_ORIGINS)} or none")
            object.__setattr__(self, "origin", Origin(self.origin))


def parse_input(argument: str, origin: Origin | str | None) -> InputSpec:
    """The input that `NAME=GLOB` describes. Raises InputError when the '=' or a part is missing or the name is not allowed."""
    name, equals, pattern = argument.partition("=")
    if not equals:
        raise InputError(f"input {argument!r} has no '=': write NAME=GLOB, as in news=data/*.jsonl.gz")
    return InputSpec(name, pattern, origin)


class Format(enum.StrEnum):
    """How the records of a split lie in its file."""

    JSONL = "jsonl"
    TEXT_LINES = "text_lines"
    TEXT_FILES = "text_files"
    PARQUET = "parquet"
    CSV = "csv"
    TSV = "tsv"
    HUGGING_FACE = "hugging_face"


@dataclass(frozen=True)
class Split:
    """A part of one input that one worker reads from beginning to end. Plain values: pickles in some hundred bytes."""

    name: str
    """Unique in a run and safe as a file name; made of input, path and range, so the same for any number of workers or order of files."""
    source: str
    """Name of the input."""
    origin: Origin | None
    """Declared origin of the input; None: each record says."""
    path: str
    """The file or dataset that the user named; what locations name."""
    format: Format
    """How to read it."""
    begin: int = 0
    """First byte (lines that start here or later belong to this split) or first row group."""
    end: int = 0
    """One past the last byte or row group that were there when the run was planned, or `END_OF_FILE`."""
    num_bytes: int = 0
    """Bytes of the input's files that it stands for, for progress; 0 where they are unknown."""
    compression: str | None = None
    """`gzip`, `zstd` or None; a compressed file is read whole."""
    chunk_bytes: int = 0
    """Where only a reading from the start finds the records: the size of the chunks that `spill_unsplittable` should cut. 0: read it as it is."""
    first_position: int | None = 1
    """Line (from 1) or row (from 0) of the first record. None: unknown, so locations are `path@BYTE`."""
    paths: tuple[str, ...] = ()
    """The files of a group of text files, one document each."""
    columns: tuple[str, ...] = ()
    """Header of a CSV chunk, which has no header line of its own."""
    stored_at: str | None = None
    """Where a spilled chunk lies; None: at `path`."""
    trouble: DeadLetter | None = None
    """What was lost before the split could be made, to be reported once with its records."""

    @property
    def needs_spill(self) -> bool:
        """Whether `spill_unsplittable` should cut it before it is read, so that all cores work."""
        return self.chunk_bytes > 0
