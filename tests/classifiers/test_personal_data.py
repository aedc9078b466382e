import pytest

from classifiers.personal_data import KINDS, PersonalDataScorer, find_personal_data
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS

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


def test_hostile_texts_are_scored():
    texts = [*HOSTILE_TEXTS, "1" * 10_000, "a:" * 5_000, "@" * 5_000, "a@" * 5_000, "+1 " * 5_000, "1." * 5_000]
    assert all(column.null_count == 0 for column in PersonalDataScorer().score(TextBatch.of(texts)).values())
