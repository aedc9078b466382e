"""Keys of documents: the values by which documents count as one (`dedup.key`) or as of one kind (`[caps]`), as 64-bit hashes.

A key is written FIELD or FIELD:FORM. FIELD is a column of a document or a score (`source`, `generator`, `semantic_cluster`), a field of `extra` (`url`, or
`metadata.url` for one inside another), or `prompt`: the first message of the role `user`, else the field `prompt`. FORM makes of an address its
`normalised` form or its `host`. What is not a column is hashed at SCORE and stored beside the scores, 8 bytes a document, so that a remix need not
parse records again. Unequal values of a corpus of a million documents share a hash with a probability of 1 in 37 million.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from transforms.decisions import read_decisions
from transforms.records import DECISION_SCHEMA, DecidedShard
from transforms.storage import open_arrow

PROMPT = "prompt"
"""The field that stands for what a model was asked."""
NEAR_CLUSTER = "near_cluster"
"""The field that stands for a group of linked near-duplicates: no column, but found while duplicates are."""
KEY_COLUMNS = ("id", "source", "generator", "generation", "task", "licence", "consent", "declared_language")
"""Columns of a document that can be keys as they stand."""
TRACKING = re.compile(r"(utm_.*|gclid|fbclid|msclkid|dclid|mc_[ce]id|igshid|ref_src|spm|yclid)", re.IGNORECASE)
"""Parameters of an address that say where a reader came from, not what is read."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class DocumentKey:
    """A key as named in the recipe."""

    field: str
    """The column, or the field of the record; dots lead into objects."""
    form: str = "value"
    """`value`, or one of `FORMS`."""

    def __post_init__(self) -> None:
        if not all(self.field.split(".")):
            raise ValueError(f"key {self.field!r}: must be FIELD or FIELD:FORM, such as url, metadata.url or url:normalised")
        if self.form not in ("value", *FORMS):
            raise ValueError(f"key {self.field}:{self.form}: no such form; allowed: {', '.join(FORMS)}")

    @classmethod
    def parse(cls, text: str) -> "DocumentKey":
        """FIELD or FIELD:FORM. Raises ValueError."""
        name, colon, form = text.rpartition(":")
        return cls(name, form) if colon else cls(text)

    def __str__(self) -> str:
        return self.field if self.form == "value" else f"{self.field}:{self.form}"

    @property
    def column(self) -> str:
        """Its column in a scored shard, where it is stored as a hash."""
        return f"key_{re.sub(r'[^A-Za-z0-9]', '_', str(self))}"


def normalise_url(text: str) -> str:
    """The address without what does not say which page it is: scheme, `www.`, default port, fragment, trailing slash, tracking parameters.

    The host is lower-cased, the parameters sorted. What is no address comes back stripped. Idempotent.
    """
    parts = _split(text)
    if parts is None:
        return text.strip()
    host = _host_of(parts)
    port = f":{parts.port}" if parts.port and parts.port != _DEFAULT_PORTS.get(parts.scheme.lower()) else ""
    query = urlencode(sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not TRACKING.fullmatch(pair[0])))
    return f"{host}{port}{parts.path.rstrip('/')}{'?' + query if query else ''}"


def host_of(text: str) -> str:
    """The host of an address, lower-cased and without `www.`; what is no address comes back stripped."""
    parts = _split(text)
    return text.strip() if parts is None else _host_of(parts)


FORMS: dict[str, Callable[[str], str]] = {"normalised": normalise_url, "host": host_of}
"""What can be made of a value before it is hashed."""


def key_fields(keys: Sequence[str]) -> pa.Schema:
    """The columns in which `keys` are stored. Raises ValueError for one that is no key, or two that would share a column."""
    parsed = [DocumentKey.parse(key) for key in keys]
    names = [key.column for key in parsed]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"keys {keys[names.index(name)]!r} and {keys[place]!r} would share the column {name!r}: leave one of them out")
    return pa.schema([(name, pa.uint64()) for name in names])


def hash_keys(documents: pa.RecordBatch, keys: Sequence[str]) -> dict[str, pa.Array]:
    """The column of each of `keys` (uint64): the hash of its value, null where a document has none, or an empty one.

    Parses the `extra` of those documents alone that mention a field.
    """
    parsed = [DocumentKey.parse(key) for key in keys]
    values: dict[DocumentKey, list] = {key: [None] * documents.num_rows for key in parsed}
    prompts = _first_questions(documents["messages"]) if any(key.field == PROMPT for key in parsed) else []
    mentioned = pa.scalar(False)
    for key in parsed:
        # Most records of a mixed input lack the field: these are not parsed. JSON may spell what is not ASCII in two ways.
        name = f'"{key.field.partition(".")[0]}' if key.field.isascii() else ""
        mentioned = pc.or_(mentioned, pc.match_substring(documents["extra"], name))
    for row in np.flatnonzero(pc.fill_null(mentioned, False).to_numpy(zero_copy_only=False)).tolist():
        record = parse_record(documents["extra"][row].as_py())
        for key in parsed:
            values[key][row] = find_value(record, key.field)
    for key in parsed:
        if key.field == PROMPT:
            values[key] = [value if question is None else question for question, value in zip(prompts, values[key], strict=True)]
    return {key.column: pa.array([hash_value(value, key.form) for value in values[key]], pa.uint64()) for key in parsed}


def hash_value(value: Any, form: str = "value") -> int | None:
    """XXH3-64 of a value: text as it stands, anything else as JSON with sorted keys; None for null, empty text, an empty list or object."""
    if value is None or value == "" or value == [] or value == {}:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    made = FORMS[form](text) if form in FORMS else text
    return xxhash.xxh3_64_intdigest(made.encode()) if made else None


def parse_record(text: str) -> Any:
    """The value of one JSON text, of any depth and with whole numbers of any size."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # whole numbers over 64 bits, great depth


def find_value(record: Any, path: str) -> Any:
    """The value at `path` of a record: under the whole name where there is such a field, else through objects, dot by dot."""
    if isinstance(record, dict) and path in record:
        return record[path]
    name, dot, rest = path.partition(".")
    return find_value(record[name], rest) if dot and isinstance(record, dict) and name in record else None


def is_column(key: DocumentKey, columns: Sequence[str]) -> bool:
    """Whether the key is a column of a document or a score as it stands, among `columns` of a scored shard, or of the decisions."""
    return key.form == "value" and (key.field in KEY_COLUMNS or key.field in columns or key.field in _DECIDED)


def read_keys(decided: DecidedShard, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The hash (uint64[n]) of the key of each document of a shard, and which documents have one (bool[n]).

    Raises ValueError, saying what to do, if the shard was scored without it.
    """
    parsed = DocumentKey.parse(key)
    with open_arrow(decided.shard.path) as file:
        parquet = pq.ParquetFile(file)
        present = parquet.schema_arrow.names
        if parsed.column in present:
            return _filled(parquet.read([parsed.column], use_threads=False)[parsed.column])
        if parsed.form == "value" and parsed.field in present:
            return _hash_column(parquet.read([parsed.field], use_threads=False)[parsed.field])
    if parsed.form == "value" and parsed.field in _DECIDED:
        return _hash_column(read_decisions(decided, [parsed.field])[parsed.field])
    raise ValueError(f"{decided.shard.path}: {missing_key(key)}")


def missing_key(key: str) -> str:
    """That scored shards hold no `key`, and what to do, as half a sentence."""
    return f"holds no key {key!r}; score again with `headwater curate --set 'score.keys=[\"{key}\"]'`, or name a column of the scored shards"


_DECIDED = frozenset(DECISION_SCHEMA.names) & {"id", "source", "generation", "semantic_cluster"}


def _filled(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    valid = column.is_valid().to_numpy()
    return pc.fill_null(column, 0).to_numpy().astype(np.uint64), valid


def _hash_column(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Each distinct value is hashed once, as `hash_value` does."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded if isinstance(coded, pa.DictionaryArray) else coded.combine_chunks()
    hashes = pa.array([hash_value(_plain(value)) for value in coded.dictionary.to_pylist()], pa.uint64())
    return _filled(pa.chunked_array([hashes.take(coded.indices)]))


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _first_questions(messages: pa.Array) -> list[str | None]:
    """Of each conversation the first message of the role `user`, stripped; None where there is none."""
    found: list[str | None] = [None] * len(messages)
    if messages.null_count == len(messages):
        return found
    parents = pc.list_parent_indices(messages).to_numpy(zero_copy_only=False)
    turns = messages.flatten()
    asks = pc.fill_null(pc.equal(turns.field("role"), "user"), False).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(asks)
    first = places[np.unique(parents[places], return_index=True)[1]]
    for row, content in zip(parents[first].tolist(), turns.field("content").take(pa.array(first)).to_pylist(), strict=True):
        found[row] = (content or "").strip() or None
    return found


def _split(text: str):
    """The parts of an address, or None where it has no host."""
    stripped = text.strip()
    try:
        parts = urlsplit(stripped if "://" in stripped else f"//{stripped.removeprefix('//')}")
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def _host_of(parts) -> str:
    return re.sub(r"^(www\.)+", "", parts.hostname).rstrip(".")
