"""Causal language models: answer prompts in batches, and score texts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from lab.decoding import AnswerEnd, Batch, can_share, inputs, plan
from lab.flops import Counter, matrices
from lab.framing import PLAIN, Frame, as_words
from lab.records import LabError, MemoryFullError
from lab.scoring import continuation_log_probabilities, rolling_windows, sequence_log_probabilities
from lab.store import JSON

log = logging.getLogger(__name__)
Made = TypeVar("Made")

# The most probable token each time, whatever a folder's generation_config.json asks for.
GREEDY: dict[str, Any] = {
    "do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0
}  # fmt: skip
# A CPU's batch should stay in its cache: with 8192 tokens the embedded base took a third longer over prompts of all
# lengths.
BATCH_TOKENS = {"cpu": 4096}
# Answering makes logits of few tokens, so a GPU, where a call costs as much for few rows, is given more.
ANSWER_TOKENS = {**BATCH_TOKENS, "cuda": 65_536}


@dataclass(frozen=True)
class Generation:
    """One greedy answer. text: stripped, without thinking; of a base model the first line only, unless several lines
    were asked for. Counts are of tokens without padding, thinking included. error: why there is no answer.
    """

    text: str
    prompt_tokens: int
    answer_tokens: int
    error: str | None = None


class Model(Protocol):
    """What a student needs of a model, be it in memory or behind a server.

    digest: of all that answers depend on beside the prompt. dtype: as text. parameters: how many, adapters included;
    None where a server does not tell. keeps: whether the same digest is sure to mean the same answers, so that kept
    ones may be taken again.
    """

    digest: str
    keeps: bool

    @property
    def dtype(self) -> str: ...

    @property
    def parameters(self) -> int | None: ...

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Callable[[int], None] = ...,
        several_lines: bool = ...,
    ) -> list[Generation]: ...

    def log_probabilities(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float | None]]: ...

    def bits_per_byte(self, texts: Sequence[str]) -> list[tuple[float, int]]: ...

    def count_tokens(self, texts: Sequence[str]) -> int: ...

    def work(
        self, prompts: Sequence[str], tokens: Sequence[tuple[int, int]], max_new_tokens: int
    ) -> dict[str, JSON]: ...


class LanguageModel:
    """A causal model with its tokenizer, in evaluation mode.

    digest: of all that its answers depend on beside the prompt: weights, tokenizer, adapters. max_batch_tokens: padded
    tokens in one batch, which bounds memory; None takes what suits the device and the work. frame: what stands around
    each prompt.
    """

    keeps = True

    def __init__(
        self, model: Any, tokenizer: Any, digest: str, max_batch_tokens: int | None = None, frame: Frame = PLAIN
    ) -> None:
        self.model = model.eval()
        self.digest = digest
        self.tokenizer = tokenizer
        self.max_batch_tokens = max_batch_tokens or BATCH_TOKENS.get(self.device.type, 8192)
        self.max_answer_tokens = max_batch_tokens or ANSWER_TOKENS.get(self.device.type, 8192)
        self.frame = frame
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Some architectures have no window in their configuration; then the tokenizer's is all that is known.
        settings = model.config.get_text_config().to_dict()
        self.max_tokens = int(settings.get("max_position_embeddings", tokenizer.model_max_length))
        named = model.generation_config.eos_token_id
        stops = [tokenizer.eos_token_id, frame.end, *(named if isinstance(named, list) else [named])]
        self._stops = sorted({stop for stop in stops if stop is not None})
        self._shares: bool | None = None  # Found out where there is something to share.
        self._encoded: tuple[list[str], list[list[int]]] = [], []  # The prompts encoded last: all is asked of the same.
        self._planned: tuple[list[list[int]], int, list[Batch]] = [], 0, []  # How they were answered.
        self._parts = 1  # A batch that suits the work is taken as so many, where the memory is too small for it.

    @property
    def dtype(self) -> str:
        return str(self.model.dtype)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def device(self) -> torch.device:
        return self.model.device

    def encode(self, prompts: Sequence[str], answers: Sequence[str] | None = None) -> list[list[int]]:
        """Token ids of each prompt as the model reads it, or of each prompt with the answer that follows it.

        In the chat template where there is one; else with the tokenizer's own special tokens (a model's BOS belongs to
        its prompt).
        """
        if answers is not None:
            return self.frame.encode(self.tokenizer, prompts, answers)
        if self._encoded[0] != list(prompts):
            self._encoded = list(prompts), self.frame.encode(self.tokenizer, prompts)
        return self._encoded[1]

    def count_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens plain texts have, special ones included."""
        return sum(len(ids) for ids in as_words(self.tokenizer, texts))

    @torch.no_grad()  # And no inference mode: split weights are put together in memory that training goes on with.
    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Callable[[int], None] = lambda done: None,
        several_lines: bool = False,
    ) -> list[Generation]:
        """Greedy answers, in the order of `prompts`. progress is called with the number of prompts just answered.

        several_lines: whether a base model's answer may go on after a line break. A base model never knows that it is
        done, so its answer ends there, or else where it begins to ask by itself; a chat model ends its turn.
        """
        encoded = self.encode(prompts)
        longest = max(map(len, encoded), default=0)
        if longest + max_new_tokens > self.max_tokens:
            raise LabError(
                f"a prompt of {longest} tokens and {max_new_tokens} for the answer do not fit the model's window of "
                f"{self.max_tokens}; lower the number or size of the passages"
            )
        made: list[Generation | None] = [None] * len(encoded)

        def answered(_: int) -> None:
            batches = self._plan(encoded, max_new_tokens)
            self._planned = encoded, max_new_tokens, batches
            for batch in batches:
                new = sum(made[i] is None for i in batch.rows)
                answers = self._generate(encoded, batch, max_new_tokens, several_lines)
                for i, one in zip(batch.rows, answers, strict=True):
                    made[i] = one
                progress(new)

        self._fitting(answered, self.max_answer_tokens, longest + max_new_tokens)
        return [one for one in made if one is not None]

    def _generate(
        self, encoded: list[list[int]], batch: Batch, max_new_tokens: int, several_lines: bool
    ) -> Iterator[Generation]:
        pad, mark = self.tokenizer.pad_token_id, self.frame.mark(several_lines)
        given = inputs(self.model, encoded, batch, pad)
        width = given["input_ids"].shape[1]
        end = [AnswerEnd(self._text, width, mark)] if mark else []
        output = self.model.generate(
            **given,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._stops,
            pad_token_id=pad,
            stopping_criteria=end,
            **GREEDY,
        )
        for row, (i, ids) in enumerate(zip(batch.rows, output[:, width:].tolist(), strict=True)):
            stopped = next((place for place, token in enumerate(ids, 1) if token in self._stops), len(ids))
            length = end[0].lengths.get(row, stopped) if end else stopped
            text = self.frame.first_part(self._text(ids[:length]).strip(), several_lines)
            yield Generation(text, len(encoded[i]), length)

    def _fitting(self, work: Callable[[int], Made], most: int, longest: int) -> Made:
        """What work gives that is told how many tokens a batch may have: `most`, or a half of it, a fourth, ... until
        it fits the memory, now and from then on. MemoryFullError where the longest row alone does not.
        """
        while True:
            try:
                return work(most // self._parts)
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                if most // self._parts <= longest:
                    raise MemoryFullError(
                        f"the memory of {self.device.type} is too small for this model and {longest} tokens; lower the "
                        "number or size of the passages, or take the model in fewer bits (model.dtype, model.quantize)"
                    ) from error
            self._parts *= 2
            log.warning("a batch does not fit the memory; taken as %d", self._parts)
            clear_device_cache(garbage_collection=True)

    def _plan(self, encoded: Sequence[list[int]], max_new_tokens: int) -> list[Batch]:
        if self._shares is None and len(encoded) > 1:
            self._shares = can_share(self.model)
        return plan(encoded, max_new_tokens, self.max_answer_tokens // self._parts, bool(self._shares))

    def _text(self, ids: Sequence[int]) -> str:
        return self.frame.without_thinking(self.tokenizer.decode(ids, skip_special_tokens=True))

    def work(self, prompts: Sequence[str], tokens: Sequence[tuple[int, int]], max_new_tokens: int) -> dict[str, JSON]:
        """padded_tokens, flops and flops_formula of answers that `generate` gave to these prompts in one call.

        tokens: of each (prompt, answer). Counted on the prompt of median length, asked again alone, and multiplied.
        """
        if not tokens:
            return {}
        read = predicted = padded = 0
        encoded = self.encode(prompts)
        planned, room, batches = self._planned
        if planned is not encoded or room != max_new_tokens:
            batches = self._plan(encoded, max_new_tokens)
        for batch in batches:
            shared, own = batch.widths([len(ids) for ids in encoded])
            rows, beginnings = len(batch.rows), len(batch.families) if shared else 0
            steps = max(tokens[i][1] for i in batch.rows)
            read += beginnings * shared + rows * (own + steps - 1)  # The last token is told, and never read.
            predicted += beginnings + rows * steps
            kept = sum(some_shared * len(some) for some_shared, some in batch.families)
            padded += beginnings * shared - sum(some_shared for some_shared, _ in batch.families)
            padded += rows * (own + steps) - sum(sum(tokens[i]) for i in batch.rows) + kept
        median = sorted(range(len(tokens)), key=lambda i: tokens[i])[len(tokens) // 2]
        with Counter() as counter:
            (made,) = self.generate([prompts[median]], max_new_tokens)
        found = matrices(self.model)
        one = found.reading(made.prompt_tokens + made.answer_tokens - 1, made.answer_tokens)
        return {"padded_tokens": padded, **counter.flops(one).times(found.reading(read, predicted) / one).cost()}

    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]) -> list[list[float]]:
        """Natural log probability of each continuation of each prompt, summed over its tokens.

        A prompt is run once for all of its continuations. LabError where one does not fit the window.
        """
        heads, tails = self.split(prompts, continuations)
        longest = max((len(h) + len(t) for h, some in zip(heads, tails, strict=True) for t in some), default=0)
        if longest > self.max_tokens:
            raise LabError(
                f"a prompt and its answer of {longest} tokens do not fit the model's window of {self.max_tokens}; "
                f"lower the number or size of the passages, or shorten the answer"
            )
        weight = self.max_answer_tokens / self.max_batch_tokens

        def scored(most: int) -> list[list[float]]:
            return continuation_log_probabilities(self.model, heads, tails, most, weight)

        return self._fitting(scored, self.max_answer_tokens, longest)

    def split(
        self, prompts: Sequence[str], continuations: Sequence[Sequence[str]]
    ) -> tuple[list[list[int]], list[list[list[int]]]]:
        """Token ids of the prompts and of their continuations.

        A prompt's tokens are those that `generate` sees. A continuation's are what it adds to them when both are
        encoded as one text; where that would merge the seam into other tokens it is encoded apart, as the model's own
        answer would follow the prompt. A leading space belongs to the continuation. LabError where one has no tokens.
        """
        heads = self.encode(prompts)
        tails: list[list[list[int]]] = []
        asked = [prompt for prompt, some in zip(prompts, continuations, strict=True) for _ in some]
        wholes = iter(self.encode(asked, [text for some in continuations for text in some]))
        for prompt, head, some in zip(prompts, heads, continuations, strict=True):
            tails.append([])
            for text, whole in zip(some, wholes, strict=False):
                tail = self.frame.tail(self.tokenizer, head, whole, text)
                if not head or not tail:
                    raise LabError(f"continuation={text!r} of prompt={prompt[-20:]!r}: no tokens; give both some text")
                tails[-1].append(tail)
        return heads, tails

    def bits_per_byte(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(bits, UTF-8 bytes) of each text; a corpus's bits per byte are the sum of bits over the sum of bytes.

        A text starts after the end-of-text token where the tokenizer adds no start of its own, so that its first
        token is counted too. A text longer than the window, or than a batch, is read in windows (see
        `rolling_windows`), the first tokens of which know little of what came before.
        """
        windows = []
        for number, text in enumerate(texts):
            (ids,) = as_words(self.tokenizer, [text])
            (bare,) = as_words(self.tokenizer, [text], add_special_tokens=False)
            begun = ids if len(ids) > len(bare) else [self.tokenizer.eos_token_id, *bare]
            rolled = rolling_windows(begun, min(self.max_tokens, self.max_batch_tokens))
            windows += [(number, sequence, skip) for sequence, skip in rolled]
        sequences, skips = [ids for _, ids, _ in windows], [skip for _, _, skip in windows]

        def scored(most: int) -> list[float]:
            return sequence_log_probabilities(self.model, sequences, skips, most)

        found = self._fitting(scored, self.max_batch_tokens, max(map(len, sequences), default=0))
        bits = [0.0] * len(texts)
        for (number, _, _), value in zip(windows, found, strict=True):
            bits[number] -= value / math.log(2)
        return [(value, len(text.encode())) for value, text in zip(bits, texts, strict=True)]
