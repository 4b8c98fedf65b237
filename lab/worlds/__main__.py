"""Write the embedded worlds as plain files, in the formats that your own data would have.

    python -m lab.worlds DIR [acts=40 sections=3 copies=5 seed=0 version=0]

Then the same exam runs on the files:  python -m lab corpus=folder corpus.path=DIR/documents exam=jsonl
exam.path=DIR/exam.jsonl
"""

from __future__ import annotations

import sys
from pathlib import Path

from lab.records import Document, LabError, write_jsonl
from lab.worlds.general import GeneralWorld
from lab.worlds.statutes import StatuteBook

OPTIONS = {"acts": 40, "sections": 3, "copies": 5, "seed": 0, "version": 0}


def write_worlds(folder: Path, acts: int, sections: int, copies: int, seed: int, version: int) -> None:
    """documents/ and reworded/ (Markdown), practice.jsonl, exam.jsonl, general/text.txt and general/exam.jsonl."""
    book, general = StatuteBook(acts=acts, sections=sections, seed=seed, version=version), GeneralWorld(seed=seed)
    for name, documents in (("documents", book.documents()), ("reworded", book.reworded(copies))):
        _write_documents(folder / name, documents)
    (folder / "general").mkdir(exist_ok=True)
    write_jsonl(folder / "practice.jsonl", (question.row for question in book.practice()))
    write_jsonl(folder / "exam.jsonl", (question.row for question in book.exam()))
    write_jsonl(folder / "general" / "exam.jsonl", (question.row for question in general.exam()))
    (folder / "general" / "text.txt").write_text("\n\n".join(general.held_out_text()) + "\n", encoding="utf-8")


def _write_documents(folder: Path, documents: list[Document]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for document in documents:
        (folder / f"{document.id}.md").write_text(document.text, encoding="utf-8")


def main() -> int:
    """Exit code 2 for a mistake in the arguments."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    try:
        options = dict(OPTIONS)
        for argument in sys.argv[2:]:
            name, _, value = argument.partition("=")
            if name not in options or not value.isdigit():
                raise LabError(f"{argument}: give {', '.join(f'{n}=NUMBER' for n in options)}")
            options[name] = int(value)
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        write_worlds(folder, **options)
    except (LabError, OSError) as error:
        print(f"lab.worlds: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: documents/, reworded/, practice.jsonl, exam.jsonl, general/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
