"""Looks at a model on its way: how well it tells private and general text, and what it answers without a book."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lab.framing import Frame
from lab.model import LanguageModel
from lab.store import JSON
from lab.workspace import Workspace

CURVE = (
    *("domain_loss", "general_loss"),
    *("domain_bits_per_byte", "general_bits_per_byte"),
    *("exam_score", "general_score"),
)


class Watch:
    """rows: one a look, as `training.jsonl` has them; what there is nothing to measure on is None. seconds: in all.

    documents: private texts. General texts and the quiz are the workspace's.
    """

    def __init__(self, tokenizer: Any, frame: Frame, documents: Sequence[str], workspace: Workspace) -> None:
        self._tokenizer = tokenizer
        self._frame = frame
        self._texts = {"domain": list(documents), "general": list(workspace.general_texts)}
        self._quiz = workspace.quiz
        self.rows: list[dict[str, JSON]] = []
        self.seconds = 0.0

    def look(self, model: Any, tokens: int, advance: Callable[..., None]) -> None:
        """Measure the model after so many tokens. It goes on training as if nobody had looked."""
        start, training = time.perf_counter(), model.training
        read = LanguageModel(model, self._tokenizer, "", frame=self._frame)
        row: dict[str, JSON] = {"tokens": tokens, **dict.fromkeys(CURVE)}
        for name, texts in self._texts.items():
            if texts:
                measured = read.bits_per_byte(texts)
                bits = sum(bits for bits, _ in measured)
                row[f"{name}_loss"] = bits * math.log(2) / read.count_tokens(texts)
                row[f"{name}_bits_per_byte"] = bits / sum(size for _, size in measured)
        if self._quiz:
            row |= self._quiz.scores(read)
        self.rows.append(row)
        model.train(training)
        self.seconds += time.perf_counter() - start
        told = {name: row[f"{name}_loss"] for name in self._texts if row[f"{name}_loss"] is not None}
        advance(0, "loss " + ", ".join(f"{name} {loss:.3f}" for name, loss in told.items()))
