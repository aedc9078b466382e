"""The lines of a split with their positions, wherever they lie: a byte range, a compressed file, or a spilled chunk."""

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from transforms.decompress import Damaged, decompress
from transforms.inputs import END_OF_FILE, Split
from transforms.split_lines import BYTE_ORDER_MARK, find_first_line, iter_lines, read_range
from transforms.storage import is_local


class SplitLines:
    """Iterates (positions, lines): lists of the lines of `split`, and for each its number from 1 or, where that is unknown, its byte.

    `file` is open at the split's data. A file that breaks ends the iteration after its last whole line and says why in `damage`.
    """

    def __init__(self, file: BinaryIO, split: Split):
        self.prefix = f"{split.path}@" if split.first_position is None else f"{split.path}:"
        """What precedes a position in a location."""
        self.position = split.first_position or 0
        """Of the line after the last one that was given out."""
        self.damage: str | None = None
        """Why the file ended early, if it did."""
        self._file = file
        self._split = split

    def __iter__(self) -> Iterator[tuple[Sequence[int], list[bytes]]]:
        split = self._split
        at_start = split.begin == 0 and split.stored_at is None
        if split.compression is not None:
            blocks = decompress(self._file, split.compression)
        else:
            start = find_first_line(self._file, split.begin, split.end)
            blocks = read_range(self._file, start, split.end)
            if split.first_position is None:
                self.position = start
        try:
            for lines in iter_lines(blocks):
                positions = self._advance(lines)
                if at_start:
                    lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
                    at_start = False
                yield positions, lines
        except Damaged as damage:
            self.damage = str(damage)
        else:
            # A file that others write to meanwhile may have shrunk: what is gone must not go unnoticed.
            known = split.stored_at is None and split.end < END_OF_FILE and is_local(split.path)
            if known and (size := self._file.seek(0, os.SEEK_END)) < split.end:
                self.damage = f"the file has {size:,} bytes, and had at least {split.end:,} when the run was planned: it was cut or replaced meanwhile"

    def _advance(self, lines: list[bytes]) -> Sequence[int]:
        if self._split.first_position is None:
            positions = list(itertools.accumulate((len(line) + 1 for line in lines), initial=self.position))
            self.position = positions.pop()
            return positions
        first, self.position = self.position, self.position + len(lines)
        return range(first, self.position)
