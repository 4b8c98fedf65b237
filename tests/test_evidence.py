"""Gold text to gold passages: against plain search by hand, and on published files where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lab.corpus.corpus import Corpus
from lab.corpus.folder import FolderCorpus
from lab.corpus.squad import SquadCorpus
from lab.exam.evidence import find_all, match_evidence, plain
from lab.exam.squad import load_squad
from lab.records import Document, LabError, Passage, Question

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def corpus(*documents: str, window: int = 40, step: int = 40) -> Corpus:
    """Documents cut into windows of characters; passage ids are `document#first character`."""
    made = [Document(f"d{number}", f"D{number}", text) for number, text in enumerate(documents)]
    passages = [
        Passage(
            f"{one.id}#{start}", one.id, one.title, one.text[start : start + window], start, min(end, len(one.text))
        )
        for one in made
        for start, end in ((s, s + window) for s in range(0, max(1, len(one.text) - (window - step)), step))
    ]
    return Corpus("made", tuple(made), tuple(passages))


def gold(evidence: str, within: Corpus) -> tuple[str, ...]:
    (question,) = match_evidence([Question("q", "?", ("x",), evidence=(evidence,))], within)
    return question.passages


LAW = "Article 1. The quay fee is forty crowns a day.\nArticle 2. The harbour master collects it at noon, daily."


def test_evidence_inside_a_passage_whatever_its_marks_case_and_width() -> None:
    made = corpus(LAW, "The quay is closed on Sundays, as is the market hall.")
    assert gold("the QUAY fee is\n  forty crowns", made) == ("d0#0",)
    assert gold("collects it at noon", made) == ("d0#40", "d0#80")  # characters 77 to 96
    assert gold("\uff43\uff4c\uff4f\uff53\uff45\uff44 on Sundays!", made) == ("d1#0",)


def test_evidence_over_several_passages_gets_all_of_them_and_no_more() -> None:
    made = corpus(LAW)
    assert gold(LAW[:80], made) == ("d0#0", "d0#40")
    assert gold(LAW, made) == ("d0#0", "d0#40", "d0#80")
    assert gold(LAW[30:50], made) == ("d0#0", "d0#40")


def test_overlapping_passages_that_hold_all_of_it_are_all_gold_and_else_the_fewest() -> None:
    made = corpus(LAW, window=60, step=20)
    assert gold(LAW[40:60], made) == ("d0#0", "d0#20", "d0#40")
    assert gold(LAW[:100], made) == ("d0#0", "d0#60")  # not those between


def test_passages_inside_evidence_that_stands_in_no_document() -> None:
    made = corpus("The quay fee is forty crowns.", "The toll is nine crowns.", window=100)
    told = "Note. The quay fee is forty crowns. And: the toll is nine crowns."
    assert gold(told, made) == ("d0#0", "d1#0")
    # Less than half of it is there: it is about something else.
    assert (
        gold(told + " But mooring at night has been free of any charge for as long as anybody remembers.", made) == ()
    )


def test_chinese_evidence_needs_no_spaces() -> None:
    made = corpus("港口法院受理上诉。\n船长应当在三日内提出申请。", window=10, step=10)
    assert gold("船长应当在三日内 提出申请", made) == ("d0#10", "d0#20")


def test_what_says_too_little_or_stands_everywhere_is_not_matched_and_said(caplog: Any) -> None:
    made = corpus(*[f"Act {number}. It takes effect on signature." for number in range(9)])
    questions = [
        Question("often", "?", ("x",), evidence=("It takes effect on signature.",)),
        Question("short", "?", ("x",), evidence=("Act 3",)),
        Question("absent", "?", ("x",), evidence=("Something else altogether is written here.",)),
        Question("half", "?", ("x",), evidence=("Act 3. It takes effect", "Something else altogether.")),
        Question("named", "?", ("x",), passages=("d1#0",), evidence=("Act 3. It takes effect",)),
        Question("none", "?", ("x",)),
    ]
    matched = match_evidence(questions, made)
    assert [one.passages for one in matched] == [(), (), (), ("d3#0",), ("d1#0",), ()]
    assert "for 4 question(s)" in caplog.text
    assert "often, short, absent, half" in caplog.text


def test_unknown_passage_ids_are_named_all_at_once() -> None:
    questions = [Question(f"q{n}", "?", ("x",), passages=(f"nowhere{n}", "d0#0")) for n in range(3)]
    with pytest.raises(LabError, match=r"3 gold passage.*q0: nowhere0, q1: nowhere1, q2: nowhere2"):
        match_evidence(questions, corpus(LAW))


def test_finding_many_at_once_is_the_same_as_searching_each() -> None:
    random = Random(0)
    texts = ["".join(random.choices("ab港", k=400)) for _ in range(20)]
    needles = [t[start : start + random.randint(4, 40)] for t in texts for start in (random.randrange(360),)]
    needles += ["".join(random.choices("ab港", k=9)) for _ in range(50)]
    found = find_all(needles, texts, least=6)
    for needle, hits in zip(needles, found, strict=True):
        by_hand = [
            (number, place)
            for number, text in enumerate(texts)
            for place in range(len(text))
            if len(needle) >= 6 and text.startswith(needle, place)
        ]
        assert hits == by_hand


def test_plain_is_letters_and_digits() -> None:
    assert plain("Straße, Café № 5!\n港口 法院。") == "strassecafeno5港口法院"


@pytest.mark.skipif(not DATA.is_dir(), reason="the published files are not at hand")
def test_published_evidence_is_found() -> None:
    path = DATA / "reading_zh" / "cmrc2018_trial.json"
    paragraphs = SquadCorpus(str(path)).load()
    for question in match_evidence(load_squad(path), paragraphs):
        assert [paragraphs.passage(id).text for id in question.passages] == list(question.evidence)
    statutes = FolderCorpus(str(DATA / "law_zh" / "statutes")).load()
    rows = json.loads((DATA / "law_zh" / "exam" / "lawbench_1-1.json").read_text(encoding="utf-8"))
    asked = [
        Question(str(number), row["question"], ("x",), evidence=(row["answer"].removeprefix("答案:"),))
        for number, row in enumerate(rows)
    ]
    # Every answer stands in the statutes; two are sentences that stand in more than five of them.
    assert sum(not question.passages for question in match_evidence(asked, statutes)) == 2
