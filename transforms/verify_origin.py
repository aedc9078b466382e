"""What a document's declared origin becomes once the detector has judged it.

| declared | detector says | becomes |
|---|---|---|
| human | below threshold, or cannot judge | human |
| human | above | disputed: never counts as human |
| synthetic | anything | synthetic |
| unknown | above | synthetic |
| unknown | below, or cannot judge | presumed human |
"""

import numpy as np

from transforms.records import ORIGIN_CODES, Origin

HUMAN = ORIGIN_CODES[Origin.HUMAN]
PRESUMED_HUMAN = ORIGIN_CODES[Origin.PRESUMED_HUMAN]
SYNTHETIC = ORIGIN_CODES[Origin.SYNTHETIC]
UNKNOWN = ORIGIN_CODES[Origin.UNKNOWN]
DISPUTED = ORIGIN_CODES[Origin.DISPUTED]


def verify_origin(declared: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    """Origin codes (uint8) after verification.

    `declared` holds the codes of human, synthetic or unknown; `flagged` (bool) is true where the detector puts a document
    above the threshold of its length group, and false where it stays below or cannot judge. Raises ValueError for a
    declared code outside these three.
    """
    origin = np.array(declared, dtype=np.uint8)
    undeclarable = ~np.isin(origin, (HUMAN, SYNTHETIC, UNKNOWN))
    if undeclarable.any():
        raise ValueError(f"declared origin code {origin[undeclarable][0]}; an input can only declare human, synthetic or unknown")
    human, unknown = origin == HUMAN, origin == UNKNOWN
    origin[human & flagged] = DISPUTED
    origin[unknown & flagged] = SYNTHETIC
    origin[unknown & ~flagged] = PRESUMED_HUMAN
    return origin
