"""Headwater's heuristic filters against datatrove's own, document by document: same verdict, same first reason?

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]" spacy
    python -m benchmarks.parity --datatrove_venv VENV --scratch FOLDER [--data ../shared/data] [--documents 200] [--words datatrove|headwater]

Takes `--documents` documents of every set, spread over it (fewer of sets of books), has datatrove judge them in its own Python
(benchmarks/parity_datatrove.py) with its four filters as FineWeb ran them, and judges them here by the scores of this repository and
the bounds of `FILTERS`, in datatrove's order, which is that of the default recipe. Prints, for each filter and for all in a row, how many documents
have the same verdict and the same first reason, and every pair of reasons that differ. With `--words headwater` it shows what the
default word splitter changes.
"""

import argparse
import collections
import datetime
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from classifiers.c4_rules import C4Scorer, keep_c4_lines
from classifiers.datatrove_words import words_of
from classifiers.fineweb_rules import FineWebScorer, count_lines
from classifiers.gopher_quality import GopherQualityScorer
from classifiers.gopher_repetition import GopherRepetitionScorer
from classifiers.labelled_text import find_set, read_records
from classifiers.splitters import DATATROVE, SPLITTERS
from classifiers.text_batch import TextBatch

SETS = (
    "human_enwiki_2021", "human_blogs_2004", "human_imdb_2011", "human_reuters21578_1987", "human_nltk_small", "human_rfc_pre2020",
    "human_zhwiki_2023", "human_kowiki_2023", "alpacaeval_machine", "l2r21", "raidar", "detectrl", "outfox", "tweepfake",
    "quality_hplt2_annot", "quality_boilerplate", "quality_turku_lines", "quality_spamassassin_2003", "dedup_minhash_news2500",
)  # fmt: skip
MAX_SET_BYTES = 4_000_000
"""Text taken of a set, at most: a set of books counts by its size."""
GOAL = 0.995
"""Share of documents that must have datatrove's verdict and first reason."""

Bound = tuple[str, float, float, str]
"""Column, smallest and largest value kept, datatrove's reason."""
NO_LIMIT = float("inf")
FILTERS: dict[str, tuple[Bound, ...]] = {
    "gopher_repetition": (
        ("duplicate_paragraph_share", 0, 0.3, "dup_para_frac"),
        ("duplicate_paragraph_char_share", 0, 0.2, "dup_para_char_frac"),
        ("duplicate_line_share", 0, 0.3, "dup_line_frac"),
        ("duplicate_line_char_share", 0, 0.2, "dup_line_char_frac"),
        *((f"top_{n}gram_char_share", 0, most, f"top_{n}_gram") for n, most in ((2, 0.2), (3, 0.18), (4, 0.16))),
        *((f"duplicate_{n}gram_char_share", 0, 0.2 - n / 100, f"duplicated_{n}_n_grams") for n in range(5, 11)),
    ),
    "gopher_quality": (
        ("words", 50, NO_LIMIT, "gopher_short_doc"),
        ("words", 0, 100_000, "gopher_long_doc"),
        ("mean_word_chars", 3, NO_LIMIT, "gopher_below_avg_threshold"),
        ("mean_word_chars", 0, 10, "gopher_above_avg_threshold"),
        ("hash_word_share", 0, 0.1, "gopher_too_many_hashes"),
        ("ellipsis_word_share", 0, 0.1, "gopher_too_many_ellipsis"),
        ("bullet_line_share", 0, 0.9, "gopher_too_many_bullets"),
        ("ellipsis_line_share", 0, 0.3, "gopher_too_many_end_ellipsis"),
        ("alpha_word_share", 0.8, NO_LIMIT, "gopher_below_alpha_threshold"),
        ("stop_words", 2, NO_LIMIT, "gopher_enough_stop_words"),
    ),
    "c4": (
        ("c4_lorem_ipsum_lines", 0, 0, "lorem_ipsum"),
        ("c4_curly_bracket_lines", 0, 0, "curly_bracket"),
        ("c4_sentences", 5, NO_LIMIT, "too_few_sentences"),
    ),
    "fineweb": (
        ("full_lines", 1, NO_LIMIT, "empty"),
        ("fineweb_punctuated_line_share", 0.12, NO_LIMIT, "line_punct_ratio"),
        ("fineweb_short_line_share", 0, 0.67, "short_line_ratio"),
        ("fineweb_duplicate_line_char_share", 0, 0.01, "char_dup_ratio"),
        ("fineweb_newlines_per_word", 0, 0.3, "list_ratio"),
    ),
}
"""datatrove's filters with its default bounds, each in the order in which it looks."""


def judge_texts(texts: list[str], words: str) -> dict[str, list[str]]:
    """For each filter of `FILTERS` and for `pipeline` (all in a row, FineWeb's on what C4 leaves): the first reason of each text, or ""."""
    array = pa.array(texts, pa.string())
    reasons = {name: _first_reasons(name, TextBatch(array), words) for name in FILTERS}
    cleaned = _first_reasons("fineweb", TextBatch(keep_c4_lines(array, words)), words)
    row = [*(reasons[name] for name in FILTERS if name != "fineweb"), cleaned]
    names = [*(name for name in FILTERS if name != "fineweb"), "fineweb"]
    first = (next(((name, one) for name, one in zip(names, ones, strict=True) if one), None) for ones in zip(*row, strict=True))
    return {**reasons, "pipeline": ["/".join(found) if found else "" for found in first]}


def _first_reasons(name: str, batch: TextBatch, words: str) -> list[str]:
    scorers = {"gopher_repetition": GopherRepetitionScorer, "gopher_quality": GopherQualityScorer, "c4": C4Scorer, "fineweb": FineWebScorer}
    columns = dict(scorers[name](words).score(batch))
    columns["words"] = pa.array(words_of(batch, words).counts)
    if name == "fineweb":
        columns["full_lines"] = pa.array(count_lines(batch)[:, 0])
    reasons = np.full(len(batch), "", object)
    for column, least, most, reason in FILTERS[name]:
        values = columns[column].cast(pa.float64()).to_numpy(zero_copy_only=False)
        # Shares are float32: a bound is compared as such, or a share that equals it would break it.
        as_kept = np.float32 if pa.types.is_floating(columns[column].type) else np.float64
        broken = (values < as_kept(least)) | (values > as_kept(most))
        reasons[(reasons == "") & broken] = reason
    return reasons.tolist()


def sample(folder: str, set_name: str, num_documents: int) -> list[str]:
    """At most `num_documents` texts of a set, spread evenly over it, of `MAX_SET_BYTES` together."""
    texts = [record["text"] for record in read_records(find_set(folder, set_name)) if record["text"]]
    taken, size = [], 0
    for text in texts[:: max(1, len(texts) // num_documents)][:num_documents]:
        size += len(text.encode())
        if size > MAX_SET_BYTES:
            break
        taken.append(text)
    return taken


def main(arguments: list[str] | None = None) -> int:
    """Compares, prints, and returns 1 if a filter agrees on fewer documents than `GOAL`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datatrove_venv", required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--words", choices=SPLITTERS, default=DATATROVE)
    options = parser.parse_args(arguments)
    scratch = Path(options.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    documents, verdicts = scratch / "documents.jsonl", scratch / "verdicts.jsonl"
    texts, set_of = [], []
    for name in SETS:
        taken = sample(options.data, name, options.documents)
        texts += taken
        set_of += [name] * len(taken)
    lines = "".join(json.dumps({"id": str(index), "text": text}) + "\n" for index, text in enumerate(texts))
    if not (verdicts.exists() and documents.exists() and documents.read_text("utf-8") == lines):
        documents.write_text(lines, "utf-8")
        script = Path(__file__).with_name("parity_datatrove.py")
        command = [f"{options.datatrove_venv}/bin/python", script, "verdicts", documents.resolve(), verdicts.resolve()]
        subprocess.run(command, check=True, cwd=scratch)
    theirs = [json.loads(line) for line in verdicts.read_text("utf-8").splitlines()]
    parts = [judge_texts(texts[at : at + 1000], options.words) for at in range(0, len(texts), 1000)]
    ours = {name: [reason for part in parts for reason in part[name]] for name in parts[0]}
    print(f"$ python -m benchmarks.parity {' '.join(sys.argv[1:] if arguments is None else arguments)}")
    print(f"{datetime.date.today()}  {len(texts):,} documents of {len(SETS)} sets, words = {options.words}\n")
    print("| filter | dropped by datatrove | same verdict | same verdict and first reason |\n|---|---|---|---|")
    worst, differing = 1.0, collections.Counter()
    for name, reasons in ours.items():
        pairs = [(record[name], reason, place) for record, reason, place in zip(theirs, reasons, set_of, strict=True)]
        verdict = sum(bool(one) == bool(other) for one, other, _ in pairs) / len(pairs)
        same = sum(one == other for one, other, _ in pairs) / len(pairs)
        worst = min(worst, same)
        print(f"| {name} | {sum(bool(one) for one, _, _ in pairs):,} | {verdict:.3%} | {same:.3%} |")
        differing.update((name, one or "kept", other or "kept", place) for one, other, place in pairs if one != other)
    print("\n| filter | datatrove says | Headwater says | set | documents |\n|---|---|---|---|---|")
    for (name, one, other, place), count in sorted(differing.items()):
        print(f"| {name} | {one} | {other} | {place} | {count} |")
    return int(options.words == DATATROVE and worst < GOAL)


if __name__ == "__main__":
    sys.exit(main())
