"""The half of benchmarks/parity.py that datatrove's own Python runs.

    VENV/bin/python benchmarks/parity_datatrove.py verdicts DOCUMENTS.jsonl OUT.jsonl
    VENV/bin/python benchmarks/parity_datatrove.py export classifiers/weights/datatrove_words.json.gz

`verdicts` gives each document ({"id", "text"}) to datatrove's Gopher repetition, Gopher quality, C4 (without the rule on terminal
punctuation, as FineWeb ran it) and FineWeb filters, each on the text as it is, and all four in a row as FineWeb's pipeline has them;
it writes the reason of each ("" = kept). `export` writes what the rules of its English word splitter are made of: patterns, special
cases (spaCy, MIT licence) and punctuation (datatrove, Apache-2.0), which `classifiers/datatrove_words.py` reads.

    python -m venv VENV && VENV/bin/pip install "datatrove[io,processing]" spacy
"""

import gzip
import json
import sys

from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION


def verdicts(documents: str, out: str) -> None:
    """Reasons of every filter for every line of `documents`."""
    filters = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    with open(documents, encoding="utf-8") as lines, open(out, "w", encoding="utf-8") as results:
        for line in lines:
            record = json.loads(line)
            reasons = {name: reason_of(one, Document(text=record["text"], id=record["id"])) for name, one in filters.items()}
            whole = Document(text=record["text"], id=record["id"])
            first = ((name, reason_of(one, whole)) for name, one in filters.items())
            reasons["pipeline"] = next((f"{name}/{reason}" for name, reason in first if reason), "")
            results.write(json.dumps({"id": record["id"], **reasons}) + "\n")


def reason_of(one, document: Document) -> str:
    """Why `one` drops `document`, which C4 changes; "" where it keeps it. Division by zero in a filter is a reason of its own."""
    try:
        result = one.filter(document)
    except ZeroDivisionError:
        return "ZeroDivisionError"
    return "" if result is True else result[1] if isinstance(result, tuple) else "dropped"


def export(path: str) -> None:
    """Writes the splitter's rules as gzipped JSON."""
    import spacy

    nlp = spacy.blank("en")
    tokenizer, sentencizer = nlp.tokenizer, nlp.add_pipe("sentencizer")
    searches = {"prefix": tokenizer.prefix_search, "suffix": tokenizer.suffix_search, "infix": tokenizer.infix_finditer, "url": tokenizer.url_match}
    rules = {
        "source": f"spaCy {spacy.__version__} (MIT licence), English; punctuation: datatrove 0.10 (Apache-2.0)",
        "patterns": {name: search.__self__.pattern for name, search in searches.items()},
        "special_cases": {text: [token[65] for token in tokens] for text, tokens in sorted(tokenizer.rules.items())},
        "sentence_ends": "".join(sorted(sentencizer.punct_chars)),
        "punctuation": "".join(sorted(PUNCTUATION_SET)),
        "terminal_punctuation": "".join(sorted(TERMINAL_PUNCTUATION)),
    }
    with open(path, "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(json.dumps(rules, ensure_ascii=True, sort_keys=True).encode())


if __name__ == "__main__":
    {"verdicts": verdicts, "export": export}[sys.argv[1]](*sys.argv[2:])
