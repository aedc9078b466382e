"""Which documents hold too much of an evaluation set, from the scores that `classifiers.contamination` left: no text is read."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.contamination_fields import NGRAMS, SHARE


@dataclass(frozen=True)
class ContaminationLimits:
    """How much of an evaluation set a document may not hold. Both limits must be reached."""

    min_ngrams: int = 1
    """Different n-grams of evaluation sets in the document from which it is contaminated, at least 1, inclusive."""
    min_share: float = 0.0
    """Share of the n-grams of one item that the document holds from which it is contaminated, 0..1, inclusive; 0: any."""

    def __post_init__(self) -> None:
        if isinstance(self.min_ngrams, bool) or not isinstance(self.min_ngrams, int) or self.min_ngrams < 1:
            raise ValueError(f"decontaminate.min_ngrams = {self.min_ngrams!r}: must be a whole number of at least 1")
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"decontaminate.min_share = {self.min_share!r}: must be a share from 0 to 1")


def find_contaminated(columns: pa.Table, limits: ContaminationLimits) -> np.ndarray:
    """Whether each document is contaminated (bool[n])."""
    # In float32, as the share is stored: a limit of 0.3 is reached by three of ten.
    enough = pc.and_(
        pc.greater_equal(columns[NGRAMS], limits.min_ngrams), pc.greater_equal(columns[SHARE], pa.scalar(limits.min_share, pa.float32()))
    )
    return enough.to_numpy(zero_copy_only=False)
