"""`--tokenizer`: the tokens of a named tokenizer are what sizes and quotas count, overall and in every file, and what manifest and card say."""

import json

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.conftest import WITHOUT_DETECTOR, inputs, published


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer of single characters: nothing like the built-in counts."""
    folder = tmp_path_factory.mktemp("tokenizer") / "characters"
    folder.mkdir()
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def curated(corpus, folder, tmp_path_factory):
    from pipeline.__main__ import main

    output = tmp_path_factory.mktemp("tokens") / "out"
    flags = [f"--tokenizer={folder}", "--quota_unit=tokens", "--human_quota=2/3", "--max_tokens=60000", "--num_shards=3", "--priority=random"]
    assert main(["curate", *inputs(corpus), *flags, WITHOUT_DETECTOR, f"--output={output}", "--workers=0", "--progress=none"]) == 0
    return output


def characters(path):
    """(human, all) tokens of a published file, counted again from its texts."""
    rows = pq.read_table(path, columns=["text", "tokens", "origin"]).to_pylist()
    assert all(row["tokens"] == len(row["text"]) for row in rows)
    return sum(len(row["text"]) for row in rows if row["origin"] == "human"), sum(len(row["text"]) for row in rows)


def test_size_and_quota_hold_in_its_tokens_overall_and_in_every_file(curated):
    held = [characters(path) for path in sorted((curated / "data").glob("*.parquet"))]
    assert len(held) == 3 and all(human * 3 >= total * 2 for human, total in held)
    human, total = (sum(column) for column in zip(*held, strict=True))
    assert 55000 < total <= 60000 and human * 3 >= total * 2


def test_manifest_and_card_name_it(curated, folder):
    told = json.loads((curated / "manifest.json").read_text())["tokenizer"]
    assert told["name"] == str(folder) and told["version"].startswith("tokenizer-")
    assert f"Tokens are counted by `{folder}` (`{told['version']}`), without special tokens." in (curated / "README.md").read_text()


def test_remix_keeps_it_and_another_needs_scoring_again(curated, headwater, tmp_path):
    scored = f"--scored={curated}/scored"
    assert headwater("remix", scored, f"--output={tmp_path}/less", "--max_tokens=20000", "--on_shortage=shrink").code == 0
    assert sum(published(tmp_path / "less")["tokens"].to_pylist()) <= 20000
    other = headwater("remix", scored, f"--output={tmp_path}/other", "--set=score.tokenizer=headwater-pretokens-1")
    assert other.code == 2 and "were scored with" in other.err and "score again with `headwater curate`" in other.err
    flag = headwater("remix", scored, f"--output={tmp_path}/other", "--tokenizer=gpt2")
    assert flag.code == 2 and "--tokenizer: no such flag" in flag.err and "score again with `headwater curate`" in flag.err
    plan = headwater("plan", scored, "--tokenizer=gpt2")
    assert plan.code == 2 and "score again with `headwater curate`" in plan.err
