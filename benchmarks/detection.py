"""What the fast detector costs, and what fastText itself makes of the same training texts.

    python -m benchmarks.detection                                   documents per CPU-second
    python -m benchmarks.detection --fasttext --data ../shared/data  every mixed set left out in turn, fastText against ours

Prints the command, the machine and the date with every figure. CPU time of one process; wall time is not looked at.
"""

import argparse
import datetime
import os
import platform
import random
import sys
import tempfile
import time

import numpy as np

from classifiers.ai_detector import AiDetectorScorer
from classifiers.language import LanguageScorer
from classifiers.text_batch import TextBatch

BATCH_TEXTS = 1_000
BATCHES = 10
WORDS = "the of and to a in is that it for was on with as be are this by at from or have an not but river stone garden engine market harbour".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=200, help="words of a text")
    parser.add_argument("--fasttext", action="store_true", help="train fastText on the same texts and compare")
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.detection", *sys.argv[1:]])
    print(f"$ {command}   {datetime.date.today()}   {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    if options.fasttext:
        compare_with_fasttext(options.data)
    else:
        measure_cost(options.words)


def measure_cost(num_words: int) -> None:
    """Documents per CPU-second of the detector (folding included), of splitting words (shared by all scorers) and of language."""
    chosen = random.Random(0)
    vocabulary = WORDS + ["".join(chosen.choices("abcdefghijklmnoprstu", k=chosen.randint(3, 9))) for _ in range(5_000)]
    batches = [TextBatch.of([_made_up(chosen, vocabulary, num_words) for _ in range(BATCH_TEXTS)]) for _ in range(BATCHES)]
    detector, language = AiDetectorScorer(), LanguageScorer()
    for name, work in (("words", lambda batch: batch.words), ("ai_detector", detector.score), ("language", language.score)):
        work(batches[0])
        started = time.process_time()
        for batch in batches[1:]:
            work(batch)
        seconds = time.process_time() - started
        print(f"{name:<12} {(BATCHES - 1) * BATCH_TEXTS / seconds:>9,.0f} documents of {num_words} words per CPU-s")


def compare_with_fasttext(folder: str) -> None:
    """AUROC and TPR@1%FPR of both on each left-out set, trained on the same folded texts."""
    import fasttext

    from classifiers.evaluate import _score
    from classifiers.fold_marks import fold_marks
    from classifiers.labelled_text import MIXED_SETS, read_set
    from classifiers.metrics import auroc, tpr_at_fpr
    from classifiers.train import TrainSettings, fit_weights, fold_corpus, quantise, read_training_texts, without_set

    settings = TrainSettings()
    corpus = fold_corpus(read_training_texts(folder, settings), settings.ngrams.max_words)
    figures = []
    for name in MIXED_SETS:
        left_out = [text for text in read_set(folder, name) if text.attack == "none"]
        machine = np.array([text.is_machine for text in left_out])
        part = without_set(corpus, name, left_out)
        fitted, common = fit_weights(part, settings)
        ours = _score(quantise(fitted, common, settings), left_out)[0]
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            order = random.Random(0).sample(range(len(part.texts)), len(part.texts))
            file.writelines(f"__label__{int(part.texts[i].is_machine)} {fold_marks(part.texts[i].text)}\n" for i in order)
            file.flush()
            model = fasttext.train_supervised(file.name, dim=16, epoch=5, lr=0.3, wordNgrams=3, bucket=1_000_000, minCount=3, thread=1, seed=0, verbose=0)
        answers = model.f.multilinePredict([fold_marks(text.text) + "\n" for text in left_out], 2, 0.0, "strict")
        theirs = np.array([dict(zip(labels, odds, strict=True))["__label__1"] for odds, labels in zip(*_by_text(answers), strict=True)])
        row = [auroc(ours, machine), tpr_at_fpr(ours, machine, 0.01), auroc(theirs, machine), tpr_at_fpr(theirs, machine, 0.01)]
        figures.append(row)
        print(f"{name:<14} ours {row[0]:.3f}/{row[1]:.2f}   fastText {row[2]:.3f}/{row[3]:.2f}", flush=True)
    mean = np.mean(figures, axis=0)
    print(f"{'mean':<14} ours {mean[0]:.3f}/{mean[1]:.2f}   fastText {mean[2]:.3f}/{mean[3]:.2f}")


def _by_text(answers: tuple) -> tuple[list, list]:
    """fastText's answer as (probabilities of each text, labels of each text), whichever comes first."""
    first, second = answers
    return (first, second) if not isinstance(first[0][0], str) else (second, first)


def _made_up(chosen: random.Random, vocabulary: list[str], num_words: int) -> str:
    words = [chosen.choice(WORDS) if chosen.random() < 0.45 else chosen.choice(vocabulary) for _ in range(num_words)]
    return " ".join(word + ("." if at % 15 == 14 else "," if at % 15 == 7 else "") for at, word in enumerate(words))


if __name__ == "__main__":
    main()
