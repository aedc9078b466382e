"""Plans and sweeps of a scored run, timed, and compared with what `remix` then publishes.

    python -m benchmarks.steering --scored FOLDER [--scratch FOLDER] [--json FILE]

FOLDER is the scored/ folder of any run; `python -m benchmarks.real_run` leaves one of 196,357 documents. For each of a few settings `plan` says what
the mix would be; `remix` with the same flags then publishes, and its files are read again: the documents, tokens and human share of data/, its sources,
and the documents of every stage and reason in rejected/ must all be the plan's. Two sweeps of 30 settings: 30 mixes over one set of decisions, and 10 quotas
x 3 false-positive rates, of which two decide anew. The figures of some of their rows must be those of a `remix` as well. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import REPOSITORY, Measured, format_table, gigabytes, measure, report

PLANS = {
    "another quota": ["--human_quota=0.8", "--num_shards=8"],
    "a size in tokens": ["--human_quota=0.75", "--quota_unit=tokens", "--max_tokens=20000000", "--num_shards=8"],
    "another false-positive rate": ["--max_false_positive_rate=0.001", "--human_quota=0.8", "--num_shards=8"],
    "the best half of each source": ["--keep_top=quality@source=50%", "--human_quota=0.8", "--num_shards=8"],
}
"""Settings that are planned and then published: the first two mix anew, the others decide anew."""
SWEEPS = {
    "30 mixes": ["human_quota=0.42:0.9:0.0533", "max_documents=50000,100000,150000"],
    "10 quotas x 3 false-positive rates": ["human_quota=0.5:0.95:0.05", "max_false_positive_rate=0.001,0.01,0.05"],
}
"""Sweeps of 30 settings each."""


@dataclass(frozen=True)
class Published:
    """What a run published, counted again from its files, or what a plan says that it would."""

    documents: int
    """In data/."""
    tokens: int
    """In data/."""
    human: int
    """Documents of verified human origin."""
    sources: Mapping[str, int]
    """Source -> documents; those with none are left out."""
    rejected: Mapping[str, int]
    """`STAGE: REASON` -> documents in rejected/."""


def read_published(out: Path) -> Published:
    """Counts what lies in data/ and rejected/ of `out`."""
    data = [pq.read_table(path, columns=["tokens", "origin", "source"]) for path in sorted((out / "data").glob("*.parquet"))]
    sources: Counter = Counter()
    for table in data:
        sources.update(table["source"].to_pylist())
    rejected: Counter = Counter()
    for path in sorted((out / "rejected").glob("*.parquet")):
        rows = pq.read_table(path, columns=["stage", "reason"])
        rejected.update(pc.binary_join_element_wise(rows["stage"], rows["reason"], ": ").to_pylist())
    human = sum(pc.sum(pc.equal(table["origin"], "human")).as_py() or 0 for table in data)
    return Published(sum(map(len, data)), sum(pc.sum(table["tokens"]).as_py() or 0 for table in data), human, dict(sources), dict(rejected))


def read_plan(manifest: Mapping[str, Any]) -> Published:
    """What the manifest of a plan says."""
    sources, rejected = Counter(), Counter()
    for account in manifest["accounts"]:
        sources[account["source"]] += sum(account["published"].values())
        for entry in account["rejected"]:
            rejected[f"{entry['stage']}: {entry['reason']}"] += entry["documents"]
    human = sum(account["published"].get("human", 0) for account in manifest["accounts"])
    units = manifest["published"]
    return Published(units["documents"]["all"], units["tokens"]["all"], human, dict(+sources), dict(rejected))


def find_differences(name: str, planned: Mapping[str, Any], found: Published) -> list[str]:
    """A sentence for each figure of `planned`, by the names of `Published`, that is not what was found."""
    return [f"{name}: {key} planned {value}, published {getattr(found, key)}" for key, value in planned.items() if value != getattr(found, key)]


def plan_of(scored: Path, flags: Sequence[str]) -> Published:
    """What `headwater plan` says, run in this process for its manifest."""
    from pipeline.options import parse_arguments
    from pipeline.run import run_command

    arguments = ["plan", f"--scored={scored}", *flags, "--progress=none"]
    with contextlib.redirect_stdout(io.StringIO()):
        return read_plan(run_command(parse_arguments(arguments), ("headwater", *arguments)))


def read_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row of a sweep's table says, by the names of `Published`."""
    sources = {name: count for name, count in row["sources"].items() if count}
    return {"documents": row["documents"], "tokens": row["tokens"], "human": round(row["human_share"] * row["documents"]), "sources": sources}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times plans and sweeps of a scored run and compares them with what remix then publishes.")
    parser.add_argument("--scored", type=Path, required=True, help="the scored/ folder of a run, such as benchmarks.real_run leaves")
    parser.add_argument("--scratch", type=Path, help="folder for what is published, about 0.2 GB (default: a temporary one)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    scored = arguments.scored.resolve()
    documents = sum(pq.read_metadata(path).num_rows for path in scored.glob("*.parquet"))
    shared = [f"--workers={arguments.workers}", "--progress=lines"]
    runs: dict[str, Measured] = {}
    faults, compared = [], 0

    def headwater(name: str, *given: str | Path) -> None:
        runs[name] = measure([sys.executable, "-m", "pipeline", *given, *shared], cwd=REPOSITORY)

    with contextlib.ExitStack() as stack:
        scratch = arguments.scratch.resolve() if arguments.scratch else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steering-")))
        scratch.mkdir(parents=True, exist_ok=True)

        def publish(name: str, flags: Sequence[str]) -> Published:
            out = scratch / "remixed"
            shutil.rmtree(out, ignore_errors=True)
            headwater(f"remix: {name}", "remix", f"--scored={scored}", f"--output={out}", *flags)
            return read_published(out)

        for name, flags in PLANS.items():
            headwater(f"plan: {name}", "plan", f"--scored={scored}", *flags)
            faults += find_differences(name, asdict(plan_of(scored, flags)), publish(name, flags))
            compared += 1
        for name, sweeps in SWEEPS.items():
            table = scratch / "sweep.json"
            given = [f"--sweep={sweep}" for sweep in sweeps]
            headwater(f"sweep: {name}", "plan", f"--scored={scored}", *given, "--on_shortage=shrink", f"--sweep_output={table}")
            rows = json.loads(table.read_text())
            if len(rows) != 30:
                faults.append(f"{name}: {len(rows)} settings instead of 30")
            for place in (0, len(rows) // 2, len(rows) - 1):
                flags = [f"--set={key}={value}" for key, value in rows[place]["settings"].items()]
                said = ", ".join(flag.partition("=")[2] for flag in flags)
                faults += find_differences(f"{name}, {said}", read_row(rows[place]), publish(said, [*flags, "--on_shortage=shrink"]))
                compared += 1

    shown = {name: run for name, run in runs.items() if not name.startswith("remix")}
    lines = [
        f"{documents:,} scored documents.",
        "",
        format_table(["run", "wall s", "CPU-s", "peak PSS"], [_row(name, run) for name, run in shown.items()]),
        "",
        f"{compared} mixes were published by remix as well and counted again from their files: {len(faults)} figures differ.",
        *(f"FAULT: {fault}" for fault in faults),
    ]
    report("Steering", {"documents": documents, "faults": faults, **{name: asdict(run) for name, run in runs.items()}}, lines, arguments.json)
    return 1 if faults else 0


def _row(name: str, run: Measured) -> list[str]:
    return [name, f"{run.wall_s:.1f}", f"{run.cpu_s:.1f}", gigabytes(run.peak_pss_bytes)]


if __name__ == "__main__":
    sys.exit(main())
