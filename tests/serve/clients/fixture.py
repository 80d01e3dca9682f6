"""Test cases with a running `weir serve`, and clients that are programs of their own."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import made_pair
from server import DEMO, ROOT, Server


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
        if status != 0:
            raise AssertionError(f"weir serve ended with {status}:\n" + cls.server.said())


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
