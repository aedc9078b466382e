"""What the mix writes beside a rejection: the stage, the reason, the figure that decided and its limit; and what it leaves alone."""

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.mix_documents import CODES, decisions_of, make_documents
from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import MixSettings
from transforms.records import Origin


def documents(human: int, synthetic: int, tokens: int = 10, **changes) -> list[dict]:
    """So many documents of each kind, all of one size."""
    made = make_documents(human + synthetic, "mixed", 7)
    for number, document in enumerate(made):
        origin = Origin.HUMAN if number < human else Origin.SYNTHETIC
        document |= {"origin": CODES[origin], "tokens": tokens, "bytes": 5 * tokens} | changes
    return made


def mixed(given: list[dict], **settings) -> list[dict]:
    """The rows as the mix leaves them, with where they go."""
    mix = MixSettings(**settings)
    table = decisions_of(given)
    outcome = apply_mix(table, cuts_of_tables([table], mix), mix)
    columns = {name: getattr(outcome, name).to_pylist() for name in ("stage", "reason", "value", "limit")}
    columns |= {"shard": outcome.output_shard.tolist(), "key": outcome.placement_key.tolist()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def of_reason(rows: list[dict], reason: str | None) -> list[dict]:
    return [row for row in rows if row["reason"] == reason]


def test_what_is_published_has_no_reason_and_a_shard():
    rows = mixed(documents(10, 10), human_quota="0.5", num_shards=2)
    assert len(of_reason(rows, None)) == 20
    assert all(row["stage"] is row["value"] is row["limit"] is None and row["shard"] in (0, 1) for row in rows)


@pytest.mark.parametrize(
    ("limits", "value", "limit"),
    [
        ({"max_documents": 10}, 40, 10),
        ({"max_tokens": 100}, 400, 100),
        # Of two limits the one that is exceeded by more is named, whichever it is.
        ({"max_documents": 10, "max_tokens": 80}, 400, 80),
        ({"max_documents": 8, "max_tokens": 100}, 40, 8),
        ({"max_documents": 8, "max_tokens": 10_000}, 40, 8),
    ],
)
def test_over_the_size_says_what_there_was_and_the_tighter_limit(limits, value, limit):
    rows = mixed(documents(20, 20), human_quota="0.5", num_shards=1, **limits)
    turned_down = of_reason(rows, "over_size")
    assert turned_down and {(row["stage"], row["value"], row["limit"]) for row in turned_down} == {("mix", value, limit)}
    assert len(of_reason(rows, None)) == min(limits.get("max_documents", 40), limits.get("max_tokens", 400) // 10)


def test_not_fresh_says_the_fresh_share_there_was_and_the_least_that_was_asked_for():
    given = documents(20, 0)
    for number, document in enumerate(given):
        document["fresh"] = number < 5
    rows = mixed(given, human_quota="0.5", min_fresh_human="0.5", num_shards=1)
    stale = of_reason(rows, "not_fresh")
    assert len(stale) == 10 and len(of_reason(rows, None)) == 10
    assert {(row["stage"], row["value"], row["limit"]) for row in stale} == {("mix", 0.25, 0.5)}
    assert all(rows[number]["reason"] is None for number in range(5)), "fresh ones stay"


def test_a_shards_quota_says_the_share_reached_and_the_quota():
    # Three human documents of 10 tokens in three shards carry 10 other tokens each: one document of 8, and none of two.
    given = documents(3, 4, tokens=8)
    for document in given[:3]:
        document["tokens"] = 10
    rows = mixed(given, human_quota="0.5", quota_unit="tokens", num_shards=3)
    (lost, *more) = of_reason(rows, "shard_quota") or of_reason(rows, "over_quota")
    assert not more and lost["stage"] == "mix" and lost["limit"] == 0.5 and lost["shard"] == -1
    assert sorted(row["shard"] for row in rows if row["reason"] is None) == [0, 0, 1, 1, 2, 2]


def test_a_part_of_a_shard_is_decided_as_all_of_it_is():
    given, mix = documents(30, 40), MixSettings(human_quota="0.6", max_documents=40, num_shards=3)
    table = decisions_of(given)
    cuts = cuts_of_tables([table], mix)
    whole = apply_mix(table, cuts, mix)
    batch = table.slice(11, 17).combine_chunks().to_batches()[0]
    for part in (table.slice(11, 17), batch):
        outcome = apply_mix(part, cuts, mix)
        assert outcome.reason.to_pylist() == whole.reason.slice(11, 17).to_pylist()
        assert outcome.output_shard.tolist() == whole.output_shard[11:28].tolist()
        assert outcome.placement_key.tolist() == whole.placement_key[11:28].tolist()


def test_an_empty_shard_is_decided_too():
    mix = MixSettings(human_quota="0.5", num_shards=1)
    table = decisions_of(documents(4, 4))
    outcome = apply_mix(table.slice(0, 0), cuts_of_tables([table], mix), mix)
    assert len(outcome.reason) == len(outcome.output_shard) == len(outcome.placement_key) == 0
    assert outcome.reason.type == pa.string() and outcome.placement_key.dtype == np.uint64


@pytest.mark.parametrize("count", [True, False])
def test_presumed_human_text_counts_only_where_it_is_said_to(count):
    given = documents(4, 4)
    for document in given[:4]:
        document["origin"] = CODES[Origin.PRESUMED_HUMAN]
    if count:
        assert len(of_reason(mixed(given, human_quota="0.5", num_shards=1, count_presumed_human=True), None)) == 8
    else:
        given.append({**given[0], "address": 99, "id": "one", "origin": CODES[Origin.HUMAN]})
        rows = mixed(given, human_quota="0.5", num_shards=1)
        assert len(of_reason(rows, None)) == 2 and rows[-1]["reason"] is None
