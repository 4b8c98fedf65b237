"""How well and how fast passages are found, on real Chinese data and beside LangChain's FAISS.

    python benchmarks/retrieval.py quality                      # CMRC dev, LawBench 1-1: dense, BM25, hybrid
    python benchmarks/retrieval.py quality --sets cmrc_trial    # the one to choose settings on
    python benchmarks/retrieval.py speed --passages 10000       # needs the extras `benchmarks` and `openvino`

The data lie in `../shared/data`, or where `--data DIR`, before the command, says; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

from lab.context.base import Retriever, passage_form
from lab.context.bm25 import Bm25
from lab.context.dense import Dense
from lab.context.embedder import PRECISIONS, Embedder
from lab.context.hybrid import Hybrid
from lab.context.retrieved import Retrieved
from lab.corpus.corpus import Corpus
from lab.corpus.folder import load_documents
from lab.corpus.passages import split
from lab.judge.statistics import clusters_of, interval
from lab.ledger import Ledger
from lab.records import Document, LabError, Passage, Question
from lab.runtime import quiet_libraries
from lab.store import Store
from lab.workspace import Workspace

RETRIEVERS = ("dense", "bm25", "hybrid")
WHOLE = 10**6  # A size in tokens that no article reaches.
ARTICLE = re.compile("第[零〇一二三四五六七八九十百千]+条")


def cmrc(data: Path, part: str) -> tuple[Corpus, list[Question]]:
    """CMRC 2018: each paragraph is a passage, and the gold one of its questions."""
    file = json.loads((data / f"reading_zh/cmrc2018_{part}.json").read_text(encoding="utf-8"))["data"]
    documents, passages, questions = [], [], []
    for article in file:
        for paragraph in article["paragraphs"]:
            id, title, text = f"paragraph-{len(documents)}", article.get("title", ""), paragraph["context"]
            documents.append(Document(id, title, text))
            passages.append(Passage(f"{id}#1", id, title, text, 0, len(text)))
            questions += [
                Question(asked["id"], asked["question"], ("",), passages=(f"{id}#1",), documents=(id,))
                for asked in paragraph["qas"]
            ]
    return Corpus(f"CMRC {part}", tuple(documents), tuple(passages)), questions


def lawbench(data: Path) -> tuple[Corpus, list[Question]]:
    """LawBench 1-1 over all statutes, each article a passage.

    Gold are the articles that bear the number asked for and hold every part of the answer. Of some laws there are
    several versions, whose article may be the same: any of them counts.
    """
    documents = load_documents(data / "law_zh/statutes").documents
    passages = tuple(passage for document in documents for passage in split(document, WHOLE))
    bare = {passage.id: _bare(passage.text) for passage in passages}
    questions = []
    for number, row in enumerate(json.loads((data / "law_zh/exam/lawbench_1-1.json").read_text(encoding="utf-8"))):
        mark = ARTICLE.search(row["question"])
        parts = [_bare(part) for part in row["answer"].removeprefix("答案:").split(",") if _bare(part)]
        gold = [
            passage
            for passage in passages
            if mark and passage.title.endswith(f"> {mark[0]}") and all(part in bare[passage.id] for part in parts)
        ]
        if not gold:
            raise LabError(f"lawbench_1-1.json, question {number}: no article holds its answer")
        ids, laws = tuple(passage.id for passage in gold), tuple(passage.document_id for passage in gold)
        questions.append(Question(f"law-{number}", row["question"], (row["answer"],), passages=ids, documents=laws))
    return Corpus("statutes", documents, passages), questions


def _bare(text: str) -> str:
    return re.sub(r"[\s,;:\uff0c\u3002\uff1b\uff1a]", "", text)


SETS = {
    "cmrc_dev": lambda data: cmrc(data, "dev"),
    "cmrc_trial": lambda data: cmrc(data, "trial"),
    "lawbench": lawbench,
}


def quality(options: argparse.Namespace) -> None:
    """One line a data set and search: is a gold passage among the first 1, the first 5; 95 % intervals by document."""
    dense = Dense(backend=options.backend)
    retrievers: dict[str, Retriever] = {"dense": dense, "bm25": Bm25(), "hybrid": Hybrid(dense)}
    for name in options.sets:
        corpus, questions = SETS[name](options.data)
        print(f"{name}: {len(corpus.passages)} passages, {len(questions)} questions", flush=True)
        for title in options.retrievers:
            ledger = Ledger()
            workspace = Workspace(Store(options.artifacts), ledger, 0, "cpu")
            started = time.perf_counter()
            reader = Retrieved(retrievers[title], k=5).prepare(corpus, workspace)
            prepared = time.perf_counter()
            found = [[scored.passage.id for scored in some] for some in reader.passages(questions)]
            asked = time.perf_counter()
            figures = []
            for k in (1, 5):
                hits = [
                    float(bool(set(question.passages) & set(some[:k])))
                    for question, some in zip(questions, found, strict=True)
                ]
                mean = interval(hits, clusters_of(questions))
                figures.append(f"top {k} {mean.estimate:.3f} [{mean.low:.3f}, {mean.high:.3f}]")
            share = [
                f", dense share {row.detail['dense_share']}" for row in ledger.rows() if "dense_share" in row.detail
            ]
            spent = f"prepared in {prepared - started:.0f} s, asked in {asked - prepared:.0f} s"
            print(f"  {title:7} {'  '.join(figures)}  {spent}{''.join(share)}", flush=True)


def speed(options: argparse.Namespace) -> None:
    """Encode, index and ask, ours and LangChain's in turn; seconds of each and the median of their ratios."""
    from langchain_community.vectorstores import FAISS
    from langchain_huggingface import HuggingFaceEmbeddings

    whole, exam = lawbench(options.data)
    passages = tuple(p for d in whole.documents for p in split(d))[: options.passages]
    kept = {passage.document_id for passage in passages}
    corpus = Corpus("part", tuple(d for d in whole.documents if d.id in kept), passages)
    questions = exam[: options.questions]
    folder = str(Embedder(None, "cpu").folder)

    def ours() -> list[list[str]]:
        with tempfile.TemporaryDirectory() as root:
            reader = Retrieved(Dense(backend=options.backend)).prepare(
                corpus, Workspace(Store(Path(root)), Ledger(), 0, "cpu")
            )
            return [[scored.passage.text for scored in some] for some in reader.passages(questions)]

    def theirs() -> list[list[str]]:
        texts = [passage_form(passage) for passage in passages]
        store = FAISS.from_texts(
            texts, HuggingFaceEmbeddings(model_name=folder), metadatas=[{"id": p.id} for p in passages]
        )
        by_id = {passage.id: passage.text for passage in passages}
        found = [store.similarity_search(question.question, k=3) for question in questions]
        return [[by_id[document.metadata["id"]] for document in some] for some in found]

    print(f"{len(passages)} passages, {len(questions)} questions", flush=True)
    ratios = []
    for pair in range(options.pairs):
        seconds, work, found = {}, {}, {}
        for name, run in (("ours", ours), ("LangChain", theirs))[:: 1 if pair % 2 else -1]:
            started, busy = time.perf_counter(), time.process_time()
            found[name] = run()
            seconds[name], work[name] = time.perf_counter() - started, time.process_time() - busy
        same = sum(a == b for a, b in zip(found["ours"], found["LangChain"], strict=True)) / len(questions)
        ratios.append(seconds["LangChain"] / seconds["ours"])
        print(
            f"  ours {seconds['ours']:.1f} s, LangChain {seconds['LangChain']:.1f} s, ratio {ratios[-1]:.2f} "
            f"(of CPU seconds {work['LangChain'] / work['ours']:.2f}), "
            f"same three passages for {same:.1%} of the questions",
            flush=True,
        )
    print(f"  median ratio {statistics.median(ratios):.2f} of {len(ratios)} pairs")


def main() -> int:
    """Exit code 0, also where the data are not there: that is said."""
    parser = argparse.ArgumentParser(prog="python benchmarks/retrieval.py")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parent.parent.parent / "shared" / "data")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("quality")
    command.add_argument("--sets", nargs="+", choices=SETS, default=["cmrc_dev", "lawbench"])
    command.add_argument("--retrievers", nargs="+", choices=RETRIEVERS, default=list(RETRIEVERS))
    command.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    command.set_defaults(run=quality)
    command = commands.add_parser("speed")
    command.add_argument("--passages", type=int, default=10_000)
    command.add_argument("--questions", type=int, default=500)
    command.add_argument("--pairs", type=int, default=3)
    command.set_defaults(run=speed)
    for command in commands.choices.values():
        command.add_argument("--backend", choices=PRECISIONS, default="openvino", help="of our own encoder")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"{options.data}: no such folder; give the folder of the data sets with --data")
        return 0
    quiet_libraries()
    options.run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
