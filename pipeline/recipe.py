"""The recipe: everything that decides what is published, read from TOML, validated, and digested.

The default lies in `recipe.toml` beside this file; a user's file is laid over it key by key, then `--set` and the flags.
Equal recipes have equal digests whatever the order or layout of their files.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import resources
from typing import Any

import pyarrow as pa

from classifiers.nearest import did_you_mean
from classifiers.scorers import SCORER_NAMES, ScoreSettings, score_fields
from pipeline.caps import NEAR_CLUSTER, CapSettings, complete_scores
from pipeline.decontamination import evaluation_of, limits_of, recall_evaluation
from pipeline.errors import UsageError
from pipeline.mix_orders import check_priority, check_sample_weight, named_orders
from pipeline.recipe_sections import DedupSettings, LedgerSettings, OriginSettings, PublishSettings, ReadSettings, require
from transforms.apply_rules import Rule, check_rule_fields
from transforms.find_contaminated import ContaminationLimits
from transforms.group_members import check_group_fields, known_fields
from transforms.group_settings import GROUP_KEYS
from transforms.mix_settings import MixSettings, parse_quota
from transforms.records import DOCUMENT_SCHEMA
from transforms.top_settings import TopShare, parse_tops


@dataclass(frozen=True)
class Recipe:
    """A validated recipe."""

    read: ReadSettings
    """Section [read]."""
    score: ScoreSettings
    """Section [score]."""
    origin: OriginSettings
    """Section [origin]."""
    rules: tuple[Rule, ...]
    """The enabled rules, in order."""
    tops: tuple[TopShare, ...]
    """Section [keep_top]."""
    dedup: DedupSettings
    """Section [dedup]."""
    caps: CapSettings
    """Section [caps]."""
    ledger: LedgerSettings
    """Section [ledger]."""
    mix: MixSettings
    """Section [mix], and the number of shards."""
    publish: PublishSettings
    """Section [publish], less the number of shards."""
    contamination: ContaminationLimits | None
    """The limits of section [decontaminate], whose sets stand in `score`; None where it names none."""
    tables: Mapping[str, Any]
    """The effective recipe as nested dictionaries, as stored in the manifest."""

    @property
    def digest(self) -> str:
        """SHA-256 (first 16 hex digits) of the effective recipe in canonical JSON: `1` and `1.0`, `"1/2"` and `0.5` are the same.

        The order of the rules counts, since the first broken one is the reason; no other order does.
        """
        canonical = {section: _canonical(table) for section, table in self.tables.items()}
        canonical["mix"] |= {"human_quota": str(self.mix.human_quota)}
        canonical["keep_top"] = {top.name: str(top.share) for top in self.tops}
        canonical["order"] = [rule.name for rule in self.rules]
        return hashlib.sha256(json.dumps(canonical, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def default_tables() -> dict[str, Any]:
    """The default recipe as nested dictionaries."""
    return tomllib.loads(resources.files("pipeline").joinpath("recipe.toml").read_text("utf-8"))


def load_recipe(
    path: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    scored_with: Mapping[str, Any] | None = None,
    scored_columns: pa.Schema | None = None,
) -> Recipe:
    """The default recipe, under that of `path`, under `overrides` (dotted key -> value). Raises UsageError naming the key and the file.

    `scored_with` replaces the defaults of section [score] by the settings that shards were scored with, and `scored_columns` are the
    shards' columns. A default rule whose scorer is left out is left out with it, unless the user names that rule: then it is an error.
    """
    tables = default_tables()
    named: set[str] = set()
    evaluation = None
    if scored_with is not None:
        tables["score"] = dict(scored_with)
        evaluation = recall_evaluation(tables)
    if path:
        try:
            with open(path, "rb") as file:
                own = tomllib.load(file)
        except OSError as error:
            raise UsageError(f"--recipe={path}: cannot be read ({error.strerror}); give the path of a TOML file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"--recipe={path}: is not valid TOML: {error}") from error
        for section in own.keys() - tables.keys():
            raise UsageError(f"{path}: {section}: no such section{_nearest(section, tables)}")
        for key, value in _leaves(own):
            _assign(tables, key, value, path)
            named.add(key[1])
    for key, value in (overrides or {}).items():
        _assign(tables, tuple(key.split(".")), value, "the command line")
        named.add(key.split(".")[1])
    _leave_out_rules(tables, named, scored_columns)
    complete_scores(tables, None if scored_columns is None else scored_columns.names)
    recipe = recipe_from_tables(tables, scored_columns)
    return recipe if scored_with is None else replace(recipe, score=replace(recipe.score, evaluation=evaluation))


def recipe_from_tables(tables: Mapping[str, Any], columns: pa.Schema | None = None) -> Recipe:
    """A recipe from nested dictionaries, as a manifest stores them. Raises UsageError.

    `columns` are those of the scored shards that it is for; by default the ones that the scorers of section [score] would make.
    """
    try:
        publish = dict(tables["publish"])
        shards = {"num_shards": publish.pop("num_shards") or None, "target_shard_bytes": publish.pop("target_shard_bytes")}
        mix = dict(tables["mix"])
        mix |= {"human_quota": _fraction(mix["human_quota"]), "min_fresh_human": str(tables["ledger"]["min_fresh_human"])}
        mix |= {"max_documents": mix["max_documents"] or None, "max_tokens": mix["max_tokens"] or None}
        mix |= {"fresh_share_of": tables["ledger"].get("fresh_share_of", "human"), "reserve": tables.get("reserve", {})}
        score = {key: tuple(value) if isinstance(value, list) else value for key, value in tables["score"].items()}
        recipe = Recipe(
            read=ReadSettings(**tables["read"]),
            score=ScoreSettings(**score, evaluation=evaluation_of(tables["decontaminate"])),
            origin=OriginSettings(**tables["origin"]),
            rules=tuple(_rules(tables["rules"])),
            tops=parse_tops(tables.get("keep_top", {}), set(tables["mix"].get("groups", ()))),
            dedup=DedupSettings(**tables["dedup"]),
            caps=CapSettings.of(tables.get("caps", {})),
            ledger=LedgerSettings(**tables["ledger"]),
            mix=MixSettings(**mix, **shards),
            publish=PublishSettings(**publish),
            contamination=limits_of(tables["decontaminate"]),
            tables=tables,
        )
        most_extra = recipe.score.bands * (recipe.score.bands - 1)
        require("dedup.extra_bands", recipe.dedup.extra_bands, 0 <= recipe.dedup.extra_bands <= most_extra, f"0..{most_extra} (bands x (bands - 1))")
        known = rule_schema(recipe.score, columns)
        check_rule_fields(recipe.rules, known)
        check_quality_field(recipe.dedup.quality_field, known)
        check_tops(recipe.tops, known)
        for field in recipe.mix.reserve_fields:
            require("reserve", field, field in known.names, "a column that was scored; add the scorer that makes it, or leave the reserve out")
        check_priority(recipe.mix, known)
        check_sample_weight(recipe.publish.sample_weight, known)
        check_group_fields(recipe.mix.groups, known_fields(known))
    except (ValueError, TypeError) as error:
        raise UsageError(f"recipe: {error}") from error
    for scorer, needed_for in _needed_scorers(recipe):
        if scorer not in recipe.score.scorers:
            raise UsageError(f"recipe: score.scorers lacks {scorer!r}, which {needed_for} needs; add it, or switch that off")
    return recipe


def check_quality_field(field: str, known: pa.Schema) -> None:
    """Raises ValueError for a `dedup.quality_field` that is no score of numbers; the default one may be left out of the scorers."""
    if field == "quality" and field not in known.names:
        return
    numbers = [one.name for one in known if pa.types.is_floating(one.type) or pa.types.is_integer(one.type)]
    numeric = field in numbers
    require("dedup.quality_field", field, numeric, f"a score of numbers{did_you_mean(field, numbers)}; add the scorer that makes it, or set quality")


def check_tops(tops: Iterable[TopShare], known: pa.Schema) -> None:
    """Raises ValueError for a share of what is no score of numbers, or within a column that is not there."""
    for top in tops:
        numbers = [field.name for field in known if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
        if top.field not in numbers:
            raise ValueError(f"keep_top.{top.name}: no scorer makes a number {top.field!r}{_nearest(top.field, numbers)}")
        if not top.of_mix and top.group not in ("", "origin", *known.names):
            raise ValueError(f"keep_top.{top.name}: {top.group!r} was not scored; add the scorer that makes it, or leave it out")


def rule_schema(settings: ScoreSettings, columns: pa.Schema | None = None) -> pa.Schema:
    """The fields that rules may name: every score, and the columns of a document that hold single values.

    With the `columns` of a scored shard no scorer need be loaded to know its scores; an older one may lack columns of documents too.
    """
    named = {"source", "generator", "generation", "task", "licence", "consent", "declared_language"}
    named &= set(DOCUMENT_SCHEMA.names if columns is None else columns.names)
    scores = score_fields(settings) if columns is None else [field for field in columns if field.name not in (*DOCUMENT_SCHEMA.names, "row_key")]
    return pa.schema([*(field for field in DOCUMENT_SCHEMA if field.name in named), *scores])


def check_rule_sources(recipe: Recipe, sources: Iterable[str]) -> None:
    """Raises UsageError for a rule that names an input which is not there: a slip must not switch off a rule on consent."""
    known = sorted(set(sources))
    for rule in recipe.rules:
        for name in sorted(set(rule.sources) - set(known)):
            raise UsageError(
                f"rules.{rule.name}.sources: no input is named {name!r}; the inputs are {', '.join(known)}; name one, or switch the rule off"
            )


def parse_assignment(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` of `--set`: the value as TOML, or as a bare word. Raises UsageError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"--set={text}: must be KEY=VALUE, such as rules.gopher_too_few_words.min=30")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value.strip()


def _leave_out_rules(tables: dict[str, Any], named: set[str], columns: pa.Schema | None) -> None:
    """Switches off, in `tables`, the rules that are not `named` and whose scores were not made or will not be."""
    fields = {field for rule in tables["rules"].values() for field in (rule.get("field"), "language" if rule.get("languages") else None) if field}
    if columns is not None:
        missing = fields - set(columns.names)
    else:
        unused = [name for name in SCORER_NAMES if name not in tables["score"]["scorers"]]
        missing = {field for name in unused for field in score_fields(ScoreSettings(scorers=(name,))).names}
    for name, rule in tables["rules"].items():
        if name not in named and (rule.get("field") in missing or (rule.get("languages") and "language" in missing)):
            tables["rules"][name] = {**rule, "enabled": False}


def _needed_scorers(recipe: Recipe) -> Iterable[tuple[str, str]]:
    yield "size", "every run"
    yield "content_hash", "every run"
    if recipe.dedup.near:
        yield "signature", "dedup.near"
    if any(key == NEAR_CLUSTER for key, _ in recipe.caps.most):
        yield "signature", f"caps.{NEAR_CLUSTER}"
    ordered = next((name for name, order in named_orders(recipe.mix).items() if order == "quality"), None)
    if ordered and recipe.dedup.quality_field == "quality":
        yield "quality", f'{ordered}.priority = "quality"'


def _rules(tables: Mapping[str, Mapping[str, Any]]) -> Iterable[Rule]:
    for name, table in tables.items():
        keys = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "enabled"}
        if "field" not in keys:
            slip = did_you_mean(name, set(default_tables()["rules"]) - {name})
            raise ValueError(
                f"rules.{name}: names no field{slip}; a rule of your own needs field and at least one of min, max, allow, deny, required"
            )
        if table.get("enabled", True):
            yield Rule(name=name, **keys)


RULE_KEYS = {
    "field": "",
    "min": 0.0,
    "max": 0.0,
    **{key: [] for key in ("allow", "deny", "origins", "languages", "sources")},
    "required": False,
    "enabled": True,
}
"""Keys of a rule, each with a value of the kind it takes."""
KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}


def _assign(tables: dict[str, Any], key: tuple[str, ...], value: Any, where: str) -> None:
    section, dotted = key[0], ".".join(key)
    if section not in tables:
        raise UsageError(f"{where}: {dotted}: no such section{_nearest(section, tables)}")
    if section == "rules":
        if len(key) != 3 or key[2] not in RULE_KEYS:
            known = ", ".join(RULE_KEYS)
            raise UsageError(f"{where}: {dotted}: must be rules.NAME.KEY with KEY one of {known}{_nearest(key[-1], RULE_KEYS)}")
        if not _same_kind(RULE_KEYS[key[2]], value, dotted):
            raise UsageError(f"{where}: {dotted} = {value!r}: must be {KIND_NAMES[type(RULE_KEYS[key[2]])]}")
        tables["rules"].setdefault(key[1], {})[key[2]] = value
        return
    if len(key) == 1:
        raise UsageError(f"{where}: {dotted}: names a section; write {dotted}.KEY, such as {_example(tables, section)}")
    if section == "keep_top":
        tables.setdefault(section, {})[".".join(key[1:])] = value
        return
    if section == "mix" and key[1] == "groups":
        # Groups of an older manifest, or of none, have no table yet.
        assign_group(tables[section].setdefault("groups", {}), key[2:], value, f"{where}: {dotted}")
        return
    if section == "reserve":
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{where}: {dotted} = {value!r}: must be reserve.FIELD.VALUE = a whole number of documents, such as task.support = 500")
        tables[section][dotted.removeprefix("reserve.")] = value
        return
    if section == "caps" and key[1:] != ("origins",):
        # A field inside another has dots of its own.
        tables["caps"][".".join(key[1:])] = value
        return
    if len(key) != 2 or key[1] not in tables[section]:
        raise UsageError(f"{where}: {dotted}: no such key{_nearest(key[-1], tables[section])}")
    present = tables[section][key[1]]
    if not _same_kind(present, value, dotted):
        raise UsageError(f"{where}: {dotted} = {value!r}: must be {KIND_NAMES[type(present)]}, such as {json.dumps(present)}")
    tables[section][key[1]] = value


def assign_group(groups: dict[str, Any], key: tuple[str, ...], value: Any, named: str) -> None:
    """Sets one key of one group, (NAME, KEY), in the table of all groups. Raises UsageError."""
    if len(key) != 2:
        raise UsageError(f"{named}: must be mix.groups.NAME.KEY with KEY one of {', '.join(GROUP_KEYS)}")
    if key[1] not in GROUP_KEYS:
        raise UsageError(f"{named}: no such key{_nearest(key[1], GROUP_KEYS)}")
    groups[key[0]] = {**groups.get(key[0], {}), key[1]: value}


def _canonical(value: Any) -> Any:
    """`value` with numbers in one spelling: those that are whole as integers."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _same_kind(present: Any, value: Any, dotted: str) -> bool:
    if dotted == "mix.human_quota":
        return isinstance(value, (int, float, str)) and not isinstance(value, bool)
    if isinstance(present, bool) or isinstance(value, bool):
        return isinstance(present, bool) and isinstance(value, bool)
    if isinstance(present, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(present))


def _leaves(table: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return did_you_mean(word, known) or f"; known: {', '.join(sorted(known))}"


def _example(tables: Mapping[str, Any], section: str) -> str:
    own = {"rules": "rules.top_2gram.max", "reserve": "reserve.task.support", "keep_top": "keep_top.quality"}
    return own.get(section) or f"{section}.{next(iter(tables[section]))}"


def _fraction(value: Any) -> Fraction:
    # Through str: 0.1 is meant as one tenth, not as the binary fraction nearest to it.
    try:
        return parse_quota(str(value))
    except ValueError as error:
        raise ValueError(f"mix.human_quota = {value!r}: must be a number from 0 to 1, such as 0.5 or 1/3") from error
