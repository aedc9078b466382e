"""Finds near-duplicates: candidates by band, verified by signature, connected, and of each group the unlike ones survive.

    FindCandidates  ->  VerifyCandidates  ->  ConnectComponents  ->  ChooseSurvivors
    pairs that share     pairs that are       groups of documents    who stays, and to
    a band               similar              linked by these        whom the others lost

Only hashes, addresses and signatures are shuffled, in arrays; no worker holds all documents, all pairs or all edges. A band that very many documents share is
spread over many workers; a group of as many true copies is not: its last step takes some 600 bytes a member.
"""

import apache_beam as beam

from transforms.choose_survivors import ChooseSurvivors
from transforms.connect_components import ConnectComponents
from transforms.find_candidates import FindCandidates
from transforms.pool_steps import key_by_shard
from transforms.records import DecidedShard
from transforms.verify_candidates import VerifyCandidates

MIN_SIMILARITY = 0.7
"""Estimated Jaccard similarity of word 5-grams from which two documents are near-duplicates, inclusive.

A pair at a true similarity of .80 reaches it (79 equal bytes of 112) with probability .994, one at .85 always but for 3 in 100,000: so
little that the bands proposed is lost. Of pairs that should not merge 1.5 % would pass at .60, 6 in 10,000 at .55 and 1 in 100,000 at
.50, and the bands propose fewer than one in three at .60 to begin with."""


class FindNearDuplicates(beam.PTransform):
    """PCollection[DecidedShard] -> PCollection[tuple[int, RecordBatch]]: removed documents (`DUPLICATE_SCHEMA`) by shard index.

    Every removed document names a survivor whose estimated similarity to it, given in its row, is at least `min_similarity`;
    survivors of one group are pairwise less similar (but for huge groups: see `find_partners`). Which documents survive depends on
    neither the order of rows and files nor the number of partitions. Documents already rejected or without a word (null bands) take no part.

    `bands`: hashes in the column `bands` of the scored shards. `extra_bands`: more bands cut from the same signatures, for recall; each
    costs about 0.6 us of CPU and 16 shuffled bytes a document. `num_partitions`: partitions of each band, and of every later
    shuffle; a worker's memory shrinks with it (`FindCandidates` says how). `component_rounds`: see `ConnectComponents`.
    `spill_folder`: on a disk that all workers share, a folder for bands (320 bytes a document with the defaults) and candidates instead
    of the runner's shuffle, which in memory takes four times that; the caller removes it.
    Counts `candidate-pairs` (one for each band that proposes a pair), `verified-edges` and `residue-edges`.
    """

    def __init__(
        self,
        bands: int = 14,
        extra_bands: int = 6,
        min_similarity: float = MIN_SIMILARITY,
        num_partitions: int = 8,
        component_rounds: int = 2,
        spill_folder: str | None = None,
    ):
        super().__init__()
        if bands < 1 or num_partitions < 1:
            raise ValueError(f"bands and num_partitions must be at least 1, not {bands} and {num_partitions}")
        if not 0 <= extra_bands <= bands * (bands - 1):
            raise ValueError(f"extra_bands must lie in 0 to {bands * (bands - 1)} (bands * (bands - 1)), not {extra_bands}")
        if not 0 < min_similarity <= 1:
            raise ValueError(f"min_similarity must lie in 0 (exclusive) to 1, not {min_similarity}")
        self._bands, self._extra_bands, self._min_similarity = bands, extra_bands, min_similarity
        self._num_partitions, self._component_rounds = num_partitions, component_rounds
        self._spill_folder = spill_folder

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        return (decided, decided | "LinkDuplicates" >> self.link()) | "ChooseAmongLinked" >> self.choose()

    def link(self) -> beam.PTransform:
        """Its first half: PCollection[DecidedShard] -> (address, group) pairs of linked near-duplicates as bytes, by shard index."""
        find = FindCandidates(self._bands, self._extra_bands, self._num_partitions, self._spill_folder)
        verify = VerifyCandidates(self._min_similarity, self._spill_folder)
        connect = ConnectComponents(self._num_partitions, self._component_rounds)
        return _LinkDuplicates(find, verify, connect)

    def choose(self) -> beam.PTransform:
        """Its second half: (decided shards, what `link` gives) -> removed documents by shard index."""
        return _ChooseAmongLinked(ChooseSurvivors(self._num_partitions, self._min_similarity))


class _LinkDuplicates(beam.PTransform):
    def __init__(self, find: FindCandidates, verify: VerifyCandidates, connect: ConnectComponents):
        super().__init__()
        self._find, self._verify, self._connect = find, verify, connect

    def expand(self, decided: beam.PCollection) -> beam.PCollection:
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        pairs = decided | "FindCandidates" >> self._find
        return (shards, pairs) | "VerifyCandidates" >> self._verify | "ConnectComponents" >> self._connect


class _ChooseAmongLinked(beam.PTransform):
    def __init__(self, choose: ChooseSurvivors):
        super().__init__()
        self._choose = choose

    def expand(self, inputs) -> beam.PCollection:
        decided, members = inputs
        shards = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
        return (shards, members) | "ChooseSurvivors" >> self._choose
