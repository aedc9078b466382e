"""What the explorer's tests share: a scored run whose scores are of every kind that the page shows."""

import contextlib
import io
import json
from pathlib import Path

from pipeline.__main__ import main
from tests.conftest import inputs
from tests.texts import documents, write_jsonl

SCORERS = ["size", "gopher_quality", "gopher_repetition", "synthetic_faults", "quality", "language", "ai_detector", "content_hash", "signature"]
HOSTILE = '<script>document.title = "ran"</script><img src=x onerror="document.title = \'ran\'"> <b>bold</b> {{ 7 * 7 }} '


def scored_run(corpus: Path, folder: Path) -> Path:
    """A curated dataset under `folder`, in small splits; one of its short documents holds markup that must not run."""
    prose = documents("hostile", range(5000, 5001))[0]["text"]
    write_jsonl(folder / "hostile.jsonl", [{"id": "hostile-long", "text": HOSTILE + prose}, {"id": "hostile-short", "text": HOSTILE}])
    output = folder / "out"
    with contextlib.redirect_stdout(io.StringIO()):
        flags = [f"--output={output}", f"--set=score.scorers={json.dumps(SCORERS)}", "--split_bytes=20000", "--workers=0", "--progress=none"]
        assert main(["curate", *inputs(corpus), f"--human=odd={folder}/hostile.jsonl", *flags]) == 0
    return output
