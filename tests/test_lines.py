"""Lines that texts share are encoded once, and every text has the very tokens that its tokenizer gives the whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Any

import chat_models
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lab.base import EMBEDDED, BaseModel
from lab.framing import Frame, _keeps_to_lines, as_words, frame_of
from lab.packing import encode
from lab.records import TrainingText

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
LLAMA_3 = "|".join(
    [
        *(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{N}{1,3}"),
        *(r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"),
    ]
)

# So that a line break merges with the blanks around it, wherever a tokenizer lets it.
BLANKS = [
    "the fee.\nthe fee\n\nof the 5\n12 a\nb",
    "a \n",
    "a\n\n",
    "a\n ",
    "a  \n",
    "a\n\n\n",
    "a\t\n",
    "a.\n",
    "a\u00a0\n",
]


def trained(
    model: Any, trainer: Any, before: Any, normalizer: Any = None, more: Sequence[str | AddedToken] = (), mark: str = ""
) -> PreTrainedTokenizerFast:
    """A tokenizer of such parts."""
    made = Tokenizer(model)
    made.pre_tokenizer, made.decoder = before, decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    made.train_from_iterator([*chat_models.LINES, *BLANKS * 9] * 20, trainer)
    made.add_tokens(list(more))
    if mark:
        made.post_processor = processors.TemplateProcessing(f"{mark} $A", special_tokens=[(mark, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", unk_token="<|end|>")


def byte_pairs(before: Any = BYTES, **more: Any) -> PreTrainedTokenizerFast:
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|end|>"], initial_alphabet=BYTES.alphabet(), show_progress=False
    )
    return trained(models.BPE(), trainer, before, **more)


@cache
def tokenizer(kind: str) -> Any:
    split = pre_tokenizers.Split(Regex(LLAMA_3), "isolated")
    return {
        "embedded": lambda: BaseModel(str(EMBEDDED)).load("cpu").tokenizer,
        "gpt2": byte_pairs,
        "llama3": lambda: byte_pairs(
            pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        ),
        "prefix space": lambda: byte_pairs(pre_tokenizers.ByteLevel(add_prefix_space=True)),
        "no words": lambda: byte_pairs(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
        "normalized": lambda: byte_pairs(normalizer=normalizers.Strip()),
        "added": lambda: byte_pairs(more=["fee.\nthe", AddedToken("day", lstrip=True, rstrip=True)]),
        "marked": lambda: byte_pairs(mark="<|end|>"),
        "wordpiece": lambda: trained(
            models.WordPiece(unk_token="<|end|>"),
            trainers.WordPieceTrainer(vocab_size=300, special_tokens=["<|end|>"], show_progress=False),
            pre_tokenizers.BertPreTokenizer(),
            normalizers.BertNormalizer(),
        ),
        "unigram": lambda: trained(
            models.Unigram(),
            trainers.UnigramTrainer(
                vocab_size=300, special_tokens=["<|end|>"], unk_token="<|end|>", show_progress=False
            ),
            pre_tokenizers.Metaspace(prepend_scheme="first"),
        ),
        **{maker: lambda maker=maker: chat_models.tokenizer(maker) for maker in chat_models.KINDS},
    }[kind]()


BY_LINES = ["embedded", "gpt2"]
OTHERS = ["llama3", "prefix space", "no words", "normalized", "added", "marked", "wordpiece", "unigram"]
KINDS = [*BY_LINES, *OTHERS, *chat_models.KINDS]


def whole(of: Any, text: str, add_special_tokens: bool = True) -> list[int]:
    return of(text, add_special_tokens=add_special_tokens, split_special_tokens=True)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_tokens_that_keep_to_lines_are_taken_by_the_line(kind):
    assert _keeps_to_lines(tokenizer(kind)) == (kind in BY_LINES)


# Where lines may end oddly: blanks of all sorts, marks, letters and numbers beyond ASCII, combining marks.
ODD = st.text(st.sampled_from("\n\n\n\r\t  abé'5١3.:-。\x1c\x85\u00a0\u2028\u0301̈<|>"), max_size=40)  # noqa: RUF001
WORDS = st.lists(
    st.sampled_from(
        ["the fee.", "fee.\nthe", "\n", "\n\n", " ", "day", "<|end|>", "it's", "'s", "12 ", "345\n", "<think>", "\n5"]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(st.one_of(ODD, WORDS, st.text(max_size=20)), max_size=4))
def test_every_text_has_the_tokens_of_the_whole(kind, texts):
    of = tokenizer(kind)
    for special in (True, False):
        assert as_words(of, texts, special) == [whole(of, text, special) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_a_line_may_end(kind):
    of = tokenizer(kind)
    texts = ["".join(letters) for letters in product("\n a5.é\r\u00a0", repeat=4)]
    assert as_words(of, texts) == of(texts, split_special_tokens=True)["input_ids"]


PASSAGES = "Answer in a few words.\n- One: the fee is 45.\n- Two: it's 5 days.\n"
TEXT = TrainingText("reading", PASSAGES, tuple((f"Question: what of {n}?\nAnswer:", f" {n}") for n in range(6)))


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_have_the_tokens_of_whole_prompts(kind):
    of = tokenizer(kind)
    for frame in [frame_of(of, "auto"), Frame("<|end|>ask ", "\nsay ")]:
        (piece,) = encode(of, [TEXT], frame)
        for (prompt, answer), (ids, asked) in zip(TEXT.pairs, piece.branches, strict=True):
            told = frame.before + PASSAGES + prompt + frame.after
            plain, answered = (framed(of, text, frame) for text in (told, told + frame.answer(answer)))
            assert [*piece.prefix, *ids[:asked]] == plain
            together = answered[: len(plain)] == plain
            assert ids[asked:-1] == (answered[len(plain) :] if together else whole(of, frame.answer(answer), False))


def framed(of: Any, text: str, frame: Frame) -> list[int]:
    """A whole prompt's tokens; a template has its own marks in it."""
    return of(text, add_special_tokens=False)["input_ids"] if frame.is_chat else whole(of, text)


def test_what_texts_share_is_encoded_once():
    class Counting:
        def __init__(self, of: Any) -> None:
            self.of, self.tokens = of, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.of, name)

        def __call__(self, texts: list[str], **options: bool) -> Any:
            made = self.of(texts, **options)
            self.tokens += sum(map(len, made["input_ids"]))
            return made

    counting = Counting(tokenizer("embedded"))
    texts = [TEXT, *(TrainingText("documents", f"Act {number}. The fee is {number}.") for number in range(9))]
    tokens = sum(map(len, encode(counting, texts)))
    assert counting.tokens < 1.5 * tokens
