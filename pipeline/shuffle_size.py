"""Into how many pieces deduplication cuts its shuffles, where the recipe leaves that open: by the size of the run.

A piece costs a millisecond for each of some thirty steps, which a run of 10,000 documents feels, and saves memory, which only a
large one needs. What is published does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.recipe import Recipe
from transforms.inputs import Split

SPLITS_PER_PIECE = 4
"""Splits of `read.split_bytes` (64 MiB together by default: some 80,000 short documents, 3 MB of each band) that make one piece."""
MOST_PIECES = 1024
UNKNOWN_PIECES = 16
"""Pieces at least where the size of an input is not known beforehand."""


def size_shuffles(recipe: Recipe, pieces: int) -> Recipe:
    """The recipe with `dedup.partitions` as it says, or `pieces` where it says 0. Its tables and its digest stay."""
    return recipe if recipe.dedup.partitions else replace(recipe, dedup=replace(recipe.dedup, partitions=pieces))


def pieces_of_splits(splits: Sequence[Split], split_bytes: int) -> int:
    """Pieces for inputs that were cut into `splits`; packed ones count at `USUAL_COMPRESSION` times their size."""
    # Imported here: a remix has no inputs to cut, and starts without what cuts them.
    from transforms.plan_splits import USUAL_COMPRESSION

    total = sum(split.num_bytes * (USUAL_COMPRESSION if split.needs_spill else 1) for split in splits)
    pieces = pieces_of_shards(max(len(splits), -(-total // split_bytes)))
    return pieces if all(split.num_bytes for split in splits) else max(pieces, UNKNOWN_PIECES)


def pieces_of_shards(num_shards: int) -> int:
    """Pieces for so many scored shards, of one split each: 1 to `MOST_PIECES`."""
    return max(1, min(MOST_PIECES, -(-num_shards // SPLITS_PER_PIECE)))
