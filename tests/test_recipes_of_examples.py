"""The recipes of examples/ run: scorers of one's own, and FineWeb's filters by datatrove's words."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from classifiers.custom_scorers import load_custom_scorer
from tests.conftest import published, rejected
from tests.texts import documents, write_jsonl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def human(tmp_path) -> Path:
    """Thirty documents that pass, one that breaks C4's rule on braces, one that never ends a sentence."""
    code = documents("code", range(100, 101))[0]
    code["text"] = code["text"].replace(". ", ". For i in {1, 2, 3} it held. ", 1)
    endless = {"id": "endless", "text": "incomprehensibility counterrevolutionaries " + " ".join(f"institutionalisation{n}" for n in range(80))}
    write_jsonl(tmp_path / "human.jsonl", [*documents("human", range(30)), {**code, "id": "code"}, endless])
    return tmp_path / "human.jsonl"


def test_scorers_of_ones_own_score_and_their_rules_reject(headwater, human, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    ran = headwater("curate", f"--human=books={human}", f"--output={tmp_path}/out", f"--recipe={EXAMPLES}/custom.toml", "--human_quota=1")
    assert ran.code == 0, ran.err
    reasons = {row["id"]: row["reason"] for row in rejected(tmp_path / "out").to_pylist()}
    assert reasons["endless"] == "unreadable"
    scored = pq.read_table(next((tmp_path / "out" / "scored").glob("*.parquet")))
    assert {"questions_per_sentence", "reading_ease"} <= set(scored.schema.names)
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())["scorers"]
    assert made["readability:Readability"]["version"].startswith("flesch-1;")
    sys.modules.pop("readability", None)
    load_custom_scorer.cache_clear()


def test_a_missing_module_is_a_usage_error(headwater, human, tmp_path):
    ran = headwater("curate", f"--human=books={human}", f"--output={tmp_path}/out", '--set=score.scorers=["size", "content_hash", "nowhere:f"]')
    assert ran.code == 2 and "nowhere cannot be imported" in ran.err and "PYTHONPATH" in ran.err


def test_finewebs_filters_run_by_datatroves_words(headwater, human, tmp_path):
    scorers = (
        '--set=score.scorers=["size", "gopher_quality", "gopher_repetition", "c4", "fineweb", "quality", "language", "content_hash", "signature"]'
    )
    flags = [f"--output={tmp_path}/out", f"--recipe={EXAMPLES}/fineweb.toml", scorers, "--human_quota=1"]
    ran = headwater("curate", f"--human=books={human}", *flags)
    assert ran.code == 0, ran.err
    reasons = {row["id"]: row["reason"] for row in rejected(tmp_path / "out").to_pylist()}
    assert reasons["code"] == "c4_curly_brackets"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert all("datatrove-words" in manifest["scorers"][name]["version"] for name in ("size", "gopher_quality", "gopher_repetition", "c4", "fineweb"))
    assert published(tmp_path / "out").num_rows > 0
