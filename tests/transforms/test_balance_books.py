"""The books balance exactly when every record read has one disposition."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from transforms.balance_books import Account, add_counts, keep_books, unbalanced

SOURCES = st.sampled_from(["news", "web"])
DECLARED = st.sampled_from(["human", "synthetic", "unknown"])
FATES = st.sampled_from(["published", "rules", "mix", "dead"])


def ledger(records):
    read, disposed = Counter(), Counter()
    for source, declared, fate in records:
        read[source, declared, "read", "", ""] += 1
        if fate == "dead":
            read[source, declared, "dead", "read", "malformed"] += 1
        else:
            disposed[source, declared, "human", fate, "" if fate == "published" else "why"] += 1
    return list(read.items()), [(key, (count, 7 * count, 40 * count)) for key, count in disposed.items()]


@given(st.lists(st.tuples(SOURCES, DECLARED, FATES), max_size=60))
def test_books_balance_when_every_record_has_one_disposition(records):
    accounts = keep_books(*ledger(records))
    assert unbalanced(accounts) == []
    assert sum(account.read for account in accounts) == len(records)
    assert sum(account.num_published for account in accounts) == sum(fate == "published" for *_, fate in records)
    assert [(a.source, a.declared_origin) for a in accounts] == sorted({(source, declared) for source, declared, _ in records})


@given(st.lists(st.tuples(SOURCES, DECLARED, FATES), min_size=1, max_size=30), st.data())
def test_a_lost_or_doubled_record_is_noticed(records, data):
    read, disposed = ledger(records)
    if not disposed:
        return
    place = data.draw(st.integers(0, len(disposed) - 1))
    key, (documents, tokens, size) = disposed[place]
    disposed[place] = (key, (documents + data.draw(st.sampled_from([-1, 1])), tokens, size))
    faults = unbalanced(keep_books(read, disposed))
    assert len(faults) == 1
    assert key[0] in faults[0] and key[1] in faults[0]


def test_a_document_disposed_of_but_never_read_is_noticed():
    faults = unbalanced(keep_books([], [(("ghost", "human", "human", "published", ""), (1, 1, 1))]))
    assert faults == ["ghost (human): 0 read, but 1 disposed of"]


def test_one_source_cannot_make_up_for_another():
    read = [(("a", "human", "read", "", ""), 2), (("b", "human", "read", "", ""), 0)]
    disposed = [(("a", "human", "human", "published", ""), (1, 1, 1)), (("b", "human", "human", "published", ""), (1, 1, 1))]
    assert len(unbalanced(keep_books(read, disposed))) == 2


@given(st.lists(st.lists(st.tuples(st.tuples(SOURCES, DECLARED, FATES), st.tuples(*[st.integers(0, 9)] * 3)), max_size=8), max_size=6), st.randoms())
def test_sums_do_not_depend_on_order_or_grouping(parts, random):
    together = add_counts(parts)
    shuffled = list(parts)
    random.shuffle(shuffled)
    middle = len(shuffled) // 2
    assert add_counts([add_counts(shuffled[:middle]), add_counts(shuffled[middle:])]) == together
    assert add_counts([]) == ()


def test_the_difference_is_what_is_missing():
    account = Account("news", "human", 10, ((("read", "malformed"), 1),), ((("rules", "short"), 3),), (("human", 4),))
    assert account.num_published == 4
    assert account.difference == 2
