"""Claims about one record: which field plays which role, what is read as what, and that nothing is lost."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from transforms.inputs import FIELD_ALIASES, FieldNames
from transforms.map_records import (
    ORIGIN_LABELS,
    RecordMapper,
    Row,
    Unreadable,
    dump_extra,
    read_consent,
    read_generation,
    read_messages,
    read_name,
    read_parents,
    read_time,
    render_messages,
)
from transforms.records import DOCUMENT_SCHEMA, DeadReason, Origin

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ALL_ALIASES = [alias for aliases in FIELD_ALIASES.values() for alias in aliases]


def map_one(record: dict, origin: Origin | None = Origin.HUMAN, **fields: str) -> tuple[str, Row]:
    text, row = RecordMapper(FieldNames(**fields), "books", origin).map_record(dict(record))
    return bytes(text).decode(), row


def why_lost(record: dict, origin: Origin | None = Origin.HUMAN, **fields: str) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        map_one(record, origin, **fields)
    return caught.value


def extra_of(row: Row) -> dict:
    return {} if row.extra is None else json.loads(row.extra)


def test_a_row_holds_every_column_of_a_document_but_text_source_and_location():
    assert set(Row._fields) | {"text", "source", "location"} == set(DOCUMENT_SCHEMA.names)


@pytest.mark.parametrize("alias", FIELD_ALIASES["text"])
def test_text_is_found_under_its_usual_names(alias):
    text, row = map_one({alias: "hello"})
    assert text == "hello"
    assert row.extra is None


def test_the_first_usual_name_wins_and_the_others_stay_in_extra():
    text, row = map_one({"content": "second", "text": "first", "label": "x", "doc_id": "b", "id": "a"})
    assert (text, row.id) == ("first", "a")
    assert extra_of(row) == {"content": "second", "label": "x", "doc_id": "b"}


def test_a_named_field_stands_alone():
    assert map_one({"text": "title", "body": "the text"}, text="body")[0] == "the text"
    assert why_lost({"text": "title"}, text="body").reason is DeadReason.MISSING_TEXT


def test_a_named_field_plays_no_other_role():
    row = map_one({"text": "t", "label": "human", "model": "m"}, None, generator="label")[1]
    assert (row.generator, row.origin) == ("human", Origin.UNKNOWN)
    assert extra_of(row) == {"model": "m"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, DeadReason.MISSING_TEXT),
        ({"title": "x"}, DeadReason.MISSING_TEXT),
        ({"text": None}, DeadReason.MISSING_TEXT),
        ({"text": ""}, DeadReason.EMPTY_TEXT),
        ({"text": " \n\t\u2003"}, DeadReason.EMPTY_TEXT),
        ({"text": 3}, DeadReason.WRONG_TYPE),
        ({"text": True}, DeadReason.WRONG_TYPE),
        ({"text": ["a"]}, DeadReason.WRONG_TYPE),
        ({"text": {"a": 1}}, DeadReason.WRONG_TYPE),
        ({"messages": []}, DeadReason.EMPTY_TEXT),
        ({"messages": [{"role": "user", "content": "  "}]}, DeadReason.EMPTY_TEXT),
        ({"messages": "hello"}, DeadReason.WRONG_TYPE),
        ({"messages": ["hello"]}, DeadReason.WRONG_TYPE),
        ({"messages": [{"role": "user"}]}, DeadReason.WRONG_TYPE),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, DeadReason.WRONG_TYPE),
    ],
)
def test_a_record_without_readable_text_says_why(record, reason):
    error = why_lost(record)
    assert error.reason is reason
    assert error.detail


def test_a_lost_record_keeps_the_origin_that_it_declares():
    assert why_lost({"text": "", "label": "machine"}, None).origin is Origin.SYNTHETIC
    assert why_lost({"text": ""}, Origin.HUMAN).origin is Origin.HUMAN


@pytest.mark.parametrize(("given_id", "expected"), [("a", "a"), (7, "7"), (1.5, "1.5"), (1 << 70, str(1 << 70))])
def test_an_id_may_be_text_or_number(given_id, expected):
    assert map_one({"id": given_id, "text": "t"})[1].id == expected


@pytest.mark.parametrize("given_id", [None, ""])
def test_without_an_id_it_comes_from_source_and_text(given_id):
    expected = xxhash.xxh3_128_hexdigest("books\0été".encode())
    assert map_one({"id": given_id, "text": "été"})[1].id == expected
    assert map_one({"text": "été", "other": 1})[1].id == expected
    assert RecordMapper(FieldNames(), "films", Origin.HUMAN).map_record({"text": "été"})[1].id != expected


def test_an_id_that_is_neither_text_nor_number_stays_in_extra():
    row = map_one({"id": ["a"], "text": "t"})[1]
    assert len(row.id) == 32
    assert extra_of(row) == {"id": ["a"]}


@pytest.mark.parametrize("label", ORIGIN_LABELS)
def test_origin_labels_are_read_in_any_case(label):
    row = map_one({"text": "t", "label": f" {label.upper()} "}, None)[1]
    assert row.origin is ORIGIN_LABELS[label]
    assert row.extra is None


def test_an_origin_that_is_asked_for_and_missing_is_unknown():
    assert map_one({"text": "t", "label": None}, None)[1].origin is Origin.UNKNOWN
    assert map_one({"text": "t"}, None)[1].origin is Origin.UNKNOWN


@pytest.mark.parametrize("label", ["martian", 1, ["human"], True])
def test_an_origin_that_is_asked_for_and_not_known_is_a_dead_letter_that_lists_the_known(label):
    error = why_lost({"text": "t", "label": label}, None)
    assert error.reason is DeadReason.BAD_ORIGIN
    assert "'machine'" in error.detail


def test_a_human_input_is_not_believed_where_a_record_says_machine():
    mapper = RecordMapper(FieldNames(), "books", Origin.HUMAN)
    rows = [mapper.map_record({"text": "t", "label": label})[1] for label in ("machine", "human", "AI", "positive", 1, None)]
    assert [row.origin for row in rows] == [Origin.SYNTHETIC, Origin.HUMAN, Origin.SYNTHETIC, Origin.HUMAN, Origin.HUMAN, Origin.HUMAN]
    assert mapper.num_conflicts == 2
    assert extra_of(rows[0]) == {"label": "machine"}


@pytest.mark.parametrize("declared", [Origin.SYNTHETIC, Origin.UNKNOWN])
@pytest.mark.parametrize("label", ["human", "machine"])
def test_other_declarations_win_over_the_record(declared, label):
    mapper = RecordMapper(FieldNames(), "books", declared)
    row = mapper.map_record({"text": "t", "label": label})[1]
    assert row.origin is declared
    assert extra_of(row) == {"label": label}
    assert mapper.num_conflicts == 0


def test_optional_values_are_read_into_their_columns():
    record = {"text": "t", "model": "gpt", "generation": "2", "parents": ["a", 7], "date": "2020-01-02", "task": "qa", "lang": "en"}
    row = map_one(record)[1]
    assert (row.generator, row.generation, row.parents, row.task, row.declared_language) == ("gpt", 2, ["a", "7"], "qa", "en")
    assert row.created_at == datetime(2020, 1, 2, tzinfo=UTC)
    assert row.extra is None


def test_optional_values_that_do_not_fit_stay_in_extra():
    record = {"model": {"name": "gpt"}, "generation": "second", "parents": [None], "date": "yesterday", "task": ["qa"], "lang": True}
    row = map_one({"text": "t", **record})[1]
    assert row[3:9] == (None,) * 6
    assert extra_of(row) == record


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1.0, 1),
        ("12", 12),
        (" 3 ", 3),
        (32_767, 32_767),
        (32_768, None),
        (-1, None),
        (1.5, None),
        ("1e3", None),
        ("9" * 50, None),
        (True, None),
        (None, None),
    ],
)
def test_generations_are_small_whole_numbers(value, expected):
    assert read_generation(value) == expected


@given(JSON_VALUES)
def test_names_are_text_that_can_be_written(value):
    name = read_name(value)
    assert name is None or (isinstance(name, str) and name)


def test_a_number_that_is_none_is_no_name():
    assert read_name(math.nan) is None


def test_one_parent_may_stand_alone():
    assert read_parents("a") == ["a"]
    assert read_parents([]) == []
    assert read_parents([{}]) is None


@pytest.mark.parametrize(
    "value",
    [
        "2001-09-09T01:46:40Z", "2001-09-09 01:46:40", "2001-09-09T03:46:40+02:00", "20010909T014640", 1_000_000_000, 1_000_000_000.0,
        1_000_000_000_000, 1_000_000_000_000_000, 1_000_000_000_000_000_000, datetime(2001, 9, 9, 1, 46, 40),
    ],
)  # fmt: skip
def test_moments_are_read_from_iso_text_and_from_numbers_of_any_usual_unit(value):
    assert read_time(value) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2001-13-01", math.nan, math.inf, -math.inf, 1e300, True, [2001], None, "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_moment_is_none(value):
    assert read_time(value) is None


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-23, 23))
def test_iso_text_in_any_zone_reads_as_the_same_moment(moment, hours):
    zoned = moment.replace(tzinfo=UTC) + timedelta(hours=hours)
    assert read_time((moment.isoformat()) + f"{-hours:+03d}:00") == zoned


def test_messages_are_rendered_where_there_is_no_text():
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello\nyou"}]
    text, row = map_one({"messages": turns})
    assert text == "user: Hi\n\nassistant: Hello\nyou"
    assert row.messages == turns
    assert row.extra is None


@pytest.mark.parametrize("alias", FIELD_ALIASES["messages"])
def test_sharegpt_keys_are_understood_and_other_keys_kept(alias):
    text, row = map_one({alias: [{"from": "human", "value": "Hi", "weight": 1}, {"from": "gpt", "value": "Yo"}]})
    assert text == "human: Hi\n\ngpt: Yo"
    assert row.messages == [{"role": "human", "content": "Hi"}, {"role": "gpt", "content": "Yo"}]
    assert extra_of(row) == {alias: [{"weight": 1}, {}]}


def test_text_goes_before_messages_and_odd_messages_stay_in_extra():
    turns = [{"role": "user", "content": "Hi"}]
    assert map_one({"text": "t", "messages": turns})[1].messages == turns
    row = map_one({"text": "t", "messages": "none"})[1]
    assert row.messages is None
    assert extra_of(row) == {"messages": "none"}
    assert map_one({"text": None, "messages": turns})[0] == "user: Hi"


@given(
    st.lists(st.fixed_dictionaries({"role": st.text(max_size=5), "content": st.text(max_size=9)}, optional={"w": st.integers(), "tool": st.text()}))
)
def test_reading_messages_loses_nothing(turns):
    messages, leftover = read_messages(turns)
    again = [{**message, **rest} for message, rest in zip(messages, leftover or [{}] * len(turns), strict=True)]
    assert again == turns
    assert render_messages(messages).count(": ") >= len(turns)


@given(st.dictionaries(st.sampled_from(ALL_ALIASES) | st.text(max_size=4), JSON_VALUES, max_size=8), st.text(min_size=1).filter(str.strip))
def test_every_value_of_a_record_ends_in_a_column_or_in_extra(record, text):
    record = {**record, "text": text}
    found, row = map_one(record)
    extra = extra_of(row)
    roles = RecordMapper(FieldNames(), "books", Origin.HUMAN).roles_of(tuple(record))
    columns = {
        roles.id: row.id, roles.generator: row.generator, roles.generation: row.generation, roles.parents: row.parents, roles.created_at: row.created_at,
        roles.task: row.task, roles.licence: row.licence, roles.consent: row.consent, roles.language: row.declared_language, roles.messages: row.messages,
    }  # fmt: skip
    assert found == text
    for name, value in record.items():
        if name == "text":
            assert "text" not in extra
        elif name not in columns or name == roles.origin:
            assert extra[name] == value
        elif name not in extra:
            assert value in (None, "") or columns[name] is not None


@pytest.mark.parametrize(
    ("given_value", "read"),
    [
        (True, "true"), (False, "false"), ("True", "true"), (" FALSE ", "false"), ("opt-in", "opt-in"), ("Form 12", "Form 12"), (1, "1"),
        ("", None), (None, None), ([True], None), ({"given": True}, None), (math.nan, None),
    ],
)  # fmt: skip
def test_consent_is_a_truth_value_or_words(given_value, read):
    assert read_consent(given_value) == read


@pytest.mark.parametrize("alias", FIELD_ALIASES["licence"])
def test_a_licence_is_found_under_both_spellings(alias):
    row = map_one({"text": "t", alias: "CC-BY-4.0"})[1]
    assert row.licence == "CC-BY-4.0" and row.extra is None


@pytest.mark.parametrize("alias", FIELD_ALIASES["consent"])
def test_consent_that_was_refused_is_not_taken_for_none(alias):
    row = map_one({"text": "t", alias: False})[1]
    assert row.consent == "false" and row.extra is None


def test_consent_and_licence_that_are_no_words_stay_in_extra():
    row = map_one({"text": "t", "consent": {"scope": "research"}, "licence": ["MIT", "BSD"]})[1]
    assert row.consent is None and row.licence is None
    assert extra_of(row) == {"consent": {"scope": "research"}, "licence": ["MIT", "BSD"]}


def test_licence_and_consent_may_have_other_names():
    row = map_one({"text": "t", "terms": "MIT", "agreed": "yes", "licence": "x"}, licence="terms", consent="agreed")[1]
    assert (row.licence, row.consent) == ("MIT", "yes")
    assert extra_of(row) == {"licence": "x"}


@given(JSON_VALUES)
def test_consent_reads_any_value_and_reads_its_own_words_again(value):
    read = read_consent(value)
    assert read is None or read_consent(read) == read
    assert read != "" and (read != "true" or value is True or str(value).strip().lower() == "true")


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, min_size=1, max_size=5))
def test_extra_is_json_with_sorted_keys_that_reads_back(values):
    dumped = dump_extra(values)
    assert json.loads(dumped) == values
    assert dumped == dump_extra(dict(reversed(values.items())))
    assert list(json.loads(dumped)) == sorted(values)


def test_extra_writes_what_json_has_no_word_for():
    assert dump_extra({"a": math.nan, "b": b"raw", "c": datetime(2020, 1, 1), "d": 1 << 80}) == (
        b'{"a":null,"b":"raw","c":"2020-01-01T00:00:00","d":1208925819614629174706176}'
    )
