"""A slip of the pen in a flag, a key, a value that names a field: each error says what is nearest."""

import pytest

from classifiers.nearest import did_you_mean
from tests.conftest import WITHOUT_DETECTOR, inputs

SLIPS = {
    "flag": ("--human_quta=0.5", "--human_quota"),
    "flag of a group": ("--keep_tp=quality=10%", "--keep_top"),
    "key of --set": ("--set=mix.human_qota=0.5", "'human_quota'"),
    "section of --set": ("--set=deddup.near=false", "'dedup'"),
    "key of a rule": ("--set=rules.top_2gram.maxx=0.5", "'max'"),
    "name of a rule": ("--set=rules.gopher_to_few_words.min=30", "'gopher_too_few_words'"),
    "field of a rule": ("--set=rules.top_2gram.field=top_3gram_char_shar", "'top_3gram_char_share'"),
    "field of a share": ("--keep_top=qualty=10%", "'quality'"),
    "group of a share": ("--keep_top=quality@lnguage=10%", "'language'"),
    "field of reserved places": ("--reserve=tsk.support=5", "'task'"),
    "field of a cap": ("--cap=promt=2", "'prompt'"),
    "score of the best": ("--set=dedup.quality_field=qualty", "'quality'"),
    "scorer": ('--set=score.scorers=["sise", "content_hash"]', "'size'"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_names_the_nearest(headwater, corpus, tmp_path, slip):
    given, nearest = SLIPS[slip]
    flags = [given] if slip == "scorer" else [WITHOUT_DETECTOR, given]
    ran = headwater("curate", *inputs(corpus), f"--output={tmp_path}/out", *flags)
    assert ran.code == 2 and f"did you mean {nearest}?" in ran.err, ran.err


@pytest.mark.parametrize(
    ("text", "nearest"), [("[mixx]\nseed = 1\n", "'mix'"), ("[mix]\nhuman_qota = 1\n", "'human_quota'"), ("[keep_top]\nqualty = 0.5\n", "'quality'")]
)
def test_a_slip_in_a_recipe_names_the_nearest(headwater, corpus, tmp_path, text, nearest):
    (tmp_path / "my.toml").write_text(text)
    ran = headwater("curate", *inputs(corpus), f"--output={tmp_path}/out", f"--recipe={tmp_path}/my.toml")
    assert ran.code == 2 and f"did you mean {nearest}?" in ran.err and not (tmp_path / "out").exists()


def test_what_is_like_nothing_gets_no_guess():
    assert did_you_mean("zzzz", ["human_quota", "seed"]) == "" and did_you_mean("sead", ["human_quota", "seed"]) == "; did you mean 'seed'?"
