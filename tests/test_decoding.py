"""Common beginnings read once, against one prompt at a time; and where an answer ends."""

from __future__ import annotations

from random import Random

import chat_models
import pytest
import torch

from lab.base import BaseModel
from lab.decoding import AnswerEnd, can_share, plan
from lab.flops import matrices
from lab.framing import Frame

PASSAGES = [
    f"- {name} Act: the {word} is {word} of {name}, and the owner pays it within {days} days.\n"
    for name, word, days in (("Belcott", "fee", 30), ("Torrick", "book", 45), ("Venon", "clerk", 7))
]
ASKED = ["the fee?", "the owner of the land, who keeps the book of it?", "45", "in how many days the clerk pays?"]
PROMPTS = [f"{passage * 2}Question: {asked}\nAnswer:" for asked in ASKED for passage in PASSAGES] + ["Say", *ASKED]


@pytest.mark.parametrize("kind", chat_models.KINDS)
@pytest.mark.parametrize("max_batch_tokens", [400, 100_000])
def test_answers_are_those_of_one_prompt_at_a_time(kind, max_batch_tokens, tmp_path):
    model = BaseModel(str(chat_models.write(tmp_path, kind))).load("cpu")
    model.max_answer_tokens = max_batch_tokens
    together = model.generate(PROMPTS, 6)
    assert together == [model.generate([prompt], 6)[0] for prompt in PROMPTS]
    # A window that slides counts padding as text: nothing may be shared there.
    batches = model._plan(model.encode(PROMPTS), 6)
    shared = any(shared for batch in batches for shared, _ in batch.families)
    assert shared == (kind != "gemma")
    if shared:
        assert len({made.text for made in together}) > len(PASSAGES)  # It does not say the same to everything.


def test_what_begins_alike_is_computed_once_and_counted_so(random_model):
    model = BaseModel(str(random_model)).load("cpu")
    prompts, read = PROMPTS[: 4 * len(PASSAGES)], []
    (batch,) = model._plan(model.encode(prompts), 4)
    assert len(batch.families) == len(PASSAGES)
    with model.model.register_forward_pre_hook(
        lambda model, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    ):
        made = model.generate(prompts, 4)
    tokens = [(one.prompt_tokens, one.answer_tokens) for one in made]
    assert sum(read) < 0.6 * sum(map(sum, tokens))
    work = model.work(prompts, tokens, 4)
    spared = sum(shared * (len(some) - 1) for shared, some in batch.families)
    assert sum(read) + len(prompts) == sum(map(sum, tokens)) - spared + work["padded_tokens"]
    found = matrices(model.model)
    predicted = len(PASSAGES) + len(prompts) * max(answer for _, answer in tokens)
    assert work["flops_formula"] == pytest.approx(found.reading(sum(read), predicted))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("max_batch_tokens", [1, 300, 5000])
def test_a_plan_has_every_prompt_once_within_its_bound(share, max_batch_tokens):
    draw = Random(0)
    stems = [[draw.randrange(9) for _ in range(draw.randrange(60))] for _ in range(6)]
    prompts = [draw.choice(stems) + [draw.randrange(9) for _ in range(draw.randrange(1, 20))] for _ in range(90)]
    prompts += prompts[:5]  # Some are asked twice.
    lengths = [len(ids) for ids in prompts]
    batches = plan(prompts, 8, max_batch_tokens, share)
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(prompts)))
    computed = 0
    for batch in batches:
        shared_width, own_width = batch.widths(lengths)
        rows = len(batch.rows)
        assert (shared_width + own_width + 8) * rows <= max_batch_tokens or rows == 1
        for shared, some in batch.families:
            assert len({tuple(prompts[row][:shared]) for row in some}) == 1
            assert all(shared < lengths[row] for row in some)
        computed += sum(shared for shared, _ in batch.families) + rows * own_width
    if share and max_batch_tokens == 5000:
        assert computed < 0.7 * sum(lengths)


WORDS = ["\n", "45", " crowns", "\nQuestion", ":", " unknown"]


def decode(ids):
    return "".join(WORDS[i] for i in ids)


@pytest.mark.parametrize(
    ("mark", "ids", "length"),
    [
        ("\n", [1, 2, 0, 5], 3),
        ("\n", [0, 0, 1, 2], None),  # A line break before the answer is none after it.
        ("\n", [0, 1, 0], 3),
        ("\n", [1, 3], 2),
        ("\nQuestion:", [1, 0, 2, 3, 4, 1], 5),
        ("\nQuestion:", [1, 0, 4, 3], None),
        ("\nQuestion:", [3, 4, 1], None),
    ],
)
def test_a_row_stops_where_its_mark_is_complete(mark, ids, length):
    end = AnswerEnd(decode, 2, mark)
    beside = [5] * len(ids)  # Another row, which does not end.
    stopped = [
        end(torch.tensor([[0, 0, *ids[:n]], [0, 0, *beside[:n]]]), None).tolist() for n in range(1, len(ids) + 1)
    ]
    assert stopped == [[length is not None and n >= length, False] for n in range(1, len(ids) + 1)]
    assert end.lengths == ({0: length} if length else {})
    text = decode(ids)
    frame, several = Frame(), mark != "\n"
    assert frame.first_part(decode(ids[:length]).strip(), several) == frame.first_part(text.strip(), several)


def test_an_answer_that_has_ended_takes_no_more_tokens(random_model, monkeypatch):
    model = BaseModel(str(random_model)).load("cpu")
    monkeypatch.setattr(model.tokenizer, "decode", lambda ids, **_: " a\n"[: len(ids)] if len(ids) > 1 else "\n")
    assert [made.answer_tokens for made in model.generate(["Say", "Name it"], 8)] == [3, 3]


def test_positions_and_plain_layers_are_asked_for(random_model):
    model = BaseModel(str(random_model)).load("cpu").model
    assert can_share(model)
    plain = model.forward
    model.forward = lambda input_ids=None, **given: plain(input_ids=input_ids, **given)
    assert not can_share(model)
