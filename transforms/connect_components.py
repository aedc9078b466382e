"""Connected components of a graph that no worker holds: edges go in, (document, component) comes out.

Rounds of two steps contract the graph towards stars, one star a component. "Large star" links each node's larger
neighbours to its smallest one; "forest" unites all edges that meet in one partition by union-find. Neither ever adds edges.
Nodes are ordered by a hash of their address: so each round leaves about half of what is not yet a star, even of a path; the
groups of near-duplicates found in practice are done after two or three rounds. What is not, the residue, is
finished by one worker, so the result is exact for any graph, and the counter `residue-edges` tells how large it was.

*Source:* Kiveris et al. 2014, "Connected Components in MapReduce and Beyond", section 3 (large-star); with a forest of each
partition for their small-star, which it contains.
"""

import apache_beam as beam
import numpy as np
from numba import njit

from transforms.packed_arrays import join_pairs, split_by_key
from transforms.pool_steps import CountItems, Group, GroupOnPool, Keyed, PoolDo
from transforms.records import shards_of

_MULTIPLIER = 0xFF51AFD7ED558CCD
_RESIDUE_KEY = -1


def name_nodes(addresses: np.ndarray) -> np.ndarray:
    """A one-to-one hash (uint64) of addresses, the names of nodes within this file; `address_nodes` inverts it."""
    mixed = (addresses ^ (addresses >> np.uint64(33))) * np.uint64(_MULTIPLIER)
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(_MULTIPLIER)
    return mixed ^ (mixed >> np.uint64(33))


def address_nodes(nodes: np.ndarray) -> np.ndarray:
    """Inverse of `name_nodes`."""
    inverse = np.uint64(pow(_MULTIPLIER, -1, 1 << 64))
    mixed = (nodes ^ (nodes >> np.uint64(33))) * inverse
    mixed = (mixed ^ (mixed >> np.uint64(33))) * inverse
    return mixed ^ (mixed >> np.uint64(33))


def contract_forest(edges: np.ndarray) -> np.ndarray:
    """One edge (smallest node of the component, node) for every other node of `edges` (uint64[n, 2]), sorted by node.

    Connects what `edges` connects, with no more edges. Cost: a sort of the ends.
    """
    if not len(edges):
        return np.empty((0, 2), "<u8")
    nodes, ends = np.unique(edges, return_inverse=True)
    roots = find_roots(ends.reshape(-1, 2), len(nodes))
    others = roots != np.arange(len(nodes))
    return np.stack([nodes[roots[others]], nodes[others]], axis=1)


@njit(["int64[:](int64[:,:], int64)"], cache=True, nogil=True)
def find_roots(ends, num_nodes):
    """Smallest node (int64[num_nodes]) of the component of each of the nodes 0 to num_nodes - 1."""
    parents = np.arange(num_nodes)
    for edge in range(len(ends)):
        left, right = ends[edge, 0], ends[edge, 1]
        while parents[left] != left:
            parents[left] = parents[parents[left]]
            left = parents[left]
        while parents[right] != right:
            parents[right] = parents[parents[right]]
            right = parents[right]
        if left < right:
            parents[right] = left
        else:
            parents[left] = right
    for node in range(num_nodes):
        parents[node] = parents[parents[node]]
    return parents


def make_large_stars(neighbours: np.ndarray) -> np.ndarray:
    """Links each node's larger neighbours to the smallest of the node and its neighbours.

    `neighbours` (uint64[n, 2]: node, neighbour) holds all neighbours of each node that it names. Gives edges (smaller, larger).
    """
    if not len(neighbours):
        return neighbours
    neighbours = neighbours[np.argsort(neighbours[:, 0], kind="stable")]
    node, neighbour = neighbours[:, 0], neighbours[:, 1]
    starts = np.flatnonzero(np.r_[True, node[1:] != node[:-1]])
    smallest = np.minimum(node[starts], np.minimum.reduceat(neighbour, starts))
    links = np.stack([np.repeat(smallest, np.diff(np.r_[starts, len(node)])), neighbour], axis=1)
    return links[neighbour > node]


def part_settled(neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (smaller, larger) whose larger end has no other neighbour, and those that are not settled so: each edge is in one.

    `neighbours` as in `make_large_stars`; only edges whose larger end is the node are given.
    """
    neighbours = np.unique(neighbours, axis=0)
    node, neighbour = neighbours[:, 0], neighbours[:, 1]
    _, degree_index, degrees = np.unique(node, return_inverse=True, return_counts=True)
    owned = neighbour < node
    settled = owned & (degrees[degree_index] == 1)
    edges = neighbours[:, ::-1]
    return edges[settled], edges[owned & ~settled]


def label_members(links: np.ndarray) -> np.ndarray:
    """(node, component) for all nodes: leaves take over the component of the node that they hang on.

    `links` (uint64[n, 2]) holds settled edges (node, leaf), the leaf being larger, and (node, component) of the residue, the component
    being no larger than the node. A node without a component is a component's own name.
    """
    is_leaf = links[:, 0] < links[:, 1]
    settled, labels = links[is_leaf], links[~is_leaf]
    nodes = np.unique(links[:, 0])
    components = nodes.copy()
    components[np.searchsorted(nodes, labels[:, 0])] = labels[:, 1]
    of_leaves = components[np.searchsorted(nodes, settled[:, 0])]
    return np.concatenate([np.stack([nodes, components], axis=1), np.stack([settled[:, 1], of_leaves], axis=1)])


class ConnectComponents(beam.PTransform):
    """(any int, edges) -> PCollection[tuple[int, bytes]]: (address, component) of each node, keyed by the shard of the address.

    Edges and results are uint64[n, 2] as bytes. A component is an arbitrary uint64, the same for its members and for them alone.
    Memory of a worker: one of `num_partitions` parts of the edges, or the neighbours of one node if these are more (16 bytes each), and the
    residue. `rounds` of two shuffles each run whatever the graph; each costs milliseconds where little is left to do.
    """

    def __init__(self, num_partitions: int, rounds: int):
        super().__init__()
        if num_partitions < 1 or rounds < 0:
            raise ValueError(f"num_partitions must be at least 1, not {num_partitions}; rounds at least 0, not {rounds}")
        self._num_partitions, self._rounds = num_partitions, rounds

    def expand(self, edges: beam.PCollection) -> beam.PCollection:
        partitions = self._num_partitions
        start = PoolDo("NameNodes", _name_edges, partitions)
        ends = edges | "NameNodes" >> beam.ParDo(start).with_output_types(Keyed)
        for number in range(1, self._rounds + 1):
            ends = ends | f"LargeStars{number}" >> GroupOnPool(_large_stars, partitions)
            ends = ends | f"Forest{number}" >> GroupOnPool(_forest, partitions)
        parted = ends | "PartSettled" >> GroupOnPool(_part_settled, partitions)
        settled = parted | "Settled" >> beam.Filter(lambda keyed: keyed[0] != _RESIDUE_KEY).with_output_types(Keyed)
        residue = (
            parted
            | "Residue" >> beam.Filter(lambda keyed: keyed[0] == _RESIDUE_KEY).with_output_types(Keyed)
            | "CountResidue" >> beam.ParDo(CountItems("residue-edges", 16)).with_output_types(Keyed)
        )
        labels = residue | "FinishResidue" >> GroupOnPool(_finish_residue, partitions)
        return (settled, labels) | "LabelMembers" >> GroupOnPool(_label_members)


def _name_edges(keyed: Keyed, num_partitions: int) -> list[Keyed]:
    return _route_ends(contract_forest(name_nodes(join_pairs([keyed[1]]))), num_partitions)


def _large_stars(group: Group, num_partitions: int) -> list[Keyed]:
    links = make_large_stars(join_pairs(group[1]))
    return _route(links, links[:, 1], num_partitions)


def _forest(group: Group, num_partitions: int) -> list[Keyed]:
    return _route_ends(contract_forest(join_pairs(group[1])), num_partitions)


def _part_settled(group: Group, num_partitions: int) -> list[Keyed]:
    settled, residue = part_settled(join_pairs(group[1]))
    return _route(settled, settled[:, 0], num_partitions) + ([(_RESIDUE_KEY, residue.tobytes())] if len(residue) else [])


def _finish_residue(group: Group, num_partitions: int) -> list[Keyed]:
    links = contract_forest(join_pairs(group[1]))
    roots = np.unique(links[:, 0])
    labels = np.concatenate([links[:, ::-1], np.stack([roots, roots], axis=1)])
    return _route(labels, labels[:, 0], num_partitions)


def _label_members(group: Group) -> list[Keyed]:
    members = label_members(join_pairs(group[1]))
    members[:, 0] = address_nodes(members[:, 0])
    return [(shard, members[positions].tobytes()) for shard, positions in split_by_key(shards_of(members[:, 0]))]


def _route_ends(edges: np.ndarray, num_partitions: int) -> list[Keyed]:
    """Each edge to the partitions of both ends, as (node, neighbour)."""
    both = np.concatenate([edges, edges[:, ::-1]])
    return _route(both, both[:, 0], num_partitions)


def _route(pairs: np.ndarray, nodes: np.ndarray, num_partitions: int) -> list[Keyed]:
    """The pairs to the partitions of `nodes`: by a remainder, since their order is by value."""
    return [(partition, pairs[positions].tobytes()) for partition, positions in split_by_key((nodes % np.uint64(num_partitions)).astype(np.int64))]
