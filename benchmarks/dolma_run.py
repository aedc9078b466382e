"""The work of benchmarks/peers.py, as near as dolma comes to it: run by the Python of a virtual environment that has it.

    VENV/bin/python benchmarks/dolma_run.py INPUT_DIR OUTPUT_DIR --documents N [--workers 2]

Compressed JSONL ({"id", "text", "source"}, *.jsonl.gz: it reads no other) in, compressed JSONL out: taggers for Gopher's and C4's rules,
equal documents found by a Bloom filter, and its mixer with those rules. It writes no Parquet and finds no near-duplicates, and has none
of FineWeb's rules; the ones below are all that its taggers make numbers for.

    python -m venv VENV && VENV/bin/pip install uv && VENV/bin/uv pip install --python VENV/bin/python dolma
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

EXPERIMENT, DUPLICATES = "exp", "dd"
GOPHER = "gopher_v1"
RULES = (
    *((GOPHER, name, operator, bound) for name, operator, bound in (
        ("word_count", "<", 50), ("word_count", ">", 100_000), ("median_word_length", "<", 3), ("median_word_length", ">", 10),
        ("symbol_to_word_ratio", ">", 0.1), ("fraction_of_words_with_alpha_character", "<", 0.8), ("required_word_count", "<", 2),
        ("fraction_of_lines_starting_with_bullet_point", ">", 0.9), ("fraction_of_lines_ending_with_ellipsis", ">", 0.3),
        ("fraction_of_duplicate_lines", ">", 0.3), ("fraction_of_characters_in_duplicate_lines", ">", 0.2),
        *((f"fraction_of_characters_in_most_common_{n}grams", ">", bound) for n, bound in ((2, 0.20), (3, 0.18), (4, 0.16))),
        *((f"fraction_of_characters_in_duplicate_{n}grams", ">", round(0.2 - n / 100, 2)) for n in range(5, 11)),
    )),
    ("c4_v2", "has_curly_brace", "", 0),
    ("c4_v2", "has_lorem_ipsum", "", 0),
)  # fmt: skip
"""Tagger, number, and the bound whose breach drops a document; no operator: the mark itself does. Bounds are Gopher's and C4's."""


def attribute(tagger: str, name: str) -> str:
    """The name of a number in dolma's attribute files."""
    return f"{EXPERIMENT}__{tagger}__{name}"


def exclusions() -> list[str]:
    """`RULES` and the mark of a duplicate, as the JSON paths of dolma's mixer."""
    paths = []
    for tagger, name, operator, bound in RULES:
        number = f"@.{attribute(tagger, name)}"
        paths.append(f"$.attributes[?({number} && {number}[0] && {number}[0][2] {operator} {bound})]" if operator else f"$.attributes[?({number})]")
    return [*paths, "$.attributes[?(@.duplicate)]"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--documents", type=int, required=True, help="documents in INPUT_DIR: what the Bloom filter is made for")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out = os.path.abspath(arguments.output)
    shutil.rmtree(out, ignore_errors=True)
    folder = f"{out}/src/documents"
    os.makedirs(f"{out}/src")
    # It writes attributes beside the folder of the documents.
    shutil.copytree(arguments.input, folder, copy_function=os.link)
    dolma = os.path.join(os.path.dirname(sys.executable), "dolma")

    def run(*words: object) -> None:
        subprocess.run([dolma, *map(str, words)], env={**os.environ, "NLTK_DATA": out, "COLUMNS": "200"}, check=True)

    documents, workers = f"{folder}/*.gz", arguments.workers
    taggers = [GOPHER, "c4_v2", "whitespace_tokenizer_with_paragraphs_v1"]
    run("tag", "--documents", documents, "--experiment", EXPERIMENT, "--processes", workers, "--taggers", *taggers)
    bloom = ["--bloom_filter.file", f"{out}/bloom.bin", "--no-bloom_filter.read_only", "--bloom_filter.desired_false_positive_rate", "0.0001"]
    bloom += ["--bloom_filter.estimated_doc_count", max(arguments.documents, 1_000)]
    keys = ["--dedupe.name", DUPLICATES, "--dedupe.documents.attribute_name", "duplicate", "--dedupe.documents.key", "$.text"]
    run("dedupe", "--documents", documents, *keys, "--no-dedupe.skip_empty", *bloom, "--processes", workers)
    stream = {
        "name": "peers",
        "documents": [documents],
        "attributes": [EXPERIMENT, DUPLICATES],
        "output": {"path": f"{out}/final", "max_size_in_bytes": 10**9, "discard_fields": ["attributes"]},
        "filter": {"include": [], "exclude": exclusions()},
    }
    with open(f"{out}/mix.json", "w", encoding="utf-8") as file:
        json.dump({"streams": [stream], "processes": workers}, file)
    run("-c", f"{out}/mix.json", "mix")


if __name__ == "__main__":
    main()
