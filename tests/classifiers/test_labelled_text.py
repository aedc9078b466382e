"""Reading labelled sets, and splits that share nothing."""

import gzip
import io

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers import labelled_text
from classifiers.labelled_text import (
    LabelledText,
    MalformedLine,
    drop_shared,
    find_set,
    fraction_of,
    opening,
    parse_record,
    read_lines,
    read_records,
    read_set,
)

LONG = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(120))


def labelled(text, group="g", machine=False):
    return LabelledText(text, machine, "set", group, "human", "none", "")


def lines(*records):
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
def test_plain_gzip_and_zstd_read_alike(tmp_path, name, pack):
    path = tmp_path / name
    path.write_bytes(pack(lines({"id": "1", "text": "a"}) + b"\n" + lines({"id": "2", "text": "b"})))
    assert [record["id"] for record in read_records(str(path))] == ["1", "2"]


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"id": 1}', b'{"text": null}', b'{"text": "\xff"}'])
def test_a_bad_line_is_named_by_file_and_line(tmp_path, bad):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(lines({"text": "fine"}) + bad + b"\n")
    with pytest.raises(MalformedLine, match=r"bad\.jsonl:2: "):
        list(read_records(str(path)))


def test_a_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*({"text": f"{n} {LONG}"} for n in range(50))))[:-20])
    with pytest.raises(MalformedLine, match=r"cut\.jsonl\.gz:\d+: broken compressed file"):
        list(read_records(str(path)))


def test_a_truncated_zstd_is_named(tmp_path):
    path = tmp_path / "cut.jsonl.zst"
    path.write_bytes(zstandard.compress(lines(*({"text": f"{n} {LONG}"} for n in range(50))))[:-20])
    with pytest.raises(MalformedLine, match=r"cut\.jsonl\.zst:\d+: broken compressed file: the file was cut off"):
        list(read_records(str(path)))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=6), st.integers(1, 9), st.integers(1, 300))
def test_zstd_in_any_frames_and_pieces_reads_as_one_file(sizes, piece_bytes, read_bytes):
    content = b"".join(f"{n:>8}\n".encode() for n in range(sum(sizes)))
    ends = [8 * sum(sizes[: n + 1]) for n in range(len(sizes))]
    packed = b"".join(zstandard.compress(content[begin:end]) for begin, end in zip([0, *ends[:-1]], [*ends[:-1], len(content)], strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled_text, "PIECE_BYTES", piece_bytes)
        reader = io.BufferedReader(labelled_text._ZstdFrames(io.BytesIO(packed)))
        assert b"".join(iter(lambda: reader.read(read_bytes), b"")) == content


def test_lone_surrogates_and_long_numbers_are_json(tmp_path):
    assert parse_record(b'{"text": "a \\ud800 b"}')["text"] == "a \ud800 b"
    assert parse_record(b'{"text": "x", "n": 123456789012345678901234567890}')["text"] == "x"
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'{"label": "human", "text": "\\udc00 ' + LONG.encode() + b'"}\n')
    (text,) = read_set(str(tmp_path), "odd")
    assert opening(text.text) and 0 <= fraction_of(text.text, 0) < 1


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[" * 10_000, b'"text"', b'{"text": ["a"]}', b'{"text": "\xff"}', b'{"text": "a"} more'])
def test_what_is_no_record_says_what_it_is(line):
    with pytest.raises(ValueError, match=r"not JSON|string field 'text'"):
        parse_record(line)


def test_bad_lines_can_be_had_among_the_good_ones(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n{\n{"text": "b"}\n')
    first, bad, last = read_lines(str(path))
    assert (first["text"], last["text"]) == ("a", "b")
    assert isinstance(bad, MalformedLine) and "mixed.jsonl:3: not JSON" in str(bad)


def test_only_usable_labelled_texts_are_kept(tmp_path):
    rows = [
        {"text": LONG, "label": "human", "pair": 7},
        {"text": LONG, "label": "human"},
        {"text": LONG + " a", "label": "machine", "generator": "m", "attack": "dipper", "domain": "essay"},
        {"text": LONG + " b", "label": "machine", "label_suspect": True},
        {"text": LONG + " c", "label": "machine", "mixed": True},
        {"text": LONG + " d", "label": "unknown"},
        {"text": "too short", "label": "human"},
    ]
    (tmp_path / "some.jsonl").write_bytes(lines(*rows))
    human, machine = read_set(str(tmp_path), "some")
    assert (human.is_machine, human.group, human.generator, human.attack) == (False, "some/7", "human", "none")
    assert (machine.is_machine, machine.generator, machine.attack, machine.domain) == (True, "m", "dipper", "essay")


def test_a_missing_set_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no nowhere\.jsonl"):
        find_set(str(tmp_path), "nowhere")


def test_an_opening_ignores_format():
    assert opening("**One** two, three \u2014 4 five") == opening("one two three 99 five") == "one two three five"


def test_fractions_depend_on_group_and_seed_only():
    fractions = [fraction_of(f"group {n}", 0) for n in range(2_000)]
    assert fractions == [fraction_of(f"group {n}", 0) for n in range(2_000)]
    assert 0.45 < sum(fractions) / 2_000 < 0.55
    assert fractions[0] != fraction_of("group 0", 1)


def test_shared_wording_is_dropped_wherever_it_begins():
    held = [labelled(LONG, "held")]
    middle = " ".join(LONG.split()[30:90])
    assert drop_shared([labelled("Something else. " + middle, "other")], held) == []
    assert drop_shared([labelled(LONG.upper().replace(" ", "\n"), "other")], held) == []


def test_a_shared_group_is_dropped_and_other_text_is_kept():
    other = labelled(" ".join(reversed(LONG.split())), "other")
    assert drop_shared([labelled("quite different words", "held"), other], [labelled(LONG, "held")]) == [other]
    assert drop_shared([other], []) == [other]
    assert drop_shared([other], [labelled("short")]) == [other]
