"""The page against the runs that it tells of: its figures, its questions, and what a document must not do to it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_report import SMALL_EXAM, SMALL_GENERAL, large_run, make_run, small_run

from lab.records import Question, write_jsonl
from lab.report import compare, gather, load, routes_of, show
from lab.report.page.browser import as_json, browser_data
from lab.report.scores import SCORE
from lab.report.table import route_rows_of
from lab.report.verdict import verdict
from lab.report.wording import percent, span

EVIL = "</script><script>document.title = 'mine'</script><!-- <img src=x onerror=alert(1)> &amp;\u2028'\""
PASSAGES = [{"id": "a-1", "title": "Act A > Section 1", "text": "Ada pays."}, {"id": "x", "title": EVIL, "text": EVIL}]


class Page(HTMLParser):
    """What a browser's parser makes of a page: its elements, its text, and what each script holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.said = ""
        self.rows: list[list[str]] = []  # of tables, cell by cell
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "small" and self.rows and self.rows[-1]:
            self.rows[-1][-1] += " "
        elif tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        elif self.cdata_elem is None:
            self.said += data
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += data.strip()

    @property
    def data(self) -> dict[str, Any]:
        (found,) = [text for kind, text in self.scripts if kind.get("type") == "application/json"]
        return json.loads(found)


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Four routes with their report, and what it printed."""
    root = tmp_path_factory.mktemp("four")
    for number, (name, chance) in enumerate({"closed_book": 0.02, "rag": 0.7, "cpt": 0.4, "gold": 0.97}.items()):
        large_run(root / name, name, chance, number)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        show([root])
    return root, printed.getvalue()


def hostile_run(folder: Path) -> Path:
    """A run whose every text wants to be markup, its own name included."""
    exam = [Question("q<b>1", EVIL, (EVIL,), EVIL, ("x",), ("a",), given=(EVIL,)), SMALL_EXAM[0]]
    make_run(folder, "rag", exam, SMALL_GENERAL, {"q<b>1": EVIL, "q1": EVIL}, lambda q: [("x", 0.5), ("a-1", 0.25)])
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "pipeline": f"rag x={EVIL}", "leaked": [EVIL]}))
    write_jsonl(folder / "passages.jsonl", PASSAGES)
    return folder


def test_text_of_documents_stays_text(tmp_path: Path) -> None:
    show([hostile_run(tmp_path / "0")], EVIL)
    page = page_of(tmp_path / "0")
    assert [kind.get("type") for kind, _ in page.scripts] == ["application/json", None]
    assert "document.title" not in page.scripts[1][1]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "mine" in page.said  # as a route, it is shown
    data = page.data
    assert data["questions"][0]["question"] == EVIL
    assert data["passages"] == [["x", EVIL, EVIL], ["a-1", "Act A > Section 1", "Ada pays."]]
    assert EVIL in data["texts"]


def test_json_in_a_script_is_read_back_and_opens_no_element() -> None:
    said = str(as_json({"text": EVIL, "none": None}))
    assert "<" not in said
    assert json.loads(said) == {"text": EVIL, "none": None}


def test_nothing_is_fetched_and_only_the_pages_own_script_may_run(four: tuple[Path, str]) -> None:
    page = page_of(four[0])
    (policy,) = [at["content"] for tag, at in page.tags if tag == "meta" and "http-equiv" in at]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for tag, attributes in page.tags:
        assert "style" not in attributes, f"{tag}: the policy lets no style attribute through"
        for name in ("src", "href", "action"):
            if attributes.get(name):
                assert re.match(r"#|data:", str(attributes[name])), f"{tag} {name}={attributes[name]}"


def test_the_same_runs_make_the_same_bytes_wherever_they_lie(four: tuple[Path, str], tmp_path: Path) -> None:
    first, _ = four
    second = shutil.copytree(first, tmp_path / "two" / "deeper", ignore=shutil.ignore_patterns("report.html"))
    show([second])
    assert (first / "report.html").read_bytes() == (second / "report.html").read_bytes()
    assert str(first) not in (first / "report.html").read_text(encoding="utf-8")


def test_the_verdict_and_every_score_are_those_of_the_comparison(four: tuple[Path, str]) -> None:
    page = page_of(four[0])
    runs, _ = gather([four[0]])
    frame, routes = compare(runs), routes_of(runs)
    said = " ".join(page.said.split())
    for sentence in verdict(frame, routes, "rag"):
        assert sentence in said
    shown = {row[0].split()[0]: row[1:] for row in reversed(page.rows)}  # the first table is that of all routes
    for route in routes:
        row = route_rows_of(frame, route).set_index(["suite", "part", "metric"]).loc[("exam", "all", SCORE)]
        assert shown[route.label][1] == f"{percent(row['value'])} {span(row['low'], row['high'])}"
        star = "*" if row["p_holm"] < 0.05 else ""
        ends = span(row["difference_low"], row["difference_high"], signed=True)
        against = "-" if route.pipeline == "rag" else f"{100 * row['difference']:+.1f}{star} {ends}"
        assert shown[route.label][2] == against


def test_the_browser_holds_each_question_with_what_was_shown_and_said(tmp_path: Path) -> None:
    def rank(question: Question) -> list[tuple[str, float]]:
        return [("x", 0.75), *((id, 0.5) for id in question.passages)]

    for seed, right in enumerate((["q1", "g1"], ["q4"])):
        small_run(tmp_path / f"rag{seed}", "rag", right, rank=rank, seed=seed)
    small_run(tmp_path / "closed", "closed_book", ["q4"])
    write_jsonl(tmp_path / "rag1" / "passages.jsonl", PASSAGES)
    routes = routes_of([load(tmp_path / name) for name in ("closed", "rag0", "rag1")])
    data = browser_data(routes)
    outcomes = [name for name, _ in data["outcomes"]]
    assert [question["id"] for question in data["questions"]] == ["q1", "q2", "q3", "q4", "g1", "g2"]
    assert [route["label"] for route in data["routes"]] == ["closed_book", "rag"]
    assert [run["seed"] for run in data["routes"][1]["runs"]] == [0, 1]
    for route, record in zip(data["routes"], routes, strict=True):
        for shown, run in zip(route["runs"], record.runs, strict=True):
            assert [data["texts"][place] for place in shown["answers"]] == run.answers["text"].tolist()
            assert [outcomes[place] for place in shown["outcomes"]] == run.answers["outcome"].tolist()
            desks = [
                tuple((data["passages"][passage][0], score) for passage, score in data["desks"][place])
                for place in shown["desks"]
            ]
            assert desks == run.answers["passages"].tolist()
    gold = [[data["passages"][place] for place in question["gold"]] for question in data["questions"]]
    assert gold[:2] == [[["a-1", "Act A > Section 1", "Ada pays."]], [["a-2", None, None]]]
    assert gold[3] == []


def test_a_route_that_did_not_sit_a_suite_has_gaps_there(tmp_path: Path) -> None:
    small_run(tmp_path / "rag", "rag", ["q1"])
    make_run(tmp_path / "theirs", "cpt", SMALL_EXAM, [], {}, texts=(), adaptation="external", context="external")
    manifest = json.loads((tmp_path / "theirs" / "manifest.json").read_text())
    manifest["digests"] = {"corpus": None, "exam": "e", "general": None, "model": None}
    (tmp_path / "theirs" / "manifest.json").write_text(json.dumps(manifest))
    show([tmp_path])
    (theirs,) = [route for route in page_of(tmp_path).data["routes"] if route["label"] == "cpt"]
    assert theirs["runs"][0]["outcomes"][-2:] == theirs["runs"][0]["desks"][-2:] == [-1, -1]
    assert min(theirs["runs"][0]["outcomes"][:-2]) >= 0


def test_a_large_report_stays_small(tmp_path: Path) -> None:
    """Fourteen routes and 600 + 60 questions, each with five passages of 400 characters."""
    names = ("closed_book", "random", "rag", "gold", "lora", "lora_rag", "lora_gold", "cpt", "cpt_rag", "cpt_gold")
    routes = []
    for number in range(14):
        large_run(tmp_path / str(number), names[number % 10], 0.5, number, seed=number)
        ids = {id for found in load(tmp_path / str(number)).answers["passages"] for id, _ in found}
        texts = [{"id": id, "title": f"Act {id}", "text": f"{id} ".ljust(400, "x")} for id in sorted(ids)]
        write_jsonl(tmp_path / str(number) / "passages.jsonl", texts)
        routes.append(load(tmp_path / str(number)))
    assert len(as_json(browser_data(routes_of(routes)))) < 1_500_000


def test_parquet_holds_what_the_csv_rounds(four: tuple[Path, str]) -> None:
    root, printed = four
    assert f"Written: {root / 'comparison.parquet'}" in printed
    assert f"Written: {root / 'report.html'}" in printed
    runs, _ = gather([root])
    found = pd.read_parquet(root / "comparison.parquet")
    pd.testing.assert_frame_equal(found, compare(runs), check_dtype=False)
