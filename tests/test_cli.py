"""The command line as a user meets it: whole run folders, one-line errors, nothing half-made that is believed."""

from __future__ import annotations

import csv
import errno
import json
import sys
import time
from pathlib import Path

import pytest
import torch

import lab.run as lab_run
from lab.__main__ import command_line
from lab.arms import Arms
from lab.exam.jsonl import load_questions
from lab.records import DivergedError, LabError, Question, write_jsonl
from lab.report import load, metrics
from lab.report.find import failures
from lab.student import Student
from lab.worlds.__main__ import write_worlds
from lab.worlds.embedded import StatuteCorpus
from lab.worlds.statutes import StatuteBook

SMALL = "corpus.book.acts=4 corpus.book.sections=2 limit=2 general.closed_book=2 general.reading=4 general.paragraphs=2"


@pytest.fixture
def lab(tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs `python -m lab` in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(arguments: str, small: bool = True, model: Path = random_model) -> tuple[int, str, str]:
        given = arguments.split() + ([*SMALL.split(), f"model.path={model}"] if small else [])
        monkeypatch.setattr(sys, "argv", ["lab", *given])
        capsys.readouterr()
        code = command_line()
        return code, *capsys.readouterr()

    return run


def only_run(folder: Path) -> Path:
    (manifest,) = folder.rglob("manifest.json")
    return manifest.parent


def test_a_run_folder_is_whole_and_its_figures_can_be_recomputed(lab, tmp_path):
    code, out, err = lab("pipeline=gold prices.currency=EUR prices.cpu_hour=0.5")
    assert code == 0, err
    assert "gold" in out
    assert "Costs in EUR" in out
    assert "a core's hour 0.50" in out
    run = only_run(tmp_path / "runs")
    names = {path.name for path in run.iterdir()}
    assert names >= {".hydra", "manifest.json", "answers.jsonl", "metrics.json", "costs.jsonl", "log.txt"}
    assert json.loads((run / "metrics.json").read_text()) == json.loads(json.dumps(metrics(load(run))))
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["finished"] is True
    assert manifest["environment"]["device"] == "cpu"
    waits = load(run).waits
    assert waits["first"].tolist() == [True] + [False] * (len(waits) - 1)
    assert len(waits) > 5
    answering = load(run).costs.set_index("phase").loc["answering"]
    assert answering["flops"] > 0.85 * answering["flops_formula"] > 0
    assert answering["padded_tokens"] >= 0
    assert set(manifest["digests"]) == {"corpus", "exam", "general", "model"}
    assert str(Path.home()) not in (run / "manifest.json").read_text()


@pytest.mark.parametrize("pipeline", ["closed_book", "random"])
def test_a_run_keeps_the_words_of_what_was_shown_and_of_what_is_gold(lab, tmp_path, pipeline):
    assert lab(f"pipeline={pipeline}")[0] == 0
    run = load(only_run(tmp_path / "runs"))
    assert (run.folder / "report.html").is_file()
    kept = {row["id"]: (row["title"], row["text"]) for row in run.passages.to_dict("records")}
    shown = {id for found in run.answers["passages"] for id, _ in found}
    gold = {id for passages in run.questions["passages"] for id in passages}
    assert bool(shown) == (pipeline == "random")
    assert gold
    assert set(kept) == shown | gold
    corpus = StatuteCorpus(StatuteBook(acts=4, sections=2)).load()
    assert kept.items() <= {passage.id: (passage.title, passage.text) for passage in corpus.passages}.items()
    assert "passages.jsonl" in run.manifest["files"]


def test_a_multirun_ends_in_one_table_and_one_csv(lab, tmp_path):
    code, out, _ = lab("-m pipeline=closed_book,random,rag,gold")
    assert code == 0
    for route in ("closed_book", "random", "rag", "gold"):
        assert route in out
    (table,) = (tmp_path / "runs").rglob("comparison.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert ",".join(rows[0]) == (
        "pipeline,seed,suite,part,practised,metric,n,value,low,high,reference,difference,difference_low,"
        "difference_high,p_holm"
    )
    assert {row["pipeline"] for row in rows} == {"closed_book", "random", "rag", "gold"}


def test_a_multirun_that_was_stopped_goes_on_with_the_routes_that_are_left(lab, tmp_path, monkeypatch):
    whole, asked, times = lab_run.run, [], []

    def stopped(experiment):
        if experiment.name == "random" and len(times) < 2:
            raise DivergedError("the training loss is nan after 7 steps")
        if experiment.name == "gold" and len(times) < 3:
            raise KeyboardInterrupt
        return whole(experiment)

    answer = lab_run._sit

    def sit(student, *more):
        asked.append(more)
        return answer(student, *more)

    monkeypatch.setattr(lab_run, "run", stopped)
    monkeypatch.setattr(lab_run, "_sit", sit)

    def again() -> tuple[int, str, str]:
        times.append(1)
        return lab("-m pipeline=closed_book,random,gold")

    assert again()[0] == 130
    (sweep,) = (tmp_path / "runs").iterdir()
    before = (sweep / "0-closed_book" / "manifest.json").stat().st_mtime_ns
    assert again()[0] == 130
    code, out, err = again()
    assert code == 0, err
    assert f"going on in runs/{sweep.name}" in err
    assert "random was finished before" in err
    assert len(asked) == 2 * 3  # The exam and the general suite of each route, once.
    assert (sweep / "0-closed_book" / "manifest.json").stat().st_mtime_ns == before
    assert all(route in out for route in ("closed_book", "random", "gold"))
    assert "Failed" not in out
    assert failures([sweep]) == []
    assert list((tmp_path / "runs").iterdir()) == [sweep]
    assert not (sweep / "command.json").exists()


def test_an_experiment_of_arms_goes_on_in_its_folder_until_all_of_them_ran(lab, monkeypatch):
    roots, codes = [], [1, 0, 0]

    def run(arms, root, level):
        roots.append(root)
        return codes.pop(0)

    monkeypatch.setattr(Arms, "run", run)
    assert [lab("experiment=known_answers jobs=1", small=False)[0] for _ in range(3)] == [1, 0, 0]
    assert roots[0] == roots[1] != roots[2]
    assert all(root.name.endswith("-known_answers") for root in roots)


def test_only_the_very_same_run_is_kept(lab, tmp_path):
    def again(words: str = "") -> bool:
        before = answers.stat().st_mtime_ns
        assert lab(f"pipeline=closed_book hydra.run.dir=runs/one {words}")[0] == 0
        return answers.stat().st_mtime_ns == before

    assert lab("pipeline=closed_book hydra.run.dir=runs/one")[0] == 0
    answers = tmp_path / "runs" / "one" / "answers.jsonl"
    assert again()
    answers.write_text(answers.read_text().replace("closed", "open") + "\n")
    assert not again()
    (tmp_path / "runs" / "one" / "metrics.json").unlink()
    assert not again()
    assert not again("seed=1")
    assert not again("seed=1 answer_tokens=7")
    assert again("seed=1 answer_tokens=7")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("pipeline=rga", "rga"),
        ("seeds=3", "seeds"),
        ("pipeline.context.k=0", "k=0"),
        ("pipeline.context.k=many", "k="),
        ("model.path=./nowhere", "model.path=./nowhere"),
        ("corpus=folder corpus.path=./nowhere exam=jsonl exam.path=exam.jsonl", "nowhere: no such folder"),
        ("corpus=folder", "corpus.path"),
        ("corpus=folder corpus.path=.", "exam=jsonl"),
        ("device=tpu", "device=tpu"),
        ("model.chat=perhaps", "model.chat=perhaps: choose auto, true, false"),
        ("model=openai model.url=http://127.0.0.1:9/v1 model.name=m pipeline=lora", "cannot be trained"),
        ("limit=0", "limit=0"),
        ("answer_tokens=0", "answer_tokens=0"),
        ("seed=many", "seed=many"),
        ("corpus.book.practised_share=1.5", "practised_share=1.5"),
        ("exam=jsonl exam.path=./nowhere.jsonl", "nowhere.jsonl"),
        ("model._target_=os.system", "os.system"),
        ("=", "="),
    ],
)
def test_a_mistake_gets_one_line_that_names_it(lab, tmp_path, arguments, named):
    write_jsonl(tmp_path / "exam.jsonl", [Question("a", "Who?", ("B",))])
    code, _, err = lab(arguments, small=False)
    assert code == 2
    assert named in err
    assert len(err.splitlines()) == 1
    assert err.startswith("lab: ")
    assert "Error in call to target" not in err  # hydra's own words


def test_verbose_shows_where_it_happened(lab):
    with pytest.raises(Exception, match="rga"):
        lab("pipeline=rga -v")


def test_an_empty_corpus_is_named(lab, tmp_path):
    (tmp_path / "empty").mkdir()
    write_jsonl(tmp_path / "exam.jsonl", [Question("a", "Who?", ("B",))])
    code, _, err = lab("corpus=folder corpus.path=empty exam=jsonl exam.path=exam.jsonl", small=False)
    assert (code, "no document in it" in err) == (2, True)


def test_where_every_route_fails_the_first_reason_is_told(lab, monkeypatch):
    def failing(experiment):
        if experiment.seed == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        raise DivergedError("the training loss is nan after 7 steps")

    monkeypatch.setattr(lab_run, "run", failing)
    code, _, err = lab("-m pipeline=gold seed=3,1")
    assert (code, err.splitlines()[-1]) == (2, "lab: the training loss is nan after 7 steps")
    code, _, err = lab("-m pipeline=gold seed=1,4")
    assert code == 1
    assert "every route failed, the first of them: CUDA out of memory" in err


def test_a_route_alone_that_is_overdue_is_told_in_one_line(lab, monkeypatch):
    monkeypatch.setattr(lab_run, "run", lambda experiment: time.sleep(60))
    code, _, err = lab("pipeline=gold limit_seconds=10")
    assert code == 2
    assert err.splitlines()[-1] == "lab: it took more than 10 s (limit_seconds)"


def test_an_interrupt_leaves_nothing_that_is_believed(lab, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Student, "answer", interrupted)
    code, _, err = lab("pipeline=gold")
    assert (code, "interrupted" in err) == (130, True)
    with pytest.raises(LabError, match="finish"):
        load(only_run(tmp_path / "runs"))


def test_a_full_disk_is_named(lab, tmp_path, monkeypatch):
    def full(path, rows):
        if path.name == "questions.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_jsonl(path, rows)

    monkeypatch.setattr("lab.run.write_jsonl", full)
    code, _, err = lab("pipeline=gold")
    assert (code, "No space left on device" in err, "free some space" in err) == (2, True, True)
    with pytest.raises(LabError, match="finish"):
        load(only_run(tmp_path / "runs"))


def test_files_written_by_the_worlds_give_the_same_exam(lab, tmp_path, book, small_corpus):
    write_worlds(tmp_path / "world", acts=6, sections=2, copies=1, seed=0, version=0)
    assert [q.id for q in load_questions(tmp_path / "world" / "exam.jsonl")] == [q.id for q in book.exam()]
    code, _, err = lab(
        "pipeline=gold corpus=folder corpus.path=world/documents exam=jsonl exam.path=world/exam.jsonl "
        f"limit=1 general.closed_book=1 general.reading=1 general.paragraphs=1 model.path={tmp_path / 'm'}",
        small=False,
    )
    assert (code, f"model.path={tmp_path / 'm'}" in err) == (2, True)  # corpus and exam were read, the model is missing


def test_what_was_not_taken_is_written_into_the_run_folder(lab, tmp_path, random_model):
    write_worlds(tmp_path / "world", acts=6, sections=2, copies=1, seed=0, version=0)
    (tmp_path / "world" / "documents" / "torn.pdf").write_bytes(b"%PDF-")
    code, _, err = lab(
        "pipeline=gold corpus=folder corpus.path=world/documents exam=jsonl exam.path=world/exam.jsonl "
        f"limit=1 general.closed_book=1 general.reading=1 general.paragraphs=1 model.path={random_model}",
        small=False,
    )
    assert code == 0, err
    run = only_run(tmp_path / "runs")
    (row,) = map(json.loads, (run / "quarantine.jsonl").open())
    assert (row["id"], row["kind"]) == ("torn.pdf", "damaged")
    assert "7 files, 6 documents indexed, 1 quarantined (1 damaged); see" in (run / "log.txt").read_text()


def test_a_leak_is_refused_or_stands_in_every_report(lab, tmp_path, random_model):
    write_worlds(tmp_path / "world", acts=6, sections=2, copies=1, seed=0, version=0)
    asked = load_questions(tmp_path / "world" / "exam.jsonl")[0]
    (tmp_path / "world" / "documents" / "minutes.md").write_text(f"# Minutes\n\nSomeone asked: {asked.question}\n")
    arguments = (
        "pipeline=closed_book corpus=folder corpus.path=world/documents exam=jsonl exam.path=world/exam.jsonl limit=1 "
        f"general=none model.path={random_model}"
    )
    code, _, err = lab(arguments, small=False)
    assert (code, "minutes: question " + asked.id in err, "allow_leak=true" in err) == (2, True, True)
    code, out, err = lab(f"{arguments} allow_leak=true", small=False)
    assert code == 0, err
    assert f"Leak: closed_book was let at 1 exam question(s), in its corpus or its training text: {asked.id}." in (
        " ".join(out.split())
    )


def test_every_fault_of_an_exam_file_is_told_at_once(tmp_path):
    path = tmp_path / "exam.jsonl"
    write_jsonl(path, [Question("a", "Who?", ("B",)), {"id": "a", "question": "Where?", "answers": ["C"]}, {"id": 3}])
    with pytest.raises(LabError) as error:
        load_questions(path)
    for part in ("line 2, id: 'a' stands on line 1", "line 3, id:", "line 3, question:", "line 3, answers:"):
        assert part in str(error.value)
