"""Who goes first within the mix, from the command line: each order is what it says, by the graph and without it, in plans, remixes and sweeps."""

import contextlib
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.__main__ import main
from pipeline.diff import read_fates
from tests.classifiers.test_perplexity import make_arpa
from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, edited, write_jsonl
from transforms.dispose_documents import PUBLISHED_SCHEMA
from transforms.mix_settings import PRIORITY_FIELDS, MixSettings
from transforms.order_keys import priority_keys

SCORERS = ["size", "gopher_quality", "quality", "ai_detector", "content_hash", "signature"]
HUMAN = 40
GENERATORS = {"large": range(1000, 1045), "middle": range(1045, 1056), "small": range(1056, 1060)}
"""60 synthetic documents, by who wrote them."""
LOOSE = ["--human_quota=0.4", "--num_shards=2", "--reject_disputed=false"]


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """100 documents in several scored shards, with AI probabilities and perplexities."""
    folder = tmp_path_factory.mktemp("choice")
    write_jsonl(folder / "human.jsonl", documents("human", range(HUMAN)))
    write_jsonl(
        folder / "synthetic.jsonl", [one for name, seeds in GENERATORS.items() for one in documents("synthetic", seeds, words=90, generator=name)]
    )
    (folder / "m.arpa").write_text(make_arpa(2))
    flags = [f"--human=books={folder}/human.jsonl", f"--synthetic=models={folder}/synthetic.jsonl", f"--set=score.scorers={json.dumps(SCORERS)}"]
    flags += [f"--set=score.perplexity_model=ngram:{folder}/m.arpa#fold", "--split_bytes=20000", *LOOSE]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["curate", *flags, f"--output={folder}/out", "--workers=0", "--progress=none"]) == 0
    return folder / "out"


def first_of(curated, origin: str, count: int, mix: MixSettings) -> set[str]:
    """Ids of the first `count` documents of a declared origin that the rules let through, by the order of `mix`, over the scored shards."""
    scored = pa.concat_tables(pq.read_table(path) for path in sorted((curated / "scored").glob("*.parquet")))
    alive = set(published(curated)["id"].to_pylist())
    rows = [row for row in scored.to_pylist() if row["origin"] == origin and row["id"] in alive]
    row_keys = np.array([row["row_key"] for row in rows], np.uint64)
    scores = np.array([row.get(PRIORITY_FIELDS.get(mix.priority)) for row in rows], np.float32)
    keys = priority_keys(row_keys, np.array([row["quality"] for row in rows], np.float32), mix, scores)
    return {rows[place]["id"] for place in np.argsort(keys)[:count]}


@pytest.mark.parametrize("priority", ["importance", "hard"])
def test_an_order_publishes_its_first_documents_in_the_graph_and_without_it(curated, headwater, tmp_path, priority):
    flags = [*LOOSE, f"--priority={priority}", "--importance_exponent=2", "--seed=5", "--max_documents=20", f"--scored={curated}/scored"]
    for name, more in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
        ran = headwater("remix", *flags, *more, f"--output={tmp_path}/{name}")
        assert ran.code == 0, ran.err
    rows = published(tmp_path / "here")
    assert rows == published(tmp_path / "graph") and rejected(tmp_path / "here") == rejected(tmp_path / "graph")
    mix = MixSettings(priority=priority, importance_exponent=2.0, seed=5)
    for origin, count in (("human", 8), ("synthetic", 12)):
        assert set(rows.filter(pc.equal(rows["origin"], origin))["id"].to_pylist()) == first_of(curated, origin, count, mix)
    assert {row["reason"] for row in rejected(tmp_path / "here").to_pylist()} >= {"over_size"}


def test_hard_publishes_the_highest_perplexities(curated, headwater, tmp_path):
    assert headwater("remix", f"--scored={curated}/scored", *LOOSE, "--priority=hard", "--max_documents=10", f"--output={tmp_path}/out").code == 0
    kept = set(published(tmp_path / "out")["id"].to_pylist())
    scored = pa.concat_tables(pq.read_table(path, columns=["id", "perplexity"]) for path in (curated / "scored").glob("*.parquet")).to_pylist()
    alive = {row["id"] for row in published(curated).to_pylist()}
    found = {row["id"]: row["perplexity"] for row in scored if row["id"] in alive}
    for prefix in ("human", "synthetic"):
        of_kind = {name: value for name, value in found.items() if name.startswith(prefix)}
        held = [value for name, value in of_kind.items() if name in kept]
        left = [value for name, value in of_kind.items() if name not in kept]
        assert min(held) >= max(left)


def test_diverse_takes_turns_over_a_key_and_a_sweep_says_the_same(curated, headwater, tmp_path):
    flags = [f"--scored={curated}/scored", *LOOSE, "--priority=diverse", "--diverse_by=generator", "--max_documents=20", "--seed=2"]
    for name, more in (("here", ["--workers=2"]), ("graph", ["--job_name=asks-for-beam"])):
        ran = headwater("remix", *flags, *more, f"--output={tmp_path}/{name}")
        assert ran.code == 0, ran.err
    rows = published(tmp_path / "here")
    assert rows == published(tmp_path / "graph") and rejected(tmp_path / "here") == rejected(tmp_path / "graph")
    turns = pc.value_counts(rows["generator"].drop_null()).to_pylist()
    assert {entry["values"]: entry["counts"] for entry in turns} == {"large": 4, "middle": 4, "small": 4}
    everything = {row["id"]: row for row in published(curated).to_pylist()}
    for name in GENERATORS:
        kept = [row["quality"] for row in rows.to_pylist() if row["generator"] == name]
        left = [row["quality"] for row in everything.values() if row["generator"] == name and row["id"] not in set(rows["id"].to_pylist())]
        assert all(int(256 * (1 - one)) <= int(256 * (1 - other)) for one in kept for other in left)
    ran = headwater("plan", *flags[:-3], "--diverse_by=generator", "--max_documents=20", "--sweep=seed=2,3", f"--sweep_output={tmp_path}/t.json")
    assert ran.code == 0, ran.err
    swept = json.loads((tmp_path / "t.json").read_text())[0]
    assert (swept["documents"], swept["tokens"]) == (20, sum(rows["tokens"].to_pylist()))


def test_diverse_takes_turns_over_groups_of_near_duplicates(headwater, tmp_path):
    human = documents("human", range(8))
    echoes = [{"id": f"echo-{n}", "text": edited(documents("x", [500])[0]["text"], n), "generator": "m"} for n in range(14)]
    write_jsonl(tmp_path / "human.jsonl", human)
    write_jsonl(tmp_path / "synthetic.jsonl", echoes + documents("own", range(600, 610), generator="m"))
    flags = ["--priority=diverse", "--diverse_by=near_cluster", "--set=dedup.near=false", "--max_documents=14", "--num_shards=1"]
    files = [f"--human=books={tmp_path}/human.jsonl", f"--synthetic=models={tmp_path}/synthetic.jsonl", WITHOUT_DETECTOR, "--split_bytes=4000"]
    assert headwater("curate", *files, *flags, f"--output={tmp_path}/out").code == 0
    others = [name for name in published(tmp_path / "out")["id"].to_pylist() if not name.startswith("human")]
    assert len(others) == 7 and sum(name.startswith("echo") for name in others) == 1
    # The groups stay beside the decisions, so that a remix need not look for them again.
    assert list((tmp_path / "out" / "decided").glob("*.clusters"))
    for name, more in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
        assert headwater("remix", f"--scored={tmp_path}/out/scored", *flags, *more, f"--output={tmp_path}/{name}").code == 0
        assert published(tmp_path / name) == published(tmp_path / "out")
    plain = headwater(
        "remix", f"--scored={tmp_path}/out/scored", "--set=dedup.near=false", "--priority=random", "--max_documents=14", f"--output={tmp_path}/plain"
    )
    assert plain.code == 0 and sum(name.startswith("echo") for name in published(tmp_path / "plain")["id"].to_pylist()) > 1


@pytest.mark.parametrize("kind", ["golden_ratio", "importance"])
@pytest.mark.parametrize("unit", ["documents", "tokens"])
def test_weights_stand_in_the_files_and_their_mean_is_1(curated, headwater, tmp_path, kind, unit):
    flags = [f"--scored={curated}/scored", *LOOSE, f"--quota_unit={unit}", f"--sample_weight={kind}", "--importance_exponent=3", "--max_documents=60"]
    for name, more in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
        ran = headwater("remix", *flags, *more, f"--output={tmp_path}/{name}")
        assert ran.code == 0, ran.err
    rows = published(tmp_path / "here")
    assert rows == published(tmp_path / "graph") and rows.column_names == [*PUBLISHED_SCHEMA.names, "sample_weight"]
    amounts = np.ones(rows.num_rows) if unit == "documents" else rows["tokens"].to_numpy().astype(float)
    weights, is_human = rows["sample_weight"].to_numpy().astype(float), pc.equal(rows["origin"], "human").to_numpy()
    assert (weights * amounts).sum() / amounts.sum() == pytest.approx(1, rel=1e-6)
    told = json.loads((tmp_path / "here" / "manifest.json").read_text())["sample_weight"]
    assert told == json.loads((tmp_path / "graph" / "manifest.json").read_text())["sample_weight"] and (told["kind"], told["unit"]) == (kind, unit)
    if kind == "golden_ratio":
        k = amounts[is_human].sum() / amounts[~is_human].sum()
        share = ((k * k + 4 * k) ** 0.5 - k) / 2
        assert (weights * amounts)[is_human].sum() / amounts.sum() == pytest.approx(share, rel=1e-6)
        assert told["real_share"] == pytest.approx(share)
    else:
        human_chances = (1 - rows["ai_probability"].to_numpy().astype(float)) ** 3
        assert (weights[is_human] == 1).all() and weights[~is_human] == pytest.approx(human_chances[~is_human] * told["other"], rel=1e-5)
    assert "## Weights" in (tmp_path / "here" / "README.md").read_text()
    assert "sample_weight" not in published(curated).column_names and json.loads((curated / "manifest.json").read_text())["sample_weight"] is None


@pytest.mark.parametrize("unit", ["documents", "tokens"])
def test_human_text_is_repeated_only_where_asked_for_and_counted_as_rows(curated, headwater, tmp_path, unit):
    flags = [
        f"--scored={curated}/scored",
        "--human_quota=0.7",
        f"--quota_unit={unit}",
        "--max_documents=150",
        "--num_shards=3",
        "--reject_disputed=false",
    ]
    refused = headwater("remix", *flags, f"--output={tmp_path}/refused")
    assert refused.code == 4 and "too little human text" in refused.err
    flags += ["--max_human_repeats=3", "--sample_weight=golden_ratio", "--on_shortage=shrink"]
    ran = {}
    for name, more in (("here", ["--workers=2"]), ("graph", ["--job_name=asks-for-beam"])):
        ran[name] = headwater("remix", *flags, *more, f"--output={tmp_path}/{name}")
        assert ran[name].code == 0, ran[name].err
    rows = published(tmp_path / "here")
    assert rows == published(tmp_path / "graph") and rejected(tmp_path / "here") == rejected(tmp_path / "graph")
    assert rows.column_names == [*PUBLISHED_SCHEMA.names, "copy", "sample_weight"]

    pairs = list(zip(rows["id"].to_pylist(), rows["copy"].to_pylist(), rows["origin"].to_pylist(), strict=True))
    assert len({pair[:2] for pair in pairs}) == len(pairs) == 150
    copies = [{name for name, copy, _ in pairs if copy == wanted and name.startswith("human")} for wanted in range(3)]
    assert len(copies[0]) == HUMAN > len(copies[2]) > 0 and copies[1] >= copies[2]
    assert all(copy == 0 or origin == "human" for _, copy, origin in pairs)
    # The rows that repeat a document are equal to its first but for the copy, and stand apart.
    texts = {}
    for row in rows.to_pylist():
        assert texts.setdefault(row["id"], row["text"]) == row["text"]
    for path in sorted((tmp_path / "here" / "data").glob("*.parquet")):
        held = pq.read_table(path)
        amounts = np.ones(held.num_rows) if unit == "documents" else held["tokens"].to_numpy()
        assert 10 * amounts[pc.equal(held["origin"], "human").to_numpy()].sum() >= 7 * amounts.sum()

    manifest = json.loads((tmp_path / "here" / "manifest.json").read_text())
    again = sum(copy > 0 for _, copy, _ in pairs)
    assert manifest["repeats"]["rows"] == again and manifest["repeats"]["documents"] == len(copies[1]) and manifest["repeats"]["most"] == 3
    assert manifest["repeats"] == json.loads((tmp_path / "graph" / "manifest.json").read_text())["repeats"]
    assert manifest["published"]["documents"]["all"] == 150 and manifest["published"]["tokens"]["all"] == sum(rows["tokens"].to_pylist())
    books = {one["source"]: one for one in manifest["accounts"]}
    assert books["books"]["published"] == {"human": HUMAN} and books["books"]["repeated"] == {"human": again}
    for one in manifest["accounts"]:
        assert one["read"] == sum(one["published"].values()) + sum(entry["documents"] for entry in one["rejected"])
    assert f"human documents published more than once: {len(copies[1])}, up to 3 times each; rows from repeats: {again} documents" in ran["here"].out
    assert "and again, as repeats" in ran["here"].out and "## Repeated text" in (tmp_path / "here" / "README.md").read_text()

    ran = headwater("plan", *flags, "--sweep=max_human_repeats=1,2,3", f"--sweep_output={tmp_path}/t.json")
    assert ran.code == 0, ran.err
    swept = json.loads((tmp_path / "t.json").read_text())
    assert [row["documents"] for row in swept] == sorted(row["documents"] for row in swept) and swept[-1]["tokens"] == sum(rows["tokens"].to_pylist())
    assert sum(swept[-1]["sources"].values()) == 150
    # Two runs are compared by documents, however often these are published.
    fates = [fate for batch in read_fates(str(tmp_path / "here")) for fate in batch["fate"].to_pylist()]
    assert fates.count("published") == 150 - again and len(fates) == sum(one["read"] for one in manifest["accounts"])


def test_the_ledger_knows_a_repeated_document_once(curated, headwater, tmp_path):
    flags = [f"--scored={curated}/scored", "--human_quota=0.7", "--max_documents=100", "--max_human_repeats=2", "--reject_disputed=false"]
    flags += ["--min_fresh_human=0.5"]
    for name, more in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
        ran = headwater("remix", *flags, *more, f"--ledger={tmp_path}/{name}-ledger", "--cycle=one", f"--output={tmp_path}/{name}")
        assert ran.code == 0, ran.err
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["published"]["documents"]["human"] == 70 and manifest["repeats"]["documents"] == manifest["repeats"]["rows"] == 30
        assert manifest["ledger"]["rows"] == manifest["cycle"]["documents"] == 70
        # A repeat is no new text.
        assert f"fresh share of human documents: {40 / 70:.4f}, at least 0.5 promised" in ran.out
    again = headwater("remix", *flags, f"--ledger={tmp_path}/here-ledger", "--cycle=two", f"--output={tmp_path}/again")
    assert again.code == 4 and "too little fresh human text" in again.err


def test_orders_can_be_swept_and_each_row_is_its_plan(curated, headwater, tmp_path):
    flags = [f"--scored={curated}/scored", *LOOSE, "--max_documents=30"]
    ran = headwater("plan", *flags, "--sweep=priority=quality,random,importance,hard", f"--sweep_output={tmp_path}/t.json")
    assert ran.code == 0, ran.err
    rows = json.loads((tmp_path / "t.json").read_text())
    for row in (rows[2], rows[3]):
        assert (
            headwater("remix", *flags, f"--priority={row['settings']['mix.priority']}", f"--output={tmp_path}/{row['settings']['mix.priority']}").code
            == 0
        )
        table = published(tmp_path / row["settings"]["mix.priority"])
        assert (row["documents"], row["tokens"]) == (table.num_rows, sum(table["tokens"].to_pylist()))
        assert row["mean_quality"] == pytest.approx(np.mean(table["quality"].to_numpy()))
    assert len({row["tokens"] for row in rows}) > 1


def test_clusters_that_were_not_scored_are_refused_with_what_to_do(curated, headwater, tmp_path):
    ran = headwater("remix", f"--scored={curated}/scored", "--priority=diverse", f"--output={tmp_path}/out")
    assert ran.code == 2 and "without the scorer 'embedding'" in ran.err and "mix.diverse_by, such as near_cluster or source" in ran.err
    ran = headwater("remix", f"--scored={curated}/scored", "--priority=diverse", "--diverse_by=url:host", f"--output={tmp_path}/out")
    assert ran.code == 2 and "mix.diverse_by: the scored folder holds no key 'url:host'" in ran.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--priority=hard"], "set score.perplexity_model"),
        (["--priority=importance", '--set=score.scorers=["size", "quality", "content_hash", "signature"]'], 'add "ai_detector" to score.scorers'),
        (["--set=mix.priority=best"], "must be one of quality, random, importance, diverse, hard"),
        (["--priority=diverse", "--diverse_by="], "must be a key, such as semantic_cluster or source"),
        (["--priority=diverse", "--diverse_by=url:nowhere"], "mix.diverse_by"),
        (["--sample_weight=importance", '--set=score.scorers=["size", "quality", "content_hash", "signature"]'], "or give golden_ratio or none"),
        (["--set=publish.sample_weight=even"], "must be one of none, golden_ratio, importance"),
        (["--max_human_repeats=2"], "set max_documents or max_tokens too"),
        (["--importance_exponent=-1"], "must be a number in 0..100"),
    ],
)
def test_an_order_that_cannot_be_had_says_what_to_do(headwater, corpus, tmp_path, flags, said):
    ran = headwater("curate", f"--human=books={corpus}/human.jsonl", f"--output={tmp_path}/out", *flags)
    assert ran.code == 2 and said in ran.err
