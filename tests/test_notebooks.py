"""The notebooks: each runs on small runs that are made here, and what is committed is clean and thin."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from lab.__main__ import command_line

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MOST_LINES = 16  # of code in a cell: more belongs into lab.report
SMALL = (
    "limit=4 training.tokens=5000 corpus.book.acts=4 corpus.reworded_copies=1 "
    "general.closed_book=8 general.reading=8 general.paragraphs=2"
)
# Those of `experiment=known_answers` that notebook 3 reads, and what sets each apart.
ARMS = {
    "floor": "pipeline=closed_book,rag",
    "cpt": "pipeline=cpt",
    "lora": "pipeline=lora",
    "lora_low": "pipeline=lora pipeline.adaptation.rank=8",
    "raw": "pipeline=cpt training.texts=[documents]",
    "share_0": "pipeline=cpt training.general_share=0",
    "share_05": "pipeline=cpt training.general_share=0.05",
    "share_50": "pipeline=cpt training.general_share=0.5",
}
# And of `experiment=upkeep`, on a book that is large enough to change, which notebook 4 reads.
CHANGING = "corpus.book.version=1 corpus.book.acts=10"
UPDATED = {
    "passages": "pipeline=closed_book,rag,rag_updated,rag_outdated",
    "cpt_outdated": "pipeline=outdated_weights adapt@pipeline.adaptation=cpt_outdated training.tokens=8000",
}
# What stands in the outputs wherever the runs are: routes, arms, columns.
TOLD = {
    "1_read_a_run": ("closed_book, seed 0: ../runs/", "prepare_seconds", "difference_low", "answered"),
    "2_compare_routes": ("bits_per_byte", "practised: yes", "closed_book", "lora"),
    "3_forgetting": ("lora arm=lora_low", "cpt arm=raw", "0.05", "front"),
    "4_costs_and_upkeep": ("monthly_cost", "rag against lora", "replaced", "never", "weights_learnt"),
    "5_wrong_answers": ("gold line", "abstained", "wrong", "right is"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs`, made by the command line as a user makes them, and `notebooks`."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "notebooks").mkdir()
    known, upkeep = "runs/2026-01-02_03-04-05-known_answers", "runs/2026-01-03_04-05-06-upkeep"
    made = [f"{words} arm={arm} hydra.sweep.dir={known}/{arm}" for arm, words in ARMS.items()]
    made += [f"{words} {CHANGING} arm={arm} hydra.sweep.dir={upkeep}/{arm}" for arm, words in UPDATED.items()]
    made.append("pipeline=closed_book,random,rag,gold,cpt,lora hydra.sweep.dir=runs/2026-02-03_04-05-06")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in made:
            patch.setattr(sys, "argv", ["lab", "-m", "-q", *SMALL.split(), *words.split()])
            assert command_line() == 0, words
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_on_small_runs(place: Path, path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": place / "notebooks"}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    words = "".join(output.get("text") or output.data.get("text/plain", "") for output in outputs)
    assert [word for word in TOLD[path.stem] if word not in words] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_was_run_in_order_and_tells_nothing_of_the_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(cell.outputs for cell in code)
    assert {output.output_type for cell in code for output in cell.outputs} <= {
        "execute_result",
        "display_data",
        "stream",
    }
    assert not [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    pictures = [output.data for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    for data in pictures:
        data["image/png"] = ""
    words = nbformat.writes(notebook)
    for private in ("/home/", "/root/", "/tmp/", "/usr/", "C:\\", str(Path.home())):
        assert private not in words, private
    assert not re.search(rf"\b{re.escape(platform.node())}\b", words)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_stays_thin(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert max(len(source.splitlines()) for source in code) <= MOST_LINES
    assert not any("def " in source or "class " in source for source in code)
    assert any("from lab.report import" in source for source in code)
    assert not any(word in "\n".join(code) for word in ("import torch", "lab.run", "lab.adapt"))
