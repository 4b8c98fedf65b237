"""The lessons of a base model as they are needed: no corpus is written or held, and any stretch can be made again."""

from __future__ import annotations

import os
from collections.abc import Iterator

from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

from lab.curriculum import School
from lab.foundry.model import Size
from lab.packing import Batch, batches
from lab.worlds.general import GeneralWorld
from lab.worlds.names import seeded

STREAMS = 12  # Of lessons, each with chance of its own: what is made does not depend on how many processes make it.


class Lessons(IterableDataset[Batch]):
    """The batches of the steps first..last-1 of one level, from `skip` steps after the first on."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        world: GeneralWorld,
        size: Size,
        seed: int,
        level: int,
        steps: range,
        skip: int = 0,
    ) -> None:
        self.tokenizer, self.world, self.size = tokenizer, world, size
        self.seed, self.level, self.steps, self.skip = seed, level, steps, skip

    def __iter__(self) -> Iterator[Batch]:
        """All of them, or in a loader's process those of its streams; either way in the order of the steps."""
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        own = {stream: self._stream(stream) for stream in range(number, STREAMS, workers)}
        for place in range(len(self.steps)):
            if place % STREAMS in own:
                batch = next(own[place % STREAMS])
                if place >= self.skip:
                    yield batch

    def _stream(self, stream: int) -> Iterator[Batch]:
        school = School(self.tokenizer, self.world, seeded("train", self.seed, self.steps.start, stream))
        lessons = school.lessons(self.level)
        return batches(lessons, self.size.rows, self.size.row_tokens, self.tokenizer.pad_token_id)


def loaded(lessons: Lessons, device: str) -> Iterator[Batch]:
    """Made in this process for a CPU, which has nothing to spare, and in processes beside it for a GPU."""
    if device == "cpu":
        return iter(lessons)
    # A loader asks its processes in turn, so their number must share out the streams evenly.
    workers = max(n for n in range(1, STREAMS + 1) if STREAMS % n == 0 and n < max(2, os.cpu_count() or 2))
    if lessons.skip % workers:  # The first in turn is not the first that is wanted.
        return iter(lessons)
    return iter(DataLoader(lessons, batch_size=None, num_workers=workers, prefetch_factor=4))


def probe_batch(
    tokenizer: PreTrainedTokenizerFast, world: GeneralWorld, size: Size, seed: int, level: int, step: int
) -> Batch:
    """The level's passages with names and words that training never sees, asked about."""
    school = School(tokenizer, world, seeded("probe", seed, step))
    return next(batches(school.recall(level), size.rows, size.row_tokens, tokenizer.pad_token_id))
