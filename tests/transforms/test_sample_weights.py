"""Weights of rows: the mean over the quota's unit is 1, the formulas are those of their sources, and the edges are what the docstrings say."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.line_shards import Page, write_pages
from transforms.decisions import read_decisions, write_decisions
from transforms.find_cuts import cuts_of_tables
from transforms.mix_settings import UNITS, MixSettings
from transforms.mix_steps import Amount
from transforms.records import DECISION_SCHEMA, ORIGIN_CODES, Origin
from transforms.sample_weights import golden_ratio_share, golden_ratio_weights, mean_weights
from transforms.weigh_samples import _STEPS, add_sums, sum_weights, weigh_samples

HUMAN, SYNTHETIC = ORIGIN_CODES[Origin.HUMAN], ORIGIN_CODES[Origin.SYNTHETIC]
AMOUNTS = st.integers(1, 10**12)


@given(AMOUNTS, AMOUNTS)
def test_the_golden_ratio_share_solves_its_equation_and_exceeds_the_human_share(human, other):
    share, ratio = golden_ratio_share(human, other), human / other
    # w = (sqrt(k^2 + 4k) - k) / 2 is the root in 0..1 of w^2 + k w = k.
    assert share * share + ratio * share == pytest.approx(ratio, rel=1e-9)
    assert human / (human + other) * (1 - 1e-12) <= share <= 1


def test_for_equal_amounts_it_is_the_golden_ratio():
    assert golden_ratio_share(7, 7) == pytest.approx(2 / (1 + math.sqrt(5)))
    assert (math.sqrt(4 + 8) - 2) / 2 == pytest.approx(golden_ratio_share(2, 1))
    assert golden_ratio_share(3, 0) == 1 and golden_ratio_share(0, 3) == 0 and golden_ratio_share(0, 0) == 1


@given(AMOUNTS, AMOUNTS, st.sampled_from(UNITS))
def test_the_mean_weight_is_1(human, other, unit):
    weights = golden_ratio_weights(Amount(human, human, human), Amount(other, other, other), unit)
    assert weights.human * human + weights.other * other == pytest.approx(human + other, rel=1e-9)
    assert weights.human >= 1 - 1e-12 and weights.other <= 1 + 1e-12
    assert weights.human * human / (human + other) == pytest.approx(weights.real_share, rel=1e-9)


def test_one_kind_alone_weighs_1():
    none, some = Amount(), Amount(3, 30, 300)
    for human, other in ((some, none), (none, some), (none, none)):
        weights = golden_ratio_weights(human, other, "tokens")
        assert (weights.human, weights.other) == (1, 1)
    assert mean_weights(0.0, 0, "tokens", 2.0).of_rows(np.array([True, False]), np.array([0.5, 1.0])).tolist() == [1, 1]


def pages(probabilities: list[float | None], tokens: list[int]) -> list[Page]:
    return [
        Page(f"d{number}", origin=SYNTHETIC if number % 4 else HUMAN, fields={"ai_probability": math.nan if p is None else p, "size": size})
        for number, (p, size) in enumerate(zip(probabilities, tokens, strict=True))
    ]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.none() | st.floats(0, 1, width=32), st.integers(1, 2**31 - 1)), min_size=1, max_size=12),
    st.sampled_from([0, 0.5, 2]),
    st.integers(1, 3),
)
def test_importance_weights_have_the_mean_1_however_documents_are_parted(tmp_path_factory, rows, exponent, parts):
    folder = tmp_path_factory.mktemp("weights")
    mix = MixSettings(human_quota=0, quota_unit="tokens", importance_exponent=exponent, num_shards=1)
    made = pages([p for p, _ in rows], [size for _, size in rows])
    found = []
    for count in (1, parts):
        shards = [made[part::count] for part in range(count) if made[part::count]]
        decided = [with_tokens(one, folder / f"{count}", held) for one, held in zip(write_pages(folder / f"{count}", shards), shards, strict=True)]
        cuts = cuts_of_tables([read_decisions(one) for one in decided], mix)
        found.append(add_sums(part for one in decided for part in sum_weights(one, cuts, mix)))
    assert found[0] == found[1]
    weights = weigh_samples(cuts, "importance", found[0]).weights
    others = [(p, size) for number, (p, size) in enumerate(rows) if number % 4]
    exact = [(1 - (0.5 if p is None else p)) ** exponent for p, _ in others]
    # A weight below half a step counts as none in the sum.
    if others and sum(weight * size for weight, (_, size) in zip(exact, others, strict=True)) > 1e6 / _STEPS * sum(size for _, size in others):
        probabilities = np.array([np.nan if p is None else p for p, _ in others], np.float32)
        of_rows = weights.of_rows(np.zeros(len(others), bool), probabilities).astype(np.float64)
        sizes = np.array([size for _, size in others], np.float64)
        assert (of_rows * sizes).sum() / sizes.sum() == pytest.approx(1, rel=1e-5)
    assert weights.of_rows(np.ones(2, bool), np.full(2, 0.9)).tolist() == [1, 1]


def with_tokens(decided, folder, held):
    """The decision file with the pages' sizes as tokens and bytes."""
    table = read_decisions(decided)
    for name in ("tokens", "bytes"):
        table = table.set_column(DECISION_SCHEMA.get_field_index(name), name, pa.array([page.fields["size"] for page in held], pa.int32()))
    return write_decisions(table, decided.shard, str(folder / "sized"))
