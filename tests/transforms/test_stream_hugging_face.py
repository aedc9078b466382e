"""Claims about datasets read through the `datasets` library: local folders here, whole, in order, and with class labels as names."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.transforms.reading import json_lines, plan, read, spill
from transforms.inputs import FieldNames, Format, InputError
from transforms.records import DeadReason, Origin
from transforms.stream_hugging_face import DatasetAddress, parse_address, stream_rows


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://datasets/me/books", DatasetAddress("me/books", None, None)),
        ("hf://datasets/me/books:test", DatasetAddress("me/books", None, "test")),
        ("hf://datasets/me/books/2020.de:validation", DatasetAddress("me/books", "2020.de", "validation")),
        ("hf://datasets//data/books", DatasetAddress("/data/books", None, None)),
        ("hf:///data/books:train", DatasetAddress("/data/books", None, "train")),
        ("hf:///data/12:30/books", DatasetAddress("/data/12:30/books", None, None)),
    ],
)
def test_addresses_name_a_dataset_a_configuration_and_a_split(address, expected):
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["hf://", "hf://books", "hf://datasets/books", "hf://datasets/a/b/c/d", "hf://models/a/b", "hf://datasets/a//b"])
def test_other_addresses_are_errors_that_show_the_form(address):
    with pytest.raises(InputError, match="OWNER/NAME"):
        plan(address)


@pytest.fixture
def folder(tmp_path):
    """A dataset of two splits, of which `train` has two files."""
    for name, rows in {"train-0": range(1_500), "train-1": range(1_500, 2_000), "test-0": range(5_000, 5_010)}.items():
        pq.write_table(
            pa.table({"text": [f"document {n}" for n in rows], "label": ["human"] * len(rows), "n": list(rows)}), tmp_path / f"{name}.parquet"
        )
    return tmp_path


def test_a_local_dataset_is_read_whole_and_in_order(folder, tmp_path_factory):
    (split,) = plan(f"hf://{folder}")
    assert (split.format, split.needs_spill) == (Format.HUGGING_FACE, True)
    chunks = spill([split], tmp_path_factory.mktemp("chunks"))
    found = read(chunks)
    assert found.column("text") == [f"document {n}" for n in range(2_000)]
    assert found.column("location") == [f"hf://{folder}#{n}" for n in range(2_000)]
    assert found.documents[7]["extra"] == '{"label":"human","n":7}'
    assert found.documents == read([split]).documents


def test_chunks_of_a_dataset_are_as_small_as_asked(folder, tmp_path_factory):
    splits = plan(f"hf://{folder}", split_bytes=10_000)
    chunks = spill(splits, tmp_path_factory.mktemp("chunks"))
    assert [chunk.first_position for chunk in chunks] == [0, 1_000]  # a batch of a thousand rows is not torn
    assert read(chunks).documents == read(splits).documents


def test_a_split_is_chosen_by_name(folder):
    assert read(plan(f"hf://datasets/{folder}:test")).column("text") == [f"document {n}" for n in range(5_000, 5_010)]


def test_a_split_that_is_not_there_is_an_error(folder):
    with pytest.raises(InputError, match="nosuch"):
        plan(f"hf://{folder}:nosuch")


def test_several_splits_without_train_must_be_chosen_from(tmp_path):
    for name in ("validation", "test"):
        (tmp_path / f"{name}.jsonl").write_bytes(json_lines({"text": name}))
    with pytest.raises(InputError, match="has the splits test, validation; name one"):
        plan(f"hf://{tmp_path}")
    (tmp_path / "validation.jsonl").unlink()
    assert read(plan(f"hf://{tmp_path}")).column("text") == ["test"]


@pytest.mark.parametrize("address", ["hf:///no/such/folder", "hf://datasets/nobody/nothing-at-all"])
def test_a_dataset_that_is_not_there_is_an_error_that_says_what_to_do(address):
    with pytest.raises(InputError, match="check the name and the network"):
        plan(address)


def test_class_labels_are_read_as_their_names(tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["human", "machine"])})
    os.makedirs(tmp_path / "data")
    datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features).to_parquet(tmp_path / "data/train.parquet")
    found = read(plan(f"hf://{tmp_path}", origin=None))
    assert found.column("origin") == ["synthetic", "human", "unknown"]


def test_faults_in_a_dataset_are_dead_letters_at_their_row(tmp_path):
    pq.write_table(pa.table({"text": ["good", None, "", "also good"]}), tmp_path / "train.parquet")
    found = read(plan(f"hf://{tmp_path}", origin=Origin.SYNTHETIC))
    assert [(letter.location.rsplit("#")[-1], letter.reason) for letter in found.dead] == [
        ("1", DeadReason.MISSING_TEXT),
        ("2", DeadReason.EMPTY_TEXT),
    ]
    assert found.column("location") == [f"hf://{tmp_path}#0", f"hf://{tmp_path}#3"]


def test_a_field_that_the_dataset_lacks_is_an_error(folder):
    with pytest.raises(InputError, match="Fields seen: label, n, text"):
        plan(f"hf://{folder}", fields=FieldNames(text="body"))


def test_rows_come_in_batches_of_a_thousand_at_most(folder):
    assert [len(batch) for batch in stream_rows(f"hf://{folder}")] == [1_000, 1_000]
