"""The ledger: a Delta Lake table of what every training cycle published, one row a document (`transforms.ledger_files.LEDGER_SCHEMA`).

Rows are only ever added: the workers of a run write Parquet files, and one commit makes them part of the table, exactly once for each
run id, after the run has published (`pipeline.ledger_commit`). It needs no server and no catalogue: any reader of Delta tables reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.errors import UsageError, what_it_says
from transforms import ledger_storage
from transforms.find_earlier import LedgerReading
from transforms.ledger_files import ADDED_COLUMNS, EXTRA_BANDS, FILE_SCHEMA, KINDS, LEDGER_SCHEMA, LedgerFile, find_rows, read_ledger_file
from transforms.storage import is_local

FORMAT = "1"
"""Version of the ledger's layout; others are not read."""
PARTITIONED_BY = ["kind", "part"]
CLAIM = "headwater/claim"
"""Application id under which the table remembers who is publishing: `run_number` of that run, or 0."""
_COMMIT = re.compile(r"\d{20}\.")
"""Names of what a table's log holds, once it holds anything."""


@dataclass(frozen=True)
class LedgerKeys:
    """How texts are recognised: rows made with other settings cannot be compared."""

    signature: str
    """Version of the signature scorer."""
    content_hash: str
    """Version of the content hash scorer."""
    bands: int
    """Bands of a signature."""
    num_hashes: int
    """Bytes of a signature."""
    extra_bands: int = EXTRA_BANDS
    """Further band hashes in each row."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a ledger: what a run reads, and what its commit is checked against."""

    url: str
    """Folder or address of the table."""
    version: int
    """Version of the table; -1 where there is no table yet."""
    keys: LedgerKeys | None
    """How its texts are recognised; None where there is no table yet."""
    files: tuple[LedgerFile, ...] = field(default=())
    """Its files, sorted."""
    columns: frozenset[str] = frozenset(LEDGER_SCHEMA.names)
    """Columns that the table declares; one made by an earlier version lacks some of `ADDED_COLUMNS`."""

    def of_kinds(self, kinds: Iterable[str]) -> tuple[LedgerFile, ...]:
        """The files of these kinds."""
        wanted = set(kinds)
        return tuple(file for file in self.files if file.kind in wanted)

    def reading(self, kinds: Iterable[str], ignored_runs: Sequence[str] = ()) -> LedgerReading:
        """What `FindPublished` reads to ask about these kinds. Raises ValueError where there is no table yet and so nothing is known of its keys."""
        if self.keys is None:
            return LedgerReading(self.url, (), 1, 1, 0, tuple(ignored_runs))
        keys = self.keys
        return LedgerReading(self.url, self.of_kinds(kinds), keys.bands, keys.num_hashes, keys.extra_bands, tuple(ignored_runs))

    def num_rows(self, kinds: Iterable[str] = KINDS) -> int:
        """Rows of these kinds."""
        return sum(file.num_rows for file in self.of_kinds(kinds))

    def read(self, columns: Sequence[str], kinds: Iterable[str] = KINDS) -> Iterator[pa.Table]:
        """The columns of each file of these kinds, one file at a time."""
        for file in self.of_kinds(kinds):
            yield read_ledger_file(self.url, file, columns)

    def find(self, column: str, values: Sequence[str], columns: Sequence[str], kinds: Iterable[str] = KINDS) -> pa.Table:
        """The rows whose `column` is among `values`. Cost: that column of every file, and the row groups that hold one."""
        wanted = pa.array(sorted(set(values)), LEDGER_SCHEMA.field(column).type)
        return find_rows(self.url, self.of_kinds(kinds), column, wanted, columns)


def read_ledger(url: str) -> Snapshot:
    """The newest version of the ledger at `url`; an empty one where there is none. Raises UsageError if it is no ledger or cannot be read."""
    library = deltalake()
    try:
        table = library.DeltaTable(place(url), storage_options=storage_options(url))
    except library.exceptions.TableNotFoundError:
        _check_vacant(url)
        return Snapshot(place(url), -1, None)
    except (library.exceptions.DeltaError, OSError) as error:
        raise UsageError(f"--ledger={url}: cannot be read: {_first_line(error)}; give a folder or address that this machine can reach") from error
    return snapshot_of(table, url)


def open_ledger(url: str, keys: LedgerKeys) -> Snapshot:
    """The newest version of the ledger at `url`, made if there is none. Raises UsageError if it holds rows with other keys.

    A ledger that lacks some of `ADDED_COLUMNS` gains them, by one commit that rewrites nothing.
    """
    snapshot = read_ledger(url)
    if snapshot.keys is None:
        snapshot = _create(url, keys)
    if snapshot.keys != keys:
        raise UsageError(
            f"--ledger={url}: recognises texts by {_said(snapshot.keys)}, but this run makes {_said(keys)}; "
            "score with the ledger's settings ([score] of the recipe), or start a new ledger"
        )
    missing = [name for name in ADDED_COLUMNS if name not in snapshot.columns]
    return _add_columns(url, missing) if missing else snapshot


def open_table(url: str) -> Any:
    """The newest version of the table, as a `deltalake.DeltaTable`. Raises UsageError where there is none."""
    library = deltalake()
    try:
        return library.DeltaTable(place(url), storage_options=storage_options(url))
    except library.exceptions.TableNotFoundError as error:
        raise UsageError(f"{url}: holds no ledger; give the folder or address that runs were given as --ledger") from error
    except (library.exceptions.DeltaError, OSError) as error:
        raise UsageError(f"{url}: cannot be read: {_first_line(error)}; give a folder or address that this machine can reach") from error


def snapshot_of(table: Any, url: str) -> Snapshot:
    """The snapshot of a `deltalake.DeltaTable`. Raises UsageError if it is not a ledger of this format."""
    about = table.metadata().configuration
    if about.get("headwater.format") != FORMAT:
        found = f"format {about['headwater.format']}" if "headwater.format" in about else "a table that Headwater did not make"
        raise UsageError(
            f"--ledger={url}: holds {found}, where format {FORMAT} is known; give another folder, or the version of Headwater that made it"
        )
    stated = json.loads(about["headwater.keys"])
    actions = pa.table(table.get_add_actions(flatten=True))
    columns = (actions[name].to_pylist() for name in ("path", "partition.kind", "partition.part", "num_records", "size_bytes"))
    files = tuple(sorted(LedgerFile(*row) for row in zip(*columns, strict=True)))
    declared = frozenset(field.name for field in table.schema().fields)
    return Snapshot(place(url), table.version(), LedgerKeys(**stated), files, declared)


def place(url: str) -> str:
    """The ledger's folder: absolute if it is local, so that other processes and later runs find it."""
    return os.path.abspath(os.path.expanduser(url)) if is_local(url) else url.rstrip("/")


def storage_options(url: str) -> dict[str, str] | None:
    """Options for deltalake, as `transforms.ledger_storage` finds them. Raises UsageError."""
    try:
        return ledger_storage.storage_options(url)
    except ValueError as error:
        raise UsageError(str(error)) from error


def deltalake() -> Any:
    """The library, imported only where a ledger is used. Raises UsageError with the line that installs it."""
    try:
        import deltalake as library
        import deltalake.exceptions
        import deltalake.transaction
    except ImportError as error:
        raise UsageError("--ledger needs the deltalake library: pip install 'headwater[ledger]', or pip install 'deltalake>=1.5,<2'") from error
    return library


def _create(url: str, keys: LedgerKeys) -> Snapshot:
    library = deltalake()
    configuration = {
        "headwater.format": FORMAT,
        "headwater.keys": json.dumps(vars(keys), sort_keys=True),
        "delta.appendOnly": "true",
        # A year: the log says which run published where, and is small.
        "delta.logRetentionDuration": "interval 365 days",
    }
    try:
        table = library.DeltaTable.create(
            place(url),
            LEDGER_SCHEMA,
            partition_by=PARTITIONED_BY,
            name="headwater ledger",
            description="One row for each document that a training cycle was given.",
            configuration=configuration,
            storage_options=storage_options(url),
            raise_if_key_not_exists=False,
        )
    except (library.exceptions.DeltaError, OSError) as error:
        # Of two runs that make it at once one finds it made.
        try:
            table = library.DeltaTable(place(url), storage_options=storage_options(url))
        except (library.exceptions.DeltaError, OSError):
            raise UsageError(f"--ledger={url}: cannot be made: {_first_line(error)}; give a folder or address that can be written") from error
    return snapshot_of(table, url)


def _add_columns(url: str, names: Sequence[str]) -> Snapshot:
    library = deltalake()
    from deltalake.schema import Schema

    added = Schema.from_arrow(pa.schema([LEDGER_SCHEMA.field(name) for name in names])).fields
    try:
        open_table(url).alter.add_columns(added)
    except (library.exceptions.DeltaError, OSError) as error:
        # Of two runs that add them at once one finds them added.
        snapshot = read_ledger(url)
        if not snapshot.columns.issuperset(names):
            raise UsageError(
                f"--ledger={url}: lacks the columns {', '.join(names)}, and they cannot be added: {_first_line(error)}; give a folder that can be written"
            ) from error
    return read_ledger(url)


def _check_vacant(url: str) -> None:
    if is_local(url):
        try:
            held = os.listdir(place(url))
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"--ledger={url}: {error.strerror}; give a folder that can be read and written") from error
        if set(held) - ({"_headwater", "_delta_log"} if _is_unbegun(url) else {"_headwater"}):
            raise UsageError(f"--ledger={url}: holds files but no ledger ({', '.join(sorted(held)[:3])}); give an empty or new folder")


def _is_unbegun(url: str) -> bool:
    """Whether a ledger there was begun, by a run that could not write its first commit."""
    with contextlib.suppress(OSError):
        return not any(_COMMIT.match(name) for name in os.listdir(os.path.join(place(url), "_delta_log")))
    return False


def _said(keys: LedgerKeys | None) -> str:
    return "nothing" if keys is None else f"{keys.signature} and {keys.content_hash}"


def _first_line(error: BaseException) -> str:
    return what_it_says(error)[0].rstrip(".")


assert [field.name for field in FILE_SCHEMA] + PARTITIONED_BY == LEDGER_SCHEMA.names
