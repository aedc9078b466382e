"""Which near-duplicates are found, and whether only those are: planted copies, gold pairs, IMDB's groups, and how components hang together.

    python -m benchmarks.near_duplicates [--data ../shared/data] [--originals 400] [--imdb 100000]

* **Planted**: documents of human_enwiki_2021 of 100 to 1,000 words, each with one copy in which 2 to 40 % of the words are replaced or deleted. A pair is
  found if one of the two is removed and names the other. Precision: removals whose named partner is the planted one, or has a true Jaccard similarity of
  word 5-grams of at least `min_similarity` less .1 (two standard errors of an estimate at .5 are .09).
* **Gold**: the 20 pairs of dedup_minhash_news2500 (`dup_group`).
* **IMDB**: exact, then near-duplicates of human_imdb_2011; groups of equal reviews (`dup_group`) of which two are left, and the largest component beside
  the verified links that hold it together.

Only signatures are made, and only deduplication runs, in memory on one core.
"""

import argparse
import tempfile
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from benchmarks.corpus import MAX_SOURCE_WORDS, MIN_SOURCE_WORDS, data_set, edit_words, jaccard, read_jsonl
from benchmarks.measure import format_table, report
from classifiers.content import ContentHashScorer
from classifiers.signature import SignatureScorer
from classifiers.text_batch import TextBatch
from transforms.decisions import write_decisions
from transforms.deduplicate_exact import FindExactDuplicates
from transforms.deduplicate_near import FindNearDuplicates
from transforms.find_candidates import FindCandidates
from transforms.packed_arrays import join_pairs
from transforms.packed_tables import pack_table, unpack_tables
from transforms.pool_steps import key_by_shard
from transforms.records import DECISION_SCHEMA, DUPLICATE_SCHEMA, DecidedShard, ScoredShard, make_addresses, rows_of, shards_of
from transforms.verify_candidates import VerifyCandidates

EDIT_RATES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40)
SHARD_DOCUMENTS = 10_000


@dataclass(frozen=True)
class Search:
    """How near-duplicates are sought."""

    bands: int = 14
    """Bands of a signature."""
    rows: int = 8
    """MinHashes in a band."""
    shingle_words: int = 5
    """Words in a shingle."""
    extra_bands: int = 6
    """Bands cut across these."""
    min_similarity: float = 0.7
    """Estimated similarity from which a pair is one."""

    def __str__(self) -> str:
        return f"{self.bands} x {self.rows}, {self.shingle_words}-grams, from {self.min_similarity:g}"


SEARCHES = (
    Search(min_similarity=0.8),
    Search(),
    Search(min_similarity=0.6),
    Search(min_similarity=0.5),
    Search(bands=28, rows=4, min_similarity=0.5),
    Search(bands=28, rows=4, shingle_words=3, min_similarity=0.5),
    Search(bands=28, rows=4, shingle_words=2, min_similarity=0.4),
)
"""The default is the second; the last three are for texts more freely copied, at a price that the table shows."""


def write_documents(folder: Path, texts: Sequence[str], search: Search) -> list[DecidedShard]:
    """Scored shards with nothing but signatures and content hashes, and decisions in which all are alive; ids are places in `texts`."""
    folder.mkdir(parents=True)
    scorers = (SignatureScorer(search.bands, search.rows, search.shingle_words), ContentHashScorer())
    shards = []
    for index, start in enumerate(range(0, len(texts), SHARD_DOCUMENTS)):
        part = texts[start : start + SHARD_DOCUMENTS]
        batches = []
        for first in range(0, len(part), 1_000):
            batch = TextBatch.of(part[first : first + 1_000])
            batches.append(pa.table({name: column for scorer in scorers for name, column in scorer.score(batch).items()}))
        table = pa.concat_tables(batches).combine_chunks()
        path = folder / f"{index:04d}.parquet"
        pq.write_table(table, path)
        n = len(part)
        columns = {name: pa.nulls(n, DECISION_SCHEMA.field(name).type) for name in DECISION_SCHEMA.names}
        ids = [f"{number:09d}" for number in range(start, start + n)]
        columns |= {"address": pa.array(make_addresses(index, np.arange(n))), "id": pa.array(ids), "content_hash": table["content_hash"]}
        columns |= {"origin": pa.array(np.zeros(n, np.uint8)), "quality": pa.array(np.zeros(n, np.float32))}
        columns["row_key"] = pa.array([xxhash.xxh3_64_intdigest(name.encode()) for name in ids], pa.uint64())
        scored = ScoredShard(path.name, str(path), n, index)
        shards.append(write_decisions(pa.table(columns, schema=DECISION_SCHEMA), scored, str(folder / "decided")))
    return shards


def find(shards: list[DecidedShard], search: Search, *, exact: bool = False) -> tuple[list[tuple[int, int]], np.ndarray, np.ndarray]:
    """(removed, partner) as places in the texts; (node, component) and verified edges as addresses."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = beam.Pipeline(FnApiRunner())
        decided = pipeline | "Shards" >> beam.Create(shards, reshuffle=False)
        if exact:
            _ = decided | "Exact" >> FindExactDuplicates() | "SaveRemoved" >> beam.Map(_save, folder, "removed")
        else:
            near = FindNearDuplicates(search.bands, search.extra_bands, search.min_similarity)
            members = decided | "Link" >> near.link()
            _ = members | "SaveMembers" >> beam.Map(_save, folder, "members")
            _ = (decided, members) | "Choose" >> near.choose() | "SaveRemoved" >> beam.Map(_save, folder, "removed")
            keyed = decided | "KeyByShard" >> beam.Map(key_by_shard).with_output_types(tuple[int, DecidedShard])
            pairs = decided | "FindCandidates" >> FindCandidates(search.bands, search.extra_bands, 8)
            _ = (keyed, pairs) | "Verify" >> VerifyCandidates(search.min_similarity) | "SaveEdges" >> beam.Map(_save, folder, "edges")
        pipeline.run().wait_until_finish()
        saved = {what: [path.read_bytes() for path in Path(folder).glob(f"{what}-*")] for what in ("removed", "members", "edges")}
    rows = unpack_tables(saved["removed"], DUPLICATE_SCHEMA).to_pylist()
    removed = [(place(row["address"]), place(row["partner_address"])) for row in rows]
    return sorted(removed), join_pairs(saved["members"]), join_pairs(saved["edges"])


def _save(keyed: tuple[int, Any], folder: str, what: str) -> None:
    held = keyed[1]
    Path(folder, f"{what}-{uuid.uuid4().hex}").write_bytes(held if isinstance(held, bytes) else pack_table(pa.Table.from_batches([held])))


def place(address: int) -> int:
    """Place in the texts of the document at `address`."""
    array = np.array([address], np.uint64)
    return int(shards_of(array)[0]) * SHARD_DOCUMENTS + int(rows_of(array)[0])


def plant(texts: Sequence[str], rates: Sequence[float], seed: int = 0) -> tuple[list[str], dict[int, tuple[int, float]]]:
    """The texts, and after them a copy of each, edited at the rates by turns; each copy's original and rate."""
    rng = np.random.default_rng(seed)
    vocabulary = sorted({word.lower() for text in texts for word in text.split() if word.isalpha()})
    copies = [edit_words(text, rates[number % len(rates)], vocabulary, rng) for number, text in enumerate(texts)]
    return [*texts, *copies], {len(texts) + number: (number, rates[number % len(rates)]) for number in range(len(texts))}


def judge_removed(
    removed: Sequence[tuple[int, int]], copies: dict[int, tuple[int, float]], texts: Sequence[str], least: float
) -> tuple[dict[float, float], float]:
    """Share of the planted pairs found at each rate, and share of removals that are right: planted, or of a true similarity of at least `least`."""
    named = {frozenset(pair) for pair in removed}
    found: dict[float, list[bool]] = defaultdict(list)
    for copy, (original, rate) in copies.items():
        found[rate].append(frozenset((copy, original)) in named)
    planted = {frozenset((copy, original)) for copy, (original, _) in copies.items()}
    right = [frozenset(pair) in planted or jaccard(texts[pair[0]], texts[pair[1]]) >= least for pair in removed]
    return {rate: float(np.mean(held)) for rate, held in found.items()}, float(np.mean(right)) if right else 1.0


def describe_largest(members: np.ndarray, edges: np.ndarray) -> tuple[int, int, int]:
    """Documents of the largest component, distinct verified links among them, and the links that it takes to hold so many together (one fewer)."""
    if not len(members):
        return 0, 0, 0
    (component, size) = Counter(members[:, 1].tolist()).most_common(1)[0]
    inside = np.unique(members[members[:, 1] == component, 0])
    links = np.unique(np.sort(edges, axis=1), axis=0)
    held = np.isin(links, inside).all(axis=1)
    assert len(inside) == size and np.isin(inside, links[held]).all()
    return size, int(held.sum()), size - 1


def measure_planted(data: Path, originals: int, folder: Path) -> list[list[str]]:
    """A row for each search: recall at each rate, precision, removals."""
    texts, seen = [], set()
    for record in read_jsonl(data_set(data, "human_enwiki_2021")):
        if (
            len(texts) < originals * len(EDIT_RATES)
            and MIN_SOURCE_WORDS <= len(record["text"].split()) <= MAX_SOURCE_WORDS
            and record["text"] not in seen
        ):
            seen.add(record["text"])
            texts.append(record["text"])
    everything, copies = plant(texts, EDIT_RATES)
    similarity = {rate: np.mean([jaccard(everything[copy], everything[of]) for copy, (of, r) in copies.items() if r == rate]) for rate in EDIT_RATES}
    rows = [["mean true similarity of word 5-grams", *(f"{similarity[rate]:.2f}" for rate in EDIT_RATES), "", ""]]
    for number, search in enumerate(SEARCHES):
        removed, *_ = find(write_documents(folder / f"planted-{number}", everything, search), search)
        recall, precision = judge_removed(removed, copies, everything, search.min_similarity - 0.1)
        rows.append([str(search), *(f"{recall[rate]:.1%}" for rate in EDIT_RATES), f"{precision:.2%}", f"{len(removed):,}"])
    return rows


def measure_groups(data: Path, name: str, count: int | None, folder: Path) -> list[str]:
    """What becomes of the groups of set `name` with the default search, in figures."""
    records = [
        (record["text"], record.get("dup_group")) for _, record in zip(range(count or 1 << 60), read_jsonl(data_set(data, name)), strict=False)
    ]
    texts = [text for text, _ in records]
    groups = defaultdict(list)
    for number, (_, group) in enumerate(records):
        if group is not None:
            groups[group].append(number)
    groups = {group: held for group, held in groups.items() if len(held) > 1}
    search = Search()
    shards = write_documents(folder / name, texts, search)
    exact, *_ = find(shards, search, exact=True)
    removed, members, edges = find(shards, search)
    gone = {number for number, _ in removed}
    survivors = Counter(sum(number not in gone for number in held) for held in groups.values())
    whole = sum(number for left, number in survivors.items() if left <= 1)
    others = [pair for pair in removed if records[pair[0]][1] is None or records[pair[0]][1] != records[pair[1]][1]]
    similar = sorted(jaccard(texts[a], texts[b]) for a, b in others)
    size, links, needed = describe_largest(members, edges)
    least = f"{similar[0]:.2f}" if similar else "-"
    return [
        name,
        f"{len(texts):,}",
        f"{whole:,} of {len(groups):,}",
        f"{len(exact):,}",
        f"{len(removed):,}",
        f"{len(others):,}",
        least,
        f"{size}",
        f"{links} ({needed})",
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Recall and precision of near-duplicate search.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets (default: ../shared/data)")
    parser.add_argument("--originals", type=int, default=400, help="documents copied at each rate of edits (default: 400)")
    parser.add_argument("--imdb", type=int, default=100_000, help="reviews of human_imdb_2011 (default: all 100,000)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        planted = measure_planted(arguments.data, arguments.originals, Path(scratch))
        groups = [
            measure_groups(arguments.data, "dedup_minhash_news2500", None, Path(scratch)),
            measure_groups(arguments.data, "human_imdb_2011", arguments.imdb, Path(scratch)),
        ]
    first = ["search", *(f"{rate:.0%}" for rate in EDIT_RATES), "precision", "removed"]
    second = [
        "set", "documents", "groups with one left", "exact removed", "near removed", "of these beyond groups", "least true similarity of these",
        "largest component", "verified links (needed)",
    ]  # fmt: skip
    lines = [format_table(first, planted), "", format_table(second, groups)]
    report("Near-duplicates", {"planted": [first, *planted], "groups": [second, *groups]}, lines, arguments.json)


if __name__ == "__main__":
    main()
