"""Rows of a Hugging Face dataset, from the hub or a local folder, as a stream of Arrow batches through the `datasets` library."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from transforms.inputs import InputError
from transforms.records import BATCH_DOCUMENTS

SCHEME = "hf://"
EXPECTED = "hf://datasets/OWNER/NAME[:split], hf://datasets/OWNER/NAME/CONFIGURATION[:split] or hf:///folder[:split]"


class DatasetAddress(NamedTuple):
    """Where a dataset is."""

    dataset: str
    """OWNER/NAME on the hub, or an absolute folder."""
    configuration: str | None
    """Subset of the dataset, for those that have several."""
    split: str | None
    """None: `train`, or the only one there is."""


def parse_address(address: str) -> DatasetAddress:
    """The parts of `hf://...`. Raises InputError."""
    found = re.fullmatch(r"hf://(?:datasets/)?(?P<place>.*?)(?::(?P<split>[\w.-]+))?", address)
    place = found["place"] if found else ""
    if place.startswith("/"):
        return DatasetAddress(place, None, found["split"])
    parts = place.split("/")
    if address.startswith("hf://datasets/") and len(parts) in (2, 3) and all(parts):
        return DatasetAddress("/".join(parts[:2]), parts[2] if len(parts) == 3 else None, found["split"])
    raise InputError(f"{address!r} names no dataset: write {EXPECTED}")


def stream_rows(address: str) -> Iterator[pa.RecordBatch]:
    """All rows in their order, at most `BATCH_DOCUMENTS` at a time; class labels as their names.

    Raises InputError when the dataset, its configuration or split is not there or cannot be reached.
    """
    dataset = _open_dataset(address)
    label_names = {name: feature.names for name, feature in (dataset.features or {}).items() if hasattr(feature, "int2str")}
    for table in dataset.with_format("arrow").iter(batch_size=BATCH_DOCUMENTS):
        for name, names in label_names.items():
            table = _name_labels(table, name, names)
        yield from table.combine_chunks().to_batches()


def _open_dataset(address: str) -> Any:
    where = parse_address(address)
    try:
        import datasets  # a second of imports that only these inputs need
    except ImportError as error:
        raise InputError(f"{address}: needs the datasets library; install it with: pip install datasets") from error
    try:
        dataset = datasets.load_dataset(where.dataset, where.configuration, split=where.split, streaming=True)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{address}: cannot be opened ({type(error).__name__}: {error}). Write {EXPECTED}; "
            "check the name and the network, log in for a private one, or download it and give its folder"
        ) from error
    if where.split is not None:
        return dataset
    if "train" in dataset or len(dataset) == 1:
        return dataset["train" if "train" in dataset else next(iter(dataset))]
    raise InputError(f"{address}: has the splits {', '.join(sorted(dataset))}; name one, as in {address}:{min(dataset)}")


def _name_labels(table: pa.Table, name: str, names: list[str]) -> pa.Table:
    place = table.schema.get_field_index(name)
    labels = [names[code] if code is not None and 0 <= code < len(names) else None for code in table.column(name).to_pylist()]
    return table.set_column(place, name, pa.array(labels, pa.string()))
