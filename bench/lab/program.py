"""One process of `weir generate`: lines in, answers out as they come."""
from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterable, Iterator

from lab.errors import LabError


def environment() -> dict[str, str]:
    """The environment without WEIR_*, which would set options unknown to the identity and the report."""
    return {k: v for k, v in os.environ.items() if not k.startswith("WEIR_")}


class Generate:
    """Answers in input order. waited: seconds that the lab waited for the program, loading not counted
    (`loading`)."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.waited = 0.0
        self.loading = 0.0

    def answers(self, lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Ends the process when the caller stops asking. LabError with the program's message if it fails."""
        with tempfile.TemporaryFile() as words:
            try:
                child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=words, env=environment())
            except OSError as e:
                raise LabError(f"{self.command[0]}: {e.strerror or e}") from e
            writer = threading.Thread(target=feed, args=(child, lines), daemon=True)
            started = time.monotonic()
            writer.start()
            n = 0
            try:
                while True:
                    asked = time.monotonic()
                    line = child.stdout.readline() if child.stdout else b""
                    if not line.endswith(b"\n"):
                        break
                    if n == 0:
                        self.loading = time.monotonic() - started
                    else:
                        self.waited += time.monotonic() - asked
                    yield parse(self.command, line, n)
                    n += 1
                code = child.wait()
            finally:
                stop(child)
                writer.join()
            if code != 0:
                command = " ".join(self.command)
                raise LabError(f"{command}: ended with {code} after {n} answers: {said(words)}")


def feed(child: subprocess.Popen, lines: Iterable[dict[str, Any]]) -> None:
    """The writer's thread: a pipe holds less than a sweep, so reading must go on meanwhile."""
    try:
        with child.stdin as pipe:  # type: ignore[union-attr]
            for line in lines:
                pipe.write(json.dumps(line, ensure_ascii=True).encode() + b"\n")
                pipe.flush()
    except (BrokenPipeError, ValueError):
        pass  # the program ended first; its exit status tells why


def stop(child: subprocess.Popen) -> None:
    if child.poll() is None:
        child.kill()
        child.wait()
    if child.stdout:
        child.stdout.close()


def parse(command: list[str], line: bytes, expected: int) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError as e:
        raise LabError(f"{command[0]}: answer {expected} is no JSON: {line[:80]!r}") from e
    if answer.get("index") != expected:
        raise LabError(f"{command[0]}: answer {answer.get('index')} where {expected} was due")
    return answer


def said(words: Any) -> str:
    """The last line that the program wrote to standard error."""
    words.seek(0)
    lines = words.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def command_of(program: Path, model: Path, draft: Path | None, max_tokens: int, flags: Iterable[str], *,
               threads: int, parallel: int, ctx_size: int) -> list[str]:
    out = [str(program), "generate", "-m", str(model), *(["-md", str(draft)] if draft else []), "--jsonl",
           "-q", "--measure-rejection", "-np", str(parallel), "-n", str(max_tokens)]
    if threads:
        out += ["-t", str(threads)]
    if ctx_size:
        out += ["-c", str(ctx_size)]
    return [*out, *flags]
