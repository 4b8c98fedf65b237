"""General text that the base writes itself, before it is trained: replay for those who have no general corpus."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from lab.base import Base
from lab.code import digest_code
from lab.records import LabError, TrainingText, read_jsonl, write_jsonl
from lab.runtime import versions
from lab.store import JSON, digest
from lab.workspace import Workspace

BATCH = 64
WRITTEN = "texts.jsonl"


@dataclass(frozen=True)
class SelfReplay:
    """Sampled from the base at temperature 1, nothing cut off: its own distribution, as far as it can say it.

    starts: beginnings to go on from, as many texts of each; an empty one is the model's own beginning (BOS, or the
    end-of-text token where it has none). count: texts in all. tokens: of each, at most. What a base was only ever
    asked, and never had to say, it cannot rehearse this way. Compare self-synthesized rehearsal (Huang et al. 2024).
    """

    starts: tuple[str, ...] = ("",)
    count: int = 1024
    tokens: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", tuple(self.starts))
        for name in ("count", "tokens"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise LabError(f"replay.{name}={value}: a whole number of at least 1 is needed")
        if not self.starts or not all(isinstance(start, str) for start in self.starts):
            raise LabError('replay.starts: a list of beginnings is needed, such as [""]')

    def written(self, base: Base, workspace: Workspace) -> Written:
        """The texts, sampled now or kept from before, and their row in the ledger."""

        def build(folder: Path) -> Mapping[str, JSON]:
            texts, tokens = self._sample(base, workspace)
            write_jsonl(folder / WRITTEN, ({"text": text} for text in texts))
            return {"tokens": tokens}

        with workspace.ledger.phase("replay writing") as entry:
            key: dict[str, JSON] = {
                "base": base.digest, "starts": self.starts, "count": self.count, "tokens": self.tokens,
                "seed": workspace.seed, "device": workspace.device, "dtype": base.weights().dtype,
                "code": digest_code(__name__),
                "versions": {name: versions()[name] for name in ("torch", "transformers")},
            }  # fmt: skip
            artifact = workspace.store.artifact("replay", key, build)
            if artifact.reused:
                workspace.ledger.add_reused("replay writing", artifact.cost)
            else:
                entry.tokens, entry.bytes = artifact.cost["tokens"], artifact.cost["bytes"]
        return Written(tuple(row["text"] for row in read_jsonl(artifact.path / WRITTEN)))

    def _sample(self, base: Base, workspace: Workspace) -> tuple[list[str], int]:
        loaded = base.weights().load(workspace.device)
        tokenizer, model = loaded.tokenizer, loaded.model
        texts, tokens = [], 0
        each = -(-self.count // len(self.starts))
        with (
            workspace.progress.step("writing replay", each * len(self.starts), "texts") as advance,
            torch.inference_mode(),
        ):
            torch.manual_seed(workspace.seed)
            for start in self.starts:
                ids = tokenizer(start)["input_ids"] if start else []
                begun = ids or [
                    tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
                ]
                for at in range(0, each, BATCH):
                    size = min(BATCH, each - at)
                    made = model.generate(
                        input_ids=torch.tensor([begun] * size, device=loaded.device),
                        attention_mask=torch.ones(size, len(begun), dtype=torch.long, device=loaded.device),
                        max_new_tokens=self.tokens,
                        do_sample=True,
                        temperature=1.0,
                        top_k=0,
                        top_p=1.0,
                        pad_token_id=tokenizer.pad_token_id,
                        eos_token_id=tokenizer.eos_token_id,
                    )
                    tokens += int((made[:, len(begun) :] != tokenizer.pad_token_id).sum())
                    texts += tokenizer.batch_decode(made, skip_special_tokens=True)
                    advance(size)
        kept = [text.strip() for text in texts if text.strip()]
        if not kept:
            raise LabError("replay=self: the base wrote nothing; give it beginnings (replay.starts)")
        return kept, tokens


@dataclass(frozen=True)
class Written:
    """Texts gone through again and again, in a new order each time."""

    written: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all texts."""
        return digest(self.written)

    def texts(self, seed: int) -> Iterator[TrainingText]:
        """Texts without end."""
        random = Random(f"self/{seed}")
        for _ in itertools.count():
            for text in random.sample(self.written, len(self.written)):
                yield TrainingText("self", text)
