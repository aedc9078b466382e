"""Ranks documents within their clusters: `rank_documents` as a Beam step."""

import apache_beam as beam

from transforms.mix_settings import MixSettings
from transforms.pool_steps import GroupOnPool, Keyed, PoolDo, key_by_shard
from transforms.rank_documents import choose_ranks, offer_ranks, write_ranks
from transforms.records import DecidedShard


class RankInClusters(beam.PTransform):
    """PCollection[DecidedShard] -> the same, each with a file of its documents' ranks under `folder`.

    `near_clusters`: the folder of groups of near-duplicates, where `settings.diverse_by` names these. Shuffles 24 bytes for each clustered document,
    at most `MOST_RANK` of a cluster and kind for each shard, and 10 bytes back. Memory of a worker: one of `num_partitions` partitions of that.
    """

    def __init__(self, settings: MixSettings, near_clusters: str | None, num_partitions: int, folder: str, spill_folder: str | None = None):
        super().__init__()
        self._settings, self._near_clusters, self._folder = settings, near_clusters, folder
        self._num_partitions, self._spill = num_partitions, spill_folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        offer = PoolDo("rank", offer_ranks, self._settings, self._near_clusters, self._num_partitions, self._spill)
        ranks = decided | "OfferRanks" >> beam.ParDo(offer).with_output_types(Keyed) | "ChooseRanks" >> GroupOnPool(choose_ranks, self._spill)
        write = GroupOnPool(write_ranks, self._settings, self._near_clusters, self._folder, output=DecidedShard)
        return (shards, ranks) | "WriteRanks" >> write
