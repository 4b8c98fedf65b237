"""How well a reader found the gold passages, question by question (ir-measures does the counting)."""

from __future__ import annotations

from collections.abc import Sequence

import ir_measures
import pandas as pd
from ir_measures import RR, Qrel, R, ScoredDoc, nDCG

from lab.records import Question

MEASURES = {"recall@1": R @ 1, "recall@3": R @ 3, "recall@5": R @ 5, "mrr": RR, "ndcg@10": nDCG @ 10}


def retrieval_scores(questions: Sequence[Question], rankings: Sequence[Sequence[tuple[str, float]]]) -> pd.DataFrame:
    """Scores of each question's ranking against its gold passages.

    questions: those without gold passages are left out. rankings: one a question, in the same order, each a list of
    (passage id, score), best first; the order counts, the scores do not. An empty ranking scores 0.

    Returns one row a question, in the questions' order: question_id, then in 0..1
    recall@k = |gold in the first k| / |gold|, so with two gold passages recall@1 is at most 0.5;
    mrr = 1 / rank of the first gold passage, 0 if none (its mean over questions is the MRR);
    ndcg@10 = sum over gold at rank r <= 10 of 1 / log2(r + 1), over the same sum for the ideal ranking
    (Järvelin and Kekäläinen 2002, binary gain). A ranking shorter than k is scored as it is.

    Raises ValueError where the lengths differ, a question id occurs twice, or a ranking names a passage twice.
    """
    if len(questions) != len(rankings):
        raise ValueError(f"{len(questions)} questions but {len(rankings)} rankings")
    if len({question.id for question in questions}) != len(questions):
        raise ValueError("a question id occurs twice")
    qrels, run = [], []
    for question, ranking in zip(questions, rankings, strict=True):
        if len({passage for passage, _ in ranking}) != len(ranking):
            raise ValueError(f"the ranking for question {question.id} names a passage twice")
        if question.passages:
            qrels += [Qrel(question.id, passage, 1) for passage in question.passages]
            # Ranks, not scores, go in: the counters break ties between equal scores each by a rule of its own.
            run += [ScoredDoc(question.id, passage, -rank) for rank, (passage, _) in enumerate(ranking)]
    values: dict[str, dict[str, float]] = {question.id: {} for question in questions if question.passages}
    names = {measure: name for name, measure in MEASURES.items()}
    if values:
        for metric in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
            values[metric.query_id][names[metric.measure]] = metric.value
    rows = [{"question_id": question_id, **row} for question_id, row in values.items()]
    return pd.DataFrame(rows, columns=["question_id", *MEASURES])
