"""What the ledger can be asked: what was each cycle given, where did a text go, and what was it made from."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from classifiers.content import ContentHashScorer
from classifiers.scorers import ScoreSettings
from classifiers.signature import SignatureScorer
from classifiers.text_batch import TextBatch
from pipeline.errors import UsageError
from pipeline.ledger import LedgerKeys, Snapshot, read_ledger
from pipeline.ledger_history import published_runs
from transforms.find_earlier import find_earlier, make_probes
from transforms.fixed_columns import binary_rows
from transforms.ledger_files import HUMAN, SYNTHETIC, WITHDRAWN, cut_bands, lookup_keys, matrix_of

PUBLISHED = (HUMAN, SYNTHETIC)
"""Kinds of rows that are publications."""
TRACED = [
    "id",
    "source",
    "generator",
    "generation",
    "origin",
    "parents",
    "task",
    "licence",
    "consent",
    "cycle",
    "run_id",
    "shard",
    "shard_digest",
    "kind",
]
"""Columns that `trace` tells."""
MAX_ANCESTORS = 64
"""Generations of parents that are followed back, at most."""


def keys_of(settings: ScoreSettings) -> LedgerKeys:
    """How texts are recognised under these settings of [score]."""
    scorer = SignatureScorer(settings.bands, settings.rows_per_band, settings.shingle_words, settings.signature_seed)
    return LedgerKeys(scorer.version, ContentHashScorer.version, settings.bands, settings.bands * settings.rows_per_band)


def existing_ledger(url: str) -> Snapshot:
    """The newest version of the ledger. Raises UsageError if there is none."""
    snapshot = read_ledger(url)
    if snapshot.keys is None:
        raise UsageError(f"{url}: holds no ledger; give the folder or address that runs were given as --ledger")
    return snapshot


def show_ledger(url: str) -> dict[str, Any]:
    """What each cycle was given: runs, documents, and shares by kind, origin, source and generator. Reads five narrow columns."""
    snapshot = existing_ledger(url)
    columns = ["cycle", "run_id", "origin", "source", "generator", "kind"]
    counts: dict[str, dict[str, Counter]] = {}
    for table in snapshot.read(columns, PUBLISHED):
        for row in table.group_by(columns, use_threads=False).aggregate([([], "count_all")]).to_pylist():
            held = counts.setdefault(row["cycle"], {name: Counter() for name in columns[1:]})
            for name in columns[1:]:
                held[name][row[name] or "(none)"] += row["count_all"]
    order = {run.cycle: number for number, run in reversed(list(enumerate(published_runs(url))))}
    cycles = []
    for cycle in sorted(counts, key=lambda name: (order.get(name, len(order)), name)):
        held = counts[cycle]
        cycles.append({"cycle": cycle, "documents": held["kind"].total(), **{f"{name}s": dict(held[name].most_common()) for name in columns[1:]}})
    return {
        "ledger": snapshot.url,
        "version": snapshot.version,
        "documents": snapshot.num_rows(PUBLISHED),
        "withdrawn": snapshot.num_rows([WITHDRAWN]),
        "files": len(snapshot.files),
        "file_bytes": sum(file.num_bytes for file in snapshot.files),
        "cycles": cycles,
    }


def trace_id(url: str, name: str, min_similarity: float) -> dict[str, Any]:
    """Where the document `name` and its near-duplicates went, and its ancestry. Raises UsageError if the ledger does not hold it."""
    snapshot = existing_ledger(url)
    own = snapshot.find("id", [name], ["content_hash", "signature"], PUBLISHED)
    if not own.num_rows:
        raise UsageError(f"{url}: holds no document {name!r}; give an id as published, or the path of a file with its text")
    keys = snapshot.keys
    signatures, valid = matrix_of(own["signature"], keys.num_hashes)
    found = _trace(snapshot, matrix_of(own["content_hash"], 16)[0], signatures, valid, min_similarity)
    return {"id": name, "publications": found, "ancestry": _ancestry(snapshot, found)}


def trace_text(url: str, text: str, min_similarity: float, settings: ScoreSettings) -> dict[str, Any]:
    """Where this text and its near-duplicates went. Raises UsageError if the ledger recognises texts by other settings than `settings`."""
    snapshot = existing_ledger(url)
    if keys_of(settings) != snapshot.keys:
        raise UsageError(f"{url}: recognises texts by {snapshot.keys.signature}; give the recipe of its runs with --recipe")
    batch = TextBatch.of([text])
    signed = SignatureScorer(settings.bands, settings.rows_per_band, settings.shingle_words, settings.signature_seed).score(batch)
    signatures, valid = binary_rows(signed["signature"])
    hashes, _ = binary_rows(ContentHashScorer().score(batch)["content_hash"])
    found = _trace(snapshot, hashes, signatures, valid, min_similarity)
    return {"id": None, "publications": found, "ancestry": _ancestry(snapshot, found)}


def _trace(snapshot: Snapshot, hashes: np.ndarray, signatures: np.ndarray, valid: np.ndarray, min_similarity: float) -> list[dict[str, Any]]:
    keys = snapshot.keys
    probes = make_probes(
        np.arange(len(hashes), dtype=np.uint64),
        hashes,
        signatures,
        valid,
        lookup_keys(hashes, cut_bands(signatures, keys.bands, keys.extra_bands), valid),
    )
    earlier = find_earlier(snapshot.reading((*PUBLISHED, WITHDRAWN)), probes, min_similarity)
    similarity: dict[tuple[str, str, str], float] = {}
    for row in earlier.to_pylist():
        key = (row["cycle"], row["run_id"], row["id"])
        similarity[key] = max(similarity.get(key, 0.0), row["similarity"])
    found = snapshot.find("id", sorted({key[2] for key in similarity}), TRACED).to_pylist()
    held = [{**row, "similarity": similarity.get((row["cycle"], row["run_id"], row["id"]))} for row in found]
    order = {run.run_id: number for number, run in enumerate(published_runs(snapshot.url))}
    held = [row for row in held if row["similarity"] is not None]
    return sorted(held, key=lambda row: (order.get(row["run_id"], len(order)), row["kind"] == WITHDRAWN, -row["similarity"], row["id"], row["shard"]))


def _ancestry(snapshot: Snapshot, publications: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen = {row["id"] for row in publications}
    wanted = {parent for row in publications for parent in row["parents"] or ()} - seen
    ancestors: list[dict[str, Any]] = []
    for _ in range(MAX_ANCESTORS):
        if not wanted:
            break
        found = snapshot.find("id", sorted(wanted), TRACED, PUBLISHED).to_pylist()
        ancestors += sorted(found, key=lambda row: (row["id"], row["cycle"], row["run_id"]))
        seen |= wanted
        wanted = {parent for row in found for parent in row["parents"] or ()} - seen
    return ancestors
