"""What must hold of any input: loaders, passages, prompts, graders, statistics, mixture, packing and store.

By default a few cases of each, always the same; `pytest tests/test_properties.py --hypothesis-profile=thorough` runs
hundreds of each, over ten thousand in all (`tests/conftest.py` has both profiles).
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import chat_models
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.adapt.mixture import mix, split
from lab.attention import visible
from lab.base import EMBEDDED
from lab.context.retrieved import Retrieved
from lab.corpus.corpus import Corpus
from lab.corpus.folder import load_documents
from lab.corpus.formats import convert
from lab.corpus.passages import count_tokens
from lab.corpus.passages import split as cut
from lab.corpus.rows import JsonlCorpus
from lab.exam.csv_choice import load_choices
from lab.exam.evidence import match_evidence, plain
from lab.exam.jsonl import load_questions
from lab.exam.prompts import passage_line, prompt
from lab.exam.questions import FIELDS, LETTERS
from lab.exam.squad import load_squad
from lab.framing import PLAIN, frame_of
from lab.judge.choices import letter_of
from lab.judge.grading import grade, is_unknown, unanswerable
from lab.judge.statistics import holm, interval, paired_difference
from lab.judge.words import contains, exact_match, normalise, rouge_l, rouge_tokens, token_f1, tokens
from lab.ledger import Ledger
from lab.packing import Piece, pack, rows
from lab.records import Answer, Document, LabError, Passage, Question, read_jsonl, write_jsonl
from lab.store import Store
from lab.workspace import Workspace

# What texts are made of beside any letters: marks that a part of the lab reads as more than letters.
MARKS = (
    "\n", "\n\n", "\r\n", " ", "\u3000", "\u2028", "\x0c", "\x1c", "\x85", "\u0301", ".", ". ", "。", "3.5", "#",
    "\n# Kay\n", "\n## Jo ##\n", "\n```\n", "\n第一条", "\nArticle 1. ", "\n§ 5", "ǰ", "ŉ", "İ", "½", "ﬁ", "😀", "港口",
    "the ", "An ", "unknown", "I do not know", "答案", "The answer is B", "(A)", "A or B", '"', ",", ";", "|", "\t",
    "Question: ", "\nAnswer:", "- ", "{", "[", "<|end|>", "<|pad|>", "<|im_end|>", "<|im_start|>", "<bos>", "<eos>",
    "<end_of_turn>", "<|eot_id|>", "<|begin_of_text|>", "[INST]", "*", "a",
)  # fmt: skip
LETTER = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.lists(st.one_of(st.text(LETTER, max_size=8), st.sampled_from(MARKS)), max_size=12).map("".join)
WORDS = TEXT.filter(str.strip)
SECTIONS = ("\n# Kay\n", "\n## Jo ##\n", "\n第一条", "\nSection 2. ", "\n\n", "longerword", "One. ", "一。")
SECTIONED = st.lists(st.one_of(TEXT, st.sampled_from(SECTIONS)), max_size=12).map("".join)
SAID = st.one_of(TEXT, st.sampled_from(LETTERS), st.sampled_from(("Unknown.", "I do not know, sorry", "不知道")))
NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT, st.just("half \ud800"), st.just("nul \0")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)
LINE = st.one_of(
    st.binary(max_size=40), st.dictionaries(st.sampled_from(("text", "id", "title")), JSON).map(json.dumps)
)
SCORES = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.sampled_from((0.0, 0.25, 1.0)) | st.floats(0, 1), min_size=n, max_size=n)] * 2,
        st.lists(st.sampled_from("abcde"), min_size=n, max_size=n),
    )
)
CHAT = ("plain", *chat_models.KINDS)


def signs(text: str) -> str:
    """Letters and digits, composed: what no loader may lose."""
    return "".join(mark for mark in unicodedata.normalize("NFC", text) if mark.isalnum())


def jsonl(lines: list[bytes | str]) -> bytes:
    return b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)


# Loaders


@given(st.lists(st.one_of(TEXT, st.binary(max_size=60)), min_size=1, max_size=4), st.sampled_from((None, 1, 0.9)))
def test_every_file_is_kept_or_quarantined_and_what_is_kept_is_whole(contents: list[Any], deduplicate: Any) -> None:
    with TemporaryDirectory() as folder:
        for number, content in enumerate(contents):
            data = content.encode() if isinstance(content, str) else content
            (Path(folder) / f"{number}.md").write_bytes(data)
        try:
            gathered = load_documents(Path(folder), deduplicate)
        except LabError as error:
            told = str(error)
            assert "no document in it" in told
            assert not [content for content in contents if isinstance(content, str) and signs(content)]
            return
    kept = {document.id: document.text for document in gathered.documents}
    left_out = {row.id.removesuffix(".md"): row for row in gathered.quarantined}
    assert sorted([*kept, *left_out]) == sorted(map(str, range(len(contents))))
    for number, content in enumerate(contents):
        row = left_out.get(str(number))
        if isinstance(content, str) and row is None:
            assert signs(kept[str(number)]) == signs(content)
        elif isinstance(content, str) and signs(content):
            assert row is not None
            assert row.kind in ("duplicate", "near-duplicate")
            assert row.reason.split()[1] in kept


@given(st.lists(LINE, min_size=1, max_size=6))
def test_every_row_is_kept_or_quarantined(lines: list[Any]) -> None:
    data = jsonl(['{"text": "good"}', *lines])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_bytes(data)
        corpus = JsonlCorpus(str(file), deduplicate=None).load()
        write_jsonl(file, corpus.passages)
    assert len(corpus.documents) + len(corpus.quarantined) == sum(bool(line.strip()) for line in data.split(b"\n"))
    kept = Counter(signs(one.text) for one in corpus.documents)
    rows = [json.loads(line) for line in lines if isinstance(line, str)]
    for row in rows:
        named = [row[name] for name in ("id", "title") if name in row]
        if isinstance(row.get("text"), str) and "\0" not in row["text"] and not named and signs(row["text"]):
            assert signs(row["text"]) in kept


@given(JSON)
def test_json_keeps_every_name_text_and_number(value: Any) -> None:
    with TemporaryDirectory() as folder:
        for name in ("a.json", "a.jsonl"):
            (Path(folder) / name).write_text(json.dumps(value))
            told = convert(Path(folder) / name)["text"]
            leaves = list(_leaves(value))
            assert all(leaf in told for leaf in leaves)


def _leaves(value: Any, names: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, (*names, name))
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part, names)
    else:
        yield from (word for name in names for word in name.split())
        yield value if isinstance(value, str) else json.dumps(value)


@given(st.lists(st.lists(TEXT, min_size=2, max_size=4), min_size=2, max_size=5), st.sampled_from(",;\t|"))
def test_a_table_keeps_every_cell(table: list[list[str]], delimiter: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows(table)
    with TemporaryDirectory() as folder:
        (Path(folder) / "a.csv").write_bytes(written.getvalue().encode())
        told = Counter(convert(Path(folder) / "a.csv")["text"])
    filled = [row for row in table if any(cell.strip() for cell in row)]
    assert Counter(sign for row in filled[1:] for cell in row for sign in cell if sign.isalnum()) <= told


ROW = st.dictionaries(st.sampled_from(FIELDS), st.one_of(JSON, WORDS, st.lists(WORDS, min_size=2, max_size=3)))
GOOD_ROW = st.fixed_dictionaries({"question": WORDS, "answers": st.lists(WORDS, min_size=1, max_size=3)})


@given(
    st.lists(GOOD_ROW, min_size=1, max_size=3),
    st.lists(st.one_of(ROW.map(json.dumps), st.binary(max_size=30)), max_size=2),
)
def test_questions_come_back_as_they_were_and_faults_name_their_lines(
    good: list[dict[str, Any]], bad: list[Any]
) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "exam.jsonl"
        file.write_bytes(jsonl([*(json.dumps({"id": f"q{n}", **row}) for n, row in enumerate(good)), *bad]))
        try:
            asked = load_questions(file)
        except LabError as error:
            told = str(error).splitlines()[1:]
            assert told
            assert all(int(line.split()[1].strip(",:")) > len(good) for line in told)
            return
        assert [(q.question, list(q.answers)) for q in asked[: len(good)]] == [
            (r["question"], r["answers"]) for r in good
        ]
        write_jsonl(file, asked)
        assert load_questions(file) == asked


@given(st.data())
def test_squad_with_anything_in_any_place_is_read_or_told(data: st.DataObject) -> None:
    def maybe(value: Any) -> Any:
        return data.draw(JSON) if data.draw(st.integers(0, 7)) == 0 else value

    answer = maybe({"text": maybe("Ada"), "answer_start": maybe(0)})
    ask = maybe(
        {"id": maybe("1"), "question": maybe("Who?"), "answers": maybe([answer]), "is_impossible": maybe(False)}
    )
    paragraph = maybe({"context": maybe("Ada wrote."), "qas": maybe([ask]), "id": maybe("p")})
    article = maybe({"title": maybe("T"), "paragraphs": maybe([paragraph]), "id": maybe("a")})
    with TemporaryDirectory() as folder:
        file = Path(folder) / "squad.json"
        file.write_text(json.dumps(maybe({"data": maybe([article])})))
        try:
            asked = load_squad(file)
        except LabError as error:
            told = str(error)
            assert told.startswith(str(file))
            return
        write_jsonl(file, asked)
        assert load_questions(file) == asked


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=2, max_size=5), st.integers(0, 4)), min_size=1, max_size=4))
def test_choices_come_back_as_they_were(asked: list[tuple[str, list[str], int]]) -> None:
    assume(asked[0][0][0] != "\ufeff")
    cells = [[question, *choices, LETTERS[right % len(choices)]] for question, choices, right in asked]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "exam.csv"
        with file.open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows(cells)
        read = [[one.question, *one.choices, *one.answers] for one in load_choices(file)]
    assert read == [[cell.strip() for cell in row] for row in cells]


# Passages and evidence


@given(SECTIONED, TEXT, st.integers(1, 20), st.data())
def test_passages_keep_every_sign_within_their_size(text: str, title: str, size: int, data: st.DataObject) -> None:
    source = Document("d", title, text)
    alone, overlapping = cut(source, size), cut(source, size, data.draw(st.integers(0, size // 2)))
    for passages in (alone, overlapping):
        assert [p.id for p in passages] == [f"d#{n}" for n in range(1, len(passages) + 1)]
        assert [p.start for p in passages] == sorted(p.start for p in passages)
        for passage in passages:
            assert passage.text == text[passage.start : passage.end] == passage.text.strip() != ""
            assert count_tokens(passage.text) <= size
            assert passage.title.startswith(title)
    assert all(one.end <= other.start for one, other in pairwise(alone))
    told = {place for p in alone for place in range(p.start, p.end)}
    assert told <= {place for p in overlapping for place in range(p.start, p.end)}
    # What no passage holds is a heading, which stands in the titles below it, or is the document's own.
    titles = " ".join([title, *(passage.title for passage in alone)])
    lost = "".join(mark for place, mark in enumerate(text) if place not in told)
    assert all(line.strip().strip("#").strip() in titles for line in lost.split("\n"))


@given(st.lists(st.text("abcdefgh 港口.", min_size=20, max_size=80), min_size=1, max_size=3), st.data())
def test_evidence_out_of_a_document_finds_passages_that_hold_it_together(texts: list[str], data: st.DataObject) -> None:
    made = [Document(f"d{n}", "T", f"{n}{n}{text}") for n, text in enumerate(texts)]
    corpus = Corpus("made", tuple(made), tuple(p for one in made for p in cut(one, 6)))
    source = data.draw(st.sampled_from(made))
    start = data.draw(st.integers(0, len(source.text) - 12))
    evidence = source.text[start : start + data.draw(st.integers(12, 60))]
    assume(len(plain(evidence)) >= 6)
    (question,) = match_evidence([Question("q", "?", ("x",), evidence=(evidence,))], corpus)
    found = [corpus.passage(id) for id in question.passages]
    for document in {passage.document_id for passage in found}:
        held = plain("".join(passage.text for passage in found if passage.document_id == document))
        assert plain(evidence) in held
    assert source.id in {passage.document_id for passage in found}


# Prompts


@given(TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=4), st.lists(TEXT, max_size=4))
def test_a_prompt_holds_all_it_is_given_in_order(
    question: str, passages: list[tuple[str, str]], choices: list[str]
) -> None:
    made = prompt(question, [passage_line(*passage) for passage in passages], choices)
    place = 0
    for part in [*(part for passage in passages for part in passage), f"Question: {question}\n", *choices, "Answer:"]:
        assert part in made[place:]
        place = made.index(part, place) + len(part)
    assert made.endswith("Answer:")
    # Nothing beside it but what the same prompt of empty texts has.
    bare = prompt("", [passage_line("x" * bool(title), "") for title, _ in passages], [""] * len(choices))
    given = [question, *(part for passage in passages for part in passage), *choices]
    assert len(made) == len(bare) + sum(map(len, given)) - sum(bool(title) for title, _ in passages)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    from transformers import AutoTokenizer

    return {
        "plain": AutoTokenizer.from_pretrained(EMBEDDED),
        **{k: chat_models.tokenizer(k) for k in chat_models.KINDS},
    }


@given(kind=st.sampled_from(CHAT), text=TEXT, answer=TEXT)
def test_a_tokenizers_own_marks_in_a_prompt_are_words(
    tokenizers: dict[str, Any], kind: str, text: str, answer: str
) -> None:
    tokenizer = tokenizers[kind]
    frame = PLAIN if kind == "plain" else frame_of(tokenizer, True)
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    (empty,), (ids,) = frame.encode(tokenizer, [""]), frame.encode(tokenizer, [text], [answer])
    assert [id for id in ids if id in special] == [id for id in empty if id in special]
    said = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert said == frame.before + text + frame.after + frame.answer(answer)
    (begun,) = frame.open(tokenizer, [text])
    assert tokenizer.decode(begun, clean_up_tokenization_spaces=False) == frame.before + text


class AsGiven:
    """A search that finds every passage, in the corpus's order."""

    def prepare(self, corpus: Corpus, workspace: Workspace) -> AsGiven:
        self.found = [(passage.id, 1.0) for passage in corpus.passages]
        return self

    def rank(self, questions: Any, count: int) -> list[list[tuple[str, float]]]:
        return [self.found[:count] for _ in questions]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), WORDS), min_size=1, max_size=8),
    st.integers(1, 8),
    st.sampled_from((3, 20, 1000)),
    st.integers(1, 2),
)
def test_what_goes_into_a_prompt_keeps_its_order_and_its_budget(
    found: list[tuple[str, str]], k: int, most: int, each: int
) -> None:
    texts = {id: "".join(text for one, text in found if one == id) for id, _ in found}
    documents = tuple(Document(id, id, text) for id, text in texts.items())
    at = dict.fromkeys(texts, 0)
    passages = []
    for number, (id, text) in enumerate(found):
        passages.append(Passage(f"p{number}", id, id, text, at[id], at[id] + len(text)))
        at[id] += len(text)
    reader = Retrieved(AsGiven(), k=k, max_tokens=most, per_document=each).prepare(
        Corpus("c", documents, tuple(passages)), Workspace(Store(Path("unused")), Ledger(), 0, "cpu")
    )
    ((*chosen,),) = reader.passages([Question("q", "?", ("x",))])
    ids = [one.passage.id for one in chosen]
    sizes = {p.id: count_tokens(p.title) + count_tokens(p.text) for p in passages}
    assert ids == [p.id for p in passages if p.id in ids]
    assert len(ids) <= k
    assert sum(sizes[id] for id in ids) <= most
    assert max(Counter(one.passage.document_id for one in chosen).values(), default=0) <= each
    if len(ids) < k:  # Each that was left out had no room left, or one too many of its document before it.
        for passage in passages:
            before = [one.passage for one in chosen if passages.index(one.passage) < passages.index(passage)]
            full = sum(one.document_id == passage.document_id for one in before) >= each
            assert passage.id in ids or full or sum(sizes[one.id] for one in before) + sizes[passage.id] > most


# Graders


@given(TEXT, TEXT)
def test_scores_of_words_agree_with_each_other(one: str, other: str) -> None:
    for score in (exact_match, token_f1, rouge_l, contains):
        assert 0 <= score(one, other) <= 1
        assert score is contains or score(one, other) == score(other, one)
    for text in (one, other):
        assert normalise(normalise(text)) == normalise(text)
        filled = normalise(text) != ""
        assert exact_match(text, text) == token_f1(text, text) == contains(text, text) == float(filled)
        assert rouge_l(text, text) == float(bool(rouge_tokens(text)))
    if exact_match(one, other):
        assert token_f1(one, other) == contains(one, other) == 1
    if contains(one, other):
        assert token_f1(one, other) == pytest.approx(2 * len(tokens(other)) / (len(tokens(one)) + len(tokens(other))))
    assert (token_f1(one, other) > 0) == bool(set(tokens(one)) & set(tokens(other)))
    assert (rouge_l(one, other) > 0) == bool(set(rouge_tokens(one)) & set(rouge_tokens(other)))


@given(SAID, st.one_of(st.lists(WORDS, min_size=1, max_size=3), st.just(["unknown"])))
def test_any_answer_has_a_grade_that_fits_its_outcome(text: str, accepted: list[str]) -> None:
    question = Question("q", "?", tuple(accepted))
    given = grade(question, Answer("q", text, (), "", 0, 0, 0.0, 0.0, None))
    scores = (given.score, given.exact_match, given.token_f1, given.contains, given.rouge_l)
    assert all(score is not None and 0 <= score <= 1 for score in scores)
    exact = any(exact_match(text, form) for form in accepted)
    abstained = is_unknown(text)
    if unanswerable(question):
        assert (given.outcome == "unknown_right") == (exact or abstained)
    elif exact:
        assert given.outcome == "right"
    else:
        assert (given.outcome == "unknown") == abstained
        assert given.outcome in ("unknown", "format_error", "wrong", "partial")
    assert is_unknown(f"Unknown. {text}")


@given(st.lists(WORDS, min_size=2, max_size=5), SAID, st.data())
def test_a_letter_is_read_where_it_is_given_and_never_made_up(
    choices: list[str], text: str, data: st.DataObject
) -> None:
    letters = LETTERS[: len(choices)]
    assert letter_of(text, choices) in (None, *letters)
    right = data.draw(st.sampled_from(letters))
    assert letter_of(f"({right.lower()})", choices) == right
    if not any(exact_match(f"The answer is {right}", choice) for choice in choices):
        assert letter_of(f"The answer is {right}.", choices) == right
    choice = choices[letters.index(right)]
    same = [one for one in choices if normalise(one) == normalise(choice)]
    if len(same) == 1 and len(choice.strip()) > 1 and len(normalise(choice)) > 1:
        assert letter_of(choice, choices) == right


# Statistics


@given(SCORES)
def test_intervals_hold_their_estimate_and_differences_have_two_sides(
    drawn: tuple[list[float], list[float], list[str]],
) -> None:
    one, other, clusters = drawn
    found = interval(one, clusters, resamples=200)
    assert found.estimate == pytest.approx(np.mean(one))
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    there, back = (
        paired_difference(one, other, clusters, resamples=200),
        paired_difference(other, one, clusters, resamples=200),
    )
    assert there.estimate == pytest.approx(np.mean(one) - np.mean(other))
    assert (there.estimate, there.low, there.high, there.p) == pytest.approx(
        (-back.estimate, -back.high, -back.low, back.p)
    )
    assert there.low <= there.estimate <= there.high
    assert 0 <= there.p <= 1
    if abs(there.p - 0.05) > 1e-6:
        assert (there.p < 0.05) == (not there.low <= 0 <= there.high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_holm_keeps_the_order_and_never_favours(p: list[float], random: Random) -> None:
    adjusted = holm(p)
    assert all(before <= after <= min(1, len(p) * before + 1e-12) for before, after in zip(p, adjusted, strict=True))
    by_size = [after for _, after in sorted(zip(p, adjusted, strict=True))]
    assert by_size == sorted(by_size)
    order = random.sample(range(len(p)), len(p))
    assert holm([p[n] for n in order]) == [adjusted[n] for n in order]


# Mixture and packing


@st.composite
def pieces(draw: st.DrawFn, longest: int = 20) -> list[Piece]:
    """Pieces whose tokens are all different."""
    fresh = iter(range(1, 100_000))
    made = []
    for prefix, branches in draw(
        st.lists(st.tuples(st.integers(1, longest), st.lists(st.integers(1, 6), max_size=12)), min_size=1, max_size=6)
    ):
        own = [[next(fresh) for _ in range(size)] for size in branches]
        made.append(Piece([next(fresh) for _ in range(prefix)], [(ids, draw(st.integers(0, len(ids)))) for ids in own]))
    return made


@given(pieces(), pieces(), st.floats(0, 0.9), st.integers(0, 200))
def test_a_mixture_is_exact_to_the_token_and_passes_over_all(
    private: list[Piece], general: list[Piece], share: float, more: int
) -> None:
    one_pass = sum(map(len, private))
    total = int(one_pass / (1 - share)) + 2 + more
    replay = (replace(piece, source="text") for _ in range(total) for piece in general)
    made = mix(private, replay, total, share, Random(0))
    mixed = list(made.pieces)
    assert sum(map(len, mixed)) == total == made.tokens.total()
    assert made.tokens["replay text"] == round(total * share)
    seen = Counter(id(piece) for piece in mixed)
    assert all(seen[id(piece)] >= int(made.passes) for piece in private)


@given(pieces(longest=60), st.integers(24, 64))
def test_packed_rows_hold_every_token_and_every_label_once(whole: list[Piece], row_tokens: int) -> None:
    parts = [
        part
        for piece in whole
        for part in (split(piece, row_tokens) if len(piece.prefix) + 6 <= row_tokens or not piece.branches else [])
    ]
    assert max(map(len, parts), default=0) <= row_tokens
    packed = list(rows(iter(parts), row_tokens))
    batch = pack(packed, row_tokens, pad=0)
    told = Counter(batch.ids[batch.ids > 0].tolist())
    shared = Counter(token for part in parts for token in part.prefix)
    answered = Counter(token for part in parts for branch, _ in part.branches for token in branch)
    assert told == shared + answered
    assert batch.tokens == told.total()
    # Of running text all but the first token, which nothing foretells; of a branch what comes after its prompt.
    running = Counter(token for part in parts if not part.branches for token in part.prefix[1:])
    learnt = Counter(token for part in parts for branch, given in part.branches for token in branch[given:])
    assert Counter(batch.labels[batch.labels >= 0].tolist()) == running + learnt
    mask = visible(batch.piece, batch.branch)
    assert all(
        int(mask[row, 0, at].sum()) >= 1 for row in range(len(packed)) for at in range(sum(map(len, packed[row])))
    )


# Store


NAMES = st.text("abc/._ 港", min_size=1, max_size=8).filter(lambda name: all(p.strip(". ") for p in name.split("/")))


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=4), st.dictionaries(TEXT, JSON, max_size=3))
def test_what_is_stored_comes_back_as_it_was(files: dict[str, bytes], key: dict[str, Any]) -> None:
    names = sorted(files)
    assume(not any(other.startswith(f"{one}/") for one in names for other in names))

    def build(folder: Path) -> None:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)

    with TemporaryDirectory() as root:
        made = Store(Path(root)).artifact("kind", key, build)
        again = Store(Path(root)).artifact("kind", dict(reversed(key.items())), build)
        other = Store(Path(root)).artifact("kind", {**key, "one more": [len(key)]}, build)
        assert (made.reused, again.reused, other.reused) == (False, True, False)
        assert made.digest == again.digest == other.digest
        assert {name: (again.path / name).read_bytes() for name in files} == files


@given(
    st.lists(
        st.dictionaries(
            TEXT, st.recursive(TEXT | NUMBER | st.none(), lambda inner: st.lists(inner, max_size=3)), max_size=4
        ),
        max_size=5,
    )
)
def test_rows_come_back_as_they_were(written: list[dict[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        write_jsonl(Path(folder) / "rows.jsonl", written)
        assert list(read_jsonl(Path(folder) / "rows.jsonl")) == written
