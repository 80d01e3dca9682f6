"""Replay and tuning against the real program, and the arithmetic around them."""
import csv
import json
import math
import subprocess
import sys
import unittest
from dataclasses import replace as changed
from unittest import mock

import numpy as np

from lab import replay, tune
from lab.analysis import COLUMN, SUMS, Analysis, Measured
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.store import read_store
from lab.sweep import run_plan
from lab.tasks import open_task
from support import DEMO, PROGRAM, ROOT, Case, needs_program


# whatever a busy machine measures: with no speed-up asked for only what is predicted faster runs
ANY = tune.Budget(100.0, 0.05)


def demo_plan(**more):
    return Plan(model=DEMO / "verifier", draft=DEMO / "drafter", program=PROGRAM, threads=1, **more)


@needs_program
class Recorded(Case):
    def test_replay_agrees_with_runs_of_the_same_prompts(self):
        # at temperature 0 the verifier's text is exact decoding's text: the recorded prefixes are those of
        # the run
        plan = demo_plan(limit=8, temperatures=[0.0], rules={"exact": None})
        recording, store = self.folder / "r.jsonl", self.folder / "s.jsonl"
        self.assertEqual(replay.record(plan, recording, 0.0, Point(rule="exact", gamma=5, temp=0.0)), 8)
        with mock.patch("sys.stderr"):
            run_plan(changed(plan, limit=10), store)  # those that the recording has no text of do not count
        found = {d.figure: d for d in replay.against(PROGRAM, recording, store, 50)}
        # both are sums of the same rows' reject masses; the run's rate went through nine digits of text
        self.assertAlmostEqual(found["rejection"].estimate, found["rejection"].run, places=6)
        self.assertAlmostEqual(found["length"].estimate, found["length"].run, places=9)
        self.assertEqual(found["deferral"].estimate, found["deferral"].run)
        self.assertAlmostEqual(found["calls_token"].estimate, found["calls_token"].run, places=6)

    def test_all_points_come_from_one_recording(self):
        plan = demo_plan(limit=3, gammas=[2, 5],
                         rules={"token-v3": [0.2, 0.8], "lossy": {"alpha": 0.3, "beta": [1, "auto"]}})
        recording = self.folder / "r.jsonl"
        replay.record(plan, recording, 1e-3, Point(rule="exact", gamma=5))
        points = [p for p in plan.points() if p.method == "speculative"]
        estimates = replay.replay(PROGRAM, recording, points)
        self.assertEqual([e.point for e in estimates], points)
        for e in estimates:
            self.assertLessEqual(e.tail_mass, 1e-3)
            self.assertEqual(e.kind, "recorded")  # three texts are too few to weigh
            self.assertTrue(0 < e.best("rejection")[0] < 1)
        replay.write_estimates(estimates, self.folder / "e.csv")
        with open(self.folder / "e.csv", newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
        self.assertEqual([r["rule"] for r in rows], [p.rule for p in points])

    def test_an_estimate_is_made_at_the_recording_s_law_or_refused(self):
        plan = demo_plan(limit=2, temperatures=[0.0, 0.8], rules={"exact": None})
        recording, store = self.folder / "r.jsonl", self.folder / "s.jsonl"
        replay.record(demo_plan(limit=2, temperatures=[0.8]), recording, 0.0,
                      Point(rule="exact", gamma=5, temp=0.8))
        point = Point(rule="exact", gamma=5, temp=0.8)
        self.assertEqual(len(replay.replay(PROGRAM, recording, [point, changed(point, top_k=0, top_p=1.0)])),
                         2)
        for change, words in (({"temp": 0.0}, "temp is 0, the recording's 0.8"), ({"top_k": 5}, "top_k is 5"),
                              ({"top_p": 0.9}, "top_p is 0.9"), ({"min_p": 0.1}, "min_p is 0.1")):
            with self.refused(words):
                replay.replay(PROGRAM, recording, [point, changed(point, **change)])
        with mock.patch("sys.stderr"):
            run_plan(plan, store)
        self.assertEqual({d.point.temp for d in replay.against(PROGRAM, recording, store, 20)}, {0.8})
        with mock.patch.object(replay, "law_of", lambda path: dict(temp=1.5, top_k=0, top_p=1, min_p=0)):
            with self.refused("no speculative point at the recording's temperature", "temp 1.5"):
                replay.against(PROGRAM, recording, store, 20)

    def test_failures_are_one_line_and_leave_no_half_recording(self):
        plan = demo_plan(limit=3, flags=["--ctx-size", "2"])
        with self.refused("record", "ctx-size"):
            replay.record(plan, self.folder / "r.jsonl", 0.0, Point(rule="exact", gamma=5))
        self.assertEqual(list(self.folder.iterdir()), [])
        with self.refused("nowhere.jsonl"):
            replay.replay(PROGRAM, self.folder / "nowhere.jsonl", [Point(rule="exact", gamma=5)])
        with self.refused("one temperature"):
            replay.record(demo_plan(temperatures=[0, 1]), self.folder / "r.jsonl", 0.0,
                          Point(rule="exact", gamma=5))
        for point in (Point(method="drafter"), Point(rule="exact", gamma=5, block_verify=True)):
            with self.refused("replayed"):
                replay.replay(PROGRAM, self.folder / "r.jsonl", [point])

    def test_a_profile_is_taken_by_the_program(self):
        with mock.patch("sys.stderr"):
            plan = demo_plan(limit=6, gammas=[5], rules={"exact": None, "token-v2": [0.2, 0.5, 0.9]})
            profile = tune.tune(plan, ANY, self.folder / "t.jsonl", lambda line: None)
        path = self.folder / "p.json"
        tune.write_profile(profile, path)
        done = subprocess.run([str(PROGRAM), "generate", "-m", str(DEMO / "verifier"), "-md",
                               str(DEMO / "drafter"), "-p", "It snowed a lot.", "--profile", str(path)],
                               capture_output=True, text=True, check=True)
        self.assertIn(f"rule {profile['deferral_rule']}", done.stderr)
        self.assertEqual(json.loads(path.read_text())["about"]["prompts"], 6)
        self.assertIn("budget is kept", tune.words(profile))

    def test_prompts_alone_are_held_against_the_verifiers_answers_under_the_plans_truncation(self):
        prompts = self.file("prompts.txt",
                            "It snowed a lot.\nI am tired.\nWhere is my hat?\nThe dog barks.\n")
        plan = demo_plan(task="prompts", data=[prompts], limit=3, gammas=[5], modifiers={"top_k": 40},
                         rules={"exact": None, "token-v2": [0.2, 0.9]})
        said = []
        with mock.patch("sys.stderr"):
            profile = tune.tune(plan, ANY, self.folder / "t.jsonl", said.append)
            tune.tune(plan, ANY, self.folder / "t.jsonl", said.append)
        about = profile["about"]
        self.assertEqual((about["metric"], about["prompts"], about["answers_run"] >= 3 * tune.REFERENCES),
                         ("chrf", 3, True))
        self.assertIn("12 answers of the verifier", said[0])
        self.assertTrue([line for line in said[1:] if "references.jsonl: 0 answers" in line], said)
        references = self.folder / "t.references.jsonl"
        self.assertEqual({r["s"] for r in read_store(references)[1] if "k" in r}, {2, 3, 4, 5})
        self.assertTrue(all("top_k=40" in r["k"] for r in read_store(self.folder / "t.jsonl")[1] if "k" in r))
        task = open_task("prompts", [prompts, references], 0, {})
        self.assertEqual(([len(e.references) for e in task.examples], task.metrics),
                         ([4, 4, 4], ("chrf", "exact")))
        with self.refused("4 prompts wanted"):
            open_task("prompts", [prompts, references], 4, {})
        with self.refused("no answer of the verifier to the first prompt"):
            open_task("prompts", [self.file("others.txt", "Another.\n"), references], 0, {})

    def test_the_program_s_own_command_tunes(self):
        prompts = self.file("p.txt", "It snowed a lot.\nI am tired.\nWhere is my hat?\n")
        profile = self.folder / "p.json"
        pair = ["-m", str(DEMO / "verifier"), "-md", str(DEMO / "drafter")]
        command = [str(PROGRAM), "tune", *pair, "--gammas", "5", "--max-quality-loss", "100", "--min-speedup",
                   "0.05", "-t", "1", "--device", "cpu", "--top-k", "50", "--out", str(profile), "--lab",
                   str(ROOT / "bench"), "--lab-python", sys.executable]
        done = subprocess.run([*command, str(prompts)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"weir generate … --profile {profile}", done.stdout)
        self.assertIn("4 a prompt", done.stderr)
        identity, records = read_store(self.folder / "p.runs.jsonl")
        self.assertEqual((identity["setting"]["flags"], identity["setting"]["threads"]),
                         (["--device=cpu"], 1))
        self.assertTrue(all("top_k=50" in r["k"] for r in records if "k" in r))
        folder = self.folder / "out"
        folder.mkdir()
        done = subprocess.run([*command, "--out", str(folder), str(prompts)], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (1, f"lab: {folder}: Is a directory\n"))
        done = subprocess.run([*command, str(self.folder / "none.txt")], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"lab: {self.folder / 'none.txt'}: No such file or directory\n"))

    def test_a_python_without_packages_is_named_with_the_flag_for_another(self):
        bare = self.file("python", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        bare.chmod(0o700)
        done = subprocess.run([str(PROGRAM), "tune", "-m", str(DEMO / "verifier"), "-md",
                               str(DEMO / "drafter"), "--task", "translation", "--max-quality-loss", "1",
                               "--out", str(self.folder / "p.json"), "--lab", str(ROOT / "bench"),
                               "--lab-python", str(bare)], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertRegex(done.stderr, "^lab: .*python.*: No module named .*make.sh lab --help installs "
                                      "bench/lab/requirements.txt; weir tune --lab-python FILE ")


def estimate(calls, texts, point=Point(rule="opt", alpha=0.1, gamma=5)):
    values = {kind: {figure: (math.nan, math.nan) for figure in replay.FIGURES}
              for kind in ("recorded", "reweighted")}
    values["recorded"]["calls_token"] = values["reweighted"]["calls_token"] = (calls, 0.01)
    return replay.Estimate(point, values, texts, 0.0)


def measured(latency, quality, drawn, point=Point(rule="opt", gamma=5)):
    m = Measured(point, np.zeros((1, len(SUMS))), {}, np.zeros(17))
    m.figures = {"latency": latency, "bleu": quality}
    m.replicates = {"latency": np.full(len(drawn), latency), "bleu": np.array(drawn)}
    return m


class Heads(Case):
    def test_what_has_no_law_is_no_recording(self):
        for text in ("", "{}\n", "[1]\n", '{"law": {"temperature": "x"}}\n', '{"law": {"top_k": null}}\n',
                     '{"law": {'):
            with self.subTest(text), self.refused("r.jsonl:1:"):
                replay.law_of(self.file("r.jsonl", text))
        found = replay.law_of(self.file("r.jsonl", '{"law": {"temperature": 0.5}}\n'))
        self.assertEqual(found, {"temp": 0.5, "top_k": 0, "top_p": 1, "min_p": 0})


class Arithmetic(unittest.TestCase):
    def test_weights_are_believed_from_enough_texts_on(self):
        self.assertEqual([estimate(1, t).kind for t in (29.9, 30.0, math.nan)],
                         ["recorded", "reweighted", "recorded"])

    def test_differences_are_in_units_of_both_errors(self):
        d = replay.Difference(Point(), "rejection", 0.40, 0.03, 0.45, 0.04, "recorded")
        self.assertAlmostEqual(d.z, 1.0)
        self.assertIn("100% within two", replay.summary([d], "rejection"))
        self.assertIn("nothing", replay.summary([d], "length"))

    def test_latency_is_predicted_from_blocks(self):
        costs = tune.Costs(2.0, {5: 3.0})
        self.assertAlmostEqual(tune.predicted_latency(estimate(0.5, 100), costs), 0.75)

    def test_blocks_are_timed_at_the_temperature_of_the_profile(self):
        points = [Point(method="verifier", temp=0.5), Point(rule="exact", gamma=5, temp=1.0),
                  Point(rule="exact", gamma=5, temp=0.5)]
        ms = []
        for i, point in enumerate(points):
            m = measured(1.0, 20.0, [20.0], point)
            m.sums[0, [COLUMN["decode_ms"], COLUMN["steps"], COLUMN["tokens"]]] = (10.0 * (i + 1), 2, 5)
            ms.append(m)
        analysis = Analysis({}, None, [], ms, [], (0, 0), 1)
        self.assertEqual(tune.calibrate(analysis, points[2:]), tune.Costs(2.0, {5: 15.0}))
        with self.assertRaisesRegex(LabError, "gamma 3"):
            tune.calibrate(analysis, [changed(points[2], gamma=3)])

    def test_the_shortlist_spreads_over_what_is_fast_enough(self):
        costs = tune.Costs(1.0, {5: 1.0})
        many = [estimate(c / 10, 100, Point(rule="opt", alpha=c, gamma=5)) for c in range(1, 21)]
        self.assertEqual([p.alpha for p in tune.shortlist(many, costs, None)], [1, 5, 10])
        self.assertEqual([p.alpha for p in tune.shortlist(many, costs, 5.0)], [1, 2])
        self.assertEqual(tune.shortlist(many, costs, 20.0), [])

    def test_a_broken_bound_is_behind_everything(self):
        verifier = measured(1.0, 20.0, [20.0, 20.0])
        slow, fast, bad = (measured(0.9, 20.0, [20.0, 20.0]), measured(0.5, 19.5, [19.5, 19.5]),
                           measured(0.2, 10.0, [10.0, 10.0]))
        loss = tune.Budget(1.0, None)
        order = sorted((bad, slow, fast), key=lambda m: tune.worth(m, verifier, "bleu", loss))
        self.assertEqual(order, [fast, slow, bad])
        speed = tune.Budget(None, 1.5)
        order = sorted((slow, bad, fast), key=lambda m: tune.worth(m, verifier, "bleu", speed))
        self.assertEqual(order, [fast, bad, slow])

    def test_a_setting_is_worth_its_chance_to_keep_the_budget_and_in_the_last_round_nothing_but_that(self):
        verifier = measured(1.0, 20.0, [20.0, 20.0])
        keeps, budget = measured(0.9, 20.0, [20.0, 20.0]), tune.Budget(1.0, None)
        # kept in half of the replicates
        half, quick_half = (measured(latency, 18.0, [12.0, 24.0]) for latency in (0.5, 0.4))
        for other, last, first in ((half, False, keeps), (quick_half, False, quick_half),
                                   (quick_half, True, keeps)):
            self.assertIs(min((keeps, other), key=lambda m: tune.worth(m, verifier, "bleu", budget, last)),
                          first)
        near = measured(0.51, 20.0, [20.0, 20.0])
        self.assertGreater(tune.worth(near, verifier, "bleu", tune.Budget(None, 2.0), True), 1e5)

    def test_halving_keeps_the_safest_setting(self):
        verifier, budget = measured(1.0, 20.0, [20.0, 20.0]), tune.Budget(1.0, None)
        points = [Point(rule="opt", alpha=a / 10, gamma=5) for a in range(4)]
        for safe, left in ((3, [0, 3]), (1, [0, 1])):
            drawn = {p: measured(0.5, 18.0, [20.0, 20.0] if i == safe else [12.0, 24.0])
                     for i, p in enumerate(points)}
            self.assertEqual(tune.halve(points, drawn, verifier, "bleu", budget), [points[i] for i in left])
        self.assertEqual(tune.halve(points, drawn, verifier, "bleu", tune.Budget(None, 2.0)), points[:2])

    def test_a_winner_that_breaks_the_budget_is_no_profile(self):
        verifier, m = measured(1.0, 20.0, [20.0, 20.0]), measured(0.5, 18.0, [18.0, 18.0])
        for loss, speedup in ((2.0, None), (None, 2.0), (2.0, 2.0)):
            tune.check_budget(m, verifier, "bleu", tune.Budget(loss, speedup))
        for loss, speedup, word in ((1.5, None, "at most 1.5 lost"), (None, 2.5, "at least 2.5"),
                                    (3.0, 2.1, "loses 2.00"), (1.0, 1.5, "speed-up of 2.00")):
            with self.assertRaisesRegex(LabError, word):
                tune.check_budget(m, verifier, "bleu", tune.Budget(loss, speedup))

    def test_confidence_counts_replicates_within_the_budget(self):
        verifier = measured(1.0, 20.0, [20.0, 20.0, 20.0, 20.0])
        found = tune.confidence(measured(0.5, 19.5, [19.5, 19.5, 18.0, 20.5]), verifier, "bleu",
                                tune.Budget(1.0, None))
        self.assertEqual((found["budget_kept"], found["speedup"], found["quality_loss"]), (0.75, 2.0, 0.5))

    def test_a_budget_and_a_metric_are_needed(self):
        with self.assertRaises(LabError):
            tune.tune(Plan(), tune.Budget(None, None), None, None)

    def test_lines_to_record_differ_in_their_seeds(self):
        task = open_task("translation", [], 3, {})
        lines = list(replay.record_lines(task, [1, 2], Point(rule="exact", gamma=5)))
        self.assertEqual(len({x["seed"] for x in lines}), 6)


if __name__ == "__main__":
    unittest.main()
