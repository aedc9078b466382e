"""Claims about compressed files: all members and frames are read, and everything before the damage is kept."""

import gzip
import io
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.decompress import PIECE_BYTES, Damaged, decompress

TEXT = b"".join(b'{"text": "line %d of some that differ", "n": %d}\n' % (n * 7919 % 1000, n) for n in range(20_000))
NOISE = b"".join(zlib.crc32(b"%d" % n).to_bytes(4, "little") for n in range(100_000))


def pack(data: bytes, compression: str, checksum: bool = True) -> bytes:
    if compression == "gzip":
        return gzip.compress(data, 6, mtime=0)
    return zstandard.ZstdCompressor(level=3, write_checksum=checksum).compress(data)


def unpack(packed: bytes, compression: str) -> tuple[bytes, str | None]:
    """What decodes, and why it ended early, if it did."""
    blocks = []
    try:
        for block in decompress(io.BytesIO(packed), compression):
            assert block
            blocks.append(block)
    except Damaged as damage:
        return b"".join(blocks), str(damage)
    return b"".join(blocks), None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@settings(max_examples=20)
@given(parts=st.lists(st.sampled_from([b"", b"a", b"line\n", TEXT, NOISE]), min_size=1, max_size=5))
def test_members_and_frames_are_read_one_after_the_other(compression, parts):
    packed = b"".join(pack(part, compression) for part in parts)
    assert unpack(packed, compression) == (b"".join(parts), None)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@settings(max_examples=30)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_keeps_a_beginning_and_says_so(compression, cut):
    packed = pack(TEXT, compression)
    kept, damage = unpack(packed[: int(cut * len(packed))], compression)
    assert TEXT.startswith(kept)
    assert damage


@pytest.mark.parametrize("data", [TEXT, NOISE], ids=["text", "noise"])
def test_gzip_keeps_all_that_zlib_can_decode_before_the_cut(data):
    packed = pack(data, "gzip")[: len(pack(data, "gzip")) * 2 // 3]
    assert unpack(packed, "gzip")[0] == zlib.decompressobj(31).decompress(packed)


def test_zstd_keeps_every_whole_block_before_damage_in_the_same_piece():
    compressor = zstandard.ZstdCompressor().compressobj()
    blocks = [b"block %d\n" % number * 50 for number in range(20)]
    packed = [compressor.compress(block) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for block in blocks]
    reserved_block_type = b"\xff\xff\xff"
    damaged = b"".join(packed) + reserved_block_type
    assert len(damaged) < PIECE_BYTES
    assert unpack(damaged, "zstd")[0] == b"".join(blocks)
    assert "does not decode" in unpack(damaged, "zstd")[1]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_false_checksum_loses_nothing_but_is_told(compression):
    packed = bytearray(pack(TEXT, compression))
    packed[-6 if compression == "gzip" else -1] ^= 0xFF
    kept, damage = unpack(bytes(packed), compression)
    assert kept == TEXT
    assert "does not decode" in damage


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_members_before_a_broken_one_are_whole(compression):
    kept, damage = unpack(pack(TEXT, compression) + pack(NOISE, compression)[:20], compression)
    assert kept.startswith(TEXT)
    assert damage


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_not_compressed_at_all_is_damage(compression):
    assert unpack(b'{"text": "plain"}\n', compression)[1]
    assert unpack(pack(TEXT, compression) + b"junk after the end", compression) == (TEXT, unpack(b"junk after the end", compression)[1])


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_empty_file_is_damage_because_no_compressor_writes_one(compression):
    assert unpack(b"", compression) == (b"", f"{compression} file is empty")


def test_zeros_after_gzip_members_are_padding():
    padded = pack(b"a\n", "gzip") + b"\0" * (PIECE_BYTES + 5) + pack(b"b\n", "gzip") + b"\0" * 512
    assert unpack(padded, "gzip") == (b"a\nb\n", None)


def test_zstd_skippable_frames_are_skipped():
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"
    assert unpack(skippable + pack(TEXT, "zstd") + skippable + pack(b"end", "zstd"), "zstd") == (TEXT + b"end", None)


def test_zstd_windows_of_two_gigabytes_are_accepted():
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    long = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = long.compress(TEXT) + long.flush()
    assert unpack(packed, "zstd") == (TEXT, None)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_memory_is_flat_in_the_length_of_the_file(compression):
    packed = pack(TEXT, compression) * 40
    tracemalloc.start()
    num_bytes = sum(map(len, decompress(io.BytesIO(packed), compression)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num_bytes == 40 * len(TEXT)
    assert peak < num_bytes / 4


def test_an_unknown_compression_is_an_error():
    with pytest.raises(ValueError, match="known are gzip, zstd"):
        next(decompress(io.BytesIO(b""), "bzip2"))
