"""Tasks of lm-eval as a general suite, from files on disk. Skipped where lm-eval, an extra, is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.exam.tasks import TaskSuite
from lab.records import LabError, Question, write_jsonl

CHOICE = """task: towns
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{ask}}}} Answer:"
doc_to_choice: "{{{{options}}}}"
doc_to_target: "{{{{right}}}}"
"""
FREE = """task: rivers
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{ask}}}}"
doc_to_target: "{{{{told}}}}"
generation_kwargs: {{until: ["."]}}
"""


def test_tasks_become_questions(tmp_path: Path, monkeypatch):
    pytest.importorskip("lm_eval")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_jsonl(tmp_path / "towns.jsonl", [{"ask": "Which is a town?", "options": ["Lim", "Oro"], "right": 1}])
    write_jsonl(tmp_path / "rivers.jsonl", [{"ask": "Which river is it?", "told": "the Lim"}])
    for name, form in (("towns", CHOICE), ("rivers", FREE)):
        (tmp_path / f"{name}.yaml").write_text(form.format(data=tmp_path / f"{name}.jsonl"))
    suite = TaskSuite(["towns", "rivers"], str(tmp_path)).load()
    assert suite.questions == (
        Question("towns/1", "Which is a town?", ("B",), part="towns", choices=("Lim", "Oro")),
        Question("rivers/1", "Which river is it?", ("the Lim",), part="rivers"),
    )
    write_jsonl(
        tmp_path / "lost.jsonl", [{"ask": "Which?", "options": ["Lim", "Oro"], "right": right} for right in (0, 2)]
    )
    (tmp_path / "lost.yaml").write_text(CHOICE.format(data=tmp_path / "lost.jsonl").replace("towns", "lost"))
    with pytest.raises(LabError, match="lost, question 2: 2 is none of its choices"):
        TaskSuite(["lost"], str(tmp_path)).load()
    with pytest.raises(LabError, match="lm-eval knows no nothing"):
        TaskSuite(["nothing"], str(tmp_path)).load()


def test_a_missing_extra_and_a_missing_list_are_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match="needs lm-eval"):
        TaskSuite(["towns"]).load()
    with pytest.raises(LabError, match="a list of names"):
        TaskSuite([])
