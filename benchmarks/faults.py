"""What the rules on faults, and C4's and FineWeb's, turn down: of machine text, and of text that people wrote, where each hit is a loss.

    python -m benchmarks.faults [--data ../shared/data] [--show RULE]

Counts, for every labelled set and every rule of the default recipe beyond Gopher's (also those that are off), the texts of at least 50 words that
break it, as a share with the count. `any fault` are the rules on faults of synthetic text together. `--show RULE` prints the ends of some
human texts that break a rule. `all human sets` adds them up; `precision` is the share of machine text among what a rule turns down of a mix, half of it
alpacaeval_machine and half human text of all sets. Exits with 1 if a rule on faults turns down more than 0.5 % of a human set.
"""

import argparse
import datetime
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from classifiers.labelled_text import find_set, read_records
from classifiers.scorers import ScoreSettings, make_scorers, score
from classifiers.text_batch import TextBatch
from pipeline.recipe import default_tables
from transforms.apply_rules import Rule, apply_rules

HUMAN_SETS = (
    "human_enwiki_2021", "human_blogs_2004", "human_imdb_2011", "human_reuters21578_1987", "human_nltk_small", "human_rfc_pre2020",
    "human_zhwiki_2023", "human_kowiki_2023", "quality_spamassassin_2003", "dedup_minhash_news2500", "l2r21", "raidar", "detectrl", "outfox",
)  # fmt: skip
"""Sets of which the human texts are taken."""
MACHINE_SETS = ("alpacaeval_machine", "l2r21", "detectrl", "outfox", "sakibsh_llm")
"""Sets of which the machine texts are taken."""
PRECISION_SET = "alpacaeval_machine (machine)"
"""Machine text beside which the precision of a rule is stated."""
SCORERS = ("c4", "fineweb", "synthetic_faults")
MIN_WORDS = 50
MAX_HUMAN_SHARE = 0.005
"""Human texts of a set that a rule on faults may turn down, at most."""
BATCH_DOCUMENTS = 1_000


def rules_of() -> tuple[list[Rule], list[Rule]]:
    """The default recipe's rules on C4's and FineWeb's scores, and those on faults, enabled or not."""
    fields = {scorer.name: set(scorer.fields.names) for scorer in make_scorers(ScoreSettings(scorers=SCORERS))}
    web, faults = [], []
    for name, table in default_tables()["rules"].items():
        if table.get("field") not in set().union(*fields.values()):
            continue
        rule = Rule(name=name, **{key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "enabled"})
        if rule.field in fields["synthetic_faults"]:
            faults.append(rule)
        else:
            web.append(rule)
    return web, faults


def texts_of(folder: str, set_name: str, label: str) -> Iterator[list[str]]:
    """The texts of one label, in batches."""
    batch: list[str] = []
    for record in read_records(find_set(folder, set_name)):
        if record.get("label") == label and not record.get("label_suspect") and not record.get("mixed"):
            batch.append(record["text"])
        if len(batch) == BATCH_DOCUMENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def count_hits(batches: Iterator[list[str]], rules: list[Rule], show: str | None) -> tuple[int, np.ndarray, int]:
    """Texts of enough words, how many of them break each rule by itself, and how many break one of the rules on faults."""
    scorers = make_scorers(ScoreSettings(scorers=SCORERS))
    faults = np.array([rule.field in scorers[-1].fields.names for rule in rules])
    total, hits, union = 0, np.zeros(len(rules), np.int64), 0
    for texts in batches:
        batch = TextBatch.of(texts)
        long_enough = batch.words.counts >= MIN_WORDS
        columns = pa.table(score(scorers, batch))
        origins = pa.array(["human"] * len(texts))
        broken = np.stack([apply_rules(columns, origins, [rule]).rule == 0 for rule in rules], axis=1) & long_enough[:, None]
        for place in np.flatnonzero(broken[:, [rule.name for rule in rules].index(show)])[:5] if show else ():
            print("   ", repr(texts[place][:80]), "...", repr(texts[place][-80:]))
        total += int(long_enough.sum())
        hits += broken.sum(axis=0)
        union += int(broken[:, faults].any(axis=1).sum())
    return total, hits, union


def main(arguments: list[str] | None = None) -> int:
    """Counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--show", help="a rule whose human hits are printed")
    options = parser.parse_args(arguments)
    web, faults = rules_of()
    rules = [*faults, *web]
    rows, worst = {}, {rule.name: 0.0 for rule in faults}
    for label, names in (("human", HUMAN_SETS), ("machine", MACHINE_SETS)):
        for name in names:
            total, hits, union = count_hits(texts_of(options.data, name, label), rules, options.show if label == "human" else None)
            rows[f"{name} ({label})"] = (total, hits, union)
            if label == "human":
                for place, rule in enumerate(worst):
                    worst[rule] = max(worst[rule], float(hits[place]) / max(total, 1))
    print(f"$ python -m benchmarks.faults {' '.join(sys.argv[1:] if arguments is None else arguments)}\n{datetime.date.today()}\n")
    for title, begin, end in (("faults of synthetic text", 0, len(faults)), ("C4 and FineWeb", len(faults), len(rules))):
        names = [rule.name for rule in rules[begin:end]]
        print(f"| {title} | texts | {' | '.join(names)} |{' any fault |' if not begin else ''}")
        print("|---|" + "---:|" * (len(names) + 1 + (not begin)))
        for name, (total, hits, union) in rows.items():
            cells = [_cell(int(count), total) for count in hits[begin:end]] + ([_cell(union, total)] if not begin else [])
            print(f"| {name} | {total:,} | {' | '.join(cells)} |")
        print("\n".join(_sum_up(rows, begin, end, with_union=not begin)) + "\n")
    over = {rule: share for rule, share in worst.items() if share > MAX_HUMAN_SHARE}
    print("every rule on faults: at most 0.5 % of every human set" if not over else f"over 0.5 % of a human set: {over}")
    return int(bool(over))


def _sum_up(rows: dict[str, tuple[int, np.ndarray, int]], begin: int, end: int, with_union: bool) -> list[str]:
    """The lines on all human sets, and on precision beside `PRECISION_SET`."""
    total, hits, union = (sum(row[place] for name, row in rows.items() if name.endswith("(human)")) for place in range(3))
    human = [*hits[begin:end], *([union] if with_union else [])]
    lines = [f"| all human sets | {total:,} | {' | '.join(_cell(int(count), total) for count in human)} |"]
    if PRECISION_SET in rows:
        of_machine, hits, union = rows[PRECISION_SET]
        shares = [(machine / max(of_machine, 1), count / max(total, 1)) for machine, count in zip([*hits[begin:end], union], human, strict=False)]
        cells = [f"{found / (found + wrong):.1%}" if found else "-" for found, wrong in shares]
        lines.append(f"| precision | | {' | '.join(cells)} |")
    return lines


def _cell(count: int, total: int) -> str:
    return "0" if not count else f"{count / max(total, 1):.2%} ({count})"


if __name__ == "__main__":
    sys.exit(main())
