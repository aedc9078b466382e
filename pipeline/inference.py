"""Where the AI-text detector runs: in line with the other scorers, or as a step of its own under Beam's RunInference contract."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from classifiers.detectors import check_device
from classifiers.scorers import ScoreSettings
from pipeline.errors import UsageError
from pipeline.flag_groups import default_workers
from pipeline.recipe import Recipe

if TYPE_CHECKING:
    # Brings Beam's inference along, which a run in line does not need.
    from transforms.infer_scores import InferenceSettings

INLINE, INFERENCE = "inline", "inference"
DETECTOR = "ai_detector"


def inference_of(parsed: Namespace, recipe: Recipe, *, runs_here: bool) -> InferenceSettings | None:
    """How the detector runs as a step of its own; None: it runs in line. `runs_here`: whether the runner works in this process.

    Raises UsageError for flags that do not go together, and where the detector cannot be loaded.
    """
    asked = {flag: getattr(parsed, flag, None) for flag in ("detector_device", "detector_min_ram", "detector_accelerator")}
    if getattr(parsed, "detector_runs", INLINE) != INFERENCE:
        for flag, value in asked.items():
            if value:
                raise UsageError(f"--{flag}={value}: goes with --detector_runs={INFERENCE} only; add that, or leave it out")
        return None
    if DETECTOR not in recipe.score.scorers:
        raise UsageError(f"--detector_runs={INFERENCE}: no detector scores; add {DETECTOR!r} to score.scorers, or leave it out")
    from transforms.infer_scores import InferenceSettings

    device = asked["detector_device"] or "cpu"
    workers = parsed.workers if parsed.workers is not None else default_workers()
    try:
        check_device(recipe.score.ai_detector, device)
        return InferenceSettings(
            version=detector_version(recipe.score),
            device=device,
            # Elsewhere the runner starts a process for each core.
            num_threads=max(workers, 1) if runs_here else 1,
            min_ram=asked["detector_min_ram"] or "",
            accelerator=asked["detector_accelerator"] or "",
            share_model=device != "cpu",
        )
    except (ValueError, OSError) as error:
        raise UsageError(f"--detector_runs={INFERENCE}: {error}") from error


def detector_version(settings: ScoreSettings) -> str:
    """Version of the detector that `settings` name, which loads it. Raises ValueError, OSError."""
    # Imported here: its tables take half a second to build, and a remix scores nothing.
    from classifiers.ai_detector import AiDetectorScorer

    return AiDetectorScorer(settings.ai_detector, ai_label=settings.ai_label).version
