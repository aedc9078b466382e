"""`headwater diff`: what moved between two runs, and why, from what they left."""

import contextlib
import io
import json

import pytest

from pipeline.__main__ import main
from tests.conftest import WITHOUT_DETECTOR, inputs, published


@pytest.fixture(scope="module")
def runs(corpus, tmp_path_factory):
    """A curated dataset, and a smaller remix with a higher quota. Not to be changed."""
    folder = tmp_path_factory.mktemp("diff")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["curate", *inputs(corpus), f"--output={folder}/one", WITHOUT_DETECTOR, "--workers=0", "--progress=none"]) == 0
        flags = ["--human_quota=0.75", "--set=rules.gopher_too_few_words.min=130", "--workers=0", "--progress=none"]
        assert main(["remix", f"--scored={folder}/one/scored", f"--output={folder}/two", *flags]) == 0
    return folder / "one", folder / "two"


def diff(capsys, *arguments):
    capsys.readouterr()
    code = main(["diff", *map(str, arguments)])
    return code, capsys.readouterr()


def keys(output):
    table = published(output)
    return set(zip(table["source"].to_pylist(), table["id"].to_pylist(), strict=True))


def test_what_moved_is_counted_by_source_and_reason(runs, capsys, tmp_path):
    code, said = diff(capsys, *runs, "--json", f"--moved={tmp_path}/moved.jsonl")
    found = json.loads(said.out)
    before, after = (keys(run) for run in runs)
    assert code == 0 and found["published"] == [len(before), len(after)]
    assert (found["stayed"], found["left"], found["came"]) == (len(before & after), len(before - after), len(after - before))
    assert {"key": "mix.human_quota", "was": 0.5, "now": "0.75"} in found["settings"]
    moved = [json.loads(line) for line in (tmp_path / "moved.jsonl").read_text().splitlines()]
    assert {(row["source"], row["id"]) for row in moved if row["was"] == "published" != row["now"]} == before - after
    assert sum(move["documents"] for move in found["moves"]) == len(moved)
    reasons = {move["now"] for move in found["moves"]}
    assert "rules: gopher_too_few_words" in reasons
    assert [move["documents"] for move in found["moves"]] == sorted((move["documents"] for move in found["moves"]), reverse=True)


def test_the_table_says_the_same(runs, capsys):
    code, said = diff(capsys, *runs)
    found = json.loads(diff(capsys, *runs, "--json")[1].out)
    assert code == 0 and f"{found['stayed']:,} stayed, {found['left']:,} left, {found['came']:,} came." in said.out
    assert 'mix.human_quota: 0.5 -> "0.75"' in said.out and "gopher_too_few_words" in said.out


def test_a_run_and_itself_differ_in_nothing(runs, capsys):
    code, said = diff(capsys, runs[0], runs[0])
    assert code == 0 and "No document moved." in said.out and "0 left, 0 came" in said.out


def test_a_folder_without_a_run_is_refused(runs, capsys, tmp_path):
    code, said = diff(capsys, runs[0], tmp_path)
    assert code == 2 and "holds no published run" in said.err
    code, said = diff(capsys, runs[0], tmp_path / "none")
    assert code == 2 and "give the --output folder" in said.err
