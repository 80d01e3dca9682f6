"""The demo's part of the lab: the choice of a setting, what it says if nothing is faster, the rows of the
table. How the table reads is in tests/bench/demo.sh."""
import contextlib
import importlib.util
import io
import json
import unittest
from unittest import mock

import numpy as np

from lab.analysis import COLUMN, SUMS, Measured
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.tune import Budget, NoSetting, check_budget
from support import DEMO, PROGRAM, ROOT, Case, needs_program

spec = importlib.util.spec_from_file_location("measure", ROOT / "bench" / "demo" / "measure.py")
measure = importlib.util.module_from_spec(spec)
spec.loader.exec_module(measure)

VERIFIER, EXACT = Point(method="verifier"), Point(rule="exact", gamma=3)
CASCADE = Point(rule="token-v2", alpha=0.3, gamma=3)


def measured(point, latency, bleu, drawn=(), **sums):
    m = Measured(point, np.zeros((1, len(SUMS))), {}, np.zeros(17))
    for name, value in sums.items():
        m.sums[0, COLUMN[name]] = value
    drawn = np.array(drawn or [bleu] * 3)
    m.figures = {"latency": latency, "bleu": bleu}
    m.replicates = {"latency": latency * np.linspace(0.9, 1.1, len(drawn)), "bleu": drawn}
    return m


class Choice(Case):
    def profile(self):
        return json.loads((self.folder / "profile.json").read_text())

    def words(self):
        return (self.folder / "words").read_text().splitlines()

    def test_no_setting_is_faster_than_the_verifier(self):
        verifier, budget = measured(VERIFIER, 1.0, 20.0), Budget(1.0, None)
        check_budget(measured(CASCADE, 0.99, 19.0), verifier, "bleu", budget)
        for latency in (1.0, 1.35):
            with self.assertRaises(NoSetting) as raised:
                check_budget(measured(CASCADE, latency, 19.5), verifier, "bleu", budget)
            self.assertEqual(raised.exception.best, CASCADE)
            self.assertIn(f"speed-up of {1 / latency:.2f}", str(raised.exception))
        # a bound of the speed that allows it is kept, and a broken bound of the loss comes first
        check_budget(measured(CASCADE, 1.35, 19.5), verifier, "bleu", Budget(1.0, 0.5))
        with self.assertRaises(NoSetting) as raised:
            check_budget(measured(CASCADE, 1.35, 18.5), verifier, "bleu", budget)
        self.assertIn("no setting keeps the budget (at most 1 lost)", str(raised.exception))
        self.assertEqual(raised.exception.best, CASCADE)

    def test_the_best_other_setting_is_shown_all_the_same(self):
        with mock.patch.object(measure, "tune", side_effect=NoSetting("too slow", EXACT)):
            measure.choose(measure.plan_of([]), self.folder, print)
        self.assertEqual(self.words(), ["exact, γ 3", "too slow"])
        self.assertEqual(self.profile()["about"], {"faster": False})
        self.assertEqual(measure.setting_of(self.profile()), EXACT)

    def test_a_profile_names_its_setting(self):
        said = {"weir_profile": 1, "deferral_rule": "token-v2", "deferral_alpha": 0.3,
                "num_speculative_tokens": 3}
        with mock.patch.object(measure, "tune", return_value=said):
            measure.choose(measure.plan_of([]), self.folder, print)
        self.assertEqual((self.words(), measure.setting_of(self.profile())),
                         (["token-v2, α 0.3, γ 3"], CASCADE))

    def test_every_candidate_is_a_setting_of_the_plan(self):
        points = [p for p in measure.plan_of(["--isa=avx2"]).points() if p.method == "speculative"]
        of_rules = sum(len(alphas or [None]) for alphas in measure.RULES.values())
        self.assertEqual(len(points), len(measure.GAMMAS) * of_rules)
        self.assertTrue(all(p.temp == 1.0 for p in points))
        self.assertFalse(set(measure.SEEDS) & set(measure.FRESH_SEEDS))

    def test_a_row_by_hand(self):
        verifier = measured(VERIFIER, 1.0, 20.0, [20.0, 21.0, 19.0], tokens=100, ms=60, decode_ms=50)
        cascade = measured(CASCADE, 0.8, 19.5, [19.0, 21.0, 18.5], tokens=120, ms=48, decode_ms=40, steps=40)
        row = measure.row_of(cascade, verifier, "chosen")
        low, high = np.quantile([-1.0, 0.0, -0.5], [0.025, 0.975])
        slow, fast = np.quantile([0.72, 0.8, 0.88], [0.975, 0.025])
        # a block: 40 / 40 ms, a token of the verifier 0.5 ms
        want = [19.5, -0.5, low, high, 2500.0, 1.25, 1 / slow, 1 / fast, 2.0, 3.0]
        self.assertEqual(row, ["chosen", "token-v2, α 0.3, γ 3", *(f"{x:.4f}" for x in want)])
        self.assertEqual(measure.row_of(verifier, verifier, "verifier")[-2:], ["-", "-"])

    def test_refusals_are_one_line(self):
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(measure.main(["compare", str(self.folder / "none")]), 1)
            with mock.patch.object(measure, "tune", side_effect=LabError("no budget")):
                self.assertEqual(measure.main(["choose", str(self.folder)]), 1)
        self.assertEqual(said.getvalue().splitlines(),
                         [f"demo: {self.folder / 'none' / 'profile.json'}: No such file or directory",
                          "demo: no budget"])

    @needs_program
    def test_both_parts_over_a_few_prompts(self):
        plan = Plan(model=DEMO / "verifier", draft=DEMO / "drafter", program=PROGRAM, limit=4, gammas=[3],
                    rules={"exact": None, "token-v2": [0.3]}, threads=1)
        measure.choose(plan, self.folder, lambda line: None)
        measure.compare(plan, self.folder)
        rows = [r.split("\t") for r in (self.folder / "rows").read_text().splitlines()]
        kinds = [r[0] for r in rows]
        self.assertIn(kinds, (["verifier", "exact", "chosen", "drafter"], ["verifier", "chosen", "drafter"]))
        self.assertEqual({len(r) for r in rows}, {12})
        self.assertEqual([r[1] for r in rows if r[0] == "chosen"], self.words()[:1])


if __name__ == "__main__":
    unittest.main()
