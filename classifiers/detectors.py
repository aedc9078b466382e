"""The tiers of the AI-text detector behind one contract, and how a name becomes one.

| name | what scores | needs | thresholds |
|---|---|---|---|
| `fast` | hashed n-grams and fastText | nothing else | shipped |
| `deep` | our transformer encoder | extra `deep` | shipped |
| `cascade` | `fast`, and `deep` where `fast` is unsure | extra `deep` | shipped |
| `hf:PATH_OR_NAME` | any Hugging Face sequence classifier | extra `torch` | your own |
| `lm:PATH_OR_NAME` | curvature and ranks under any causal LM, nothing trained | extra `torch` | your own |
"""

import functools
import importlib.resources
import importlib.util
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from classifiers.calibration import Calibration, load_calibration

if TYPE_CHECKING:
    # Brings its kernels' compiler along, which names and thresholds do not need.
    from classifiers.text_batch import TextBatch

DETECTORS = ("fast", "deep", "cascade", "hf:PATH_OR_NAME", "lm:PATH_OR_NAME")
"""Names of detectors, as `--ai_detector` takes them."""
KINDS = tuple(name.partition(":")[0] for name in DETECTORS)
"""What stands before the colon, and before the dash of a version."""
SHIPPED_CALIBRATIONS = {"fast": "calibration.json", "deep": "calibration-deep.json", "cascade": "calibration-cascade.json"}
"""File within `classifiers/weights` that holds a kind's thresholds; the other kinds have none."""
EXTRAS = {"deep": ("onnxruntime",), "torch": ("torch", "safetensors"), "kenlm": ("kenlm",)}
"""Modules that an extra of the distribution installs."""
MAX_THREADS = 1_024


class MissingExtra(ValueError):
    """A tier's libraries are not installed; the message says how to install them."""


class Detector(Protocol):
    """Texts in, log odds that a model wrote them out."""

    version: str
    """`KIND-DIGEST`: changes whenever its numbers do."""

    def log_odds(self, batch: "TextBatch") -> tuple[np.ndarray, np.ndarray]:
        """Log odds (float64[n]) that a model wrote each text, finite also where it abstains, and whether (bool[n]) it abstains.

        Deterministic; a text's numbers do not depend on the rest of the batch. An empty batch gives two empty arrays.
        """
        ...


@dataclass(frozen=True)
class CascadeWork:
    """What a cascade did: how much of it was the deep detector's, and what both cost."""

    texts: int = 0
    """Texts scored."""
    deep_texts: int = 0
    """Those of them that the deep detector saw."""
    fast_cpu_s: float = 0.0
    """CPU seconds of the fast detector; 0 where they were not measured."""
    deep_cpu_s: float = 0.0
    """CPU seconds of the deep one."""

    @property
    def deep_share(self) -> float:
        """Share of the texts that the deep detector saw; 0 where there were none."""
        return self.deep_texts / self.texts if self.texts else 0.0

    def __add__(self, other: "CascadeWork") -> "CascadeWork":
        """What both did together."""
        return CascadeWork(*(mine + theirs for mine, theirs in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector can be told beyond its name. None of it but `model_path` and `ai_label` changes its numbers on a CPU."""

    model_path: str | None = None
    """Weights that replace the shipped ones (`fast`, `deep`, `cascade`); None: those."""
    ai_label: str = ""
    """Labels of an `hf:` classifier that mean machine-written, with commas; empty: told from their names."""
    num_threads: int = 1
    """Texts that a transformer tier scores at once on the CPU, 1 to 1,024, each on one thread. Workers of a pool take 1."""
    device: str = "cpu"
    """Where `hf:` and `lm:` run: `cpu`, or a device that torch knows, such as `cuda` or `cuda:1`."""

    def __post_init__(self):
        if not 1 <= self.num_threads <= MAX_THREADS:
            raise ValueError(f"num_threads must be from 1 to {MAX_THREADS}, not {self.num_threads}")
        if not self.device:
            raise ValueError("device must be cpu, or a device that torch knows, such as cuda")


def parse_detector(spec: str) -> tuple[str, str]:
    """Kind and model of a detector's name: `fast` -> ("fast", ""), `hf:PATH` -> ("hf", "PATH"). Raises ValueError."""
    kind, colon, model = spec.partition(":")
    if kind not in KINDS:
        raise ValueError(f"ai_detector: unknown {spec!r}; known: {', '.join(DETECTORS)}")
    if bool(colon) != (kind in ("hf", "lm")) or bool(model) != bool(colon):
        wanted = f"{kind}:PATH_OR_NAME, the folder or the name of a model" if kind in ("hf", "lm") else f"plain {kind}"
        raise ValueError(f"ai_detector: {spec!r} must be {wanted}")
    return kind, model


def make_detector(spec: str, **settings) -> Detector:
    """The detector called `spec`, its model loaded; of weights that are not replaced, once a process. `settings` are fields of
    `DetectorSettings`.

    Raises ValueError for an unknown name, a setting that does not fit it, or weights that are none (`MissingExtra` where its libraries
    are not installed, with the install line); OSError where a file cannot be read.
    """
    chosen = DetectorSettings(**settings)
    # A file may be written again between two calls; what ships does not change.
    return _make_detector(spec, chosen) if chosen.model_path else _shared_detector(spec, chosen)


def check_detector(spec: str) -> None:
    """Raises what `make_detector` raises for a bad name or missing libraries. Loads nothing."""
    kind, _ = parse_detector(spec)
    if kind in ("hf", "lm"):
        require_extra(spec, "torch")
    elif kind in ("deep", "cascade"):
        require_extra(spec, "deep")


def check_device(spec: str, device: str) -> None:
    """Raises ValueError if the detector called `spec` cannot run on `device` whatever the machine has."""
    if device != "cpu" and parse_detector(spec)[0] not in ("hf", "lm"):
        raise ValueError(f"device {device!r} does not go with {spec}: it runs on the CPU; only hf: and lm: take another device")


def require_extra(spec: str, extra: str, key: str = "ai_detector") -> None:
    """Raises `MissingExtra` unless the modules of `extra` can be imported; `key` is the setting that asked for `spec`."""
    missing = [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(f'{key} {spec} needs {" and ".join(missing)}: pip install "headwater[{extra}]"')


def detector_calibration(spec: str, path: str | None = None) -> Calibration:
    """The calibration at `path`, or the one that ships for `spec`. Loads no model.

    Raises ValueError where none ships, with the command that makes one, or where the file is none; OSError.
    """
    kind, _ = parse_detector(spec)
    if path is not None:
        return load_calibration(path)
    shipped = weights_file(SHIPPED_CALIBRATIONS[kind]) if kind in SHIPPED_CALIBRATIONS else ""
    if not os.path.exists(shipped):
        raise ValueError(
            f"no thresholds ship for the detector {spec}: make them from human text of your own, "
            f"`python -m classifiers calibrate --ai_detector {spec} --human GLOB --output calibration.json`, and give --calibration calibration.json"
        )
    return load_calibration(shipped)


def weights_file(name: str) -> str:
    """Path of a file within `classifiers/weights`, whether or not it is there."""
    return str(importlib.resources.files("classifiers") / "weights" / name)


def _make_detector(spec: str, settings: DetectorSettings) -> Detector:
    # Each imported where it is needed: a run must not load the libraries of a tier that it does not use.
    check_detector(spec)
    kind, model = parse_detector(spec)
    if settings.model_path and kind in ("hf", "lm"):
        raise ValueError(f"model_path does not go with {spec}: the name itself says which model")
    if settings.ai_label and kind != "hf":
        raise ValueError(f"ai_label = {settings.ai_label!r} does not go with {spec}: only hf: classifiers have labels")
    check_device(spec, settings.device)
    if kind == "fast":
        from classifiers.fast_model import load_model

        return load_model(settings.model_path)
    if kind == "deep":
        from classifiers.deep_encoder import load_deep

        return load_deep(settings.model_path, settings.num_threads)
    if kind == "cascade":
        from classifiers.cascade import load_cascade

        return load_cascade(settings.model_path, settings.num_threads)
    if kind == "hf":
        from classifiers.hf_classifier import load_classifier

        return load_classifier(model, settings.ai_label, settings.device, settings.num_threads)
    from classifiers.lm_detector import load_lm

    return load_lm(model, settings.device, settings.num_threads)


_shared_detector = functools.lru_cache(maxsize=4)(_make_detector)
