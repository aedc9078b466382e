"""The funnel: what went in, what each stage turned down and why, what came out, and the quota as measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.decontamination import evaluation_sentences
from pipeline.prevalence import prevalence_sentences
from pipeline.standard_output import plain_console

ORIGINS = ("human", "synthetic", "unknown")


def print_funnel(manifest: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the funnel of a run from its manifest, one column for each declared origin."""
    console = console or plain_console(100)
    origins = [origin for origin in ORIGINS if any(account["declared_origin"] == origin for account in manifest["accounts"])]
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for origin in origins:
        table.add_column("unlabelled" if origin == "unknown" else origin, justify="right")
    table.add_column("all", justify="right")
    for style, label, counts in funnel_rows(manifest):
        table.add_row(label, *(_number(counts[origin]) for origin in origins), _number(sum(counts.values())), style=style)
    console.print(table)
    console.print()
    for sentence in manifest["mix"]["sentences"]:
        console.print(sentence, highlight=False, soft_wrap=True)
    for sentence in (*top_sentences(manifest), *evaluation_sentences(manifest), *prevalence_sentences(manifest)):
        console.print(sentence, highlight=False, soft_wrap=True)
    console.print(quota_sentence(manifest), style="bold", highlight=False, soft_wrap=True)


def funnel_rows(manifest: Mapping[str, Any]) -> list[tuple[str, str, Counter]]:
    """(style, label, documents by declared origin) of each line of the funnel, in the order of the flow."""
    rows: dict[tuple[str, str], Counter] = {}
    read, published, as_origin = Counter(), Counter(), {}
    for account in manifest["accounts"]:
        origin = account["declared_origin"]
        read[origin] += account["read"]
        for entry in account["dead"]:
            rows.setdefault(("unreadable", entry["reason"]), Counter())[origin] += entry["records"]
        for entry in account["rejected"]:
            rows.setdefault((entry["stage"], entry["reason"]), Counter())[origin] += entry["documents"]
        for verified, count in account["published"].items():
            published[origin] += count
            as_origin.setdefault(verified, Counter())[origin] += count
    stages = ("unreadable", "origin", "contamination", "rules", "keep_top", "exact_duplicates", "key_duplicates", "near_duplicates")
    stages = (*stages, "semantic_duplicates", "repeated_lines", "caps", "ledger", "mix")
    lines = [("bold", "read", read)]
    for (stage, reason), counts in sorted(rows.items(), key=lambda item: (stages.index(item[0][0]), -sum(item[1].values()), item[0][1])):
        label = f"  - {reason}" if reason.startswith(stage.removesuffix("s")) else f"  - {stage}: {reason}"
        lines.append(("", label, counts))
    lines.append(("bold", "published", published))
    lines += [("dim", f"  as {verified}", counts) for verified, counts in sorted(as_origin.items())]
    if manifest.get("repeats"):
        repeated = Counter({account["declared_origin"]: 0 for account in manifest["accounts"]})
        for account in manifest["accounts"]:
            repeated[account["declared_origin"]] += sum(account["repeated"].values())
        lines.append(("dim", "  and again, as repeats", repeated))
    return lines


def top_sentences(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each threshold of a best share."""
    said = []
    for one in manifest.get("keep_top", ()):
        group = one["name"].partition("@")[2]
        where = f" of {group}" if group == one["group"] else f" of {group} {one['group'] or '(none)'}" if group else ""
        limit = "some without a score stay" if one["threshold"] is None else f"threshold {one['threshold']:.6g}"
        said.append(
            f"best {float(Fraction(one['share']) * 100):.6g}% by {one['field']}{where}: {one['kept']:,} of {one['documents']:,} documents, {limit}"
        )
    return said


def repeats_sentence(manifest: Mapping[str, Any]) -> str:
    """One sentence: what was published more than once; empty where nothing may be."""
    repeats = manifest.get("repeats")
    if repeats is None:
        return ""
    return f"Human documents published more than once: {repeats['documents']:,} (at most {repeats['most']:,} times); rows from repeats: {repeats['rows']:,}."


def quota_sentence(manifest: Mapping[str, Any]) -> str:
    """One sentence: the quota promised, and measured overall and in the worst shard."""
    quota = manifest["quota"]
    if quota["measured_share"] is None:
        return f"Human share of {quota['unit']}: nothing published, {quota['promised_share']:.1%} promised."
    said = f"Human share of {quota['unit']}: {quota['measured_share']:.2%}, at least {quota['promised_share']:.1%} promised"
    if quota["smallest_shard_share"] is not None:
        said += f"; {quota['smallest_shard_share']:.2%} in the shard with the least (of {len(manifest['shards'])})"
    return said + "."


def _number(count: int) -> str:
    return f"{count:,}" if count else "."
