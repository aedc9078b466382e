"""Progress of a local run: bars on a terminal, a line every so often elsewhere.

What it knows comes from the results of the pool's tasks (`worker_pool.observe_results`), so it costs nothing to the work.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from transforms.dispose_documents import ShardDisposed
from transforms.records import DecidedShard
from transforms.scored_shards import SplitScored
from transforms.worker_pool import observe_results
from transforms.write_shards import ShardWritten

LINE_SECONDS = 15.0
"""Between two lines where there is no terminal."""
DOCUMENT_STAGES = ("score", "judge", "exact", "near", "mix")


class RunProgress:
    """Draws the stages of one run while it is the active context. `total_bytes` is the size of the inputs (0: unknown)."""

    def __init__(self, style: str, total_bytes: int):
        self._console = Console(stderr=True)
        self._bars = style == "bars" or (style == "auto" and self._console.is_terminal)
        self._silent = style == "none"
        self._total_bytes = total_bytes
        self._read_bytes = 0
        self._documents: dict[str, int] = {}
        self._scored_documents = 0
        self._began = self._last_line = time.monotonic()
        self._stage = "starting"
        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )

    def __enter__(self) -> RunProgress:
        if not self._silent:
            observe_results(self._on_result)
            if self._bars:
                self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        observe_results(None)
        if self._bars and not self._silent:
            self._progress.stop()

    def _on_result(self, label: str, result: Any) -> None:
        documents = _documents(result)
        self._stage = label
        self._documents[label] = self._documents.get(label, 0) + documents
        if isinstance(result, SplitScored):
            self._read_bytes += result.input_bytes
            self._scored_documents += documents
        if self._bars:
            self._draw(label, result, documents)
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        """One line that says the stage, the documents done, the rate and, while scoring, the time left."""
        elapsed = time.monotonic() - self._began
        done = self._documents.get(self._stage, 0)
        said = f"[{elapsed:6.0f} s] {self._stage}: {done:,} documents, {done / max(elapsed, 1e-9):,.0f} a second"
        if self._stage == "score" and self._total_bytes and self._read_bytes:
            share = min(self._read_bytes / self._total_bytes, 1.0)
            said += f", {share:.0%} of the input, about {elapsed / share - elapsed:,.0f} s left"
        return said

    def _draw(self, label: str, result: Any, documents: int) -> None:
        if label not in self._tasks:
            unit, total = ("MB", self._total_bytes / 1e6) if label == "score" else ("docs", self._scored_documents or None)
            if not documents and not isinstance(result, SplitScored):
                unit, total = "parts", None
            self._tasks[label] = self._progress.add_task(label, total=total and round(total), unit=unit, rate="")
        step = result.input_bytes / 1e6 if isinstance(result, SplitScored) else documents or 1
        elapsed = max(time.monotonic() - self._began, 1e-9)
        self._progress.update(self._tasks[label], advance=round(step), rate=f"{self._documents[label] / elapsed:,.0f} docs/s")


def _documents(result: Any) -> int:
    if isinstance(result, SplitScored):
        return result.shard.num_rows
    if isinstance(result, DecidedShard):
        return result.shard.num_rows
    if isinstance(result, ShardDisposed):
        return result.num_rows
    if isinstance(result, ShardWritten):
        return result.of_unit("documents")[1]
    return 0
