"""Personal data masked in what is published, from the command line."""

import json

import datasets
import pyarrow.parquet as pq
import pytest

from tests.conftest import WITHOUT_DETECTOR, published, rejected
from tests.texts import documents, prose, write_jsonl

ALL_KINDS = "--mask_personal_data=email,ip,phone,card,key"


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Human and synthetic text; three of them hold personal data, one of these as a chat."""
    folder = tmp_path_factory.mktemp("masking")
    human, synthetic = documents("human", range(20)), documents("synthetic", range(100, 120))
    human[2]["text"] += " Write to joe@example.org, or to 192.168.0.1 by night."
    human[2]["author"] = {"mail": "joe@example.org", "card": 4111111111111111}
    synthetic[3]["text"] += " Call (555) 123-4567."
    chat = [{"role": "user", "content": f"{prose(300)} I am ann@example.org."}, {"role": "assistant", "content": prose(301)}]
    human.append({"id": "chat", "messages": chat})
    write_jsonl(folder / "human.jsonl", human)
    write_jsonl(folder / "synthetic.jsonl", synthetic)
    return folder


def command(files, output, *flags):
    places = [f"--human=books={files}/human.jsonl", f"--synthetic=models={files}/synthetic.jsonl", f"--output={output}"]
    return ["curate", *places, WITHOUT_DETECTOR, *flags]


@pytest.fixture(scope="module")
def outputs(files, tmp_path_factory):
    """(masked, plain) runs of the same inputs."""
    from pipeline.__main__ import main

    folder = tmp_path_factory.mktemp("masked")
    for name, flags in (("masked", [ALL_KINDS]), ("plain", [])):
        assert main([*command(files, folder / name, *flags), "--workers=0", "--progress=none"]) == 0
    return folder / "masked", folder / "plain"


def rows_of(output):
    return {row["id"]: row for row in published(output).to_pylist()}


def test_published_text_carries_placeholders_and_tells_what_was_masked(outputs):
    rows = rows_of(outputs[0])
    assert rows["human-00002"]["text"].endswith(" Write to <EMAIL_ADDRESS>, or to <IP_ADDRESS> by night.")
    assert json.loads(rows["human-00002"]["extra"]) == {"author": {"mail": "<EMAIL_ADDRESS>", "card": "<CARD_NUMBER>"}}
    assert rows["human-00002"]["masked"] == [
        {"column": "text", "kind": "email", "count": 1},
        {"column": "text", "kind": "ip", "count": 1},
        {"column": "extra", "kind": "email", "count": 1},
        {"column": "extra", "kind": "card", "count": 1},
    ]
    assert rows["synthetic-00103"]["text"].endswith(" Call <PHONE_NUMBER>.")
    assert "I am <EMAIL_ADDRESS>." in rows["chat"]["messages"][0]["content"] and "I am <EMAIL_ADDRESS>." in rows["chat"]["text"]
    assert rows["human-00001"]["masked"] == []


def test_nothing_but_the_masks_changes(outputs):
    masked, plain = map(rows_of, outputs)
    assert masked.keys() == plain.keys()
    for id, row in plain.items():
        told = masked[id].pop("masked")
        assert told or masked[id] == row
        same = {name for name in row if name not in ("text", "messages", "extra")}
        assert {name: row[name] for name in same} == {name: masked[id][name] for name in same}
    assert [path.name for path in sorted((outputs[0] / "data").iterdir())] == [path.name for path in sorted((outputs[1] / "data").iterdir())]


def test_without_the_option_there_is_no_column_and_the_original_is_published(outputs):
    assert "masked" not in published(outputs[1]).schema.names
    assert rows_of(outputs[1])["human-00002"]["text"].endswith("joe@example.org, or to 192.168.0.1 by night.")


def test_scored_shards_keep_the_original(outputs):
    texts = [text for path in (outputs[0] / "scored").glob("*.parquet") for text in pq.read_table(path)["text"].to_pylist()]
    assert any("joe@example.org" in text for text in texts) and not any("<EMAIL_ADDRESS>" in text for text in texts)


def test_a_remix_masks_other_kinds_or_none(outputs, headwater, tmp_path):
    assert headwater("remix", f"--scored={outputs[0]}/scored", f"--output={tmp_path}/plain").code == 0
    assert manifest_of(tmp_path / "plain")["digest"] == manifest_of(outputs[1])["digest"]
    assert headwater("remix", f"--scored={outputs[1]}/scored", f"--output={tmp_path}/email", "--mask_personal_data=email").code == 0
    row = rows_of(tmp_path / "email")["human-00002"]
    assert "<EMAIL_ADDRESS>" in row["text"] and "192.168.0.1" in row["text"]
    assert headwater("remix", f"--scored={outputs[1]}/scored", f"--output={tmp_path}/all", ALL_KINDS).code == 0
    assert manifest_of(tmp_path / "all")["digest"] == manifest_of(outputs[0])["digest"]


def test_the_books_balance_and_the_dataset_loads(outputs):
    for account in manifest_of(outputs[0])["accounts"]:
        assert account["read"] == sum(account["published"].values()) + sum(entry["documents"] for entry in account["rejected"])
    loaded = datasets.load_dataset(str(outputs[0]), split="train", cache_dir=str(outputs[0].parent / "cache"))
    assert len(loaded) == published(outputs[0]).num_rows and "masked" in loaded.column_names


def test_a_document_that_returns_is_recognised_by_its_original(files, headwater, tmp_path):
    ledger = [f"--ledger={tmp_path}/ledger"]
    assert headwater(*command(files, tmp_path / "one", ALL_KINDS, *ledger, "--cycle=one")).code == 0
    ran = headwater(*command(files, tmp_path / "two", *ledger, "--cycle=two", "--on_shortage=shrink"))
    assert ran.code == 0, ran.err
    reused = {row["id"]: row["similarity"] for row in rejected(tmp_path / "two").to_pylist() if row["reason"] == "reused"}
    assert reused["synthetic-00103"] == 1


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--mask_personal_data=names", "'names' is no kind of personal data; known are email, ip, phone, card, key"),
        ("--mask_personal_data=email,email", "names a kind twice"),
        ("--mask_personal_data=email,", "is not a list of names with commas"),
        ("--set=publish.mask_personal_data=true", "must be a list"),
    ],
)
def test_a_mistake_is_said_before_any_work(files, headwater, tmp_path, flag, said):
    ran = headwater(*command(files, tmp_path / "out", flag))
    assert ran.code == 2 and said in ran.err
    assert not (tmp_path / "out").exists()
