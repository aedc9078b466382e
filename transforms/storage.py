"""Opening and writing files, local or of any scheme that Beam's filesystems know, so that nothing half-written is ever seen.

A local file is written beside its place under a temporary name, flushed to the disk and renamed: a reader sees the
whole file or none, and a retried bundle overwrites its own work. On object stores an object appears when it is closed.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

_AS_IT_LIES = "uncompressed"
"""Beam's name for not guessing a compression from a file's name."""


def beam_filesystems() -> type:
    """Beam's `FileSystems`. Imported only where a path asks for them: importing Beam takes longer than a remix on one machine."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def is_local(path: str) -> bool:
    """Whether `path` names a place on this machine's own disk."""
    return "://" not in path


def join_path(folder: str, *names: str) -> str:
    """`folder/name/...` by the rules of the filesystem that `folder` lies on."""
    return os.path.join(folder, *names) if is_local(folder) else beam_filesystems().join(folder, *names)


def open_binary(path: str) -> BinaryIO:
    """`path` for reading, as it lies there: never decompressed. Raises FileNotFoundError or OSError."""
    if is_local(path):
        return open(path, "rb")
    return beam_filesystems().open(path, compression_type=_AS_IT_LIES)


@contextlib.contextmanager
def open_arrow(path: str) -> Iterator[pa.NativeFile]:
    """`path` for random access by Arrow; see `name_damaged` for what is raised in the block."""
    with contextlib.ExitStack() as stack:
        if is_local(path):
            file = stack.enter_context(pa.OSFile(path, "rb"))
        else:
            file = stack.enter_context(pa.PythonFile(stack.enter_context(contextlib.closing(open_binary(path))), "r"))
        stack.enter_context(name_damaged(path))
        yield file


@contextlib.contextmanager
def name_damaged(path: str) -> Iterator[None]:
    """What Arrow raises in the block because the file at `path` does not decode is raised with the path and what to do, as the same class."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        # Those with a number are the machine's, of whatever file: no space left, no such file.
        if getattr(error, "errno", None) is not None or path in str(error):
            raise
        raise type(error)(f"{path}: is damaged ({error}); restore it, or run again what wrote it") from error


@contextlib.contextmanager
def write_whole(path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears at `path` whole when the block ends, and not at all when it raises.

    Not `durable`: not flushed to the disk first, for work files that no run reads again after a power cut.
    """
    if not is_local(path):
        file = beam_filesystems().create(path, compression_type=_AS_IT_LIES)
        try:
            yield file
        except BaseException:
            # Closing is what makes the object appear, and there is no other way to let go of it.
            file.close()
            beam_filesystems().delete([path])
            raise
        file.close()
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex}.partial"
    try:
        with open(temporary, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A full disk does not say of itself which file it had no room for.
            error.filename = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
