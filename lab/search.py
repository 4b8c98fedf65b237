"""Look at what a search finds in a folder of documents.

python -m lab.search DOCUMENTS "How much leave does an employee have?"
python -m lab.search DOCUMENTS "第120条" --retriever bm25 -k 10
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.corpus.folder import FolderCorpus
from lab.ledger import Ledger
from lab.progress import Progress, add_flags, speak, verbose
from lab.records import LabError, Question, ScoredPassage
from lab.store import Store
from lab.workspace import Workspace

RETRIEVERS = ("dense", "bm25", "hybrid")


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 a mistake the user can mend, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m lab.search", description="Show the passages that a search finds.")
    parser.add_argument("corpus", help="a folder of documents")
    parser.add_argument("question", nargs="+", help="one question, or several, each in quotation marks")
    parser.add_argument("--retriever", choices=RETRIEVERS, default="hybrid")
    parser.add_argument("-k", type=int, default=5, help="passages a question (5)")
    parser.add_argument("--embedder", help="a sentence-transformers folder (all-MiniLM-L6-v2)")
    parser.add_argument("--index", default="Flat", help="a FAISS factory string for dense search (Flat)")
    parser.add_argument("--reranker", help="a cross-encoder's folder")
    parser.add_argument("--per-document", type=int, help="at most so many passages of one document")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--artifacts", default="artifacts", help="where indexes are kept (artifacts)")
    parser.add_argument("--whole", action="store_true", help="show whole passages, not their beginnings")
    add_flags(parser)
    options = parser.parse_args(arguments)
    speak(options.level)
    try:
        with Progress("search") as progress:
            everything = search(options, progress)
        for question, found in zip(options.question, everything, strict=True):
            print(show(question, found, options.whole))
    except LabError as error:
        if verbose():
            raise
        print(f"lab.search: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab.search: interrupted; what was prepared is kept", file=sys.stderr)
        return 130
    return 0


def search(options: argparse.Namespace, progress: Progress) -> list[list[ScoredPassage]]:
    """The passages of each question, best first."""
    # Late: a wrong option is told without torch.
    from lab.context.base import Retriever
    from lab.context.bm25 import Bm25
    from lab.context.dense import Dense
    from lab.context.hybrid import Hybrid
    from lab.context.retrieved import Retrieved
    from lab.runtime import choose_device, quiet_libraries

    quiet_libraries()
    corpus = FolderCorpus(options.corpus).load()
    dense = Dense(options.embedder, options.index)
    retrievers: dict[str, Retriever] = {"dense": dense, "bm25": Bm25(), "hybrid": Hybrid(dense)}
    context = Retrieved(
        retrievers[options.retriever], k=options.k, reranker=options.reranker, per_document=options.per_document
    )
    store, device = Store(Path(options.artifacts)), choose_device(options.device)
    reader = context.prepare(corpus, Workspace(store, Ledger(), 0, device, progress=progress))
    return reader.passages([Question(str(n), text, ("",)) for n, text in enumerate(options.question)])


def show(question: str, found: list[ScoredPassage], whole: bool = False) -> str:
    """What a person reads: rank, score, id and title of each passage, and its first 160 characters or all of them."""
    lines = [question]
    for rank, scored in enumerate(found, 1):
        text = scored.passage.text if whole else " ".join(scored.passage.text.split())
        if not whole and len(text) > 160:
            text = f"{text[:160]} ..."
        lines.append(f"{rank:>3}  {scored.score:.4f}  {scored.passage.id}  {scored.passage.title}\n     {text}")
    return "\n".join(lines if found else [*lines, "     nothing found"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
