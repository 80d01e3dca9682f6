"""Sweeps: every cut continues, changes are refused, a killed run ends like any other; then its report."""
import json
import os
import random
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

from lab import sweep
from lab.analysis import SUMS, analyse
from lab.errors import LabError
from lab.grid import Plan, Point
from lab.identity import fingerprint, model
from lab.program import Generate
from lab.replay import write_whole
from lab.report import apart_of, head_of, matched_table, write_report
from lab.store import Store, read_store
from lab.tasks import open_task
from support import DEMO, PROGRAM, ROOT, Case, needs_program

PAIRS = "".join(json.dumps({"prompt": f"Sentence {i}.", "reference": f"Satz {i}."}) + "\n" for i in range(4))


class Fake:
    """In place of the program: answers that depend on the line alone."""

    lines: list = []

    def __init__(self, command):
        self.command, self.waited, self.loading = command, 0.0, 0.0

    def answers(self, lines):
        for i, line in enumerate(lines):
            Fake.lines.append(line)
            yield answer_to(i, line)


def fake_identity(program, models, data, setting):
    return {"program": {"version": "fake", "sha256": "0" * 64}, "data": {f"0:{p.name}": "" for p in data},
            "setting": setting}


def answer_to(i, line):
    draw = random.Random(json.dumps(line, sort_keys=True))
    n = draw.randrange(1, 9)
    slow = 1.0 if line.get("speculative", True) else 2.0
    out = {"index": i, "text": line["prompt"].replace("Sentence", draw.choice(["Satz", "Sache"])),
           "finish_reason": "stop", "timings": {"predicted_n": n, "prompt_ms": 1.0, "predicted_ms": slow * n},
           "metrics": {}}
    if line.get("speculative", True):
        out["metrics"]["speculative_decoding"] = {
            "num_spec_steps": 2, "num_draft_tokens": 10, "num_accepted_draft_tokens": n, "examined_rows": 4,
            "deferred_rows": 1, "rejection_rate": 0.25, "verifier_calls": 2,
            "acceptance_histogram": [0, 2, 0, 0, 0, 0]}
    return out


class Cut(Case):
    def setUp(self):
        super().setUp()
        Fake.lines = []
        patches = [mock.patch.object(sweep, "Generate", Fake),
                   mock.patch("lab.sweep.identity", fake_identity)]
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        self.plan = Plan(data=[self.file("d.jsonl", PAIRS)],
                         rules={"exact": None, "opt": [0.1, 0.2], "chow": {
"method": "token-cascade", "alpha": 0.5}}, seeds=[1, 2])
        self.out = self.folder / "s.jsonl"

    def run_plan(self, fresh=False):
        with mock.patch("sys.stderr"):
            return sweep.run_plan(self.plan, self.out, fresh)

    def answers(self):
        records = read_store(self.out)[1]
        keys = [(r["g"], r["k"], r["s"], r["i"]) for r in records if "k" in r and not r.get("again")]
        self.assertEqual(len(keys), len(set(keys)))
        return sorted(json.dumps({k: v for k, v in r.items() if k != "r"}, sort_keys=True) for r in records
                      if "span" not in r and not r.get("again"))

    def test_every_point_has_its_verifier_beside_it(self):
        self.assertEqual(self.run_plan()["answers"], 48)  # 4 prompts, 2 seeds: verifier + 3; verifier + chow
        settings = [bool(x.get("speculative", True)) for x in Fake.lines[:32]]
        self.assertEqual(settings, [False, True, True, True] * 8)
        self.assertEqual(self.run_plan()["answers"], 0)

    def test_equal_prompts_and_seeds_share_draws_between_rules_only(self):
        self.run_plan()
        seeds = {}
        for line in Fake.lines:
            seeds.setdefault(line["seed"], set()).add(line["prompt"])
        self.assertEqual(len(seeds), 8)
        self.assertTrue(all(len(prompts) == 1 for prompts in seeds.values()))

    def test_cut_at_every_byte_of_its_end_it_comes_to_the_same(self):
        self.run_plan()
        whole, answers = self.out.read_bytes(), self.answers()
        last = whole.rstrip(b"\n").split(b"\n")[-3:]
        for cut in range(len(whole) - sum(len(x) + 1 for x in last), len(whole)):
            self.out.write_bytes(whole[:cut])
            self.run_plan()
            self.assertEqual(self.answers(), answers, cut)

    def test_cut_within_its_head_it_comes_to_the_same(self):
        self.run_plan()
        whole, answers = self.out.read_bytes(), self.answers()
        for cut in range(0, whole.index(b'{"g"'), 7):
            self.out.write_bytes(whole[:cut])
            self.run_plan()
            self.assertEqual(self.answers(), answers, cut)

    def test_a_plan_may_grow(self):
        self.plan.rules["opt"] = [0.1]
        self.plan.seeds = [1]
        self.run_plan()
        self.plan.rules["opt"] = [0.1, 0.2]
        self.plan.seeds = [1, 2]
        grown = self.run_plan()["answers"]
        grew = self.answers()
        self.run_plan(fresh=True)
        self.assertEqual(grew, self.answers())
        self.assertEqual(grown, 48 - 4 * (3 + 2) + 4)  # the verifier beside the first seed's added point

    def test_changed_prompts_and_settings_are_refused(self):
        self.run_plan()
        self.plan.threads = 3
        with self.refused("setting.threads", "was 0, is 3", "--fresh"):
            self.run_plan()
        self.plan.threads = 0
        self.file("d.jsonl", PAIRS.replace("Sentence 2", "Sentence two"))
        with self.refused("prompt 2 is not the one"):
            self.run_plan()

    def test_an_interrupt_while_it_writes_doubles_nothing(self):
        self.run_plan()
        answers, size = self.answers(), self.out.stat().st_size
        sync = os.fsync
        for at in range(2, 6):
            self.out.unlink()
            calls = []

            def interrupted(fd):
                calls.append(fd)
                if len(calls) == at:
                    raise KeyboardInterrupt
                sync(fd)

            with mock.patch("lab.store.SYNC_SECONDS", -1.0), mock.patch("lab.sweep.FLUSH_SECONDS", -1.0), \
                    mock.patch("os.fsync", interrupted), self.assertRaises(KeyboardInterrupt):
                self.run_plan()
            self.assertLess(self.out.stat().st_size, size)
            self.run_plan()
            self.assertEqual(self.answers(), answers, at)

    def test_a_cancelled_answer_is_not_kept(self):
        self.run_plan()
        answers = self.answers()

        whole = answer_to

        def cancelled(i, line):
            return {**whole(i, line), **({"finish_reason": "cancelled", "text": "Sa"} if i == 5 else {})}

        self.out.unlink()
        with mock.patch(f"{__name__}.answer_to", cancelled), self.refused("answer 5", "cancelled"):
            self.run_plan()
        self.assertEqual(sum("k" in r for r in read_store(self.out)[1]), 5)
        self.run_plan()
        self.assertEqual(self.answers(), answers)

    def test_a_doubled_answer_is_noticed(self):
        self.run_plan()
        lines = self.out.read_bytes().splitlines(keepends=True)
        answer = next(x for x in lines if x.startswith(b'{"g"'))
        self.out.write_bytes(b"".join(lines) + answer)
        with self.refused("two answers for"):
            self.run_plan()

    def test_sums_and_intervals_of_the_report(self):
        self.run_plan()
        analysis = analyse(self.out, 200)
        self.assertEqual(len(analysis.points), 5)
        records = [r for r in read_store(self.out)[1] if r.get("k", "").startswith("speculative rule=exact")]
        exact = next(m for m in analysis.points if m.point.rule == "exact")
        beside = {(r["s"], r["i"]): r for r in read_store(self.out)[1] if r.get("k") == "verifier temp=1" and
                  not r["g"]}
        ms = sum(r["prompt_ms"] + r["decode_ms"] for r in records)
        base = sum(beside[r["s"], r["i"]]["prompt_ms"] + beside[r["s"], r["i"]]["decode_ms"] for r in records)
        self.assertAlmostEqual(exact.figures["latency"], ms / base)
        self.assertAlmostEqual(exact.figures["rejection"], 0.25)
        self.assertAlmostEqual(exact.figures["deferral"], 0.25)
        self.assertAlmostEqual(exact.figures["acceptance"], 1 + sum(r["accepted"] for r in records) / 16)
        low, high = exact.interval("latency")
        self.assertLessEqual(low, exact.figures["latency"])
        self.assertGreaterEqual(high, exact.figures["latency"])
        verifier = analysis.verifier(1.0)
        np.testing.assert_array_equal(verifier.replicates["latency"], 1.0)
        self.assertEqual(exact.sums.shape, (4, len(SUMS)))

    def test_pairs_of_different_runs_are_counted_and_told(self):
        self.plan.seeds, self.plan.rules = [1], {"opt": [0.1]}
        self.run_plan()
        self.assertEqual(apart_of(analyse(self.out, 20)), [])
        self.plan.rules["opt"] = [0.1, 0.2]
        self.run_plan()
        analysis = analyse(self.out, 20)
        # verifiers timed again
        self.assertEqual([(m.apart, m.sums[:, 0].sum()) for m in analysis.points], [(0, 4)] * 3)
        self.assertEqual(apart_of(analysis), [])
        lines = self.out.read_bytes().splitlines(keepends=True)
        self.assertEqual(sum(b'"again"' in x for x in lines), 4)
        self.out.write_bytes(b"".join(x for x in lines if b'"again"' not in x))
        analysis = analyse(self.out, 20)
        self.assertEqual([m.apart for m in analysis.points], [0, 0, 4])
        self.assertTrue(any(line.startswith("4 of 8 latencies") for line in head_of(analysis, "c")))

    def test_quality_is_compared_over_the_same_prompts(self):
        self.file("d.jsonl", PAIRS.replace("Sentence",
                                           "It is the Sentence of").replace("Satz", "It is the Satz of"))
        self.plan.rules, self.plan.seeds, self.plan.limit = {"opt": [0.1, 0.2]}, [1], 2
        self.run_plan()
        self.plan.rules, self.plan.limit = {"exact": None}, 4
        self.run_plan()
        analysis, first = analyse(self.out, 50), analyse(self.out, 50, limit=2)
        self.assertEqual((analysis.verifier(1.0).prompts, first.verifier(1.0).prompts, first.n_prompt),
                         (4, 2, 2))
        self.assertNotEqual(analysis.verifier(1.0).figures["bleu"], first.verifier(1.0).figures["bleu"])
        rows = {r[0]: r for r in matched_table(analysis)[3]}
        self.assertEqual(rows["opt"][-1], f"{first.verifier(1.0).figures['bleu']:.2f}")
        self.assertEqual(rows["exact"][-1], f"{analysis.verifier(1.0).figures['bleu']:.2f}")
        self.assertEqual([m.prompts for m in analysis.matched([m for m in analysis.points
                                                               if m.point.rule][1:])[0]], [2, 2])

    def test_a_report_is_one_page_that_fetches_nothing(self):
        self.run_plan()
        write_report(self.out, self.folder / "r", "command", 50)
        page = (self.folder / "r" / "report.html").read_text()
        self.assertIn("<svg", page)
        self.assertIn("Beside the paper", page)
        for word in ("<script", "src=", "@import", "<link"):
            self.assertNotIn(word, page)
        lines = (self.folder / "r" / "points.csv").read_text().splitlines()
        self.assertEqual(len(lines), 1 + 5)
        for name in ("report.md", "quality_latency.png", "quality_latency.svg", "acceptance.png"):
            self.assertGreater((self.folder / "r" / name).stat().st_size, 500)


@needs_program
class Program(Case):
    """With the real program and the demo pair."""

    def command(self, out, *more):
        return [sys.executable, "-m", "lab", "sweep", "--program", str(PROGRAM), "-m", str(DEMO / "verifier"),
                "-md", str(DEMO / "drafter"), "--limit", "6", "--rule", "exact", "--rule", "token-v3:0.2",
                "--temp", "1", "-t", "1", "--out", str(out), *more]

    def start(self, *command, **more):
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
                                stderr=subprocess.PIPE, **more)

    def run_it(self, *command):
        child = self.start(*command)
        said = child.communicate()[1].decode()
        return child.returncode, said

    def texts(self, out):
        return {(r["k"], r["i"]): r["text"] for r in read_store(out)[1] if "k" in r}

    def test_a_killed_sweep_goes_on_and_comes_to_the_same_answers(self):
        whole, cut = self.folder / "whole.jsonl", self.folder / "cut.jsonl"
        self.assertEqual(self.run_it(*self.command(whole))[0], 0)
        self.assertEqual(len(self.texts(whole)), 18)
        child = self.start(*self.command(cut))
        for _ in range(2000):
            if cut.exists() and b'{"g"' in cut.read_bytes():
                break
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        code, said = self.run_it(*self.command(cut))
        self.assertEqual(code, 0, said)
        self.assertEqual(self.texts(cut), self.texts(whole))

    def test_what_the_program_refuses_is_said_in_its_words(self):
        code, said = self.run_it(*self.command(self.folder / "s.jsonl", "--rule", "opt:0.1", "--rule",
                                               "nonsense:0.5"))
        self.assertEqual(code, 1)
        self.assertIn("nonsense", said)
        self.assertNotIn("Traceback", said)

    def test_a_missing_program_or_model_is_one_line(self):
        for flag, value in (("--program", "/nowhere/weir"), ("-m", "/nowhere")):
            code, said = self.run_it(*self.command(self.folder / "s.jsonl"), flag, value)
            self.assertEqual((code, said.count("\n")), (1, 1), said)
            self.assertIn("/nowhere", said)


class Identity(Case):
    def test_a_change_anywhere_in_a_weight_file_is_another_model(self):
        weights = bytearray(3 << 20)
        path = self.file("w.safetensors", bytes(weights))
        before = fingerprint(path)
        self.assertEqual(fingerprint(path), before)
        for at in (0, 1 << 19, (3 << 20) - 1):
            changed = bytearray(weights)
            changed[at] = 1
            path.write_bytes(changed)
            os.utime(path, ns=(at, at))
            self.assertNotEqual(fingerprint(path), before)
        with self.refused("none"):
            fingerprint(self.folder / "none")

    def test_prompt_lookup_is_no_file(self):
        self.assertEqual(model(Path("ngram")), {"ngram": "prompt lookup"})
        with self.assertRaisesRegex(LabError, "no such model"):
            model(Path("./nogram"))

    def test_the_environment_sets_no_option_of_the_program(self):
        script = self.file("weir", '#!/bin/sh\necho "{\\"index\\": 0, \\"n\\": $(env | grep -c ^WEIR_)}"\n')
        script.chmod(0o755)
        with mock.patch.dict(os.environ, {"WEIR_TEMP": "0.5", "WEIR_GATE": "scaled"}):
            answers = list(Generate([str(script)]).answers([{}]))
            said = write_whole([str(script)], [{}], None)
        self.assertEqual((answers[0]["n"], json.loads(said)["n"]), (0, 0))

    def test_the_costs_of_gamma_auto_are_part_of_the_setting(self):
        plan, out = Plan(gammas=[3, "auto"], rules={"exact": None}), self.folder / "s.jsonl"
        with mock.patch("lab.sweep.measured_costs", return_value="0.25:1.5"):
            flags = sweep.with_costs(plan, out, False).flags
            self.assertEqual(flags, ["--costs=0.25:1.5"])
            self.assertEqual(sweep.with_costs(Plan(gammas=[3]), out, False).flags, [])
        with Store(out, {"setting": {"flags": flags}}):
            pass
        with mock.patch("lab.sweep.measured_costs", side_effect=AssertionError):
            for gammas in ([3, "auto"], [5]):  # a store goes on with what it began with
                self.assertEqual(sweep.with_costs(Plan(gammas=gammas), out, False).flags, flags)
            given = Plan(gammas=["auto"], flags=["--costs=1:1"])
            self.assertEqual(sweep.with_costs(given, out, False).flags, ["--costs=1:1"])

    def test_stop_strings_are_part_of_the_setting(self):
        with mock.patch("lab.sweep.identity", fake_identity):
            task = open_task("mbpp", [], 1, {})
            said = sweep.plan_identity(Plan(task="mbpp"), task)["setting"]
        self.assertEqual(said["stop"], list(task.stop))
        self.assertTrue(task.stop)


class Shapes(unittest.TestCase):
    def test_jobs_rotate_the_first_point(self):
        points = [Point(method="verifier"), Point(rule="a", gamma=5), Point(rule="b", gamma=5)]
        order = [j.point.rule for j in sweep.jobs(points, [()], [1], 3, 0)]
        self.assertEqual(order, [None, "a", "b", None, "b", "a", None, "a", "b"])


if __name__ == "__main__":
    unittest.main()
