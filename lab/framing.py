"""What stands around a prompt: nothing for a base model, the marks of its chat template for a chat model.

One place for the exam and for training alike: a practice question is framed as an exam question is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from lab.bounded import bounded
from lab.records import LabError

_USER, _ANSWER = "words of the user", "words of the model"
# Thinking is switched off where a template knows how. The date is the one that Llama's templates name by themselves
# where they know no other: a prompt must not change from day to day.
_SETTINGS = {"tokenize": False, "enable_thinking": False, "date_string": "26 Jul 2024"}
_OPEN, _CLOSE = "<think>", "</think>"
_SEAM = re.compile(r"(?<=[!-~])\n(?=[!-~])")
_NUMBERS = {"type": "Split", "pattern": {"Regex": r" ?\d{1,3}"}, "behavior": "Isolated", "invert": False}


def as_words(tokenizer: Any, texts: Sequence[str], add_special_tokens: bool = True) -> list[list[int]]:
    """Token ids of texts that others wrote: `<|im_end|>` in one of them is words, and ends no turn.

    Texts of one group share passages and instructions. Where tokens keep to lines, each line is encoded once.
    """
    parts = [_lines(text) for text in texts] if _keeps_to_lines(tokenizer) else [[text] for text in texts]
    distinct = list(dict.fromkeys(chain.from_iterable(parts)))
    if not distinct:
        return []
    encoded = tokenizer(distinct, add_special_tokens=add_special_tokens, split_special_tokens=True)["input_ids"]
    ids = dict(zip(distinct, encoded, strict=True))
    return [list(chain.from_iterable(ids[part] for part in own)) for own in parts]


def _lines(text: str) -> list[str]:
    """The text in parts that have the tokens alone that they have in it; see `_keeps_to_lines`."""
    ends = [seam.end() for seam in _SEAM.finditer(text)]
    return [text[start:end] for start, end in pairwise([0, *ends, len(text)])]


def _keeps_to_lines(tokenizer: Any) -> bool:
    """Whether a text has the tokens of its parts where `_SEAM` parts it. True of GPT-2's way to find words, be numbers
    split off before or not: it joins a line break to blanks alone, so that the break between two visible characters is
    a word of its own, whatever stands further away. Nothing else may look at the text: neither a normalizer, nor tokens
    that are found before words are, nor marks put around it.
    """
    if not tokenizer.is_fast or tokenizer.backend_tokenizer.pre_tokenizer is None:
        return False
    steps = json.loads(tokenizer.backend_tokenizer.pre_tokenizer.__getstate__())
    *before, last = steps.get("pretokenizers", [steps])
    return (
        all(step == _NUMBERS for step in before)
        and (last["type"], last.get("use_regex"), last.get("add_prefix_space")) == ("ByteLevel", True, False)
        and tokenizer.backend_tokenizer.normalizer is None
        and all(token.special for token in tokenizer.added_tokens_decoder.values())
        and tokenizer.num_special_tokens_to_add() == 0
    )


@dataclass(frozen=True)
class Frame:
    """before, after: what the template puts around the user's words, beginning-of-text mark included; both empty for a
    base model. end: id of the token that ends an answer, None where only the end of text does.

    Throughout the lab an answer is written as it follows "Answer:", with a space before it.
    """

    before: str = ""
    after: str = ""
    end: int | None = None

    @property
    def is_chat(self) -> bool:
        return bool(self.before or self.after)

    def encode(self, tokenizer: Any, prompts: Sequence[str], answers: Sequence[str] | None = None) -> list[list[int]]:
        """Token ids of each prompt in its frame, or of each prompt and the answer that follows it, as one text.

        Without a template the tokenizer adds its own special tokens; a template brings them. Those that stand in a
        prompt or an answer are words like any other.
        """
        given = answers if answers is not None else [""] * len(prompts)
        return self._encode(tokenizer, [(p, self.after, self.answer(a)) for p, a in zip(prompts, given, strict=True)])

    def open(self, tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts that only begin."""
        return self._encode(tokenizer, [(text, "", "") for text in texts])

    def _encode(self, tokenizer: Any, parts: Sequence[tuple[str, str, str]]) -> list[list[int]]:
        """Token ids of (user's words, what the template has behind them, answer), the template's beginning before."""
        if not self.is_chat:
            return as_words(tokenizer, ["".join(part) for part in parts])
        whole = [self.before + "".join(part) for part in parts]
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"] if whole else []
        marks = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        for place, (words, after, answer) in enumerate(parts):
            if any(mark in words or mark in answer for mark in marks):
                before, after_ids = (
                    tokenizer(text, add_special_tokens=False)["input_ids"] for text in (self.before, after)
                )
                said, answered = as_words(tokenizer, [words, answer], add_special_tokens=False)
                ids[place] = [*before, *said, *after_ids, *answered]
        return ids

    def tail(self, tokenizer: Any, head: list[int], whole: list[int], answer: str) -> list[int]:
        """Token ids of an answer: what it adds to its prompt's when both are encoded as one text (`whole`); encoded
        apart where that would merge the seam into other tokens.
        """
        if whole[: len(head)] == head:
            return whole[len(head) :]
        return as_words(tokenizer, [self.answer(answer)], add_special_tokens=False)[0]

    def answer(self, text: str) -> str:
        """An answer as this model begins it: a turn of a chat has no space before its first word."""
        return text.removeprefix(" ") if self.is_chat else text

    def mark(self, several_lines: bool) -> str | None:
        """What ends a base model's answer: a line break, or, where it may have several lines, the beginning of a
        question that it asks by itself. None of a chat, whose model ends its own turn.
        """
        return None if self.is_chat else "\nQuestion:" if several_lines else "\n"

    def first_part(self, text: str, several_lines: bool) -> str:
        """The part of a stripped text that is the answer: all that comes before the mark."""
        mark = self.mark(several_lines)
        return text.split(mark)[0].strip() if mark else text

    def without_thinking(self, text: str) -> str:
        """An answer without what was thought before it; empty where the tokens ran out over the thinking."""
        opened = _OPEN if self.after.rfind(_OPEN) > self.after.rfind(_CLOSE) else ""
        *thought, said = (opened + text).split(_CLOSE)
        return said.split(_OPEN)[0] if thought or _OPEN in said else text


PLAIN = Frame()


def frame_of(tokenizer: Any, chat: bool | str) -> Frame:
    """The frame of a tokenizer's chat template as one user turn, thinking off. chat: `auto`, True or False.

    LabError where a template is asked for and there is none, or it cannot hold a single user turn.
    """
    if chat is False or (chat == "auto" and not tokenizer.chat_template):
        return PLAIN
    if not tokenizer.chat_template:
        raise LabError("model.chat=true: the tokenizer has no chat template; give model.chat=false or another model")
    turn = {"role": "user", "content": _USER}
    answer = {"role": "assistant", "content": _ANSWER}
    # A template is a program that somebody else wrote: the library keeps it from our files, not from all our memory.
    try:
        asked = bounded(
            lambda: tokenizer.apply_chat_template([turn], add_generation_prompt=True, **_SETTINGS), "the chat template"
        )
        answered = bounded(lambda: tokenizer.apply_chat_template([turn, answer], **_SETTINGS), "the chat template")
    except LabError as error:
        raise LabError(f"model.chat={chat}: {error}; give model.chat=false") from error
    if asked.count(_USER) != 1:
        raise LabError(
            f"model.chat={chat}: the chat template does not show the user's words once; give model.chat=false"
        )
    before, after = asked.split(_USER)
    closing = answered.rpartition(_ANSWER)[2].strip()
    ends = tokenizer(closing, add_special_tokens=False)["input_ids"][:1] if closing else []
    known = [token for token in ends if token in tokenizer.added_tokens_decoder]
    return Frame(before, after, known[0] if known else tokenizer.eos_token_id)
