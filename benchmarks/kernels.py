"""What each scorer costs: microseconds of CPU a document of about 300 words, compilation aside.

    python -m benchmarks.kernels [--documents 4000] [--words 300] [--repeats 5] [--scorers size,signature,...]

Text: the interpreter's own documentation (`pydoc_data.topics`), cut into documents of `--words` words; or, with
`--data FILE.jsonl.gz`, the `text` fields of that file as they are. Every figure is the least of `--repeats` runs over batches of
1,000 documents, in CPU time of one thread: on a busy machine the least is the nearest to what the work takes. Splitting into
words is measured by itself and left out of the other lines, as all scorers share it. The last line says how long a Python loop
takes on the same machine, to compare figures of two machines.
"""

import argparse
import datetime
import gzip
import json
import os
import platform
import sys
import time
from pydoc_data import topics

import numba
import pyarrow as pa

from classifiers.gopher_quality import measure_quality
from classifiers.gopher_repetition import measure_repetition
from classifiers.scorers import SCORER_NAMES, ScoreSettings, make_scorers, warm_up
from classifiers.text_batch import TextBatch

BATCH_DOCUMENTS = 1_000
"""Documents in a batch, as in the pipeline."""
KERNELS = ("size", "gopher_quality", "gopher_repetition", "quality", "content_hash", "signature")
"""Scorers without a model: what the goal of 200 microseconds is about."""


def read_documents(path: str | None, count: int, num_words: int) -> list[str]:
    """`count` documents of the file or of the interpreter's documentation, over again where there are not as many."""
    if path:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [text for text in (json.loads(line).get("text") for line in lines) if text]
    else:
        # Cut between white space so that lines and paragraphs stay as they are.
        pieces = "\n".join(topics.topics.values()).split(" ")
        texts = [" ".join(pieces[at : at + num_words]) for at in range(0, len(pieces) - num_words, num_words)]
    return (texts * (count // len(texts) + 1))[:count]


def measure(documents: list[str], settings: ScoreSettings, repeats: int) -> dict[str, float]:
    """CPU seconds for all documents, least of `repeats`, of the words and of each scorer without what it shares with others."""
    arrays = [pa.array(documents[at : at + BATCH_DOCUMENTS]) for at in range(0, len(documents), BATCH_DOCUMENTS)]
    scorers = make_scorers(settings)
    least: dict[str, float] = {}
    for _ in range(repeats):
        spent = dict.fromkeys(["words", *settings.scorers], 0.0)
        for array in arrays:
            batch = TextBatch(array)
            begin = time.thread_time()
            _ = batch.words
            spent["words"] += time.thread_time() - begin
            for scorer in scorers:
                if scorer.name == "quality":
                    batch.derive(measure_quality)
                    batch.derive(measure_repetition)
                begin = time.thread_time()
                scorer.score(batch)
                spent[scorer.name] += time.thread_time() - begin
        least = {name: min(seconds, least.get(name, seconds)) for name, seconds in spent.items()}
    return least


def time_python_loop() -> float:
    """CPU nanoseconds an iteration of an empty Python loop, least of five."""
    best = float("inf")
    for _ in range(5):
        begin = time.thread_time()
        for _ in range(300_000):
            pass
        best = min(best, time.thread_time() - begin)
    return best / 300_000 * 1e9


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4_000)
    parser.add_argument("--words", type=int, default=400, help="words a document between single spaces: 400 of these are about 300 words")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scorers", default=",".join(KERNELS), help=f"of {', '.join(SCORER_NAMES)}")
    parser.add_argument("--data", help="a .jsonl.gz file with a field `text`")
    options = parser.parse_args(arguments)
    settings = ScoreSettings(scorers=tuple(options.scorers.split(",")))

    documents = read_documents(options.data, options.documents, options.words)
    begin = time.process_time()
    warm_up(settings)
    warm_up_sec = time.process_time() - begin
    least = measure(documents, settings, options.repeats)

    mean_words = sum(TextBatch.of(documents).words.counts.tolist()) / len(documents)
    mean_bytes = sum(len(text.encode()) for text in documents) / len(documents)
    print(f"$ python -m benchmarks.kernels {' '.join(sys.argv[1:] if arguments is None else arguments)}")
    print(f"{datetime.date.today()}  {_cpu_name()}, {os.cpu_count()} CPUs  Python {platform.python_version()}, numba {numba.__version__}")
    print(f"{len(documents):,} documents, on average {mean_words:.0f} words and {mean_bytes:,.0f} bytes; warm-up {warm_up_sec:.2f} CPU-s\n")
    for name, seconds in least.items():
        print(f"  {name:<20}{seconds / len(documents) * 1e6:8.1f} us a document")
    total = sum(least.values())
    print(f"  {'together':<20}{total / len(documents) * 1e6:8.1f} us a document = {len(documents) / total:,.0f} documents per CPU-s")
    print(f"  {'(a Python loop':<20}{time_python_loop():8.1f} ns an iteration)")


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
