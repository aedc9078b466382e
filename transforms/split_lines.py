"""Lines of a part of a file, so that the parts of any cut together give each line exactly once.

A line belongs to the part in which its first byte lies. Lines end at a newline; the last one may lack it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

BLOCK_BYTES = 1 << 20
"""Bytes read at a time."""
NEWLINE = 0x0A
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_first_line(file: BinaryIO, begin: int, end: int) -> int:
    """Byte at which the first line of `file` (seekable) that starts in [begin, end) starts; `end` or more where none does.

    Reads no further than `end`, so that many parts of one endless line do not each read all of it.
    """
    if begin <= 0:
        return 0
    # A newline just before `begin` means that a line starts at `begin`.
    position = begin - 1
    file.seek(position)
    while position < end - 1 and (block := file.read(min(BLOCK_BYTES, end - 1 - position))):
        newline = block.find(b"\n") + 1
        if newline:
            return position + newline
        position += len(block)
    return end


def read_range(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Blocks that hold exactly the lines of `file` that start in [start, end), newlines included. A line must start at `start`."""
    if start >= end:
        return
    file.seek(start)
    last = NEWLINE
    while start < end and (block := file.read(min(BLOCK_BYTES, end - start))):
        yield block
        start += len(block)
        last = block[-1]
    while last != NEWLINE and (block := file.read(BLOCK_BYTES)):
        newline = block.find(b"\n") + 1
        yield block[: newline or len(block)]
        if newline:
            return


def iter_lines(blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines of the concatenated `blocks`, in lists, without their newlines; a carriage return before the newline stays.

    Linear also in the length of a line that spans many blocks. When `blocks` raises, the lines that were whole have been yielded.
    """
    begun: list[bytes] = []
    for block in blocks:
        lines = block.split(b"\n")
        if len(lines) == 1:
            begun.append(block)
            continue
        if begun:
            begun.append(lines[0])
            lines[0] = b"".join(begun)
        begun = [lines.pop()]
        yield lines
    if last := b"".join(begun):
        yield [last]


def number_first_lines(file: BinaryIO, begins: Sequence[int]) -> list[int]:
    """Number (from 1) of the first line of each range of `read_range` that begins at one of `begins` (ascending).

    Reads `file` once, up to the last of them, at several GB a second where the pages are in memory; releases the GIL.
    """
    numbers = []
    num_newlines = 0
    position = 0
    file.seek(0)
    buffer = bytearray(BLOCK_BYTES)
    for begin in begins:
        # The range starts after the first newline at or after byte begin - 1, which is newline number `num_newlines + 1`.
        while position < begin - 1:
            num_read = file.readinto(memoryview(buffer)[: min(BLOCK_BYTES, begin - 1 - position)])
            if not num_read:
                break
            num_newlines += np.count_nonzero(np.frombuffer(buffer, np.uint8, num_read) == NEWLINE)
            position += num_read
        numbers.append(int(num_newlines) + 2 if begin > 0 else 1)
    return numbers
