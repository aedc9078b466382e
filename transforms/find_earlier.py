"""Finds what earlier cycles published of this run's documents: the same text, or a near-duplicate of it.

The join reads two narrow columns of the ledger's files (96 bytes a row), those of the kind it asks about and no others, file by file, and
looks each row's 21 keys up among the keys of this run. Signatures are read only where a row meets a key, and a meeting counts only if the
texts are equal or the signatures agree. Nothing of the ledger is shuffled but what was found; what is looked up of this run lies in files,
300 bytes a document, and is held `PASS_KEYS` keys at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numba import njit

from classifiers.signature import estimate_jaccard
from transforms.decisions import read_decisions
from transforms.fixed_columns import binary_rows, read_fixed_binary
from transforms.ledger_files import LedgerFile, cut_bands, lookup_keys, matrix_of, read_ledger_file
from transforms.ledger_storage import open_ledger_file
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.records import DecidedShard, make_addresses, shards_of
from transforms.storage import join_path, open_binary, write_whole
from transforms.worker_pool import run_on_pool

PASS_KEYS = 1 << 22
"""Keys of this run held at a time while ledger files are read: 200,000 documents, 100 MB with their tables and signatures."""
MAX_SHARING = 1_024
"""Documents of one pass that share a key and are compared with a ledger row that has it: bounds what boilerplate costs."""
BLOCK_MEETINGS = 1 << 20
"""Meetings judged at a time, about: bounds what is gathered to 250 MB."""
GROUP_ROWS = 250_000
"""Rows of the ledger that one task looks up, about."""

EARLIER_SCHEMA = pa.schema(
    [
        ("address", pa.uint64()),
        ("cycle", pa.string()),
        ("id", pa.string()),
        ("run_id", pa.string()),
        ("similarity", pa.float32()),
    ]
)
"""One earlier publication of a document of this run: the document's address, and cycle, id and run of the publication."""
_EARLIER_ORDER = [("address", "ascending"), ("similarity", "descending"), ("cycle", "ascending"), ("id", "ascending"), ("run_id", "ascending")]


@dataclass(frozen=True)
class LedgerReading:
    """Which rows of a ledger are asked about, and how their keys were made."""

    folder: str
    """The ledger."""
    files: tuple[LedgerFile, ...]
    """Files to read: those of the kinds asked about."""
    bands: int
    """Bands of the signatures."""
    num_hashes: int
    """Bytes of a signature."""
    extra_bands: int
    """Band hashes in each row beyond `bands`."""
    ignored_runs: tuple[str, ...] = ()
    """Runs whose rows do not count: those whose dataset this run replaces."""


@dataclass(frozen=True, order=True)
class ProbeFile:
    """What is looked up of one shard's documents, in a file."""

    shard: int
    """Index of the scored shard."""
    path: str
    """Arrays packed by `pack_arrays`."""
    num_keys: int
    """Keys in it."""


@dataclass(frozen=True)
class Probes:
    """Documents of this run, and their keys in an order and with tables that make looking one up cheap."""

    addresses: np.ndarray
    """uint64[n]: the documents, ascending."""
    content_hashes: np.ndarray
    """uint8[n, 16]."""
    signatures: np.ndarray
    """uint8[n, hashes]."""
    has_words: np.ndarray
    """bool[n]: whether there is a signature."""
    keys: np.ndarray
    """uint32[m], ascending."""
    owners: np.ndarray
    """int32[m]: the document (its place above) that has the key."""
    bits: np.ndarray
    """uint8: one bit for each key's low bits; of foreign keys six in a hundred pass."""
    starts: np.ndarray
    """int64[2**k + 1]: place of the first key with each value of its k high bits."""


def make_probes(addresses: np.ndarray, content_hashes: np.ndarray, signatures: np.ndarray, has_words: np.ndarray, keys: np.ndarray) -> Probes:
    """Tables over the keys (uint32[n, places]) of documents, which are given in any order.

    Of more than `MAX_SHARING` documents that share a key the first by address can be found by it.
    """
    order = np.argsort(addresses)
    owners = np.repeat(np.arange(len(order), dtype=np.int32), keys.shape[1])
    flat = keys[order].ravel()
    by_key = np.lexsort((owners, flat))
    flat, owners = flat[by_key], owners[by_key]
    # A document without words has one key in all places.
    kept = np.r_[len(flat) > 0, (flat[1:] != flat[:-1]) | (owners[1:] != owners[:-1])][: len(flat)]
    flat, owners = flat[kept], owners[kept]
    first = np.flatnonzero(np.r_[len(flat) > 0, flat[1:] != flat[:-1]][: len(flat)])
    place = np.arange(len(flat)) - np.repeat(first, np.diff(np.r_[first, len(flat)]))
    flat, owners = flat[place < MAX_SHARING], owners[place < MAX_SHARING]
    num_bits = min(32, max(10, (16 * len(flat)).bit_length()))
    bits = np.zeros(1 << (num_bits - 3), np.uint8)
    _set_bits(flat, bits)
    high = min(24, max(1, len(flat).bit_length()))
    bounds = np.arange(1 << high, dtype=np.uint64) << np.uint64(32 - high)
    starts = np.r_[np.searchsorted(flat, bounds.astype(np.uint32)), len(flat)].astype(np.int64)
    return Probes(addresses[order], content_hashes[order], signatures[order], has_words[order], flat, owners, bits, starts)


def look_up(keys: np.ndarray, probes: Probes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(row, document) of each distinct meeting of a row of `keys` (uint32[n, places]) with a document that has a key of it, in blocks.

    Rows ascend; the document is its place in `probes`. A block holds about `BLOCK_MEETINGS`.
    """
    if not len(probes.keys) or not len(keys):
        return
    keys = np.ascontiguousarray(keys)
    counts = np.empty(len(keys), np.int64)
    _count_meetings(keys, probes.keys, probes.bits, probes.starts, counts)
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(keys):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + BLOCK_MEETINGS, side="right")))
        found = int(ends[end - 1] - before)
        if found:
            rows, owners = np.empty(found, np.int64), np.empty(found, np.int64)
            _list_meetings(keys[begin:end], probes.keys, probes.owners, probes.bits, probes.starts, rows, owners)
            met = np.unique((rows + begin) << 32 | owners)
            yield met >> 32, met & 0xFFFFFFFF
        begin = end


def find_earlier(reading: LedgerReading, probes: Probes, min_similarity: float) -> pa.Table:
    """Every earlier publication (`EARLIER_SCHEMA`) of a document in `probes`: equal texts, at similarity 1, and near-duplicates.

    By address, the most similar first, then by name of cycle and id. Does not depend on how rows lie in files (but see `MAX_SHARING`).
    Raises ValueError where a file is not as the ledger says.
    """
    found = [table for file in reading.files for table in _search_file(reading, file, probes, min_similarity)]
    return sort_earlier(pa.concat_tables([EARLIER_SCHEMA.empty_table(), *found]))


def sort_earlier(earlier: pa.Table) -> pa.Table:
    """Publications by address, the most similar first, then by name of cycle, id and run."""
    return earlier.take(pc.sort_indices(earlier, sort_keys=_EARLIER_ORDER)).combine_chunks()


def group_files(files: Sequence[LedgerFile]) -> list[tuple[LedgerFile, ...]]:
    """The files in their order, cut into groups of about `GROUP_ROWS` rows."""
    groups: list[list[LedgerFile]] = []
    rows = GROUP_ROWS
    for file in sorted(files):
        if rows + file.num_rows > GROUP_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(file)
        rows += file.num_rows
    return [tuple(group) for group in groups]


def emit_probes(decided: DecidedShard, origins: tuple[int, ...], bands: int, extra_bands: int, folder: str) -> list[ProbeFile]:
    """Writes what is looked up of a shard's living documents of these origins (codes) to a file in `folder`; a pool task."""
    decisions = read_decisions(decided, ["origin", "content_hash", "reason"])
    rows = np.flatnonzero(np.isin(decisions["origin"].to_numpy(), origins) & decisions["reason"].is_null().to_numpy())
    if not len(rows):
        return []
    signatures, valid = read_fixed_binary(decided.shard, "signature", rows)
    hashes = binary_rows(decisions["content_hash"])[0][rows]
    keys = lookup_keys(hashes, cut_bands(signatures, bands, extra_bands), valid)
    path = join_path(folder, f"probes-{decided.shard.index:06d}.bin")
    with write_whole(path) as file:
        file.write(pack_arrays(make_addresses(decided.shard.index, rows), hashes.ravel(), signatures.ravel(), valid, keys.ravel()))
    return [ProbeFile(decided.shard.index, path, keys.size)]


def load_probes(files: Sequence[ProbeFile]) -> Iterator[Probes]:
    """What was written to the files, about `PASS_KEYS` keys at a time, in order of shard. Raises ValueError where a file was cut short."""
    held: list[tuple[np.ndarray, ...]] = []
    count = 0
    for number, file in enumerate(sorted(files)):
        with open_binary(file.path) as source:
            addresses, hashes, signatures, valid, keys = unpack_arrays(source.read(), "<u8", "u1", "u1", "?", "<u4")
        n = len(addresses)
        held.append((addresses, hashes.reshape(n, -1), signatures.reshape(n, -1), valid, keys.reshape(n, -1)))
        count += file.num_keys
        if count >= PASS_KEYS or number == len(files) - 1:
            yield make_probes(*(np.concatenate(parts) for parts in zip(*held, strict=True)))
            held, count = [], 0


def find_published(
    decided: Iterable[DecidedShard], reading: LedgerReading, origins: tuple[int, ...], min_similarity: float, folder: str
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """What the Beam step `FindPublished` gives, on the pool of processes of this machine without Beam; one batch or more a shard."""
    probes = list(run_on_pool("look up", emit_probes, decided, origins, reading.bands, reading.extra_bands, folder))
    yield from run_on_pool("look up", search_files, group_files(reading.files), probes, replace(reading, files=()), min_similarity)


def search_files(
    files: tuple[LedgerFile, ...], probes: Sequence[ProbeFile], reading: LedgerReading, min_similarity: float
) -> list[tuple[int, pa.RecordBatch]]:
    """`find_earlier` of all probes in some of the ledger's files, keyed by index of the shard; a pool task."""
    found = []
    for held in load_probes(probes):
        earlier = find_earlier(replace(reading, files=files), held, min_similarity)
        for shard, positions in split_by_key(shards_of(earlier["address"].to_numpy())):
            found += [(shard, batch) for batch in earlier.take(pa.array(positions)).combine_chunks().to_batches()]
    return found


def _search_file(reading: LedgerReading, file: LedgerFile, probes: Probes, min_similarity: float) -> Iterator[pa.Table]:
    width = 4 * (reading.bands + reading.extra_bands)
    first = 0
    with open_ledger_file(reading.folder, file.path) as source, pq.ParquetFile(source) as parquet:
        if parquet.metadata.num_rows != file.num_rows:
            raise ValueError(f"{file.path} in {reading.folder}: {parquet.metadata.num_rows:,} rows where the ledger counts {file.num_rows:,}")
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=["content_hash", "bands"], use_threads=False)
            hashes = matrix_of(table["content_hash"], 16)[0]
            bands, valid = matrix_of(table["bands"], width)
            theirs = None
            for rows, owners in look_up(lookup_keys(hashes, bands.view("<u4"), valid), probes):
                if theirs is None:
                    theirs, _ = matrix_of(parquet.read_row_group(group, columns=["signature"], use_threads=False)["signature"], reading.num_hashes)
                estimates = estimate_jaccard(probes.signatures[owners], theirs[rows])
                estimates[~(probes.has_words[owners] & valid[rows])] = 0
                estimates[(probes.content_hashes[owners] == hashes[rows]).all(axis=1)] = 1
                same = estimates >= np.float32(min_similarity)
                if same.any():
                    yield _describe(reading, file, first + rows[same], probes.addresses[owners[same]], estimates[same])
            first += table.num_rows


def _describe(reading: LedgerReading, file: LedgerFile, rows: np.ndarray, addresses: np.ndarray, similarities: np.ndarray) -> pa.Table:
    distinct, place = np.unique(rows, return_inverse=True)
    named = read_ledger_file(reading.folder, file, ["cycle", "id", "run_id"], distinct).take(pa.array(place))
    found = pa.table([pa.array(addresses), named["cycle"], named["id"], named["run_id"], pa.array(similarities)], schema=EARLIER_SCHEMA)
    return found.filter(pc.invert(pc.is_in(found["run_id"], value_set=pa.array(reading.ignored_runs, pa.string()))))


@njit(["int64(int64)"], cache=True, nogil=True)
def _log2(size):
    log = 0
    while size > 1:
        size >>= 1
        log += 1
    return log


@njit(["void(uint32[:], uint8[:])"], cache=True, nogil=True)
def _set_bits(keys, bits):
    last = len(bits) * 8 - 1
    for key in keys:
        low = np.int64(key) & last
        bits[low >> 3] |= np.uint8(1 << (low & 7))


@njit(["void(uint32[:,::1], uint32[:], uint8[:], int64[:], int64[:])"], cache=True, nogil=True)
def _count_meetings(keys, sorted_keys, bits, starts, counts):
    """Fills `counts`: meetings of each row of keys."""
    shift, last = 32 - _log2(len(starts) - 1), len(bits) * 8 - 1
    for row in range(keys.shape[0]):
        found = 0
        for place in range(keys.shape[1]):
            key = keys[row, place]
            low = np.int64(key) & last
            if bits[low >> 3] >> (low & 7) & 1:
                bucket = np.int64(key) >> shift
                for entry in range(starts[bucket], starts[bucket + 1]):
                    found += sorted_keys[entry] == key
        counts[row] = found


@njit(["void(uint32[:,::1], uint32[:], int32[:], uint8[:], int64[:], int64[:], int64[:])"], cache=True, nogil=True)
def _list_meetings(keys, sorted_keys, owners, bits, starts, rows, met):
    """Fills `rows` and `met`, as many as `_count_meetings` counted."""
    shift, last = 32 - _log2(len(starts) - 1), len(bits) * 8 - 1
    found = 0
    for row in range(keys.shape[0]):
        for place in range(keys.shape[1]):
            key = keys[row, place]
            low = np.int64(key) & last
            if bits[low >> 3] >> (low & 7) & 1:
                bucket = np.int64(key) >> shift
                for entry in range(starts[bucket], starts[bucket + 1]):
                    if sorted_keys[entry] == key:
                        rows[found], met[found] = row, owners[entry]
                        found += 1
