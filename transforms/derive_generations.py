"""How many models stand between a document and a human author: at least one more than the deepest of its known parents.

Parents are looked up among the documents of this run and, for those that are not there, in the ledger. Only documents that name parents, and the
parents themselves, take part: one worker holds them, about 60 bytes for each and 16 for each parent named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from transforms.records import Origin

MAX_GENERATION = 32_767
"""Generations are 16-bit integers: none is deeper."""
MAX_EXAMPLES = 5
"""Ids quoted in a report, at most."""
_HUMAN = [Origin.HUMAN.value, Origin.PRESUMED_HUMAN.value]


@dataclass(frozen=True)
class Generations:
    """What came of the documents of a run."""

    generation: pa.Array
    """int16, not null: the generation of each document, in their order."""
    raised: int
    """Documents that declared less than their known parents allow: declared and derived disagree."""
    raised_examples: tuple[str, ...]
    """Ids of some of these, the first in order."""
    unknown_parents: int
    """Parents named that neither this run nor the ledger knows, each counted once."""
    circular: int
    """Documents in a circle of parents, or between two: their parents among one another tell nothing."""


def named_parents(documents: pa.Table) -> pa.Array:
    """Distinct ids that `documents` name as `parents`, sorted: what is to be looked up in the ledger."""
    named = pc.list_flatten(documents["parents"]).combine_chunks()
    return pc.unique(named.drop_null()).sort()


def derive_generations(documents: pa.Table, in_ledger: pa.Table) -> Generations:
    """The generation of each document: of `id`, `origin` (as verified), `generation` (declared, or null) and `parents` (or null).

    `in_ledger` has `id` and `generation` (null: 0 where `kind` is human, else 1, if it has that column; else 1) of earlier publications. Text that counts or may
    count as human is of generation 0 unless it declares another, and parents do not raise it: to edit or to quote is not to be
    a model. Any other document is at least of generation 1, and 1 + the largest of its known parents'; if several documents or publications
    have one id, the deepest counts. Deterministic, whatever the order of the rows; linear in rows and parents.
    """
    ids, origins = documents["id"].combine_chunks(), documents["origin"].combine_chunks()
    human = pc.is_in(origins, value_set=pa.array(_HUMAN)).to_numpy(zero_copy_only=False)
    declared = documents["generation"].combine_chunks()
    least = np.where(human, 0, 1)
    stated = pc.fill_null(declared, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    own = np.maximum(np.where(stated < 0, least, stated), least)

    encoded = ids.dictionary_encode()
    node = encoded.indices.to_numpy().astype(np.int64)
    names = encoded.dictionary
    deepest = np.zeros(len(names), np.int64)
    np.maximum.at(deepest, node, own)
    rises = np.ones(len(names), bool)
    rises[node[human]] = False

    child_rows = pc.list_parent_indices(documents["parents"].combine_chunks()).to_numpy().astype(np.int64)
    parents = pc.list_flatten(documents["parents"].combine_chunks())
    parent_node = pc.fill_null(pc.index_in(parents, value_set=names), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    earlier = _deepest_earlier(in_ledger)
    in_earlier = pc.fill_null(pc.index_in(parents, value_set=earlier["id"].combine_chunks()), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = np.flatnonzero((in_earlier >= 0) & rises[node[child_rows]])
    np.maximum.at(deepest, node[child_rows[known]], earlier["generation"].to_numpy()[in_earlier[known]] + 1)

    inside = np.flatnonzero((parent_node >= 0) & rises[node[child_rows]])
    edges = np.unique(np.stack([parent_node[inside], node[child_rows[inside]]], axis=1), axis=0)
    entangled = np.zeros(len(names), bool)
    deepest = _relax(deepest, edges, entangled)

    generation = np.minimum(np.where(human, own, deepest[node]), MAX_GENERATION)
    raised = np.flatnonzero((stated >= 0) & (generation > stated))
    missing = pc.unique(parents.filter(pa.array((parent_node < 0) & (in_earlier < 0))).drop_null())
    examples = tuple(sorted(set(ids.take(pa.array(raised)).to_pylist()))[:MAX_EXAMPLES])
    return Generations(pa.array(generation.astype(np.int16)), len(raised), examples, len(missing), int(entangled[node].sum()))


def find_too_deep(generation: pa.Array, max_generation: int) -> pa.Array:
    """Which documents are of a deeper generation than `max_generation`. Raises ValueError if that is not 0 to `MAX_GENERATION`."""
    if not 0 <= max_generation <= MAX_GENERATION:
        raise ValueError(f"max_generation must lie in 0 to {MAX_GENERATION}, not {max_generation}")
    return pc.greater(generation, pa.scalar(max_generation, pa.int16()))


def _deepest_earlier(in_ledger: pa.Table) -> pa.Table:
    missing: pa.ChunkedArray | pa.Scalar = pa.scalar(1, pa.int64())
    if "kind" in in_ledger.schema.names:
        missing = pc.if_else(pc.equal(in_ledger["kind"], "human"), pa.scalar(0, pa.int64()), missing)
    generation = pc.coalesce(in_ledger["generation"].cast(pa.int64()), missing)
    grouped = pa.table({"id": in_ledger["id"], "generation": generation}).group_by("id", use_threads=False).aggregate([("generation", "max")])
    return grouped.rename_columns(["id", "generation"])


def _relax(deepest: np.ndarray, edges: np.ndarray, entangled: np.ndarray) -> np.ndarray:
    """`deepest` raised along the edges (parent, child); marks in `entangled` the nodes of circles, whose edges among one another do not count."""
    if len(edges):
        by_child = edges[np.argsort(edges[:, 1], kind="stable")]
        _mark_entangled(
            _starts(edges[:, 0], len(deepest)), edges[:, 1].copy(), _starts(by_child[:, 1], len(deepest)), by_child[:, 0].copy(), entangled
        )
        edges = edges[~(entangled[edges[:, 0]] & entangled[edges[:, 1]])]
        deepest = _deepen(_starts(edges[:, 0], len(deepest)), edges[:, 1].copy(), deepest.copy())
    return deepest


def _starts(sorted_nodes: np.ndarray, num_nodes: int) -> np.ndarray:
    return np.searchsorted(sorted_nodes, np.arange(num_nodes + 1)).astype(np.int64)


@njit(cache=True)
def _peel(starts, ends, degrees, gone, queue):
    """Takes away nodes without an edge that points to them, again and again; `degrees` counts those edges, `gone` marks what is away."""
    filled = 0
    for node in range(len(degrees)):
        if degrees[node] == 0 and not gone[node]:
            gone[node] = True
            queue[filled] = node
            filled += 1
    done = 0
    while done < filled:
        node = queue[done]
        done += 1
        for place in range(starts[node], starts[node + 1]):
            end = ends[place]
            degrees[end] -= 1
            if degrees[end] == 0 and not gone[end]:
                gone[end] = True
                queue[filled] = end
                filled += 1


@njit(cache=True)
def _mark_entangled(child_starts, children, parent_starts, parents, entangled):
    """What is left when nodes without parents, and then nodes without children, are taken away again and again."""
    num_nodes = len(entangled)
    queue, gone = np.empty(num_nodes, np.int64), np.zeros(num_nodes, np.bool_)
    degrees = parent_starts[1:] - parent_starts[:-1]
    _peel(child_starts, children, degrees, gone, queue)
    for node in range(num_nodes):
        degrees[node] = 0
        for place in range(child_starts[node], child_starts[node + 1]):
            degrees[node] += not gone[children[place]]
    _peel(parent_starts, parents, degrees, gone, queue)
    for node in range(num_nodes):
        entangled[node] = not gone[node]


@njit(cache=True)
def _deepen(starts, children, deepest):
    """The largest generation along every path, for a graph without circles."""
    num_nodes = len(deepest)
    degrees = np.zeros(num_nodes, np.int64)
    for child in children:
        degrees[child] += 1
    queue = np.empty(num_nodes, np.int64)
    filled = 0
    for node in range(num_nodes):
        if degrees[node] == 0:
            queue[filled] = node
            filled += 1
    done = 0
    while done < filled:
        node = queue[done]
        done += 1
        for place in range(starts[node], starts[node + 1]):
            child = children[place]
            deepest[child] = max(deepest[child], deepest[node] + 1)
            degrees[child] -= 1
            if degrees[child] == 0:
                queue[filled] = child
                filled += 1
    return deepest
