"""Causal language models: load one, let it answer prompts in batches, and score texts under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lab.records import LabError
from lab.runtime import choose_dtype
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

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices by falling length: a batch pads little, and what does not fit in memory fails at once."""
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            if batch and (len(batch) + 1) * lengths[batch[0]] > self.max_batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

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
        for batch in self._batches([len(ids) + max_new_tokens for ids in encoded]):
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

    @torch.inference_mode()
    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[str]) -> list[float]:
        """Natural log probability of each continuation after its prompt, summed over its tokens.

        The continuation is tokenized apart, as the model's own answer would follow the prompt.
        """
        heads = self.encode(prompts)
        tails = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
        return [-nats for nats in self._nats([h + t for h, t in zip(heads, tails, strict=True)], list(map(len, heads)))]

    @torch.inference_mode()
    def bits_per_byte(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(bits, UTF-8 bytes) of each text; a corpus's bits per byte are the sum of bits over the sum of bytes.

        A text starts after the end-of-text token where the tokenizer adds no start of its own, so that its first
        token is counted too.
        """
        encoded = []
        for text in texts:
            ids = self.tokenizer(text)["input_ids"]
            bare = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            encoded.append(ids if len(ids) > len(bare) else [self.tokenizer.eos_token_id, *bare])
        nats = self._nats(encoded, [1] * len(encoded))
        return [(value / math.log(2), len(text.encode())) for value, text in zip(nats, texts, strict=True)]

    def _nats(self, encoded: list[list[int]], skip: list[int]) -> list[float]:
        """Minus log probability of each sequence after its first `skip` tokens; padding goes to the right."""
        nats = [0.0] * len(encoded)
        pad = self.tokenizer.pad_token_id
        for batch in self._batches(list(map(len, encoded))):
            width = max(len(encoded[i]) for i in batch)
            ids = torch.tensor([encoded[i] + [pad] * (width - len(encoded[i])) for i in batch], device=self.device)
            seen = torch.tensor([[1] * len(encoded[i]) + [0] * (width - len(encoded[i])) for i in batch])
            scored = torch.zeros_like(ids, dtype=torch.bool)
            for row, i in enumerate(batch):
                scored[row, skip[i] : len(encoded[i])] = True
            # Logits only where they are scored: a large vocabulary over whole prompts would dwarf the model itself.
            hidden = self.model.base_model(
                input_ids=ids, attention_mask=seen.to(self.device), use_cache=False
            ).last_hidden_state[:, :-1][scored[:, 1:]]
            logits = self.model.get_output_embeddings()(hidden).float()
            losses = functional.cross_entropy(logits, ids[:, 1:][scored[:, 1:]], reduction="none")
            rows = scored[:, 1:].nonzero()[:, 0]
            sums = torch.zeros(len(batch), device=self.device).index_add_(0, rows, losses)
            for i, value in zip(batch, sums.tolist(), strict=True):
                nats[i] = value
        return nats
