"""The documentation says what the code does: every flag, key, code, column and reason, no more and no less, and every link resolves."""

import argparse
import ast
import dataclasses
import importlib.metadata
import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers.scorers import SCORER_NAMES, ScoreSettings, _fields_of
from pipeline import errors
from pipeline.finishing import RunCatalog, RunFacts
from pipeline.manifest import build_manifest
from pipeline.options import make_parser, parse_arguments
from pipeline.recipe import RULE_KEYS, default_tables, load_recipe
from pipeline.recipe_flags import recipe_flags
from transforms.dead_letters import DeadLetter
from transforms.dispose_documents import PUBLISHED_SCHEMA, REJECTED_SCHEMA
from transforms.inputs import FIELD_ALIASES
from transforms.map_records import ORIGIN_LABELS
from transforms.plan_mix import plan_mix
from transforms.plan_splits import EXTENSIONS
from transforms.records import DOCUMENT_SCHEMA, DeadReason, Reason, Stage
from transforms.score_documents import ROW_KEY, scored_schema

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for folder in ("docs", "examples", "benchmarks", "classifiers") for page in (ROOT / folder).rglob("*.md"))]
)
COMMANDS = ("curate", "remix", "plan", "explore", "diff", "ledger", "demo")


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, title: str) -> str:
    """What stands below the heading `title`, up to the next heading of its level or above."""
    level, body, inside, fenced = 0, [], False, False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.fullmatch(r"(#+) (.*)", line)
        if heading and not inside and heading[2] == title:
            level, inside = len(heading[1]), True
        elif heading and inside and len(heading[1]) <= level:
            break
        elif inside:
            body.append(line)
    assert inside, f"no heading {title!r}"
    return "\n".join(body)


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table of a text: a list of rows, each by column title."""
    found, titles = [], None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")] if line.startswith("|") else None
        if cells is None:
            titles = None
        elif titles is None:
            titles = cells
            found.append([])
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            assert len(cells) == len(titles), f"ragged row: {line}"
            found[-1].append(dict(zip(titles, cells, strict=True)))
    return found


def rows(text: str, key: str) -> dict[str, dict[str, str]]:
    """Rows of all tables whose first column is titled `key`, by the code word in it; each stands once."""
    found: dict[str, dict[str, str]] = {}
    for table in tables(text):
        if table and next(iter(table[0])) == key:
            for row in table:
                name = row[key].strip("`")
                assert name not in found, f"{name} is documented twice"
                found[name] = row
    return found


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def flags_in_code() -> dict[str, set[str]]:
    flags: dict[str, set[str]] = {}
    for command, parser in parsers().items():
        for action in parser._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    flags.setdefault(option, set()).add(command)
    return flags


# Options


def test_the_commands_are_those_documented():
    assert set(parsers()) == set(COMMANDS)
    for command in COMMANDS:
        assert f"headwater {command} " in page("docs/options.md")


def test_every_flag_is_documented_with_the_commands_that_take_it():
    documented = {flag: set(row["commands"].split(", ")) for flag, row in rows(section(page("docs/options.md"), "Flags"), "flag").items()}
    assert documented == flags_in_code()


def test_every_flag_names_the_recipe_key_that_it_sets():
    documented = {flag: row["sets"].strip("`") for flag, row in rows(page("docs/options.md"), "flag").items() if "sets" in row}
    in_code = {f"--{flag.flag}": flag.key for flag in recipe_flags()}
    assert documented == in_code


def test_usual_field_names_are_documented():
    documented = {
        flag: re.findall(r"`([^`]+)`", row["usual names"]) for flag, row in rows(page("docs/options.md"), "flag").items() if "usual names" in row
    }
    assert documented == {f"--{role}_field": list(aliases) for role, aliases in FIELD_ALIASES.items()}


def test_every_recipe_key_is_documented_with_its_default():
    documented = {key: row["default"].strip("`") for key, row in rows(page("docs/options.md"), "key").items() if "default" in row}
    in_code = {f"{name}.{key}": json.dumps(value) for name, table in default_tables().items() if name != "rules" for key, value in table.items()}
    assert documented == in_code


def test_every_recipe_key_has_a_unit_and_a_meaning():
    for key, row in rows(section(page("docs/options.md"), "Recipe"), "key").items():
        assert row["unit"] and row["meaning"], key


def test_every_key_of_a_rule_is_documented():
    documented = {key for key in rows(page("docs/options.md"), "key") if key.startswith("rules.NAME.")}
    assert documented == {f"rules.NAME.{key}" for key in RULE_KEYS}


def test_every_default_rule_is_documented_with_its_bounds():
    documented = {name: (row["field"].strip("`"), row["bound"]) for name, row in rows(page("docs/options.md"), "rule").items()}
    in_code = {
        name: (rule["field"], ", ".join(f"{bound} `{rule[bound]}`" for bound in ("min", "max") if bound in rule))
        for name, rule in default_tables()["rules"].items()
    }
    assert documented == in_code


@pytest.mark.parametrize(("file", "title"), [("docs/options.md", "Exit codes"), ("README.md", "Exit codes")])
def test_every_exit_code_is_documented(file, title):
    documented = {int(code) for code in rows(section(page(file), title), "code")}
    assert documented == {0, errors.HeadwaterError.exit_code, 130, *errors.BY_EXIT_CODE}


def test_every_error_has_an_exit_code_of_its_own():
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.HeadwaterError)]
    assert len({error.exit_code for error in classes}) == len(classes) == len(errors.BY_EXIT_CODE) + 1
    for error in errors.BY_EXIT_CODE.values():
        assert re.search(rf"{error.__name__}\s+{error.exit_code}\b", errors.__doc__), "the tree in pipeline/errors.py"


# Data format


def type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        inner = kind.value_type
        named = "{" + ", ".join(field.name for field in inner) + "}" if pa.types.is_struct(inner) else type_name(inner)
        return f"list of {named}"
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}, {kind.tz}]"
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def nullness(field: pa.Field) -> str:
    return "may be" if field.nullable else "never"


@pytest.mark.parametrize(("title", "schema"), [("Published", PUBLISHED_SCHEMA), ("Rejected", REJECTED_SCHEMA)])
def test_every_column_is_documented_with_type_and_nullness(title, schema):
    documented = {name: (row["type"], row["null"]) for name, row in rows(section(page("docs/data-format.md"), title), "column").items()}
    assert documented == {field.name: (type_name(field.type), nullness(field)) for field in schema}
    assert list(documented) == schema.names


def test_every_scored_column_is_documented_in_order():
    documented = rows(section(page("docs/data-format.md"), "Scored"), "column")
    assert list(documented) == scored_schema(ScoreSettings()).names
    for field in [*DOCUMENT_SCHEMA, ROW_KEY]:
        assert (documented[field.name]["type"], documented[field.name]["null"]) == (type_name(field.type), nullness(field))


def test_every_score_is_documented_with_its_scorer():
    documented = rows(section(page("docs/data-format.md"), "Scored"), "column")
    for scorer in SCORER_NAMES:
        for field in _fields_of(scorer, ScoreSettings()):
            row = documented[field.name]
            assert (row["scorer"], row["type"]) == (f"`{scorer}`", type_name(field.type)), field.name


def test_every_stage_and_reason_is_documented():
    text = page("docs/data-format.md")
    assert set(rows(text, "stage")) == set(Stage)
    assert set(rows(text, "reason")) == set(Reason)
    assert {row["stage"] for row in rows(text, "reason").values()} <= set(Stage)
    assert set(rows(text, "dead reason")) == set(DeadReason)


def test_every_field_of_a_dead_letter_is_documented():
    documented = set(rows(section(page("docs/data-format.md"), "Dead letters"), "field"))
    assert documented == {field.name for field in dataclasses.fields(DeadLetter)}


def test_every_word_for_an_origin_is_documented():
    words = set(re.findall(r"`([^`]+)`", section(page("docs/data-format.md"), "Origins in records")))
    assert {label for label in ORIGIN_LABELS if label} <= words


def test_every_extension_is_documented():
    said = re.findall(r"`(\.\w+)`", section(page("docs/data-format.md"), "What can be read"))
    assert set(said) == {*EXTENSIONS, ".gz", ".zst"}


def test_every_key_of_the_manifest_is_documented():
    recipe, nothing = load_recipe(), np.empty((0, 3), np.int64)
    facts = RunFacts("id", "curate", "out", "2025-01-01", (), (), False)
    plan = plan_mix(nothing, nothing, recipe.mix)
    manifest = build_manifest(facts, recipe, RunCatalog((), (), 0, 0), [], (), plan, [], {"scorers": {}}, finished_at="2025-01-01")
    keys = []
    for key, value in manifest.items():
        nested = isinstance(value, dict) and key not in ("recipe", "scorers", "versions")
        keys += [f"{key}.{inner}" for inner in value] if nested else [key]
    assert list(rows(section(page("docs/data-format.md"), "Manifest"), "key")) == keys


# Pages


def anchors(file: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.S)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_relative_links_resolve(file):
    text = re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), f"{target} in {file.name}"
        assert not anchor or anchor in anchors(linked), f"{target} in {file.name}"


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_in_code_blocks_are_commands_that_parse(file):
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", file.read_text("utf-8"), re.S | re.M):
        if kind != "bash":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                check_command(words)


def check_command(words: list[str]) -> None:
    """Raises if the first word is no command that there is, or its flags do not parse; `...` stands for inputs and output."""
    program, arguments = words[0], words[1:]
    if program == "./run_local.sh":
        assert (ROOT / program).is_file()
        if not arguments or arguments[0] == "test":
            assert all((ROOT / argument).exists() for argument in arguments[1:])
            return
        arguments = ["curate", *arguments]
    elif program == ".venv/bin/python":
        assert arguments[0] == "-m" and importlib.util.find_spec(arguments[1])
        return
    elif program == "pip":
        assert arguments[0] == "install"
        return
    else:
        assert program == "headwater", f"{program} is no command of this project"
    if "..." in arguments:
        arguments = [*(argument for argument in arguments if argument != "..."), "--human", "a=b", "--output", "out"]
    parse_arguments(arguments)


def test_paths_named_in_code_exist():
    """`pipeline/graph.py` in running text, wherever it names a file of this repository."""
    for file in PAGES:
        for named in re.findall(r"`((?:pipeline|transforms|classifiers|docs|tests|benchmarks|examples)/[\w./-]*)`", file.read_text("utf-8")):
            assert (ROOT / named).exists(), f"{named} in {file.name}"


def test_programs_named_in_running_text_exist():
    for file in PAGES:
        for module in re.findall(r"`python -m ([\w.]+)[^`]*`", file.read_text("utf-8")):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"python -m {module} in {file.name}"


def test_the_readme_has_a_place_for_the_funnel():
    assert re.search(r"<!-- funnel -->.*<!-- /funnel -->", page("README.md"), re.S)


def test_the_readme_names_the_two_commands_before_anything_else():
    commands = re.findall(r"^```bash\n(.*?)^```", page("README.md"), re.S | re.M)[0]
    assert [shlex.split(line, comments=True) for line in commands.splitlines()] == [["./run_local.sh"], ["./run_local.sh", "test"]]


def test_every_decision_is_listed_in_the_design():
    listed = set(re.findall(r"\((decisions/[^)]+)\)", section(page("docs/design.md"), "Decisions")))
    assert listed == {f"decisions/{file.name}" for file in (ROOT / "docs" / "decisions").glob("*.md")}


def test_spelling_is_british():
    american = re.compile(r"\b(licensed?|unlabeled|color|behavior|normali[z]e\w*|recogni[z]e\w*|organi[z]e\w*|seriali[z]e\w*|center)\b", re.I)
    for file in PAGES:
        text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", file.read_text("utf-8"), flags=re.S)
        found = american.search(text)
        assert not found, f"{found and found[0]} in {file.name}"


def test_the_licence_is_apache_2():
    text = page("LICENSE")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


# Docstrings


def modules() -> list[Path]:
    return sorted(path for package in ("pipeline", "transforms", "classifiers") for path in (ROOT / package).rglob("*.py"))


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_is_described(path):
    silent = []
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") and not ast.get_docstring(node):
            silent.append(node.name)
        if isinstance(node, ast.ClassDef) and is_dataclass(node):
            for field, following in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and not field.target.id.startswith("_"):
                    described = (
                        isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant) and isinstance(following.value.value, str)
                    )
                    if not described:
                        silent.append(f"{node.name}.{field.target.id}")
    assert not silent


def test_methods_of_dataclasses_are_described():
    silent = []
    for path in modules():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and is_dataclass(node):
                public = [one for one in node.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
                silent += [f"{path.name}: {node.name}.{one.name}" for one in public if not ast.get_docstring(one)]
    assert not silent


# The names of the packages are common words: whoever installs another distribution that owns one loses ours without a word.


def test_no_other_distribution_owns_our_packages():
    owners = importlib.metadata.packages_distributions()
    for package in ("pipeline", "transforms", "classifiers"):
        assert set(owners.get(package, ["headwater"])) == {"headwater"}, package
