"""Finds what earlier cycles published of this run's documents, as steps of a Beam graph; what is done stands in `transforms.find_earlier`."""

from dataclasses import replace

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from transforms.find_earlier import LedgerReading, ProbeFile, emit_probes, group_files, search_files, sort_earlier
from transforms.pool_steps import Group, GroupOnPool, PoolDo


class FindPublished(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, RecordBatch]]: earlier publications (`EARLIER_SCHEMA`) by index of the shard.

    Asks about living documents of `origins` (codes). An equal text is always found, a near-duplicate with the recall of the bands
    (see `transforms.find_candidates`). Memory of a worker: `PASS_KEYS` keys of this run, a row group of the ledger and `BLOCK_MEETINGS`. Cost: the rows of
    `reading.files`, once for every `PASS_KEYS` keys of this run. `folder` holds 300 bytes a document; the caller removes it.
    """

    def __init__(self, reading: LedgerReading, origins: tuple[int, ...], min_similarity: float, folder: str):
        super().__init__()
        if not 0 < min_similarity <= 1:
            raise ValueError(f"min_similarity must lie in 0 (exclusive) to 1, not {min_similarity}")
        self._reading, self._origins, self._min_similarity, self._folder = reading, tuple(origins), min_similarity, folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        reading = self._reading
        emit = PoolDo("EmitProbes", emit_probes, self._origins, reading.bands, reading.extra_bands, self._folder)
        probes = decided | "EmitProbes" >> beam.ParDo(emit).with_output_types(ProbeFile) | "ListProbes" >> beam.combiners.ToList()
        search = PoolDo("SearchLedger", search_files, replace(reading, files=()), self._min_similarity)
        return (
            decided.pipeline
            | "LedgerFiles" >> beam.Create(group_files(reading.files))
            | "SpreadFiles" >> beam.Reshuffle()
            | "SearchLedger" >> beam.ParDo(search, AsSingleton(probes)).with_output_types(tuple[int, pa.RecordBatch])
            | "GatherEarlier" >> GroupOnPool(_gather, output=tuple[int, pa.RecordBatch])
        )


def _gather(group: Group) -> list[tuple[int, pa.RecordBatch]]:
    index, batches = group
    return [(index, batch) for batch in sort_earlier(pa.Table.from_batches(list(batches))).to_batches()]
