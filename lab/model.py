"""Causal language models: load one, let it answer prompts in batches, and score texts under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lab.records import LabError
from lab.runtime import choose_dtype
from lab.scoring import batches, continuation_log_probabilities, rolling_windows, sequence_log_probabilities
from lab.store import digest, digest_file

EMBEDDED = Path(__file__).parent / "assets" / "tiny"


@dataclass(frozen=True)
class Generation:
    """One greedy answer. text: up to the first line break, stripped. Counts are of tokens without padding."""

    text: str
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class BaseModel:
    """Where a base model is; nothing is loaded before `load`.

    path: a folder or a hub name, None is the embedded model. dtype: `auto`, `float32`, `bfloat16` or `float16`.
    """

    path: str | None = None
    dtype: str = "auto"

    @property
    def location(self) -> str:
        return str(self.path or EMBEDDED)

    @property
    def digest(self) -> str:
        """SHA-256 over the folder's weights, configuration and tokenizer; a hub name stands for itself."""
        folder = Path(self.location)
        if not folder.is_dir():
            return digest({"hub": self.location})
        files = [
            p for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".json", ".jinja", ".txt", ".model")
        ]
        return digest({file.name: digest_file(file) for file in files})

    def load(self, device: str) -> LanguageModel:
        """Load the model. LabError where the folder is missing or holds no causal model in safetensors."""
        location = self.location
        if self.path and ("/" not in location or location.startswith((".", "/"))) and not Path(location).is_dir():
            raise LabError(f"model.path={location}: no such folder; give a folder with config.json or a hub name")
        try:
            AutoConfig.from_pretrained(location)
            tokenizer = AutoTokenizer.from_pretrained(location)
            model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
                location, dtype=choose_dtype(self.dtype, device), use_safetensors=True
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LabError(f"model.path={location}: cannot be loaded as a causal language model: {reason}") from error
        if not tokenizer("text")["input_ids"]:  # transformers makes an empty one where the folder has none
            raise LabError(f"model.path={location}: no tokenizer there; save it beside the weights")
        model.to(device)
        return LanguageModel(model, tokenizer, self.digest)


class LanguageModel:
    """A causal model with its tokenizer, in evaluation mode.

    digest: of all that its answers depend on beside the prompt: weights, tokenizer, adapters. max_batch_tokens: padded
    tokens in one batch, which bounds memory.
    """

    def __init__(self, model: Any, tokenizer: Any, digest: str, max_batch_tokens: int = 8192) -> None:
        self.model = model.eval()
        self.digest = digest
        self.tokenizer = tokenizer
        self.max_batch_tokens = max_batch_tokens
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # Some architectures have no window in their configuration; then the tokenizer's is all that is known.
        self.max_tokens = int(model.config.to_dict().get("max_position_embeddings", tokenizer.model_max_length))

    @property
    def device(self) -> torch.device:
        return self.model.device

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with the tokenizer's own special tokens (a model's BOS belongs to its prompt)."""
        return [self.tokenizer(text)["input_ids"] for text in texts]

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, progress: Callable[[int], None] = lambda done: None
    ) -> list[Generation]:
        """Greedy answers, in the order of `prompts`. progress is called with the number of prompts just answered."""
        encoded = self.encode(prompts)
        longest = max(map(len, encoded), default=0)
        if longest + max_new_tokens > self.max_tokens:
            raise LabError(
                f"a prompt of {longest} tokens and {max_new_tokens} for the answer do not fit the model's window of "
                f"{self.max_tokens}; lower the number or size of the passages"
            )
        made: list[Generation | None] = [None] * len(encoded)
        pad = self.tokenizer.pad_token_id
        for batch in batches([len(ids) + max_new_tokens for ids in encoded], self.max_batch_tokens):
            width = max(len(encoded[i]) for i in batch)
            ids = torch.tensor([[pad] * (width - len(encoded[i])) + encoded[i] for i in batch], device=self.device)
            seen = torch.tensor([[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in batch])
            output = self.model.generate(
                input_ids=ids,
                attention_mask=seen.to(self.device),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
            )
            for i, row in zip(batch, output[:, width:].tolist(), strict=True):
                ends = self.tokenizer.eos_token_id
                length = row.index(ends) + 1 if ends in row else len(row)
                text = self.tokenizer.decode(row[:length], skip_special_tokens=True)
                made[i] = Generation(text.strip().split("\n")[0].strip(), len(encoded[i]), length)
            progress(len(batch))
        return [one for one in made if one is not None]

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
        return continuation_log_probabilities(self.model, heads, tails, self.max_batch_tokens)

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
        for prompt, head, some in zip(prompts, heads, continuations, strict=True):
            tails.append([])
            for text, whole in zip(some, self.encode([prompt + text for text in some]), strict=True):
                joined = whole[: len(head)] == head
                tail = whole[len(head) :] if joined else self.tokenizer(text, add_special_tokens=False)["input_ids"]
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
            ids = self.tokenizer(text)["input_ids"]
            bare = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            begun = ids if len(ids) > len(bare) else [self.tokenizer.eos_token_id, *bare]
            rolled = rolling_windows(begun, min(self.max_tokens, self.max_batch_tokens))
            windows += [(number, sequence, skip) for sequence, skip in rolled]
        found = sequence_log_probabilities(
            self.model, [ids for _, ids, _ in windows], [skip for _, _, skip in windows], self.max_batch_tokens
        )
        bits = [0.0] * len(texts)
        for (number, _, _), value in zip(windows, found, strict=True):
            bits[number] -= value / math.log(2)
        return [(value, len(text.encode())) for value, text in zip(bits, texts, strict=True)]
