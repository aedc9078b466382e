"""One record of any input, a dict of JSON-like values, becomes the values of one document.

Which field is which is decided once for each set of field names and remembered; everything that no field claims goes to `extra`.
"""

import json
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import orjson
import xxhash

from transforms.inputs import FIELD_ALIASES, FieldNames
from transforms.records import DeadReason, Origin

ORIGIN_LABELS: dict[str, Origin] = {
    "human": Origin.HUMAN,
    **dict.fromkeys(("machine", "synthetic", "ai", "generated", "llm"), Origin.SYNTHETIC),
    **dict.fromkeys(("unknown", "unlabelled", "unlabeled", "", "presumed_human", "disputed"), Origin.UNKNOWN),
}
"""What a record's origin field may say, in any case. What an earlier run presumed or disputed is judged anew: `unknown`."""

MAX_TEXT_BYTES = (1 << 31) - 1
"""Longest text that an Arrow string column can hold."""
MAX_REMEMBERED_SHAPES = 1_000
"""Sets of field names remembered; records with ever new names cost a look-up each, not memory."""
MAX_GENERATION = (1 << 15) - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))
"""Numbers below the first of a pair count that many units a second: seconds reach the year 5138 before milliseconds are meant."""


class Unreadable(Exception):
    """A record that cannot become a document."""

    def __init__(self, reason: DeadReason, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.origin: Origin | None = None


class Row(NamedTuple):
    """The values of one document but for text, source and location, in the order of `DOCUMENT_SCHEMA`."""

    id: str
    messages: list[dict[str, str]] | None
    origin: Origin
    generator: str | None
    generation: int | None
    parents: list[str] | None
    created_at: datetime | None
    task: str | None
    licence: str | None
    consent: str | None
    declared_language: str | None
    extra: bytes | None


class Roles(NamedTuple):
    """The field of a record that plays each role, or None."""

    text: str | None
    id: str | None
    origin: str | None
    generator: str | None
    generation: str | None
    parents: str | None
    created_at: str | None
    task: str | None
    licence: str | None
    consent: str | None
    language: str | None
    messages: str | None


class RecordMapper:
    """Maps the records of one input. Keeps count of what the books need: contradictions of the declared origin, and field names seen."""

    def __init__(self, fields: FieldNames, source: str, origin: Origin | None):
        self.source = source
        self.declared = origin
        self.num_conflicts = 0
        self.seen_fields: set[str] = set()
        self._named = fields.named()
        self._id_prefix = source.encode() + b"\0"
        self._shapes: dict[tuple[str, ...], Roles] = {}

    @property
    def default_origin(self) -> Origin:
        """Origin in the books of a record that cannot be parsed."""
        return Origin.UNKNOWN if self.declared is None else self.declared

    def roles_of(self, names: tuple[str, ...]) -> Roles:
        """Which of a record's fields plays which role: the named one, else the first usual name that is there and has no other role."""
        roles = self._shapes.get(names)
        if roles is None:
            if len(self._shapes) >= MAX_REMEMBERED_SHAPES:
                self._shapes.clear()
            roles = self._shapes[names] = self._assign(names)
            if len(self.seen_fields) < MAX_REMEMBERED_SHAPES:
                self.seen_fields.update(names)
        return roles

    def map_record(self, record: dict[str, Any]) -> tuple[bytes, Row]:
        """Text (UTF-8, not blank) and values of `record`, which is used up. Raises `Unreadable`.

        Only text, messages standing in for it, and an origin that is asked for must be right: another value that does not fit its
        column leaves that empty and stays in `extra`.
        """
        roles = self.roles_of(tuple(record))
        origin = self.origin_of(record, roles)
        try:
            text = None if roles.text is None else record.pop(roles.text)
            if type(text) is str:
                if not text or text.isspace():
                    raise Unreadable(DeadReason.EMPTY_TEXT, f"field {roles.text!r} holds no text" if not text else f"field {roles.text!r} is blank")
                utf8 = text.encode()
                messages = None
            elif text is None:
                utf8, messages = self._render_text(record, roles)
            else:
                raise Unreadable(DeadReason.WRONG_TYPE, f"field {roles.text!r} holds {_kind(text)}, not text")
            if len(utf8) > MAX_TEXT_BYTES:
                raise Unreadable(DeadReason.WRONG_TYPE, f"text of {len(utf8):,} bytes; at most {MAX_TEXT_BYTES:,} fit one document")
            return utf8, self.map_rest(record, roles, origin, utf8, messages)
        except Unreadable as error:
            error.origin = origin
            raise

    def origin_of(self, record: dict[str, Any], roles: Roles) -> Origin:
        """Declared origin of `record`; takes the field away where it is the one that decides. Raises `Unreadable`.

        A document declared human whose own record says that a machine wrote it is taken for synthetic: the quota must not be fooled.
        """
        if roles.origin is None:
            return self.default_origin
        label = record[roles.origin]
        if self.declared is None:
            origin = Origin.UNKNOWN if label is None else _read_label(label)
            if origin is None:
                known = ", ".join(repr(known) for known in ORIGIN_LABELS)
                raise Unreadable(DeadReason.BAD_ORIGIN, f"field {roles.origin!r} is {str(label)[:50]!r}; known are {known}")
            del record[roles.origin]
            return origin
        if self.declared is Origin.HUMAN and _read_label(label) is Origin.SYNTHETIC:
            self.num_conflicts += 1
            return Origin.SYNTHETIC
        return self.declared

    def map_rest(self, record: dict[str, Any], roles: Roles, origin: Origin, utf8: bytes | memoryview, messages: list | None) -> Row:
        """Values of `record` once its text is known and taken away."""
        identity = generator = generation = parents = created_at = task = licence = consent = language = None
        if roles.id is not None:
            value = record.pop(roles.id)
            identity = read_name(value)
            if identity is None and value is not None and value != "":
                record[roles.id] = value
        if identity is None:
            identity = xxhash.xxh3_128_hexdigest(self._id_prefix + utf8)
        if messages is None and roles.messages is not None:
            messages = _take_messages(record, roles.messages)
        if roles.generator is not None:
            generator = _take(record, roles.generator, read_name)
        if roles.generation is not None:
            generation = _take(record, roles.generation, read_generation)
        if roles.parents is not None:
            parents = _take(record, roles.parents, read_parents)
        if roles.created_at is not None:
            created_at = _take(record, roles.created_at, read_time)
        if roles.task is not None:
            task = _take(record, roles.task, read_name)
        if roles.licence is not None:
            licence = _take(record, roles.licence, read_name)
        if roles.consent is not None:
            consent = _take(record, roles.consent, read_consent)
        if roles.language is not None:
            language = _take(record, roles.language, read_name)
        named = (generator, generation, parents, created_at, task, licence, consent, language)
        return Row(identity, messages, origin, *named, dump_extra(record) if record else None)

    def _assign(self, names: tuple[str, ...]) -> Roles:
        present = set(names)
        free = present - set(self._named.values())
        chosen: dict[str, str | None] = {}
        for role in Roles._fields:
            if role in self._named:
                chosen[role] = self._named[role] if self._named[role] in present else None
            else:
                chosen[role] = next((alias for alias in FIELD_ALIASES[role] if alias in free), None)
        return Roles(**chosen)

    def _render_text(self, record: dict[str, Any], roles: Roles) -> tuple[bytes, list[dict[str, str]]]:
        """Text from the chat turns, which it takes out of `record`. Raises `Unreadable`."""
        turns = None if roles.messages is None else record.get(roles.messages)
        if turns is None:
            wanted = repr(self._named["text"]) if "text" in self._named else " or ".join(map(repr, FIELD_ALIASES["text"]))
            raise Unreadable(DeadReason.MISSING_TEXT, f"field {roles.text!r} is null" if roles.text else f"no field {wanted}, and no messages")
        messages, leftover = read_messages(turns)
        if not any(message["content"].strip() for message in messages):
            raise Unreadable(DeadReason.EMPTY_TEXT, f"field {roles.messages!r} holds no text")
        _replace(record, roles.messages, leftover)
        return render_messages(messages).encode(), messages


def read_messages(turns: Any) -> tuple[list[dict[str, str]], list[dict[str, Any]] | None]:
    """Chat turns as {role, content}, and what else each of them held, or None. Raises `Unreadable`."""
    if not isinstance(turns, list):
        raise Unreadable(DeadReason.WRONG_TYPE, f"messages are {_kind(turns)}, not a list")
    messages, leftover = [], []
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise Unreadable(DeadReason.WRONG_TYPE, f"message {number} is {_kind(turn)}, not an object with role and content")
        rest = dict(turn)
        role = rest.pop("role", None) if rest.get("role") is not None else rest.pop("from", None)
        content = rest.pop("content", None) if rest.get("content") is not None else rest.pop("value", None)
        if not isinstance(role, str) or not isinstance(content, str):
            kinds = f"{_kind(role)} for its role and {_kind(content)} for its content"
            raise Unreadable(DeadReason.WRONG_TYPE, f"message {number} has {kinds}; both must be text")
        messages.append({"role": role, "content": content})
        leftover.append({key: value for key, value in rest.items() if value is not None})
    return messages, leftover if any(leftover) else None


def render_messages(messages: Iterable[dict[str, str]]) -> str:
    """Chat turns as one text: a paragraph `role: content` each."""
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def read_name(value: Any) -> str | None:
    """A name or identity given as text or number; None where it is neither, or empty."""
    if type(value) is str:
        return value or None
    if type(value) is int or (type(value) is float and value == value):
        return str(value)
    return None


def read_generation(value: Any) -> int | None:
    """A generation as a whole number from 0 to 32,767; None where it is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 10 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_GENERATION else None


def read_consent(value: Any) -> str | None:
    """Consent as words: `true` or `false` for a truth value, or for these words in any case; other words as given; None where it is neither, or empty."""
    if type(value) is bool:
        return "true" if value else "false"
    name = read_name(value)
    folded = name.strip().lower() if name else None
    return folded if folded in ("true", "false") else name


def read_parents(value: Any) -> list[str] | None:
    """Ids of parents, given as one id or a list of them; None where one of them is no id."""
    parents = [read_name(parent) for parent in (value if isinstance(value, list) else [value])]
    return None if None in parents else parents


def read_time(value: Any) -> datetime | None:
    """A moment in UTC from ISO-8601 text, a number since 1970 (unit by its size) or a date; None where it is none or beyond the years 1 to 9999."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            units_per_second = next((units for limit, units in EPOCH_UNITS if abs(value) < limit), None)
            return None if units_per_second is None else EPOCH + timedelta(seconds=value / units_per_second)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def dump_extra(values: Any) -> bytes:
    """Compact JSON with sorted keys. Numbers for which JSON has no word (NaN, infinity) become null. Raises `Unreadable`."""
    try:
        return orjson.dumps(values, _dump_other, orjson.OPT_SORT_KEYS)
    except TypeError:
        pass  # whole numbers over 64 bits, great depth: the slower library writes them
    try:
        return json.dumps(_without_nan(values), sort_keys=True, separators=(",", ":"), default=_dump_other).encode()
    except RecursionError as error:
        raise Unreadable(DeadReason.MALFORMED, "nested too deeply") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _dump_other(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def _read_label(label: Any) -> Origin | None:
    if type(label) is not str:
        return None
    return ORIGIN_LABELS.get(label) or ORIGIN_LABELS.get(label.strip().lower())


def _take(record: dict[str, Any], name: str, read) -> Any:
    """Value of field `name` as `read` understands it, taken out of `record`; what it does not understand stays there."""
    value = record.pop(name)
    if value is None or value == "":
        return None
    understood = read(value)
    if understood is None:
        record[name] = value
    return understood


def _take_messages(record: dict[str, Any], name: str) -> list[dict[str, str]] | None:
    """Chat turns beside a text; what is not the usual form stays in `record`."""
    if record[name] is None:
        return None
    try:
        messages, leftover = read_messages(record[name])
    except Unreadable:
        return None
    _replace(record, name, leftover)
    return messages


def _replace(record: dict[str, Any], name: str, leftover: Any) -> None:
    if leftover is None:
        del record[name]
    else:
        record[name] = leftover


def _kind(value: Any) -> str:
    names = {type(None): "nothing", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
