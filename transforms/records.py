"""The schemas that flow through Headwater.

Everything that two stages must agree on stands here: the columns of a document, the columns that DECIDE reads, the
codes of origins, and how a row of a scored shard is addressed. Imports nothing of ours.

Scorers work on Arrow record batches of about a thousand documents; what Beam carries are names of files and arrays in bytes
(docs/decisions/0001): one element a document costs 10 to 30 times more in Beam's Python SDK.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

BATCH_DOCUMENTS = 1_000
"""Documents in one record batch, at most."""
BATCH_BYTES = 4 << 20
"""Bytes of text in one record batch, at most (a single longer document makes a batch of its own)."""

MESSAGE_TYPE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        ("messages", MESSAGE_TYPE),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("generator", pa.string()),
        ("generation", pa.int16()),
        ("parents", pa.list_(pa.string())),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("task", pa.string()),
        ("licence", pa.string()),
        ("consent", pa.string()),
        ("declared_language", pa.string()),
        ("extra", pa.string()),
        pa.field("location", pa.string(), nullable=False),
    ]
)
"""One document as read. `origin` is the declared one (`Origin`); `extra` holds every other input column as a JSON object;
`location` is `file:line` (JSONL, CSV), `file#row` (Parquet, Hugging Face) or the file itself."""


class Origin(enum.StrEnum):
    """Who wrote a document: what its owner declares (the first three), or what verification makes of it."""

    HUMAN = "human"
    SYNTHETIC = "synthetic"
    UNKNOWN = "unknown"
    PRESUMED_HUMAN = "presumed_human"
    DISPUTED = "disputed"


ORIGIN_CODES: dict[str, int] = {
    Origin.HUMAN: 0,
    Origin.PRESUMED_HUMAN: 1,
    Origin.SYNTHETIC: 2,
    Origin.UNKNOWN: 3,
    Origin.DISPUTED: 4,
}
"""Code of each origin in the decision columns. Smaller survives among duplicates: human, presumed human, synthetic."""
ORIGIN_NAMES: tuple[str, ...] = tuple(sorted(ORIGIN_CODES, key=ORIGIN_CODES.__getitem__))


class Stage(enum.StrEnum):
    """Where a document was read, lost or decided upon."""

    READ = "read"
    SCORE = "score"
    ORIGIN = "origin"
    CONTAMINATION = "contamination"
    RULES = "rules"
    TOP = "keep_top"
    EXACT = "exact_duplicates"
    KEY = "key_duplicates"
    NEAR = "near_duplicates"
    SEMANTIC = "semantic_duplicates"
    LINES = "repeated_lines"
    CAPS = "caps"
    LEDGER = "ledger"
    MIX = "mix"


class Reason(enum.StrEnum):
    """Reasons of the stages whose reasons are fixed; the rules' reasons are the names of the recipe's rules."""

    DISPUTED_ORIGIN = "disputed_origin"
    CONTAMINATED = "contaminated"
    BELOW_TOP = "below_top"
    EXACT_DUPLICATE = "exact_duplicate"
    DUPLICATE_KEY = "duplicate_key"
    NEAR_DUPLICATE = "near_duplicate"
    SEMANTIC_DUPLICATE = "semantic_duplicate"
    REPEATED_LINES = "repeated_lines_elsewhere"
    OVER_CAP = "over_cap"
    WITHDRAWN = "withdrawn"
    REUSED = "reused"
    TOO_DEEP = "too_deep"
    OVER_QUOTA = "over_quota"
    OVER_SIZE = "over_size"
    SHARD_QUOTA = "shard_quota"
    NOT_FRESH = "not_fresh"
    OVER_GROUP = "over_group"


class DeadReason(enum.StrEnum):
    """Why a record could not be read or scored."""

    MALFORMED = "malformed"
    NOT_UTF8 = "not_utf8"
    MISSING_TEXT = "missing_text"
    EMPTY_TEXT = "empty_text"
    WRONG_TYPE = "wrong_type"
    BAD_ORIGIN = "bad_origin"
    TRUNCATED_FILE = "truncated_file"
    BROKEN_FILE = "broken_file"
    SCORER_FAILED = "scorer_failed"


ROW_BITS = 32
"""Bits of an address that hold the row; the bits above hold the index of the scored shard."""


def make_addresses(shard_index: int, rows: np.ndarray) -> np.ndarray:
    """Addresses (uint64) of `rows` of scored shard `shard_index`: shard in the high 32 bits, row in the low 32."""
    return (np.uint64(shard_index) << np.uint64(ROW_BITS)) | rows.astype(np.uint64)


def shards_of(addresses: np.ndarray) -> np.ndarray:
    """Index of the scored shard (int64) of each address."""
    return (addresses >> np.uint64(ROW_BITS)).astype(np.int64)


def rows_of(addresses: np.ndarray) -> np.ndarray:
    """Row within its scored shard (int64) of each address."""
    return (addresses & np.uint64((1 << ROW_BITS) - 1)).astype(np.int64)


@dataclass(frozen=True, order=True)
class ScoredShard:
    """A scored Parquet file of one split of one input."""

    name: str
    """File name without folder: derived from input, file and split, so the same for any number of workers."""
    path: str
    """Where it lies."""
    num_rows: int
    """Documents in it."""
    index: int = -1
    """Its place among all scored shards of the run, sorted by name: the high half of its documents' addresses."""


@dataclass(frozen=True)
class DecidedShard:
    """What DECIDE has so far decided about one scored shard: a file that each stage of DECIDE writes anew."""

    shard: ScoredShard
    """The scored shard; rows correspond one to one."""
    path: str
    """Arrow IPC file with one row a document, in row order, of `DECISION_SCHEMA`."""
    num_alive: int
    """Rows whose `reason` is still null."""
    ranks_path: str = ""
    """File of each row's rank within its cluster (uint16, little-endian), where documents were ranked."""


DECISION_SCHEMA = pa.schema(
    [
        ("address", pa.uint64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("declared", pa.uint8()),
        ("origin", pa.uint8()),
        ("verified", pa.bool_()),
        ("row_key", pa.uint64()),
        ("content_hash", pa.binary(16)),
        ("quality", pa.float32()),
        ("words", pa.int32()),
        ("tokens", pa.int32()),
        ("bytes", pa.int32()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float32()),
        ("limit", pa.float32()),
        ("partner_id", pa.string()),
        ("similarity", pa.float32()),
        ("partner_cycle", pa.string()),
        ("generation", pa.int16()),
        ("fresh", pa.bool_()),
        ("semantic_cluster", pa.int32()),
    ]
)
"""The narrow columns that DECIDE works on. `declared` and `origin` (as verified) hold `ORIGIN_CODES`; `verified` says whether
the detector could judge. `reason` is null while the document is alive; a rejected one carries the stage and reason, the score
and the limit that decided, for a duplicate the id of the survivor and the similarity to it, and for a contaminated one the evaluation item
and its share. `row_key` hashes id, source and content: every seeded choice is made from it, never from a position. `content_hash` is
null-free; `quality` lies in 0..1.
With a ledger, `partner_cycle` names the cycle of the earlier publication, `generation` is the derived one and `fresh` says whether a human text was
never published; without one they are null. `semantic_cluster` numbers the documents' clusters (`transforms.cluster_vectors`) from 0; null where
semantic duplicates are not sought."""

DUPLICATE_SCHEMA = pa.schema(
    [
        ("address", pa.uint64()),
        ("partner_address", pa.uint64()),
        ("partner_id", pa.string()),
        ("similarity", pa.float32()),
    ]
)
"""One removed duplicate a row: its address, and the surviving document that it lost to."""

REMOVED_SCHEMA = pa.schema(
    [
        ("address", pa.uint64()),
        ("partner_address", pa.uint64()),
        ("partner_id", pa.string()),
        ("value", pa.float32()),
    ]
)
"""One removed document a row that is no copy of the one it lost to: `value` is what its rejection states, no similarity."""
