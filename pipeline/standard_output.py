"""Standard output: text as it is, and what happens when it cannot be written (a full disk behind `> FILE`, or a reader such as `head` that has gone).

There Python would end with exit code 120 at its very end, or in the middle of a report with an error that reads as if the run had failed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console

from pipeline.errors import HeadwaterError, what_it_says


def plain_console(width_elsewhere: int) -> Console:
    """A console that prints text as it is: `[b]` in a path, a predicate or a value of a record is no mark-up. As wide as the terminal, or as said."""
    return Console(width=None if Console().is_terminal else width_elsewhere, markup=False)


@contextlib.contextmanager
def printing(done: str = "") -> Iterator[None]:
    """What is printed in the block has reached standard output when the block ends.

    Where it cannot, and something was `done` that stands (a sentence says what), that is said on standard error and the command has succeeded; where
    what is printed is all that the command is for, raises HeadwaterError.
    """
    try:
        yield
        sys.stdout.flush()
    except (OSError, SystemExit) as raised:
        # Rich makes an exit of a broken pipe.
        error = raised.__context__ if isinstance(raised, SystemExit) else raised
        if not isinstance(error, OSError):
            raise
        _discard_rest()
        said = f"standard output could not be written ({what_it_says(error)[0].rstrip('.')})"
        if not done:
            raise HeadwaterError(f"{said}; nothing else was to be done. Give it a place with room, or a reader that stays.") from error
        with contextlib.suppress(OSError):
            print(f"headwater: {said}; {done}", file=sys.stderr)


def _discard_rest() -> None:
    # What is still buffered would fail once more at the interpreter's end, which then has an exit code of its own.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
