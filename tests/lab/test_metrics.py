"""Metrics against the libraries' own corpus scores and against values by hand."""
import unittest

import numpy as np
import sacrebleu

from lab.metrics import METRICS, normal, open_metrics
from lab.tasks.base import Example

HYPOTHESES = ["the cat sat on the mat", "hello there world", "", "a completely different sentence here"]
REFERENCES = [("the cat is on the mat", "a cat sat on the mat"), ("hello world",), ("nothing at all",),
              ("an entirely other sentence is here",)]
EXAMPLES = [Example("", r) for r in REFERENCES]


def corpus(name, examples=EXAMPLES, answers=HYPOTHESES):
    metric = METRICS[name]()
    return metric.score(metric.statistics(examples, answers).sum(axis=0))


class Metrics(unittest.TestCase):
    def test_sums_give_the_corpus_scores_of_sacrebleu(self):
        streams = [[r[i] if i < len(r) else None for r in REFERENCES] for i in range(2)]
        self.assertEqual(corpus("bleu"), sacrebleu.corpus_bleu(HYPOTHESES, streams).score)
        self.assertEqual(corpus("chrf"), sacrebleu.corpus_chrf(HYPOTHESES, streams).score)

    def test_sums_over_a_subset_are_the_scores_of_the_subset(self):
        for name in ("bleu", "chrf"):
            metric = METRICS[name]()
            rows = metric.statistics(EXAMPLES, HYPOTHESES)
            self.assertEqual(metric.score(rows[:2].sum(axis=0)), corpus(name, EXAMPLES[:2], HYPOTHESES[:2]))

    def test_no_answers_have_no_score(self):
        for name in ("bleu", "exact", "squad_f1"):
            metric = METRICS[name]()
            width = metric.statistics(EXAMPLES[:1], HYPOTHESES[:1]).shape[1]
            self.assertTrue(np.isnan(metric.score(np.zeros(width))))

    def test_rouge_by_hand_takes_the_best_reference(self):
        # unigrams of "a b c" and "a b d": 2 of 3 both ways; bigrams: 1 of 2; longest common subsequence: 2 of
        # 3
        example = [Example("", ("x y z", "a b d"))]
        for name, percent in (("rouge1", 200 / 3), ("rouge2", 50.0), ("rougeL", 200 / 3)):
            # a few roundings of doubles
            self.assertAlmostEqual(corpus(name, example, ["a b c"]), percent, places=9)

    def test_squad_normal_form(self):
        self.assertEqual(normal(" The  Cat, an (old) one!"), "cat old one")

    def test_exact_match_and_f1_by_hand(self):
        examples = [Example("", ("The cat",)), Example("", ("red dog", "blue bird")), Example("", ("x",))]
        answers = ["cat.", "a blue bird sings", ""]
        self.assertAlmostEqual(corpus("squad_em", examples, answers), 100 / 3, places=9)
        # 1; 2 common of 3 and 2 tokens: 2*2/5; 0
        self.assertAlmostEqual(corpus("squad_f1", examples, answers), 100 * (1 + 0.8) / 3, places=9)

    def test_exact_counts_equal_texts_only(self):
        self.assertEqual(corpus("exact", [Example("", ("5",)), Example("", ("5",))], ["5", "5.0"]), 50.0)

    def test_every_metric_of_a_task_exists(self):
        from lab.tasks import LOADERS, open_task
        for name, (_, sample) in LOADERS.items():
            if sample:
                self.assertTrue(open_metrics(open_task(name, [], 0, {}).metrics))


if __name__ == "__main__":
    unittest.main()
