"""Decontamination end to end, from the command line."""

import hashlib
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, prose, write_jsonl


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Human and synthetic text, some of it holding items of two evaluation sets; the sets as JSON lines and CSV."""
    folder = tmp_path_factory.mktemp("decontamination")
    human, synthetic = documents("human", range(30)), documents("synthetic", range(100, 130))
    quiz = [{"id": f"q{n}", "question": prose(5000 + n, 30), "answer": "Yes"} for n in range(20)]
    human[3]["text"] += "\n\n" + quiz[7]["question"].upper().replace(".", " !")
    synthetic[4]["text"] += " " + " ".join(quiz[9]["question"].split()[2:15])
    recall = prose(6001, 40)
    synthetic[5]["text"] = recall + " " + synthetic[5]["text"]
    short = "how many painted ladders lean against the frozen chapel tower"
    human[6]["text"] += " I asked: how many painted ladders lean against the frozen chapel tower? Nobody knew."
    write_jsonl(folder / "human.jsonl", human)
    write_jsonl(folder / "synthetic.jsonl", synthetic)
    write_jsonl(
        folder / "quiz.jsonl", [*quiz, {"id": "short", "question": short, "answer": "Nine"}, {"id": "tiny", "question": "Who?", "answer": "Me"}]
    )
    (folder / "recall.csv").write_text(f'uid,question\nr1,"{prose(6000, 40)}"\nr2,"{recall}"\n')
    return folder


def command(files, output, *flags):
    return [
        "curate",
        f"--human=books={files}/human.jsonl",
        f"--synthetic=models={files}/synthetic.jsonl",
        f"--output={output}",
        WITHOUT_DETECTOR,
        *flags,
    ]


SETS = ("--decontaminate=quiz={}/quiz.jsonl", "--decontaminate=recall={}/recall.csv", "--decontaminate_fields=question,answer")


@pytest.fixture(scope="module")
def clean(files, tmp_path_factory):
    from pipeline.__main__ import main

    output = tmp_path_factory.mktemp("clean") / "out"
    flags = [flag.format(files) for flag in SETS]
    assert main([*command(files, output, *flags), "--workers=0", "--progress=none"]) == 0
    return output


def contaminated(output):
    return {row["id"]: row for row in rejected(output).to_pylist() if row["reason"] == "contaminated"}


def test_documents_that_hold_items_of_evaluation_sets_are_rejected_and_name_them(clean):
    rows = contaminated(clean)
    assert {id: row["partner_id"] for id, row in rows.items()} == {
        "human-00003": "quiz/q7",
        "human-00006": "quiz/short",
        "synthetic-00104": "quiz/q9",
        "synthetic-00105": "recall/recall.csv:3",
    }
    assert {row["stage"] for row in rows.values()} == {"contamination"}
    assert rows["human-00003"]["similarity"] == 1 and rows["human-00003"]["value"] > 10 and rows["human-00003"]["limit"] == 1
    assert rows["synthetic-00104"]["value"] == 1 and 0 < rows["synthetic-00104"]["similarity"] < 0.2
    assert rows["human-00006"]["value"] == 1 and rows["human-00006"]["similarity"] == 1
    assert not set(rows) & set(published(clean)["id"].to_pylist())


def test_the_books_balance_and_count_the_contaminated(clean):
    reasons = Counter()
    for account in manifest_of(clean)["accounts"]:
        for entry in account["rejected"]:
            reasons[entry["stage"], entry["reason"]] += entry["documents"]
        assert account["read"] == sum(account["published"].values()) + sum(entry["documents"] for entry in account["rejected"])
    assert reasons["contamination", "contaminated"] == 4


def test_the_manifest_names_the_evaluation_files_with_their_digests(clean, files):
    described = manifest_of(clean)["decontamination"]
    assert [one["name"] for one in described["sets"]] == ["quiz", "recall"]
    for one, name in zip(described["sets"], ("quiz.jsonl", "recall.csv"), strict=True):
        assert one["files"] == [{"path": f"{files}/{name}", "sha256": hashlib.sha256((files / name).read_bytes()).hexdigest()}]
    assert (described["sets"][0]["items"], described["sets"][0]["unsought"]) == (22, 1)
    assert described["index"] in manifest_of(clean)["scorers"]["contamination"]["version"]
    assert not (clean / "evaluation").exists()


def test_a_remix_moves_the_limits_without_the_sets(clean, headwater, tmp_path):
    ran = headwater("remix", f"--scored={clean}/scored", f"--output={tmp_path}/out", "--min_contaminated_ngrams=2")
    assert ran.code == 0, ran.err
    assert set(contaminated(tmp_path / "out")) == {"human-00003", "synthetic-00105"}
    ran = headwater("remix", f"--scored={clean}/scored", f"--output={tmp_path}/share", "--min_contaminated_share=0.9")
    assert ran.code == 0, ran.err
    assert set(contaminated(tmp_path / "share")) == {"human-00003", "human-00006", "synthetic-00105"}
    assert manifest_of(tmp_path / "share")["decontamination"] == manifest_of(clean)["decontamination"]


def test_a_remix_with_the_same_limits_takes_over_what_was_decided(clean, headwater, tmp_path):
    ran = headwater("remix", f"--scored={clean}/scored", f"--output={tmp_path}/out")
    assert ran.code == 0, ran.err
    assert manifest_of(tmp_path / "out")["digest"] == manifest_of(clean)["digest"]
    assert "Kept free of quiz: 22 items" in ran.out and "1 items are too short to be sought" in ran.out


@pytest.mark.parametrize("flag", ["--decontaminate=other={}/quiz.jsonl", "--set=decontaminate.ngram_words=8", "--decontaminate_fields=question"])
def test_a_remix_with_other_sets_or_ngrams_says_what_to_do(clean, files, headwater, tmp_path, flag):
    ran = headwater("remix", f"--scored={clean}/scored", f"--output={tmp_path}/out", flag.format(files))
    assert ran.code == 2
    assert "headwater curate" in ran.err and "were scored against quiz=" in ran.err
    assert not (tmp_path / "out").exists()


def test_shards_scored_without_sets_cannot_be_decontaminated_by_a_remix(files, headwater, tmp_path):
    output = tmp_path / "plain"
    assert headwater(*command(files, output)).code == 0
    schema = pq.read_schema(next((output / "scored").glob("*")))
    stored = json.loads(schema.metadata[b"headwater"])
    # Scored shards are what they were before there was decontamination.
    assert "evaluation" not in stored["settings"] and "contamination" not in stored["scorers"] and "contaminated_by" not in schema.names
    assert manifest_of(output)["decontamination"] is None
    assert not contaminated(output)
    ran = headwater("remix", f"--scored={output}/scored", f"--output={tmp_path}/out", f"--decontaminate=quiz={files}/quiz.jsonl")
    assert ran.code == 2 and "against no evaluation set" in ran.err and "headwater curate" in ran.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--decontaminate=quiz"], "write NAME=GLOB"),
        (["--decontaminate=quiz={}/nothing-*.jsonl"], "no file matches"),
        (["--decontaminate=quiz={}/quiz.jsonl"], "--decontaminate_fields"),
        (["--decontaminate=quiz={}/quiz.jsonl", "--decontaminate_fields=answer"], "can be sought"),
        (["--decontaminate=a={}/quiz.jsonl", "--decontaminate=a={}/recall.csv"], "two evaluation sets are named 'a'"),
        (["--decontaminate=quiz={}/broken.jsonl"], "broken.jsonl:2 cannot be read"),
        (["--min_contaminated_share=1.5"], "from 0 to 1"),
        (["--min_contaminated_ngrams=0"], "at least 1"),
        (["--set=decontaminate.ngram_words=0"], "from 1 to 64"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_published(files, headwater, tmp_path, flags, said):
    (files / "broken.jsonl").write_text(json.dumps({"text": prose(1, 30)}) + "\nnot json\n")
    ran = headwater(*command(files, tmp_path / "out", *(flag.format(files) for flag in flags)))
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1, ran.err
    assert not (tmp_path / "out").exists()


def test_the_same_is_found_by_any_workers_and_order_of_sets(clean, files, headwater, tmp_path):
    turned = [flag.format(files) for flag in (SETS[1], SETS[0], SETS[2])]
    ran = headwater(*command(files, tmp_path / "two", *turned, "--workers=2"))
    assert ran.code == 0, ran.err
    assert contaminated(tmp_path / "two") == contaminated(clean)
    assert manifest_of(tmp_path / "two")["digest"] == manifest_of(clean)["digest"]


def test_a_plan_seeks_the_sets_and_writes_nothing(files, headwater, tmp_path):
    places = [f"--human=books={files}/human.jsonl", f"--synthetic=models={files}/synthetic.jsonl"]
    before = sorted(files.iterdir())
    ran = headwater("plan", *places, WITHOUT_DETECTOR, *(flag.format(files) for flag in SETS))
    assert ran.code == 0, ran.err
    assert "contamination: contaminated" in ran.out and "Kept free of recall: 2 items" in ran.out
    assert sorted(files.iterdir()) == before


def test_a_rule_may_look_at_the_scores_of_contamination(files, headwater, tmp_path):
    rule = ["--set=rules.quoted.field=contaminated_share", "--set=rules.quoted.max=0.01", "--min_contaminated_ngrams=1000"]
    assert headwater(*command(files, tmp_path / "out", *(flag.format(files) for flag in SETS), *rule)).code == 0
    quoted = {row["id"] for row in rejected(tmp_path / "out").to_pylist() if row["reason"] == "quoted"}
    assert quoted == {"human-00003", "human-00006", "synthetic-00104", "synthetic-00105"} and not contaminated(tmp_path / "out")
