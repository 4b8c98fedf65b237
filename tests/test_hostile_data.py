"""Data that means harm: prices, data sets, run folders and indexes that came from elsewhere. See `test_hostile_models`
for models, `test_ingest` for documents, `test_store` for artifacts.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lab.context.dense import Dense
from lab.corpus.corpus import Corpus
from lab.corpus.rows import HubCorpus
from lab.ledger import Ledger
from lab.records import LabError, read_jsonl
from lab.report import load
from lab.report.bill import read_prices
from lab.store import Store
from lab.workspace import Workspace

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
PRICES = {
    "a tag that runs": "currency: !!python/object/apply:os.mkdir [MARK]\n",
    "a tag that imports": "currency: !!python/name:os.system\n",
    "aliases of aliases": BOMB,
    "a price of aliases": "",
    "a currency of aliases": "",
    "nothing": "",
    "a list": "[1, 2]\n",
    "torn": "currency: [\n",
    "no UTF-8": "currency: \udcff\n",
}


@pytest.mark.parametrize("case", PRICES)
def test_prices_that_mean_harm(case: str, tmp_path: Path) -> None:
    good = (Path(__file__).parent.parent / "conf" / "prices" / "default.yaml").read_text()
    told = PRICES[case].replace("MARK", str(tmp_path / "mark"))
    if told == "":
        name = {"a price of aliases": "gpu_hour", "a currency of aliases": "currency"}.get(case)
        told = _bombed(name, good) if name else ""
    file = tmp_path / "prices.yaml"
    file.write_bytes(told.encode("utf-8", "surrogateescape"))
    started = time.process_time()
    with pytest.raises(LabError) as caught:
        read_prices(file)
    assert len(str(caught.value)) < 1000
    assert time.process_time() - started < 5
    assert not (tmp_path / "mark").exists()


def _bombed(name: str, good: str) -> str:
    """Good prices but for one, which is sixty lists, each twice in the next: 2^60 where somebody writes it out."""
    others = "".join(f"{line}\n" for line in good.splitlines() if not line.startswith(f"{name}:"))
    lists = ", ".join(["&a0 [x, x]", *(f"&a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))])
    return f"{name}: [{lists}]\n{others}"


def archive(folder: Path, mark: Path) -> None:
    with tarfile.open(folder / "a.tar", "w") as made:
        for kind in ("txt", "pickle", "pyd", "pth"):
            data = b"text" if kind == "txt" else pickle.dumps(Payload(mark))
            entry = tarfile.TarInfo(f"one.{kind}")
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))


def outside(folder: Path, mark: Path) -> None:
    with tarfile.open(folder / "a.tar", "w") as made:
        entry = tarfile.TarInfo(f"../../{mark.name}")
        entry.size = 4
        made.addfile(entry, io.BytesIO(b"text"))


def script(folder: Path, mark: Path) -> None:
    (folder / f"{folder.name}.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    (folder / "data.jsonl").write_text('{"text": "a"}\n')


def saved(folder: Path, mark: Path) -> None:
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../../../etc/passwd"}]}))
    (folder / "dataset_info.json").write_text("{}")


SETS: dict[str, Callable[[Path, Path], object]] = {
    "an archive of pickles": archive,
    "an archive that points outside": outside,
    "a script": script,
    "files elsewhere": saved,
    "a pickle": lambda folder, mark: (folder / "data.pkl").write_bytes(pickle.dumps(Payload(mark))),
    "lists in lists": lambda folder, mark: (folder / "data.jsonl").write_text("[" * 100_000),
    "a configuration that points elsewhere": lambda folder, mark: (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files: ../../../../etc/passwd\n---\n"
    ),
}


@pytest.mark.parametrize("case", SETS)
def test_a_data_set_that_means_harm(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder, mark = tmp_path / "set", tmp_path / "mark"
    folder.mkdir()
    SETS[case](folder, mark)
    with pytest.raises(LabError, match="corpus"):
        HubCorpus(str(folder)).load()
    assert not mark.exists()


@pytest.mark.parametrize("file", ["manifest.json", "answers.jsonl", "questions.jsonl", "costs.jsonl"])
def test_a_run_folder_of_lists_in_lists_is_told(file: str, tmp_path: Path) -> None:
    if file != "manifest.json":
        names = ("pipeline", "adaptation", "context", "settings", "seed", "reference", "arm", "overrides")
        digests = dict.fromkeys(("corpus", "exam", "general"), "x")
        manifest = {**dict.fromkeys(names, ""), "parameters": 1, "facts": 1, "exam_size": 1, "leaked": []}
        (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "digests": digests, "finished": True}))
        for other in ("questions.jsonl", "answers.jsonl", "texts.jsonl", "costs.jsonl"):
            (tmp_path / other).write_text("")
    (tmp_path / file).write_text("[" * 100_000)
    with pytest.raises(LabError, match=r"not JSON|no exam question"):
        load(tmp_path)
    with pytest.raises(LabError, match="not JSON"):
        list(read_jsonl(tmp_path / file))


def test_an_index_with_one_bit_flipped_is_never_searched(
    small_corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def ranker() -> Any:
        return Dense().prepare(small_corpus, Workspace(Store(tmp_path), Ledger(), 0, "cpu"))

    found = ranker().rank(["What is the fee?"], 3)
    (file,) = tmp_path.rglob("index.faiss")
    good = file.read_bytes()
    for bit in range(0, 400, 37):  # In the header, where FAISS itself notices little.
        spoilt = bytearray(good)
        spoilt[bit // 8] ^= 1 << bit % 8
        file.write_bytes(spoilt)
        caplog.clear()
        assert ranker().rank(["What is the fee?"], 3) == found
        assert "is not whole" in caplog.text
        assert file.read_bytes() == good


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data beside the repository")
def test_naughty_strings_go_through_corpus_exam_run_report_and_csv(tmp_path: Path) -> None:
    from lab.adapt.none import NoAdaptation
    from lab.base import BaseModel
    from lab.context.gold import Gold
    from lab.corpus.rows import JsonlCorpus
    from lab.exam.jsonl import JsonlExam
    from lab.exam.suite import FilesSuite
    from lab.pipeline import Pipeline
    from lab.report import show
    from lab.run import Experiment, run

    strings = json.loads((DATA / "hostile" / "blns.json").read_text(encoding="utf-8"))
    naughty = sorted({text for text in strings if text.strip() and "\0" not in text and len(text) < 200})[::4]
    documents = [{"id": f"d{n}", "title": text[:60], "text": f"{n}: {text}"} for n, text in enumerate(naughty)]
    questions = [
        {"id": f"q{n}", "question": f"Which is number {n}, {text}?", "answers": [text], "evidence": [f"{n}: {text}"]}
        for n, text in enumerate(naughty)
    ]
    for name, rows in (("docs", documents), ("exam", questions)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = tmp_path / "run"
    folder.mkdir()
    run(
        Experiment(
            name="gold", adaptation="none", context="gold", pipeline=Pipeline(NoAdaptation(), Gold(1)),
            model=BaseModel(), corpus=JsonlCorpus(str(tmp_path / "docs.jsonl"), deduplicate=None),
            exam=JsonlExam(str(tmp_path / "exam.jsonl")), general=FilesSuite(), seed=0, device="cpu",
            artifacts=tmp_path / "artifacts", folder=folder, reference="rag", answer_tokens=4, allow_leak=True,
        )
    )  # fmt: skip
    asked = load(folder).questions
    assert [answers[0] for answers in asked["answers"]] == [row["answers"][0] for row in questions]
    assert asked["question"].tolist() == [row["question"] for row in questions]
    show([folder], csv=tmp_path / "comparison.csv")
    assert not pd.read_csv(tmp_path / "comparison.csv").empty
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    told = page.split('type="application/json"', 1)[1].split(">", 1)[1].split("</script>", 1)[0]
    texts = json.dumps(json.loads(told), ensure_ascii=False)
    missing = [
        row["question"] for row in questions if json.dumps(row["question"], ensure_ascii=False)[1:-1] not in texts
    ]
    assert missing == []
