"""What can stop a run, and the exit code that each cause has.

HeadwaterError
├── UsageError          2   flags, recipe, inputs or output folder that cannot work
├── TooManyDead         3   more unreadable records than --max_dead_share allows
├── QuotaUnmet          4   human text too short for the quota at the wanted size
├── BooksDoNotBalance   5   documents read are not documents disposed of; a defect, never the user's fault
├── AlarmTripped        6   a figure of the cycle crosses a limit of --fail_on
└── LedgerConflict      7   another run published to the ledger meanwhile; to run again is right

Anything else that ends a run (a dead worker, a full disk) is exit code 1.
"""

import re

_COLOURED = re.compile(r"\x1b\[[0-9;]*m")
_CAUSE = "↳"


class HeadwaterError(Exception):
    """A run that stops for a reason its user should read, without a traceback."""

    exit_code = 1


class UsageError(HeadwaterError):
    """Flags, recipe, inputs or output folder that cannot work."""

    exit_code = 2


class TooManyDead(HeadwaterError):
    """More records were unreadable than the failure budget allows."""

    exit_code = 3


class QuotaUnmet(HeadwaterError):
    """The human quota and the wanted size cannot both hold."""

    exit_code = 4


class BooksDoNotBalance(HeadwaterError):
    """Documents read do not equal documents published, rejected and dead."""

    exit_code = 5


class AlarmTripped(HeadwaterError):
    """A figure of the cycle crosses a limit of `--fail_on`."""

    exit_code = 6


class LedgerConflict(HeadwaterError):
    """Another run published to the ledger while this one was deciding, or still does; running again is the remedy."""

    exit_code = 7


BY_EXIT_CODE = {error.exit_code: error for error in (UsageError, TooManyDead, QuotaUnmet, BooksDoNotBalance, AlarmTripped, LedgerConflict)}


def what_it_says(error: BaseException) -> list[str]:
    """The lines of an error's text, without colours or blank ones; those that an object store's library gives as causes of the first are one with it."""
    lines = [line.strip() for line in _COLOURED.sub("", str(error)).splitlines()]
    said: list[str] = []
    for line in filter(None, lines):
        if line.startswith(_CAUSE) and said:
            said[-1] = f"{said[-1]}: {line.removeprefix(_CAUSE).strip()}"
        else:
            said.append(line)
    return said or [type(error).__name__]
