"""Sweeps over workers: the records of one process, nothing twice after a worker's death, and refusals."""
import json
import os
import signal
import threading
import time
import unittest

from lab import sweep, workers
from lab.errors import LabError
from lab.grid import Plan
from lab.store import read_store
from support import DEMO, PROGRAM, Case, needs_program

WORDS = ("cat", "dog", "house", "tree", "river", "train", "letter", "garden")


class Workers(Case):
    def plan(self, n: int) -> Plan:
        data = self.file("pairs.jsonl", "".join(
            json.dumps({"prompt": f"I see the {WORDS[i % 8]} number {i}.", "reference": "Ja."}) + "\n"
            for i in range(n)))
        return Plan(task="translation", data=[data], program=PROGRAM, model=DEMO / "verifier",
                    draft=DEMO / "drafter", rules={"exact": {}, "opt": {"alpha": [0.1]}}, gammas=[3],
                    threads=1)

    def texts(self, path) -> dict:
        """{job: text}; every job once, but for verifiers that were timed again."""
        out: dict = {}
        for r in read_store(path)[1]:
            if "k" not in r or r.get("again"):
                continue
            key = (r["g"], r["k"], r["s"], r["i"])
            self.assertNotIn(key, out)
            out[key] = (r["text"], r["tokens"], r.get("accepted"))
        return out

    @needs_program
    def test_workers_write_what_one_process_writes(self):
        plan, one, two = self.plan(20), self.folder / "one.jsonl", self.folder / "two.jsonl"
        sweep.run_plan(plan, one)
        sweep.run_plan(plan, two, spread="local:2")
        self.assertEqual(self.texts(one), self.texts(two))
        machines = {r["m"] for r in read_store(two)[1] if "k" in r}
        self.assertEqual(len(machines), 1)
        self.assertEqual(sweep.run_plan(plan, two, spread="local:1")["answers"], 0)

    @needs_program
    def test_a_killed_worker_s_task_runs_again(self):
        plan, path, want = self.plan(40), self.folder / "s.jsonl", self.folder / "want.jsonl"
        sweep.run_plan(plan, want)
        with workers.client_of("local:2") as client:
            victim = next(iter(client.run(os.getpid).values()))
            address = client.scheduler.address
            done: list = []
            thread = threading.Thread(target=lambda: done.append(sweep.run_plan(plan, path, spread=address)))
            thread.start()
            until = time.monotonic() + 60
            while time.monotonic() < until and not (path.exists() and path.stat().st_size > 4000):
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)
            thread.join(240)
        self.assertTrue(done)
        self.assertEqual(self.texts(path), self.texts(want))

    @needs_program
    def test_another_program_on_a_worker_is_refused(self):
        plan = self.plan(1)
        wanted = {"program": {"version": "other", "sha256": "0" * 64}, "models": {}}
        with workers.client_of("local:1") as client:
            with self.assertRaisesRegex(LabError, "worker on .*: program.version was other"):
                list(workers.answers_of(client, ["true"], [(0, [])], plan.program, {}, wanted))

    def test_words_that_are_no_place_are_refused(self):
        for words in ("local", "local:0", "local:x", "ssh:", "nowhere", "http://a"):
            with self.assertRaisesRegex(LabError, "--workers " + words):
                workers.cluster_of(words)

    def test_tasks_keep_a_prompt_s_jobs_together(self):
        from lab.grid import Point
        points = [Point(method="verifier"), Point(rule="exact")]
        jobs = [sweep.Job(0, p, s, i) for s in (1, 2) for i in range(19) for p in points]
        parts = workers.batches(jobs)
        self.assertEqual([j for part in parts for j in part], jobs)
        self.assertEqual([len(p) for p in parts], [16, 16, 6, 16, 16, 6])


if __name__ == "__main__":
    unittest.main()
