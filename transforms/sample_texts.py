"""How varied the text is that each of many mixes would publish, measured on a sample of fixed size rather than on all of it.

The sample is that of the cycle report (`pipeline.cycle_report`): of the texts long enough for an excerpt of 64 words, the 2,048 of the smallest content
hashes. So the figures are those that the report of a run with these settings states, mixes that differ little share most of their sample, and each text
is read once, however many mixes hold it. Cost: reading the row groups that hold a sampled text, then 0.15 s of CPU a mix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.diversity import EXCERPT_WORDS, GROUP_EXCERPTS, MAX_GROUPS, Excerpts, Figure, cut_excerpts, measure_diversity
from transforms.packed_arrays import split_by_key
from transforms.records import ScoredShard, rows_of, shards_of
from transforms.storage import open_arrow
from transforms.worker_pool import run_on_pool

SAMPLE_TEXTS = MAX_GROUPS * GROUP_EXCERPTS
"""Texts of a sample, at most."""
DIVERSITY = ("compression_ratio", "distinct_2", "self_repetition")
"""The figures of `classifiers.diversity` that are taken: three that look at different things, in 0.15 s."""


@dataclass(frozen=True)
class SampledTexts:
    """Excerpts of sampled texts, by ascending address."""

    addresses: np.ndarray
    """uint64[n]."""
    excerpts: Excerpts
    """One of each."""

    def take(self, sample: np.ndarray) -> Excerpts:
        """The excerpts of the sample's addresses, in its order; those whose text is too short for one are left out."""
        place = np.minimum(np.searchsorted(self.addresses, sample), max(len(self.addresses) - 1, 0))
        return self.excerpts.take(place[self.addresses[place] == sample] if len(self.addresses) else place[:0])


def sample_keys(content_hashes: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """uint64: the first eight bytes of each content hash, in the order of which texts are sampled."""
    flat = content_hashes.combine_chunks() if isinstance(content_hashes, pa.ChunkedArray) else content_hashes
    if not len(flat):
        return np.empty(0, np.uint64)
    return np.frombuffer(flat.buffers()[1], ">u8", 2 * len(flat), 16 * flat.offset).reshape(-1, 2)[:, 0].astype(np.uint64)


def choose_sample(kept: np.ndarray, order: np.ndarray, words: np.ndarray, addresses: np.ndarray) -> np.ndarray:
    """uint64: addresses of the sample of the documents that are `kept` (bool), in order; `order` (int64) sorts all of them by sample key."""
    rows = order[kept[order]]
    return addresses[rows[words[rows] >= EXCERPT_WORDS][:SAMPLE_TEXTS]]


def measure_samples(samples: Sequence[np.ndarray], shards: Mapping[int, ScoredShard]) -> list[dict[str, Figure]]:
    """The figures `DIVERSITY` of each sample, none where it is too small; on the pool. `shards`: the scored shards by index."""
    wanted = np.unique(np.concatenate([np.empty(0, np.uint64), *samples]))
    reads = [(shards[shard], rows_of(wanted[places])) for shard, places in split_by_key(shards_of(wanted))]
    texts = _join(list(run_on_pool("sample", read_excerpts, reads)))
    different = {sample.tobytes(): texts.take(sample) for sample in samples}
    measured = dict(run_on_pool("diversity", measure_sample, different.items()))
    return [measured[sample.tobytes()] for sample in samples]


def read_excerpts(of_shard: tuple[ScoredShard, np.ndarray]) -> list[SampledTexts]:
    """Excerpts of the texts in `rows` (ascending) of a scored shard, reading only their row groups; a pool task."""
    shard, rows = of_shard
    found = []
    with open_arrow(shard.path) as file:
        parquet, first = pq.ParquetFile(file), 0
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            held = rows[(rows >= first) & (rows < end)]
            if len(held):
                texts = parquet.read_row_group(group, columns=["text"], use_threads=False)["text"].take(pa.array(held - first)).combine_chunks()
                excerpts = cut_excerpts(texts.cast(pa.string()))
                addresses = (np.uint64(shard.index) << np.uint64(32)) | held[excerpts.rows].astype(np.uint64)
                found.append(SampledTexts(addresses, excerpts))
            first = end
    return [_join(found)]


def measure_sample(item: tuple[bytes, Excerpts]) -> list[tuple[bytes, dict[str, Figure]]]:
    """The figures of one sample under its key; a pool task."""
    key, excerpts = item
    return [(key, measure_diversity(excerpts, names=DIVERSITY))]


def warm_up() -> None:
    """Compiles or loads the kernels, before processes fork."""
    cut_excerpts(pa.array([""]))


def _join(parts: Sequence[SampledTexts]) -> SampledTexts:
    addresses = np.concatenate([np.empty(0, np.uint64), *(part.addresses for part in parts)])
    words = np.concatenate([np.empty((0, EXCERPT_WORDS), np.uint64), *(part.excerpts.words for part in parts)])
    joined = Excerpts(words, tuple(text for part in parts for text in part.excerpts.texts), np.arange(len(words)))
    order = np.argsort(addresses)
    return SampledTexts(addresses[order], joined.take(order))
