"""Labelled text for the trained quality classifier: what is worth reading, and what is not, from four sets that people judged.

| set | good | bad | split by |
|---|---|---|---|
| `quality_boilerplate` | main content of a web page | its navigation, notices and other boilerplate | page |
| `quality_hplt2_annot` | natural web text, 22 languages | unnatural: lists of links, machine translation, spam | opening |
| `quality_spamassassin_2003` | mail between people and on lists | unasked advertising | opening |
| `quality_turku_lines` | lines kept of a crawled page, 6 languages | lines of the same page marked as noise | page |

Web pages go without those that are mark-up still, and without entities; mail without its headers, mark-up and encoded parts. These alone would tell the
labels apart.
"""

import html
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from classifiers.labelled_text import find_set, fraction_of, opening, read_records

MIN_WORDS = 20
"""Shortest text, in words separated by white space, that training and evaluation use."""
HELD_OUT_SHARE = 0.2
"""Share of the groups of every set that training never sees."""
MARKUP_CHARS, MARKUP_TAGS = 2_000, 3
"""A page with so many tags among its first characters is source, not text."""
_SPLIT_SEED = 11
"""Deals groups to training and held-out text: part of the data, not of a run."""
_TAG = re.compile(r"<[^<>]{0,300}>")
_ENCODED_LINE = re.compile(r"(?m)^\S{60,}$")
_MIME_LINE = re.compile(r"(?mi)^(?:--\S*|content-[a-z-]+:.*|\s+(?:charset|boundary|name)=.*|this is a multi-part message.*)$")


@dataclass(frozen=True, slots=True)
class QualityText:
    """One judged text."""

    text: str
    """UTF-8 can hold it: lone surrogates are replaced."""
    is_good: bool
    """What people said of it."""
    set_name: str
    """Which set it came from."""
    group: str
    """Texts of one group (a page, or an opening) must not be split."""

    @property
    def is_held_out(self) -> bool:
        """Whether training never sees it: decided by its group alone."""
        return fraction_of(self.group, _SPLIT_SEED) < HELD_OUT_SHARE


def read_quality_sets(folder: str, sets: Sequence[str]) -> list[QualityText]:
    """The usable texts of `sets`, in order: judged good or bad, of at least `MIN_WORDS` words, no exact repetition.

    Raises FileNotFoundError for a set that is not there, ValueError for one that this module does not know.
    """
    unknown = [name for name in sets if name not in _READERS]
    if unknown:
        raise ValueError(f"sets: unknown {unknown[0]!r}; known: {', '.join(QUALITY_SETS)}")
    texts, seen = [], set()
    for name in sets:
        for record in read_records(find_set(folder, name)):
            for text, is_good, group in _READERS[name](record):
                text = text.encode("utf-8", "replace").decode()
                if len(text.split(None, MIN_WORDS - 1)) < MIN_WORDS or text in seen:
                    continue
                seen.add(text)
                texts.append(QualityText(text, is_good, name, f"{name}/{group or opening(text) or text[:60]}"))
    return texts


def mail_body(raw: str) -> str:
    """What a reader of the mail sees, about: without headers, MIME lines, encoded lines and tags."""
    _, _, body = raw.partition("\n\n")
    return _TAG.sub(" ", _ENCODED_LINE.sub("", _MIME_LINE.sub("", body))).strip()


def _read_boilerplate(record: dict) -> Iterator[tuple[str, bool, str]]:
    # A tenth of the main content is the page's source, under one style sheet: it would be learned as a mark of good text. So would entities.
    if record.get("quality") in ("main_content", "boilerplate") and len(_TAG.findall(record["text"][:MARKUP_CHARS])) < MARKUP_TAGS:
        yield html.unescape(record["text"]), record["quality"] == "main_content", f"{record['set']}/{record['page']}"


def _read_annotated(record: dict) -> Iterator[tuple[str, bool, str]]:
    # Porn and texts in another language than declared were judged for that, not for how they are written.
    if record.get("quality") in ("ok", "unnatural"):
        yield record["text"], record["quality"] == "ok", ""


def _read_mail(record: dict) -> Iterator[tuple[str, bool, str]]:
    if record.get("quality") in ("ham", "spam"):
        yield mail_body(record["text"]), record["quality"] == "ham", ""


def _read_lines(record: dict) -> Iterator[tuple[str, bool, str]]:
    for label in (1, 0):
        lines = [line.strip() for line, said in zip(record["lines"], record["line_labels"], strict=True) if said == label]
        yield "\n".join(lines), label == 1, record["id"]


_READERS: dict[str, Callable[[dict], Iterator[tuple[str, bool, str]]]] = {
    "quality_boilerplate": _read_boilerplate,
    "quality_hplt2_annot": _read_annotated,
    "quality_spamassassin_2003": _read_mail,
    "quality_turku_lines": _read_lines,
}
QUALITY_SETS = tuple(_READERS)
"""Every set that is read here."""
