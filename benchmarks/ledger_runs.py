"""What memory costs a whole run: `curate` without a ledger, and with one that is empty, of the run's size and ten times that.

    python -m benchmarks.ledger_runs --scratch FOLDER [--documents 100000] [--data ../shared/data] [--workers 2] [--json FILE]

The documents are those of `benchmarks.growth` (144 words on average, half declared human, half synthetic). One in ten of the synthetic ones was
published by the ledger's first cycle (some of these are copies of others in the run, and lose to them before the ledger is asked); all other rows
of the ledgers are made signatures, half of them human text, so that every lookup is asked, that of fresh human text too. Detector and the
scorers that deciding does not need are left out: their cost is the same with any ledger, and would hide what is measured. Each case is a process
tree of its own; printed are its CPU-seconds, peak memory, what that is more than without a ledger, whether a planted text was published, and
whether `headwater ledger verify` agrees.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.growth import base_texts, make_vocabulary, write_growth_corpus
from benchmarks.ledger import CYCLE_ROWS, commit_rows, fill_ledger
from benchmarks.measure import REPOSITORY, Measured, format_table, measure, report
from classifiers.content import ContentHashScorer
from classifiers.scorers import ScoreSettings
from classifiers.signature import SignatureScorer
from classifiers.text_batch import TextBatch
from pipeline.ledger import open_ledger
from pipeline.ledger_queries import keys_of
from pipeline.ledger_upkeep import verify_ledger

SCORERS = ("size", "gopher_quality", "gopher_repetition", "quality", "language", "content_hash", "signature")
"""What deciding needs, and the usual rules."""
PLANTED_SHARE = 0.1
"""Share of the run's synthetic documents that the ledger's first cycle published."""
ROWS = (0, 1, 10)
"""Rows of the ledgers, in multiples of the run's documents."""
SEED = 1


def planted_rows(corpus: Path, count: int) -> pa.Table:
    """The first `count` synthetic documents of the corpus as an earlier run would have published them."""
    records = list(_first_records(corpus, count))
    batch = TextBatch(pa.array([record["text"] for record in records], pa.string()))
    settings = ScoreSettings(scorers=SCORERS)
    signed = SignatureScorer(settings.bands, settings.rows_per_band, settings.shingle_words, settings.signature_seed).score(batch)
    return pa.table(
        {
            "id": pa.array([f"earlier-{record['id']}" for record in records]),
            "origin": pa.repeat("synthetic", len(records)),
            "source": pa.repeat("benchmark", len(records)),
            "content_hash": ContentHashScorer().score(batch)["content_hash"],
            "signature": signed["signature"],
        }
    )


def make_ledger(ledger: Path, corpus: Path, documents: int, times: int) -> None:
    """A ledger of `times` times the run's rows, half synthetic and half human, with the planted ones among the synthetic."""
    keys = keys_of(ScoreSettings(scorers=SCORERS))
    open_ledger(str(ledger), keys)
    if times:
        planted = planted_rows(corpus, round(PLANTED_SHARE * documents / 2))
        commit_rows(ledger, keys, planted, "planted", "planted")
        fill_ledger(ledger, times * documents // 2 - planted.num_rows, "synthetic", keys)
        fill_ledger(ledger, times * documents // 2, "human", keys)


def run_case(corpus: Path, output: Path, ledger: Path | None, workers: int, planted: set[str]) -> tuple[Measured, int, int]:
    """One `curate`: its figures, the documents that it turned down as reused, and those of `planted` that it published."""
    shutil.rmtree(output, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "curate",
        f"--human=human={corpus}/human-*.jsonl",
        f"--synthetic=synthetic={corpus}/synthetic-*.jsonl",
    ]
    command += [f"--output={output}", "--human_quota=0", f"--set=score.scorers={json.dumps(SCORERS)}", f"--workers={workers}", "--progress=none"]
    command += [f"--ledger={ledger}", "--cycle=now"] if ledger else []
    measured = measure(command, cwd=REPOSITORY, log=f"{output}.log")
    manifest = json.loads((output / "manifest.json").read_text())
    published = {name for path in (output / "data").glob("*.parquet") for name in pq.read_table(path, columns=["id"])["id"].to_pylist()}
    return measured, manifest["cycle"]["reuse_prevented"] if ledger else 0, len(published & planted)


def _first_records(corpus: Path, count: int) -> Iterator[dict]:
    for path in sorted(corpus.glob("synthetic-*.jsonl")):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                if not count:
                    return
                count -= 1
                yield json.loads(line)


def main(arguments: list[str] | None = None) -> int:
    """Runs every case and prints the table; 1 if planted text got through or a ledger does not agree with its dataset."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ledger_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=CYCLE_ROWS)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    corpus = options.scratch / "corpus"
    write_growth_corpus(corpus, make_vocabulary(base_texts(options.data, SEED)), options.documents, seed=SEED)
    planted = {record["id"] for record in _first_records(corpus, round(PLANTED_SHARE * options.documents / 2))}
    rows, found, wrong, base = [], [], 0, None
    for times in (None, *ROWS):
        ledger = None if times is None else options.scratch / f"ledger-{times}"
        if ledger:
            shutil.rmtree(ledger, ignore_errors=True)
            make_ledger(ledger, corpus, options.documents, times)
        output = options.scratch / "out"
        measured, reused, through = run_case(corpus, output, ledger, options.workers, planted)
        base = base or measured
        faults = verify_ledger(str(ledger), [str(output)]) if ledger else []
        wrong += len(faults) + (through if times else 0)
        name = "none" if times is None else f"{times * options.documents:,} rows"
        more = f"{measured.cpu_s - base.cpu_s:+.1f} ({measured.cpu_s / base.cpu_s - 1:+.1%})" if ledger else ""
        memory = [f"{value / 1e6:,.0f}" for value in (measured.peak_rss_bytes, measured.peak_pss_bytes or 0)]
        rows.append(
            [
                name,
                f"{measured.cpu_s:.1f}",
                more,
                *memory,
                f"{reused:,}" if times else "",
                f"{through:,} of {len(planted):,}" if times else "",
                "" if ledger is None else len(faults),
            ]
        )
        found.append({"ledger": name, "reused": reused, "faults": faults, **asdict(measured)})
        print(
            f"ledger {name}: {measured.cpu_s:.1f} CPU-s, {reused:,} reused, {through:,} of {len(planted):,} planted published, {len(faults)} faults",
            flush=True,
        )
        if ledger:
            shutil.rmtree(ledger)
    heading = (
        "ledger",
        "CPU-s",
        "more than without",
        "peak RSS, MB",
        "peak PSS, MB",
        "turned down as reused",
        "planted and published",
        "faults of verify",
    )
    results = {"documents": options.documents, "cases": found}
    report("Cost of memory", results, [format_table(heading, rows)], options.json)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
