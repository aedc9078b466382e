"""What the orders of `mix.priority` and the weights of rows need of the scored shards and of what is decided before the mix."""

from __future__ import annotations

import pyarrow as pa

from transforms.mix_settings import PRIORITY_FIELDS, RANK_FIELD, MixSettings
from transforms.weigh_samples import PROBABILITY

_REMEDIES = {"perplexity": "set score.perplexity_model", PROBABILITY: 'add "ai_detector" to score.scorers'}
"""What makes a column that an order looks at."""


def named_orders(mix: MixSettings) -> dict[str, str]:
    """The order of priority of the mix, and of each group that has one of its own, by the section of the recipe that gives it."""
    return {"mix": mix.priority, **{f"mix.groups.{group.name}": group.priority for group in mix.groups if group.priority}}


def check_priority(mix: MixSettings, known: pa.Schema) -> None:
    """Raises ValueError, saying what to do, for an order of priority whose score was not made."""
    for name, order in named_orders(mix).items():
        field = PRIORITY_FIELDS.get(order)
        if field not in (None, RANK_FIELD, *known.names):
            raise ValueError(f"{name}.priority = {order!r}: orders by {field!r}, which is not scored; {_REMEDIES[field]}, or give another priority")


def check_sample_weight(kind: str, known: pa.Schema) -> None:
    """Raises ValueError, saying what to do, for weights that are made of a score which was not made."""
    if kind == "importance" and PROBABILITY not in known.names:
        raise ValueError(
            f"publish.sample_weight = {kind!r}: is made of {PROBABILITY!r}, which is not scored; {_REMEDIES[PROBABILITY]}, or give golden_ratio or none"
        )


def takes_turns_over(mix: MixSettings, key: str) -> bool:
    """Whether the mix takes turns over the clusters of `key`, which are then to be found before it."""
    return mix.takes_turns and mix.diverse_by == key
