"""`quality_ensemble`: the best of several models' opinions, each as a rank from 0 to 1. A text that any of them finds good is good.

Models differ in scale and in what they value, so their scores are compared as ranks, and the largest counts, as in Nemotron-CC. There
the ranks are those within the corpus. Here they are ranks within a stored sample of texts, its quantiles: the score of a text then
depends on that text alone, is the same in every run, shard and cycle, and takes no pass over the corpus before the first document
can be scored. The price: it is no exact share of *your* corpus. `python -m classifiers fit-ranks` makes it one, from a sample of yours.

*Source:* Su et al. 2024, "Nemotron-CC", section 2.2 (ensemble of classifiers: scores by rank, then their maximum).
"""

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from classifiers.detectors import weights_file
from classifiers.quality_models import load_quality_values
from classifiers.quality_settings import QualityEntry, check_members, parse_entries
from classifiers.text_batch import TextBatch

RANKS_FILE = "quality_ranks.json"
"""Name of the shipped ranks within `classifiers/weights`; they know `quality` and `trained_quality`."""
FORMAT = 1
QUANTILES = 201
"""Scores that stand for a member's distribution: every half per cent."""
ENSEMBLE_FIELDS = pa.schema([("quality_ensemble", pa.float32())])


@dataclass(frozen=True)
class MemberRanks:
    """How one member's scores were distributed in a sample of texts."""

    version: str
    """Version of the model that gave them."""
    quantiles: tuple[float, ...]
    """`QUANTILES` scores, ascending, at equal steps of rank from 0 to 1."""

    def __post_init__(self):
        object.__setattr__(self, "quantiles", tuple(map(float, self.quantiles)))
        if len(self.quantiles) != QUANTILES or not np.isfinite(self.quantiles).all() or (np.diff(self.quantiles) < 0).any():
            raise ValueError(f"quantiles must be {QUANTILES} ascending numbers")

    def rank(self, values: np.ndarray) -> np.ndarray:
        """Share (float64[n], 0..1) of the sample that lies below each of `values`, equal ones counted half; nan for nan."""
        quantiles = np.array(self.quantiles)
        places = np.linspace(0, 1, QUANTILES)
        # A score that many texts share is a flat stretch: its middle is their rank.
        low, high = np.searchsorted(quantiles, values, "left"), np.searchsorted(quantiles, values, "right") - 1
        above, below = places[np.minimum(low, QUANTILES - 1)], places[np.clip(high, 0, QUANTILES - 1)]
        # Between quantiles that lie closer than 1e-308 the slope overflows: what lies between them lies between their places all the same.
        between = np.clip(np.interp(values, quantiles, places), below, above)
        return np.where(high >= low, (above + below) / 2, between)


class QualityEnsembleScorer:
    """`quality_ensemble`, float32 in 0..1: the largest rank of the members; null only where no member gives a number."""

    name = "quality_ensemble"
    fields = ENSEMBLE_FIELDS

    def __init__(self, members: Sequence[str], entries: Sequence[str] = (), perplexity_model: str = "", ranks_path: str = ""):
        """Loads every member, and the ranks at `ranks_path` or those that ship.

        Raises ValueError for a member that is not there, and for ranks of other members or versions.
        """
        self._members = load_members(members, parse_entries(entries), perplexity_model)
        ranks = read_ranks(ranks_path or weights_file(RANKS_FILE))
        for name, member in self._members.items():
            if name not in ranks or ranks[name].version != member.version:
                which = f"those of version {ranks[name].version}" if name in ranks else f"only those of {', '.join(ranks)}"
                raise ValueError(
                    f"quality_ensemble: {ranks_path or 'the shipped ranks'} know {which}, not {name} {member.version}; make ranks from a sample of your "
                    "texts, `python -m classifiers fit-ranks`, and give score.quality_ranks"
                )
        self._ranks = {name: ranks[name] for name in self._members}
        self.version = hashlib.blake2b(repr(sorted(self._ranks.items())).encode(), digest_size=6).hexdigest()

    def score(self, batch: TextBatch) -> dict[str, pa.Array]:
        best = np.full(len(batch), np.nan)
        for name, member in self._members.items():
            best = np.fmax(best, self._ranks[name].rank(member.values(batch)))
        return {"quality_ensemble": pa.array(best.astype(np.float32), pa.float32(), mask=np.isnan(best))}


@dataclass(frozen=True)
class Member:
    """One model of an ensemble; of perplexity the lower one is the better, so its values are negated."""

    version: str
    """Changes whenever its numbers do."""
    values: Callable[[TextBatch], np.ndarray]
    """Scores (float64[n], higher is better) of a batch; nan where there is none."""


def load_members(members: Sequence[str], entries: Sequence[QualityEntry], perplexity_model: str = "") -> dict[str, Member]:
    """The models called `members`, loaded: a scorer of the same model finds their scores of a batch ready. Raises ValueError, OSError."""
    check_members(members, entries, perplexity_model)
    by_name = {entry.name: entry for entry in entries}
    return {name: _load_member(name, by_name, perplexity_model) for name in members}


def _load_member(name: str, entries: Mapping[str, QualityEntry], perplexity_model: str) -> Member:
    if name in entries:
        entry = entries[name]
        model = load_quality_values(entry.kind, entry.path, entry.labels)
        return Member(model.version, lambda batch: batch.derive(model.values))
    if name == "perplexity":
        from classifiers.perplexity import load_perplexity

        model = load_perplexity(perplexity_model)
        return Member(model.version, lambda batch: -batch.derive(model.values))
    if name == "trained_quality":
        from classifiers.trained_quality import load_quality_model

        trained = load_quality_model()
        return Member(trained.version, lambda batch: batch.derive(trained.probability).astype(np.float64))
    from classifiers.quality import QualityScorer

    return Member(QualityScorer.version, lambda batch: QualityScorer().score(batch)["quality"].to_numpy().astype(np.float64))


def fit_ranks(texts: Sequence[str], members: Mapping[str, Member]) -> dict[str, MemberRanks]:
    """The distribution of every member's scores over `texts`. Raises ValueError for fewer than `QUANTILES` of them that have a score."""
    batches = [TextBatch.of(texts[at : at + 1_000]) for at in range(0, len(texts), 1_000)]
    ranks = {}
    for name, member in members.items():
        values = np.concatenate([np.empty(0), *(member.values(batch) for batch in batches)])
        values = values[~np.isnan(values)]
        if len(values) < QUANTILES:
            raise ValueError(f"{len(values)} texts have a score of {name}; ranks need at least {QUANTILES}, and 10,000 for figures that hold")
        ranks[name] = MemberRanks(member.version, tuple(np.quantile(values, np.linspace(0, 1, QUANTILES))))
    return ranks


def write_ranks(path: str, ranks: Mapping[str, MemberRanks]) -> None:
    """Writes `ranks` as one JSON object; the same ranks give the same bytes."""
    members = {name: {"version": one.version, "quantiles": [float(f"{value:.7g}") for value in one.quantiles]} for name, one in ranks.items()}
    with open(path, "wb") as file:
        file.write(orjson.dumps({"format": FORMAT, "members": members}, option=orjson.OPT_INDENT_2) + b"\n")


@functools.lru_cache(maxsize=8)
def read_ranks(path: str) -> dict[str, MemberRanks]:
    """What `write_ranks` wrote. Raises ValueError, naming the file."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"quality_ranks: {path}: cannot be read ({error.strerror}); make it with `python -m classifiers fit-ranks`") from error
    try:
        found = orjson.loads(content)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']}, not {FORMAT}")
        return {name: MemberRanks(one["version"], tuple(one["quantiles"])) for name, one in found["members"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not ranks that `python -m classifiers fit-ranks` wrote: {error}") from error
