"""What the foundry teaches with: a tokenizer for the worlds, and their lessons as pieces to train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lab.exam.prompts import ask, prefix
from lab.packing import Piece, encoded
from lab.records import TrainingText
from lab.worlds.general import GeneralWorld
from lab.worlds.lessons import LEVELS, lesson, reading
from lab.worlds.names import seeded
from lab.worlds.reading import Level, exercise

END = "<|end|>"
PAD = "<|pad|>"
RECITE_FROM = 6  # Tokens of a passage that are given before it is to be copied: `- The NAME Act >`.


def train_tokenizer(world: GeneralWorld, vocabulary: int, seed: int, samples: int = 6000) -> PreTrainedTokenizerFast:
    """Byte-level BPE learnt on the general world alone; a number of up to three digits is one token, as in Llama 3.

    Digit by digit, the readers of this size mixed up the numbers of a prompt: ten symbols recur too often to be found
    again by what stands before them.
    """
    random = seeded("tokenizer", seed)

    def text() -> Iterator[str]:
        for _ in range(samples):
            made = exercise(random, Level())
            yield prefix(made.lines)
            yield "".join(f"{ask(one.text)} {one.answer}\n" for one in made.asked)
            yield world.paragraph(random)
        for _ in range(200):
            yield "".join(f" {number}" for number in range(1, 1000))

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\d{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=2048)


class School:
    """Makes pieces of the general world's lessons, and of a level's reading with whole passages to copy, without end.

    Some texts are encoded at once, so that a few more are drawn than are asked for.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, world: GeneralWorld, random: Random) -> None:
        self.tokenizer, self.world, self.random = tokenizer, world, random

    def lessons(self, level: int) -> Iterator[Piece]:
        """Pieces of the level's mixture."""
        return self._pieces(lambda: lesson(self.world, self.random, level), LEVELS[level].recite)

    def reading(self, level: int) -> Iterator[Piece]:
        """Reading exercises of the level."""
        return self._pieces(lambda: reading(self.random, LEVELS[level]), LEVELS[level].recite)

    def recall(self, level: int) -> Iterator[Piece]:
        """The level's passages with names and words that training never sees, asked about by these words alone."""
        asked = replace(LEVELS[level], asks={"recall": 1})
        return self._pieces(lambda: reading(self.random, asked, "probe"), recite=False)

    def _pieces(self, draw: Callable[[], TrainingText], recite: bool) -> Iterator[Piece]:
        for text, piece in encoded(self.tokenizer, iter(draw, None), at_once=16):
            if recite and text.source == "reading":
                lines = [f"{line}\n" for line in text.text.splitlines()[1:]]
                told = self.tokenizer(lines, add_special_tokens=False)["input_ids"]
                piece.branches += [(tokens, RECITE_FROM) for tokens in told]
            yield piece
