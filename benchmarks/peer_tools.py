"""How benchmarks/peers.py runs each tool on a folder of JSONL, and reads from the tool's files what became of each document."""

import gzip
import json
import operator
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.corpus import jaccard, read_jsonl
from benchmarks.dolma_run import RULES, attribute
from benchmarks.measure import REPOSITORY, Measured, measure
from benchmarks.outcomes import Outcome

FILTER_FOLDERS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
"""What benchmarks/datatrove_run.py removes before deduplication, folder by folder."""
DUPLICATE_STAGES = ("exact_duplicates", "near_duplicates")
RECIPES = {"gopher": "peers_recipe.toml", "fineweb": "peers_fineweb_recipe.toml"}
"""Kinds of work, each with the recipe that has Headwater do it."""
DATATROVE_FILTERS = {"gopher": "equal", "fineweb": "all"}
"""The same for benchmarks/datatrove_run.py."""

Run = Callable[[Path, Path, Path, int], Measured]
"""Curates the JSONL files of a folder (the first) into another, with a log file and a number of workers."""


@dataclass(frozen=True)
class Tool:
    """A tool to compare."""

    run: Run
    """Does the work; what it measures is the tool's alone."""
    read: Callable[[Path, frozenset[str]], Outcome]
    """What the output folder says of all documents."""


def make_tools(work: str, venvs: Mapping[str, Path | None], also_full: bool = False, also_parity: bool = False) -> dict[str, Tool]:
    """The tools to compare by name, Headwater first: of the peers those that `venvs` has a virtual environment for."""
    tools = {"Headwater": Tool(run_headwater(work), read_headwater)}
    if also_parity:
        tools["Headwater, datatrove's words"] = Tool(run_headwater(work, "score.words=datatrove"), read_headwater)
    if venvs.get("datatrove"):
        tools["datatrove"] = Tool(run_datatrove(venvs["datatrove"], DATATROVE_FILTERS[work]), read_datatrove)
        if also_full:
            tools["datatrove, all filters"] = Tool(run_datatrove(venvs["datatrove"], "all"), read_datatrove)
    if venvs.get("data_juicer"):
        tools["data-juicer"] = Tool(run_data_juicer(venvs["data_juicer"]), read_data_juicer)
    if venvs.get("dolma"):
        tools["dolma"] = Tool(run_dolma(venvs["dolma"]), read_dolma)
    return tools


def run_headwater(work: str = "gopher", *settings: str) -> Run:
    """The function that runs Headwater on a kind of work, its recipe changed by `settings` (KEY=VALUE)."""

    def run(docs: Path, out: Path, log: Path, workers: int) -> Measured:
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "pipeline", "curate", "--unlabelled", f"corpus={docs}/*.jsonl", "--human_quota", "0"]
        command += ["--recipe", REPOSITORY / "benchmarks" / RECIPES[work], "--workers", workers, "--progress", "none", "--output", out]
        for setting in settings:
            command += ["--set", setting]
        return measure(command, cwd=REPOSITORY, log=log)

    return run


def read_headwater(out: Path, everything: frozenset[str]) -> Outcome:
    """What Headwater published, and what it rejected before deduplication."""
    rejected = ds.dataset(out / "rejected", format="parquet").to_table(["id", "stage", "reason"]).to_pylist()
    early = {row["id"]: row["reason"] for row in rejected if row["stage"] not in DUPLICATE_STAGES}
    kept = ds.dataset(out / "data", format="parquet").to_table(["id"])["id"].to_pylist()
    return Outcome(everything - early.keys(), frozenset(kept), early)


def run_datatrove(venv: Path, filters: str) -> Run:
    """The function that runs datatrove with `filters` (equal, all)."""

    def run(docs: Path, out: Path, log: Path, workers: int) -> Measured:
        command = [*_script(venv, "datatrove_run.py"), docs, out, "--filters", filters, "--workers", workers]
        return measure(command, log=log)

    return run


def read_datatrove(out: Path, everything: frozenset[str]) -> Outcome:
    """What datatrove wrote after its filters and at the end."""
    reached = {record["id"] for path in (out / "filtered").glob("*.jsonl") for record in read_jsonl(path)}
    kept = _read_ids(sorted((out / "final").glob("*.parquet")))
    removed = [record for folder in FILTER_FOLDERS for path in (out / "removed" / folder).glob("*.jsonl") for record in read_jsonl(path)]
    return Outcome(frozenset(reached & everything), kept, {record["id"]: record["metadata"]["filter_reason"] for record in removed})


def run_data_juicer(venv: Path) -> Run:
    """The function that runs data-juicer."""

    def run(docs: Path, out: Path, log: Path, workers: int) -> Measured:
        return measure([*_script(venv, "data_juicer_run.py"), docs, out, "--workers", workers], log=log)

    return run


def read_data_juicer(out: Path, everything: frozenset[str]) -> Outcome:
    """What data-juicer wrote at the end, and what benchmarks/data_juicer_run.py saw reach its deduplication. It gives no reasons."""
    reached = frozenset(json.loads((out / "reached.json").read_text()))
    return Outcome(reached, _read_ids([out / "final.parquet"]), dict.fromkeys(everything - reached, "filtered, no reason given"))


def run_dolma(venv: Path) -> Run:
    """The function that runs dolma. What it cannot read as it is, is compressed and named before measuring."""

    def run(docs: Path, out: Path, log: Path, workers: int) -> Measured:
        packed = out.with_name(f"{out.name}_in")
        count = pack_for_dolma(docs, packed)
        return measure([*_script(venv, "dolma_run.py"), packed, out, "--documents", count, "--workers", workers], log=log)

    return run


def pack_for_dolma(docs: Path, folder: Path) -> int:
    """The documents of `docs/*.jsonl` with a `source`, compressed, in `folder`; how many there are."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    count = 0
    for path in sorted(docs.glob("*.jsonl")):
        records = list(read_jsonl(path))
        count += len(records)
        with gzip.open(folder / f"{path.name}.gz", "wb", compresslevel=1) as file:
            file.writelines(orjson.dumps({**record, "source": "peers"}) + b"\n" for record in records)
    return count


def read_dolma(out: Path, everything: frozenset[str]) -> Outcome:
    """What dolma wrote at the end, and the first rule that the numbers in its attribute files break: it gives no reasons itself.

    Its mixer looks at rules and duplicates at once; a document that breaks a rule counts as filtered whatever else it is.
    """
    kept = frozenset(record["id"] for path in (out / "final").glob("*.gz") for record in read_jsonl(path))
    filtered = {}
    for path in sorted((out / "src" / "attributes" / "exp").glob("*.gz")):
        for record in read_jsonl(path):
            reason = broken_dolma_rule(record["attributes"])
            if reason:
                filtered[record["id"]] = reason
    return Outcome(everything - filtered.keys(), kept, filtered)


def broken_dolma_rule(attributes: Mapping[str, Sequence[Sequence[float]]]) -> str | None:
    """The name of the first of dolma's rules that a document breaks, by its numbers (spans of start, end, number); None: no rule."""
    compare = {"<": operator.lt, ">": operator.gt}
    for tagger, name, sign, bound in RULES:
        spans = attributes.get(attribute(tagger, name))
        if spans and (not sign or compare[sign](spans[0][2], bound)):
            return f"{name} {sign} {bound}" if sign else name
    return None


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


def _script(venv: Path, name: str) -> list[Path]:
    return [venv / "bin" / "python", REPOSITORY / "benchmarks" / name]


def _read_ids(paths: Sequence[Path]) -> frozenset[str]:
    return frozenset(name for path in paths for name in pq.read_table(path, columns=["id"])["id"].to_pylist())
