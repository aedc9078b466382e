"""Headwater, datatrove, data-juicer and dolma, side by side: the same work on the same corpus with the same number of workers.

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]" spacy
    python -m benchmarks.peers --datatrove_venv VENV --scratch FOLDER [--data ../shared/data] [--json FILE]
    python -m benchmarks.peers --work fineweb --datatrove_venv A --data_juicer_venv B --dolma_venv C --scratch FOLDER --large_documents 60000

`--work gopher`, the default: Gopher quality and repetition filters, deduplication by MinHash of word 5-grams (14 bands x 8 rows),
Parquet, two workers. `--work fineweb`: the same and C4's and FineWeb's filters, what FineWeb ran. Headwater runs with
benchmarks/peers_recipe.toml or peers_fineweb_recipe.toml (language and AI-text detection off) and no quota; datatrove with its
defaults (benchmarks/datatrove_run.py; `--also_full` adds a run with all filters to `--work gopher`); data-juicer and dolma, which lack part of that
work, do what of it they can (benchmarks/data_juicer_run.py, dolma_run.py say what), the same for both kinds. `--also_parity` adds
Headwater with datatrove's words. The corpus is that of benchmarks/corpus.py, with its planted copies.

Every tool runs first on 100 documents, unmeasured, so that none compiles anything in a measured run, and again, measured: its start-up
cost. Headwater is measured before and after its peers, and the dearer of the two counts: what a CPU-second buys drifts on a shared
machine. With `--large_documents` Headwater alone also does a larger corpus of the same kind: what its start-up is there.

CPU is that of whole process trees (benchmarks/measure.py). A planted pair counts for recall if both its documents reached
deduplication, and is found if at least one of them was removed there. Precision: of the documents that deduplication removed, those
with a true similarity of at least .6 to another that reached it; intervals are Wilson's at 95 %. Of the near-duplicates that
Headwater removed, the true similarity to the partner it names says how many deserved it; no peer names partners.

One filter differs on purpose: datatrove counts punctuation marks as words where at least 80 % of the words must hold a letter, and
so drops a good tenth of ordinary prose; Headwater counts words, as the paper does. The report counts the difference.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.corpus import Planted, add_corpus_arguments, build_corpus, read_jsonl, read_planted
from benchmarks.measure import Measured, format_table, gigabytes, report
from benchmarks.outcomes import (
    DESERVED_SIMILARITY,
    Outcome,
    explain_difference,
    explain_kept,
    measure_precision,
    measure_recall,
    overlap_of_kept,
    recall_by_similarity,
    shingle_texts,
)
from benchmarks.peer_tools import RECIPES, Tool, make_tools, partner_similarities, run_headwater, take_documents

STARTUP_DOCUMENTS = 100
"""Documents of the run that shows what a run costs before it does anything."""
OURS, PEERS = "Headwater", ("datatrove", "data_juicer", "dolma")
HEADER = (
    "tool", "CPU-s", "start-up CPU-s", "documents/CPU-s", "net of start-up", "wall s", "peak RSS", "peak PSS",
    "passed filters", "kept", "exact recall", "near recall", "precision",
)  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compares Headwater with its peers: CPU, memory, planted duplicates found.")
    parser.add_argument("--work", choices=tuple(RECIPES), default="gopher", help="which filters (default: gopher)")
    parser.add_argument("--datatrove_venv", type=Path, help='virtual environment with "datatrove[io,processing]" and spacy')
    parser.add_argument("--data_juicer_venv", type=Path, help="virtual environment with py-data-juicer and aiohttp")
    parser.add_argument("--dolma_venv", type=Path, help="virtual environment with dolma")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the corpus, the outputs and the logs (about 1 GB)")
    parser.add_argument("--workers", type=int, default=2, help="processes that each tool works with (default: 2)")
    parser.add_argument("--also_full", action="store_true", help="run datatrove a second time, with its C4 and FineWeb filters")
    parser.add_argument("--also_parity", action="store_true", help="run Headwater a second time, with datatrove's words")
    parser.add_argument("--large_documents", type=int, default=0, help="documents of a larger corpus for Headwater alone (default: none)")
    parser.add_argument(
        "--reuse_peers",
        "--reuse_datatrove",
        action="store_true",
        help="take the peers' figures from an earlier run with the same --scratch and corpus (a quick look only: the machine's speed drifts)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    add_corpus_arguments(parser)
    arguments = parser.parse_args()
    venvs = {peer: getattr(arguments, f"{peer}_venv") for peer in PEERS}
    if not any(venvs.values()):
        parser.error("no peer to compare with: give at least one of --datatrove_venv, --data_juicer_venv and --dolma_venv")
    scratch: Path = arguments.scratch
    corpus = scratch / "corpus"
    made = _build(arguments, corpus)
    planted, texts = read_planted(corpus), {r["id"]: r["text"] for path in (corpus / "docs").glob("*.jsonl") for r in read_jsonl(path)}
    few = take_documents(corpus / "docs", scratch / "few", STARTUP_DOCUMENTS)

    tools = make_tools(arguments.work, venvs, arguments.also_full, arguments.also_parity)
    figures = {name: _measure_tool(name, tool, corpus, few, made, arguments) for name, tool in tools.items()}
    again = _measure_tool(OURS, tools[OURS], corpus, few, made, arguments)
    figures[OURS] = max(figures[OURS], again, key=lambda pair: pair[1].cpu_s)
    large = _measure_large(arguments) if arguments.large_documents else {}

    outcomes = {name: tool.read(scratch / f"{_slug(name)}_out", frozenset(texts)) for name, tool in tools.items()}
    held = shingle_texts(texts)
    results, rows = {}, []
    for name, outcome in outcomes.items():
        results[name], cells = describe_tool(*figures[name], outcome, planted, held)
        rows.append([name, *cells])
    ratios = compare_rates(results, large)
    similarities = partner_similarities(scratch / f"{OURS}_out", texts)
    deserved = int((similarities >= DESERVED_SIMILARITY).sum())
    lines = [f"Corpus: {made}; {arguments.workers} workers.", "", format_table(HEADER, rows), ""]
    lines += [line for name, ratio in ratios.items() for line in ratio_lines(name, ratio, large)]
    lines += ["", *compare_outcomes(outcomes, planted)]
    lines += [
        f"Headwater's near-duplicates: {deserved} of {len(similarities)} ({deserved / max(len(similarities), 1):.2%}) have a true similarity of at "
        f"least {DESERVED_SIMILARITY} to the partner named; least {similarities.min(initial=1):.2f}.",
        *(
            f"WARNING: CPU of {name} is not counted in full: sampled {r['run']['sampled_cpu_s']:.1f} s."
            for name, r in results.items()
            if not whole_count(r)
        ),
    ]
    shared = {
        name: dict(zip(("both", "only Headwater", f"only {name}"), overlap_of_kept(outcomes[OURS], outcomes[name]), strict=True)) for name in ratios
    }
    results |= {"corpus": made, "work": arguments.work, "ratios": ratios, "overlap_of_kept": shared, "large": large}
    results |= {"rightly_removed": deserved, "near_removed": len(similarities)}
    names = " and ".join([", ".join(list(tools)[:-1]), list(tools)[-1]])
    report(f"{names}, the same work", results, lines, arguments.json)


def describe_tool(startup: Measured, whole: Measured, outcome: Outcome, planted: Planted, held: Mapping) -> tuple[dict, list[str]]:
    """(figures of one tool, its row of the table without the name). `held` are the corpus's shingles by id."""
    recalls = {kind: measure_recall(getattr(planted, kind), outcome) for kind in ("exact", "near")}
    precision = measure_precision(outcome, held)
    rate, net = len(held) / whole.cpu_s, (len(held) - STARTUP_DOCUMENTS) / (whole.cpu_s - startup.cpu_s)
    figures = {
        "run": asdict(whole),
        "startup": asdict(startup),
        "documents_per_cpu_s": rate,
        "documents_per_cpu_s_net_of_startup": net,
        "reached_deduplication": len(outcome.reached),
        "kept": len(outcome.kept),
        "recall": {kind: {"found": recall.found, "pairs": recall.pairs} for kind, recall in recalls.items()},
        "precision": {"right": precision.found, "removed": precision.pairs},
    }
    cells = [f"{whole.cpu_s:.1f}", f"{startup.cpu_s:.1f}", f"{rate:,.0f}", f"{net:,.0f}", f"{whole.wall_s:.1f}"]
    cells += [gigabytes(whole.peak_rss_bytes), gigabytes(whole.peak_pss_bytes), f"{len(outcome.reached):,}", f"{len(outcome.kept):,}"]
    return figures, [*cells, *(f"{recall.share:.2%}" for recall in recalls.values()), f"{precision.share:.2%}"]


def compare_rates(results: Mapping[str, dict], large: Mapping) -> dict[str, dict[str, float]]:
    """Headwater's documents per CPU-second as multiples of each other tool's: as run, and both without their start-up.

    Where Headwater also did a larger corpus: that rate, its start-up included, by the peer's without (what the peer's would tend to).
    """
    ours, ratios = results[OURS], {}
    for name, theirs in results.items():
        if not name.startswith(OURS):
            net = theirs["documents_per_cpu_s_net_of_startup"]
            ratios[name] = {
                "as_run": ours["documents_per_cpu_s"] / theirs["documents_per_cpu_s"],
                "net_of_startup": ours["documents_per_cpu_s_net_of_startup"] / net,
            }
            if large:
                ratios[name]["large"] = large["documents_per_cpu_s"] / net
    return ratios


def ratio_lines(name: str, ratio: Mapping[str, float], large: Mapping) -> list[str]:
    """The sentences that say by how much Headwater is faster than the tool called `name`."""
    lines = [
        f"Headwater does {ratio['as_run']:.1f} times {name}'s documents per CPU-second, start-up included; without both start-ups "
        f"{ratio['net_of_startup']:.1f} times."
    ]
    if large:
        lines.append(
            f"On {large['documents']:,} documents Headwater, start-up included, does {large['documents_per_cpu_s']:,.0f} documents per CPU-second "
            f"({large['cpu_s']:.1f} CPU-s, peak RSS {gigabytes(large['peak_rss_bytes'])}): {ratio['large']:.1f} times {name}'s, net of its start-up."
        )
    return lines


def compare_outcomes(outcomes: Mapping[str, Outcome], planted: Planted) -> list[str]:
    """Lines on planted pairs and on the documents that Headwater and each other tool filter and keep."""
    ours = outcomes[OURS]
    lines = [f"Near-duplicate recall, {name}: {measure_recall(planted.near, outcome)}" for name, outcome in outcomes.items()]
    for name, theirs in outcomes.items():
        if name != OURS:
            shared = [pair for pair in planted.near if {pair.original, pair.copy} <= ours.reached & theirs.reached]
            found = f"Headwater {measure_recall(shared, ours)}, {name} {measure_recall(shared, theirs)}"
            lines.append(f"Of the pairs that reached deduplication in both: {found}")
    lines += ["", "Near-duplicate recall by true similarity of the planted pair:"]
    lines += [format_table(["similarity", *outcomes], recall_by_similarity(planted.near, outcomes)), ""]
    for name, theirs in outcomes.items():
        if name != OURS:
            passed = len(ours.reached & theirs.reached) / max(len(ours.reached | theirs.reached), 1)
            both, only_ours, only_theirs = overlap_of_kept(ours, theirs)
            lines += [
                f"Filters: {passed:.2%} of what either let pass, both let pass. {name} alone drops {len(ours.reached - theirs.reached):,} "
                f"({explain_difference(ours, theirs)}), Headwater alone {len(theirs.reached - ours.reached):,} ({explain_difference(theirs, ours)}).",
                f"Kept: both {both:,} ({both / max(both + only_ours + only_theirs, 1):.2%} of what either kept), only Headwater {only_ours:,} "
                f"({name}: {explain_kept(ours, theirs)}), only {name} {only_theirs:,} (Headwater: {explain_kept(theirs, ours)}).",
            ]
    return lines


def _build(arguments: argparse.Namespace, folder: Path, documents: int | None = None) -> str:
    chosen = {name: getattr(arguments, name) for name in ("documents", "exact", "near", "shards", "seed", "rate")}
    if documents is not None:
        grown = documents / arguments.documents
        chosen |= {"documents": documents, "exact": round(arguments.exact * grown), "near": round(arguments.near * grown)}
    return build_corpus(arguments.data, folder, **chosen)


def _measure_large(arguments: argparse.Namespace) -> dict:
    folder = arguments.scratch / "large"
    made = _build(arguments, folder, arguments.large_documents)
    run = run_headwater(arguments.work)
    measured = run(folder / "docs", arguments.scratch / "large_out", arguments.scratch / "large.log", arguments.workers)
    count = arguments.large_documents
    return {"corpus": made, "documents": count, "documents_per_cpu_s": count / measured.cpu_s, **asdict(measured)}


def _measure_tool(name: str, tool: Tool, corpus: Path, few: Path, made: str, arguments: argparse.Namespace) -> tuple[Measured, Measured]:
    """(figures on `few`, figures on the corpus); those of a peer may come from an earlier run of the same work on the same corpus."""
    slug, scratch = _slug(name), arguments.scratch
    figures, work = scratch / f"{slug}.json", f"{arguments.work}: {made}"
    earlier = json.loads(figures.read_text()) if arguments.reuse_peers and not name.startswith(OURS) and figures.exists() else {}
    if earlier.get("corpus") == work:
        startup, whole = (Measured(**one) for one in earlier["runs"])
        return startup, whole
    tool.run(few, scratch / f"{slug}_few_out", scratch / f"{slug}_few.log", arguments.workers)
    startup = tool.run(few, scratch / f"{slug}_few_out", scratch / f"{slug}_few.log", arguments.workers)
    whole = tool.run(corpus / "docs", scratch / f"{slug}_out", scratch / f"{slug}.log", arguments.workers)
    figures.write_text(json.dumps({"corpus": work, "runs": [asdict(startup), asdict(whole)]}))
    return startup, whole


def _slug(name: str) -> str:
    return name.replace(" ", "_").replace(",", "").replace("'", "")


def whole_count(result: dict) -> bool:
    """Whether every measured run of a tool counted all its CPU."""
    return all(Measured(**result[which]).counted_all for which in ("run", "startup"))


if __name__ == "__main__":
    main()
