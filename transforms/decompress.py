"""Compressed files as a stream of blocks, kept up to the very byte where they break.

Corpora come as gzip of several members (bgzip, concatenated crawls) and zstd of several frames and long windows (`--long=31`); some
arrive cut off. Everything that decodes before the damage is kept.
"""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

PIECE_BYTES = 16 << 10
"""Compressed bytes decoded at a time: bounds what one step can blow up to (gzip: 1,032 to 1, so 16 MiB)."""
MAX_WINDOW_BYTES = 1 << 31
"""Largest zstd window accepted: that of `zstd --long=31`."""
GZIP_WBITS = 31
"""zlib's code for gzip wrapping with the full window."""

COMPRESSIONS = ("gzip", "zstd")
COMPRESSION_SUFFIXES = {".gz": "gzip", ".zst": "zstd"}


class Damaged(Exception):
    """A compressed stream that ends too early or does not decode; what came before it has been yielded."""


def decompress(file: BinaryIO, compression: str) -> Iterator[bytes]:
    """Decompressed blocks (not empty) of all members or frames of `file`, a seekable file at its start.

    Memory is flat in the length of the file. Raises `Damaged` after the last byte that decodes; errors of reading the file pass through.
    *Source:* RFC 1952 (members, zero padding after them) and RFC 8878 (frames, skippable frames).
    """
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression {compression!r}: known are {', '.join(COMPRESSIONS)}")
    member_begin = 0
    while True:
        pending = _skip_padding(file, member_begin) if compression == "gzip" and member_begin else member_begin
        file.seek(pending)
        if not file.read(1):
            if pending == 0:
                raise Damaged(f"{compression} file is empty")
            return
        member_begin = yield from _decompress_member(file, compression, pending)


def _decompress_member(file: BinaryIO, compression: str, begin: int) -> Iterator[bytes]:
    """Blocks of the member that begins at byte `begin`; returns where the next one would begin."""
    file.seek(begin)
    decoder = _make_decoder(compression)
    position = begin
    while piece := file.read(PIECE_BYTES):
        try:
            block = decoder.decompress(piece)
        except (zlib.error, zstandard.ZstdError) as error:
            if saved := _salvage(file, compression, begin, position):
                yield saved
            raise Damaged(f"{compression} data does not decode: {error}") from error
        if block:
            yield block
        position += len(piece)
        if decoder.eof:
            return position - len(decoder.unused_data)
    raise Damaged(f"{compression} stream ends before its end mark: the file was cut off")


def _salvage(file: BinaryIO, compression: str, begin: int, position: int) -> bytes:
    """What still decodes of the piece at `position`: the member is decoded again up to there, then byte by byte."""
    file.seek(begin)
    decoder = _make_decoder(compression)
    while begin < position:
        piece = file.read(min(PIECE_BYTES, position - begin))
        begin += len(piece)
        decoder.decompress(piece)
    saved = []
    try:
        for byte in file.read(PIECE_BYTES):
            saved.append(decoder.decompress(bytes((byte,))))
    except (zlib.error, zstandard.ZstdError):
        pass  # the damage that brought us here, which the caller reports
    return b"".join(saved)


def _make_decoder(compression: str):
    if compression == "gzip":
        return zlib.decompressobj(GZIP_WBITS)
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES).decompressobj()


def _skip_padding(file: BinaryIO, begin: int) -> int:
    """Position of the first byte at or after `begin` that is not zero: tapes and block devices pad gzip members."""
    file.seek(begin)
    while piece := file.read(PIECE_BYTES):
        padding = len(piece) - len(piece.lstrip(b"\0"))
        begin += padding
        if padding < len(piece):
            break
    return begin
