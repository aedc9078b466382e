"""What memory allows: how often synthetic text is published, how deep, and what counts as fresh."""

from __future__ import annotations

import datetime
from dataclasses import dataclass


@dataclass(frozen=True)
class MemorySettings:
    """What may be published again, and what is too far from a human."""

    max_synthetic_uses: int = 1
    """Cycles that may publish one synthetic text; at least 1."""
    max_generation: int | None = None
    """Deepest generation that is published; None: any."""
    fresh_after: str | None = None
    """Date (ISO 8601, UTC) from which human text is fresh; None: any that was never published."""

    def __post_init__(self) -> None:
        if self.max_synthetic_uses < 1:
            raise ValueError(f"ledger.max_synthetic_uses = {self.max_synthetic_uses}: must be at least 1")
        if self.max_generation is not None and self.max_generation < 0:
            raise ValueError(f"ledger.max_generation = {self.max_generation}: must be at least 0")
        if self.fresh_after is not None:
            read_date(self.fresh_after)


def read_date(text: str) -> datetime.datetime:
    """A date as a datetime in UTC. Raises ValueError if it is none."""
    try:
        found = datetime.datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"ledger.fresh_after = {text!r}: must be a date such as 2025-06-01") from error
