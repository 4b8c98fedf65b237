"""Random models of other makers' layouts, with chat templates as theirs are, in folders as `save_pretrained` leaves."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from lab.worlds.names import seeded
from lab.worlds.reading import Level, exercise

LINES = (
    "Answer in a few words, or say unknown.",
    "Question: What is the fee of the Belcott Act?\nAnswer: 45 crowns",
    "The owner of the land pays the fee within 30 days, and the clerk keeps a book of it.",
    "第一条 为了保护民事主体的合法权益，制定本法。",  # noqa: RUF001
    "本法所称的费用由申请人在三十日内缴纳。",
)
# No narrower than the rank of a LoRA as it is set.
SHAPE: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "intermediate_size": 64, "max_position_embeddings": 2048, "initializer_range": 0.2,
}  # fmt: skip
# The marks of each maker's chat: (beginning of text, end of text, end of a turn, others).
MARKS = {
    "llama": ("<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>")),
    "qwen3": (None, "<|im_end|>", "<|im_end|>", ("<|im_start|>", "<|endoftext|>")),
    "gemma": ("<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>",)),
}
TEMPLATES = {
    "llama": """{{ bos_token }}{% set today = date_string if date_string is defined else strftime_now('%d %b %Y') %}
{{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + today + '<|eot_id|>' }}
{%- for turn in messages %}
{{- '<|start_header_id|>' + turn.role + '<|end_header_id|>\n\n' + turn.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}""",
    "qwen3": """{% for turn in messages %}{{ '<|im_start|>' + turn.role + '\n' }}
{%- if turn.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}
{{- turn.content + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}
{%- endif %}""",
    "gemma": """{{ bos_token }}{% if messages[0].role == 'system' %}
{{- raise_exception('System role not supported') }}{% endif %}
{%- for turn in messages %}
{{- '<start_of_turn>' + ('model' if turn.role == 'assistant' else turn.role) + '\n' }}
{{- turn.content | trim + '<end_of_turn>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}""",
}
KINDS = tuple(MARKS)


@cache
def tokenizer(kind: str, chat: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that Chinese has tokens too; Llama's and Gemma's add the beginning of text by themselves."""
    begin, end, turn, others = MARKS[kind]
    special = [mark for mark in (begin, end, *others) if mark]
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=[*special, *([turn] if turn not in special else [])],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    random = seeded("tokenizer")
    told = [line for _ in range(100) for line in exercise(random, Level()).lines]  # Else its rows would not hold one.
    model.train_from_iterator([*LINES, *told], trainer)
    if kind == "qwen3":
        model.add_tokens(["<think>", "</think>"])
    if begin:
        model.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, model.token_to_id(begin))]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token=begin, eos_token=end, pad_token=end if kind != "qwen3" else "<|endoftext|>"
    )
    made.chat_template = TEMPLATES[kind] if chat else None
    return made


def write(folder: Path, kind: str, chat: bool = True, penalty: float = 1.3) -> Path:
    """A model folder of a kind. Gemma is Gemma 2: its logits and scores are capped, and it knows no fast attention."""
    own = tokenizer(kind, chat)
    torch.manual_seed(0)
    ids = {"vocab_size": len(own), "bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id}
    ids["pad_token_id"] = own.pad_token_id
    made: Any = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, **ids)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, **ids, tie_word_embeddings=True)),
        "gemma": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, **ids, query_pre_attn_scalar=32)),
    }[kind]()
    # As instruction-tuned models are published: sampled unless told otherwise, and here with a penalty too.
    made.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95, repetition_penalty=penalty)
    made.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder
