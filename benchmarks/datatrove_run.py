"""The work of benchmarks/peers.py, done by datatrove: run by the Python of a virtual environment that has it.

    VENV/bin/python benchmarks/datatrove_run.py INPUT_DIR OUTPUT_DIR [--filters equal|all] [--workers 2]

JSONL ({"id", "text"}) in, Parquet out: Gopher repetition, Gopher quality, MinHash of word 5-grams (14 bands x 8 rows), each with
datatrove's defaults. `--filters all` adds C4 (without the rule on terminal punctuation) and FineWeb quality, as FineWeb ran it.

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]" spacy
"""

import argparse
import json
import os
import shutil
import time

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter, ParquetWriter
from datatrove.utils.hashing import HashConfig

BANDS, ROWS_PER_BAND, SHINGLE_WORDS = 14, 8, 5


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--filters", choices=("equal", "all"), default="equal")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out, seconds = arguments.output, {}
    shutil.rmtree(out, ignore_errors=True)
    tasks = len([name for name in os.listdir(arguments.input) if name.endswith(".jsonl")])

    def run(name, pipeline, tasks):
        begin = time.perf_counter()
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=min(arguments.workers, tasks), logging_dir=f"{out}/logs/{name}").run()
        seconds[name] = round(time.perf_counter() - begin, 2)

    def removed(name):
        return JsonlWriter(f"{out}/removed/{name}", compression=None)

    filters = [GopherRepetitionFilter(exclusion_writer=removed("gopher_repetition")), GopherQualityFilter(exclusion_writer=removed("gopher_quality"))]
    if arguments.filters == "all":
        filters += [
            C4QualityFilter(filter_no_terminal_punct=False, exclusion_writer=removed("c4")),
            FineWebQualityFilter(exclusion_writer=removed("fineweb")),
        ]
    config = MinhashConfig(n_grams=SHINGLE_WORDS, num_buckets=BANDS, hashes_per_bucket=ROWS_PER_BAND, hash_config=HashConfig(precision=64))
    filtered, signatures, buckets, remove = (f"{out}/{name}" for name in ("filtered", "signatures", "buckets", "remove"))
    run("filter", [JsonlReader(arguments.input), *filters, JsonlWriter(filtered, compression=None)], tasks)
    run("signatures", [JsonlReader(filtered), MinhashDedupSignature(signatures, config=config)], tasks)
    run("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], BANDS)
    run("clusters", [MinhashDedupCluster(buckets, remove, config=config)], 1)
    last = [JsonlReader(filtered), MinhashDedupFilter(remove, exclusion_writer=removed("minhash")), ParquetWriter(f"{out}/final")]
    run("write", last, tasks)
    print(json.dumps({"stage_seconds": seconds}))


if __name__ == "__main__":
    main()
