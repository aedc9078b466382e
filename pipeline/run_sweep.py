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
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from rich.console import Console

from classifiers.calibration import LengthThresholds
from classifiers.diversity import Figure
from pipeline.decided import decision_key, find_decided
from pipeline.errors import UsageError
from pipeline.flag_groups import default_workers
from pipeline.folders import Folders
from pipeline.plot_sweep import check_matplotlib, plot_sweep
from pipeline.recipe import Recipe
from pipeline.run import decide_again, detector_thresholds, remix_recipe, scored_shards
from pipeline.standard_output import printing
from pipeline.sweep import Sweep, SweepRow, check_output, combinations, parse_sweep, print_sweep, with_values, write_sweep
from transforms.decisions import recall_decisions
from transforms.records import ScoredShard
from transforms.sample_texts import measure_samples, warm_up
from transforms.scored_shards import recall_split
from transforms.storage import is_local
from transforms.sweep_mix import MixFigures, MixSweep, read_alive_decisions
from transforms.worker_pool import start_pool, stop_pool


def run_sweep(parsed: Namespace, command_line: tuple[str, ...]) -> list[SweepRow]:
    """Plans every setting, prints the table and writes it where `--sweep_output` says. Raises HeadwaterError."""
    began = time.monotonic()
    sweeps = [parse_sweep(text) for text in parsed.sweep]
    settings = combinations(sweeps)
    check_output("sweep_output", parsed.sweep_output, (".csv", ".json"))
    check_output("sweep_plot", parsed.sweep_plot, (".svg", ".png"))
    if parsed.sweep_plot:
        check_matplotlib()
    _check(parsed, sweeps)
    scored = scored_shards(parsed.scored)
    recipes: list[tuple[Recipe, LengthThresholds | None]] = []
    for values in settings:
        recipe, detector = remix_recipe(with_values(parsed, sweeps, values), scored[0])
        recipes.append((recipe, detector_thresholds(recipe, detector)))
    keys = [decision_key(recipe, thresholds) for recipe, thresholds in recipes]
    found: dict[int, MixFigures] = {}
    shards = [replace(recall_split(path)[0].shard, index=index) for index, path in enumerate(scored)]
    for key in dict.fromkeys(keys):
        members = [number for number, one in enumerate(keys) if one == key]
        mixes = [recipes[number][0].mix for number in members]
        fields = sorted({field for mix in mixes for field in mix.scored_fields})
        groups = tuple(dict.fromkeys(group for mix in mixes for group in mix.groups))
        clusters = sorted({mix.diverse_by for mix in mixes if mix.takes_turns})
        with _decisions(parsed, command_line, scored, *recipes[members[0]], key) as folder:
            alive = read_alive_decisions((recall_decisions(shard, folder)[0] for shard in shards), fields, clusters, folder, groups)
        sweeping = MixSweep(alive)
        found |= {number: sweeping.figures(recipes[number][0].mix) for number in members}
    figures = [found[number] for number in range(len(settings))]
    diversity = _measure([one.sample for one in figures], {shard.index: shard for shard in shards}, parsed)
    ordered = [SweepRow(*row) for row in zip(settings, figures, diversity, strict=True)]
    # The files first: they stand whatever becomes of what is printed.
    if parsed.sweep_output:
        write_sweep(parsed.sweep_output, sweeps, ordered)
    if parsed.sweep_plot:
        plot_sweep(parsed.sweep_plot, sweeps, ordered)
    written = [path for path in (parsed.sweep_output, parsed.sweep_plot) if path]
    with printing(f"the sweep is in {' and '.join(written)}" if written else ""):
        print_sweep(sweeps, ordered)
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


def _measure(samples: list[np.ndarray], shards: Mapping[int, ScoredShard], parsed: Namespace) -> list[dict[str, Figure]]:
    """How varied each sample is, on the cores that the user gives."""
    start_pool(default_workers() if parsed.workers is None else parsed.workers, warm_up)
    try:
        return measure_samples(samples, shards)
    finally:
        stop_pool()


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
        decide_again(parsed, command_line, scored, recipe, thresholds, Folders(root))
        yield Folders(root).decided
