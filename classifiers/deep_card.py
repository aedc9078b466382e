"""The part of the deep detector's card that its training writes: what it was made of and with what, so that it can be made again."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from classifiers.calibration import Calibration

CARD_FILE = "MODEL_CARD.md"
"""Within the detector's folder."""
SECTION = "## How this one was made"
"""Heading of the part that training writes; what stands beside it in a card is left as it is."""


@dataclass(frozen=True)
class Training:
    """What one training of the encoder was."""

    command: str
    """The command that makes it again."""
    texts: int
    """Texts that could be trained on."""
    windows: int
    """Windows that the linear head was fitted to."""
    tuned_windows: int
    """Those of them that the upper layers were trained on."""
    windows_by_set: Mapping[str, tuple[int, int]]
    """Human and machine windows of each set."""
    losses: Sequence[tuple[int, float]]
    """Windows seen and the mean loss since the last such point."""
    cpu_s: float
    """CPU-seconds of the training, from reading the sets to the written file."""


def card_section(folder: str, training: Training, version: str, calibration: Calibration | None = None) -> list[str]:
    """Lines of the section for the detector in `folder`, whose files must be there."""
    lines = [
        f"    {training.command}",
        "",
        f"made version `{version}` in {training.cpu_s:,.0f} CPU-seconds, without its thresholds: {training.windows:,} windows of {training.texts:,} texts for the "
        f"linear head, the first {training.tuned_windows:,} of them for the tuned one.",
        "Loss of the tuned head after so many windows: " + ", ".join(f"{loss:.3f} ({seen:,})" for seen, loss in training.losses) + ".",
        "",
        "| set | human windows | machine windows |",
        "|---|---:|---:|",
        *(f"| {name} | {human:,} | {machine:,} |" for name, (human, machine) in training.windows_by_set.items()),
        "",
        "| file | bytes | blake2b-128 |",
        "|---|---:|---|",
    ]
    for name in sorted(os.listdir(folder)):
        if name != CARD_FILE:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            lines.append(f"| {name} | {len(content):,} | {hashlib.blake2b(content, digest_size=16).hexdigest()} |")
    if calibration:
        lines += [
            "",
            f"Thresholds: digest `{calibration.digest}`, from {sum(calibration.counts):,} held-out human texts of {len(calibration.sources)} sets.",
        ]
    return lines


def write_card(folder: str, training: Training, version: str, calibration: Calibration | None = None) -> None:
    """Writes the section into the card in `folder`: in place of the one that stands there, else at its end; a card that is missing begins with it."""
    path = os.path.join(folder, CARD_FILE)
    text = "# Model card: deep detector\n\nWhat it finds and whom it flags: `python -m classifiers evaluate --ai_detector deep --data DATA`.\n"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
    section = "\n".join([SECTION, "", *card_section(folder, training, version, calibration), "", ""])
    found = re.search(rf"^{re.escape(SECTION)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    text = text[: found.start()] + section + text[found.end() :] if found else f"{text.rstrip()}\n\n{section}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.rstrip() + "\n")
