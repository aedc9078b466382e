"""What deduplication costs with everything switched on but semantic search, at 100,000 and 1,000,000 documents, beside the default recipe.

    python -m benchmarks.every_dedup --scratch FOLDER [--sizes 100000 1000000] [--runs default every] [--data ../shared/data] [--json FILE]

The corpus is that of `benchmarks.growth` (short real documents, 40 % of their words drawn anew; 1 % exact and 3 % near copies), and gives every kind of
deduplication work in proportion to its size, and keys that a share of all documents has, so that these grow hot with it:

* a `url` of its own; every 50th has that of the document before, written differently (key dedup by `url:normalised`);
* a `prompt`, one for every 20 documents that follow one another, and one that every 40th document of all has (`--cap prompt=5`);
* every 10th ends in one and the same line; every 30th consists mostly of the lines of one of 20 boilerplate texts (`--max_repeated_line_share 0.5`);
* every 200th quotes 30 words of one of 1,000 items of an evaluation set (`--decontaminate`);
* clusters of near-duplicates keep two (`--cap near_cluster=2`).

`default` is the default recipe alone, `every` the same with these flags. Both: `curate`, two workers, no quota, disputed text kept. The cost of starting is measured
for each on 100 documents, the median of three. The table says what each stage rejected, so that one sees that all of them worked.
"""

import argparse
import shutil
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson

from benchmarks.growth import FILE_DOCUMENTS, STARTUP_DOCUMENTS, Vocabulary, base_texts, make_vocabulary, scrambled_texts
from benchmarks.measure import REPOSITORY, Measured, format_table, gigabytes, measure, report

PROMPT_DOCUMENTS, PROMPT_CAP = 20, 5
"""Documents that follow one another with one prompt, and how many of these are kept."""
HOT_PROMPT_EVERY, HOT_LINE_EVERY, BOILERPLATE_EVERY, QUOTE_EVERY, URL_EVERY = 40, 10, 30, 200, 50
"""One document in so many has the hot prompt, the hot line, boilerplate, a quotation, the address of the one before."""
BOILERPLATES, BOILERPLATE_LINES, EVALUATION_ITEMS, QUOTED_WORDS = 20, 8, 1_000, 30
MAX_LINE_SHARE = 0.5
STARTUP_REPEATS = 3
RUNS = ("default", "every")


def plant(number: int, text: str, boilerplates: list[list[str]], items: list[str]) -> dict:
    """The record of document `number`: its text with what is planted there, its address and its prompt."""
    if number % BOILERPLATE_EVERY == 7:
        text = "\n".join([text[: len(text) // 4], *boilerplates[number // BOILERPLATE_EVERY % BOILERPLATES]])
    if number % HOT_LINE_EVERY == 3:
        text += "\nSign up for our weekly letter and never miss a thing."
    if number % QUOTE_EVERY == 11:
        words = items[number // QUOTE_EVERY % len(items)].split()
        text += "\n" + " ".join(words[:QUOTED_WORDS])
    copies_url = number % URL_EVERY == 21
    page = number - copies_url
    url = f"https://site-{page % 977}.example/page/{page}"
    prompt = "Write something." if number % HOT_PROMPT_EVERY == 13 else f"Write about subject {number // PROMPT_DOCUMENTS}."
    return {
        "id": f"{number:09d}",
        "text": text,
        "url": url.replace("https://", "http://www.") + "/?utm_source=x" if copies_url else url,
        "prompt": prompt,
    }


def write_corpus(folder: Path, vocabulary: Vocabulary, count: int, *, seed: int) -> None:
    """Writes `count` documents as `human-*.jsonl` and `synthetic-*.jsonl`, and the evaluation set as `evaluation.jsonl`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed + 1)
    draw = lambda words: " ".join(vocabulary.words[vocabulary.occurrences[rng.integers(len(vocabulary.occurrences), size=words)]]).replace("\n", " ")  # noqa: E731
    boilerplates = [[draw(16) for _ in range(BOILERPLATE_LINES)] for _ in range(BOILERPLATES)]
    items = [draw(2 * QUOTED_WORDS) for _ in range(EVALUATION_ITEMS)]
    (folder / "evaluation.jsonl").write_bytes(b"".join(orjson.dumps({"id": f"q{place}", "text": item}) + b"\n" for place, item in enumerate(items)))
    files = {}
    for number, text in enumerate(scrambled_texts(vocabulary, count, seed=seed)):
        # By blocks of 16, so that the copy of a document usually has its origin.
        name = f"{('human', 'synthetic')[number // 16 % 2]}-{number // FILE_DOCUMENTS:04d}.jsonl"
        if name not in files:
            files[name] = open(folder / name, "wb", buffering=1 << 20)  # noqa: SIM115
        files[name].write(orjson.dumps(plant(number, text, boilerplates, items)) + b"\n")
    for file in files.values():
        file.close()


def run_curate(run: str, corpus: Path, out: Path, workers: int) -> tuple[Measured, Counter]:
    """One `curate`, and how many documents each stage rejected."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "curate"]
    command += ["--human", f"human={corpus}/human-*.jsonl", "--synthetic", f"synthetic={corpus}/synthetic-*.jsonl"]
    command += ["--human_quota", "0", "--reject_disputed", "false", "--workers", workers, "--progress", "none", "--output", out]
    if run == "every":
        command += ["--dedup_key", "url:normalised", "--max_repeated_line_share", MAX_LINE_SHARE, "--cap", f"prompt={PROMPT_CAP}"]
        command += ["--cap", "near_cluster=2", "--decontaminate", f"evaluation={corpus}/evaluation.jsonl"]
    measured = measure(command, cwd=REPOSITORY, log=out.with_suffix(".log"))
    rejected = Counter()
    for book in (book for account in orjson.loads((out / "manifest.json").read_bytes())["accounts"] for book in account["rejected"]):
        rejected[book["stage"]] += book["documents"]
    shutil.rmtree(out)
    return measured, rejected


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures every kind of deduplication but the semantic one at growing sizes.")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for corpora and outputs (about 6 GB for 1,000,000 documents)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="documents in each run")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="default recipe, every deduplication, or both (default)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the labelled sets (default: ../shared/data)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the corpus (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    scratch = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    vocabulary = make_vocabulary(base_texts(arguments.data, arguments.seed))
    corpus, out = scratch / "every_dedup_corpus", scratch / "every_dedup_out"
    rows, results, stages = [], {}, []
    startup = {}
    for size in [STARTUP_DOCUMENTS, *sorted(arguments.sizes)]:
        write_corpus(corpus, vocabulary, size, seed=arguments.seed)
        for run in arguments.runs:
            if size == STARTUP_DOCUMENTS:
                # The first run compiles what no run before it needed, and does not count.
                runs = [run_curate(run, corpus, out, arguments.workers)[0].cpu_s for _ in range(1 + STARTUP_REPEATS)]
                startup[run] = sorted(runs[1:])[STARTUP_REPEATS // 2]
                continue
            measured, rejected = run_curate(run, corpus, out, arguments.workers)
            net = (measured.cpu_s - startup[run]) / (size - STARTUP_DOCUMENTS)
            results[f"{run} {size}"] = {**asdict(measured), "startup_cpu_s": startup[run], "cpu_s_per_document_net": net, "rejected": rejected}
            cells = [f"{size:,}", run, f"{measured.cpu_s:.1f}", f"{1e6 * measured.cpu_s / size:,.0f}", f"{startup[run]:.1f}", f"{1e6 * net:,.0f}"]
            rows.append([*cells, f"{measured.wall_s:.0f}", gigabytes(measured.peak_rss_bytes), gigabytes(measured.peak_pss_bytes)])
            stages.append(f"{size:,} documents, {run}: " + ", ".join(f"{stage} {count:,}" for stage, count in sorted(rejected.items())))
            print(f"{stages[-1]}; {measured.cpu_s:.1f} CPU-s", file=sys.stderr, flush=True)
    header = ["documents", "run", "CPU-s", "us of CPU a document", "start-up, CPU-s", "us net of it", "wall s", "peak RSS", "peak PSS"]
    report("Every deduplication but the semantic one", results, [format_table(header, rows), "", *stages], arguments.json)


if __name__ == "__main__":
    main()
