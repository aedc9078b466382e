"""Claims about lines in byte ranges: any cut of a file gives each of its lines exactly once, in order, and knows its number."""

import io
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import split_lines
from transforms.split_lines import find_first_line, iter_lines, number_first_lines, read_range

FILES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\n\n", b"\xc3\xa9", b"long line " * 5]), max_size=30).map(b"".join)


def lines_of(data: bytes) -> list[bytes]:
    """The plain definition: what stands before and between newlines, and after the last one if anything does."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read_lines(file, begin: int, end: int) -> list[bytes]:
    return list(itertools.chain.from_iterable(iter_lines(read_range(file, find_first_line(file, begin, end), end))))


@settings(max_examples=300)
@given(FILES, st.lists(st.integers(0, 150), max_size=6), st.sampled_from([1, 2, 3, 7, 64, 1 << 20]))
def test_any_cut_gives_every_line_once_with_its_number(data, cuts, block_bytes):
    begins = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)})]
    file = io.BytesIO(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split_lines, "BLOCK_BYTES", block_bytes)
        numbers = number_first_lines(file, begins)
        parts = [read_lines(file, begin, end) for begin, end in itertools.pairwise([*begins, len(data)])]
    whole = lines_of(data)
    assert [line for part in parts for line in part] == whole
    for number, part in zip(numbers, parts, strict=True):
        assert part == whole[number - 1 : number - 1 + len(part)]


@given(FILES, st.integers(1, 20))
def test_lines_do_not_depend_on_where_blocks_end(data, block_bytes):
    blocks = [data[begin : begin + block_bytes] for begin in range(0, len(data), block_bytes)]
    assert list(itertools.chain.from_iterable(iter_lines(blocks))) == lines_of(data)


def test_lines_before_an_error_of_the_source_have_been_given():
    def breaking():
        yield b"a\nb\nhal"
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for lines in iter_lines(breaking()):
            seen += lines
    assert seen == [b"a", b"b"]


class Counting(io.BytesIO):
    """Counts the bytes read."""

    num_read = 0

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        self.num_read += len(data)
        return data


def test_parts_of_one_endless_line_do_not_each_read_all_of_it():
    data = b"x" * (20 << 20)
    part = 1 << 20
    file = Counting(data)
    (whole,) = read_lines(file, 0, part)
    assert len(whole) == len(data)
    file.num_read = 0
    for begin in range(part, len(data), part):
        assert read_lines(file, begin, begin + part) == []
    assert file.num_read <= len(data)


def test_a_range_that_begins_at_a_line_owns_it_and_the_range_before_does_not():
    file = io.BytesIO(b"one\ntwo\nthree")
    assert read_lines(file, 0, 4) == [b"one"]
    assert read_lines(file, 4, 5) == [b"two"]
    assert read_lines(file, 5, 8) == []
    assert read_lines(file, 8, 13) == [b"three"]
