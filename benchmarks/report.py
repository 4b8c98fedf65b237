"""How long opening and comparing many runs takes: `python benchmarks/report.py`. No model, no network.

Makes run folders of ten routes and five seeds over one embedded exam, by a student that answers by lot and is graded as
any other, in a temporary folder; then opens them (`gather`) and compares them (`compare`) in a fresh process each time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from lab.judge.grading import grade
from lab.ledger import Entry
from lab.records import Answer, Question, write_jsonl
from lab.store import digest
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

ROUTES = [(adaptation, context) for adaptation in ("none", "lora", "cpt") for context in ("none", "retrieved", "gold")]
ROUTES.append(("none", "random"))
TIMED = """
import resource, sys, time
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
from lab.report import compare, gather
begun = spent()
runs, _ = gather([sys.argv[1]])
opened = spent()
compare(runs)
compared = spent()
print(len(runs), *(b - a for a, b in zip(begun, opened)), *(b - a for a, b in zip(opened, compared)))
"""


def make_runs(folder: Path, runs: int, questions: int) -> None:
    """Run folders as `lab.run` writes them: `questions` of the exam and 350 general ones each, three passages shown."""
    book, world = StatuteBook(acts=questions // 14), GeneralWorld()
    exam = Random(0).sample(book.exam(), questions)
    suites = [("exam", exam), ("general", world.exam())]
    texts = world.held_out_text()
    values = [question.answers[0] for question in exam]
    pages = sorted({page for question in exam for page in question.passages})
    digests = {name: digest(name) for name in ("corpus", "exam", "general", "model")}
    for number in range(runs):
        adaptation, context = ROUTES[number % len(ROUTES)]
        seed, draw = number // len(ROUTES), Random(number)
        rows = []
        for suite, asked in suites:
            for question in asked:
                text = draw.choice([question.answers[0], "unknown", draw.choice(values)])
                shown = () if context == "none" else tuple((page, draw.random()) for page in draw.sample(pages, 3))
                answer = Answer(
                    question.id, text, shown, digest(question.question), 205, 4, 0.02, 0.001, -draw.random()
                )
                graded = dataclasses.asdict(grade(question, answer))
                rows.append({"suite": suite, **dataclasses.asdict(answer), "grade": graded})
        at = folder / f"{number}-{adaptation}_{context}"
        at.mkdir()
        asked_rows: list[tuple[str, Question]] = [(suite, question) for suite, asked in suites for question in asked]
        write_jsonl(at / "questions.jsonl", [{"suite": suite, **dataclasses.asdict(one)} for suite, one in asked_rows])
        write_jsonl(at / "answers.jsonl", rows)
        write_jsonl(
            at / "texts.jsonl", [{"text_id": f"t{n}", "bits": 1.0, "bytes": len(t)} for n, t in enumerate(texts)]
        )
        write_jsonl(at / "costs.jsonl", [Entry("indexing", 1.0), Entry("answering", 9.0), Entry("general", 3.0)])
        manifest = {
            "pipeline": "rag" if (adaptation, context) == ("none", "retrieved") else f"{adaptation}_{context}",
            **{"adaptation": adaptation, "context": context, "settings": {}, "seed": seed, "reference": "rag"},
            **{"arm": None, "overrides": [], "parameters": 1_300_000, "facts": None, "exam_size": len(exam)},
            **{"digests": digests, "leaked": [], "finished": True},
        }
        (at / "manifest.json").write_text(json.dumps(manifest))


def main() -> None:
    """Make the runs, time them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--questions", type=int, default=1000, help="of the exam; 350 general ones come on top")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        make_runs(Path(folder), chosen.runs, chosen.questions)
        times = []
        for _ in range(chosen.rounds):
            done = subprocess.run([sys.executable, "-c", TIMED, folder], capture_output=True, text=True, check=True)
            count, *seconds = done.stdout.split()
            assert int(count) == chosen.runs
            times.append([float(value) for value in seconds])
    print(f"{chosen.runs} runs of {chosen.questions} exam and 350 general questions, median (least to most)")
    names = ("gather, s", "gather, CPU s", "compare, s", "compare, CPU s")
    for name, column in zip(names, np.transpose(times), strict=True):
        print(f"{name:16} {np.median(column):5.2f} ({min(column):.2f} to {max(column):.2f})")


if __name__ == "__main__":
    main()
