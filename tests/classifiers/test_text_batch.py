import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.text_batch import TextBatch
from tests.classifiers.kernel_texts import any_texts


def texts_of(batch: TextBatch) -> list[str]:
    data = batch.utf8.tobytes()
    return [data[begin:end].decode() for begin, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


@settings(max_examples=100)
@given(st.lists(any_texts, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_slices_show_their_own_texts(texts, begin, length):
    array = pa.array(texts, pa.string()).slice(begin, length)
    batch = TextBatch(array)
    assert texts_of(batch) == array.to_pylist() == texts[begin : begin + length]
    assert len(batch) == len(array)
    assert batch.num_bytes.tolist() == [len(text.encode()) for text in array.to_pylist()]


def test_text_is_not_copied():
    array = pa.array(["some", "text"])
    assert TextBatch(array).utf8.__array_interface__["data"][0] == array.buffers()[2].address


def test_slice_of_a_slice_and_concatenated_arrays_work():
    array = pa.concat_arrays([pa.array(["a", "bc"]), pa.array(["def", ""])]).slice(1).slice(1)
    assert texts_of(TextBatch(array)) == ["def", ""]


def test_words_are_split_once():
    batch = TextBatch.of(["a b"])
    assert batch.words is batch.words


def test_derived_values_are_computed_once_for_each_function():
    calls = []

    def measure(batch: TextBatch) -> int:
        calls.append(batch)
        return len(batch)

    batch = TextBatch.of(["a", "b"])
    assert batch.derive(measure) == batch.derive(measure) == 2
    assert calls == [batch]


def test_batch_accepts_any_iterable_of_strings():
    assert texts_of(TextBatch.of(word for word in ("a", "b"))) == ["a", "b"]


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_batches_without_bytes_work(texts):
    batch = TextBatch.of(texts)
    assert texts_of(batch) == texts
    assert batch.words.counts.tolist() == [0] * len(texts)
    assert batch.words.offsets.tolist() == [0] * (len(texts) + 1)
    assert batch.utf8.dtype == np.uint8


def test_nulls_are_refused():
    with pytest.raises(ValueError, match="1 of 2 texts are null"):
        TextBatch(pa.array(["a", None]))


@pytest.mark.parametrize("texts", [["a"], pa.array(["a"], pa.large_string()), pa.chunked_array([["a"]]), pa.array([1])])
def test_anything_but_a_string_array_is_refused(texts):
    with pytest.raises(TypeError, match=r"pyarrow\.StringArray"):
        TextBatch(texts)


def test_lone_surrogates_are_refused():
    with pytest.raises(ValueError, match="surrogate"):
        TextBatch.of(["\ud800"])


@pytest.mark.parametrize("texts", [[], [""], ["one", "two"]])
def test_bytes_are_read_only_whatever_buffer_they_lie_in(texts):
    """Kernels compile once more for bytes that can be written: 20 seconds of a first run."""
    made = TextBatch.of(texts)
    read = TextBatch(pa.ipc.open_stream(_stream(texts)).read_all()["text"].combine_chunks())
    assert not made.utf8.flags.writeable and not read.utf8.flags.writeable


def _stream(texts: list[str]) -> bytes:
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
