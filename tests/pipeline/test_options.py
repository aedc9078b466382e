"""The command line: what is taken, what goes to Beam, and that nothing which nobody understands is passed over."""

import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, StandardOptions

from pipeline.beam_flags import beam_options
from pipeline.errors import UsageError
from pipeline.flag_groups import IN_MEMORY_RUNNER, INPUT_FLAGS, default_workers
from pipeline.options import fields_of, inputs_of, parse_arguments
from pipeline.recipe import default_tables, load_recipe
from pipeline.recipe_flags import RECIPE_FLAGS, overrides_of, recipe_flags
from transforms.inputs import FIELD_ALIASES
from transforms.records import Origin

CURATE = ("curate", "--human", "news=a/*.jsonl", "--output", "out")


def curate(*arguments: str):
    return parse_arguments([*CURATE, *arguments])


def refused(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_arguments(arguments)
    return str(caught.value)


def exits(capsys, *arguments: str) -> str:
    """What argparse says on standard error before it exits with 2."""
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


# Inputs


def test_inputs_are_repeatable_and_keep_their_origins():
    parsed = parse_arguments(
        [
            "curate",
            "--human",
            "a=1.jsonl",
            "--human=b=2.jsonl",
            "--synthetic",
            "c=3.parquet",
            "--unlabelled",
            "d=4.csv",
            "--input",
            "e=5.txt",
            "--output",
            "out",
        ]
    )
    found = [(spec.name, spec.pattern, spec.origin) for spec in inputs_of(parsed)]
    assert found == [
        ("a", "1.jsonl", Origin.HUMAN),
        ("b", "2.jsonl", Origin.HUMAN),
        ("c", "3.parquet", Origin.SYNTHETIC),
        ("d", "4.csv", Origin.UNKNOWN),
        ("e", "5.txt", None),
    ]


def test_a_pattern_may_hold_equals_signs():
    (spec,) = inputs_of(parse_arguments(["curate", "--human", "a=day=1/*.jsonl", "--output", "out"]))
    assert (spec.name, spec.pattern) == ("a", "day=1/*.jsonl")


@pytest.mark.parametrize("second", INPUT_FLAGS)
def test_two_inputs_of_one_name_are_refused(second):
    with pytest.raises(UsageError, match="two inputs are named 'news'"):
        inputs_of(curate(f"--{second}", "news=b.jsonl"))


@pytest.mark.parametrize(
    ("argument", "said"),
    [("a.jsonl", "NAME=GLOB"), ("=a.jsonl", "name"), ("a=", "names no files"), ("a b=c.jsonl", "'a b'"), ("../x=c.jsonl", "name")],
)
def test_an_input_that_is_no_name_and_glob_says_what_is_wanted(argument, said):
    with pytest.raises(UsageError, match=said) as caught:
        inputs_of(parse_arguments(["curate", "--synthetic", argument, "--output", "out"]))
    assert f"--synthetic={argument}" in str(caught.value)


def test_a_run_without_inputs_names_the_flags_for_them():
    with pytest.raises(UsageError) as caught:
        inputs_of(parse_arguments(["curate", "--output", "out"]))
    assert all(f"--{flag}" in str(caught.value) for flag in INPUT_FLAGS)


def test_a_plan_takes_scored_shards_or_inputs_but_not_both():
    assert parse_arguments(["plan", "--scored", "out/scored"]).scored == "out/scored"
    assert inputs_of(parse_arguments(["plan", "--human", "a=b.jsonl"]))
    assert "not from both" in refused("plan", "--scored", "out/scored", "--human", "a=b.jsonl")


def test_field_names_are_none_unless_given():
    fields = fields_of(curate("--text_field", "body"))
    assert fields.named() == {"text": "body"}
    assert fields_of(curate()).named() == {}
    for role in FIELD_ALIASES:
        assert fields_of(curate(f"--{role}_field", "x")).named() == {role: "x"}


@pytest.mark.parametrize("arguments", [("--text_field", ""), ("--text_field=body", "--id_field=body")])
def test_a_field_name_that_cannot_be_is_a_usage_error(arguments):
    with pytest.raises(UsageError, match="--text_field"):
        fields_of(curate(*arguments))


# Flags of the recipe


def test_flags_land_on_their_keys_and_set_comes_last():
    parsed = curate("--human_quota", "1/3", "--seed=5", "--max_documents", "10", "--set", "mix.seed=6", "--set", "rules.top_2gram.max=0.3")
    assert overrides_of(parsed) == {"mix.human_quota": "1/3", "mix.seed": 6, "mix.max_documents": 10, "rules.top_2gram.max": 0.3}


def test_without_flags_nothing_is_overridden():
    assert overrides_of(curate()) == {}


def test_every_flag_of_the_recipe_names_a_key_that_exists():
    tables = default_tables()
    for flag in recipe_flags():
        section, key = flag.key.split(".")
        assert key in tables[section], flag.flag


def test_a_flag_and_set_make_the_same_recipe():
    by_flag = overrides_of(curate("--human_quota=0.25", "--min_similarity=0.8", "--count_presumed_human"))
    by_set = overrides_of(curate("--set=mix.human_quota=0.25", "--set=dedup.min_similarity=0.8", "--set=mix.count_presumed_human=true"))
    assert load_recipe(None, by_flag).digest == load_recipe(None, by_set).digest


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("--reject_disputed=false",), False),
        (("--reject_disputed", "false"), False),
        (("--reject_disputed=True",), True),
        (("--reject_disputed",), True),
        (("--reject_disputed", "--seed=1"), True),
        ((), None),
    ],
)
def test_a_truth_may_stand_alone_or_with_a_value(arguments, value):
    assert curate(*arguments).reject_disputed is value


def test_set_without_an_equals_sign_is_refused():
    with pytest.raises(UsageError, match=r"--set=mix\.seed: must be KEY=VALUE"):
        overrides_of(curate("--set", "mix.seed"))


# What argparse refuses


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*CURATE, "--quota_unit", "words"), "invalid choice: 'words'"),
        ((*CURATE, "--on_shortage", "ignore"), "invalid choice"),
        ((*CURATE, "--seed", "one"), "invalid int value"),
        ((*CURATE, "--reject_disputed", "perhaps"), "neither true nor false"),
        ((*CURATE, "--workers", "-1"), "--workers"),
        ((*CURATE, "--workers", "two"), "'two': must be a whole number from 0 to 1,000"),
        ((*CURATE, "--workers", "1001"), "'1001': must be a whole number from 0 to 1,000"),
        ((*CURATE, "--workers", "9" * 30), "from 0 to 1,000"),
        ((*CURATE, "--workers", "²"), "from 0 to 1,000"),
        ((*CURATE, "--progress", "loud"), "invalid choice"),
        (("curate", "--human", "a=b"), "--output"),
        (("remix", "--output", "out"), "--scored"),
        (("publish",), "invalid choice: 'publish'"),
        ((), "COMMAND"),
        ((*CURATE, "--human"), "expected one argument"),
    ],
)
def test_a_bad_value_exits_with_2_and_says_why(capsys, arguments, said):
    assert said in exits(capsys, *arguments)


# What nobody knows


@pytest.mark.parametrize(
    ("flag", "nearest"), [("--human_quta=0.5", "--human_quota"), ("--sead", "--seed"), ("--flink_mastr=x", "--flink_master"), ("-seed", "--seed")]
)
def test_a_flag_that_nobody_knows_names_the_nearest(flag, nearest):
    assert f"did you mean {nearest}?" in refused(*CURATE, flag)


def test_a_flag_like_no_other_points_to_help():
    assert "headwater curate --help" in refused(*CURATE, "--zzzzqqq")


def test_flags_are_never_abbreviated():
    assert "--human_quo: no such flag" in refused(*CURATE, "--human_quo=0.5")


def test_a_flag_of_another_command_is_refused():
    assert "--human: no such flag" in refused("remix", "--scored", "s", "--output", "out", "--human", "a=b")
    assert "--ai_detector: no such flag" in refused("remix", "--scored", "s", "--output", "out", "--ai_detector", "fast")
    assert "--scored: no such flag" in refused(*CURATE, "--scored=s")


@pytest.mark.parametrize("stray", ["news/*.jsonl", "a=b"])
def test_a_word_that_is_no_flag_is_refused(stray):
    assert f"{stray!r}: not a flag" in refused("curate", "--output", "out", stray)


# Beam


def test_flags_of_beam_pass_through():
    parsed = curate(
        "--runner=FlinkRunner",
        "--flink_master=http://host:8081",
        "--parallelism",
        "8",
        "--project=p",
        "--region=r",
        "--temp_location=gs://b/t",
        "--streaming",
    )
    options = beam_options(parsed)
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    assert options.view_as(StandardOptions).streaming
    assert options.view_as(FlinkRunnerOptions).flink_master == "http://host:8081"
    assert options.view_as(FlinkRunnerOptions).parallelism == 8
    assert options.view_as(GoogleCloudOptions).project == "p"


def test_flags_of_beam_may_repeat_and_be_negated():
    assert curate("--experiments=a", "--experiments=b", "--no_use_public_ips").beam == ["--experiments=a", "--experiments=b", "--no_use_public_ips"]


def test_a_negative_number_after_a_flag_of_beam_is_its_value():
    assert curate("--parallelism", "-1").beam == ["--parallelism", "-1"]


def test_flags_of_ours_do_not_reach_beam():
    assert curate("--seed=1", "--workers=2", "--debug").beam == []


def test_the_default_runner_is_named_in_full():
    """Plain DirectRunner may pick another and try to download it."""
    assert curate().runner == IN_MEMORY_RUNNER
    assert beam_options(curate()).view_as(StandardOptions).runner == IN_MEMORY_RUNNER
    assert beam_options(curate("--runner=DirectRunner")).view_as(StandardOptions).runner == "DirectRunner"


# Commands


def test_the_demo_needs_nothing_and_replaces_its_own_output():
    parsed = parse_arguments(["demo"])
    assert (parsed.output, parsed.overwrite) == ("demo_out", True)
    assert parse_arguments(["demo", "--output", "x", "--human_quota=0.6"]).output == "x"


def test_there_is_at_least_one_worker():
    assert default_workers() >= 1


@pytest.mark.parametrize("command", [[], ["curate"], ["remix"], ["plan"], ["demo"]])
def test_help_is_printed_and_exits_with_0(capsys, command):
    with pytest.raises(SystemExit) as caught:
        parse_arguments([*command, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "Exit codes" in said if not command else "--human_quota" in said


def test_the_module_exits_with_2_for_what_it_does_not_know():
    ran = subprocess.run([sys.executable, "-m", "pipeline", *CURATE, "--human_quta=1"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2
    assert "headwater: --human_quta: no such flag; did you mean --human_quota?" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_help_is_grouped_in_the_order_of_use(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["curate", "--help"])
    said = capsys.readouterr().out
    titles = [line.removesuffix(":") for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [
        "options",
        "inputs (at least one)",
        "output",
        *RECIPE_FLAGS,
        "names of the records' fields (default: the usual names)",
        "where the detector runs",
        "recipe",
        "running",
    ]
    assert said.splitlines()[0] == "usage: headwater curate --human NAME=GLOB --synthetic NAME=GLOB ... --output DIR [OPTIONS]"


def test_a_remix_shows_no_flag_that_needs_scoring(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["remix", "--help"])
    said = capsys.readouterr().out
    assert "--keep_top" in said and not any(f"--{flag.flag} " in said for flag in recipe_flags() if flag.needs_scoring)
