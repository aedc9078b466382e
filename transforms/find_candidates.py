"""Pairs of documents that share a band of their MinHash signatures: the only pairs that are ever compared.

A band is eight MinHashes; two documents share it with the eighth power of their similarity. Besides the 14 bands that were
scored, six more are cut across them from the bytes of the same signatures. Pairs at similarity .70, .75, .80 and .85 are so proposed
in 68, 86, 96.2 and 99.6 % of cases (simulated), where the 14 alone reach 56, 77, 92.4 and 98.8 %. What is shuffled are 16 bytes a band and document.

*Source:* Leskovec et al., "Mining of Massive Datasets", section 3.4.
"""

import apache_beam as beam
import numpy as np

from transforms.decisions import read_decisions
from transforms.fixed_columns import read_fixed_binary, read_signatures
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import CountItems, Group, GroupOnPool, Keyed, PoolDo
from transforms.records import DecidedShard, make_addresses, shards_of
from transforms.spill_bytes import load_bytes, spill_bytes

SMALL_RUN_DOCUMENTS = 16
"""Documents sharing a band of which every pair is a candidate; beyond, candidates grow linearly."""
LEADERS = 1
"""Documents of a larger run to which all others are linked, besides each to its neighbour. Each band has leaders of its own."""

_ENTRY = np.dtype([("hash", "<u4"), ("row", "<u4"), ("row_key", "<u8")])
_GOLDEN = 0x9E3779B97F4A7C15


def emit_bands(decided: DecidedShard, bands: int, extra_bands: int, num_partitions: int, spill_folder: str | None = None) -> list[Keyed]:
    """The bands of the living documents of a shard, packed by (band, partition of the hash); a pool task.

    Key `band * num_partitions + partition`. A value holds the shard's index and, for each document, the low 32 bits of the
    band's hash, row and row key. The partition comes from the high bits, so hashes that differ meet in a value with a
    probability of 2**-32 / num_partitions: they make a candidate that verification discards. Documents without a word
    (null bands) take no part. Values go to a file in `spill_folder` if one is given. Raises ValueError if the file holds another number of bands.
    """
    decisions = read_decisions(decided, ["row_key", "reason"])
    hashes, valid = read_fixed_binary(decided.shard, "bands")
    if hashes.shape[1] != 8 * bands:
        raise ValueError(f"{decided.shard.path}: `bands` holds {hashes.shape[1] // 8} hashes, not {bands}: score again, or ask for as many")
    rows = np.flatnonzero(valid & decisions["reason"].is_null().to_numpy())
    hashes = hashes.view("<u8")[rows]
    if extra_bands:
        hashes = np.concatenate([hashes, cut_across(read_signatures(decided, rows), bands, extra_bands)], axis=1)
    entries = np.empty(len(rows), _ENTRY)
    entries["row"] = rows
    entries["row_key"] = decisions["row_key"].to_numpy()[rows]
    shard = np.array([decided.shard.index], "<u8")
    emitted = []
    for band in range(bands + extra_bands):
        entries["hash"] = hashes[:, band].astype(np.uint32)
        for partition, positions in split_by_key(partition_of(hashes[:, band], num_partitions)):
            emitted.append((band * num_partitions + partition, pack_arrays(shard, entries[positions])))
    return spill_bytes(emitted, spill_folder, f"bands-{decided.shard.index:06d}.bin")


def cut_across(signatures: np.ndarray, bands: int, extra_bands: int) -> np.ndarray:
    """uint64[n, extra_bands]: hashes of as many bytes of each signature (uint8[n, bands * rows]) as a band has rows, each from a band of its own.

    The r-th byte of extra band e is row r of band (e + r * step) mod bands, with step 1 for the first `bands` extra bands, then 2 and
    so on: the first `bands` of them use every byte once. A byte of a MinHash stands for all of it: unequal ones share it in 1 of 256 cases.
    """
    rows = signatures.shape[1] // bands
    row, extra = np.arange(rows), np.arange(extra_bands)[:, None]
    places = (extra + row * (1 + extra // bands)) % bands * rows + row
    hashes = np.broadcast_to(extra[:, 0].astype(np.uint64), (len(signatures), extra_bands)).copy()
    for place in places.T:
        hashes = (hashes ^ signatures[:, place]) * np.uint64(_GOLDEN)
        hashes ^= hashes >> np.uint64(32)
    return hashes * np.uint64(_GOLDEN)


def partition_of(hashes: np.ndarray, num_partitions: int) -> np.ndarray:
    """Partition (int64, 0 to `num_partitions` - 1) of each uint64 hash, from its 24 high bits alone."""
    return (((hashes >> np.uint64(40)) * np.uint64(num_partitions)) >> np.uint64(24)).astype(np.int64)


def link_candidates(group: Group, num_partitions: int, spill_folder: str | None = None) -> list[Keyed]:
    """Candidate pairs among the documents of one (band, partition), keyed by the shard of the pair's smaller address; a pool task.

    Memory: one partition of one band, about 40 bytes a document of it.
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
    place = (row_keys[held] ^ np.uint64((salt + 1) * _GOLDEN % (1 << 64))) * np.uint64(_GOLDEN)
    held = held[np.lexsort((addresses[held], place, hashes[held]))]
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
    band, so `num_partitions` should grow with the corpus: a partition of a million documents takes 40 MB. A run of equal hashes
    cannot be divided: a band shared by a hundred million documents takes 4 GB.
    """

    def __init__(self, bands: int, extra_bands: int, num_partitions: int, spill_folder: str | None = None):
        super().__init__()
        self._bands, self._extra_bands, self._num_partitions, self._spill_folder = bands, extra_bands, num_partitions, spill_folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        emit = PoolDo("EmitBands", emit_bands, self._bands, self._extra_bands, self._num_partitions, self._spill_folder)
        return (
            decided
            | "EmitBands" >> beam.ParDo(emit).with_output_types(Keyed)
            | "LinkCandidates" >> GroupOnPool(link_candidates, self._num_partitions, self._spill_folder)
            | "CountPairs" >> beam.ParDo(CountItems("candidate-pairs", 16)).with_output_types(Keyed)
        )
