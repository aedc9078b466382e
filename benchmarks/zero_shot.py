"""How well a causal language model alone tells machine text from human text: each measure of `lm:` by itself, set by set.

    python -m benchmarks.zero_shot --data ../shared/data --model SmolLM2-135M-Instruct.Q4_1.gguf --tokens 128

AUROC over 100 human and 100 machine texts of each set, chosen by a hash of the text; documents per CPU-second of one thread.
"""

import argparse
import datetime
import os
import platform
import sys
import time

import numpy as np
import pyarrow as pa

from classifiers import lm_detector
from classifiers.labelled_text import LabelledText, fraction_of, read_set
from classifiers.metrics import auroc

SETS = ("detectrl", "l2r21", "raidar", "outfox")
MIN_WORDS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    parser.add_argument("--model", required=True, help="what stands behind lm:")
    parser.add_argument("--tokens", type=int, default=lm_detector.MAX_TOKENS, help="tokens of a text that are read")
    parser.add_argument("--texts", type=int, default=100, help="texts of each set and side")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.zero_shot", *sys.argv[1:]])
    print(f"$ {command}   {datetime.date.today()}   {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    lm_detector.MAX_TOKENS = options.tokens
    detector = lm_detector.load_lm(options.model)
    for name in SETS:
        print(measure_set(name, choose_texts(options.data, name, options.texts), detector), flush=True)


def choose_texts(folder: str, name: str, texts_a_side: int) -> list[LabelledText]:
    """Clean texts of a set, human ones first, as many of each side."""
    texts = [text for text in read_set(folder, name) if text.attack == "none" and len(text.text.split()) >= MIN_WORDS]
    texts.sort(key=lambda text: fraction_of(text.text, 3))
    return [text for side in (False, True) for text in [one for one in texts if one.is_machine is side][:texts_a_side]]


def measure_set(name: str, texts: list[LabelledText], detector: lm_detector.LmDetector) -> str:
    """One line: AUROC of each measure and of the log odds made from them, and the speed."""
    machine = np.array([text.is_machine for text in texts])
    began = time.process_time()
    measured = detector.measure(pa.array([text.text for text in texts]))
    seconds = time.process_time() - began
    columns = [*measured.T, detector.odds_of(measured)]
    titles = ("curvature", "log rank", "both") if len(columns) == 3 else ("Binoculars", "log odds")
    figures = "   ".join(f"{title} {auroc(column, machine):.3f}" for title, column in zip(titles, columns, strict=True))
    return f"{name:<12} AUROC {figures}   {len(texts) / max(seconds, 1e-9):.2f} documents per CPU-s"


if __name__ == "__main__":
    main()
