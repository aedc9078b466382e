"""What the orders of `mix.priority` need of the scored shards."""

from __future__ import annotations

import pyarrow as pa

from transforms.mix_settings import MixSettings

_REMEDIES = {"perplexity": "set score.perplexity_model", "ai_probability": 'add "ai_detector" to score.scorers'}
"""What makes a column that an order looks at."""


def check_priority(mix: MixSettings, known: pa.Schema) -> None:
    """Raises ValueError, saying what to do, for an order of priority whose score was not made."""
    field = mix.priority_field
    if field is not None and field not in known.names:
        raise ValueError(f"mix.priority = {mix.priority!r}: orders by {field!r}, which is not scored; {_REMEDIES[field]}, or give another priority")
