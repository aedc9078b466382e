"""Made-up labelled sets: two writers with different habits, small enough to train on in a second."""

import gzip
import random
from pathlib import Path

import orjson

SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu", "pan", "der")
HUMAN_HABITS = ("i thought the", "nobody told us", "so we went", "my uncle says", "it was a", "that one , but")
MACHINE_HABITS = ("furthermore , the", "it is important", "this fosters the", "in conclusion ,", "plays a crucial", "valuable insights of")


def written(is_machine: bool, seed: int, phrases: int = 28) -> str:
    """A text of about 130 words that only `seed` decides: a writer's habits among made-up words, no long run of which comes twice."""
    chosen = random.Random(f"{is_machine}/{seed}")
    habits = MACHINE_HABITS if is_machine else HUMAN_HABITS
    pieces = [f"{chosen.choice(habits)} {_made_up(chosen)} {_made_up(chosen)} of" for _ in range(phrases)]
    return ". ".join(" ".join(pieces[start : start + 3]) for start in range(0, phrases, 3)).capitalize() + "."


def _made_up(chosen: random.Random) -> str:
    return "".join(chosen.choices(SYLLABLES, k=3))


def write_set(folder: Path, name: str, seeds: range, with_machine: bool = True) -> None:
    """One set: a human text, and with `with_machine` a machine text, for each seed."""
    rows = [{"id": f"h{seed}", "text": written(False, seed), "label": "human", "pair": seed} for seed in seeds]
    if with_machine:
        rows += [{"id": f"m{seed}", "text": written(True, seed), "label": "machine", "generator": "made-up", "pair": seed} for seed in seeds]
        rows += [
            {
                "id": f"a{seed}",
                "text": written(True, seed + 10**6).upper(),
                "label": "machine",
                "generator": "made-up",
                "attack": "loud",
                "pair": seed,
            }
            for seed in seeds[::4]
        ]
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
