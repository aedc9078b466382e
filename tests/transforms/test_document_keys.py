"""Keys of documents: where their values stand, what forms of an address are, and that what was not stored is an error that helps."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.line_shards import Page, write_pages
from transforms.document_keys import DocumentKey, hash_keys, hash_value, host_of, is_column, key_fields, missing_key, normalise_url, read_keys
from transforms.records import DOCUMENT_SCHEMA, MESSAGE_TYPE

ADDRESSES = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["", "http://", "HTTPS://", "ftp://", "//"]),
    st.sampled_from(["", "www.", "WWW.www.", "user@"]),
    st.sampled_from(["Example.org", "example.org.", "a.b", "localhost", "[::1]", "nothing here", ""]),
    st.sampled_from(["", ":80", ":443", ":8080", ":0", ":x"]),
    st.sampled_from(["", "/", "/a/B//", "/a b", "/http://c.d"]),
    st.sampled_from(["", "?", "?b=2&a=1", "?utm_source=x&a=", "?a=%20x#y", "#top"]),
)


def batch(*records: dict) -> pa.RecordBatch:
    """Documents that differ in `extra` and `messages` alone."""
    columns = {
        "extra": pa.array([None if record.get("extra") is None else json.dumps(record["extra"]) for record in records], pa.string()),
        "messages": pa.array([record.get("messages") for record in records], MESSAGE_TYPE),
    }
    return pa.RecordBatch.from_pydict(columns)


def hashes(key: str, *records: dict) -> list[int | None]:
    (column,) = hash_keys(batch(*records), [key]).values()
    return column.to_pylist()


def of(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def test_a_field_of_a_record_is_hashed_as_it_stands():
    records = [{"extra": {"url": "http://a.b/C"}}, {"extra": {"stars": 5}}, {"extra": None}, {"extra": {"url": ""}}, {"extra": {"url": 12}}]
    assert hashes("url", *records) == [of("http://a.b/C"), None, None, None, of("12")]


def test_dots_lead_into_objects_unless_a_field_is_named_so():
    records = [{"extra": {"metadata": {"url": "x"}}}, {"extra": {"metadata.url": "y"}}, {"extra": {"metadata": "url"}}, {"extra": {"metadata": {}}}]
    assert hashes("metadata.url", *records) == [of("x"), of("y"), None, None]


def test_objects_are_equal_whatever_the_order_of_their_fields():
    first, second, empty = hashes("at", {"extra": {"at": {"a": 1, "b": [2]}}}, {"extra": {"at": {"b": [2], "a": 1}}}, {"extra": {"at": {}}})
    assert first == second and empty is None


def test_a_field_whose_name_is_not_ascii_is_found_however_json_spells_it():
    spelled = pa.RecordBatch.from_pydict({"extra": pa.array(['{"größe": "x"}', '{"gr\\u00f6\\u00dfe": "x"}']), "messages": pa.nulls(2, MESSAGE_TYPE)})
    assert hash_keys(spelled, ["größe"])["key_gr__e"].to_pylist() == [of("x")] * 2


def test_huge_numbers_beside_a_key_do_not_hide_it():
    assert hashes("url", {"extra": {"url": "u", "big": 10**40}}) == [of("u")]


def test_the_prompt_is_the_first_user_turn_else_the_field():
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": " Why? \n"}, {"role": "user", "content": "And why not?"}]
    records = [
        {"messages": turns, "extra": {"prompt": "unused"}},
        {"messages": turns[:1], "extra": {"prompt": "Why?"}},
        {"messages": None, "extra": {"prompt": "Why?"}},
        {"messages": [], "extra": None},
        {"messages": [{"role": "user", "content": None}], "extra": None},
    ]
    assert hashes("prompt", *records) == [of("Why?")] * 3 + [None, None]
    sliced = batch(*records).slice(2)
    assert hash_keys(sliced, ["prompt"])["key_prompt"].to_pylist() == [of("Why?"), None, None]


@pytest.mark.parametrize(
    ("address", "normalised"),
    [
        ("https://www.Example.org/a/?utm_source=x&b=2&a=1#part", "example.org/a?a=1&b=2"),
        ("http://example.org:80/a", "example.org/a"),
        ("http://example.org:8080/a", "example.org:8080/a"),
        ("//example.org/A", "example.org/A"),
        ("example.org", "example.org"),
        ("https://example.org/?fbclid=9&page=2", "example.org?page=2"),
        (" no address at all ", "no address at all"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_an_address_is_normalised(address, normalised):
    assert normalise_url(address) == normalised


@given(ADDRESSES)
def test_normalising_twice_changes_nothing_more(address):
    once = normalise_url(address)
    assert normalise_url(once) == once
    assert host_of(host_of(address)) == host_of(address)


@given(st.text(max_size=40))
def test_any_text_has_a_normalised_form(text):
    assert isinstance(normalise_url(text), str) and isinstance(host_of(text), str)


def test_forms_are_hashed_in_place_of_the_value():
    same = [{"extra": {"url": "http://www.a.b/c/"}}, {"extra": {"url": "https://a.b/c?utm_campaign=z"}}]
    assert hashes("url:normalised", *same) == [of("a.b/c")] * 2
    assert hashes("url:host", *same) == [of("a.b")] * 2
    assert len(set(hashes("url", *same))) == 2


def test_several_keys_make_a_column_each():
    made = hash_keys(batch({"extra": {"url": "a.b/c", "prompt": "Why?"}}), ["url", "url:host", "prompt"])
    assert {name: column.to_pylist() for name, column in made.items()} == {
        "key_url": [of("a.b/c")],
        "key_url_host": [of("a.b")],
        "key_prompt": [of("Why?")],
    }
    assert key_fields(["url", "url:host", "prompt"]).names == list(made)


def test_no_documents_have_no_keys():
    assert hashes("prompt") == hashes("url") == []


@pytest.mark.parametrize("text", ["url", "metadata.url", "url:host", "a b.c"])
def test_a_key_reads_back_as_written(text):
    assert str(DocumentKey.parse(text)) == text


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["url:site"], "no such form; allowed: normalised, host"),
        (["a..b"], "must be FIELD or FIELD:FORM"),
        ([""], "must be FIELD or FIELD:FORM"),
        (["a.b", "a_b"], "'a.b' and 'a_b' would share the column 'key_a_b'"),
    ],
)
def test_what_is_no_key_is_an_error(keys, message):
    with pytest.raises(ValueError, match=message):
        key_fields(keys)


@given(st.recursive(st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_only_what_says_nothing_has_no_hash(value):
    assert (hash_value(value) is None) == (value is None or value == "" or value == [])


def test_columns_are_read_as_they_stand_and_stored_hashes_as_stored(tmp_path):
    pages = [Page("a", fields={"semantic_cluster": 7, "key_url": 5, "generator": "m1"}), Page("b", fields={"generator": "m1"})]
    (decided,) = write_pages(tmp_path, [pages])
    for key, expected in (("semantic_cluster", [of("7"), None]), ("url", [5, None]), ("generator", [of("m1")] * 2), ("id", [of("a"), of("b")])):
        found, valid = read_keys(decided, key)
        assert found.dtype == np.uint64
        assert [int(value) if there else None for value, there in zip(found, valid, strict=True)] == expected


def test_a_key_that_was_not_stored_says_what_to_do(tmp_path):
    (decided,) = write_pages(tmp_path, [[Page("a")]])
    with pytest.raises(ValueError, match=r"0000\.parquet: holds no key 'url'; score again with `headwater curate --set 'score\.keys=\[\"url\"\]'`"):
        read_keys(decided, "url")
    assert "url" in missing_key("url")


def test_which_keys_are_columns():
    columns = [*DOCUMENT_SCHEMA.names, "semantic_cluster"]
    assert all(is_column(DocumentKey.parse(key), columns) for key in ("source", "generator", "semantic_cluster", "id"))
    assert not any(is_column(DocumentKey.parse(key), columns) for key in ("url", "prompt", "source:host"))
    # A column of the decisions, whatever the shard holds.
    assert is_column(DocumentKey("id"), []) and is_column(DocumentKey("semantic_cluster"), [])


def test_columns_of_bytes_can_be_keys(tmp_path):
    (decided,) = write_pages(tmp_path, [[Page("a")]])
    pq.write_table(pa.table({"content_hash": pa.array([b"0123456789abcdef"], pa.binary(16))}), decided.shard.path)
    assert read_keys(decided, "content_hash")[0].tolist() == [of(b"0123456789abcdef".hex())]
