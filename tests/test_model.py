"""Answers and scores of a model, against transformers one prompt at a time."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil

import pytest
import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from lab.base import BaseModel
from lab.flops import matrices
from lab.framing import Frame
from lab.model import LanguageModel
from lab.records import LabError, MemoryFullError
from lab.scoring import batches

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


def test_what_does_not_fit_the_memory_is_taken_in_smaller_batches(model, monkeypatch, caplog):
    """In a memory of so many tokens at a time the same is answered and scored, and that it is small is learnt once."""
    texts = [f"Question: {'and ' * (number % 7)}{number}\nAnswer:" for number in range(12)]
    branches, told = [[" 45", " no"]] * 12, []
    wanted, scores, bits = (
        model.generate(texts, 8),
        model.log_probabilities(texts, branches),
        model.bits_per_byte(texts),
    )
    longest = max(len(model.tokenizer(text)["input_ids"]) for text in texts) + 8
    tight = LanguageModel(model.model, model.tokenizer, model.digest)
    plain, fitting = model.model.forward, 2 * longest

    @functools.wraps(plain)
    def forward(*args, **given):
        if given["input_ids"].numel() > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(*args, **given)

    monkeypatch.setattr(model.model, "forward", forward)
    assert tight.generate(texts, 8, told.append) == wanted
    assert sum(told) == len(texts)
    assert [f"taken as {2**n}" in record.message for n, record in enumerate(caplog.records, 1)].count(True) > 2
    for one, other in zip(tight.log_probabilities(texts, branches), scores, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    for one, other in zip(tight.bits_per_byte(texts), bits, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    caplog.clear()
    assert tight.generate(texts, 8) == wanted
    assert caplog.records == []
    fitting = 4
    with pytest.raises(MemoryFullError, match=f"too small for this model and {longest} tokens; lower the number or"):
        tight.generate(texts, 8)
    monkeypatch.setattr(model.model, "forward", lambda *args, **given: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        tight.log_probabilities(texts, branches)


def test_padding_and_real_tokens_are_what_the_batches_held(model, monkeypatch):
    small = LanguageModel(model.model, model.tokenizer, model.digest, max_batch_tokens=60)
    held, plain = [], model.model.generate
    monkeypatch.setattr(model.model, "generate", lambda **given: held.append(plain(**given)) or held[-1])
    prompts = [*PROMPTS, "Name it", "Question: three\nAnswer:"]
    made = small.generate(prompts, 8)
    shapes = [tuple(output.shape) for output in held]
    assert len(shapes) > 1
    tokens = [(one.prompt_tokens, one.answer_tokens) for one in made]
    work = small.work(prompts, tokens, 8)
    assert sum(map(sum, tokens)) + work["padded_tokens"] == sum(rows * width for rows, width in shapes)
    # By the rule, all that is read and every answer token told, of each batch.
    found = matrices(model.model)
    widths = [max(len(model.tokenizer(prompts[i])["input_ids"]) for i in batch)
              for batch in batches([prompt + 8 for prompt, _ in tokens], 60)]  # fmt: skip
    by_hand = sum(
        2 * rows * (found.body * (width - 1) + found.head * (width - prompt))
        for (rows, width), prompt in zip(shapes, widths, strict=True)
    )
    assert work["flops_formula"] == pytest.approx(by_hand)
    assert work["flops"] == pytest.approx(by_hand, rel=0.15)
    assert model.work([], [], 8) == {}


def test_small_batches_change_nothing_but_memory(model):
    small = LanguageModel(model.model, model.tokenizer, model.digest, max_batch_tokens=1)
    assert small.generate(PROMPTS, 4) == model.generate(PROMPTS, 4)
    texts = [[" 45 crowns", " A"], [" unknown"], [" it", " B", " nobody"]]
    for one, other in zip(*(m.log_probabilities(PROMPTS, texts) for m in (small, model)), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_prompts_are_encoded_once_for_all_that_is_asked_of_them(model, monkeypatch):
    encoded, plain = [], Frame.encode
    monkeypatch.setattr(
        Frame, "encode", lambda frame, tokenizer, *texts: encoded.append(texts) or plain(frame, tokenizer, *texts)
    )
    model.encode(["other prompts, asked before"])
    encoded.clear()
    made = model.generate(PROMPTS, 4)
    model.log_probabilities(PROMPTS, [[" A"]] * 3)
    model.work(PROMPTS, [(one.prompt_tokens, one.answer_tokens) for one in made], 4)
    assert encoded[0] == (PROMPTS,)
    # Beside that only prompts with their continuations, and the one whose operations are counted.
    assert [tuple(map(len, texts)) for texts in encoded[1:]] == [(3, 3), (1,)]
    asked = list(PROMPTS)
    model.encode(asked)
    asked[0] = "Name it"  # A list that its owner changes is no longer the one that was encoded.
    assert model.encode(asked) == plain(model.frame, model.tokenizer, asked)


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


PAYLOAD = """
from pathlib import Path
from transformers import {base}
Path({mark!r}).write_text("ran")
class Own({base}):
    pass
"""


@pytest.mark.parametrize(
    ("file", "map", "base"),
    [
        ("config.json", {"AutoConfig": "own.Own"}, "LlamaConfig as Base"),
        ("config.json", {"AutoModelForCausalLM": "own.Own"}, "Qwen3ForCausalLM as Base"),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "own.Own"]}, "PreTrainedTokenizerFast as Base"),
    ],
)
def test_code_beside_the_weights_runs_only_where_it_is_trusted(random_model, tmp_path, caplog, file, map, base):
    folder, mark = shutil.copytree(random_model, tmp_path / "model"), tmp_path / "ran"
    settings = json.loads((folder / file).read_text())
    if "AutoConfig" in map:
        settings["model_type"] = "of_its_own"
    (folder / file).write_text(json.dumps({**settings, "auto_map": map}))
    code = PAYLOAD.replace("({base})", "(Base)").format(base=base, mark=str(mark))
    (folder / "own.py").write_text(code)
    with pytest.raises(LabError, match=rf"{file} asks for code of its own.*trust_remote_code=true"):
        BaseModel(str(folder)).load("cpu")
    assert not mark.exists()
    with contextlib.suppress(LabError):  # What the code does then is its own affair.
        BaseModel(str(folder), trust_remote_code=True).load("cpu")
    assert mark.exists()
    assert "trust_remote_code=true" in caplog.text


def test_pickled_weights_are_refused(random_model, tmp_path):
    folder = shutil.copytree(random_model, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LabError, match=r"pickled.*safetensors"):
        BaseModel(str(folder)).load("cpu")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dtype", "float8"), ("chat", "yes"), ("chat", 1), ("attention", "flash"), ("quantize", "2bit"),
        ("trust_remote_code", "true"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(LabError, match=rf"model\.{name}={value}: choose "):
        BaseModel(**{name: value})


def test_a_missing_package_is_named(random_model, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"needs bitsandbytes; pip install 'open-book-exam-lab\[quantize\]'"):
        BaseModel(str(random_model), quantize="4bit").load("cpu")
    monkeypatch.undo()
    with pytest.raises(LabError, match=r"model\.path=.*[Ff]lash"):
        BaseModel(str(random_model), attention="flash_attention_2").load("cpu")


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantised_model_says_nearly_the_same_in_less_memory(random_model, model, bits):
    pytest.importorskip("bitsandbytes")
    small = BaseModel(str(random_model), quantize=bits).load("cpu")
    assert small.model.get_memory_footprint() < 0.7 * model.model.get_memory_footprint()
    texts = ["The fee of Belcott is 45 crowns"]
    ((bits_small, _),), ((bits_whole, _),) = small.bits_per_byte(texts), model.bits_per_byte(texts)
    assert bits_small != bits_whole
    assert bits_small == pytest.approx(bits_whole, rel=0.1)
    assert small.digest != model.digest


def test_attention_implementations_agree(random_model, model):
    eager = BaseModel(str(random_model), attention="eager").load("cpu")
    assert eager.model.config._attn_implementation == "eager"
    assert model.model.config._attn_implementation == "sdpa"
    assert eager.bits_per_byte(["Belcott pays."])[0][0] == pytest.approx(model.bits_per_byte(["Belcott pays."])[0][0])
