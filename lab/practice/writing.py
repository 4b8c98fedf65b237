"""Ask a model for practice, keep each reply as it comes, and make files of those that can be used."""

from __future__ import annotations

import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.exam.leaks import LeakGuard
from lab.exam.prompts import ask
from lab.ledger import PRACTICE_BILL, REWORDED_BILL, Entry
from lab.model import Model
from lab.practice.tasks import Task, copy_fault, pairs
from lab.records import read_jsonl, write_jsonl
from lab.store import digest

BILLS = {"questions": PRACTICE_BILL, "reworded": REWORDED_BILL}
BATCH = 16  # Passages asked for at once: what a kill loses at most.
REPLIES, PRACTICE, REWORDED, DROPPED, COSTS = (
    "replies.jsonl", "practice.jsonl", "reworded", "dropped.jsonl", "costs.jsonl"
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What came of it. dropped: how many items for each reason. leaks: (item, exam question) that stood in it."""

    questions: int
    copies: int
    dropped: Mapping[str, int]
    leaks: Sequence[tuple[str, str]]


def write(
    wanted: Sequence[Task], model: Model, out: Path, progress: Callable[[int], None] = lambda done: None
) -> dict[str, dict[str, Any]]:
    """Replies by key, those of earlier sittings among them: what has been answered is not asked again.

    Each batch of replies is on disk before the next is asked for. Failed questions are kept for the bill, and asked
    again the next time.
    """
    out.mkdir(parents=True, exist_ok=True)
    replies = _kept(out / REPLIES)
    missing = [task for task in wanted if key_of(task, model) not in replies]
    progress(len(wanted) - len(missing))
    with (out / REPLIES).open("a", encoding="utf-8") as file:
        for kind in BILLS:
            some = [task for task in missing if task.kind == kind]
            for at in range(0, len(some), BATCH):
                batch = some[at : at + BATCH]
                start = time.perf_counter()
                made = model.generate([t.prompt for t in batch], batch[0].max_new_tokens, progress, True)
                seconds = (time.perf_counter() - start) / len(batch)
                for task, one in zip(batch, made, strict=True):
                    row = {
                        "key": key_of(task, model), "kind": task.kind, "passage": task.passage.id, "copy": task.copy,
                        "seconds": seconds, "whole": one.answer_tokens < task.max_new_tokens, **asdict(one),
                    }  # fmt: skip
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    if one.error is None:
                        replies[row["key"]] = row
                file.flush()
    return replies


def key_of(task: Task, model: Model) -> str:
    """What a reply depends on. A served model is known by its name: a bill is not paid twice for a doubt."""
    return digest([model.digest, task.prompt, task.max_new_tokens])[:16]


def publish(
    wanted: Sequence[Task], replies: Mapping[str, Mapping[str, Any]], model: Model, out: Path, guard: LeakGuard | None
) -> Written:
    """Write practice.jsonl, the reworded folder, what was dropped with its reason, and costs.jsonl."""
    dropped: list[dict[str, str]] = []
    questions: dict[str, dict[str, Any]] = {}
    copies: dict[str, tuple[str, int, str]] = {}
    shown: dict[str, str] = {}  # Each item as a training would see it.
    for task in wanted:
        reply, passage = replies.get(key_of(task, model)), task.passage
        item = f"{passage.id}/{task.kind}" + (f"-{task.copy}" if task.copy else "")
        if reply is None:
            dropped.append({"id": item, "why": "the model did not answer", "text": ""})
        elif task.kind == "questions":
            good, bad = pairs(reply["text"], passage, reply["whole"])
            dropped += ({"id": item, "why": why, "text": reply["text"]} for why in bad)
            for number, (question, answer) in enumerate(good, 1):
                id = f"practice-{passage.id}-{number}"
                row = {"id": id, "question": question, "answers": [answer], "part": "practice"}
                questions[id] = {**row, "documents": [passage.document_id]}
                shown[id] = f"{ask(question)} {answer}"
        elif fault := copy_fault(reply["text"], passage, reply["whole"]):
            dropped.append({"id": item, "why": fault, "text": reply["text"]})
        else:
            shown[item] = f"{passage.title}\n\n{reply['text'].strip()}"
            copies[item] = passage.document_id, task.copy, shown[item]

    leaks: list[tuple[str, str]] = []
    found = guard.find(shown.items()) if guard else []
    leaking = {shown[leak.text]: leak for leak in found}  # The guard names a text that occurs twice only once.
    for item in [item for item, text in shown.items() if text in leaking]:
        leak = leaking[shown[item]]
        why = f"exam question {leak.question} stands in it ({leak.how})"
        dropped.append({"id": item, "why": why, "text": shown[item]})
        leaks.append((item, leak.question))
        questions.pop(item, None)
        copies.pop(item, None)
    write_jsonl(out / PRACTICE, questions.values())
    _write_copies(out / REWORDED, copies.values())
    write_jsonl(out / DROPPED, dropped)
    write_jsonl(out / COSTS, _costs(out / REPLIES))
    why_counts = Counter("an exam question in it" if row["why"].startswith("exam ") else row["why"] for row in dropped)
    return Written(len(questions), len(copies), dict(why_counts.most_common()), leaks)


def _write_copies(folder: Path, copies: Iterable[tuple[str, int, str]]) -> None:
    parts: dict[tuple[str, int], list[str]] = defaultdict(list)
    for document, copy, text in copies:
        parts[document, copy].append(text)
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):  # Only what an earlier sitting wrote lies here.
        old.unlink()
    for (document, copy), texts in parts.items():
        # An id may be a path, or anything else; its digest keeps two that look alike apart.
        name = re.sub(r"[^\w-]+", "_", document)[:60]
        (folder / f"{name}-{digest(document)[:8]}-{copy}.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def _costs(path: Path) -> list[Entry]:
    """One row of a ledger for each kind, over all sittings: every reply was paid for once, used or not."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_jsonl(path):
        rows[row["kind"]].append(row)
    return [
        Entry(
            BILLS[kind],
            seconds=sum(row["seconds"] for row in some),
            tokens=sum(row["prompt_tokens"] + row["answer_tokens"] for row in some),
            detail={"calls": len(some), "failed": sum(row["error"] is not None for row in some)},
        )
        for kind, some in rows.items()
    ]


def _kept(path: Path) -> dict[str, dict[str, Any]]:
    """Replies of earlier sittings; half a line, as a kill leaves it, is taken off the file."""
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)
    return {row["key"]: row for row in read_jsonl(path) if row["error"] is None}
