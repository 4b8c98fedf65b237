"""Write practice questions and reworded copies of a folder of documents with any model.

    python -m lab.practice DOCUMENTS --out practice --model FOLDER --questions 3 --reworded 2 --exam exam.jsonl
    python -m lab.practice DOCUMENTS --out practice --url http://127.0.0.1:8000/v1 --name MODEL --key-env MY_KEY

    python -m lab pipeline=cpt corpus=folder corpus.path=DOCUMENTS corpus.practice=practice/practice.jsonl \
        corpus.reworded=practice/reworded exam=jsonl exam.path=exam.jsonl

The exam is never shown to the model: with --exam it is compared with what was written, and what holds one of its
questions is dropped and named. Stopped and started again, nothing is asked twice.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.base import Base, BaseModel
from lab.corpus.folder import FolderCorpus
from lab.exam.jsonl import load_questions
from lab.exam.leaks import LeakGuard
from lab.practice.tasks import tasks
from lab.practice.writing import DROPPED, publish, write
from lab.progress import Progress, add_flags, speak, verbose
from lab.records import LabError
from lab.runtime import choose_device, quiet_libraries
from lab.served import ServedModel


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a mistake the user can mend, 130 interrupted."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    quiet_libraries()
    speak(given.level)
    try:
        with Progress("practice") as progress:
            _write(given, progress)
    except LabError as error:
        if verbose():
            raise
        print(f"lab.practice: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab.practice: interrupted; replies are kept, start again to go on", file=sys.stderr)
        return 130
    return 0


def _write(given: argparse.Namespace, progress: Progress) -> None:
    corpus = FolderCorpus(given.documents).load()
    passages = corpus.passages[: given.limit] if given.limit else corpus.passages
    wanted = tasks(passages, given.questions, given.reworded, given.answer_tokens)
    guard = LeakGuard(load_questions(Path(given.exam))) if given.exam else None  # Read now: a fault costs nothing yet.
    model = _base(given).load(choose_device(given.device))
    out = Path(given.out)
    with progress.step("writing", len(wanted), "replies") as advance:
        replies = write(wanted, model, out, advance)
    made = publish(wanted, replies, model, out, guard)
    print(f"{made.questions} questions and {made.copies} reworded passages of {len(passages)} passages, in {out}")
    if made.dropped:
        print(f"dropped, each with its reason in {out / DROPPED}:")
        print("\n".join(f"  {count} x {why}" for why, count in made.dropped.items()))
    for item, question in made.leaks:
        print(f"  {item}: exam question {question}")
    if guard is None:
        print("not compared with an exam; give --exam FILE, or let the run's own guard do it")


def _base(given: argparse.Namespace) -> Base:
    if given.url:
        if not given.name:
            raise LabError("--url needs --name: what the server calls the model")
        extra = {"chat_template_kwargs": {"enable_thinking": False}} if given.thinking_off else None
        return ServedModel(given.url, given.name, api_key_env=given.key_env, extra=extra)
    if not given.model:
        raise LabError("no model: give --model FOLDER, or --url URL --name NAME of a server")
    return BaseModel(given.model)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.practice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("documents", help="the folder of the documents")
    parser.add_argument("--out", required=True, help="the folder to write to, and to go on from")
    parser.add_argument("--model", help="a model folder or hub name")
    parser.add_argument("--url", help="instead of it: a server that speaks OpenAI's protocol, up to /v1")
    parser.add_argument("--name", help="what that server calls the model")
    parser.add_argument("--key-env", help="the environment variable that holds its key")
    parser.add_argument("--thinking-off", action="store_true", help="ask vLLM, SGLang or transformers not to think")
    parser.add_argument("--questions", type=int, default=3, help="questions a passage (3)")
    parser.add_argument("--reworded", type=int, default=0, help="reworded copies of each passage (0)")
    parser.add_argument("--answer-tokens", type=int, default=768, help="the longest reply (768)")
    parser.add_argument("--limit", type=int, help="only the first so many passages")
    parser.add_argument("--exam", help="a .jsonl exam: what holds one of its questions is dropped")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    add_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
