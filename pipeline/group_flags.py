"""`--group 'NAME=WHERE; KEY=VALUE; ...'`: one group of the mix on the command line, as `[mix.groups.NAME]` is in a recipe."""

from __future__ import annotations

import re
from typing import Any

from pipeline.errors import UsageError
from transforms.group_settings import GROUP_KEYS

GROUP_FORM = "NAME=WHERE;KEY=VALUE"
"""The form of a value, as `--help` shows it."""
GROUP_EXAMPLE = "'german=language == \"de\"; share=0.4'"
"""A value that works."""
_BOUND = re.compile(r";\s*([a-z_]+)\s*=(?!=)\s*([^;]*?)\s*$")


def parse_group(text: str) -> dict[str, Any]:
    """Recipe key -> value of one group. Raises UsageError.

    What follows the predicate is taken from its end, so that a `;` within the predicate's quotes stays there.
    """
    name, equals, rest = text.partition("=")
    name, bounds = name.strip(), {}
    while found := _BOUND.search(rest):
        key, value = found.groups()
        if key not in GROUP_KEYS or key in bounds:
            known = ", ".join(one for one in GROUP_KEYS if one != "where")
            raise UsageError(f"--group={text}: {key}: {'is given twice' if key in bounds else 'no such key'}; known: {known}")
        bounds[key] = int(value) if value.isdigit() else value
        rest = rest[: found.start()]
    if not name or not equals or not rest.strip():
        raise UsageError(f"--group={text}: must be {GROUP_FORM}, such as {GROUP_EXAMPLE}")
    return {f"mix.groups.{name}.{key}": value for key, value in {"where": rest.strip(), **bounds}.items()}
