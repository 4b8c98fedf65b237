"""Multiple choice, scored by the lab and by lm-eval side by side: `python benchmarks/choices.py` (needs lm-eval).

A random Llama of 32 million parameters, a quarter of them in the output layer as in models of 0.1 to 1 billion. Random
4-way questions. Both sides get the same model object, the same tokens and the same number of padded tokens in a batch
(lm-eval takes rows, so it gets as many as fit), in float32, and take turns in every round. No network.

texts: four texts of 5 to 11 tokens. letters: four continuations of one token, whose prompt lm-eval shares, too.
exam: letters, texts and the reference answer, which is what the lab asks of each multiple-choice question.
perplexity: whole texts of a quarter to three times the context, the longest beyond the window of 2,048 tokens where the
context is 1,024: rolling windows on both sides; per second are texts.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import statistics
import time
from collections.abc import Callable

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lab.model import LanguageModel

WORDS = [f"w{number}" for number in range(16_384)]
Questions = list[tuple[str, list[str]]]


def build(device: str, window: int = 2048) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The random model, and a tokenizer that makes one token of each word."""
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token=WORDS[0]))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=WORDS[1], model_max_length=window)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=window, tie_word_embeddings=True, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device).eval(), tokenizer


def ask(count: int, context: int, kind: str, seed: int) -> Questions:
    """Questions of `context` tokens, each with the continuations that `kind` names."""
    draw = random.Random(seed)

    def text(tokens: int) -> str:
        return " ".join(draw.choice(WORDS[2:]) for _ in range(tokens))

    made: Questions = []
    for _ in range(count):
        if kind == "perplexity":
            made.append((text(draw.randint(context // 4, 3 * context)), []))
            continue
        letters = [f" {word}" for word in WORDS[10:14]]
        texts = [f" {text(draw.randint(5, 11))}" for _ in range(4)]
        made.append((text(context), {"texts": texts, "letters": letters, "exam": [*letters, *texts, letters[0]]}[kind]))
    return made


def harness(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: int) -> HFLM:
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=rows, max_length=model.config.max_position_embeddings)


def by_harness(harness: HFLM, questions: Questions) -> list[list[float]]:
    if not questions[0][1]:
        texts = [Instance("loglikelihood_rolling", {}, (text,), number) for number, (text, _) in enumerate(questions)]
        return [[score] for score in harness.loglikelihood_rolling(texts, disable_tqdm=True)]
    pairs = [(prompt, text) for prompt, some in questions for text in some]
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    scores = iter([score for score, _ in harness.loglikelihood(asked, disable_tqdm=True)])
    return [[next(scores) for _ in some] for _, some in questions]


def by_lab(model: LanguageModel, questions: Questions) -> list[list[float]]:
    if not questions[0][1]:
        return [[-bits * math.log(2)] for bits, _ in model.bits_per_byte([text for text, _ in questions])]
    return model.log_probabilities([prompt for prompt, _ in questions], [some for _, some in questions])


def timed(score: Callable[[], list[list[float]]]) -> tuple[float, float, list[list[float]]]:
    """(seconds, seconds of the processor, scores): the second leave out what others on the machine did meanwhile."""
    start, start_processor = time.perf_counter(), time.process_time()
    scores = score()  # Python numbers in the end, so a GPU has finished.
    return time.perf_counter() - start, time.process_time() - start_processor, scores


def same_tokens(model: LanguageModel, harness: HFLM, questions: Questions) -> bool:
    """Whether both sides split every prompt and continuation into the same tokens."""
    heads, tails = model.split([prompt for prompt, _ in questions], [some for _, some in questions])
    return all(
        (head, tail) == harness._encode_pair(prompt, text)
        for (prompt, texts), head, some in zip(questions, heads, tails, strict=True)
        for text, tail in zip(texts, some, strict=True)
    )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, nargs="+", default=[256, 512, 1024], help="tokens of a prompt")
    parser.add_argument("--kinds", nargs="+", default=["texts", "letters", "exam", "perplexity"])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="after one that is not counted")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)

    network, tokenizer = build(args.device)
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.0f} M parameters, float32, {args.device}, "
          f"{torch.get_num_threads()} threads, {args.questions} questions, {args.rounds} rounds, "
          f"{args.batch_tokens} tokens a batch; questions/s: median (least to most)")  # fmt: skip
    print("| context | scored | lm-eval | lab | times as fast | by processor seconds | largest difference in nats |")
    print("|---|---|---|---|---|---|---|")
    for context in args.contexts:
        for kind in args.kinds:
            questions = ask(args.questions, context, kind, seed=context)
            ours = LanguageModel(network, tokenizer, "benchmark", args.batch_tokens)
            longest = 2048 if kind == "perplexity" else context + 11
            theirs = harness(network, tokenizer, max(1, args.batch_tokens // longest))
            assert same_tokens(ours, theirs, questions)
            spent: dict[str, list[tuple[float, float]]] = {"lm-eval": [], "lab": []}
            for _ in range(args.rounds + 1):
                *seconds, expected = timed(lambda: by_harness(theirs, questions))  # noqa: B023
                spent["lm-eval"].append(tuple(seconds))
                *seconds, found = timed(lambda: by_lab(ours, questions))  # noqa: B023
                spent["lab"].append(tuple(seconds))
            apart = max(abs(a - b) for x, y in zip(expected, found, strict=True) for a, b in zip(x, y, strict=True))
            rounds = list(zip(spent["lm-eval"], spent["lab"], strict=True))[1:]
            rates = [spread([args.questions / pair[side][0] for pair in rounds]) for side in (0, 1)]
            ratios = [spread([theirs[clock] / ours[clock] for theirs, ours in rounds]) for clock in (0, 1)]
            print(f"| {context} | {kind} | {' | '.join(rates + ratios)} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
