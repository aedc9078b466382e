import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.mask_texts import mask_texts
from classifiers.personal_data import find_personal_data
from classifiers.personal_kinds import KIND_NAMES, MASKS
from classifiers.synthetic_faults import SyntheticFaultsScorer
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import any_texts
from tests.classifiers.test_personal_data import EXAMPLES, FORMS, NONE_OF_THEM


def mask(text: str, *kinds: str) -> str:
    return mask_texts(pa.array([text]), kinds or KIND_NAMES)[0].to_pylist()[0]


def test_a_mask_says_what_was_there():
    assert mask("Write to joe@x.org or call (555) 123-4567!") == "Write to <EMAIL_ADDRESS> or call <PHONE_NUMBER>!"


def test_only_the_kinds_asked_for_are_masked():
    assert mask("joe@x.org 10.0.0.1", "ip") == "joe@x.org <IP_ADDRESS>"


def test_what_was_masked_is_counted_by_kind():
    _, counts = mask_texts(pa.array(["joe@x.org, ann@x.org and 10.0.0.1", "none", ""]), ("email", "phone"))
    assert counts.tolist() == [[2, 0, 0, 0, 0], [0] * 5, [0] * 5]


def test_texts_without_personal_data_are_returned_as_they_are():
    texts = pa.array(["nothing here", "nor there"])
    assert mask_texts(texts)[0] is texts


@pytest.mark.parametrize("kinds", [("names",), ("email", "email_addresses")])
def test_an_unknown_kind_is_refused(kinds):
    with pytest.raises(ValueError, match="is no kind of personal data; known are email, ip, phone, card, key"):
        mask_texts(pa.array(["text"]), kinds)


pieces = st.one_of(
    any_texts, st.sampled_from([form for _, form in EXAMPLES]), st.sampled_from(NONE_OF_THEM), st.text("0123456789.-:@+() abcdef", max_size=40)
)
texts_of_pieces = st.lists(st.lists(pieces, max_size=5).map(" ".join), min_size=1, max_size=4)


def replace_spans(texts: list[str], kinds: tuple[str, ...]) -> list[str]:
    """One pass, slowly: the flagged spans of `kinds` replaced, and not a byte more."""
    batch = TextBatch.of(texts)
    spans, data, made = find_personal_data(batch), bytes(batch.utf8), []
    for text in range(len(texts)):
        at, parts = int(batch.offsets[text]), []
        for place in range(len(spans.text)):
            if spans.text[place] == text and KIND_NAMES[spans.kind[place]] in kinds:
                assert at <= spans.begin[place] < spans.end[place] <= batch.offsets[text + 1]
                parts += [data[at : spans.begin[place]], MASKS[spans.kind[place]].encode()]
                at = spans.end[place]
        made.append(b"".join([*parts, data[at : batch.offsets[text + 1]]]).decode())
    return made


@settings(max_examples=80)
@given(texts_of_pieces, st.lists(st.sampled_from(KIND_NAMES), unique=True, min_size=1).map(tuple))
def test_masking_replaces_exactly_what_is_flagged_until_nothing_is(texts, kinds):
    expected = texts
    while (again := replace_spans(expected, kinds)) != expected:
        expected = again
    assert mask_texts(pa.array(texts, pa.string()), kinds)[0].to_pylist() == expected


@settings(max_examples=80)
@given(texts_of_pieces, st.lists(st.sampled_from(KIND_NAMES), unique=True, min_size=1).map(tuple))
def test_masking_twice_changes_nothing_more(texts, kinds):
    once, _ = mask_texts(pa.array(texts, pa.string()), kinds)
    twice, counts = mask_texts(once, kinds)
    assert twice.equals(once) and not counts.any()


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111" + "x" * 64 + "@b.org",
        "-----BEGIN PRIVATE KEY-----4111111111111111",
        "fe80::1:2:3g@x.org",
        "sk-" + "q7" * 20 + "-+1 212 555 0100",
    ],
)
def test_what_comes_to_light_by_masking_is_masked_in_turn(text):
    assert mask(mask(text)) == mask(text)
    assert not any(character.isdigit() for character in mask(text).replace("fe80::1:2", ""))


@pytest.mark.parametrize(("kind", "forms"), zip(KIND_NAMES, FORMS.values(), strict=True))
def test_every_form_is_masked_once_by_its_own_kind(kind, forms):
    masked, counts = mask_texts(pa.array([f"see {form}, and" for form in forms]), (kind,))
    assert set(masked.to_pylist()) == {f"see {MASKS[KIND_NAMES.index(kind)]}, and"}
    assert counts[:, KIND_NAMES.index(kind)].tolist() == [1] * len(forms) and counts.sum() == len(forms)


def test_a_slice_is_masked_as_its_texts_are():
    texts = pa.array(["joe@x.org", "call 555-123-4567 now", "10.0.0.1"])
    assert mask_texts(texts.slice(1, 1))[0].to_pylist() == ["call <PHONE_NUMBER> now"]


def test_masks_are_no_fault_of_synthetic_text():
    columns = SyntheticFaultsScorer().score(TextBatch.of([f"Write to {mask_} as soon as you can, and tell me." for mask_ in MASKS]))
    assert columns["placeholder_marks"].to_pylist() == columns["template_marks"].to_pylist() == [0] * len(MASKS)
