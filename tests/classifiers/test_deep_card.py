"""The card's section that training writes: complete, replaced and not repeated, and nothing else of the card touched."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.calibration import DEFAULT_EDGES, RATES, Calibration
from classifiers.deep_card import CARD_FILE, SECTION, Training, card_section, write_card
from classifiers.detectors import weights_file

TRAINING = Training("python -m classifiers train --steps 2", 59_223, 96, 32, {"web": (30, 26), "imdb": (40, 0)}, [(16, 0.61234), (32, 0.5)], 1_234.5)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"model" * 300)
    (tmp_path / "settings.json").write_bytes(b"{}")
    return tmp_path


def test_the_section_names_command_version_windows_losses_and_files(folder):
    section = "\n".join(card_section(str(folder), TRAINING, "deep-0123"))
    assert "    python -m classifiers train --steps 2" in section and "`deep-0123` in 1,234 CPU-seconds" in section
    assert "96 windows of 59,223 texts" in section and "the first 32 of them" in section
    assert "0.612 (16), 0.500 (32)" in section
    assert "| web | 30 | 26 |" in section and "| imdb | 40 | 0 |" in section
    digest = hashlib.blake2b(b"model" * 300, digest_size=16).hexdigest()
    assert f"| model.onnx | 1,500 | {digest} |" in section and "| settings.json | 2 |" in section


def test_thresholds_are_told_by_their_digest(folder):
    calibration = Calibration(
        "deep-0123", DEFAULT_EDGES, (10, 20, 30, 40), RATES, tuple((float("nan"),) * len(RATES) for _ in DEFAULT_EDGES), ("a", "b")
    )
    write_card(str(folder), TRAINING, "deep-0123", calibration)
    card = (folder / CARD_FILE).read_text()
    assert f"digest `{calibration.digest}`, from 100 held-out human texts of 2 sets" in card


def test_a_missing_card_begins_with_the_section_and_says_where_figures_come_from(folder):
    write_card(str(folder), TRAINING, "deep-0123")
    card = (folder / CARD_FILE).read_text()
    assert card.startswith("# Model card: deep detector\n") and "python -m classifiers evaluate" in card and card.count(SECTION) == 1
    assert f"| {CARD_FILE} |" not in card


@given(st.text("ab#\n ", max_size=40), st.text("cd \n", max_size=40))
def test_writing_twice_replaces_the_section_and_keeps_the_rest(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("card")
    path = folder / CARD_FILE
    path.write_text(f"# Card\n{before}\n\n{SECTION}\n\nold text\n\n## Limits\n\n{after}end\n")
    write_card(str(folder), TRAINING, "deep-1")
    first = path.read_text()
    assert first.startswith(f"# Card\n{before}\n") and first.endswith(f"## Limits\n\n{after}end\n") and "old text" not in first
    write_card(str(folder), TRAINING, "deep-1")
    assert path.read_text() == first
    write_card(str(folder), TRAINING, "deep-2")
    assert path.read_text() == first.replace("deep-1", "deep-2")


def test_the_shipped_card_names_files_that_ship_as_they_are():
    with open(weights_file("deep/MODEL_CARD.md"), encoding="utf-8") as file:
        card = file.read()
    for name, size, digest in re.findall(r"^\| ([\w.]+) \| ([\d,]+) \| ([0-9a-f]{32}) \|$", card, re.MULTILINE):
        with open(weights_file(f"deep/{name}"), "rb") as file:
            content = file.read()
        assert (f"{len(content):,}", hashlib.blake2b(content, digest_size=16).hexdigest()) == (size, digest)
