"""What semantic deduplication finds on real text: rewrites of the same text, and how often unlike texts are taken for the same.

    pip install "headwater[embedding]"
    python -m benchmarks.semantic [--data ../shared/data] [--pairs 150] [--others 150] [--encoder minilm] [--json FILE]

Pairs: a human text and one machine rewrite of it, of l2r21 (rewrites by GPT-3.5, GPT-4o, Gemini 1.5, Llama 3; text in 21 domains), one
rewrite a text. Others: as many texts each of enwiki, IMDB and Reuters, drawn like the pairs by a hash of their text. A pair is found at a
threshold if its cosine reaches it. A false hit is any other two of all these texts; the table counts the texts that would be dropped for one, of
those that are no rewrite, in the sets where two texts are never versions of one another (Reuters, whose newswire repeats itself, is
counted apart). Beside it stands what MinHash finds of the same pairs at the default `dedup.min_similarity`.

The last table says what clusters cost in pairs: the same texts cut into more and more clusters, against comparing all with all.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from benchmarks.corpus import data_set, read_jsonl
from benchmarks.measure import format_table, report
from classifiers.sentence_encoder import EmbeddingScorer
from classifiers.signature import SignatureScorer, estimate_jaccard
from classifiers.text_batch import TextBatch
from transforms.cluster_vectors import exact_floats, fit_centroids, nearest_centroids, square_lengths
from transforms.deduplicate_near import MIN_SIMILARITY

PAIR_SET = "l2r21"
OTHER_SETS = ("human_enwiki_2021", "human_imdb_2011", "human_reuters21578_1987")
REPEATING_SETS = ("human_reuters21578_1987",)
"""Sets in which some texts are versions of others."""
THRESHOLDS = (0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 0.97)
MIN_WORDS = 50
"""Words of a text, at least, as in the default rules."""
CLUSTERED_AT = 0.85
"""Cosine of the pairs that the table of clusters counts."""


@dataclass(frozen=True)
class Text:
    """One text of the benchmark."""

    text: str
    """The text."""
    source: str
    """Its set."""
    pair: str = ""
    """What it shares with its rewrite; empty: nothing."""
    rewrite: bool = False
    """Whether it is the rewrite."""


def draw_pairs(records: Sequence[Mapping], count: int) -> list[Text]:
    """A human text and one rewrite of it for each of `count` pairs, by hash of the pair; both of at least `MIN_WORDS` words."""
    held: dict[str, dict[str, list[str]]] = {}
    for record in records:
        if record.get("pair") and len(record["text"].split()) >= MIN_WORDS:
            held.setdefault(str(record["pair"]), {}).setdefault(record["label"], []).append(record["text"])
    whole = [pair for pair, sides in held.items() if {"human", "machine"} <= sides.keys()]
    chosen = sorted(whole, key=_hash)[:count]
    drawn = []
    for pair in chosen:
        sides = {label: min(texts, key=_hash) for label, texts in held[pair].items()}
        drawn += [Text(sides["human"], PAIR_SET, pair), Text(sides["machine"], PAIR_SET, pair, rewrite=True)]
    return drawn


def draw_others(records: Sequence[Mapping], source: str, count: int) -> list[Text]:
    """`count` different texts of at least `MIN_WORDS` words, by hash."""
    texts = {record["text"] for record in records if len(record["text"].split()) >= MIN_WORDS}
    return [Text(text, source) for text in sorted(texts, key=_hash)[:count]]


def cosines_of(vectors: np.ndarray) -> np.ndarray:
    """float64[n, n] of int8[n, d]; rows of zeros are like nothing."""
    lengths = np.sqrt(square_lengths(vectors))
    products = exact_floats(vectors) @ exact_floats(vectors).T
    both = lengths[:, None] * lengths
    return np.divide(products, both, out=np.zeros(products.shape), where=both > 0)


def count_hits(texts: Sequence[Text], alike: np.ndarray) -> tuple[int, dict[str, int]]:
    """(pairs found, texts by set that are like an earlier one that is not their pair), given which two are alike (bool[n, n])."""
    pairs = np.array([_hash(one.pair) if one.pair else 0 for one in texts], np.uint64)
    same = (pairs[:, None] == pairs) & (pairs != 0)
    earlier = np.tri(len(texts), k=-1, dtype=bool)
    found = int((alike & same & earlier).sum())
    wrong = (alike & ~same & earlier).any(axis=1)
    false: dict[str, int] = {}
    for one, hit in zip(texts, wrong, strict=True):
        if hit and not one.rewrite:
            false[one.source] = false.get(one.source, 0) + 1
    return found, false


def cluster_recall(vectors: np.ndarray, alike: np.ndarray, num_clusters: int, probes: int) -> tuple[float, float]:
    """(share of the alike pairs that meet in a cluster, share of all pairs that are compared) with so many clusters and probes."""
    nearest = nearest_centroids(vectors, fit_centroids(vectors, num_clusters), probes)
    member = np.zeros((len(vectors), nearest.max() + 1), np.int64)
    np.put_along_axis(member, nearest, 1, axis=1)
    meet, pairs = (member @ member.T) > 0, np.tri(len(vectors), k=-1, dtype=bool)
    return float((meet & alike & pairs).sum() / max((alike & pairs).sum(), 1)), float((meet & pairs).sum() / pairs.sum())


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Semantic duplicates on real text: rewrites found, false hits, cost.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets (default: ../shared/data)")
    parser.add_argument("--pairs", type=int, default=150, help="pairs of a text and its rewrite (default: 150)")
    parser.add_argument("--others", type=int, default=150, help="texts of each other set (default: 150)")
    parser.add_argument("--encoder", default="minilm", help="name of a sentence encoder (default: minilm)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    texts = draw_pairs(list(read_jsonl(data_set(arguments.data, PAIR_SET))), arguments.pairs)
    for name in OTHER_SETS:
        texts += draw_others(list(read_jsonl(data_set(arguments.data, name))), name, arguments.others)
    num_pairs = sum(one.rewrite for one in texts)

    scorer = EmbeddingScorer(arguments.encoder)
    batch = TextBatch.of([one.text for one in texts])
    scorer.score(TextBatch.of([texts[0].text]))
    begin = time.process_time()
    column = scorer.score(batch)["embedding"]
    rate = len(texts) / (time.process_time() - begin)
    vectors = np.frombuffer(column.buffers()[1], np.int8).reshape(len(texts), -1)
    cosines = cosines_of(vectors)
    signatures = np.stack([np.frombuffer(held, np.uint8) for held in SignatureScorer().score(batch)["signature"].to_pylist()])
    by_minhash = sum(
        float(estimate_jaccard(signatures[place : place + 1], signatures[place + 1 : place + 2])[0]) >= MIN_SIMILARITY
        for place in range(0, 2 * num_pairs, 2)
    )
    plain = sum(not one.rewrite and one.source not in REPEATING_SETS for one in texts)
    rows, figures = [], {}
    for threshold in THRESHOLDS:
        found, false = count_hits(texts, cosines >= threshold)
        repeated = sum(false.pop(name, 0) for name in REPEATING_SETS)
        wrong = sum(false.values())
        figures[f"{threshold:.2f}"] = {"pairs_found": found, "false_hits": false, "hits_in_repeating_sets": repeated}
        rows.append([f"{threshold:.2f}", f"{found / num_pairs:.1%} ({found})", f"{wrong / plain:.2%} ({wrong})", repeated])
    clusters = []
    for count, probes in ((1, 1), (4, 1), (4, 2), (16, 1), (16, 2), (16, 4)):
        recall, compared = cluster_recall(vectors, cosines >= CLUSTERED_AT, count, probes)
        clusters.append([count, probes, f"{recall:.1%}", f"{compared:.1%}"])
    lines = [
        f"{scorer.version}: {rate:.1f} texts of {np.mean([len(one.text.split()) for one in texts]):.0f} words per CPU-second, one thread.",
        f"{num_pairs} pairs of {PAIR_SET}; {arguments.others} texts each of {', '.join(OTHER_SETS)}; {len(texts)} texts in all.",
        f"MinHash at {MIN_SIMILARITY} finds {by_minhash} of the {num_pairs} pairs ({by_minhash / num_pairs:.1%}).",
        "",
        format_table(["cosine from", "rewrites found", f"texts wrongly hit, of {plain}", "hits in Reuters"], rows),
        "",
        f"Pairs of cosine {CLUSTERED_AT} or more that meet in a cluster, and pairs compared:",
        format_table(["clusters", "probes", "pairs found", "pairs compared"], clusters),
    ]
    results = {
        "version": scorer.version,
        "texts_per_cpu_s": rate,
        "pairs": num_pairs,
        "by_minhash": by_minhash,
        "thresholds": figures,
        "clusters": clusters,
    }
    report("Semantic duplicates on real text", results, lines, arguments.json)


if __name__ == "__main__":
    main()
