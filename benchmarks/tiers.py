"""What each tier of the detector costs: documents of 200 words per CPU-second, all in one run on the same texts.

    python -m benchmarks.tiers --data ../shared/data                                     fast, deep and cascade
    python -m benchmarks.tiers --data ../shared/data --detectors fast,lm:MODEL.gguf      others, with fewer texts for the slow ones

The texts are the first 200 words of held-out text of the labelled sets, half of it machine-written, all sets alike: the pool that the cascade's
band was chosen on. The tiers take turns, and a tier's figure is the median of its turns. CPU time of one process; wall time is not looked at.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from classifiers.ai_detector import AiDetectorScorer
from classifiers.labelled_text import MIXED_SETS, fraction_of, read_set
from classifiers.text_batch import TextBatch
from classifiers.train import is_held_out

TURNS = 3
BATCH_TEXTS = 200
SECONDS_A_TURN = 20.0
"""CPU seconds after which a tier's turn ends with the batch it is at."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    parser.add_argument("--detectors", default="fast,deep,cascade", help="names of detectors, with commas")
    parser.add_argument("--words", type=int, default=200, help="words of a text")
    parser.add_argument("--texts", type=int, default=2_000, help="texts, at most")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.tiers", *sys.argv[1:]])
    print(f"$ {command}   {datetime.date.today()}   {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    texts = read_texts(options.data, options.words, options.texts)
    measure_tiers({name: AiDetectorScorer(name) for name in options.detectors.split(",")}, texts, options.words)


def read_texts(folder: str, num_words: int, num_texts: int, sets: Sequence[str] = MIXED_SETS) -> list[str]:
    """Beginnings of held-out texts of at least `num_words` words, as many of each set and side, in an order that the texts alone decide."""
    quota = max(1, num_texts // (2 * len(sets)))
    chosen = []
    for name in sets:
        found = [text for text in read_set(folder, name) if text.attack == "none" and is_held_out(text) and len(text.text.split()) >= num_words]
        found.sort(key=lambda text: fraction_of(text.text, 5))
        for side in (False, True):
            chosen += [" ".join(text.text.split()[:num_words]) for text in found if text.is_machine is side][:quota]
    return sorted(chosen, key=lambda text: fraction_of(text, 6))


def measure_tiers(
    scorers: dict[str, AiDetectorScorer], texts: Sequence[str], num_words: int, seconds_a_turn: float = SECONDS_A_TURN
) -> dict[str, float]:
    """Documents per CPU-second of each scorer, printed with its ratio to `deep` and, of a cascade, what went deep."""
    rates: dict[str, list[float]] = {name: [] for name in scorers}
    batches = [list(texts[start : start + BATCH_TEXTS]) for start in range(0, len(texts), BATCH_TEXTS)]
    for scorer in scorers.values():
        scorer.score(TextBatch.of(batches[0][:4]))
        scorer.take_work()
    for _ in range(TURNS):
        for name, scorer in scorers.items():
            done, spent = 0, 0.0
            while spent < seconds_a_turn:
                for batch in batches:
                    began = time.process_time()
                    scorer.score(TextBatch.of(batch))
                    spent += time.process_time() - began
                    done += len(batch)
                    if spent >= seconds_a_turn:
                        break
                if done >= len(texts):
                    break
            rates[name].append(done / max(spent, 1e-9))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    print(f"{len(texts):,} texts of {num_words} words, {TURNS} turns each")
    for name, scorer in scorers.items():
        work = scorer.take_work()
        deep = f"   {medians[name] / medians['deep']:7.1f} times deep" if "deep" in medians else ""
        share = f"   {work.deep_share:.1%} went deep, {work.fast_cpu_s:.2f} + {work.deep_cpu_s:.2f} CPU-s" if work else ""
        spread = (
            f"{np.min(rates[name]):,.0f} to {np.max(rates[name]):,.0f}"
            if medians[name] >= 100
            else f"{np.min(rates[name]):,.2f} to {np.max(rates[name]):,.2f}"
        )
        print(f"{name:<12} {medians[name]:>10,.1f} documents per CPU-s ({spread}){deep}{share}")
    return medians


if __name__ == "__main__":
    main()
