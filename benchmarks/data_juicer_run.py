"""The work of benchmarks/peers.py, as near as data-juicer comes to it: run by the Python of a virtual environment that has it.

    VENV/bin/python benchmarks/data_juicer_run.py INPUT_DIR OUTPUT_DIR [--workers 2]

JSONL ({"id", "text"}) in, Parquet out: those of its filters that need no download, with bounds like Gopher's, and MinHash of word 5-grams
(14 bands x 8 rows). It has neither C4's nor FineWeb's rules; its filters on stop words, flagged words and language fetch their tables
from the network and are left out. The ids that reach deduplication go to `OUTPUT_DIR/reached.json`.

    python -m venv VENV && VENV/bin/pip install py-data-juicer aiohttp
    # what else it lacks (torch, ray) it installs by itself in its first run
"""

import argparse
import json
import os
import shutil
import sys

BANDS, ROWS_PER_BAND, SHINGLE_WORDS = 14, 8, 5
FILTERS = """\
  - words_num_filter: {min_num: 50, max_num: 100000}
  - alphanumeric_filter: {tokenization: false, min_ratio: 0.6, max_ratio: 1.0}
  - special_characters_filter: {min_ratio: 0.0, max_ratio: 0.25}
  - average_line_length_filter: {min_len: 10, max_len: 1000000}
  - maximum_line_length_filter: {min_len: 10, max_len: 1000000}
  - character_repetition_filter: {rep_len: 10, min_ratio: 0.0, max_ratio: 0.2}
  - word_repetition_filter: {lang: en, tokenization: false, rep_len: 10, min_ratio: 0.0, max_ratio: 0.2}
"""
"""Each with the bounds of the nearest rule of Gopher's, or data-juicer's own."""


def write_config(inp: str, out: str, workers: int) -> str:
    """The configuration file of data-juicer; its path."""
    path = f"{out}/config.yaml"
    deduplicate = f"tokenization: space, window_size: {SHINGLE_WORDS}, lowercase: true, num_permutations: {BANDS * ROWS_PER_BAND}"
    deduplicate += f", num_bands: {BANDS}, num_rows_per_band: {ROWS_PER_BAND}, jaccard_threshold: 0.7"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"project_name: peers\ndataset_path: {inp}\nexport_path: {out}/final.parquet\nnp: {workers}\n")
        file.write("use_cache: false\nopen_monitor: false\nopen_tracer: false\ntext_keys: text\nprocess:\n")
        file.write(f"{FILTERS}  - document_minhash_deduplicator: {{{deduplicate}}}\n")
    return path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out = os.path.abspath(arguments.output)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    sys.argv = ["dj-process", "--config", write_config(os.path.abspath(arguments.input), out, arguments.workers)]

    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
    from data_juicer.tools.process_data import main as process_data

    process = DocumentMinhashDeduplicator.process

    def process_and_note(self, dataset, *rest, **named):
        # Nothing else tells what its filters let pass: they leave neither a file nor a reason.
        with open(f"{out}/reached.json", "w", encoding="utf-8") as file:
            json.dump(list(dataset["id"]), file)
        return process(self, dataset, *rest, **named)

    DocumentMinhashDeduplicator.process = process_and_note
    process_data()


if __name__ == "__main__":
    main()
