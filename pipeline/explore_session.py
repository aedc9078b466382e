"""A scored run as the explorer holds it: opened once, decided about once for each setting that needs it, asked for many mixes.

Nothing is written beside the run: decisions made anew lie in a temporary folder, about 100 bytes a document, the last `KEPT_DECISIONS` of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from classifiers.calibration import LengthThresholds
from pipeline.decided import decision_key, find_decided
from pipeline.errors import UsageError
from pipeline.explore_columns import ScoredColumns
from pipeline.explore_decide import Deciding
from pipeline.explore_figures import Decisions, Figures, figures_of, read_decided
from pipeline.explore_recipe import as_assignment, differences
from pipeline.explore_rules import Preview, preview
from pipeline.finishing import admit_run
from pipeline.folders import Folders
from pipeline.options import parse_arguments
from pipeline.recipe import Recipe, default_tables, load_recipe
from pipeline.run import detector_thresholds, remix_recipe, scored_shards
from transforms.scored_shards import read_scored_columns, read_scored_metadata, recall_split
from transforms.storage import is_local

KEPT_DECISIONS = 4
"""Decisions that are kept in memory and on disk, so that going back to an earlier setting is quick."""


@dataclass(frozen=True)
class Setting:
    """One recipe, as far as the explorer must know it to answer."""

    recipe: Recipe
    """The recipe in effect."""
    thresholds: LengthThresholds | None
    """The detector's; None where none scored."""
    key: str
    """What decisions it needs."""


class Session:
    """A scored folder and the flags that the explorer was started with. Safe between threads. Raises UsageError where they cannot work."""

    def __init__(self, scored: str, given: list[str]):
        """`scored`: the folder `scored/` of a run, or the run's; `given`: `--recipe` and `--set` as the user gave them."""
        self.scored = scored_folder(scored)
        self.last_changes: dict[str, Any] = {}
        self._given = given
        self._parsed = parse_arguments(["plan", "--scored", self.scored, *given])
        self._paths = scored_shards(self.scored)
        self._work = tempfile.mkdtemp(prefix="headwater-explore-")
        self._decisions: dict[str, Decisions] = {}
        self._alone: dict[tuple, int] = {}
        self._lock = threading.Lock()
        self._deciding: Deciding | None = None
        self._turn = 0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        setting = self.setting({})
        try:
            self.catalog = admit_run([recall_split(path)[0] for path in self._paths], setting.recipe, Folders(self._work))
        except ValueError as error:
            raise UsageError(f"{self.scored}: {error}") from error
        self.columns = ScoredColumns(self.catalog.shards)
        if not self.columns.num_documents:
            raise UsageError(f"{self.scored}: its shards hold no documents; nothing to explore")
        about = read_scored_metadata(self._paths[0])
        self._default = load_recipe(scored_with=about["settings"], scored_columns=read_scored_columns(self._paths[0])).tables

    def setting(self, changes: Mapping[str, Any]) -> Setting:
        """The recipe with `changes` (dotted key -> value) over what the explorer was started with. Raises UsageError, as a run would."""
        recipe, detector = remix_recipe(self._with(changes), self._paths[0])
        for key, value in default_tables()["ledger"].items():
            if recipe.tables["ledger"][key] != value:
                raise UsageError(f"ledger.{key}: needs the memory of earlier cycles, which the explorer does not ask; leave it out here")
        thresholds = detector_thresholds(recipe, detector)
        return Setting(recipe, thresholds, decision_key(recipe, thresholds))

    def decided(self, setting: Setting) -> Decisions | None:
        """The decisions that hold for `setting`, where they are at hand: made before, or left beside the scored shards."""
        with self._lock:
            if setting.key in self._decisions:
                # The last one used is the last to be let go.
                self._decisions[setting.key] = self._decisions.pop(setting.key)
                return self._decisions[setting.key]
            folder = find_decided(self.scored, [os.path.basename(path) for path in self._paths], setting.key)
            return None if folder is None else self._keep(read_decided(self.columns, folder, setting.key))

    def decide(self, changes: Mapping[str, Any]) -> Decisions:
        """The decisions under `changes`, made anew where there are none; ends whatever is being decided meanwhile. Raises HeadwaterError."""
        setting = self.setting(changes)
        found = self.decided(setting)
        if found is not None:
            return found
        with self._lock:
            self.cancel()
            self._turn += 1
            words = [f"--set={as_assignment(key, value)}" for key, value in changes.items()]
            arguments = ["plan", f"--scored={self.scored}", *self._given, *words, "--progress=none"]
            deciding = self._deciding = Deciding(arguments, os.path.join(self._work, str(self._turn)))
        folder = deciding.wait()
        with self._lock:
            return self._keep(read_decided(self.columns, folder, setting.key))

    def cancel(self) -> None:
        """Ends what is being decided, if anything is."""
        if self._deciding is not None:
            self._deciding.cancel()

    def figures(self, decisions: Decisions, setting: Setting) -> Figures:
        """What `setting` would publish, over its decisions."""
        with self._lock:
            return figures_of(decisions, setting.recipe, self.catalog)

    def preview(self, setting: Setting) -> Preview:
        """What rules and detector turn down by themselves under `setting`."""
        return preview(self.columns, setting.recipe, setting.thresholds, self._alone)

    def changed(self, setting: Setting) -> dict[tuple[str, ...], Any]:
        """What differs from the default recipe under `setting`."""
        return differences(setting.recipe.tables, self._default)

    def close(self) -> None:
        """Ends what is being decided and deletes the temporary folder."""
        self.cancel()
        shutil.rmtree(self._work, ignore_errors=True)

    def _with(self, changes: Mapping[str, Any]) -> Namespace:
        words = [as_assignment(key, value) for key, value in changes.items()]
        return Namespace(**{**vars(self._parsed), "set": [*(self._parsed.set or ()), *words]})

    def _keep(self, decisions: Decisions) -> Decisions:
        self._decisions[decisions.key] = decisions
        while len(self._decisions) > KEPT_DECISIONS:
            oldest = self._decisions.pop(next(iter(self._decisions)))
            if oldest.folder.startswith(self._work):
                shutil.rmtree(os.path.dirname(oldest.folder), ignore_errors=True)
        return decisions


def scored_folder(given: str) -> str:
    """The folder of scored shards that `given` names: itself, or `scored/` in a run's folder. Raises UsageError."""
    if not is_local(given):
        raise UsageError(f"{given}: does not lie on this machine; copy its scored/ and decided/ here")
    inner = os.path.join(given, "scored")
    return inner if os.path.isdir(inner) else given.rstrip("/")
