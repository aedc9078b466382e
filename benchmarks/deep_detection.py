"""What the deep detector finds in sets that its encoder never saw, and how that grows with the windows it was trained on.

    python -m benchmarks.deep_detection --data ../shared/data --scores DIR --sets l2r21,raidar    trains without each set; minutes to an hour a set
    python -m benchmarks.deep_detection --data ../shared/data --scores DIR                        every set, then the tables

The figure to quote is `python -m classifiers evaluate --leave_one_set_out --ai_detector deep`, whose training this repeats at several points.
What is in DIR already is not computed again, so sets can be spread over processes. Prints the command, the machine and the date.
"""

import argparse
import datetime
import hashlib
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np

from classifiers.deep_encoder import DeepSettings
from classifiers.deep_windows import DrawSettings, cut_texts, draw_windows, rows_without
from classifiers.labelled_text import MIXED_SETS, LabelledText, fraction_of, read_set
from classifiers.leave_out_deep import best_shares, measure
from classifiers.metrics import measure_separation
from classifiers.train import TrainSettings, balanced_weights, fit_scale, fold_corpus, leave_one_set_out, read_training_texts

TEST_WINDOWS = DeepSettings(max_windows=2)
"""What is scored of a left-out text: half of what the detector reads, to save time."""
FAST_FILE = "fast.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the labelled sets")
    parser.add_argument("--scores", required=True, help="folder for the scores of left-out texts")
    parser.add_argument("--sets", default=",".join(MIXED_SETS), help="sets to leave out in turn")
    parser.add_argument("--points", default="2000,4000,8000", help="windows after which left-out texts are scored; the last ends the training")
    parser.add_argument("--texts", type=int, default=500, help="human and machine texts of a left-out set that are scored, of each")
    parser.add_argument("--layers", type=int, default=4, help="layers of the encoder")
    parser.add_argument("--frozen_layers", type=int, default=2, help="layers, from below, that are not trained")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"$ python -m benchmarks.deep_detection {' '.join(sys.argv[1:])}   {datetime.date.today()}   {platform.machine()}, {os.cpu_count()} cores")
    os.makedirs(options.scores, exist_ok=True)
    names = options.sets.split(",")
    missing = [name for name in names if not os.path.exists(_scores_file(options.scores, name))]
    if missing:
        train_without(options, missing)
    if all(os.path.exists(_scores_file(options.scores, name)) for name in MIXED_SETS):
        print_tables(options.data, options.scores, options.seed)


def train_without(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Trains an encoder without each of `names` and writes both heads' log odds of that set's texts, the tuned head's at every point."""
    import torch

    from classifiers import train_deep
    from classifiers.deep_network import load_base

    torch.set_num_threads(1)
    points = [int(point) for point in options.points.split(",")]
    # Up to a third of the windows drawn are of the left-out set, or share wording with it.
    draw = DrawSettings(sequences=points[-1] * 3 // 2, seed=options.seed)
    settings = train_deep.DeepTrainSettings(draw, points[-1], layers=options.layers, frozen_layers=options.frozen_layers)
    texts = read_training_texts(options.data, TrainSettings(seed=options.seed))
    tokenizer, base = train_deep.read_tokenizer(), train_deep.base_path("model.safetensors")
    windows = draw_windows(texts, tokenizer, draw, TEST_WINDOWS)
    machine = np.array([texts[owner].is_machine for owner in windows.owners])
    states = train_deep.HiddenStates(load_base(base, settings.layers, settings.frozen_layers), windows.tokens)
    pooled = states.pooled()
    print(f"{len(states):,} windows of {len(set(windows.owners.tolist())):,} texts, {time.process_time():.0f} CPU-s", flush=True)
    for name in names:
        clean = [text for text in read_set(options.data, name) if text.attack == "none"]
        tested = choose_texts(clean, options.texts)
        label = np.array([text.is_machine for text in tested])
        cut = cut_texts(tested, tokenizer, TEST_WINDOWS)
        torch.manual_seed(settings.seed)
        encoder = load_base(base, settings.layers, settings.frozen_layers)
        tested_states = train_deep.HiddenStates(encoder, cut.tokens)
        rows = rows_without(texts, windows, clean, name)
        weights, intercept = train_deep.fit_linear(pooled[rows], machine[rows], settings.linear_ridge)
        scores = {"linear": train_deep.score_texts(tested_states.pooled() @ weights + intercept, tested_states, cut, len(tested))}
        for seen, loss, averaged in train_deep.fit(encoder, states, machine, rows[: points[-1]], settings, points):
            scores[str(seen)] = train_deep.score_texts(train_deep.score_tuned(averaged, tested_states), tested_states, cut, len(tested))
            found = "AUROC {:.3f}, TPR@1% {:.2f}".format(*measure(scores[str(seen)], label))
            print(f"without {name}: {seen:,} windows, loss {loss:.3f}: {found}; {time.process_time():.0f} CPU-s", flush=True)
        np.savez_compressed(_scores_file(options.scores, name), keys=[key_of(text) for text in tested], machine=label, **scores)


def choose_texts(texts: Sequence[LabelledText], count: int) -> list[LabelledText]:
    """`count` human and `count` machine texts, or all there are: those that hash lowest."""
    ordered = sorted(texts, key=lambda text: fraction_of(text.text, 0))
    return [text for label in (False, True) for text in [text for text in ordered if text.is_machine == label][:count]]


def key_of(text: LabelledText) -> str:
    """What finds a text again among the fast detector's scores."""
    return hashlib.blake2b(text.text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def print_tables(data: str, folder: str, seed: int) -> None:
    """AUROC and TPR@1% of each left-out set at every point: both heads, the fast detector trained without the set, and the weighed sum."""
    fast = fast_scores(data, folder, seed)
    stored = {name: dict(np.load(_scores_file(folder, name))) for name in MIXED_SETS}
    labels = {name: one["machine"] for name, one in stored.items()}
    quick = {name: np.array([fast[name, key] for key in one["keys"].tolist()]) for name, one in stored.items()}
    for point in sorted({int(key) for one in stored.values() for key in one if key.isdigit()}):
        if not all(str(point) in one for one in stored.values()):
            continue
        parts = {name: np.stack([quick[name], stored[name][str(point)], stored[name]["linear"]]) for name in MIXED_SETS}
        print(f"\n{point:,} windows (AUROC, its 95 % interval / TPR@1%)\n| left out | tuned head | linear head | fast | all three |")
        print("|---|---|---|---|---|")
        means = []
        for name in MIXED_SETS:
            shares = best_shares([(parts[other], labels[other]) for other in MIXED_SETS if other != name])
            columns = [parts[name][1], parts[name][2], parts[name][0], shares @ parts[name]]
            means.append([measure(scores, labels[name]) for scores in columns])
            print(f"| {name} | {' | '.join(_cell(scores, labels[name], seed) for scores in columns)} |")
        print("| **mean** | " + " | ".join(f"{area:.3f} / {found:.3f}" for area, found in np.mean(means, 0)) + " |")
        shares = best_shares([(parts[name], labels[name]) for name in MIXED_SETS])
        intercept, factor = fit_scale(
            np.concatenate([shares @ parts[name] for name in MIXED_SETS]), np.concatenate([labels[name] for name in MIXED_SETS]),
            np.concatenate([balanced_weights(labels[name]) for name in MIXED_SETS]),
        )  # fmt: skip
        print(f"factors over all sets: intercept {intercept:.4f}, tuned {factor * shares[1]:.4f}, linear {factor * shares[2]:.4f}, fast {factor:.4f}")


def fast_scores(data: str, folder: str, seed: int) -> Mapping[tuple[str, str], float]:
    """For (set, key of text) the fast detector's log odds when trained without the set; scaled on the other left-out sets together."""
    path = os.path.join(folder, FAST_FILE)
    if not os.path.exists(path):
        settings = TrainSettings(seed=seed)
        corpus = fold_corpus(read_training_texts(data, settings), settings.ngrams.max_words)
        rows = []
        for name, (texts, scores) in leave_one_set_out(data, settings, corpus).items():
            rows += [(name, key_of(text), float(score), text.is_machine) for text, score in zip(texts, scores, strict=True)]
        names, keys, scores, machine = (np.array(column) for column in zip(*rows, strict=True))
        weights = np.concatenate([balanced_weights(machine[names == name]) for name in dict.fromkeys(names.tolist())])
        intercept, factor = fit_scale(scores, machine, weights)
        np.savez_compressed(path, names=names, keys=keys, scores=intercept + factor * scores)
    with np.load(path) as stored:
        return {(name, key): score for name, key, score in zip(*(stored[part].tolist() for part in ("names", "keys", "scores")), strict=True)}


def _cell(scores: np.ndarray, machine: np.ndarray, seed: int) -> str:
    area, found = measure_separation(scores, machine, [0.01], repeats=200, seed=seed)
    return f"{area.value:.3f} ({area.low:.3f}-{area.high:.3f}) / {found.value:.3f}"


def _scores_file(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.npz")


if __name__ == "__main__":
    main()
