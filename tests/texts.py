"""Text for tests: generated prose that passes the Gopher rules, and ways to damage it."""

import functools
import gzip
import json
import random
from collections.abc import Iterable
from pathlib import Path

NOUNS = (
    "baker clerk neighbour captain sister committee botanist porter teacher miller gate letter pan clock map coat basket harbour lamp orchard bridge "
    "kettle violin ledger stable garden tailor sailor widow judge painter forest market chapel tower window ladder carpet mirror blanket engine "
    "wagon barrel candle anchor saddle button needle pigeon badger otter heron walnut pepper barley linen copper marble timber canvas ribbon"
).split()
ADJECTIVES = (
    "tired old young quiet broken narrow early clever heavy bitter gentle hollow patient silver crooked distant friendly honest idle lonely modest "
    "nervous plain rapid stubborn tender upright vacant weary yellow dusty frozen golden humble muddy noisy proud rusty shallow wooden"
).split()
VERBS = (
    "opened carried described repaired forgot painted measured borrowed counted defended watched translated followed gathered ignored lifted mended "
    "noticed ordered praised questioned rescued sketched traded visited washed welcomed admired buried copied dropped examined found guarded hid"
).split()
LINKS = "near behind under beside above across towards past without against around before after during inside".split()
ENDS = (
    "and {verb} the {noun} with care",
    "because the {noun} had {verb} nothing",
    "that nobody {verb} again",
    "to the {adjective} surprise of the {noun}",
    "while a {noun} {verb} it",
    "and have {verb} it since",
)


def prose(seed: int, words: int = 120) -> str:
    """English-like sentences, about `words` of them; two seeds share hardly any five words in a row."""
    draw = random.Random(f"prose {seed}")
    sentences: list[str] = []
    count = 0
    while count < words:
        noun, adjective, verb, link = (functools.partial(draw.choice, pool) for pool in (NOUNS, ADJECTIVES, VERBS, LINKS))
        end = draw.choice(ENDS).format(noun=noun(), adjective=adjective(), verb=verb())
        sentence = f"the {adjective()} {noun()} {verb()} {draw.choice(['the', 'a', 'one'])} {adjective()} {noun()} {link()} the {noun()} of the {noun()} {end}."
        sentences.append(sentence[0].upper() + sentence[1:])
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
