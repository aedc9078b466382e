"""What the explorer shows is what `headwater plan` says, for the mix and for what is decided before it; and it leaves nothing behind."""

import contextlib
import io
import os
import re
import shlex
import sys

import pytest

from pipeline.__main__ import main
from pipeline.errors import HeadwaterError, QuotaUnmet, UsageError
from pipeline.explore_mix import funnel_lines
from pipeline.explore_recipe import as_command, as_toml
from pipeline.explore_samples import read_samples, turned_down_for
from pipeline.explore_session import Session, scored_folder
from pipeline.funnel import funnel_rows, quota_sentence, repeats_sentence
from pipeline.options import parse_arguments
from pipeline.run import run_command
from tests.conftest import published
from tests.pipeline.explored import HOSTILE, scored_run


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return scored_run(corpus, tmp_path_factory.mktemp("explored"))


@pytest.fixture(scope="module")
def session(run):
    opened = Session(str(run), [])
    yield opened
    opened.close()


def plan(run, changes):
    """The manifest of `headwater plan` with these changes."""
    words = [f"--set={key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in changes.items()]  # a predicate is a bare word
    with contextlib.redirect_stdout(io.StringIO()):
        return run_command(parse_arguments(["plan", f"--scored={run}/scored", "--workers=0", "--progress=none", *words]), ())


def explored(session, changes):
    setting = session.setting(changes)
    decisions = session.decided(setting) or session.decide(changes)
    return session.figures(decisions, setting)


def same(figures, manifest):
    assert list(figures.funnel) == funnel_rows(manifest)
    assert figures.quota == quota_sentence(manifest)
    assert list(figures.plan.sentences()) == manifest["mix"]["sentences"] and figures.repeats == repeats_sentence(manifest)
    assert {part.name: part.published for part in figures.sources if part.published} == {
        source: count
        for source in {account["source"] for account in manifest["accounts"]}
        if (count := sum(sum(one["published"].values()) for one in manifest["accounts"] if one["source"] == source))
    }
    assert sum(part.tokens for part in figures.sources) == manifest["published"]["tokens"]["all"] == sum(part.tokens for part in figures.languages)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mix.human_quota": "0.8", "mix.seed": 3},
        {"mix.human_quota": "2/3", "mix.quota_unit": "tokens", "mix.max_documents": 40, "mix.priority": "random"},
        {"mix.count_presumed_human": True, "mix.human_quota": "0.9", "publish.num_shards": 3},
        {"mix.max_tokens": 3000, "mix.human_quota": 0, "reserve.source.web": 4},
        {"mix.human_quota": "0.95", "mix.max_documents": 100, "mix.on_shortage": "shrink"},
        {"mix.human_quota": "0.9", "mix.max_documents": 200, "mix.max_human_repeats": 3, "mix.priority": "importance"},
        {"mix.groups.web.where": 'source == "web"', "mix.groups.web.max_share": 0.1, "mix.human_quota": "0.6"},
        {"mix.priority": "diverse", "mix.diverse_by": "source", "mix.max_documents": 50},
    ],
)
def test_a_mix_is_what_plan_says_without_deciding_again(session, run, changes):
    setting = session.setting(changes)
    assert session.decided(setting) is not None
    same(explored(session, changes), plan(run, changes))


def test_what_decides_before_the_mix_is_decided_again_and_then_what_plan_says(session, run):
    changes = {"rules.gopher_too_few_words.min": 130, "dedup.near": False, "origin.max_false_positive_rate": 0.15, "mix.human_quota": "0.7"}
    setting = session.setting(changes)
    assert session.decided(setting) is None
    preview = session.preview(setting)
    figures = explored(session, changes)
    same(figures, plan(run, changes))
    counts = {key: count for key, count in figures.counts().items() if key[0] in ("origin", "contamination", "rules")}
    assert preview.turned_down == counts and preview.rules["gopher_too_few_words"].first == counts["rules", "gopher_too_few_words"] > 2
    assert all(one.alone >= one.first for one in preview.rules.values())
    assert session.decided(setting) is not None, "going back needs no deciding"
    same(explored(session, {}), plan(run, {}))


def test_a_shortage_is_said_in_the_words_that_plan_stops_with(session, run):
    changes = {"mix.human_quota": "0.95", "mix.max_documents": 100}
    with pytest.raises(QuotaUnmet) as stopped:
        plan(run, changes)
    figures = explored(session, changes)
    assert figures.refusal == str(stopped.value) and figures.plan.shortages


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mix.human_quota": "1.2"}, "must be a number from 0 to 1"),
        ({"mix.max_documents": -3}, "must be a whole number"),
        ({"mix.max_documents": "many"}, "must be a whole number"),
        ({"origin.max_false_positive_rate": 0.9}, "0.2"),
        ({"dedup.min_similarity": 0.0}, "dedup.min_similarity = 0.0: must be above 0"),
        ({"rules.top_2gram.min": 0.9}, "min 0.9 is above max 0.2"),
        ({"ledger.max_generation": 1}, "needs the memory of earlier cycles"),
    ],
)
def test_a_setting_that_a_run_refuses_is_refused_in_its_words(session, changes, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        session.setting(changes)


def test_the_command_to_copy_publishes_what_is_shown(session, tmp_path):
    changes = {"mix.human_quota": "0.8", "mix.max_documents": 30, "reserve.source.web": 2, "mix.count_presumed_human": True}
    figures = explored(session, changes)
    command = as_command(session.changed(session.setting(changes)), session.scored, str(tmp_path / "it's here"))
    words = shlex.split(command)
    assert words[:2] == ["headwater", "remix"] and "--reserve=source.web=2" in words and "--count_presumed_human=true" in words
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*words[1:], "--workers=0", "--progress=none"]) == 0
    table = published(tmp_path / "it's here")
    assert table.num_rows == figures.plan.selected.documents and sum(table["tokens"].to_pylist()) == figures.plan.selected.tokens


def test_what_the_explorer_was_started_with_is_part_of_the_recipe(run, tmp_path):
    (tmp_path / "own.toml").write_text('[rules.short]\nfield = "words"\nmin = 5\n[mix]\nhuman_quota = 0.6\n', "utf-8")
    started = Session(str(run / "scored"), ["--recipe", str(tmp_path / "own.toml"), "--set=mix.seed=7"])
    try:
        setting = started.setting({"mix.human_quota": "0.7"})
        changed = started.changed(setting)
        assert {".".join(key): value for key, value in changed.items()} == {
            "rules.short.field": "words",
            "rules.short.min": 5,
            "mix.human_quota": "0.7",
            "mix.seed": 7,
        }
        (tmp_path / "saved.toml").write_text(as_toml(changed), "utf-8")
    finally:
        started.close()
    again = Session(str(run), ["--recipe", str(tmp_path / "saved.toml")])
    try:
        assert again.setting({}).recipe.digest == setting.recipe.digest and again.changed(again.setting({})) == changed
    finally:
        again.close()


def test_the_funnel_folds_its_rules_into_one_line_that_shows_all_their_documents(session):
    figures = explored(session, {"mix.human_quota": "0.8"})
    folded, whole = funnel_lines(figures, each_rule=False), funnel_lines(figures, each_rule=True)
    assert [line[:3] for line in whole] == list(figures.funnel)
    of_rules = next(line for line in folded if line[1] == "  - rules")
    assert sum(of_rules[2].values()) == turned_down_for(figures, *of_rules[3]).sum() > 1
    assert [line for line in folded if line is not of_rules] == [line for line in whole if not line[1].startswith("  - rules: ")]
    assert all(sum(line[2].values()) == turned_down_for(figures, *line[3]).sum() for line in whole if line[3])


def test_documents_are_shown_with_what_became_of_them(session):
    figures, decisions = explored(session, {}), session.decided(session.setting({}))
    near = turned_down_for(figures, "near_duplicates", "near_duplicate")
    (place, *_) = near.nonzero()[0]
    (sample,) = read_samples(session.columns, [int(place)], decisions, figures)
    assert re.fullmatch(r"turned down: near_duplicate \(0\.\d+, limit 0\.7\); lost to human-000\d\d", sample.fate) and not sample.is_published
    words = turned_down_for(figures, "rules", "gopher_too_few_words")
    shown = read_samples(session.columns, [int(place) for place in words.nonzero()[0]], decisions, figures, "words")
    hostile = next(one for one in shown if one.id == "hostile-short")
    assert hostile.text == HOSTILE and re.search(r"gopher_too_few_words \(\d+, limit 50\)", hostile.fate)
    assert turned_down_for(figures, "published", "").sum() == figures.plan.selected.documents
    assert not turned_down_for(figures, "rules", "no_such_rule").any()


def test_nothing_is_written_beside_the_run_and_nothing_is_left(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    opened = Session(str(run), [])
    work = opened._work
    explored(opened, {"mix.human_quota": "0.6"})
    opened.close()
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before and not os.path.exists(work)


def test_a_folder_without_scores_is_an_error_that_says_what_to_give(tmp_path, run):
    assert scored_folder(str(run)) == scored_folder(f"{run}/scored") == f"{run}/scored"
    for folder, said in ((tmp_path, "holds no scored shards"), ("gs://bucket/run", "does not lie on this machine")):
        with pytest.raises(UsageError, match=said):
            Session(str(folder), [])


def test_what_cannot_be_explored_is_a_sentence_and_exit_code_2(run, tmp_path, capsys, monkeypatch):
    for arguments, said in (
        ([tmp_path], "holds no scored shards"),
        ([run, "--set=mix.human_qota=0.3"], "did you mean 'human_quota'?"),
        ([run, "--recipe=none.toml"], "--recipe=none.toml: cannot be read"),
        ([run, "--port=70000"], "--port=70000: cannot be listened on"),
    ):
        assert main(["explore", *map(str, arguments), "--no_browser"]) == 2 and said in capsys.readouterr().err
    for name in ("nicegui", "tomli_w"):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, name, None)
            assert main(["explore", str(run)]) == 2 and "pip install 'headwater[explore]'" in capsys.readouterr().err


def test_a_decision_that_is_overtaken_ends(session):
    from pipeline.explore_decide import Deciding

    deciding = Deciding(["plan", f"--scored={session.scored}", "--set=dedup.exact=false"], os.path.join(session._work, "overtaken"))
    deciding.cancel()
    with pytest.raises(HeadwaterError, match="a later setting"):
        deciding.wait()
