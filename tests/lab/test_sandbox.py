"""Programs that pass, fail, hang, eat and phone; and the canonical answers of the samples."""
import json
import socket
import time
import unittest
from pathlib import Path
from unittest import mock

from lab import sandbox
from lab.metrics import METRICS
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
                self.assertEqual(metric.score(metric.statistics(examples, ["    return None\n"] * 4).sum(axis=0)), 0.0)


if __name__ == "__main__":
    unittest.main()
