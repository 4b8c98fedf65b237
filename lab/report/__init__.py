"""The report: run folders -> data frames, tables, sentences, pictures. No torch, so a notebook opens a run at once.

`load(run_dir)`, `gather(paths)`, `compare(runs_or_paths)`, `forgetting(routes)`, `plane(routes)`,
`interference(routes)`, `mistakes(run)`, `mistake_shares(runs)`, `show(paths)`; frames' columns are in the docstrings of
`Run` and of these functions.
"""

from lab.report.compare import compare, routes_of
from lab.report.find import find_runs, gather, latest, newest_adapted, newest_experiment
from lab.report.forgetting import forgetting
from lab.report.interference import interference
from lab.report.load import Run, load
from lab.report.mistakes import mistake_shares, mistakes
from lab.report.plane import plane
from lab.report.scores import metrics
from lab.report.show import show

__all__ = [
    "Run",
    "compare",
    "find_runs",
    "forgetting",
    "gather",
    "interference",
    "latest",
    "load",
    "metrics",
    "mistake_shares",
    "mistakes",
    "newest_adapted",
    "newest_experiment",
    "plane",
    "routes_of",
    "show",
]
