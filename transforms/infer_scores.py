"""The AI-text detector as a step of its own, under Beam's RunInference contract: for transformer tiers on accelerators or many workers.

Splits are scored without the detector first. Then each text is read from its shard and goes straight to the model, within one fused
stage: what is shuffled are a shard's name, rows and a few numbers. At last the numbers join their shard. The scored shards are byte
for byte those of the detector run in line.

One text costs about 20 microseconds of Beam here: nothing beside a transformer, ten times a call of the fast detector.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from classifiers.ai_detector import TIER_FIELD, AiDetectorScorer, detector_fields
from classifiers.cascade import DEEP
from classifiers.detectors import CascadeWork
from classifiers.scorers import ScoreSettings
from classifiers.text_batch import TextBatch
from transforms.count_unlabelled import count_unlabelled
from transforms.pool_steps import PoolDo
from transforms.score_documents import scored_schema, scorer_failure, write_letters, write_scored
from transforms.scored_shards import SplitScored
from transforms.storage import join_path, open_arrow

DETECTOR = "ai_detector"
"""The scorer that is left to this step."""
READ_TEXTS = 1_000
"""Texts read from a shard at a time."""


@dataclass(frozen=True)
class InferenceSettings:
    """Where the detector's model runs, and what it asks of a worker. Nothing here changes a score on the CPU."""

    version: str
    """Version of the detector, as the launcher found it; a worker whose model differs fails the run."""
    device: str = "cpu"
    """`cpu`, or a device that torch knows, such as `cuda`."""
    num_threads: int = 1
    """Texts scored at once on a CPU, from 1."""
    max_batch_texts: int = 256
    """Texts that the model gets at once, at most; sorted by length, they make full batches of one length each."""
    min_ram: str = ""
    """Resource hint: memory of a worker, such as `16GB`; empty: none."""
    accelerator: str = ""
    """Resource hint: `type:nvidia-l4;count:1;install-nvidia-driver`, for instance; empty: none."""
    share_model: bool = False
    """Whether the processes of a worker share one copy of the model: wanted where it fills an accelerator."""

    def __post_init__(self):
        for key in ("num_threads", "max_batch_texts"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")


class Inferred(NamedTuple):
    """What the detector says of one text."""

    values: tuple
    """One value for each of the detector's columns; empty where it failed."""
    error: str = ""
    """Why it failed."""


class TextScorer:
    """The loaded model as RunInference holds it; every argument and result can go between processes."""

    def __init__(self, scorer: AiDetectorScorer):
        self._scorer = scorer

    def score_texts(self, texts: Sequence[str]) -> list[Inferred]:
        """The detector's columns for each text, in order. A text that makes it fail costs itself, not its neighbours."""
        # Neighbours of about one length: whatever batches a detector makes are hardly padded.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        inferred = self._score_or_halve([texts[row] for row in order])
        by_row = dict(zip(order, inferred, strict=True))
        return [by_row[row] for row in range(len(texts))]

    def _score_or_halve(self, texts: Sequence[str]) -> list[Inferred]:
        if not texts:
            return []
        try:
            columns = self._scorer.score(TextBatch.of(texts))
            return [Inferred(values) for values in zip(*(column.to_pylist() for column in columns.values()), strict=True)]
        except Exception as error:
            # Whatever the detector raises on one text is that document's dead letter; the failure budget bounds how many.
            if len(texts) == 1:
                return [Inferred((), f"{type(error).__name__}: {error}")]
        middle = len(texts) // 2
        return self._score_or_halve(texts[:middle]) + self._score_or_halve(texts[middle:])


class DetectorHandler(ModelHandler[str, Inferred, TextScorer]):
    """Any detector of `classifiers.detectors` as a Beam model handler: text (str) in, `Inferred` out."""

    def __init__(self, detector: str, inference: InferenceSettings, ai_label: str = ""):
        super().__init__(min_batch_size=min(16, inference.max_batch_texts), max_batch_size=inference.max_batch_texts)
        self._detector, self._inference, self._ai_label = detector, inference, ai_label

    def load_model(self) -> TextScorer:
        """The detector, loaded. Raises ValueError if it is not the version that the launcher found."""
        settings = {"ai_label": self._ai_label, "device": self._inference.device, "num_threads": self._inference.num_threads}
        scorer = AiDetectorScorer(self._detector, **settings)
        if scorer.version != self._inference.version:
            raise ValueError(f"this worker loads the detector {scorer.version}, the launcher {self._inference.version}; give all of them one model")
        return TextScorer(scorer)

    def run_inference(self, batch: Sequence[str], model: TextScorer, inference_args: dict[str, Any] | None = None) -> Iterable[Inferred]:
        """One `Inferred` for each text of `batch`, in order."""
        return model.score_texts(list(batch))

    def get_num_bytes(self, batch: Sequence[str]) -> int:
        """UTF-8 bytes of the texts."""
        return sum(len(text.encode("utf-8", "replace")) for text in batch)

    def get_metrics_namespace(self) -> str:
        """Where Beam's metrics of this step stand."""
        return "AiDetector"

    def get_resource_hints(self) -> dict[str, str]:
        """What the step asks of a worker."""
        hints = {"min_ram": self._inference.min_ram, "accelerator": self._inference.accelerator}
        return {name: value for name, value in hints.items() if value}

    def share_model_across_processes(self) -> bool:
        """Whether a worker's processes share one model."""
        return self._inference.share_model


def read_texts(shard: SplitScored) -> Iterator[tuple[tuple[str, int], str]]:
    """((shard, row), text) of every document of a scored shard."""
    row = 0
    with open_arrow(shard.shard.path) as file:
        for batch in pq.ParquetFile(file).iter_batches(READ_TEXTS, columns=["text"]):
            for text in batch["text"].to_pylist():
                yield (shard.shard.name, row), text
                row += 1


def complete_shard(
    joined: tuple[SplitScored, list[list[tuple[int, Inferred]]]], settings: ScoreSettings, version: str, scored_folder: str, dead_folder: str
) -> list[SplitScored]:
    """Adds the detector's columns to a shard that was scored without it; a pool task.

    A document that the detector failed on becomes a dead letter. Raises AssertionError unless every row has exactly one answer.
    """
    unjudged, packs = joined
    answers = sorted((answer for pack in packs for answer in pack), key=lambda answer: answer[0])
    if [row for row, _ in answers] != list(range(unjudged.shard.num_rows)):
        raise AssertionError(f"{unjudged.shard.name}: {len(answers)} answers of the detector for {unjudged.shard.num_rows} documents")
    with open_arrow(unjudged.shard.path) as file:
        table = pq.read_table(file).replace_schema_metadata(None)
    scored = pa.array([not inferred.error for _, inferred in answers], pa.bool_())
    letters = [
        scorer_failure(table.slice(row, 1).to_batches()[0], inferred.error) for row, inferred in answers if inferred.error
    ]  # fmt: skip
    table = table.filter(scored)
    values = [inferred.values for _, inferred in answers if not inferred.error]
    columns = {name: table[name] for name in table.column_names}
    for place, field in enumerate(detector_fields(settings.ai_detector)):
        columns[field.name] = pa.array([row[place] for row in values], field.type)
    schema = scored_schema(settings)
    complete = pa.table([columns[name] for name in schema.names], schema)
    books = Counter(dict(unjudged.books))
    for letter in letters:
        books[letter.source, letter.origin, "dead", letter.stage, letter.reason] += letter.count
    made = json.loads(unjudged.scored_by)["scorers"] | {DETECTOR: {"version": version, "fields": detector_fields(settings.ai_detector).names}}
    result = dataclasses.replace(
        unjudged,
        shard=dataclasses.replace(unjudged.shard, path=join_path(scored_folder, unjudged.shard.name), num_rows=table.num_rows),
        books=tuple(sorted(books.items())),
        num_bytes=int(pc.sum(table["bytes"]).as_py() or 0),
        scored_by=json.dumps({"scorers": made, "settings": settings.stored()}, sort_keys=True),
        cascade_work=_work_of(columns.get(TIER_FIELD.name)),
        unlabelled=count_unlabelled(complete),
    )
    write_scored(complete, result)
    if letters:
        # A file of its own: a step that is repeated writes it again and adds to nothing.
        write_letters(letters, join_path(dead_folder, f"{unjudged.shard.name.removesuffix('.parquet')}-{DETECTOR}.jsonl"))
    return [result]


def _work_of(tiers: pa.Array | None) -> CascadeWork | None:
    return None if tiers is None else CascadeWork(len(tiers), pc.sum(pc.equal(tiers, DEEP)).as_py() or 0)


class InferScores(beam.PTransform):
    """Shards scored without the detector (`without_detector`) -> the same with its columns, under `scored_folder`."""

    def __init__(self, settings: ScoreSettings, inference: InferenceSettings, scored_folder: str, dead_folder: str):
        """`settings` are those of all scorers, the detector among them."""
        self._handler = DetectorHandler(settings.ai_detector, inference, settings.ai_label)
        self._complete = PoolDo("infer", complete_shard, settings, inference.version, scored_folder, dead_folder)

    def expand(self, unjudged: beam.PCollection[SplitScored]) -> beam.PCollection[SplitScored]:
        inferred = (
            unjudged
            | "SpreadUnjudged" >> beam.Reshuffle()
            | "ReadTexts" >> beam.FlatMap(read_texts).with_output_types(tuple[tuple[str, int], str])
            | "RunInference" >> RunInference(KeyedModelHandler(self._handler))
            | "PackByShard" >> beam.ParDo(_PackByShard()).with_output_types(tuple[str, list])
        )
        keyed = unjudged | "KeyByName" >> beam.Map(lambda one: (one.shard.name, one)).with_output_types(tuple[str, SplitScored])
        return (
            {"shard": keyed, "inferred": inferred}
            | "JoinByName" >> beam.CoGroupByKey()
            | "ShardAndAnswers" >> beam.Map(lambda joined: (next(iter(joined[1]["shard"])), list(joined[1]["inferred"])))
            | "CompleteShard" >> beam.ParDo(self._complete).with_output_types(SplitScored)
        )


class _PackByShard(beam.DoFn):
    """((shard, row), answer) -> (shard, all its answers in this bundle): one shuffled element instead of thousands."""

    def start_bundle(self) -> None:
        self._packs: dict[str, list[tuple[int, Inferred]]] = {}

    def process(self, element):
        (name, row), inferred = element
        self._packs.setdefault(name, []).append((row, inferred))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for packed in self._packs.items():
            yield WindowedValue(packed, window.max_timestamp(), [window])
