"""Quality models in a run: their columns are scored, rules read them, and any of them can say which text is the better one."""

import fasttext
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UsageError
from pipeline.recipe import load_recipe
from tests.classifiers.test_perplexity import make_arpa
from tests.conftest import published, rejected
from tests.texts import documents, edited, prose, write_jsonl
from transforms.judge_documents import quality_of

SCORERS = ["size", "gopher_quality", "quality", "trained_quality", "language", "content_hash", "signature"]
OFFER = "Buy this lovely thing now and save money today because this great offer ends soon and everyone should have one at home"


def scorers(names: list[str]) -> str:
    return f"--set=score.scorers={names}".replace("'", '"')


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A corpus with three offers in it, a fastText model that knows offers, and an n-gram model."""
    folder = tmp_path_factory.mktemp("quality runs")
    offers = [{"id": f"offer-{at}", "text": " ".join([f"{OFFER} number {at} of {at + 9}."] * 4)} for at in range(3)]
    write_jsonl(folder / "human.jsonl", [*documents("en", range(30)), *offers])
    lines = [f"__label__hq {prose(seed, 40)}" for seed in range(100, 160)] + [f"__label__cc {OFFER} {seed}" for seed in range(60)]
    (folder / "train.txt").write_text("\n".join(lines) + "\n", "utf-8")
    fasttext.train_supervised(str(folder / "train.txt"), dim=4, epoch=5, minCount=1, thread=1, verbose=0).save_model(str(folder / "hq.bin"))
    (folder / "m.arpa").write_text(make_arpa(2))
    return folder


@pytest.fixture(scope="module")
def ran(shelf, tmp_path_factory):
    """One run with every kind of model that needs no extra, and a rule on one of them."""
    from pipeline.__main__ import main

    out = tmp_path_factory.mktemp("out") / "out"
    models = [f'--set=score.quality_models=["hq=fasttext:{shelf}/hq.bin"]', f"--set=score.perplexity_model=ngram:{shelf}/m.arpa#fold"]
    ensemble = '--set=score.quality_ensemble=["quality", "trained_quality"]'
    rule = ["--set=rules.offers.field=hq", "--set=rules.offers.min=0.5", "--set=dedup.near=false", "--set=rules.top_2gram.enabled=false"]
    arguments = [f"--human=a={shelf}/human.jsonl", f"--output={out}", scorers(SCORERS), *models, ensemble, *rule, "--workers=0", "--progress=none"]
    assert main(["curate", *arguments]) == 0
    return out


def test_every_model_has_a_column_beside_the_scores(ran):
    scored = pa.concat_tables([pq.read_table(path) for path in sorted((ran / "scored").glob("*.parquet"))])
    assert scored.column_names[-3:] == ["hq", "perplexity", "quality_ensemble"] and "trained_quality" in scored.column_names
    for name in ("trained_quality", "hq", "perplexity", "quality_ensemble"):
        assert scored.schema.field(name).type == pa.float32() and scored[name].null_count == 0


def test_a_rule_on_a_model_turns_down_what_it_dislikes_with_the_figures(ran):
    rows = {row["id"]: row for row in rejected(ran).to_pylist()}
    for at in range(3):
        row = rows[f"offer-{at}"]
        assert (row["stage"], row["reason"], row["limit"]) == ("rules", "offers", 0.5) and row["value"] < 0.5
    assert all(name.startswith("en-") for name in published(ran)["id"].to_pylist())


@pytest.mark.parametrize("field", ["trained_quality", "quality_ensemble"])
def test_a_remix_takes_the_best_by_any_of_them(headwater, ran, tmp_path, field):
    size = ["--max_documents=10", f"--set=dedup.quality_field={field}", "--set=dedup.near=false"]
    assert headwater("remix", f"--scored={ran}/scored", f"--output={tmp_path}/out", *size).code == 0
    scored = pa.concat_tables([pq.read_table(path) for path in sorted((ran / "scored").glob("*.parquet"))]).to_pylist()
    rejections = {row["id"] for row in rejected(tmp_path / "out").to_pylist() if row["stage"] == "rules"}
    levels = {row["id"]: int(np.clip(row[field], 0, 1) * 255) for row in scored if row["id"] not in rejections}
    taken = {row["id"] for row in published(tmp_path / "out").to_pylist()}
    assert len(taken) == 10
    assert min(levels[name] for name in taken) >= max(level for name, level in levels.items() if name not in taken) - 1


def test_of_two_near_duplicates_the_one_that_the_field_prefers_stays(headwater, tmp_path):
    texts = [{"id": "a", "text": prose(1, 200)}, {"id": "b", "text": edited(prose(1, 200), 1)}, *documents("c", range(5, 9))]
    write_jsonl(tmp_path / "human.jsonl", texts)
    first = [
        f"--human=a={tmp_path}/human.jsonl",
        f"--output={tmp_path}/trained_quality",
        scorers(SCORERS),
        "--set=dedup.quality_field=trained_quality",
    ]
    assert headwater("curate", *first).code == 0
    assert headwater("remix", f"--scored={tmp_path}/trained_quality/scored", f"--output={tmp_path}/quality").code == 0
    scored = pq.read_table(tmp_path / "trained_quality" / "scored").to_pylist()
    for field in ("trained_quality", "quality"):
        best = sorted((row for row in scored if row["id"] in "ab"), key=lambda row: (-row[field], row["id"]))[0]["id"]
        ids = published(tmp_path / field)["id"].to_pylist()
        assert best in ids and ({"a", "b"} - {best}).isdisjoint(ids)


def test_a_model_that_is_not_there_stops_the_run_in_one_sentence(headwater, shelf, tmp_path):
    for settings in (
        ['score.quality_models=["hq=fasttext:/nowhere/x.bin"]'],
        ["score.perplexity_model=ngram:/nowhere/m.arpa"],
        ['score.quality_ensemble=["quality"]', "score.quality_ranks=/nowhere/ranks.json"],
    ):
        flags = [f"--set={setting}" for setting in settings]
        run = headwater("curate", f"--human=a={shelf}/human.jsonl", f"--output={tmp_path}/out", scorers(SCORERS), *flags)
        assert run.code == 2 and "/nowhere/" in run.err and "Traceback" not in run.err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("field", ["language", "no_such", "text"])
def test_a_field_that_is_no_score_of_numbers_is_refused(field):
    with pytest.raises(UsageError, match=r"dedup\.quality_field.*a score of numbers"):
        load_recipe(overrides={"dedup.quality_field": field})


def test_a_field_whose_scorer_does_not_run_is_refused_and_the_default_one_is_not_needed_for_it():
    with pytest.raises(UsageError, match=r"dedup\.quality_field"):
        load_recipe(overrides={"dedup.quality_field": "trained_quality"})
    without = [name for name in SCORERS if name != "quality"]
    assert load_recipe(overrides={"dedup.quality_field": "trained_quality", "score.scorers": without}).dedup.quality_field == "trained_quality"


def test_quality_lies_in_0_to_1_whatever_the_score():
    columns = pa.table({"edu": pa.array([-1.0, 0.25, None, 4.5], pa.float32()), "count": pa.array([0, 1, 2, 3])})
    assert quality_of(columns, "edu").tolist() == [0, 0.25, 0, 1]
    assert quality_of(columns, "count").tolist() == [0, 1, 1, 1]
    assert quality_of(columns, "missing").tolist() == [0] * 4
