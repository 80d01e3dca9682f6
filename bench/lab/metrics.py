"""Metrics as sums over prompts: every score here is a function of a sum of per-answer statistics, so that a
bootstrap over prompts is a product of a matrix of counts with a matrix of statistics, whatever the metric."""
from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import Callable, Sequence

import numpy as np

from lab import sandbox
from lab.tasks.base import Example

Statistics = np.ndarray  # (answers, k) float64


@dataclass(frozen=True)
class Metric:
    """statistics: (examples, answers cleaned) to (answers, k). score: summed statistics (k) to the figure, in
    percent. An all-zero sum has no score: NaN."""

    name: str
    title: str
    statistics: Callable[[Sequence[Example], Sequence[str]], Statistics]
    score: Callable[[np.ndarray], float]


# ---- means of one value per answer: statistics are (sum, count) --------------------------------------------

def mean_score(total: np.ndarray) -> float:
    return 100.0 * float(total[0]) / float(total[1]) if total[1] else float("nan")


def mean_of(value: Callable[[Example, str], float]
            ) -> Callable[[Sequence[Example], Sequence[str]], Statistics]:
    def statistics(examples: Sequence[Example], answers: Sequence[str]) -> Statistics:
        return np.array([[value(e, a), 1.0] for e, a in zip(examples, answers)]).reshape(-1, 2)

    return statistics


# ---- sacreBLEU ---------------------------------------------------------------------------------------------

def sacre(metric: object) -> tuple[Callable, Callable]:
    """statistics and score of a sacreBLEU metric. Its corpus score is a function of summed sentence
    statistics; the two methods for that are not public, hence the exact version in requirements.txt and a
    test that the sum gives corpus_score()."""
    def statistics(examples: Sequence[Example], answers: Sequence[str]) -> Statistics:
        most = max((len(e.references) for e in examples), default=1)
        streams = [[e.references[i] if i < len(e.references) else None for e in examples]
                   for i in range(most)]
        return np.array(metric._extract_corpus_statistics(list(answers), streams), dtype=float)

    def score(total: np.ndarray) -> float:
        if not total.any():
            return float("nan")
        return float(metric._compute_score_from_stats([int(x) for x in total]).score)

    return statistics, score


def bleu() -> Metric:
    from sacrebleu.metrics import BLEU

    return Metric("bleu", "BLEU", *sacre(BLEU()))


def chrf() -> Metric:
    from sacrebleu.metrics import CHRF

    return Metric("chrf", "chrF", *sacre(CHRF()))


# ---- ROUGE -------------------------------------------------------------------------------------------------

def rouge(kind: str, title: str) -> Metric:
    """F-measure with Porter stems, as the papers report; the best reference counts."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=True)

    def value(example: Example, answer: str) -> float:
        return max(scorer.score(r, answer)[kind].fmeasure for r in example.references)

    return Metric(kind, title, mean_of(value), mean_score)


# ---- short answers -----------------------------------------------------------------------------------------

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal(text: str) -> str:
    """SQuAD's normal form: lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def squad_em(example: Example, answer: str) -> float:
    return float(any(normal(answer) == normal(r) for r in example.references))


def token_f1(answer: str, reference: str) -> float:
    a, r = normal(answer).split(), normal(reference).split()
    if not a or not r:
        return float(a == r)
    common = sum((Counter(a) & Counter(r)).values())
    return 2.0 * common / (len(a) + len(r))


def squad_f1(example: Example, answer: str) -> float:
    return max(token_f1(answer, r) for r in example.references)


def exact(example: Example, answer: str) -> float:
    return float(answer in example.references)


# ---- programs ----------------------------------------------------------------------------------------------

def passes(examples: Sequence[Example], answers: Sequence[str]) -> Statistics:
    programs = [e.test(a) for e, a in zip(examples, answers) if e.test]
    if len(programs) != len(answers):
        raise ValueError("an example without a test")
    return np.array([[float(v.passed), 1.0] for v in sandbox.run_all(programs)]).reshape(-1, 2)


METRICS: dict[str, Callable[[], Metric]] = {
    "bleu": bleu,
    "chrf": chrf,
    "rouge1": lambda: rouge("rouge1", "ROUGE-1"),
    "rouge2": lambda: rouge("rouge2", "ROUGE-2"),
    "rougeL": lambda: rouge("rougeL", "ROUGE-L"),
    "exact": lambda: Metric("exact", "exact answers, %", mean_of(exact), mean_score),
    "squad_em": lambda: Metric("squad_em", "exact match, %", mean_of(squad_em), mean_score),
    "squad_f1": lambda: Metric("squad_f1", "token F1, %", mean_of(squad_f1), mean_score),
    "pass": lambda: Metric("pass", "pass@1, %", passes, mean_score),
}


def open_metrics(names: Sequence[str]) -> list[Metric]:
    return [METRICS[name]() for name in names]
