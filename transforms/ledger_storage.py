"""Files in the folder of a ledger: on a local disk, or in the object store that holds its table, reached as the table's own log is.

An object store is reached through the deltalake library, with the options and credentials that it finds for the table: one set of them for
log, rows and records, and no other library. A worker process opens its own connection; none may be open when it is forked.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from transforms.storage import is_local, name_damaged, write_whole

STORAGE_VARIABLE = "HEADWATER_LEDGER_OPTIONS"
"""Environment variable: JSON object of storage options for deltalake (keys such as `AWS_ENDPOINT_URL`), beside those that it finds itself. Workers on
other machines need it too."""
PIECE_BYTES = 1 << 20
"""Bytes that are handed to an object store at a time."""


def storage_options(folder: str) -> dict[str, str] | None:
    """Options for deltalake from `HEADWATER_LEDGER_OPTIONS`; None for a local folder, or without any. Raises ValueError if it is no JSON object of strings."""
    given = os.environ.get(STORAGE_VARIABLE)
    if not given or is_local(folder):
        return None
    try:
        options = json.loads(given)
    except ValueError as error:
        raise ValueError(f"{STORAGE_VARIABLE}: is not JSON ({error}); give an object such as {{}}") from error
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise ValueError(f"{STORAGE_VARIABLE}: must be a JSON object whose values are strings")
    return options


@contextlib.contextmanager
def open_ledger_file(folder: str, path: str) -> Iterator[pa.NativeFile]:
    """The file at `path` (with slashes, relative to the ledger's `folder`) for random access. Raises FileNotFoundError or OSError."""
    if is_local(folder):
        with pa.OSFile(_local(folder, path), "rb") as file, name_damaged(_local(folder, path)):
            yield file
    else:
        with _store(folder).open_input_file(path) as file, name_damaged(f"{path} in {folder}"):
            yield file


def read_ledger_bytes(folder: str, path: str) -> bytes:
    """All of a small file. Raises FileNotFoundError or OSError."""
    with open_ledger_file(folder, path) as file:
        return file.read()


@contextlib.contextmanager
def write_ledger_whole(folder: str, path: str) -> Iterator[BinaryIO]:
    """A file that appears at `path` whole when the block ends, and not at all when it raises. For an object store it is held in memory meanwhile."""
    if is_local(folder):
        with write_whole(_local(folder, path)) as file:
            yield file
        return
    held = io.BytesIO()
    yield held
    # More than a piece would reach the library as an Arrow buffer, of which it knows nothing.
    with _store(folder).open_output_stream(path, buffer_size=2 * PIECE_BYTES) as file:
        view = held.getbuffer()
        for begin in range(0, len(view), PIECE_BYTES):
            file.write(view[begin : begin + PIECE_BYTES])


def delete_ledger_file(folder: str, path: str) -> None:
    """Deletes a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if is_local(folder):
            os.unlink(_local(folder, path))
        else:
            _store(folder).delete_file(path)


def list_ledger_folder(folder: str, path: str) -> list[str]:
    """Names of the files right below `path`, sorted; none where there is no such folder."""
    if is_local(folder):
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(_local(folder, path)) if entry.is_file())
        return []
    from pyarrow import fs

    found = _store(folder).get_file_info(fs.FileSelector(path, allow_not_found=True))
    return sorted(info.path.rsplit("/", 1)[-1] for info in found if info.type is fs.FileType.File)


def _local(folder: str, path: str) -> str:
    return os.path.join(folder, *path.split("/"))


def _store(folder: str):
    # A connection does not outlive a fork.
    return _connect(folder.rstrip("/"), tuple(sorted((storage_options(folder) or {}).items())), os.getpid())


@functools.lru_cache(maxsize=8)
def _connect(folder: str, options: tuple[tuple[str, str], ...], process: int):
    from deltalake.fs import DeltaStorageHandler
    from pyarrow import fs

    return fs.PyFileSystem(DeltaStorageHandler(folder, dict(options) or None))
