"""Claims about orders of priority: each group may choose among its documents in its own way, and the innermost group decides."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.mix_documents import decisions_of, make_documents, priorities_of
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.group_members import add_members
from transforms.group_settings import PRIORITIES, Group
from transforms.mix_settings import MixSettings
from transforms.read_priorities import orders_of, read_priorities
from transforms.survey_mix import read_alive

BETTER, LONG, OUTER = "quality >= 0.5", "tokens >= 10", "bytes < 20"


def keys_of(documents: list[dict], mix: MixSettings) -> np.ndarray:
    table = add_members(decisions_of(documents), mix.groups)
    return read_priorities(table, table["row_key"].to_numpy(), table["quality"].to_numpy(), mix)


@given(st.integers(0, 40), st.integers(0, 9), st.sampled_from(PRIORITIES), st.sampled_from(PRIORITIES), st.sampled_from(PRIORITIES))
@settings(max_examples=60)
def test_each_document_has_the_key_of_its_innermost_groups_order(count, seed, whole, better, nested):
    groups = (Group("better", BETTER, priority=better), Group("long", LONG, "better", priority=nested), Group("outer", OUTER))
    mix = MixSettings(priority=whole, groups=groups, seed=seed)
    documents = make_documents(count, "mixed", seed)
    by_order = {order: priorities_of(documents, MixSettings(priority=order, seed=seed)) for order in PRIORITIES}
    for row, (document, key) in enumerate(zip(documents, keys_of(documents, mix), strict=True)):
        is_better = document["quality"] >= 0.5
        order = nested if is_better and document["tokens"] >= 10 else better if is_better else whole
        assert key == by_order[order][row]


def test_of_groups_of_one_depth_the_last_by_name_decides():
    groups = (Group("z", LONG, priority="hard"), Group("a", BETTER, priority="random"))
    mix = MixSettings(priority="quality", groups=groups)
    documents = [{**make_documents(1, "mixed", 0)[0], "quality": quality, "tokens": tokens} for quality, tokens in [(0.9, 10), (0.9, 1), (0.1, 10), (0.1, 1)]]
    orders = orders_of(add_members(decisions_of(documents), mix.groups), mix)
    assert [mix.orders[place] for place in orders] == ["hard", "random", "hard", "quality"]


def test_a_mix_reads_the_scores_of_every_order_that_some_group_has():
    groups = (Group("a", BETTER, priority="importance"), Group("b", LONG, priority="diverse"), Group("c", OUTER, priority="importance"))
    mix = MixSettings(priority="hard", groups=groups)
    assert mix.orders == ("hard", "importance", "diverse") and mix.takes_turns
    assert mix.scored_fields == ("perplexity", "ai_probability", "cluster_rank")
    assert MixSettings(priority="random", groups=(Group("a", BETTER),)).scored_fields == ()


def test_quality_is_demanded_only_where_some_order_looks_at_it():
    documents = [{**document, "quality": float("nan")} for document in make_documents(3, "mixed", 1)]
    read_alive(decisions_of(documents), MixSettings(priority="random", groups=(Group("a", LONG, priority="hard"),)))
    with pytest.raises(ValueError, match="priority=diverse needs a value"):
        read_alive(decisions_of(documents), MixSettings(priority="random", groups=(Group("a", LONG, priority="diverse"),)))


def test_a_group_publishes_its_own_first_by_its_own_order():
    """Two groups of fifty, half of each wanted: the best of one, the most surprising of the other."""
    documents = [
        {**document, "origin": 0, "source": source, "perplexity": float(row + 2), "quality": (row * 7 % 50) / 64, "address": place << 32 | row}
        for place, source in enumerate(("best", "hardest"))
        for row, document in enumerate(make_documents(50, "all human", place))
    ]
    groups = (Group("best", 'source == "best"', documents=25), Group("hardest", 'source == "hardest"', documents=25, priority="hard"))
    mix = MixSettings(human_quota=0, max_documents=50, priority="quality", groups=groups, num_shards=1)
    table = decisions_of(documents)
    kept = apply_mix(table, cuts_of_tables([table], mix), mix).output_shard >= 0
    chosen = [document for document, is_kept in zip(documents, kept, strict=True) if is_kept]
    assert {document["perplexity"] for document in chosen if document["source"] == "hardest"} == set(map(float, range(27, 52)))
    assert min(document["quality"] for document in chosen if document["source"] == "best") >= 24 / 64
    parts = [table.slice(0, 30), table.slice(30, 41), table.slice(71)]
    cuts = cuts_of_tables(parts, mix)
    assert pa.concat_arrays([pa.array(apply_mix(part, cuts, mix).output_shard >= 0) for part in parts]).to_pylist() == kept.tolist()


@pytest.mark.parametrize(("given_order", "nearest"), [("qualty", "; did you mean 'quality'?"), ("best", "")])
def test_an_order_that_does_not_exist_is_named_with_those_that_do(given_order, nearest):
    with pytest.raises(ValueError, match=f"groups.a.priority = '{given_order}': must be one of quality, random, importance, diverse, hard, or empty") as error:
        Group("a", BETTER, priority=given_order)
    assert str(error.value).endswith("or empty" + nearest) or nearest


def test_what_a_group_asks_for_names_its_order():
    assert Group("a", BETTER, priority="hard", min_share="0.2").asked == "min_share = 0.2, priority = hard"
