"""Builds the corpus that Headwater and its peers are compared on: real documents, with copies planted among them.

    python -m benchmarks.corpus --data ../shared/data SCRATCH_FOLDER

20,000 documents (34 MB of text, 290 words each): 17,000 drawn from sets of human and machine text, 1,000 exact copies and 2,000
near copies of some of them. A near copy replaces or deletes 23 words of a thousand, which leaves a word-5-gram Jaccard
similarity of about .81: there 14 bands of 8 rows find some 94 of 100 pairs, so that recall tells tools apart. Near copies are made
of documents that ordinary filters keep, so that most pairs reach deduplication.

The folder holds `docs/*.jsonl` ({"id", "text"}; nothing in an id says what a document is) and `planted.json`, the truth. The same
seed and data make the same bytes. The text is other people's: the folder is scratch, never part of the repository.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import xxhash

SHARES = {
    "human_imdb_2011": 0.30,
    "human_enwiki_2021": 0.16,
    "human_blogs_2004": 0.13,
    "human_reuters21578_1987": 0.05,
    "human_nltk_small": 0.05,
    "alpacaeval_machine": 0.15,
    "detectrl": 0.08,
    "outfox": 0.05,
    "l2r21": 0.03,
}
"""Sets of text and the share of the originals drawn from each."""
SHINGLE_WORDS = 5
"""Words in a shingle, as in every tool compared."""
EDIT_RATE = 0.023
"""Edits per word of a near copy."""
DELETED_SHARE = 0.3
"""Share of the edits that delete the word; the others replace it."""
MIN_SOURCE_WORDS, MAX_SOURCE_WORDS = 100, 1_000
"""Words of the documents that near copies are made of."""
WORD = re.compile(r"\w+")
STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
"""*Source:* Rae 2021, table A1."""


@dataclass(frozen=True)
class Pair:
    """A planted copy and its original."""

    original: str
    """Id of the document that was copied."""
    copy: str
    """Id of the copy."""
    similarity: float
    """True Jaccard similarity of their sets of word 5-grams; 1 for an exact copy."""


@dataclass(frozen=True)
class Planted:
    """What was planted in a corpus."""

    exact: tuple[Pair, ...]
    """Copies equal to the byte."""
    near: tuple[Pair, ...]
    """Copies with edited words."""


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSONL file, plain, .gz or .zst."""
    with pa.input_stream(str(path), compression="detect") as stream:
        rest = b""
        while block := stream.read(1 << 22):
            *lines, rest = (rest + block).split(b"\n")
            yield from (orjson.loads(line) for line in lines if line)
        if rest.strip():
            yield orjson.loads(rest)


def data_set(data: Path, name: str) -> Path:
    """The file of set `name` in folder `data`. Raises FileNotFoundError if there is none."""
    found = sorted(data.glob(f"{name}.jsonl*"))
    if not found:
        raise FileNotFoundError(f"no {name}.jsonl.gz or .zst in {data}: give the folder of labelled text with --data")
    return found[0]


def shingles(text: str, size: int = SHINGLE_WORDS) -> set[int]:
    """Hashes of the word n-grams of `text`, lower-cased and without punctuation; a shorter text is one shingle, one without words none."""
    words = WORD.findall(text.lower())
    if not words:
        return set()
    return {xxhash.xxh3_64_intdigest(" ".join(words[start : start + size]).encode()) for start in range(max(len(words) - size + 1, 1))}


def jaccard(a: str, b: str) -> float:
    """True Jaccard similarity (0 to 1) of the shingles of two texts; 1 if neither has a word."""
    first, second = shingles(a), shingles(b)
    return len(first & second) / len(first | second) if first or second else 1.0


def edit_words(text: str, rate: float, vocabulary: Sequence[str], rng: np.random.Generator) -> str:
    """`text` with `rate` edits per word (at least one) at random places: a word is deleted, or replaced by one of `vocabulary`."""
    pieces = re.findall(r"\s+|\S+", text)
    places = [place for place, piece in enumerate(pieces) if WORD.search(piece)]
    if not places:
        return text
    for place in rng.choice(places, min(max(1, round(rate * len(places))), len(places)), replace=False):
        deleted = rng.random() < DELETED_SHARE
        pieces[place] = "" if deleted else vocabulary[rng.integers(len(vocabulary))]
        if deleted and place + 1 < len(pieces) and "\n" not in pieces[place + 1]:
            pieces[place + 1] = ""
    return "".join(pieces)


def likely_kept(text: str) -> bool:
    """Whether ordinary quality filters would keep `text`, roughly, and it has the length of a source of near copies."""
    words = text.split()
    if not MIN_SOURCE_WORDS <= len(words) <= MAX_SOURCE_WORDS:
        return False
    lettered = sum(any(c.isalpha() for c in word) for word in words) / len(words)
    lines = [line for line in text.splitlines() if line.strip()]
    mean_chars = sum(map(len, words)) / len(words)
    return (
        lettered > 0.85
        and 3.5 < mean_chars < 8
        and len(STOP_WORDS & {word.lower() for word in words}) >= 3
        and len(set(lines)) == len(lines)
        and len(set(words)) > 0.35 * len(words)
    )


def plant(texts: Sequence[str], exact: int, near: int, *, seed: int, rate: float = EDIT_RATE) -> tuple[list[tuple[str, str]], Planted]:
    """(id, text) of `texts` and of `exact` + `near` copies of some of them, shuffled; and which copy is whose.

    No text is copied twice. Raises ValueError if too few texts can carry a near copy.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))
    near_sources = [place for place in order if likely_kept(texts[place])][:near]
    if len(near_sources) < near:
        raise ValueError(f"{near} near copies wanted, but only {len(near_sources)} texts can carry one")
    taken = set(near_sources)
    exact_sources = [place for place in order if place not in taken][:exact]
    if len(exact_sources) < exact:
        raise ValueError(f"{exact} exact copies wanted, but only {len(exact_sources)} texts are left to copy")
    vocabulary = sorted({word.lower() for place in near_sources for word in texts[place].split() if word.isalpha()})
    copies = [texts[place] for place in exact_sources] + [edit_words(texts[place], rate, vocabulary, rng) for place in near_sources]
    everything = [*texts, *copies]
    ids = [f"doc-{number:07d}" for number in rng.permutation(len(everything))]
    pairs = [
        Pair(ids[source], ids[len(texts) + number], jaccard(texts[source], copies[number]))
        for number, source in enumerate([*exact_sources, *near_sources])
    ]
    return sorted(zip(ids, everything, strict=True)), Planted(tuple(pairs[:exact]), tuple(pairs[exact:]))


def draw_texts(data: Path, count: int, *, seed: int) -> list[str]:
    """`count` distinct texts of at least 20 words, by `SHARES`, from the sets in folder `data`."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    seen: set[int] = set()
    for place, (name, share) in enumerate(SHARES.items()):
        wanted = round(count * share) if place < len(SHARES) - 1 else count - len(texts)
        pool = [record["text"] for record in read_jsonl(data_set(data, name))]
        drawn = 0
        for number in rng.permutation(len(pool)):
            text = pool[number]
            key = xxhash.xxh3_64_intdigest(text.encode())
            if drawn < wanted and key not in seen and len(text.split()) >= 20:
                seen.add(key)
                texts.append(text)
                drawn += 1
    if len(texts) < count:
        raise ValueError(f"{count} texts wanted, but the sets in {data} gave only {len(texts)}")
    return texts


def write_corpus(folder: Path, documents: Sequence[tuple[str, str]], planted: Planted, shards: int) -> None:
    """Writes `docs/*.jsonl` and `planted.json` in `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "docs").mkdir(parents=True)
    for shard in range(shards):
        with open(folder / "docs" / f"{shard:03d}.jsonl", "wb") as file:
            file.writelines(orjson.dumps({"id": name, "text": text}) + b"\n" for name, text in documents[shard::shards])
    (folder / "planted.json").write_text(json.dumps(asdict(planted)))


def read_planted(folder: Path) -> Planted:
    """What `write_corpus` says was planted."""
    truth = json.loads((folder / "planted.json").read_text())
    return Planted(*(tuple(Pair(**pair) for pair in truth[kind]) for kind in ("exact", "near")))


def build_corpus(data: Path, folder: Path, *, documents: int, exact: int, near: int, shards: int, seed: int, rate: float) -> str:
    """Draws, plants, writes; returns what was made in a sentence."""
    texts = draw_texts(data, documents - exact - near, seed=seed)
    planted_documents, planted = plant(texts, exact, near, seed=seed, rate=rate)
    write_corpus(folder, planted_documents, planted, shards)
    size = sum(len(text.encode()) for _, text in planted_documents)
    words = sum(len(text.split()) for _, text in planted_documents) / len(planted_documents)
    similarity = np.array([pair.similarity for pair in planted.near]) if near else np.zeros(1)
    return (
        f"{len(planted_documents):,} documents, {size / 1e6:.1f} MB of text, {words:.0f} words each; {exact:,} exact copies; {near:,} near copies of "
        f"similarity {similarity.mean():.3f} (10th and 90th percentile {np.percentile(similarity, 10):.2f} and {np.percentile(similarity, 90):.2f})"
    )


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `build_corpus` but for the folder."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets (default: ../shared/data)")
    parser.add_argument("--documents", type=int, default=20_000, help="documents, copies included (default: 20000)")
    parser.add_argument("--exact", type=int, default=1_000, help="exact copies among them (default: 1000)")
    parser.add_argument("--near", type=int, default=2_000, help="near copies among them (default: 2000)")
    parser.add_argument("--rate", type=float, default=EDIT_RATE, help=f"edits per word of a near copy (default: {EDIT_RATE})")
    parser.add_argument("--shards", type=int, default=8, help="JSONL files (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (default: 0)")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Builds the corpus for benchmarks.peers.")
    parser.add_argument("folder", type=Path, help="scratch folder; emptied first")
    add_corpus_arguments(parser)
    arguments = vars(parser.parse_args())
    print(build_corpus(arguments.pop("data"), arguments.pop("folder"), **arguments))


if __name__ == "__main__":
    main()
