"""The priority key of each document by the order that it is chosen in: that of the innermost group it is of that has one, else of the whole mix."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.group_members import read_members
from transforms.mix_settings import PRIORITY_FIELDS, MixSettings
from transforms.order_keys import priority_keys

BY_QUALITY = ("quality", "diverse")
"""Orders that look at the quality of the decisions."""


def orders_of(alive: pa.Table, settings: MixSettings) -> np.ndarray:
    """int8: the place in `settings.orders` of each document's order.

    Of several groups with a priority the last counts, parents standing before children and groups of one depth by name. `alive`: made by `add_members`.
    """
    orders = np.zeros(alive.num_rows, np.int8)
    if len(settings.orders) > 1:
        for group, holds in zip(settings.groups, read_members(alive, settings.groups), strict=True):
            if group.priority:
                orders[holds] = settings.orders.index(group.priority)
    return orders


def read_priorities(alive: pa.Table, row_keys: np.ndarray, qualities: np.ndarray, settings: MixSettings) -> np.ndarray:
    """Priority keys (uint64), the smallest first; keys of different orders share the range, and each is a spread over it.

    `alive`: with the columns `settings.scored_fields`. `qualities`: float32, empty where no order looks at them.
    """
    if len(settings.orders) == 1:
        return priority_keys(row_keys, qualities, settings, _scores(alive, settings.priority))
    keys, orders = np.empty(alive.num_rows, np.uint64), orders_of(alive, settings)
    for number, order in enumerate(settings.orders):
        rows = np.flatnonzero(orders == number)
        scores = _scores(alive, order)
        those = qualities[rows] if order in BY_QUALITY else qualities
        keys[rows] = priority_keys(row_keys[rows], those, settings, None if scores is None else scores[rows], order)
    return keys


def _scores(alive: pa.Table, order: str) -> np.ndarray | None:
    if order not in PRIORITY_FIELDS:
        return None
    column = alive[PRIORITY_FIELDS[order]]
    return (pc.fill_null(column, np.nan) if column.null_count else column).to_numpy()
