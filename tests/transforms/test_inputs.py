"""Claims about what the user names: inputs are NAME=GLOB with safe names, a field has one meaning, and every error says what to do."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.inputs import FIELD_ALIASES, FieldNames, Format, InputError, InputSpec, Split, parse_input
from transforms.records import Origin


def test_an_input_is_a_name_an_origin_and_a_glob():
    assert parse_input("news=data/**/*.jsonl.gz", "human") == InputSpec("news", "data/**/*.jsonl.gz", Origin.HUMAN)


def test_only_the_first_equals_sign_ends_the_name():
    assert parse_input("a=b=c.jsonl", Origin.SYNTHETIC).pattern == "b=c.jsonl"


def test_an_origin_may_be_left_to_the_records():
    assert parse_input("mixed=x.jsonl", None).origin is None


@pytest.mark.parametrize("argument", ["data.jsonl", "", "news"])
def test_an_input_without_an_equals_sign_is_an_error_that_shows_the_form(argument):
    with pytest.raises(InputError, match="NAME=GLOB"):
        parse_input(argument, "human")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", ".hidden", "_private", "-x", "é", "a" * 101, "a\n"])
def test_a_name_that_is_no_file_name_is_an_error(name):
    with pytest.raises(InputError, match="letters, digits"):
        parse_input(f"{name}=x.jsonl", "human")


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"))
def test_every_other_name_is_taken(name):
    assert parse_input(f"{name}=x.jsonl", "human").name == name


def test_an_input_that_names_no_files_is_an_error():
    with pytest.raises(InputError, match="names no files"):
        parse_input("news=", "human")


@pytest.mark.parametrize("origin", ["robot", Origin.DISPUTED, Origin.PRESUMED_HUMAN])
def test_only_what_an_owner_can_know_can_be_declared(origin):
    with pytest.raises(InputError, match="human, synthetic, unknown"):
        parse_input("news=x.jsonl", origin)


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_one_field_cannot_play_two_roles():
    with pytest.raises(InputError, match=r"--text_field and --id_field both name 'body'"):
        FieldNames(text="body", id="body")


def test_an_empty_field_name_is_an_error_that_lists_the_usual_names():
    with pytest.raises(InputError, match="generator, model"):
        FieldNames(generator="")


def test_named_fields_are_those_that_the_user_gave():
    assert FieldNames(text="body", language="sprache").named() == {"text": "body", "language": "sprache"}
    assert FieldNames().named() == {}


def test_every_role_has_usual_names_and_no_name_has_two_roles():
    assert set(FIELD_ALIASES) == set(FieldNames.__dataclass_fields__)
    names = [name for aliases in FIELD_ALIASES.values() for name in aliases]
    assert len(names) == len(set(names))


def test_a_split_needs_spilling_when_it_says_how_large_its_chunks_should_be():
    whole = Split("n", "books", Origin.HUMAN, "a.jsonl.gz", Format.JSONL, chunk_bytes=100)
    assert whole.needs_spill
    assert not Split("n", "books", Origin.HUMAN, "a.jsonl", Format.JSONL, end=10).needs_spill


def test_a_split_survives_pickling_in_a_few_hundred_bytes():
    split = Split("n", "books", None, "folder/a.jsonl", Format.JSONL, end=10)
    assert pickle.loads(pickle.dumps(split)) == split
    assert len(pickle.dumps(split)) < 1_000
