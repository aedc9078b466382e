"""What a scored shard says of itself: who made each score, with which settings, and the books of the records read.

All of it stands in the shard's Parquet metadata, so a remix starts from the shards alone, without a scorer or its libraries.
"""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.detectors import CascadeWork
from transforms.count_unlabelled import COLUMNS, UnlabelledScores, count_unlabelled
from transforms.records import ScoredShard
from transforms.storage import open_arrow

FORMAT = 1
"""Version of the scored shards' layout; `remix` refuses others."""
METADATA_KEY = b"headwater"


@dataclass(frozen=True)
class SplitScored:
    """What scoring one split left behind."""

    shard: ScoredShard
    """The scored shard; it may hold no documents."""
    books: tuple[tuple[tuple[str, str, str, str, str], int], ...]
    """Records read and dead, sorted: ((source, origin, "read" | "dead", stage, reason), count)."""
    origin_conflicts: int
    """Documents of a human input whose own field said machine."""
    num_bytes: int
    """Bytes of text in the shard."""
    input_bytes: int
    """Bytes of input that the split stands for."""
    scored_by: str
    """Scorers, versions and settings as JSON: shards that differ in it cannot be mixed."""
    cascade_work: CascadeWork | None = None
    """What the detector did, where it is a cascade; its CPU seconds are known to the run alone that scored."""
    unlabelled: tuple[UnlabelledScores, ...] = ()
    """The detector's scores of documents of unknown origin, by source."""
    keys: tuple[tuple[str, int], ...] = ()
    """Each stored key, and how many documents have it."""


def read_scored_metadata(path: str) -> dict:
    """What a scored shard says of itself: format, scorers and their versions, settings, books. Raises ValueError if it is none."""
    return _read_about(path)[0]


def read_scored_columns(path: str) -> pa.Schema:
    """The columns of a scored shard. Raises ValueError if it is none."""
    return _read_about(path)[1].schema.to_arrow_schema()


def _read_about(path: str) -> tuple[dict, pq.FileMetaData]:
    with open_arrow(path) as file:
        try:
            parquet = pq.read_metadata(file)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: is not a whole Parquet file ({error})") from error
    metadata = parquet.metadata or {}
    try:
        found = json.loads(metadata.get(METADATA_KEY, b"null"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or "format" not in found:
        raise ValueError(f"{path}: is not a scored shard of Headwater; give the scored/ folder that `headwater curate` left")
    if found["format"] != FORMAT:
        raise ValueError(f"{path}: has the layout {found['format']}, this version reads {FORMAT}; score again with `headwater curate`")
    return found, parquet


def dead_letters_name(shard_name: str) -> str:
    """Name of the dead letters' file of the split whose scored shard is `shard_name`."""
    return f"{shard_name.removesuffix('.parquet')}.jsonl"


def recall_split(path: str) -> list[SplitScored]:
    """What `score_split` returned for the scored shard at `path`, from its metadata alone; a pool task of `remix`."""
    about, parquet = _read_about(path)
    books = tuple((tuple(key), count) for *key, count in about["books"])
    shard = ScoredShard(path.rsplit("/", 1)[-1], path, parquet.num_rows)
    scored_by = json.dumps({"scorers": about["scorers"], "settings": about["settings"]}, sort_keys=True)
    work = CascadeWork(*about["cascade_work"]) if "cascade_work" in about else None
    unlabelled = _recall_unlabelled(about, path)
    keys = tuple(map(tuple, about.get("keys", ())))
    return [SplitScored(shard, books, about["origin_conflicts"], about["num_bytes"], about["input_bytes"], scored_by, work, unlabelled, keys)]


def _recall_unlabelled(about: dict, path: str) -> tuple[UnlabelledScores, ...]:
    if "unlabelled" in about:
        return tuple(UnlabelledScores(source, documents, tuple(map(tuple, cells))) for source, documents, cells in about["unlabelled"])
    # A shard of a version that did not count them yet: its columns say the same.
    with open_arrow(path) as file:
        parquet = pq.ParquetFile(file)
        return count_unlabelled(parquet.read([name for name in COLUMNS if name in parquet.schema_arrow.names], use_threads=False))
