import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.mask_texts import mask_texts
from classifiers.personal_kinds import KIND_NAMES
from transforms.map_records import dump_extra, render_messages
from transforms.mask_columns import MASKED_FIELD, mask_columns, mask_extra, mask_messages
from transforms.records import MESSAGE_TYPE

CHATS = [
    [{"role": "user", "content": "I am joe@x.org"}, {"role": "assistant", "content": "Hello, Joe."}],
    None,
    [],
    [{"role": "user", "content": "Ping 10.0.0.1 or ann@x.org, bob@x.org"}],
]


def masked_extra(value: object) -> object:
    (written,) = mask_extra(pa.array([dump_extra({"field": value}).decode()]), KIND_NAMES)[0].to_pylist()
    return json.loads(written)["field"]


def test_chat_turns_are_masked_and_keep_their_roles_and_nulls():
    masked, counts = mask_messages(pa.array(CHATS, MESSAGE_TYPE), KIND_NAMES)
    assert masked.to_pylist() == [
        [{"role": "user", "content": "I am <EMAIL_ADDRESS>"}, {"role": "assistant", "content": "Hello, Joe."}],
        None,
        [],
        [{"role": "user", "content": "Ping <IP_ADDRESS> or <EMAIL_ADDRESS>, <EMAIL_ADDRESS>"}],
    ]
    assert counts.tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5, [2, 1, 0, 0, 0]]


def test_a_slice_of_chats_is_masked_as_its_chats_are():
    masked, counts = mask_messages(pa.array(CHATS, MESSAGE_TYPE).slice(1, 3), KIND_NAMES)
    assert masked.to_pylist()[:2] == [None, []] and masked.to_pylist()[2][0]["content"].startswith("Ping <IP_ADDRESS>")
    assert counts.tolist()[2] == [2, 1, 0, 0, 0]


def test_chats_without_personal_data_are_returned_as_they_are():
    chats = pa.array([[{"role": "user", "content": "hello"}], None], MESSAGE_TYPE)
    assert mask_messages(chats, KIND_NAMES)[0] is chats


def test_a_rendered_text_and_its_turns_are_masked_alike():
    for turns in (CHATS[0], CHATS[3]):
        masked, _ = mask_messages(pa.array([turns], MESSAGE_TYPE), KIND_NAMES)
        text, _ = mask_texts(pa.array([render_messages(turns)]))
        assert text.to_pylist() == [render_messages(masked.to_pylist()[0])]


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("joe@x.org", "<EMAIL_ADDRESS>"),
        ("line\njoe@x.org\tend", "line\n<EMAIL_ADDRESS>\tend"),
        ('say "joe@x.org"', 'say "<EMAIL_ADDRESS>"'),
        (["10.0.0.1", {"deep": ["+1 212 555 0100"]}], ["<IP_ADDRESS>", {"deep": ["<PHONE_NUMBER>"]}]),
        ({"joe@x.org": "joe@x.org"}, {"joe@x.org": "<EMAIL_ADDRESS>"}),
        (4111111111111111, "<CARD_NUMBER>"),
        (4111111111111112, 4111111111111112),
        (-4111111111111111, -4111111111111111),
        (411111111111.1111, 411111111111.1111),
        ([1, 2.5, True, None, "漢字 é \\ / joe"], [1, 2.5, True, None, "漢字 é \\ / joe"]),
        (2**70, 2**70),
    ],
)
def test_texts_in_other_fields_are_masked_and_names_of_fields_are_not(value, masked):
    assert masked_extra(value) == masked


def test_what_needs_no_mask_stays_byte_for_byte():
    written = pa.array(['{"a":1.50,"b":"x\\u00e9","c":[ 1 ]}', None, '{"mail":"joe@x.org","n":1.50}'])
    assert mask_extra(written.slice(0, 2), KIND_NAMES)[0].to_pylist() == written.to_pylist()[:2]
    assert mask_extra(written, KIND_NAMES)[0].to_pylist()[2] == '{"mail":"<EMAIL_ADDRESS>","n":1.50}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
    | st.sampled_from(["joe@x.org", "a\\joe@x.org", '"joe@x.org"', "10.0.0.1\n10.0.0.2", "call 555-123-4567"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def mask_slowly(value: object) -> object:
    if isinstance(value, str):
        return mask_texts(pa.array([value]))[0].to_pylist()[0]
    if isinstance(value, list):
        return [mask_slowly(inner) for inner in value]
    if isinstance(value, dict):
        return {key: mask_slowly(inner) for key, inner in value.items()}
    if type(value) is int and 13 <= len(str(value)) <= 19 and value > 0:
        masked = mask_slowly(str(value))
        return value if masked == str(value) else masked
    return value


@settings(max_examples=60)
@given(json_values)
def test_json_stays_json_and_only_its_texts_change(value):
    assert masked_extra(value) == mask_slowly(json.loads(dump_extra({"field": value}))["field"])


def test_a_row_tells_what_was_masked_in_which_column():
    columns = {
        "text": pa.chunked_array([pa.array(["joe@x.org joe@x.org", "nothing"]), pa.array(["10.0.0.1"])]),
        "messages": pa.array([CHATS[0], None, None], MESSAGE_TYPE),
        "extra": pa.array([None, '{"by":"ann@x.org"}', None], pa.string()),
    }
    made = mask_columns(columns, ("email", "ip"))
    assert made["text"].to_pylist() == ["<EMAIL_ADDRESS> <EMAIL_ADDRESS>", "nothing", "<IP_ADDRESS>"]
    assert made["masked"].type == MASKED_FIELD.type and made["masked"].to_pylist() == [
        [{"column": "text", "kind": "email", "count": 2}, {"column": "messages", "kind": "email", "count": 1}],
        [{"column": "extra", "kind": "email", "count": 1}],
        [{"column": "text", "kind": "ip", "count": 1}],
    ]
    assert {name: column.type for name, column in made.items() if name != "masked"} == {name: column.type for name, column in columns.items()}


def test_no_rows_and_missing_columns_are_fine():
    made = mask_columns({"text": pa.chunked_array([], pa.string())}, ("email",))
    assert len(made["text"]) == len(made["masked"]) == 0 and set(made) == {"text", "masked"}
