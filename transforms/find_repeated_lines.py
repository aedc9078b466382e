"""Finds documents whose lines mostly stand in better documents that stay: boilerplate, mirrored pages, texts stitched together from others.

Best first (survivor order: origin, quality, id), a document stays unless more than a share of its characters is in lines that better documents
*that stay* hold. So one that goes makes no other lose its lines, and every line that is lost on its account can still be read. Taken literally that is one
pass over the sorted corpus; here it is squeezed between two sets, in rounds that only exchange, for each line, the best document that holds it
(docs/decisions/0008):

    all stay  ->  surely stay  ->  may stay  ->  surely stay  ->  may stay
                  (judged by        (judged by those
                  all that may)     that surely do)

What "may stay" after the last round is kept. The two sets meet, and the result is that of the one pass, unless lines were lost through a chain of more
than `2 * rounds - 1` documents; a document undecided by then stays.

*Source:* lines that stand in other documents: Wenzek et al. 2020, "CCNet" (arXiv 1911.00359), section 3.2; whole documents instead of cutting their text,
by share of characters: as the rules of Gopher do within one document (Rae et al. 2021, arXiv 2112.11446, table A1).
"""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.band_hashes import partition_of
from transforms.choose_survivors import SURVIVOR_ORDER
from transforms.decisions import read_decisions
from transforms.packed_arrays import pack_arrays, split_by_key, unpack_arrays
from transforms.packed_tables import pack_table, unpack_tables
from transforms.pool_steps import Group, GroupOnPool, Keyed, PoolDo, key_by_shard, part_shard
from transforms.records import REMOVED_SCHEMA, DecidedShard, make_addresses
from transforms.spill_bytes import load_bytes, spill_bytes
from transforms.storage import join_path, open_arrow, open_binary, write_whole

ROUNDS = 2
"""Rounds of four shuffles each."""

DOCUMENT_ORDER = [key for key in SURVIVOR_ORDER if key[0] != "group"]
"""Documents of any group, the best first."""
_DETAILS = ["origin", "quality", "id", "row_key"]
OFFER_SCHEMA = pa.schema(
    [
        ("line", pa.uint64()),
        ("shard", pa.uint32()),
        ("address", pa.uint64()),
        ("origin", pa.uint8()),
        ("quality", pa.float32()),
        ("id", pa.string()),
        ("row_key", pa.uint64()),
    ]
)
"""A line that a shard holds, and the best document in it that has the line and stays; null where none does."""


@dataclass(frozen=True)
class SharedLines:
    """The lines of one shard's living documents that other documents hold too."""

    hashes: np.ndarray
    """uint64[l], ascending: the distinct lines."""
    rows: np.ndarray
    """int64[d], ascending: the documents that hold any."""
    totals: np.ndarray
    """int64[d]: characters of all their lines, shared or not; at least 1."""
    line: np.ndarray
    """int64[e]: a line, as its place in `hashes`,"""
    document: np.ndarray
    """int64[e]: in a document, as its place in `rows`,"""
    chars: np.ndarray
    """int64[e]: and the characters of it there."""

    def pack(self) -> bytes:
        """All of it as bytes."""
        return pack_arrays(self.hashes, self.rows, self.totals, self.line, self.document, self.chars)

    @classmethod
    def unpack(cls, packed: bytes) -> "SharedLines":
        """Inverse of `pack`."""
        return cls(*unpack_arrays(packed, "<u8", "<i8", "<i8", "<i8", "<i8", "<i8"))


def read_lines(decided: DecidedShard) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row (int64), hash (uint64) and characters (int64) of each distinct line of a shard's living documents, by row.

    Memory: the lines of one shard, 12 bytes each. Raises ValueError if the shard was scored without `line_hashes`.
    """
    with open_arrow(decided.shard.path) as file:
        parquet = pq.ParquetFile(file)
        if "line_hashes" not in parquet.schema_arrow.names:
            raise ValueError(f"{decided.shard.path}: holds no line_hashes; score again with `line_hashes` among score.scorers")
        table = parquet.read(columns=["line_hashes", "line_chars"], use_threads=False).combine_chunks()
    rows = np.flatnonzero(read_decisions(decided, ["reason"])["reason"].is_null().to_numpy())
    table = table.take(pa.array(rows)).combine_chunks()
    hashes, counts = _flat(table["line_hashes"], "<u8")
    return np.repeat(rows, counts), hashes, _flat(table["line_chars"], "<u4")[0].astype(np.int64)


def emit_lines(decided: DecidedShard, num_partitions: int, spill_folder: str | None = None) -> list[Keyed]:
    """The distinct lines of a shard, with whether several of its documents hold each, packed by partition of the hash; a pool task."""
    hashes, counts = np.unique(read_lines(decided)[1], return_counts=True)
    shard = np.array([decided.shard.index], "<u8")
    parts = split_by_key(partition_of(hashes, num_partitions))
    emitted = [(partition, pack_arrays(shard, hashes[positions], (counts[positions] > 1).astype(np.uint8))) for partition, positions in parts]
    return spill_bytes(emitted, spill_folder, f"lines-{decided.shard.index:06d}.bin")


def find_shared(values: list[bytes]) -> list[Keyed]:
    """Of the lines of one partition (as `emit_lines` packs them) those that several documents hold, for each shard that has them."""
    unpacked = [unpack_arrays(value, "<u8", "<u8", "u1") for value in values]
    hashes = np.concatenate([held for _, held, _ in unpacked])
    _, number = np.unique(hashes, return_inverse=True)
    holders = np.bincount(number, weights=np.concatenate([several for *_, several in unpacked]).astype(np.float64) + 1)
    shared = np.split(holders[number] > 1, np.cumsum([len(held) for _, held, _ in unpacked])[:-1])
    return [(int(shard[0]), held[mask].tobytes()) for (shard, held, _), mask in zip(unpacked, shared, strict=True) if mask.any()]


def gather_shared(rows: np.ndarray, hashes: np.ndarray, chars: np.ndarray, shared: np.ndarray) -> SharedLines:
    """The lines (row, hash, characters) of a shard, by row, cut down to those in `shared` (uint64, ascending)."""
    place = np.minimum(np.searchsorted(shared, hashes), max(len(shared) - 1, 0))
    held = shared[place] == hashes if len(shared) else np.zeros(len(hashes), bool)
    documents, document = np.unique(rows[held], return_inverse=True)
    totals = np.bincount(rows, weights=chars, minlength=int(rows.max(initial=0)) + 1).astype(np.int64)[documents]
    return SharedLines(shared, documents, totals, place[held], document, chars[held])


def rank_documents(documents: pa.Table) -> np.ndarray:
    """int64[n]: place of each row's document in `DOCUMENT_ORDER`, 0 the best; equal for rows of one document (`address`)."""
    order = pc.sort_indices(documents, sort_keys=DOCUMENT_ORDER).to_numpy()
    addresses = documents["address"].to_numpy()[order]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.cumsum(np.r_[False, addresses[1:] != addresses[:-1]]) if len(order) else 0
    return ranks


def offer_holders(lines: SharedLines, documents: pa.Table, stays: np.ndarray, shard: int) -> pa.Table:
    """`OFFER_SCHEMA`: each line, and the best document that holds it among those that stay (bool[d]); `documents` describes `lines.rows`."""
    ranks = rank_documents(documents)
    best = np.full(len(lines.hashes), len(ranks), np.int64)
    kept = stays[lines.document]
    np.minimum.at(best, lines.line[kept], ranks[lines.document[kept]])
    by_rank = np.argsort(ranks)
    found = best < len(ranks)
    places = pa.array(by_rank[np.where(found, best, 0)] if len(ranks) else best, mask=~found)
    columns = {"line": pa.array(lines.hashes), "shard": pa.array(np.full(len(best), shard, np.uint32))}
    columns |= {name: documents[name].take(places) for name in ("address", *_DETAILS)}
    return pa.table(columns, schema=OFFER_SCHEMA)


def choose_holders(offers: pa.Table) -> dict[int, pa.Table]:
    """For each shard that offers a line, the best document of any shard that holds it and stays; nothing of lines that no such document holds.

    Does not depend on the order of `offers`. A line costs one row a shard, however many documents hold it.
    """
    order = pc.sort_indices(offers, sort_keys=[("line", "ascending"), *DOCUMENT_ORDER])
    offers = offers.take(order)
    lines = offers["line"].to_numpy()
    starts = np.flatnonzero(np.r_[len(lines) > 0, lines[1:] != lines[:-1]])
    best = np.repeat(starts, np.diff(np.r_[starts, len(lines)]))
    held = offers["address"].is_valid().to_numpy()[best]
    chosen = {}
    for shard, positions in split_by_key(offers["shard"].to_numpy()):
        chosen[shard] = offers.take(pa.array(best[positions][held[positions]]))
    return chosen


def measure_repeated(lines: SharedLines, documents: pa.Table, holders: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of each document stands in better ones: its share (float64[d], 0..1), and for each line held its better holder.

    The second array (int64[e]) is the row of `holders` for every entry of `lines`, -1 where no better document holds the line; the third (int64) the rank of
    each row of `holders`.
    """
    details = ["address", *_DETAILS]
    ranks = rank_documents(pa.concat_tables([documents.select(details), holders.select(details)]))
    ours, theirs = ranks[: len(lines.rows)], ranks[len(lines.rows) :]
    holder = np.full(len(lines.hashes), -1)
    holder[np.searchsorted(lines.hashes, holders["line"].to_numpy())] = np.arange(holders.num_rows)
    of_entry = holder[lines.line]
    if holders.num_rows:
        of_entry[theirs[of_entry] >= ours[lines.document]] = -1
    repeated = np.bincount(lines.document, weights=np.where(of_entry >= 0, lines.chars, 0), minlength=len(lines.rows))
    return repeated / lines.totals, of_entry, theirs


def list_removed(lines: SharedLines, documents: pa.Table, holders: pa.Table, limit: float) -> pa.Table:
    """`REMOVED_SCHEMA`: documents of which more than `limit` stands in `holders`; the partner holds most of it, of equals the better one."""
    shares, of_entry, ranks = measure_repeated(lines, documents, holders)
    removed = np.flatnonzero(shares > limit)
    entries = np.flatnonzero((of_entry >= 0) & (shares[lines.document] > limit))
    document, rank = lines.document[entries], ranks[of_entry[entries]]
    order = np.lexsort((rank, document))
    document, rank, entries = document[order], rank[order], entries[order]
    starts = np.flatnonzero(np.r_[len(entries) > 0, (document[1:] != document[:-1]) | (rank[1:] != rank[:-1])])
    chars = np.add.reduceat(lines.chars[entries], starts) if len(starts) else np.empty(0, np.int64)
    best = starts[np.lexsort((rank[starts], -chars, document[starts]))]
    first = best[np.flatnonzero(np.r_[len(best) > 0, document[best][1:] != document[best][:-1]])]
    partners = pa.array(of_entry[entries[first]])
    columns = [documents["address"].take(pa.array(removed)), holders["address"].take(partners), holders["id"].take(partners)]
    return pa.table([*columns, pa.array(shares[removed].astype(np.float32))], schema=REMOVED_SCHEMA)


class FindRepeatedLines(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, RecordBatch]]: removed documents (`REMOVED_SCHEMA`) by shard index.

    A living document is removed if more than `max_share` (0..1) of the characters of its lines stand in better documents that are not removed; its row
    gives the share, and the document that holds most of it. The result depends on neither the order of rows and files nor `num_partitions`.
    Shuffles 9 bytes for each distinct line of a shard, then some 60 for each that several documents hold, in each of `2 * rounds` exchanges.
    Memory of a worker: the lines of one shard (12 bytes each), or of one of `num_partitions` partitions; a line that a million documents hold takes
    one row for each shard that they lie in. `folder`: for work files, which the caller removes. `spill_folder`: as in `FindNearDuplicates`.
    """

    def __init__(self, max_share: float, folder: str, num_partitions: int = 16, rounds: int = ROUNDS, spill_folder: str | None = None):
        super().__init__()
        if num_partitions < 1 or rounds < 1:
            raise ValueError(f"num_partitions and rounds must be at least 1, not {num_partitions} and {rounds}")
        if not 0 <= max_share <= 1:
            raise ValueError(f"max_share must lie in 0 to 1, not {max_share}")
        self._max_share, self._folder, self._partitions, self._rounds, self._spill = max_share, folder, num_partitions, rounds, spill_folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        emit = PoolDo("EmitLines", emit_lines, self._partitions, self._spill)
        shared = decided | "EmitLines" >> beam.ParDo(emit).with_output_types(Keyed) | "FindShared" >> GroupOnPool(_find_shared)
        offers = (shards, shared) | "OfferAll" >> GroupOnPool(_offer_all, self._partitions, self._folder)
        for turn in range(1, 2 * self._rounds):
            holders = offers | f"ChooseHolders{turn}" >> GroupOnPool(_choose_holders)
            offers = (shards, holders) | f"OfferAgain{turn}" >> GroupOnPool(_offer_again, self._max_share, self._partitions, self._folder)
        holders = offers | "ChooseLastHolders" >> GroupOnPool(_choose_holders)
        return (shards, holders) | "ListRemoved" >> GroupOnPool(_list_removed, self._max_share, self._folder, output=tuple[int, pa.RecordBatch])


def _find_shared(group: Group) -> list[Keyed]:
    return find_shared(load_bytes(group[1]))


def _offer_all(group: Group, num_partitions: int, folder: str) -> list[Keyed]:
    decided, values = part_shard(group)
    if decided is None:
        return []
    shared = np.sort(np.concatenate([np.frombuffer(value, "<u8") for value in values]))
    lines = gather_shared(*read_lines(decided), shared)
    # What stays the same in every exchange is kept, so that the lines that nobody shares are read but twice.
    with write_whole(_work_file(decided, folder), durable=False) as file:
        file.write(lines.pack())
    return _route(offer_holders(lines, _describe(decided, lines), np.ones(len(lines.rows), bool), decided.shard.index), num_partitions)


def _offer_again(group: Group, max_share: float, num_partitions: int, folder: str) -> list[Keyed]:
    decided, values = part_shard(group)
    if decided is None:
        return []
    lines, documents = _recall(decided, folder)
    shares, *_ = measure_repeated(lines, documents, unpack_tables(values, OFFER_SCHEMA))
    return _route(offer_holders(lines, documents, shares <= max_share, decided.shard.index), num_partitions)


def _list_removed(group: Group, max_share: float, folder: str) -> list[tuple[int, pa.RecordBatch]]:
    decided, values = part_shard(group)
    if decided is None:
        return []
    lines, documents = _recall(decided, folder)
    removed = list_removed(lines, documents, unpack_tables(values, OFFER_SCHEMA), max_share).combine_chunks()
    return [(decided.shard.index, batch) for batch in removed.to_batches()]


def _choose_holders(group: Group) -> list[Keyed]:
    return [(shard, pack_table(holders)) for shard, holders in choose_holders(unpack_tables(load_bytes(group[1]), OFFER_SCHEMA)).items()]


def _route(offers: pa.Table, num_partitions: int) -> list[Keyed]:
    partitions = partition_of(offers["line"].to_numpy(), num_partitions)
    return [(partition, pack_table(offers.take(pa.array(positions)))) for partition, positions in split_by_key(partitions)]


def _recall(decided: DecidedShard, folder: str) -> tuple[SharedLines, pa.Table]:
    with open_binary(_work_file(decided, folder)) as file:
        lines = SharedLines.unpack(file.read())
    return lines, _describe(decided, lines)


def _describe(decided: DecidedShard, lines: SharedLines) -> pa.Table:
    details = read_decisions(decided, _DETAILS).take(pa.array(lines.rows)).combine_chunks()
    return details.add_column(0, "address", pa.array(make_addresses(decided.shard.index, lines.rows)))


def _work_file(decided: DecidedShard, folder: str) -> str:
    return join_path(folder, f"{decided.shard.index:06d}.lines")


def _flat(column: pa.ChunkedArray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers in the bytes of all rows one after the other, and how many each row has (int64[n])."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size = np.dtype(dtype).itemsize
    offsets = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4) if len(column) else np.zeros(1, np.int32)
    data = column.buffers()[2]
    held = np.frombuffer(data, dtype, (offsets[-1] - offsets[0]) // size, int(offsets[0])) if data is not None else np.empty(0, dtype)
    return held, np.diff(offsets).astype(np.int64) // size
