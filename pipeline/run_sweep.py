"""Carries out `headwater plan --sweep`: reads the decisions that the settings share once, and plans each mix from them, without Beam.

Where a setting decides before the mix (a threshold, a rule, duplicates), the scored shards are decided upon again, once for each such
setting, in a folder that is deleted afterwards.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console

from classifiers.calibration import LengthThresholds
from pipeline.decided import decision_key, find_decided
from pipeline.errors import QuotaUnmet, UsageError
from pipeline.folders import Folders
from pipeline.recipe import Recipe
from pipeline.run import decide_again, detector_thresholds, remix_recipe, scored_shards
from pipeline.sweep import Sweep, SweepRow, check_output, combinations, parse_sweep, print_sweep, with_values, write_sweep
from transforms.decisions import recall_decisions
from transforms.mix_settings import MixSettings
from transforms.scored_shards import recall_split
from transforms.storage import is_local
from transforms.sweep_mix import read_alive_decisions, sweep_mix


def run_sweep(parsed: Namespace, command_line: tuple[str, ...]) -> list[SweepRow]:
    """Plans every setting, prints the table and writes it where `--sweep_output` says. Raises HeadwaterError."""
    began = time.monotonic()
    sweeps = [parse_sweep(text) for text in parsed.sweep]
    settings = combinations(sweeps)
    check_output(parsed.sweep_output)
    _check(parsed, sweeps)
    scored = scored_shards(parsed.scored)
    recipes: list[tuple[Recipe, LengthThresholds | None]] = []
    for values in settings:
        recipe, detector = remix_recipe(with_values(parsed, sweeps, values), scored[0])
        recipes.append((recipe, detector_thresholds(recipe, detector)))
    keys = [decision_key(recipe, thresholds) for recipe, thresholds in recipes]
    rows: dict[int, SweepRow] = {}
    for key in dict.fromkeys(keys):
        members = [number for number, one in enumerate(keys) if one == key]
        mixes = [recipes[number][0].mix for number in members]
        fields = sorted({field for mix in mixes for field in mix.scored_fields})
        clusters = sorted({mix.diverse_by for mix in mixes if mix.priority == "diverse"})
        with _decisions(parsed, command_line, scored, *recipes[members[0]], key) as folder:
            shards = [replace(recall_split(path)[0].shard, index=index) for index, path in enumerate(scored)]
            alive = read_alive_decisions((recall_decisions(shard, folder)[0] for shard in shards), fields, clusters, folder)
        for number in members:
            rows[number] = SweepRow(settings[number], sweep_mix(alive, recipes[number][0].mix))
    ordered = [rows[number] for number in range(len(settings))]
    print_sweep(sweeps, ordered)
    if parsed.sweep_output:
        write_sweep(parsed.sweep_output, sweeps, ordered)
    said = f"{len(ordered):,} settings planned in {time.monotonic() - began:,.1f} s; nothing was published."
    Console().print(said, highlight=False, soft_wrap=True)
    return ordered


def _check(parsed: Namespace, sweeps: list[Sweep]) -> None:
    if not parsed.scored:
        raise UsageError("--sweep: plans from scored shards; give --scored DIR, the scored/ folder of an earlier run")
    if not is_local(parsed.scored):
        raise UsageError(f"--sweep: --scored={parsed.scored} does not lie on this machine; copy it here")
    of_ledger = [sweep.key for sweep in sweeps if sweep.key.startswith("ledger.")]
    if parsed.ledger or of_ledger:
        raise UsageError(f"--sweep: {of_ledger[0] if of_ledger else '--ledger'} needs a ledger to be asked for each setting; plan them one by one")


@contextlib.contextmanager
def _decisions(
    parsed: Namespace, command_line: tuple[str, ...], scored: list[str], recipe: Recipe, thresholds: LengthThresholds | None, key: str
) -> Iterator[str]:
    """The folder of the decisions that hold for `recipe`: those of an earlier run, or made anew for as long as they are read."""
    found = find_decided(parsed.scored, [os.path.basename(path) for path in scored], key)
    if found is not None:
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="headwater-sweep-") as root:
        # A mix that every document is let into: nothing that comes after the decisions may stop them. What they depend on stays.
        mix = recipe.mix
        every = MixSettings(human_quota=0, on_shortage="shrink", priority=mix.priority, diverse_by=mix.diverse_by, seed=mix.seed)
        anything = replace(recipe, mix=every)
        with contextlib.suppress(QuotaUnmet):
            decide_again(parsed, command_line, scored, anything, thresholds, Folders(root))
        yield Folders(root).decided
