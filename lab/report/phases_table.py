"""What models did before the exam, for a terminal: tokens, operations, memory, energy; a row for all that share it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from rich.console import Console
from rich.text import Text

from lab.report.scores import SITTING, Route
from lab.report.table import head_of, label_of, plain_table
from lab.report.wording import count, listed, seconds, size

# Column of `phases`, its title, and how it is written.
SHOWN = (
    ("seconds", "seconds", seconds),
    ("cpu_seconds", "CPU\nseconds", seconds),
    ("tokens", "tokens", count),
    ("replayed_tokens", "replayed\nin them", count),
    ("padded_tokens", "padding\nbeside", count),
    ("flops", "GFLOP,\ncounted", lambda value: count(value / 1e9)),
    ("flops_formula", "by the\nrule", lambda value: count(value / 1e9)),
    ("peak_rss_bytes", "peak\nmemory", size),
    ("peak_cuda_bytes", "on the\nboard", size),
    ("bytes", "disk", size),
    ("joules", "joules", count),
)
SAME = ("phase", "tokens", "flops", "bytes")  # Rows that are alike in these are of one and the same artifact.


def print_phases(found: pd.DataFrame, routes: Sequence[Route], console: Console) -> None:
    """Print each phase of preparation in which a model worked; nothing where none did. found: of `phases`."""
    worked = found[(found["tokens"] > 0) & ~found["phase"].isin(SITTING)]
    if worked.empty:
        return
    labels = {route.pipeline: label_of(route) for route in routes}
    table = plain_table("The work of preparation. Phases of the exam and all other figures: phases.csv.")
    table.add_column(head_of("phase"))
    for _, title, _ in SHOWN:
        table.add_column(head_of(title), justify="right")
    for _, some in worked.groupby(list(SAME), sort=False, dropna=False):
        row = some.iloc[0]
        cells = [written(row[name]) if pd.notna(row[name]) else "-" for name, _, written in SHOWN]
        names = ",\n".join(labels[pipeline] for pipeline in some["pipeline"])
        table.add_row(Text(names), Text(row["phase"]), *(Text(cell) for cell in cells))
    console.print(table)
    for line in _notes(worked):
        console.print(Text(line))


def _notes(worked: pd.DataFrame) -> Iterator[str]:
    if worked["flops"].notna().any():
        yield (
            "The rule: 2 operations a weight and token to read, 4 more to learn (6NT), 2 more where the weight itself "
            "does not (4NT for adapters); padding is worked on too."
        )
    for note, some in worked[worked["flops_note"] != ""].groupby("flops_note", sort=False):
        yield f"{listed(list(dict.fromkeys(some['pipeline'])))}, {some['phase'].iloc[0]}: {note}."
    if worked["joules"].isna().all():
        yield "Joules: not readable where these were made."
