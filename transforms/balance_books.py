"""The books: every record read is published, rejected or dead, exactly once, for each source and declared origin."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

PUBLISHED, REPEATED = "published", "repeated"


@dataclass(frozen=True)
class Account:
    """What became of the records of one source and declared origin."""

    source: str
    """Name of the input."""
    declared_origin: str
    """As the input or the record declared it."""
    read: int
    """Records read, the unreadable ones included."""
    dead: tuple[tuple[tuple[str, str], int], ...]
    """((stage, reason), records) that could not be read or scored."""
    rejected: tuple[tuple[tuple[str, str], int], ...]
    """((stage, reason), documents) that were turned down."""
    published: tuple[tuple[str, int], ...]
    """(verified origin, documents) that were published."""
    repeated: tuple[tuple[str, int], ...] = ()
    """(verified origin, rows) that repeat some of these documents: they are no documents, and no part of the balance."""

    @property
    def num_published(self) -> int:
        """Documents published."""
        return sum(count for _, count in self.published)

    @property
    def num_repeated(self) -> int:
        """Rows that repeat published documents."""
        return sum(count for _, count in self.repeated)

    @property
    def difference(self) -> int:
        """Records read less records disposed of: 0 when the account balances."""
        return self.read - self.num_published - sum(count for _, count in self.rejected) - sum(count for _, count in self.dead)


def keep_books(
    read_and_dead: Iterable[tuple[tuple[str, str, str, str, str], int]],
    disposed: Iterable[tuple[tuple[str, str, str, str, str], tuple[int, int, int]]],
) -> list[Account]:
    """One account for each source and declared origin, sorted.

    `read_and_dead` yields ((source, declared, "read" | "dead", stage, reason), records); `disposed` yields
    ((source, declared, verified origin, stage or "published", reason), (documents, tokens, bytes)), and with "repeated" rows that repeat published ones.
    """
    read: Counter = Counter()
    dead, rejected, published, repeated = (defaultdict(Counter) for _ in range(4))
    for (source, declared, kind, stage, reason), count in read_and_dead:
        if kind == "read":
            read[source, declared] += count
        else:
            dead[source, declared][stage, reason] += count
    for (source, declared, origin, stage, reason), (documents, _, _) in disposed:
        if stage == PUBLISHED:
            published[source, declared][origin] += documents
        elif stage == REPEATED:
            repeated[source, declared][origin] += documents
        else:
            rejected[source, declared][stage, reason] += documents
    accounts = sorted({*read, *dead, *rejected, *published})
    return [
        Account(*key, read[key], *(_sorted(counts[key]) for counts in (dead, rejected, published, repeated)))  # type: ignore[arg-type]
        for key in accounts
    ]


def add_counts(
    parts: Iterable[Iterable[tuple[tuple[str, str, str, str, str], tuple[int, int, int]]]],
) -> tuple[tuple[tuple[str, str, str, str, str], tuple[int, int, int]], ...]:
    """The sums, by key and sorted, of parts that each are (key, (documents, tokens, bytes)) pairs: associative, order-free."""
    total: dict[tuple[str, str, str, str, str], tuple[int, int, int]] = {}
    for part in parts:
        for key, units in part:
            before = total.get(key, (0, 0, 0))
            total[key] = (before[0] + units[0], before[1] + units[1], before[2] + units[2])
    return tuple(sorted(total.items()))


def unbalanced(accounts: Iterable[Account]) -> list[str]:
    """A sentence for each account that does not balance; empty when the books are in order."""
    return [
        f"{account.source} ({account.declared_origin}): {account.read} read, but {account.read - account.difference} disposed of"
        for account in accounts
        if account.difference
    ]


def _sorted(counts: Counter) -> tuple:
    return tuple(sorted((key, count) for key, count in counts.items() if count))
