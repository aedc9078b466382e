"""The sections of the recipe that no package below this one has settings for: what each key means, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from classifiers.calibration import HIGHEST_RATE, LOWEST_RATE
from classifiers.personal_kinds import check_kinds
from transforms.memory_settings import MemorySettings
from transforms.sample_weights import WEIGHT_KINDS


@dataclass(frozen=True)
class ReadSettings:
    """How inputs are cut and how many unreadable records are borne."""

    split_bytes: int
    """Bytes of input that a worker takes at a time."""
    text_unit: str
    """Plain text files: `file` = one document a file, `line` = one a line."""
    max_dead_share: float
    """Share of records that may be unreadable, 0..1 inclusive."""

    def __post_init__(self) -> None:
        require("read.split_bytes", self.split_bytes, self.split_bytes >= 1 << 10, "at least 1024")
        require("read.text_unit", self.text_unit, self.text_unit in ("file", "line"), "file or line")
        require("read.max_dead_share", self.max_dead_share, 0 <= self.max_dead_share <= 1, "0..1")


@dataclass(frozen=True)
class OriginSettings:
    """How declared origins are verified."""

    max_false_positive_rate: float
    """Share of human documents that may be taken for machine text."""
    calibration: str
    """Path of a calibration file; empty: the shipped one."""
    reject_disputed: bool
    """Whether a document declared human that the detector disputes is rejected, or published outside the human share."""

    def __post_init__(self) -> None:
        rate = self.max_false_positive_rate
        require("origin.max_false_positive_rate", rate, LOWEST_RATE <= rate <= HIGHEST_RATE, f"{LOWEST_RATE}..{HIGHEST_RATE}")


@dataclass(frozen=True)
class DedupSettings:
    """Which duplicates are dropped."""

    exact: bool
    """Drop equal texts."""
    near: bool
    """Drop near-duplicates."""
    min_similarity: float
    """Estimated Jaccard similarity from which two documents are near-duplicates, 0..1."""
    extra_bands: int
    """Bands cut across those of the signature when near-duplicates are sought, 0..bands x (bands - 1)."""
    semantic: bool
    """Drop documents whose embeddings are alike."""
    semantic_similarity: float
    """Cosine from which two embeddings are alike, 0..1."""
    semantic_cluster_documents: int
    """Documents of a cluster, on average; only documents of one cluster are compared."""
    semantic_probes: int
    """Clusters that a document is looked for in."""
    quality_field: str
    """Score, 0..1 and higher is better, that decides between duplicates and orders a mix."""
    key: str
    """Key of which one document each stays, FIELD or FIELD:FORM (`transforms.document_keys`); empty: none."""
    max_repeated_line_share: float
    """Share of a document's characters, 0..1, that may stand in lines of better documents; 1: any."""
    partitions: int
    """Pieces that each shuffle is cut into; 0: by the size of the run (`pipeline.shuffle_size`)."""

    def __post_init__(self) -> None:
        require("dedup.min_similarity", self.min_similarity, 0 < self.min_similarity <= 1, "above 0, at most 1")
        require("dedup.semantic_similarity", self.semantic_similarity, 0 < self.semantic_similarity <= 1, "above 0, at most 1")
        require("dedup.semantic_cluster_documents", self.semantic_cluster_documents, self.semantic_cluster_documents >= 1, "at least 1")
        require("dedup.semantic_probes", self.semantic_probes, 1 <= self.semantic_probes <= 64, "1..64")
        require("dedup.max_repeated_line_share", self.max_repeated_line_share, 0 <= self.max_repeated_line_share <= 1, "0..1 (1 = any)")
        require("dedup.partitions", self.partitions, 0 <= self.partitions <= 65536, "0..65536")


@dataclass(frozen=True)
class LedgerSettings:
    """What earlier cycles' publications mean for this one."""

    max_synthetic_uses: int
    """Cycles that may publish one synthetic text or near-duplicates of it, 1 to 1,000,000."""
    max_generation: int
    """Deepest generation that is published; -1: any."""
    min_fresh_human: float | str
    """Share of the text that no earlier cycle published, 0..1 or a fraction: a promise of the mix, which checks it."""
    fresh_share_of: str = "human"
    """What that is a share of: `human` text or `all`."""
    fresh_after: str = ""
    """Date from which human text may count as fresh; empty: any."""

    def __post_init__(self) -> None:
        require("ledger.max_synthetic_uses", self.max_synthetic_uses, 1 <= self.max_synthetic_uses <= 1_000_000, "1..1000000")
        require("ledger.max_generation", self.max_generation, -1 <= self.max_generation <= 32767, "-1 (any) to 32767")
        require("ledger.fresh_share_of", self.fresh_share_of, self.fresh_share_of in ("human", "all"), "human or all")
        MemorySettings(fresh_after=self.fresh_after or None)

    @property
    def memory(self) -> MemorySettings:
        """What decides about single documents."""
        deepest = None if self.max_generation < 0 else self.max_generation
        return MemorySettings(self.max_synthetic_uses, deepest, self.fresh_after or None)


@dataclass(frozen=True)
class PublishSettings:
    """The form of the published files."""

    row_group_documents: int
    """Documents in a row group."""
    zstd_level: int
    """Compression level."""
    mask_personal_data: tuple[str, ...] = ()
    """Kinds of personal data masked in what is published (`classifiers.personal_kinds.KIND_NAMES`)."""
    sample_weight: str = "none"
    """What the column `sample_weight` holds; `none`: there is no such column."""

    def __post_init__(self) -> None:
        require("publish.row_group_documents", self.row_group_documents, self.row_group_documents >= 1, "at least 1")
        require("publish.zstd_level", self.zstd_level, 1 <= self.zstd_level <= 22, "1..22")
        require("publish.sample_weight", self.sample_weight, self.sample_weight in WEIGHT_KINDS, "one of " + ", ".join(WEIGHT_KINDS))
        object.__setattr__(self, "mask_personal_data", tuple(self.mask_personal_data))
        check_kinds(self.mask_personal_data, "publish.mask_personal_data")


def require(key: str, value: Any, holds: bool, allowed: str) -> None:
    """Raises ValueError that `key` has a `value` which is not `allowed`, unless it `holds`."""
    if not holds:
        raise ValueError(f"{key} = {value!r}: must be {allowed}")
