"""The best of several ranks: ranks rise with scores, the largest counts, and ranks of other models are refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.__main__ import main
from classifiers.quality_ensemble import QUANTILES, Member, MemberRanks, QualityEnsembleScorer, fit_ranks, load_members, read_ranks, write_ranks
from classifiers.scorers import ScoreSettings, make_scorers, score, score_fields
from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import HOSTILE_TEXTS
from tests.classifiers.test_perplexity import make_arpa
from tests.texts import prose, write_jsonl

TEXTS = [prose(seed, 20 + seed % 60) for seed in range(210)] + [f"Home | Log in | {seed}\n" * 20 for seed in range(40)]


def ranks_of(values) -> MemberRanks:
    return MemberRanks("v", tuple(np.quantile(np.asarray(values, np.float64), np.linspace(0, 1, QUANTILES))))


def test_quantiles_that_lie_closer_than_any_slope_can_say_have_ranks_between_theirs():
    ranks = ranks_of([0.0] * 13 + [-1.0] * 3 + [-2.225073858507e-311, -2.225073858507203e-309]).rank(np.array([-2.225073858507e-311, -1e-311, 0.0]))
    assert ((ranks > 0) & (ranks < 1)).all() and (np.diff(ranks) >= 0).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.lists(st.floats(-1e7, 1e7), min_size=2, max_size=20))
@settings(max_examples=100)
def test_ranks_lie_in_0_to_1_and_never_fall_as_scores_rise(sample, scores):
    ranks = ranks_of(sample).rank(np.sort(np.array(scores)))
    assert ((ranks >= 0) & (ranks <= 1)).all() and (np.diff(ranks) >= -1e-12).all()


def test_a_rank_is_the_share_of_the_sample_below():
    ranks = ranks_of(np.arange(1_001))
    assert ranks.rank(np.array([-5.0, 0.0, 250.0, 500.0, 1_000.0, 2_000.0])) == pytest.approx([0, 0, 0.25, 0.5, 1, 1], abs=1e-9)


def test_equal_scores_share_the_middle_of_their_stretch():
    ranks = ranks_of([0.0] * 500 + [1.0] * 500)
    low, high = ranks.rank(np.array([0.0, 1.0]))
    assert low == pytest.approx(0.25, abs=0.01) and high == pytest.approx(0.75, abs=0.01)


def test_no_score_has_no_rank():
    assert np.isnan(ranks_of(np.arange(9.0)).rank(np.array([np.nan]))[0])


@pytest.mark.parametrize("quantiles", [(), (1.0,) * 5, (*range(QUANTILES - 1), 0.0), (float("nan"),) * QUANTILES])
def test_quantiles_must_ascend(quantiles):
    with pytest.raises(ValueError, match="ascending numbers"):
        MemberRanks("v", quantiles)


def test_the_best_rank_counts():
    members = ("quality", "trained_quality")
    together = QualityEnsembleScorer(members).score(TextBatch.of(TEXTS))["quality_ensemble"].to_numpy()
    alone = [QualityEnsembleScorer((name,)).score(TextBatch.of(TEXTS))["quality_ensemble"].to_numpy() for name in members]
    assert together.tolist() == np.maximum(*alone).tolist() and 0 <= together.min() < together.max() <= 1


def test_a_text_has_the_same_number_in_any_batch():
    scorer = QualityEnsembleScorer(("quality", "trained_quality"))
    together = scorer.score(TextBatch.of(HOSTILE_TEXTS))["quality_ensemble"].to_pylist()
    assert together == [scorer.score(TextBatch.of([text]))["quality_ensemble"][0].as_py() for text in HOSTILE_TEXTS]


def test_perplexity_counts_the_other_way_round_and_no_number_leaves_the_others(tmp_path):
    (tmp_path / "m.arpa").write_text(make_arpa(2))
    spec = f"ngram:{tmp_path}/m.arpa"
    words = "the river runs to sea unheard".split()
    texts = [" ".join(np.random.default_rng(seed).choice(words, 30)) for seed in range(250)]
    write_ranks(str(tmp_path / "r.json"), fit_ranks(texts, load_members(("perplexity", "quality"), (), spec)))
    scorer = QualityEnsembleScorer(("perplexity",), (), spec, str(tmp_path / "r.json"))
    from classifiers.perplexity import load_perplexity

    batch = TextBatch.of([*texts[:50], ""])
    ranks, perplexities = scorer.score(batch)["quality_ensemble"].to_pylist(), load_perplexity(spec).values(batch)
    order = np.argsort(perplexities[:50])
    assert (np.diff(np.array(ranks[:50])[order]) <= 1e-6).all() and ranks[50] is None
    both = QualityEnsembleScorer(("perplexity", "quality"), (), spec, str(tmp_path / "r.json"))
    assert both.score(TextBatch.of([""]))["quality_ensemble"].null_count == 0


def test_one_score_shared_by_a_scorer_is_computed_once():
    calls = []

    class Counting:
        version = "v"

        def values(self, batch):
            calls.append(len(batch))
            return np.zeros(len(batch))

    model, batch = Counting(), TextBatch.of(["a", "b"])
    member = Member("v", lambda batch: batch.derive(model.values))
    member.values(batch)
    member.values(batch)
    assert calls == [2]


def test_ranks_of_another_version_are_refused_with_the_command_that_makes_them(tmp_path):
    ranks = {name: MemberRanks("another", one.quantiles) for name, one in fit_ranks(TEXTS, load_members(("quality",), ())).items()}
    write_ranks(str(tmp_path / "r.json"), ranks)
    with pytest.raises(ValueError, match=r"r\.json know those of version another, not quality .*fit-ranks"):
        QualityEnsembleScorer(("quality",), (), "", str(tmp_path / "r.json"))
    with pytest.raises(ValueError, match=r"know only those of quality, not trained_quality"):
        QualityEnsembleScorer(("trained_quality",), (), "", str(tmp_path / "r.json"))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 9}', b'{"format": 1, "members": {"a": {}}}'])
def test_a_file_that_holds_no_ranks_is_named(content, tmp_path):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.json: not ranks"):
        read_ranks(str(tmp_path / "r.json"))


def test_too_few_texts_make_no_ranks():
    with pytest.raises(ValueError, match="3 texts have a score of quality; ranks need at least 201"):
        fit_ranks(TEXTS[:3], load_members(("quality",), ()))


def test_the_shipped_ranks_are_those_of_the_shipped_models():
    chosen = ScoreSettings(scorers=("size",), quality_ensemble=["quality", "trained_quality"])
    assert score_fields(chosen).names[-1] == "quality_ensemble"
    assert score(make_scorers(chosen), TextBatch.of(["", prose(1)]))["quality_ensemble"].null_count == 0


def test_ranks_from_the_command_line_are_those_of_the_sample(tmp_path, capsys):
    write_jsonl(tmp_path / "sample.jsonl.gz", [{"id": str(at), "text": text} for at, text in enumerate(TEXTS)])
    output = tmp_path / "ranks.json"
    arguments = ["fit-ranks", "--text", f"{tmp_path}/*.jsonl.gz", "--members", "quality,trained_quality", "--output", str(output)]
    assert main(arguments) == 0 and "250 texts" in capsys.readouterr().out
    assert set(json.loads(output.read_text())["members"]) == {"quality", "trained_quality"}
    scorer = QualityEnsembleScorer(("trained_quality",), (), "", str(output))
    ranks = scorer.score(TextBatch.of(TEXTS))["quality_ensemble"].to_numpy()
    assert ranks.mean() == pytest.approx(0.5, abs=0.02)
    assert main([*arguments[:2], str(tmp_path / "none*"), *arguments[3:]]) == 2 and "no such file" in capsys.readouterr().err
