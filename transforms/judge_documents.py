"""The first act of DECIDE: each scored shard's narrow columns, with origins verified and rules applied, as a decision file.

Rules come before deduplication, so that a document that will be rejected never suppresses a good twin. The decision file
(Arrow IPC, `DECISION_SCHEMA`) lies in the staging folder; later stages write it anew with their own rejections in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.calibration import LengthThresholds, judge
from classifiers.contamination_fields import BY, NGRAMS, SHARE
from transforms.apply_rules import Rule, Verdicts, apply_rules
from transforms.decisions import write_decisions
from transforms.find_contaminated import ContaminationLimits, find_contaminated
from transforms.records import (
    DECISION_SCHEMA,
    ORIGIN_CODES,
    ORIGIN_NAMES,
    DecidedShard,
    Reason,
    ScoredShard,
    Stage,
    make_addresses,
)
from transforms.storage import open_arrow
from transforms.verify_origin import DISPUTED, verify_origin

BASE_COLUMNS = ("id", "source", "origin", "row_key", "content_hash", "words", "tokens", "bytes")
"""What judging always reads. Everything else is read only where a rule or a setting needs it."""
OPTIONAL_COLUMNS = ("quality", "ai_probability")


@dataclass(frozen=True, eq=False)
class Judged:
    """What single documents are turned down for before they are compared with others; every array has one entry a document."""

    declared: np.ndarray
    """uint8: `ORIGIN_CODES` as declared."""
    origin: np.ndarray
    """uint8: as verified."""
    verified: np.ndarray
    """bool: the detector could judge."""
    ai_probability: np.ndarray
    """float32, nan where no detector ran or it abstained."""
    limits: np.ndarray
    """float32: the detector's threshold for a text of this length, nan where there is none."""
    disputed: np.ndarray
    """bool: rejected for its origin."""
    contaminated: np.ndarray
    """bool: rejected as contaminated."""
    broken: np.ndarray
    """bool: rejected by the rule of `verdicts`."""
    verdicts: Verdicts
    """The first rule that each breaks, whatever else it is rejected for."""


def judge_shard(
    shard: ScoredShard,
    rules: Sequence[Rule],
    thresholds: LengthThresholds | None,
    reject_disputed: bool,
    folder: str,
    contamination: ContaminationLimits | None = None,
    quality_field: str = "quality",
) -> list[DecidedShard]:
    """Verifies origins and applies `rules` to one scored shard; a pool task.

    `quality_field` is the score that becomes the decision column `quality`, see `quality_of`.
    `thresholds` is None where no detector ran: declared origins then stand unverified. Cost: the narrow columns only,
    never the text; about 2 microseconds of CPU a document.
    """
    present = set(_column_names(shard.path))
    wanted = {*BASE_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in present), *(rule.field for rule in rules)}
    wanted |= {quality_field} & present
    wanted |= {"language"} if any(rule.languages for rule in rules) else set()
    wanted |= set() if contamination is None else {NGRAMS, SHARE, BY}
    if missing := sorted(rule.field for rule in rules if rule.field not in present):
        raise ValueError(f"{shard.path}: has no column {missing[0]!r}, which a rule looks at; score again with `headwater curate`")
    with open_arrow(shard.path) as file:
        columns = pq.read_table(file, columns=sorted(wanted), use_threads=False)
    decisions = judge_documents(columns, shard.index, rules, thresholds, reject_disputed, contamination, quality_field)
    return [write_decisions(decisions, shard, folder)]


def judge_documents(
    columns: pa.Table,
    shard_index: int,
    rules: Sequence[Rule],
    thresholds: LengthThresholds | None,
    reject_disputed: bool,
    contamination: ContaminationLimits | None = None,
    quality_field: str = "quality",
) -> pa.Table:
    """One row of `DECISION_SCHEMA` for each row of `columns`, in order. A document is rejected for its origin, else as contaminated, else by a rule."""
    n = columns.num_rows
    judged = judge_columns(columns, rules, thresholds, reject_disputed, contamination)
    disputed, contaminated, broken, verdicts = judged.disputed, judged.contaminated, judged.broken, judged.verdicts
    reasons = np.array([None] * n, dtype=object)
    reasons[disputed] = Reason.DISPUTED_ORIGIN.value
    reasons[broken] = np.array([rule.name for rule in rules] or [""], dtype=object)[verdicts.rule[broken]]
    stages = np.array([None] * n, dtype=object)
    stages[disputed], stages[broken] = Stage.ORIGIN.value, Stage.RULES.value
    reasons[contaminated], stages[contaminated] = Reason.CONTAMINATED.value, Stage.CONTAMINATION.value
    values = np.where(disputed, judged.ai_probability, np.where(broken, verdicts.value, np.nan))
    bounds = np.where(disputed, judged.limits, np.where(broken, verdicts.limit, np.nan))
    partner_id, similarity = pa.nulls(n, pa.string()), pa.nulls(n, pa.float32())
    if contamination is not None:
        values = np.where(contaminated, columns[NGRAMS].to_numpy(), values)
        bounds = np.where(contaminated, contamination.min_ngrams, bounds)
        partner_id = pc.if_else(pa.array(contaminated), columns[BY], None)
        similarity = pc.if_else(pa.array(contaminated), columns[SHARE], None)

    made = {
        "address": make_addresses(shard_index, np.arange(n)),
        "id": columns["id"],
        "source": columns["source"],
        "declared": judged.declared,
        "origin": judged.origin,
        "verified": judged.verified,
        "row_key": columns["row_key"],
        "content_hash": columns["content_hash"],
        "quality": quality_of(columns, quality_field),
        "words": columns["words"],
        "tokens": columns["tokens"],
        "bytes": columns["bytes"],
        "stage": pa.array(stages, pa.string()),
        "reason": pa.array(reasons, pa.string()),
        "value": _nullable(values),
        "limit": _nullable(bounds),
        "partner_id": partner_id,
        "similarity": similarity,
        "partner_cycle": pa.nulls(n, pa.string()),
        "generation": pa.nulls(n, pa.int16()),
        "fresh": pa.nulls(n, pa.bool_()),
        "semantic_cluster": pa.nulls(n, pa.int32()),
    }
    return pa.table({field.name: _cast(made[field.name], field.type) for field in DECISION_SCHEMA}, schema=DECISION_SCHEMA)


def judge_columns(
    columns: pa.Table,
    rules: Sequence[Rule],
    thresholds: LengthThresholds | None,
    reject_disputed: bool,
    contamination: ContaminationLimits | None = None,
) -> Judged:
    """What `judge_documents` decides, as arrays: `columns` needs `origin`, `words` and whatever rules and limits look at."""
    n = columns.num_rows
    declared = _codes(columns["origin"])
    ai_probability, limits = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    flagged = verified = np.zeros(n, dtype=bool)
    if thresholds is not None and "ai_probability" in columns.schema.names:
        words = columns["words"].to_numpy().astype(np.int32)
        ai_probability = pc.fill_null(columns["ai_probability"], np.nan).to_numpy().astype(np.float32)
        flagged, verified = judge(ai_probability, words, thresholds)
        limits = _limits(words, thresholds)
    origin = verify_origin(declared, flagged)
    disputed = (origin == DISPUTED) & reject_disputed
    verdicts = apply_rules(columns, origin_names(origin), rules)
    contaminated = np.zeros(n, bool) if contamination is None else ~disputed & find_contaminated(columns, contamination)
    broken = ~disputed & ~contaminated & (verdicts.rule >= 0)
    return Judged(declared, origin, verified, ai_probability, limits, disputed, contaminated, broken, verdicts)


def origin_names(origin: np.ndarray) -> pa.Array:
    """string[n]: the names of origin codes."""
    return pa.DictionaryArray.from_arrays(pa.array(origin, pa.int8()), pa.array(ORIGIN_NAMES, pa.string())).cast(pa.string())


def quality_of(columns: pa.Table, field: str) -> np.ndarray:
    """float32[n] in 0..1: what decides between duplicates and orders a mix: the score `field`, cut at 0 and 1, 0 where it is null; 0 for all where
    it was not scored."""
    if field not in columns.schema.names:
        return np.zeros(columns.num_rows, np.float32)
    return np.clip(pc.fill_null(pc.cast(columns[field], pa.float32()), 0).to_numpy(), 0, 1)


def _limits(words: np.ndarray, thresholds: LengthThresholds) -> np.ndarray:
    group = np.searchsorted(thresholds.edges, words, side="right") - 1
    return np.where(group >= 0, np.array(thresholds.thresholds, np.float32)[group], np.nan).astype(np.float32)


def _column_names(path: str) -> list[str]:
    with open_arrow(path) as file:
        return pq.read_schema(file).names


def _codes(origins: pa.ChunkedArray) -> np.ndarray:
    index = pc.index_in(origins, value_set=pa.array(ORIGIN_NAMES, pa.string()))
    return index.to_numpy().astype(np.uint8)


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=np.isnan(values))


def _cast(values: object, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values, kind)
    return values if values.type == kind else values.cast(kind)


assert tuple(ORIGIN_CODES[name] for name in ORIGIN_NAMES) == tuple(range(len(ORIGIN_NAMES)))
