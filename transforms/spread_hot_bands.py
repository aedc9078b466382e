"""Spreads a band that very many documents share over many workers, so that none of them holds all of its documents.

    sample 1 document in 256  ->  count, by shard and then in all  ->  hot bands, before anything is shuffled

The documents of a hot band are cut into ranges of about 65,536, in the order in which they would be linked anyway, and each range is
a band of its own. Sixteen documents of every range, its leader among them, share one band more, which links the ranges. So a worker
holds one range, however many documents share the band. What is hot, and where it is cut, depends on row keys alone, not on
files, shards, partitions or workers.
"""

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np

from transforms.band_hashes import add_extra_bands, living_bands, partition_of, places_in_run
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.pool_steps import Group, GroupOnPool, Keyed, PoolDo
from transforms.records import DecidedShard

SAMPLED_EVERY = 256
"""One document in so many is counted."""
HOT_SAMPLES = 256
"""Sampled documents that make a band hot, and one range of it: 65,536 documents, give or take a sixteenth (one standard deviation)."""
LEADERS_OF_RANGE = 16
"""Documents of a range, on average, that link it to the others; its own leader, the first, is not among them in 1 of 9 million ranges."""
HOT_DTYPE = np.dtype([("band", "<u4"), ("ranges", "<u4"), ("hash", "<u8")])
"""A hot band, and into how many ranges it is cut."""

_COUNT = np.dtype([("band", "<u4"), ("documents", "<u4"), ("hash", "<u8")])
_SAMPLING = np.uint64(0xD6E8FEB86659FD93)
_MIXING = np.uint64(0xFF51AFD7ED558CCD)


def is_sampled(row_keys: np.ndarray) -> np.ndarray:
    """bool[n]: whether each document is among the one in `SAMPLED_EVERY` that are counted."""
    mixed = row_keys ^ (row_keys >> np.uint64(29))
    return (mixed * _SAMPLING) >> np.uint64(56) < 256 // SAMPLED_EVERY


def count_sampled(decided: DecidedShard, bands: int, extra_bands: int, num_partitions: int) -> list[Keyed]:
    """The band hashes of a shard's sampled documents and how many have each, packed by partition of the hash; a pool task.

    Those that one of the shard's sampled documents has alone are counted too: elsewhere they may be many.
    """
    rows, row_keys, hashes = living_bands(decided, bands)
    sampled = is_sampled(row_keys)
    if not sampled.any():
        return []
    hashes = add_extra_bands(decided, rows[sampled], hashes[sampled], extra_bands)
    counts = []
    for band in range(bands + extra_bands):
        distinct, documents = np.unique(hashes[:, band], return_counts=True)
        held = np.empty(len(distinct), _COUNT)
        held["band"], held["documents"], held["hash"] = band, documents, distinct
        counts.append(held)
    counts = np.concatenate(counts)
    return [(partition, pack_arrays(counts[held])) for partition, held in split_by_key(partition_of(counts["hash"], num_partitions))]


def find_hot(values: Iterable[bytes]) -> np.ndarray:
    """`HOT_DTYPE`: of the bands of one partition, as `count_sampled` packs them, those that `HOT_SAMPLES` sampled documents or more share."""
    counts = np.concatenate([unpack_arrays(value, _COUNT)[0] for value in values])
    counts = counts[np.lexsort((counts["hash"], counts["band"]))]
    starts = np.flatnonzero(np.r_[True, (counts["hash"][1:] != counts["hash"][:-1]) | (counts["band"][1:] != counts["band"][:-1])])
    documents = np.add.reduceat(counts["documents"].astype(np.int64), starts)
    hot = documents >= HOT_SAMPLES
    found = np.empty(hot.sum(), HOT_DTYPE)
    found["band"], found["hash"] = counts["band"][starts[hot]], counts["hash"][starts[hot]]
    found["ranges"] = -(-documents[hot] // HOT_SAMPLES)
    return found


def spread_hot(hashes: np.ndarray, row_keys: np.ndarray, band: int, hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of one band (uint64[n]) with those of ranges in place of the hot ones (`HOT_DTYPE`), and the document (int64) of each.

    Documents that link the ranges of their band come twice. Without a hot band, the hashes as they are.
    """
    documents = np.arange(len(hashes))
    hot = np.sort(hot[hot["band"] == band], order="hash")
    place = np.minimum(np.searchsorted(hot["hash"], hashes), max(len(hot) - 1, 0))
    held = np.flatnonzero(hot["hash"][place] == hashes) if len(hot) else documents[:0]
    if not len(held):
        return hashes, documents
    ends = (places_in_run(row_keys[held], band) >> np.uint64(32)) * hot["ranges"][place[held]]
    spread = hashes.copy()
    spread[held] = _name_range(hashes[held], 1 + (ends >> np.uint64(32)))
    # Of 65,536 documents in a range, the first sixteen: those in the first 2**32 / 4,096 of it.
    leads = held[ends % (1 << 32) < (1 << 32) * LEADERS_OF_RANGE // (HOT_SAMPLES * SAMPLED_EVERY)]
    return np.concatenate([spread, _name_range(hashes[leads], np.uint64(0))]), np.concatenate([documents, leads])


class FindHotBands(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[bytes]: arrays of `HOT_DTYPE`, of which none may be all.

    Memory of a worker: the bands of one shard (112 bytes a document with 14 of them), or 16 bytes for each distinct band hash among the sampled documents
    of each shard, one partition of `num_partitions` of them.
    """

    def __init__(self, bands: int, extra_bands: int, num_partitions: int):
        super().__init__()
        self._bands, self._extra_bands, self._num_partitions = bands, extra_bands, num_partitions

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        count = PoolDo("CountSampled", count_sampled, self._bands, self._extra_bands, self._num_partitions)
        counts = decided | "CountSampled" >> beam.ParDo(count).with_output_types(Keyed)
        return counts | "FindHot" >> GroupOnPool(_find_hot, output=bytes)


def join_hot(found: Sequence[bytes]) -> np.ndarray:
    """`HOT_DTYPE`: all of what `FindHotBands` gives."""
    return np.frombuffer(b"".join(found), HOT_DTYPE)


def _find_hot(group: Group) -> list[bytes]:
    found = find_hot(group[1])
    return [found.tobytes()] if len(found) else []


def _name_range(hashes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Another hash (uint64) for each hash and number of a range."""
    mixed = (hashes + numbers * np.uint64(0x9E3779B97F4A7C15)) * _MIXING
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _MIXING
    return mixed ^ (mixed >> np.uint64(29))
