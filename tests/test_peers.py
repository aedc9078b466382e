"""The comparison with other tools counts what it says: recall and precision of planted copies, kept sets, what each tool's files mean."""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import corpus, outcomes, peer_tools, peers
from benchmarks.corpus import Pair, Planted
from benchmarks.data_juicer_run import write_config
from benchmarks.dolma_run import RULES, attribute, exclusions
from benchmarks.measure import Measured
from tests.test_benchmarks import topic_texts, write_output

PAIRS = [Pair("a", "A", 0.9), Pair("b", "B", 0.9), Pair("c", "C", 0.72), Pair("d", "D", 0.74)]


def outcome(reached: str, kept: str) -> outcomes.Outcome:
    return outcomes.Outcome(frozenset(reached), frozenset(kept), dict.fromkeys(set("abcdABCD") - set(reached), "too_short"))


def write_lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


# --- recall, precision, differences -----------------------------------------------------------------------------------


def test_recall_counts_pairs_that_reached_deduplication_and_lost_a_member():
    # a: copy removed; b: both kept; c: both removed; d: the copy never reached deduplication.
    found = outcomes.measure_recall(PAIRS, outcome(reached="aAbBcCd", kept="abBd"))
    assert (found.found, found.pairs) == (2, 3)
    assert found.share == 2 / 3


def test_recall_by_similarity_splits_the_pairs():
    rows = outcomes.recall_by_similarity(PAIRS, {"one": outcome("aAbBcCdD", "abBcdD"), "other": outcome("cC", "c")})
    assert rows == [["0.70 to 0.75", "50.0% of 2", "100.0% of 1"], ["0.90 to 0.95", "50.0% of 2", "-"]]


def test_difference_of_filters_is_explained_by_the_other_sides_reasons():
    ours, theirs = outcome("abcd", "abcd"), outcome("ab", "ab")
    assert outcomes.explain_difference(ours, theirs) == "too_short 2"
    assert outcomes.explain_difference(theirs, ours) == "nothing"


def test_difference_of_kept_sets_tells_duplicates_from_filters():
    ours, theirs = outcome("abcd", "abcd"), outcome("abc", "a")
    assert outcomes.explain_kept(ours, theirs) == "duplicate 2, too_short 1"
    assert outcomes.overlap_of_kept(ours, theirs) == (1, 3, 0)


def test_precision_counts_removals_that_have_a_true_twin_among_what_reached_deduplication():
    words = [f"w{number}" for number in range(40)]
    texts = {"a": " ".join(words), "b": " ".join([*words[:39], "other"]), "c": " ".join(words[::-1]), "d": "quite short", "e": "quite short"}
    held = outcomes.shingle_texts(texts)
    # b is like a; c is like nothing; e equals d, which did not reach deduplication.
    made = outcomes.Outcome(frozenset("abce"), frozenset("a"), {"d": "too_short"})
    found = outcomes.measure_precision(made, held)
    assert (found.found, found.pairs) == (1, 3)
    assert outcomes.measure_precision(replace(made, reached=frozenset("abcde"), kept=frozenset("ad")), held).found == 2


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), min_size=1, max_size=7), st.integers(0, 100))
def test_nearest_similarity_is_that_of_the_plain_definition(texts, seed):
    named = {f"{place}": text for place, text in enumerate(texts)}
    names, pool = [name for name in named if (int(name) + seed) % 3], [name for name in named if (int(name) + seed) % 5]
    found = outcomes.nearest_similarities(names, pool, outcomes.shingle_texts(named))
    assert found == {
        name: pytest.approx(max((corpus.jaccard(named[name], named[other]) for other in pool if other != name), default=0)) for name in names
    }


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_wilson_interval_holds_the_share(successes, trials):
    successes = min(successes, trials)
    low, high = outcomes.wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


def test_wilson_interval_against_a_published_value():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, Wilson without continuity correction.
    assert outcomes.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert outcomes.wilson_interval(0, 0) == (0, 1)


# --- what each tool's files mean --------------------------------------------------------------------------------------


def test_headwaters_outcome_is_read_from_its_files(tmp_path):
    out = write_output(
        tmp_path / "out",
        [("s", "a", "human")],
        [("s", "b", "rules", None), ("s", "c", "exact_duplicates", "a"), ("s", "d", "near_duplicates", "a")],
    )
    read = peer_tools.read_headwater(out, frozenset("abcd"))
    assert read.reached == set("acd")
    assert read.kept == {"a"}
    assert read.removed == set("cd")
    assert read.filtered == {"b": "rules"}


def test_partners_are_compared_by_their_texts(tmp_path):
    rejected = [("s", "b", "near_duplicates", "a"), ("s", "c", "near_duplicates", "a"), ("s", "d", "exact_duplicates", "a")]
    out = write_output(tmp_path / "out", [("s", "a", "human")], rejected)
    texts = {"a": "one two three four five six", "b": "one two three four five six", "c": "seven", "d": ""}
    assert peer_tools.partner_similarities(out, texts).tolist() == [0, 1]


def test_datatroves_outcome_is_read_from_its_files(tmp_path):
    write_lines(tmp_path / "filtered" / "0.jsonl", [{"id": "a"}, {"id": "b"}])
    write_lines(tmp_path / "removed" / "c4" / "0.jsonl", [{"id": "c", "metadata": {"filter_reason": "lorem_ipsum"}}])
    (tmp_path / "final").mkdir()
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "final" / "0.parquet")
    read = peer_tools.read_datatrove(tmp_path, frozenset("abc"))
    assert (read.reached, read.kept, read.filtered) == (frozenset("ab"), frozenset("a"), {"c": "lorem_ipsum"})


def test_data_juicers_outcome_is_what_reached_its_deduplication_and_what_came_out(tmp_path):
    (tmp_path / "reached.json").write_text('["a", "b"]')
    pq.write_table(pa.table({"id": ["b"]}), tmp_path / "final.parquet")
    read = peer_tools.read_data_juicer(tmp_path, frozenset("abc"))
    assert (read.reached, read.kept, set(read.filtered)) == (frozenset("ab"), frozenset("b"), {"c"})


def spans(**numbers: float) -> dict:
    return {attribute("gopher_v1", name): [[0, 9, number]] for name, number in numbers.items()}


def test_dolmas_outcome_is_recounted_from_its_numbers(tmp_path):
    records = [
        {"id": "a", "attributes": spans(word_count=60.0)},
        {"id": "b", "attributes": spans(word_count=49.0, required_word_count=0.0)},
        {"id": "c", "attributes": {attribute("c4_v2", "has_curly_brace"): [[0, 9, 1.0]]}},
        {"id": "d", "attributes": {}},
    ]
    write_lines(tmp_path / "src" / "attributes" / "exp" / "0.jsonl.gz", records)
    write_lines(tmp_path / "final" / "peers-0000.json.gz", [{"id": "a"}])
    read = peer_tools.read_dolma(tmp_path, frozenset("abcd"))
    assert read.reached == set("ad")
    assert read.kept == {"a"}
    assert read.filtered == {"b": "word_count < 50", "c": "has_curly_brace"}


def test_every_rule_of_dolmas_is_an_exclusion_of_its_mixer_and_so_is_the_mark_of_a_duplicate():
    paths = exclusions()
    assert len(paths) == len(RULES) + 1 == len(set(paths))
    assert paths[0] == "$.attributes[?(@.exp__gopher_v1__word_count && @.exp__gopher_v1__word_count[0] && @.exp__gopher_v1__word_count[0][2] < 50)]"
    assert "$.attributes[?(@.duplicate)]" in paths


def test_documents_are_packed_for_dolma_with_a_source(tmp_path):
    write_lines(tmp_path / "docs" / "0.jsonl", [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    assert peer_tools.pack_for_dolma(tmp_path / "docs", tmp_path / "packed") == 2
    assert list(corpus.read_jsonl(tmp_path / "packed" / "0.jsonl.gz"))[1] == {"id": "b", "text": "two", "source": "peers"}


def test_data_juicer_is_told_the_folder_the_workers_and_the_bands(tmp_path):
    config = Path(write_config("/in", str(tmp_path), 3)).read_text()
    assert "dataset_path: /in\n" in config and "np: 3\n" in config
    assert "num_permutations: 112, num_bands: 14, num_rows_per_band: 8" in config
    assert config.count("  - ") == 8


def test_few_documents_are_the_first_of_two_files(tmp_path):
    documents, planted = corpus.plant(topic_texts(60), exact=0, near=0, seed=0)
    corpus.write_corpus(tmp_path / "c", documents, planted, shards=3)
    few = peer_tools.take_documents(tmp_path / "c" / "docs", tmp_path / "few", 10)
    assert sum(1 for path in few.glob("*.jsonl") for _ in corpus.read_jsonl(path)) == 10


# --- the report -------------------------------------------------------------------------------------------------------


def measured(cpu_s: float, **other: float) -> Measured:
    return Measured(("tool",), 0, 1.0, cpu_s, cpu_s, cpu_s, 10**9, None, 3, 0)


def test_tools_are_those_with_a_virtual_environment_and_ours_come_first(tmp_path):
    none = {"datatrove": None, "data_juicer": None, "dolma": None}
    assert list(peer_tools.make_tools("gopher", none)) == ["Headwater"]
    everything = dict.fromkeys(none, tmp_path)
    made = list(peer_tools.make_tools("fineweb", everything, also_full=True, also_parity=True))
    assert made == ["Headwater", "Headwater, datatrove's words", "datatrove", "datatrove, all filters", "data-juicer", "dolma"]
    assert list(peer_tools.make_tools("fineweb", none | {"dolma": tmp_path})) == ["Headwater", "dolma"]
    assert all((peer_tools.REPOSITORY / "benchmarks" / name).exists() for name in peer_tools.RECIPES.values())


def test_rates_are_compared_as_run_and_without_start_up():
    texts = outcomes.shingle_texts({f"{place:04}": f"text number {place}" for place in range(1_100)})
    made = outcomes.Outcome(frozenset(texts), frozenset(texts), {})
    planted = Planted((), ())
    ours, row = peers.describe_tool(measured(1.0), measured(2.0), made, planted, texts)
    theirs, _ = peers.describe_tool(measured(1.0), measured(11.0), made, planted, texts)
    assert (ours["documents_per_cpu_s"], ours["documents_per_cpu_s_net_of_startup"]) == (550, 1000)
    assert len(row) == len(peers.HEADER) - 1
    ratios = peers.compare_rates({"Headwater": ours, "Headwater, other words": ours, "dolma": theirs}, {"documents_per_cpu_s": 800})
    assert ratios == {"dolma": {"as_run": pytest.approx(5.5), "net_of_startup": pytest.approx(10), "large": pytest.approx(8)}}
    (one,) = peers.ratio_lines("dolma", ratios["dolma"], {})
    assert one.startswith("Headwater does 5.5 times dolma's documents per CPU-second, start-up included")


def test_report_names_both_sides_of_every_comparison():
    made = {"Headwater": outcome("aAbBcC", "abc"), "dolma": outcome("aAbB", "aAbB")}
    lines = "\n".join(peers.compare_outcomes(made, Planted((), tuple(PAIRS[:2]))))
    assert "Of the pairs that reached deduplication in both: Headwater 100.00% (2 of 2" in lines
    assert "dolma 0.00% (0 of 2" in lines
    assert "dolma alone drops 2 (too_short 2)" in lines
    assert "only Headwater 1 (dolma: too_short 1), only dolma 2 (Headwater: duplicate 2)" in lines


def test_a_comparison_with_nobody_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["peers", "--scratch", "x"])
    with pytest.raises(SystemExit):
        peers.main()
    assert "give at least one of --datatrove_venv" in capsys.readouterr().err
