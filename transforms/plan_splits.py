"""From inputs to splits: finds the files, looks at their first records, and cuts them by size.

Anything that would make a run useless is an `InputError` here, before any work: a glob that matches nothing, a format that is not
known, a field that no record has, an input with nothing to read. Nothing here depends on workers or on the order of inputs or files.
"""

import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from transforms.dead_letters import DeadLetter
from transforms.decompress import COMPRESSION_SUFFIXES
from transforms.inputs import FIELD_ALIASES, SPLIT_BYTES, FieldNames, Format, InputError, InputSpec, Split
from transforms.map_records import RecordMapper
from transforms.parsed_batches import ParsedBatch
from transforms.read_documents import read_with
from transforms.records import DeadReason
from transforms.split_lines import number_first_lines
from transforms.storage import is_local, open_arrow, open_binary
from transforms.stream_hugging_face import SCHEME, parse_address

EXTENSIONS: dict[str, Format] = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".txt": Format.TEXT_FILES,
    ".text": Format.TEXT_FILES,
    ".md": Format.TEXT_FILES,
}
"""Formats by extension; all but Parquet may be followed by .gz or .zst."""
TEXT_UNITS = ("file", "line")
USUAL_COMPRESSION = 3
"""Bytes of text in one byte of a compressed file, as a rule: what should hold no more than a split is read as it lies."""
MAX_GROUP_FILES = 10_000
"""Text files in one split, at most."""
MAX_THREADS = 16
"""Threads that read footers and count lines; both release the GIL."""
MAX_FIELDS_SHOWN = 40


class InputFile(NamedTuple):
    """One file of an input."""

    path: str
    format: Format
    compression: str | None
    num_bytes: int


def plan_splits(inputs: Sequence[InputSpec], fields: FieldNames, *, split_bytes: int = SPLIT_BYTES, text_unit: str = "file") -> list[Split]:
    """The splits of all inputs, by input name, path and position: the same for any order of inputs.

    A text file is one document, or with `text_unit="line"` each of its lines is. Local files over `split_bytes` are read once to number
    their lines; otherwise only first records and Parquet footers are. Raises InputError.
    """
    if split_bytes < 1:
        raise InputError(f"split_bytes is {split_bytes}; it must be at least 1")
    if text_unit not in TEXT_UNITS:
        raise InputError(f"text_unit is {text_unit!r}; known are {', '.join(TEXT_UNITS)}")
    inputs = sorted(inputs, key=lambda spec: spec.name)
    for spec, following in itertools.pairwise(inputs):
        if spec.name == following.name:
            raise InputError(f"two inputs are named {spec.name!r} ({spec.pattern} and {following.pattern}); give one of them another name")
    whole = {spec: [_whole_split(spec, file) for file in find_files(spec, text_unit)] for spec in inputs}
    check_fields(whole, fields)
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as threads:
        cut = threads.map(lambda split: _cut(split, split_bytes), (split for splits in whole.values() for split in splits))
        splits = _group_text_files(list(itertools.chain.from_iterable(cut)), split_bytes)
    return sorted(splits, key=lambda split: (split.source, split.path, split.begin))


def find_files(spec: InputSpec, text_unit: str = "file") -> list[InputFile]:
    """The files of an input, by path. Raises InputError when there is none, or one of an unknown format."""
    if spec.pattern.startswith(SCHEME):
        parse_address(spec.pattern)
        return [InputFile(spec.pattern, Format.HUGGING_FACE, None, 0)]
    pattern = os.path.expanduser(spec.pattern.removeprefix("file://"))
    found = _match_local(pattern) if is_local(pattern) else _match_remote(spec, pattern)
    if not found:
        if is_local(pattern) and os.path.isdir(pattern):
            raise InputError(f"input {spec.name!r}: {pattern} is a folder; name the files in it, as in {os.path.join(pattern, '*.jsonl')}")
        raise InputError(f"input {spec.name!r}: no file matches {pattern!r}; check the path and quote the glob so that the shell leaves it alone")
    files = [InputFile(path, *_format_of(spec, path), num_bytes) for path, num_bytes in sorted(found)]
    if text_unit == "line":
        return [file._replace(format=Format.TEXT_LINES) if file.format is Format.TEXT_FILES else file for file in files]
    return files


def check_fields(whole: dict[InputSpec, list[Split]], fields: FieldNames) -> None:
    """Reads first records: of each input until one is a document, of every file where a field is still missing. Raises InputError."""
    seen = {spec: _read_first_document(spec, splits, fields) for spec, splits in whole.items()}
    for role, name in fields.named().items():
        if not any(_look_for([name], splits, seen[spec], fields) for spec, splits in whole.items()):
            found = _listed(set().union(*seen.values()))
            raise InputError(f"--{role}_field={name}: no record has this field. Fields seen: {found}. Name one of them")
    wanted = [fields.origin] if fields.origin else FIELD_ALIASES["origin"]
    for spec, splits in whole.items():
        if spec.origin is None and not _look_for(wanted, splits, seen[spec], fields):
            raise InputError(
                f"input {spec.name!r} takes its origin from its records, but none has a field {' or '.join(map(repr, wanted))}. "
                f"Fields seen: {_listed(seen[spec])}. Name the right one with --origin_field, "
                "or declare the input --human, --synthetic or --unlabelled"
            )


def _look_for(wanted: Sequence[str], splits: list[Split], seen: set[str], fields: FieldNames) -> bool:
    """Whether a field of `wanted` is in `seen`, or in the first batch of one of the files; what else is there is added to `seen`."""
    for split in splits:
        if not seen.isdisjoint(wanted):
            return True
        mapper = RecordMapper(fields, split.source, split.origin)
        next(read_with(split, mapper), None)
        seen |= mapper.seen_fields
    return not seen.isdisjoint(wanted)


def _read_first_document(spec: InputSpec, splits: list[Split], fields: FieldNames) -> set[str]:
    """Field names seen on the way to the input's first document. Raises InputError when it has none."""
    mapper = RecordMapper(fields, spec.name, spec.origin)
    text_fields = {fields.text} if fields.text else {*FIELD_ALIASES["text"], fields.messages, *FIELD_ALIASES["messages"]}
    first_letter: DeadLetter | None = None
    num_read = 0
    for split in splits:
        for batch in read_with(split, mapper):
            first_letter = first_letter or next(iter(batch.dead), None)
            num_read += batch.num_read
            if _starts_array(split, batch):
                raise InputError(_nothing_readable(spec, num_read, first_letter, mapper.seen_fields))
            if batch.documents.num_rows:
                return mapper.seen_fields
            if mapper.seen_fields and mapper.seen_fields.isdisjoint(text_fields):
                break  # a batch of records without a text field: the rest of the file will be no different
    raise InputError(_nothing_readable(spec, num_read, first_letter, mapper.seen_fields))


def _starts_array(split: Split, batch: ParsedBatch) -> bool:
    """Whether the file is one JSON array over many lines, of which the last may look like a record."""
    first = batch.dead[0] if batch.dead else None
    if split.format is not Format.JSONL or first is None:
        return False
    opening = first.first_bytes.strip()
    return first.location == f"{split.path}:1" and first.reason is DeadReason.MALFORMED and (opening == "[" or opening.startswith("[{"))


def _nothing_readable(spec: InputSpec, num_read: int, first_letter: DeadLetter | None, seen: set[str]) -> str:
    if first_letter is None:
        return f"input {spec.name!r}: {spec.pattern} holds no record; leave the input out or name other files"
    advice = "Name the right field with --text_field" if seen else "Check that the files are what their extension says"
    if first_letter.first_bytes.lstrip().startswith("["):
        advice = "A file that is one JSON array must have each element on a line of its own: jq -c '.[]'"
    return (
        f"input {spec.name!r}: none of the {num_read:,} records looked at can be read. The first, {first_letter.location}: {first_letter.detail}. "
        f"Fields seen: {_listed(seen)}. {advice}"
    )


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:MAX_FIELDS_SHOWN]
    return ", ".join(shown) + (" ..." if len(names) > len(shown) else "") or "none"


def _match_local(pattern: str) -> list[tuple[str, int]]:
    # A name that exists is meant literally, even one with brackets in it.
    paths = [pattern] if os.path.isfile(pattern) else [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    return [(path, os.path.getsize(path)) for path in paths]


def _match_remote(spec: InputSpec, pattern: str) -> list[tuple[str, int]]:
    try:
        (result,) = FileSystems.match([pattern])
    except (BeamIOError, ValueError, OSError) as error:
        advice = "check the address and the access, or install its filesystem"
        raise InputError(f"input {spec.name!r}: {pattern} cannot be looked up ({error}); {advice}") from error
    return [(file.path, file.size_in_bytes) for file in result.metadata_list if not file.path.endswith("/")]


def _format_of(spec: InputSpec, path: str) -> tuple[Format, str | None]:
    stem, extension = os.path.splitext(path.lower())
    compression = COMPRESSION_SUFFIXES.get(extension)
    if compression is not None:
        extension = os.path.splitext(stem)[1]
    found = EXTENSIONS.get(extension)
    if found is None or (compression is not None and found is Format.PARQUET):
        known = ", ".join(EXTENSIONS)
        raise InputError(
            f"input {spec.name!r}: the extension of {path} names no known format; known are {known}, and all but .parquet with .gz or .zst after it. "
            "Narrow the glob, or rename the file"
        )
    return found, compression


def _whole_split(spec: InputSpec, file: InputFile) -> Split:
    return Split(
        name="",
        source=spec.name,
        origin=spec.origin,
        path=file.path,
        format=file.format,
        end=file.num_bytes,
        num_bytes=file.num_bytes,
        compression=file.compression,
        first_position=0 if file.format in (Format.PARQUET, Format.HUGGING_FACE) else 1,
        paths=(file.path,) if file.format is Format.TEXT_FILES else (),
    )


def _cut(split: Split, split_bytes: int) -> list[Split]:
    """`split`, which is a whole file, as the splits to read it in. Text files stay whole: they are grouped afterwards."""
    if split.format is Format.TEXT_FILES:
        return [split]
    if split.format is Format.PARQUET:
        return _cut_row_groups(split, split_bytes)
    if split.format is Format.HUGGING_FACE:
        return [_named(split, chunk_bytes=split_bytes)]
    if split.compression is not None:
        return [_named(split, chunk_bytes=split_bytes if split.num_bytes * USUAL_COMPRESSION > split_bytes else 0)]
    if split.format in (Format.CSV, Format.TSV):
        return [_named(split, chunk_bytes=split_bytes if split.num_bytes > split_bytes else 0)]
    return _cut_lines(split, split_bytes)


def _cut_lines(split: Split, split_bytes: int) -> list[Split]:
    """Byte ranges of nearly equal size, at most `split_bytes` each."""
    num_parts = -(-split.num_bytes // split_bytes)
    cuts = [split.num_bytes * part // num_parts for part in range(num_parts + 1)] if num_parts else []
    first_lines: Sequence[int | None] = [1]
    if num_parts > 1:
        # Numbering lines means reading the file: cheap on a disk, a second download elsewhere.
        first_lines = [None] * num_parts
        if is_local(split.path):
            with open_binary(split.path) as file:
                first_lines = number_first_lines(file, cuts[:-1])
    return [
        _named(split, begin=begin, end=end, num_bytes=end - begin, first_position=first_line)
        for (begin, end), first_line in zip(itertools.pairwise(cuts), first_lines, strict=bool(cuts))
    ]


def _cut_row_groups(split: Split, split_bytes: int) -> list[Split]:
    """Runs of row groups of at most `split_bytes` in memory, or one larger group. A file without a footer is one split, for its dead letter."""
    try:
        with open_arrow(split.path) as file:
            footer = pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return [_named(split, end=1)]
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    splits = []
    row = 0
    for numbers in _runs([group.total_byte_size for group in groups], split_bytes, len(groups)):
        stored = sum(groups[number].column(column).total_compressed_size for number in numbers for column in range(footer.num_columns))
        splits.append(_named(split, begin=numbers[0], end=numbers[-1] + 1, num_bytes=stored, first_position=row))
        row += sum(groups[number].num_rows for number in numbers)
    return splits


def _group_text_files(splits: list[Split], split_bytes: int) -> list[Split]:
    """`splits` with the text files of each input in runs of at most `split_bytes`."""
    grouped = [split for split in splits if split.format is not Format.TEXT_FILES]
    texts = [split for split in splits if split.format is Format.TEXT_FILES]
    for _, of_source in itertools.groupby(texts, lambda split: split.source):
        files = list(of_source)
        for run in _runs([file.num_bytes for file in files], split_bytes, MAX_GROUP_FILES):
            paths = tuple(files[number].path for number in run)
            grouped.append(_named(files[run[0]], paths=paths, num_bytes=sum(files[number].num_bytes for number in run), end=len(paths)))
    return grouped


def _runs(sizes: Sequence[int], max_size: int, max_items: int) -> Iterator[range]:
    """Consecutive items whose sizes sum to at most `max_size`, or single larger ones; every item is in exactly one run."""
    begin = total = 0
    for number, size in enumerate(sizes):
        if number > begin and (total + size > max_size or number - begin >= max_items):
            yield range(begin, number)
            begin, total = number, 0
        total += size
    if sizes:
        yield range(begin, len(sizes))


def _named(split: Split, **changes: Any) -> Split:
    split = replace(split, **changes)
    digest = xxhash.xxh3_64_hexdigest("\0".join(split.paths or (split.path,)).encode("utf-8", "surrogateescape"))
    return replace(split, name=f"{split.source}-{digest}-{split.begin:012d}-{split.end:012d}")
