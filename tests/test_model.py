"""Answers and scores of a model, against transformers one prompt at a time."""

from __future__ import annotations

import math

import pytest
import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from lab.model import BaseModel, LanguageModel
from lab.records import LabError

PROMPTS = ["Question: one\nAnswer:", "Question: a much longer one, of Belcott and 45 crowns\nAnswer:", "Say"]


@pytest.fixture(scope="module")
def model(random_model) -> LanguageModel:
    return BaseModel(str(random_model)).load("cpu")


def test_batched_answers_are_those_of_single_prompts(model):
    together = model.generate(PROMPTS, max_new_tokens=8)
    for prompt, made in zip(PROMPTS, together, strict=True):
        (alone,) = model.generate([prompt], max_new_tokens=8)
        assert made == alone
        assert made.prompt_tokens == len(model.tokenizer(prompt)["input_ids"])


def test_small_batches_change_nothing_but_memory(model):
    small = LanguageModel(model.model, model.tokenizer, model.digest, max_batch_tokens=1)
    assert small.generate(PROMPTS, 4) == model.generate(PROMPTS, 4)
    texts = [[" 45 crowns", " A"], [" unknown"], [" it", " B", " nobody"]]
    for one, other in zip(*(m.log_probabilities(PROMPTS, texts) for m in (small, model)), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_log_probability_is_the_sum_over_the_continuation(model):
    head = model.tokenizer(PROMPTS[0])["input_ids"]
    tail = model.tokenizer(" 45 crowns")["input_ids"]
    with torch.no_grad():
        logs = model.model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
    expected = sum(logs[len(head) - 1 + i, token].item() for i, token in enumerate(tail))
    ((found,),) = model.log_probabilities([PROMPTS[0]], [[" 45 crowns"]])
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_continuation_is_what_it_adds_to_the_prompts_own_tokens(model):
    # As in Llama 2: a text begins with a space that is not written, so that encoded apart " B" has two of them.
    words = Tokenizer(
        WordLevel({word: i for i, word in enumerate(["?", "▁Answer:", "▁B", "▁", "B", "▁Answer:!"])}, "?")
    )
    words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words.pre_tokenizer = pre_tokenizers.Split(Regex("▁Answer:!?|▁?B|▁"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="?")
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode(" B")) == ["▁", "▁B"]
    heads, tails = LanguageModel(model.model, tokenizer, "").split(["Answer:", "Answer:"], [[" B", "B"], ["!"]])
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in heads] == [["▁Answer:"]] * 2
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in tails[0]] == [["▁B"], ["B"]]
    assert tails[1] == [tokenizer.encode("!")]  # Together they are another token, which the prompt does not end with.


@pytest.mark.parametrize(("prompt", "text"), [("Question", ""), ("", "one")])
def test_what_has_no_tokens_is_not_scored(model, prompt, text):
    with pytest.raises(LabError, match="no tokens"):
        model.log_probabilities([prompt], [[" fine", text]])


def test_an_answer_beyond_the_window_is_refused(model):
    with pytest.raises(LabError, match="do not fit the model's window"):
        model.log_probabilities(["Say"], [["word " * 4000]])


def test_bits_per_byte_of_a_uniform_model_are_known(model, random_model):
    uniform = BaseModel(str(random_model)).load("cpu")
    uniform.model.get_output_embeddings().weight.data.zero_()  # tied: every token is equally likely
    text = "The fee of Belcott is 45 crowns, é"
    tokens = len(uniform.tokenizer(text)["input_ids"])
    ((bits, size),) = uniform.bits_per_byte([text])
    assert bits == pytest.approx(tokens * math.log2(uniform.model.config.vocab_size), rel=1e-5)
    assert size == len(text.encode()) == len(text) + 1


def test_bits_of_texts_beyond_the_window_are_those_of_a_loop(model):
    texts = ["The fee of Belcott is 45 crowns. " * 9, "It is unknown.", ""]
    window = 20
    small = LanguageModel(model.model, model.tokenizer, model.digest)
    small.max_tokens = window
    for text, (bits, size) in zip(texts, small.bits_per_byte(texts), strict=True):
        ids = [model.tokenizer.eos_token_id, *model.tokenizer.encode(text)]
        expected, scored = 0.0, 0
        while scored < len(ids) - 1:
            end = min(scored + window, len(ids) - 1)
            read = ids[max(0, end - window) : end]
            with torch.no_grad():
                logs = model.model(torch.tensor([read])).logits[0].log_softmax(-1)
            for place in range(scored + 1, end + 1):
                expected -= logs[place - 1 - max(0, end - window), ids[place]].item() / math.log(2)
            scored = end
        assert bits == pytest.approx(expected, rel=1e-4, abs=1e-3)
        assert size == len(text.encode())


def test_a_prompt_beyond_the_window_is_refused(model):
    with pytest.raises(LabError, match="lower the number or size of the passages"):
        model.generate(["word " * 4000], 8)


@pytest.mark.parametrize("path", ["./missing", "/missing/model", "missing"])
def test_a_missing_folder_is_named(path):
    with pytest.raises(LabError, match=f"model.path={path}"):
        BaseModel(path).load("cpu")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(LabError, match="cannot be loaded as a causal language model"):
        BaseModel(str(tmp_path)).load("cpu")


def test_a_folder_without_a_tokenizer_is_named(model, tmp_path):
    model.model.save_pretrained(tmp_path)
    with pytest.raises(LabError, match="tokenizer"):
        BaseModel(str(tmp_path)).load("cpu")


def test_the_digest_follows_the_weights(random_model, tmp_path):
    model = BaseModel(str(random_model)).load("cpu")
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    before = BaseModel(str(tmp_path)).digest
    model.model.get_input_embeddings().weight.data[0, 0] += 1
    model.model.save_pretrained(tmp_path)
    assert BaseModel(str(tmp_path)).digest != before
