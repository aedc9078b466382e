"""The gates of a run, case by case: what a refusal quotes and advises, what is left in staging, and what the ledger is told when."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from classifiers.detectors import CascadeWork
from pipeline.errors import AlarmTripped, BooksDoNotBalance, LedgerConflict, QuotaUnmet, TooManyDead, UsageError
from pipeline.finishing import admit_mix, admit_run, finish_run
from pipeline.folders import Folders
from pipeline.publishing import published_manifest, stage_output
from pipeline.recipe import load_recipe
from tests.pipeline.test_finishing import FACTS, PUBLISHED_SIX, no_documents, recipe, refusal, scored, written


@pytest.fixture
def folders(tmp_path) -> Folders:
    return Folders(str(tmp_path / "staging"))


def letters(folders: Folders, shard: str, count: int) -> None:
    path = Path(folders.dead_letters) / f"{shard}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"location": f"{shard}:{n}", "reason": "malformed", "detail": "bad"}) + "\n" for n in range(count)))


@pytest.mark.parametrize(
    ("held", "quoted"),
    [
        ({"a": 1, "b": 1, "c": 1, "d": 1}, ["a:0", "b:0", "c:0"]),
        ({"a": 2, "b": 5}, ["a:0", "a:1", "b:0"]),
        ({"a": 5, "b": 5}, ["a:0", "a:1", "a:2"]),
        ({"b": 2}, ["b:0", "b:1"]),
        ({}, []),
    ],
)
def test_a_refusal_quotes_the_first_three_dead_letters_of_the_shards_in_order(folders, held, quoted):
    for shard, count in held.items():
        letters(folders, shard, count)
    letters(folders, "z", 9)
    # A letter file that no shard's books speak of is not looked at; one that is missing is passed over.
    parts = [scored(name, 10, 5) for name in "dcba"] + [scored("z", 10)]
    with pytest.raises(TooManyDead) as refused:
        admit_run(parts, recipe(), folders)
    said = str(refused.value)
    assert said.count("(malformed: bad)") == len(quoted)
    assert (f" The first: {'; '.join(f'{one} (malformed: bad)' for one in quoted)}. Nothing" in said) == bool(quoted)


def test_a_refusal_sums_reasons_over_shards_and_names_the_most_frequent_five(folders):
    def dying(name: str, deaths: dict[str, int]):
        books = [(("news", "human", "read", "", ""), 100), *((("news", "human", "dead", "read", why), count) for why, count in deaths.items())]
        return replace(scored(name, 100), books=tuple(books))

    first, second = dying("a", {"one": 1, "two": 1, "three": 3, "four": 4, "five": 5}), dying("b", {"six": 6, "two": 9})
    with pytest.raises(TooManyDead, match=r"29 of 200 records \(14.50%\)") as refused:
        admit_run([first, second], recipe(), folders)
    said = str(refused.value)
    assert "10 two in news, 6 six in news, 5 five in news, 4 four in news, 3 three in news. Nothing" in said and "one in news" not in said


def test_books_conflicts_bytes_and_the_detectors_work_are_sums_over_shards(folders):
    parts = [replace(scored("a", 3), cascade_work=CascadeWork(10, 2, 0.5, 1.0)), scored("b", 4), replace(scored("c", 5), cascade_work=CascadeWork(1, 1))]
    catalog = admit_run(parts, recipe(), folders)
    assert catalog.cascade_work == CascadeWork(11, 3, 0.5, 1.0)
    assert (catalog.origin_conflicts, catalog.text_bytes) == (3, 300)
    assert admit_run([scored("a", 1)], recipe(), folders).cascade_work is None
    assert admit_run([], recipe(), folders).scored_by == "{}"


# Keys and sources that nobody has


@pytest.mark.parametrize(("with_key", "passes"), [((0, 0), False), ((0, 1), True), ((3, 4), True)])
def test_a_key_that_no_document_has_is_refused_but_one_document_is_enough(folders, with_key, passes):
    parts = [replace(scored(name, 10), keys=(("url", count),)) for name, count in zip("ab", with_key, strict=True)]
    settings = load_recipe(None, {"score.keys": ["url"]})
    if passes:
        admit_run(parts, settings, folders)
    else:
        with pytest.raises(UsageError, match=r"key 'url': none of 20 documents has one"):
            admit_run(parts, settings, folders)
        assert refusal(folders)["exit_code"] == 2


def test_where_nothing_was_read_no_key_is_missed(folders):
    settings = load_recipe(None, {"score.keys": ["url"]})
    assert admit_run([replace(scored("a", 0), keys=())], settings, folders).shards


def test_a_rule_for_an_input_that_was_not_scored_is_refused(folders):
    with pytest.raises(UsageError, match="no input is named 'nws'"):
        admit_run([scored("a", 10)], recipe(**{"rules.gopher_too_few_words.sources": ["nws"]}), folders)
    assert refusal(folders)["exit_code"] == 2
    admit_run([scored("a", 10)], recipe(**{"rules.gopher_too_few_words.sources": ["news"]}), folders)


# What helps


@pytest.mark.parametrize(
    ("overrides", "advised"),
    [
        ({}, {"--human_quota", "--on_shortage=shrink"}),
        ({"mix.on_shortage": "shrink"}, {"--human_quota"}),
        ({"ledger.min_fresh_human": 0.1}, {"--human_quota", "--on_shortage=shrink", "--min_fresh_human"}),
        ({"reserve.task.support": 5}, {"--human_quota", "--on_shortage=shrink", "--reserve"}),
        ({"reserve.task.support": 0}, {"--human_quota", "--on_shortage=shrink"}),
    ],
)
def test_a_shortage_advises_what_is_set_and_nothing_else(folders, overrides, advised):
    with pytest.raises(QuotaUnmet, match="Nothing was published") as refused:
        admit_mix(no_documents(recipe().mix), recipe(**overrides), folders)
    every = {"--human_quota", "--on_shortage=shrink", "--min_fresh_human", "--reserve"}
    assert {flag for flag in every if flag in str(refused.value)} == advised


# The last step, with a ledger


class Ledger:
    """What `finish_run` asks of a run's memory, written down; each of its answers can be made to fail."""

    def __init__(self, **errors: Exception):
        self.asked: list[str] = []
        self._errors = errors

    def _ask(self, name: str) -> None:
        self.asked.append(name)
        if name in self._errors:
            raise self._errors[name]

    def report(self, *_) -> dict:
        self._ask("report")
        return {"figure": 1}

    def check(self, _, report: dict) -> None:
        assert report == {"figure": 1}
        self._ask("check")

    def manifest_entries(self, report: dict) -> dict:
        return {"cycle": report}

    def publish(self, facts, report, claimed_at, publish) -> str:
        self._ask("publish")
        return publish()

    def settle(self, facts) -> None:
        self._ask("settle")

    def abandon(self) -> None:
        self._ask("abandon")


def finish(staged: Folders, output: str, memory: Ledger | None, counts=PUBLISHED_SIX, mode: str = "remix", write: bool = True) -> str:
    catalog = admit_run([scored("a", 6)], recipe(), staged)
    settings = recipe(mix__human_quota="1/2")
    os.makedirs(staged.decided, exist_ok=True)
    facts = replace(FACTS, output=output, mode=mode)
    return finish_run(facts, catalog, no_documents(settings.mix), counts, [written(3, 6)], memory, settings, staged, write)


@pytest.fixture
def output(tmp_path) -> str:
    return str(tmp_path / "out")


def test_a_run_with_a_ledger_reports_checks_and_publishes_through_it(output):
    memory = Ledger()
    with stage_output(output, "run-1", overwrite=False) as staged:
        manifest = finish(staged, output, memory)
    assert memory.asked == ["report", "check", "publish"]
    assert json.loads(Path(manifest).read_text())["cycle"] == {"figure": 1}


def test_a_step_repeated_after_publication_only_settles(output):
    with stage_output(output, "run-1", overwrite=False) as staged:
        first = finish(staged, output, Ledger())
        memory = Ledger()
        assert finish(staged, output, memory) == first
    assert memory.asked == ["settle"]


@pytest.mark.parametrize(
    ("errors", "counts", "kind", "asked"),
    [
        ({"check": AlarmTripped("too same")}, PUBLISHED_SIX, AlarmTripped, ["report", "check"]),
        ({"publish": LedgerConflict("another was first")}, PUBLISHED_SIX, LedgerConflict, ["report", "check", "publish"]),
        ({}, PUBLISHED_SIX[:1], BooksDoNotBalance, ["abandon"]),
    ],
)
def test_whatever_refuses_the_last_step_reaches_the_launcher_and_publishes_nothing(output, errors, counts, kind, asked):
    memory = Ledger(**errors)
    with stage_output(output, "run-1", overwrite=False) as staged:
        with pytest.raises(kind):
            finish(staged, output, memory, counts)
        assert refusal(staged)["exit_code"] == kind.exit_code
    assert memory.asked == asked
    assert not os.path.exists(output) and published_manifest(output, "run-1") is None


@pytest.mark.parametrize(("mode", "kept"), [("curate", True), ("remix", False)])
def test_decisions_are_published_with_their_key_by_the_run_that_scored(output, mode, kept):
    with stage_output(output, "run-1", overwrite=False) as staged:
        finish(staged, output, None, mode=mode)
    assert os.path.exists(f"{output}/decided/key.json") == os.path.exists(f"{output}/decided") == kept


def test_a_plan_asks_the_ledger_for_nothing_that_lasts(output, tmp_path):
    memory = Ledger()
    staged = Folders(str(tmp_path / "plan"))
    assert finish(staged, output, memory, write=False) == staged.manifest
    assert memory.asked == ["report", "check"]
    assert not os.path.exists(output) and not os.path.exists(staged.card)


def test_several_faults_of_the_books_are_told_together(output):
    counts = ((("news", "human", "human", "published", ""), (2, 20, 200)), (("web", "synthetic", "synthetic", "published", ""), (1, 10, 100)))
    with stage_output(output, "run-1", overwrite=False) as staged, pytest.raises(BooksDoNotBalance) as refused:
        finish(staged, output, None, counts)
    said = str(refused.value)
    assert "news (human): 6 read, but 2 disposed of; web (synthetic): 0 read, but 1 disposed of; 3 documents have the disposition" in said
    assert said.endswith("This is a defect of Headwater.")
