"""A user's own exam through a whole run, and another system's answers to it beside the lab's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lab import grade
from lab.__main__ import command_line
from lab.report import load

FACTS = {"Quay": "The quay fee is forty crowns a day.", "Toll": "The bridge toll is nine crowns for a cart."}


@pytest.fixture
def squad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    asked = [{"id": "", "question": "How much is it to moor for a day?", "answers": [{"text": "forty crowns"}]}]
    articles = [
        {"title": name, "paragraphs": [{"context": text, "qas": [{**asked[0], "id": name, "question": f"{name}?"}]}]}
        for name, text in FACTS.items()
    ]
    (tmp_path / "facts.json").write_text(json.dumps({"data": articles}))
    return tmp_path


def lab(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lab", *arguments.split()])
    return command_line()


def test_squad_without_a_general_suite_and_answers_beside_it(
    squad: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"corpus=squad corpus.path=facts.json exam=squad exam.path=facts.json model.path={random_model}"
    assert lab(monkeypatch, f"pipeline=gold general=none {given}") == 0, capsys.readouterr().err
    (manifest,) = (squad / "runs").rglob("manifest.json")
    run = load(manifest.parent)
    # The paragraphs were found as gold by their words alone.
    assert [passages[0][0] for passages in run.answers["passages"]] == ["Quay#1", "Toll#1"]
    assert run.texts.empty

    (squad / "theirs.jsonl").write_text("".join(f'{{"id": "{name}", "answer": "forty crowns"}}\n' for name in FACTS))
    capsys.readouterr()
    # By the file and by the run: one exam, one digest.
    assert grade.main(["facts.json", "theirs.jsonl", "--out", "one"]) == 0
    assert grade.main([str(manifest.parent), "theirs.jsonl", "--out", "two"]) == 0
    out = capsys.readouterr().out
    assert "theirs" in out
    assert load("one/theirs").differs_from(run) == load("two/theirs").differs_from(run) == []
    assert load("two/theirs").answers["score"].tolist() == [1.0, 1.0]


def test_choices_are_asked_for_their_letter(
    squad: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (squad / "tolls.csv").write_text("What is the toll for a cart?,nine crowns,ten crowns,A\n")
    (squad / "general.csv").write_text("What is one and one?,one,two,B\n")
    given = "corpus=squad corpus.path=facts.json exam=csv_choice exam.path=tolls.csv general=files"
    given += f" general.exams=[general.csv] general.texts=[general.csv.md] model.path={random_model}"
    (squad / "general.csv.md").write_text("It rained all day, and the ferry stayed in the harbour.\n")
    assert lab(monkeypatch, f"pipeline=closed_book {given}") == 0, capsys.readouterr().err
    assert "Exam score: letter of the answer in %" in capsys.readouterr().out
    (manifest,) = (squad / "runs").rglob("manifest.json")
    run = load(manifest.parent)
    assert run.answers["part"].tolist() == ["tolls", "general"]
    assert len(run.texts) == 1


def test_a_slip_in_the_exam_is_told_before_anything_is_trained(
    squad: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (squad / "exam.jsonl").write_text('{"id": "1", "question": ""}\n{\n')
    given = (
        f"corpus=squad corpus.path=facts.json exam=jsonl exam.path=exam.jsonl general=none model.path={random_model}"
    )
    assert lab(monkeypatch, f"pipeline=lora {given}") == 2
    error = capsys.readouterr().err
    assert "line 1, question: empty" in error
    assert "line 2: not JSON" in error
    (squad / "exam.jsonl").write_text('{"id": "1", "question": "Quay?", "answer": "x", "passages": ["Quay#7"]}\n')
    assert lab(monkeypatch, f"pipeline=lora {given}") == 2
    assert "1: Quay#7" in capsys.readouterr().err
    assert not (squad / "artifacts").exists()
