"""The benchmark of the kernels measures every scorer that it names, and the floor."""

import json

from benchmarks.kernels import CONTAMINATION, EVERY, ITEM_WORDS, MASKING, main, make_settings, measure_floor, read_documents
from classifiers.contamination import ContaminationScorer
from classifiers.contamination_fields import NGRAMS
from classifiers.scorers import OPTIONAL_SCORERS, SCORER_NAMES
from classifiers.text_batch import TextBatch


def test_every_scorer_but_the_embedding_can_be_measured():
    assert {*EVERY, "embedding"} == {*SCORER_NAMES, *OPTIONAL_SCORERS, CONTAMINATION, MASKING}


def test_figures_of_scorers_masking_and_floor_are_printed_and_kept(tmp_path, capsys):
    kept = tmp_path / "kernels.json"
    main(["--documents=30", "--repeats=1", "--scorers=size,content_hash,contamination,mask_personal_data", "--evaluation_items=20", f"--json={kept}"])
    printed, figures = capsys.readouterr().out, json.loads(kept.read_text())
    names = ["words", "size", "content_hash", CONTAMINATION, MASKING, "all scorers", "write Parquet (zstd 1)", "read Parquet", "sum of the bytes"]
    assert list(figures["us_a_document"])[: len(names)] == names
    assert all(f"  {name} " in printed for name in figures["us_a_document"])
    together = sum(figures["us_a_document"][name] for name in names[:4])
    assert abs(figures["us_a_document"]["all scorers"] - together) < 1e-6 * together


def test_no_evaluation_item_stands_in_the_documents():
    documents = read_documents(None, 50, 100)
    settings = make_settings(("size", CONTAMINATION), documents, 30)
    columns = ContaminationScorer(settings.evaluation).score(TextBatch.of(documents))
    assert not any(columns[NGRAMS].to_pylist()) and settings.evaluation.ngram_words < ITEM_WORDS


def test_the_floor_has_a_figure_for_parquet_and_for_the_engines():
    assert all(seconds >= 0 for seconds in measure_floor(["some words here"] * 5, 1).values())
