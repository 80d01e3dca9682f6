"""What the lab's tests share: folders that go away, files with given text, the program and the demo pair."""
from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from lab.errors import LabError

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(os.environ.get("WEIR_PROGRAM", ROOT / "build" / "weir"))
DEMO = ROOT / "models" / "demo"


class Case(unittest.TestCase):
    """A case with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def refused(self, *parts: str):
        """A context in which LabError must come, one line with all the parts in it."""
        return Refused(self, parts)


class Refused:
    def __init__(self, case: Case, parts: tuple[str, ...]) -> None:
        self.case, self.parts = case, parts

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        self.case.assertIsInstance(error, LabError, f"no complaint with {self.parts}")
        self.case.assertNotIn("\n", str(error))
        for part in self.parts:
            self.case.assertIn(part, str(error))
        return True


def needs_program(test):
    return unittest.skipUnless(PROGRAM.exists(), f"no program at {PROGRAM}")(test)
