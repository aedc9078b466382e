"""The gates of a run and its last step: too many dead, quota unmet, books, the manifest, publication.

They run inside the graph, so that a Dataflow job whose launcher has gone publishes or refuses by the same rules. A refusal
leaves its exit code and message in the staging folder, for the command line to read, and fails the job.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.card import write_card
from pipeline.decided import write_key
from pipeline.errors import BooksDoNotBalance, HeadwaterError, QuotaUnmet, TooManyDead, UsageError
from pipeline.folders import Folders
from pipeline.manifest import build_manifest, quota_faults
from pipeline.publishing import publish_staged, remove_folder
from pipeline.recipe import Recipe
from pipeline.run_facts import Counts, RunCatalog, RunFacts
from transforms.balance_books import keep_books, unbalanced
from transforms.mix_to_quota import MixCuts
from transforms.score_documents import SplitScored, read_scored_metadata
from transforms.storage import write_whole
from transforms.write_shards import ShardWritten


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
                f"allows: {named}. Nothing was published. Look at the dead letters in {folders.dead_letters}, mend the input, or raise --max_dead_share."
            ),
            folders,
        )
    return RunCatalog(shards, tuple(sorted(books.items())), sum(one.origin_conflicts for one in scored), sum(one.num_bytes for one in scored))


def admit_mix(cuts: MixCuts, recipe: Recipe, folders: Folders) -> MixCuts:
    """Refuses the run if the quota and the wanted size cannot both hold, unless the user chose to shrink."""
    if cuts.plan.is_unmet:
        refuse(QuotaUnmet(f"{cuts.plan.shortage.sentence}. Nothing was published. {_what_helps(recipe)}"), folders)
    return cuts


def finish_run(
    facts: RunFacts,
    catalog: RunCatalog,
    cuts: MixCuts,
    counts: Counts,
    written: Sequence[ShardWritten],
    recipe: Recipe,
    folders: Folders,
    write: bool,
) -> str:
    """Checks the books and the quota on the files as written, writes the manifest and the card, and publishes.

    Returns the path of the manifest. Safe to repeat: a step that a runner retries after publication finds its own run there.
    """
    accounts = keep_books(catalog.books, counts)
    faults = unbalanced(accounts)
    written = sorted(written, key=lambda shard: shard.name)
    if write:
        faults += quota_faults(written, recipe.mix)
        in_files = sum(shard.of_unit("documents")[1] for shard in written)
        published = sum(account.num_published for account in accounts)
        if in_files != published:
            faults.append(f"{published:,} documents have the disposition `published`, but the files hold {in_files:,}")
    if faults:
        refuse(BooksDoNotBalance(f"the books do not balance, nothing was published: {'; '.join(faults)}. This is a defect of Headwater."), folders)
    scorers = read_scored_metadata(catalog.shards[0].path) if catalog.shards else {"scorers": {}}
    manifest = build_manifest(facts, recipe, catalog, accounts, counts, cuts.plan, written, scorers, finished_at=now())
    with write_whole(folders.manifest) as file:
        file.write(json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")
    if not write:
        return folders.manifest
    if facts.mode == "curate":
        write_key(folders, facts.decision_key, catalog.shards)
    else:
        remove_folder(folders.decided)
    with write_whole(folders.card) as file:
        file.write(write_card(manifest).encode())
    return publish_staged(folders, facts.output, facts.run_id, overwrite=facts.overwrite)


def refuse(error: HeadwaterError, folders: Folders) -> None:
    """Leaves `error` for the command line and fails the job with it."""
    with write_whole(folders.refusal) as file:
        file.write(json.dumps({"exit_code": error.exit_code, "message": str(error)}).encode())
    raise error


def _what_helps(recipe: Recipe) -> str:
    shrink = ", give --on_shortage=shrink to publish a smaller mix" if recipe.mix.on_shortage == "fail" else ""
    return f"Add human text, lower --human_quota{shrink}, or see `headwater plan` for what each setting would keep."


def now() -> str:
    """The time in UTC, ISO 8601 to the second: only ever written down, never a cause."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
