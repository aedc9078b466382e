"""How cost grows with the corpus: the same run on 10,000, 100,000 and 1,000,000 documents.

    python -m benchmarks.growth --scratch FOLDER [--sizes 10000 100000 1000000] [--data ../shared/data] [--json FILE]

Every size is made in the same way, so that only the count differs: short real documents (60 to 250 words, 144 on average) are
repeated as often as needed, each time with a new id and 40 % of the words replaced by words drawn from the whole of the text.
Two repeats then share about 1 % of their word 5-grams and are no near-duplicates; half the documents are declared human, half
synthetic. 1 % are exact copies and 3 % near copies of the document before, so that deduplication has work in proportion.

The run is `curate` with the default recipe (every scorer; `--recipe` takes another) and two workers; text whose declared origin
the detector disputes is kept, since such scrambled text says nothing about detectors, and no quota is asked for. The cost of
starting is measured on 100 documents, and the table gives CPU per document with it and without it, and the cost of each further
document from one size to the next. Small runs count by the median of three.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import orjson

from benchmarks.corpus import data_set, read_jsonl
from benchmarks.measure import REPOSITORY, Measured, format_table, gigabytes, measure, report

SETS = ("human_imdb_2011", "human_enwiki_2021", "human_reuters21578_1987", "alpacaeval_machine", "l2r21")
"""Where the documents come from."""
BASE_DOCUMENTS = 10_000
"""Real documents that are repeated."""
MIN_WORDS, MAX_WORDS = 60, 250
"""Words of a base document, split at spaces."""
REPLACED_SHARE = 0.4
"""Share of the words replaced in every repeat."""
EXACT_SHARE, NEAR_SHARE = 0.01, 0.03
"""Shares of the documents that copy the one before: as it is, or with `NEAR_REPLACED_SHARE` of its words replaced."""
NEAR_REPLACED_SHARE = 0.02
FILE_DOCUMENTS = 50_000
"""Documents in a file."""
STARTUP_DOCUMENTS = 100
SMALL_DOCUMENTS, SMALL_REPEATS = 20_000, 3
"""Up to how many documents the median of so many runs counts: there start-up, which varies by a tenth, is most of the cost."""
TARGET_RATIO = 1.2
"""Largest cost per document over the smallest, net of start-up, that counts as linear."""
TARGET_RSS_BYTES = 4e9
"""Peak RSS of the process tree to stay under at the largest size."""


@dataclass(frozen=True)
class Vocabulary:
    """Real documents as numbers of words, to be scrambled fast."""

    words: np.ndarray
    """object[v]: the words, each distinct; they may hold line breaks, since documents were split at spaces only."""
    occurrences: np.ndarray
    """int32[t]: every document's words, one after the other. Drawing from it draws words as often as they occur."""
    starts: np.ndarray
    """int64[n + 1]: where each document's words begin."""


def make_vocabulary(texts: list[str]) -> Vocabulary:
    """The words of `texts`, numbered in order of their first use."""
    numbers: dict[str, int] = {}
    documents = [[numbers.setdefault(word, len(numbers)) for word in text.split(" ")] for text in texts]
    starts = np.concatenate(([0], np.cumsum([len(document) for document in documents]))).astype(np.int64)
    words = np.empty(len(numbers), dtype=object)
    words[:] = list(numbers)
    return Vocabulary(words, np.concatenate([np.array(document, np.int32) for document in documents]), starts)


def scrambled_texts(vocabulary: Vocabulary, count: int, *, seed: int) -> Iterator[str]:
    """`count` texts: the documents over and over with `REPLACED_SHARE` of their words replaced; some copy the text before.

    The first texts are the same whatever `count` is.
    """
    rng = np.random.default_rng(seed)
    base = len(vocabulary.starts) - 1
    before = vocabulary.occurrences[: vocabulary.starts[1]]
    for number in range(count):
        kind = rng.random()
        if number and kind < EXACT_SHARE:
            drawn = before
        elif number and kind < EXACT_SHARE + NEAR_SHARE:
            drawn = _replace(before, NEAR_REPLACED_SHARE, vocabulary, rng)
        else:
            begin, end = vocabulary.starts[number % base], vocabulary.starts[number % base + 1]
            drawn = _replace(vocabulary.occurrences[begin:end], REPLACED_SHARE, vocabulary, rng)
        before = drawn
        yield " ".join(vocabulary.words[drawn])


def _replace(words: np.ndarray, share: float, vocabulary: Vocabulary, rng: np.random.Generator) -> np.ndarray:
    replaced = rng.random(len(words)) < share
    drawn = vocabulary.occurrences[rng.integers(len(vocabulary.occurrences), size=len(words))]
    return np.where(replaced, drawn, words)


def write_growth_corpus(folder: Path, vocabulary: Vocabulary, count: int, *, seed: int) -> int:
    """Writes `count` documents as `human-*.jsonl` and `synthetic-*.jsonl`, document by document; returns the bytes of text."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text_bytes, files = 0, []
    try:
        for number, text in enumerate(scrambled_texts(vocabulary, count, seed=seed)):
            if number % FILE_DOCUMENTS == 0:
                _close(files)
                part = number // FILE_DOCUMENTS
                files = [open(folder / f"{kind}-{part:04d}.jsonl", "wb", buffering=1 << 20) for kind in ("human", "synthetic")]  # noqa: SIM115
            # By blocks of 16, so that the copy of a document usually has the same origin.
            files[number // 16 % 2].write(orjson.dumps({"id": f"{number:09d}", "text": text}) + b"\n")
            text_bytes += len(text.encode())
    finally:
        _close(files)
    return text_bytes


def _close(files: list) -> None:
    for file in files:
        file.close()


def run_curate(folder: Path, out: Path, arguments: argparse.Namespace) -> Measured:
    """One `curate` of the corpus in `folder`."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "curate"]
    command += ["--human", f"human={folder}/human-*.jsonl", "--synthetic", f"synthetic={folder}/synthetic-*.jsonl"]
    command += ["--human_quota", "0", "--reject_disputed", "false", "--workers", arguments.workers, "--progress", "none", "--output", out]
    if arguments.recipe:
        command += ["--recipe", arguments.recipe]
    measured = measure(command, cwd=REPOSITORY, log=out.with_suffix(".log"))
    shutil.rmtree(out)
    return measured


def run_median(folder: Path, out: Path, arguments: argparse.Namespace, repeats: int) -> Measured:
    """The run of median CPU among `repeats` runs (an odd number)."""
    return sorted((run_curate(folder, out, arguments) for _ in range(repeats)), key=lambda measured: measured.cpu_s)[repeats // 2]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures CPU per document and peak memory of the same run at growing sizes.")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for corpora and outputs (about 5 GB for 1,000,000 documents)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="documents in each run")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets (default: ../shared/data)")
    parser.add_argument("--recipe", type=Path, help="recipe file (default: none, which is every scorer); such as benchmarks/peers_recipe.toml")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corpus (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    arguments.recipe = arguments.recipe and arguments.recipe.resolve()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    vocabulary = make_vocabulary(base_texts(arguments.data, arguments.seed))

    write_growth_corpus(scratch / "growth_few", vocabulary, STARTUP_DOCUMENTS, seed=arguments.seed)
    run_curate(scratch / "growth_few", scratch / "growth_few_out", arguments)
    startup = run_median(scratch / "growth_few", scratch / "growth_few_out", arguments, SMALL_REPEATS)
    rows, runs, net_costs = [], {}, []
    before, cpu_before = STARTUP_DOCUMENTS, startup.cpu_s
    for size in sorted(arguments.sizes):
        text_bytes = write_growth_corpus(scratch / "growth_corpus", vocabulary, size, seed=arguments.seed)
        repeats = SMALL_REPEATS if size <= SMALL_DOCUMENTS else 1
        measured = run_median(scratch / "growth_corpus", scratch / "growth_out", arguments, repeats)
        cost, net_cost = measured.cpu_s / size, (measured.cpu_s - startup.cpu_s) / (size - STARTUP_DOCUMENTS)
        further_cost = (measured.cpu_s - cpu_before) / max(size - before, 1)
        before, cpu_before = size, measured.cpu_s
        net_costs.append(net_cost)
        runs[str(size)] = {**asdict(measured), "cpu_s_per_document": cost, "cpu_s_per_document_net": net_cost, "text_bytes": text_bytes}
        runs[str(size)]["cpu_s_per_further_document"] = further_cost
        row = [
            f"{size:,}",
            f"{text_bytes / 1e6:,.0f} MB",
            f"{measured.cpu_s:.1f}",
            f"{cost * 1e6:,.0f}",
            f"{net_cost * 1e6:,.0f}",
            f"{further_cost * 1e6:,.0f}",
        ]
        row += [f"{size / measured.wall_s:,.0f}", gigabytes(measured.peak_rss_bytes), gigabytes(measured.peak_pss_bytes)]
        rows.append(row)
        print(f"{row[0]} documents: {row[2]} CPU-s, {row[6]}", file=sys.stderr, flush=True)
    ratio, peak = max(net_costs) / min(net_costs), max(run["peak_rss_bytes"] for run in runs.values())
    header = ["documents", "text", "CPU-s", "CPU us/document", "net of start-up", "further document", "documents/s of wall", "peak RSS", "peak PSS"]
    lines = [
        f"Start-up ({STARTUP_DOCUMENTS} documents): {startup.cpu_s:.1f} CPU-s, {startup.wall_s:.1f} s, {gigabytes(startup.peak_rss_bytes)} RSS.",
        "",
        format_table(header, rows),
        "",
        f"Cost per document net of start-up, largest over smallest: {ratio:.2f} (target: at most {TARGET_RATIO}).",
        f"Largest peak RSS of the process tree: {gigabytes(peak)} (target: under {gigabytes(TARGET_RSS_BYTES)}).",
    ]
    results = {"startup": asdict(startup), "runs": runs, "ratio_net_of_startup": ratio, "peak_rss_bytes": peak}
    report("How cost grows with the corpus", results, lines, arguments.json)


def base_texts(data: Path, seed: int) -> list[str]:
    texts = []
    for name in SETS:
        texts += [r["text"] for r in read_jsonl(data_set(data, name)) if MIN_WORDS <= r["text"].count(" ") + 1 <= MAX_WORDS]
    chosen = np.random.default_rng(seed).permutation(len(texts))[:BASE_DOCUMENTS]
    return [texts[place] for place in chosen]


if __name__ == "__main__":
    main()
