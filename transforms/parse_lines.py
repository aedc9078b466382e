"""Lines become documents: a JSON object each, or plain text.

JSON is parsed line by line, so that a broken line costs itself and nothing else.
"""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from transforms.map_records import RecordMapper, Unreadable
from transforms.parsed_batches import BatchBuilder, ParsedBatch
from transforms.read_lines import SplitLines
from transforms.records import DeadReason


def parse_json_lines(numbered: SplitLines, mapper: RecordMapper, prefix: str) -> Iterator[ParsedBatch]:
    """Each line that is not blank as a JSON object. Locations are `prefix` and the line's position."""
    builder = BatchBuilder(mapper)
    for positions, lines in numbered:
        for position, line in zip(positions, lines, strict=True):
            if not line or line.isspace():
                continue
            location = f"{prefix}{position}"
            try:
                record = _load_object(line)
                full = builder.add(*mapper.map_record(record), location)
            except Unreadable as error:
                full = builder.lose(location, error, line)
            if full is not None:
                yield full
    yield from builder.rest()


def parse_text_lines(numbered: SplitLines, mapper: RecordMapper, prefix: str) -> Iterator[ParsedBatch]:
    """Each line that is not blank as a document of its own."""
    builder = BatchBuilder(mapper)
    for positions, lines in numbered:
        for position, line in zip(positions, lines, strict=True):
            if full := add_text(builder, line.removesuffix(b"\r"), f"{prefix}{position}", skip_blank=True):
                yield full
    yield from builder.rest()


def add_text(builder: BatchBuilder, utf8: bytes, location: str, skip_blank: bool = False) -> ParsedBatch | None:
    """Takes `utf8` as the text of a document that has nothing else; blank text is no record, or a dead letter."""
    try:
        text = utf8.decode()
    except UnicodeDecodeError as error:
        return builder.lose(location, Unreadable(DeadReason.NOT_UTF8, f"byte {error.start} of the text is not UTF-8"), utf8)
    if not text or text.isspace():
        return None if skip_blank else builder.lose(location, Unreadable(DeadReason.EMPTY_TEXT, "no text in the file"), utf8)
    mapper = builder.mapper
    return builder.add(utf8, mapper.map_rest({}, mapper.roles_of(()), mapper.default_origin, utf8, None), location)


def _load_object(line: bytes) -> dict[str, Any]:
    """The JSON object on `line`. Raises `Unreadable`."""
    try:
        record = orjson.loads(line)
    except ValueError as error:
        record = _load_lenient(line, error)
    if type(record) is not dict:
        raise Unreadable(DeadReason.WRONG_TYPE, f"a JSON {type(record).__name__} where an object is expected")
    return record


def _load_lenient(line: bytes, first_error: ValueError) -> Any:
    """What orjson refuses and JSON libraries commonly write: NaN and infinities (read as null), whole numbers over 64 bits."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(DeadReason.NOT_UTF8, f"byte {error.start} of the line is not UTF-8") from error
    try:
        record = json.loads(text, parse_constant=lambda _: None)
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Unreadable(DeadReason.NOT_UTF8, "a lone surrogate escape (\\ud800 to \\udfff) is no character") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(DeadReason.MALFORMED, f"not JSON: {first_error}") from error
    return record
