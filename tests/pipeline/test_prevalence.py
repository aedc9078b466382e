"""The estimate of AI text among the unlabelled: in the manifest, in the funnel, on the card, and the same from curate, remix and plan."""

import contextlib
import io
import json

import numpy as np
import pytest

from classifiers.ai_detector import probability_of
from classifiers.prevalence import count_scores, shipped_references
from pipeline.__main__ import main
from pipeline.prevalence import estimate_prevalence, prevalence_sentences
from tests.texts import documents, write_jsonl
from transforms.count_unlabelled import UnlabelledScores
from transforms.scored_shards import METADATA_KEY, recall_split


def unlabelled(source, log_odds, words=150):
    counts = count_scores(probability_of(np.array(log_odds, np.float64)), np.full(len(log_odds), words, np.int32)).ravel()
    return UnlabelledScores(source, len(log_odds), tuple((int(cell), int(counts[cell])) for cell in np.flatnonzero(counts)))


def test_the_manifest_estimates_ai_text_by_source_and_of_several_together():
    detector = next(iter(shipped_references()))
    # Spread as scores are: a pool of two spikes is unlike every reference, and what is made of it an accident.
    random = np.random.default_rng(0)
    people, models = random.normal(-1.5, 0.8, 300), random.normal(2.5, 0.8, 150)
    human, mixed = unlabelled("web", people), unlabelled("forum", [*people[:150], *models])
    found = estimate_prevalence((mixed, human), detector)
    assert found["why_none"] is None and found["detector"] == detector
    forum, web, both = found["sources"]
    assert [one["source"] for one in found["sources"]] == ["forum", "web", "all"]
    assert (web["documents"], web["judged"], both["documents"]) == (300, 300, 600)
    assert web["low"] <= web["share"] <= web["high"] < forum["share"] and forum["low"] <= 0.5 <= forum["high"]
    assert estimate_prevalence((mixed,), detector)["sources"] == [forum]


@pytest.mark.parametrize(
    ("scores", "detector", "why"),
    [
        ((), "fast-1", "no documents of unknown origin"),
        ((), None, "no detector scored"),
        ((unlabelled("web", [0.0] * 9),), "hf-0123", "no reference scores ship for the detector hf-0123"),
    ],
)
def test_where_nothing_is_estimated_the_manifest_says_why(scores, detector, why):
    found = estimate_prevalence(scores, detector)
    assert found["why_none"] == why and all(one["share"] is None for one in found["sources"])
    said = prevalence_sentences({"prevalence": found})
    assert said == ([f"AI text among the unlabelled: not estimated, {why}."] if scores else [])


def test_the_funnel_says_the_estimate_and_of_how_many():
    sources = [
        {"source": "web", "documents": 10, "judged": 10, "share": 0.461, "low": 0.41, "high": 0.522},
        {"source": "forum", "documents": 1_500, "judged": 1_200, "share": 0.0, "low": 0.0, "high": 0.1},
        {"source": "notes", "documents": 7, "judged": 0, "share": None, "low": None, "high": None},
    ]
    assert prevalence_sentences({"prevalence": {"why_none": None, "sources": sources}}) == [
        "AI text among the unlabelled: 46 % (41 to 52), source web.",
        "AI text among the unlabelled: 0 % (0 to 10) of the 1,200 in 1,500 that could be judged, source forum.",
        "AI text among the unlabelled: not estimated, the detector could judge none of 7, source notes.",
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A curated dataset with two unlabelled sources, a remix and a plan of it: folder, manifest of each, and what was printed."""
    folder = tmp_path_factory.mktemp("prevalence")
    for name, seeds in (("human", range(0, 60)), ("web", range(200, 260)), ("forum", range(400, 420))):
        write_jsonl(folder / f"{name}.jsonl", documents(name, seeds))
    printed = {}
    commands = {
        "curate": ["curate", f"--human=human={folder}/human.jsonl", f"--unlabelled=web={folder}/web.jsonl",
                   f"--unlabelled=forum={folder}/forum.jsonl", f"--output={folder}/curate", "--max_false_positive_rate=0.01"],
        "remix": ["remix", f"--scored={folder}/curate/scored", f"--output={folder}/remix", "--human_quota=0.6"],
        "plan": ["plan", f"--scored={folder}/curate/scored", "--human_quota=0.7"],
    }  # fmt: skip
    for name, command in commands.items():
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert main([*command, "--workers=0", "--progress=none"]) == 0
        printed[name] = said.getvalue()
    return folder, printed


def test_curate_remix_and_plan_say_the_same(runs):
    folder, printed = runs
    manifest = json.loads((folder / "curate" / "manifest.json").read_text())
    assert [one["source"] for one in manifest["prevalence"]["sources"]] == ["forum", "web", "all"]
    assert [one["documents"] for one in manifest["prevalence"]["sources"]] == [20, 60, 80]
    sentences = prevalence_sentences(manifest)
    assert len(sentences) == 3
    for said in printed.values():
        assert all(sentence in said for sentence in sentences)
    assert json.loads((folder / "remix" / "manifest.json").read_text())["prevalence"] == manifest["prevalence"]
    assert all(f"* {sentence}" in (folder / "curate" / "README.md").read_text() for sentence in sentences)


def test_shards_of_a_version_that_did_not_count_give_the_same_counts(runs, tmp_path):
    import pyarrow.parquet as pq

    folder, _ = runs
    for path in sorted((folder / "curate" / "scored").glob("*.parquet")):
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[METADATA_KEY])
        del about["unlabelled"]
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(about)}), tmp_path / path.name)
        assert recall_split(str(tmp_path / path.name))[0].unlabelled == recall_split(str(path))[0].unlabelled
