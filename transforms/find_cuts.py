"""Finds the cuts of the mix from surveys of the decided shards: which documents are published, and where each shard ends.

The surveys (keys and sizes only) give a histogram by priority, the documents of the few bins that a cut falls into, a
histogram of the chosen documents by placement, and the documents of the bins where a shard ends. What comes out,
`MixCuts`, is small, and the same however the documents are parted.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from transforms.mix_settings import MixSettings
from transforms.place_mix import MixCuts, place_human, place_other, seek_human, seek_other
from transforms.plan_mix import Cut, Steps, bound_mix, describe_mix
from transforms.survey_mix import HUMAN, OTHER, OrderedSteps, Request, Selection, join_documents, merge_histograms, order_steps, survey_table

PENDING_ROWS = 1 << 18
"""Histogram rows that wait before they are added up, at least: bounds the work of merging many small histograms."""

Survey = Callable[[Request], Iterable[np.ndarray]]


def seek_selection(histogram: np.ndarray, settings: MixSettings) -> Request:
    """Asks for the bins that a cut of the selection may fall into. `histogram`: all alive documents by priority key."""
    human, other = (order_steps(histogram, join_documents([]), stratum) for stratum in (HUMAN, OTHER))
    bounds = bound_mix(Steps(human.units), Steps(other.units), settings, human.fresh_steps)
    return Request(None, np.unique(np.concatenate([_lumps(human, bounds.human_cuts, HUMAN), _lumps(other, bounds.other_cuts, OTHER)])))


def select_documents(histogram: np.ndarray, documents: Iterable[np.ndarray], settings: MixSettings) -> Selection:
    """The exact selection, from the histogram and the documents that `seek_selection` asked for."""
    gathered = join_documents(documents)
    human, other = (order_steps(histogram, gathered, stratum) for stratum in (HUMAN, OTHER))
    steps = Steps(human.units), Steps(other.units)
    bounds = bound_mix(*steps, settings, human.fresh_steps)
    if not bounds.is_exact:
        raise RuntimeError("mix: a cut of the selection lies in a bin that was not opened")
    return Selection(
        plan=describe_mix(*steps, bounds, settings, human.fresh_steps),
        human=human.position(bounds.human.low),
        stale=human.position(bounds.stale_human.low),
        within_size=other.position(bounds.within_size.low),
        within_quota=other.position(bounds.within_quota.low),
        other=other.position(bounds.other.low),
    )


def find_cuts(survey: Survey, settings: MixSettings) -> MixCuts:
    """The cuts of the mix over all documents that `survey` tells of: the plan of `PlanMix` in plain calls.

    `survey(request)` yields what `survey_shard` or `survey_table` finds in each part of the documents, in any order.
    """
    by_priority = merge_in_parts(survey(Request()))
    selection = select_documents(by_priority, survey(seek_selection(by_priority, settings)), settings)
    by_placement = merge_in_parts(survey(Request(selection)))
    placement = place_human(by_placement, survey(seek_human(by_placement, selection)), selection)
    return place_other(by_placement, survey(seek_other(by_placement, placement)), placement)


def cuts_of_tables(decisions: Sequence[pa.Table], settings: MixSettings) -> MixCuts:
    """`find_cuts` for documents that lie in memory as tables of `DECISION_SCHEMA`."""
    return find_cuts(lambda request: (survey_table(table, request, settings) for table in decisions), settings)


class PendingHistogram:
    """Histograms added up in parts: rows wait until there are as many as those already added up, so each is sorted a few times only."""

    def __init__(self) -> None:
        self._parts = [merge_histograms([])]
        self._pending = 0

    def add(self, histogram: np.ndarray) -> None:
        """Counts the documents of one more histogram."""
        self._parts.append(histogram)
        self._pending += len(histogram)
        if self._pending > max(PENDING_ROWS, len(self._parts[0])):
            self.merged()

    def merged(self) -> np.ndarray:
        """The histogram of all documents so far."""
        self._parts, self._pending = [merge_histograms(self._parts)], 0
        return self._parts[0]


def merge_in_parts(histograms: Iterable[np.ndarray]) -> np.ndarray:
    """`merge_histograms` of any number of histograms, at most twice `PENDING_ROWS` or the result in memory."""
    pending = PendingHistogram()
    for histogram in histograms:
        pending.add(histogram)
    return pending.merged()


def _lumps(steps: OrderedSteps, cuts: Sequence[Cut], stratum: int) -> np.ndarray:
    indices = np.unique(np.concatenate([np.arange(cut.low, cut.high) for cut in cuts]))
    return steps.bins(indices[steps.units[indices, 0] > 1], stratum)
