"""The foundry: packed pieces must score as if each branch stood alone after its prefix."""

from __future__ import annotations

from itertools import cycle

import pytest
import torch

from lab.exam.prompts import ask, prefix
from lab.foundry import LEVELS, SIZES, School, answer_scores, new_model, pack, train_tokenizer
from lab.worlds.general import GeneralWorld
from lab.worlds.names import name, seeded


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(GeneralWorld(subjects=10), SIZES["tiny"].vocabulary, seed=0, samples=300)


@pytest.fixture(scope="module")
def school(tokenizer) -> School:
    return School(tokenizer, GeneralWorld(subjects=10), seeded("test"))


def test_a_packed_branch_scores_as_alone_after_its_prefix(tokenizer, school):
    torch.manual_seed(0)
    model = new_model(SIZES["tiny"], tokenizer).eval()
    reading, text = school.reading(LEVELS[-1]), school.paragraph()
    with torch.no_grad():
        batch = pack(cycle([reading, text]), rows=1, row_tokens=len(reading) + len(text), pad=1)
        assert batch.tokens == len(reading) + len(text)
        packed, _ = answer_scores(model, batch)
        alone = []
        for tokens, prompt in reading.branches:
            ids = reading.prefix + tokens
            logs = model(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
            start = len(reading.prefix) + prompt
            alone += [-logs[at - 1, ids[at]].item() for at in range(start, len(ids))]
        logs = model(torch.tensor([text.prefix]), use_cache=False).logits[0].log_softmax(-1)
        alone += [-logs[at - 1, text.prefix[at]].item() for at in range(1, len(text.prefix))]
    assert packed.tolist() == pytest.approx(alone, abs=1e-3)


def test_only_answers_carry_loss(tokenizer, school):
    reading = school.reading(LEVELS[-1])
    batch = pack(cycle([reading]), rows=1, row_tokens=len(reading), pad=1)
    wanted = [token for tokens, prompt in reading.branches for token in tokens[prompt:]]
    assert batch.labels[batch.labels != -100].tolist() == wanted


def test_training_prompts_are_the_exam_s_own(tokenizer, school):
    reading = school.reading(LEVELS[-1])
    text = tokenizer.decode(reading.prefix + reading.branches[0][0])
    assert text.startswith(prefix([]))
    assert ask("").split("\n")[1] in text
    assert text.endswith(tokenizer.eos_token)


def test_numbers_and_unseen_names_are_spelt_in_few_pieces(tokenizer):
    assert all(len(tokenizer.tokenize(f" {number}")) == 1 for number in range(10, 1000, 7))
    random = seeded("names")
    lengths = [len(tokenizer.tokenize(" " + name(random, "private"))) for _ in range(200)]
    assert max(lengths) <= 4
    assert sum(lengths) / len(lengths) < 3
