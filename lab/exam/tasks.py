"""Tasks of lm-eval (an extra) as a general suite: what a base is usually measured by, before and after."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.exam.questions import LETTERS
from lab.exam.suite import GeneralSuite
from lab.records import LabError, Question

CHOICE, FREE = "multiple_choice", "generate_until"


@dataclass(frozen=True)
class TaskSuite:
    """Tasks or groups by name, each a part.

    include: a folder of task files of your own; they and lm-eval's own may run code that lies beside them. Data sets
    come from disk or from what the `datasets` library has kept: nothing is fetched where HF_HUB_OFFLINE=1. Multiple
    choice becomes a question with its choices, free answers one with its accepted forms; both are asked in the lab's
    own prompt, so scores are the lab's, and comparable between routes rather than with published ones.
    """

    tasks: Sequence[str] = ()
    include: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tasks, str) or not self.tasks:
            raise LabError(f"general.tasks={self.tasks!r}: a list of names is needed, such as [arc_easy]")

    def load(self) -> GeneralSuite:
        """The questions of all tasks. LabError where lm-eval or a task is missing, or one asks in another way."""
        if importlib.util.find_spec("lm_eval") is None:
            raise LabError("general=tasks: needs lm-eval; pip install 'open-book-exam-lab[benchmarks]'")
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=self.include)
        missing = [name for name in self.tasks if name not in manager.all_tasks]
        if missing:
            raise LabError(
                f"general.tasks: lm-eval knows no {', '.join(missing)}; mend the name, or give general.include"
            )
        try:
            found = manager.load(list(self.tasks))["tasks"]
        except (OSError, ValueError, IndexError, KeyError) as error:  # The last two: of its look at a first question.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LabError(f"general.tasks: data cannot be read: {reason}") from error
        return GeneralSuite(tuple(one for name, task in found.items() for one in _questions(name, task)), ())


def _questions(name: str, task: Any) -> list[Question]:
    if task.OUTPUT_TYPE not in (CHOICE, FREE):
        raise LabError(f"general.tasks: {name} is {task.OUTPUT_TYPE}; give tasks that are {CHOICE} or {FREE}")
    made = []
    for number, doc in enumerate(task.eval_docs, 1):
        # The lab's prompt has its own place for the answer.
        text = str(task.doc_to_text(doc)).strip().removesuffix("Answer:").strip()
        target = task.doc_to_target(doc)
        offered = task.doc_to_choice(doc) if task.OUTPUT_TYPE == CHOICE else ()
        choices = tuple(str(choice).strip() for choice in offered)
        if choices:
            known = dict(enumerate(LETTERS[: len(choices)])) | dict(zip(choices, LETTERS, strict=False))
            right = known.get(target if isinstance(target, int) else str(target).strip())
            if right is None:
                raise LabError(
                    f"general.tasks: {name}, question {number}: {target!r} is none of its choices; mend its data"
                )
            answers: tuple[str, ...] = (right,)
        else:
            answers = tuple(map(str, target)) if isinstance(target, list) else (str(target).strip(),)
        made.append(Question(f"{name}/{number}", text, answers, part=name, choices=choices))
    return made
