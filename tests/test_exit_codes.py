"""Every documented exit code, reached through the command line, with a message that says what to do."""

import gzip
import json
import os

import pytest

from tests.conftest import WITHOUT_DETECTOR, inputs
from tests.texts import documents, write_jsonl


@pytest.fixture
def human(tmp_path):
    return write_jsonl(tmp_path / "human.jsonl", documents("human", range(20)))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--human=books=missing-*.jsonl"], "no file matches"),
        (["--human=books"], "NAME=GLOB"),
        (["--human=a={human}", "--synthetic=a={human}"], "two inputs are named 'a'"),
        (["--human=a={human}", "--text_field=body"], "body"),
        (["--human=a={human}", "--human_quote=0.5"], "did you mean --human_quota"),
        (["--human=a={human}", "--human_quota=1.5"], "human_quota"),
        (["--human=a={human}", "--quota_unit=lines"], "invalid choice"),
        (["--human=a={human}", "--set=mix.human_qota=0.5"], "did you mean 'human_quota'"),
        (["--human=a={human}", "--set=rules.short.field=wrods", "--set=rules.short.min=3"], "no scorer makes 'wrods'"),
        (["--human=a={human}", "--recipe=nowhere.toml"], "cannot be read"),
        (["--human=a={human}", "--max_false_positive_rate=0.9"], "rate"),
        ([], "no input"),
    ],
)
def test_usage_errors_exit_2_without_a_traceback(headwater, human, tmp_path, flags, says):
    given = [flag.format(human=human) for flag in flags]
    ran = headwater("curate", *given, f"--output={tmp_path}/out")
    assert ran.code == 2
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


def test_a_plan_on_a_cluster_is_refused_before_any_work(headwater, human):
    ran = headwater("plan", f"--human=a={human}", "--runner=FlinkRunner")
    assert ran.code == 2 and "leave --runner out" in ran.err


def test_an_input_with_no_readable_document_exits_2(headwater, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"text": \n' * 5)
    ran = headwater("curate", f"--human=a={path}", f"--output={tmp_path}/out")
    assert ran.code == 2 and "readable" in ran.err and "Traceback" not in ran.err


def test_too_many_dead_exits_3_and_names_the_reasons(headwater, human, tmp_path):
    with open(human, "a") as file:
        file.write("{broken\n" * 10)
    ran = headwater("curate", f"--human=a={human}", f"--output={tmp_path}/out", WITHOUT_DETECTOR)
    assert ran.code == 3
    assert f"The first: {human}:21 (malformed: " in ran.err and f"{human}:23 " in ran.err and f"{human}:24 " not in ran.err
    assert "10 of 30 records" in ran.err and "malformed in a" in ran.err and "--max_dead_share" in ran.err
    assert not (tmp_path / "out").exists()
    ran = headwater("curate", f"--human=a={human}", f"--output={tmp_path}/out", WITHOUT_DETECTOR, "--max_dead_share=0.4")
    assert ran.code == 0
    letters = [json.loads(line) for path in (tmp_path / "out" / "dead_letters").iterdir() for line in path.read_text().splitlines()]
    assert [letter["location"].rsplit(":", 1)[1] for letter in letters] == [str(n) for n in range(21, 31)]
    assert {letter["reason"] for letter in letters} == {"malformed"}


def test_a_truncated_gzip_keeps_what_can_be_read(headwater, tmp_path):
    whole = gzip.compress("".join(json.dumps(record) + "\n" for record in documents("a", range(400))).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    ran = headwater("curate", f"--human=a={tmp_path}/cut.jsonl.gz", f"--output={tmp_path}/out", WITHOUT_DETECTOR)
    assert ran.code == 0, ran.err
    letters = [json.loads(line) for path in (tmp_path / "out" / "dead_letters").iterdir() for line in path.read_text().splitlines()]
    assert [letter["reason"] for letter in letters] == ["truncated_file"]
    account = json.loads((tmp_path / "out" / "manifest.json").read_text())["accounts"][0]
    assert account["read"] > 100 and account["dead"][0]["records"] == 1


def test_a_quota_that_cannot_be_met_exits_4_with_the_shortfall(headwater, corpus, tmp_path):
    flags = [*inputs(corpus), f"--output={tmp_path}/out", WITHOUT_DETECTOR, "--human_quota=0.9", "--max_documents=100"]
    ran = headwater("curate", *flags)
    assert ran.code == 4
    assert "too little human text" in ran.err and "--on_shortage=shrink" in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()
    assert headwater("curate", *flags, "--on_shortage=shrink").code == 0


def test_no_human_text_at_all_exits_4(headwater, tmp_path):
    path = write_jsonl(tmp_path / "s.jsonl", documents("s", range(10)))
    ran = headwater("curate", f"--synthetic=a={path}", f"--output={tmp_path}/out", WITHOUT_DETECTOR)
    assert ran.code == 4 and "none of 10 documents left is human" in ran.err


def test_books_that_do_not_balance_exit_5_and_publish_nothing(headwater, human, tmp_path, monkeypatch):
    from pipeline import finishing

    def one_lost(books, counts):
        (key, (documents, tokens, size)), *rest = counts
        return finishing_books(books, [(key, (documents - 1, tokens, size)), *rest])

    finishing_books = finishing.keep_books
    monkeypatch.setattr(finishing, "keep_books", one_lost)
    ran = headwater("curate", f"--human=a={human}", f"--output={tmp_path}/out", WITHOUT_DETECTOR)
    assert ran.code == 5 and "do not balance" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_fault_of_the_machine_exits_1_and_says_which(headwater, human, tmp_path, monkeypatch):
    from transforms import score_documents

    def no_space(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(score_documents, "write_scored", no_space)
    ran = headwater("curate", f"--human=a={human}", f"--output={tmp_path}/out", WITHOUT_DETECTOR)
    assert ran.code == 1 and "No space left on device" in ran.err and "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()
    assert not [name for name in os.listdir(tmp_path) if "staging" in name]


def test_success_exits_0(headwater, human, tmp_path):
    assert headwater("curate", f"--human=a={human}", f"--output={tmp_path}/out", WITHOUT_DETECTOR).code == 0


def test_help_names_every_exit_code(headwater):
    ran = headwater("--help")
    for code in range(6):
        assert f"{code} " in " ".join(ran.out.split()) + " "
