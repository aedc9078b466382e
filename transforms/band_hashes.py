"""The hashes of documents' bands: those that were scored, and more cut across them from the bytes of the same signatures."""

import numpy as np

from transforms.decisions import read_decisions
from transforms.fixed_columns import read_fixed_binary, read_signatures
from transforms.records import DecidedShard

_GOLDEN = 0x9E3779B97F4A7C15


def living_bands(decided: DecidedShard, bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row (int64, ascending), row key (uint64) and scored band hashes (uint64[n, bands]) of a shard's living documents with a word.

    Memory: 112 bytes a document with 14 bands. Raises ValueError if the file holds another number of bands.
    """
    decisions = read_decisions(decided, ["row_key", "reason"])
    hashes, valid = read_fixed_binary(decided.shard, "bands")
    if hashes.shape[1] != 8 * bands:
        raise ValueError(f"{decided.shard.path}: `bands` holds {hashes.shape[1] // 8} hashes, not {bands}: score again, or ask for as many")
    rows = np.flatnonzero(valid & decisions["reason"].is_null().to_numpy())
    return rows, decisions["row_key"].to_numpy()[rows], hashes.view("<u8")[rows]


def add_extra_bands(decided: DecidedShard, rows: np.ndarray, hashes: np.ndarray, extra_bands: int) -> np.ndarray:
    """`hashes` (uint64[n, bands]) of the documents `rows` (ascending), with `extra_bands` more columns cut from their signatures."""
    if not extra_bands:
        return hashes
    return np.concatenate([hashes, cut_across(read_signatures(decided, rows), hashes.shape[1], extra_bands)], axis=1)


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


def places_in_run(row_keys: np.ndarray, band: int) -> np.ndarray:
    """Where each document stands among those that share `band` with it: a hash (uint64) of its row key, another one for each band."""
    return (row_keys ^ np.uint64((band + 1) * _GOLDEN % (1 << 64))) * np.uint64(_GOLDEN)
