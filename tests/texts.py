"""Text for tests: generated prose that passes the Gopher rules, and ways to damage it."""

import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path

SUBJECTS = "the baker|a tired clerk|my neighbour|the old captain|her sister|the committee|a young botanist|the night porter|our teacher|the miller".split("|")
VERBS = "opened|carried|described|repaired|forgot|painted|measured|borrowed|counted|defended|watched|translated".split("|")
OBJECTS = "the wooden gate|a letter from Lisbon|three copper pans|the broken clock|an unfinished map|the winter coats|a basket of plums|the harbour lights".split("|")
PLACES = "near the canal|behind the station|in the upper room|at the edge of town|under the chestnut trees|beside the quarry|along the river".split("|")
TIMES = "before the rain|on a Tuesday|after the long strike|when the bells rang|during the fair|late in the autumn|at the end of the war".split("|")
REASONS = "because nobody else would|and it was soon the talk of the village|that was to be the last of them|with more care than it deserved|to the surprise of all".split("|")


def prose(seed: int, words: int = 120) -> str:
    """English-like sentences, about `words` of them; different seeds share hardly any five words in a row beyond phrases."""
    draw = random.Random(f"prose {seed}")
    sentences: list[str] = []
    count = 0
    while count < words:
        number = draw.randrange(2, 999)
        parts = [draw.choice(SUBJECTS), draw.choice(VERBS), f"{number} times", draw.choice(OBJECTS), draw.choice(PLACES), draw.choice(TIMES), draw.choice(REASONS)]
        if draw.random() < 0.5:
            parts[4], parts[5] = parts[5], parts[4]
        sentence = " ".join(parts)
        sentences.append(sentence[0].upper() + sentence[1:] + ".")
        count += len(sentence.split())
    return " ".join(sentences)


def edited(text: str, seed: int, share: float = 0.015) -> str:
    """`text` with `share` of its words replaced: a near-duplicate."""
    draw = random.Random(f"edit {seed}")
    words = text.split()
    for place in draw.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = f"word{draw.randrange(10**6)}"
    return " ".join(words)


def documents(prefix: str, seeds: Iterable[int], words: int = 120, **fields: object) -> list[dict]:
    """One record a seed: id, text and `fields`."""
    return [{"id": f"{prefix}-{seed:05d}", "text": prose(seed, words), **fields} for seed in seeds]


def write_jsonl(path: Path, records: Iterable[dict]) -> Path:
    """Writes `records` as JSON lines, gzipped if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
    return path
