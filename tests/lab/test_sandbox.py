"""Programs that pass, fail, hang, eat and phone; and the canonical answers of the samples."""
import json
import socket
import time
import unittest
from pathlib import Path
from unittest import mock

from lab import sandbox
from lab.analysis import Analysis
from lab.metrics import METRICS
from lab.report import head_of
from lab.tasks import HERE, open_task
from support import Case


class Sandbox(unittest.TestCase):
    def why(self, program, seconds=20.0):
        verdict = sandbox.run(program, seconds)
        self.assertEqual(verdict.passed, verdict.why == "")
        return verdict.why

    def test_a_program_that_runs_to_its_end_passes(self):
        self.assertEqual(self.why("assert 1 + 1 == 2"), "")
        self.assertEqual(self.why("print('words', end='')"), "")

    def test_failures_say_why(self):
        self.assertIn("AssertionError", self.why("assert 1 + 1 == 3"))
        self.assertIn("SyntaxError", self.why("def f(:"))
        self.assertIn("NameError", self.why("answer"))

    def test_leaving_early_does_not_pass(self):
        for program in ("import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit"):
            self.assertNotEqual(self.why(program), "")

    def test_time_is_limited(self):
        self.assertEqual(self.why("while True: pass", seconds=1.0), "timeout")

    def test_memory_is_limited(self):
        self.assertIn("MemoryError", self.why("x = bytearray(4 << 30)"))

    def test_file_size_is_limited(self):
        self.assertNotEqual(self.why("open('x', 'wb').write(bytes(64 << 20))"), "")

    def test_children_do_not_survive(self):
        program = "import subprocess; subprocess.Popen(['sleep', '987654'])"
        self.assertEqual(self.why(program), "")
        for _ in range(100):  # killed, and gone once the kernel got to it
            left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"987654" in read(p)]
            if not left:
                break
            time.sleep(0.05)
        self.assertEqual(left, [])

    def test_children_in_sessions_of_their_own_do_not_survive(self):
        start = "import subprocess; subprocess.Popen(['sleep', '{}'], start_new_session=True)"
        for patched in (False, True):  # the namespaces of this machine, and none
            with mock.patch.object(sandbox, "namespace", tuple if patched else sandbox.namespace):
                seconds = "9876" + ("52" if patched else "51")
                self.assertEqual(self.why(start.format(seconds)), "")
                self.assertEqual(self.why(start.format(seconds) + "\nwhile True: pass", seconds=3.0),
                                 "timeout")
                if patched:  # a namespace's first process takes no such signal from within
                    killed = start.format(seconds) + "\nimport os\nos.kill(os.getpid(), 9)"
                    self.assertEqual(self.why(killed), "signal 9")
            for _ in range(100):
                left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"\0" + seconds.encode() +
                        b"\0" in read(p)]
                if not left:
                    break
                time.sleep(0.05)
            self.assertEqual(left, [], patched)

    def test_processes_are_limited(self):
        most = sandbox.most_processes()
        program = f"import resource\nassert resource.getrlimit(resource.RLIMIT_NPROC)[0] == {most}"
        self.assertEqual(self.why(program), "")
        self.assertGreater(sandbox.most_processes(), 0)

    def test_no_network(self):
        # a listener of this process: reachable from the child but for the sandbox
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            program = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 5)"
            self.assertNotEqual(self.why(program), "")
            with mock.patch.object(sandbox, "namespace", tuple):
                self.assertIn("guard", sandbox.kind())
                self.assertIn("no network", self.why(program))
                self.assertIn("no network", self.why("import _socket; _socket.socket()"))

    def test_the_folder_is_empty_and_writable(self):
        self.assertEqual(self.why("import os; assert os.listdir() == []; open('x', 'w').write('y')"), "")

    def test_equal_programs_run_once_and_keep_their_order(self):
        verdicts = sandbox.run_all(["pass", "1/0", "pass"])
        self.assertEqual([v.passed for v in verdicts], [True, False, True])


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


class Tasks(Case):
    def test_a_report_says_how_programs_were_kept_in(self):
        setting = {"parallel": 1, "threads": 1, "paths": ["v"], "task": "mbpp", "max_tokens": 9}
        identity = {"setting": setting, "program": {"version": "weir", "sha256": "0" * 64}}
        for name, said in (("pass", True), ("bleu", False)):
            analysis = Analysis(identity, open_task("mbpp", [], 1, {}), [METRICS[name]()], [], [], (0, 0), 1)
            self.assertEqual(any(sandbox.kind() in line for line in head_of(analysis, "c")), said)

    def test_canonical_answers_of_the_samples_pass_and_wrong_ones_do_not(self):
        humaneval = [json.loads(x) for x in (HERE / "data/humaneval_20.jsonl").read_text().splitlines()][:4]
        mbpp = [json.loads(x) for x in (HERE / "data/mbpp_63.jsonl").read_text().splitlines()]
        mbpp = [r for r in mbpp if r["task_id"] >= 11][:4]
        for task, answers in (("humaneval", [r["canonical_solution"] for r in humaneval]),
                              ("mbpp", [f"```python\n{r['code']}\n```" for r in mbpp])):
            with self.subTest(task):
                examples = open_task(task, [], 4, {}).examples
                metric = METRICS["pass"]()
                self.assertEqual(metric.score(metric.statistics(examples, answers).sum(axis=0)), 100.0)
                wrong = ["    return None\n"] * 4
                self.assertEqual(metric.score(metric.statistics(examples, wrong).sum(axis=0)), 0.0)


if __name__ == "__main__":
    unittest.main()
