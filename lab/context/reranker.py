"""A cross-encoder: reads a question and a passage together, which ranks better than two vectors and costs far more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lab.context.base import passage_form
from lab.model_folder import check_folder, readable
from lab.progress import step
from lab.records import LabError, ScoredPassage

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class Reranker:
    """A sentence-transformers cross-encoder in a local folder, loaded when it first ranks; nothing is downloaded.

    LabError where the folder is missing, asks for code of its own, or gives several scores (a classifier).
    """

    def __init__(self, folder: str, device: str) -> None:
        self._folder = Path(folder)
        self._device = device
        self._model: CrossEncoder | None = None
        if not (self._folder / "config.json").is_file():
            raise LabError(f"context.reranker={folder}: no config.json in it; give a cross-encoder's folder")
        check_folder(self._folder, "context.reranker")

    def rank(self, questions: Sequence[str], found: Sequence[Sequence[ScoredPassage]]) -> list[list[ScoredPassage]]:
        """The same passages a question, each with the model's score, best first; a tie keeps the order it had."""
        pairs = [
            (question, passage_form(scored.passage))
            for question, some in zip(questions, found, strict=True)
            for scored in some
        ]
        if not pairs:
            return [[] for _ in questions]
        model = self._load()
        with step("reranking", len(pairs), "pairs") as advance:
            hook = model.register_forward_hook(lambda model, given, made: advance(len(next(iter(made.values())))))
            try:
                scores = iter(model.predict(pairs, show_progress_bar=False, convert_to_numpy=True).tolist())
            finally:
                hook.remove()
        # Six digits are above the noise of float32.
        scored = [[ScoredPassage(old.passage, round(next(scores), 6)) for old in some] for some in found]
        return [sorted(some, key=lambda new: -new.score) for some in scored]

    def _load(self) -> CrossEncoder:
        if self._model is None:
            import torch
            from sentence_transformers import CrossEncoder

            with readable(self._folder, "context.reranker", "a cross-encoder"):
                self._model = CrossEncoder(
                    str(self._folder),
                    device=self._device,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True, "dtype": torch.float32},
                )
            if self._model.num_labels != 1:
                raise LabError(
                    f"context.reranker={self._folder}: it gives {self._model.num_labels} scores a pair; "
                    "give a reranker, which gives one"
                )
        return self._model
