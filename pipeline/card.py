"""The dataset card: README.md of a published dataset, readable by people and by `datasets.load_dataset`."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pipeline.funnel import repeats_sentence
from pipeline.prevalence import prevalence_sentences

# Without `configs`, load_dataset would also take in the Parquet files under rejected/ and scored/.
_HEAD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
tags:
- headwater
---
"""


def write_card(manifest: Mapping[str, Any]) -> str:
    """The card of a run, from its manifest alone."""
    quota, published, run = manifest["quota"], manifest["published"], manifest["run"]
    unit = quota["unit"]
    lines = [
        _HEAD + "# Curated training text",
        "",
        f"Published by Headwater ({run['mode']}, run `{run['id']}`) on {run['finished_at'][:10]}.",
        "",
        "## Human text",
        "",
        f"At least **{quota['promised_share']:.1%}** of the {unit} were promised to be human; measured on the files as written: "
        f"**{_percent(quota['measured_share'])}** overall, **{_percent(quota['smallest_shard_share'])}** in the file with the least. "
        f"Counted as human: {' and '.join(quota['counts_as_human'])} (column `origin`, verified by the detector; `verified` is false where it could not judge).",
        "",
        "| unit | human | all |",
        "|---|---:|---:|",
        *(f"| {name} | {units['human']:,} | {units['all']:,} |" for name, units in published.items()),
        "",
        _tokenizer(manifest),
        "",
        *_repeats(manifest),
        *_sample_weight(manifest),
        *_reserve(manifest),
        *_groups(manifest),
        *_prevalence(manifest),
        "## Files",
        "",
        f"| file | documents | human share ({unit}) | bytes |",
        "|---|---:|---:|---:|",
        *(f"| {s['name']} | {s['documents']['all']:,} | {_percent(s['human_share'])} | {s['file_bytes']:,} |" for s in manifest["shards"]),
        "",
        "## Sources",
        "",
        "| source | declared | read | published | rejected | unreadable |",
        "|---|---|---:|---:|---:|---:|",
        *(_source_row(account) for account in manifest["accounts"]),
        "",
        "## Why documents were rejected",
        "",
        "| stage | reason | documents |",
        "|---|---|---:|",
        *(f"| {stage} | {reason} | {count:,} |" for (stage, reason), count in _reasons(manifest)),
        "",
        "Every rejected document stands in `rejected/` with the score and limit that decided; every unreadable record in `dead_letters/`.",
        f"Recipe digest `{manifest['recipe_digest']}`; the recipe itself, versions and file digests are in `manifest.json`.",
        "",
    ]
    return "\n".join(lines)


def _tokenizer(manifest: Mapping[str, Any]) -> str:
    name, version = manifest["tokenizer"]["name"], manifest["tokenizer"]["version"]
    return f"Tokens are counted by `{name}`" + (f" (`{version}`), without special tokens." if version not in (None, name) else ".")


def _repeats(manifest: Mapping[str, Any]) -> list[str]:
    said = repeats_sentence(manifest)
    return (
        ["## Repeated text", "", f"{said} Rows are told apart by `id` and `copy` (0 for the first copy); all figures above count rows.", ""]
        if said
        else []
    )


def _sample_weight(manifest: Mapping[str, Any]) -> list[str]:
    weights = manifest["sample_weight"]
    if weights is None:
        return []
    if weights["kind"] == "golden_ratio":
        said = f"human rows {weights['human']:.4f}, others {weights['other']:.4f}: the golden-ratio weight of these amounts (arXiv 2502.18049)"
    else:
        said = f"human rows 1, others {weights['other']:.4f} x (1 - `ai_probability`)^{weights['exponent']:g}"
    return ["## Weights", "", f"`sample_weight` says how much a row should count in training: {said}; by {weights['unit']}, the mean is 1.", ""]


def _reserve(manifest: Mapping[str, Any]) -> list[str]:
    rows = [f"| {one['name']} | {one['reserved']:,} | {one['published']:,} | {one['available']:,} |" for one in manifest["reserve"]]
    return ["## Reserved places", "", "| group | promised | published | available |", "|---|---:|---:|---:|", *rows, ""] if rows else []


def _groups(manifest: Mapping[str, Any]) -> list[str]:
    unit = manifest["quota"]["unit"]
    rows = [
        f"| {one['name']} | `{one['where'].replace('|', chr(92) + '|')}` | {one['asked'] or 'nothing'} | {_percent(one['share'])} "
        f"| {one['published']['documents']:,} | {one['published']['tokens']:,} | {one['available']['documents']:,} |"
        for one in manifest["groups"]
    ]
    head = [f"| group | documents that are | asked for | share of {unit} | published | tokens | available |", "|---|---|---|---:|---:|---:|---:|"]
    return ["## Groups", "", *head, *rows, ""] if rows else []


def _prevalence(manifest: Mapping[str, Any]) -> list[str]:
    said = prevalence_sentences(manifest)
    return ["## Text of unknown origin", "", *(f"* {sentence}" for sentence in said), "", "As read, before rules and duplicates.", ""] if said else []


def _source_row(account: Mapping[str, Any]) -> str:
    published = sum(account["published"].values())
    rejected = sum(entry["documents"] for entry in account["rejected"])
    dead = sum(entry["records"] for entry in account["dead"])
    return f"| {account['source']} | {account['declared_origin']} | {account['read']:,} | {published:,} | {rejected:,} | {dead:,} |"


def _reasons(manifest: Mapping[str, Any]) -> list[tuple[tuple[str, str], int]]:
    reasons: Counter = Counter()
    for account in manifest["accounts"]:
        for entry in account["rejected"]:
            reasons[entry["stage"], entry["reason"]] += entry["documents"]
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.2%}"
