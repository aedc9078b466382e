"""What each scorer costs: microseconds of CPU a document of about 300 words, compilation aside.

    python -m benchmarks.kernels [--documents 4000] [--words 400] [--repeats 5] [--scorers all] [--json FILE]

Text: the interpreter's own documentation (`pydoc_data.topics`), cut into documents of `--words` words; or, with
`--data FILE.jsonl.gz`, the `text` fields of that file as they are. Every figure is the least of `--repeats` runs over batches of
1,000 documents, in CPU time of one thread: on a busy machine the least is the nearest to what the work takes. Splitting into
words is measured by itself and left out of the other lines, as all scorers share it. The floor stands below: what it costs to read and write the same texts as
Parquet, and one pass of a regular expression over them. The last line says how long a Python loop takes on the same machine, to compare figures of two machines.
"""

import argparse
import datetime
import gzip
import io
import json
import os
import platform
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pydoc_data import topics

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.contamination import build_index, keep_index
from classifiers.evaluation_sets import EvaluationSets
from classifiers.gopher_quality import measure_quality
from classifiers.gopher_repetition import measure_repetition
from classifiers.mask_texts import mask_texts
from classifiers.scorers import OPTIONAL_SCORERS, SCORER_NAMES, ScoreSettings, make_scorers, warm_up
from classifiers.text_batch import TextBatch

BATCH_DOCUMENTS = 1_000
"""Documents in a batch, as in the pipeline."""
KERNELS = ("size", "gopher_quality", "gopher_repetition", "quality", "content_hash", "signature")
"""Scorers without a model: what the goal of 200 microseconds is about."""
CONTAMINATION, MASKING = "contamination", "mask_personal_data"
EVERY = tuple(name for name in (*SCORER_NAMES, *OPTIONAL_SCORERS, CONTAMINATION, MASKING) if name != "embedding")
"""`--scorers all`: every kernel, decontamination, and the masking of personal data, which is done as documents are published. An embedding is a model, of
some 0.1 CPU-s a document: `python -m benchmarks.semantic` measures it."""
ITEM_WORDS = 60
"""Words of an evaluation item, about those of a question of MMLU with its choices."""
WORD = re.compile(r"\w+")


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


def make_settings(names: tuple[str, ...], documents: list[str], num_items: int) -> ScoreSettings:
    """Settings of the scorers of `names`; for decontamination, with an index of `num_items` items of random words of `documents`, none of which stands in them."""
    evaluation = None
    if CONTAMINATION in names:
        draw, words = random.Random(0), sorted({word for text in documents[:2_000] for word in text.split()})
        items = [" ".join(draw.choices(words, k=ITEM_WORDS)) for _ in range(num_items)]
        sets = EvaluationSets(("random=items.jsonl",))
        index = build_index(items, range(num_items), [f"random/{number}" for number in range(num_items)], sets)
        evaluation = replace(sets, digest=keep_index(index))
    return ScoreSettings(scorers=tuple(name for name in names if name not in (CONTAMINATION, MASKING)), evaluation=evaluation)


def measure(documents: list[str], settings: ScoreSettings, repeats: int) -> dict[str, float]:
    """CPU seconds for all documents, least of `repeats`, of the words and of each scorer without what it shares with others."""
    arrays = _batches(documents)
    scorers = make_scorers(settings)
    least: dict[str, float] = {}
    for _ in range(repeats):
        spent = dict.fromkeys(["words", *(scorer.name for scorer in scorers)], 0.0)
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


def measure_masking(documents: list[str], repeats: int) -> float:
    """CPU seconds of masking personal data of every kind in all documents, least of `repeats`."""
    arrays = _batches(documents)
    mask_texts(arrays[0])
    return _least(repeats, lambda: [mask_texts(array) for array in arrays])


def measure_floor(documents: list[str], repeats: int) -> dict[str, float]:
    """CPU seconds for all documents, least of `repeats`: what no scorer can go below that reads text and stores something beside it."""
    arrays = _batches(documents)
    table = pa.table({"text": pa.chunked_array(arrays)})
    stored = _as_parquet(table)
    return {
        "write Parquet (zstd 1)": _least(repeats, lambda: _as_parquet(table)),
        "read Parquet": _least(repeats, lambda: pq.read_table(io.BytesIO(stored), use_threads=False)),
        "sum of the bytes": _least(repeats, lambda: [int(np.add.reduce(TextBatch(array).utf8, dtype=np.uint64)) for array in arrays]),
        r"RE2, \w+": _least(repeats, lambda: [pc.count_substring_regex(array, r"\w+") for array in arrays]),
        r"Python's re, \w+": _least(repeats, lambda: [len(WORD.findall(text)) for text in documents]),
    }


def _as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def _batches(documents: list[str]) -> list[pa.StringArray]:
    return [pa.array(documents[at : at + BATCH_DOCUMENTS]) for at in range(0, len(documents), BATCH_DOCUMENTS)]


def _least(repeats: int, work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(repeats):
        begin = time.thread_time()
        work()
        best = min(best, time.thread_time() - begin)
    return best


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
    parser.add_argument("--scorers", default=",".join(KERNELS), help=f"all, or some of {', '.join(EVERY)}")
    parser.add_argument("--evaluation_items", type=int, default=10_000, help=f"items, of {ITEM_WORDS} words each, that contamination seeks")
    parser.add_argument("--data", help="a .jsonl.gz file with a field `text`")
    parser.add_argument("--json", metavar="FILE", help="keep the figures")
    options = parser.parse_args(arguments)

    documents = read_documents(options.data, options.documents, options.words)
    names = EVERY if options.scorers == "all" else tuple(options.scorers.split(","))
    settings = make_settings(names, documents, options.evaluation_items)
    begin = time.process_time()
    warm_up(settings)
    warm_up_sec = time.process_time() - begin
    least = measure(documents, settings, options.repeats)
    together = sum(least.values())
    if MASKING in names:
        least[MASKING] = measure_masking(documents, options.repeats)
    floor = measure_floor(documents, options.repeats)

    mean_words = sum(TextBatch.of(documents).words.counts.tolist()) / len(documents)
    mean_bytes = sum(len(text.encode()) for text in documents) / len(documents)
    print(f"$ python -m benchmarks.kernels {' '.join(sys.argv[1:] if arguments is None else arguments)}")
    print(f"{datetime.date.today()}  {_cpu_name()}, {os.cpu_count()} CPUs  Python {platform.python_version()}, numba {numba.__version__}")
    print(f"{len(documents):,} documents, on average {mean_words:.0f} words and {mean_bytes:,.0f} bytes; warm-up {warm_up_sec:.2f} CPU-s\n")
    per_document = {name: seconds / len(documents) * 1e6 for name, seconds in (least | {"all scorers": together} | floor).items()}
    bytes_per_us = {name: mean_bytes / microseconds for name, microseconds in per_document.items() if microseconds}
    for name, microseconds in per_document.items():
        if name in ("all scorers", next(iter(floor))):
            print()
        print(f"  {name:<24}{microseconds:8.1f} us a document{bytes_per_us.get(name, 0):9.0f} MB a CPU-s")
    print(
        f"\n  {1e6 / per_document['all scorers']:,.0f} documents per CPU-s by all scorers; a Python loop: {(loop := time_python_loop()):.1f} ns an iteration"
    )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"us_a_document": per_document, "mean_bytes": mean_bytes, "mean_words": mean_words, "python_loop_ns": loop}, file, indent=1)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
