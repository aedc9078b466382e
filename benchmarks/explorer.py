"""How quick the explorer is: seconds until the first figures, milliseconds from a change to its figures, memory.

    python -m benchmarks.explorer --run DIR [--copies N --scratch DIR]

`--run` is a curated dataset whose decisions hold for the default recipe. `--copies` repeats its scored shards N times under `--scratch`, each copy
with row keys, ids, and hashes of its own, and decides about them first: a large run of real scores. With Chromium and its driver installed, the
page itself is timed too: from the key that moves the slider to the figures on the screen.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import describe_machine, format_table, report
from pipeline.decided import write_key
from pipeline.explore_columns import histogram, nearest
from pipeline.explore_rules import margin_of_rule
from pipeline.explore_samples import SHOWN, read_samples
from pipeline.explore_session import Session
from pipeline.folders import Folders

CHANGES = 11
"""Changes of each kind that are timed; the median counts."""
GOLDEN = 0x9E3779B97F4A7C15
PATIENCE_SECONDS = 120


def repeat_run(run: str, folder: str, copies: int, given: list[str]) -> str:
    """A run of `copies` times the documents of `run` under `folder`, decided about; returns its folder."""
    os.makedirs(f"{folder}/scored", exist_ok=True)
    for number in range(copies):
        for path in sorted(glob.glob(f"{run}/scored/*.parquet")):
            target = f"{folder}/scored/{Path(path).stem}-{number}.parquet"
            if not os.path.exists(target):
                file = pq.ParquetFile(path)
                pq.write_table(copy_shard(file.read(), number), target, compression="zstd", row_group_size=10_000)
    session = Session(folder, given)
    try:
        setting = session.setting({})
        if session.decided(setting) is None:
            made = session.decide({})
            shutil.copytree(made.folder, f"{folder}/decided", dirs_exist_ok=True)
            write_key(Folders(folder), setting.key, session.columns.shards)
    finally:
        session.close()
    return folder


def copy_shard(table: pa.Table, number: int) -> pa.Table:
    """A scored shard with the same scores for other documents, a different one for each `number` up to 255."""
    keys = table["row_key"].to_numpy() ^ np.uint64(number * GOLDEN % (1 << 64))
    made = {"row_key": pa.array(keys), "id": pa.array([f"{one}-{number}" for one in table["id"].to_pylist()])}
    for name in ("content_hash", "signature", "bands"):
        column = table[name].combine_chunks()
        width = column.type.byte_width
        raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width : (column.offset + len(column)) * width] ^ np.uint8(37 * number % 256)
        made[name] = pa.FixedSizeBinaryArray.from_buffers(column.type, len(column), [None, pa.py_buffer(raw.tobytes())])
    for name, column in made.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


def time_model(run: str, given: list[str]) -> dict[str, Any]:
    """Wall and CPU milliseconds of each kind of work, without a browser; in a process of its own, for its memory."""
    found: dict[str, Any] = {}
    began = time.perf_counter(), time.process_time()
    session = Session(run, given)
    setting = session.setting({})
    decisions = session.decided(setting)
    assert decisions is not None, f"{run}: its decisions do not hold for the default recipe"
    session.figures(decisions, setting)
    found["open"] = _since(began)
    found["documents"] = session.columns.num_documents
    found["rss_bytes"] = psutil.Process().memory_info().rss
    quotas = [str(round(0.5 + number / 100, 2)) for number in range(CHANGES)]

    def mix(changes: dict[str, Any]) -> None:
        changed = session.setting(changes)
        session.figures(session.decided(changed), changed)

    found["quota"] = _median(lambda quota: mix({"mix.human_quota": quota}), quotas)
    found["seed"] = _median(lambda seed: mix({"mix.seed": seed}), range(1, CHANGES + 1))
    began = time.perf_counter(), time.process_time()
    session.preview(setting)
    found["first preview"] = _since(began)
    bounds = range(51, 51 + CHANGES)
    found["preview"] = _median(lambda least: session.preview(session.setting({"rules.gopher_too_few_words.min": least})), bounds)
    rule = next(one for one in setting.recipe.rules if one.name == "gopher_too_few_words")
    found["histogram"] = _median(lambda mark: histogram(session.columns.numbers("words"), session.columns.declared(), [mark]), bounds)
    row_keys = session.columns.table(["row_key"])["row_key"].to_numpy()

    def samples(_: int) -> None:
        for side in nearest(margin_of_rule(session.columns, rule), row_keys, SHOWN):
            read_samples(session.columns, side, decisions, None)

    found["samples"] = _median(samples, range(3))
    found["rss_with_scores_bytes"] = psutil.Process().memory_info().rss
    found["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    session.close()
    return found


def time_page(run: str, given: list[str]) -> dict[str, float] | None:
    """Seconds from the command to the first figures on the screen, milliseconds from a key press to new ones; None without Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        return None
    from selenium import webdriver
    from selenium.webdriver.common.keys import Keys

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tempfile.mkdtemp(prefix="headwater-explorer-")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    for flag in (*flags.split(), f"--user-data-dir={profile}", "--window-size=1440,900"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    began = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", "explore", run, "--port=0", "--no_browser", *given]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        browser.get(re.search(r"http://\S+", process.stdout.readline())[0])
        said = "return document.querySelector('[data-figure=\"{}\"]')?.innerText ?? ''"
        _until(lambda: browser.execute_script(said.format("status")) == "as headwater plan")
        found = {"open_s": time.perf_counter() - began}
        browser.find_element("css selector", '[data-key="mix.human_quota"] .q-slider__track-container').click()
        slider, times = browser.switch_to.active_element, []
        for _ in range(CHANGES):
            shown = f"{browser.execute_script(said.format('quota'))}as headwater plan"
            pressed = time.perf_counter()
            slider.send_keys(Keys.ARROW_RIGHT)
            both = f"return (() => {{ {said.format('quota')} }})() + (() => {{ {said.format('status')} }})()"
            _until(partial(_differs, browser, both, shown))
            times.append(1e3 * (time.perf_counter() - pressed))
        found["change_ms"] = statistics.median(times)
        found["server_rss_bytes"] = psutil.Process(process.pid).memory_info().rss
        return found
    finally:
        browser.quit()
        process.terminate()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explorer", description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, metavar="DIR", help="a curated dataset")
    parser.add_argument("--copies", type=int, default=0, metavar="N", help="measure N times its documents instead")
    parser.add_argument("--scratch", metavar="DIR", help="where the copies lie")
    parser.add_argument("--calibration", metavar="FILE", help="of the detector that scored, where that is not the one that ships")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--model", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    given = [f"--set=origin.calibration={parsed.calibration}"] if parsed.calibration else []
    if parsed.model:
        print(json.dumps(time_model(parsed.run, given)))
        return 0
    run = repeat_run(parsed.run, parsed.scratch, parsed.copies, given) if parsed.copies else parsed.run
    child = [sys.executable, "-m", "benchmarks.explorer", "--model", "--run", run]
    child += ["--calibration", parsed.calibration] if parsed.calibration else []
    model = json.loads(subprocess.run(child, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    page = time_page(run, given)
    named = ("open", "quota", "seed", "first preview", "preview", "histogram", "samples")
    rows = [(name, f"{model[name]['wall_ms']:,.0f}", f"{model[name]['cpu_ms']:,.0f}") for name in named]
    lines = [f"{model['documents']:,} documents.", "", format_table(("work", "wall ms", "CPU ms"), rows), ""]
    lines.append(f"RSS after opening {model['rss_bytes'] / 1e6:,.0f} MB, with all scores {model['rss_with_scores_bytes'] / 1e6:,.0f} MB.")
    if page:
        said = f"In the browser: {page['open_s']:.1f} s from the command to the first figures, {page['change_ms']:,.0f} ms from a key to new ones; "
        lines.append(said + f"server {page['server_rss_bytes'] / 1e6:,.0f} MB.")
    report("The explorer", {"machine": describe_machine(), "model": model, "page": page}, lines, parsed.json)
    return 0


def _since(began: tuple[float, float]) -> dict[str, float]:
    return {"wall_ms": 1e3 * (time.perf_counter() - began[0]), "cpu_ms": 1e3 * (time.process_time() - began[1])}


def _median(work: Callable[[Any], object], values: Sequence[Any]) -> dict[str, float]:
    times = []
    for value in values:
        began = time.perf_counter(), time.process_time()
        work(value)
        times.append(_since(began))
    return {key: statistics.median(one[key] for one in times) for key in ("wall_ms", "cpu_ms")}


def _differs(browser: Any, script: str, before: str) -> bool:
    now = browser.execute_script(script)
    return now != before and now.endswith("as headwater plan")


def _until(holds: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise TimeoutError("the page never showed the figures")
        time.sleep(0.005)


if __name__ == "__main__":
    raise SystemExit(main())
