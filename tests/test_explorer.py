"""The explorer in a real browser: a slider is moved, and the page says what `headwater plan` says. Screenshots are left in test_artefacts/."""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.options import parse_arguments
from pipeline.run import run_command
from tests.conftest import published
from tests.pipeline.explored import HOSTILE, scored_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="no chromium and chromium-driver on this machine (apt-get install chromium chromium-driver)")
ARTEFACTS = Path(__file__).resolve().parent.parent / "test_artefacts"
BROWSER_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
)
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return scored_run(corpus, tmp_path_factory.mktemp("explorer"))


@pytest.fixture(scope="module")
def served(run):
    """The explorer in a process of its own: (process, address)."""
    command = [sys.executable, "-m", "pipeline", "explore", str(run), "--port=0", "--no_browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent)
    address = re.search(r"http://\S+", process.stdout.readline())
    assert address, process.stderr.read()
    yield process, address[0]
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def browser(served, tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*BROWSER_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1440,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    yield driver
    driver.quit()


class Shown:
    """What stands on the page, and its controls."""

    def __init__(self, browser):
        self.browser = browser

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def figure(self, name):
        found = self.all(f'[data-figure="{name}"]')
        return found[0].text if found else None

    def until(self, holds):
        began, why = time.monotonic(), ""
        while time.monotonic() - began < PATIENCE_SECONDS:
            try:
                if found := holds():
                    return found
            except Exception as error:
                # An element that was replaced meanwhile: look again.
                why = repr(error)
            time.sleep(0.05)
        raise AssertionError(f"never came: {self.figure('status')!r}, {self.figure('refusal')!r}, {why}, {self.browser.get_log('browser')}")

    def settled(self, key, value):
        self.until(lambda: self.field(key).get_attribute("value") == value and self.figure("status") == "as headwater plan")

    def field(self, key):
        return self.all(f'[data-key="{key}"] input')[0]

    def type(self, field, text):
        from selenium.webdriver.common.keys import Keys

        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def set(self, key, text):
        self.type(self.field(key), text)

    def click(self, selector, text):
        self.until(lambda: next(one for one in self.all(selector) if text in one.text and one.is_displayed())).click()

    def close_dialog(self):
        from selenium.webdriver.common.keys import Keys

        self.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        self.until(lambda: not self.all(".q-dialog"))


@pytest.fixture
def page(browser, served):
    """The page as it opens, with the figures of the run itself."""
    browser.get(served[1])
    shown = Shown(browser)
    shown.until(lambda: shown.figure("status") == "as headwater plan")
    shown.click("button", "Start over")
    shown.settled("mix.human_quota", "0.5")
    return shown


def plan(run, *flags):
    with contextlib.redirect_stdout(io.StringIO()):
        return run_command(parse_arguments(["plan", f"--scored={run}/scored", "--workers=0", "--progress=none", *flags]), ())


def says(page, manifest):
    return page.figure("documents") == f"{manifest['published']['documents']['all']:,}" and page.figure("tokens") == (
        f"{manifest['published']['tokens']['all']:,}"
    )


def screenshot(page, name):
    ARTEFACTS.mkdir(exist_ok=True)
    page.browser.save_screenshot(str(ARTEFACTS / f"{name}.png"))


def test_a_slider_that_is_moved_shows_what_plan_says(page, run):
    from selenium.webdriver.common.keys import Keys

    assert says(page, plan(run))
    page.all('[data-key="mix.human_quota"] .q-slider__track-container')[0].click()
    slider = page.browser.switch_to.active_element
    page.until(lambda: page.field("mix.human_quota").get_attribute("value") == "0.5")
    for _ in range(25):
        slider.send_keys(Keys.ARROW_RIGHT)
    page.settled("mix.human_quota", "0.75")
    manifest = plan(run, "--human_quota=0.75")
    page.until(lambda: says(page, manifest))
    assert page.figure("share") == f"{manifest['quota']['measured_share']:.2%}"
    lines = {row.find_elements("css selector", "td")[0].text: row.text.split()[-1] for row in page.all(".hw-funnel tbody tr")}
    assert lines["published"] == f"{manifest['published']['documents']['all']:,}"
    left_out = sum(one["documents"] for account in manifest["accounts"] for one in account["rejected"] if one["reason"] == "over_quota")
    assert lines["– mix: over_quota"] == f"{left_out:,}" != "0"
    screenshot(page, "mix")
    page.browser.refresh()
    page.settled("mix.human_quota", "0.75")
    assert says(page, manifest), "a page that is loaded again goes on where it was"


def test_a_threshold_is_previewed_at_once_and_decided_about_again(page, run):
    page.click(".q-tab", "Thresholds")
    page.click(".hw-rules button", "gopher_too_few_words")
    page.until(lambda: page.field("rules.gopher_too_few_words.min").get_attribute("value") == "50")
    page.set("rules.gopher_too_few_words.min", "130")
    # The rule's own yield is there while the figures are greyed; then come those of the plan.
    page.until(lambda: page.figure("status") == "deciding again ..." and page.all(".hw-figures.hw-stale"))
    manifest = plan(run, "--set=rules.gopher_too_few_words.min=130")
    of_rule = sum(
        one["documents"] for account in manifest["accounts"] for one in account["rejected"] if one["reason"] == "gopher_too_few_words"
    )
    row = next(row.text for row in page.all(".hw-rules tbody tr") if "gopher_too_few_words" in row.text)
    assert row.split()[-1] == f"{of_rule:,}"
    page.settled("rules.gopher_too_few_words.min", "130")
    assert says(page, manifest) and not page.all(".hw-figures.hw-stale")
    page.until(lambda: len(page.all(".hw-sample")) == 8)
    screenshot(page, "thresholds")


def test_a_shortage_and_a_slip_are_sentences_on_the_page(page):
    page.set("mix.max_documents", "100")
    page.settled("mix.max_documents", "100")
    page.set("mix.human_quota", "0.95")
    page.until(lambda: "exit code 4" in page.figure("refusal") and "too little human text" in page.figure("refusal"))
    page.set("mix.human_quota", "1.5")
    page.until(lambda: "must be a number from 0 to 1" in page.figure("refusal"))
    screenshot(page, "refused")
    page.click("button", "Start over")
    page.settled("mix.human_quota", "0.5")
    assert not page.figure("refusal")


def test_markup_in_a_document_is_shown_and_does_not_run(page):
    page.click(".hw-funnel button", "rules")
    page.until(lambda: any(HOSTILE.strip() in one.text for one in page.all(".hw-sample .hw-text")))
    screenshot(page, "documents")
    assert not page.all(".hw-sample script, .hw-sample img, .hw-sample b")
    assert page.browser.title == "Headwater explorer"
    page.close_dialog()


def test_what_is_copied_publishes_what_is_shown_and_what_is_saved_reads_back(page, run, tmp_path):
    page.set("mix.max_documents", "60")
    page.settled("mix.max_documents", "60")
    shown = page.figure("documents"), page.figure("tokens")
    page.click("button", "Copy as command line")
    words = shlex.split(page.until(lambda: page.figure("command")))
    page.close_dialog()
    assert words[:2] == ["headwater", "remix"] and "--max_documents=60" in words
    words[words.index("--output") + 1] = str(tmp_path / "remixed")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*words[1:], "--workers=0", "--progress=none"]) == 0
    table = published(tmp_path / "remixed")
    assert shown == (f"{table.num_rows:,}", f"{sum(table['tokens'].to_pylist()):,}")

    page.click("button", "Save recipe")
    page.type(page.until(lambda: page.all('.q-dialog [aria-label="File"]'))[0], str(tmp_path / "saved.toml"))
    page.click(".q-dialog button", "Save")
    page.until(lambda: "Saved to" in page.figure("saved"))
    page.close_dialog()
    assert plan(run, f"--recipe={tmp_path}/saved.toml")["published"]["documents"]["all"] == table.num_rows


def test_nothing_but_the_loopback_address_is_asked_and_nothing_goes_wrong(page, served):
    asked = set()
    for entry in page.browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            url = message["params"].get("url") or message["params"]["request"]["url"]
            if url.split(":")[0] in ("http", "https", "ws", "wss"):
                asked.add(urllib.parse.urlsplit(url).netloc)
    assert asked == {urllib.parse.urlsplit(served[1]).netloc}
    assert [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_ctrl_c_ends_it_cleanly(served, run):
    process, _ = served
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and "nothing was written beside the scored run" in out
    assert sorted(os.listdir(run)) == ["README.md", "data", "decided", "manifest.json", "rejected", "scored"]
