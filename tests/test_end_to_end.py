"""The command line, end to end: what a user sees, reads back and relies on."""

import contextlib
import gzip
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.shelf  # noqa: F401 (registers shelf://)
from pipeline.__main__ import main
from pipeline.decided import find_decided
from tests.conftest import WITHOUT_DETECTOR, inputs, published, rejected
from tests.texts import documents, write_jsonl


@pytest.fixture(scope="module")
def curated(corpus, tmp_path_factory):
    """A curated dataset of the small corpus, not to be changed, and the command's output."""
    folder = tmp_path_factory.mktemp("curated")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        flags = [f"--output={folder}/out", WITHOUT_DETECTOR, "--num_shards=3", "--workers=0", "--progress=none"]
        assert main(["curate", *inputs(corpus), *flags]) == 0
    return folder / "out", printed.getvalue()


def manifest_of(output: Path) -> dict:
    return json.loads((output / "manifest.json").read_text())


def test_every_document_ends_in_exactly_one_place(curated, corpus):
    output, _ = curated
    ids = Counter(published(output)["id"].to_pylist()) + Counter(rejected(output)["id"].to_pylist())
    read = Counter()
    for path in sorted(corpus.iterdir()):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as file:
            read.update(json.loads(line)["id"] for line in file)
    assert ids == read


def test_each_planted_fault_is_rejected_for_its_own_reason(curated):
    output, _ = curated
    rows = {row["id"]: row for row in rejected(output).to_pylist()}
    assert rows["web-short"]["stage"] == "rules" and rows["web-short"]["reason"] == "gopher_too_few_words"
    assert rows["web-short"]["value"] < rows["web-short"]["limit"] == 50
    assert rows["web-loop"]["stage"] == "rules"
    for n in range(5):
        copy = rows[f"copy-{n}"] if f"copy-{n}" in rows else rows[f"synthetic-{1000 + n:05d}"]
        assert copy["reason"] == "exact_duplicate" and copy["similarity"] == 1.0
        echo = rows[f"echo-{n}"]
        assert echo["reason"] == "near_duplicate" and echo["partner_id"] == f"human-{n:05d}" and 0.6 < echo["similarity"] < 1


def test_duplicates_lose_to_the_smaller_id_and_to_the_human_copy(curated):
    output, _ = curated
    rows = {row["id"]: row for row in rejected(output).to_pylist() if "duplicate" in row["reason"]}
    # "copy-0" < "synthetic-01000", equal in origin and quality: the smaller id survives.
    assert {f"synthetic-{1000 + n:05d}" for n in range(5)} <= set(rows)
    assert not any(row["id"].startswith("human-") for row in rows.values())


def test_the_quota_holds_in_every_shard_and_the_manifest_says_so(curated):
    output, printed = curated
    shards = sorted((output / "data").glob("*.parquet"))
    assert [path.name for path in shards] == [f"train-{n:05d}-of-00003.parquet" for n in range(3)]
    for path, entry in zip(shards, manifest_of(output)["shards"], strict=True):
        origins = Counter(pq.read_table(path)["origin"].to_pylist())
        assert origins["human"] * 2 >= sum(origins.values())
        assert entry["documents"] == {"human": origins["human"], "all": sum(origins.values())}
    manifest = manifest_of(output)
    assert manifest["quota"]["measured_share"] >= 0.5 and manifest["quota"]["smallest_shard_share"] >= 0.5
    assert "at least 50.0% promised" in printed


def test_load_dataset_returns_exactly_the_published_rows(curated, tmp_path):
    import datasets

    output, _ = curated
    loaded = datasets.load_dataset(str(output), cache_dir=str(tmp_path))
    assert list(loaded) == ["train"]
    assert loaded["train"]["id"][:] == published(output)["id"].to_pylist()
    assert loaded["train"]["text"][:] == published(output)["text"].to_pylist()


def test_published_columns_are_typed_and_other_columns_survive(headwater, tmp_path):
    path = write_jsonl(tmp_path / "in.jsonl", documents("a", range(8), licence="CC0", stars=5, messages=None))
    output = tmp_path / "out"
    assert headwater("curate", f"--human=a={path}", f"--output={output}", WITHOUT_DETECTOR).code == 0
    table = published(output)
    assert not any(pa.types.is_null(field.type) for field in table.schema)
    assert table["licence"][0].as_py() == "CC0"
    assert json.loads(table["extra"][0].as_py())["stars"] == 5
    assert set(table["origin"].to_pylist()) == {"human"} and set(table["declared_origin"].to_pylist()) == {"human"}


def test_the_funnel_counts_what_the_files_hold(curated):
    output, printed = curated
    account = {entry["source"]: entry for entry in manifest_of(output)["accounts"]}
    assert account["books"]["read"] == 60 and account["models"]["read"] == 60 and account["web"]["read"] == 20
    assert sum(sum(entry["published"].values()) for entry in account.values()) == published(output).num_rows
    assert "near_duplicate" in printed and "published" in printed


def test_remix_equals_curate_with_the_same_settings(curated, headwater, corpus, tmp_path):
    output, _ = curated
    settings = ["--human_quota=0.7", "--seed=5", "--num_shards=2", "--priority=random", "--set=rules.gopher_too_few_words.min=20"]
    assert headwater("remix", f"--scored={output}/scored", f"--output={tmp_path}/remixed", *settings).code == 0
    assert headwater("curate", *inputs(corpus), f"--output={tmp_path}/direct", WITHOUT_DETECTOR, *settings).code == 0
    remixed, direct = manifest_of(tmp_path / "remixed"), manifest_of(tmp_path / "direct")
    assert remixed["digest"] == direct["digest"] != manifest_of(output)["digest"]
    assert remixed["recipe_digest"] == direct["recipe_digest"]
    assert remixed["accounts"] == direct["accounts"]
    assert rejected(tmp_path / "remixed") == rejected(tmp_path / "direct")


def test_remix_takes_over_decisions_that_still_hold_and_only_those(curated, headwater, tmp_path, monkeypatch):
    from pipeline import run

    output, _ = curated
    taken = []
    monkeypatch.setattr(run, "find_decided", lambda *arguments: taken.append(find_decided(*arguments)) or taken[-1])
    copy = shutil.copytree(output, tmp_path / "copy")
    for label, flags, expected in (
        ("quota", ["--human_quota=0.7"], f"{copy}/decided"),
        ("rule", ["--human_quota=0.7", "--set=rules.gopher_too_few_words.min=49"], None),
        ("similarity", ["--human_quota=0.7", "--min_similarity=0.71"], None),
    ):
        assert headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/{label}", *flags).code == 0
        assert taken.pop() == expected, label
        assert not (tmp_path / label / "decided").exists()
    shutil.rmtree(copy / "decided")
    assert headwater("remix", f"--scored={copy}/scored", f"--output={tmp_path}/anew", "--human_quota=0.7").code == 0
    assert taken.pop() is None
    assert manifest_of(tmp_path / "anew")["digest"] == manifest_of(tmp_path / "quota")["digest"]
    assert rejected(tmp_path / "anew") == rejected(tmp_path / "quota")


def test_plan_says_what_curate_would_publish_and_writes_nothing(curated, headwater, corpus):
    output, printed = curated
    before = sorted(output.parent.rglob("*"))
    settings = [WITHOUT_DETECTOR, "--num_shards=3"]
    from_inputs = headwater("plan", *inputs(corpus), *settings)
    from_scores = headwater("plan", f"--scored={output}/scored", "--num_shards=3")
    assert from_inputs.code == from_scores.code == 0
    assert sorted(output.parent.rglob("*")) == before

    def funnel(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.strip() and not line.startswith(("Published", "Nothing was written", "Human share"))]

    assert funnel(from_inputs.out) == funnel(from_scores.out) == funnel(printed)


@pytest.mark.parametrize("unit", ["documents", "tokens", "bytes"])
def test_the_quota_holds_in_the_unit_asked_for(curated, headwater, tmp_path, unit):
    output, _ = curated
    mixed = tmp_path / unit
    assert (
        headwater("remix", f"--scored={output}/scored", f"--output={mixed}", "--human_quota=0.6", f"--quota_unit={unit}", "--num_shards=4").code == 0
    )
    for path in (mixed / "data").glob("*.parquet"):
        rows = pq.read_table(path).to_pylist()
        weigh = {"documents": lambda row: 1, "tokens": lambda row: row["tokens"], "bytes": lambda row: len(row["text"].encode())}[unit]
        human = sum(weigh(row) for row in rows if row["origin"] == "human")
        assert human * 10 >= 6 * sum(weigh(row) for row in rows)


def test_a_wanted_size_is_met_exactly(curated, headwater, tmp_path):
    output, _ = curated
    assert headwater("remix", f"--scored={output}/scored", f"--output={tmp_path}/small", "--max_documents=20").code == 0
    assert Counter(published(tmp_path / "small")["origin"].to_pylist())["human"] == 10
    assert published(tmp_path / "small").num_rows == 20


def test_same_content_for_any_workers_runner_and_file_order(headwater, corpus, tmp_path):
    # One input of three files; the other runs get the same records in files of other names and order, or other cores, or the job API.
    records = [json.loads(line) for line in (corpus / "human.jsonl").read_text().splitlines()]
    for folder, order in (("straight", [0, 1, 2]), ("shuffled", [2, 0, 1])):
        for name, part in zip("abc", order, strict=True):
            write_jsonl(tmp_path / folder / f"{name}.jsonl", records[part * 20 : part * 20 + 20])
    others = inputs(corpus)[1:]
    digests = {}
    for label, folder, flags in (
        ("one worker", "straight", ["--workers=1"]),
        ("two workers", "straight", ["--workers=2"]),
        ("shuffled files", "shuffled", ["--workers=0"]),
        ("job API", "straight", ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"]),
    ):
        output = tmp_path / label.replace(" ", "-")
        ran = headwater(
            "curate",
            f"--human=books={tmp_path}/{folder}/*.jsonl",
            *others,
            f"--output={output}",
            WITHOUT_DETECTOR,
            "--num_shards=2",
            "--keep_top=quality@source=90%",
            *flags,
        )
        assert ran.code == 0, (label, ran.err)
        digests[label] = manifest_of(output)["digest"]
    assert len(set(digests.values())) == 1, digests


def test_the_detector_judges_unlabelled_text(headwater, tmp_path):
    from pydoc_data.topics import topics

    written = [{"id": f"topic-{n}", "text": text} for n, text in enumerate(sorted(topics.values())) if len(text.split()) > 150][:30]
    path = write_jsonl(tmp_path / "in.jsonl", written)
    output = tmp_path / "out"
    ran = headwater("curate", f"--unlabelled=docs={path}", f"--output={output}", "--human_quota=0.5", "--count_presumed_human")
    assert ran.code == 0, ran.err
    scored = pa.concat_tables([pq.read_table(file) for file in (output / "scored").glob("*.parquet")])
    judged = [row for row in scored.select(["ai_probability", "ai_abstained"]).to_pylist() if not row["ai_abstained"]]
    assert judged and all(0 <= row["ai_probability"] <= 1 for row in judged)
    assert set(published(output)["origin"].to_pylist()) <= {"presumed_human", "synthetic"}
    assert json.loads(pq.read_schema(next((output / "scored").glob("*.parquet"))).metadata[b"headwater"])["scorers"]["ai_detector"]["version"]


def test_overwrite_replaces_and_nothing_else_does(headwater, corpus, tmp_path):
    output = tmp_path / "out"
    command = ["curate", *inputs(corpus), f"--output={output}", WITHOUT_DETECTOR]
    assert headwater(*command, "--num_shards=3").code == 0
    before = manifest_of(output)
    again = headwater(*command)
    assert again.code == 2 and "--overwrite" in again.err
    assert manifest_of(output) == before
    assert headwater(*command, "--num_shards=1", "--overwrite").code == 0
    assert len(manifest_of(output)["shards"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_remix_never_writes_over_the_scores_it_reads(curated, headwater):
    output, _ = curated
    ran = headwater("remix", f"--scored={output}/scored", f"--output={output}", "--overwrite")
    assert ran.code == 2 and "another folder" in ran.err
    assert (output / "scored").is_dir()


def test_scores_of_different_settings_are_not_mixed(curated, headwater, corpus, tmp_path):
    output, _ = curated
    other = tmp_path / "other"
    assert (
        headwater("curate", *inputs(corpus)[:1], f"--output={other}", WITHOUT_DETECTOR, "--set=score.bands=7", "--set=score.rows_per_band=16").code
        == 0
    )
    for path in (output / "scored").glob("*.parquet"):
        shutil.copy(path, other / "scored" / f"zz-{path.name}")
    ran = headwater("remix", f"--scored={other}/scored", f"--output={tmp_path}/mixed")
    assert ran.code == 2 and "same scorers" in ran.err


def test_an_object_store_is_read_and_published_to(headwater, corpus, curated, tmp_path):
    shutil.copytree(corpus, tmp_path / "in")
    store = f"shelf:/{tmp_path}"
    flags = [f"--output={store}/out", WITHOUT_DETECTOR, "--num_shards=3"]
    ran = headwater("curate", *(flag.replace(str(corpus), f"{store}/in") for flag in inputs(corpus)), *flags)
    assert ran.code == 0, ran.err
    assert published(tmp_path / "out") == published(curated[0])
    assert manifest_of(tmp_path / "out")["digest"] == manifest_of(curated[0])["digest"]
    objects = {path.relative_to(tmp_path / "out").parts[0] for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert objects == {"README.md", "data", "decided", "manifest.json", "rejected", "scored"}
    again = headwater("curate", f"--human=books={store}/in/human.jsonl", *flags, "--overwrite")
    assert again.code == 2 and "new folder" in again.err
    assert headwater("remix", f"--scored={store}/out/scored", f"--output={store}/remixed", "--num_shards=3").code == 0
    assert manifest_of(tmp_path / "remixed")["digest"] == manifest_of(curated[0])["digest"]
