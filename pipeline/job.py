"""One run, planned: what `graph` or `remix_here` needs to carry it out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classifiers.calibration import LengthThresholds
from pipeline.caps import NEAR_CLUSTER
from pipeline.folders import Folders
from pipeline.mix_orders import takes_turns_over
from pipeline.recipe import Recipe
from pipeline.run_facts import RunFacts
from transforms.inputs import FieldNames, Split

if TYPE_CHECKING:
    from pipeline.ledger_job import LedgerJob

    # Brings Beam's inference along, which a run in line does not need.
    from transforms.infer_scores import InferenceSettings


@dataclass(frozen=True)
class Job:
    """One run: what to read, by which recipe, and where to work."""

    recipe: Recipe
    """What decides."""
    facts: RunFacts
    """Who, where and when: what the manifest says of the run."""
    folders: Folders
    """Where it works until it publishes."""
    thresholds: LengthThresholds | None
    """Of the detector, by length; None where no detector scored."""
    splits: tuple[Split, ...] = ()
    """What to read and score (curate)."""
    fields: FieldNames | None = None
    """What the records' fields are called (curate)."""
    inference: "InferenceSettings | None" = None
    """How the detector runs as a step of its own; None: in line with the other scorers (curate)."""
    scored: tuple[str, ...] = ()
    """Scored shards to start from instead (remix)."""
    decided: str | None = None
    """Folder of an earlier run's decisions that hold for this recipe; None: decide."""
    ledger: "LedgerJob | None" = None
    """What earlier cycles published; None: the run has no memory."""
    write: bool = True
    """Whether to publish, or only to say what would be (plan)."""
    decides_only: bool = False
    """Whether the run ends with the decision files before the mix (a sweep, which mixes them by itself)."""

    @property
    def near_clusters(self) -> str | None:
        """Folder of groups of near-duplicates, where the mix takes turns over these: beside the decisions."""
        return (self.decided or self.folders.decided) if takes_turns_over(self.recipe.mix, NEAR_CLUSTER) else None
