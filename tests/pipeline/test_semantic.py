"""Semantic duplicates from the command line: paraphrases lose to the human text, clusters can be capped, a remix encodes nothing."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.classifiers.tiny_onnx import write_encoder
from tests.conftest import published, rejected
from tests.texts import ADJECTIVES, NOUNS, VERBS, documents, write_jsonl

SCORERS = '--set=score.scorers=["size", "gopher_quality", "quality", "content_hash", "signature"]'
BOUND = ["--set=dedup.semantic=true", "--set=dedup.semantic_similarity=0.99"]


def paraphrased(text: str, seed: int) -> str:
    """The same words in another order: no five in a row stay, and a bag of words means the same."""
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An encoder of bags of words, and 30 human documents, 8 of which a model said again in other order, beside 12 of its own."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("semantic")
    words = [*NOUNS, *ADJECTIVES, *VERBS]
    vectors = np.random.default_rng(0).standard_normal((len(words) + 1, 48)).astype(np.float32)
    vectors[-1] = 0
    encoder = write_encoder(folder / "encoder", words, vectors)
    human = documents("human", range(30))
    said_again = [{"id": f"again-{n}", "text": paraphrased(human[n]["text"], n), "generator": "m"} for n in range(8)]
    write_jsonl(folder / "human.jsonl", human)
    write_jsonl(folder / "synthetic.jsonl", said_again + documents("own", range(500, 512), generator="m"))
    inputs = [f"--human=books={folder}/human.jsonl", f"--synthetic=models={folder}/synthetic.jsonl", SCORERS]
    return folder, [*inputs, f"--set=score.embedding=onnx:{encoder}", "--human_quota=0"]


def losers(output) -> dict:
    return {row["id"]: row for row in rejected(output).to_pylist() if row["stage"] == "semantic_duplicates"}


@pytest.fixture(scope="module")
def curated(run):
    """The output of a run that drops semantic duplicates."""
    from pipeline.__main__ import main

    folder, arguments = run
    assert main(["curate", *arguments, *BOUND, f"--output={folder}/out", "--workers=0", "--progress=none"]) == 0
    return folder / "out"


def test_paraphrases_lose_to_the_human_text_they_repeat(curated):
    lost = losers(curated)
    assert set(lost) == {f"again-{n}" for n in range(8)}
    for name, row in lost.items():
        assert (row["reason"], row["partner_id"]) == ("semantic_duplicate", f"human-{int(name[6:]):05d}")
        assert row["similarity"] == row["value"] >= row["limit"] == np.float32(0.99)
    assert published(curated).num_rows == 42
    manifest = json.loads((curated / "manifest.json").read_text())
    assert sum(entry["documents"] for one in manifest["accounts"] for entry in one["rejected"] if entry["reason"] == "semantic_duplicate") == 8


def test_a_scored_shard_holds_a_vector_for_each_document(curated):
    for path in (curated / "scored").glob("*.parquet"):
        column = pq.read_table(path, columns=["embedding"])["embedding"]
        assert column.type.byte_width == 48 and column.null_count == 0


def test_a_remix_decides_anew_from_stored_vectors(headwater, run, curated):
    folder, _ = run
    (folder / "encoder").rename(folder / "gone")
    try:
        ran = headwater("remix", f"--scored={curated}/scored", f"--output={folder}/remixed", "--human_quota=0", "--set=dedup.semantic_similarity=1.0")
        again = headwater("remix", f"--scored={curated}/scored", f"--output={folder}/same", "--human_quota=0", *BOUND)
    finally:
        (folder / "gone").rename(folder / "encoder")
    assert (ran.code, again.code) == (0, 0), ran.err + again.err
    assert losers(folder / "same") == losers(curated)
    assert not losers(folder / "remixed")


def test_a_cap_on_clusters_keeps_so_many_of_each(headwater, run):
    folder, arguments = run
    caps = ["--set=caps.semantic_cluster=1", '--set=caps.origins=["human", "synthetic"]', "--set=dedup.semantic_cluster_documents=10"]
    ran = headwater("curate", *arguments, *caps, f"--output={folder}/capped")
    assert ran.code == 0, ran.err
    over = [row for row in rejected(folder / "capped").to_pylist() if row["reason"] == "over_cap"]
    kept = published(folder / "capped").num_rows
    assert 1 < kept <= 5 and kept + len(over) == 50
    assert not losers(folder / "capped")


def test_a_mix_that_takes_turns_finds_clusters_and_a_remix_takes_them_over(headwater, run):
    folder, arguments = run
    turns = ["--priority=diverse", "--max_documents=12", "--set=dedup.semantic_cluster_documents=8", "--num_shards=1"]
    ran = headwater("curate", *arguments, *turns, f"--output={folder}/turns")
    assert ran.code == 0, ran.err
    kept = published(folder / "turns")
    assert kept.num_rows == 12 and not losers(folder / "turns")
    for name, more in (("here", []), ("graph", ["--job_name=asks-for-beam"])):
        ran = headwater("remix", f"--scored={folder}/turns/scored", "--human_quota=0", *turns, *more, f"--output={folder}/turns-{name}")
        assert ran.code == 0, ran.err
        assert published(folder / f"turns-{name}") == kept
    clusters = {}
    for path in (folder / "turns" / "decided").glob("*.arrow"):
        rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all().select(["id", "semantic_cluster", "origin"]).to_pylist()
        clusters |= {row["id"]: row["semantic_cluster"] for row in rows if row["origin"] == 2}
    found = [clusters[name] for name in kept["id"].to_pylist()]
    counts = [found.count(cluster) for cluster in set(clusters.values())]
    sizes = [list(clusters.values()).count(cluster) for cluster in set(clusters.values())]
    assert len(counts) > 1 and all(count >= min(size, max(counts) - 1) for count, size in zip(counts, sizes, strict=True))


def test_off_by_default_nothing_is_encoded(headwater, run):
    folder, arguments = run
    ran = headwater("curate", *arguments, f"--output={folder}/plain")
    assert ran.code == 0, ran.err
    assert published(folder / "plain").num_rows == 50
    names = {name for path in (folder / "plain" / "scored").glob("*.parquet") for name in pq.read_schema(path).names}
    assert "embedding" not in names
    refused = headwater("remix", f"--scored={folder}/plain/scored", f"--output={folder}/x", "--human_quota=0", *BOUND)
    assert refused.code == 2
    assert "dedup.semantic: the shards were scored without the scorer 'embedding'; score again" in refused.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dedup.semantic_similarity=0.0", "must be above 0, at most 1"),
        ("dedup.semantic_probes=0", "must be 1..64"),
        ("dedup.semantic_cluster_documents=0", "must be at least 1"),
        ("score.embedding=word2vec", "must be one of minilm, onnx:FOLDER, hf:PATH_OR_NAME"),
        ("score.embedding_tokens=1", "must be a whole number from 3 to 65536"),
    ],
)
def test_a_wrong_setting_is_a_usage_error(headwater, run, setting, message):
    folder, arguments = run
    ran = headwater("curate", *arguments, "--set=dedup.semantic=true", f"--set={setting}", f"--output={folder}/never")
    assert ran.code == 2
    assert message in ran.err
