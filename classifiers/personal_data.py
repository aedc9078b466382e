"""Personal data and secrets in text: e-mail and IP addresses, phone and card numbers, keys. Counted as scores (`classifiers.mask_texts` masks them).

A heuristic for training text, not for compliance: it finds what has an unmistakable form (a card number must pass Luhn's check, a phone number must be
written as one), and no names or street addresses. One pass over the bytes, about 15 microseconds for 300 words.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from classifiers.text_batch import TextBatch

KINDS = ("email_addresses", "ip_addresses", "phone_numbers", "card_numbers", "secret_keys")
"""What is found, as the columns of the scores are named."""

EMAIL, IP, PHONE, CARD, KEY = range(5)
LETTER, UPPER, DIGIT, LOCAL, DOMAIN, HEX, KEYLIKE = (1 << bit for bit in range(7))
"""Classes of bytes: a letter, a capital, a digit, of the local part of an address, of a domain, of an IPv6 address, of a key."""

KEY_FORMS = (("sk-", 20), ("sk_live_", 16), ("rk_live_", 16), ("ghp_", 30), ("gho_", 30), ("ghs_", 30), ("github_pat_", 30), ("glpat-", 18),
             ("xoxb-", 20), ("xoxp-", 20), ("AKIA", 16), ("ASIA", 16), ("AIza", 30), ("hf_", 30), ("npm_", 30), ("eyJ", 60), ("SG.", 40),
             ("-----BEGIN PRIVATE KEY-----", 0), ("-----BEGIN RSA PRIVATE KEY-----", 0), ("-----BEGIN OPENSSH PRIVATE KEY-----", 0),
             ("-----BEGIN EC PRIVATE KEY-----", 0), ("-----BEGIN PGP PRIVATE KEY BLOCK-----", 0))  # fmt: skip
"""How keys begin, and how many characters of letters, digits, `-`, `_` and `.` must follow. *Source:* the issuers' documentation."""


@dataclass(frozen=True)
class Spans:
    """Stretches of text, in order, none of which overlap."""

    text: np.ndarray
    """int64: index of the text."""
    kind: np.ndarray
    """int64: place in `KINDS`."""
    begin: np.ndarray
    """int64: first byte, in the `utf8` of the batch."""
    end: np.ndarray
    """int64: the byte after the last."""


class PersonalDataScorer:
    """How many pieces of personal data of each of `KINDS` a text holds: int16, never null, at most 32,767."""

    name = "personal_data"
    version = "personal-data-1"
    fields = pa.schema([(kind, pa.int16()) for kind in KINDS])

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        """The five columns."""
        spans = batch.derive(find_personal_data)
        counts = np.bincount(spans.text * len(KINDS) + spans.kind, minlength=len(batch) * len(KINDS)).reshape(-1, len(KINDS))
        return {kind: pa.array(np.minimum(counts[:, place], 2**15 - 1).astype(np.int16)) for place, kind in enumerate(KINDS)}


def find_personal_data(batch: TextBatch) -> Spans:
    """All personal data in the texts. Deterministic, linear in the bytes, and never inside a code point."""
    room = 64 + len(batch) // 2
    while True:
        found = np.empty((room, 4), np.int64)
        used = _find(batch.utf8, batch.offsets, _BYTE_CLASSES, *_KEY_TABLES, found)
        if used <= room:
            return Spans(*(found[:used, column].copy() for column in range(4)))
        room = used


def _byte_classes() -> np.ndarray:
    classes = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        classes[byte] |= (LETTER | DOMAIN | LOCAL | KEYLIKE) if character.isalpha() else 0
        classes[byte] |= UPPER if character.isupper() else 0
        classes[byte] |= (DIGIT | DOMAIN | LOCAL | KEYLIKE | HEX) if character.isdigit() else 0
        classes[byte] |= HEX if character in "abcdefABCDEF:" else 0
        classes[byte] |= DOMAIN if character in "-." else 0
        classes[byte] |= LOCAL if character in "._%+-" else 0
        classes[byte] |= KEYLIKE if character in "-_." else 0
    return classes


def _key_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bytes of all prefixes, their offsets, how many characters must follow each, and which pairs of bytes begin one."""
    prefixes = [prefix.encode() for prefix, _ in KEY_FORMS]
    starts = np.zeros(1 << 16, np.bool_)
    starts[[prefix[0] << 8 | prefix[1] for prefix in prefixes]] = True
    offsets = np.concatenate(([0], np.cumsum([len(prefix) for prefix in prefixes]))).astype(np.int64)
    return np.frombuffer(b"".join(prefixes), np.uint8), offsets, np.array([least for _, least in KEY_FORMS]), starts


_BYTE_CLASSES = _byte_classes()
_KEY_TABLES = _key_tables()


@njit(cache=True, nogil=True)
def _find(utf8, offsets, classes, prefixes, prefix_offsets, least_following, key_starts, found):
    """Fills `found` with (text, kind, begin, end) while there is room; returns how many there are."""
    used, room = 0, len(found)
    for text in range(len(offsets) - 1):
        first, last = offsets[text], offsets[text + 1]
        at, done, in_word = first, first, False
        while at < last:
            byte = utf8[at]
            starts_word = not in_word
            in_word = classes[byte] & (LETTER | DIGIT) != 0
            if in_word and not starts_word:
                at += 1
                continue
            kind, begin, end = -1, at, at
            if byte == 0x40:
                begin, end = _email(utf8, at, done, last, classes)
                kind = EMAIL if end > begin else -1
            elif starts_word:
                if classes[byte] & DIGIT or byte == 0x2B or byte == 0x28:
                    end = _card(utf8, at, first, last, classes)
                    kind = CARD
                    if end == at:
                        end = _ipv4(utf8, at, first, last, classes)
                        kind = IP
                    if end == at:
                        end = _phone(utf8, at, first, last, classes)
                        kind = PHONE
                if end == at and classes[byte] & HEX:
                    # Looked for here, as a call for every word that begins with a to f would cost more than all the rest.
                    colon = at + 1
                    while colon < last and colon < at + 5 and utf8[colon] != 0x3A:
                        colon += 1
                    if colon < last and utf8[colon] == 0x3A:
                        end = _ipv6(utf8, at, last, classes)
                        kind = IP
                if end == at and at + 1 < last and key_starts[np.int64(byte) << 8 | utf8[at + 1]]:
                    end = _key(utf8, at, last, classes, prefixes, prefix_offsets, least_following)
                    kind = KEY
                kind = kind if end > at else -1
            if kind >= 0:
                if used < room:
                    found[used, 0], found[used, 1], found[used, 2], found[used, 3] = text, kind, begin, end
                used += 1
                at = done = end
                in_word = classes[utf8[end - 1]] & (LETTER | DIGIT) != 0
            else:
                at += 1
    return used


@njit(cache=True, nogil=True)
def _email(utf8, at, least, last, classes):
    """Where the address around the `@` at `at` begins and ends; both `at` if there is none."""
    begin = at
    while begin > least and at - begin < 64 and classes[utf8[begin - 1]] & LOCAL:
        begin -= 1
    while begin < at and not classes[utf8[begin]] & (LETTER | DIGIT):
        begin += 1
    end = at + 1
    while end < last and end - at < 254 and classes[utf8[end]] & DOMAIN:
        end += 1
    while end > at + 1 and not classes[utf8[end - 1]] & (LETTER | DIGIT):
        end -= 1
    label, dots = end, 0
    while label > at + 1 and classes[utf8[label - 1]] & LETTER:
        label -= 1
    for place in range(at + 1, end):
        dots += 1 if utf8[place] == 0x2E else 0
    known = end - label >= 2 and label > at + 2 and utf8[label - 1] == 0x2E and dots >= 1 and begin < at and utf8[at - 1] != 0x2E
    return (begin, end) if known else (at, at)


@njit(cache=True, nogil=True)
def _ends_number(utf8, end, last, classes):
    """Whether a number may end before `end`: no letter or digit follows, nor a full stop and a digit."""
    if end >= last:
        return True
    if classes[utf8[end]] & (LETTER | DIGIT):
        return False
    return not (utf8[end] == 0x2E and end + 1 < last and classes[utf8[end + 1]] & DIGIT)


@njit(cache=True, nogil=True)
def _ipv4(utf8, at, first, last, classes):
    if at > first and (utf8[at - 1] == 0x2E or utf8[at - 1] == 0x2D):
        return at
    place = at
    for part in range(4):
        value, start = 0, place
        while place < last and classes[utf8[place]] & DIGIT and place - start < 4:
            value = value * 10 + utf8[place] - 0x30
            place += 1
        if place == start or value > 255 or (place - start > 1 and utf8[start] == 0x30):
            return at
        if part < 3:
            if place >= last or utf8[place] != 0x2E:
                return at
            place += 1
    return place if _ends_number(utf8, place, last, classes) else at


@njit(cache=True, nogil=True)
def _ipv6(utf8, at, last, classes):
    """Eight groups of hexadecimal digits, or at least three and one `::`, with a digit among them."""
    end, colons, groups, digits, double, size = at, 0, 0, 0, 0, 0
    while end < last and end - at < 46 and classes[utf8[end]] & HEX:
        if utf8[end] == 0x3A:
            colons += 1
            double += 1 if end > at and utf8[end - 1] == 0x3A else 0
            size = 0
        else:
            groups += 1 if size == 0 else 0
            digits += 1 if classes[utf8[end]] & DIGIT else 0
            size += 1
            if size > 4:
                return at
        end += 1
    if end > at and utf8[end - 1] == 0x3A and not (end - at > 1 and utf8[end - 2] == 0x3A):
        end -= 1
        colons -= 1
    if utf8[at] == 0x3A or digits == 0 or not _ends_number(utf8, end, last, classes):
        return at
    whole = groups == 8 and colons == 7 and double == 0
    short = double == 1 and 3 <= groups < 8 and colons <= 7
    return end if whole or short else at


@njit(cache=True, nogil=True)
def _card(utf8, at, first, last, classes):
    """13 to 19 digits, in groups or not, of a known issuer, whose check digit is right (ISO/IEC 7812, Luhn)."""
    if not classes[utf8[at]] & DIGIT or (at > first and (utf8[at - 1] == 0x2E or utf8[at - 1] == 0x2D or utf8[at - 1] == 0x2B)):
        return at
    num, end, separators, start, found = 0, at, 0, 0, at
    while end < last and num < 20 and separators < 5:
        if classes[utf8[end]] & DIGIT:
            start = start * 10 + utf8[end] - 0x30 if num < 4 else start
            num += 1
        elif (utf8[end] == 0x20 or utf8[end] == 0x2D) and end + 1 < last and classes[utf8[end + 1]] & DIGIT:
            separators += 1
        else:
            break
        end += 1
        # A date or another number may follow after a space: every group that ends here may be the card's last.
        if 13 <= num <= 19 and _ends_number(utf8, end, last, classes) and _is_card(utf8, at, end, num, start, classes):
            found = end
    return found


@njit(cache=True, nogil=True)
def _is_card(utf8, at, end, num, start, classes):
    """Whether an issuer numbers cards like this one of `num` digits that begins with the four of `start`, and the check digit is right."""
    issued = 4000 <= start < 5000 and (num == 13 or num == 16 or num == 19)
    issued = issued or (
        num == 16 and (5100 <= start < 5600 or 2221 <= start <= 2720 or start == 6011 or 6440 <= start < 6600 or 3528 <= start < 3590)
    )
    issued = (
        issued or (num == 15 and (3400 <= start < 3500 or 3700 <= start < 3800)) or (num == 14 and (3600 <= start < 3700 or 3800 <= start < 4000))
    )
    total, doubled = 0, False
    for place in range(end - 1, at - 1, -1):
        if classes[utf8[place]] & DIGIT:
            digit = np.int64(utf8[place]) - 0x30
            if doubled:
                digit = digit * 2 - 9 if digit > 4 else digit * 2
            total += digit
            doubled = not doubled
    return issued and total % 10 == 0


@njit(cache=True, nogil=True)
def _phone(utf8, at, first, last, classes):
    """`+` and 9 to 15 digits in groups, or ten digits as 3-3-4 with separators, the area code in brackets or not."""
    if at > first and (utf8[at - 1] == 0x2E or utf8[at - 1] == 0x2D or utf8[at - 1] == 0x2F or utf8[at - 1] == 0x2B):
        return at
    place, num = at, 0
    if utf8[at] == 0x2B:
        place += 1
        while place < last and place - at < 24:
            if classes[utf8[place]] & DIGIT:
                num += 1
            elif not (
                (utf8[place] == 0x20 or utf8[place] == 0x2D or utf8[place] == 0x2E or utf8[place] == 0x28 or utf8[place] == 0x29)
                and place + 1 < last
                and num > 0
                and (classes[utf8[place + 1]] & DIGIT or utf8[place + 1] == 0x28 or (utf8[place] == 0x29 and utf8[place + 1] == 0x20))
            ):
                break
            place += 1
        while place > at and not classes[utf8[place - 1]] & DIGIT:
            place -= 1
        return place if 9 <= num <= 15 and _ends_number(utf8, place, last, classes) else at
    if place + 1 < last and utf8[place] == 0x31 and (utf8[place + 1] == 0x2D or utf8[place + 1] == 0x20 or utf8[place + 1] == 0x2E):
        place += 2
    bracket = place < last and utf8[place] == 0x28
    place += 1 if bracket else 0
    place = _digits(utf8, place, last, 3, classes)
    if place < 0 or place >= last:
        return at
    if bracket:
        if utf8[place] != 0x29:
            return at
        place += 1
        place += 1 if place < last and (utf8[place] == 0x20 or utf8[place] == 0x2D) else 0
    elif utf8[place] == 0x2D or utf8[place] == 0x2E or utf8[place] == 0x20:
        place += 1
    else:
        return at
    place = _digits(utf8, place, last, 3, classes)
    if place < 0 or place >= last or not (utf8[place] == 0x2D or utf8[place] == 0x2E or utf8[place] == 0x20):
        return at
    # Three groups between mere spaces are as often columns of a table.
    if not bracket and utf8[place] == 0x20:
        return at
    place = _digits(utf8, place + 1, last, 4, classes)
    ended = place >= last or utf8[place] != 0x2D or place + 1 >= last or not classes[utf8[place + 1]] & DIGIT
    return place if place > 0 and ended and _ends_number(utf8, place, last, classes) else at


@njit(cache=True, nogil=True)
def _digits(utf8, at, last, count, classes):
    """The byte after exactly `count` digits from `at`, or -1."""
    if at < 0 or at + count > last:
        return -1
    for place in range(at, at + count):
        if not classes[utf8[place]] & DIGIT:
            return -1
    return at + count if at + count == last or not classes[utf8[at + count]] & DIGIT else -1


@njit(cache=True, nogil=True)
def _key(utf8, at, last, classes, prefixes, prefix_offsets, least_following):
    """A known prefix and enough characters of a key behind it, with a digit among them."""
    for form in range(len(least_following)):
        begin, end = prefix_offsets[form], prefix_offsets[form + 1]
        if last - at < end - begin + least_following[form] or utf8[at] != prefixes[begin]:
            continue
        place, same = at, True
        for wanted in range(begin, end):
            same = same and utf8[place] == prefixes[wanted]
            place += 1
        if not same:
            continue
        start, digits = place, 0
        if least_following[form] > 0:
            while place < last and classes[utf8[place]] & KEYLIKE:
                digits += 1 if classes[utf8[place]] & DIGIT else 0
                place += 1
            while place > start and utf8[place - 1] == 0x2E:
                place -= 1
        if place - start >= least_following[form] and (digits > 0 or least_following[form] == 0):
            return place
    return at
