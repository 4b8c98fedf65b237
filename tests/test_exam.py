"""Exams of the user's own, with the mistakes that real files have; real published files where they are at hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from lab.corpus.squad import SquadCorpus
from lab.exam.csv_choice import CsvChoiceExam, load_choices
from lab.exam.jsonl import JsonlExam, load_questions
from lab.exam.prompts import prompt
from lab.exam.squad import SquadExam, load_squad
from lab.exam.suite import FilesSuite
from lab.records import LabError, Question, write_jsonl

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the published files are not at hand")
CHOICES = ["Paris", "London", "Rome", "B"]


def write(folder: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    """A file of these lines: objects as JSON, texts and bytes as they are."""
    path = folder / "exam.jsonl"
    encoded = [json.dumps(line).encode() if isinstance(line, dict) else line for line in lines]
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in encoded) + b"\n")
    return path


def choice(**more: Any) -> dict[str, Any]:
    return {"id": "q", "question": "Capital?", "choices": ["Paris", "London", "Rome", "B"], **more}


@pytest.mark.parametrize(
    ("given", "letters"),
    [
        ({"answer": "A"}, ("A",)),
        ({"answer": "c"}, ("C",)),
        ({"answer": "\uff23"}, ("C",)),
        ({"answer": 0}, ("A",)),
        ({"answer": 3}, ("D",)),
        ({"answer": "London"}, ("B",)),
        ({"answers": ["A", "Rome"]}, ("A", "C")),
        ({"answers": ["A", 0, "Paris"]}, ("A",)),
    ],
)
def test_a_choice_is_named_by_letter_index_or_text(tmp_path: Path, given: dict[str, Any], letters: tuple[str]) -> None:
    (question,) = load_questions(write(tmp_path, choice(**given)))
    assert (question.answers, question.choices) == (letters, tuple(CHOICES))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"answer": "B"}, "may be B or D"),  # the letter B, or the text of D
        ({"answer": "E"}, "no letter (A to D)"),
        ({"answer": 4}, "index 4 of 4 choices; give 0 to 3"),
        ({"answer": -1}, "index -1"),
        ({"answer": True}, "True"),
        ({"answer": 1.0}, "1.0"),
        ({"answer": ""}, "answer: ''"),
        ({}, "answer: missing"),
        ({"answer": "A", "answers": ["A"]}, "give one of them"),
        ({"answer": "A", "choices": ["x"]}, "choices: 1 of them"),
        ({"answer": "A", "choices": [str(n) for n in range(27)]}, "choices: 27 of them"),
        ({"answer": "A", "choices": "x"}, "choices: a list"),
        ({"answer": "A", "choices": ["x", ""]}, "choices[1]: empty"),
        ({"answer": "A", "choices": ["x", 3]}, "choices[1]: 3"),
        ({"answer": "x", "choices": ["x", "x"]}, "may be A or B"),
    ],
)
def test_a_choice_that_is_none_is_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError) as error:
        load_questions(write(tmp_path, choice(**given)))
    assert f"line 1, {'choices' if said.startswith('choices') else 'answer'}" in str(error.value)
    assert said in str(error.value)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    fine = {"question": "Who?", "answers": ["Ada"]}
    lines: list[tuple[str | bytes | dict[str, Any], str]] = [
        ({"id": "1", **fine}, ""),
        ("{broken", "line 2: not JSON"),
        ({"id": "1", **fine}, "line 3, id: '1' stands on line 1"),
        ({"id": "4", "question": " ", "answers": ["x"]}, "line 4, question: empty"),
        ({"id": "5", "question": "?", "answers": ["x", ""]}, "line 5, answers[1]: empty"),
        ('{"id": "6", "question": "?", "answers": [NaN]}', "line 6: NaN is not JSON"),
        ({"id": 7, **fine}, "line 7, id: 7"),
        ({"id": "8", "question": None, "answers": {"text": "x"}}, "line 8, question: missing"),
        (b'{"id": "9", "question": "caf\xe9"}', "line 9: not UTF-8 (byte 29)"),
        ('{"id": "10", "id": "11", "question": "?", "answers": ["x"]}', "line 10: 'id' stands twice"),
        ("[1]", "line 11: a JSON object"),
        ({"id": "12", **fine, "practised": 1}, "line 12, practised: 1"),
        ({"id": "13", **fine, "part": 3}, "line 13, part: 3"),
        ({"id": "14", **fine, "evidence": ["x", 1]}, "line 14, evidence[1]: 1"),
        ({"id": "15", **fine, "passages": 4}, "line 15, passages: 4"),
        ('{"id": "16", "question": "\\ud800", "answers": ["x"]}', "line 16, question: holds half a character"),
        ("[" * 100_000, "line 17: "),
        ({"id": "18", "question": "?"}, "line 18, answers: missing"),
        ({"id": "19", "question": "?", "answer": 3}, "line 19, answer: 3"),
        # Its other faults keep nobody from hearing of the doubled id.
        ({"id": "7x", "question": ""}, "line 20, question: empty"),
        ({"id": "7x", **fine}, "line 21, id: '7x' stands on line 20"),
    ]
    with pytest.raises(LabError) as error:
        load_questions(write(tmp_path, *(line for line, _ in lines)))
    told = str(error.value)
    assert [said for _, said in lines if said not in told] == []
    assert "line 8, answers: {'text'" in told
    assert "line 1," not in told.replace("line 1 already", "")


def test_a_byte_order_mark_blank_lines_and_single_texts_are_fine(tmp_path: Path, caplog: Any) -> None:
    row = {"id": "1", "question": "Who?", "answer": "Ada", "evidence": "Ada did it.", "pasages": ["a"]}
    (question,) = load_questions(write(tmp_path, b"\xef\xbb\xbf" + json.dumps(row).encode(), "", "  "))
    assert (question.answers, question.evidence) == (("Ada",), ("Ada did it.",))
    assert "'pasages' of 1 question(s) is not read" in caplog.text


def test_questions_written_by_the_lab_come_back_as_they_were(tmp_path: Path) -> None:
    asked = [
        Question("a", "Who?", ("Ada", "A."), "x", ("p",), ("d",), True, ("given",)),
        Question("b", "Which?", ("B", "D"), choices=("w", "x", "y", "z"), evidence=("so",)),
    ]
    write_jsonl(tmp_path / "q.jsonl", asked)
    assert JsonlExam(str(tmp_path / "q.jsonl")).load() == asked


@pytest.mark.parametrize("path", [None, 3, ""])
def test_a_path_that_is_none_is_named(path: Any) -> None:
    for exam in (JsonlExam, SquadExam, CsvChoiceExam):
        with pytest.raises(LabError, match=r"exam\.path="):
            exam(path)


def squad(folder: Path, *articles: Any) -> Path:
    path = folder / "squad.json"
    path.write_text(json.dumps({"version": "v2.0", "data": list(articles)}))
    return path


def test_squad_of_both_versions(tmp_path: Path) -> None:
    ask = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}, {"text": "Ada"}]}
    silent = {"id": "2", "question": "When?", "answers": [], "is_impossible": True}
    first = {"title": "Engines", "paragraphs": [{"context": "Ada wrote.", "qas": [ask, silent]}, {"context": "So."}]}
    second = {"title": "Looms", "paragraphs": [{"context": "A loom weaves.", "qas": []}]}
    path = squad(tmp_path, first, second)
    one, two = load_squad(path)
    assert one == Question("1", "Who?", ("Ada",), documents=("Engines",), evidence=("Ada wrote.",))
    assert two.answers == ("unknown",)
    corpus = SquadCorpus(str(path)).load()
    assert [document.text for document in corpus.documents] == ["Ada wrote.\n\nSo.", "A loom weaves."]
    assert [(p.id, p.text) for p in corpus.passages] == [
        ("Engines#1", "Ada wrote."),
        ("Engines#2", "So."),
        ("Looms#1", "A loom weaves."),
    ]


def test_squad_faults_are_told_with_their_places(tmp_path: Path, caplog: Any) -> None:
    asked = [
        {"id": "1", "question": "", "answers": [{"text": "x"}]},
        {"id": "2", "question": "?", "answers": []},
        {"id": "3", "question": "?", "answers": [{"text": ""}]},
        {"id": "4", "question": "?", "answers": ["x"]},
        {"id": "3", "question": "?", "answers": [{"text": "x"}]},
        7,
    ]
    path = squad(tmp_path, {"title": "T", "paragraphs": [{"context": "C.", "qas": asked}]})
    with pytest.raises(LabError) as error:
        load_squad(path)
    place = "data[0].paragraphs[0].qas"
    for said in (
        "5 fault(s)",
        f"{place}[1]: answers: empty",
        f"{place}[2], answers[0]: empty",
        f"{place}[3]: answers: a list",
        f"{place}[4], id: '3' stands on {place}[2]",
        f"{place}[5]: an object",
    ):
        assert said in str(error.value)
    assert "left out 1 of 6 questions, which have no wording: 1" in caplog.text
    frame = squad(tmp_path, 3, {"paragraphs": [{"context": ""}, 4]}, {"title": "T", "paragraphs": []}, {"title": "T"})
    with pytest.raises(LabError) as error:
        load_squad(frame)
    for said in (
        "data[0], paragraphs",
        "data[1].paragraphs[0], context: empty",
        "paragraphs[1], context",
        "data[3], p",
    ):
        assert said in str(error.value)
    twice = {"title": "T", "paragraphs": [{"id": "p", "context": "C."}, {"id": "p", "context": "D.", "qas": 3}] * 2}
    with pytest.raises(LabError) as error:
        load_squad(squad(tmp_path, {"title": 5, "paragraphs": []}, twice, {"title": "T", "paragraphs": []}))
    for said in (
        "5 fault(s)",
        "data[0], title: 5; a text is needed",
        "data[2], title: 'T' stands at data[1] already",
        "data[1].paragraphs[1], qas: a list",
        "data[1].paragraphs[2], id: 'p' stands at data[1].paragraphs[0] already",
    ):
        assert said in str(error.value)
    perhaps = [{"id": "1", "question": "?", "answers": [], "is_impossible": "yes"}]
    with pytest.raises(LabError, match=r"qas\[0\]: is_impossible: 'yes'; true or false"):
        load_squad(squad(tmp_path, {"title": "T", "paragraphs": [{"context": "C.", "qas": perhaps}]}))
    (tmp_path / "broken.json").write_text('{"data": [')
    with pytest.raises(LabError, match=r"broken\.json: "):
        load_squad(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(LabError, match='no list "data"'):
        load_squad(tmp_path / "list.json")
    with pytest.raises(LabError, match="no such file"):
        load_squad(tmp_path / "nowhere.json")


def test_choices_in_csv(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text('\ufeff"Why, and\nwhen?",None,nan,"x, y",b\r\n\nWho?,1,2,3,A\n', encoding="utf-8")
    (tmp_path / "a.csv").write_text("Is it?,yes,no,A\n")
    first, second, third = CsvChoiceExam(str(tmp_path)).load()
    assert (first.id, first.part, first.choices, first.answers) == ("a-1", "a", ("yes", "no"), ("A",))
    assert second == Question("b-1", "Why, and\nwhen?", ("B",), "b", choices=("None", "nan", "x, y"))
    assert third.id == "b-2"


def test_faults_in_csv_are_told_with_their_lines_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,A,B,answer\nq,x,y,C\nq,x,A\nq,,y,A\n ,x,y,1\nq,x,y,\n")
    (tmp_path / "b.csv").write_text('fine,x,y,A\n"open,x,y,A\nfine,x,y,A\n')
    (tmp_path / "c.csv").write_bytes(b"caf\xe9,x,y,A\n")
    with pytest.raises(LabError) as error:
        load_choices(tmp_path)
    for said in (
        "line 1: answer: a header",
        "line 2: answer: 'C'; a letter from A to B",
        "line 3: 3 columns",
        "line 4, choices[0]: empty",
        "line 5: answer: '1'",
        "line 6: answer: ''",
        "b.csv: 1 fault(s)\n  line 2: not CSV",
        "c.csv: 1 fault(s)\n  file: not UTF-8",
    ):
        assert said in str(error.value)
    with pytest.raises(LabError, match=r"no \.csv file"):
        load_choices(tmp_path / "none")


def test_a_prompt_asks_for_the_letter_and_others_stay_as_they_were() -> None:
    assert prompt("Capital?", ["- Atlas: Rome.\n"], ("Rome", "Oslo")) == (
        "Answer with the letter of the right choice.\n- Atlas: Rome.\nQuestion: Capital?\nA. Rome\nB. Oslo\nAnswer:"
    )
    assert prompt("Who?", []) == "Answer in a few words, or say unknown.\nQuestion: Who?\nAnswer:"


def test_a_general_suite_of_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "facts.jsonl", [Question("1", "Who?", ("Ada",), passages=("p",), evidence=("Ada did.",))])
    (tmp_path / "sums.csv").write_text("1+1?,1,2,B\n")
    (tmp_path / "books").mkdir()
    lines = [f"Line {number} of a book.\n" for number in range(200)]
    (tmp_path / "books" / "a.md").write_text("".join(lines))
    (tmp_path / "books" / "b.txt").write_text("字" * 950)
    paths = [str(tmp_path / name) for name in ("facts.jsonl", "sums.csv")]
    suite = FilesSuite(paths, [str(tmp_path / "books")], stretch_characters=300).load()
    first, second = suite.questions
    assert (first.id, first.part, first.given, first.passages, first.evidence) == (
        *("facts/1", "facts", ("Ada did.",), ()),
        (),
    )
    assert (second.id, second.part) == ("sums/sums-1", "sums")
    assert max(map(len, suite.texts)) <= 300
    assert suite.texts[-4:] == ("字" * 300, "字" * 300, "字" * 300, "字" * 50)
    assert "\n".join(suite.texts[:-4]) == "".join(lines).strip()  # cut at line ends, nothing lost
    few = FilesSuite((), [str(tmp_path / "books")], stretch_characters=300, stretches=4).load()
    assert len(few.texts) == 4
    assert few.texts[0] == suite.texts[0]
    assert (FilesSuite().load().questions, FilesSuite().load().texts) == ((), ())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"exams": "a.jsonl"}, "a list of paths"),
        ({"exams": ["x/a.jsonl", "y/a.csv"]}, "both called a|no such file"),
        ({"exams": ["a.parquet"]}, "not an exam"),
        ({"texts": ["nowhere.txt"]}, "no .md or .txt file"),
        ({"stretches": 0}, "stretches=0"),
        ({"stretch_characters": True}, "stretch_characters=True"),
    ],
)
def test_a_general_suite_that_is_none_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        FilesSuite(**given).load()


@real_data
def test_published_files_load_whole(caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    trial = load_squad(DATA / "reading_zh" / "cmrc2018_trial.json")
    # Two of its 1,002 questions have no wording.
    assert (len(trial), len({question.id for question in trial})) == (1000, 1000)
    assert "left out 2 of 1002 questions" in caplog.text
    sizes = {
        kind: sum(len(load_choices(f)) for f in (DATA / "choice_en").glob(f"*_{kind}.csv")) for kind in ("test", "dev")
    }
    assert sizes == {"test": 1038, "dev": 30}
    assert len(SquadCorpus(str(DATA / "reading_zh" / "cmrc2018_dev.json")).load().passages) == 848
    assert len(load_squad(DATA / "reading_zh" / "cmrc2018_dev.json")) == 3219


def test_general_files_that_cannot_be_told_apart_or_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("One and one?,one,two,B\n")
    with pytest.raises(LabError, match=r"a\.csv and .*a\.csv are both called a"):
        FilesSuite([str(tmp_path / "a.csv")] * 2).load()
    (tmp_path / "old.txt").write_bytes("Fähre".encode("latin-1"))
    with pytest.raises(LabError, match=r"old\.txt: not UTF-8"):
        FilesSuite((), [str(tmp_path / "old.txt")]).load()
