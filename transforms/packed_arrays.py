"""Several numpy arrays as one string of bytes: what is shuffled, since Beam carries bytes at the cost of a copy.

A shuffled value holds thousands of hashes or edges, never one; its key is an int.
"""

from collections.abc import Iterable

import numpy as np


def pack_arrays(*arrays: np.ndarray) -> bytes:
    """The arrays' lengths (little-endian uint64), then their items; of one axis each."""
    lengths = np.array([len(array) for array in arrays], dtype="<u8")
    return b"".join([lengths.tobytes(), *(array.tobytes() for array in arrays)])


def unpack_arrays(packed: bytes, *dtypes: np.dtype | str) -> list[np.ndarray]:
    """Inverse of `pack_arrays` for arrays of one axis, given their dtypes: read-only views, no copies."""
    lengths = np.frombuffer(packed, "<u8", len(dtypes))
    arrays, offset = [], lengths.nbytes
    for length, dtype in zip(lengths, dtypes, strict=True):
        arrays.append(np.frombuffer(packed, dtype, int(length), offset))
        offset += arrays[-1].nbytes
    if offset != len(packed):
        raise ValueError(f"{len(packed)} bytes were packed, but arrays of {[str(dtype) for dtype in dtypes]} take {offset}")
    return arrays


def join_pairs(values: Iterable[bytes]) -> np.ndarray:
    """uint64[n, 2]: pairs packed by `pairs.tobytes()`, one value after the other."""
    return np.frombuffer(b"".join(values), "<u8").reshape(-1, 2)


def split_by_key(keys: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each distinct key (ascending) with the positions that hold it, in their order."""
    if not len(keys):
        return []
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    return [(int(keys[positions[0]]), positions) for positions in np.split(order, starts)]
