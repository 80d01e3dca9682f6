"""A running `weir serve` for tests, and the command line as the oracle of what it must answer."""
import json
import os
import re
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import made_pair

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("WEIR_PROGRAM", str(ROOT / "build/weir"))
DEMO = ["-m", str(ROOT / "models/demo/verifier"), "-md", str(ROOT / "models/demo/drafter")]


class Server:
    """Listens on a free port; ready once the constructor returns."""
    def __init__(self, models, *flags, env=None):
        self.lines = []
        self.url = None
        command = [PROGRAM, "serve", *models, "--port", "0", "-t", "2", *flags]
        self.process = subprocess.Popen(command,
                                        stderr=subprocess.PIPE,
                                        text=True,
                                        env={**os.environ, **(env or {})})
        for line in self.process.stderr:
            self.lines.append(line)
            listening = re.search(r"listening on (https?://[^;\s]+)", line)
            self.url = listening.group(1) if listening else self.url
            if line.startswith("weir: ready"):
                break
        else:
            raise RuntimeError(
                f"{' '.join(command)} ended with {self.process.wait()}:\n{''.join(self.lines)}")
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()

    def stop(self):
        """The exit status after SIGTERM."""
        self.process.terminate()
        return self.process.wait()


class ServerTest(unittest.TestCase):
    """A class of tests with one server: the demo pair unless MODELS says otherwise."""

    MODELS = [*DEMO, "--chat-template", "plain"]
    FLAGS = ["--alias", "demo", "--metrics", "--log-disable"]
    ENV = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.MODELS, *cls.FLAGS, env=cls.ENV)
        cls.url = cls.server.url
        cls.v1 = cls.url + "/v1"

    @classmethod
    def tearDownClass(cls):
        status = cls.server.stop()
        cls.server.process.stderr.close()
        if status != 0:
            raise AssertionError(f"weir serve ended with {status}:\n{''.join(cls.server.lines)}")


class DecoderTest(ServerTest):
    """With a decoder-only pair, which is made for the class: random weights, real text."""

    FLAGS = ["--alias", "made", "--metrics", "--log-disable", "-c", "512"]

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.verifier, drafter = made_pair.write(ROOT, Path(cls.folder.name))
        cls.MODELS = ["-m", str(cls.verifier), "-md", str(drafter)]
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()


def lines_of(command, models, objects, *flags):
    """What `weir COMMAND` answers to JSON lines."""
    text = "".join(json.dumps(o) + "\n" for o in objects)
    done = subprocess.run([PROGRAM, command, *models, "-q", "--input", "-", *flags],
                          input=text,
                          text=True,
                          capture_output=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"weir {command}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def generate(models, objects, *flags):
    return lines_of("generate", models, objects, "-np", "8", *flags)


def run(command, env=None, cwd=None):
    """A client as a program of its own: its standard output; a failure shows all it said."""
    done = subprocess.run(command,
                          text=True,
                          capture_output=True,
                          env={**os.environ, **(env or {})},
                          cwd=cwd,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout
