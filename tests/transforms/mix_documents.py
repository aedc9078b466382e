"""Made-up decided documents, and the mix as one worker would do it with all of them in a list: the reference of the mix's tests."""

import bisect
import random
from fractions import Fraction

import numpy as np
import pyarrow as pa

from transforms.apply_mix import apply_mix
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import PRIORITY_FIELDS, MixSettings
from transforms.order_keys import placement_keys, priority_keys
from transforms.place_mix import MixCuts
from transforms.plan_mix import plan_mix
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, Origin, Reason

SCORED = pa.schema([("ai_probability", pa.float32()), ("perplexity", pa.float32()), ("cluster_rank", pa.uint16())])
"""Scores that stand beside the decisions."""
CODES = {origin: ORIGIN_CODES[origin] for origin in Origin}


def make_documents(count: int, kind: str, seed: int) -> list[dict]:
    """Decided documents, all alive. Kinds: mixed, all human, no human, mostly other, ties (few row keys, one quality)."""
    chance, scores = random.Random(seed), random.Random(seed + 1)
    origins = {
        "all human": [Origin.HUMAN],
        "no human": [Origin.SYNTHETIC, Origin.UNKNOWN],
        "mostly other": [Origin.HUMAN] + [Origin.SYNTHETIC] * 9,
    }.get(kind, list(Origin))
    documents = []
    for index in range(count):
        has_ties = kind == "ties"
        documents.append(
            {
                "address": (index % 3 << 32) | index,
                "id": f"d{index}",
                "source": "made",
                "declared": 0,
                "origin": CODES[chance.choice(origins)],
                "verified": True,
                "row_key": chance.randrange(3) if has_ties else chance.getrandbits(64),
                "content_hash": bytes(16),
                "quality": 0.5 if has_ties else float(np.float32(chance.random())),
                "words": 1,
                "tokens": chance.choice([0, 1, 5, 10, 20, 200]),
                "bytes": chance.choice([1, 5, 10, 20, 400]),
                "stage": None,
                "reason": None,
                "value": None,
                "limit": None,
                "partner_id": None,
                "similarity": None,
                "partner_cycle": None,
                "generation": None,
                "fresh": None,
                "ai_probability": 0.5 if has_ties else scores.choice([None, 0.0, 1.0, float(np.float32(scores.random()))]),
                "perplexity": 9.0 if has_ties else scores.choice([None, 9.0, float(np.float32(scores.uniform(1, 999)))]),
                "cluster_rank": 0 if has_ties else scores.choice([0, 1, 2, 1022, 1023]),
            }
        )
    return documents


def decisions_of(documents: list[dict]) -> pa.Table:
    """The documents as a table of `DECISION_SCHEMA`, with the scores beside it."""
    return pa.Table.from_pylist(documents, schema=pa.unify_schemas([DECISION_SCHEMA, SCORED]))


def apply_parts(documents: list[dict], parts: list[int], mix: MixSettings) -> tuple[dict[int, dict], MixCuts]:
    """What the mix decides, by address, with document i lying in the decided shard `parts[i]`; and the cuts."""
    tables = []
    for part in sorted(set(parts)):
        tables.append(decisions_of([document for document, place in zip(documents, parts, strict=True) if place == part]))
    cuts = cuts_of_tables(tables, mix)
    decided = {}
    for table in tables:
        outcome = apply_mix(table, cuts, mix)
        columns = zip(
            table["address"].to_pylist(), outcome.output_shard.tolist(), outcome.reason.to_pylist(), outcome.placement_key.tolist(), strict=True
        )
        for address, shard, reason, key in columns:
            decided[address] = {"output_shard": shard, "reason": reason, "placement_key": key}
    return decided, cuts


def slow_mix(documents: list[dict], mix: MixSettings) -> dict[int, tuple[int, str | None]]:
    """Address to (shard, reason), by sorting whole strata and walking along them document by document."""
    ranked, row_keys = [], np.array([document["row_key"] for document in documents], np.uint64)
    for document, priority, placement in zip(documents, priorities_of(documents, mix), placement_keys(row_keys, mix), strict=True):
        ranked.append({**document, "priority": int(priority), "placement": int(placement), "documents": 1})
    human_codes = {CODES[Origin.HUMAN]} | ({CODES[Origin.PRESUMED_HUMAN]} if mix.count_presumed_human else set())
    strata = {True: [], False: []}
    for document in sorted(ranked, key=lambda document: (document["priority"], document["address"])):
        strata[document["origin"] in human_codes].append(document)
    human, other = strata[True], strata[False]
    plan = plan_mix(units_of(human), units_of(other), mix)
    allowed = 0 if mix.human_quota == 1 else longest(other, mix, 1 - mix.human_quota)
    free = plan_mix(units_of(human), units_of(other), MixSettings(**{**vars(mix), "num_shards": 1}))
    result = {}
    for stratum, chosen, by_quota, by_size in (
        (human, plan.human_selected.documents, plan.human_selected.documents, plan.human_selected.documents),
        (other, plan.other_selected.documents, free.other_selected.documents, allowed),
    ):
        for rank, document in enumerate(stratum):
            reason = Reason.OVER_SIZE if rank >= by_size else Reason.OVER_QUOTA if rank >= by_quota else Reason.SHARD_QUOTA
            result[document["address"]] = (-1, None if rank < chosen else reason.value)
    for document, shard in place(human[: plan.human_selected.documents], other[: plan.other_selected.documents], plan.num_shards, mix):
        result[document["address"]] = (shard, None if shard >= 0 else Reason.SHARD_QUOTA.value)
    return result


def priorities_of(documents: list[dict], mix: MixSettings) -> np.ndarray:
    row_keys = np.array([document["row_key"] for document in documents], np.uint64)
    qualities = np.array([document["quality"] for document in documents], np.float32)
    return priority_keys(row_keys, qualities, mix, np.array([document.get(PRIORITY_FIELDS.get(mix.priority)) for document in documents], np.float32))


def units_of(documents: list[dict]) -> np.ndarray:
    return np.array([(1, document["tokens"], document["bytes"]) for document in documents], np.int64).reshape(-1, 3)


def longest(documents: list[dict], mix: MixSettings, share: Fraction) -> int:
    """How many of the documents stay within `share` of the size limits."""
    tokens = 0
    for count, document in enumerate(documents):
        tokens += document["tokens"]
        if (mix.max_documents is not None and count + 1 > share * mix.max_documents) or (
            mix.max_tokens is not None and tokens > share * mix.max_tokens
        ):
            return count
    return len(documents)


def place(human: list[dict], other: list[dict], num_shards: int, mix: MixSettings) -> list[tuple[dict, int]]:
    """Every document and its shard, -1 for those that no shard holds."""
    order = lambda document: (document["placement"], document["address"])  # noqa: E731
    human, other = sorted(human, key=order), sorted(other, key=order)
    quota, unit = mix.human_quota, mix.quota_unit if mix.human_quota > 0 else "documents"
    starts = [shard * len(human) // num_shards for shard in range(num_shards)]
    placed = [(document, bisect.bisect_right(starts, rank) - 1) for rank, document in enumerate(human)]
    held = [[document[unit] for document, shard in placed if shard == index] for index in range(num_shards)]
    if quota > 0:
        caps = [int(sum(units) * (1 - quota) / quota) for units in held]
    else:
        caps = [0] * num_shards
        for _ in other:
            # The next document goes to the shard with the fewest; among equals to the one with most human documents.
            emptiest = min(range(num_shards), key=lambda shard: (len(held[shard]) + caps[shard], -len(held[shard]), shard))
            caps[emptiest] += 1
    total, capacity = sum(document[unit] for document in other), sum(caps)
    ends = [Fraction(min(total, capacity) * sum(caps[: index + 1]), capacity or 1).__floor__() for index in range(num_shards)]
    rooms, straddlers, position = list(caps), [], 0
    for document in other:
        start, position = position, position + document[unit]
        shard = sum(end < position for end in (ends[:-1] if total <= capacity else ends))
        if shard == num_shards or (shard > 0 and start < ends[shard - 1]):
            straddlers.append(document)
        else:
            rooms[shard] -= document[unit]
            placed.append((document, shard))
    for document in sorted(straddlers, key=lambda document: -document[unit]):
        fitting = [(room, shard) for shard, room in enumerate(rooms) if room >= document[unit]]
        shard = min(fitting, default=(0, -1))[1]
        placed.append((document, shard))
        if shard >= 0:
            rooms[shard] -= document[unit]
    return placed
