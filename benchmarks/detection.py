"""What every tier of the detector costs, and what each half of the fast one finds alone.

    python -m benchmarks.detection --data ../shared/data                    documents per CPU-second of every tier that ships, and their ratios
    python -m benchmarks.detection --detectors fast,lm:MODEL.gguf           the same of other detectors
    python -m benchmarks.detection --readme benchmarks/README.md            the same, and writes the table there
    python -m benchmarks.detection --halves                                 every mixed set left out in turn: n-grams alone, fastText alone, both

CPU time of one process, one thread a tier; wall time is not looked at. All tiers take turns on texts of one pool: beginnings of held-out
labelled texts, of every set as many and half of them machine-written, as is the pool that the cascade's band was chosen on. What goes deep
depends on the text.
"""

import argparse
import datetime
import itertools
import os
import platform
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import orjson

from classifiers.detectors import MissingExtra, make_detector
from classifiers.hashed_ngrams import fold_line
from classifiers.labelled_text import MIXED_SETS, fraction_of, read_set
from classifiers.language import LanguageScorer
from classifiers.metrics import auroc, tpr_at_fpr
from classifiers.text_batch import TextBatch
from classifiers.train import TrainSettings, fit_model, fold_corpus, is_held_out, read_training_texts, score_texts_of, without_set

TIERS = ("fast", "deep", "cascade")
"""Tiers that ship; those that are not installed are named and left out."""
TEXTS = {"fast": 4_000, "deep": 60, "cascade": 1_000}
"""Texts that each tier scores in a round: one to three CPU-seconds of each."""
OTHER_TEXTS = 4
"""Texts of a round that any other detector scores: a language model takes about a second for each."""
POOL_TEXTS = 1_300
"""Texts of the pool, about: as many as every set has of both sides."""
ROUNDS = 5
"""All tiers take turns so often."""
WORDS = 200
GOALS = {"fast": 5_000.0, "cascade to deep": 10.0}
"""Documents per CPU-second, and times as many, that a release should reach."""
SECTION = "## The detector's tiers"
"""Heading of the part of the page that `--readme` writes anew."""
FACTORS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Weights of fastText's log odds beside the n-grams' score."""
_IS_CANDIDATE = np.array([1, 0, *(1 for _ in FACTORS)])
"""Which rows of `compare_halves` the weight is chosen among: the n-grams alone and the sums, not fastText alone."""
_COMMON = (
    "the of and to a in is that it for was on with as be are this by at from or have an not but river stone garden engine market harbour".split()
)


@dataclass(frozen=True)
class Cost:
    """What one part took over all rounds."""

    part: str
    """A tier, or what comes before it."""
    texts: int
    """Texts scored."""
    cpu_s: float
    """CPU-seconds of this process."""
    low: float
    """Documents per CPU-second in the slowest round."""
    high: float
    """In the fastest."""
    deep_share: float | None = None
    """Of a cascade: share of the texts that went deep."""

    @property
    def per_cpu_s(self) -> float:
        """Documents per CPU-second."""
        return self.texts / self.cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", default=",".join(TIERS), help="names of detectors, with commas")
    parser.add_argument("--words", type=int, default=WORDS, help="words of a text")
    parser.add_argument("--texts", type=int, default=POOL_TEXTS, help="texts of the pool, at most")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often the tiers take turns")
    parser.add_argument("--json", default="", help="file for the figures")
    parser.add_argument("--readme", default="", help=f"page whose part {SECTION!r} is written anew")
    parser.add_argument("--halves", action="store_true", help="what the n-grams, fastText and both find on sets not trained on")
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    options = parser.parse_args()
    command = " ".join(["python -m benchmarks.detection", *sys.argv[1:]])
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"$ {command}   {datetime.date.today()}   {machine}")
    if options.halves:
        compare_halves(options.data)
        return
    pool = read_pool(options.data, options.words, options.texts)
    costs = measure_cost(pool, options.rounds, options.detectors.split(","))
    lines = cost_table(costs, options.words)
    print("\n".join(lines))
    if options.json:
        figures = {"command": command, "machine": machine, "words": options.words, "parts": [asdict(cost) for cost in costs], "ratios": ratios(costs)}
        with open(options.json, "wb") as file:
            file.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
    if options.readme:
        write_section(options.readme, [f"`{command}`, {datetime.date.today()}, {machine}:", "", *lines])


def read_pool(folder: str, num_words: int, num_texts: int = POOL_TEXTS, sets: Sequence[str] = MIXED_SETS) -> list[str]:
    """Beginnings, of `num_words` words, of held-out clean texts: as many of each of `sets` and each side, where it has them, and at most
    `num_texts`, in an order that the texts alone decide.

    Raises FileNotFoundError for a set that is missing.
    """
    quota = max(1, num_texts // (2 * len(sets)))
    pool = []
    for name in sets:
        texts = [text for text in read_set(folder, name, num_words) if text.attack == "none" and is_held_out(text)]
        texts.sort(key=lambda text: fraction_of(text.text, 5))
        sides = [[" ".join(text.text.split()[:num_words]) for text in texts if text.is_machine is side][:quota] for side in (False, True)]
        pool += [text for pair in zip(*sides, strict=False) for text in pair]
    return sorted(pool, key=lambda text: fraction_of(text, 6))


def made_up_pool(num_texts: int, num_words: int) -> list[str]:
    """As many made-up texts: for a try without labelled text. What goes deep in a cascade means nothing for them."""
    chosen = random.Random(0)
    vocabulary = _COMMON + ["".join(chosen.choices("abcdefghijklmnoprstu", k=chosen.randint(3, 9))) for _ in range(5_000)]
    return [_made_up(chosen, vocabulary, num_words) for _ in range(num_texts)]


def measure_cost(pool: Sequence[str], rounds: int, detectors: Sequence[str] = TIERS, texts: dict[str, int] | None = None) -> list[Cost]:
    """Cost of splitting words and of language (for comparison), and of every one of `detectors` that is installed, with the words already split.

    Each round takes other texts of `pool`, from its beginning again when it ends; `texts` replaces `TEXTS`.
    """
    texts = texts or TEXTS
    language = LanguageScorer()
    parts: dict[str, Callable[[TextBatch], object]] = {"splitting words": lambda batch: batch.words, "language": language.score}
    cascade = None
    for tier in detectors:
        try:
            detector = make_detector(tier, num_threads=1)
        except (MissingExtra, ValueError, OSError) as error:
            print(f"{tier}: left out, {error}")
            continue
        parts[tier] = detector.log_odds
        cascade = detector if tier == "cascade" else cascade
    sizes = {part: texts.get(part, OTHER_TEXTS if part in detectors else texts["fast"]) for part in parts}
    supply = itertools.cycle(pool)
    seconds: dict[str, list[float]] = {part: [] for part in parts}
    for turn in range(rounds + 1):
        for part, work in parts.items():
            batch = TextBatch.of(list(itertools.islice(supply, sizes[part] if turn else min(sizes[part], 8))))
            if part != "splitting words":
                _ = batch.words
            started = time.process_time()
            work(batch)
            if turn:  # the first turn warms up
                seconds[part].append(time.process_time() - started)
            elif part == "cascade":
                cascade.take_work()
    work = cascade.take_work() if cascade else None
    return [
        Cost(part, rounds * sizes[part], sum(took), sizes[part] / max(took), sizes[part] / min(took), work.deep_share if part == "cascade" else None)
        for part, took in seconds.items()
    ]


def ratios(costs: Sequence[Cost]) -> dict[str, float]:
    """How many times as fast one tier is as another, of those measured."""
    speed = {cost.part: cost.per_cpu_s for cost in costs}
    pairs = (("fast", "deep"), ("cascade", "deep"), ("fast", "cascade"))
    return {f"{one} to {other}": speed[one] / speed[other] for one, other in pairs if one in speed and other in speed}


def cost_table(costs: Sequence[Cost], num_words: int) -> list[str]:
    """The table of all parts in Markdown, and a sentence for each ratio and each goal."""
    lines = [f"| {num_words} words | documents per CPU-s | slowest to fastest round | went deep |", "|---|---:|---:|---:|"]
    for cost in costs:
        deep = "" if cost.deep_share is None else f"{cost.deep_share:.1%}".replace("%", " %")
        lines.append(f"| {cost.part} | {_digits(cost.per_cpu_s)} | {_digits(cost.low)} to {_digits(cost.high)} | {deep} |")
    found = ratios(costs) | {cost.part: cost.per_cpu_s for cost in costs}
    lines += ["", *(f"* {name}: {value:,.1f} times as many." for name, value in ratios(costs).items())]
    lines += [
        f"* Goal for {name}: {goal:,.0f}, {'reached' if found[name] >= goal else 'not reached'}." for name, goal in GOALS.items() if name in found
    ]
    return lines


def write_section(path: str, lines: Sequence[str]) -> None:
    """Writes `lines` below the heading `SECTION` of the page at `path`, up to the next heading of its level; appends it where it is missing."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    section = "\n".join([SECTION, "", *lines, "", ""])
    found = re.search(rf"^{re.escape(SECTION)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    text = text[: found.start()] + section + text[found.end() :] if found else f"{text.rstrip()}\n\n{section}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.rstrip() + "\n")


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


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
    blind = np.mean(
        [np.array(row)[np.argmax(np.delete(figures, at, axis=0).mean(axis=0).sum(axis=1) * _IS_CANDIDATE)] for at, row in enumerate(figures)], axis=0
    )
    print(f"weight chosen on the other sets each time: mean {blind[0]:.4f}/{blind[1]:.3f}")
    for factor, (area, found) in zip((0.0, *FACTORS), [mean[0], *mean[2:]], strict=True):
        print(f"fasttext_factor {factor:<5} mean {area:.4f}/{found:.3f}{'   shipped' if factor == settings.fasttext_factor else ''}")


def _row(name: str, figures: Sequence[tuple[float, float]], settings: TrainSettings) -> str:
    both = figures[2 + FACTORS.index(settings.fasttext_factor)]
    cells = zip(("n-grams", "fastText", "both"), (figures[0], figures[1], both), strict=True)
    return f"{name:<14} " + "   ".join(f"{title} {area:.3f}/{found:.3f}" for title, (area, found) in cells)


def _made_up(chosen: random.Random, vocabulary: Sequence[str], num_words: int) -> str:
    words = [chosen.choice(_COMMON) if chosen.random() < 0.45 else chosen.choice(vocabulary) for _ in range(num_words)]
    return " ".join(word + ("." if at % 15 == 14 else "," if at % 15 == 7 else "") for at, word in enumerate(words))


if __name__ == "__main__":
    main()
