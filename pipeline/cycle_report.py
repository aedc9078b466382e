"""What a training cycle was given: shares of human, synthetic and fresh text, depth, sources, and how varied it all is.

    survey_shard      each published file: counts by source and generator, and a sample of its texts    (a pool task)
    join_surveys      all files
    figures_of        the numbers that alarms watch
    build_report      the report, as it lies beside the dataset and in the ledger's log

The sample is the texts of the smallest content hashes, so it depends on neither files nor workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers import diversity
from classifiers.content import ContentHashScorer
from classifiers.diversity import Excerpts, Figure, TailReference, cut_excerpts, make_reference, measure_diversity
from classifiers.text_batch import TextBatch
from transforms.human_rows import COPY_FIELD
from transforms.records import Origin
from transforms.storage import open_arrow

SAMPLE_TEXTS = diversity.MAX_GROUPS * diversity.GROUP_EXCERPTS
"""Texts that are long enough for an excerpt in the sample: 2,048."""
CUT_TEXTS = 2 * SAMPLE_TEXTS
"""Texts of which excerpts are cut at a time."""
SHARES = ("human_share", "presumed_human_share", "synthetic_share", "detected_share", "fresh_share", "mean_generation", "max_generation",
          "largest_source_share", "largest_generator_share")  # fmt: skip
"""Figures that are counted rather than sampled."""
FIGURES = (*SHARES, *diversity.FIGURES)
"""Every figure that an alarm can watch."""
UNITS = ("documents", "tokens", "bytes")
NO_GENERATOR = "(none)"
"""Name under which documents without a generator are counted."""
_COUNTED = ["source", "generator", "origin", "declared_origin", "generation", "tokens", "bytes"]

CountKey = tuple[str, str, str, str, int, bool]


@dataclass(frozen=True)
class Sample:
    """Texts by which variety is measured, by ascending key."""

    keys: np.ndarray
    """uint64[n]: first eight bytes of the content hash."""
    excerpts: Excerpts
    """One of each."""
    sources: tuple[str, ...]
    """Its source."""
    generators: tuple[str, ...]
    """Its generator, or `NO_GENERATOR`."""
    human: np.ndarray
    """bool[n]: whether its verified origin is human."""


@dataclass(frozen=True)
class Survey:
    """What published files hold."""

    counts: Mapping[CountKey, tuple[int, int, int]]
    """(source, generator, origin, declared origin, generation, fresh) -> documents, tokens, bytes; generation -1 is not stated."""
    sample: Sample
    """At most `SAMPLE_TEXTS` texts."""


@dataclass(frozen=True)
class CycleFacts:
    """What a report says beside what the files hold."""

    cycle: str
    """Name of the cycle."""
    run_id: str
    """The run that published for it."""
    reuse_prevented: int = 0
    """Synthetic documents that were not published again."""
    withdrawn_prevented: int = 0
    """Documents that were not published because they are withdrawn."""
    generations: Mapping[str, Any] = field(default_factory=dict)
    """What came of declared and derived generations: raised, unknown parents, circular."""


def survey_shard(path: str, fresh: pa.Array | None = None) -> list[Survey]:
    """Counts and samples one published file; `fresh` says which of its rows were never published before (None: not known); a pool task."""
    with open_arrow(path) as file:
        parquet = pq.ParquetFile(file)
        copies = [COPY_FIELD.name] if COPY_FIELD.name in parquet.schema_arrow.names else []
        table = parquet.read(columns=[*_COUNTED, "text", *copies], use_threads=False)
    # The ledger and its reports know a document once, however often it is published.
    if copies:
        first = pc.equal(table[COPY_FIELD.name], 0)
        table, fresh = table.filter(first), None if fresh is None else fresh.filter(first)
    return [survey_table(table, fresh)]


def survey_table(table: pa.Table, fresh: pa.Array | None = None) -> Survey:
    """`survey_shard` of documents in memory, with the columns of a published file."""
    return Survey(_count(table, fresh), _sample(table))


def join_surveys(surveys: Iterable[Survey]) -> Survey:
    """All surveys as one; the same in any order and however files were cut."""
    counts: Counter[tuple[CountKey, int]] = Counter()
    samples = []
    for survey in surveys:
        for key, units in survey.counts.items():
            for place, count in enumerate(units):
                counts[key, place] += count
        samples.append(survey.sample)
    keys = sorted({key for key, _ in counts})
    return Survey({key: (counts[key, 0], counts[key, 1], counts[key, 2]) for key in keys}, _join_samples(samples))


def leave_out(survey: Survey, column: str, name: str) -> Survey:
    """The survey without one source (`column` `source`) or generator."""
    place = ("source", "generator").index(column)
    sample = survey.sample
    kept = np.flatnonzero(np.array((sample.sources, sample.generators)[place], object) != name)
    return Survey({key: units for key, units in survey.counts.items() if key[place] != name}, _take(sample, kept))


def shares_by(survey: Survey, column: str, unit: str = "documents") -> dict[str, float]:
    """Share of each source, generator, origin or generation in `unit`, the largest first."""
    place, of = ("source", "generator", "origin", "declared_origin", "generation", "fresh").index(column), UNITS.index(unit)
    totals: Counter[str] = Counter()
    for key, units in survey.counts.items():
        totals[str(key[place])] += units[of]
    whole = sum(totals.values())
    return {name: count / whole for name, count in sorted(totals.items(), key=lambda held: (-held[1], held[0]))} if whole else {}


def figures_of(survey: Survey, reference: TailReference | None, *, human_origins: Sequence[str], unit: str, fresh_known: bool) -> dict[str, float]:
    """The value of every figure that can be taken, by name, and the ends of the intervals of those that are sampled as NAME.low and NAME.high.

    Shares are in `unit`; `human_origins` are the verified origins that count as human. `fresh_share` is that of the human text. Without a reference
    there is no tail coverage, and where texts are too few no figure of `classifiers.diversity`. Empty for no documents.
    """
    sampled = {name: {"value": figure.value, "low": figure.low, "high": figure.high} for name, figure in intervals_of(survey, reference).items()}
    return _counted(survey, human_origins, unit, fresh_known) | _flat(sampled)


def intervals_of(survey: Survey, reference: TailReference | None) -> dict[str, Figure]:
    """The sampled figures with their intervals."""
    return measure_diversity(survey.sample.excerpts, reference)


def reference_of(survey: Survey) -> TailReference | None:
    """The tail of the human texts of the sample, for later cycles to be compared with; None where they are too few."""
    human = survey.sample.excerpts.take(np.flatnonzero(survey.sample.human))
    try:
        return make_reference(human)
    except ValueError:
        return None


def build_report(
    survey: Survey, facts: CycleFacts, reference: TailReference | None, *, human_origins: Sequence[str], unit: str, fresh_known: bool
) -> dict[str, Any]:
    """The report as nested dictionaries of strings and finite numbers. Depends on the documents and the arguments alone."""
    intervals = intervals_of(survey, reference)
    sampled = {
        name: {"value": _rounded(figure.value), "low": _rounded(figure.low), "high": _rounded(figure.high), "groups": figure.groups}
        for name, figure in intervals.items()
    }
    return {
        "format": 1,
        "cycle": facts.cycle,
        "run_id": facts.run_id,
        "unit": unit,
        "documents": sum(units[0] for units in survey.counts.values()),
        "figures": {name: _rounded(value) for name, value in _counted(survey, human_origins, unit, fresh_known).items()},
        "origins": {name: _rounded(share) for name, share in shares_by(survey, "origin", unit).items()},
        "generations": {name if name != "-1" else "not stated": _rounded(share) for name, share in shares_by(survey, "generation", unit).items()},
        "sources": {name: _rounded(share) for name, share in shares_by(survey, "source", unit).items()},
        "generators": {name: _rounded(share) for name, share in shares_by(survey, "generator", unit).items()},
        "reuse_prevented": facts.reuse_prevented,
        "withdrawn_prevented": facts.withdrawn_prevented,
        "lineage": dict(facts.generations),
        "diversity": {
            "sampled_texts": len(survey.sample.keys),
            "excerpt_words": diversity.EXCERPT_WORDS,
            "group_excerpts": diversity.GROUP_EXCERPTS,
            "confidence": diversity.CONFIDENCE,
            "figures": sampled,
        },
    }


def report_figures(report: Mapping[str, Any]) -> dict[str, float]:
    """Figure -> value of a report, with the ends of intervals as in `figures_of`: what alarms of later cycles compare to."""
    return {**report["figures"], **_flat(report["diversity"]["figures"])}


def render_report(report: Mapping[str, Any]) -> str:
    """The report for people, as lines of text."""
    lines = [f"Cycle {report['cycle']}, run {report['run_id']}: {report['documents']:,} documents (shares in {report['unit']})"]
    lines += [f"  {name:<24}{value:>10.4g}" for name, value in report["figures"].items()]
    for name, held in report["diversity"]["figures"].items():
        lines.append(f"  {name:<24}{held['value']:>10.4g}  ({held['low']:.4g} to {held['high']:.4g})")
    if not report["diversity"]["figures"]:
        needed = diversity.MIN_GROUPS * diversity.GROUP_EXCERPTS
        lines.append(
            f"  diversity was not measured: {report['diversity']['sampled_texts']} texts of {diversity.EXCERPT_WORDS} words, {needed} are needed"
        )
    lines.append(f"  {'reuse prevented':<24}{report['reuse_prevented']:>10,}")
    for title in ("sources", "generators", "generations"):
        shares = list(report[title].items())
        named = ", ".join(f"{name} {share:.1%}" for name, share in shares[:8])
        lines.append(f"  {title}: {named}" + (f" and {len(shares) - 8} more" if len(shares) > 8 else ""))
    return "\n".join(lines)


def _counted(survey: Survey, human_origins: Sequence[str], unit: str, fresh_known: bool) -> dict[str, float]:
    place = UNITS.index(unit)
    rows = [(key, units[place]) for key, units in survey.counts.items()]
    total = sum(count for _, count in rows)
    if not total:
        return {}

    def share(holds) -> float:
        return sum(count for key, count in rows if holds(*key)) / total

    human = share(lambda _s, _g, origin, *_: origin in human_origins)
    stated = [(key[4], count) for key, count in rows if key[4] >= 0]
    found = {
        "human_share": human,
        "presumed_human_share": share(lambda _s, _g, origin, *_: origin == Origin.PRESUMED_HUMAN),
        "synthetic_share": share(lambda _s, _g, origin, *_: origin == Origin.SYNTHETIC),
        "detected_share": share(lambda _s, _g, origin, declared, *_: origin != declared and origin in (Origin.SYNTHETIC, Origin.DISPUTED)),
        "largest_source_share": max(shares_by(survey, "source", unit).values()),
        "largest_generator_share": max((part for name, part in shares_by(survey, "generator", unit).items() if name != NO_GENERATOR), default=0.0),
    }
    if stated and sum(count for _, count in stated):
        found["mean_generation"] = sum(generation * count for generation, count in stated) / sum(count for _, count in stated)
        found["max_generation"] = float(max(generation for generation, _ in stated))
    if fresh_known and human:
        found["fresh_share"] = share(lambda _s, _g, origin, _d, _n, fresh: fresh and origin in human_origins) / human
    return {name: found[name] for name in SHARES if name in found}


def _count(table: pa.Table, fresh: pa.Array | None) -> dict[CountKey, tuple[int, int, int]]:
    columns = {name: table[name] for name in _COUNTED}
    columns["generator"] = pc.fill_null(columns["generator"], NO_GENERATOR)
    columns["generation"] = pc.fill_null(columns["generation"], -1)
    columns["fresh"] = pa.repeat(False, table.num_rows) if fresh is None else fresh
    by = ["source", "generator", "origin", "declared_origin", "generation", "fresh"]
    grouped = pa.table(columns).group_by(by, use_threads=False).aggregate([("tokens", "count"), ("tokens", "sum"), ("bytes", "sum")])
    counts = {}
    for row in grouped.to_pylist():
        counts[tuple(row[name] for name in by)] = (row["tokens_count"], row["tokens_sum"] or 0, row["bytes_sum"] or 0)
    return dict(sorted(counts.items()))


def _sample(table: pa.Table) -> Sample:
    columns = table.select(["text", "source", "generator", "origin"])
    keys = np.concatenate([np.empty(0, np.uint64), *(_keys_of(batch.column("text")) for batch in columns.to_batches(max_chunksize=10_000))])
    order = np.argsort(keys, kind="stable")
    found = _join_samples([])
    # The smallest keys first: the words of texts that cannot be among the sample are never looked for.
    for begin in range(0, len(order), CUT_TEXTS):
        rows = order[begin : begin + CUT_TEXTS]
        if len(found.keys) == SAMPLE_TEXTS and keys[rows[0]] > found.keys[-1]:
            break
        found = _join_samples([found, _cut(columns.take(pa.array(rows)).combine_chunks(), keys[rows])])
    return found


def _keys_of(texts: pa.Array) -> np.ndarray:
    digests = ContentHashScorer().score(TextBatch(_as_string(texts)))["content_hash"]
    return np.frombuffer(digests.buffers()[1], ">u8").reshape(-1, 2)[:, 0].astype(np.uint64)


def _as_string(texts: pa.Array) -> pa.Array:
    return texts if pa.types.is_string(texts.type) else texts.cast(pa.string())


def _cut(documents: pa.Table, keys: np.ndarray) -> Sample:
    (batch,) = documents.to_batches()
    excerpts = cut_excerpts(_as_string(batch.column("text")))
    rows = pa.array(excerpts.rows)
    generators = pc.fill_null(batch.column("generator").take(rows), NO_GENERATOR)
    human = pc.equal(batch.column("origin").take(rows), Origin.HUMAN.value).to_numpy(zero_copy_only=False)
    return Sample(keys[excerpts.rows], excerpts, tuple(batch.column("source").take(rows).to_pylist()), tuple(generators.to_pylist()), human)


def _join_samples(samples: Sequence[Sample]) -> Sample:
    words = np.concatenate([np.empty((0, diversity.EXCERPT_WORDS), np.uint64), *(held.excerpts.words for held in samples)])
    joined = Sample(
        np.concatenate([np.empty(0, np.uint64), *(held.keys for held in samples)]),
        Excerpts(words, tuple(text for held in samples for text in held.excerpts.texts), np.arange(len(words))),
        tuple(name for held in samples for name in held.sources),
        tuple(name for held in samples for name in held.generators),
        np.concatenate([np.empty(0, bool), *(held.human for held in samples)]),
    )
    # Equal texts have equal keys: their source and generator settle the order.
    order = sorted(range(len(words)), key=lambda place: (int(joined.keys[place]), joined.sources[place], joined.generators[place]))
    return _take(joined, np.array(order[:SAMPLE_TEXTS], np.int64))


def _take(sample: Sample, places: np.ndarray) -> Sample:
    chosen = places.tolist()
    return Sample(
        sample.keys[places],
        sample.excerpts.take(places),
        tuple(sample.sources[place] for place in chosen),
        tuple(sample.generators[place] for place in chosen),
        sample.human[places],
    )


def _flat(sampled: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    values = {name: held["value"] for name, held in sampled.items()}
    return values | {f"{name}.{end}": held[end] for name, held in sampled.items() for end in ("low", "high")}


def _rounded(value: float) -> float:
    """Six digits: what a report states, and as much as a sample can tell."""
    return float(f"{value:.6g}")
