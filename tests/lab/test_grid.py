"""Plans from YAML and flags."""
import io
import unittest
from dataclasses import asdict
from unittest import mock

from lab.cli import law_of, main, parser, plan_of, rule_entry
from lab.grid import Plan, Point, plan_from_yaml, point_of, values_of
from support import Case

YAML = """
task: gsm8k
options: {shots: 4}
limit: 10
temperatures: [0, 1]
gammas: [3, 5]
seeds: [1, 2]
methods: [drafter]
rules:
  exact:
  token-v3: [0.2, 0.8]
  lossy: {alpha: 0.1, beta: [1, auto]}
  chow: {method: token-cascade, alpha: {from: 0, to: 1, steps: 3}}
"""


class Plans(Case):
    def test_a_plan_is_the_product_of_its_lists(self):
        points = plan_from_yaml(self.file("p.yaml", YAML)).points()
        by_rule = {}
        for p in points:
            by_rule[p.rule or p.method] = by_rule.get(p.rule or p.method, 0) + 1
        # two temperatures; gammas do not multiply methods that draft no blocks
        self.assertEqual(by_rule, {"verifier": 2, "drafter": 2, "exact": 4, "token-v3": 8, "lossy": 8,
                                   "chow": 6})
        self.assertEqual(len({p.key for p in points}), len(points))

    def test_a_point_survives_its_record(self):
        for point in plan_from_yaml(self.file("p.yaml", YAML)).points():
            self.assertEqual(point_of({k: v for k, v in asdict(point).items() if v is not None}), point)

    def test_flags_win_over_the_file(self):
        path = self.file("p.yaml", YAML)
        args = parser().parse_args(["sweep", str(path), "--out", "x", "--temp", "0.5", "--rule", "opt:0,0.5",
                                    "--rule", "lossy:0..0.4/3:auto", "--option", "shots=2", "--limit", "3"])
        plan = plan_of(args)
        self.assertEqual((plan.temperatures, plan.gammas, plan.limit), ([0.5], [3, 5], 3))
        self.assertEqual(plan.options, {"shots": "2"})
        self.assertEqual([(p.rule, p.alpha, p.beta) for p in plan.points() if p.gamma == 3],
                         [("opt", 0.0, None), ("opt", 0.5, None), ("lossy", 0.0, "auto"),
                          ("lossy", 0.2, "auto"), ("lossy", 0.4, "auto")])

    def test_gamma_may_be_auto(self):
        for said in (["--gamma", "2,auto"], [str(self.file("g.yaml", "gammas: [2, auto]\n"))]):
            plan = plan_of(parser().parse_args(["sweep", *said, "--out", "x", "--rule", "exact"]))
            self.assertEqual(plan.gammas, [2, "auto"])
        auto = plan.points()[-1]
        self.assertEqual((auto.key, auto.line()["num_speculative_tokens"]),
                         ("speculative rule=exact gamma=auto temp=1", "auto"))
        self.assertEqual(point_of(asdict(auto)), auto)

    def test_ranges(self):
        self.assertEqual(values_of("", {"from": 0, "to": 1, "steps": 5}), [0, 0.25, 0.5, 0.75, 1])
        low, middle, high = values_of("", {"from": 1, "to": 100, "steps": 3, "scale": "log"})
        self.assertAlmostEqual(low, 1)
        self.assertAlmostEqual(middle, 10)
        self.assertAlmostEqual(high, 100)

    def test_mistakes_are_named(self):
        cases = [("rulez: {}", "unknown field rulez"), ("rules: {opt: {alfa: 1}}", "alfa"),
                 ("rules: {opt: [x]}", "'x'"),
                 ("rules: {opt: {alpha: {from: 0, to: 1, steps: 1}}}", "at least 2"),
                 ("rules: {opt: {method: none}}", "method none"),
                 ("rules: {exact: {method: sequence-cascade}}", "needs alpha"),
                 ("rules: {opt: []}", "empty list"), ("rules: []", "mapping"), ("seeds: 1.5", "whole number"),
                 ("modifiers: {gates: raw}", "gates"), ("methods: [oracle-cascade]", "oracle-cascade"),
                 ("a: [", "p.yaml:1"), ("- a", "mapping"),
                 ("rules: {opt: {alpha: {from: 0, to: 1, steps: 3, scale: log}}}", "above 0"),
                 ("draft: null", "drafter"), ("rules: {opt: .nan}", "nan")]
        for text, part in cases:
            with self.subTest(text):
                with self.refused(part):
                    plan_from_yaml(self.file("p.yaml", text)).points()

    def test_a_recording_s_law_is_one_setting_under_the_plan_s_modifiers(self):
        plan = Plan(temperatures=[0.5], gammas=[3], modifiers={"top_k": 5, "gate": "scaled"})
        self.assertEqual(law_of(plan, "lossy", {"alpha": [0.3], "beta": ["auto"]}),
                         Point(rule="lossy", alpha=0.3, beta="auto", gamma=3, temp=0.5, top_k=5,
                               gate="scaled"))
        self.assertEqual(law_of(Plan(), "exact", {}), Point(rule="exact", gamma=5))
        with self.refused("--law token-v3", "3 settings"):
            law_of(plan, *rule_entry("token-v3:0..1/3"))

    def test_a_file_that_cannot_be_written_is_one_line(self):
        said = io.StringIO()
        failing = mock.patch("lab.cli.replay",
                             side_effect=PermissionError(13, "Permission denied", "/nowhere/e.csv"))
        with failing, mock.patch("sys.stderr", said):
            self.assertEqual(main(["replay", "r.jsonl"]), 1)
        self.assertEqual(said.getvalue(), "lab: /nowhere/e.csv: Permission denied\n")

    def test_what_a_line_cannot_say_is_a_process_of_its_own(self):
        self.assertEqual(Point(rule="opt", gamma=5).process, ())
        self.assertEqual(Point(rule="opt", gamma=5, gate="scaled", block_verify=True).process,
                         ("--gate", "scaled", "--block-verify"))
        self.assertEqual(Point(method="sequence-cascade", alpha=0.5).process,
                         ("--method", "sequence-cascade", "--deferral-alpha=0.5"))

    def test_the_verifier_beside_a_point_draws_from_the_same_law(self):
        point = Point(rule="opt", alpha=0.1, gamma=5, temp=0.7, top_k=40)
        self.assertEqual(point.beside(), Point(method="verifier", temp=0.7, top_k=40))
        self.assertEqual(Plan(modifiers={"top_k": 40}).points()[0],
                         Point(method="verifier", temp=1.0, top_k=40))


if __name__ == "__main__":
    unittest.main()
