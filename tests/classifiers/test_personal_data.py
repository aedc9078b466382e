import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.personal_data import KINDS, MASKS, PersonalDataScorer, find_personal_data, mask_personal_data
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts

KEY = "q7" * 20
FORMS = {
    "email_addresses": ("joe@example.org", "a.b+c@ex-ample.co.uk", "x_1@sub.example.museum"),
    "ip_addresses": ("192.168.0.1", "8.8.8.8", "255.255.255.255", "fe80::1:2:3", "2001:db8:85a3:0:0:8a2e:370:7334"),
    "phone_numbers": (
        "(555) 123-4567",
        "555-123-4567",
        "555.123.4567",
        "1-800-555-0199",
        "+44 20 7946 0958",
        "+1 (212) 555 0100",
        "+49-89-1234-5678",
    ),
    "card_numbers": ("4111 1111 1111 1111", "4111-1111-1111-1111", "5500005555555559", "378282246310005", "6011000990139424"),
    "secret_keys": (
        f"sk-{KEY}",
        f"ghp_{KEY}",
        f"AKIA{KEY[:16].upper()}",
        f"hf_{KEY}",
        "-----BEGIN RSA PRIVATE KEY-----",
        f"xoxb-{KEY}",
        f"glpat-{KEY}",
    ),
}
"""Made up, or published as examples."""
NONE_OF_THEM = (
    "joe@home", "@handle", "a@b.c", "a @ b.org", "me.@", "1.2.3", "256.1.1.1", "1.2.3.4.5", "v1.2.3.4x", "01.02.03.04", "12:30:45", "dead:beef", "::",
    "4111 1111 1111 1112", "1234567890123456", "2002-08-22", "555-1234", "12 345 6789", "1999 2000 2001", "3.14159265358979", "10.1000/182",
    "sk-learn", "sk-" + "q" * 40, "AKIA", "hf_model", "ISBN 978-3-16-148410-0", "+12", "123-45-6789", "$1,234,567.89", "a::b", "std::vector", "ace::bad::cafe",
)  # fmt: skip


def found(text: str) -> list[tuple[str, str]]:
    batch = TextBatch.of(["before", text])
    spans = batch.derive(find_personal_data)
    return [(KINDS[kind], bytes(batch.utf8[begin:end]).decode()) for kind, begin, end in zip(spans.kind, spans.begin, spans.end, strict=True)]


def mask(text: str, *kinds: str) -> str:
    return mask_personal_data(pa.array([text]), kinds or KINDS).to_pylist()[0]


EXAMPLES = [(kind, form) for kind, forms in FORMS.items() for form in forms]


@pytest.mark.parametrize(("kind", "form"), EXAMPLES)
@pytest.mark.parametrize("around", ["{}", "see {}.", "({}), and", "漢{}漢", "x: {}\n", '"{}"'])
def test_every_form_is_found_whatever_stands_around_it(kind, form, around):
    assert found(around.format(form)) == [(kind, form)]


@pytest.mark.parametrize("text", NONE_OF_THEM)
def test_what_only_looks_like_personal_data_is_not_found(text):
    assert found(text) == found(f"see {text}, and") == []


def test_a_card_number_ends_where_its_last_group_does():
    assert found("4111 1111 1111 1111 12/25 123") == [("card_numbers", "4111 1111 1111 1111")]
    assert found("378282246310005 6011000990139424") == [("card_numbers", "378282246310005"), ("card_numbers", "6011000990139424")]


def test_scores_count_each_kind():
    columns = PersonalDataScorer().score(TextBatch.of(["joe@x.org and ann@x.org at 10.0.0.1", "nothing", ""]))
    assert {name: column.to_pylist() for name, column in columns.items()} == {
        "email_addresses": [2, 0, 0],
        "ip_addresses": [1, 0, 0],
        "phone_numbers": [0, 0, 0],
        "card_numbers": [0, 0, 0],
        "secret_keys": [0, 0, 0],
    }


def test_a_mask_says_what_was_there():
    assert mask("Write to joe@x.org or call (555) 123-4567!") == "Write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>!"


def test_only_the_kinds_asked_for_are_masked():
    assert mask("joe@x.org 10.0.0.1", "ip_addresses") == "joe@x.org <IP_ADDRESS>"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown 'names'; known: email_addresses"):
        mask("text", "names")


pieces = st.one_of(
    any_texts, st.sampled_from([form for _, form in EXAMPLES]), st.sampled_from(NONE_OF_THEM), st.text("0123456789.-:@+() abcdef", max_size=40)
)


@settings(max_examples=120)
@given(st.lists(st.lists(pieces, max_size=5).map(" ".join), min_size=1, max_size=4))
def test_masking_changes_only_what_was_found_and_leaves_nothing_to_find(texts):
    batch = TextBatch.of(texts)
    spans = batch.derive(find_personal_data)
    expected, at, data = [], [int(offset) for offset in batch.offsets[:-1]], bytes(batch.utf8)
    for text in range(len(texts)):
        parts = []
        for place in range(len(spans.text)):
            if spans.text[place] == text:
                assert at[text] <= spans.begin[place] < spans.end[place] <= batch.offsets[text + 1]
                parts += [data[at[text] : spans.begin[place]], MASKS[spans.kind[place]].encode()]
                at[text] = spans.end[place]
        expected.append(b"".join([*parts, data[at[text] : batch.offsets[text + 1]]]).decode())
    masked = mask_personal_data(batch.texts)
    assert masked.to_pylist() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_masking_twice_changes_nothing_more(kind):
    once = mask_personal_data(pa.array([" ".join(forms) for forms in FORMS.values()]))
    assert mask_personal_data(once).equals(once)
    assert sum(len(found(text)) for text in once.to_pylist()) == 0
    assert MASKS[KINDS.index(kind)] in once.to_pylist()[KINDS.index(kind)]


def test_a_slice_is_masked_as_its_texts_are():
    texts = pa.array(["joe@x.org", "call 555-123-4567 now", "10.0.0.1"])
    assert mask_personal_data(texts.slice(1, 1)).to_pylist() == ["call <PHONE_NUMBER> now"]


def test_hostile_texts_are_scored():
    texts = [*HOSTILE_TEXTS, "1" * 10_000, "a:" * 5_000, "@" * 5_000, "a@" * 5_000, "+1 " * 5_000, "1." * 5_000]
    assert all(column.null_count == 0 for column in PersonalDataScorer().score(TextBatch.of(texts)).values())
