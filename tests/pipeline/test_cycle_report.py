"""The cycle report counts what files hold, samples texts whatever the files, and leaves out what it is asked to."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import diversity
from pipeline.cycle_report import (
    FIGURES,
    NO_GENERATOR,
    CycleFacts,
    build_report,
    figures_of,
    join_surveys,
    leave_out,
    reference_of,
    render_report,
    report_figures,
    shares_by,
    survey_shard,
    survey_table,
)
from tests.pipeline.datasets import published_table, record, records


@pytest.fixture(scope="module")
def documents():
    human = records("h", range(150), "human")
    bots = [record(f"s-{n}", one["text"], generator=f"bot-{n % 2}", generation=1 + n % 3) for n, one in enumerate(records("s", range(1000, 1050)))]
    presumed = [
        {**one, "origin": "presumed_human", "declared_origin": "unknown", "source": "web"} for one in records("p", range(2000, 2010), "human")
    ]
    caught = [{**one, "declared_origin": "unknown", "source": "web"} for one in records("c", range(3000, 3010))]
    return human + bots + presumed + caught


@pytest.fixture(scope="module")
def survey(documents):
    return survey_table(published_table(documents))


def figures(survey, unit="documents", human=("human",), fresh_known=False, reference=None):
    return figures_of(survey, reference, human_origins=human, unit=unit, fresh_known=fresh_known)


def test_shares_are_those_of_the_documents(survey):
    held = figures(survey)
    assert held["human_share"] == pytest.approx(150 / 220)
    assert held["synthetic_share"] == pytest.approx(60 / 220)
    assert held["presumed_human_share"] == held["detected_share"] == pytest.approx(10 / 220)
    assert held["largest_source_share"] == pytest.approx(150 / 220) and held["largest_generator_share"] == pytest.approx(25 / 220)
    assert held["max_generation"] == 3
    assert held["mean_generation"] == pytest.approx(np.mean([1 + n % 3 for n in range(50)]))
    assert {name.partition(".")[0] for name in held} <= set(FIGURES) and "fresh_share" not in held


def test_presumed_human_text_counts_as_human_where_the_run_says_so(survey):
    assert figures(survey, human=("human", "presumed_human"))["human_share"] == pytest.approx(160 / 220)


def test_shares_can_be_of_tokens(documents, survey):
    tokens = {
        origin: sum(len(one["text"].split()) for one in documents if one["origin"] == origin) for origin in ("human", "synthetic", "presumed_human")
    }
    assert figures(survey, unit="tokens")["human_share"] == pytest.approx(tokens["human"] / sum(tokens.values()))


def test_the_fresh_share_is_that_of_the_human_text(documents):
    fresh = pa.array([n < 30 for n in range(len(documents))])
    surveyed = survey_table(published_table(documents), fresh)
    assert figures(surveyed, fresh_known=True)["fresh_share"] == pytest.approx(30 / 150)


def test_files_may_be_cut_in_any_way_and_come_in_any_order(documents, survey):
    parts = [survey_table(published_table(documents[start : start + 60])) for start in (180, 60, 0, 120)]
    joined = join_surveys(parts)
    assert joined.counts == survey.counts
    assert joined.sample.keys.tolist() == survey.sample.keys.tolist()
    assert joined.sample.excerpts.texts == survey.sample.excerpts.texts
    assert figures(joined) == figures(survey)


def test_the_sample_is_the_texts_of_the_smallest_hashes(documents, survey, monkeypatch):
    monkeypatch.setattr("pipeline.cycle_report.SAMPLE_TEXTS", 40)
    small = join_surveys([survey_table(published_table(documents[start : start + 110])) for start in (0, 110)])
    assert small.sample.keys.tolist() == survey.sample.keys.tolist()[:40]


@pytest.mark.parametrize("cut_texts", [1, 7, 64, 1000])
def test_the_sample_is_the_same_however_many_texts_are_cut_at_a_time(documents, survey, monkeypatch, cut_texts):
    monkeypatch.setattr("pipeline.cycle_report.CUT_TEXTS", cut_texts)
    monkeypatch.setattr("pipeline.cycle_report.SAMPLE_TEXTS", 50)
    copies = documents + [{**one, "source": "copies"} for one in documents[:100]]
    found = survey_table(published_table(copies)).sample
    assert len(found.keys) == 50 and found.keys[0] == survey.sample.keys[0]
    pairs = list(zip(found.keys.tolist(), found.sources, strict=True))
    assert pairs == sorted(pairs)
    monkeypatch.setattr("pipeline.cycle_report.CUT_TEXTS", 10_000)
    assert survey_table(published_table(copies[::-1])).sample.excerpts.texts == found.excerpts.texts


def test_short_texts_do_not_hide_the_long_ones_behind_them(documents, survey, monkeypatch):
    monkeypatch.setattr("pipeline.cycle_report.CUT_TEXTS", 16)
    short = [{**one, "id": f"short-{n}", "text": f"Too short to be cut, number {n}."} for n, one in enumerate(documents)]
    assert survey_table(published_table(short + documents)).sample.excerpts.texts == survey.sample.excerpts.texts


def test_a_file_is_surveyed_as_its_table(documents, survey, tmp_path):
    pq.write_table(published_table(documents), tmp_path / "shard.parquet")
    (found,) = survey_shard(str(tmp_path / "shard.parquet"))
    assert found.counts == survey.counts and found.sample.excerpts.texts == survey.sample.excerpts.texts


def test_leaving_a_source_or_generator_out_is_as_if_it_were_not_there(documents, survey):
    without = survey_table(published_table([one for one in documents if one["source"] != "models"]))
    # Caught documents are of source `web` and generator none.
    assert leave_out(survey, "source", "models").counts == without.counts
    assert leave_out(survey, "source", "models").sample.excerpts.texts == without.sample.excerpts.texts
    fewer = survey_table(published_table([one for one in documents if one.get("generator") != "bot-1"]))
    assert figures(leave_out(survey, "generator", "bot-1")) == figures(fewer)


def test_shares_by_name_are_whole_and_the_largest_first(survey):
    shares = shares_by(survey, "source")
    assert list(shares) == ["books", "models", "web"] and sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares_by(survey, "generator"))) == NO_GENERATOR
    assert shares_by(leave_out(leave_out(leave_out(survey, "source", "web"), "source", "books"), "source", "models"), "source") == {}


def test_diversity_is_measured_with_intervals_and_against_the_reference(survey):
    reference = reference_of(survey)
    report = build_report(survey, CycleFacts("c1", "r1", 4), reference, human_origins=("human",), unit="documents", fresh_known=False)
    held = report["diversity"]["figures"]
    assert set(held) == set(diversity.FIGURES)
    assert all(one["low"] <= one["value"] <= one["high"] and one["groups"] == 3 for one in held.values())
    assert report_figures(report)["compression_ratio"] == held["compression_ratio"]["value"]
    assert report_figures(report)["compression_ratio.low"] == held["compression_ratio"]["low"]
    stated, taken = report_figures(report), figures(survey, reference=reference)
    assert set(stated) == set(taken) and all(taken[name] == pytest.approx(value, rel=1e-5) for name, value in stated.items())


def test_the_report_is_json_and_the_same_every_time(survey):
    reports = [build_report(survey, CycleFacts("c1", "r1"), None, human_origins=("human",), unit="documents", fresh_known=False) for _ in range(2)]
    assert json.dumps(reports[0], allow_nan=False) == json.dumps(reports[1], allow_nan=False)
    assert "tail_coverage" not in reports[0]["diversity"]["figures"]
    assert reports[0]["generations"]["not stated"] == pytest.approx(170 / 220, rel=1e-5)


def test_the_report_reads_as_text(survey):
    said = render_report(build_report(survey, CycleFacts("c1", "r1", 4), None, human_origins=("human",), unit="documents", fresh_known=False))
    assert "Cycle c1, run r1: 220 documents" in said and "sources: books 68.2%, models 22.7%, web 9.1%" in said
    assert "compression_ratio" in said and " to " in said and "reuse prevented" in said


def test_too_few_texts_are_said_to_be_too_few():
    small = survey_table(published_table(records("h", range(5), "human")))
    report = build_report(small, CycleFacts("c", "r"), None, human_origins=("human",), unit="documents", fresh_known=False)
    assert report["diversity"]["figures"] == {} and reference_of(small) is None
    assert "diversity was not measured: 5 texts of 64 words, 128 are needed" in render_report(report)


def test_a_cycle_without_documents_has_no_figures():
    empty = join_surveys([survey_table(published_table([]))])
    assert figures(empty) == {} and empty.sample.keys.tolist() == []
