"""What weights were trained on, beside them: an exam must be able to ask that of weights of long ago."""

from __future__ import annotations

from pathlib import Path

from lab.records import json_line, read_jsonl
from lab.store import digest_text
from lab.workspace import Workspace

SEEN = "texts.jsonl"


class Seen:
    """The file of every text that a training sees, each once. Of a text its digest alone is held in memory."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / SEEN).open("w", encoding="utf-8", buffering=1)  # Whole lines, to be read at any time.
        self._names: set[bytes] = set()

    def note(self, source: str, text: str) -> None:
        """Write down a text that was not seen before."""
        name = digest_text(text)
        if name not in self._names:
            self._names.add(name)
            self._file.write(json_line({"source": source, "text": text}))

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def refuse_leaks(folder: Path, workspace: Workspace) -> None:
    """LabError where a question of the workspace's exam stands in a text that is written down in the folder."""
    workspace.refuse_leaks((row["source"], row["text"]) for row in read_jsonl(folder / SEEN))
