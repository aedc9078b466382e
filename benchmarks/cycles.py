"""A programme of training cycles, and alarms on a loop that breaks: what gets through, what is lost, what trips.

    python -m benchmarks.cycles programme [CYCLES [DOCUMENTS]]
    python -m benchmarks.cycles alarms [SEEDS]

`programme`: each of CYCLES (10) cycles offers DOCUMENTS (200) new human and as many new synthetic texts, and half of all that
earlier cycles offered, every other one with 1.5 % of its words replaced. Prints what was offered again, what of it was published again, human documents lost for
being reused, and whether ledger and datasets agree.

`alarms`: 2,048 human reviews against themselves drawn anew, with 30 % from five templates, without the texts that are richest in rare words, and with
one of three sources replaced by model text. Prints how often each alarm trips in SEEDS (20) draws, and how often its message names the source that did it.

Texts come from ../shared/data (human_imdb_2011, detectrl); without it there is nothing to measure.
"""

import contextlib
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.__main__ import main
from pipeline.alarms import attribute, evaluate, parse_alarm
from pipeline.cycle_report import FIGURES, figures_of, leave_out, reference_of, shares_by, survey_table
from pipeline.ledger_upkeep import verify_ledger

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
EDITED_SHARE = 0.015
SOURCES = ("first", "second", "third")
SCORERS = '--set=score.scorers=["size","gopher_quality","gopher_repetition","quality","language","content_hash","signature"]'


def read_texts(name: str, label: str, most: int, min_words: int = 70) -> list[str]:
    """The first `most` texts of a set with this label and at least `min_words` words."""
    found: list[str] = []
    with open(DATA / name, "rb") as raw, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record["label"] == label and not record.get("attack", "none").replace("none", "") and len(record["text"].split()) >= min_words:
                found.append(record["text"])
                if len(found) == most:
                    break
    return found


def edit(text: str, draw: random.Random) -> str:
    """The text with a few of its words replaced."""
    words = text.split(" ")
    for place in draw.sample(range(len(words)), max(1, round(EDITED_SHARE * len(words)))):
        words[place] = f"word{draw.randrange(10**6)}"
    return " ".join(words)


def run_programme(cycles: int, documents: int) -> None:
    """Runs the cycles by the command line and prints what came of them."""
    texts = {
        "human": read_texts("human_imdb_2011.jsonl.zst", "human", cycles * documents),
        "synthetic": read_texts("detectrl.jsonl.zst", "machine", cycles * documents),
    }
    offered: dict[str, list[tuple[str, str]]] = {"human": [], "synthetic": []}
    published: set[str] = set()
    draw = random.Random(0)
    totals = dict.fromkeys(("equal", "edited", "equal_through", "edited_through", "human_lost", "human_back"), 0)
    with tempfile.TemporaryDirectory(prefix="headwater-cycles-") as folder:
        root, ledger = Path(folder), Path(folder) / "ledger"
        for cycle in range(1, cycles + 1):
            again = {kind: draw.sample(held, len(held) // 2) for kind, held in offered.items()}
            for kind in texts:
                new = [(f"{kind}-{cycle}-{n}", text) for n, text in enumerate(texts[kind][(cycle - 1) * documents : cycle * documents])]
                offered[kind] += new
                records = [{"id": name, "text": text} for name, text in new]
                for place, (name, text) in enumerate(again[kind]):
                    records.append({"id": f"{name}@{'edited' if place % 2 else 'equal'}", "text": edit(text, draw) if place % 2 else text})
                (root / f"{kind}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
            output = root / f"cycle-{cycle}"
            flags = [f"--human=books={root}/human.jsonl", f"--synthetic=models={root}/synthetic.jsonl", f"--output={output}", f"--ledger={ledger}"]
            began = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                code = main(
                    ["curate", *flags, f"--cycle=c{cycle}", "--human_quota=0.5", "--on_shortage=shrink", SCORERS, "--workers=0", "--progress=none"]
                )
            seconds = time.process_time() - began
            names = [name for path in sorted((output / "data").glob("*.parquet")) for name in pq.read_table(path, columns=["id"])["id"].to_pylist()]
            lost = [row for path in (output / "rejected").glob("*.parquet") for row in pq.read_table(path).to_pylist() if row["stage"] == "ledger"]
            repeated = [f"{name}@{'edited' if place % 2 else 'equal'}" for place, (name, _) in enumerate(again["synthetic"]) if name in published]
            through = set(repeated) & set(names)
            for sort in ("equal", "edited"):
                totals[sort] += sum(name.endswith(sort) for name in repeated)
                totals[f"{sort}_through"] += sum(name.endswith(sort) for name in through)
            totals["human_lost"] += sum(row["origin"] == "human" for row in lost)
            totals["human_back"] += sum(name.startswith("human") and "@" in name for name in names)
            published |= {name.partition("@")[0] for name in names}
            print(
                f"cycle {cycle}: exit {code}, {len(names):,} published, {len(lost):,} reused turned down, {len(through)} through, {seconds:.1f} CPU-s",
                flush=True,
            )
        faults = verify_ledger(str(ledger))
    print(f"synthetic text published before and offered again: {totals['equal']:,} equal, {totals['edited']:,} edited")
    print(
        f"  published again: {totals['equal_through']} equal, {totals['edited_through']} edited ({totals['edited_through'] / max(1, totals['edited']):.2%})"
    )
    print(f"human documents lost for being reused: {totals['human_lost']}; returned: {totals['human_back']:,}; faults of the ledger: {len(faults)}")


def table_of(texts: list[str], sources: list[str], origins: list[str]) -> pa.Table:
    """Documents with the columns of a published file."""
    n = len(texts)
    columns = {"text": texts, "source": sources, "origin": origins, "declared_origin": ["human"] * n, "generator": [None] * n}
    table = {name: pa.array(held, pa.string()) for name, held in columns.items()}
    sizes = pa.array([len(text.split()) for text in texts], pa.int32())
    return pa.table({**table, "generation": pa.nulls(n, pa.int16()), "tokens": sizes, "bytes": sizes})


def run_alarms(seeds: int) -> None:
    """Draws each case anew for every seed, and prints how often its alarm trips and whom it names."""
    human = read_texts("human_imdb_2011.jsonl.zst", "human", 30_000)
    machine = read_texts("detectrl.jsonl.zst", "machine", 4_000)
    shown = {"human_origins": ("human",), "unit": "documents", "fresh_known": False}
    alarms = [
        parse_alarm(text, FIGURES)
        for text in (
            "compression_ratio>+15%",
            "tail_coverage<-15%",
            "human_share<-10%",
            "distinct_1<-10%",
            "distinct_2<-10%",
            "distinct_3<-10%",
            "self_repetition>+25%",
            "cluster_concentration>+25%",
        )
    ]
    cases = {
        "resampled": (),
        "templates": ("compression_ratio>+15%",),
        "lost tail": ("tail_coverage<-15%",),
        "replaced source": ("human_share<-10%",),
    }
    hits: dict[str, list[set[str]]] = {name: [] for name in cases}
    named = dict.fromkeys(cases, 0)
    changes: dict[str, list[float]] = {}
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        order = draw.permutation(len(human))
        zeroth, first, second = ([human[place] for place in order[start : start + 2_400]] for start in (0, 2_400, 4_800))
        cycle_0, before = (survey_table(table_of(held, [SOURCES[n % 3] for n in range(2_400)], ["human"] * 2_400)) for held in (zeroth, first))
        reference = reference_of(cycle_0)
        earlier = [("before", figures_of(before, reference, **shown))]
        for name in cases:
            texts, sources, origins = list(second), [SOURCES[n % 3] for n in range(2_400)], ["human"] * 2_400
            if name == "templates":
                models = [machine[place].split() for place in draw.permutation(len(machine))[:5]]
                for place in draw.permutation(2_400)[:720]:
                    words = list(models[draw.integers(5)])
                    for slot in draw.permutation(len(words))[:5]:
                        words[slot] = f"name{draw.integers(10**6)}"
                    texts[place], sources[place] = " ".join(words), "third"
            elif name == "lost tail":
                surveyed = survey_table(table_of(texts, sources, origins))
                shares = np.isin(surveyed.sample.excerpts.words, reference.words).mean(axis=1)
                limit = np.quantile(shares, 0.4)
                pool = [human[place] for place in order[7_200:14_400]]
                wide = survey_table(table_of(pool, ["x"] * len(pool), ["human"] * len(pool)))
                kept = [
                    text.decode()
                    for text, words in zip(wide.sample.excerpts.texts, wide.sample.excerpts.words, strict=True)
                    if np.isin(words, reference.words).mean() <= limit
                ]
                kept += [text.decode() for text, share in zip(surveyed.sample.excerpts.texts, shares, strict=True) if share <= limit]
                texts, sources, origins = kept, ["first"] * len(kept), ["human"] * len(kept)
            elif name == "replaced source":
                for n, place in enumerate(range(2, 2_400, 3)):
                    texts[place], origins[place] = machine[(n + seed) % len(machine)], "disputed"
            after = survey_table(table_of(texts, sources, origins))
            figures = figures_of(after, reference, **shown)
            tripped = evaluate(alarms, figures, earlier)
            if name == "resampled":
                for alarm in alarms:
                    changes.setdefault(alarm.figure, []).append(abs(figures[alarm.figure] / earlier[0][1][alarm.figure] - 1))
            hits[name].append({one.alarm.text for one in tripped})
            wanted = [one for one in tripped if one.alarm.text in cases[name]]
            if wanted and name in ("templates", "replaced source"):
                names = {"source": shares_by(after, "source")}
                blamed = attribute(
                    wanted[0], names, lambda column, left, held=after, tail=reference: figures_of(leave_out(held, column, left), tail, **shown)
                )
                named[name] += blamed.suspects[0].name == "third"
    for name, wanted in cases.items():
        tripped = sum(set(wanted) <= held if wanted else bool(held) for held in hits[name])
        counts = Counter(text for held in hits[name] for text in held)
        others = ", ".join(f"{text} {count}" for text, count in sorted(counts.items())) or "none"
        asked = ", ".join(wanted) or "any alarm"
        print(f"{name:<18}{asked:<26} trips in {tripped} of {seeds}, names the source in {named[name]}; all that tripped: {others}", flush=True)
    print("largest change of a resample: " + ", ".join(f"{figure} {max(seen):.1%}" for figure, seen in changes.items()))


if __name__ == "__main__":
    print("python -m benchmarks.cycles", *sys.argv[1:], time.strftime("%Y-%m-%d"))
    numbers = [int(argument) for argument in sys.argv[2:]]
    if sys.argv[1:2] == ["programme"]:
        run_programme(*(numbers + [10, 200][len(numbers) :]))
    elif sys.argv[1:2] == ["alarms"]:
        run_alarms(*(numbers or [20]))
    else:
        sys.exit(__doc__)
