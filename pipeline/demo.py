"""The demo's inputs: human text found in the interpreter itself, and the machine-written examples of this project.

Nothing is downloaded and no human text is shipped. `write_demo_inputs` reads what people wrote into every Python
installation, the reference topics behind `help()` and the docstrings of the standard library, and cuts it into prose
passages of 60 to 400 words: some 550 of them in Python 3.11, in about a second.
"""

import importlib
import inspect
import json
import re
import site
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

MIN_WORDS = 60
"""Shortest passage: Gopher's floor of 50 words (Rae et al. 2021, table A1), with some room for words that count as symbols."""
MAX_WORDS = 400
"""Longest passage; a paragraph that is longer on its own is left out."""
MIN_PARAGRAPH_WORDS = 8
"""Paragraphs below this are headings, signatures or crumbs of a list."""
MIN_LETTER_SHARE = 0.78
"""Share of a paragraph's words and punctuation marks that must hold a letter: code and tables have less. Gopher's rule asks
for .80 of a whole document, counted in much the same way; a few passages are left for it to find."""

MODULES = (
    "abc", "argparse", "array", "ast", "asyncio", "base64", "bisect", "calendar", "cmd", "codecs", "collections", "concurrent.futures",
    "configparser", "contextlib", "copy", "csv", "dataclasses", "datetime", "decimal", "difflib", "dis", "doctest", "email.message",
    "email.policy", "enum", "fileinput", "filecmp", "fnmatch", "fractions", "ftplib", "functools", "gettext", "glob", "gzip", "heapq", "hmac",
    "html.parser", "http.client", "http.cookiejar", "http.cookies", "http.server", "imaplib", "importlib.abc", "inspect", "io", "ipaddress",
    "itertools", "json", "locale", "logging", "logging.config", "logging.handlers", "mailbox", "math", "mimetypes", "multiprocessing.pool",
    "optparse", "os", "pathlib", "pickle", "pickletools", "pkgutil", "platform", "plistlib", "poplib", "pprint", "profile", "pydoc", "queue",
    "random", "re", "sched", "secrets", "selectors", "shelve", "shlex", "shutil", "smtplib", "socket", "socketserver", "statistics",
    "string", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "timeit", "tokenize", "traceback", "types", "typing",
    "unittest", "unittest.mock", "urllib.parse", "urllib.request", "urllib.robotparser", "uuid", "weakref", "xml.dom.minidom",
    "xml.etree.ElementTree", "zipapp", "zipfile",
)  # fmt: skip
"""Modules whose docstrings are read, in this order. None opens a window or a connection when imported."""

_WORD_OR_MARK = re.compile(r"[\w'’-]*\w|[^\w\s]")
_LITERAL = re.compile(r"\"([^\"]+)\"|``([^`]+)``|`([^`]+)`|(?<!\w)\*{1,2}(\w[^*]*)\*{1,2}(?!\w)")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_LIST_ITEM = re.compile(r"(?:[-*+•|>$#@:=]|\.\.|\d+[.)])(?:\s|$)|>>>|--|\|")
_UNDERLINE = re.compile(r"([=\-~*^\"'#])\1{2,}")
_ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`~?([^`]+)`")


def write_demo_inputs(folder: str) -> dict[str, str]:
    """Write `human.jsonl` into `folder` (made if need be) and find the example files; paths by kind of input.

    Returns {"human": ..., "synthetic": ..., "unlabelled": ...}. The human file is the same, byte for byte, for one version
    of Python on one platform. Raises FileNotFoundError when the examples are neither in a checkout nor among the installed files.
    """
    examples = find_examples()
    Path(folder).mkdir(parents=True, exist_ok=True)
    human = Path(folder) / "human.jsonl"
    with human.open("w", encoding="utf-8", newline="\n") as file:
        for document in read_human_documents():
            file.write(json.dumps(document, ensure_ascii=False) + "\n")
    return {"human": str(human), "synthetic": str(examples / "synthetic.jsonl"), "unlabelled": str(examples / "unlabelled.jsonl")}


def find_examples() -> Path:
    """Folder of `synthetic.jsonl` and `unlabelled.jsonl`: `examples` of a checkout, else what the installed distribution brought along."""
    checkout = Path(__file__).resolve().parents[1] / "examples"
    candidates = [checkout, *(Path(base) / "share" / "headwater" / "examples" for base in (sysconfig.get_path("data"), site.getuserbase()))]
    for candidate in candidates:
        if all((candidate / name).is_file() for name in ("synthetic.jsonl", "unlabelled.jsonl")):
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f"synthetic.jsonl and unlabelled.jsonl of the demo are in none of {looked}: run it from a source checkout")


def read_human_documents() -> Iterator[dict[str, Any]]:
    """Passages of the interpreter's own documentation: `id`, `text`, `title`, `kind`, each paragraph in one passage at most.

    Ids are `pydoc:topic:NAME:NUMBER` and `stdlib:MODULE.QUALIFIED_NAME`, with `:NUMBER` behind from the second passage on.
    """
    seen: set[str] = set()
    for name, text in _read_topics():
        for number, passage in enumerate(make_passages(text, seen)):
            yield {"id": f"pydoc:topic:{name}:{number}", "text": passage, "title": name, "kind": "topic"}
    for name, text in _read_docstrings():
        for number, passage in enumerate(make_passages(text, seen)):
            identifier = f"stdlib:{name}" + (f":{number}" if number else "")
            yield {"id": identifier, "text": passage, "title": name, "kind": "docstring"}


def make_passages(text: str, seen: set[str]) -> list[str]:
    """Runs of neighbouring prose paragraphs of `text`, each of `MIN_WORDS` to `MAX_WORDS` words.

    A paragraph in `seen` (compared without case, spaces and punctuation) is left out; those that enter a passage are added
    to it. Lines within a paragraph are joined; code, tables, lists and headings are dropped and end a run.
    """
    passages: list[str] = []
    run: list[str] = []
    run_words = 0
    for block in [*_BLANK_LINE.split(text), ""]:
        paragraph = clean_paragraph(block)
        words = len(paragraph.split())
        fits = 0 < words <= MAX_WORDS and _fold(paragraph) not in seen
        # A passage is closed at its first chance, so that one topic gives several and none grows into a chapter.
        if run and (not fits or run_words >= MIN_WORDS or run_words + words > MAX_WORDS):
            if run_words >= MIN_WORDS:
                passages.append("\n\n".join(run))
                seen.update(map(_fold, run))
            run, run_words = [], 0
        if fits:
            run.append(paragraph)
            run_words += words
    return passages


def clean_paragraph(block: str) -> str:
    """`block` as one line of prose without marks of literals, emphasis and roles; "" if it is code, list, table, heading or crumb."""
    lines = [line.strip() for line in block.strip().splitlines()]
    if any(_LIST_ITEM.match(line) or _UNDERLINE.match(line) for line in lines):
        return ""
    unmarked = _LITERAL.sub(lambda match: match.group(match.lastindex), _ROLE.sub(r"\1", " ".join(lines)))
    words = unmarked.split()
    paragraph = " ".join(words)
    if len(words) < MIN_PARAGRAPH_WORDS or paragraph[-1] not in ".!?)" or not (paragraph[0].isalnum() or paragraph[0] in "\"'(*`"):
        return ""
    marks = _WORD_OR_MARK.findall(paragraph)
    lettered = sum(any(map(str.isalpha, mark)) for mark in marks)
    return paragraph if lettered >= MIN_LETTER_SHARE * len(marks) else ""


def _read_topics() -> Iterator[tuple[str, str]]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ImportError("the demo reads pydoc_data.topics, which this Python lacks: install the whole standard library") from error
    return iter(sorted(topics.items()))


def _read_docstrings() -> Iterator[tuple[str, str]]:
    """Qualified names and dedented docstrings of the modules and of the classes, functions and methods they define."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name, value in [(module_name, module), *_members(module_name, vars(module).items())]:
            doc = inspect.getdoc(value)
            if doc:
                yield name, doc


def _members(prefix: str, items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(items, key=lambda item: item[0]):
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        if inspect.isclass(value):
            yield f"{prefix}.{name}", value
            # Only what the class itself defines: `inspect.getdoc` would repeat a base class's words for each heir.
            own = sorted((key, member) for key, member in vars(value).items() if _is_documented(key, member))
            yield from ((f"{prefix}.{name}.{key}", member) for key, member in own)
        elif inspect.isroutine(value):
            yield f"{prefix}.{name}", value


def _is_documented(name: str, member: Any) -> bool:
    """Whether a class attribute is a public routine or property: a constant would lend its type's docstring."""
    return not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property | staticmethod | classmethod))


def _fold(paragraph: str) -> str:
    return "".join(character for character in paragraph.lower() if character.isalnum())
