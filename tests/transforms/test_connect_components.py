"""The components of any graph, exactly, whatever the partitions and rounds."""

import itertools
import uuid

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from transforms import connect_components as steps
from transforms.connect_components import ConnectComponents, address_nodes, contract_forest, label_members, make_large_stars, name_nodes, part_settled
from transforms.packed_arrays import join_pairs

_FOUND: dict[str, list[bytes]] = {}

small_graphs = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), max_size=60).map(lambda edges: np.array(edges, "<u8").reshape(-1, 2))


def components_of(edges):
    """The partition of the nodes into components, by the plainest union-find."""
    parent = {}

    def root(node):
        parent.setdefault(node, node)
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in np.asarray(edges).tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    groups = {}
    for node in list(parent):
        groups.setdefault(root(node), set()).add(node)
    return {frozenset(group) for group in groups.values()}


def groups_of(members):
    """The same, of (node, component) rows; asserts that no node has two components."""
    assert len(set(members[:, 0].tolist())) == len(members)
    groups = {}
    for node, component in members.tolist():
        groups.setdefault(component, set()).add(node)
    return {frozenset(group) for group in groups.values()}


def shuffle(items):
    """Groups (key, value) as a GroupByKey would."""
    items = sorted(items)
    return [(key, [value for _, value in values]) for key, values in itertools.groupby(items, key=lambda item: item[0])]


def run_steps(edges, partitions, rounds):
    """The whole of `ConnectComponents` without Beam: members, edges in the residue, and edges after each round."""
    sizes = []
    ends = steps._name_edges((0, edges.tobytes()), partitions)
    for _ in range(rounds):
        ends = [out for group in shuffle(ends) for out in steps._large_stars(group, partitions)]
        ends = [out for group in shuffle(ends) for out in steps._forest(group, partitions)]
        sizes.append(sum(len(value) for _, value in ends) // 32)
    parted = [out for group in shuffle(ends) for out in steps._part_settled(group, partitions)]
    residue = [(key, value) for key, value in parted if key < 0]
    settled = [(key, value) for key, value in parted if key >= 0]
    labels = [out for group in shuffle(residue) for out in steps._finish_residue(group, partitions)]
    members = [out for group in shuffle(settled + labels) for out in steps._label_members(group)]
    return join_pairs(value for _, value in members), sum(len(value) for _, value in residue) // 16, sizes


def path(nodes):
    return np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1).astype("<u8")


def star(leaves):
    return np.stack([np.full(leaves, 7_000_000), np.arange(leaves)], axis=1).astype("<u8")


def clique(nodes):
    return np.stack(np.triu_indices(nodes, 1), axis=1).astype("<u8")


def random_graph(nodes, edges, seed=0):
    return np.random.default_rng(seed).integers(0, nodes, (edges, 2), np.uint64).astype("<u8")


GRAPHS = {
    "path": path(5_000),
    "star": star(3_000),
    "clique": clique(80),
    "sparse": random_graph(4_000, 1_800),
    "critical": random_graph(4_000, 2_000, 1),
    "dense": random_graph(500, 5_000, 2),
    "several": np.concatenate([path(300), star(200) + np.uint64(1 << 33), clique(20) + np.uint64(5 << 33)]),
    "empty": np.empty((0, 2), "<u8"),
}


@given(stn.arrays(np.uint64, st.integers(0, 30)))
def test_names_of_nodes_lead_back_to_addresses(addresses):
    assert np.array_equal(address_nodes(name_nodes(addresses)), addresses)


@given(small_graphs)
def test_a_forest_connects_what_the_edges_connect_as_stars_of_the_smallest(edges):
    forest = contract_forest(edges)
    components = {group for group in components_of(edges) if len(group) > 1}
    assert components_of(forest) == components
    assert {tuple(edge) for edge in forest.tolist()} == {(min(group), node) for group in components for node in group - {min(group)}}


@given(small_graphs)
def test_large_stars_connect_the_same_nodes_with_no_more_edges(edges):
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    links = make_large_stars(np.concatenate([edges, edges[:, ::-1]]))
    assert components_of(links) == components_of(edges)
    assert len(np.unique(links, axis=0)) <= len(edges)
    assert (links[:, 0] < links[:, 1]).all()


@given(small_graphs)
def test_settled_edges_and_residue_are_all_edges_and_their_members_the_components(edges):
    edges = contract_forest(edges)
    both = np.concatenate([edges, edges[:, ::-1]])
    settled, residue = part_settled(both)
    assert sorted(settled.tolist()) == sorted(edges.tolist())
    assert not len(residue)
    assert groups_of(label_members(settled)) == components_of(edges)


@given(small_graphs, st.integers(1, 5), st.integers(0, 3), st.integers(0, 1 << 40))
def test_components_are_exact_for_any_graph_partitions_and_rounds(edges, partitions, rounds, shift):
    edges = edges + np.uint64(shift)
    members, _, _ = run_steps(edges, partitions, rounds)
    assert groups_of(members) == {group for group in components_of(edges) if len(group) > 1}


@pytest.mark.parametrize("rounds", [0, 1, 2, 6])
@pytest.mark.parametrize("name", GRAPHS)
def test_components_of_hard_graphs_are_exact(name, rounds):
    members, _, sizes = run_steps(GRAPHS[name], 7, rounds)
    assert groups_of(members) == {group for group in components_of(GRAPHS[name]) if len(group) > 1}
    assert all(size <= len(GRAPHS[name]) for size in sizes)


@pytest.mark.parametrize("name", ["star", "clique"])
def test_stars_and_cliques_leave_no_residue(name):
    assert run_steps(GRAPHS[name], 7, 2)[1] == 0


def test_the_residue_of_a_path_halves_with_each_round():
    # Edges reach the rounds one at a time, so that no forest is made before them.
    edges = name_nodes(path(20_000))
    ends = [(int(node) % 64, pair.tobytes()) for edge in edges for node, pair in ((edge[0], edge), (edge[1], edge[::-1]))]
    residues = []
    for _ in range(6):
        ends = [out for group in shuffle(ends) for out in steps._large_stars(group, 64)]
        ends = [out for group in shuffle(ends) for out in steps._forest(group, 64)]
        parted = [out for group in shuffle(ends) for out in steps._part_settled(group, 64)]
        residues.append(sum(len(value) for key, value in parted if key < 0) // 16)
    assert residues[-1] < 20_000 / 2**5
    assert all(later < 0.62 * earlier for earlier, later in itertools.pairwise(residues))


def _collect(keyed, run):
    shard, value = keyed
    assert (join_pairs([value])[:, 0] >> np.uint64(32) == shard).all()
    _FOUND.setdefault(run, []).append(value)


def test_a_pipeline_finds_the_components_and_counts_the_residue():
    edges = np.concatenate([*list(GRAPHS.values()), path(5000) + np.uint64(9 << 33)])
    edges = edges[np.random.default_rng(0).permutation(len(edges))]
    chunks = [(0, chunk.tobytes()) for chunk in np.array_split(edges, 40)]
    for partitions, rounds in ((1, 0), (4, 2)):
        run = uuid.uuid4().hex
        pipeline = beam.Pipeline(FnApiRunner())
        created = pipeline | beam.Create(chunks, reshuffle=False).with_output_types(tuple[int, bytes])
        _ = created | ConnectComponents(partitions, rounds) | beam.Map(_collect, run)
        result = pipeline.run()
        result.wait_until_finish()
        assert groups_of(join_pairs(_FOUND.pop(run))) == {group for group in components_of(edges) if len(group) > 1}
        (residue,) = (held.committed for held in result.metrics().query()["counters"] if held.key.metric.name == "residue-edges")
        assert 0 < residue < len(edges)


@pytest.mark.parametrize(("partitions", "rounds"), [(0, 2), (8, -1)])
def test_impossible_settings_are_an_error(partitions, rounds):
    with pytest.raises(ValueError, match="at least"):
        ConnectComponents(partitions, rounds)
