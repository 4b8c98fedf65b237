"""The two axes joined: any adaptation with any context makes a student, and the student hands in whole answers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from lab.adapt.none import NoAdaptation
from lab.base import BaseModel
from lab.context.closed import ClosedBook
from lab.context.gold import Gold
from lab.context.random_passages import RandomPassages
from lab.context.retrieved import Retrieved
from lab.exam.prompts import prompt
from lab.judge.grading import grade
from lab.model import Generation, LanguageModel
from lab.pipeline import Pipeline
from lab.records import Question
from lab.student import ALONE_AT_LEAST, Student


@dataclass(frozen=True)
class Zeroed:
    """A trivial adaptation: it shows that the weights of a pipeline are its adaptation's, not the base's."""

    def adapt(self, base, corpus, workspace) -> LanguageModel:
        model = base.load(workspace.device)
        model.model.get_output_embeddings().weight.data.zero_()
        with workspace.ledger.phase("training") as entry:
            entry.tokens = sum(len(document.text) for document in corpus.documents)
        return model


CONTEXTS = [ClosedBook(), Gold(), RandomPassages(k=2), Retrieved(k=2)]


@pytest.mark.parametrize("adaptation", [NoAdaptation(), Zeroed()], ids=["none", "zeroed"])
@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: type(context).__name__)
def test_every_combination_makes_a_student(adaptation, context, random_model, small_corpus, book, workspace):
    student = Pipeline(adaptation, context).prepare(BaseModel(str(random_model)), small_corpus, workspace)
    asked = book.exam()[:5]
    answers = student.answer(student.read(asked))
    assert [answer.question_id for answer in answers] == [question.id for question in asked]
    for answer in answers:
        assert answer.prompt_tokens > 0
        assert answer.answer_tokens > 0
        assert answer.seconds > 0
        assert answer.log_probability < 0
        assert all(small_corpus.passage(id) for id, _ in answer.passages)
    if isinstance(adaptation, Zeroed):
        assert workspace.ledger.total("training").tokens > 0
        assert len({answer.text for answer in answers}) == 1  # every token is equally likely, whatever the prompt


def test_no_pipeline_is_ever_shown_the_exam():
    names = set(inspect.signature(Pipeline.prepare).parameters)
    assert names == {"self", "base", "corpus", "workspace"}


class ScriptedModel:
    """Answers what the script says, and keeps the prompts that it was shown."""

    def __init__(self, script: dict[str, str]) -> None:
        self.script, self.prompts = script, list[str]()

    def generate(self, prompts: Sequence[str], max_new_tokens, progress=None, several_lines=False) -> list[Generation]:
        self.prompts += prompts
        return [Generation(self.script[p.split("Question: ")[1].split("\n")[0]], len(p), 1) for p in prompts]

    def log_probabilities(self, prompts, continuations) -> list[list[float]]:
        return [[-float(len(text)) for text in some] for some in continuations]


def test_a_perfect_student_scores_exactly_one(book, small_corpus, workspace):
    exam = book.exam()
    model = ScriptedModel({question.question: question.answers[0] for question in exam})
    student = Student(model, Gold().prepare(small_corpus, workspace))
    answers = student.answer(student.read(exam))
    grades = [grade(question, answer) for question, answer in zip(exam, answers, strict=True)]
    assert {g.exact_match for g in grades} == {1.0}
    assert {g.outcome for g in grades} <= {"right", "unknown_right"}


def test_questions_are_asked_alone_and_not_for_ever(monkeypatch):
    exam = [Question(f"q{n}", f"Who {n}?", ("A",)) for n in range(20)]
    model = ScriptedModel({question.question: "A" for question in exam})
    student = Student(model, ClosedBook())
    clock = iter(range(10_000))  # Each look at the clock finds a second gone.
    monkeypatch.setattr("lab.student.time.perf_counter", lambda: next(clock))
    waits = student.alone(exam)
    assert [wait.question_id for wait in waits] == [f"q{n}" for n in range(len(waits))]
    assert {(wait.seconds, wait.retrieval_seconds, wait.first) for wait in waits} == {(1, 1, False)}
    assert ALONE_AT_LEAST < len(waits) == len(model.prompts) < 20
    assert [wait.first for wait in student.alone(exam[:1], first=True)] == [True]
    monkeypatch.setattr(model, "generate", lambda prompts, *rest: [Generation("", 0, 0, "the server is gone")])
    assert student.alone(exam[:2]) == []


def test_letters_and_texts_of_choices_are_scored_beside_the_reference():
    asked = [Question("1", "Which?", ("B",), choices=("one", "three", "eleven")), Question("2", "Who?", ("nobody",))]
    model = ScriptedModel({"Which?": "B", "Who?": "nobody"})
    student = Student(model, ClosedBook())
    first, second = student.answer(student.read(asked))
    # The script's log-probability is minus the length of what follows the prompt: a space, then the form.
    assert (first.log_probability, first.choices) == (-2.0, ((-2.0, -4.0), (-2.0, -6.0), (-2.0, -7.0)))
    assert (second.log_probability, second.choices) == (-7.0, ())


def test_the_reference_answer_never_reaches_a_prompt_without_a_passage(book, small_corpus, workspace):
    exam = [question for question in book.exam() if question.part == "recall"]
    model = ScriptedModel(dict.fromkeys((question.question for question in exam), ""))
    student = Student(model, ClosedBook())
    student.answer(student.read(exam))
    for question, shown in zip(exam, model.prompts, strict=True):
        assert shown == prompt(question.question, [])
        assert question.answers[0] not in shown


def test_what_belongs_to_the_question_stands_after_what_was_found(small_corpus, workspace):
    question = Question("q", "Who?", ("A",), passages=(small_corpus.passages[0].id,), given=("Given text.",))
    model = ScriptedModel({"Who?": "A"})
    student = Student(model, Gold().prepare(small_corpus, workspace))
    student.answer(student.read([question]))
    found, given = model.prompts[0].index(small_corpus.passages[0].text), model.prompts[0].index("- Given text.")
    assert found < given < model.prompts[0].index("Question: Who?")
    bare = Student(model, ClosedBook())
    bare.answer(bare.read([replace(question, given=())]))
    assert model.prompts[1] == prompt("Who?", [])
