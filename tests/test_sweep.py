"""`headwater plan --sweep`: the figures of a table are those of the plans that it stands for, and decisions are made anew only where they must be."""

import contextlib
import csv
import io
import json
import re
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.diversity import Figure
from pipeline import run_sweep
from pipeline.__main__ import main
from pipeline.cycle_report import intervals_of, join_surveys, survey_shard
from pipeline.errors import UsageError
from pipeline.sweep import FIGURES, Sweep, SweepRow, combinations, parse_sweep, write_sweep
from tests.conftest import WITHOUT_DETECTOR, inputs, published
from tests.texts import documents, write_jsonl
from transforms.sample_texts import DIVERSITY


@pytest.fixture(scope="module")
def scored(corpus, tmp_path_factory):
    """The scored folder of a curated dataset in four small splits, with its decisions beside it."""
    output = tmp_path_factory.mktemp("sweep") / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        flags = [f"--output={output}", WITHOUT_DETECTOR, "--split_bytes=20000", "--workers=0", "--progress=none"]
        assert main(["curate", *inputs(corpus), *flags]) == 0
    return output / "scored"


def sweep(headwater, scored, tmp_path, *flags):
    ran = headwater("plan", f"--scored={scored}", f"--sweep_output={tmp_path}/table.json", *flags)
    assert ran.code == 0, ran.err
    return json.loads((tmp_path / "table.json").read_text()), ran.out


def test_every_row_is_what_a_remix_with_its_settings_publishes(headwater, scored, tmp_path):
    rows, out = sweep(headwater, scored, tmp_path, "--sweep=human_quota=0.4:0.8:0.2", "--sweep=publish.num_shards=1,3", "--quota_unit=tokens")
    assert [row["settings"] for row in rows] == [
        {"mix.human_quota": quota, "publish.num_shards": shards} for quota in ("0.4", "0.6", "0.8") for shards in ("1", "3")
    ]
    for number in (0, 5):
        row, output = rows[number], tmp_path / str(number)
        flags = [
            f"--human_quota={row['settings']['mix.human_quota']}",
            f"--num_shards={row['settings']['publish.num_shards']}",
            "--quota_unit=tokens",
        ]
        assert headwater("remix", f"--scored={scored}", f"--output={output}", *flags).code == 0
        table, manifest = published(output), json.loads((output / "manifest.json").read_text())
        assert (row["documents"], row["tokens"], row["bytes"]) == (table.num_rows, sum(table["tokens"].to_pylist()), sum(table["bytes"].to_pylist()))
        assert row["human_share"] == pytest.approx(manifest["quota"]["measured_share"])
        assert row["mean_quality"] == pytest.approx(sum(table["quality"].to_pylist()) / table.num_rows)
        counts = {name: table["source"].to_pylist().count(name) for name in ("books", "models", "web")}
        assert row["effective_sources"] == pytest.approx(table.num_rows**2 / sum(count**2 for count in counts.values()))
        assert row["sources"] == counts and row["num_shards"] == len(manifest["shards"]) and row["shortages"] == []
    assert "6 settings planned" in out and "█" in out and "nothing was published" in out


def test_more_quota_less_text_and_a_shortage_is_said(headwater, scored, tmp_path):
    rows, out = sweep(headwater, scored, tmp_path, "--sweep=human_quota=0.5,0.9", "--max_documents=100")
    assert rows[0]["shortages"] == [] and rows[0]["documents"] == 100
    assert rows[1]["shortages"][0].startswith("too little human text") and rows[1]["documents"] < 100
    assert "human_quota=0.9: short: too little human text" in out and " short" in out


def test_a_csv_has_a_column_for_each_key_and_source(headwater, scored, tmp_path):
    ran = headwater("plan", f"--scored={scored}", "--sweep=seed=1,2", "--priority=random", "--max_documents=20", f"--sweep_output={tmp_path}/t.csv")
    assert ran.code == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["mix.seed"] for row in rows] == ["1", "2"]
    assert sum(int(rows[0][f"source:{name}"]) for name in ("books", "models", "web")) == int(rows[0]["documents"]) == 20


def test_decisions_are_made_anew_only_for_settings_that_decide(headwater, scored, tmp_path, monkeypatch):
    made = []
    decide = run_sweep.decide_again
    monkeypatch.setattr(run_sweep, "decide_again", lambda *arguments: (made.append(1), decide(*arguments)))
    rows, _ = sweep(
        headwater, scored, tmp_path, "--sweep=rules.gopher_too_few_words.min=50,10000", "--sweep=human_quota=0,0.5", "--on_shortage=shrink"
    )
    assert made == [1]
    assert rows[0]["documents"] > 0 and [row["documents"] for row in rows[2:]] == [0, 0]
    plan = headwater("plan", f"--scored={scored}", "--human_quota=0.5")
    said = re.search(r"human: (\d+) documents.*\nother: (\d+) documents", plan.out)
    assert rows[1]["documents"] == int(said[1]) + int(said[2])


def test_reserved_places_can_be_swept(headwater, scored, tmp_path):
    rows, _ = sweep(headwater, scored, tmp_path, "--sweep=reserve.source.web=0:10:5", "--max_documents=40", "--priority=quality")
    assert [row["sources"]["web"] >= least for row, least in zip(rows, (0, 5, 10), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sweep=human_quota"], "must be KEY=FROM:TO:STEP or KEY=A,B,..."),
        (["--sweep=human_quota=0.5,,0.6"], "has an empty value or one twice"),
        (["--sweep=human_quota=0:1:0"], "a step other than 0"),
        (["--sweep=human_quota=a:b:c"], "must be three numbers"),
        (["--sweep=seed=1e999999999:1e999999999:1"], "must be three numbers"),
        (["--sweep=seed=1:2:1e-999999"], "must be three numbers"),
        (["--sweep=human_quota=1:0:0.1"], "must lead from FROM to TO"),
        (["--sweep=human_qota=0.5"], "'human_qota' is no flag and no key of the recipe; did you mean 'human_quota'?"),
        (["--sweep=mix.human_qota=0.5"], "mix.human_qota: no such key; did you mean 'human_quota'?"),
        (["--sweep=rules.top_2gram.mox=0.5"], "did you mean 'max'?"),
        (["--sweep=zzz=0.5"], "give a flag without its dashes, or a key such as mix.human_quota"),
        (["--sweep=tokenizer=a,b"], "score.tokenizer takes effect where text is read and scored"),
        (["--sweep=seed=1:900:1", "--sweep=human_quota=0.1,0.2"], "asks for 1,800 settings, more than 1,000"),
        (["--sweep=human_quota=0.1", "--sweep=mix.human_quota=0.2"], "names a key twice"),
        (["--sweep=min_fresh_human=0.1"], "ledger.min_fresh_human needs a ledger"),
        (["--sweep=human_quota=0.1", "--sweep_output=table.txt"], "must end in .csv or .json"),
        (["--sweep=human_quota=0.1", "--sweep_plot=table.pdf"], "--sweep_plot=table.pdf: must end in .svg or .png"),
        (["--sweep=human_quota=0.1", "--sweep_output=/no/such/folder/t.csv"], "its folder does not exist"),
    ],
)
def test_a_mistake_is_said_in_a_sentence(headwater, scored, flags, said):
    ran = headwater("plan", f"--scored={scored}", *flags)
    assert ran.code == 2 and said in ran.err


def test_a_sweep_needs_scores(headwater, corpus):
    ran = headwater("plan", f"--human=books={corpus}/human.jsonl", "--sweep=human_quota=0.1")
    assert ran.code == 2 and "give --scored DIR" in ran.err


@given(st.integers(-20, 20), st.integers(0, 30), st.integers(1, 7))
def test_a_range_holds_both_ends_and_is_exact(first, steps, step):
    last = first + steps * step
    values = parse_sweep(f"seed={first / 10}:{last / 10}:{step / 10}").values
    assert len(values) == steps + 1 and float(values[0]) == first / 10 and float(values[-1]) == last / 10


def test_fractions_words_and_whole_numbers_are_taken_as_written():
    assert parse_sweep("human_quota=1/3,1/2") == Sweep("mix.human_quota", "human_quota", ("1/3", "1/2"))
    assert parse_sweep("mix.priority=quality, random").values == ("quality", "random")
    assert parse_sweep("max_documents=1000:3000:1000").values == ("1000", "2000", "3000")
    assert combinations([]) == [()]
    with pytest.raises(UsageError):
        parse_sweep("seed=1:nan:1")


# Variety


def test_variety_is_what_the_cycle_report_of_a_remix_says(headwater, tmp_path):
    write_jsonl(tmp_path / "human.jsonl", documents("human", range(150)) + documents("short", range(900, 910), words=55))
    write_jsonl(tmp_path / "models.jsonl", documents("model", range(300, 340)))
    flags = [f"--human=a={tmp_path}/human.jsonl", f"--synthetic=b={tmp_path}/models.jsonl", "--split_bytes=30000"]
    assert headwater("curate", *flags, WITHOUT_DETECTOR, f"--output={tmp_path}/out", "--num_shards=3").code == 0
    rows, _ = sweep(headwater, tmp_path / "out" / "scored", tmp_path, "--sweep=human_quota=0.5,0.9", "--workers=2")
    survey = join_surveys(survey for path in sorted((tmp_path / "out" / "data").glob("*.parquet")) for survey in survey_shard(str(path)))
    reported = intervals_of(survey, None)
    assert rows[0]["diversity"] == {
        name: {"value": one.value, "low": one.low, "high": one.high} for name, one in reported.items() if name in DIVERSITY
    }
    assert rows[0]["diversity"] != rows[1]["diversity"]


# Pictures


def test_a_picture_has_a_plot_for_each_figure_and_says_what_is_short(headwater, scored, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        flags = ["--sweep=human_quota=0.5:0.9:0.2", "--sweep=priority=quality,random", "--max_documents=100", f"--sweep_plot={tmp_path}/{name}.svg"]
        ran = headwater("plan", f"--scored={scored}", *flags)
        assert ran.code == 0, ran.err
    drawn = (tmp_path / "a.svg").read_text()
    assert all(f">{title}<" in drawn for title in FIGURES.values())
    assert all(said in drawn for said in ("human_quota", "priority = random", "hollow: the promises cannot all be kept"))
    assert drawn == (tmp_path / "b.svg").read_text()


def test_words_and_magnitudes_go_along_the_axis_too(headwater, scored, tmp_path):
    pytest.importorskip("matplotlib")
    for name, sweep_flag in (("words", "quota_unit=documents,tokens,bytes"), ("magnitudes", "max_documents=1,10,100")):
        ran = headwater("plan", f"--scored={scored}", f"--sweep={sweep_flag}", "--on_shortage=shrink", f"--sweep_plot={tmp_path}/{name}.png")
        assert ran.code == 0, ran.err
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_more_lines_than_can_be_told_apart_are_refused(headwater, scored, tmp_path):
    pytest.importorskip("matplotlib")
    ran = headwater("plan", f"--scored={scored}", "--sweep=seed=1:10:1", "--sweep=human_quota=0:0.9:0.1", f"--sweep_plot={tmp_path}/a.svg")
    assert ran.code == 2 and "10 lines could not be told apart, 8 can" in ran.err


def test_without_matplotlib_the_error_has_the_install_line_before_any_work(headwater, scored, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = headwater("plan", f"--scored={scored}", "--sweep=seed=1,2", f"--sweep_plot={tmp_path}/a.svg")
    assert ran.code == 2 and 'pip install "headwater[plot]"' in ran.err


# What is written


def row(value, documents, sources, diversity):
    """A row of a sweep with the figures that are written of it."""
    selected = SimpleNamespace(documents=documents, tokens=10 * documents, bytes=40 * documents)
    plan = SimpleNamespace(selected=selected, human_share=0.5, num_shards=1, shortages=("too little text", "no room") if documents == 0 else ())
    figures = SimpleNamespace(plan=plan, mean_quality=None, effective_sources=None, sources=tuple(sources.items()))
    return SweepRow((value,), figures, diversity)


def test_a_csv_leaves_out_the_figures_that_a_setting_has_not_and_counts_absent_sources_as_0(tmp_path):
    """A zero would be read as text that is not varied at all."""
    sweeps = [Sweep("mix.max_documents", "max_documents", ("9", "0"))]
    rows = [row("9", 9, {"web": 9}, {"compression_ratio": Figure(2.5, 2.0, 3.0, 8)}), row("0", 0, {"books, old": 0}, {})]
    write_sweep(str(tmp_path / "s.csv"), sweeps, rows)
    full, empty = csv.DictReader((tmp_path / "s.csv").read_text().splitlines())
    assert (full["compression_ratio"], full["compression_ratio.low"], full["source:web"], full["source:books, old"]) == ("2.5", "2.0", "9", "0")
    assert (empty["compression_ratio"], empty["compression_ratio.low"], empty["source:web"], empty["source:books, old"]) == ("", "", "0", "0")
    assert (empty["human_share"], empty["mean_quality"], empty["shortages"]) == ("", "", "too little text; no room")
    write_sweep(str(tmp_path / "s.json"), sweeps, rows)
    stored = json.loads((tmp_path / "s.json").read_text())
    assert stored[0]["diversity"] == {"compression_ratio": {"value": 2.5, "low": 2.0, "high": 3.0}} and stored[1]["diversity"] == {}
    assert stored[1]["settings"] == {"mix.max_documents": "0"} and stored[1]["shortages"] == ["too little text", "no room"]
