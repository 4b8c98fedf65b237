"""What a model is asked to write from a passage, and what of its words is taken. Only the passage is in the prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lab.judge.grading import contains, normalise
from lab.records import LabError, Passage

_CJK = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
CHINESE_SHARE = 0.2  # Of the characters: a statute in Chinese has numbers and spaces, one in English quotes little.
_NUMBER = re.compile(r"\d+")
_QUESTION = re.compile(r"\s*(?:Q|问)\s*\d*\s*[:：.]\s*(.*)")  # noqa: RUF001
_ANSWER = re.compile(r"\s*(?:A|答)\s*\d*\s*[:：.]\s*(.*)")  # noqa: RUF001
LONGEST_QUESTION, LONGEST_ANSWER = 300, 200  # characters
SHORTEST_COPY, LONGEST_COPY = 0.3, 3.0  # of the passage's characters

QUESTIONS = {
    "en": """Write {count} questions that this passage answers.
Each names what it is about, so that it can be understood by someone who does not see the passage. Each answer is a \
few words copied from the passage. Write two lines for each and nothing else:
Q: the question
A: the answer

Title: {title}
Passage: {text}
""",
    "zh": """请根据下面的段落写出{count}个问题，段落中要有答案。
每个问题都要写明所问的对象，使没有看到段落的人也能看懂。答案只用段落里原有的几个字。每个问题写两行，此外什么也不写：
问：问题
答：答案

标题：{title}
段落：{text}
""",  # noqa: RUF001
}
REWORDED = {
    "en": """Write this passage again in other words, {style}. Keep every fact, name and number, and add none. Write \
the new text and nothing else.

Title: {title}
Passage: {text}
""",
    "zh": """请用另外的话重写下面的段落，{style}。保留每一个事实、名称和数字，不要添加内容。只写出新的文字。

标题：{title}
段落：{text}
""",  # noqa: RUF001
}
# A model that always takes the most probable token writes other copies only where it is asked in another way.
STYLES = {
    "en": (
        "in plain words",
        "in short sentences, one fact each",
        "as one would explain it to a new colleague",
        "in another order, beginning with what comes last",
        "as a notice to those whom it concerns",
        "as a list of statements, each understood by itself",
    ),
    "zh": (
        "用通俗的语言",
        "用短句，每句只说一个事实",  # noqa: RUF001
        "像给新同事讲解一样",
        "换一个顺序，从最后的内容说起",  # noqa: RUF001
        "写成给有关人员的通知",
        "写成一条一条能单独看懂的陈述",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One thing to be written. kind: `questions` or `reworded`; copy: which reworded copy, 0 for questions."""

    kind: str
    passage: Passage
    copy: int
    prompt: str
    max_new_tokens: int


def tasks(passages: Sequence[Passage], questions: int, copies: int, answer_tokens: int) -> list[Task]:
    """All that is to be written: `questions` questions a passage and `copies` copies, in the passage's own language.

    LabError for counts below 0, both 0, or more copies than there are ways to ask for one.
    """
    if min(questions, copies) < 0 or questions + copies == 0 or answer_tokens < 1:
        raise LabError(
            "questions, reworded, answer-tokens: whole numbers of at least 0 are needed, and something to do"
        )
    if copies > len(STYLES["en"]):
        raise LabError(f"reworded={copies}: at most {len(STYLES['en'])} copies can be told from each other")
    made = []
    for passage in passages:
        language = language_of(passage.text)
        words = {"title": passage.title, "text": passage.text}
        if questions:
            prompt = QUESTIONS[language].format(count=questions, **words)
            made.append(Task("questions", passage, 0, prompt, answer_tokens))
        for copy, style in enumerate(STYLES[language][:copies], 1):
            prompt = REWORDED[language].format(style=style, **words)
            made.append(Task("reworded", passage, copy, prompt, answer_tokens))
    return made


def language_of(text: str) -> str:
    """`zh` where at least a fifth of the characters are Han, else `en`."""
    return "zh" if len(_CJK.findall(text)) >= CHINESE_SHARE * len(text) > 0 else "en"


def pairs(text: str, passage: Passage, whole: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """(question, answer) pairs that can be used, and why each other one cannot.

    A line that begins a question is followed by one that begins its answer; an answer stands in the passage, word for
    word. whole: whether the model came to its end; the last line of a text that was cut off is not believed.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not whole:
        lines = lines[:-1]
    good: list[tuple[str, str]] = []
    bad: list[str] = []
    open_question: str | None = None
    for line in lines:
        asked, answered = _QUESTION.fullmatch(line), _ANSWER.fullmatch(line)
        if asked:
            if open_question is not None:
                bad.append("a question without an answer")
            open_question = asked[1].strip()
        elif answered and open_question is not None:
            question, answer, open_question = open_question, answered[1].strip(), None
            why = _fault(question, answer, passage, good)
            if why is None:
                good.append((question, answer))
            else:
                bad.append(why)
        else:
            bad.append("a line that is neither a question nor its answer")
    if open_question is not None:
        bad.append("a question without an answer")
    return good, bad or ([] if good else ["no question"])


def _fault(question: str, answer: str, passage: Passage, others: Sequence[tuple[str, str]]) -> str | None:
    if not normalise(question) or not normalise(answer):
        return "an empty question or answer"
    if len(question) > LONGEST_QUESTION or len(answer) > LONGEST_ANSWER:
        return "a question or answer that is too long"
    if not contains(f"{passage.title}\n{passage.text}", answer):
        return "an answer that is not in the passage"
    if normalise(question) in {normalise(other) for other, _ in others}:
        return "the same question twice"
    return None


def copy_fault(text: str, passage: Passage, whole: bool) -> str | None:
    """Why a reworded copy cannot be used, None where it can: numbers are the facts that can be checked."""
    if not whole:
        return "a copy that was cut off"
    if not normalise(text):
        return "an empty copy"
    if not SHORTEST_COPY <= len(text) / len(passage.text) <= LONGEST_COPY:
        return "a copy much shorter or longer than the passage"
    if normalise(text) == normalise(passage.text):
        return "the passage itself"
    if set(_NUMBER.findall(passage.text)) - set(_NUMBER.findall(text)):
        return "a copy that lost a number"
    return None
