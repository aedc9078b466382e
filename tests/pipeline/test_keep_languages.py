"""`--keep_languages`: what is in other languages is turned down, with its own reason, and nothing else changes."""

import pytest

from classifiers.language import LanguageScorer, known_languages
from classifiers.text_batch import TextBatch
from pipeline.errors import UsageError
from pipeline.options import parse_arguments
from pipeline.recipe import load_recipe
from pipeline.recipe_flags import overrides_of
from tests.conftest import published, rejected
from tests.texts import documents, prose, write_jsonl

SCORERS = '--set=score.scorers=["size", "gopher_quality", "quality", "language", "content_hash", "signature"]'
GERMAN = (
    "Der alte Fischer ging am frühen Morgen langsam zum Hafen hinunter, um nach seinem kleinen Boot zu sehen. In der Nacht {noun} hatte ein schwerer Sturm "
    "gewütet, und viele Leute fürchteten um ihre Häuser. Als er an der Brücke vorbeikam, grüßte ihn die Bäckerin und fragte, ob er schon gehört habe, was "
    "geschehen sei. Er schüttelte nur den Kopf und {noun} ging weiter, denn er wollte zuerst wissen, ob das Boot noch da war. Am Ufer standen schon einige "
    "Männer und redeten leise miteinander, während die Wellen {noun} gegen die Mauer schlugen und der Himmel langsam heller wurde."
)


def german(count: int) -> list[dict]:
    return [
        {"id": f"de-{at}", "text": " ".join([GERMAN.format(noun=f"Nummer {at}")] * 1 + [f"Das war im Jahre {1800 + at * 7}, wie man sagt."])}
        for at in range(count)
    ]


def recipe_of(*arguments: str):
    parsed = parse_arguments(["curate", "--human", "a=b", "--output", "out", *arguments])
    return load_recipe(overrides=overrides_of(parsed))


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """English and German text, of which a run kept the English alone."""
    from pipeline.__main__ import main

    folder = tmp_path_factory.mktemp("languages")
    write_jsonl(folder / "human.jsonl", [*documents("en", range(20)), *german(3), {"id": "mix", "text": " ".join(["zq xv kj wp"] * 40)}])
    flags = [f"--human=a={folder}/human.jsonl", f"--output={folder}/out", SCORERS, "--keep_languages=en", "--workers=0", "--progress=none"]
    assert main(["curate", *flags]) == 0
    return folder / "out"


def test_text_in_other_languages_is_rejected_under_its_own_reason(english):
    turned_down = {row["id"]: (row["stage"], row["reason"]) for row in rejected(english).to_pylist()}
    for name in ("de-0", "de-1", "de-2", "mix"):
        assert turned_down[name] == ("rules", "unwanted_language")
    assert all(row["id"].startswith("en-") for row in published(english).to_pylist())


def test_a_remix_keeps_other_languages_without_scoring_again(headwater, english, tmp_path):
    ran = headwater("remix", f"--scored={english}/scored", f"--output={tmp_path}/german", "--keep_languages", "de")
    assert ran.code == 0 and "unwanted_language" in ran.out, ran.err
    ids = {row["id"] for row in published(tmp_path / "german").to_pylist()}
    assert ids and all(name.startswith("de-") for name in ids)


def test_the_keep_list_is_the_first_rule_and_off_by_default():
    assert recipe_of("--keep_languages=en,de").rules[0].allow == ("en", "de")
    assert recipe_of("--keep_languages=en,de").rules[0].name == "unwanted_language"
    assert "unwanted_language" not in [rule.name for rule in recipe_of().rules]


def test_codes_may_stand_apart_and_und_is_one():
    assert recipe_of("--keep_languages", " en , und,zh").rules[0].allow == ("en", "und", "zh")


@pytest.mark.parametrize("given", ["english", "EN", "eng", "en;de", ",", "xx"])
def test_what_is_no_language_code_is_refused_with_an_example(given, capsys):
    with pytest.raises(SystemExit):
        recipe_of(f"--keep_languages={given}")
    assert "is no language code; give codes such as en,de,zh" in capsys.readouterr().err


def test_without_the_language_scorer_the_error_names_it():
    with pytest.raises(UsageError, match="no scorer makes 'language'"):
        recipe_of(SCORERS.replace('"language", ', ""), "--keep_languages=en")


def test_switched_on_without_languages_it_is_refused():
    with pytest.raises(UsageError, match=r"rules\.unwanted_language: has no bound"):
        recipe_of("--set=rules.unwanted_language.enabled=true")


def test_every_language_that_the_scorer_gives_can_be_kept():
    texts = [prose(1), german(1)[0]["text"], "漢字と仮名で書かれた文章です。" * 20, "", "שלום עולם זה טקסט בעברית " * 10]
    found = set(LanguageScorer().score(TextBatch.of(texts))["language"].to_pylist())
    assert {"en", "de", "ja", "he", "und"} == found <= known_languages()
