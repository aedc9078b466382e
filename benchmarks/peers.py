"""Headwater and datatrove, side by side: the same work on the same corpus with the same number of workers.

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]" spacy
    python -m benchmarks.peers --datatrove_venv VENV --scratch FOLDER [--data ../shared/data] [--json FILE]

The work: Gopher quality and repetition filters, deduplication by MinHash of word 5-grams (14 bands x 8 rows), Parquet, two
workers. The corpus is that of benchmarks/corpus.py, with its planted copies. Headwater runs with benchmarks/peers_recipe.toml
(language and AI-text detection off) and no quota; datatrove with its defaults (benchmarks/datatrove_run.py; `--also_full` adds a
run with its C4 and FineWeb filters, the pipeline that FineWeb ran). Both run first on 100 documents, unmeasured, so that neither
compiles anything in a measured run, and again, measured: their start-up cost. Headwater is measured before and after its peer, and
the dearer of the two counts: what a CPU-second buys drifts on a shared machine.

CPU is that of whole process trees (benchmarks/measure.py). A planted pair counts for recall if both its documents reached
deduplication, and is found if at least one of them was removed there; intervals are Wilson's at 95 %. Of the near-duplicates that
Headwater removed, the true similarity to the partner it names says how many deserved it; datatrove names no partner.

One filter differs on purpose: datatrove counts punctuation marks as words where at least 80 % of the words must hold a letter, and
so drops a good tenth of ordinary prose; Headwater counts words, as the paper does. The report counts the difference.
"""

import argparse
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.corpus import Pair, add_corpus_arguments, build_corpus, jaccard, read_jsonl, read_planted
from benchmarks.measure import REPOSITORY, Measured, format_table, gigabytes, measure, report

STARTUP_DOCUMENTS = 100
"""Documents of the run that shows what a run costs before it does anything."""
DESERVED_SIMILARITY = 0.6
"""True similarity to its partner from which a removed near-duplicate counts as rightly removed."""
SIMILARITY_STEP = 0.05
"""Width of the similarity bins that recall is broken down by."""
FILTER_FOLDERS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""What benchmarks/datatrove_run.py removes before deduplication, folder by folder."""
DUPLICATE_STAGES = ("exact_duplicates", "near_duplicates")


@dataclass(frozen=True)
class Outcome:
    """What a tool made of the corpus, by id."""

    reached: frozenset[str]
    """Documents that passed the filters and so reached deduplication."""
    kept: frozenset[str]
    """Documents in the output."""
    filtered: Mapping[str, str]
    """Why each document did not reach deduplication."""


@dataclass(frozen=True)
class Recall:
    """Planted pairs that a tool found."""

    found: int
    """Pairs of which at least one document was removed as a duplicate."""
    pairs: int
    """Pairs of which both documents reached deduplication."""

    @property
    def share(self) -> float:
        """`found / pairs`; nan if no pair reached deduplication."""
        return self.found / self.pairs if self.pairs else math.nan

    def __str__(self) -> str:
        low, high = wilson_interval(self.found, self.pairs)
        return f"{self.share:.2%} ({self.found} of {self.pairs}; {low:.1%} to {high:.1%})"


def measure_recall(pairs: Iterable[Pair], outcome: Outcome) -> Recall:
    """Of `pairs` whose two documents reached deduplication, those of which one or both were removed there."""
    both = [pair for pair in pairs if {pair.original, pair.copy} <= outcome.reached]
    return Recall(sum(not {pair.original, pair.copy} <= outcome.kept for pair in both), len(both))


def recall_by_similarity(pairs: Iterable[Pair], outcomes: Mapping[str, Outcome]) -> list[list[str]]:
    """A row for each bin of true similarity that holds planted pairs: the bin, and each tool's recall in it."""
    bins: dict[int, list[Pair]] = {}
    for pair in pairs:
        bins.setdefault(math.floor(pair.similarity / SIMILARITY_STEP + 1e-9), []).append(pair)
    rows = []
    for place, held in sorted(bins.items()):
        recalls = [measure_recall(held, outcome) for outcome in outcomes.values()]
        cells = [f"{recall.share:.1%} of {recall.pairs}" if recall.pairs else "-" for recall in recalls]
        rows.append([f"{place * SIMILARITY_STEP:.2f} to {(place + 1) * SIMILARITY_STEP:.2f}", *cells])
    return rows


def explain_difference(one: Outcome, other: Outcome, max_reasons: int = 3) -> str:
    """The commonest reasons why `other` filtered out what `one` let pass."""
    reasons = Counter(other.filtered.get(name, "unknown") for name in one.reached - other.reached)
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common(max_reasons)) or "nothing"


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share, 95 % by default; (0, 1) without trials. *Source:* Wilson 1927, JASA 22, 209-212."""
    if not trials:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    half = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, (share + spread / 2 - half) / (1 + spread)), min(1.0, (share + spread / 2 + half) / (1 + spread))


def run_headwater(docs: Path, out: Path, log: Path, workers: int) -> Measured:
    """Curates `docs` into `out`."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline", "curate", "--unlabelled", f"corpus={docs}/*.jsonl", "--human_quota", "0"]
    command += ["--recipe", REPOSITORY / "benchmarks" / "peers_recipe.toml", "--workers", workers, "--progress", "none", "--output", out]
    return measure(command, cwd=REPOSITORY, log=log)


def read_headwater(out: Path, everything: frozenset[str]) -> Outcome:
    """What Headwater published, and what it rejected before deduplication."""
    rejected = ds.dataset(out / "rejected", format="parquet").to_table(["id", "stage", "reason"]).to_pylist()
    early = {row["id"]: row["reason"] for row in rejected if row["stage"] not in DUPLICATE_STAGES}
    kept = ds.dataset(out / "data", format="parquet").to_table(["id"])["id"].to_pylist()
    return Outcome(everything - early.keys(), frozenset(kept), early)


def run_datatrove(venv: Path, filters: str) -> Callable[[Path, Path, Path, int], Measured]:
    """The function that runs datatrove with `filters` (equal, all)."""

    def run(docs: Path, out: Path, log: Path, workers: int) -> Measured:
        command = [venv / "bin" / "python", REPOSITORY / "benchmarks" / "datatrove_run.py", docs, out, "--filters", filters, "--workers", workers]
        return measure(command, log=log)

    return run


def read_datatrove(out: Path, everything: frozenset[str]) -> Outcome:
    """What datatrove wrote after its filters and at the end."""
    reached = {record["id"] for path in (out / "filtered").glob("*.jsonl") for record in read_jsonl(path)}
    kept = {name for path in (out / "final").glob("*.parquet") for name in pq.read_table(path, columns=["id"])["id"].to_pylist()}
    removed = [record for folder in FILTER_FOLDERS for path in (out / "removed" / folder).glob("*.jsonl") for record in read_jsonl(path)]
    return Outcome(frozenset(reached & everything), frozenset(kept), {record["id"]: record["metadata"]["filter_reason"] for record in removed})


def partner_similarities(out: Path, texts: dict[str, str]) -> np.ndarray:
    """True similarity of every removed near-duplicate to the partner that Headwater names, sorted."""
    rows = ds.dataset(out / "rejected", format="parquet").to_table(["id", "stage", "partner_id"]).to_pylist()
    return np.sort([jaccard(texts[row["id"]], texts[row["partner_id"]]) for row in rows if row["stage"] == "near_duplicates"])


def take_documents(docs: Path, folder: Path, count: int) -> Path:
    """The first `count` documents of `docs`, as two files in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(docs.glob("*.jsonl"))[:2]):
        lines = path.read_bytes().splitlines(keepends=True)[: count // 2]
        (folder / f"{number}.jsonl").write_bytes(b"".join(lines))
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compares Headwater with datatrove: CPU, memory, planted duplicates found.")
    parser.add_argument("--datatrove_venv", type=Path, required=True, help='virtual environment with "datatrove[io,processing]" and spacy')
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the corpus, the outputs and the logs (about 1 GB)")
    parser.add_argument("--workers", type=int, default=2, help="processes that each tool works with (default: 2)")
    parser.add_argument("--also_full", action="store_true", help="run datatrove a second time, with its C4 and FineWeb filters")
    parser.add_argument(
        "--reuse_datatrove",
        action="store_true",
        help="take datatrove's figures from an earlier run with the same --scratch and corpus (a quick look only: the machine's speed drifts)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    add_corpus_arguments(parser)
    arguments = parser.parse_args()
    scratch: Path = arguments.scratch
    chosen = {name: getattr(arguments, name) for name in ("documents", "exact", "near", "shards", "seed", "rate")}
    corpus = scratch / "corpus"
    made = build_corpus(arguments.data, corpus, **chosen)
    planted, texts = read_planted(corpus), {r["id"]: r["text"] for path in (corpus / "docs").glob("*.jsonl") for r in read_jsonl(path)}
    few = take_documents(corpus / "docs", scratch / "few", STARTUP_DOCUMENTS)

    tools = {"Headwater": (run_headwater, read_headwater), "datatrove": (run_datatrove(arguments.datatrove_venv, "equal"), read_datatrove)}
    if arguments.also_full:
        tools["datatrove, all filters"] = (run_datatrove(arguments.datatrove_venv, "all"), read_datatrove)
    figures = {name: _measure_tool(name, run, corpus, few, made, arguments) for name, (run, _) in tools.items()}
    again = _measure_tool("Headwater", run_headwater, corpus, few, made, arguments)
    figures["Headwater"] = max(figures["Headwater"], again, key=lambda pair: pair[1].cpu_s)
    results, outcomes, rows = {}, {}, []
    for name, (_, read) in tools.items():
        (startup, whole), out = figures[name], scratch / f"{_slug(name)}_out"
        outcome = outcomes[name] = read(out, frozenset(texts))
        recalls = {kind: measure_recall(getattr(planted, kind), outcome) for kind in ("exact", "near")}
        rate, net = len(texts) / whole.cpu_s, (len(texts) - STARTUP_DOCUMENTS) / (whole.cpu_s - startup.cpu_s)
        results[name] = {
            "run": asdict(whole),
            "startup": asdict(startup),
            "documents_per_cpu_s": rate,
            "documents_per_cpu_s_net_of_startup": net,
            "reached_deduplication": len(outcome.reached),
            "kept": len(outcome.kept),
            "recall": {kind: {"found": recall.found, "pairs": recall.pairs} for kind, recall in recalls.items()},
        }
        cells = [f"{whole.cpu_s:.1f}", f"{startup.cpu_s:.1f}", f"{rate:,.0f}", f"{net:,.0f}", f"{whole.wall_s:.1f}"]
        cells += [gigabytes(whole.peak_rss_bytes), gigabytes(whole.peak_pss_bytes), f"{len(outcome.reached):,}", f"{len(outcome.kept):,}"]
        rows.append([name, *cells, *(f"{recall.share:.2%}" for recall in recalls.values())])

    header = ["tool", "CPU-s", "start-up CPU-s", "documents/CPU-s", "net of start-up", "wall s", "peak RSS", "peak PSS"]
    header += ["passed filters", "kept", "exact recall", "near recall"]
    ours, theirs = outcomes["Headwater"], outcomes["datatrove"]
    ratio = results["Headwater"]["documents_per_cpu_s"] / results["datatrove"]["documents_per_cpu_s"]
    shared = [pair for pair in planted.near if {pair.original, pair.copy} <= ours.reached & theirs.reached]
    similarities = partner_similarities(scratch / "Headwater_out", texts)
    deserved = int((similarities >= DESERVED_SIMILARITY).sum())
    overlap = {"both": len(ours.kept & theirs.kept), "only Headwater": len(ours.kept - theirs.kept), "only datatrove": len(theirs.kept - ours.kept)}
    passed = len(ours.reached & theirs.reached) / max(len(ours.reached | theirs.reached), 1)
    lines = [
        f"Corpus: {made}; {arguments.workers} workers.",
        "",
        format_table(header, rows),
        "",
        f"Headwater does {ratio:.1f} times datatrove's documents per CPU-second, start-up included.",
        *(f"Near-duplicate recall, {name}: {measure_recall(planted.near, outcome)}" for name, outcome in outcomes.items()),
        f"Of the pairs that reached deduplication in both: Headwater {measure_recall(shared, ours)}, datatrove {measure_recall(shared, theirs)}",
        "",
        "Near-duplicate recall by true similarity of the planted pair:",
        format_table(["similarity", *outcomes], recall_by_similarity(planted.near, outcomes)),
        "",
        f"Filters: {passed:.2%} of what either let pass, both let pass. datatrove alone drops {len(ours.reached - theirs.reached):,} "
        f"({explain_difference(ours, theirs)}), Headwater alone {len(theirs.reached - ours.reached):,} ({explain_difference(theirs, ours)}).",
        "Kept: " + ", ".join(f"{what} {count:,}" for what, count in overlap.items()) + ".",
        f"Headwater's near-duplicates: {deserved} of {len(similarities)} ({deserved / max(len(similarities), 1):.2%}) have a true similarity of at "
        f"least {DESERVED_SIMILARITY} to the partner named; least {similarities.min(initial=1):.2f}.",
        *(
            f"WARNING: CPU of {name} is not counted in full: sampled {r['run']['sampled_cpu_s']:.1f} s."
            for name, r in results.items()
            if not whole_count(r)
        ),
    ]
    results |= {"corpus": made, "ratio": ratio, "overlap_of_kept": overlap, "rightly_removed": deserved, "near_removed": len(similarities)}
    report("Headwater and datatrove, the same work", results, lines, arguments.json)


def _measure_tool(name: str, run: Callable, corpus: Path, few: Path, made: str, arguments: argparse.Namespace) -> tuple[Measured, Measured]:
    """(figures on `few`, figures on the corpus); those of a peer may come from an earlier run on the same corpus."""
    slug, scratch = _slug(name), arguments.scratch
    figures = scratch / f"{slug}.json"
    earlier = json.loads(figures.read_text()) if arguments.reuse_datatrove and run is not run_headwater and figures.exists() else {}
    if earlier.get("corpus") == made:
        startup, whole = (Measured(**one) for one in earlier["runs"])
        return startup, whole
    run(few, scratch / f"{slug}_few_out", scratch / f"{slug}_few.log", arguments.workers)
    startup = run(few, scratch / f"{slug}_few_out", scratch / f"{slug}_few.log", arguments.workers)
    whole = run(corpus / "docs", scratch / f"{slug}_out", scratch / f"{slug}.log", arguments.workers)
    figures.write_text(json.dumps({"corpus": made, "runs": [asdict(startup), asdict(whole)]}))
    return startup, whole


def _slug(name: str) -> str:
    return name.replace(" ", "_").replace(",", "")


def whole_count(result: dict) -> bool:
    """Whether every measured run of a tool counted all its CPU."""
    return all(Measured(**result[which]).counted_all for which in ("run", "startup"))


if __name__ == "__main__":
    main()
