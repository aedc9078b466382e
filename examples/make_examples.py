"""Plant faults among the texts of `base.jsonl` and write `synthetic.jsonl` and `unlabelled.jsonl`.

`python examples/make_examples.py` rewrites both files from the base file, byte for byte the same each time. This file
holds no text of its own: whatever can be derived from a good text (copies, loops, cut endings) is made here, and the
faults that cannot (refusals, prompt residue, lists ...) stand in the base file already.

A line of the base file: `slug`, `file` (synthetic | unlabelled), `task`, `topic`, `text` or `messages`, `planted` if the
text is itself a fault, and `derive`, a list of {"kind", "file"} with kind exact | near | loop | truncated. A text that is
truncated appears only in its truncated form; the other kinds stand beside their original.
"""

import datetime
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

GENERATOR = "headwater-examples"
FIRST_DAY = datetime.datetime(2025, 3, 1, 6, 0, tzinfo=datetime.UTC)
"""`created_at` of the first synthetic document; each later one is `STEP` younger."""
STEP = datetime.timedelta(hours=7, minutes=13)

SHINGLE_WORDS = 5
NEAR_JACCARD = 0.86
"""A near copy is changed until its word 5-gram Jaccard with the original is at most this; with 120 words and more it
then lies above .78, since one swap costs about .06."""
LOOP_REPEATS = 30
TRUNCATED_SHARE = 0.7
"""Share of the words that a truncated text keeps, the last of them cut in half."""

SWAPS = {
    "after that": "afterwards",
    "almost": "nearly",
    "anybody": "anyone",
    "anyone": "anybody",
    "at once": "immediately",
    "but": "yet",
    "can": "could",
    "could not": "couldn't",
    "did not": "didn't",
    "do not": "don't",
    "does not": "doesn't",
    "everybody": "everyone",
    "everyone": "everybody",
    "for example": "for instance",
    "however": "though",
    "is not": "isn't",
    "it is": "it's",
    "large": "big",
    "may": "might",
    "nobody": "no one",
    "often": "frequently",
    "ought to": "should",
    "perhaps": "maybe",
    "quickly": "rapidly",
    "should": "ought to",
    "somebody": "someone",
    "someone": "somebody",
    "that is": "that's",
    "the first": "the very first",
    "the same": "the very same",
    "there is": "there's",
    "they are": "they're",
    "until": "till",
    "usually": "normally",
    "was not": "wasn't",
    "were not": "weren't",
    "will": "shall",
    "you have": "you've",
}
"""Phrases that a near copy may exchange: each leaves the sentence readable."""
_SWAP_PATTERN = re.compile(r"(?<![\w'])(?<!nothing )(?<!all )(" + "|".join(sorted(SWAPS, key=len, reverse=True)) + r")(?![\w'])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def word_shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams of the lower-cased text; punctuation separates words and is dropped."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def jaccard(left: str, right: str) -> float:
    """Share of the word 5-grams of either text that both have, 0..1."""
    a, b = word_shingles(left), word_shingles(right)
    return len(a & b) / len(a | b)


def make_near_copy(text: str, slug: str) -> str:
    """`text` with a few phrases exchanged, just enough to bring the Jaccard down to `NEAR_JACCARD`.

    Which ones is decided by a hash of `slug` and position; they stand at least 30 characters apart. Raises ValueError
    when the text has too few phrases that can be exchanged.
    """
    candidates = list(_SWAP_PATTERN.finditer(text))
    candidates.sort(key=lambda match: hashlib.sha256(f"{slug}:{match.start()}".encode()).digest())
    chosen: list[re.Match[str]] = []
    for candidate in candidates:
        if any(abs(candidate.start() - other.start()) < 30 for other in chosen):
            continue
        chosen.append(candidate)
        copy = text
        for match in sorted(chosen, key=re.Match.start, reverse=True):
            copy = copy[: match.start()] + SWAPS[match.group(1)] + copy[match.end() :]
        if jaccard(text, copy) <= NEAR_JACCARD:
            return copy
    raise ValueError(f"{slug}: {len(candidates)} phrases to exchange are too few for a near copy")


def make_loop(text: str) -> str:
    """The first two sentences of `text`, then the third one `LOOP_REPEATS` times, as a model that got stuck would write."""
    sentences = _SENTENCE_END.split(text)
    return " ".join([*sentences[:2], *[sentences[2]] * LOOP_REPEATS])


def truncate(text: str) -> str:
    """The first `TRUNCATED_SHARE` of `text`, ending in the middle of a word of at least six letters."""
    words = list(re.finditer(r"[^\W\d_]{6,}", text))
    last = next(word for word in words if word.start() >= TRUNCATED_SHARE * len(text))
    return text[: last.start() + len(last.group()) // 2]


def make_examples(base: Iterable[dict]) -> dict[str, list[dict]]:
    """Documents of `synthetic` and of `unlabelled`, from the lines of the base file; ids are slugs, plus `.near` or the like."""
    planned: dict[str, list[dict]] = {"synthetic": [], "unlabelled": []}
    for line in base:
        derive = line.get("derive", [])
        if not any(plan["kind"] == "truncated" for plan in derive):
            content = {key: line[key] for key in ("text", "messages") if key in line}
            planned[line["file"]].append(_describe(line, line["slug"], content, line.get("planted")))
        for number, plan in enumerate(derive, start=1):
            kind = plan["kind"]
            suffix = kind if [other["kind"] for other in derive].count(kind) == 1 else f"{kind}{number}"
            planned[plan["file"]].append(_describe(line, f"{line['slug']}.{suffix}", {"text": _derive_text(line, kind)}, _PLANTED_NAMES[kind]))
    for file, documents in planned.items():
        # In hash order, or else every copy would follow its original and lie in the same split.
        documents.sort(key=lambda document: hashlib.sha256(document["id"].encode()).digest())
        planned[file] = [_finish(file, place, document) for place, document in enumerate(documents)]
    return planned


def read_base(folder: Path) -> list[dict]:
    """Lines of `base.jsonl` in `folder`."""
    return [json.loads(line) for line in (folder / "base.jsonl").read_text(encoding="utf-8").splitlines()]


def format_jsonl(documents: Iterable[dict]) -> str:
    """One JSON object a line, UTF-8 left as it is."""
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)


def main(folder: Path) -> None:
    """Write both files next to the base file."""
    for file, documents in make_examples(read_base(folder)).items():
        path = folder / f"{file}.jsonl"
        path.write_text(format_jsonl(documents), encoding="utf-8", newline="\n")
        print(f"{path}: {len(documents)} documents")


_PLANTED_NAMES = {"exact": "exact_copy", "near": "near_copy", "loop": "loop", "truncated": "truncated"}


def _derive_text(line: dict, kind: str) -> str:
    text = line["text"]
    if kind == "exact":
        return text
    if kind == "near":
        return make_near_copy(text, line["slug"])
    if kind == "loop":
        return make_loop(text)
    if kind == "truncated":
        return truncate(text)
    raise ValueError(f"{line['slug']}: unknown kind {kind!r}; known are {', '.join(_PLANTED_NAMES)}")


def _describe(line: dict, identifier: str, content: dict, planted: str | None) -> dict:
    return {"id": identifier, **content, "task": line["task"], "topic": line["topic"], "planted": planted}


def _finish(file: str, place: int, document: dict) -> dict:
    """The columns of the file in their final order; `planted` is left out where nothing was."""
    task, topic, planted = document.pop("task"), document.pop("topic"), document.pop("planted")
    if file == "synthetic":
        created_at = (FIRST_DAY + place * STEP).isoformat().replace("+00:00", "Z")
        document |= {"generator": GENERATOR, "generation": 1, "task": task, "created_at": created_at, "topic": topic}
    else:
        document |= {"url": f"https://pages.example/{topic}/{document['id']}"}
    if planted is not None:
        document["planted"] = planted
    return document


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
