"""Pairs of documents that share a band of their MinHash signatures: the only pairs that are ever compared.

A band is eight MinHashes; two documents share it with the eighth power of their similarity. Besides the 14 bands that were
scored, six more are cut across them from the bytes of the same signatures. Pairs at similarity .70, .75, .80 and .85 are so proposed
in 68, 86, 96.2 and 99.6 % of cases (simulated), where the 14 alone reach 56, 77, 92.4 and 98.8 %. What is shuffled are 16 bytes a band and document.

*Source:* Leskovec et al., "Mining of Massive Datasets", section 3.4.
"""

from collections.abc import Sequence

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsList

from transforms.band_hashes import add_extra_bands, living_bands, partition_of, places_in_run
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import CountItems, Group, GroupOnPool, Keyed, PoolDo
from transforms.records import DecidedShard, make_addresses, shards_of
from transforms.spill_bytes import load_bytes, spill_bytes
from transforms.spread_hot_bands import FindHotBands, join_hot, spread_hot

SMALL_RUN_DOCUMENTS = 16
"""Documents sharing a band of which every pair is a candidate; beyond, candidates grow linearly."""
LEADERS = 1
"""Documents of a larger run to which all others are linked, besides each to its neighbour. Each band has leaders of its own."""

_ENTRY = np.dtype([("hash", "<u4"), ("row", "<u4"), ("row_key", "<u8")])


def emit_bands(
    decided: DecidedShard, hot: Sequence[bytes], bands: int, extra_bands: int, num_partitions: int, spill_folder: str | None = None
) -> list[Keyed]:
    """The bands of the living documents of a shard, packed by (band, partition of the hash); a pool task.

    Key `band * num_partitions + partition`. A value holds the shard's index and, for each document, the low 32 bits of the
    band's hash, row and row key. The partition comes from the high bits, so hashes that differ meet in a value with a
    probability of 2**-32 / num_partitions: they make a candidate that verification discards. `hot`: what `FindHotBands` found; each of these
    bands is emitted by ranges. Documents without a word (null bands) take no part. Values go to a file in `spill_folder` if one is given.
    Raises ValueError if the file holds another number of bands.
    """
    rows, row_keys, hashes = living_bands(decided, bands)
    hashes = add_extra_bands(decided, rows, hashes, extra_bands)
    hot_bands = join_hot(hot)
    shard = np.array([decided.shard.index], "<u8")
    emitted = []
    for band in range(bands + extra_bands):
        of_band, documents = spread_hot(hashes[:, band], row_keys, band, hot_bands)
        entries = np.empty(len(documents), _ENTRY)
        entries["hash"], entries["row"], entries["row_key"] = of_band.astype(np.uint32), rows[documents], row_keys[documents]
        for partition, positions in split_by_key(partition_of(of_band, num_partitions)):
            emitted.append((band * num_partitions + partition, pack_arrays(shard, entries[positions])))
    return spill_bytes(emitted, spill_folder, f"bands-{decided.shard.index:06d}.bin")


def link_candidates(group: Group, num_partitions: int, spill_folder: str | None = None) -> list[Keyed]:
    """Candidate pairs among the documents of one (band, partition), keyed by the shard of the pair's smaller address; a pool task.

    Memory: one partition of one band, about 80 bytes a document of it.
    """
    key, values = group
    unpacked = [unpack_arrays(value, "<u8", _ENTRY) for value in load_bytes(values)]
    entries = np.concatenate([held for _, held in unpacked])
    addresses = np.concatenate([make_addresses(shard[0], held["row"]) for shard, held in unpacked])
    pairs = pair_runs(entries["hash"], entries["row_key"], addresses, salt=key // num_partitions)
    emitted = [(shard, pairs[positions].tobytes()) for shard, positions in split_by_key(shards_of(pairs[:, 0]))]
    return spill_bytes(emitted, spill_folder, f"pairs-{key:06d}.bin")


def pair_runs(hashes: np.ndarray, row_keys: np.ndarray, addresses: np.ndarray, salt: int) -> np.ndarray:
    """uint64[n, 2]: pairs of addresses, the smaller first, of documents with equal hashes.

    Up to `SMALL_RUN_DOCUMENTS` equal hashes give every pair. A longer run gives fewer than (`LEADERS` + 1) pairs a document:
    each to the first `LEADERS` and to its neighbour, in an order drawn from row keys and `salt`. So bands differ in their leaders,
    and a band shared by unlike documents does not hide the alike ones among them. Which documents are paired does not
    depend on the order of the input or on addresses (but where row keys are equal).
    """
    order = np.argsort(hashes, kind="stable")
    same = hashes[order[1:]] == hashes[order[:-1]]
    in_run = np.zeros(len(hashes), bool)
    in_run[1:] |= same
    in_run[:-1] |= same
    held = order[in_run]
    if not len(held):
        return np.empty((0, 2), "<u8")
    held = held[np.lexsort((addresses[held], places_in_run(row_keys[held], salt), hashes[held]))]
    starts = np.flatnonzero(np.r_[True, hashes[held[1:]] != hashes[held[:-1]]])
    sizes = np.diff(np.r_[starts, len(held)])
    left, right = [], []
    for size in np.unique(sizes[sizes <= SMALL_RUN_DOCUMENTS]):
        first, second = np.triu_indices(size, 1)
        run = starts[sizes == size][:, None]
        left.append((run + first).ravel())
        right.append((run + second).ravel())
    large = sizes > SMALL_RUN_DOCUMENTS
    run = np.repeat(starts[large], sizes[large])
    within = np.arange(len(run)) - np.repeat(np.cumsum(sizes[large]) - sizes[large], sizes[large])
    for leader in range(LEADERS):
        left.append((run + leader)[within > leader])
        right.append((run + within)[within > leader])
    left.append((run + within - 1)[within > LEADERS])
    right.append((run + within)[within > LEADERS])
    ends = addresses[held][np.stack([np.concatenate(left), np.concatenate(right)], axis=1)]
    return np.sort(ends, axis=1).astype("<u8", copy=False)


class FindCandidates(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, bytes]]: pairs of addresses keyed by the shard of the smaller.

    A pair found in several bands comes several times. Counts `candidate-pairs`. Memory of a worker: one partition of one
    band, about 80 bytes a document of it, so `num_partitions` should grow with the corpus. A band that very many documents share is cut into ranges of
    about 65,536 (`spread_hot_bands`), so that it needs no more than that.
    """

    def __init__(self, bands: int, extra_bands: int, num_partitions: int, spill_folder: str | None = None):
        super().__init__()
        self._bands, self._extra_bands, self._num_partitions, self._spill_folder = bands, extra_bands, num_partitions, spill_folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        hot = decided | "FindHotBands" >> FindHotBands(self._bands, self._extra_bands, self._num_partitions)
        emit = PoolDo("EmitBands", emit_bands, self._bands, self._extra_bands, self._num_partitions, self._spill_folder)
        return (
            decided
            | "EmitBands" >> beam.ParDo(emit, AsList(hot)).with_output_types(Keyed)
            | "LinkCandidates" >> GroupOnPool(link_candidates, self._num_partitions, self._spill_folder)
            | "CountPairs" >> beam.ParDo(CountItems("candidate-pairs", 16)).with_output_types(Keyed)
        )
