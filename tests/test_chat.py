"""Prompts of chat models, against their own templates; and the same words for base models as ever."""

from __future__ import annotations

import json
from pathlib import Path

import chat_models
import pytest
import torch
from chat_models import KINDS

from lab.adapt.fit import inputs
from lab.adapt.mixture import domain_texts
from lab.attention import mask
from lab.base import EMBEDDED, BaseModel
from lab.exam.prompts import prompt
from lab.framing import PLAIN, Frame, frame_of
from lab.model import LanguageModel
from lab.packing import encode
from lab.records import LabError, TrainingText

ASKED = (
    prompt("What is the fee of the Belcott Act?", ["- Belcott Act: the fee is 45 crowns.\n"]),
    prompt("第一条规定了什么？", []),  # noqa: RUF001
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {kind: chat_models.write(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(folders: dict[str, Path]) -> dict[str, LanguageModel]:
    return {kind: BaseModel(str(folder)).load("cpu") for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_has_the_very_tokens_of_the_template(loaded, kind):
    model = loaded[kind]
    for asked, ids in zip(ASKED, model.encode(ASKED), strict=True):
        expected = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            enable_thinking=False,
            date_string="26 Jul 2024",
        )["input_ids"]
        assert ids == expected
    begin = model.tokenizer.bos_token_id
    assert begin is None or ids.count(begin) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_answers_end_with_the_turn_and_begin_without_a_space(loaded, kind):
    model = loaded[kind]
    assert model.tokenizer.convert_ids_to_tokens(model.frame.end) == chat_models.MARKS[kind][2]
    (whole,) = model.encode(ASKED[:1], [" 45 crowns"])
    assert model.tokenizer.decode(whole).endswith(f"{model.frame.after}45 crowns")


@pytest.mark.parametrize("kind", KINDS)
def test_practice_is_trained_in_the_frame_of_the_exam(loaded, kind, small_corpus):
    model = loaded[kind]
    texts = domain_texts(small_corpus, ["practice"])
    questions = iter(small_corpus.practice)
    for piece in encode(model.tokenizer, texts, model.frame):
        assert piece.prefix
        for tokens, asked in piece.branches:
            question = next(questions)
            (expected,) = model.encode([prompt(question.question, [])])
            assert piece.prefix + tokens[:asked] == expected
            answer = model.tokenizer(question.answers[0], add_special_tokens=False)["input_ids"]
            assert tokens[asked:] == [*answer, model.frame.end]
    (text,) = encode(model.tokenizer, [TrainingText("documents", "Plain text.")], model.frame)
    assert text.prefix == [*model.tokenizer("Plain text.")["input_ids"], model.tokenizer.eos_token_id]


@pytest.mark.parametrize("kind", KINDS)
def test_packed_texts_do_not_see_each_other_in_any_architecture(folders, kind, small_corpus):
    """The loss of a row of many texts is that of each text alone, whatever way of attention the model has."""
    model = BaseModel(str(folders[kind])).load("cpu")
    texts = [TrainingText("documents", "The owner pays."), *domain_texts(small_corpus, ["practice"])[:1]]
    pieces = encode(model.tokenizer, texts, model.frame)
    alone, tokens = 0.0, 0
    for piece in pieces:
        for branch, asked in piece.branches or [(piece.prefix[1:], 0)]:
            ids = torch.tensor([(piece.prefix if piece.branches else piece.prefix[:1]) + branch])
            with torch.no_grad():
                logs = model.model(ids, use_cache=False).logits[0].float().log_softmax(-1)
            for place in range(ids.shape[1] - len(branch) + asked, ids.shape[1]):
                alone -= logs[place - 1, ids[0, place]].item()
                tokens += 1
    rows = inputs([pieces], model.tokenizer.pad_token_id)
    seen = mask(model.model.config._attn_implementation, rows.pop("piece"), rows.pop("branch"))
    assert len(rows["input_ids"]) == 1
    with torch.no_grad():
        assert model.model(**rows, attention_mask=seen).loss.item() == pytest.approx(alone / tokens, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_greedy_whatever_the_folder_asks_for(loaded, kind):
    model = loaded[kind]
    together = model.generate(ASKED, 12)
    for asked, made in zip(ASKED, together, strict=True):
        ids = list(model.encode([asked])[0])
        start = len(ids)
        while len(ids) < start + 12 and (len(ids) == start or ids[-1] not in model._stops):
            with torch.no_grad():
                ids.append(int(model.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert made.answer_tokens == len(ids) - start
        assert made.text == model.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_scored_in_the_template(loaded, kind):
    """Against the model's whole forward pass: Gemma 2 caps its logits after its output layer."""
    model = loaded[kind]
    found = model.log_probabilities(ASKED[:1], [[" 45 crowns", " unknown"]])[0]
    for answer, value in zip(("45 crowns", "unknown"), found, strict=True):
        (head,) = model.encode(ASKED[:1])
        tail = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logs = model.model(torch.tensor([head + tail]), use_cache=False).logits[0].float().log_softmax(-1)
        expected = sum(logs[len(head) - 1 + place, token].item() for place, token in enumerate(tail))
        assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("45 crowns", "45 crowns"),
        ("<think>\nIs it 45?\n</think>\n\n45 crowns", "45 crowns"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("<think>\nno end of it", ""),
    ],
)
def test_thinking_is_no_part_of_an_answer(said, kept):
    assert Frame("u", "a").without_thinking(said).strip() == kept


def test_a_template_that_opens_the_thinking_itself_is_understood():
    frame = Frame("user ", " model <think>\n")
    assert frame.without_thinking("is it 45?\n</think>45").strip() == "45"
    assert frame.without_thinking("is it 45? or").strip() == ""
    assert Frame("user ", " model <think>\n\n</think>\n").without_thinking("45") == "45"


def test_chat_can_be_forced_either_way(folders, random_model):
    plain = BaseModel(str(folders["qwen3"]), chat=False)
    assert plain.load("cpu").frame == PLAIN
    assert plain.digest != BaseModel(str(folders["qwen3"])).digest
    with pytest.raises(LabError, match=r"model\.chat=true: .*no chat template"):
        BaseModel(str(random_model), chat=True).load("cpu")


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "fixed words", "{% for", "{{ messages[5].content }}"]
)
def test_a_template_that_cannot_hold_a_turn_is_named(folders, template):
    tokenizer = chat_models.tokenizer("qwen3").__class__.from_pretrained(folders["qwen3"])
    tokenizer.chat_template = template
    with pytest.raises(LabError, match=r"give model\.chat=false"):
        frame_of(tokenizer, "auto")


def test_the_embedded_model_is_asked_as_ever(book):
    model = BaseModel().load("cpu")
    assert model.frame == PLAIN
    asked = [prompt(question.question, ["- A: b\n"]) for question in book.exam()]
    assert model.encode(asked) == [model.tokenizer(text)["input_ids"] for text in asked]
    assert model.encode(["Answer:"], [" 45"]) == [model.tokenizer("Answer: 45")["input_ids"]]
    text = TrainingText("reading", "Read.\n- A: b\n", (("Question: c\nAnswer:", " d"), ("Question: e\nAnswer:", " f")))
    (piece,) = encode(model.tokenizer, [text])
    parts = (text.text, *sum(text.pairs, ()))
    ids = {part: model.tokenizer(part, add_special_tokens=False)["input_ids"] for part in parts}
    assert piece.prefix == ids[text.text]
    end = model.tokenizer.eos_token_id
    assert piece.branches == [([*ids[q], *ids[a], end], len(ids[q])) for q, a in text.pairs]
    assert json.loads((EMBEDDED / "tokenizer_config.json").read_text()).get("chat_template") is None


def test_long_answers_keep_their_lines(random_model, monkeypatch):
    model = BaseModel(str(random_model)).load("cpu")
    monkeypatch.setattr(model.tokenizer, "decode", lambda ids, **_: " first\nsecond\n\nQuestion: more\nAnswer: x")
    assert model.generate(["Say"], 4)[0].text == "first"
    assert model.generate(["Say"], 4, several_lines=True)[0].text == "first\nsecond"
    chat = LanguageModel(model.model, model.tokenizer, model.digest, frame=Frame("u", "a", 0))
    assert chat.generate(["Say"], 4)[0].text.startswith("first\nsecond\n\nQuestion")
