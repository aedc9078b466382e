"""The gates of a run and its last step: too many dead, quota unmet, books, the manifest, publication.

They run inside the graph, so that a Dataflow job whose launcher has gone publishes or refuses by the same rules. A refusal
leaves its exit code and message in the staging folder, for the command line to read, and fails the job.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from classifiers.detectors import CascadeWork
from classifiers.nearest import did_you_mean
from pipeline.card import write_card
from pipeline.decided import write_key
from pipeline.errors import BooksDoNotBalance, HeadwaterError, LedgerConflict, QuotaUnmet, TooManyDead, UsageError
from pipeline.folders import Folders
from pipeline.manifest import build_manifest, group_faults, quota_faults
from pipeline.publishing import publish_staged, published_manifest, remove_folder
from pipeline.recipe import Recipe, check_rule_sources, rule_schema
from pipeline.run_facts import Counts, RunCatalog, RunFacts
from transforms.balance_books import keep_books, unbalanced
from transforms.count_unlabelled import add_unlabelled
from transforms.find_tops import TopFound
from transforms.group_members import known_fields
from transforms.place_mix import MixCuts
from transforms.plan_mix import MixPlan
from transforms.records import DOCUMENT_SCHEMA
from transforms.scored_shards import SplitScored, dead_letters_name
from transforms.storage import join_path, open_binary, write_whole
from transforms.write_shards import ShardWritten

if TYPE_CHECKING:
    # Brings along what only a run with a ledger needs.
    from pipeline.ledger_finish import Memory

QUOTED_LETTERS = 3
"""Dead letters that a refusal quotes, at most."""


def admit_run(scored: Iterable[SplitScored], recipe: Recipe, folders: Folders) -> RunCatalog:
    """Orders the scored shards; refuses the run if more records died than the failure budget allows."""
    scored = sorted(scored, key=lambda one: one.shard.name)
    books: Counter = Counter()
    for one in scored:
        books.update(dict(one.books))
    shards = tuple(replace(one.shard, index=index) for index, one in enumerate(scored))
    names = Counter(shard.name for shard in shards)
    if len(names) != len(shards):
        twice = next(name for name, count in names.items() if count > 1)
        raise AssertionError(f"two splits were scored into one shard, {twice}")
    if len({one.scored_by for one in scored}) > 1:
        refuse(UsageError("the scored shards were not all scored by the same scorers with the same settings; score them in one run"), folders)
    try:
        check_rule_sources(recipe, [source for source, *_ in books])
    except UsageError as error:
        refuse(error, folders)
    documents = sum(shard.num_rows for shard in shards)
    with_key = Counter()
    for one in scored:
        with_key.update(dict(one.keys))
    for key in recipe.score.keys if documents else ():
        if not with_key[key]:
            slip = did_you_mean(key, ("prompt", "near_cluster", "semantic_cluster", "url:host", "url:normalised", *DOCUMENT_SCHEMA.names))
            refuse(UsageError(f"key {key!r}: none of {documents:,} documents has one{slip}; name a field of the records, or leave it out"), folders)
    read = sum(count for key, count in books.items() if key[2] == "read")
    dead = sum(count for key, count in books.items() if key[2] == "dead")
    if dead > recipe.read.max_dead_share * read:
        reasons = Counter()
        for (source, _, kind, _, reason), count in books.items():
            if kind == "dead":
                reasons[f"{reason} in {source}"] += count
        named = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(5))
        refuse(
            TooManyDead(
                f"{dead:,} of {read:,} records ({dead / max(read, 1):.2%}) could not be read, more than --max_dead_share={recipe.read.max_dead_share:g} "
                f"allows: {named}.{_first_dead(scored, folders)} Nothing was published. Mend the input, or raise --max_dead_share to publish the rest."
            ),
            folders,
        )
    work = [one.cascade_work for one in scored if one.cascade_work]
    return RunCatalog(
        shards,
        tuple(sorted(books.items())),
        sum(one.origin_conflicts for one in scored),
        sum(one.num_bytes for one in scored),
        scored[0].scored_by if scored else "{}",
        sum(work, CascadeWork()) if work else None,
        add_unlabelled(part for one in scored for part in one.unlabelled),
    )


def admit_mix(cuts: MixCuts, recipe: Recipe, folders: Folders) -> MixCuts:
    """Refuses the run if quota, wanted size, groups and reserved places cannot all be had, unless the user chose to shrink.

    Also if a group names a field that neither a column nor any record has, or if groups overlap in too many ways.
    """
    unmet = refusal_of_mix(cuts.plan, recipe)
    if unmet is not None:
        refuse(unmet, folders)
    return cuts


def refusal_of_mix(plan: MixPlan, recipe: Recipe) -> QuotaUnmet | UsageError | None:
    """What a run stops with whose mix is `plan`; None where it may go on."""
    if plan.missing_fields:
        return UsageError(_unknown_fields(recipe, plan.missing_fields))
    if plan.refused:
        return UsageError(f"{plan.refused}. Nothing was published.")
    if not plan.is_unmet:
        return None
    return QuotaUnmet(f"{'; '.join(plan.shortages)}. Nothing was published. {_what_helps(recipe)}")


def finish_run(
    facts: RunFacts,
    catalog: RunCatalog,
    cuts: MixCuts,
    counts: Counts,
    written: Sequence[ShardWritten],
    memory: Memory | None,
    recipe: Recipe,
    folders: Folders,
    write: bool,
    tops: Sequence[TopFound] = (),
) -> str:
    """Checks the books and the quota on the files as written, writes the manifest and the card, and publishes.

    With a `memory`, also the cycle report and its alarms, and what is published is committed to the ledger.

    Returns the path of the manifest. Safe to repeat: a step that a runner retries after publication finds its own run there, and it
    reads nothing that publication moves.
    """
    if write and (published := published_manifest(facts.output, facts.run_id)):
        if memory:
            memory.settle(facts)
        return published
    accounts = keep_books(catalog.books, counts)
    faults = unbalanced(accounts)
    written = sorted(written, key=lambda shard: shard.name)
    if write:
        faults += quota_faults(written, recipe.mix)
        faults += group_faults(written, cuts.selection.cells)
        in_files = sum(shard.of_unit("documents")[1] for shard in written)
        published, repeated = (sum(getattr(account, name) for account in accounts) for name in ("num_published", "num_repeated"))
        if in_files != published + repeated:
            said = f"{published:,} documents have the disposition `published`" + (f" and {repeated:,} rows repeat them" if repeated else "")
            faults.append(f"{said}, but the files hold {in_files:,}")
    if faults:
        if memory:
            memory.abandon()
        refuse(BooksDoNotBalance(f"the books do not balance, nothing was published: {'; '.join(faults)}. This is a defect of Headwater."), folders)
    scorers = {"scorers": {}, **json.loads(catalog.scored_by)}
    manifest = build_manifest(facts, recipe, catalog, accounts, counts, cuts.plan, written, scorers, tops, finished_at=now(), weights=cuts.weights)
    report: dict = {}
    if memory:
        report = memory.report(facts, recipe, counts)
        try:
            memory.check(recipe, report)
        except HeadwaterError as error:
            refuse(error, folders)
        manifest |= memory.manifest_entries(report)
    with write_whole(folders.manifest) as file:
        file.write(json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")
    if not write:
        return folders.manifest
    if facts.mode == "curate":
        write_key(folders, facts.decision_key, catalog.shards, tops)
    else:
        remove_folder(folders.decided)
    with write_whole(folders.card) as file:
        file.write(write_card(manifest).encode())
    if memory is None:
        return publish_staged(folders, facts.output, facts.run_id, overwrite=facts.overwrite)
    publish = partial(publish_staged, folders, facts.output, facts.run_id, overwrite=facts.overwrite)
    try:
        return memory.publish(facts, report, now(), publish)
    except LedgerConflict as error:
        refuse(error, folders)


def refuse(error: HeadwaterError, folders: Folders) -> NoReturn:
    """Leaves `error` for the command line and fails the job with it."""
    with write_whole(folders.refusal) as file:
        file.write(json.dumps({"exit_code": error.exit_code, "message": str(error)}).encode())
    raise error


def _first_dead(scored: Sequence[SplitScored], folders: Folders) -> str:
    # The staging folder goes with the refused run, so what a user needs to find the fault is said here.
    quoted: list[str] = []
    for one in scored:
        if any(key[2] == "dead" for key, _ in one.books) and len(quoted) < QUOTED_LETTERS:
            with contextlib.suppress(FileNotFoundError), open_binary(join_path(folders.dead_letters, dead_letters_name(one.shard.name))) as file:
                letters = [json.loads(line) for line in file.read().splitlines()]
                quoted += [f"{letter['location']} ({letter['reason']}: {letter['detail']})" for letter in letters[: QUOTED_LETTERS - len(quoted)]]
    return f" The first: {'; '.join(quoted)}." if quoted else ""


def _what_helps(recipe: Recipe) -> str:
    shrink = ", give --on_shortage=shrink to publish a smaller mix" if recipe.mix.on_shortage == "fail" else ""
    fresh = ", lower --min_fresh_human" if recipe.mix.min_fresh_human else ""
    reserve = ", lower --reserve" if recipe.mix.reserve else ""
    group = ", change a --group" if recipe.mix.groups else ""
    return f"Add human text, lower --human_quota{fresh}{reserve}{group}{shrink}, or see `headwater plan` for what each setting would keep."


def _unknown_fields(recipe: Recipe, fields: Sequence[str]) -> str:
    named = next(group for group in recipe.mix.groups if fields[0] in group.predicate.fields)
    columns = sorted(known_fields(rule_schema(recipe.score)).names)
    close = difflib.get_close_matches(fields[0], columns, 1, 0.5)
    nearest = f"; did you mean {close[0]!r}?" if close else ""
    return f"groups.{named.name}.where: {fields[0]}: is no column, and no document left to choose from has a field of that name{nearest}"


def now() -> str:
    """The time in UTC, ISO 8601 to the second: only ever written down, never a cause."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
