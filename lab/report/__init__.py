"""The report: run folders -> data frames, a table, sentences, plots. No torch, so a notebook opens a run at once.

`load(run_dir)`, `find_runs(paths)`, `compare(runs)`, `show(paths)`; frames' columns are in the docstrings of `Run` and
`compare`.
"""

from lab.report.compare import compare
from lab.report.load import Run, find_runs, gather, latest, load
from lab.report.scores import metrics
from lab.report.show import show

__all__ = ["Run", "compare", "find_runs", "gather", "latest", "load", "metrics", "show"]
