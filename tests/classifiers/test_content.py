import hashlib

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from classifiers.content import ContentHashScorer, SizeScorer, strip_whitespace
from classifiers.pretokens import PRETOKENS
from classifiers.text_batch import TextBatch
from classifiers.token_counters import BATCH_TEXTS
from classifiers.words import WORD_SPLITTER
from tests.classifiers.kernel_texts import HOSTILE_TEXTS, any_texts


@pytest.fixture
def tokenizer_file(tmp_path):
    """A tokenizer of white-space separated words that would cut and pad every text to two tokens if it were let."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=2)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def hashes(texts: list[str]) -> list[bytes]:
    return ContentHashScorer().score(TextBatch.of(texts))["content_hash"].to_pylist()


@settings(max_examples=300)
@given(st.lists(any_texts, max_size=6))
def test_content_hash_is_that_of_the_stripped_text(texts):
    assert hashes(texts) == [xxhash.xxh3_128_digest(text.strip().encode()) for text in texts]


@settings(max_examples=200)
@given(st.text(st.sampled_from(" \t\n\x1e\x85\u00a0\u2028\u3000\u200b\ufeffaé漢👍"), max_size=12))
def test_stripping_is_that_of_python(text):
    batch = TextBatch.of(["x ", text, " x"])
    begins, ends = strip_whitespace(batch.utf8, batch.offsets)
    assert batch.utf8[begins[1] : ends[1]].tobytes().decode() == text.strip()


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=6), max_size=5))
def test_stripping_malformed_utf8_stays_within_each_text(parts):
    offsets = np.cumsum([0, *map(len, parts)])
    begins, ends = strip_whitespace(np.frombuffer(b"".join(parts), np.uint8), offsets)
    assert (offsets[:-1] <= begins).all() and (begins <= ends).all() and (ends <= offsets[1:]).all()


def test_space_at_the_ends_does_not_make_a_new_text_but_case_and_inner_space_do():
    plain, spaced, upper, inner = hashes(["a text", "\n a text\u3000", "A text", "a  text"])
    assert plain == spaced
    assert len({plain, upper, inner}) == 3


def test_white_texts_are_all_the_empty_text():
    assert len(set(hashes(["", " ", "\n\u2003\n"]))) == 1


def test_hashes_of_a_slice_are_those_of_its_texts():
    array = pa.array(["zero", "one", "two"]).slice(1, 1)
    assert ContentHashScorer().score(TextBatch(array))["content_hash"].to_pylist() == hashes(["one"])


def test_sizes_count_words_and_bytes():
    columns = SizeScorer().score(TextBatch.of(["Two words.", "", "naïve 漢"]))
    assert columns["words"].to_pylist() == [2, 0, 2]
    assert columns["tokens"].to_pylist() == [3, 0, 2]
    assert columns["bytes"].to_pylist() == [10, 0, 10]
    assert pa.schema([(name, column.type) for name, column in columns.items()]) == SizeScorer.fields


@settings(max_examples=60)
@given(st.lists(any_texts, max_size=6))
def test_sizes_of_a_text_are_alike_alone_and_in_a_batch(texts):
    together = SizeScorer().score(TextBatch.of(texts))
    alone = [SizeScorer().score(TextBatch.of([text])) for text in texts]
    assert all(together[name].to_pylist() == [one[name][0].as_py() for one in alone] for name in together)


def test_size_version_names_splitter_and_tokenizer(tokenizer_file):
    assert WORD_SPLITTER in SizeScorer().version and PRETOKENS in SizeScorer().version
    digest = hashlib.sha256(tokenizer_file.read_bytes()).hexdigest()
    assert digest[:16] in SizeScorer(str(tokenizer_file)).version


def test_tokenizer_file_counts_whole_texts_unpadded(tokenizer_file):
    texts = [" ".join("x" * length) for length in range(7)] * (BATCH_TEXTS // 3)
    columns = SizeScorer(str(tokenizer_file)).score(TextBatch.of(texts))
    assert columns["tokens"].to_pylist() == [len(text.split()) for text in texts]
    assert columns["tokens"].type == pa.int32()


def test_tokenizer_counts_hostile_texts(tokenizer_file):
    columns = SizeScorer(str(tokenizer_file)).score(TextBatch.of(list(HOSTILE_TEXTS)))
    assert len(columns["tokens"]) == len(HOSTILE_TEXTS)


def test_missing_tokenizer_file_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json.*No such file.*headwater-pretokens-1"):
        SizeScorer(str(tmp_path / "nowhere.json"))


def test_broken_tokenizer_file_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"model": 3}')
    with pytest.raises(ValueError, match=r"broken\.json.*is no tokenizer file.*headwater-pretokens-1"):
        SizeScorer(str(path))
