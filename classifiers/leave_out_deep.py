"""Leaving one set out for the deep detector and the cascade: both of its halves trained on all sets but one, and tested on that one.

Training the encoder takes minutes a set, so what it says of the texts left out is kept in a folder, and a run that was stopped goes on where
it was. The weights of the three log odds (two heads and the fast detector), their scale, and the cascade's band are chosen on the other
left-out sets each time: nothing is fitted to the set that is judged.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from classifiers.ai_detector import probability_of
from classifiers.cascade import CascadeSettings
from classifiers.deep_encoder import DeepSettings, require_training
from classifiers.deep_windows import cut_texts, draw_windows, rows_without
from classifiers.evaluate import (
    FORMAT_TEXTS,
    FormatBaseline,
    ScoredSet,
    attack_table,
    clean_texts,
    generator_table,
    limit_texts,
    reliability_tables,
    score_texts,
    separation_table,
)
from classifiers.fit_cascade import MAX_DEEP_SHARE, PairedOdds, cascade_odds, fit_cascade
from classifiers.labelled_text import HUMAN_SETS, MIXED_SETS, LabelledText, read_labelled, read_set
from classifiers.metrics import auroc, tpr_at_fpr
from classifiers.train import GENERATED_SET, TrainSettings, balanced_weights, fit_model, fit_scale, fold_corpus, read_training_texts, without_set

TEXTS = 250
"""Clean texts of one left-out set and label that are scored, at most, unless told otherwise."""
ATTACKED_SHARE = 0.2
"""Texts of one attack that are scored, as a share of that."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)
"""Weights of a head's log odds beside the fast detector's that are tried."""


@dataclass(frozen=True)
class FoldSettings:
    """How sets are left out of the deep detector's training."""

    steps: int = 250
    """Steps of 16 windows that the upper layers are trained for; as many as the shipped encoder's."""
    max_texts: int = TEXTS
    """Clean texts of a left-out set and label that are scored, at most."""
    seed: int = 0
    """Of both detectors' training."""
    generated: str = ""
    """File of machine texts of our own that the fast detector is trained on too (`classifiers.generate`); empty: none."""

    def __post_init__(self):
        for key, low in (("steps", 1), ("max_texts", 10), ("seed", 0)):
            if getattr(self, key) < low:
                raise ValueError(f"{key} must be at least {low}, not {getattr(self, key)}")


@dataclass(frozen=True, eq=False)
class Fold:
    """What detectors trained without one set say of its texts."""

    texts: Sequence[LabelledText]
    """Texts of the set, clean ones and machine text under attack."""
    words: np.ndarray
    """int32[n]."""
    abstained: np.ndarray
    """bool[n]: whether the fast detector, and so the deep one, declines."""
    odds: np.ndarray
    """float64[3, n]: log odds of the fast detector (not yet scaled), of the tuned and of the linear head."""

    @property
    def machine(self) -> np.ndarray:
        """bool[n]: whether a model wrote the text."""
        return np.array([text.is_machine for text in self.texts], bool)

    @property
    def clean(self) -> np.ndarray:
        """bool[n]: whether nobody disguised it."""
        return np.array([text.attack == "none" for text in self.texts], bool)

    def scored(self, odds: np.ndarray) -> ScoredSet:
        """The texts with `odds` (float64[n]) as a detector's log odds."""
        return ScoredSet(self.texts, odds, np.where(self.abstained, np.float32(np.nan), probability_of(odds)), self.words)


def evaluate_deep_leaving_sets_out(
    folder: str,
    kind: str,
    folds_folder: str,
    settings: FoldSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    max_deep_share: float = MAX_DEEP_SHARE,
    report: Callable[[str], None] = lambda _: None,
) -> dict:
    """A report as `classifiers.evaluate.evaluate` gives for `kind` (`deep` or `cascade`), when each mixed set in turn is left out.

    It holds no thresholds: too few texts are scored for them (`calibrate --by_turns` judges those that ship). Scores go to `folds_folder`;
    those that lie there are not computed again. Raises ValueError for fewer than two mixed sets, or scores of other settings;
    FileNotFoundError for a set that is missing; `MissingExtra` where something must be trained and torch is missing.
    """
    names = [name for name in sets if name in MIXED_SETS]
    if len(names) < 2:
        raise ValueError(f"leaving one set out takes at least two sets of human and machine text, not {len(names)}")
    folds = read_folds(folder, folds_folder, settings, sets, report)
    odds = {name: judge_fold(name, folds, kind, max_deep_share) for name in names}
    scored = {name: folds[name].scored(odds[name]) for name in names}
    clean = clean_texts(scored)
    quick = clean_texts({name: folds[name].scored(folds[name].odds[0]) for name in names})
    baseline = FormatBaseline([text for one in clean.values() for text in limit_texts(one.texts, FORMAT_TEXTS)])
    none, seed = dict.fromkeys(names), settings.seed
    rows = separation_table(clean, none, seed, baseline, left_out=True)
    alone = separation_table(quick, none, seed, baseline, left_out=True)
    for name in rows:
        rows[name] |= {f"fast {key}": alone[name][key] for key in ("AUROC", "TPR@1%")}
    return {
        "about": {
            "detector": f"{kind}, trained again without the set of each row ({settings.steps} steps)",
            "texts": f"of each set at most {settings.max_texts} of a label, {int(settings.max_texts * ATTACKED_SHARE)} of an attack",
            "thresholds": "none",
        },
        "sets": rows,
        "generators": generator_table(clean, none, seed),
        "attacks": attack_table(scored, none, seed),
        **reliability_tables(clean),
    }


def judge_fold(name: str, folds: Mapping[str, Fold], kind: str, max_deep_share: float = MAX_DEEP_SHARE) -> np.ndarray:
    """Log odds (float64[n]) of the texts of the fold `name` by the `deep` detector or the `cascade`, whose weights, scale and band come from
    the clean texts of all other folds."""
    others = {other: fold for other, fold in folds.items() if other != name}
    fast = _scale({one: fold.odds[0] for one, fold in folds.items()}, others)
    parts = {one: np.stack([fast[one], *fold.odds[1:]]) for one, fold in folds.items()}
    shares = best_shares([(parts[other][:, fold.clean], fold.machine[fold.clean]) for other, fold in others.items()])
    deep = _scale({one: shares @ part for one, part in parts.items()}, others)
    if kind == "deep":
        return deep[name]
    used = {other: fold.clean & ~fold.abstained for other, fold in others.items()}
    pairs = PairedOdds(
        np.concatenate([fast[other][chosen] for other, chosen in used.items()]),
        np.concatenate([deep[other][chosen] for other, chosen in used.items()]),
        np.concatenate([others[other].machine[chosen] for other, chosen in used.items()]),
        np.concatenate([np.full(int(chosen.sum()), number) for number, chosen in enumerate(used.values())]),
    )
    band: CascadeSettings = fit_cascade(pairs, "fast", "deep", max_deep_share)
    fold = folds[name]
    return cascade_odds(PairedOdds(fast[name], deep[name], fold.machine, np.zeros(len(fold.texts), np.int64)), band)


def best_shares(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """float64[3]: weights of the fast detector (1), the tuned and the linear head (of `SHARES`) whose sum has the highest mean of AUROC
    and TPR@1% over `parts`, each the three log odds (float64[3, n]) and the labels of one set. Of equal sums the first."""
    candidates = [np.array([1.0, tuned, linear]) for tuned in SHARES for linear in SHARES]
    return max(candidates, key=lambda shares: np.mean([measure(shares @ odds, label) for odds, label in parts]))


def measure(scores: np.ndarray, machine: np.ndarray) -> tuple[float, float]:
    """AUROC and TPR@1%."""
    return auroc(scores, machine), tpr_at_fpr(scores, machine, 0.01)


def read_folds(
    folder: str,
    folds_folder: str,
    settings: FoldSettings,
    sets: Sequence[str] = MIXED_SETS + HUMAN_SETS,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Fold]:
    """A fold for each mixed set of `sets`; what `folds_folder` does not hold is trained, scored and written there, set by set."""
    os.makedirs(folds_folder, exist_ok=True)
    names = [name for name in sets if name in MIXED_SETS]
    texts = {name: choose_texts(read_set(folder, name), settings.max_texts) for name in names}
    fast_settings = TrainSettings(seed=settings.seed)
    # The encoder does not depend on how the fast detector is trained: a new one of those costs its own training alone.
    about = {
        "fast": {
            "max_texts": settings.max_texts,
            "sets": list(sets),
            "trained": repr(fast_settings),
            "generated": digest_of_file(settings.generated),
        },
        "encoder": {"steps": settings.steps, "max_texts": settings.max_texts, "seed": settings.seed, "sets": list(sets)},
    }
    missing = {half: [name for name in names if not _is_there(_file(folds_folder, half, name), of_half)] for half, of_half in about.items()}
    if missing["encoder"]:
        require_training()
    if missing["fast"] or missing["encoder"]:
        training = read_training_texts(folder, fast_settings, sets)
    if missing["fast"]:
        own = read_labelled(settings.generated, GENERATED_SET) if settings.generated else []
        corpus = fold_corpus([*training, *own], fast_settings.ngrams.max_words)
        for name in missing["fast"]:
            # All of a set is left out, also what is not scored.
            model = fit_model(without_set(corpus, name, read_set(folder, name)), fast_settings)
            one = score_texts(model, texts[name])
            _write(_file(folds_folder, "fast", name), about["fast"], odds=one.odds, words=one.words, abstained=np.isnan(one.probability))
            report(f"fast detector without {name}: {_said(one.odds, texts[name])}")
    if missing["encoder"]:
        _train_encoders(folder, folds_folder, settings, training, {name: texts[name] for name in missing["encoder"]}, about["encoder"], report)
    folds = {}
    for name in names:
        fast, encoder = (_read(_file(folds_folder, half, name)) for half in ("fast", "encoder"))
        folds[name] = Fold(texts[name], fast["words"], fast["abstained"], np.stack([fast["odds"], encoder["tuned"], encoder["linear"]]))
    return folds


def choose_texts(texts: Sequence[LabelledText], max_texts: int) -> list[LabelledText]:
    """At most `max_texts` clean texts of each label, and machine texts of each attack, of which `ATTACKED_SHARE` as many; by hash."""
    clean = limit_texts([text for text in texts if text.attack == "none"], max_texts)
    return clean + limit_texts([text for text in texts if text.attack != "none" and text.is_machine], int(max_texts * ATTACKED_SHARE))


def _train_encoders(
    folder: str,
    folds_folder: str,
    settings: FoldSettings,
    training: Sequence[LabelledText],
    tested: Mapping[str, Sequence[LabelledText]],
    about: Mapping,
    report: Callable[[str], None],
) -> None:
    """Trains an encoder without each set of `tested`, and writes both heads' log odds of its texts."""
    import torch

    from classifiers import train_deep
    from classifiers.deep_network import load_base

    torch.set_num_threads(1)
    reading = DeepSettings()
    # Drawn as for the shipped encoder; a fold takes those that are left without its set.
    trained = train_deep.settings_for(settings.steps, settings.seed)
    tokenizer, base = train_deep.read_tokenizer(), train_deep.base_path("model.safetensors")
    windows = draw_windows(training, tokenizer, trained.windows, reading)
    machine = np.array([training[owner].is_machine for owner in windows.owners])
    states = train_deep.HiddenStates(load_base(base, trained.layers, trained.frozen_layers), windows.tokens)
    pooled = states.pooled()
    report(f"{len(states):,} windows of {len(np.unique(windows.owners)):,} texts")
    for name, texts in tested.items():
        torch.manual_seed(settings.seed)
        encoder = load_base(base, trained.layers, trained.frozen_layers)
        cut = cut_texts(texts, tokenizer, reading)
        own = train_deep.HiddenStates(encoder, cut.tokens)
        rows = rows_without(training, windows, read_set(folder, name), name)
        weights, intercept = train_deep.fit_linear(pooled[rows], machine[rows], trained.linear_ridge)
        linear = train_deep.score_texts(own.pooled() @ weights + intercept, own, cut, len(texts))
        for _, loss, averaged in train_deep.fit(encoder, states, machine, rows[: trained.tuned_sequences], trained, ()):
            tuned = train_deep.score_texts(train_deep.score_tuned(averaged, own), own, cut, len(texts))
            _write(_file(folds_folder, "encoder", name), about, tuned=tuned, linear=linear)
            report(f"encoder without {name}, loss {loss:.3f}: tuned {_said(tuned, texts)}, linear {_said(linear, texts)}")


def _scale(scores: Mapping[str, np.ndarray], others: Mapping[str, Fold]) -> dict[str, np.ndarray]:
    """Log odds (float64) of every fold from its scores, on the scale that suits the clean texts of `others`."""
    clean = [(scores[name][fold.clean], fold.machine[fold.clean]) for name, fold in others.items()]
    weights = np.concatenate([balanced_weights(machine) for _, machine in clean])
    intercept, factor = fit_scale(*(np.concatenate(column) for column in zip(*clean, strict=True)), weights)
    return {name: intercept + factor * some for name, some in scores.items()}


def _said(scores: np.ndarray, texts: Sequence[LabelledText]) -> str:
    clean = np.array([text.attack == "none" for text in texts])
    return "AUROC {:.3f}, TPR@1% {:.2f}".format(*measure(scores[clean], np.array([text.is_machine for text in texts])[clean]))


def digest_of_file(path: str) -> str:
    """12 hexadecimal digits of the file's bytes; empty where `path` is."""
    if not path:
        return ""
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(), digest_size=6).hexdigest()


def _file(folder: str, half: str, name: str) -> str:
    return os.path.join(folder, f"{half}-{name}.npz")


def _write(path: str, about: Mapping, **arrays: np.ndarray) -> None:
    with open(path + ".partial", "wb") as file:
        np.savez_compressed(file, about=np.frombuffer(orjson.dumps(about), np.uint8), **arrays)
    os.replace(path + ".partial", path)


def _read(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def _is_there(path: str, about: Mapping) -> bool:
    """Whether the scores at `path` exist. Raises ValueError when they were made with other settings than `about`."""
    if not os.path.exists(path):
        return False
    try:
        known = orjson.loads(_read(path)["about"].tobytes())
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not the scores of a left-out set: remove it, or give another --folds") from error
    other = [key for key in about if known.get(key) != orjson.loads(orjson.dumps(about[key]))]
    if other:
        raise ValueError(
            f"{path} was made with another {other[0]} ({known.get(other[0])}, not {about[other[0]]}): remove it, or give another --folds"
        )
    return True
