"""Keys, caps and repeated lines through the command line: who goes and why, that a remix agrees with a curate, and what a slip says."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, prose, write_jsonl

MODELS = ("alpha", "beta", "gamma", "delta")
NOTICE = "\n".join(prose(seed, 22) for seed in range(900, 904))
"""Four lines that stand under several documents."""
CAPPED = ["--cap=prompt=2", "--cap=near_cluster=1"]
EVERYTHING = [*CAPPED, "--dedup_key=url:normalised", "--max_repeated_line_share=0.5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """40 human documents (two under one address, two that share a notice) and 24 synthetic answers of four models to six prompts."""
    folder = tmp_path_factory.mktemp("keys")
    human = documents("human", range(40))
    for number, record in enumerate(human):
        record["url"] = f"https://www.example.org/{number}/?utm_source=feed" if number != 1 else "http://example.org/0"
    human[5]["text"] = "\n".join([prose(5, 60), NOTICE])
    human[6]["text"] = "\n".join([prose(6, 60), NOTICE])
    answers = []
    for number in range(24):
        prompt, model = divmod(number, len(MODELS))
        turns = [{"role": "user", "content": f"What of {prompt}?"}, {"role": "assistant", "content": prose(3000 + number)}]
        answers.append({"id": f"{MODELS[model]}-{prompt}", "messages": turns, "text": prose(3000 + number), "generator": MODELS[model]})
    # One answer is little more than the notice that two people wrote.
    answers[0]["text"] = "\n".join([prose(4000, 30), NOTICE])
    write_jsonl(folder / "human.jsonl", human)
    write_jsonl(folder / "answers.jsonl", answers)
    return folder


def inputs(folder: Path) -> list[str]:
    return [f"--human=web={folder}/human.jsonl", f"--synthetic=models={folder}/answers.jsonl", WITHOUT_DETECTOR]


def gone(output: Path) -> dict[str, dict]:
    return {row["id"]: row for row in rejected(output).to_pylist()}


def manifest_of(output: Path) -> dict:
    return json.loads((output / "manifest.json").read_text())


@pytest.fixture(scope="module")
def curated(folder, tmp_path_factory) -> Path:
    """A curate with every key, cap and limit; not to be changed."""
    from pipeline.__main__ import main

    output = tmp_path_factory.mktemp("curated") / "out"
    assert main(["curate", *inputs(folder), f"--output={output}", *EVERYTHING, "--workers=0", "--progress=none"]) == 0
    return output


def test_of_two_documents_under_one_address_one_stays(curated):
    row = gone(curated)["human-00001"]
    assert (row["stage"], row["reason"], row["partner_id"], row["value"], row["limit"]) == ("key_duplicates", "duplicate_key", "human-00000", 2, 1)
    assert row["similarity"] is None


def test_a_document_of_repeated_lines_names_who_holds_them_and_a_human_holder_stays(curated):
    row = gone(curated)["alpha-0"]
    assert (row["stage"], row["reason"]) == ("repeated_lines", "repeated_lines_elsewhere")
    assert row["partner_id"] in ("human-00005", "human-00006") and row["limit"] == 0.5 < row["value"] < 1 and row["similarity"] is None
    lines = [row for row in rejected(curated).to_pylist() if row["reason"] == "repeated_lines_elsewhere"]
    assert {row["id"] for row in lines} - {"alpha-0"} < {"human-00005", "human-00006"}
    assert row["partner_id"] in published(curated)["id"].to_pylist()


def test_of_the_answers_to_a_prompt_two_stay_and_no_human_text_is_capped(curated):
    kept = Counter(row["id"].split("-")[1] for row in published(curated).to_pylist() if row["origin"] == "synthetic")
    assert kept == {str(prompt): 2 for prompt in range(6)}
    over = [row for row in rejected(curated).to_pylist() if row["reason"] == "over_cap"]
    assert {row["stage"] for row in over} == {"caps"} and {row["origin"] for row in over} == {"synthetic"}
    for row in over:
        assert row["limit"] == 2 < row["value"] and row["partner_id"].split("-")[1] == row["id"].split("-")[1]
        assert row["partner_id"] in published(curated)["id"].to_pylist()


def test_every_document_ends_in_exactly_one_place(curated, folder):
    ids = Counter(published(curated)["id"].to_pylist()) + Counter(rejected(curated)["id"].to_pylist())
    read = [json.loads(line)["id"] for name in ("human", "answers") for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    assert ids == Counter(read)
    assert sum(account["read"] for account in manifest_of(curated)["accounts"]) == len(read)


def test_a_remix_with_other_limits_equals_the_curate(curated, headwater, folder, tmp_path):
    other = [
        "--cap=prompt=1",
        "--cap=generator=4",
        "--cap=near_cluster=0",
        "--dedup_key=url:normalised",
        "--max_repeated_line_share=0.3",
        "--human_quota=0.6",
    ]
    remix = headwater("remix", f"--scored={curated}/scored", f"--output={tmp_path}/remixed", *other)
    assert remix.code == 0, remix.err
    assert headwater("curate", *inputs(folder), f"--output={tmp_path}/direct", *other, "--set=dedup.partitions=3").code == 0
    remixed, direct = manifest_of(tmp_path / "remixed"), manifest_of(tmp_path / "direct")
    assert remixed["digest"] == direct["digest"] != manifest_of(curated)["digest"]
    assert remixed["accounts"] == direct["accounts"]
    assert rejected(tmp_path / "remixed") == rejected(tmp_path / "direct")
    assert (
        Counter(published(tmp_path / "direct").filter(pa.compute.field("origin") == "synthetic")["generator"].to_pylist()).most_common(1)[0][1] <= 4
    )


def test_a_remix_that_changes_the_mix_alone_takes_over_what_was_decided(curated, headwater, tmp_path):
    assert headwater("remix", f"--scored={curated}/scored", f"--output={tmp_path}/mix", *EVERYTHING, "--seed=3").code == 0
    decided = {name: row for name, row in gone(tmp_path / "mix").items() if row["stage"] != "mix"}
    assert decided == {name: row for name, row in gone(curated).items() if row["stage"] != "mix"}


def test_without_them_nothing_is_stored_and_a_remix_says_what_to_do(headwater, folder, tmp_path):
    assert headwater("curate", *inputs(folder), f"--output={tmp_path}/plain").code == 0
    names = pq.read_schema(next((tmp_path / "plain" / "scored").glob("*.parquet"))).names
    assert not [name for name in names if name.startswith(("key_", "line_"))]
    reasons = {row["reason"] for row in rejected(tmp_path / "plain").to_pylist()}
    assert not reasons & {"duplicate_key", "repeated_lines_elsewhere", "over_cap"}
    for flag, said in (
        ("--dedup_key=url", "dedup.key: the scored folder holds no key 'url'; score again with `headwater curate --set 'score.keys=[\"url\"]'`"),
        ("--cap=prompt=2", "caps.prompt: the scored folder holds no key 'prompt'"),
        ("--max_repeated_line_share=0.5", "the shards were scored without the scorer 'line_hashes'; score again with `headwater curate"),
    ):
        ran = headwater("remix", f"--scored={tmp_path}/plain/scored", f"--output={tmp_path}/again", flag)
        assert ran.code == 2 and said in ran.err, flag
    # What is a column needs no key.
    ran = headwater("remix", f"--scored={tmp_path}/plain/scored", f"--output={tmp_path}/again", "--cap=generator=3", "--human_quota=0.1")
    assert ran.code == 0, ran.err
    assert Counter(row["generator"] for row in published(tmp_path / "again").to_pylist() if row["generator"]) == dict.fromkeys(MODELS, 3)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--cap=promt=2", "key 'promt': none of 64 documents has one; did you mean 'prompt'?"),
        ("--cap=prompt", "--cap=prompt: must be FIELD=N, such as prompt=2"),
        ("--cap=prompt=two", "must be FIELD=N"),
        ("--cap=url:site=2", "caps.url:site: key url:site: no such form; allowed: normalised, host"),
        ("--dedup_key=a..b", "dedup.key: key 'a..b': must be FIELD or FIELD:FORM"),
        ("--set=caps.prompt=-1", "caps.prompt = -1: must be a whole number; 0 = no cap"),
        ('--set=caps.origins=["people"]', "caps.origins = ['people']: must be of human, presumed_human, synthetic, disputed"),
        ("--max_repeated_line_share=2", "dedup.max_repeated_line_share = 2.0: must be 0..1"),
        ("--set=score.line_unit=word", "line_unit must be one of line, paragraph, sentences, not 'word'"),
    ],
)
def test_a_slip_is_an_error_of_one_sentence(headwater, folder, tmp_path, flag, said):
    ran = headwater("curate", *inputs(folder), f"--output={tmp_path}/out", flag)
    assert ran.code == 2 and said in ran.err
    assert not (tmp_path / "out").exists()


def test_caps_of_a_recipe_file_reach_into_objects(headwater, tmp_path):
    records = [{"id": f"{n}", "text": prose(n), "meta": {"site": f"s{n % 2}"}} for n in range(8)]
    path = write_jsonl(tmp_path / "in.jsonl", records)
    (tmp_path / "own.toml").write_text("[caps]\norigins = []\n[caps.meta]\nsite = 3\n")
    ran = headwater("curate", f"--human=a={path}", f"--output={tmp_path}/out", WITHOUT_DETECTOR, f"--recipe={tmp_path}/own.toml")
    assert ran.code == 0, ran.err
    assert Counter(json.loads(row["extra"])["meta"]["site"] for row in published(tmp_path / "out").to_pylist()) == {"s0": 3, "s1": 3}


def test_a_cap_on_near_duplicates_counts_those_that_survive_each_other(headwater, tmp_path):
    # Copies with ever more words changed: a chain whose ends are unlike, but which hangs together.
    words = prose(1, 200).split()
    chain = []
    for step in range(6):
        changed = [f"other{place}" if place < 6 * step else word for place, word in enumerate(words)]
        chain.append({"id": f"c{step}", "text": " ".join(changed)})
    path = write_jsonl(tmp_path / "in.jsonl", [*chain, *documents("alone", range(50, 54))])
    flags = [f"--synthetic=m={path}", WITHOUT_DETECTOR, "--human_quota=0", "--min_similarity=0.9"]
    for label, more, most in (("capped", ["--cap=near_cluster=1"], 1), ("alone", ["--cap=near_cluster=2", "--set=dedup.near=false"], 2)):
        assert headwater("curate", *flags, f"--output={tmp_path}/{label}", *more).code == 0
        kept = published(tmp_path / label)["id"].to_pylist()
        assert sum(name.startswith("c") for name in kept) == most and sum(name.startswith("alone") for name in kept) == 4
        over = [row for row in rejected(tmp_path / label).to_pylist() if row["reason"] == "over_cap"]
        # Copies that near-duplicates did not remove, since they are too unlike those that stayed.
        assert over and all(row["limit"] == most for row in over)
