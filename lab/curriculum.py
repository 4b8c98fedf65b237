"""What the foundry teaches: a tokenizer for the worlds, levels of reading, and pieces of text to train on."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lab.exam.prompts import ask, prefix
from lab.packing import Piece
from lab.worlds.general import GeneralWorld
from lab.worlds.names import seeded
from lab.worlds.reading import Level, exercise

END = "<|end|>"
PAD = "<|pad|>"
RECITE_FROM = 6  # Tokens of a passage that are given before it is to be copied: `- The NAME Act >`.


LEVELS = (
    Level(subjects=(1, 3), wordings=3, asks={"restate": 1, "recall": 1}, questions=6, recite=True),
    Level(subjects=(1, 3), wordings=4, asks={"restate": 2, "recall": 5, "kind": 2, "absent": 1}),
    Level(subjects=(1, 4), asks={"restate": 1, "recall": 5, "kind": 2, "reverse": 1.5, "absent": 1.5}),
    Level(asks={"restate": 1, "recall": 5, "kind": 2.5, "reverse": 1.5, "two_hop": 1, "absent": 2.5}),
)


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
    """Makes pieces: reading at the current level, and the general world in text and questions."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, world: GeneralWorld, random: Random) -> None:
        self.tokenizer, self.world, self.random = tokenizer, world, random
        self.end = tokenizer.eos_token_id

    def encode(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

    def _branches(self, pairs: list[tuple[str, str]]) -> list[tuple[list[int], int]]:
        prompts = self.encode([prompt for prompt, _ in pairs])
        answers = self.encode([f" {answer}" for _, answer in pairs])
        return [(p + a + [self.end], len(p)) for p, a in zip(prompts, answers, strict=True)]

    def reading(self, level: Level, world: str = "exercise") -> Piece:
        made = exercise(self.random, level, world)
        pairs = [(one.text if one.form == "restate" else ask(one.text), one.answer) for one in made.asked]
        branches = self._branches(pairs)
        if level.recite:
            branches += [(tokens, RECITE_FROM) for tokens in self.encode(made.lines)]
        return Piece(self.encode([prefix(made.lines)])[0], branches)

    def closed_book(self, questions: int = 12) -> Piece:
        """Questions on the general world, to be answered from memory.

        Often behind passages that do not matter, as a retriever would bring them: a base that never met these says
        "unknown" to what it knows as soon as a book lies open. Without passages some questions are on names met here
        only: text about them is all that a base ever sees of most names, and it learns to guess where no book is.
        """
        lines = exercise(self.random, Level()).lines if self.random.random() < 0.4 else []
        pairs = [self.world.ask(self.random) for _ in range(questions)]
        if not lines:
            once = exercise(self.random, Level(subjects=(2, 3), asks={"recall": 5, "kind": 2, "reverse": 1}))
            pairs[:2] = [(one.text, one.answer) for one in once.asked[:2]]
        return Piece(self.encode([prefix(lines)])[0], self._branches([(ask(q), a) for q, a in pairs]))

    def paragraph(self) -> Piece:
        return Piece([*self.encode([self.world.paragraph(self.random)])[0], self.end], [])
