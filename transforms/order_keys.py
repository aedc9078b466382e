"""The two 64-bit keys of a document that the mix sorts by: priority (who is chosen first) and placement (where it stands).

Both are made from the document's own row key and scores, and from the seed: never from a position, so they are the same however documents
are parted into shards. `mix.priority` says what the priority key is:

    random      hash
    quality     quality, in 256 levels, then hash: the best first
    importance  -log(u) / w, with u from the hash and w = (1 - p)^b: a prefix is a sample without replacement, likely human text first
    hard        perplexity, exactly, then hash: the most surprising first
    diverse     rank within a cluster, then as quality: the best of every cluster before the second of any

Of documents whose keys are equal the one with the smaller address goes first; the bits that a score leaves, at least 32 where it has ties, hold
the hash.
"""

from __future__ import annotations

import numpy as np

from transforms.equal_floats import exponential, exponential_draws, natural_log
from transforms.mix_settings import MixSettings

QUALITY_LEVELS = 256
"""Levels of quality that `priority="quality"` tells apart: the top 8 bits of the key."""
MOST_RANK = 1023
"""Ranks within a cluster that `priority="diverse"` tells apart; documents from there on come after all others, best first."""
_MOST_EXPONENT = 10
ABSTAINED_PROBABILITY = 0.5
"""AI probability of a document that the detector abstained from: log odds of 0, for it says neither."""
_PRIORITY_STREAM, _PLACEMENT_STREAM = 1, 2
_MASK = (1 << 64) - 1
_TILE = 1 << 13
"""Documents that race at a time: what is between stays in the core's cache."""
_DRAW_STEPS = 255 << 45
"""Keys of documents with a weight fill 255 of 256 parts of the range; the rest is for those of weight 0."""


def mix_hash(row_keys: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """64-bit hashes (uint64) of row keys, a different and unrelated order for every (seed, stream); equal only for equal row keys.

    Two rounds of the splitmix64 finaliser, salted. *Source:* Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014, figure 16.
    """
    salts = [_finalise_int(_finalise_int(seed + 0x9E3779B97F4A7C15) + 2 * stream + turn) for turn in range(2)]
    hashes = np.array(row_keys, np.uint64)
    for salt in salts:
        hashes ^= np.uint64(salt)
        hashes ^= hashes >> np.uint64(30)
        hashes *= np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(27)
        hashes *= np.uint64(0x94D049BB133111EB)
        hashes ^= hashes >> np.uint64(31)
    return hashes


def priority_keys(
    row_keys: np.ndarray, qualities: np.ndarray, settings: MixSettings, scores: np.ndarray | None = None, order: str = ""
) -> np.ndarray:
    """Priority keys (uint64): the smallest is chosen first. `order`: of these documents; empty: `mix.priority`.

    `qualities`: 0..1, looked at by `quality` and `diverse`. `scores`: the column `PRIORITY_FIELDS[order]`, with nan for null, where there is such a field.
    """
    order = order or settings.priority
    hashes = mix_hash(row_keys, settings.seed, _PRIORITY_STREAM)
    if order == "importance":
        return importance_keys(hashes, scores, settings.importance_exponent)
    if order == "hard":
        return hard_keys(hashes, scores)
    if order == "diverse":
        return diverse_keys(scores, quality_keys(hashes, qualities))
    return quality_keys(hashes, qualities) if order == "quality" else hashes


def placement_keys(row_keys: np.ndarray, settings: MixSettings) -> np.ndarray:
    """Placement keys (uint64): the global shuffle, independent of the choice."""
    return mix_hash(row_keys, settings.seed, _PLACEMENT_STREAM)


def quality_keys(hashes: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    """uint64: by quality (0..1, best first, in `QUALITY_LEVELS` levels) and then by hash (uint64)."""
    levels = np.clip(np.floor((1.0 - qualities.astype(np.float64)) * QUALITY_LEVELS), 0, QUALITY_LEVELS - 1).astype(np.uint64)
    return (levels << np.uint64(56)) | (hashes >> np.uint64(8))


def log_weights(probabilities: np.ndarray, exponent: float) -> np.ndarray:
    """float64: b log(1 - p), the logarithm of the weight of a document whose AI probability is p (float, nan where the detector abstained).

    Weights lie in 0..1: 1 for text that is surely human; minus infinity stands for 0, which only p = 1 has. With b = 0 all weigh 1.

    *Source:* Drayson, Yilmaz and Lampos 2025, "Machine-generated text detection prevents language model collapse" (arXiv 2502.15654), importance
    sampling: w = (1 - p)^b, as `weighted_sampling` in `src/utils/data_selection_strategy.py` of the authors' code (github.com/GeorgeDrayson/model_collapse)
    computes it.
    """
    if exponent == 0:
        return np.zeros(len(probabilities))
    known = np.where(np.isnan(probabilities), ABSTAINED_PROBABILITY, probabilities).astype(np.float64)
    return exponent * natural_log(1.0 - np.clip(known, 0.0, 1.0))


def importance_weights(probabilities: np.ndarray, exponent: float) -> np.ndarray:
    """float64 in 0..1: (1 - p)^b, see `log_weights`."""
    return exponential(log_weights(probabilities, exponent))


def importance_keys(hashes: np.ndarray, probabilities: np.ndarray, exponent: float) -> np.ndarray:
    """uint64 that grow with -log(u) / w, u in 0..1 from the hash (uint64) and w = (1 - p)^b: any prefix of this order is a sample without
    replacement in which each next document is drawn with a chance proportional to its weight among those that are left.

    The key is a monotone map of log(-log(u)) - b log(1 - p), to 53 bits that spread it over the range, and the hash's first 11 bits; with b = 0 it is
    the order of the hashes. Documents of weight 0 go last, by hash.

    *Source:* Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir", Information Processing Letters 97(5), 181-185: keys
    u^(1/w), the largest first, which is the same order.
    """
    keys = np.empty(len(hashes), np.uint64)
    for start in range(0, len(hashes), _TILE):
        tile = slice(start, start + _TILE)
        keys[tile] = _race(hashes[tile], probabilities[tile], exponent)
    return keys


def hard_keys(hashes: np.ndarray, perplexities: np.ndarray) -> np.ndarray:
    """uint64: by perplexity (float32, largest first, every float apart), then by hash (uint64); nan, which stands for null, last."""
    # Adding 0 makes one zero of two.
    bits = (perplexities.astype(np.float32) + np.float32(0)).view(np.uint32)
    ascending = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    descending = np.where(np.isnan(perplexities), np.uint32(0xFFFFFFFF), ~ascending).astype(np.uint64)
    return (descending << np.uint64(32)) | (hashes >> np.uint64(32))


def rank_keys(row_keys: np.ndarray, qualities: np.ndarray, settings: MixSettings) -> np.ndarray:
    """uint64: what documents of one cluster are ranked by, as for `quality` and with the same hash: the best first."""
    return quality_keys(mix_hash(row_keys, settings.seed, _PRIORITY_STREAM), qualities)


def diverse_keys(ranks: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """uint64: by rank (whole numbers from 0 on; those from `MOST_RANK` on are one), then by `keys` (uint64), of which at least the first 45 bits are left.

    A rank takes room in proportion to 1 / rank^2: rank + 1 = 2^e + m is written as e ones, a zero and the e bits of m (Elias 1975, the gamma code);
    `MOST_RANK` as ten ones.
    """
    known = np.minimum(ranks.astype(np.int64), MOST_RANK) + 1
    exponents = (np.frexp(known.astype(np.float64))[1] - 1).astype(np.uint64)
    ones = (np.uint64(1) << exponents) - np.uint64(1)
    heads = (ones << (exponents + np.uint64(1))) | (known.astype(np.uint64) & ones)
    lengths = np.uint64(2) * exponents + np.uint64(1)
    is_last = known > MOST_RANK
    heads, lengths = np.where(is_last, np.uint64(MOST_RANK), heads), np.where(is_last, np.uint64(_MOST_EXPONENT), lengths)
    return (heads << (np.uint64(64) - lengths)) | (keys >> lengths)


def _race(hashes: np.ndarray, probabilities: np.ndarray, exponent: float) -> np.ndarray:
    logs = log_weights(probabilities, exponent)
    weighs = np.isfinite(logs)
    raced = natural_log(exponential_draws(hashes)) - np.where(weighs, logs, 0.0)
    # Sums, quotients and differences of one variable round monotonely, so that no rounding turns an order around.
    scale = 2.0 + exponent
    tails = 0.5 * (scale / (scale + np.abs(raced)))
    spread = np.where(raced < 0, tails, 1.0 - tails)
    steps = np.minimum(np.floor(spread * _DRAW_STEPS), _DRAW_STEPS - 1).astype(np.uint64)
    drawn = (steps << np.uint64(11)) | (hashes >> np.uint64(53))
    return np.where(weighs, drawn, np.uint64(255 << 56) | (hashes >> np.uint64(8)))


def _finalise_int(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
