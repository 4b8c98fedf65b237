"""The page in a real browser: what it asks for, what its filters leave, how it reads on a phone and in the dark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait
from test_page import EVIL
from test_report import GENERAL, large_exam, make_run

from lab.records import Question, write_jsonl
from lab.report import Run, load, show

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="no browser here: apt-get install chromium chromium-driver",
)
LONG = "unbroken" * 60
EXAM = [Question("evil", EVIL, (EVIL,), "odd", ("evil",), ("a",), given=(EVIL, LONG)), *large_exam(12, 15)]
ROUTES = {"closed_book": 9, "rag": 2, "cpt": 3, "gold": 1}  # every so manyth answer is right

# Every text that is shown, with what it stands on: WCAG 2.2's ratio of relative luminances.
CONTRAST = """
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = parse(colour).map((part) => linear(part / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const below = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (parse(colour).length < 4 || parse(colour)[3] > 0) return colour;
  }
  return getComputedStyle(document.documentElement).backgroundColor;
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const words = walker.currentNode.data.trim();
  if (!words || !node.checkVisibility() || node.closest("script, style, title, option")) continue;
  const { fill, color } = getComputedStyle(node);
  const [one, other] = [light(node.ownerSVGElement ? fill : color), light(below(node))].sort((a, b) => b - a);
  found.push([(one + 0.05) / (other + 0.05), words.slice(0, 40)]);
}
return found;
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Four routes over 181 exam questions, one of them hostile, and 60 general ones; with report.html above them."""
    root = tmp_path_factory.mktemp("runs")
    for name, every in ROUTES.items():
        given = {q.id: "yes" for n, q in enumerate([*EXAM, *GENERAL]) if n % every == 0} | {"evil": EVIL}

        def rank(question: Question, name: str = name) -> list[tuple[str, float]]:
            return [] if name in ("closed_book", "cpt") else [("evil", 0.9), ("other", 0.5)]

        make_run(root / name, name, EXAM, GENERAL, given, rank)
        passages = [("evil", EVIL, EVIL), ("other", "Harbour Act", f"The harbour fee is nine. {LONG}")]
        write_jsonl(
            root / name / "passages.jsonl", [dict(zip(("id", "title", "text"), p, strict=True)) for p in passages]
        )
    show([root])
    return [load(root / name) for name in ROUTES]


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


Open = Callable[..., webdriver.Chrome]


@pytest.fixture
def opened(chromium: webdriver.Chrome, runs: list[Run]) -> Open:
    """Opens the page afresh, so wide and in such a scheme."""

    def open_page(width: int = 1280, scheme: str = "light") -> webdriver.Chrome:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        for log in ("browser", "performance"):
            chromium.get_log(log)  # What an earlier page said.
        chromium.get((runs[0].folder.parent / "report.html").as_uri())
        return chromium

    return open_page


def by_id(driver: webdriver.Chrome, name: str) -> WebElement:
    return driver.find_element(By.ID, name)


def choose(driver: webdriver.Chrome, **chosen: str) -> int:
    """Set filters by what their options say; how many questions are left."""
    for name, words in chosen.items():
        if name == "search":
            by_id(driver, name).clear()
            by_id(driver, name).send_keys(words)
        else:
            Select(by_id(driver, name)).select_by_visible_text(words)
    return int(by_id(driver, "count").text.split(" ")[0])


def open_first(driver: webdriver.Chrome) -> WebElement:
    """Open the first question; what it shows."""
    driver.find_element(By.CSS_SELECTOR, ".question summary").click()
    return inside(driver)


def inside(driver: webdriver.Chrome) -> WebElement:
    """What an open question shows, which the page makes when it is opened."""
    return WebDriverWait(driver, 10).until(lambda _: driver.find_element(By.CSS_SELECTOR, ".question[open] .inside"))


def open_all(driver: webdriver.Chrome) -> None:
    """Everything that can be opened, but of the questions only the first."""
    driver.execute_script("document.querySelectorAll('details:not(.question)').forEach((one) => (one.open = true));")
    open_first(driver)


def test_no_errors_and_no_request_leaves_the_page(opened: Open) -> None:
    driver = opened()
    open_all(driver)
    choose(driver, search="harbour")
    assert driver.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert any(url.startswith("file://") for url in asked)
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []


def test_a_script_in_a_document_is_shown_and_does_not_run(opened: Open) -> None:
    driver = opened()
    title = driver.title
    choose(driver, part="exam: " + " ".join(EXAM[0].part.split()) + " (1)")
    open_first(driver)
    shown = driver.execute_script("return document.querySelector('.question').textContent")
    assert shown.count(EVIL) >= 7  # as question, given text, right answer, answers, title and text of a passage
    assert driver.title == title == "Open-Book Exam Lab: report"
    assert driver.find_elements(By.CSS_SELECTOR, "#list img, #list script") == []
    assert driver.get_log("browser") == []


def test_the_policy_stops_a_script_that_got_in_all_the_same(opened: Open) -> None:
    driver = opened()
    driver.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">');"
        "const late = document.createElement('script'); late.textContent = 'document.title = 2';"
        "document.body.append(late);"
    )
    assert driver.title == "Open-Book Exam Lab: report"
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


def test_filters_leave_what_the_answers_say(opened: Open, runs: list[Run]) -> None:
    driver = opened()
    answers = {run.pipeline: run.answers for run in runs}
    right = {name: rows["outcome"] == "right" for name, rows in answers.items()}
    everything = len(EXAM) + len(GENERAL)
    assert choose(driver) == everything
    assert choose(driver, part="exam: reverse (60)") == sum(question.part == "reverse" for question in EXAM) == 60
    assert choose(driver, part="all parts", route="rag", outcome="right") == right["rag"].sum()
    assert choose(driver, outcome="not right") == everything - right["rag"].sum()
    assert choose(driver, route="any route", outcome="right") == (right["rag"] | right["cpt"] | right["gold"]).sum()
    differing = sum(0 < sum(each) < len(each) for each in zip(*right.values(), strict=True))
    assert choose(driver, outcome="some right, some not") == differing > 0
    assert choose(driver, route="cpt", outcome="only: no answer") == 0
    assert by_id(driver, "list").text == ""
    reset = {"route": "any route", "outcome": "any answer"}
    assert choose(driver, **reset, search="NINE. unbroken") == len(EXAM)  # a passage of every exam question
    assert choose(driver, search="e3-14") == 1
    assert choose(driver, search="no such words") == 0


def test_pages_hold_fifty_and_turn(opened: Open) -> None:
    driver = opened()

    def first() -> str:
        assert by_id(driver, "previous").is_enabled() or "Page 1 of 5" in by_id(driver, "page").text
        return str(len(driver.find_elements(By.CSS_SELECTOR, ".question")))

    assert first() == "50"
    for _ in range(4):
        driver.execute_script("document.getElementById('next').click()")
    assert by_id(driver, "page").text == "Page 5 of 5"
    assert first() == str((len(EXAM) + len(GENERAL)) % 50)
    assert not by_id(driver, "next").is_enabled()
    choose(driver, part="exam: recall (60)")
    assert by_id(driver, "page").text == "Page 1 of 2"


def test_a_question_shows_passages_with_scores_and_every_answer(opened: Open) -> None:
    driver = opened()
    choose(driver, search="e3-14")
    shown = open_first(driver)
    rows = [row.text for row in shown.find_elements(By.CSS_SELECTOR, "tbody tr")]
    place = next(n for n, question in enumerate(EXAM) if question.id == "e3-14")
    answers = {name: "yes ✓ right" if place % every == 0 else "wrong ✗ wrong" for name, every in ROUTES.items()}
    assert rows == [f"{name} {answers[name]}" for name in ("closed_book", "rag", "gold", "cpt")]
    assert "On the desk of rag, gold" in shown.text
    assert "Harbour Act other, score 0.5" in shown.text
    assert "Gold, on nobody's desk\np3-14 gold" in shown.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll(opened: Open, scheme: str) -> None:
    driver = opened(360, scheme)
    choose(driver, search="evil")
    open_all(driver)
    wide, all_of_it = driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert wide == all_of_it == 360
    assert driver.execute_script("return visualViewport.scale") == 1


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened: Open, scheme: str, width: int) -> None:
    driver = opened(width, scheme)
    open_all(driver)
    found: list[tuple[float, str]] = driver.execute_script(CONTRAST)
    assert len(found) > 300
    assert [words for ratio, words in found if ratio < 4.5] == []
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) > 380) == (scheme == "light")


def test_print_is_dark_on_white_and_within_the_sheet_whatever_the_screen(opened: Open) -> None:
    driver = opened(718, "dark")  # A4 less its margins
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        found: list[tuple[float, str]] = driver.execute_script(CONTRAST)
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 718
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert paper == "rgb(255, 255, 255)"
    assert [words for ratio, words in found if ratio < 4.5] == []


def test_it_works_by_keyboard(opened: Open) -> None:
    driver = opened()

    def focused() -> dict[str, Any]:
        return driver.execute_script("const at = document.activeElement; return {id: at.id, text: at.textContent}")

    webdriver.ActionChains(driver).send_keys(Keys.TAB).perform()
    assert focused()["text"] == "Skip to the table"
    driver.execute_script("document.getElementById('search').focus()")
    webdriver.ActionChains(driver).send_keys("e3-14").send_keys(Keys.TAB).send_keys(Keys.ENTER).perform()
    assert inside(driver).is_displayed()


def test_headings_and_names_are_there_for_who_cannot_see(opened: Open) -> None:
    driver = opened()
    levels = [int(one.tag_name[1]) for one in driver.find_elements(By.CSS_SELECTOR, "h1, h2, h3, h4")]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    drawn = driver.find_elements(By.CSS_SELECTOR, "svg:not([aria-hidden])")
    assert drawn
    for element in [*drawn, *driver.find_elements(By.CSS_SELECTOR, "select, input, button")]:
        assert element.accessible_name or not element.is_displayed()
    for section in driver.find_elements(By.CSS_SELECTOR, "main section"):
        assert section.accessible_name


def test_all_but_the_browser_stands_without_scripts(opened: Open) -> None:
    driver = opened()
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.refresh()
    try:
        text = driver.find_element(By.TAG_NAME, "body").text
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "Who leads" in text
    assert "This browser runs no scripts" in text
