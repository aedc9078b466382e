"""Publishing against a ledger: check, claim, publish, commit. Whatever is killed in between is brought to one end or the other.

    rows written, record left            the run's files lie in the ledger's folder, and no reader sees them
    check                                what others committed since this run read the ledger must hold none of its synthetic text
    claim                                one commit without rows, for the version that was checked: this run, and no other, may publish now
    publish                              the dataset becomes visible
    commit                               one commit: the rows, the run's id, the end of the claim

A run that dies before it has published is undone; one that dies after is committed, by whoever comes next to the ledger: its record says
where it would publish, and the manifest there says whether it did. Whether a run still lives a lock on its record tells, which the kernel drops with
its holder; on object stores, which have no locks, a claim stands until its run ends it or `headwater ledger release` does.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import LedgerConflict
from pipeline.ledger import CLAIM, PARTITIONED_BY, Snapshot, deltalake, open_table, place, snapshot_of
from pipeline.ledger_history import runs_of
from pipeline.ledger_records import PendingRun, forget_record, hold_record, list_records, read_record, run_number, try_lock
from pipeline.publishing import published_manifest
from transforms.find_earlier import EARLIER_SCHEMA, PASS_KEYS, LedgerReading, Probes, find_earlier, make_probes
from transforms.ledger_files import LEDGER_SCHEMA, SYNTHETIC, LedgerFile, lookup_keys, matrix_of, read_ledger_file
from transforms.ledger_storage import delete_ledger_file
from transforms.records import make_addresses

WAIT_SECONDS = 60.0
"""How long a run waits for another that is publishing: an exchange of folders takes less than a second."""
POLL_SECONDS = 0.2
_MAX_ATTEMPTS = 20


def publish_and_commit(url: str, run: PendingRun, publish: Callable[[], str]) -> str:
    """Publishes by `publish` and commits the rows of `run` to the ledger at `url`, each once; returns what `publish` does.

    `publish` must make the dataset visible with a manifest that names the run, and may be repeated. Safe to repeat after any interruption.
    Raises LedgerConflict, before anything is published, if another run has published some of the same synthetic text since `run.base_version`, or is
    publishing for longer than `WAIT_SECONDS`. If `publish` raises and the dataset is not visible, the ledger is as it was.
    """
    if is_committed(open_table(url), run.run_id):
        return publish()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_record(url, run))
        except OSError:
            delete_rows(url, run.files)
            raise
        try:
            _claim(url, run)
            published = publish()
        except BaseException:
            settle(url, run)
            raise
        _commit_rows(url, run)
    forget_record(url, run)
    return published


def is_committed(table: Any, run_id: str) -> bool:
    """Whether the rows of the run are in the table (a `deltalake.DeltaTable`)."""
    return table.transaction_version(run_application(run_id)) is not None


def recover(url: str) -> list[str]:
    """Brings every run that died while publishing to an end; what was done, a sentence each. Runs that live are left alone."""
    done = []
    for number in list_records(url):
        with try_lock(url, number) as dead:
            if dead:
                run = read_record(url, number)
                if run is not None:
                    done.append(settle(url, run))
    holder = open_table(url).transaction_version(CLAIM) or 0
    if holder and _end_orphan(url, holder):
        done.append("a claim without a record is ended")
    return done


def release(url: str, run_id: str) -> str:
    """Brings run `run_id` to an end whether it lives or not, and says how. For object stores: make sure first that it is dead."""
    for number in list_records(url):
        run = read_record(url, number)
        if run is not None and run.run_id == run_id:
            return settle(url, run)
    raise LedgerConflict(f"{url}: no run {run_id!r} is publishing there; `headwater ledger show` lists the runs that did")


def settle_run(url: str, run_id: str) -> None:
    """Settles run `run_id` if it left a record: what is left to do where its last step is repeated."""
    run = read_record(url, run_number(run_id))
    if run is not None:
        settle(url, run)


def delete_rows(url: str, files: Sequence[LedgerFile]) -> None:
    """Deletes files that were written for the ledger and will not be committed."""
    for file in files:
        delete_ledger_file(place(url), file.path)


def settle(url: str, run: PendingRun) -> str:
    """Commits `run` if it has published, else ends its claim and deletes its rows; says which. Repeating it changes nothing."""
    if published_manifest(run.output, run.run_id):
        _commit_rows(url, run)
        said = f"run {run.run_id} had published to {run.output} before it ended: its {run.num_rows:,} rows are committed"
    elif is_committed(open_table(url), run.run_id):
        said = f"run {run.run_id} was committed already"
    else:
        _end_claim(url, run)
        delete_rows(url, run.files)
        said = f"run {run.run_id} ended before it published: nothing of it is left in the ledger"
    forget_record(url, run)
    return said


def run_application(run_id: str) -> str:
    """Application id under which the table remembers that a run is committed."""
    return f"headwater/run/{run_id}"


def commit_withdrawal(url: str, run_id: str, files: Sequence[LedgerFile]) -> None:
    """Commits rows of withdrawals. Raises LedgerConflict if others keep committing meanwhile."""
    about = {"headwater": {"event": "withdraw", "run": run_id, "rows": sum(file.num_rows for file in files)}}
    for _ in range(_MAX_ATTEMPTS):
        table = open_table(url)
        actions = [_add_action(file) for file in files]
        with contextlib.suppress(deltalake().exceptions.CommitFailedError):
            _write(table, actions, {run_application(run_id): 1, CLAIM: table.transaction_version(CLAIM) or 0}, about)
            return
    raise LedgerConflict(f"{url}: other runs kept committing; nothing was withdrawn, do it again")


def find_conflicts(url: str, run: PendingRun, base: Sequence[LedgerFile], since: int, now: Snapshot) -> pa.Table:
    """Synthetic text of `run` that is among the rows added to the ledger since version `since`, which held the files `base`: `EARLIER_SCHEMA`."""
    known = {file.path for file in base}
    added = [file for file in now.of_kinds([SYNTHETIC]) if file.path not in known]
    own = [file for file in run.files if file.kind == SYNTHETIC]
    ignored = run.ignored_runs
    if known - {file.path for file in now.files}:
        # Compaction put rows that this run has seen into new files. What it may use again is no conflict.
        ignored = (*ignored, *(one.run_id for one in runs_of(open_table(url)) if one.version <= since))
    reading = now.reading([SYNTHETIC], ignored)
    reading = replace(reading, files=tuple(added))
    found = []
    for number, file in enumerate(own if added else ()):
        rows = read_ledger_file(place(url), file, ["content_hash", "bands", "signature"])
        step = max(1, PASS_KEYS // (1 + reading.bands + reading.extra_bands))
        for start in range(0, rows.num_rows, step):
            addresses = make_addresses(number, np.arange(start, min(start + step, rows.num_rows)))
            found.append(find_earlier(reading, _probes_of(addresses, rows.slice(start, step), reading), run.min_similarity))
    return pa.concat_tables([EARLIER_SCHEMA.empty_table(), *found])


def _claim(url: str, run: PendingRun) -> None:
    library, own = deltalake(), run_number(run.run_id)
    give_up = time.monotonic() + WAIT_SECONDS
    checked, since = _files_at(url, run.base_version), run.base_version
    while True:
        table = open_table(url)
        holder = table.transaction_version(CLAIM) or 0
        if holder == own:
            return
        if holder:
            _wait_for(url, holder, give_up)
            continue
        now = snapshot_of(table, url)
        conflicts = find_conflicts(url, run, checked, since, now)
        if conflicts.num_rows:
            row = conflicts.slice(0, 1).to_pylist()[0]
            count = len(set(conflicts["address"].to_pylist()))
            raise LedgerConflict(
                f"while this run was deciding, run {row['run_id']} published some of the same synthetic text for cycle {row['cycle']!r} "
                f"({count:,} documents, such as {row['id']!r}). Nothing was published; run again: it will leave them out."
            )
        checked, since = now.files, now.version
        about = {"headwater": {"event": "claim", "run": run.run_id, "cycle": run.cycle, "output": run.output}}
        with contextlib.suppress(library.exceptions.CommitFailedError):
            _write(table, [], {CLAIM: own}, about)
            return
        if time.monotonic() > give_up:
            raise LedgerConflict(f"{url}: other runs kept publishing for {WAIT_SECONDS:.0f} s. Nothing was published; run again.")


def _wait_for(url: str, holder: int, give_up: float) -> None:
    """Returns when the claim may have changed: the holder was dead and is settled, or some time has passed. Raises LedgerConflict after `give_up`."""
    run = read_record(url, holder)
    if run is not None:
        with try_lock(url, holder) as dead:
            if dead:
                settle(url, run)
                return
    elif _end_orphan(url, holder):
        return
    if time.monotonic() > give_up:
        who = f"run {run.run_id} has been publishing to {run.output} from {run.host} since {run.claimed_at}" if run else "another run is publishing"
        remedy = f"; if it is dead: `headwater ledger release {url} --run_id {run.run_id}`" if run else ""
        raise LedgerConflict(f"{url}: {who}. Nothing was published; wait for it and run again{remedy}.")
    time.sleep(POLL_SECONDS)


def _end_orphan(url: str, holder: int) -> bool:
    """Ends the claim of run number `holder` if it has no record: a run leaves its record before it claims, and until it has ended its claim."""
    table = open_table(url)
    if table.transaction_version(CLAIM) != holder or read_record(url, holder) is not None:
        return False
    try:
        _write(table, [], {CLAIM: 0}, {"headwater": {"event": "abandon", "run": "", "cycle": "", "output": ""}})
    except deltalake().exceptions.CommitFailedError:
        return False
    return True


def _commit_rows(url: str, run: PendingRun) -> None:
    library = deltalake()
    stated = {"run": run.run_id, "cycle": run.cycle, "output": run.output, "rows": run.num_rows}
    about = {"headwater": {"event": "publish", **stated, "ignored": list(run.ignored_runs), "figures": dict(run.figures)}}
    for _ in range(_MAX_ATTEMPTS):
        table = open_table(url)
        if is_committed(table, run.run_id):
            return
        holder = table.transaction_version(CLAIM) or 0
        actions = [_add_action(file) for file in run.files]
        ends = {run_application(run.run_id): 1, CLAIM: 0 if holder == run_number(run.run_id) else holder}
        with contextlib.suppress(library.exceptions.CommitFailedError):
            _write(table, actions, ends, about)
            return
    raise LedgerConflict(
        f"{url}: the rows of run {run.run_id} could not be committed; it has published: `headwater ledger verify {url}` commits them"
    )


def _end_claim(url: str, run: PendingRun) -> None:
    library = deltalake()
    for _ in range(_MAX_ATTEMPTS):
        table = open_table(url)
        if table.transaction_version(CLAIM) != run_number(run.run_id):
            return
        with contextlib.suppress(library.exceptions.CommitFailedError):
            _write(table, [], {CLAIM: 0}, {"headwater": {"event": "abandon", "run": run.run_id, "cycle": run.cycle, "output": run.output}})
            return
    raise LedgerConflict(f"{url}: the claim of run {run.run_id} could not be ended; `headwater ledger verify {url}` tries again")


def _write(table: Any, actions: list, versions: dict[str, int], about: dict[str, Any]) -> None:
    library = deltalake()
    transactions = [library.Transaction(name, version) for name, version in versions.items()]
    # No retries: every commit is checked by our own rules against the version it was made for.
    properties = library.CommitProperties(custom_metadata=about, max_commit_retries=0, app_transactions=transactions)
    table.create_write_transaction(actions, "append", LEDGER_SCHEMA, PARTITIONED_BY, commit_properties=properties)


def _add_action(file: LedgerFile) -> Any:
    # The time is that of the commit's making: Delta wants one, nothing of ours reads it.
    return deltalake().transaction.AddAction(
        file.path, file.num_bytes, {"kind": file.kind, "part": file.part}, int(time.time() * 1000), True, json.dumps({"numRecords": file.num_rows})
    )


def _files_at(url: str, version: int) -> tuple[LedgerFile, ...]:
    if version < 0:
        return ()
    table = open_table(url)
    if table.version() != version:
        library = deltalake()
        try:
            table.load_as_version(version)
        except (library.exceptions.DeltaError, OSError):
            return ()  # Its log was cleaned away: everything counts as new.
    return snapshot_of(table, url).files


def _probes_of(addresses: np.ndarray, rows: pa.Table, reading: LedgerReading) -> Probes:
    hashes, _ = matrix_of(rows["content_hash"], 16)
    bands, valid = matrix_of(rows["bands"], 4 * (reading.bands + reading.extra_bands))
    signatures, _ = matrix_of(rows["signature"], reading.num_hashes)
    return make_probes(addresses, hashes, signatures, valid, lookup_keys(hashes, bands.view("<u4"), valid))
