"""Text from real use, end to end: chat logs with task, licence and consent as an input of their own."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.ledger_queries import trace_id
from tests.conftest import published, rejected
from tests.texts import documents, prose, write_jsonl

# The detector was not made for the generated prose of these tests; residue of templates is looked for, as by default.
SCORERS = ["size", "gopher_quality", "gopher_repetition", "synthetic_faults", "quality", "language", "content_hash", "signature"]
WITH_FAULTS = f"--set=score.scorers={json.dumps(SCORERS)}"
CONSENT = """
[rules.no_consent]
field = "consent"
allow = ["true"]
required = true
sources = ["support"]
[rules.licence_forbids]
field = "licence"
deny = ["proprietary"]
"""


def chat(number: int, **fields) -> dict:
    said = [prose(9_000 + 2 * number + turn, 60) for turn in range(2)]
    turns = [{"role": role, "content": content} for role, content in zip(("user", "assistant"), said, strict=True)]
    return {"id": f"chat-{number}", "messages": turns, "task": "support" if number % 2 else "sales", **fields}


@pytest.fixture(scope="module")
def chats(tmp_path_factory) -> Path:
    """20 chats: 4 without a word on consent, 4 that refuse it; 1 of the others under a licence that forbids. 20 books say nothing of consent."""
    folder = tmp_path_factory.mktemp("chats")
    records = [chat(n, consent=True, license="CC-BY-4.0") for n in range(11)]
    records += [chat(11, consent="True", license="proprietary")]
    records += [chat(n, consent_given=False) for n in range(12, 16)]
    records += [chat(n) for n in range(16, 20)]
    write_jsonl(folder / "support.jsonl", records)
    write_jsonl(folder / "books.jsonl", documents("book", range(20), licence="public-domain"))
    (folder / "consent.toml").write_text(CONSENT)
    return folder


@pytest.fixture
def flags(chats, tmp_path) -> list[str]:
    given = [f"--human=support={chats}/support.jsonl", f"--human=books={chats}/books.jsonl", f"--recipe={chats}/consent.toml"]
    return [*given, f"--output={tmp_path}/out", WITH_FAULTS, "--human_quota=0"]


def by_id(table) -> dict[str, dict]:
    return {row["id"]: row for row in table.to_pylist()}


def test_chats_without_consent_are_turned_down_and_the_rest_keep_what_they_say(headwater, flags, tmp_path):
    ran = headwater("curate", *flags)
    assert ran.code == 0, ran.err
    kept, lost = by_id(published(tmp_path / "out")), by_id(rejected(tmp_path / "out"))
    assert set(kept) == {f"chat-{n}" for n in range(11)} | {f"book-{n:05d}" for n in range(20)}
    assert {name for name, row in lost.items() if row["reason"] == "no_consent"} == {f"chat-{n}" for n in range(12, 20)}
    assert [name for name, row in lost.items() if row["reason"] == "licence_forbids"] == ["chat-11"]
    said = kept["chat-3"]
    assert (said["source"], said["task"], said["licence"], said["consent"]) == ("support", "support", "CC-BY-4.0", "true")
    assert [turn["role"] for turn in said["messages"]] == ["user", "assistant"]
    assert said["text"].startswith("user: ") and said["messages"][1]["content"] in said["text"]
    assert (kept["book-00003"]["licence"], kept["book-00003"]["consent"]) == ("public-domain", None)
    assert said["extra"] is None


def test_the_ledger_and_its_trace_know_task_licence_and_consent(headwater, flags, tmp_path):
    pytest.importorskip("deltalake")
    assert headwater("curate", *flags, f"--ledger={tmp_path}/ledger", "--cycle=c1").code == 0
    (traced,) = trace_id(str(tmp_path / "ledger"), "chat-3", 0.7)["publications"]
    assert (traced["task"], traced["licence"], traced["consent"]) == ("support", "CC-BY-4.0", "true")
    from deltalake import DeltaTable

    rows = by_id(DeltaTable(str(tmp_path / "ledger")).to_pyarrow_dataset().to_table(columns=["id", "licence", "consent", "task"]))
    assert rows["book-00001"] == {"id": "book-00001", "licence": "public-domain", "consent": None, "task": None}
    assert rows["chat-2"] == {"id": "chat-2", "licence": "CC-BY-4.0", "consent": "true", "task": "sales"}


def test_a_rule_for_an_input_that_is_not_there_is_refused(headwater, flags, chats, tmp_path):
    ran = headwater("curate", *flags, '--set=rules.no_consent.sources=["suport"]')
    assert ran.code == 2
    assert "rules.no_consent.sources: no input is named 'suport'; the inputs are books, support" in ran.err
    assert headwater("curate", *flags).code == 0
    mixed = headwater(
        "remix",
        f"--scored={tmp_path}/out/scored",
        f"--output={tmp_path}/mixed",
        f"--recipe={chats}/consent.toml",
        '--set=rules.no_consent.sources=["suport"]',
    )
    assert mixed.code == 2 and "no input is named 'suport'" in mixed.err
    assert not (tmp_path / "mixed").exists()


def strip_columns(scored: Path) -> None:
    """Makes the scored shards those of a version that knew neither licence nor consent."""
    for path in scored.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["licence", "consent"]), path)


def test_older_scored_shards_are_remixed_without_the_columns(headwater, flags, chats, tmp_path):
    pytest.importorskip("deltalake")
    assert headwater("curate", *flags, "--set=rules.no_consent.enabled=false", "--set=rules.licence_forbids.enabled=false").code == 0
    strip_columns(tmp_path / "out" / "scored")
    remix = ["remix", f"--scored={tmp_path}/out/scored", f"--output={tmp_path}/mixed", "--human_quota=0"]
    refused = headwater(*remix, f"--recipe={chats}/consent.toml")
    assert refused.code == 2 and "no scorer makes 'consent' and no document has it" in refused.err
    ran = headwater(*remix, f"--ledger={tmp_path}/ledger", "--cycle=c1")
    assert ran.code == 0, ran.err
    rows = by_id(published(tmp_path / "mixed"))
    assert len(rows) == 40 and {(row["licence"], row["consent"]) for row in rows.values()} == {(None, None)}
