"""What a scorer is, which scorers there are, and how a run makes them from its settings.

A scorer gives numbers and never drops anything; whoever decides reads the numbers.
"""

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from classifiers.custom_scorers import is_custom, load_custom_scorer
from classifiers.evaluation_sets import EvaluationSets, recall_sets
from classifiers.line_units import LINE_UNITS
from classifiers.nearest import did_you_mean
from classifiers.pretokens import PRETOKENS
from classifiers.quality_settings import check_quality_settings, quality_model_fields, quality_scorers
from classifiers.splitters import HEADWATER, SPLITTERS

if TYPE_CHECKING:
    # Brings its kernels' compiler along, which settings and names of fields do not need.
    from classifiers.text_batch import TextBatch

SCORER_NAMES = (
    "size", "gopher_quality", "gopher_repetition", "c4", "fineweb", "synthetic_faults", "personal_data", "quality", "language", "ai_detector",
    "content_hash", "signature",
)  # fmt: skip
"""The scorers of the default recipe, in the order of their columns."""
OPTIONAL_SCORERS = ("redpajama", "embedding", "line_hashes", "trained_quality")
"""Scorers that run only where they are asked for."""

MAX_HASHES = 4096
"""Most MinHashes (bands x rows) of a signature."""


class Scorer(Protocol):
    """Texts in, columns of numbers out."""

    name: str
    """One of `SCORER_NAMES` or `OPTIONAL_SCORERS`, or `module:name` (`classifiers.custom_scorers`)."""
    version: str
    """Changes whenever its numbers do: rules, table and model digest."""
    fields: pa.Schema
    """The columns it makes."""

    def score(self, batch: "TextBatch") -> dict[str, pa.Array]:
        """One array of `len(batch)` for each of `fields`. Deterministic; a text's numbers do not depend on the rest of the batch."""
        ...


@dataclass(frozen=True)
class ScoreSettings:
    """Which scorers run, and how."""

    scorers: tuple[str, ...] = SCORER_NAMES
    """Names of the scorers to run, of `SCORER_NAMES`, `OPTIONAL_SCORERS` or `module:name`, each at most once."""
    bands: int = 14
    """Bands of a MinHash signature: more find less similar pairs."""
    rows_per_band: int = 8
    """MinHashes in a band: more find fewer chance pairs. A pair of Jaccard s meets with probability 1 - (1 - s^rows)^bands."""
    shingle_words: int = 5
    """Words in a shingle."""
    signature_seed: int = 1
    """Seed of the MinHashes, 0 to 2**63 - 1. Only signatures of one seed can be compared."""
    tokenizer: str = PRETOKENS
    """What counts `tokens`: `headwater-pretokens-1`, or a Hugging Face tokenizer (`classifiers.token_counters`)."""
    words: str = HEADWATER
    """Whose words the heuristic scorers count: `headwater`, or `datatrove` for its numbers exactly."""
    ai_detector: str = "fast"
    """Name of the AI-text detector (`classifiers.detectors`)."""
    ai_label: str = ""
    """Labels of an `hf:` detector that mean machine-written, with commas; empty: told from their names."""
    line_unit: str = "line"
    """What the scorer `line_hashes` hashes: `line`, `paragraph`, or `sentences` (spans of three)."""
    embedding: str = "minilm"
    """Name of the sentence encoder of the scorer `embedding` (`classifiers.sentence_encoder`)."""
    embedding_tokens: int = 256
    """Tokens of a text that it reads, from its beginning."""
    keys: tuple[str, ...] = ()
    """Fields of documents of which a hash is stored beside the scores (`transforms.document_keys`), each at most once."""
    quality_models: tuple[str, ...] = ()
    """Quality models of one's own, each a column (`classifiers.quality_models`); none: that scorer does not run."""
    perplexity_model: str = ""
    """What gives the column `perplexity` (`classifiers.perplexity`); empty: that scorer does not run."""
    quality_ensemble: tuple[str, ...] = ()
    """Models of which the best rank is the column `quality_ensemble` (`classifiers.quality_ensemble`); none: that scorer does not run."""
    quality_ranks: str = ""
    """File of the ranks of `quality_ensemble`; empty: those that ship."""
    evaluation: EvaluationSets | None = None
    """Evaluation sets whose text is sought (`classifiers.contamination`); None: that scorer does not run."""

    def __post_init__(self):
        object.__setattr__(self, "scorers", tuple(self.scorers))
        object.__setattr__(self, "keys", tuple(self.keys))
        unknown = [name for name in self.scorers if name not in (*SCORER_NAMES, *OPTIONAL_SCORERS) and not is_custom(str(name))]
        if unknown:
            known = f"known: {', '.join((*SCORER_NAMES, *OPTIONAL_SCORERS))}; one of your own is named module:function or module:Class"
            slip = did_you_mean(str(unknown[0]), (*SCORER_NAMES, *OPTIONAL_SCORERS))
            raise ValueError(f"scorers: unknown {', '.join(map(repr, unknown))}{slip}; {known}")
        if self.words not in SPLITTERS:
            raise ValueError(f"words must be one of {', '.join(SPLITTERS)}, not {self.words!r}")
        if len(set(self.scorers)) != len(self.scorers) or not self.scorers:
            raise ValueError(f"scorers must name at least one scorer, each once: {self.scorers}")
        for key, low, high in (
            ("bands", 1, MAX_HASHES),
            ("rows_per_band", 1, MAX_HASHES),
            ("shingle_words", 1, 64),
            ("signature_seed", 0, 2**63 - 1),
            ("embedding_tokens", 3, 1 << 16),
        ):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{key} must be a whole number from {low} to {high}, not {value!r}")
        if self.bands * self.rows_per_band > MAX_HASHES:
            raise ValueError(f"bands x rows_per_band must be at most {MAX_HASHES}, not {self.bands} x {self.rows_per_band}")
        for key in ("tokenizer", "ai_detector", "embedding"):
            if not isinstance(getattr(self, key), str) or not getattr(self, key):
                raise ValueError(f"{key} must be a name or path, not {getattr(self, key)!r}")
        if not isinstance(self.ai_label, str):
            raise ValueError(f"ai_label must be names of labels with commas, not {self.ai_label!r}")
        if self.line_unit not in LINE_UNITS:
            raise ValueError(f"line_unit must be one of {', '.join(LINE_UNITS)}, not {self.line_unit!r}")
        if not all(isinstance(key, str) and key for key in self.keys) or len(set(self.keys)) != len(self.keys):
            raise ValueError(f"keys must be names of fields, each once, not {list(self.keys)!r}")
        check_quality_settings(self)
        if not isinstance(self.evaluation, EvaluationSets):
            object.__setattr__(self, "evaluation", recall_sets(self.evaluation))

    def stored(self) -> dict[str, Any]:
        """The settings as scored shards keep them; `ScoreSettings(**stored)` reads them back. Those of a scorer that does not run are left out."""
        stored = asdict(replace(self, evaluation=None))
        del stored["evaluation"]
        return stored | ({"evaluation": self.evaluation.stored()} if self.evaluation else {})


def without_detector(settings: ScoreSettings) -> ScoreSettings:
    """The settings of all scorers but the AI-text detector. Raises ValueError if that is the only one."""
    return replace(settings, scorers=tuple(name for name in settings.scorers if name != "ai_detector"))


def make_scorers(settings: ScoreSettings) -> list[Scorer]:
    """The scorers that `settings` names, in its order, with their models loaded.

    Raises ValueError for a setting that a scorer refuses, and whatever a model's loader raises, with what to do about it.
    """
    scorers = [_make_scorer(name, settings) for name in (*settings.scorers, *quality_scorers(settings))]
    if settings.evaluation is not None:
        from classifiers.contamination import ContaminationScorer

        scorers.append(ContaminationScorer(settings.evaluation))
    return scorers


def _make_scorer(name: str, settings: ScoreSettings) -> Scorer:
    if is_custom(name):
        return load_custom_scorer(name)
    if name == "ai_detector":
        return _scorer_class(name)(settings.ai_detector, ai_label=settings.ai_label)
    return _scorer_class(name)(*_ARGUMENTS.get(name, lambda _: ())(settings))


def score_fields(settings: ScoreSettings) -> pa.Schema:
    """All columns that the scorers of `settings` make, in order. Loads no model. Raises ValueError if two make the same column."""
    names = (*settings.scorers, *quality_scorers(settings), *(() if settings.evaluation is None else ("contamination",)))
    fields = [(field, name) for name in names for field in _fields_of(name, settings)]
    makers: dict[str, str] = {}
    for field, name in fields:
        if makers.setdefault(field.name, name) != name:
            raise ValueError(f"scorers {makers[field.name]!r} and {name!r} both make a column {field.name!r}: rename one, or leave one scorer out")
    return pa.schema([field for field, _ in fields])


def warm_up(settings: ScoreSettings) -> None:
    """Scores one tiny batch, so that kernels are compiled and models can be read before a process pool forks.

    Takes up to 25 s of CPU where nothing is cached yet, under 1 s afterwards. Raises what `make_scorers` raises.
    """
    from classifiers.text_batch import TextBatch

    score(make_scorers(settings), TextBatch.of(["Every river begins as a spring.", ""]))


def score(scorers: list[Scorer], batch: "TextBatch") -> dict[str, pa.Array]:
    """The columns of all `scorers`, in order."""
    columns: dict[str, pa.Array] = {}
    for scorer in scorers:
        columns.update(scorer.score(batch))
    return columns


def _fields_of(name: str, settings: ScoreSettings) -> pa.Schema:
    if is_custom(name):
        return load_custom_scorer(name).fields
    if name == "signature":
        from classifiers.signature import signature_fields

        return signature_fields(settings.bands, settings.rows_per_band)
    if name == "embedding":
        from classifiers.sentence_encoder import dimensions_of, embedding_fields

        return embedding_fields(dimensions_of(settings.embedding))
    if name == "ai_detector":
        from classifiers.ai_detector import detector_fields

        return detector_fields(settings.ai_detector)
    if name == "quality_models":
        return quality_model_fields(settings.quality_models)
    return _scorer_class(name).fields


def _scorer_class(name: str) -> type:
    """Imported where it is needed: a run without the detector must not load its libraries."""
    module, class_name = _CLASSES[name]
    return getattr(importlib.import_module(f"classifiers.{module}"), class_name)


_CLASSES = {
    "size": ("content", "SizeScorer"),
    "gopher_quality": ("gopher_quality", "GopherQualityScorer"),
    "gopher_repetition": ("gopher_repetition", "GopherRepetitionScorer"),
    "c4": ("c4_rules", "C4Scorer"),
    "fineweb": ("fineweb_rules", "FineWebScorer"),
    "synthetic_faults": ("synthetic_faults", "SyntheticFaultsScorer"),
    "personal_data": ("personal_data", "PersonalDataScorer"),
    "quality": ("quality", "QualityScorer"),
    "language": ("language", "LanguageScorer"),
    "ai_detector": ("ai_detector", "AiDetectorScorer"),
    "content_hash": ("content", "ContentHashScorer"),
    "signature": ("signature", "SignatureScorer"),
    "line_hashes": ("line_hashes", "LineHashesScorer"),
    "embedding": ("sentence_encoder", "EmbeddingScorer"),
    "trained_quality": ("trained_quality", "TrainedQualityScorer"),
    "quality_models": ("quality_models", "QualityModelsScorer"),
    "perplexity": ("perplexity", "PerplexityScorer"),
    "quality_ensemble": ("quality_ensemble", "QualityEnsembleScorer"),
    "redpajama": ("redpajama", "RedPajamaScorer"),
    "contamination": ("contamination", "ContaminationScorer"),
}

_ARGUMENTS: dict[str, Callable[[ScoreSettings], tuple]] = {
    "size": lambda settings: (settings.tokenizer, settings.words),
    **dict.fromkeys(("gopher_quality", "gopher_repetition", "c4", "fineweb"), lambda settings: (settings.words,)),
    "line_hashes": lambda settings: (settings.line_unit,),
    "embedding": lambda settings: (settings.embedding, settings.embedding_tokens),
    "quality_models": lambda settings: (settings.quality_models,),
    "perplexity": lambda settings: (settings.perplexity_model,),
    "quality_ensemble": lambda settings: (settings.quality_ensemble, settings.quality_models, settings.perplexity_model, settings.quality_ranks),
    "signature": lambda settings: (settings.bands, settings.rows_per_band, settings.shingle_words, settings.signature_seed),
}
"""What the constructors take that take something."""
