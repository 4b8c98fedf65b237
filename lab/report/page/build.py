"""Frames -> the page: what it says is made here, how it looks stands in page.html, page.css and page.js."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from lab.report.bill import Prices, Use
from lab.report.page.browser import as_json, browser_data
from lab.report.page.figures import figures
from lab.report.page.tables import score_table
from lab.report.provenance import unlike
from lab.report.scores import Route
from lab.report.table import notes
from lab.report.verdict import verdict
from lab.report.warnings import leaks, warnings

VERDICTS = ("Who leads", "How much of what can be had", "What it costs")  # the first three sentences of `verdict`


def build(
    frame: pd.DataFrame,
    forgotten: pd.DataFrame,
    routes: Sequence[Route],
    reference: str,
    prices: Prices,
    use: Use,
    told: Sequence[str] = (),
) -> str:
    """The whole page as text: the same for the same runs, wherever they lie and whenever it is made.

    frame: of `compare`. forgotten: of `forgetting`. prices: of machines and people. use: how much is asked.
    told: what else is to be said of these runs. All text of documents, questions and answers is escaped, and a policy
    in the page lets no script run but its own and nothing be fetched.
    """
    sentences = verdict(frame, routes, reference)
    style, script = _asset("page.css"), _asset("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html")).render(
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        facts=_facts(routes, reference),
        verdicts=list(zip(VERDICTS, sentences, strict=False)),
        further=sentences[len(VERDICTS) :],
        leaks=leaks(routes),
        warnings=[*unlike(run for route in routes for run in route.runs), *warnings(routes, reference)],
        reference=reference,
        figures=figures(frame, forgotten, routes, reference, prices, use),
        table=score_table(frame, forgotten, routes, reference),
        notes=[*notes(frame, forgotten, routes, reference), *told],
        sources=_sources(routes),
        browser=as_json(browser_data(routes)),
    )


def _asset(name: str) -> str:
    return (files("lab.report.page") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a policy names the one script, or style, that it lets through."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _facts(routes: Sequence[Route], reference: str) -> list[tuple[str, str]]:
    """How much was asked of how many."""
    exam = routes[0].runs[0].exam
    documents = {document for question in exam for document in question.documents}
    general = max(len(route.choose("general")) for route in routes)
    runs = sum(len(route.runs) for route in routes)
    told = [(str(len(routes)), "routes" if len(routes) > 1 else "route"), (str(len(exam)), "exam questions")]
    told += [(str(len(documents)), "documents")] if documents else []
    told += [(str(general), "general questions")] if general else []
    told += [(str(runs), "runs")] if runs > len(routes) else []
    return [*told, (reference, "is what all are compared with")]


def _sources(routes: Sequence[Route]) -> list[tuple[str, str]]:
    """What these runs were made of, as their manifests tell: the same digests are the same corpus, exam and base."""
    manifests: list[dict[str, Any]] = [run.manifest for route in routes for run in route.runs]
    told = []
    for name in ("corpus", "exam", "general", "model"):
        known = dict.fromkeys(m["digests"].get(name) for m in manifests)
        told.append((f"{name} digest", ", ".join(digest[:16] if digest else "not known" for digest in known)))
    return told
