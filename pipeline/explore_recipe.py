"""What the explorer's user has set, as a command line to copy and as a recipe to save: both give the same recipe again, to the digest.

Neither repeats what the default recipe says, nor needs the file that the explorer was started with.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from pipeline.errors import UsageError
from pipeline.recipe_flags import TableFlag, recipe_flags, table_flags
from transforms.storage import write_whole

NOT_OURS = ("score",)
"""Sections that a remix takes from the scored shards."""


def differences(tables: Mapping[str, Any], default: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Key of the recipe, in its parts, -> value: what `tables` say otherwise than `default`, in the order of `tables`."""
    found: dict[tuple[str, ...], Any] = {}
    for section, table in tables.items():
        if section not in NOT_OURS:
            found |= _changed((section,), table, default.get(section, {}))
    return found


def as_command(changed: Mapping[tuple[str, ...], Any], scored: str, output: str) -> str:
    """The `headwater remix` that publishes with these differences, quoted for a shell."""
    words = ["headwater", "remix", "--scored", scored, "--output", output]
    flags = {flag.key: flag.flag for flag in recipe_flags() if not flag.repeatable and not flag.needs_scoring}
    of_tables = {flag.section: flag for flag in table_flags()}
    for parts, value in changed.items():
        key = ".".join(parts)
        if key in flags and value != []:
            words.append(f"--{flags[key]}={_as_word(value)}")
        elif parts[0] in of_tables and (found := _as_table_flag(of_tables[parts[0]], key.partition(".")[2], value)):
            words.append(found)
        else:
            words += ["--set", as_assignment(key, value)]
    return shlex.join(words)


def as_assignment(key: str, value: Any) -> str:
    """`KEY=VALUE` as `--set` takes it."""
    return f"{key}={json.dumps(value, ensure_ascii=False) if isinstance(value, str | list | bool) else value}"


def as_toml(changed: Mapping[tuple[str, ...], Any]) -> str:
    """A recipe file with these differences and nothing else. Raises UsageError where `tomli-w` is not installed."""
    tables: dict[str, Any] = {}
    for parts, value in changed.items():
        table = tables
        # What a group or a cap is named after may hold dots of its own, which stay part of one key.
        depth = 2 if parts[0] == "rules" else 3 if parts[:2] == ("mix", "groups") else 1
        for part in parts[:depth]:
            table = table.setdefault(part, {})
        table[".".join(parts[depth:])] = value
    return "# What differs from Headwater's default recipe; give it with --recipe.\n" + tomli_w().dumps(tables)


def save_recipe(path: str, changed: Mapping[tuple[str, ...], Any], *, overwrite: bool = False) -> str:
    """Writes the recipe to `path` and returns that in full. Raises UsageError where it cannot, or something is there already."""
    path = os.path.abspath(os.path.expanduser(path.strip())) if path.strip() else ""
    if not path.endswith(".toml"):
        raise UsageError(f"{path or 'the name'}: must end in .toml, such as recipe.toml")
    if os.path.exists(path) and not overwrite:
        raise UsageError(f"{path}: is there already; name another file, or tick that it may be replaced")
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(f"{path}: its folder does not exist; make it first")
    text = as_toml(changed).encode()
    try:
        with write_whole(path) as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name a file where you may write") from error
    return path


def tomli_w() -> Any:
    """The module `tomli_w`. Raises UsageError with the line that installs it."""
    try:
        import tomli_w as module
    except ImportError as error:
        raise UsageError("saving a recipe needs tomli-w, which is not installed; run: pip install 'headwater[explore]'") from error
    return module


def _changed(prefix: tuple[str, ...], table: Mapping[str, Any], default: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _changed((*prefix, key), value, default.get(key, {}))
        elif key not in default or default[key] != value or isinstance(default[key], bool) != isinstance(value, bool):
            found[*prefix, key] = value
    return found


def _as_table_flag(flag: TableFlag, key: str, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    field, at, group = key.partition("@")
    word = f"{field}={value}{at}{group}" if flag.is_share else f"{key}={value}"
    try:
        # Only where it is read back as what it stands for: a flag takes fewer spellings than a recipe.
        return f"--{flag.flag}={word}" if flag.parse(word) == {f"{flag.section}.{key}": str(value) if flag.is_share else value} else None
    except UsageError:
        return None


def _as_word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
