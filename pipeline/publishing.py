"""Staging and publication: nothing half-done is ever visible.

A run works in a folder beside its output, `.NAME.staging-RUN`, and ends by exchanging the two. On a local disk that is one
rename (or, to replace a dataset, one atomic exchange where Linux offers it): a killed run leaves the previous output
untouched, and what it left in staging is removed by the next run. Two runs into one output are kept apart by a lock that the
kernel drops when its holder dies. On object stores, which have no folders to rename, files are moved one by one and the manifest
last; replacing a dataset there is refused, since no reader could be kept from seeing half of each.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import json
import os
import shutil
from collections.abc import Iterator
from typing import IO

from pipeline.errors import UsageError
from pipeline.folders import PUBLISHED, WORK, Folders
from transforms.storage import beam_filesystems, is_local, join_path, open_binary

OURS = (*PUBLISHED, "manifest.json", "README.md")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def stage_output(output: str, run_id: str, *, overwrite: bool) -> Iterator[Folders]:
    """The staging folder of a run that will publish to `output`; removed at the end if the run did not publish. Symbolic links are followed: staging
    lies beside the folder that they lead to.

    On an object store it is not removed: workers may outlive the launcher there. What a failed run left lies under `staging-RUN`.

    Raises UsageError at once, before any work, if `output` cannot be published to.
    """
    if not is_local(output):
        if beam_filesystems().exists(join_path(output, "manifest.json")):
            raise UsageError(
                f"--output={output}: holds a dataset, and an object store cannot replace one in one step; publish each run to a new folder"
            )
        yield Folders(join_path(output, f"staging-{run_id}"))
        return
    output = os.path.realpath(output)
    parent, name = os.path.split(output)
    try:
        os.makedirs(parent, exist_ok=True)
        lock = _lock(os.path.join(parent, f".{name}.lock"))
    except BlockingIOError as error:
        raise UsageError(f"--output={output}: another run is publishing there; wait for it, or give another folder") from error
    except OSError as error:
        raise UsageError(f"--output={output}: {error.strerror}; give a folder that can be written") from error
    staging = os.path.join(parent, f".{name}.staging-{run_id}")
    with lock:
        try:
            try:
                _recover(parent, name)
                check_output(output, overwrite=overwrite)
                os.makedirs(staging)
            except OSError as error:
                raise UsageError(f"--output={output}: {error.strerror}; give a folder that can be written") from error
            yield Folders(staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(lock.name)


def _lock(path: str) -> IO[str]:
    while True:
        file = open(path, "w")  # noqa: SIM115 (held open for as long as the lock is)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have deleted it in between: a lock on a deleted file keeps nobody out.
        if os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()


def check_output(output: str, *, overwrite: bool) -> None:
    """Raises UsageError if `output` holds anything that may not be replaced."""
    try:
        held = os.listdir(output)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"--output={output}: is a file; give a folder") from error
    except OSError as error:
        raise UsageError(f"--output={output}: {error.strerror}; give a folder that can be read and written") from error
    if not held:
        return
    foreign = sorted(set(held) - set(OURS))
    if foreign or "manifest.json" not in held:
        what = ", ".join((foreign or sorted(held))[:3])
        raise UsageError(f"--output={output}: holds files that Headwater did not write ({what}); give an empty or new folder")
    if not overwrite:
        raise UsageError(f"--output={output}: already holds a dataset; give --overwrite to replace it, or another folder")


def published_manifest(output: str, run_id: str) -> str | None:
    """The manifest at `output` if it is that of run `run_id`, which has then published; else None."""
    manifest = join_path(output, "manifest.json")
    try:
        with contextlib.closing(open_binary(manifest)) as file:
            return manifest if json.loads(file.read())["run"]["id"] == run_id else None
    except (OSError, KeyError, ValueError, TypeError):
        return None


def published_run(output: str) -> str | None:
    """The run whose dataset is at `output`, if there is one."""
    try:
        with contextlib.closing(open_binary(join_path(output, "manifest.json"))) as file:
            return json.loads(file.read())["run"]["id"]
    except (OSError, KeyError, ValueError, TypeError):
        return None


def publish_staged(folders: Folders, output: str, run_id: str, *, overwrite: bool) -> str:
    """Makes the staged run visible at `output` and returns the path of its manifest. Repeating it changes nothing."""
    if published := published_manifest(output, run_id):
        return published
    manifest = join_path(output, "manifest.json")
    for work in WORK:
        remove_folder(join_path(folders.root, work))
    if not is_local(output):
        _move_objects(folders, output)
        return manifest
    output = os.path.realpath(output)
    check_output(output, overwrite=overwrite)
    _sync_folder(folders.root)
    if os.path.isdir(output) and os.listdir(output):
        _exchange(folders.root, output)
        shutil.rmtree(folders.root, ignore_errors=True)
    else:
        os.rename(folders.root, output)
    _sync_folder(os.path.dirname(output))
    return manifest


def _exchange(staging: str, output: str) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(staging), _AT_FDCWD, os.fsencode(output), _RENAME_EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), output)
    # No atomic exchange here: for a moment there is no output, and `_recover` puts the previous one back if that moment is the last.
    previous = _previous(output)
    os.rename(output, previous)
    os.rename(staging, output)
    os.rename(previous, staging)


def _previous(output: str) -> str:
    parent, name = os.path.split(output)
    return os.path.join(parent, f".{name}.previous")


def _recover(parent: str, name: str) -> None:
    output = os.path.join(parent, name)
    previous = _previous(output)
    if os.path.isdir(previous):
        if os.path.exists(output):
            shutil.rmtree(previous)
        else:
            os.rename(previous, output)
    for left in glob.glob(os.path.join(glob.escape(parent), f".{glob.escape(name)}.staging-*")):
        shutil.rmtree(left)


def _move_objects(folders: Folders, output: str) -> None:
    for name in PUBLISHED:
        matched = beam_filesystems().match([join_path(folders.root, name, "*")])[0].metadata_list
        sources = [metadata.path for metadata in matched]
        targets = [join_path(output, name, path.rsplit("/", 1)[-1]) for path in sources]
        if sources:
            beam_filesystems().rename(sources, targets)
    beam_filesystems().rename([folders.card, folders.manifest], [join_path(output, "README.md"), join_path(output, "manifest.json")])


def remove_folder(folder: str) -> None:
    """Deletes a staging folder and all in it, if it is there."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif beam_filesystems().match([join_path(folder, "**")])[0].metadata_list:
        beam_filesystems().delete([folder])


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
