"""What the fast detector costs, and what each of its halves finds alone.

    python -m benchmarks.detection                                 documents per CPU-second, of the whole and of the n-gram half alone
    python -m benchmarks.detection --halves --data ../shared/data  every mixed set left out in turn: n-grams alone, fastText alone, both

Prints the command, the machine and the date with every figure. CPU time of one process; wall time is not looked at.
"""

import argparse
import datetime
import os
import platform
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from classifiers.ai_detector import AiDetectorScorer
from classifiers.hashed_ngrams import fold_line
from classifiers.labelled_text import MIXED_SETS, read_set
from classifiers.language import LanguageScorer
from classifiers.metrics import auroc, tpr_at_fpr
from classifiers.text_batch import TextBatch
from classifiers.train import TrainSettings, fit_model, fold_corpus, read_training_texts, score_texts_of, without_set

BATCH_TEXTS = 1_000
BATCHES = 10
FACTORS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Weights of fastText's log odds beside the n-grams' score."""
_IS_CANDIDATE = np.array([1, 0, *(1 for _ in FACTORS)])
"""Which rows of `compare_halves` the weight is chosen among: the n-grams alone and the sums, not fastText alone."""
WORDS = "the of and to a in is that it for was on with as be are this by at from or have an not but river stone garden engine market harbour".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=200, help="words of a text")
    parser.add_argument("--halves", action="store_true", help="what the n-grams, fastText and both find on sets not trained on")
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.detection", *sys.argv[1:]])
    print(f"$ {command}   {datetime.date.today()}   {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    if options.halves:
        compare_halves(options.data)
    else:
        measure_cost(options.words)


def measure_cost(num_words: int) -> None:
    """Documents per CPU-second of the detector (folding included), of splitting words (shared by all scorers) and of language."""
    chosen = random.Random(0)
    vocabulary = WORDS + ["".join(chosen.choices("abcdefghijklmnoprstu", k=chosen.randint(3, 9))) for _ in range(5_000)]
    batches = [TextBatch.of([_made_up(chosen, vocabulary, num_words) for _ in range(BATCH_TEXTS)]) for _ in range(BATCHES)]
    detector, language = AiDetectorScorer(), LanguageScorer()
    ngrams = replace(detector.detector, scale=detector.detector.scale * (1, 1, 1, 0), fasttext=None)
    parts = ("words", lambda batch: batch.words), ("ai_detector", detector.score), ("n-grams", ngrams.log_odds), ("language", language.score)
    for name, work in parts:
        work(batches[0])
        started = time.process_time()
        for batch in batches[1:]:
            work(batch)
        seconds = time.process_time() - started
        print(f"{name:<12} {(BATCHES - 1) * BATCH_TEXTS / seconds:>9,.0f} documents of {num_words} words per CPU-s")


def compare_halves(folder: str) -> None:
    """AUROC and TPR@1%FPR of the n-grams alone, fastText alone and both, on each left-out set, trained on the same texts.

    Then the means for other weights of fastText's log odds: how the weight was chosen.
    """
    settings = TrainSettings()
    corpus = fold_corpus(read_training_texts(folder, settings), settings.ngrams.max_words)
    figures = []
    for name in MIXED_SETS:
        left_out = [text for text in read_set(folder, name) if text.attack == "none"]
        machine = np.array([text.is_machine for text in left_out])
        model = fit_model(without_set(corpus, name, left_out), settings)
        ngrams = score_texts_of(replace(model, scale=model.scale * (1, 1, 1, 0), fasttext=None), left_out)
        fasttext = model.fasttext.log_odds([fold_line(text.text, settings.ngrams.max_words) + "\n" for text in left_out])
        rows = [ngrams, fasttext, *(ngrams + factor * fasttext for factor in FACTORS)]
        figures.append([(auroc(scores, machine), tpr_at_fpr(scores, machine, 0.01)) for scores in rows])
        print(_row(name, figures[-1], settings), flush=True)
    mean = np.mean(figures, axis=0)
    print(_row("mean", mean, settings))
    # The weight is one number chosen on these very sets; chosen on the other five each time, it is judged on a set it has not seen.
    blind = np.mean([np.array(row)[np.argmax(np.delete(figures, at, axis=0).mean(axis=0).sum(axis=1) * _IS_CANDIDATE)] for at, row in enumerate(figures)], axis=0)
    print(f"weight chosen on the other sets each time: mean {blind[0]:.4f}/{blind[1]:.3f}")
    for factor, (area, found) in zip((0.0, *FACTORS), [mean[0], *mean[2:]], strict=True):
        print(f"fasttext_factor {factor:<5} mean {area:.4f}/{found:.3f}{'   shipped' if factor == settings.fasttext_factor else ''}")


def _row(name: str, figures: Sequence[tuple[float, float]], settings: TrainSettings) -> str:
    both = figures[2 + FACTORS.index(settings.fasttext_factor)]
    cells = zip(("n-grams", "fastText", "both"), (figures[0], figures[1], both), strict=True)
    return f"{name:<14} " + "   ".join(f"{title} {area:.3f}/{found:.3f}" for title, (area, found) in cells)


def _made_up(chosen: random.Random, vocabulary: list[str], num_words: int) -> str:
    words = [chosen.choice(WORDS) if chosen.random() < 0.45 else chosen.choice(vocabulary) for _ in range(num_words)]
    return " ".join(word + ("." if at % 15 == 14 else "," if at % 15 == 7 else "") for at, word in enumerate(words))


if __name__ == "__main__":
    main()
