"""What the orders of `mix.priority` need of the scored shards and of what is decided before the mix."""

from __future__ import annotations

import pyarrow as pa

from transforms.mix_settings import RANK_FIELD, MixSettings

_REMEDIES = {"perplexity": "set score.perplexity_model", "ai_probability": 'add "ai_detector" to score.scorers'}
"""What makes a column that an order looks at."""


def check_priority(mix: MixSettings, known: pa.Schema) -> None:
    """Raises ValueError, saying what to do, for an order of priority whose score was not made."""
    field = mix.priority_field
    if field not in (None, RANK_FIELD, *known.names):
        raise ValueError(f"mix.priority = {mix.priority!r}: orders by {field!r}, which is not scored; {_REMEDIES[field]}, or give another priority")


def takes_turns_over(mix: MixSettings, key: str) -> bool:
    """Whether the mix takes turns over the clusters of `key`, which are then to be found before it."""
    return mix.priority == "diverse" and mix.diverse_by == key
